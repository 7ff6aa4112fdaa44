"""When a thick-restart method restarts, with what, and when it may stop.

A Krylov space of one vector holds one direction of each eigenspace: it can converge to k pairs and have
missed a copy of a repeated value. So convergence alone ends nothing. The converged pairs are kept, the
leftovers are dropped, a fresh random direction outside of what was found starts a new Krylov space, and only
when that has had enough steps to show any better pair, and shows none, is the result accepted.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..numerics.tolerances import epsilon

# Probability allowed for a missed pair to stay hidden from the probe.
_RISK = 1e-3
# The bound below is pessimistic by a factor of two, so that its value for this gap serves smaller ones too.
_SMALLEST_GAP = 1e-2


class RestartState(NamedTuple):
    """``keep`` Ritz vectors go on; ``fresh``: with a random direction; ``probed`` steps since then, or -1."""

    keep: Array
    fresh: Array
    probed: Array
    reference: Array
    done: Array


def first_cycle(k: int, dtype: Any) -> RestartState:
    """The state before anything is known: keep nothing."""
    no = jnp.zeros((), bool)
    return RestartState(jnp.int32(0), no, jnp.int32(-1), jnp.zeros((k,), dtype), no)


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


def is_settled(residual: Array, distance: Array, tol: Array, largest: Array) -> Array:
    """Whether the first leftover Ritz value is known to a tenth of its distance from the cut, or has converged.

    While a missed pair rises through the values at the cut this fails, however small the gap that hides it.
    """
    return residual <= jnp.maximum(0.1 * distance, tol * largest)


def next_restart(
    state: RestartState,
    values: Array,
    converged: Array,
    settled: Array,
    *,
    largest: Array,
    needed: Array,
    tol: Array,
    k: int,
    ncv: int,
    size: int,
) -> RestartState:
    """The decision after a cycle whose wanted Ritz values are ``values``.

    ``converged`` tells whether all wanted pairs are, ``settled`` whether the first leftover is known well enough;
    ``largest`` is the largest magnitude of a Ritz value, ``needed`` is ``probe_length``.
    """
    probing = state.probed >= 0
    # A tie at the cut lets a copy of the last value come and go; what matters is that no better value came.
    unchanged = jnp.max(jnp.abs(values - state.reference)) <= (10 * tol + 10 * epsilon(values.dtype)) * largest
    probed = jnp.where(probing, state.probed + ncv - state.keep, -1)
    verified = probing & unchanged
    fresh = converged & ~verified
    everything = ncv >= size
    return RestartState(
        keep=jnp.where(fresh, k, kept_size(k, ncv)).astype(jnp.int32),
        fresh=fresh,
        probed=jnp.where(fresh, 0, probed).astype(jnp.int32),
        reference=jnp.where(fresh, values, state.reference),
        done=(converged & (everything | (verified & settled & (probed >= needed)))) | ~jnp.isfinite(largest),
    )
