"""Operators in the dtype that they are combined in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from .operator import LinearOperator, Wrapped
from .structure import Structure


def result_type(*members: Any) -> Any:
    """``jnp.result_type``, which JAX's strict mode would refuse for members that differ."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*members)


def promoted(operator: LinearOperator, dtype: Any) -> LinearOperator:
    """The operator for vectors of ``dtype``, which is at least as wide as its own."""
    precision = jnp.finfo(dtype).dtype
    if jnp.finfo(operator.dtype).dtype != precision:
        if operator.opaque:
            raise TypeError(
                f"{type(operator).__name__} multiplies in {operator.dtype} and cannot be combined with what is in "
                f"{dtype}: its products would keep their larger rounding errors; make both in one precision"
            )
        operator = jax.tree.map(lambda leaf: _widened(leaf, precision), operator)
    both_real = operator.dtype == precision
    return ComplexVectors(operator) if both_real and dtype != precision else operator


def promoted_alike(*operators: LinearOperator) -> tuple[LinearOperator, ...]:
    """The operators in the dtype that holds the dtypes of all of them."""
    dtype = result_type(*(operator.dtype for operator in operators))
    return tuple(promoted(operator, dtype) for operator in operators)


def _widened(leaf: Array, precision: Any) -> Array:
    """Real or complex as it was; integers stay, which are positions of entries."""
    return leaf.astype(result_type(leaf.dtype, precision)) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ComplexVectors(Wrapped):
    """A real operator, applied to the real and the imaginary parts of complex vectors in one product."""

    @property
    def dtype(self) -> jnp.dtype:
        return result_type(self.inner.dtype, jnp.complex64)

    @property
    def domain(self) -> Structure | None:
        return _complex(self.inner.domain)

    @property
    def codomain(self) -> Structure | None:
        return _complex(self.inner.codomain)

    def apply(self, x: Array) -> Array:
        return _by_parts(self.inner.apply, x)

    def apply_adjoint(self, y: Array) -> Array:
        return _by_parts(self.inner.apply_adjoint, y)

    def magnitude(self) -> Array:
        return self.inner.magnitude()

    def as_matrix(self) -> Array:
        return self.inner.as_matrix().astype(self.dtype)


def _by_parts(product: Callable[[Array], Array], x: Array) -> Array:
    columns = x if x.ndim == 2 else x[:, None]
    real, imag = jnp.split(product(jnp.concatenate([columns.real, columns.imag], axis=1)), 2, axis=1)
    return lax.complex(real, imag).reshape(-1, *x.shape[1:])


def _complex(structure: Structure | None) -> Structure | None:
    if structure is None:
        return None
    return dataclasses.replace(structure, dtypes=tuple(result_type(d, jnp.complex64) for d in structure.dtypes))
