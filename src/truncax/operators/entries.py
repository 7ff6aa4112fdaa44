"""The entries of an operator, for those that need the matrix and not its products, and whether it can be factorised."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..numerics.products import times
from .combined import Multiple, Sum
from .diagonals import Diagonal, Identity
from .operator import Adjoint, Conjugate, Hermitian, LinearOperator
from .promoted import ComplexVectors
from .sparse import SparseOperator

Entries = tuple[Array, Array, Array]


def inside(operator: LinearOperator) -> LinearOperator:
    """The operator without the wrapper that makes its tangents Hermitian."""
    return operator.inner if isinstance(operator, Hermitian) else operator


def entries(operator: LinearOperator) -> Entries | None:
    """``(values, row, column)``, more than one at a place if so; None where the operator has none to tell."""
    operator = inside(operator)
    if isinstance(operator, SparseOperator):
        return operator.entries()
    if isinstance(operator, Diagonal | Identity):
        index = jnp.arange(operator.shape[0], dtype=jnp.int32)
        values = operator.entries if isinstance(operator, Diagonal) else jnp.ones(index.shape, operator.dtype)
        return values, index, index
    if isinstance(operator, Sum):
        left, right = entries(operator.left), entries(operator.right)
        if left is None or right is None:
            return None
        values, row, column = (jnp.concatenate(parts) for parts in zip(left, right, strict=True))
        return values, row, column
    if not isinstance(operator, Multiple | Adjoint | Conjugate | ComplexVectors):
        return None
    inner = entries(operator.inner)
    if inner is None:
        return None
    values, row, column = inner
    if isinstance(operator, Multiple):
        return times(values, operator.factor), row, column
    if isinstance(operator, ComplexVectors):
        return values.astype(operator.dtype), row, column
    if isinstance(operator, Conjugate):
        return jnp.conj(values), row, column
    return jnp.conj(values), column, row


def has_small_matrix(a: Array | np.ndarray | LinearOperator) -> bool:
    """Whether the array of an operator may be made without being asked for: up to 32 MB in float64."""
    m, n = a.shape[-2:]
    return m * n <= 2**22


def can_be_factorised(*members: Array | LinearOperator) -> bool:
    """Whether a sum of these matrices can be: an array is among them, all are sparse, or their array is small."""
    operators = [a for a in members if isinstance(a, LinearOperator)]
    if any(a.opaque for a in operators):
        return False
    if len(operators) < len(members) or all(has_small_matrix(a) for a in operators):
        return True
    return all(entries(a) is not None for a in operators)
