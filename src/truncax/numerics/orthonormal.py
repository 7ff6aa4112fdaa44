"""Gram-Schmidt for a block of vectors against a basis, both stored by rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

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


class _Pass(NamedTuple):
    block: Block
    passes: Array
    clean: Array


class Near(NamedTuple):
    """Where a block may have parts at all: in ``size`` rows of the basis from ``start``, if ``only``, else anywhere."""

    start: Array
    size: int
    only: Array


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


def _projected(basis: Array, w: Array) -> tuple[Array, Array]:
    coefficients = _along(basis, w)
    return w - matmul(coefficients, basis), coefficients


def _projected_near(basis: Array, w: Array, near: Near) -> tuple[Array, Array]:
    rest, coefficients = _projected(lax.dynamic_slice_in_dim(basis, near.start, near.size), w)
    none = jnp.zeros((w.shape[0], basis.shape[0]), w.dtype)
    return rest, lax.dynamic_update_slice_in_dim(none, coefficients, near.start, axis=1)


def _orthogonal(x: Array) -> tuple[Array, Array]:
    """``(y, e)`` with ``x = e @ y``, ``e`` unitary, the rows of ``y`` orthogonal and the longest first.

    From the eigenvectors of the Gram matrix (SVQB, Stathopoulos and Wu, SIAM J. Sci. Comput. 23 (2002)): no
    factorisation of a long matrix. A row is accurate to rounding relative to the longest one.
    """
    if x.shape[0] == 1:
        return x, jnp.ones((1, 1), x.dtype)
    e = jnp.linalg.eigh(matmul(x, adjoint(x)))[1][:, ::-1]
    return matmul(adjoint(e), x), e


def orthonormalise(
    basis: Array, w: Array, spare: Callable[[], Array], *, near: Near | None = None, loose: float | None = None
) -> Block:
    """Split the rows of ``w`` into their parts in the span of the rows of ``basis`` and orthonormal rows outside.

    Block Gram-Schmidt until the products with the basis, which are measured, are below ``loose``, by default rounding
    error: after one pass alone they grow along a Krylov sequence (from 1e-15 to 1e-10 in a hundred steps). ``near``
    says to the first pass where it will find something. Rows of zeros are allowed in ``basis``: one that is not full
    yet. Where nothing but rounding error is left of ``w``, a row is a fresh random direction outside the span and its
    column of ``factor`` is exactly zero, so that a Krylov space which closes goes on elsewhere; ``spare`` makes the
    directions when they are needed. Where the space is exhausted, the row is zero.

    Source: the measured products take the place of the estimated ones of Simon, Math. Comp. 42 (1984).
    """
    loose = negligible(w.dtype) if loose is None else loose
    if near is None:
        rest, first = _projected(basis, w)
    else:
        rest, first = lax.cond(near.only, lambda: _projected_near(basis, w, near), lambda: _projected(basis, w))
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

    def again(state: _Pass) -> _Pass:
        block, passes, _ = state
        rest = block.rows - matmul(block.products, basis)
        y, inner = _orthogonal(times(rest.T, weights).T)
        lengths = row_norms(y)
        lengths = jnp.where(lengths <= negligible(w.dtype), 0, lengths)
        rows = times(y.T, jnp.where(lengths > 0, 1 / jnp.where(lengths > 0, lengths, 1), 0)).T
        coefficients = block.coefficients + matmul(block.factor, block.products)
        factor = times(matmul(block.factor, times(inner.T, 1 / weights).T), lengths)
        return measured(rows, factor, coefficients, passes + 1)

    def measured(rows: Array, factor: Array, coefficients: Array, passes: Array) -> _Pass:
        products, among = _along(basis, rows), matmul(rows, adjoint(rows))
        largest = jnp.maximum(jnp.max(jnp.abs(products)), jnp.max(jnp.abs(among - jnp.diag(jnp.diagonal(among)))))
        return _Pass(Block(rows, factor, coefficients, products, among), passes, largest <= loose)

    rows = lax.cond(jnp.all(alive), lambda: unit, refilled)
    start = measured(rows, factor, first, jnp.int32(0))
    return lax.while_loop(lambda s: ~s.clean & (s.passes < 5), again, start).block
