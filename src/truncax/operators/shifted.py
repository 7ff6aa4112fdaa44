"""The inverse of a general matrix less a shift, as an operator.

Source: Saad, Numerical Methods for Large Eigenvalue Problems, chapter 8 (shift-invert).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ..numerics.linear import with_adjoint
from .entries import entries
from .factors import LU, Given
from .host_factors import SparseLU
from .operator import LinearOperator, Wrapped, frozen


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Shifted(Wrapped):
    """``(A - sigma)^-1`` by a ``factor``, of a general A; sigma is real for a real A."""

    sigma: Array
    factor: LU | SparseLU | Given

    opaque = False
    blocks_pay = False

    @classmethod
    def of(cls, a: LinearOperator, sigma: Array, inverse: LinearOperator | None) -> Shifted:
        """By the ``inverse`` of a user, or by the factorisation that fits the form of ``a``."""
        if inverse is not None:
            return cls(a, sigma, Given(frozen(inverse)))
        n = a.shape[0]
        found = entries(frozen(a))
        if found is None:
            shift = sigma.astype(a.dtype) * jnp.eye(n, dtype=a.dtype)
            return cls(a, sigma, LU.of(frozen(a).as_matrix() - shift))
        index = jnp.arange(n, dtype=jnp.int32)
        values, row, column = found
        values = jnp.concatenate([values, jnp.full(n, -sigma, a.dtype)])
        row, column = (jnp.concatenate([x, index]) for x in (row, column))
        return cls(a, sigma, SparseLU.of(values, row, column, n, kind="general"))

    def shifted(self, x: Array) -> Array:
        """``(A - sigma) x``."""
        return self.inner.apply(x) - self.sigma.astype(x.dtype) * x

    def shifted_adjoint(self, y: Array) -> Array:
        """``(A - sigma)^H y``."""
        return self.inner.apply_adjoint(y) - jnp.conj(self.sigma).astype(y.dtype) * y

    def size(self) -> Array:
        """A number of the order of the norm of ``A - sigma``, or of its parts where they cancel."""
        return self.inner.magnitude() + jnp.abs(self.sigma)

    def apply(self, x: Array) -> Array:
        solve, adjoint_solve = self._solves()
        return with_adjoint(solve, adjoint_solve, self.shifted, self.shifted_adjoint, x)

    def apply_adjoint(self, y: Array) -> Array:
        solve, adjoint_solve = self._solves()
        return with_adjoint(adjoint_solve, solve, self.shifted_adjoint, self.shifted, y)

    def _solves(self) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
        return self.factor.solve, partial(self.factor.solve, by_adjoint=True)

    def values(self, theta: Array) -> Array:
        """The eigenvalues ``l = sigma + 1 / theta`` (k,)."""
        return self.sigma.astype(theta.dtype) + 1 / theta

    def core(self, theta: Array) -> Array:
        """The small matrix ``sigma + T^-1`` (k, k)."""
        one = jnp.eye(theta.shape[0], dtype=theta.dtype)
        return self.sigma.astype(theta.dtype) * one + jnp.linalg.inv(theta)
