"""Operators on a dense array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import jax
import jax.numpy as jnp
from jax import Array

from ..numerics.derivative import hermitian_product
from ..numerics.products import Parts, adjoint_matmul, both_products, matmul, split
from .operator import Operator


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DenseOperator(Operator):
    """An m x n array, and its real and imaginary ``parts`` where those are multiplied in its place."""

    array: Array
    parts: Parts | None = None

    @classmethod
    def of(cls, array: Array) -> Self:
        """The operator of an array, in the form in which it multiplies fastest."""
        return cls(array, split(array))

    @property
    def factor(self) -> Array | Parts:
        """What is multiplied."""
        return self.array if self.parts is None else self.parts

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.array.shape
        return m, n

    @property
    def dtype(self) -> jnp.dtype:
        return self.array.dtype

    def apply(self, x: Array) -> Array:
        return matmul(self.factor, x)

    def apply_adjoint(self, y: Array) -> Array:
        return adjoint_matmul(self.factor, y)

    def apply_both(self, x: Array, y: Array) -> tuple[Array, Array]:
        return super().apply_both(x, y) if self.parts is not None else both_products(self.array, x, y)

    def magnitude(self) -> Array:
        parts = (self.array.real, self.array.imag) if jnp.iscomplexobj(self.array) else (self.array,)
        return jnp.max(jnp.stack([jnp.max(jnp.abs(x)) for x in parts]))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HermitianDenseOperator(DenseOperator):
    """An n x n array that is Hermitian; its tangents are symmetrised in the product."""

    def apply(self, x: Array) -> Array:
        return hermitian_product(self.factor, x)

    def apply_adjoint(self, y: Array) -> Array:
        return hermitian_product(self.factor, y)
