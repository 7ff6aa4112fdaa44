"""The squared distance of an operator from a matrix of low rank, row by row."""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..numerics.devices import several_devices
from ..numerics.products import adjoint, matmul
from .dense import DenseOperator
from .operator import Adjoint, LinearOperator

# Rows at a time, so that the residual itself is never made.
_ROWS = 256


def squared_distance(operator: LinearOperator, factors: tuple[Array, Array]) -> Array:
    """``||A - X Y||_F^2`` for factors (m, k), (k, n), from the residual itself, in groups of rows.

    Small ones come out right to ``eps ||A|| / ||A - X Y||``; ``||A||^2 - ||X Y||^2`` loses twice as many digits. What
    is no array gives its rows by products with unit vectors, on the shorter side.
    """
    x, y = factors
    m, n = operator.shape
    if not isinstance(operator, DenseOperator) and n < m:
        return squared_distance(Adjoint(operator), (adjoint(y), adjoint(x)))

    def distance(rows: Array, x: Array) -> Array:
        return jnp.sum(jnp.abs(rows - matmul(x, y)) ** 2)

    if several_devices() and isinstance(operator, DenseOperator):
        # A group of rows would be gathered from the devices that have them: each takes its own part, at once.
        return distance(operator.array, x)

    def group(first: int, count: int, size: int) -> Array:
        """The sum over ``count`` groups of ``size`` rows."""
        part = slice(first, first + count * size)
        xs = x[part].reshape(count, size, x.shape[1])
        if isinstance(operator, DenseOperator):
            rows = operator.array[part].reshape(count, size, n)
            terms = lax.map(lambda group: distance(*group), (rows, xs))
        else:
            index = jnp.arange(m, dtype=jnp.int32)[part].reshape(count, size)
            terms = lax.map(lambda group: distance(_rows(operator, group[0]), group[1]), (index, xs))
        return jnp.sum(terms)

    whole, rest = divmod(m, _ROWS)
    total = group(0, whole, _ROWS) if whole else jnp.zeros((), np.finfo(x.dtype).dtype)
    return total + group(m - rest, 1, rest) if rest else total


def _rows(operator: LinearOperator, index: Array) -> Array:
    unit = jnp.arange(operator.shape[0], dtype=index.dtype)[:, None] == index[None, :]
    return adjoint(operator.apply_adjoint(unit.astype(operator.dtype)))
