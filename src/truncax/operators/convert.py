"""From what a user has to an operator."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.sparse.linalg import LinearOperator as HostLinearOperator

from ..numerics.devices import with_own_layout
from ..numerics.tolerances import computing_dtype
from .dense import DenseOperator
from .from_sparse import is_sparse, sparse_operator
from .function import from_products
from .operator import Hermitian, LinearOperator
from .sparse import SparseOperator

_ALLOWED = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")


def as_operator(a: Any) -> LinearOperator:
    """The operator of whatever multiplies.

    Args:
        a: a JAX or NumPy array (m, n); a ``BCOO`` or ``BCSR`` of ``jax.experimental.sparse`` or any matrix of
            ``scipy.sparse``; an object with the methods ``mv``, ``transpose`` and ``in_structure``, as lineax has them;
            or a ``LinearOperator``, which is returned as it is. Integers and bools in the default float, half precision
            in float32.

    Returns:
        A ``LinearOperator``, a pytree. Every function of Truncax calls this itself; call it to combine operators.

    Raises:
        TypeError, ValueError: anything else; a function needs ``linear_operator``.

    Derivative: with respect to the arrays of ``a``; to the entries of a sparse matrix, in its own pattern.

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> operator = 2 * truncax.as_operator(jnp.diag(jnp.arange(1.0, 5.0))).H
        >>> (operator @ jnp.ones(4)).tolist()
        [2.0, 4.0, 6.0, 8.0]

    Source: the interface of operators follows ``scipy.sparse.linalg.LinearOperator`` and lineax.

    """
    given = given_matrix(a)
    return given if isinstance(given, LinearOperator) else computing_operator(given, hermitian=False)


def given_matrix(a: Any, *, hermitian: bool = False) -> Array | LinearOperator:
    """``a`` as a JAX array of at least two dimensions and of a dtype that is computed in, or as an operator.

    Only the product of a ``hermitian`` matrix itself will be fast, not that of its adjoint.
    """
    if isinstance(a, LinearOperator):
        return a
    if isinstance(a, jax.Array | np.ndarray | np.generic):
        if a.dtype != object and a.ndim < 2:
            raise ValueError(f"a must have at least two dimensions (..., m, n), got shape {a.shape}")
        return _inexact(a)
    if is_sparse(a):
        return sparse_operator(a, _inexact, both=not hermitian)
    if all(callable(getattr(a, name, None)) for name in ("mv", "transpose", "in_structure")):
        return from_products(a)
    got = f"got {type(a).__module__}.{type(a).__name__}"
    if isinstance(a, HostLinearOperator):
        raise TypeError(
            f"a must multiply in JAX, {got}: write matvec in JAX and pass truncax.linear_operator(matvec, shape=...)"
        )
    if callable(a):
        raise TypeError(f"a must be an array or an operator, {got}: pass truncax.linear_operator(a, shape=...)")
    advice = ": pass jax.numpy.asarray(a)" if isinstance(a, list | tuple) else ""
    raise TypeError(f"a must be an array (NumPy or JAX), a sparse matrix or a truncax.LinearOperator, {got}{advice}")


def computing_operator(a: Array | LinearOperator, *, hermitian: bool) -> LinearOperator:
    """The operator that is computed with; if ``hermitian``, one whose tangents are Hermitian."""
    if isinstance(a, SparseOperator):
        operator: LinearOperator = a.astype(computing_dtype(a.dtype))
    else:
        operator = (
            a
            if isinstance(a, LinearOperator)
            else DenseOperator.of(with_own_layout(a).astype(computing_dtype(a.dtype)))
        )
    return Hermitian(operator) if hermitian and not operator.hermitian else operator


def _inexact(a: Any) -> Array:
    if a.dtype == object or not (jnp.issubdtype(a.dtype, jnp.number) or a.dtype == bool):
        raise TypeError(f"a must be numeric, got an array of dtype {a.dtype}")
    inexact = jnp.issubdtype(a.dtype, jnp.inexact)
    if inexact and a.dtype.name not in _ALLOWED:
        raise TypeError(f"a has dtype {a.dtype}; allowed are {', '.join(_ALLOWED)}, integers and bools")
    return jnp.asarray(a) if inexact else jnp.asarray(a).astype(jnp.result_type(float))
