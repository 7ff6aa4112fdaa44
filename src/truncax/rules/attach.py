"""Joins the pure rules to JAX: kept factors go in, the same factors with their derivative come out.

The factors come from any solver and carry no derivative of their own. Each function is the identity on
them; its tangent is the rule, evaluated at its own output, so that the next order differentiates the
factors by the same rule. There are two rules for each, equal in value: a tangent that JAX transposes
(``mode="all"``), and a cotangent (``mode="reverse"``), which asks reverse mode only of the operator.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ..complement.solve import SolveOptions
from ..operators.operator import LinearOperator
from .eig import schur_tangent
from .eig_reverse import schur_cotangent
from .eigh import invariant_tangent
from .eigh_reverse import invariant_cotangent
from .svd import singular_tangent
from .svd_reverse import singular_cotangent


@partial(jax.custom_jvp, nondiff_argnums=(6,))
def attach_singular_subspaces(
    operator: LinearOperator, U: Array, C: Array, V: Array, size: Array, options: SolveOptions, which: str
) -> tuple[Array, Array, Array]:
    """``(U, C, V)`` with the derivative with respect to the operator (``rules.svd``)."""
    return U, C, V


@attach_singular_subspaces.defjvp
def _singular_jvp(which, primals, tangents):
    operator, *factors, size, options = primals
    d_operator = tangents[0]
    U, C, V = attach_singular_subspaces(operator, *factors, size, options, which)
    _, (dAV, dAHU) = jax.jvp(lambda a: a.apply_both(V, U), (operator,), (d_operator,))
    tangent = singular_tangent(operator, U, C, V, dAV, dAHU, size=size, which=which, options=options)
    return (U, C, V), tuple(tangent)


@partial(jax.custom_jvp, nondiff_argnums=(5,))
def attach_invariant_subspace(
    operator: LinearOperator, Q: Array, H: Array, size: Array, options: SolveOptions, which: str
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


@partial(jax.custom_vjp, nondiff_argnums=(6,))
def attach_singular_subspaces_reverse(
    operator: LinearOperator, U: Array, C: Array, V: Array, size: Array, options: SolveOptions, which: str
) -> tuple[Array, Array, Array]:
    """``(U, C, V)`` with the cotangent of the operator (``rules.svd_reverse``); there is no forward mode."""
    return U, C, V


def _singular_forward(operator, U, C, V, size, options, which):
    factors = attach_singular_subspaces_reverse(operator, U, C, V, size, options, which)
    return factors, (operator, *factors, size, options)


def _singular_backward(which, residuals, cotangents):
    operator, U, C, V, size, options = residuals
    Ubar, Cbar, Vbar = map(jnp.conj, cotangents)
    left, right = singular_cotangent(operator, U, C, V, Ubar, Cbar, Vbar, size=size, which=which, options=options)
    _, pull = jax.vjp(lambda a: a.apply(right), operator)
    return (*pull(jnp.conj(left)), None, None, None, None, None)


attach_singular_subspaces_reverse.defvjp(_singular_forward, _singular_backward)


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def attach_invariant_subspace_reverse(
    operator: LinearOperator, Q: Array, H: Array, size: Array, options: SolveOptions, which: str
) -> tuple[Array, Array]:
    """``(Q, H)`` with the cotangent of the operator (``rules.eigh_reverse``); there is no forward mode."""
    return Q, H


def _invariant_forward(operator, Q, H, size, options, which):
    factors = attach_invariant_subspace_reverse(operator, Q, H, size, options, which)
    return factors, (operator, *factors, size, options)


def _invariant_backward(which, residuals, cotangents):
    operator, Q, H, size, options = residuals
    Qbar, Hbar = map(jnp.conj, cotangents)
    left = invariant_cotangent(operator, Q, H, Qbar, Hbar, size=size, which=which, options=options)
    _, pull = jax.vjp(lambda a: a.apply_symmetrised(Q), operator)
    return (*pull(jnp.conj(left)), None, None, None, None)


attach_invariant_subspace_reverse.defvjp(_invariant_forward, _invariant_backward)


@partial(jax.custom_jvp, nondiff_argnums=(5,))
def attach_schur(
    operator: LinearOperator, Q: Array, T: Array, size: Array, options: SolveOptions, which: str
) -> tuple[Array, Array]:
    """``(Q, T)`` with the derivative with respect to the operator (``rules.eig``)."""
    return Q, T


@attach_schur.defjvp
def _schur_jvp(which, primals, tangents):
    operator, *factors, size, options = primals
    d_operator = tangents[0]
    Q, T = attach_schur(operator, *factors, size, options, which)
    _, dAQ = jax.jvp(lambda a: a.apply(Q), (operator,), (d_operator,))
    tangent = schur_tangent(operator, Q, T, dAQ, size=size, which=which, options=options)
    return (Q, T), tuple(tangent)


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def attach_schur_reverse(
    operator: LinearOperator, Q: Array, T: Array, size: Array, options: SolveOptions, which: str
) -> tuple[Array, Array]:
    """``(Q, T)`` with the cotangent of the operator (``rules.eig_reverse``); there is no forward mode."""
    return Q, T


def _schur_forward(operator, Q, T, size, options, which):
    factors = attach_schur_reverse(operator, Q, T, size, options, which)
    return factors, (operator, *factors, size, options)


def _schur_backward(which, residuals, cotangents):
    operator, Q, T, size, options = residuals
    Qbar, Tbar = map(jnp.conj, cotangents)
    left = schur_cotangent(operator, Q, T, Qbar, Tbar, size=size, which=which, options=options)
    _, pull = jax.vjp(lambda a: a.apply(Q), operator)
    return (*pull(jnp.conj(left)), None, None, None, None)


attach_schur_reverse.defvjp(_schur_forward, _schur_backward)

ATTACH_SINGULAR: dict[str, Callable] = {"all": attach_singular_subspaces, "reverse": attach_singular_subspaces_reverse}
ATTACH_INVARIANT: dict[str, Callable] = {"all": attach_invariant_subspace, "reverse": attach_invariant_subspace_reverse}
ATTACH_SCHUR: dict[str, Callable] = {"all": attach_schur, "reverse": attach_schur_reverse}
