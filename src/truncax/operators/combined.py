"""Sums, multiples and products of operators: what ``+``, ``-``, ``*``, ``/`` and ``@`` mean."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..numerics.products import adjoint, times
from ..numerics.tolerances import computing_dtype
from .convert import computing_operator, given_matrix
from .operator import LinearOperator, Wrapped
from .promoted import promoted, promoted_alike, result_type
from .structure import Structure


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pair(LinearOperator):
    """What an operator made of two of one dtype has in common."""

    left: LinearOperator
    right: LinearOperator

    @property
    def dtype(self) -> jnp.dtype:
        return self.left.dtype

    @property
    def opaque(self) -> bool:
        return self.left.opaque or self.right.opaque

    @property
    def blocks_pay(self) -> bool:
        return self.left.blocks_pay and self.right.blocks_pay


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Sum(Pair):
    """``A + B``."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.left.shape

    @property
    def hermitian(self) -> bool:
        return self.left.hermitian and self.right.hermitian

    @property
    def domain(self) -> Structure | None:
        return _merged(self.left.domain, self.right.domain)

    @property
    def codomain(self) -> Structure | None:
        return _merged(self.left.codomain, self.right.codomain)

    def apply(self, x: Array) -> Array:
        return self.left.apply(x) + self.right.apply(x)

    def apply_adjoint(self, y: Array) -> Array:
        return self.left.apply_adjoint(y) + self.right.apply_adjoint(y)

    def apply_both(self, x: Array, y: Array) -> tuple[Array, Array]:
        (ax, ahy), (bx, bhy) = self.left.apply_both(x, y), self.right.apply_both(x, y)
        return ax + bx, ahy + bhy

    def as_matrix(self) -> Array:
        return self.left.as_matrix() + self.right.as_matrix()


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Composition(Pair):
    """``A B``."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.left.shape[0], self.right.shape[1]

    @property
    def domain(self) -> Structure | None:
        return self.right.domain

    @property
    def codomain(self) -> Structure | None:
        return self.left.codomain

    def apply(self, x: Array) -> Array:
        return self.left.apply(self.right.apply(x))

    def apply_adjoint(self, y: Array) -> Array:
        return self.right.apply_adjoint(self.left.apply_adjoint(y))

    def as_matrix(self) -> Array:
        return self.left.apply(self.right.as_matrix())


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Multiple(Wrapped):
    """``c A`` for a scalar ``c``, real or complex."""

    factor: Array

    @property
    def hermitian(self) -> bool:
        return self.inner.hermitian and not jnp.iscomplexobj(self.factor)

    def apply(self, x: Array) -> Array:
        return times(self.inner.apply(x), self.factor)

    def apply_adjoint(self, y: Array) -> Array:
        return times(self.inner.apply_adjoint(y), jnp.conj(self.factor))

    def apply_both(self, x: Array, y: Array) -> tuple[Array, Array]:
        ax, ahy = self.inner.apply_both(x, y)
        return times(ax, self.factor), times(ahy, jnp.conj(self.factor))

    def magnitude(self) -> Array:
        return self.inner.magnitude() * jnp.abs(self.factor)

    def as_matrix(self) -> Array:
        return times(self.inner.as_matrix(), self.factor)


def one_operator(a: Any) -> LinearOperator:
    """The operator of a single matrix, from whatever ``as_operator`` takes."""
    given = given_matrix(a)
    if len(given.shape) != 2:
        raise ValueError(f"an operator is made of one matrix (m, n), got shape {given.shape}; map a batch by jax.vmap")
    return computing_operator(given, hermitian=False)


def one_array(name: str, x: Any) -> Array:
    """``x`` as a JAX array of a dtype that is computed in."""
    if not _is_numeric(x):
        what = f"{type(x).__name__} of dtype {x.dtype}" if hasattr(x, "dtype") else type(x).__name__
        raise TypeError(f"{name} must be a numeric NumPy or JAX array, got {what}")
    x = jnp.asarray(x)
    return x.astype(computing_dtype(x.dtype) if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.result_type(float))


def _is_numeric(x: Any) -> bool:
    array = isinstance(x, jax.Array | np.ndarray | np.generic)
    return array and (jnp.issubdtype(x.dtype, jnp.number) or x.dtype == bool)


def add(a: Any, b: Any) -> LinearOperator:
    """``A + B``."""
    a, b = promoted_alike(one_operator(a), one_operator(b))
    if a.shape != b.shape:
        raise ValueError(f"a sum needs operators of one shape, got {a.shape} and {b.shape}")
    _check_same("the vectors x of (A + B) x", a.domain, b.domain)
    _check_same("the vectors A x and B x", a.codomain, b.codomain)
    return Sum(a, b)


def subtract(a: Any, b: Any) -> LinearOperator:
    """``A - B``."""
    return add(a, multiply(one_operator(b), -1))


def compose(a: Any, b: Any) -> LinearOperator:
    """``A B``."""
    a, b = promoted_alike(one_operator(a), one_operator(b))
    if a.shape[1] != b.shape[0]:
        raise ValueError(f"a product A @ B needs as many columns of A as rows of B, got {a.shape} and {b.shape}")
    _check_same("the vectors that A takes and that B returns", a.domain, b.codomain)
    return Composition(a, b)


def multiply(a: LinearOperator, factor: Any, *, divide: bool = False) -> LinearOperator:
    """``factor * A``, or ``A / factor``."""
    if not isinstance(factor, int | float | complex) and not (_is_numeric(factor) and factor.ndim == 0):
        given = f"{type(factor).__name__} of shape {factor.shape}" if hasattr(factor, "shape") else repr(factor)
        raise TypeError(f"an operator is multiplied or divided by a scalar, got {given}; a matrix product is A @ B")
    dtype = result_type(a.dtype, factor)
    factor = jnp.asarray(factor)
    # A real factor stays real, so that a Hermitian operator stays Hermitian.
    factor = factor.astype(dtype if jnp.iscomplexobj(factor) else jnp.finfo(dtype).dtype)
    return Multiple(promoted(a, dtype), 1 / factor if divide else factor)


def matmul_right(a: LinearOperator, b: Any) -> Any:
    """``A @ b``: an array where ``b`` is one, a vector (n,) or a block of columns (n, p), else an operator."""
    if not isinstance(b, jax.Array | np.ndarray):
        return compose(a, b)
    operator, x = _vectors(a, b, "A @ x", axis=0, size=a.shape[1])
    return operator.apply(x)


def matmul_left(b: Any, a: LinearOperator) -> Any:
    """``b @ A``: an array where ``b`` is one, a vector (m,) or a block of rows (p, m), else an operator."""
    if not isinstance(b, jax.Array | np.ndarray):
        return compose(b, a)
    operator, x = _vectors(a, b, "x @ A", axis=-1, size=a.shape[0])
    return jnp.conj(operator.apply_adjoint(jnp.conj(x))) if x.ndim == 1 else adjoint(operator.apply_adjoint(adjoint(x)))


def _vectors(a: LinearOperator, x: Any, product: str, *, axis: int, size: int) -> tuple[LinearOperator, Array]:
    """The operator and the vectors in the dtype that holds both."""
    if not _is_numeric(x):
        raise TypeError(f"{product} needs a numeric array x, got dtype {x.dtype}")
    if x.ndim not in (1, 2) or x.shape[axis] != size:
        block = f"({size}, p)" if axis == 0 else f"(p, {size})"
        raise ValueError(f"{product} needs x of shape ({size},) or {block} for A of shape {a.shape}, got {x.shape}")
    x = jnp.asarray(x)
    dtype = result_type(a.dtype, x.dtype)
    return promoted(a, dtype), x.astype(dtype)


def _check_same(what: str, a: Structure | None, b: Structure | None) -> None:
    """Vectors must be pytrees of one form; plain vectors, of an operator without a structure, go with any."""
    if a is not None and b is not None and (a.treedef, a.shapes) != (b.treedef, b.shapes):
        raise ValueError(f"{what} must have one structure, got {a} and {b}")


def _merged(a: Structure | None, b: Structure | None) -> Structure | None:
    """The structure that holds the vectors of both."""
    if a is None or b is None:
        return b if a is None else a
    return dataclasses.replace(a, dtypes=tuple(map(result_type, a.dtypes, b.dtypes)))
