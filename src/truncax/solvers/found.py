"""What every solver hands over."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Triplets(NamedTuple):
    """``U`` (m, k), ``s`` (k,) descending, ``V`` (n, k); the leftover Ritz values; the work done.

    ``verified``: the solver made sure that no better triplet was missed.
    """

    U: Array
    s: Array
    V: Array
    leftover: Array
    iterations: Array
    products: Array
    verified: Array


class Eigenpairs(NamedTuple):
    """``values`` (k,) best first, ``Q`` (n, k); the leftover Ritz values, best first; the work done.

    ``verified``: the solver made sure that no better pair was missed.
    """

    values: Array
    Q: Array
    leftover: Array
    iterations: Array
    products: Array
    verified: Array


def largest_magnitude(found: Eigenpairs) -> Array:
    """The largest magnitude of an eigenvalue that was seen, kept or not: the order of the norm of A."""
    return jnp.maximum(jnp.max(jnp.abs(found.values)), jnp.max(jnp.abs(found.leftover), initial=0))


def best_first(values: Array, which: str) -> Array:
    """The indices that bring real ``values`` into the order of ``which``."""
    key = {"LA": -values, "SA": values, "LM": -jnp.abs(values)}[which]
    return jnp.argsort(key)
