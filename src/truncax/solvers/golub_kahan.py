"""Thick-restart Golub-Kahan-Lanczos bidiagonalisation with full reorthogonalisation.

The bases are stored by rows. With j columns filled, and rows u_i, v_i as column vectors U, V:

    A V_j = U_j B_j                                   B_j = U_j^H A V_j, from the Gram-Schmidt coefficients
    A^H U_j = V_j B_j^H + beta v_{j+1} e_j^H

so that ``A V = U B`` holds to rounding whatever direction comes next: a restart, a fresh random one.

Source: Golub and Kahan 1965; Baglama and Reichel, SIAM J. Sci. Comput. 27 (2005).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.orthonormal import orthonormalise, random_directions
from ..numerics.products import adjoint, matmul
from ..operators.operator import Operator
from ..options import GolubKahan
from .found import Triplets
from .refine import polar_step, singular_rayleigh_ritz
from .restart import RestartState, first_cycle, is_settled, kept_size, next_restart, probe_length


class _State(NamedTuple):
    U: Array
    V: Array
    left: Array
    s: Array
    right: Array
    B: Array
    restart: RestartState
    cycles: Array
    products: Array


def golub_kahan(
    operator: Operator, k: int, options: GolubKahan, tol: Array, start: Array | None, key: Array
) -> Triplets:
    """The k largest singular triplets of an operator with at least as many rows as columns.

    ``tol`` bounds the estimated residual ``beta |e^H p_i|`` relative to ``s_1``; ``start`` is a right vector.
    """
    m, n = operator.shape
    dtype, ncv = operator.dtype, options.basis_size(k, n)
    keep_most = kept_size(k, ncv)
    index = jnp.arange(ncv, dtype=jnp.int32)
    random_v, random_u = (random_directions(key, size, dtype) for size in (n, m))

    def fill(j, carry):
        U, V, B, _, first = carry
        u = orthonormalise(U, operator.apply(V[j]), lambda: random_u(first + 2 * j))
        U = U.at[j].set(u.unit)
        B = B.at[:, j].set(u.coefficients + jnp.where(index == j, u.norm, 0).astype(dtype))
        v = orthonormalise(V, operator.apply_adjoint(u.unit), lambda: random_v(first + 2 * j + 1))
        return U, V.at[j + 1].set(v.unit), B, v.norm, first

    def cycle(state: _State) -> _State:
        restart = state.restart
        first = 1 + state.cycles * (2 * ncv + 2)
        kept = index < restart.keep
        U = jnp.zeros_like(state.U).at[:keep_most].set(matmul(state.left[:, :keep_most].T, state.U))
        V = jnp.zeros_like(state.V).at[:keep_most].set(matmul(state.right[:, :keep_most].T, state.V[:ncv]))
        U = jnp.where(kept[:, None], U, 0)
        V = jnp.where(jnp.append(kept, False)[:, None], V, 0)
        direction = lax.cond(restart.fresh, lambda: random_v(first + 2 * ncv), lambda: state.V[ncv])
        V = V.at[restart.keep].set(orthonormalise(V, direction, lambda: random_v(first + 2 * ncv + 1)).unit)
        B = jnp.where(kept[:, None] & kept[None, :], state.B, 0)
        carry = (U, V, B, jnp.zeros_like(state.s[0]), first)
        U, V, B, beta, _ = lax.fori_loop(restart.keep, ncv, fill, carry)
        left, s, right_h = jnp.linalg.svd(B)
        # A restart multiplies the bases by these rotations and B with them, never by a rounded diag(s): in
        # float32 the backward error of a small SVD, once a cycle, would set the floor of the residual.
        left, right = polar_step(left), polar_step(adjoint(right_h))
        B = matmul(adjoint(left), matmul(B, right))
        converged = jnp.all(beta * jnp.abs(left[-1, :k]) <= tol * s[0])
        gap = 1 - (s[k] / jnp.where(s[k - 1] > 0, s[k - 1], 1)) ** 2 if ncv > k else jnp.ones_like(beta)
        first_left = min(k, ncv - 1)
        residual = beta * jnp.abs(left[-1, first_left])
        settled = is_settled(residual, s[k - 1] - s[first_left], tol, s[0])
        needed = probe_length(gap, n)
        decision = next_restart(
            restart, s[:k], converged, settled, largest=s[0], needed=needed, tol=tol, k=k, ncv=ncv, size=n
        )
        products = state.products + 2 * (ncv - restart.keep)
        return _State(U, V, left, s, right, B, decision, state.cycles + 1, products)

    if start is None:
        start = random_v(jnp.int32(0))
    real = jnp.finfo(dtype).dtype
    one = jnp.eye(ncv, dtype=dtype)
    state = _State(
        U=jnp.zeros((ncv, m), dtype),
        V=jnp.zeros((ncv + 1, n), dtype).at[ncv].set(start),
        left=one,
        s=jnp.zeros((ncv,), real),
        right=one,
        B=one,
        restart=first_cycle(k, real),
        cycles=jnp.int32(0),
        products=jnp.int32(0),
    )
    end = lax.while_loop(lambda s: ~s.restart.done & (s.cycles < options.restart_limit), cycle, state)
    U = matmul(end.left[:, :k].T, end.U).T
    V = matmul(end.right[:, :k].T, end.V[:ncv]).T
    U, s, V = singular_rayleigh_ritz(operator, U, V)
    return Triplets(U, s, V, end.s[k:], end.cycles, end.products + k, end.restart.done)
