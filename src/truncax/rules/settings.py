"""From the options of a user to those of the complement solve."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..complement.deflation import Deflation
from ..complement.solve import SolveOptions
from ..numerics.products import matmul, times
from ..numerics.tolerances import degeneracy_rtol, derivative_tolerance
from ..operators.operator import LinearOperator, frozen
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
    inverse = frozen(derivative.preconditioner)
    if inverse is not None:
        inverse = jax.tree_util.Partial(_in_units, inverse, unit)
    return SolveOptions(tol, max_steps, leftovers, inverse, keep)


def threshold(derivative: Implicit, operator: LinearOperator) -> Array:
    """Kept values closer than this times the largest count as equal."""
    real = jnp.finfo(operator.dtype).dtype
    return _given(derivative.degeneracy_rtol, degeneracy_rtol(real), real)


def as_preconditioner(given: Any, size: int, dtype: Any) -> Any:
    """A function of a block of columns that is a pytree, from a function or a square array; None stays None."""
    if given is None or isinstance(given, jax.tree_util.Partial):
        return given
    if isinstance(given, jax.Array | np.ndarray):
        if given.shape != (size, size):
            raise ValueError(f"preconditioner must have shape {(size, size)}, got {given.shape}")
        if jnp.iscomplexobj(given) and not jnp.issubdtype(dtype, jnp.complexfloating):
            raise TypeError(f"preconditioner must be real for a real a, got dtype {given.dtype}")
        return jax.tree_util.Partial(matmul, jnp.asarray(given, dtype))
    if not callable(given):
        raise TypeError(f"preconditioner must be a function of a block of columns or a square array, got {given!r}")
    return jax.tree_util.Partial(given)


def _in_units(inverse: Callable[[Array], Array], unit: Array, x: Array) -> Array:
    y = inverse(x)
    if jnp.shape(y) != x.shape:
        raise ValueError(f"preconditioner must return a block of the shape it was given, {x.shape}; got {jnp.shape(y)}")
    return times(y, unit).astype(x.dtype)


def _given(value: Any, default: Array | float, real: Any) -> Array:
    return jax.lax.stop_gradient(jnp.asarray(default if value is None else value, real))
