"""Cotangent of k Schur vectors of a general operator.

The adjoint of ``rules.eig``, written from the equations. For
``dL = Re tr(Qbar^H dQ) + Re tr(Tbar^H dT) = Re tr(Abar^H dA)`` and P = I - Q Q^H,

    Abar = (Q Tbar + Z) Q^H
    P A^H Z - Z T^H = -P (Qbar + A^H Q Tbar)

JAX's cotangents are the complex conjugates of these; ``rules.attach`` conjugates on the way in and out.

Source: after Naumann, arXiv:2511.14651.
"""

import jax.numpy as jnp
from jax import Array

from ..complement.solve import SolveOptions, solve_coupled
from ..numerics.products import matmul, project_out
from ..operators.operator import LinearOperator
from .eig import schur_system


def schur_cotangent(
    operator: LinearOperator,
    Q: Array,
    T: Array,
    Qbar: Array,
    Tbar: Array,
    *,
    size: Array,
    which: str,
    options: SolveOptions,
) -> Array:
    """``left = Q Tbar + Z`` (n, k), for which ``Abar = left Q^H``, by the adjoint of the system of ``schur_system``."""
    system, factors = schur_system(operator, Q, T, size, which)
    inside = matmul(Q, Tbar)
    Z = solve_coupled(system.adjoint(), project_out(Q, Qbar + operator.apply_adjoint(inside)), options)
    return inside + project_out(Q, Z * jnp.conj(factors)[None, :])
