"""Tangent, cotangent and diagnosis at factors from any solver: what the singular and the Hermitian forms share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..complement.solve import Recorder
from ..operators.from_sparse import is_sparse, sparse_cotangent, sparse_tangent
from ..options import Implicit
from ..results import DerivativeInfo
from .given import given_tangent, given_tuple, one_matrix


class Form(NamedTuple):
    """One of the four decompositions.

    - ``result``: its tuple; ``bars``: the names of the cotangents of its parts.
    - ``check``: from ``(a, factors, which, derivative)`` and ``forward`` to the checked ``(a, factors, derivative)``.
    - ``at_the_point``: from ``(a, factors, derivative)`` to the scaled operator, the factors with a diagonal middle,
      the size of a, how to solve, and the way back from such factors to what is returned.
    - ``attach``: the functions of ``rules.attach`` by mode; ``cotangent``: the rule for the factors' cotangents.
    """

    result: type
    bars: tuple[str, ...]
    check: Callable[..., Any]
    at_the_point: Callable[..., Any]
    attach: Callable[[str], Callable[..., Any]]
    cotangent: Callable[..., Any]


def tangent(form: Form, a: Any, factors: Any, da: Any, which: Any, derivative: Any) -> Any:
    """The tangents of the factors along ``da``."""
    given = a
    a, factors, derivative = form.check(a, factors, which, derivative, forward=True)
    da = sparse_tangent(given, da, one_matrix) if is_sparse(given) else given_tangent(da, a)
    return form.result(*_jvp(a, factors, da, derivative, which, form))


def cotangent(form: Form, a: Any, factors: Any, cotangents: Any, which: Any, derivative: Any) -> Any:
    """The cotangent of ``a`` from those of the factors."""
    bar = _vjp(*_checked(form, a, factors, cotangents, which, derivative), which, form)
    return sparse_cotangent(a, bar, one_matrix) if is_sparse(a) else bar


def diagnosed(form: Form, a: Any, factors: Any, cotangents: Any, which: Any, derivative: Any) -> DerivativeInfo:
    """How the solve of ``cotangent`` goes."""
    return _info(*_checked(form, a, factors, cotangents, which, derivative), which, form)


def _checked(form: Form, a: Any, factors: Any, cotangents: Any, which: Any, derivative: Any) -> Any:
    a, factors, derivative = form.check(a, factors, which, derivative, forward=False)
    shapes, dtypes = [x.shape for x in factors], [x.dtype for x in factors]
    return a, factors, given_tuple(form.bars, cotangents, shapes, dtypes, zeros=True), derivative


# Inlined into a jit around it: as calls of their own the XLA of jaxlib 0.8.1 compiles a second derivative wrongly.
@partial(jax.jit, static_argnums=(4, 5), inline=True)
def _jvp(a: Any, factors: Any, da: Any, derivative: Implicit, which: str, form: Form) -> Any:
    return jax.jvp(lambda a: _attached(a, factors, derivative, which, form), (a,), (da,))[1]


@partial(jax.jit, static_argnums=(4, 5), inline=True)
def _vjp(a: Any, factors: Any, cotangents: Any, derivative: Implicit, which: str, form: Form) -> Any:
    _, pull = jax.vjp(lambda a: _attached(a, factors, derivative, which, form), a)
    return pull(cotangents)[0]


@partial(jax.jit, static_argnums=(4, 5))
def _info(a: Any, factors: Any, cotangents: Any, derivative: Implicit, which: str, form: Form) -> DerivativeInfo:
    operator, core, size, options, returned = form.at_the_point(a, factors, derivative)
    bars = map(jnp.conj, jax.vjp(returned, *core)[1](cotangents))
    solve = Recorder()
    form.cotangent(operator, *core, *bars, size=size, which=which, options=options, solve=solve)
    return solve.info


def _attached(a: Any, factors: Any, derivative: Implicit, which: str, form: Form) -> Any:
    """The factors, with the derivative with respect to ``a``."""
    operator, core, size, options, returned = form.at_the_point(a, factors, derivative)
    return returned(*form.attach(derivative.mode)(operator, *core, size, options, which))
