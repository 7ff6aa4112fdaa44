"""Cotangent of the k kept eigenpairs of a Hermitian operator in their subspace form.

The adjoint of ``rules.eigh``, written from the equations. For
``dL = Re tr(Qbar^H dQ) + Re tr(Hbar^H dH) = Re tr(Abar^H dA)`` and P = I - Q Q^H,

    Abar = herm((Q Hbar + Z) Q^H)
    P A Z - Z H = -P Qbar

The operator symmetrises its own tangent, and with it its cotangent, so ``herm`` is not taken here. JAX's
cotangents are the complex conjugates of these; ``rules.attach`` conjugates on the way in and out.

Source: after Naumann, arXiv:2511.14651, and Kasim, arXiv:2011.04366.
"""

from jax import Array

from ..complement.solve import Solve, SolveOptions, solve_self_adjoint
from ..numerics.products import matmul, project_out, times
from ..operators.operator import LinearOperator
from .eigh import invariant_system


def invariant_cotangent(
    operator: LinearOperator,
    Q: Array,
    H: Array,
    Qbar: Array,
    Hbar: Array,
    *,
    size: Array,
    which: str,
    options: SolveOptions,
    solve: Solve | None = None,
) -> Array:
    """``left = Q Hbar + Z`` (n, k), for which ``Abar = herm(left Q^H)``, by the system of ``invariant_system``."""
    system, mask = invariant_system(operator, Q, H, size, which)
    Z = (solve or solve_self_adjoint)(system, -times(project_out(Q, Qbar), mask), options)
    return matmul(Q, Hbar) + project_out(Q, Z)
