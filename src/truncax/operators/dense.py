"""The operator of a dense array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import Array

from ..numerics.products import Parts, adjoint_matmul, both_products, matmul, split
from .operator import LinearOperator, largest_entry


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DenseOperator(LinearOperator):
    """An m x n array, and its real and imaginary ``parts`` where those are multiplied in its place."""

    array: Array
    parts: Parts | None = None

    opaque = False
    blocks_pay = True

    @classmethod
    def of(cls, array: Array) -> Self:
        """The operator of an array, in the form in which it multiplies fastest."""
        return cls(array, split(array))

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.array.shape
        return m, n

    @property
    def dtype(self) -> jnp.dtype:
        return self.array.dtype

    def apply(self, x: Array) -> Array:
        return matmul(self.array if self.parts is None else self.parts, x)

    def apply_adjoint(self, y: Array) -> Array:
        return adjoint_matmul(self.array if self.parts is None else self.parts, y)

    def apply_both(self, x: Array, y: Array) -> tuple[Array, Array]:
        return super().apply_both(x, y) if self.parts is not None else both_products(self.array, x, y)

    def magnitude(self) -> Array:
        return largest_entry(self.array)

    def as_matrix(self) -> Array:
        return self.array

    def on_host(self) -> tuple[tuple[Array, ...], Callable[..., Any]]:
        return (self.array,), lambda array: array
