"""Tangent of the k kept eigenpairs of a Hermitian operator in their subspace form.

The outputs are ``Q`` (n, k) and ``H = Q^H A Q`` (k, k), with ``H = diag(l)`` at the point. Differentiating
``A Q = Q H`` with ``dQ = X`` in the complement of the kept vectors, P = I - Q Q^H:

    dH = Q^H dA Q
    P A X - X H = -P dA Q

Source: after Naumann, arXiv:2511.14651, and Kasim, arXiv:2011.04366.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..complement.deflation import Deflation, Spectral, by_eigenvectors, deflation
from ..complement.solve import Solve, SolveOptions, System, solve_self_adjoint
from ..numerics.products import adjoint, matmul, project_out, times
from ..numerics.tolerances import negligible
from ..operators.operator import LinearOperator


class InvariantTangent(NamedTuple):
    """``dQ`` (n, k), ``dH`` (k, k)."""

    dQ: Array
    dH: Array


def definite_sign(values: Array, which: str) -> Array:
    """The sign that makes ``P (A - l_j) P`` positive definite on the complement, for each kept pair.

    The discarded values lie above the smallest ones (+1), below the largest ones (-1), and between
    -|l_j| and |l_j| for those of largest magnitude (minus the sign of l_j). Of both ends the lower half of the kept
    values is the low one; of an odd number one more is high. The values may come in any order.
    """
    if which == "SA":
        return jnp.ones_like(values)
    if which == "LA":
        return -jnp.ones_like(values)
    if which == "LM":
        return jnp.where(values < 0, 1, -1).astype(values.dtype)
    if which == "BE":
        rank = jnp.argsort(jnp.argsort(values))
        return jnp.where(rank < values.shape[0] // 2, 1, -1).astype(values.dtype)
    raise ValueError(f"which must be 'LM', 'LA', 'SA' or 'BE', got {which!r}")


def discarded_part(operator: LinearOperator, Q: Array) -> Callable[[Array], Array]:
    """The product with ``P A P``, for vectors that P leaves as they are."""
    return lambda y: project_out(Q, operator.apply(y))


def invariant_deflation(operator: LinearOperator, Q: Array, W: Array, values: Array | None = None) -> Deflation:
    """The deflation of the complement system by the rows of ``W``, orthonormal and outside the kept ones.

    ``values``: their eigenvalues, where they are eigenvectors to rounding.
    """
    if values is not None:
        return by_eigenvectors(W, values)
    return deflation(discarded_part(operator, Q), project_out(Q, W.T))


class InvariantSystem(NamedTuple):
    """The complement system, and the pairs whose column it determines (1, or 0 for a masked one)."""

    system: System
    mask: Array


def invariant_system(operator: LinearOperator, Q: Array, H: Array, size: Array, which: str) -> InvariantSystem:
    """The operator of the complement system; ``size`` is the order of the norm of A.

    With D the signs of ``definite_sign`` it is

        x -> P A P x - P x H + Q Q^H x (D size)

    The last term acts on span(Q) only. The solution has no part there, but without it the operator is
    singular, conjugate gradients still find the tangent, and the transposed solve is wrong by 60 % and more.
    A zero pair of "LM" (or of A = 0) has only zeros beside it, and no derivative: its column is masked.
    """
    PAP = discarded_part(operator, Q)
    values = lax.stop_gradient(jnp.diagonal(H).real)
    sign = definite_sign(values, which)
    shift = jnp.where(size > 0, size, 1)
    zeros_beside = (size == 0) | (which == "LM")
    mask = (~zeros_beside | (jnp.abs(values) > negligible(H.dtype) * size)).astype(values.dtype)

    def complement(x: Array) -> Array:
        y = times(project_out(Q, x), mask)
        return times(PAP(y) - matmul(y, H), mask) + times(x - y, sign * shift)

    spectral = Spectral(alpha=jnp.where(mask > 0, -sign * values, shift), beta=sign * mask, size=shift)
    return InvariantSystem(System(complement, operator.apply, spectral, sign, Q), mask)


def invariant_tangent(
    operator: LinearOperator,
    Q: Array,
    H: Array,
    dAQ: Array,
    *,
    size: Array,
    which: str,
    options: SolveOptions,
    solve: Solve | None = None,
) -> InvariantTangent:
    """The tangent from ``dAQ = dA Q`` (n, k), by the system of ``invariant_system``."""
    system, mask = invariant_system(operator, Q, H, size, which)
    X = (solve or solve_self_adjoint)(system, -times(project_out(Q, dAQ), mask), options)
    return InvariantTangent(project_out(Q, X), matmul(adjoint(Q), dAQ))
