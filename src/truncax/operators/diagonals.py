"""The identity and diagonal matrices."""

from __future__ import annotations

import operator as _operator
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..numerics.tolerances import computing_dtype
from .combined import one_array
from .operator import LinearOperator, largest_entry


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Identity(LinearOperator):
    """The identity; ``one`` is there for its dtype."""

    one: Array
    size: int = field(metadata={"static": True})

    opaque = False
    hermitian = True
    blocks_pay = True

    @property
    def shape(self) -> tuple[int, int]:
        return self.size, self.size

    @property
    def dtype(self) -> jnp.dtype:
        return self.one.dtype

    def apply(self, x: Array) -> Array:
        return x

    def apply_adjoint(self, y: Array) -> Array:
        return y

    def magnitude(self) -> Array:
        return jnp.ones((), jnp.finfo(self.dtype).dtype)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Diagonal(LinearOperator):
    """``diag(d)``."""

    entries: Array

    opaque = False
    blocks_pay = True  # it costs little beside whatever it is combined with

    @property
    def shape(self) -> tuple[int, int]:
        (n,) = self.entries.shape
        return n, n

    @property
    def dtype(self) -> jnp.dtype:
        return self.entries.dtype

    @property
    def hermitian(self) -> bool:
        return not jnp.iscomplexobj(self.entries)

    def apply(self, x: Array) -> Array:
        return _along(self.entries, x) * x

    def apply_adjoint(self, y: Array) -> Array:
        return jnp.conj(_along(self.entries, y)) * y

    def magnitude(self) -> Array:
        return largest_entry(self.entries)

    def as_matrix(self) -> Array:
        return jnp.diag(self.entries)


def _along(entries: Array, x: Array) -> Array:
    return entries if x.ndim == 1 else entries[:, None]


def identity(n: int, dtype: Any = None) -> LinearOperator:
    """The identity on vectors of length n, of which nothing is stored.

    For shifts, ``A - shift * identity(n, A.dtype)``, and Kronecker sums,
    ``kron(A, identity(n)) + kron(identity(m), B)``.

    Args:
        n: int, at least 1.
        dtype: floating-point or complex; the default float by default.

    Returns:
        A Hermitian ``LinearOperator`` of shape (n, n).

    Raises:
        ValueError, TypeError: an n or a dtype of another kind.

    Derivative: none with respect to the identity; a shift carries its own.

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> from truncax.operators import diagonal, identity
        >>> shifted = diagonal(jnp.array([1.0, 2.0, 3.0])) - 0.5 * identity(3)
        >>> print(truncax.teigh(shifted, 2, which="SA").eigenvalues)
        [0.5 1.5]

    """
    size = None if isinstance(n, bool) else _index(n)
    if size is None:
        raise TypeError(f"n must be an int, got {n!r}")
    if size < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    dtype = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(f"dtype must be floating-point or complex, got {dtype}")
    return Identity(jnp.ones((), computing_dtype(dtype)), size)


def diagonal(d: Any) -> LinearOperator:
    """The diagonal matrix ``diag(d)``.

    Args:
        d: array (n,), real or complex. Integers become the default float, half precision float32.

    Returns:
        A ``LinearOperator`` of shape (n, n), Hermitian if ``d`` is real; its leaf is ``entries``.

    Raises:
        ValueError, TypeError: not a vector, not numeric.

    Derivative: with respect to ``d``; n numbers, where an array would have n^2.

    Example: a graph's Laplacian from its adjacency matrix, degrees on the diagonal.
        >>> import jax.numpy as jnp, truncax
        >>> from truncax.operators import diagonal
        >>> path = jnp.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
        >>> laplacian = diagonal(path.sum(0)) - path
        >>> print(truncax.teigh(laplacian, 1).eigenvalues.round(4))
        [3.]

    """
    entries = one_array("d", d)
    if entries.ndim != 1:
        raise ValueError(f"d must be a vector (n,), got shape {entries.shape}")
    return Diagonal(entries)


def _index(n: Any) -> int | None:
    try:
        return _operator.index(n)
    except TypeError:
        return None
