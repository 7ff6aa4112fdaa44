"""Thick-restart block Golub-Kahan-Lanczos bidiagonalisation, on bases whose loss of orthogonality is measured.

The bases are stored by rows. With j columns filled, and rows u_i, v_i as column vectors U, V:

    A V_j = U_j B_j
    A^H U_j = V_j C_j + V_wait E^H                    V_wait: the ``width`` rows that wait to be multiplied by A

B_j are the Gram-Schmidt coefficients, so that ``A V = U B`` holds to rounding whatever comes next: a restart, a fresh
random block, a start of many vectors. The columns of E stand in B beside those of B_j, where the waiting rows will be.
With ``G_U = U_j^H U_j``, close to the identity, ``S_U = G_U^(-1/2)``, and the same for V, the projection on the
orthonormal ``N_U = U_j S_U`` and ``N_V = V_j S_V`` is

    T = N_U^H A N_V = S_U G_U B_j S_V

and a Ritz triplet from ``T = P diag(s) Q^H`` has the residuals zero and ``|p_i^H S_U E|``.

Source: Golub and Kahan 1965; Baglama and Reichel, SIAM J. Sci. Comput. 27 (2005), Electron. Trans. Numer. Anal. 23
(2006) for blocks; Simon, Math. Comp. 42 (1984) for bases that are nearly orthogonal.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.devices import varying_with
from ..numerics.gram import inverse_root, with_block, without
from ..numerics.orthonormal import Near, orthonormalise, random_directions
from ..numerics.products import adjoint, column_norms, matmul
from ..numerics.tolerances import semiorthogonal
from ..operators.operator import LinearOperator
from ..options import GolubKahan
from .found import MOST_LEFTOVERS, Triplets
from .refine import finish_triplets
from .restart import Restart, Ritz, first_cycle, next_restart, plan, running
from .small import settle_ties, singular_rayleigh_ritz
from .start import start_block


class _State(NamedTuple):
    U: Array
    V: Array
    B: Array
    gram_u: Array
    gram_v: Array
    W: Array
    filled: Array
    width: Array
    left: Array
    right: Array
    core: Array
    coupling: Array
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

    # Where the basis may fill the space, what is left of a vector outside of it must be told from rounding.
    loose = semiorthogonal(dtype) if n > ncv + 2 * wait else None

    def fill(i, carry):
        U, V, B, gram_u, gram_v, width, at, first = carry
        j = at + i * block
        rows = lax.dynamic_slice_in_dim(V, j, block)
        near = Near(jnp.maximum(j - block, 0), block)
        u = orthonormalise(U, operator.apply(rows.T).T, lambda: random_u(first + 2 * i), near=near, loose=loose)
        U = lax.dynamic_update_slice_in_dim(U, u.rows, j, axis=0)
        gram_u = with_block(gram_u, u, j)
        column = lax.dynamic_update_slice_in_dim(u.coefficients, u.factor, j, axis=1)
        B = lax.dynamic_update_slice_in_dim(B, column.T, j, axis=1)
        w = operator.apply_adjoint(u.rows.T).T
        near = Near(j, block)
        v = orthonormalise(V, w, lambda: random_v(first + 2 * i + 1), near=near, loose=loose)
        V = lax.dynamic_update_slice_in_dim(V, v.rows, j + width, axis=0)
        gram_v = with_block(gram_v, v, j + width)
        row = jnp.conj(lax.dynamic_update_slice_in_dim(v.coefficients, v.factor, j + width, axis=1))
        row = jnp.where(columns >= j + block, row, lax.dynamic_slice_in_dim(B, j, block))
        B = lax.dynamic_update_slice_in_dim(B, row, j, axis=0)
        return U, V, B, gram_u, gram_v, width, at, first

    def leftovers(state: _State) -> Array:
        side, basis = (state.left, state.U) if m == n else (state.right, state.V[:ncv])
        live = index < jnp.minimum(state.filled, n)
        return matmul(jnp.where(live[None, :], side, 0)[:, k : k + MOST_LEFTOVERS].T, basis)

    def rotated(state: _State, first: Array) -> tuple[Array, ...]:
        keep, fresh, filled = state.restart.keep, state.restart.fresh, state.filled
        kept = index < keep
        left, right = (jnp.where(kept[None, :], x, 0) for x in (state.left, state.right))
        outside = without(state.gram_v, filled, wait)
        U = matmul(left.T, state.U)
        V = matmul(jnp.concatenate([right, -outside.coefficients], axis=1).T, state.V[:ncv])
        V, moved = jnp.where((columns < keep)[:, None], V, 0), V[ncv:]

        def random() -> tuple[Array, ...]:
            rows = orthonormalise(V, random_v(first), lambda: random_v(first + 1)).rows
            rows, none = jnp.pad(rows, ((0, wait - block), (0, 0))), jnp.zeros((ncv, wait), dtype)
            new = varying_with((none, jnp.eye(wait, dtype=dtype), jnp.int32(block)), filled)
            return rows, *new, leftovers(state)

        def waiting() -> tuple[Array, ...]:
            rows = lax.dynamic_slice_in_dim(state.V, filled, wait) + moved
            return rows, jnp.where(kept[:, None], state.coupling, 0), outside.gram, state.width, state.W

        rows, coupling, own, width, W = lax.cond(fresh, random, waiting)
        V = lax.dynamic_update_slice_in_dim(V, rows, keep, axis=0)
        B = jnp.where(kept[:, None] & kept[None, :], state.core, 0)
        B = jnp.concatenate([B, jnp.zeros((ncv, wait), dtype)], axis=1)
        B = lax.dynamic_update_slice_in_dim(B, coupling, keep, axis=1)
        gram_v = lax.dynamic_update_slice(jnp.eye(ncv + wait, dtype=dtype), own, (keep, keep))
        return U, V, B, varying_with(jnp.eye(ncv, dtype=dtype), filled), gram_v, width, W

    def cycle(state: _State) -> _State:
        restart = state.restart
        first = 1 + restart.cycles * (2 * ncv + 4)
        U, V, B, gram_u, gram_v, width, W = lax.cond(
            restart.rotate,
            rotated,
            lambda s, _: (s.U, s.V, s.B, s.gram_u, s.gram_v, s.width, s.W),
            state,
            first + 2 * ncv,
        )
        carry = (U, V, B, gram_u, gram_v, width, restart.keep, first)
        U, V, B, gram_u, gram_v, *_ = lax.fori_loop(0, restart.steps, fill, carry)
        filled = restart.keep + restart.steps * block
        count = jnp.minimum(filled, n)
        root_u, root_v = inverse_root(gram_u, count), inverse_root(gram_v[:ncv, :ncv], count)
        T = matmul(matmul(root_u, gram_u), matmul(B[:, :ncv], root_v))
        left, s, right, core, defects = singular_rayleigh_ritz(T, count, k)
        left, right = matmul(root_u, left), matmul(root_v, right)
        coupling = matmul(adjoint(left), lax.dynamic_slice_in_dim(B, filled, wait, axis=1))
        vectors = (left, right, core, coupling)

        def turned(R: Array) -> tuple[Array, ...]:
            back = adjoint(R)
            return matmul(left, R), matmul(right, R), matmul(back, matmul(core, R)), matmul(back, coupling)

        vectors = settle_ties(s, matmul(coupling, adjoint(coupling)), count, k, turned, vectors)
        left, right, core, coupling = vectors
        bounds = column_norms(adjoint(coupling)) + defects
        decision = next_restart(
            restart,
            Ritz(s, bounds, s[k - 1] - s, s[0]),
            sizes,
            gap=lambda depth: 1 - (1 - depth / jnp.where(s[k - 1] > 0, s[k - 1], 1)) ** 2,
            filled=filled,
            tol=tol,
        )
        products = state.products + 2 * block * restart.steps
        return _State(U, V, B, gram_u, gram_v, W, filled, width, left, right, core, coupling, s, decision, products)

    V = jnp.zeros((ncv + wait, n), dtype)
    if start is not None:
        random = random_directions(key, n, wait, dtype)
        begin = start_block(start, random(jnp.int32(0)))
        V = V.at[:wait].set(orthonormalise(V, begin, lambda: random(jnp.int32(1))).rows)
    state = _State(
        U=jnp.zeros((ncv, m), dtype),
        V=V,
        B=jnp.zeros((ncv, ncv + wait), dtype),
        gram_u=jnp.eye(ncv, dtype=dtype),
        gram_v=jnp.eye(ncv + wait, dtype=dtype),
        W=jnp.zeros((min(MOST_LEFTOVERS, ncv - k), n), dtype),
        filled=jnp.int32(0),
        width=jnp.int32(wait),
        left=jnp.eye(ncv, dtype=dtype),
        right=jnp.eye(ncv, dtype=dtype),
        core=jnp.zeros((ncv, ncv), dtype),
        coupling=jnp.zeros((ncv, wait), dtype),
        values=jnp.zeros((ncv,), real),
        restart=first_cycle(sizes, real),
        products=jnp.int32(0),
    )

    end = lax.while_loop(lambda s: running(s.restart, options.restart_limit), cycle, varying_with(state, tol))
    U = matmul(end.left[:, :k].T, end.U).T
    V = matmul(end.right[:, :k].T, end.V[:ncv]).T
    leftover = jnp.where(index < jnp.minimum(end.filled, n), end.values, -jnp.inf)[k:]
    # The probe has displaced most leftovers: those from before it are the better ones.
    W = jnp.where(end.restart.probed >= 0, end.W, leftovers(end))
    return finish_triplets(operator, U, V, leftover, W, end.restart.restarts + 1, end.products, end.restart.done)
