"""Factors of matrices: the solves of shift-invert, and roots ``B = F F^H`` of a positive definite one.

A root has four products: with F, F^H, F^-1 and F^-H. Factors carry no derivative: the equations that they solve do.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import lu_factor, lu_solve, solve_triangular

from ..numerics.derivative import Side
from ..numerics.products import adjoint, matmul, times
from .operator import LinearOperator


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LU:
    """The LU factors of a matrix."""

    factors: Array
    pivots: Array

    @classmethod
    def of(cls, matrix: Array) -> LU:
        """By LAPACK or cuSOLVER."""
        return cls(*lu_factor(matrix))

    def solve(self, b: Array, by_adjoint: bool = False) -> Array:
        """``x`` with ``A x = b``, or ``A^H x = b``."""
        return lu_solve((self.factors, self.pivots), b, trans=2 if by_adjoint else 0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Given:
    """The inverse that a user gave."""

    inverse: LinearOperator

    def solve(self, b: Array, by_adjoint: bool = False) -> Array:
        """``x`` with ``A x = b``, or ``A^H x = b``."""
        return self.inverse.apply_adjoint(b) if by_adjoint else self.inverse.apply(b)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cholesky:
    """``B = L L^H``; L is NaN if B is not positive definite."""

    lower: Array

    @classmethod
    def of(cls, matrix: Array) -> Cholesky:
        """By LAPACK or cuSOLVER."""
        return cls(jnp.linalg.cholesky(matrix))

    def product(self, side: Side, x: Array) -> Array:
        """The product with F = L on this ``side``."""
        if side in (Side.ROOT, Side.ADJOINT):
            return matmul(self.lower if side is Side.ROOT else adjoint(self.lower), x)
        return solve_triangular(self.lower, x, trans="C" if side is Side.INVERSE_ADJOINT else "N", lower=True)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DiagonalRoot:
    """The root of a diagonal matrix; NaN if that is not positive."""

    entries: Array

    @classmethod
    def of(cls, entries: Array) -> DiagonalRoot:
        """Of the diagonal ``entries``."""
        positive = entries.real > 0
        return cls(jnp.sqrt(jnp.where(positive, entries.real, jnp.nan)))

    def product(self, side: Side, x: Array) -> Array:
        """The product on this ``side``."""
        factor = self.entries if side in (Side.ROOT, Side.ADJOINT) else 1 / self.entries
        return times(x.T, factor).T if x.ndim == 2 else times(x, factor)
