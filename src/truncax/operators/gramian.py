"""The product of an operator with its own adjoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
from jax import Array

from .combined import one_operator
from .operator import LinearOperator, Wrapped
from .structure import Structure


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gram(Wrapped):
    """``A^H A``."""

    hermitian = True

    @property
    def shape(self) -> tuple[int, int]:
        n = self.inner.shape[1]
        return n, n

    @property
    def codomain(self) -> Structure | None:
        return self.inner.domain

    def apply(self, x: Array) -> Array:
        return self.inner.apply_adjoint(self.inner.apply(x))

    def apply_adjoint(self, y: Array) -> Array:
        return self.apply(y)

    def magnitude(self) -> Array:
        return self.inner.magnitude() ** 2

    def as_matrix(self) -> Array:
        return self.inner.apply_adjoint(self.inner.as_matrix())


def gram(a: Any) -> LinearOperator:
    """The Gram operator ``A^H A``, without forming it; ``gram(A.H)`` is ``A A^H``.

    Its eigenvalues are the squares of the singular values of A, so that small ones lose half of their digits: for
    singular values and vectors use ``truncax.tsvd``.

    Args:
        a: (m, n), whatever ``as_operator`` takes.

    Returns:
        A ``LinearOperator`` of shape (n, n), Hermitian with all its tangents; its vectors are those that A takes.

    Raises:
        ValueError, TypeError: as ``as_operator``; a batch.

    Derivative: with respect to the leaves of A.

    Example: ridge regression's largest curvature.
        >>> import jax.numpy as jnp, truncax
        >>> from truncax.operators import gram, identity
        >>> features = jnp.array([[1.0, 2.0], [2.0, 1.0], [0.0, 0.0]])
        >>> print(truncax.teigh(gram(features) + 0.5 * identity(2), 1).eigenvalues.round(4))
        [9.5]

    """
    return Gram(one_operator(a))
