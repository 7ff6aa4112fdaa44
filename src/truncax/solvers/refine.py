"""The last step of an iterative solver: orthonormality and Rayleigh-Ritz on the k vectors that were found."""

import jax.numpy as jnp
from jax import Array

from ..numerics.products import adjoint, matmul
from ..operators.operator import Operator
from .found import best_first


def polar_step(Q: Array) -> Array:
    """One Newton-Schulz step towards orthonormal columns: ``Q + Q (I - Q^H Q) / 2``.

    Restarts leave a defect of a few eps each; the step squares it. Written as a correction, it rounds once.
    """
    defect = jnp.eye(Q.shape[1], dtype=Q.dtype) - matmul(adjoint(Q), Q)
    return Q + matmul(Q, defect) / 2


def singular_rayleigh_ritz(operator: Operator, U: Array, V: Array) -> tuple[Array, Array, Array]:
    """``(U p, s, V q)`` with ``U^H A V = p diag(s) q^H``, after a polar step on each side."""
    U, V = polar_step(U), polar_step(V)
    p, s, qh = jnp.linalg.svd(matmul(adjoint(U), operator.apply(V)))
    return matmul(U, polar_step(p)), s, matmul(V, polar_step(adjoint(qh)))


def hermitian_rayleigh_ritz(operator: Operator, Q: Array, which: str) -> tuple[Array, Array]:
    """``(l, Q y)`` with ``Q^H A Q = y diag(l) y^H`` in the order of ``which``, after a polar step."""
    Q = polar_step(Q)
    values, y = jnp.linalg.eigh(matmul(adjoint(Q), operator.apply(Q)))
    order = best_first(values, which)
    return values[order], matmul(Q, polar_step(y[:, order]))
