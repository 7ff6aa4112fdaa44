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

from ..numerics.products import row_norms, times
from ..numerics.tolerances import epsilon

# Probability allowed for a missed pair to stay hidden from the probe.
_RISK = 1e-3
# The bound below is pessimistic by a factor of two, so that its value for this gap serves smaller ones too.
_SMALLEST_GAP = 1e-2
# A leftover Ritz value is settled when its residual is below this part of its distance from the cut, and firm, so
# that it may be deflated without a trace in the kept pairs, when it is below the second one.
_SETTLED, _FIRM = 0.1, 1e-8
# Block steps between two looks at the Ritz values, at most, while the basis is small; later half of what is there.
_STRIDE = 8


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
    block, or -1; ``reach``, the depth of the last leftover that was kept then, or zero; ``reference``, the
    values then; ``excess`` of the worst bound over its tolerance.
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


def first_cycle(k: int, block: int, given: int, ncv: int, dtype: Any) -> Restart:
    """The state before anything is known but ``given`` start vectors."""
    no, zero = jnp.zeros((), bool), jnp.zeros((), dtype)
    steps = -(-given // block) if given > block else min(k + (8 if given else 16), ncv) // block
    return Restart(
        keep=jnp.int32(0),
        rotate=no,
        fresh=no,
        steps=jnp.int32(max(steps, 1)),
        probed=jnp.int32(-1),
        reach=zero,
        reference=jnp.zeros((k,), dtype),
        excess=zero + jnp.inf,
        done=no,
    )


def superposed(start: Array, block: int) -> Array:
    """At most ``block`` rows that hold all rows of ``start``: the sums of every block-th of them.

    A Krylov space of few vectors that contain all the wanted directions converges to them together; one that
    starts with as many vectors as are wanted takes two to four times the products.
    """
    unit = times(start.T, 1 / jnp.where(row_norms(start) > 0, row_norms(start), 1)).T
    return jnp.stack([jnp.sum(unit[i::block], axis=0) for i in range(min(block, start.shape[0]))])


def start_block(start: Array, random: Array) -> Array:
    """The rows of ``start``, filled up with rows of ``random``; one that is zero or not finite counts as none."""
    usable = jnp.all(jnp.isfinite(start), axis=1) & jnp.any(start != 0, axis=1)
    rows = jnp.where(usable[:, None], start, random[: start.shape[0]])
    return jnp.concatenate([rows, random[start.shape[0] :]])


def kept_size(k: int, ncv: int) -> int:
    """How many Ritz vectors an ordinary restart keeps: the wanted ones and half of the others."""
    return k + (ncv - k) // 2


def probe_length(gap: Array, size: int) -> Array:
    """Steps q after which a random start has shown a value above a relative gap, but for one case in a thousand.

    From ``1.65 sqrt(n) exp(-sqrt(gap) (2 q - 1)) <= 1e-3``, Kuczynski and Wozniakowski, SIAM J. Matrix Anal.
    Appl. 13 (1992).
    """
    log = jnp.log(1.65 * size**0.5 / _RISK)
    q = (1 + log / jnp.sqrt(jnp.clip(gap, _SMALLEST_GAP, 1))) / 2
    return jnp.ceil(jnp.minimum(q, size)).astype(jnp.int32)


def next_restart(
    state: Restart,
    ritz: Ritz,
    *,
    gap: Callable[[Array], Array],
    filled: Array,
    tol: Array,
    k: int,
    block: int,
    ncv: int,
    size: int,
) -> Restart:
    """The decision after a cycle that ended with ``filled`` basis vectors.

    ``gap`` turns a depth into the relative gap of the operator that is probed.
    """
    values, bounds, depth, largest = ritz
    index = jnp.arange(ncv, dtype=jnp.int32)
    leftover = (index >= k) & (index < filled)
    floor = tol * largest
    excess = jnp.max(bounds[:k]) / jnp.where(floor > 0, floor, 1)
    converged = jnp.max(bounds[:k]) <= floor
    firm = leftover & (bounds <= jnp.maximum(_FIRM * depth, floor))
    extra = jnp.sum(jnp.cumprod(firm[k:].astype(jnp.int32)), dtype=jnp.int32)
    settled = jnp.any((leftover & (bounds <= jnp.maximum(_SETTLED * depth, floor)))[k : k + 1])
    first = jnp.take(depth, k, mode="fill", fill_value=0)

    probing = state.probed >= 0
    probed = jnp.where(probing, state.probed + state.steps, -1)
    reach = jnp.where(state.reach > 0, state.reach, first)
    needed = probe_length(gap(reach), size)
    # A tie at the cut lets a copy of the last value come and go; what matters is that no better value came.
    unchanged = jnp.max(jnp.abs(values[:k] - state.reference)) <= (10 * tol + 10 * epsilon(values.dtype)) * largest
    # A missed pair rises through the leftovers, and is not settled until it has arrived.
    rising = leftover & (depth <= reach) & (bounds > jnp.maximum(2 * _SETTLED * depth, floor))
    verified = probing & unchanged & settled & ~jnp.any(rising) & (probed >= needed)
    done = (converged & ((filled >= size) | verified)) | ~jnp.isfinite(largest)

    known = settled | (filled <= k)
    fresh = converged & jnp.where(probing, ~unchanged, known)
    # What the first fresh block displaced is missing from the bounds, so a second one keeps no leftovers.
    extra = jnp.where(probing, 0, jnp.minimum(extra, kept_size(k, ncv) - k))
    last = jnp.where(extra > 0, depth[jnp.minimum(k + extra, ncv) - 1], 0)
    full = filled + block > ncv
    keep = jnp.where(fresh, k + extra, jnp.where(full, min(kept_size(k, ncv), ncv - block), filled)).astype(jnp.int32)

    # The bounds fall geometrically or faster: the next look is where they would reach the tolerance.
    before = jnp.where(jnp.isfinite(state.excess), state.excess, 1 / tol)
    rate = jnp.log(before / excess) / state.steps.astype(values.dtype)
    useful = jnp.isfinite(rate) & (rate > 0)
    ahead = jnp.where(useful, jnp.log(excess) / jnp.where(useful, rate, 1), _STRIDE)
    ahead = jnp.ceil(jnp.minimum(ahead, ncv)).astype(jnp.int32)
    ahead = jnp.where(fresh, probe_length(gap(last), size), jnp.where(probing & converged, needed - probed, ahead))
    farthest = jnp.maximum(_STRIDE, filled // (2 * block))
    steps = jnp.minimum(jnp.clip(ahead, 1, farthest), (ncv - keep) // block)
    return Restart(
        keep=keep,
        rotate=fresh | full,
        fresh=fresh,
        steps=steps,
        probed=jnp.where(fresh, 0, probed).astype(jnp.int32),
        reach=jnp.where(fresh, last, state.reach),
        reference=jnp.where(fresh, values[:k], state.reference),
        excess=excess,
        done=done,
    )
