"""Gram-Schmidt for a block of vectors against a basis, both stored by rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .products import adjoint, materialised, matmul, row_norms, times
from .tolerances import negligible


class Block(NamedTuple):
    """What is left of a block outside a basis: ``w = coefficients @ basis + factor @ rows``."""

    rows: Array
    factor: Array
    coefficients: Array


def random_directions(key: Array, size: int, block: int, dtype: Any) -> Callable[[Array], Array]:
    """The function that gives the i-th block of random unit rows; complex dtypes get complex ones.

    Random frequencies x and phases y are made once, and the j-th direction is ``cos(j x + y)``, ``exp(i (j x + y))``
    if complex, whose correlation with every other one has mean zero: a generator at every place that may need a
    direction costs more to compile and to run than the solver.
    """
    x, y = jax.random.uniform(key, (2, size), jnp.finfo(dtype).dtype, maxval=2 * jnp.pi)

    def directions(i: Array) -> Array:
        j = (i * block + jnp.arange(1, block + 1, dtype=jnp.int32)).astype(x.dtype)
        angle = j[:, None] * x[None, :] + y[None, :]
        if jnp.issubdtype(dtype, jnp.complexfloating):
            return _normalised(lax.complex(jnp.cos(angle), jnp.sin(angle)))
        return _normalised(jnp.cos(angle))

    return directions


def _normalised(x: Array) -> Array:
    norms = row_norms(x)
    return times(x.T, 1 / jnp.where(norms > 0, norms, 1)).T


def _projected(basis: Array, w: Array) -> tuple[Array, Array]:
    coefficients = materialised(adjoint(matmul(basis, adjoint(w))))
    return w - matmul(coefficients, basis), coefficients


def _orthogonal(x: Array) -> tuple[Array, Array]:
    """``(y, e)`` with ``x = e @ y``, ``e`` unitary, the rows of ``y`` orthogonal and the longest first.

    From the eigenvectors of the Gram matrix (SVQB, Stathopoulos and Wu, SIAM J. Sci. Comput. 23 (2002)): no
    factorisation of a long matrix. A row is accurate to rounding relative to the longest one.
    """
    if x.shape[0] == 1:
        return x, jnp.ones((1, 1), x.dtype)
    e = jnp.linalg.eigh(matmul(x, adjoint(x)))[1][:, ::-1]
    return matmul(adjoint(e), x), e


def orthonormalise(basis: Array, w: Array, spare: Callable[[], Array]) -> Block:
    """Split the rows of ``w`` into their parts in the span of the rows of ``basis`` and orthonormal rows outside.

    Block Gram-Schmidt in two passes or more: after one alone, errors grow along a Krylov sequence (from 1e-15 to
    1e-10 in a hundred steps). Rows of zeros are allowed in ``basis``: one that is not full yet. Where nothing but
    rounding error is left of ``w``, a row is a fresh random direction outside the span and its column of ``factor``
    is exactly zero, so that a Krylov space which closes goes on elsewhere; ``spare`` makes the directions when they
    are needed. Where the space is exhausted, the row is zero.
    """
    rest, first = _projected(basis, w)
    y, outer = _orthogonal(rest)
    norms = row_norms(y)
    alive = ~(norms <= negligible(w.dtype) * jnp.max(row_norms(w)))
    unit = times(y.T, jnp.where(alive, 1 / jnp.where(alive, norms, 1), 0)).T
    factor = times(outer, jnp.where(alive, norms, 0))

    def refilled() -> Array:
        both = jnp.concatenate([basis, unit])
        fresh = _projected(both, _normalised(_projected(both, spare())[0]))[0]
        # A projection of rounding error is rounding error again; one of a direction outside keeps its length.
        outside = row_norms(fresh) > 0.5
        return jnp.where(alive[:, None], unit, jnp.where(outside[:, None], fresh, 0))

    # Weights that fall keep the rows apart and in their order: a random one must not mix with those that w needs.
    weights = jnp.linspace(1, 0.5, w.shape[0], dtype=norms.dtype)

    def again(state: tuple) -> tuple:
        rows, factor, coefficients, _, passes = state
        rest, more = _projected(basis, rows)
        y, inner = _orthogonal(times(rest.T, weights).T)
        lengths = row_norms(y)
        lengths = jnp.where(lengths <= negligible(w.dtype), 0, lengths)
        rows = times(y.T, jnp.where(lengths > 0, 1 / jnp.where(lengths > 0, lengths, 1), 0)).T
        coefficients = coefficients + matmul(factor, more)
        factor = times(matmul(factor, times(inner.T, 1 / weights).T), lengths)
        return rows, factor, coefficients, jnp.all((lengths > 0.1) | (lengths == 0)), passes + 1

    # Once as a rule; again where rows were nearly dependent on each other or on the basis.
    start = (lax.cond(jnp.all(alive), lambda: unit, refilled), factor, first, jnp.zeros((), bool), jnp.int32(0))
    rows, factor, coefficients, *_ = lax.while_loop(lambda s: ~s[3] & (s[4] < 5), again, start)
    return Block(rows, factor, coefficients)
