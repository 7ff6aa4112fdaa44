"""Joins the pure rules to JAX: kept factors go in, the same factors with their derivative come out.

The factors come from any solver and carry no derivative of their own. Each function is the identity on
them; its tangent is the rule, evaluated at its own output, so that the next order differentiates the
factors by the same rule. There are two rules for each, equal in value: a tangent that JAX transposes
(``mode="all"``), and a cotangent (``mode="reverse"``), which asks reverse mode only of the operator.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..complement.solve import SolveOptions
from ..operators.operator import LinearOperator
from ..operators.replicated import on_every_device
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
    tangent = _everywhere(singular_tangent, which, U, operator, U, C, V, dAV, dAHU, size, options)
    return (U, C, V), tuple(tangent)


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
    point = (operator, U, C, V, Ubar, Cbar, Vbar)
    left, right = _everywhere(singular_cotangent, which, U, *point, size, options)
    _, pull = jax.vjp(lambda a: a.apply(right), operator)
    return (*pull(jnp.conj(left)), None, None, None, None, None)


attach_singular_subspaces_reverse.defvjp(_singular_forward, _singular_backward)


def _pair_with_tangent(rule: Callable[..., Any]) -> Callable[..., tuple[Array, Array]]:
    """``(Q, H)`` of ``(operator, Q, H, size, options, which)`` with the derivative with respect to the operator."""

    @partial(jax.custom_jvp, nondiff_argnums=(5,))
    def attach(operator, Q, H, size, options, which):
        return Q, H

    @attach.defjvp
    def _jvp(which, primals, tangents):
        operator, *factors, size, options = primals
        d_operator = tangents[0]
        Q, H = attach(operator, *factors, size, options, which)
        _, dAQ = jax.jvp(lambda a: a.apply(Q), (operator,), (d_operator,))
        return (Q, H), tuple(_everywhere(rule, which, Q, operator, Q, H, dAQ, size, options))

    return attach


def _pair_with_cotangent(rule: Callable[..., Any], apply: str) -> Callable[..., tuple[Array, Array]]:
    """The same with the cotangent of the operator, by its product ``apply``; there is no forward mode."""

    @partial(jax.custom_vjp, nondiff_argnums=(5,))
    def attach(operator, Q, H, size, options, which):
        return Q, H

    def forward(operator, Q, H, size, options, which):
        factors = attach(operator, Q, H, size, options, which)
        return factors, (operator, *factors, size, options)

    def backward(which, residuals, cotangents):
        operator, Q, H, size, options = residuals
        Qbar, Hbar = map(jnp.conj, cotangents)
        left = _everywhere(rule, which, Q, operator, Q, H, Qbar, Hbar, size, options)
        _, pull = jax.vjp(lambda a: getattr(a, apply)(Q), operator)
        return (*pull(jnp.conj(left)), None, None, None, None)

    attach.defvjp(forward, backward)
    return attach


def _everywhere(rule: Callable[..., Any], which: str, like: Array, operator: LinearOperator, *others: Any) -> Any:
    """``rule(operator, *others)``, whose last two are its ``size`` and its ``options``."""

    def positional(operator: LinearOperator, *others: Any) -> Any:
        *point, size, options = others
        return rule(operator, *point, size=size, which=which, options=options)

    return on_every_device(positional, like, operator, *others)


ATTACH_SINGULAR: dict[str, Callable] = {"all": attach_singular_subspaces, "reverse": attach_singular_subspaces_reverse}
ATTACH_INVARIANT: dict[str, Callable] = {
    "all": _pair_with_tangent(lambda *point, **how: invariant_tangent(*point, **how)),
    "reverse": _pair_with_cotangent(lambda *point, **how: invariant_cotangent(*point, **how), "apply_symmetrised"),
}
ATTACH_SCHUR: dict[str, Callable] = {
    "all": _pair_with_tangent(lambda *point, **how: schur_tangent(*point, **how)),
    "reverse": _pair_with_cotangent(lambda *point, **how: schur_cotangent(*point, **how), "apply"),
}
