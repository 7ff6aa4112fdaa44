"""Tangent of k Schur vectors of a general operator.

The outputs are ``Q`` (n, k), orthonormal, and ``T = Q^H A Q`` (k, k), upper triangular at the point, both complex; or
real, of a real A with real eigenvalues.
Differentiating ``A Q = Q T`` with ``dQ = X`` in the complement of the kept vectors, P = I - Q Q^H:

    P A X - X T = -P dA Q
    dT = Q^H (dA Q + A X)

T couples the columns, so that all of them are solved for at once. No difference of kept values appears, and a T that
has no basis of eigenvectors is as good as any other.

The left vectors of the same values are ``Y = Q + Z`` with Z in the complement and ``Y^H Q = 1``, ``Y^H A = T Y^H``:

    P A^H Z - Z T^H = -P A^H Q

Source: after Naumann, arXiv:2511.14651.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..complement.solve import CoupledSystem, SolveOptions, solve_coupled
from ..numerics.derivative import independent
from ..numerics.products import adjoint, column_norms, matmul, project_out, times
from ..numerics.tolerances import negligible, shift_tolerance
from ..operators.operator import LinearOperator


class SchurTangent(NamedTuple):
    """``dQ`` (n, k), ``dT`` (k, k)."""

    dQ: Array
    dT: Array


class SchurSystem(NamedTuple):
    """The complement system, the factors (k,) that its columns were multiplied by, zero for a masked one."""

    system: CoupledSystem
    factors: Array


def halfplane_factors(values: Array, size: Array, which: str) -> Array:
    """The factors ``d_j`` for which ``d_j (l_j - l)`` lies in the right half plane for every discarded l.

    What is kept has the largest magnitude: ``1 / l_j``, and the products lie in the unit circle around 1. Or it lies
    on one side of a line: a phase. Krylov methods converge where a half plane holds the eigenvalues of all columns;
    around the origin they do not.
    """
    if which == "LM":
        return 1 / jnp.where(values == 0, 1, values)
    up = jnp.where(values.imag >= 0, 1, -1).astype(values.dtype)
    one = jnp.ones_like(values)
    if which in ("LR", "SR"):
        phase = one if which == "LR" else -one
    else:
        phase = {"LI": -1j * up, "SI": 1j * up, "+I": -1j * one, "-I": 1j * one}[which]
    return times(phase, 1 / jnp.where(size > 0, size, 1))


def schur_system(operator: LinearOperator, Q: Array, T: Array, size: Array, which: str) -> SchurSystem:
    """The operator of the complement system; ``size`` is the order of the norm of A.

    With D the factors of ``halfplane_factors`` it is

        x -> (P x T - P A P x) D + Q Q^H x

    The last term makes it regular on span(Q), where the solution has no part; without it a transposed solve would be
    wrong. A zero value of "LM" (or of A = 0) has only zeros beside it, and no derivative: its column is masked.
    """
    values = lax.stop_gradient(jnp.diagonal(T))
    zeros_beside = (size == 0) | (which == "LM")
    mask = (~zeros_beside | (jnp.abs(values) > negligible(T.dtype) * size)).astype(size.dtype)
    factors = halfplane_factors(values, size, which) * mask.astype(values.dtype)

    def inside(x: Array) -> Array:
        return times(project_out(Q, x), mask)

    def matvec(x: Array) -> Array:
        y = inside(x)
        return project_out(Q, matmul(y, T) - operator.apply(y)) * factors[None, :] + (x - y)

    def adjoint_matvec(z: Array) -> Array:
        y = inside(z) * jnp.conj(factors)[None, :]
        return inside(matmul(y, adjoint(T)) - operator.apply_adjoint(y)) + (z - inside(z))

    return SchurSystem(CoupledSystem(matvec, adjoint_matvec), factors)


def schur_tangent(
    operator: LinearOperator, Q: Array, T: Array, dAQ: Array, *, size: Array, which: str, options: SolveOptions
) -> SchurTangent:
    """The tangent from ``dAQ = dA Q`` (n, k), by the system of ``schur_system``."""
    system, factors = schur_system(operator, Q, T, size, which)
    X = project_out(Q, solve_coupled(system, project_out(Q, dAQ) * factors[None, :], options))
    return SchurTangent(X, matmul(adjoint(Q), dAQ + operator.apply(X)))


def left_vectors(
    operator: LinearOperator, Q: Array, T: Array, *, size: Array, which: str, options: SolveOptions
) -> Array:
    """``Y`` (n, k) with ``Y^H A = T Y^H`` and ``Y^H Q = 1``, by the adjoint of the system of ``schur_system``.

    There a column needs those after it. Where one of these is masked and was not zero, because what is discarded is
    nilpotent and not zero, the columns before it are wrong: ``left_eigenvectors`` measures that.
    """
    system, factors = schur_system(operator, Q, T, size, which)
    Z = solve_coupled(system.adjoint(), project_out(Q, operator.apply_adjoint(Q)), options)
    return Q + project_out(Q, Z * jnp.conj(factors)[None, :])


def left_eigenvectors(
    operator: LinearOperator, Y: Array, W: Array, values: Array, *, size: Array, options: SolveOptions
) -> Array:
    """``L = Y W^-H`` (n, k) with ``L^H A = diag(l) L^H``; NaN where that does not hold or W has no inverse."""
    L = matmul(Y, adjoint(jnp.linalg.inv(W)))
    rest = operator.apply_adjoint(L) - L * jnp.conj(values)[None, :]
    rest, lengths = (column_norms(lax.stop_gradient(x)) for x in (rest, L))
    good = rest <= (shift_tolerance(size.dtype) + 16 * options.tol) * size * lengths
    good = (good | options.keep) & independent(W)
    return times(L, jnp.where(good, 1, jnp.nan).astype(size.dtype))


def two_sided_quotient(operator: LinearOperator, vectors: tuple[Array, Array]) -> Array:
    """``l_j^H A r_j / l_j^H r_j``, stationary at left and right eigenvectors."""
    L, R = vectors
    return jnp.sum(jnp.conj(L) * operator.apply(R), axis=0) / jnp.sum(jnp.conj(L) * R, axis=0)
