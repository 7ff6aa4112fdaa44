"""When a thick-restart method looks at its Ritz values, restarts, and may stop.

A Krylov space of one block holds as many directions of an eigenspace as the block has vectors: it can converge to
k pairs and have missed a copy of a repeated value. So convergence alone ends nothing. The converged pairs go on,
and with them the leftover pairs next to the cut that are known well enough; a fresh random block outside of all of
them starts a new Krylov space. Those leftovers are deflated by being kept, so that a missed pair stands out by its
distance from the last of them, not from the cut, and few steps show it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..numerics.tolerances import epsilon
from ..options import Krylov
from .progress import report

# Probability allowed for a missed pair to stay hidden from the probe.
_RISK = 1e-3
# The bound below is pessimistic by a factor of two, so that its value for this gap serves smaller ones too.
_SMALLEST_GAP = 1e-2
# A leftover Ritz value is settled when its residual is below this part of its distance from the cut, and firm, so
# that it may be deflated without a trace in the kept pairs of a Hermitian matrix, when it is below the second one.
SETTLED, _FIRM = 0.1, 1e-8
# Block steps between two looks at the Ritz values, at most, unless the end is more than twice as far.
_STRIDE = 8


class Plan(NamedTuple):
    """The static sizes of an iteration: k wanted of ``size``, room for ``ncv`` basis vectors, ``block`` of them
    multiplied at once, ``given`` to start with; who is told about it; the most restarts.
    """

    k: int
    block: int
    ncv: int
    size: int
    given: int
    callback: Callable | None
    limit: int

    @property
    def wait(self) -> int:
        """The most rows that can wait to be multiplied."""
        return max(self.block, self.given)


def plan(options: Krylov, k: int, size: int, start: Array | None) -> Plan:
    """The sizes that ``options`` ask for."""
    given, block = 0 if start is None else start.shape[0], options.block(k, size)
    sizes = Plan(k, block, options.basis_size(k, size), size, given, options.callback, options.restart_limit)
    # Rows that wait are zeros where the space ends, and must not come to stand between others by a restart. So a basis
    # ends before, or has room for the whole space, with whole blocks after any number that was kept.
    if sizes.ncv + sizes.wait <= size:
        return sizes
    shorter = (size - sizes.wait) // block * block
    # Many start vectors come from another solver: little is left to do, and a look at a whole space takes long.
    enough = given > block and 2 * shorter >= 3 * k
    return sizes._replace(ncv=shorter if enough else size + block - 1)


class Ritz(NamedTuple):
    """What a Rayleigh-Ritz step knows, best first.

    ``values``, ``bounds`` of their residuals, for the leftovers ``depth``, the distance beyond the cut; ``largest``
    magnitude of a value.
    """

    values: Array
    bounds: Array
    depth: Array
    largest: Array


class Restart(NamedTuple):
    """How the next cycle begins, and what the decision after it needs.

    ``keep`` vectors go on, rotated to Ritz vectors if ``rotate``, with a ``fresh`` random block or with what waits;
    after ``steps`` block steps the Ritz values are looked at again. ``probed`` block steps since the last fresh
    block, or -1; ``reach``, the depth that the leftovers kept then fill at either end, or zero; ``reference``, the
    values then; ``excess`` of the worst bound over its tolerance; ``cycles`` and, among them, ``restarts`` so far.
    """

    keep: Array
    rotate: Array
    fresh: Array
    steps: Array
    probed: Array
    reach: Array
    reference: Array
    excess: Array
    done: Array
    cycles: Array
    restarts: Array


def running(state: Restart, limit: int) -> Array:
    """Whether another cycle is due, and allowed."""
    return ~state.done & (state.restarts + state.rotate.astype(jnp.int32) < limit)


def first_cycle(plan: Plan, dtype: Any) -> Restart:
    """The state before anything is known but the start vectors; without any, a fresh random block begins."""
    cold, zero = jnp.full((), plan.given == 0), jnp.zeros((), dtype)
    if plan.given > plan.block:
        steps = -(-plan.given // plan.block)
    else:
        steps = min(plan.k + (8 if plan.given else 16), plan.ncv) // plan.block
    return Restart(
        keep=jnp.int32(0),
        rotate=cold,
        fresh=cold,
        steps=jnp.int32(max(steps, 1)),
        probed=jnp.int32(-1),
        reach=zero,
        reference=jnp.zeros((plan.k,), dtype),
        excess=zero + jnp.inf,
        done=jnp.zeros((), bool),
        cycles=jnp.int32(0),
        restarts=jnp.int32(-1 if plan.given == 0 else 0),
    )


def kept_size(k: int, ncv: int) -> int:
    """How many Ritz vectors an ordinary restart keeps: the wanted ones and half of the others."""
    return k + (ncv - k) // 2


def probe_length(gap: Array, size: int, block: int) -> Array:
    """Steps q after which a random block has shown a value above a relative gap, but for one case in a thousand.

    From ``(1.65 sqrt(n) exp(-sqrt(gap) (2 q - 1)))^block <= 1e-3``; for one vector by Kuczynski and Wozniakowski,
    SIAM J. Matrix Anal. Appl. 13 (1992). The bound is the probability that a random vector has hardly a part in the
    wanted direction, and the vectors of a block are independent.
    """
    log = jnp.log(1.65 * size**0.5 / _RISK ** (1 / block))
    q = (1 + log / jnp.sqrt(jnp.clip(gap, _SMALLEST_GAP, 1))) / 2
    return jnp.ceil(jnp.minimum(q, size)).astype(jnp.int32)


def next_restart(
    state: Restart,
    ritz: Ritz,
    plan: Plan,
    *,
    gap: Callable[[Array], Array],
    filled: Array,
    tol: Array,
    cut: Array | int | None = None,
    firm: float = _FIRM,
) -> Restart:
    """The decision after a cycle that ended with ``filled`` basis vectors.

    ``gap`` turns a depth into the relative gap of the operator that is probed. The leftovers that tell something begin
    at ``cut``, by default k: the second member of a conjugate pair whose first is wanted does not. ``firm`` is the
    part of its depth below which the bound of a leftover allows to deflate it; one that has converged may always be.
    """
    values, bounds, depth, largest = ritz
    k, block, ncv, size = plan[:4]
    cut = k if cut is None else cut
    index = jnp.arange(ncv, dtype=jnp.int32)
    leftover = (index >= cut) & (index < filled)
    floor = tol * largest
    excess = jnp.max(bounds[:k]) / jnp.where(floor > 0, floor, 1)
    converged = jnp.max(bounds[:k]) <= floor
    deflated = (index >= k) & (index < filled) & (bounds <= jnp.maximum(firm * depth, floor))
    extra = jnp.sum(jnp.cumprod(deflated[k:].astype(jnp.int32)), dtype=jnp.int32)
    known = leftover & (bounds <= jnp.maximum(SETTLED * depth, floor))
    # The leftover next to a cut: under "BE" those of the two ends alternate.
    next_one = jnp.argmin(jnp.where(leftover, depth, jnp.inf))
    settled, first = known[next_one], jnp.where(filled > cut, depth[next_one], 0)

    probing = state.probed >= 0
    probed = jnp.where(probing, state.probed + state.steps, -1)
    reach = jnp.where(state.reach > 0, state.reach, first)
    needed = probe_length(gap(reach), size, block)
    # A tie at the cut lets a copy of the last value come and go; what matters is that no better value came.
    unchanged = jnp.max(jnp.abs(values[:k] - state.reference)) <= (10 * tol + 10 * epsilon(values.dtype)) * largest
    # A missed pair rises through the leftovers, and is not settled until it has arrived.
    rising = leftover & (depth <= reach) & (bounds > jnp.maximum(2 * SETTLED * depth, floor))
    verified = probing & unchanged & settled & ~jnp.any(rising) & (probed >= needed)
    # A basis of the whole space has found what there is, and what waits is zeros.
    done = (filled >= size) | (converged & verified) | ~jnp.isfinite(largest)
    restarts = state.restarts + state.rotate.astype(jnp.int32)

    fresh = converged & jnp.where(probing, ~unchanged, settled | (filled <= cut))
    # What the first fresh block displaced is missing from the bounds, so a second one keeps no leftovers.
    extra = jnp.where(probing, 0, jnp.clip(extra, 0, min(kept_size(k, ncv), ncv - block) - k))
    # At the other end of "BE" what is not kept may begin before the last that is.
    dropped = jnp.min(depth, where=(index >= k + extra) & (index < filled), initial=jnp.inf)
    last = jnp.where(extra > 0, jnp.minimum(depth[jnp.minimum(k + extra, ncv) - 1], dropped), 0)
    full = filled + block > ncv
    keep = jnp.where(fresh, k + extra, jnp.where(full, min(kept_size(k, ncv), ncv - block), filled)).astype(jnp.int32)

    # The bounds fall geometrically or faster: the next look is where they would reach the tolerance.
    before = jnp.where(jnp.isfinite(state.excess), state.excess, 1 / tol)
    rate = jnp.log(before / excess) / state.steps.astype(values.dtype)
    useful = jnp.isfinite(rate) & (rate > 0)
    ahead = jnp.where(useful, jnp.log(excess) / jnp.where(useful, rate, 1), _STRIDE)
    ahead = jnp.ceil(jnp.minimum(ahead, ncv)).astype(jnp.int32)
    expected = probe_length(gap(jnp.where(last > 0, last, first)), size, block)
    ahead = jnp.where(fresh, expected, jnp.where(probing & converged, needed - probed, ahead))
    # Convergence speeds up, so that only half of a long way is taken unseen.
    farthest = jnp.maximum(_STRIDE, jnp.where(fresh, ncv, ahead // 2))
    steps = jnp.minimum(jnp.clip(ahead, 1, farthest), (ncv - keep) // block)
    rotate, relative = fresh | full, bounds[:k] / jnp.where(largest > 0, largest, 1)
    last_one = done | (restarts + rotate.astype(jnp.int32) >= plan.limit)
    report(plan.callback, restarts + 1, state.rotate, last_one, bounds[:k] <= floor, relative)
    return Restart(
        keep=keep,
        rotate=rotate,
        fresh=fresh,
        steps=steps,
        probed=jnp.where(fresh, 0, probed).astype(jnp.int32),
        reach=jnp.where(fresh, last, state.reach),
        reference=jnp.where(fresh, values[:k], state.reference),
        excess=excess,
        done=done,
        cycles=state.cycles + 1,
        restarts=restarts,
    )
