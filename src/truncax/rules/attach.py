"""Joins the pure rules to JAX: kept factors go in, the same factors with their derivative come out.

The factors come from any solver and carry no derivative of their own. Each function is the identity on
them; its tangent is the rule, evaluated at its own output, so that the next order differentiates the
factors by the same rule.
"""

from functools import partial

import jax
from jax import Array

from ..complement.solve import SolveOptions
from ..operators.operator import Operator
from .eigh import invariant_tangent
from .svd import singular_tangent


@partial(jax.custom_jvp, nondiff_argnums=(6,))
def attach_singular_subspaces(
    operator: Operator, U: Array, C: Array, V: Array, size: Array, options: SolveOptions, which: str
) -> tuple[Array, Array, Array]:
    """``(U, C, V)`` with the derivative with respect to the operator (``rules.svd``)."""
    return U, C, V


@attach_singular_subspaces.defjvp
def _singular_jvp(which, primals, tangents):
    operator, *factors, size, options = primals
    d_operator = tangents[0]
    U, C, V = attach_singular_subspaces(operator, *factors, size, options, which)
    _, dAV = jax.jvp(lambda a: a.apply(V), (operator,), (d_operator,))
    _, dAHU = jax.jvp(lambda a: a.apply_adjoint(U), (operator,), (d_operator,))
    tangent = singular_tangent(operator, U, C, V, dAV, dAHU, size=size, which=which, options=options)
    return (U, C, V), tuple(tangent)


@partial(jax.custom_jvp, nondiff_argnums=(5,))
def attach_invariant_subspace(
    operator: Operator, Q: Array, H: Array, size: Array, options: SolveOptions, which: str
) -> tuple[Array, Array]:
    """``(Q, H)`` with the derivative with respect to the operator (``rules.eigh``)."""
    return Q, H


@attach_invariant_subspace.defjvp
def _invariant_jvp(which, primals, tangents):
    operator, *factors, size, options = primals
    d_operator = tangents[0]
    Q, H = attach_invariant_subspace(operator, *factors, size, options, which)
    _, dAQ = jax.jvp(lambda a: a.apply(Q), (operator,), (d_operator,))
    tangent = invariant_tangent(operator, Q, H, dAQ, size=size, which=which, options=options)
    return (Q, H), tuple(tangent)
