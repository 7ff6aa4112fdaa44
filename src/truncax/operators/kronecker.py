"""Kronecker products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .combined import Pair, one_operator
from .operator import LinearOperator
from .promoted import promoted_alike


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Kronecker(Pair):
    """``A kron B``."""

    blocks_pay = False  # its product with one vector is already one with blocks

    @property
    def shape(self) -> tuple[int, int]:
        (ma, na), (mb, nb) = self.left.shape, self.right.shape
        return ma * mb, na * nb

    @property
    def hermitian(self) -> bool:
        return self.left.hermitian and self.right.hermitian

    def apply(self, x: Array) -> Array:
        return _kron_product(self.left, self.right, x)

    def apply_adjoint(self, y: Array) -> Array:
        return _kron_product(self.left.H, self.right.H, y)

    def magnitude(self) -> Array:
        return self.left.magnitude() * self.right.magnitude()

    def as_matrix(self) -> Array:
        return jnp.kron(self.left.as_matrix(), self.right.as_matrix())


def kron(a: Any, b: Any) -> LinearOperator:
    """The Kronecker product, with the order of ``jnp.kron``: block (i, j) is ``a_ij B``.

    A product reshapes x to (na, nb), row by row, and multiplies along each axis: ``A X B^T``.

    Args:
        a: (ma, na), whatever ``as_operator`` takes.
        b: (mb, nb), likewise.

    Returns:
        A ``LinearOperator`` of shape (ma mb, na nb) on plain vectors, Hermitian if both are; in the dtype that holds
        both.

    Raises:
        ValueError, TypeError: as ``as_operator``; a batch; operators of unequal precision that cannot be cast.

    Derivative: with respect to the leaves of A and of B.

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> from truncax.operators import kron
        >>> a, b = jnp.array([[0.0, 1.0], [1.0, 0.0]]), jnp.array([[2.0, 0.0], [0.0, 5.0]])
        >>> print(truncax.tsvd(kron(a, b), 2).S)
        [5. 5.]

    """
    return Kronecker(*promoted_alike(one_operator(a), one_operator(b)))


def _kron_product(a: LinearOperator, b: LinearOperator, x: Array) -> Array:
    """``(A kron B) x``: along both axes of x as (na, nb, p), first along the one that leaves less to the other."""
    (ma, na), (mb, nb) = a.shape, b.shape
    y = x.reshape(na, nb, -1)
    second_first = na * mb <= ma * nb
    y = _along_first(a, _along_second(b, y)) if second_first else _along_second(b, _along_first(a, y))
    return y.reshape(ma * mb, *x.shape[1:])


def _along_first(a: LinearOperator, x: Array) -> Array:
    return a.apply(x.reshape(x.shape[0], -1)).reshape(-1, *x.shape[1:])


def _along_second(b: LinearOperator, x: Array) -> Array:
    return jnp.swapaxes(_along_first(b, jnp.swapaxes(x, 0, 1)), 0, 1)
