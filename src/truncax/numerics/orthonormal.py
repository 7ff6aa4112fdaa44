"""Gram-Schmidt for a block of vectors against a basis, both stored by rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .devices import varying_with
from .products import adjoint, materialised, matmul, row_norms, times
from .tolerances import negligible


class Block(NamedTuple):
    """What is left of a block outside a basis: ``w = coefficients @ basis + factor @ rows``.

    ``products`` are those that rounding has left, of the rows with the basis, ``rows @ basis^H``, ``among`` those of
    the rows with each other.
    """

    rows: Array
    factor: Array
    coefficients: Array
    products: Array
    among: Array


class Near(NamedTuple):
    """The ``size`` rows of a basis from ``start``, where most of what a block has in common with it will be."""

    start: Array
    size: int


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


def _along(basis: Array, w: Array) -> Array:
    return materialised(adjoint(matmul(basis, adjoint(w))))


def _without(basis: Array, w: Array, near: Near | None) -> tuple[Array, Array]:
    """``(rest, coefficients)`` with ``w = rest + coefficients @ basis``, by the rows that are ``near`` only."""
    coefficients = jnp.zeros((w.shape[0], basis.shape[0]), w.dtype)
    if near is None:
        return w, coefficients
    rows = lax.dynamic_slice_in_dim(basis, near.start, near.size)
    along = _along(rows, w)
    return w - matmul(along, rows), lax.dynamic_update_slice_in_dim(coefficients, along, near.start, axis=1)


def _gram(x: Array) -> Array:
    return matmul(x, adjoint(x))


def _lengths(gram: Array) -> Array:
    return jnp.sqrt(jnp.diagonal(gram).real)


def _orthogonal(x: Array) -> tuple[Array, Array]:
    """``(y, e)`` with ``x = e @ y``, ``e`` unitary, the rows of ``y`` orthogonal and the longest first.

    From the eigenvectors of the Gram matrix (SVQB, Stathopoulos and Wu, SIAM J. Sci. Comput. 23 (2002)): no
    factorisation of a long matrix. A row is accurate to rounding relative to the longest one.
    """
    if x.shape[0] == 1:
        return x, jnp.ones((1, 1), x.dtype)
    e = jnp.linalg.eigh(_gram(x))[1][:, ::-1]
    return matmul(adjoint(e), x), e


def _beside(rows: Array, w: Array) -> Array:
    """``w`` without its part along orthonormal rows: a random row must not turn those that stand beside it."""
    return w - matmul(_along(rows, w), rows)


# Refills and passes that a block gets, at most: two passes show that nothing is left of a row, of the last one too.
_REFILLS, _PASSES = 2, 8


def orthonormalise(
    basis: Array, w: Array, spare: Callable[[], Array], *, near: Near | None = None, loose: float | None = None
) -> Block:
    """Split the rows of ``w`` into their parts in the span of the rows of ``basis`` and orthonormal rows outside.

    Block Gram-Schmidt until the products with the basis, which are measured, are below ``loose``, by default rounding
    error; first with the rows that are ``near`` only, where there is likely nothing else to find. Rows of zeros are
    allowed in ``basis``: one that is not full yet. Where nothing but rounding error is left of ``w``, a row is a fresh
    random direction outside the span and its column of ``factor`` is exactly zero, so that a Krylov space which closes
    goes on elsewhere; ``spare`` makes the directions when they are needed. Where the space is exhausted, the row is
    zero.

    Source: the products that Simon, Math. Comp. 42 (1984), estimates are measured here.
    """
    loose = negligible(w.dtype) if loose is None else loose
    # Weights that fall keep the rows apart and in their order: a random one must not mix with those that w needs.
    weights = jnp.linspace(1, 0.5, w.shape[0], dtype=jnp.finfo(w.dtype).dtype)

    def again(state: _Pass) -> _Pass:
        products, lengths = _along(basis, state.rows), _lengths(_gram(state.rows))
        found = jnp.any(jnp.abs(products) > loose * lengths[:, None])
        removed = jnp.where(found, products, 0)
        rest = lax.cond(found, lambda: state.rows - matmul(removed, basis), lambda: state.rows)
        y, inner = _orthogonal(times(rest.T, weights).T if len(weights) > 1 else rest)
        lengths = _lengths(_gram(y))
        # A basis that is orthogonal to ``loose`` only leaves that much of a row inside it, at every pass anew.
        reach = lengths * jnp.sqrt(jnp.sum((jnp.abs(inner) * state.reach[:, None]) ** 2, axis=0))
        alive = ~(reach <= negligible(w.dtype) * size)
        inverse = jnp.where(alive, 1 / jnp.where(alive, lengths, 1), 0)
        refill = jnp.any(~alive) & (state.refills < _REFILLS)
        rows = times(y.T, inverse).T
        rows = lax.cond(refill, lambda: jnp.where(alive[:, None], rows, _beside(rows, spare())), lambda: rows)
        even = jnp.all(~alive | (lengths > 0.1 * jnp.max(lengths)))
        return _Pass(
            rows=rows,
            reach=jnp.where(alive, reach, size),
            factor=times(matmul(state.factor, times(inner.T, 1 / weights).T), jnp.where(alive, lengths, 0)),
            coefficients=state.coefficients + matmul(state.factor, removed),
            products=times(matmul(times(adjoint(inner), weights), products).T, inverse).T,
            refills=state.refills + refill.astype(jnp.int32),
            passes=state.passes + 1,
            clean=~found & ~refill & even,
        )

    rest, coefficients = _without(basis, w, near)
    size = jnp.max(_lengths(_gram(w)))
    size = jnp.where(size > 0, size, 1)
    start = _Pass(
        rows=rest,
        reach=jnp.ones_like(weights),
        factor=jnp.eye(w.shape[0], dtype=w.dtype),
        coefficients=coefficients,
        products=jnp.zeros_like(coefficients),
        refills=jnp.zeros((), jnp.int32),
        passes=jnp.zeros((), jnp.int32),
        clean=jnp.zeros((), bool),
    )
    end = lax.while_loop(lambda s: ~s.clean & (s.passes < _PASSES), again, varying_with(start, basis, w))
    return Block(end.rows, end.factor, end.coefficients, end.products, _gram(end.rows))


class _Pass(NamedTuple):
    """Rows on their way; ``reach``, what each is worth in terms of w."""

    rows: Array
    reach: Array
    factor: Array
    coefficients: Array
    products: Array
    refills: Array
    passes: Array
    clean: Array
