"""The small dense problem inside a Krylov method: Rayleigh-Ritz on a basis that is only partly filled.

What is not filled yet gets a value of its own, larger than all others, so that no null vector mixes into it.

A restart multiplies the bases by these rotations and the projected matrix with them, never by a rounded diagonal: in
float32 the backward error of a small decomposition, once a restart, would set the floor of the residual. So the
rotations are polished until they are unitary to rounding.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.derivative import singular_rotations
from ..numerics.products import adjoint, column_norms, matmul, times
from ..numerics.tolerances import negligible, small_turn
from .found import best_first

# LAPACK on a CPU runs the SVD above the first size, and eigh above the second, in threads that go on spinning for
# some 20 ms beside XLA's own and halve the speed of the products that follow.
_QUIET_SVD, _QUIET_EIGH = 40, 64
# Below this s_k / s_1 the Gram matrix knows too little of the k-th singular value.
_GRAM_LIMIT = 1e-4


def polar_step(Q: Array) -> Array:
    """One Newton-Schulz step towards orthonormal columns: ``Q + Q (I - Q^H Q) / 2``.

    Restarts leave a defect of a few eps each; the step squares it. Written as a correction, it rounds once.
    """
    defect = jnp.eye(Q.shape[1], dtype=Q.dtype) - matmul(adjoint(Q), Q)
    return Q + matmul(Q, defect) / 2


def singular_rayleigh_ritz(B: Array, count: Array, k: int) -> tuple[Array, Array, Array, Array, Array]:
    """``(P, s, Q, D, defects)`` with ``P^H B Q = D``, ``diag(s)`` but for rounding, for the leading ``count`` rows and
    columns of B.

    ``defects`` are the norms of what is left of each triplet beside the diagonal, zero where that is rounding; the
    columns of P and Q after ``count`` are meaningless.
    """
    ncv = B.shape[0]
    live = jnp.arange(ncv, dtype=jnp.int32) < count
    B = jnp.where(live[:, None] & live[None, :], B, 0)
    beyond = 2 * jnp.linalg.norm(B) + 1
    padded = B + jnp.diag(jnp.where(live, 0, beyond).astype(B.dtype))
    if _QUIET_SVD < ncv <= _QUIET_EIGH:
        left, s, right = _svd_by_gram(padded, count, k)
    else:
        left, s, right = _svd(padded)
    left, s, right = (jnp.roll(x, count - ncv, axis=-1) for x in (left, s, right))
    left, right = polar_step(left), polar_step(right)
    inside = jnp.where(live[None, :], matmul(adjoint(left), matmul(B, right)), 0)
    beside = inside - jnp.diag(jnp.diagonal(inside))
    defects = jnp.maximum(column_norms(beside), column_norms(adjoint(beside)))
    # Rounding is not a defect: in float32 it would keep the bounds above the tolerance for ever.
    defects = jnp.where(defects <= negligible(B.dtype) * jnp.max(jnp.where(live, s, 0)), 0, defects)
    return left, jnp.where(live, s, 0), right, inside, defects


def _svd(B: Array) -> tuple[Array, Array, Array]:
    left, s, right_h = jnp.linalg.svd(B)
    return left, s, adjoint(right_h)


def _svd_by_gram(B: Array, count: Array, k: int) -> tuple[Array, Array, Array]:
    """The SVD from ``B^H B = Q diag(s^2) Q^H``, ``B Q = P R``, and one first-order correction of P and Q."""
    ncv = B.shape[0]
    right = jnp.linalg.eigh(matmul(adjoint(B), B))[1][:, ::-1]
    left, r = jnp.linalg.qr(matmul(B, right))
    phase = jnp.sign(jnp.diagonal(r))
    left = left * jnp.where(phase == 0, 1, phase)[None, :]

    def corrected() -> tuple[Array, Array, Array]:
        inside = matmul(adjoint(left), matmul(B, right))
        s = jnp.diagonal(inside).real
        beside = inside - jnp.diag(jnp.diagonal(inside))
        # Where the Gram matrix has left two directions mixed, far below the wanted ones, the first order means nothing.
        turns = singular_rotations(s, beside, negligible(B.dtype) * s[0])
        turn_left, turn_right = (jnp.where(jnp.abs(x) <= small_turn(B.dtype), x, 0) for x in turns)
        return left + matmul(left, turn_left), s, right + matmul(right, turn_right)

    s = jnp.abs(jnp.diagonal(r))
    last, first = s[jnp.minimum(ncv - count + k, ncv) - 1], s[jnp.minimum(ncv - count, ncv - 1)]
    return lax.cond(last > _GRAM_LIMIT * first, corrected, lambda: _svd(B))


def from_upper(H: Array) -> Array:
    """The Hermitian matrix with the upper triangle of H."""
    return jnp.triu(H) + adjoint(jnp.triu(H, 1))


def hermitian_rayleigh_ritz(H: Array, count: Array, which: str) -> tuple[Array, Array]:
    """``(l, Y)`` with ``Y^H H Y = diag(l)`` for the leading ``count`` rows and columns of H, best first.

    The columns of Y after ``count`` are meaningless.
    """
    live = jnp.arange(H.shape[0], dtype=jnp.int32) < count
    H = jnp.where(live[:, None] & live[None, :], H, 0)
    H = from_upper(H)
    beyond = 2 * jnp.linalg.norm(H) + 1
    values, ritz = jnp.linalg.eigh(H + jnp.diag(jnp.where(live, 0, beyond).astype(H.dtype)), symmetrize_input=False)
    order = best_first(values, which, count)
    return jnp.where(live, values[order], 0), polar_step(ritz[:, order])


def settle_ties(values: Array, residuals: Array, count: Array, k: int, turn: Callable[[Array], Any], else_: Any) -> Any:
    """``turn(R)`` with a unitary R that brings what is settled to the front of a tie at the cut, or ``else_``.

    Where values on both sides of the cut are equal to rounding, which vectors of the tie come first is a matter of
    chance: those that have converged would make room for copies that rounding has just brought up, again and again. R
    mixes the vectors of the tie only, so that their residuals, whose Gram matrix is ``residuals``, are orthogonal and
    ascend; the other kept ones stand before them, the others after them.
    """
    index = jnp.arange(values.shape[0], dtype=jnp.int32)
    live = index < count
    width = negligible(values.dtype) * jnp.max(jnp.where(live, jnp.abs(values), 0))
    tied = live & (jnp.abs(values - values[k - 1]) <= width)

    def settled() -> Any:
        inside = jnp.where(tied[:, None] & tied[None, :], residuals, 0)
        size = jnp.trace(inside).real
        inside = times(inside, 1 / jnp.where(size > 0, size, 1))
        place = jnp.where(index < k, -2, 2) + index.astype(values.dtype) / len(index)
        inside = inside + jnp.diag(jnp.where(tied, 0, place).astype(inside.dtype))
        return turn(polar_step(jnp.linalg.eigh(inside)[1]))

    return lax.cond(jnp.any(tied & (index >= k)), settled, lambda: else_)
