"""The full decomposition, cut after k; only the kept vectors of the longer side are formed."""

import jax.numpy as jnp

from ..numerics.products import adjoint, column_norms, matmul, times
from ..numerics.schur import ordered, schur
from ..operators.dense import DenseOperator
from .found import MOST_LEFTOVERS, Eigenpairs, SchurVectors, Triplets, best_first, ranking
from .refine import finish_schur, triplet_residuals


def dense_svd(operator: DenseOperator, k: int, which: str) -> Triplets:
    """All singular values of the array by LAPACK or cuSOLVER, the k best triplets by ``which`` kept.

    A long array is first reduced by QR, a wide one transposed: LAPACK takes up to twice as long for a wide one. Where
    all are kept they are those of ``jnp.linalg.svd``, to the sign.
    """
    m, n = operator.shape
    part = k < min(m, n)
    a = adjoint(operator.array) if m < n and part else operator.array
    q, r = jnp.linalg.qr(a) if m != n and part else (None, a)
    p, s, vh = jnp.linalg.svd(r, full_matrices=False)
    if which == "SM":
        p, s, vh = p[:, ::-1], s[::-1], vh[::-1]
    U, V = p[:, :k] if q is None else matmul(q, p[:, :k]), adjoint(vh[:k])
    U, V = (V, U) if m < n and part else (U, V)
    residuals = triplet_residuals(operator, U, s[:k], V, operator.apply(V))
    W = p[:, k : k + MOST_LEFTOVERS] if a.shape[0] <= a.shape[1] else adjoint(vh[k : k + MOST_LEFTOVERS])
    return Triplets(U, s[:k], V, residuals, s[k:], W, jnp.int32(0), jnp.int32(2 * k), jnp.ones((), bool))


def dense_eigh(operator: DenseOperator, k: int, which: str) -> Eigenpairs:
    """All eigenpairs of the array by LAPACK or cuSOLVER, the k best by ``which`` kept."""
    values, Q = jnp.linalg.eigh(operator.array)
    order, largest = best_first(values, which), jnp.max(jnp.abs(values))
    W = Q[:, order[k : k + MOST_LEFTOVERS]]
    values, Q, leftover = values[order[:k]], Q[:, order[:k]], values[order[k:]]
    residuals = column_norms(operator.apply(Q) - times(Q, values))
    return Eigenpairs(values, Q, residuals, leftover, W, largest, jnp.int32(0), jnp.int32(k), jnp.ones((), bool))


def dense_schur(operator: DenseOperator, k: int, which: str) -> SchurVectors:
    """The Schur form of the array by LAPACK, on the host if there is none elsewhere, the k best by ``which`` first."""
    form = schur(operator.array)
    form = ordered(form, -ranking(form.values, which))
    largest, norm = jnp.max(jnp.abs(form.values)), jnp.max(column_norms(operator.array))
    none = jnp.int32(0)
    return finish_schur(operator, form.Z[:, :k], form.values[k:], largest, norm, none, none, jnp.ones((), bool))
