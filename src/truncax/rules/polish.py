"""One Newton step on kept factors, by the linear system of their derivative.

With the residuals ``R_U = A V - U C`` and ``R_V = A^H U - V C^H`` in the place of ``dA V`` and ``dA^H U``, the tangent
is the correction that removes them to first order: an error delta of the vectors becomes one of delta^2 over the gap.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..complement.solve import Recorder, SolveOptions
from ..numerics.products import times
from ..operators.operator import LinearOperator
from .eigh import invariant_tangent
from .svd import singular_tangent


class PolishedTriplets(NamedTuple):
    """``U`` (m, k) and ``V`` (n, k), not orthonormal yet; the products with A and A^H that they took."""

    U: Array
    V: Array
    products: Array


class PolishedPairs(NamedTuple):
    """``Q`` (n, k), not orthonormal yet; the products with A that it took."""

    Q: Array
    products: Array


def polished_triplets(
    operator: LinearOperator, U: Array, s: Array, V: Array, *, size: Array, which: str, options: SolveOptions
) -> PolishedTriplets:
    """``(U + X, V + Y)``; a triplet whose system is singular stays as it is."""
    RU, RV = operator.apply(V) - times(U, s), operator.apply_adjoint(U) - times(V, s)
    solve, k = Recorder(), s.shape[0]
    C = jnp.diag(s).astype(U.dtype)
    X, _, Y = singular_tangent(operator, U, C, V, RU, RV, size=size, which=which, options=options, solve=solve)
    return PolishedTriplets(U + X, V + Y, 2 * k * (solve.info.iterations + 2))


def polished_pairs(
    operator: LinearOperator, Q: Array, values: Array, *, size: Array, which: str, options: SolveOptions
) -> PolishedPairs:
    """``Q + X``; a pair whose system is singular stays as it is."""
    solve, k = Recorder(), values.shape[0]
    R = operator.apply(Q) - times(Q, values)
    H = jnp.diag(values).astype(Q.dtype)
    X, _ = invariant_tangent(operator, Q, H, R, size=size, which=which, options=options, solve=solve)
    return PolishedPairs(Q + X, k * (solve.info.iterations + 1))
