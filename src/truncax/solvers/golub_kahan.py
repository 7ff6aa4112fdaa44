"""Thick-restart block Golub-Kahan-Lanczos bidiagonalisation with full reorthogonalisation.

The bases are stored by rows. With j columns filled, and rows u_i, v_i as column vectors U, V:

    A V_j = U_j B_j                                   B_j = U_j^H A V_j, from the Gram-Schmidt coefficients
    A^H U_j = V_j B_j^H + V_wait E^H                  V_wait: the ``width`` rows that wait to be multiplied by A

so that ``A V = U B`` holds to rounding whatever comes next: a restart, a fresh random block, a start of many vectors.
The columns of E stand in B beside those of B_j, where the waiting rows will be. A Ritz triplet from
``B_j = P diag(s) Q^H`` has the residuals zero and ``|p_i^H E|``.

Source: Golub and Kahan 1965; Baglama and Reichel, SIAM J. Sci. Comput. 27 (2005), Electron. Trans. Numer. Anal. 23
(2006) for blocks.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.orthonormal import orthonormalise, random_directions
from ..numerics.products import adjoint, column_norms, matmul
from ..operators.operator import LinearOperator
from ..options import GolubKahan
from .found import MOST_LEFTOVERS, Triplets
from .refine import finish_triplets
from .restart import Restart, Ritz, first_cycle, next_restart, plan, running
from .small import singular_rayleigh_ritz
from .start import start_block


class _State(NamedTuple):
    U: Array
    V: Array
    B: Array
    W: Array
    filled: Array
    width: Array
    left: Array
    right: Array
    values: Array
    restart: Restart
    products: Array


def golub_kahan(
    operator: LinearOperator, k: int, options: GolubKahan, tol: Array, start: Array | None, key: Array
) -> Triplets:
    """The k largest singular triplets of an operator with at least as many rows as columns.

    ``tol`` bounds the estimated residuals relative to ``s_1``; ``start`` holds right vectors as rows.
    """
    m, n = operator.shape
    dtype, real = operator.dtype, jnp.finfo(operator.dtype).dtype
    sizes = plan(options, k, n, start)
    block, ncv, wait = sizes.block, sizes.ncv, sizes.wait
    index, columns = (jnp.arange(size, dtype=jnp.int32) for size in (ncv, ncv + wait))
    random_v, random_u = (random_directions(key, size, block, dtype) for size in (n, m))

    def fill(i, carry):
        U, V, B, width, at, first = carry
        j = at + i * block
        rows = lax.dynamic_slice_in_dim(V, j, block)
        u = orthonormalise(U, operator.apply(rows.T).T, lambda: random_u(first + 2 * i))
        U = lax.dynamic_update_slice_in_dim(U, u.rows, j, axis=0)
        column = lax.dynamic_update_slice_in_dim(u.coefficients, u.factor, j, axis=1)
        B = lax.dynamic_update_slice_in_dim(B, column.T, j, axis=1)
        v = orthonormalise(V, operator.apply_adjoint(u.rows.T).T, lambda: random_v(first + 2 * i + 1))
        V = lax.dynamic_update_slice_in_dim(V, v.rows, j + width, axis=0)
        row = jnp.conj(lax.dynamic_update_slice_in_dim(v.coefficients, v.factor, j + width, axis=1))
        row = jnp.where(columns >= j + block, row, lax.dynamic_slice_in_dim(B, j, block))
        return U, V, lax.dynamic_update_slice_in_dim(B, row, j, axis=0), width, at, first

    def leftovers(state: _State) -> Array:
        side, basis = (state.left, state.U) if m == n else (state.right, state.V[:ncv])
        live = index < jnp.minimum(state.filled, n)
        return matmul(jnp.where(live[None, :], side, 0)[:, k : k + MOST_LEFTOVERS].T, basis)

    def rotated(state: _State, first: Array) -> tuple[Array, Array, Array, Array, Array]:
        keep, fresh = state.restart.keep, state.restart.fresh
        kept = index < keep
        left, right = (jnp.where(kept[None, :], x, 0) for x in (state.left, state.right))
        U, V = matmul(left.T, state.U), matmul(right.T, state.V[:ncv])
        V = jnp.concatenate([V, jnp.zeros((wait, n), dtype)])

        def random() -> tuple[Array, ...]:
            rows = orthonormalise(V, random_v(first), lambda: random_v(first + 1)).rows
            rows, none = jnp.pad(rows, ((0, wait - block), (0, 0))), jnp.zeros((ncv, wait), dtype)
            return rows, none, jnp.int32(block), leftovers(state)

        def waiting() -> tuple[Array, ...]:
            coupling = lax.dynamic_slice_in_dim(state.B, state.filled, wait, axis=1)
            rows = lax.dynamic_slice_in_dim(state.V, state.filled, wait)
            return rows, matmul(adjoint(left), coupling), state.width, state.W

        rows, coupling, width, W = lax.cond(fresh, random, waiting)
        V = lax.dynamic_update_slice_in_dim(V, rows, keep, axis=0)
        B = matmul(adjoint(left), matmul(state.B[:, :ncv], right))
        B = jnp.concatenate([B, jnp.zeros((ncv, wait), dtype)], axis=1)
        B = lax.dynamic_update_slice_in_dim(B, coupling, keep, axis=1)
        return U, V, B, width, W

    def cycle(state: _State) -> _State:
        restart = state.restart
        first = 1 + restart.cycles * (2 * ncv + 4)
        U, V, B, width, W = lax.cond(
            restart.rotate, rotated, lambda s, _: (s.U, s.V, s.B, s.width, s.W), state, first + 2 * ncv
        )
        carry = (U, V, B, width, restart.keep, first)
        U, V, B, *_ = lax.fori_loop(0, restart.steps, fill, carry)
        filled = restart.keep + restart.steps * block
        count = jnp.minimum(filled, n)
        left, s, right, defects = singular_rayleigh_ritz(B[:, :ncv], count, k)
        coupling = lax.dynamic_slice_in_dim(B, filled, wait, axis=1)
        bounds = column_norms(matmul(adjoint(coupling), left)) + defects
        decision = next_restart(
            restart,
            Ritz(s, bounds, s[k - 1] - s, s[0]),
            sizes,
            gap=lambda depth: 1 - (1 - depth / jnp.where(s[k - 1] > 0, s[k - 1], 1)) ** 2,
            filled=filled,
            tol=tol,
        )
        products = state.products + 2 * block * restart.steps
        return _State(U, V, B, W, filled, width, left, right, s, decision, products)

    V = jnp.zeros((ncv + wait, n), dtype)
    if start is not None:
        random = random_directions(key, n, wait, dtype)
        begin = start_block(start, random(jnp.int32(0)))
        V = V.at[:wait].set(orthonormalise(V, begin, lambda: random(jnp.int32(1))).rows)
    state = _State(
        U=jnp.zeros((ncv, m), dtype),
        V=V,
        B=jnp.zeros((ncv, ncv + wait), dtype),
        W=jnp.zeros((min(MOST_LEFTOVERS, ncv - k), n), dtype),
        filled=jnp.int32(0),
        width=jnp.int32(wait),
        left=jnp.eye(ncv, dtype=dtype),
        right=jnp.eye(ncv, dtype=dtype),
        values=jnp.zeros((ncv,), real),
        restart=first_cycle(sizes, real),
        products=jnp.int32(0),
    )

    end = lax.while_loop(lambda s: running(s.restart, options.restart_limit), cycle, state)
    U = matmul(end.left[:, :k].T, end.U).T
    V = matmul(end.right[:, :k].T, end.V[:ncv]).T
    leftover = jnp.where(index < jnp.minimum(end.filled, n), end.values, -jnp.inf)[k:]
    # The probe has displaced most leftovers: those from before it are the better ones.
    W = jnp.where(end.restart.probed >= 0, end.W, leftovers(end)).T
    return finish_triplets(operator, U, V, leftover, W, end.restart.restarts + 1, end.products, end.restart.done)
