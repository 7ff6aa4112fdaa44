"""Thick-restart block Lanczos for a Hermitian operator, on a basis whose loss of orthogonality is measured.

The basis is stored by rows. With j columns filled, and rows q_i as column vectors Q:

    A Q_j = Q_j H_j + Q_wait E          Q_wait: the ``width`` rows that wait to be multiplied by A

H_j are the Gram-Schmidt coefficients, so that this holds to rounding whatever comes next: a restart, a fresh random
block, a start of many vectors. The rows of E stand in H below those of H_j, where the waiting rows will be. With
``G = Q^H Q``, close to the identity, and ``g = Q_j^H Q_wait``, the projection on the orthonormal ``N = Q_j S``,
``S = G_j^(-1/2)``, is

    T = N^H A N = S Q_j^H A Q_j S,   Q_j^H A Q_j = G_j H_j + g E

and a Ritz pair from ``T = Y diag(l) Y^H`` has the residual ``|E S y_i|``.

Source: Wu and Simon, SIAM J. Matrix Anal. Appl. 22 (2000); Golub and Underwood 1977 for blocks; Simon, Math. Comp. 42
(1984) for a basis that is nearly orthogonal.
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.devices import varying_with
from ..numerics.gram import inverse_root, with_block, without
from ..numerics.orthonormal import Near, orthonormalise, random_directions
from ..numerics.products import adjoint, column_norms, matmul
from ..numerics.tolerances import semiorthogonal
from ..operators.operator import LinearOperator
from ..options import Lanczos
from .found import MOST_LEFTOVERS, Eigenpairs
from .refine import finish_eigenpairs
from .restart import Restart, Ritz, first_cycle, next_restart, plan, running
from .small import from_upper, hermitian_rayleigh_ritz, settle_ties
from .start import start_block


class _State(NamedTuple):
    Q: Array
    H: Array
    gram: Array
    W: Array
    filled: Array
    width: Array
    ritz: Array
    core: Array
    coupling: Array
    values: Array
    top: Array
    bottom: Array
    restart: Restart
    products: Array


def lanczos(
    operator: LinearOperator, k: int, which: str, options: Lanczos, tol: Array, start: Array | None, key: Array
) -> Eigenpairs:
    """The k best eigenpairs by ``which``.

    ``tol`` bounds the estimated residuals relative to the largest Ritz value; ``start`` holds vectors as rows.
    """
    n, dtype, real = operator.shape[1], operator.dtype, jnp.finfo(operator.dtype).dtype
    sizes = plan(options, k, n, start)
    block, ncv, wait = sizes.block, sizes.ncv, sizes.wait
    index = jnp.arange(ncv, dtype=jnp.int32)
    random = random_directions(key, n, block, dtype)

    # Where the basis may fill the space, what is left of a vector outside of it must be told from rounding.
    loose = semiorthogonal(dtype) if n > ncv + 2 * wait else None

    def fill(i, carry):
        Q, H, gram, width, at, first = carry
        j = at + i * block
        q = lax.dynamic_slice_in_dim(Q, j, block)
        near = Near(jnp.maximum(j - block, 0), 2 * block)
        w = orthonormalise(Q, operator.apply(q.T).T, lambda: random(first + i), near=near, loose=loose)
        Q = lax.dynamic_update_slice_in_dim(Q, w.rows, j + width, axis=0)
        gram = with_block(gram, w, j + width)
        column = lax.dynamic_update_slice_in_dim(w.coefficients, w.factor, j + width, axis=1)
        H = lax.dynamic_update_slice_in_dim(H, column.T, j, axis=1)
        return Q, H, gram, width, at, first

    def leftovers(state: _State) -> Array:
        live = index < jnp.minimum(state.filled, n)
        return matmul(jnp.where(live[None, :], state.ritz, 0)[:, k : k + MOST_LEFTOVERS].T, state.Q[:ncv])

    def rotated(state: _State, first: Array) -> tuple[Array, ...]:
        keep, fresh, filled = state.restart.keep, state.restart.fresh, state.filled
        kept = index < keep
        outside = without(state.gram, filled, wait)
        ritz = jnp.where(kept[None, :], state.ritz, 0)
        Q = matmul(jnp.concatenate([ritz, -outside.coefficients], axis=1).T, state.Q[:ncv])
        Q, moved = jnp.where((jnp.arange(ncv + wait, dtype=jnp.int32) < keep)[:, None], Q, 0), Q[ncv:]

        def begin() -> tuple[Array, ...]:
            rows = orthonormalise(Q, random(first), lambda: random(first + 1)).rows
            rows, none = jnp.pad(rows, ((0, wait - block), (0, 0))), jnp.zeros((wait, ncv), dtype)
            new = varying_with((none, jnp.eye(wait, dtype=dtype), jnp.int32(block)), filled)
            return rows, *new, leftovers(state)

        def waiting() -> tuple[Array, ...]:
            rows = lax.dynamic_slice_in_dim(state.Q, filled, wait) + moved
            return rows, jnp.where(kept[None, :], state.coupling, 0), outside.gram, state.width, state.W

        rows, coupling, own, width, W = lax.cond(fresh, begin, waiting)
        Q = lax.dynamic_update_slice_in_dim(Q, rows, keep, axis=0)
        H = jnp.where(kept[:, None] & kept[None, :], state.core, 0)
        H = jnp.concatenate([H, jnp.zeros((wait, ncv), dtype)])
        H = lax.dynamic_update_slice_in_dim(H, coupling, keep, axis=0)
        gram = lax.dynamic_update_slice(jnp.eye(ncv + wait, dtype=dtype), own, (keep, keep))
        return Q, H, gram, width, W

    def cycle(state: _State) -> _State:
        restart = state.restart
        first = 1 + restart.cycles * (ncv + 4)
        Q, H, gram, width, W = lax.cond(
            restart.rotate, rotated, lambda s, _: (s.Q, s.H, s.gram, s.width, s.W), state, first + ncv
        )
        carry = (Q, H, gram, width, restart.keep, first)
        Q, H, gram, *_ = lax.fori_loop(0, restart.steps, fill, carry)
        filled = restart.keep + restart.steps * block
        count = jnp.minimum(filled, n)
        live = index < count
        root = inverse_root(gram[:ncv, :ncv], count)
        # A fresh block has dropped what the kept columns had outside; the later columns know it.
        T = matmul(root, matmul(from_upper(matmul(gram[:ncv], H)), root))
        values, ritz = hermitian_rayleigh_ritz(T, count, which)
        E = matmul(lax.dynamic_slice_in_dim(H, filled, wait), root)
        if which != "BE":
            coupling = matmul(E, ritz)
            residuals = matmul(adjoint(coupling), coupling)
            ritz = settle_ties(values, residuals, count, k, partial(matmul, ritz), ritz)
        core, coupling, ritz = matmul(adjoint(ritz), matmul(T, ritz)), matmul(E, ritz), matmul(root, ritz)
        if which == "LM":
            values = jnp.where(live, jnp.diagonal(core).real, 0)
        bounds = column_norms(coupling)
        # The far end of the spectrum fades from a basis that restarts with the near one.
        top = jnp.maximum(state.top, jnp.max(values, where=live, initial=-jnp.inf))
        bottom = jnp.minimum(state.bottom, jnp.min(values, where=live, initial=jnp.inf))
        largest, spread = jnp.maximum(jnp.abs(top), jnp.abs(bottom)), top - bottom
        depth = beyond_cut(values, k, which)
        decision = next_restart(
            restart,
            Ritz(values, bounds, depth, largest),
            sizes,
            gap=lambda depth: depth / jnp.where(spread > 0, spread, 1),
            filled=filled,
            tol=tol,
        )
        products = state.products + block * restart.steps
        return _State(Q, H, gram, W, filled, width, ritz, core, coupling, values, top, bottom, decision, products)

    Q = jnp.zeros((ncv + wait, n), dtype)
    if start is not None:
        noise = random_directions(key, n, wait, dtype)
        begin = start_block(start, noise(jnp.int32(0)))
        Q = Q.at[:wait].set(orthonormalise(Q, begin, lambda: noise(jnp.int32(1))).rows)
    state = _State(
        Q=Q,
        H=jnp.zeros((ncv + wait, ncv), dtype),
        gram=jnp.eye(ncv + wait, dtype=dtype),
        W=jnp.zeros((min(MOST_LEFTOVERS, ncv - k), n), dtype),
        filled=jnp.int32(0),
        width=jnp.int32(wait),
        ritz=jnp.eye(ncv, dtype=dtype),
        core=jnp.zeros((ncv, ncv), dtype),
        coupling=jnp.zeros((wait, ncv), dtype),
        values=jnp.zeros((ncv,), real),
        top=jnp.asarray(-jnp.inf, real),
        bottom=jnp.asarray(jnp.inf, real),
        restart=first_cycle(sizes, real),
        products=jnp.int32(0),
    )

    end = lax.while_loop(lambda s: running(s.restart, options.restart_limit), cycle, varying_with(state, tol))
    Q = matmul(end.ritz[:, :k].T, end.Q[:ncv]).T
    leftover = jnp.where(index < jnp.minimum(end.filled, n), end.values, jnp.inf)[k:]
    # The probe has displaced most leftovers: those from before it are the better ones.
    W = jnp.where(end.restart.probed >= 0, end.W, leftovers(end))
    largest = jnp.maximum(jnp.abs(end.top), jnp.abs(end.bottom))
    return finish_eigenpairs(
        operator, Q, which, leftover, W, largest, end.restart.restarts + 1, end.products, end.restart.done
    )


def beyond_cut(values: Array, k: int, which: str) -> Array:
    """How far each Ritz value lies beyond the cut of ``which``: beyond the nearer of the two under "BE"."""
    if which == "BE":
        low = values[k - 1 - k % 2] if k > 1 else -jnp.inf
        return jnp.minimum(values[k - 2 + k % 2] - values, values - low)
    rank = {"LA": values, "SA": -values, "LM": jnp.abs(values)}[which]
    return rank[k - 1] - rank
