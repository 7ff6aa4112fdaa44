"""The problem ``A x = l B x``, near a shift if one is given, as the standard problem of one Hermitian operator.

With a root ``B = F F^H`` and ``y = F^H x``, or ``y = x`` without B:

    without a shift     F^-1 A F^-H y = l y
    with one            F^H (A - sigma B)^-1 F y = theta y,     l = sigma + 1 / theta

The y are orthonormal where the x are so under B. All that follows, the solvers, the residuals, the gaps, the rules of
the derivative, sees the operator on the left: its products carry the derivatives of A and of B.

Source: Ericsson and Ruhe, Math. Comp. 35 (1980), for the shift.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..numerics.derivative import Side, root_product
from ..numerics.linear import self_adjoint_solve
from ..numerics.products import times
from .diagonals import Diagonal
from .entries import entries, inside
from .factors import LU, Cholesky, DiagonalRoot, Given
from .host_factors import SparseLU
from .operator import LinearOperator, Wrapped, frozen


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Root:
    """A root F of the positive definite ``b``."""

    b: LinearOperator
    factor: Cholesky | DiagonalRoot | SparseLU

    @classmethod
    def of(cls, b: LinearOperator) -> Root:
        """By the factorisation that fits the form of ``b``."""
        inner = frozen(inside(b))
        if isinstance(inner, Diagonal):
            return cls(b, DiagonalRoot.of(inner.entries))
        places = entries(inner)
        if places is not None:
            return cls(b, SparseLU.of(*places, inner.shape[0], kind="definite"))
        return cls(b, Cholesky.of(inner.as_matrix()))

    def product(self, side: Side, x: Array) -> Array:
        """The product with F on this ``side``."""
        return root_product(side, self.b, self.factor, x)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Made(Wrapped):
    """A Hermitian operator that is made of the Hermitian ``inner`` by solves."""

    hermitian = True
    opaque = False
    blocks_pay = False

    def apply_adjoint(self, y: Array) -> Array:
        return self.apply(y)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Inverse(_Made):
    """``(A - sigma B)^-1`` by a ``factor``; without ``b`` the identity takes its place."""

    b: LinearOperator | None
    sigma: Array
    factor: LU | SparseLU | Given

    @classmethod
    def of(cls, a: LinearOperator, b: LinearOperator | None, sigma: Array, inverse: LinearOperator | None) -> Inverse:
        """By the ``inverse`` of a user, or by the factorisation that fits the form of ``a`` and ``b``."""
        if inverse is not None:
            return cls(a, b, sigma, Given(frozen(inverse)))
        n = a.shape[0]
        index = jnp.arange(n, dtype=jnp.int32)
        ours = entries(frozen(a))
        theirs = (jnp.ones(n, a.dtype), index, index) if b is None else entries(frozen(b))
        if ours is not None and theirs is not None:
            values = jnp.concatenate([ours[0], times(theirs[0], -sigma)])
            row, column = (jnp.concatenate([ours[i], theirs[i]]) for i in (1, 2))
            return cls(a, b, sigma, SparseLU.of(values, row, column, n, kind="hermitian"))
        mass = jnp.eye(n, dtype=a.dtype) if b is None else frozen(b).as_matrix()
        return cls(a, b, sigma, LU.of(frozen(a).as_matrix() - times(mass, sigma)))

    def shifted(self, x: Array) -> Array:
        """``(A - sigma B) x``."""
        return self.inner.apply(x) - times(x if self.b is None else self.b.apply(x), self.sigma)

    def size(self) -> Array:
        """A number of the order of the norm of ``A - sigma B``, or of its parts where they cancel."""
        return self.inner.magnitude() + jnp.abs(self.sigma) * (1 if self.b is None else self.b.magnitude())

    def apply(self, x: Array) -> Array:
        return self_adjoint_solve(self.shifted, x, self.factor.solve)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Congruent(_Made):
    """``G A G^H``, G being the product with the root on this ``side``."""

    root: Root
    side: Side = field(metadata={"static": True})

    def apply(self, x: Array) -> Array:
        return self.root.product(self.side, self.inner.apply(self.root.product(self.side.adjoint, x)))


class Pencil(NamedTuple):
    """The ``operator`` to decompose, and what leads back to ``A x = l B x``."""

    operator: LinearOperator
    a: LinearOperator
    root: Root | None
    inverse: Inverse | None

    @classmethod
    def of(
        cls, a: LinearOperator, b: LinearOperator | None, sigma: Array | None, inverse: LinearOperator | None
    ) -> Pencil:
        """Of Hermitian operators in one dtype."""
        root = None if b is None else Root.of(b)
        if sigma is None:
            operator = a if root is None else Congruent(a, root, Side.INVERSE)
            return cls(operator, a, root, None)
        solved = Inverse.of(a, b, sigma, inverse)
        operator = solved if root is None else Congruent(solved, root, Side.ADJOINT)
        return cls(operator, a, root, solved)

    def values(self, of_operator: Array) -> Array:
        """The eigenvalues l (k,)."""
        return of_operator if self.inverse is None else self.inverse.sigma + 1 / of_operator

    def core(self, of_operator: Array) -> Array:
        """The small matrix ``H`` (k, k) with ``A Q = B Q H``."""
        if self.inverse is None:
            return of_operator
        one = jnp.eye(of_operator.shape[0], dtype=of_operator.dtype)
        return times(one, self.inverse.sigma) + jnp.linalg.inv(of_operator)

    def vectors(self, y: Array) -> Array:
        """``x`` from ``y``."""
        return y if self.root is None else self.root.product(Side.INVERSE_ADJOINT, y)

    def start(self, rows: Array | None) -> Array | None:
        """``y`` from ``x``, both as rows (p, n)."""
        return rows if self.root is None or rows is None else self.root.product(Side.ADJOINT, rows.T).T
