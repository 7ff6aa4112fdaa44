"""Gram-Schmidt against a basis that is stored by rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .products import PRECISION, times
from .tolerances import epsilon


class Direction(NamedTuple):
    """What is left of a vector outside a basis: ``w = sum_i coefficients_i q_i + norm * unit``."""

    unit: Array
    norm: Array
    coefficients: Array


def random_directions(key: Array, size: int, dtype: Any) -> Callable[[Array], Array]:
    """The function that gives the i-th of ``size`` random unit vectors; complex dtypes get complex ones.

    Two random vectors are made once, and their product under a shift by i is formed when it is asked for: a
    generator at every place that may need a direction costs more to compile and to run than the solver.
    """
    noise = jax.random.normal(key, (2, size), dtype)
    return lambda i: _normalised(noise[0] * jnp.roll(noise[1], i))[0]


def _normalised(x: Array) -> tuple[Array, Array]:
    norm = jnp.linalg.norm(x)
    return times(x, 1 / jnp.where(norm > 0, norm, 1)), norm


def _project(basis: Array, w: Array) -> tuple[Array, Array]:
    coefficients = jnp.matmul(jnp.conj(basis), w, precision=PRECISION)
    return w - jnp.matmul(coefficients, basis, precision=PRECISION), coefficients


def orthonormalise(basis: Array, w: Array, spare: Callable[[], Array]) -> Direction:
    """Split ``w`` into its part in the span of the rows of ``basis`` and a unit vector outside.

    Two passes of classical Gram-Schmidt. Rows of zeros are allowed: a basis that is not full yet.
    Where nothing but rounding error is left, ``unit`` is a fresh random direction outside the span
    and ``norm`` is exactly zero, so that a Krylov space which closes goes on elsewhere; ``spare`` makes the
    direction when it is needed.
    """
    rest, first = _project(basis, w)
    before, after = jnp.linalg.norm(w), jnp.linalg.norm(rest)
    alive = after > 10 * epsilon(w.dtype) * before

    def refilled() -> Array:
        fresh = spare()
        for _ in range(2):
            fresh = _normalised(_project(basis, fresh)[0])[0]
        return fresh

    unit = lax.cond(alive, lambda: _normalised(rest)[0], refilled)
    unit, second = _project(basis, unit)
    unit, length = _normalised(unit)
    scale = jnp.where(alive, after, 0)
    return Direction(unit, scale * length, first + times(second, scale))
