"""The problem ``A x = l B x`` with a B that only multiplies: without a root of it, one general operator.

    without a shift     B^-1 A x = l x
    with one            (A - sigma B)^-1 B x = theta x,     l = sigma + 1 / theta

The operator C on the left is self-adjoint in the inner product of B alone: it takes the solvers and the rules of
general operators, and then a Rayleigh-Ritz with the two Hermitian forms ``B C`` and ``B``.

Source: Ericsson and Ruhe, Math. Comp. 35 (1980), for the shift.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array

from ..numerics.products import times
from .operator import LinearOperator, Wrapped
from .pencil import Inverse


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Quotient(Wrapped):
    """``inverse`` times ``inner``, both Hermitian: ``B^-1 A`` or, if ``shifted``, ``(A - sigma B)^-1 B``."""

    inverse: Inverse
    shifted: bool = field(metadata={"static": True})

    hermitian = False
    opaque = False
    blocks_pay = False

    @classmethod
    def of(cls, a: LinearOperator, b: LinearOperator, sigma: Array | None, solve: LinearOperator) -> Quotient:
        """Of Hermitian operators in one dtype; ``solve`` undoes ``b`` or, with ``sigma``, ``a - sigma b``."""
        if sigma is not None:
            return cls(b, Inverse.of(a, b, sigma, solve), shifted=True)
        zero = jnp.zeros((), jnp.finfo(b.dtype).dtype)
        return cls(a, Inverse.of(b, None, zero, solve), shifted=False)

    @property
    def a(self) -> LinearOperator:
        """A."""
        return self.inverse.inner if self.shifted else self.inner

    @property
    def b(self) -> LinearOperator:
        """B."""
        return self.inner if self.shifted else self.inverse.inner

    def apply(self, x: Array) -> Array:
        return self.inverse.apply(self.inner.apply(x))

    def apply_adjoint(self, y: Array) -> Array:
        return self.inner.apply(self.inverse.apply(y))

    def form(self, x: Array) -> Array:
        """``B C x``, a Hermitian product; without a shift it is ``A x``."""
        return self.inner.apply(self.apply(x)) if self.shifted else self.inner.apply(x)

    def values(self, of_operator: Array) -> Array:
        """The eigenvalues l (k,)."""
        return self.inverse.sigma + 1 / of_operator if self.shifted else of_operator

    def core(self, of_operator: Array) -> Array:
        """The small matrix ``H`` (k, k) with ``A Q = B Q H``."""
        if not self.shifted:
            return of_operator
        one = jnp.eye(of_operator.shape[0], dtype=of_operator.dtype)
        return times(one, self.inverse.sigma) + jnp.linalg.inv(of_operator)
