"""What every solver hands over."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

# Leftover vectors that are handed over, at most: what lies farther from the cut hardly slows a derivative down.
MOST_LEFTOVERS = 24


class Triplets(NamedTuple):
    """``U`` (m, k), ``s`` (k,) best first, ``V`` (n, k), measured residuals; leftover Ritz values; the work done.

    Where the leftovers are fewer than their array, the rest is -inf (for eigenpairs inf). ``W`` (p, min(m, n)), by
    rows: Ritz vectors of the leftovers next to the cut on the shorter side (the left one if m = n), orthonormal, or
    zero where there is none. ``W_values`` (p,), their values, where they are singular vectors to rounding; else None.

    ``verified``: the solver made sure that no better triplet was missed.
    """

    U: Array
    s: Array
    V: Array
    residuals: Array
    leftover: Array
    W: Array
    iterations: Array
    products: Array
    verified: Array
    W_values: Array | None = None


class Eigenpairs(NamedTuple):
    """``values`` (k,) best first, ``Q`` (n, k), measured residuals; leftover Ritz values, best first; ``W`` (p, n) and
    ``W_values`` as for triplets; the ``largest`` magnitude of an eigenvalue that was seen, kept or not; the work done.

    ``verified``: the solver made sure that no better pair was missed.
    """

    values: Array
    Q: Array
    residuals: Array
    leftover: Array
    W: Array
    largest: Array
    iterations: Array
    products: Array
    verified: Array
    W_values: Array | None = None


class SchurVectors(NamedTuple):
    """``A Q = Q T`` of a general A: ``Q`` (n, k) orthonormal and ``T`` (k, k) upper triangular, both complex, with the
    ``values`` (k,) on its diagonal, best first.

    ``residuals`` of the columns, ``pair_residuals`` of the eigenvectors ``Q w``; leftover Ritz values, best first; the
    ``largest`` magnitude of a value that was seen, and the ``norm`` of A, estimated from below; the work done.

    ``verified``: the solver looked for a better value that was missed, and found none.
    """

    values: Array
    Q: Array
    T: Array
    residuals: Array
    pair_residuals: Array
    leftover: Array
    largest: Array
    norm: Array
    iterations: Array
    products: Array
    verified: Array


def conjugate(found: SchurVectors) -> SchurVectors:
    """What is found of a real operator, with every value in the place of its conjugate."""
    values, Q, T, leftover = (jnp.conj(x) for x in (found.values, found.Q, found.T, found.leftover))
    return found._replace(values=values, Q=Q, T=T, leftover=leftover)


def largest_singular(found: Triplets) -> Array:
    """The largest singular value that was seen, kept or not."""
    return jnp.maximum(jnp.max(found.s), jnp.max(found.leftover, initial=0))


def relative_residual(found: Triplets | Eigenpairs | SchurVectors, largest: Array) -> Array:
    """The largest residual, relative to the ``largest`` value."""
    return jnp.max(found.residuals) / jnp.where(largest > 0, largest, 1)


def best_first(values: Array, which: str, count: Array | int | None = None) -> Array:
    """The indices that bring ascending ``values`` into the order of ``which``; what follows ``count`` stays last."""
    size = values.shape[0]
    count = size if count is None else count
    index = jnp.arange(size, dtype=jnp.int32)
    if which == "BE":
        alternating = jnp.where(index % 2 == 0, count - 1 - index // 2, index // 2)
        return jnp.where(index < count, alternating, index)
    key = {"LA": -values, "SA": values, "LM": -jnp.abs(values)}[which]
    return jnp.argsort(jnp.where(index < count, key, jnp.inf))


def ranking(values: Array, which: str) -> Array:
    """How good general eigenvalues are by ``which``, the larger the better.

    Among conjugate pairs, those of a real matrix, the imaginary part counts in magnitude ("LI", "SI"); where there are
    none it counts with its sign ("+I", "-I").
    """
    imag = jnp.abs(values.imag)
    return {
        "LM": lambda: jnp.abs(values),
        "LR": lambda: values.real,
        "SR": lambda: -values.real,
        "LI": lambda: imag,
        "SI": lambda: -imag,
        "+I": lambda: values.imag,
        "-I": lambda: -values.imag,
    }[which]()
