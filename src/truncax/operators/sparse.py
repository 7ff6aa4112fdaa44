"""The operator of a sparse matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from scipy.sparse import coo_array

from .chunks import Chunks, chunks
from .operator import LinearOperator, largest_entry


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Side:
    """The entries by rows, or in the same way by columns, in the chunks that ``operators.chunks`` describes."""

    values: Array
    other: Array
    owner: Array | None
    size: int = field(metadata={"static": True})

    @classmethod
    def of(cls, data: Array, places: Chunks, size: int) -> Side:
        """Of the entries ``data``; an empty slot holds a zero."""
        return cls(jnp.append(data, jnp.zeros(1, data.dtype))[places.entry], places.other, places.owner, size)

    def product(self, x: Array, *, conjugate: bool = False) -> Array:
        """The product with a vector or with a block of columns; with the ``conjugate`` entries if so."""

        def column(x: Array) -> Array:
            values = jnp.conj(self.values) if conjugate else self.values
            slots = (v * _at(x, i) for v, i in zip(values, self.other, strict=True))
            total = next(slots)
            for slot in slots:
                total = total + slot
            if self.owner is None:
                return total
            return jax.ops.segment_sum(total, self.owner, self.size, indices_are_sorted=True)

        return _by_columns(column, x)

    def scattered(self, y: Array, size: int) -> Array:
        """The adjoint product, a vector or block of ``size`` rows: slow, for where the other side is not at hand."""

        def column(y: Array) -> Array:
            y = y if self.owner is None else _at(y, self.owner)
            return jnp.zeros(size, y.dtype).at[self.other].add(jnp.conj(self.values) * y[None, :])

        return _by_columns(column, y)


# In jax 0.8 only a loop that a derivative made can be transposed; there the columns go side by side, in more memory.
_LOOPS_TRANSPOSE = jax.__version_info__ >= (0, 10)


def _at(x: Array, index: Array) -> Array:
    return x.at[index].get(mode="promise_in_bounds")


def _by_columns(column: Callable[[Array], Array], x: Array) -> Array:
    """``column`` for every column of x, one after the other.

    A derivative with respect to the entries recomputes what it gathers: kept, that would be a vector for each slot.
    """
    if x.ndim == 1 or x.shape[1] == 1:
        return column(x.reshape(-1)).reshape(-1, *x.shape[1:])
    column = jax.checkpoint(column, prevent_cse=False)
    return lax.map(column, x.T).T if _LOOPS_TRANSPOSE else jax.vmap(column, in_axes=1, out_axes=1)(x)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SparseOperator(LinearOperator):
    """A sparse matrix by rows and, if the adjoint product is to be fast too, by ``columns``."""

    rows: Side
    columns: Side | None
    width: int = field(metadata={"static": True})

    opaque = False

    @classmethod
    def of(cls, data: Array, row: Any, column: Any, shape: tuple[int, int], *, both: bool, ascending: bool) -> Any:
        """Of the entries ``data`` at ``(row, column)``, in any order and more than one at a place; those out of bounds
        do not count. ``both``: by columns too. ``ascending`` promises that the rows ascend.
        """
        m, n = shape
        rows = Side.of(data, chunks(row, column, m, n, ascending=ascending), m)
        return cls(rows, Side.of(data, chunks(column, row, n, m), n) if both else None, n)

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.size, self.width

    @property
    def dtype(self) -> jnp.dtype:
        return self.rows.values.dtype

    def astype(self, dtype: Any) -> SparseOperator:
        """The same with entries of this dtype."""
        cast = lambda side: Side(side.values.astype(dtype), side.other, side.owner, side.size)  # noqa: E731
        return SparseOperator(cast(self.rows), None if self.columns is None else cast(self.columns), self.width)

    def apply(self, x: Array) -> Array:
        if self.columns is None:
            return self.rows.product(x)
        return _transposable(self.rows, self.columns, x, conjugate=False)

    def apply_adjoint(self, y: Array) -> Array:
        if self.columns is None:
            return self.rows.scattered(y, self.width)
        return _transposable(self.columns, self.rows, y, conjugate=True)

    def magnitude(self) -> Array:
        return largest_entry(self.rows.values)

    def as_matrix(self) -> Array:
        return jnp.zeros(self.shape, self.dtype).at[self._row_of_slots(), self.rows.other].add(self.rows.values)

    def on_host(self) -> tuple[tuple[Array, ...], Callable[..., Any]]:
        shape = self.shape

        def build(values: np.ndarray, row: np.ndarray, column: np.ndarray) -> Any:
            return coo_array((values, (row, column)), shape=shape).tocsr()

        return self.entries(), build

    def entries(self) -> tuple[Array, Array, Array]:
        """``(values, row, column)`` of the entries, zeros among them, and more than one at a place if so."""
        return self.rows.values.ravel(), self._row_of_slots().ravel(), self.rows.other.ravel()

    def _row_of_slots(self) -> Array:
        owner = jnp.arange(self.rows.size, dtype=jnp.int32) if self.rows.owner is None else self.rows.owner
        return jnp.broadcast_to(owner, self.rows.other.shape)


def _transposable(side: Side, other: Side, x: Array, *, conjugate: bool) -> Array:
    """``side.product(x)``, whose transpose is the product of ``other``: JAX would make it of scatters.

    In the form that JAX can transpose by a function of ours, the last rows of a linear system:

        [ I   0 ]^-1 [ x ]   [  x  ]
        [ -M  I ]    [ 0 ] = [ M x ]
    """
    n = x.shape[0]

    def system(sign: int, z: Array) -> Array:
        return jnp.concatenate([z[:n], z[n:] + sign * side.product(z[:n], conjugate=conjugate)])

    def transposed(_: Any, z: Array) -> Array:
        return jnp.concatenate([z[:n] + other.product(z[n:], conjugate=conjugate), z[n:]])

    right = jnp.pad(x, ((0, side.size), *[(0, 0)] * (x.ndim - 1)))
    return lax.custom_linear_solve(partial(system, -1), right, lambda _, z: system(1, z), transposed)[n:]
