"""Thick-restart Lanczos with full reorthogonalisation for a Hermitian operator.

The basis is stored by rows. ``H = Q^H A Q`` comes from the Gram-Schmidt coefficients, so that it is the exact
projection whatever direction comes next: a restart, a fresh random one.

Source: Wu and Simon, SIAM J. Matrix Anal. Appl. 22 (2000).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.orthonormal import orthonormalise, random_directions
from ..numerics.products import adjoint, matmul
from ..operators.operator import Operator
from ..options import Lanczos
from .found import Eigenpairs, best_first
from .refine import hermitian_rayleigh_ritz, polar_step
from .restart import RestartState, first_cycle, is_settled, kept_size, next_restart, probe_length


class _State(NamedTuple):
    Q: Array
    ritz: Array
    values: Array
    H: Array
    restart: RestartState
    cycles: Array
    products: Array


def relative_gap(values: Array, k: int, which: str) -> Array:
    """The gap at the cut in units of the spread of what is not kept, for the probe's operator."""
    if values.shape[0] <= k:
        return jnp.ones_like(values[0])
    rank = jnp.abs(values) if which == "LM" else values
    spread = jnp.max(values) - jnp.min(values)
    return jnp.abs(rank[k - 1] - rank[k]) / jnp.where(spread > 0, spread, 1)


def lanczos(
    operator: Operator, k: int, which: str, options: Lanczos, tol: Array, start: Array | None, key: Array
) -> Eigenpairs:
    """The k best eigenpairs by ``which`` ("LM", "LA", "SA").

    ``tol`` bounds the estimated residual ``beta |e^H y_i|`` relative to the largest Ritz value.
    """
    n, dtype = operator.shape[1], operator.dtype
    ncv = options.basis_size(k, n)
    keep_most = kept_size(k, ncv)
    index = jnp.arange(ncv, dtype=jnp.int32)
    random = random_directions(key, n, dtype)

    def fill(j, carry):
        Q, H, _, first = carry
        q = orthonormalise(Q, operator.apply(Q[j]), lambda: random(first + j))
        return Q.at[j + 1].set(q.unit), H.at[:, j].set(q.coefficients[:ncv]), q.norm, first

    def cycle(state: _State) -> _State:
        restart = state.restart
        first = 1 + state.cycles * (ncv + 2)
        kept = index < restart.keep
        Q = jnp.zeros_like(state.Q).at[:keep_most].set(matmul(state.ritz[:, :keep_most].T, state.Q[:ncv]))
        Q = jnp.where(jnp.append(kept, False)[:, None], Q, 0)
        direction = lax.cond(restart.fresh, lambda: random(first + ncv), lambda: state.Q[ncv])
        Q = Q.at[restart.keep].set(orthonormalise(Q, direction, lambda: random(first + ncv + 1)).unit)
        H = jnp.where(kept[:, None] & kept[None, :], state.H, 0)
        carry = (Q, H, jnp.zeros_like(state.values[0]), first)
        Q, H, beta, _ = lax.fori_loop(restart.keep, ncv, fill, carry)
        H = jnp.triu(H) + adjoint(jnp.triu(H, 1))
        values, ritz = jnp.linalg.eigh(H, symmetrize_input=False)
        order = best_first(values, which)
        # As in golub_kahan: H goes on as what the polished rotation makes of it, not as a rounded diagonal.
        values, ritz = values[order], polar_step(ritz[:, order])
        H = matmul(adjoint(ritz), matmul(H, ritz))
        largest = jnp.max(jnp.abs(values))
        converged = jnp.all(beta * jnp.abs(ritz[-1, :k]) <= tol * largest)
        first_left = min(k, ncv - 1)
        rank = jnp.abs(values) if which == "LM" else values
        residual = beta * jnp.abs(ritz[-1, first_left])
        settled = is_settled(residual, jnp.abs(rank[k - 1] - rank[first_left]), tol, largest)
        needed = probe_length(relative_gap(values, k, which), n)
        decision = next_restart(
            restart, values[:k], converged, settled, largest=largest, needed=needed, tol=tol, k=k, ncv=ncv, size=n
        )
        products = state.products + ncv - restart.keep
        return _State(Q, ritz, values, H, decision, state.cycles + 1, products)

    if start is None:
        start = random(jnp.int32(0))
    real = jnp.finfo(dtype).dtype
    state = _State(
        Q=jnp.zeros((ncv + 1, n), dtype).at[ncv].set(start),
        ritz=jnp.eye(ncv, dtype=dtype),
        values=jnp.zeros((ncv,), real),
        H=jnp.zeros((ncv, ncv), dtype),
        restart=first_cycle(k, real),
        cycles=jnp.int32(0),
        products=jnp.int32(0),
    )
    end = lax.while_loop(lambda s: ~s.restart.done & (s.cycles < options.restart_limit), cycle, state)
    Q = matmul(end.ritz[:, :k].T, end.Q[:ncv]).T
    values, Q = hermitian_rayleigh_ritz(operator, Q, which)
    return Eigenpairs(values, Q, end.values[k:], end.cycles, end.products + k, end.restart.done)
