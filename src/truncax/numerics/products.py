"""Matrix products at full precision, in the order that is fast on every backend."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .devices import several_devices

# TF32 and bfloat16 passes cost 1e-2 in a residual, so no product here uses them.
PRECISION = lax.Precision.HIGHEST


def adjoint(x: Array) -> Array:
    """``x^H`` of the last two axes."""
    return jnp.conj(jnp.swapaxes(x, -1, -2))


def materialised(x: Array) -> Array:
    """``x``, written to memory as it is: XLA on a CPU folds a transpose into a product and then runs it slowly."""
    return lax.optimization_barrier(x)


class Parts(NamedTuple):
    """A complex matrix as its real and imaginary part."""

    real: Array
    imag: Array


def split(a: Array) -> Parts | None:
    """The parts of ``a`` where they multiply faster: complex products in XLA on a CPU take 1.7 to 2.9 times theirs."""
    divide = jnp.iscomplexobj(a) and jax.default_backend() == "cpu"
    return Parts(a.real, a.imag) if divide else None


def matmul(a: Array | Parts, b: Array) -> Array:
    """``a @ b`` at full precision; ``b`` may be a vector or a block of columns.

    The barrier keeps XLA on a CPU from fusing the product into what follows: a block of 4 to 8 columns then costs
    about as much as one vector, and without it twice as much.
    """
    if isinstance(a, Parts):
        columns = b if b.ndim == 2 else b[:, None]
        x = materialised(jnp.concatenate([columns.real, columns.imag], axis=1))
        (rr, ri), (ir, ii) = (jnp.split(matmul(part, x), 2, axis=1) for part in a)
        return lax.complex(rr - ii, ri + ir).reshape(a.real.shape[0], *b.shape[1:])
    return materialised(jnp.matmul(a, b, precision=PRECISION))


def adjoint_matmul(a: Array | Parts, y: Array) -> Array:
    """``a^H @ y``, computed as ``(y^H a)^H``: XLA on a CPU runs ``a.T @ y`` 6 to 22 times slower."""
    if isinstance(a, Parts):
        columns = y if y.ndim == 2 else y[:, None]
        rows = materialised(jnp.concatenate([columns.real, columns.imag], axis=1).T)
        (rr, ri), (ir, ii) = (jnp.split(_rows_matmul(rows, part).T, 2, axis=1) for part in a)
        return lax.complex(rr + ii, ri - ir).reshape(a.real.shape[1], *y.shape[1:])
    if y.ndim == 1:
        return jnp.conj(matmul(jnp.conj(y), a))
    return adjoint(_rows_matmul(materialised(adjoint(y)), a))


def _rows_matmul(rows: Array, a: Array) -> Array:
    """``rows @ a`` for a few rows."""
    p, (m, n) = rows.shape[0], a.shape
    panels = _panels(a, p)
    if panels == 1:
        return matmul(rows, a)
    by_panel = lax.dot_general(
        rows.reshape(p, panels, m // panels),
        a.reshape(panels, m // panels, n),
        (((2,), (1,)), ((1,), (0,))),
        precision=PRECISION,
    )
    return jnp.sum(materialised(by_panel), axis=0)


def both_products(a: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """``(a @ x, a^H @ y)`` for blocks of columns.

    On a CPU a large ``a`` is taken in groups of rows, one after the other: the transpose then makes its cotangent, the
    sum of two products of low rank, group by group in the cache, without a second m x n array. Not with several
    devices, over which ``a`` may be spread.
    """
    (m, n), groups = a.shape, 1
    if m * n * a.dtype.itemsize >= 2**22 and jax.default_backend() == "cpu" and not several_devices():
        groups = _groups(m)
    if groups == 1:
        return matmul(a, x), adjoint_matmul(a, y)

    def step(total: Array, group: tuple[Array, Array]) -> tuple[Array, Array]:
        rows, ys = group
        return total + matmul(adjoint(ys), rows), matmul(rows, x)

    groups_of = (a.reshape(groups, m // groups, n), y.reshape(groups, m // groups, y.shape[1]))
    total, ax = lax.scan(step, jnp.zeros((y.shape[1], n), a.dtype), groups_of)
    return ax.reshape(m, x.shape[1]), adjoint(total)


def _groups(m: int) -> int:
    """The number of equal groups of 128 to 255 rows, or 1."""
    return next((m // rows for rows in range(128, 256) if m % rows == 0), 1)


def _panels(a: Array, p: int) -> int:
    """Into how many groups of rows ``a`` is cut for a product with p rows from the left.

    XLA on a CPU repacks the right factor; where that leaves the cache, a product of 2 to 4 rows takes half the time
    in panels of about 128. Not with several devices: panels that do not end where a shard does are gathered.
    """
    m, n = a.shape
    if not 2 <= p <= 4 or m * n * a.dtype.itemsize < 2**26 or jax.default_backend() != "cpu" or several_devices():
        return 1
    return _groups(m)


def project_out(basis: Array, x: Array) -> Array:
    """``(I - basis basis^H) x`` for orthonormal columns ``basis``."""
    return x - matmul(basis, matmul(adjoint(basis), x))


def row_inner(x: Array, y: Array) -> Array:
    """``Re <x_i, y_i>`` for every row i."""
    return jnp.sum((jnp.conj(x) * y).real, axis=1)


def row_norms(x: Array) -> Array:
    """Euclidean norm of every row, for rows whose squares neither underflow nor overflow."""
    return jnp.sqrt(row_inner(x, x))


def column_norms(x: Array) -> Array:
    """Euclidean norm of every column, safe from underflow and overflow of the squares."""
    largest = jnp.max(jnp.abs(x), axis=0)
    scaled = times(x, 1 / jnp.where(largest > 0, largest, 1))
    return largest * jnp.sqrt(row_inner(scaled.T, scaled.T))


def times(x: Array, factor: Array) -> Array:
    """``x * factor`` for a real scalar, array of x's shape, or one factor for each column.

    JAX's strict modes forbid the implicit promotion of dtypes and ranks; a user may have set them.
    """
    if factor.ndim == 1 and x.ndim == 2:
        factor = factor[None, :]
    return x * factor.astype(x.dtype)


def promoted(*arrays: Array) -> list[Array]:
    """The arrays of one precision, all of them complex if one of them is."""
    dtype = next((x.dtype for x in arrays if jnp.iscomplexobj(x)), None)
    return [x if dtype is None else x.astype(dtype) for x in arrays]
