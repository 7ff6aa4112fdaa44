"""Conjugate gradients for many vectors at once, each with its own operator."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.devices import varying_with
from ..numerics.products import column_norms, row_inner, times
from ..numerics.tolerances import negligible, singular_curvature
from .deflation import Preconditioner


class BlockSolution(NamedTuple):
    """``x`` (p, n), by rows; ``converged`` (p,); ``residual_norms`` (p,) relative to b; ``steps``."""

    x: Array
    converged: Array
    residual_norms: Array
    steps: Array


class _State(NamedTuple):
    x: Array
    r: Array
    p: Array
    rz: Array
    rr: Array
    curvature: Array
    active: Array
    broken: Array
    steps: Array


def block_cg(
    matvec: Callable[[Array], Array],
    b: Array,
    *,
    tol: Array,
    max_steps: int,
    preconditioner: Preconditioner | None = None,
    lengths: Array | None = None,
    project: Callable[[Array], Array] = lambda r: r,
) -> BlockSolution:
    """Solve ``matvec(x) = b`` for every row of ``b`` (p, n), all rows in one block product per step.

    ``matvec`` acts on each row by a Hermitian positive definite matrix of that row's own. The rows of ``b`` are
    divided by their ``lengths`` (a cotangent of 1e-20 must not underflow in float32): their norms, unless they are
    part of longer vectors, whose norms ``tol`` then refers to. A row that has reached ``tol`` is frozen; one that is
    below ``32 eps`` of the longest is rounding error and gets zero. A row whose operator is singular to working
    precision (curvature below ``128 eps`` of the largest one seen), or whose residual is not finite, stops as not
    converged.

    ``tol`` may be one for each row; a row whose ``tol`` is NaN fails at once. Where the vectors are to stay in a
    subspace, ``project`` brings every residual back: what rounding adds outside is never reduced there, and where it
    counts the iteration stalls and then diverges.

    Rows, because XLA on a CPU then multiplies a block by A and by A^H twice as fast.

    Source: Hestenes and Stiefel, J. Res. Natl. Bur. Stand. 49 (1952).
    """
    norms = column_norms(b.T) if lengths is None else lengths
    # Written so that NaN is wanted: a poisoned cotangent must come out as NaN, not as zero.
    wanted = ~(norms <= negligible(b.dtype) * jnp.max(norms))
    scale = jnp.where(wanted, norms, 1)
    rows = times(b, jnp.where(wanted, 1 / scale, 0)[:, None])
    x, known = (jnp.zeros_like(rows), rows) if preconditioner is None else preconditioner.start(rows)
    r = project(rows - matvec(x)) if known is None else known
    rr, hopeless = row_inner(r, r), jnp.isnan(tol)
    start = _State(
        x=x,
        r=r,
        p=jnp.zeros_like(r),
        rz=jnp.full_like(rr, jnp.inf),
        rr=rr,
        curvature=jnp.zeros_like(norms),
        active=wanted & ~hopeless & ~(rr <= tol * jnp.abs(tol)),
        broken=wanted & hopeless,
        steps=jnp.zeros((), jnp.int32),
    )

    def running(s: _State) -> Array:
        return jnp.any(s.active) & (s.steps < max_steps)

    def step(s: _State) -> _State:
        z = s.r if preconditioner is None else preconditioner.apply(s.r)
        rz = row_inner(s.r, z)
        beta = jnp.where(s.active, rz / jnp.where(s.active, s.rz, 1), 0)
        p = z + times(s.p, beta[:, None])
        q = matvec(p)
        pq = row_inner(p, q)
        quotient = pq / jnp.where(s.active, row_inner(p, p), 1)
        curvature = jnp.where(s.active, jnp.maximum(s.curvature, jnp.abs(quotient)), s.curvature)
        definite = ~(quotient <= singular_curvature(b.dtype) * curvature) & (rz > 0)
        active = s.active & definite
        alpha = jnp.where(active, rz / jnp.where(active, pq, 1), 0)
        x = s.x + times(p, alpha[:, None])
        r = project(s.r - times(q, alpha[:, None]))
        rr = row_inner(r, r)
        broken = s.broken | (s.active & ~(definite & jnp.isfinite(rr)))
        active = active & ~broken & ~(rr <= tol * jnp.abs(tol))
        return _State(x, r, p, rz, rr, curvature, active, broken, s.steps + 1)

    end = lax.while_loop(running, step, varying_with(start, norms, tol, x, r))
    return BlockSolution(times(end.x, scale[:, None]), ~(end.active | end.broken), jnp.sqrt(end.rr), end.steps)
