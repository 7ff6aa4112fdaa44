"""From what a user has to an operator."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..numerics.tolerances import computing_dtype
from .dense import DenseOperator
from .function import from_products
from .operator import Hermitian, LinearOperator

_ALLOWED = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")


def as_operator(a: Any) -> LinearOperator:
    """The operator of whatever multiplies."""
    given = given_matrix(a)
    return given if isinstance(given, LinearOperator) else computing_operator(given, hermitian=False)


def given_matrix(a: Any) -> Array | LinearOperator:
    """``a`` as a JAX array of at least two dimensions and of a dtype that is computed in, or as an operator."""
    if isinstance(a, LinearOperator):
        return a
    if isinstance(a, jax.Array | np.ndarray | np.generic):
        return _inexact(a)
    if all(callable(getattr(a, name, None)) for name in ("mv", "transpose", "in_structure")):
        return from_products(a)
    raise TypeError(
        f"a must be an array (NumPy or JAX) or a truncax.LinearOperator, got {type(a).__module__}.{type(a).__name__}"
    )


def computing_operator(a: Array | LinearOperator, *, hermitian: bool) -> LinearOperator:
    """The operator that is computed with; if ``hermitian``, one whose tangents are Hermitian."""
    operator = a if isinstance(a, LinearOperator) else DenseOperator.of(a.astype(computing_dtype(a.dtype)))
    return Hermitian(operator) if hermitian and not operator.hermitian else operator


def _inexact(a: Any) -> Array:
    if a.dtype == object or not (jnp.issubdtype(a.dtype, jnp.number) or a.dtype == bool):
        raise TypeError(f"a must be numeric, got an array of dtype {a.dtype}")
    if a.ndim < 2:
        raise ValueError(f"a must have at least two dimensions (..., m, n), got shape {a.shape}")
    inexact = jnp.issubdtype(a.dtype, jnp.inexact)
    if inexact and a.dtype.name not in _ALLOWED:
        raise TypeError(f"a has dtype {a.dtype}; allowed are {', '.join(_ALLOWED)}, integers and bools")
    return jnp.asarray(a) if inexact else jnp.asarray(a).astype(jnp.result_type(float))
