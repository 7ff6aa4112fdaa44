"""The interface of an operator, and the operators that are made of other ones."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..numerics.derivative import hermitian_product
from ..numerics.products import times
from ..numerics.tolerances import power_of_two
from .arithmetic import Arithmetic
from .structure import Structure


class LinearOperator(Arithmetic, abc.ABC):
    """A linear map from vectors of length n to vectors of length m; a pytree with its arrays as leaves.

    Every function of Truncax takes one where it takes a matrix. ``as_operator`` makes one of what multiplies,
    ``linear_operator`` of a function. Operators combine lazily: ``A + B``, ``A - B``, ``2 * A``, ``A @ B``, ``A.T``,
    ``A.H``; ``A @ x`` multiplies a vector (n,) or a block of columns (n, p).

    For one of your own, register a subclass as a pytree (``jax.tree_util.register_dataclass``) and define ``shape``,
    ``dtype``, ``apply`` and ``apply_adjoint`` with JAX; derivatives go to its leaves.
    """

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

    def apply_symmetrised(self, x: Array) -> Array:
        """``A x`` of a Hermitian operator, whose cotangent comes out Hermitian, by reverse mode alone."""
        return self.apply(x)

    def apply_both(self, x: Array, y: Array) -> tuple[Array, Array]:
        """``(A x, A^H y)`` for blocks of columns."""
        return self.apply(x), self.apply_adjoint(y)

    def magnitude(self) -> Array:
        """A positive number of the order of the norm of A; zero for A = 0; not finite if an entry is not."""
        z = jax.random.normal(jax.random.key(0, impl="threefry2x32"), (self.shape[1],), self.dtype)
        return largest_entry(self.apply(z))

    def as_matrix(self) -> Array:
        """A as an array (m, n)."""
        return self.apply(jnp.eye(self.shape[1], dtype=self.dtype))

    def on_host(self) -> tuple[tuple[Array, ...], Callable[..., Any]]:
        """Arrays, and a function that makes of them, as NumPy arrays, what multiplies without JAX."""
        raise TypeError(f"{type(self).__name__} has no product outside JAX: use a native solver, or leave solver out")

    @property
    def hermitian(self) -> bool:
        """Whether A and all its tangents are Hermitian by construction, or by the word of the user."""
        return False

    @property
    def opaque(self) -> bool:
        """Whether its products are code of a user, whose linearity and adjoint are to be tested."""
        return True

    @property
    def blocks_pay(self) -> bool:
        """Whether a product with a few vectors costs about as much as one with a single vector."""
        return False

    @property
    def domain(self) -> Structure | None:
        """The pytree that the user's form of a vector (n,) has; None for a plain vector."""
        return None

    @property
    def codomain(self) -> Structure | None:
        """The pytree that the user's form of a vector (m,) has; None for a plain vector."""
        return None

    @property
    def H(self) -> LinearOperator:
        """``A^H``."""
        return Adjoint(self)

    @property
    def T(self) -> LinearOperator:
        """``A^T``."""
        return Adjoint(Conjugate(self)) if jnp.issubdtype(self.dtype, jnp.complexfloating) else Adjoint(self)


def largest_entry(x: Array) -> Array:
    """The largest magnitude of a real or imaginary part; NaN if there is one."""
    parts = (x.real, x.imag) if jnp.iscomplexobj(x) else (x,)
    # Of either sign, since jax 0.8 makes an array of abs(x); NaN apart, since XLA's maximum of many entries drops it.
    ends = [end for part in parts for end in (jnp.max(part, initial=0), -jnp.min(part, initial=0))]
    return jnp.where(jnp.any(jnp.isnan(x)), jnp.nan, jnp.max(jnp.stack(ends)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Wrapped(LinearOperator):
    """What an operator made of ``inner`` has in common with it."""

    inner: LinearOperator

    @property
    def shape(self) -> tuple[int, int]:
        return self.inner.shape

    @property
    def dtype(self) -> jnp.dtype:
        return self.inner.dtype

    @property
    def hermitian(self) -> bool:
        return self.inner.hermitian

    @property
    def opaque(self) -> bool:
        return self.inner.opaque

    @property
    def blocks_pay(self) -> bool:
        return self.inner.blocks_pay

    @property
    def domain(self) -> Structure | None:
        return self.inner.domain

    @property
    def codomain(self) -> Structure | None:
        return self.inner.codomain


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Adjoint(Wrapped):
    """``A^H``."""

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.inner.shape
        return n, m

    @property
    def domain(self) -> Structure | None:
        return self.inner.codomain

    @property
    def codomain(self) -> Structure | None:
        return self.inner.domain

    @property
    def H(self) -> LinearOperator:
        return self.inner

    def apply(self, x: Array) -> Array:
        return self.inner.apply_adjoint(x)

    def apply_adjoint(self, y: Array) -> Array:
        return self.inner.apply(y)

    def magnitude(self) -> Array:
        return self.inner.magnitude()

    def as_matrix(self) -> Array:
        return jnp.conj(self.inner.as_matrix().T)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Conjugate(Wrapped):
    """The complex conjugate of A."""

    def apply(self, x: Array) -> Array:
        return jnp.conj(self.inner.apply(jnp.conj(x)))

    def apply_adjoint(self, y: Array) -> Array:
        return jnp.conj(self.inner.apply_adjoint(jnp.conj(y)))

    def magnitude(self) -> Array:
        return self.inner.magnitude()

    def as_matrix(self) -> Array:
        return jnp.conj(self.inner.as_matrix())


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hermitian(Wrapped):
    """A Hermitian operator whose tangents need not be: they are symmetrised in the product."""

    hermitian = True

    def apply(self, x: Array) -> Array:
        return hermitian_product(self.inner, x)

    def apply_adjoint(self, y: Array) -> Array:
        return hermitian_product(self.inner, y)

    def apply_symmetrised(self, x: Array) -> Array:
        return (self.inner.apply(x) + self.inner.apply_adjoint(x)) / 2

    def magnitude(self) -> Array:
        return self.inner.magnitude()

    def as_matrix(self) -> Array:
        return self.inner.as_matrix()

    def on_host(self) -> tuple[tuple[Array, ...], Callable[..., Any]]:
        return self.inner.on_host()


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scaled(Wrapped):
    """``A / (before * after)`` for powers of two; the vectors are scaled, before and after the product, not A.

    In two halves, since one factor alone would push the entries of a vector out of the exponent range.
    """

    before: Array
    after: Array

    @property
    def scale(self) -> Array:
        """``before * after``."""
        return self.before * self.after

    def apply(self, x: Array) -> Array:
        return times(self.inner.apply(times(x, 1 / self.before)), 1 / self.after)

    def apply_adjoint(self, y: Array) -> Array:
        return times(self.inner.apply_adjoint(times(y, 1 / self.before)), 1 / self.after)

    def apply_symmetrised(self, x: Array) -> Array:
        return times(self.inner.apply_symmetrised(times(x, 1 / self.before)), 1 / self.after)

    def apply_both(self, x: Array, y: Array) -> tuple[Array, Array]:
        ax, ahy = self.inner.apply_both(times(x, 1 / self.before), times(y, 1 / self.before))
        return times(ax, 1 / self.after), times(ahy, 1 / self.after)

    def magnitude(self) -> Array:
        return self.inner.magnitude() / self.before / self.after

    def as_matrix(self) -> Array:
        return times(times(self.inner.as_matrix(), 1 / self.before), 1 / self.after)


def frozen(tree: Any) -> Any:
    """``tree`` without its derivatives."""
    return jax.tree_util.tree_map(lax.stop_gradient, tree)


def scaled(operator: LinearOperator) -> tuple[Scaled, Array]:
    """The operator over the power of two next to its size, and whether its entries are finite."""
    magnitude = frozen(operator).magnitude()
    scale = power_of_two(magnitude)
    before = power_of_two(jnp.sqrt(scale))
    return Scaled(operator, before, scale / before), jnp.isfinite(magnitude)


def tall(operator: LinearOperator) -> LinearOperator:
    """A or its adjoint, whichever has at least as many rows as columns."""
    m, n = operator.shape
    return operator if m >= n else Adjoint(operator)
