"""Pairs of ``A x = l B x`` from a basis that moves with both, for a B that only multiplies.

With ``X`` spanning the moved subspace, ``X (X^H B X)^(-1/2)`` is orthonormal under B to every order, and the Rayleigh
quotient ``X^H B C X``, ``C = B^-1 A`` or ``(A - sigma B)^-1 B``, Hermitian and stationary at eigenvectors.
"""

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.gram import inverse_root
from ..numerics.products import adjoint, matmul, times
from ..operators.quotient import Quotient


def rayleigh_ritz_under_b(quotient: Quotient, X: Array, values: Array, unit: Array) -> tuple[Array, Array]:
    """``X`` orthonormal under B, and the matrix ``H`` of C in units of ``unit``, whose value is ``diag(values)``."""
    X = matmul(X, inverse_root(matmul(adjoint(X), quotient.b.apply(X)), jnp.int32(X.shape[1])))
    H = matmul(adjoint(X), times(quotient.form(X), 1 / unit))
    H = (H + adjoint(H)) / 2
    return X, jnp.diag(values).astype(H.dtype) + (H - lax.stop_gradient(H))
