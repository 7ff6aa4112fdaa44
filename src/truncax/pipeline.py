"""From checked arguments to results: scale, solve, certify, attach the derivative; compiled once per shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .complement.solve import SolveOptions
from .failure import poison
from .numerics.derivative import diagonal_eigh, diagonal_svd
from .numerics.products import adjoint, matmul, times
from .numerics.tolerances import computing_dtype, degeneracy_rtol, derivative_tolerance
from .operators.dense import DenseOperator, HermitianDenseOperator
from .operators.operator import Operator, frozen, scaled
from .options import Implicit
from .results import SolveInfo
from .rules.attach import ATTACH_INVARIANT, ATTACH_SINGULAR
from .solvers.certificate import certify_eigenpairs, certify_triplets, is_hermitian
from .solvers.found import largest_singular
from .solvers.select import EighSolver, SvdSolver, solve_eigh, solve_svd


@partial(jax.jit, static_argnames=("k", "which", "vectors", "fill"))
def singular(
    a: Array,
    solver: SvdSolver,
    derivative: Implicit,
    v0: Array | None,
    key: Array | None,
    tol: Array,
    *,
    k: int,
    which: str,
    vectors: bool,
    fill: bool,
) -> tuple[tuple[Array, Array, Array], SolveInfo]:
    """``(U, S, Vh)`` if ``vectors``, else ``(U, C, Vh)``; NaN where not converged if ``fill``."""

    def one(a: Array, v0: Array | None) -> Any:
        operator, finite = scaled(DenseOperator(a.astype(computing_dtype(a.dtype))))
        found = solve_svd(frozen(operator), k, which, solver, tol, v0, _key(key))
        info = certify_triplets(frozen(operator), found, which, tol, finite)
        size = largest_singular(found)
        C = jnp.diag(found.s).astype(operator.dtype)
        U, C, V = ATTACH_SINGULAR[derivative.mode](
            operator, found.U, C, found.V, size, _solve_options(derivative, operator), which
        )
        if vectors:
            u, s, v = diagonal_svd(C, _degeneracy_rtol(derivative, operator) * size)
            U, V, middle = matmul(U, u), matmul(V, v), times(s, operator.scale)
        else:
            middle = times(C, operator.scale)
        return _finish((U, middle, adjoint(V)), info, fill, a.dtype), info

    return _over_batch(one, a, v0)


@partial(jax.jit, static_argnames=("k", "which", "vectors", "fill"))
def hermitian(
    a: Array,
    solver: EighSolver,
    derivative: Implicit,
    v0: Array | None,
    key: Array | None,
    tol: Array,
    *,
    k: int,
    which: str,
    vectors: bool,
    fill: bool,
) -> tuple[tuple[Array, Array], SolveInfo]:
    """``(eigenvectors, eigenvalues)`` if ``vectors``, else ``(Q, H)``; NaN where not converged if ``fill``."""

    def one(a: Array, v0: Array | None) -> Any:
        operator, finite = scaled(HermitianDenseOperator(a.astype(computing_dtype(a.dtype))))
        solved = frozen(operator)
        found = solve_eigh(solved, k, which, solver, tol, v0, _key(key))
        symmetric = is_hermitian(solved, _key(key))
        info = certify_eigenpairs(solved, found, which, tol, finite, symmetric)
        H = jnp.diag(found.values).astype(operator.dtype)
        Q, H = ATTACH_INVARIANT[derivative.mode](
            operator, found.Q, H, found.largest, _solve_options(derivative, operator), which
        )
        if vectors:
            values, u = diagonal_eigh(H, _degeneracy_rtol(derivative, operator) * found.largest)
            Q, middle = matmul(Q, u), times(values, operator.scale)
        else:
            middle = times(H, operator.scale)
        return _finish((Q, middle), info, fill, a.dtype), info

    return _over_batch(one, a, v0)


def _key(key: Array | None) -> Array:
    return jax.random.key(0, impl="threefry2x32") if key is None else key


def _solve_options(derivative: Implicit, operator: Operator) -> SolveOptions:
    real = jnp.finfo(operator.dtype).dtype
    max_steps = 10 * min(operator.shape) if derivative.max_steps is None else derivative.max_steps
    return SolveOptions(tol=_given(derivative.tol, derivative_tolerance(real), real), max_steps=max_steps)


def _degeneracy_rtol(derivative: Implicit, operator: Operator) -> Array:
    real = jnp.finfo(operator.dtype).dtype
    return _given(derivative.degeneracy_rtol, degeneracy_rtol(real), real)


def _given(value: Any, default: float, real: Any) -> Array:
    return jax.lax.stop_gradient(jnp.asarray(default if value is None else value, real))


def _finish(parts: tuple[Array, ...], info: SolveInfo, fill: bool, dtype: Any) -> Any:
    """Poison what is not to be trusted, and return to the dtype that came in."""
    if fill:
        parts = tuple(poison(x, info.converged) for x in parts)
    if computing_dtype(dtype) != dtype:
        parts = tuple(x.astype(dtype) for x in parts)
    return parts


def _over_batch(one: Callable, a: Array, v0: Array | None) -> Any:
    """``one`` mapped over the leading axes of ``a``, and of ``v0`` (..., p, n) if it has them."""
    shared = v0 is not None and v0.ndim == 2
    for _ in range(a.ndim - 2):
        one = jax.vmap(one, in_axes=(0, None if shared else 0))
    return one(a, v0)
