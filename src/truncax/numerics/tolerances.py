"""Every tolerance of the library, from the dtype; there are no literal tolerances elsewhere."""

from typing import Any

import jax.numpy as jnp
from jax import Array


def computing_dtype(dtype: Any) -> Any:
    """Half precision is computed in float32, everything else as it is."""
    return jnp.dtype(jnp.float32) if dtype in (jnp.float16, jnp.bfloat16) else dtype


def epsilon(dtype: Any) -> float:
    """Spacing of the real numbers behind ``dtype`` at one."""
    return float(jnp.finfo(dtype).eps)


def solve_tolerance(dtype: Any) -> float:
    """Default relative residual of a decomposition, ``eps^(5/6)``: 9e-14 in float64, 2e-6 in float32."""
    return epsilon(dtype) ** (5 / 6)


def smallest_tolerance(dtype: Any) -> float:
    """The estimates that stop an iteration are not asked for less than ``16 eps``."""
    return 16 * epsilon(dtype)


def rounding_floor(dtype: Any, size: int, restarts: Array) -> Array:
    """The relative residual that rounding leaves: ``(10 + sqrt(size) + 2 restarts) eps``.

    ``sqrt(size) eps`` in the products that measure it, and about one eps on each side for every rotation of
    the bases.
    """
    return (10 + size**0.5 + 2 * restarts.astype(jnp.finfo(dtype).dtype)) * epsilon(dtype)


def derivative_tolerance(dtype: Any, residual: Array) -> Array:
    """Default relative residual of the complement solve: the forward residual, but at least ``16 eps``, at most 0.1.

    The errors of both reach the derivative divided by the same cut gap, so that a smaller one here is wasted.
    """
    residual = jnp.where(jnp.isfinite(residual), residual, 0)
    return jnp.clip(residual, 16 * epsilon(dtype), 0.1).astype(dtype)


def degeneracy_rtol(dtype: Any) -> float:
    """Kept values closer than this times the largest count as equal, ``eps^(3/4)``: 2e-12 and 6e-6."""
    return epsilon(dtype) ** (3 / 4)


def tie_width(dtype: Any) -> float:
    """Two values closer than this, relative to them, are a tie to a quotient of differences, ``sqrt(eps)``."""
    return epsilon(dtype) ** 0.5


def negligible(dtype: Any) -> float:
    """Below this times its scale a number is rounding error, ``32 eps``."""
    return 32 * epsilon(dtype)


def unsolved(dtype: Any) -> float:
    """A residual above this times the right-hand side is no solution whatever its rounding error, ``sqrt(eps)``."""
    return epsilon(dtype) ** 0.5


def semiorthogonal(dtype: Any) -> float:
    """Products of the vectors of a basis below ``sqrt(eps)`` need not be removed: it is enough that they are known."""
    return epsilon(dtype) ** 0.5


def singular_curvature(dtype: Any) -> float:
    """An operator whose curvature falls below ``128 eps`` of its largest is singular: a tie at the cut.

    The kept values carry an error of some eps; below this the derivative has no digit left.
    """
    return 128 * epsilon(dtype)


def symmetry_tolerance(dtype: Any, opaque: bool) -> float:
    """By how much ``y^H (A x)`` and ``(A^H y)^H x`` may differ, relative to the norms: ``32 eps`` for arrays.

    ``sqrt(eps)`` for the code of a user, which may lose digits inside; where it is wrong, they differ at order one.
    """
    return epsilon(dtype) ** 0.5 if opaque else 32 * epsilon(dtype)


def shift_tolerance(dtype: Any) -> float:
    """The relative residual that a given inverse may leave, and a shift in ``A x = l B x``: ``sqrt(eps)``."""
    return epsilon(dtype) ** 0.5


def lost_to_shift(dtype: Any) -> float:
    """The relative error that a nearly singular ``A - sigma B`` may bring to its inverse, ``eps^(1/4)``."""
    return epsilon(dtype) ** 0.25


def small_turn(dtype: Any) -> float:
    """A rotation by less than ``eps^(3/8)``, 1e-6 and 3e-3, is right to rounding in first order and one polar step."""
    return epsilon(dtype) ** (3 / 8)


def power_of_two(magnitude: Array) -> Array:
    """The power of two next to ``magnitude``; 1 where it is zero or not finite.

    Scaling by it is exact, and it keeps squares away from the ends of the exponent range, where
    XLA on a CPU flushes denormals to zero and a residual would read as converged.
    """
    usable = jnp.isfinite(magnitude) & (magnitude > 0)
    _, exponent = jnp.frexp(jnp.where(usable, magnitude, 1))
    limit = jnp.finfo(magnitude.dtype).maxexp - 2
    return jnp.ldexp(jnp.ones_like(magnitude), jnp.clip(exponent, -limit, limit))
