"""The interface of an operator, and the operators that are made of another one."""

from __future__ import annotations

import abc
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..numerics.products import times
from ..numerics.tolerances import power_of_two


class Operator(abc.ABC):
    """A linear map from vectors of length n to vectors of length m; a pytree with its arrays as leaves."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, int]:
        """``(m, n)``."""

    @property
    @abc.abstractmethod
    def dtype(self) -> jnp.dtype:
        """The dtype of its products with vectors of the same dtype."""

    @abc.abstractmethod
    def apply(self, x: Array) -> Array:
        """``A x`` for a vector (n,) or a block of columns (n, p)."""

    @abc.abstractmethod
    def apply_adjoint(self, y: Array) -> Array:
        """``A^H y`` for a vector (m,) or a block of columns (m, p)."""

    def apply_both(self, x: Array, y: Array) -> tuple[Array, Array]:
        """``(A x, A^H y)`` for blocks of columns."""
        return self.apply(x), self.apply_adjoint(y)

    @abc.abstractmethod
    def magnitude(self) -> Array:
        """A positive number of the order of the norm of A; zero for A = 0; not finite if an entry is not."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Adjoint(Operator):
    """``A^H``."""

    inner: Operator

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.inner.shape
        return n, m

    @property
    def dtype(self) -> jnp.dtype:
        return self.inner.dtype

    def apply(self, x: Array) -> Array:
        return self.inner.apply_adjoint(x)

    def apply_adjoint(self, y: Array) -> Array:
        return self.inner.apply(y)

    def magnitude(self) -> Array:
        return self.inner.magnitude()


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scaled(Operator):
    """``A / (before * after)`` for powers of two; the vectors are scaled, before and after the product, not A.

    In two halves, since one factor alone would push the entries of a vector out of the exponent range.
    """

    inner: Operator
    before: Array
    after: Array

    @property
    def scale(self) -> Array:
        """``before * after``."""
        return self.before * self.after

    @property
    def shape(self) -> tuple[int, int]:
        return self.inner.shape

    @property
    def dtype(self) -> jnp.dtype:
        return self.inner.dtype

    def apply(self, x: Array) -> Array:
        return times(self.inner.apply(times(x, 1 / self.before)), 1 / self.after)

    def apply_adjoint(self, y: Array) -> Array:
        return times(self.inner.apply_adjoint(times(y, 1 / self.before)), 1 / self.after)

    def apply_both(self, x: Array, y: Array) -> tuple[Array, Array]:
        ax, ahy = self.inner.apply_both(times(x, 1 / self.before), times(y, 1 / self.before))
        return times(ax, 1 / self.after), times(ahy, 1 / self.after)

    def magnitude(self) -> Array:
        return self.inner.magnitude() / self.before / self.after


def frozen(tree):
    """``tree`` without its derivatives."""
    return jax.tree_util.tree_map(lax.stop_gradient, tree)


def scaled(operator: Operator) -> tuple[Scaled, Array]:
    """The operator over the power of two next to its size, and whether its entries are finite."""
    magnitude = frozen(operator).magnitude()
    scale = power_of_two(magnitude)
    before = power_of_two(jnp.sqrt(scale))
    return Scaled(operator, before, scale / before), jnp.isfinite(magnitude)


def tall(operator: Operator) -> Operator:
    """A or its adjoint, whichever has at least as many rows as columns."""
    m, n = operator.shape
    return operator if m >= n else Adjoint(operator)
