"""Operators on a dense array."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from ..numerics.derivative import hermitian_product
from ..numerics.products import adjoint_matmul, matmul
from .operator import Operator


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DenseOperator(Operator):
    """An m x n array."""

    array: Array

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.array.shape
        return m, n

    @property
    def dtype(self) -> jnp.dtype:
        return self.array.dtype

    def apply(self, x: Array) -> Array:
        return matmul(self.array, x)

    def apply_adjoint(self, y: Array) -> Array:
        return adjoint_matmul(self.array, y)

    def magnitude(self) -> Array:
        parts = (self.array.real, self.array.imag) if jnp.iscomplexobj(self.array) else (self.array,)
        return jnp.max(jnp.stack([jnp.max(jnp.abs(x)) for x in parts]))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HermitianDenseOperator(DenseOperator):
    """An n x n array that is Hermitian; its tangents are symmetrised in the product."""

    def apply(self, x: Array) -> Array:
        return hermitian_product(self.array, x)

    def apply_adjoint(self, y: Array) -> Array:
        return hermitian_product(self.array, y)
