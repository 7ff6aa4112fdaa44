"""Thick-restart block Arnoldi (Krylov-Schur) for a general operator.

The basis is stored by rows. With j columns filled, and rows q_i as column vectors Q:

    A Q_j = Q_j H_j + Q_wait E          Q_wait: the ``width`` rows that wait to be multiplied by A

With the Schur form ``H_j Z = Z T``, ordered by ``which``, the first columns of ``Q_j Z`` are Schur vectors of A, the
norms of the columns of ``E Z`` their residuals. A restart keeps the span of the best of them. A real operator keeps a
real basis: conjugate pairs are kept together, and the projector ``Z Z^H`` on their vectors is then real.

After convergence a fresh random block outside of what was found looks for what was missed, as in ``solvers.restart``.
How many steps that takes is a theorem for Hermitian operators only. Here a polynomial in A gains a factor of about
``1 - gap`` a step and not more, and the gap is taken squared.

Source: Stewart, SIAM J. Matrix Anal. Appl. 23 (2002) (Krylov-Schur).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.devices import varying_with
from ..numerics.orthonormal import orthonormalise, random_directions
from ..numerics.products import adjoint, column_norms, matmul
from ..numerics.schur import ordered, schur
from ..numerics.tolerances import epsilon
from ..operators.operator import LinearOperator
from ..operators.promoted import result_type
from ..options import Arnoldi
from .found import SchurVectors, ranking
from .refine import finish_schur
from .restart import Restart, Ritz, first_cycle, next_restart, plan, running
from .start import start_block


class _State(NamedTuple):
    Q: Array
    H: Array
    filled: Array
    width: Array
    Z: Array
    values: Array
    pairs: Array
    norm: Array
    largest: Array
    restart: Restart
    products: Array


def arnoldi(
    operator: LinearOperator, k: int, which: str, options: Arnoldi, tol: Array, start: Array | None, key: Array
) -> SchurVectors:
    """The k best Schur vectors by ``which``.

    ``tol`` bounds their estimated residuals relative to the largest Ritz value; ``start`` holds vectors as rows.
    """
    n, dtype, real = operator.shape[1], operator.dtype, jnp.finfo(operator.dtype).dtype
    is_real = not jnp.issubdtype(dtype, jnp.complexfloating)
    sizes = plan(options, k, n, start)
    block, ncv, wait = sizes.block, sizes.ncv, sizes.wait
    index = jnp.arange(ncv, dtype=jnp.int32)
    random = random_directions(key, n, block, dtype)

    def fill(i, carry):
        Q, H, width, at, first = carry
        j = at + i * block
        q = lax.dynamic_slice_in_dim(Q, j, block)
        w = orthonormalise(Q, operator.apply(q.T).T, lambda: random(first + i))
        Q = lax.dynamic_update_slice_in_dim(Q, w.rows, j + width, axis=0)
        column = lax.dynamic_update_slice_in_dim(w.coefficients, w.factor, j + width, axis=1)
        H = lax.dynamic_update_slice_in_dim(H, column.T, j, axis=1)
        return Q, H, width, at, first

    def kept_basis(state: _State) -> Array:
        """Orthonormal columns, as many as are kept and then zeros, that span the kept Schur vectors."""
        kept = jnp.where((index < state.restart.keep)[None, :], state.Z, 0)
        if not is_real:
            return kept
        # The eigenvectors of a projector for the value one, which come last.
        columns = jnp.linalg.eigh(matmul(kept, adjoint(kept)).real)[1][:, ::-1]
        return jnp.where((index < state.restart.keep)[None, :], columns, 0)

    def rotated(state: _State, first: Array) -> tuple[Array, ...]:
        keep, fresh, filled = state.restart.keep, state.restart.fresh, state.filled
        Y = kept_basis(state)
        rows = matmul(Y.T, state.Q[:ncv])

        def begin() -> tuple[Array, Array, Array]:
            block_rows = orthonormalise(rows, random(first), lambda: random(first + 1)).rows
            new = varying_with((jnp.zeros((wait, ncv), dtype), jnp.int32(block)), filled)
            return jnp.pad(block_rows, ((0, wait - block), (0, 0))), *new

        def waiting() -> tuple[Array, Array, Array]:
            E = lax.dynamic_slice_in_dim(state.H, filled, wait)
            return lax.dynamic_slice_in_dim(state.Q, filled, wait), matmul(E, Y), state.width

        waits, coupling, width = lax.cond(fresh, begin, waiting)
        Q = jnp.concatenate([rows, jnp.zeros((wait, n), dtype)])
        Q = lax.dynamic_update_slice_in_dim(Q, waits, keep, axis=0)
        core = matmul(adjoint(Y), matmul(jnp.where((index < filled)[:, None], state.H[:ncv], 0), Y))
        H = jnp.concatenate([core, jnp.zeros((wait, ncv), dtype)])
        return Q, lax.dynamic_update_slice_in_dim(H, coupling, keep, axis=0), width

    def cycle(state: _State) -> _State:
        restart = state.restart
        first = 1 + restart.cycles * (ncv + 4)
        Q, H, width = lax.cond(restart.rotate, rotated, lambda s, _: (s.Q, s.H, s.width), state, first + ncv)
        Q, H, *_ = lax.fori_loop(0, restart.steps, fill, (Q, H, width, restart.keep, first))
        filled = restart.keep + restart.steps * block
        count = jnp.minimum(filled, n)
        live = index < count
        inside = jnp.where(live[:, None] & live[None, :], H[:ncv], 0)
        norm = jnp.maximum(state.norm, jnp.max(column_norms(H)))
        inside = jnp.where(jnp.isfinite(norm), inside, 0)
        # What is not filled yet gets a value of its own, beyond all others.
        beyond = 2 * jnp.linalg.norm(inside) + 1
        form = schur(inside + jnp.diag(jnp.where(live, 0, beyond).astype(dtype)))
        unfilled = form.values.real > 0.75 * beyond
        rank = jnp.where(unfilled, -jnp.inf, ranking(form.values, which))
        form = ordered(form, -rank)
        Z, values = form.Z, jnp.where(live, form.values, 0)
        bounds = column_norms(matmul(lax.dynamic_slice_in_dim(H, filled, wait).astype(Z.dtype), Z))
        largest = jnp.maximum(state.largest, jnp.max(jnp.abs(values))) + 0 * norm
        rank = ranking(values, which)
        parted = form.pairs[k - 1].astype(jnp.int32)
        decision = next_restart(
            restart,
            # No residual falls below the rounding of a product, which is relative to the norm of A.
            Ritz(rank, bounds, rank[k - 1] - rank, jnp.maximum(largest, 4 * epsilon(dtype) * norm / tol)),
            sizes,
            gap=lambda depth: (depth / jnp.where(largest > 0, largest, 1)) ** 2,
            filled=filled,
            tol=tol,
            cut=k + parted,
            # Schur vectors lean on each other: what a deflated one lacks is lacking in a copy found later.
            firm=0.0,
        )
        if is_real:
            decision = _with_whole_pairs(decision, form.pairs, ncv, block)
        products = state.products + block * restart.steps
        return _State(Q, H, filled, width, Z, values, form.pairs, norm, largest, decision, products)

    Q = jnp.zeros((ncv + wait, n), dtype)
    if start is not None:
        noise = random_directions(key, n, wait, dtype)
        begin = start_block(start, noise(jnp.int32(0)))
        Q = Q.at[:wait].set(orthonormalise(Q, begin, lambda: noise(jnp.int32(1))).rows)
    wide = result_type(dtype, jnp.complex64)
    state = _State(
        Q=Q,
        H=jnp.zeros((ncv + wait, ncv), dtype),
        filled=jnp.int32(0),
        width=jnp.int32(wait),
        Z=jnp.eye(ncv, dtype=wide),
        values=jnp.zeros((ncv,), wide),
        pairs=jnp.zeros((ncv,), bool),
        norm=jnp.zeros((), real),
        largest=jnp.zeros((), real),
        restart=first_cycle(sizes, real),
        products=jnp.int32(0),
    )
    end = lax.while_loop(lambda s: running(s.restart, options.restart_limit), cycle, varying_with(state, tol))
    vectors = matmul(end.Z[:, :k].T, end.Q[:ncv].astype(wide)).T
    leftover = jnp.where(index < jnp.minimum(end.filled, n), end.values, jnp.inf)[k:]
    return finish_schur(
        operator, vectors, leftover, end.largest, end.norm, end.restart.restarts + 1, end.products, end.restart.done
    )


def _with_whole_pairs(restart: Restart, pairs: Array, ncv: int, block: int) -> Restart:
    """The decision with one vector more to keep, where a restart would part a conjugate pair."""
    split = restart.rotate & jnp.take(pairs, restart.keep - 1, mode="fill", fill_value=False) & (restart.keep > 0)
    keep = restart.keep + split.astype(jnp.int32)
    return restart._replace(keep=keep, steps=jnp.minimum(restart.steps, (ncv - keep) // block))
