"""The entries of an operator that is made of sparse matrices, for those that need the matrix and not its products."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from ..numerics.products import times
from .combined import Multiple, Sum
from .diagonals import Diagonal, Identity
from .operator import Hermitian, LinearOperator
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
    if isinstance(operator, Multiple):
        inner = entries(operator.inner)
        return None if inner is None else (times(inner[0], operator.factor), *inner[1:])
    return None
