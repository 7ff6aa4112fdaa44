"""Derivative rules: pure formulas of the operator, the kept factors and a tangent or cotangent.

``attach`` joins them to JAX. The functions below give the tangent or the cotangent of a decomposition at factors that
you have from any solver, SciPy's or your own.
"""

from .diagnosis import derivative_info
from .hermitian_factors import invariant_subspace_jvp, invariant_subspace_vjp, teigh_jvp, teigh_vjp
from .singular_factors import singular_subspaces_jvp, singular_subspaces_vjp, tsvd_jvp, tsvd_vjp

__all__ = [
    "derivative_info",
    "invariant_subspace_jvp",
    "invariant_subspace_vjp",
    "singular_subspaces_jvp",
    "singular_subspaces_vjp",
    "teigh_jvp",
    "teigh_vjp",
    "tsvd_jvp",
    "tsvd_vjp",
]
