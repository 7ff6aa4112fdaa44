"""Matrices of low rank, and with them low-rank updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..numerics.products import adjoint, adjoint_matmul, matmul
from .combined import one_array
from .operator import LinearOperator
from .promoted import result_type


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LowRank(LinearOperator):
    """``X Y^H``, or ``X X^H``, which is Hermitian with all its tangents, where there is no Y."""

    x: Array
    y: Array | None = None

    opaque = False
    blocks_pay = True

    @property
    def shape(self) -> tuple[int, int]:
        return self.x.shape[0], self._right.shape[0]

    @property
    def dtype(self) -> jnp.dtype:
        return self.x.dtype

    @property
    def hermitian(self) -> bool:
        return self.y is None

    @property
    def _right(self) -> Array:
        return self.x if self.y is None else self.y

    def apply(self, x: Array) -> Array:
        return matmul(self.x, adjoint_matmul(self._right, x))

    def apply_adjoint(self, y: Array) -> Array:
        return matmul(self._right, adjoint_matmul(self.x, y))

    def as_matrix(self) -> Array:
        return matmul(self.x, adjoint(self._right))


def low_rank(x: Any, y: Any = None) -> LinearOperator:
    """The matrix ``X Y^H`` of rank r, or ``X X^H``.

    A low-rank update of A is ``A + low_rank(X, Y)``.

    Args:
        x: array (m, r), or a vector (m,) for rank 1.
        y: array (n, r), or a vector (n,); ``x`` by default.

    Returns:
        A ``LinearOperator`` of shape (m, n); its leaves are ``x`` and ``y``. Without ``y`` it is Hermitian, with all
        its tangents; ``low_rank(x, x)`` is so in value only.

    Raises:
        ValueError, TypeError: arrays of other dimensions, of different r, not numeric.

    Derivative: with respect to ``x`` and ``y``, whose cotangents are m x r and n x r.

    Example: principal components of data whose mean is subtracted in the product, ``A - 1 mean^T``.
        >>> import jax.numpy as jnp, truncax
        >>> from truncax.operators import low_rank
        >>> data = jnp.array([[2.0, 1.0], [4.0, 1.0], [6.0, 1.0]])
        >>> centred = data - low_rank(jnp.ones(3), data.mean(0))
        >>> print(truncax.tsvd(centred, 1).S.round(4))
        [2.8284]

    """
    left = _columns("x", x)
    if y is None:
        return LowRank(left)
    right = _columns("y", y)
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"x and y must have as many columns each, got shapes {left.shape} and {right.shape}")
    dtype = result_type(left, right)
    return LowRank(left.astype(dtype), right.astype(dtype))


def _columns(name: str, x: Any) -> Array:
    x = one_array(name, x)
    if x.ndim not in (1, 2):
        raise ValueError(f"{name} must be a vector or a block of columns, got shape {x.shape}")
    return x[:, None] if x.ndim == 1 else x
