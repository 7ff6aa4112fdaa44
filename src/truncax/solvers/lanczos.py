"""Thick-restart block Lanczos with full reorthogonalisation for a Hermitian operator.

The basis is stored by rows. With j columns filled, and rows q_i as column vectors Q:

    A Q_j = Q_j H_j + Q_wait E          Q_wait: the ``width`` rows that wait to be multiplied by A

``H_j = Q_j^H A Q_j`` comes from the Gram-Schmidt coefficients, so that it is the exact projection whatever comes
next: a restart, a fresh random block, a start of many vectors. The rows of E stand in H below those of H_j, where
the waiting rows will be. A Ritz pair from ``H_j = Y diag(l) Y^H`` has the residual ``|E y_i|``.

Source: Wu and Simon, SIAM J. Matrix Anal. Appl. 22 (2000); Golub and Underwood 1977 for blocks.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.orthonormal import orthonormalise, random_directions
from ..numerics.products import adjoint, column_norms, matmul
from ..operators.operator import Operator
from ..options import Lanczos
from .found import Eigenpairs
from .refine import finish_eigenpairs
from .restart import Restart, Ritz, first_cycle, next_restart, start_block
from .small import hermitian_rayleigh_ritz


class _State(NamedTuple):
    Q: Array
    H: Array
    filled: Array
    width: Array
    ritz: Array
    values: Array
    top: Array
    bottom: Array
    restart: Restart
    cycles: Array
    restarts: Array
    products: Array


def lanczos(
    operator: Operator, k: int, which: str, options: Lanczos, tol: Array, start: Array | None, key: Array
) -> Eigenpairs:
    """The k best eigenpairs by ``which``.

    ``tol`` bounds the estimated residuals relative to the largest Ritz value; ``start`` holds vectors as rows.
    """
    n, dtype, real = operator.shape[1], operator.dtype, jnp.finfo(operator.dtype).dtype
    block, ncv = options.block(k, n), options.basis_size(k, n)
    given = 0 if start is None else start.shape[0]
    wait = max(block, given)
    index = jnp.arange(ncv, dtype=jnp.int32)
    random = random_directions(key, n, block, dtype)

    def fill(i, carry):
        Q, H, width, at, first = carry
        j = at + i * block
        q = lax.dynamic_slice_in_dim(Q, j, block)
        w = orthonormalise(Q, operator.apply(q.T).T, lambda: random(first + i))
        Q = lax.dynamic_update_slice_in_dim(Q, w.rows, j + width, axis=0)
        column = lax.dynamic_update_slice_in_dim(w.coefficients, w.factor, j + width, axis=1)
        return Q, lax.dynamic_update_slice_in_dim(H, column.T, j, axis=1), width, at, first

    def rotated(state: _State, first: Array) -> tuple[Array, Array, Array]:
        keep, fresh = state.restart.keep, state.restart.fresh
        ritz = jnp.where((index < keep)[None, :], state.ritz, 0)
        Q = matmul(ritz.T, state.Q[:ncv])
        waiting = lax.dynamic_slice_in_dim(state.Q, state.filled, wait)
        coupling = lax.dynamic_slice_in_dim(state.H, state.filled, wait)
        Q = jnp.concatenate([Q, jnp.zeros((wait, n), dtype)])
        begin = orthonormalise(Q, random(first), lambda: random(first + 1)).rows
        begin = jnp.concatenate([begin, jnp.zeros((wait - block, n), dtype)])
        Q = lax.dynamic_update_slice_in_dim(Q, jnp.where(fresh, begin, waiting), keep, axis=0)
        inner = jnp.triu(state.H[:ncv]) + adjoint(jnp.triu(state.H[:ncv], 1))
        H = matmul(adjoint(ritz), matmul(inner, ritz))
        H = jnp.concatenate([H, jnp.zeros((wait, ncv), dtype)])
        coupling = jnp.where(fresh, 0, matmul(coupling, ritz))
        H = lax.dynamic_update_slice_in_dim(H, coupling, keep, axis=0)
        return Q, H, jnp.where(fresh, block, state.width)

    def cycle(state: _State) -> _State:
        restart = state.restart
        first = 1 + state.cycles * (ncv + 4)
        Q, H, width = lax.cond(restart.rotate, rotated, lambda s, _: (s.Q, s.H, s.width), state, first + ncv)
        carry = (Q, H, width, restart.keep, first)
        Q, H, *_ = lax.fori_loop(0, restart.steps, fill, carry)
        filled = restart.keep + restart.steps * block
        count = jnp.minimum(filled, n)
        values, ritz = hermitian_rayleigh_ritz(H[:ncv], count, which)
        coupling = lax.dynamic_slice_in_dim(H, filled, wait)
        bounds = column_norms(matmul(coupling, ritz))
        live = index < count
        # The far end of the spectrum fades from a basis that restarts with the near one.
        top = jnp.maximum(state.top, jnp.max(values, where=live, initial=-jnp.inf))
        bottom = jnp.minimum(state.bottom, jnp.min(values, where=live, initial=jnp.inf))
        largest, spread = jnp.maximum(jnp.abs(top), jnp.abs(bottom)), top - bottom
        depth = beyond_cut(values, k, which)
        decision = next_restart(
            restart,
            Ritz(values, bounds, depth, largest),
            gap=lambda depth: depth / jnp.where(spread > 0, spread, 1),
            filled=filled,
            tol=tol,
            k=k,
            block=block,
            ncv=ncv,
            size=n,
        )
        return _State(
            Q, H, filled, width, ritz, values, top, bottom, decision, state.cycles + 1,
            state.restarts + restart.rotate.astype(jnp.int32), state.products + block * restart.steps,
        )  # fmt: skip

    Q = jnp.zeros((ncv + wait, n), dtype)
    noise = random_directions(key, n, wait, dtype)
    begin = noise(jnp.int32(0)) if start is None else start_block(start, noise(jnp.int32(0)))
    state = _State(
        Q=Q.at[:wait].set(orthonormalise(Q, begin, lambda: noise(jnp.int32(1))).rows),
        H=jnp.zeros((ncv + wait, ncv), dtype),
        filled=jnp.int32(0),
        width=jnp.int32(wait),
        ritz=jnp.eye(ncv, dtype=dtype),
        values=jnp.zeros((ncv,), real),
        top=jnp.asarray(-jnp.inf, real),
        bottom=jnp.asarray(jnp.inf, real),
        restart=first_cycle(k, block, given, ncv, real),
        cycles=jnp.int32(0),
        restarts=jnp.int32(0),
        products=jnp.int32(0),
    )

    def running(s: _State) -> Array:
        return ~s.restart.done & (s.restarts + s.restart.rotate.astype(jnp.int32) < options.restart_limit)

    end = lax.while_loop(running, cycle, state)
    Q = matmul(end.ritz[:, :k].T, end.Q[:ncv]).T
    leftover = jnp.where(index < jnp.minimum(end.filled, n), end.values, jnp.inf)[k:]
    largest = jnp.maximum(jnp.abs(end.top), jnp.abs(end.bottom))
    return finish_eigenpairs(operator, Q, which, leftover, largest, end.restarts + 1, end.products, end.restart.done)


def beyond_cut(values: Array, k: int, which: str) -> Array:
    """How far each Ritz value lies beyond the cut of ``which``: beyond the nearer of the two under "BE"."""
    if which == "BE":
        low = values[k - 1 - k % 2] if k > 1 else -jnp.inf
        return jnp.minimum(values[k - 2 + k % 2] - values, values - low)
    rank = {"LA": values, "SA": -values, "LM": jnp.abs(values)}[which]
    return rank[k - 1] - rank
