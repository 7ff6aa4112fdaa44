"""Tangent of the k kept singular triplets in their subspace form.

The outputs are ``U`` (m, k), ``C = U^H A V`` (k, k) and ``V`` (n, k), with ``C = diag(s)`` at the point.
Differentiating ``A V = U C`` and ``A^H U = V C^H``, and letting ``dU = X`` and ``dV = Y`` stay in the
complement of the kept vectors (a rotation inside them is a change of basis, which ``C`` takes up):

    dC = U^H dA V
    X C   - Ap Y   = B  := P_U dA V          Ap = P_U A P_V,  P_U = I - U U^H,  P_V = I - V V^H
    Y C^H - Ap^H X = Bt := P_V dA^H U

No difference of kept values appears: the form is exact at any degeneracy inside the kept block. ``Ap`` is
the part of A that was discarded; a rule without it is wrong by s_{k+1} / s_k, to first order.

Source: after Naumann, arXiv:2511.14651; eliminated and scaled here.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..complement.deflation import Deflation, Spectral, by_eigenvectors, deflation
from ..complement.solve import Solve, SolveOptions, System, solve_self_adjoint
from ..numerics.products import adjoint, matmul, project_out, times
from ..numerics.tolerances import negligible
from ..operators.operator import Adjoint, LinearOperator


class SingularTangent(NamedTuple):
    """``dU`` (m, k), ``dC`` (k, k), ``dV`` (n, k)."""

    dU: Array
    dC: Array
    dV: Array


def discarded_part(operator: LinearOperator, U: Array, V: Array) -> tuple[Callable, Callable]:
    """The products with ``Ap = P_U A P_V``, for vectors that P_V leaves as they are, and with ``Ap^H``.

    ``Ap Ap^H`` has P_V between its two products: with that left out the solve does not converge once
    s_k / s_1 < 1e-8.
    """

    def forward(y: Array) -> Array:
        return project_out(U, operator.apply(y))

    def adjoint_(x: Array) -> Array:
        return project_out(V, operator.apply_adjoint(project_out(U, x)))

    return forward, adjoint_


def singular_deflation(
    operator: LinearOperator, U: Array, V: Array, W: Array, values: Array | None = None
) -> Deflation:
    """The deflation of the complement system by the rows of ``W``, orthonormal, on the shorter side (the left one if
    m = n).

    ``values``: their singular values, where they are singular vectors to rounding.
    """
    if values is not None:
        return by_eigenvectors(W, values**2)
    m, n = operator.shape
    if m > n:
        return singular_deflation(Adjoint(operator), V, U, W)
    Ap, ApH = discarded_part(operator, U, V)
    return deflation(lambda w: Ap(ApH(w)), project_out(U, W.T))


def masked_inverse(C: Array, size: Array) -> Array:
    """``C^-1`` on the triplets with ``s > 32 eps size``, zero on the others: ``M (M C M + I - M)^-1 M``."""
    s = lax.stop_gradient(jnp.abs(jnp.diagonal(C)))
    kept = jnp.diag(s > negligible(C.dtype) * size).astype(C.dtype)
    one = jnp.eye(C.shape[0], dtype=C.dtype)
    inside = matmul(kept, matmul(C, kept))
    return matmul(kept, matmul(jnp.linalg.inv(inside + one - kept), kept))


def singular_system(operator: LinearOperator, U: Array, C: Array, V: Array, size: Array, which: str) -> System:
    """The operator of the eliminated system for m <= n; ``size`` is the largest singular value.

    Where the largest values are kept it is

        x -> x - Ap Ap^H x (C^H C)^-1

    positive definite on the whole space: its eigenvalues are ``1 - s_l^2 / s_j^2`` for the discarded s_l, and 1.
    Where the smallest are kept it is

        x -> Ap Ap^H x - x C C^H + U U^H x size^2

    with the eigenvalues ``s_l^2 - s_j^2``, and ``size^2`` from the last term: without it the operator would be singular
    and the transposed solve wrong.
    """
    Ap, ApH = discarded_part(operator, U, V)
    one = jnp.ones_like(jnp.diagonal(C).real)

    def AAH(x: Array) -> Array:
        return operator.apply(project_out(V, operator.apply_adjoint(x)))

    if which == "SM":
        CCH = matmul(C, adjoint(C))

        def complement(x: Array) -> Array:
            y = project_out(U, x)
            return Ap(ApH(y)) - matmul(y, CCH) + times(x - y, size**2)

        return System(complement, AAH, Spectral(-jnp.diagonal(CCH).real, one, size**2), one, U)
    Ci = masked_inverse(C, size)
    G = matmul(Ci, adjoint(Ci))
    spectral = Spectral(one, -jnp.diagonal(G).real, jnp.ones_like(size))
    return System(lambda x: x - matmul(Ap(ApH(x)), G), AAH, spectral, one, U)


def singular_tangent(
    operator: LinearOperator,
    U: Array,
    C: Array,
    V: Array,
    dAV: Array,
    dAHU: Array,
    *,
    size: Array,
    which: str,
    options: SolveOptions,
    solve: Solve | None = None,
) -> SingularTangent:
    """The tangent from ``dAV = dA V`` (m, k) and ``dAHU = dA^H U`` (n, k), by the system of ``singular_system``.

    On the smaller side, for m <= n with ``Y = (Bt + Ap^H X) C^-H``. Where the largest values are kept, scaled by
    ``X = Xh C^-1``; where the smallest are kept, as it is:

        Xh - Ap Ap^H Xh (C^H C)^-1 = B + Ap Bt C^-H
        Ap Ap^H X - X C C^H = -(B C^H + Ap Bt)

    For m > n the roles are exchanged. Where s_j = 0, Y_j = 0, and X_j = 0 where the largest are kept.
    """
    m, n = operator.shape
    if m > n:
        flipped = singular_tangent(
            Adjoint(operator), V, adjoint(C), U, dAHU, dAV, size=size, which=which, options=options, solve=solve
        )
        return SingularTangent(flipped.dV, adjoint(flipped.dC), flipped.dU)
    Ap, ApH = discarded_part(operator, U, V)
    B, Bt = project_out(U, dAV), project_out(V, dAHU)
    Ci = masked_inverse(C, size)
    system, solve = singular_system(operator, U, C, V, size, which), solve or solve_self_adjoint
    if which == "SM":
        X = project_out(U, solve(system, -(matmul(B, adjoint(C)) + Ap(Bt)), options))
    else:
        X = matmul(solve(system, B + Ap(matmul(Bt, adjoint(Ci))), options), Ci)
    return SingularTangent(X, matmul(adjoint(U), dAV), matmul(Bt + ApH(X), adjoint(Ci)))
