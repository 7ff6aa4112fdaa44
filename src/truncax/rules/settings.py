"""From the options of a user to those of the complement solve."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..complement.deflation import Deflation
from ..complement.solve import SolveOptions
from ..numerics.tolerances import degeneracy_rtol, derivative_tolerance
from ..operators.operator import LinearOperator
from ..operators.preconditioning import in_units
from ..options import Implicit


def solve_options(
    derivative: Implicit,
    operator: LinearOperator,
    residual: Array,
    leftovers: Deflation | None,
    unit: Array,
    *,
    singular: Array | None = None,
    keep: bool = False,
) -> SolveOptions:
    """The options of the complement solve, after a forward pass with this relative ``residual``.

    ``unit``: what the operator of the solve is measured in, for the user's approximate inverse of it.
    ``singular``: the columns whose system is known to be singular, that is to fail (with no reachable tolerance).
    ``keep``: what fails is left as it is.
    """
    real = jnp.finfo(operator.dtype).dtype
    tol = _given(derivative.tol, derivative_tolerance(real, residual), real)
    if singular is not None and not keep:
        tol = jnp.where(singular, jnp.nan, tol)
    max_steps = 10 * min(operator.shape) if derivative.max_steps is None else derivative.max_steps
    return SolveOptions(tol, max_steps, leftovers, in_units(derivative.preconditioner, unit), keep)


def threshold(derivative: Implicit, operator: LinearOperator) -> Array:
    """Kept values closer than this times the largest count as equal."""
    real = jnp.finfo(operator.dtype).dtype
    return _given(derivative.degeneracy_rtol, degeneracy_rtol(real), real)


def _given(value: Any, default: Array | float, real: Any) -> Array:
    return jax.lax.stop_gradient(jnp.asarray(default if value is None else value, real))
