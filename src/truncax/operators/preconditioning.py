"""What a user's approximate inverse becomes before it is used: a pytree, in the coordinates and units of the solve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..numerics.derivative import Side
from ..numerics.products import matmul, times
from .operator import frozen
from .pencil import Root


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


def in_coordinates(inverse: Any, root: Root | None) -> Any:
    """``K ~ (A - s B)^-1``, in the coordinates ``y = F^H x`` of ``B = F F^H``: ``F^H K F``; without B as it is."""
    if inverse is None or root is None:
        return inverse
    return jax.tree_util.Partial(_congruent, frozen(root), inverse)


def in_units(inverse: Any, unit: Array) -> Any:
    """The approximate inverse of an operator that was divided by ``unit``; without derivatives, None stays None."""
    return None if inverse is None else jax.tree_util.Partial(_in_units, frozen(inverse), unit)


def _congruent(root: Root, inverse: Callable[[Array], Array], y: Array) -> Array:
    return root.product(Side.ADJOINT, _checked(inverse, root.product(Side.ROOT, y)))


def _in_units(inverse: Callable[[Array], Array], unit: Array, x: Array) -> Array:
    return times(_checked(inverse, x), unit)


def _checked(inverse: Callable[[Array], Array], x: Array) -> Array:
    y = inverse(x)
    if jnp.shape(y) != x.shape:
        raise ValueError(f"preconditioner must return a block of the shape it was given, {x.shape}; got {jnp.shape(y)}")
    if jnp.iscomplexobj(y) and not jnp.iscomplexobj(x):
        raise TypeError(f"preconditioner must be real for a real a, but returns {y.dtype}")
    return y.astype(x.dtype)
