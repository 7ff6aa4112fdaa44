"""The last step of an iterative solver: orthonormality and Rayleigh-Ritz on the k vectors that were found."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

from ..numerics.products import adjoint, column_norms, matmul, times
from ..numerics.schur import triangular_eigenvectors
from ..numerics.tolerances import semiorthogonal
from ..operators.operator import LinearOperator, Scaled
from ..operators.promoted import promoted
from ..operators.quotient import Quotient
from .found import Eigenpairs, SchurVectors, Triplets, best_first
from .small import polar_step


def orthonormal(U: Array) -> Array:
    """Orthonormal columns next to those of ``U``, whose Gram matrix differs from 1 by some percent at most."""
    return polar_step(polar_step(polar_step(U)))


def is_orthonormal(U: Array) -> Array:
    """Whether the columns are, but for ``sqrt(eps)``. Copies of one vector have small residuals too."""
    defect = matmul(adjoint(U), U) - jnp.eye(U.shape[1], dtype=U.dtype)
    return jnp.max(jnp.abs(defect)) <= semiorthogonal(U.dtype)


def finish_triplets(
    operator: LinearOperator,
    U: Array,
    V: Array,
    leftover: Array,
    W: Array,
    iterations: Array,
    products: Array,
    verified: Array,
) -> Triplets:
    """The triplets ``(U p, s, V q)`` with ``U^H A V = p diag(s) q^H``, and their residuals, from 2 k new products."""
    U, V = polar_step(U), polar_step(V)
    verified = verified & is_orthonormal(U) & is_orthonormal(V)
    AV = operator.apply(V)
    p, s, qh = jnp.linalg.svd(matmul(adjoint(U), AV))
    p, q = polar_step(p), polar_step(adjoint(qh))
    U, V, AV = matmul(U, p), matmul(V, q), matmul(AV, q)
    residuals = triplet_residuals(operator, U, s, V, AV)
    return Triplets(U, s, V, residuals, leftover, W, iterations, products + 2 * s.shape[0], verified)


def triplet_residuals(operator: LinearOperator, U: Array, s: Array, V: Array, AV: Array) -> Array:
    """The larger of ``||A v - s u||`` and ``||A^H u - s v||`` for each triplet."""
    left = column_norms(operator.apply_adjoint(U) - times(V, s))
    return jnp.maximum(column_norms(AV - times(U, s)), left)


def finish_eigenpairs(
    operator: LinearOperator,
    Q: Array,
    which: str,
    leftover: Array,
    W: Array,
    largest: Array,
    iterations: Array,
    products: Array,
    verified: Array,
) -> Eigenpairs:
    """The pairs ``(l, Q y)`` with ``Q^H A Q = y diag(l) y^H``, and their residuals, from k new products."""
    Q = polar_step(Q)
    verified = verified & is_orthonormal(Q)
    AQ = operator.apply(Q)
    values, y = jnp.linalg.eigh(matmul(adjoint(Q), AQ))
    order = best_first(values, which)
    values, y = values[order], polar_step(y[:, order])
    Q, AQ = matmul(Q, y), matmul(AQ, y)
    residuals = column_norms(AQ - times(Q, values))
    products = products + values.shape[0]
    return Eigenpairs(values, Q, residuals, leftover, W, largest, iterations, products, verified)


def finish_schur(
    operator: LinearOperator,
    Q: Array,
    leftover: Array,
    largest: Array,
    norm: Array,
    iterations: Array,
    products: Array,
    verified: Array,
) -> SchurVectors:
    """The triangular ``T = Q^H A Q`` of complex Schur vectors, and the residuals, from k new products.

    What Q^H A Q has below its diagonal is part of the residual.
    """
    Q = polar_step(Q)
    verified = verified & is_orthonormal(Q)
    AQ = promoted(operator, Q.dtype).apply(Q)
    T = jnp.triu(matmul(adjoint(Q), AQ))
    rest = AQ - matmul(Q, T)
    of_pairs = column_norms(matmul(rest, triangular_eigenvectors(T)))
    values, products = jnp.diagonal(T), products + Q.shape[1]
    return SchurVectors(
        values, Q, T, column_norms(rest), of_pairs, leftover, largest, norm, iterations, products, verified
    )


class Conjugated(NamedTuple):
    """``pairs`` of a ``Quotient`` whose ``Q`` is orthonormal, real of a real one; ``Q R`` are eigenvectors, orthonormal
    under B, with a triangular ``R``, so that ``T = R diag(l) R^-1`` stands beside Q in the Schur form.
    """

    pairs: Eigenpairs
    R: Array
    T: Array


def finish_quotient(operator: Scaled, quotient: Quotient, found: SchurVectors, which: str) -> Conjugated:
    """Rayleigh-Ritz under B in the span of the Schur vectors of the ``operator``, which is ``quotient``, scaled.

    The residuals are those of unit eigenvectors. 2 k new products.
    """
    Q, k = found.Q, found.Q.shape[1]
    if not jnp.issubdtype(operator.dtype, jnp.complexfloating):
        # The span has a real basis, which the real and imaginary parts of any other one span.
        Q = jnp.linalg.svd(jnp.concatenate([Q.real, Q.imag], axis=1), full_matrices=False)[0][:, :k]
    gram = matmul(adjoint(Q), quotient.b.apply(Q))
    form = matmul(adjoint(Q), times(quotient.form(Q), 1 / operator.scale))
    lower = jnp.linalg.cholesky(gram)
    half = solve_triangular(lower, form, lower=True)
    core = solve_triangular(lower, adjoint(half), lower=True)
    values, y = jnp.linalg.eigh((core + adjoint(core)) / 2)
    order = best_first(values, which)
    values = values[order]
    q, R = jnp.linalg.qr(solve_triangular(lower, polar_step(y[:, order]), trans="C", lower=True))
    Q = polar_step(matmul(Q, q))
    X = matmul(Q, R)
    residuals = column_norms(operator.apply(X) - times(X, values)) / column_norms(X)
    T = jnp.triu(adjoint(solve_triangular(R, adjoint(times(R, values)), trans="C")))
    pairs = Eigenpairs(
        values,
        Q,
        residuals,
        found.leftover.real,
        Q[:, :0].T,
        found.largest,
        found.iterations,
        found.products + 2 * k,
        found.verified,
    )
    return Conjugated(pairs, R, T)
