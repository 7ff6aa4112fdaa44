"""The full decomposition, cut after k; only the kept vectors of the longer side are formed."""

import jax.numpy as jnp
from jax import Array

from ..numerics.branch import replaced_unless
from ..numerics.products import adjoint, column_norms, matmul, times
from ..numerics.schur import ordered, schur
from ..numerics.tolerances import negligible, rounding_floor, tie_width
from ..operators.dense import DenseOperator
from ..operators.operator import Adjoint
from .found import Eigenpairs, SchurVectors, Triplets, best_first, largest_singular, ranking
from .refine import finish_schur, triplet_residuals
from .small import polar_step


def leftovers(size: int, k: int) -> int:
    """How many leftover vectors are handed over: where all are known, as many as cost less than the steps they save."""
    return min(size - k, max(64, 16 * k))


def dense_svd(operator: DenseOperator, k: int, which: str, tol: Array) -> Triplets:
    """All singular values of the array, the k best triplets by ``which`` kept.

    The largest come from the eigenvectors of ``a a^H`` or ``a^H a``, in a sixth of the time of an SVD, where the
    residuals that are measured are rounding, and not above ``tol``; those of kept values far below the largest are not.
    """
    if which == "SM" or k == min(operator.shape):
        return _by_svd(operator, k, which)
    found = _by_gram(operator, k)
    floor = rounding_floor(found.s.dtype, max(operator.shape), found.iterations)
    allowed = jnp.maximum(jnp.minimum(tol, negligible(found.s.dtype)), floor) * largest_singular(found)
    long = found.V if operator.shape[0] <= operator.shape[1] else found.U
    # A zero value leaves no direction there: its vector is zero, and so is its residual.
    apart = jnp.max(jnp.abs(matmul(adjoint(long), long) - jnp.eye(k, dtype=long.dtype)))
    good = jnp.all(found.residuals <= allowed) & (apart <= negligible(found.s.dtype))
    # What is squared costs the vectors s_1 / (2 s_k) more digits at the cut: not where there are few.
    last, top = found.s[-1], largest_singular(found)
    good &= (last - found.leftover[0] > tie_width(found.s.dtype) * top) | (last > top / 4)
    return replaced_unless(good, found, lambda operator: _by_svd(operator, k, which), operator)


def _by_svd(operator: DenseOperator, k: int, which: str) -> Triplets:
    """By LAPACK or cuSOLVER. Where all are kept they are those of ``jnp.linalg.svd``, to the sign.

    Else a long array is first reduced by QR, and all others are transposed: LAPACK takes up to twice as long for a wide
    one, and reads by columns what lies there by rows.
    """
    m, n = operator.shape
    part = k < min(m, n)
    turned = part and m <= n
    a = adjoint(operator.array) if turned else operator.array
    q, r = jnp.linalg.qr(a) if part and m != n else (None, a)
    p, s, vh = jnp.linalg.svd(r, full_matrices=False)
    if which == "SM":
        p, s, vh = p[:, ::-1], s[::-1], vh[::-1]
    U, V = p[:, :k] if q is None else matmul(q, p[:, :k]), adjoint(vh[:k])
    U, V = (V, U) if turned else (U, V)
    others, size = slice(k, k + leftovers(min(m, n), k)), min(m, n)
    return _triplets(operator, U, s, V, jnp.conj(vh[others, :size]), s[others])


def _by_gram(operator: DenseOperator, k: int) -> Triplets:
    """By the eigenvectors of ``a a^H``, or of the smaller ``a^H a``: relative errors of ``eps s_1 / s_j``."""
    m, n = operator.shape
    wide = operator if m <= n else Adjoint(operator)
    a = operator.array if m <= n else adjoint(operator.array)
    squares, Q = jnp.linalg.eigh(matmul(a, adjoint(a)), symmetrize_input=False)
    size, p = Q.shape[0], leftovers(Q.shape[0], k)
    best = Q[:, size - k :][:, ::-1]
    long = wide.apply_adjoint(best)
    s = jnp.concatenate([column_norms(long), jnp.sqrt(jnp.maximum(squares[: size - k], 0))[::-1]])
    long = polar_step(times(long, 1 / jnp.where(s[:k] > 0, s[:k], 1)))
    U, V = (best, long) if m <= n else (long, best)
    # The order of W is free; to turn a large array around costs as much as a product.
    W = Q[:, size - k - p : size - k].T
    return _triplets(operator, U, s, V, W, s[k : k + p][::-1])


def _triplets(operator: DenseOperator, U: Array, s: Array, V: Array, W: Array, W_values: Array) -> Triplets:
    k, verified = U.shape[1], jnp.ones((), bool)
    residuals = triplet_residuals(operator, U, s[:k], V, operator.apply(V))
    return Triplets(U, s[:k], V, residuals, s[k:], W, jnp.int32(0), jnp.int32(2 * k), verified, W_values)


def dense_eigh(operator: DenseOperator, k: int, which: str) -> Eigenpairs:
    """All eigenpairs of the array by LAPACK or cuSOLVER, the k best by ``which`` kept."""
    values, Q = jnp.linalg.eigh(operator.array)
    order, largest = best_first(values, which), jnp.max(jnp.abs(values))
    others = order[k : k + leftovers(values.shape[0], k)]
    W, W_values = Q[:, others].T, values[others]
    values, Q, leftover = values[order[:k]], Q[:, order[:k]], values[order[k:]]
    residuals = column_norms(operator.apply(Q) - times(Q, values))
    none, verified = jnp.int32(0), jnp.ones((), bool)
    return Eigenpairs(values, Q, residuals, leftover, W, largest, none, jnp.int32(k), verified, W_values)


def dense_schur(operator: DenseOperator, k: int, which: str) -> SchurVectors:
    """The Schur form of the array by LAPACK, on the host if there is none elsewhere, the k best by ``which`` first."""
    form = schur(operator.array)
    form = ordered(form, -ranking(form.values, which))
    largest, norm = jnp.max(jnp.abs(form.values)), jnp.max(column_norms(operator.array))
    none = jnp.int32(0)
    return finish_schur(operator, form.Z[:, :k], form.values[k:], largest, norm, none, none, jnp.ones((), bool))
