"""Preconditioned block Davidson with thick restart, for one end of the spectrum of a Hermitian operator.

A basis Q, stored by rows, is kept together with its products A Q. A step takes the Ritz pairs of the basis, and to the
residuals ``r = A x - l x`` of the first few that have not converged it applies the preconditioner; what is new in the
directions ``K r`` joins the basis, with their products. A basis that is full is replaced by its best Ritz vectors.
LOBPCG keeps three blocks of the same space and has to guard its small problem; here the basis is orthonormal, and the
small problem that of a Hermitian matrix. Converged pairs stay in the basis, but nothing is spent on them.

A basis that grew from few vectors may miss a copy of a repeated value. So when the wanted pairs have converged they are
set aside, with those behind them that are known as well, and a fresh random block outside of these starts a search of
its own. It ends when its best pair has settled beyond the cut and enough steps were taken to show any better one
(``solvers.restart``), with the gap measured in the preconditioned operator; or it finds a better pair, and all goes on.

Source: Stathopoulos and McCombs, SIAM J. Sci. Comput. 29 (2007), for generalized Davidson; Knyazev, SIAM J. Sci.
Comput. 23 (2001); Duersch, Shao, Yang and Gu, SIAM J. Sci. Comput. 40 (2018), for what happens to LOBPCG otherwise.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.devices import varying_with
from ..numerics.gram import inverse_root, with_block
from ..numerics.orthonormal import orthonormalise, random_directions
from ..numerics.products import adjoint, matmul, row_inner, row_norms, times
from ..numerics.tolerances import epsilon, rounding_floor, semiorthogonal
from ..operators.operator import LinearOperator
from ..options import LOBPCG
from .found import MOST_LEFTOVERS, Eigenpairs
from .progress import report
from .refine import finish_eigenpairs
from .restart import SETTLED, probe_length
from .small import hermitian_rayleigh_ritz
from .start import start_block

# The first steps go without the preconditioner: they show the far end of the spectrum, the unit of all residuals.
_PLAIN = 3
# A leftover may be set aside when its residual is below this part of its distance from the cut. Then it has less than
# this part of any better vector, and what is left of that one outside is worse by the square, in the same unit.
_KNOWN = 1e-2


class _State(NamedTuple):
    """``filled`` rows of Q are in use; while the probe runs, the first ``aside`` of them are found and no longer
    touched (else 0).

    ``values``: the Ritz values, of the rows set aside or, before, of the last look; ``trailing``: those of the
    probe; ``ritz``: the Ritz vectors of the rows that are not set aside, of which the first ``keep`` go on;
    ``towards``: the directions by which the basis grows next. ``low`` and ``top``: the least and the largest value of
    the preconditioned operator, the first one per distance from the cut. A cycle ends when the basis is ``full``,
    the wanted pairs are ``found``, the probe has seen a ``better`` one, or at the ``end`` of all, which is good if
    ``verified``.
    """

    Q: Array
    AQ: Array
    H: Array
    gram: Array
    ritz: Array
    towards: Array
    filled: Array
    aside: Array
    keep: Array
    values: Array
    trailing: Array
    residuals: Array
    largest: Array
    low: Array
    top: Array
    probed: Array
    steps: Array
    restarts: Array
    products: Array
    full: Array
    found: Array
    better: Array
    end: Array
    verified: Array


def lobpcg(
    operator: LinearOperator, k: int, which: str, options: LOBPCG, tol: Array, start: Array | None, key: Array
) -> Eigenpairs:
    """The k best eigenpairs by ``which``, "SA" or "LA".

    ``options.preconditioner`` is a function of a block of columns, or None. ``tol`` bounds the residuals relative to
    the largest magnitude seen; ``start`` holds vectors as rows.
    """
    n, dtype, real = operator.shape[1], operator.dtype, jnp.finfo(operator.dtype).dtype
    block, rows = options.block(k, n), options.basis_size(k, n)
    given = 0 if start is None else min(start.shape[0], rows - block)
    looked = min(k + max(block, min(MOST_LEFTOVERS, (rows - k) // 2)), rows)
    toward = 1 if which == "SA" else -1
    index = jnp.arange(rows, dtype=jnp.int32)
    random = random_directions(key, n, max(block, given), dtype)
    loose = semiorthogonal(dtype) if n > rows else None

    def inverse(x: Array) -> Array:
        return x if options.preconditioner is None else options.preconditioner(x.T).T

    def shifted(x: Array, cut: Array) -> Array:
        return toward * (operator.apply(x.T).T - times(x, cut))

    def extended(s: _State, w: Array) -> _State:
        """The basis with what is new in the rows of ``w``."""
        new = orthonormalise(s.Q, w, lambda: random(2 * s.steps + 1)[: w.shape[0]], loose=loose)
        products = operator.apply(new.rows.T).T
        # Where the space is exhausted the last rows are zero.
        count = jnp.sum(row_norms(new.rows) > 0.5, dtype=jnp.int32)
        Q = lax.dynamic_update_slice_in_dim(s.Q, new.rows, s.filled, axis=0)
        AQ = lax.dynamic_update_slice_in_dim(s.AQ, products, s.filled, axis=0)
        beside = matmul(jnp.conj(Q), products.T)
        H = lax.dynamic_update_slice_in_dim(s.H, adjoint(beside), s.filled, axis=0)
        H = lax.dynamic_update_slice_in_dim(H, beside, s.filled, axis=1)
        gram = with_block(s.gram, new, s.filled)
        gram = gram + jnp.diag(jnp.where(index >= s.filled + count, 1 - jnp.diagonal(gram), 0))
        largest = jnp.maximum(s.largest, jnp.max(row_norms(products)))
        spent = s.products + w.shape[0]
        return s._replace(
            Q=Q, AQ=AQ, H=H, gram=gram, filled=s.filled + count, largest=largest, products=spent, steps=s.steps + 1
        )

    def rotated(s: _State) -> _State:
        """The rows set aside as they are, and behind them the Ritz vectors that go on."""
        last = s.aside + s.keep
        turn = jnp.where((index < s.aside)[None, :], jnp.eye(rows, dtype=dtype), jnp.roll(s.ritz, s.aside, axis=1))
        turn = jnp.where((index < last)[None, :], turn, 0)
        H, gram = (matmul(adjoint(turn), matmul(x, turn)) for x in (s.H, s.gram))
        gram = gram + jnp.diag((index >= last).astype(dtype))
        Q, AQ = matmul(turn.T, s.Q), matmul(turn.T, s.AQ)
        return s._replace(Q=Q, AQ=AQ, H=H, gram=gram, filled=last)

    def looked_at(s: _State) -> _State:
        """What the basis knows, whether the cycle ends, and where the basis grows."""
        probing, count = s.aside > 0, s.filled - s.aside
        root = inverse_root(s.gram, s.filled)
        T = matmul(root, matmul(s.H, root))
        T = jnp.roll(jnp.roll(T, -s.aside, axis=0), -s.aside, axis=1)
        values, ritz = hermitian_rayleigh_ritz(T, count, which)
        ritz, live = matmul(root, jnp.roll(ritz, s.aside, axis=0)), index < count
        first = jnp.where(live[None, :looked], ritz[:, :looked], 0).T
        # The probe runs outside of what was set aside, to which the vectors that have not converged are coupled.
        inside = times(first.T, values[:looked]).T + matmul(first, jnp.where((index < s.aside)[None, :], s.H.T, 0))
        R = matmul(first, s.AQ) - matmul(inside, s.Q)
        norms = row_norms(R)
        largest = jnp.maximum(s.largest, jnp.max(jnp.abs(values), where=live, initial=0))
        floor = jnp.maximum(tol, rounding_floor(real, n, s.restarts) / 2) * largest
        converged = norms <= floor

        cut = jnp.where(probing, s.values[k - 1], values[k - 1])
        depth = toward * (values[0] - cut)
        better = probing & (depth < -(10 * tol + 10 * epsilon(real)) * largest)
        settled = norms[0] <= jnp.maximum(SETTLED * depth, floor)
        needed = probe_length(depth * s.low / jnp.where(s.top > 0, s.top, 1), n, block)
        # A copy that is just rising has a part in several leftovers: set aside, they would hide it from the probe.
        known = converged | (norms <= _KNOWN * toward * (values[:looked] - cut))
        known = jnp.sum(jnp.cumprod(known.astype(jnp.int32)), dtype=jnp.int32)
        found = ~probing & (count >= k) & jnp.all(converged[:k]) & (known > k)
        verified = (s.filled >= n) | (probing & ~better & settled & (s.probed >= needed))
        end = verified | (s.steps >= options.step_limit) | ~jnp.isfinite(largest)
        full = s.filled + block > rows
        keep = jnp.minimum(jnp.where(found, known, rows), k + (rows - k) // 2)
        keep = jnp.where(probing, (rows - s.aside) // 2, keep)
        keep = jnp.minimum(jnp.where(s.filled >= n, rows, keep), count).astype(jnp.int32)
        residuals = jnp.where(probing, s.residuals, norms[:k] / jnp.where(largest > 0, largest, 1))
        report(options.callback, s.restarts + 1, full | found | better, end, residuals * largest <= floor, residuals)

        # The first that have not converged; what has, or is not there, gives way to a random direction.
        wanted = ~converged & live[:looked]
        chosen = jnp.argsort(jnp.where(wanted, 0, 1), stable=True)[:block]
        scale = jnp.where(wanted, 1 / jnp.where(wanted, norms, 1), 0)[chosen]
        towards = times(R[chosen].T, scale).T
        if options.preconditioner is not None:
            plain = end | found | (s.steps <= _PLAIN)
            towards = lax.cond(plain, lambda x: x, inverse, towards)
        return s._replace(
            ritz=ritz,
            towards=towards,
            keep=keep,
            values=jnp.where(probing, s.values, values),
            trailing=jnp.where(probing & live, values, toward * jnp.inf),
            residuals=residuals,
            largest=largest,
            probed=s.probed + 1,
            full=full,
            found=found,
            better=better,
            end=end,
            verified=verified,
        )

    def probe(s: _State) -> _State:
        """The start of a search outside of what was found, and what it is to be measured by."""

        def extremes() -> tuple[Array, Array]:
            """Rayleigh quotients of K at the last rows set aside, and of K (A - cut) one step from random vectors."""
            cut = s.values[k - 1]
            r = shifted(random(2 * s.steps)[:block], cut)
            t = inverse(r)
            last = lax.dynamic_slice_in_dim(s.Q, jnp.maximum(s.filled - block, 0), block)
            top = row_inner(t, shifted(t, cut)) / row_inner(t, r)
            return jnp.min(jnp.abs(row_inner(last, inverse(last)))), jnp.max(jnp.abs(top))

        low, top = lax.cond(s.found, extremes, lambda: (s.low, s.top))
        return s._replace(
            towards=jnp.where(s.found, random(2 * s.steps)[:block], s.towards),
            aside=jnp.where(s.found, s.filled, jnp.where(s.better, 0, s.aside)),
            probed=jnp.where(s.found, 0, s.probed),
            products=s.products + jnp.where(s.found, 2 * block, 0),
            low=low,
            top=top,
        )

    def cycle(s: _State) -> _State:
        s = probe(rotated(s))._replace(restarts=s.restarts + 1, full=no, found=no, better=no)
        return lax.while_loop(
            lambda s: ~(s.full | s.found | s.better | s.end), lambda s: looked_at(extended(s, s.towards)), s
        )

    zero, no = varying_with((jnp.zeros((), real), jnp.zeros((), bool)), tol)
    state = _State(
        Q=jnp.zeros((rows, n), dtype),
        AQ=jnp.zeros((rows, n), dtype),
        H=jnp.zeros((rows, rows), dtype),
        gram=jnp.eye(rows, dtype=dtype),
        ritz=jnp.eye(rows, dtype=dtype),
        towards=jnp.zeros((block, n), dtype),
        filled=jnp.int32(0),
        aside=jnp.int32(0),
        keep=jnp.int32(0),
        values=jnp.zeros((rows,), real),
        trailing=jnp.full((rows,), toward * jnp.inf, real),
        residuals=jnp.full((k,), jnp.inf, real),
        largest=zero,
        low=zero,
        top=zero,
        probed=jnp.int32(0),
        steps=jnp.int32(0),
        restarts=jnp.int32(0),
        products=jnp.int32(0),
        full=no,
        found=no,
        better=no,
        end=no,
        verified=no,
    )
    begin = random(jnp.int32(0))
    if start is not None:
        begin = start_block(start[:given], begin)
    state = looked_at(extended(varying_with(state, tol), begin))
    # The last cycle ends with what it has found; the pairs stand in front once they are rotated.
    s = lax.while_loop(lambda s: ~s.end, cycle, state)
    s = rotated(s)
    count = jnp.where(s.aside > 0, s.aside, s.filled)
    behind = (index >= k) & (index < count)
    leftover = jnp.concatenate([jnp.where(behind, s.values, toward * jnp.inf), s.trailing])
    W = s.Q[k : k + MOST_LEFTOVERS]
    return finish_eigenpairs(operator, s.Q[:k].T, which, leftover, W, s.largest, s.restarts + 1, s.products, s.verified)
