"""Where an iteration starts: from what the user has, filled up with random rows."""

import jax.numpy as jnp
from jax import Array

from ..numerics.products import column_norms, times


def superposed(start: Array, block: int) -> Array:
    """At most ``block`` rows that hold all usable rows of ``start``: the sums of every block-th unit vector.

    A Krylov space of few vectors that contain all the wanted directions converges to them together; one that
    starts with as many vectors as are wanted takes two to four times the products.
    """
    usable = _usable(start)
    lengths = jnp.where(usable, column_norms(start.T), 1)
    unit = jnp.where(usable[:, None], times(start.T, 1 / lengths).T, 0)
    return jnp.stack([jnp.sum(unit[i::block], axis=0) for i in range(min(block, start.shape[0]))])


def start_block(start: Array, random: Array) -> Array:
    """The rows of ``start``, filled up with rows of ``random``; one that is zero or not finite counts as none."""
    rows = jnp.where(_usable(start)[:, None], start, random[: start.shape[0]])
    return jnp.concatenate([rows, random[start.shape[0] :]])


def _usable(start: Array) -> Array:
    return jnp.all(jnp.isfinite(start), axis=1) & jnp.any(start != 0, axis=1)
