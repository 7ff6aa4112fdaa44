"""Where the entries of a sparse matrix lie for a fast product: in chunks of equal length, each inside one row.

XLA adds the products of the entries of a list up by a scatter, at 8 to 11 ns each. Here the entries of a row fill
chunks of ``c`` slots. Slot j of all chunks is one gather and one product, the c of them one loop at 0.65 ns a slot;
only the sums of the chunks, c times fewer, are scattered to their rows, and none where chunk i is row i.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.sparse import csr_array

# The cost of a slot, and of a chunk whose sum is scattered to its row, in ns (docs/performance.md).
_SLOT, _CHUNK = 0.65, 7.0
# The lengths of a chunk: few, so that similar patterns share a compiled program, and short, since they are unrolled.
_LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32)


class Chunks(NamedTuple):
    """``entry`` (c, T): which entry a slot holds, the number of entries where it is empty; ``other`` (c, T): the index
    of the entry along the other side, 0 where empty; ``owner`` (T,): the row of each chunk, ascending, or None where
    chunk i is row i.
    """

    entry: Any
    other: Any
    owner: Any


def concrete(x: Any) -> np.ndarray | None:
    """``x`` in NumPy where its values are known, in a function that is traced as well; else None."""
    try:
        return np.asarray(x)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        return None


def chunks(side: Any, other: Any, size: int, other_size: int, *, ascending: bool = False) -> Chunks:
    """The chunks of the rows of a matrix (``side``: the row of every entry), or in the same way of its columns.

    Indices out of bounds mark entries that do not count. ``ascending`` promises that ``side`` ascends.
    """
    known_side, known_other = concrete(side), concrete(other)
    if known_side is not None and known_other is not None:
        return _known(known_side, known_other, size, other_size)
    return _traced(jnp.asarray(side), jnp.asarray(other), size, other_size, ascending)


def _known(side: np.ndarray, other: np.ndarray, size: int, other_size: int) -> Chunks:
    """With the sizes that the pattern needs, and the length of a chunk that costs least."""
    none = side.shape[0]
    inside = (side >= 0) & (side < size) & (other >= 0) & (other < other_size)
    entries = np.arange(none, dtype=np.int32) if inside.all() else np.flatnonzero(inside).astype(np.int32)
    of_side = side[entries]
    if np.any(of_side[1:] < of_side[:-1]):
        entries = _sorted_by(of_side, entries, size)
        of_side = side[entries]
    counts = np.bincount(of_side, minlength=size)
    length, one_each = _cheapest(counts)
    per_row = np.ones_like(counts) if one_each else -(-counts // length)
    first = np.cumsum(per_row) - per_row
    total = int(per_row.sum())
    total = size if one_each else _rounded_up(total)
    rank = np.arange(len(entries)) - (np.cumsum(counts) - counts)[of_side]
    at = (rank % length) * total + first[of_side] + rank // length
    entry, index = np.full(length * total, none, np.int32), np.zeros(length * total, np.int32)
    entry[at], index[at] = entries, other[entries]
    owner = np.full(total, size - 1, np.int32)
    owner[: per_row.sum()] = np.repeat(np.arange(size, dtype=np.int32), per_row)
    entry_slots, other_slots = (jnp.asarray(x.reshape(length, total)) for x in (entry, index))
    return Chunks(entry_slots, other_slots, None if one_each else jnp.asarray(owner))


def _sorted_by(side: np.ndarray, entries: np.ndarray, size: int) -> np.ndarray:
    """``entries`` in the order of ``side``: the counting sort in SciPy's conversion, a tenth of the time of argsort."""
    one_each = csr_array((entries, side, np.arange(len(entries) + 1)), shape=(len(entries), size))
    return one_each.tocsc().data


def _cheapest(counts: np.ndarray) -> tuple[int, bool]:
    """The length of a chunk, and whether every row then has exactly one, by the cost of the product."""
    longest, size = int(counts.max(initial=0)), len(counts)
    candidates = [(c * _SLOT + _CHUNK) * float(np.sum(-(-counts // c))) for c in _LENGTHS]
    best = int(np.argmin(candidates))
    alone = next((c for c in _LENGTHS if c >= longest), None)
    if alone is not None and alone * _SLOT * size <= candidates[best] + _CHUNK:
        return alone, True
    return _LENGTHS[best], False


def _rounded_up(total: int) -> int:
    """Up to 3 % more, so that patterns of nearly the same size have the same shapes and compile once."""
    unit = 1 << max(0, total.bit_length() - 6)
    return -(-total // unit) * unit


def _traced(side: Array, other: Array, size: int, other_size: int, ascending: bool) -> Chunks:
    """With room for any pattern of as many entries."""
    none = side.shape[0]
    length = min(_LENGTHS, key=lambda c: (c * _SLOT + _CHUNK) * _most_chunks(none, size, c))
    total = _most_chunks(none, size, length)
    side, other = side.astype(jnp.int32), other.astype(jnp.int32)
    row = jnp.where((side >= 0) & (side < size), side, size)
    entries = jnp.arange(none, dtype=jnp.int32)
    if not ascending:
        row, entries = jax.lax.sort((row, entries), num_keys=1)
    col = other[entries]
    inside = (col >= 0) & (col < other_size)
    bounds = jnp.searchsorted(row, jnp.arange(size + 1, dtype=jnp.int32)).astype(jnp.int32)
    per_row = -(-(bounds[1:] - bounds[:-1]) // length)
    ends = jnp.cumsum(per_row, dtype=jnp.int32)
    first = jnp.append(ends - per_row, jnp.int32(total))
    rank = jnp.arange(none, dtype=jnp.int32) - bounds[row]
    at = (rank % length, first[row] + rank // length)
    entry = jnp.full((length, total), none, jnp.int32).at[at].set(jnp.where(inside, entries, none), mode="drop")
    index = jnp.zeros((length, total), jnp.int32).at[at].set(jnp.where(inside, col, 0), mode="drop")
    owner = jnp.searchsorted(ends, jnp.arange(total, dtype=jnp.int32), side="right").astype(jnp.int32)
    return Chunks(entry, index, jnp.minimum(owner, size - 1))


def _most_chunks(entries: int, size: int, length: int) -> int:
    """No ``entries`` in ``size`` rows need more chunks."""
    return (entries + min(size, entries) * (length - 1)) // length
