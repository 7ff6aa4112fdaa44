"""From checked arguments to results: scale, solve, certify, attach the derivative; compiled once per shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .complement.solve import SolveOptions
from .failure import poison
from .numerics.derivative import diagonal_eigh, diagonal_svd, stationary, triangular_eig, with_tangent_of
from .numerics.gauge import phases
from .numerics.products import adjoint, matmul, times
from .numerics.tolerances import computing_dtype
from .operators.convert import computing_operator
from .operators.operator import LinearOperator, Scaled, frozen, scaled
from .operators.pencil import Pencil
from .operators.preconditioning import in_coordinates, in_units
from .operators.promoted import promoted
from .operators.quotient import Quotient
from .operators.shifted import Shifted
from .options import LOBPCG, Implicit
from .results import SolveInfo
from .rules.attach import ATTACH_INVARIANT, ATTACH_SCHUR, ATTACH_SINGULAR
from .rules.eig import left_eigenvectors, left_vectors, two_sided_quotient
from .rules.eigh import invariant_deflation
from .rules.polish import polished_pairs, polished_triplets
from .rules.quotient import rayleigh_ritz_under_b
from .rules.settings import solve_options, threshold
from .rules.svd import singular_deflation
from .solvers.certificate import (
    certify_eigenpairs,
    certify_schur,
    certify_triplets,
    is_linear,
    sound,
    sound_quotient,
    tied_pairs,
    tied_schur,
    tied_triplets,
)
from .solvers.found import Eigenpairs, Triplets, conjugate, largest_singular, relative_residual
from .solvers.refine import finish_eigenpairs, finish_quotient, finish_triplets, orthonormal
from .solvers.select import EighSolver, EigSolver, SvdSolver, solve_eig, solve_eigh, solve_svd


@partial(jax.jit, static_argnames=("k", "which", "vectors", "fill"))
def singular(
    a: Array | LinearOperator,
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

    def one(a: Array | LinearOperator, v0: Array | None) -> Any:
        operator, finite = scaled(computing_operator(a, hermitian=False))
        found = solve_svd(frozen(operator), k, which, solver, tol, v0, _key(key))
        size = largest_singular(found)
        for _ in range(derivative.polish):
            found = _polish_triplets(frozen(operator), found, which, size, derivative)
        linear = is_linear(frozen(operator), _key(key)) if operator.opaque else jnp.ones((), bool)
        info = certify_triplets(frozen(operator), found, which, tol, finite, linear)
        C = jnp.diag(found.s).astype(operator.dtype)
        tied = tied_triplets(operator, found, which)
        options = _singular_options(frozen(operator), found, size, derivative, tied, keep=not fill)
        U, C, V = ATTACH_SINGULAR[derivative.mode](operator, found.U, C, found.V, size, options, which)
        if vectors:
            u, s, v = diagonal_svd(C, threshold(derivative, operator) * size)
            # XLA on a CPU aborts at the adjoint of a batch of small products.
            U, Vh, middle = matmul(U, u), matmul(adjoint(v), adjoint(V)), times(s, operator.scale)
        else:
            Vh, middle = adjoint(V), times(C, operator.scale)
        return _finish((U, middle, Vh), info, fill, a.dtype), info

    return _over_batch(one, a, v0)


@partial(jax.jit, static_argnames=("k", "which", "vectors", "fill"))
def hermitian(
    a: Array | LinearOperator,
    b: Array | LinearOperator | None,
    sigma: Array | None,
    inverse: LinearOperator | None,
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

    def one(a: Array | LinearOperator, b: Array | LinearOperator | None, v0: Array | None) -> Any:
        mass = None if b is None else computing_operator(b, hermitian=True)
        pencil = Pencil.of(computing_operator(a, hermitian=True), mass, sigma, inverse)
        ours, finite = scaled(pencil.a)
        operator = ours if pencil.operator is pencil.a else scaled(pencil.operator)[0]
        solved = frozen(operator)
        start = frozen(pencil).start(v0)
        solve, settings = _preconditioned(solver, derivative, pencil, operator.scale)
        found = solve_eigh(solved, k, which, solve, tol, start, _key(key))
        for _ in range(settings.polish):
            found = _polish_pairs(solved, found, which, settings)
        theta = times(found.values, solved.scale)
        soundness = sound(frozen(pencil), frozen(ours), found, theta, finite, tol, _key(key))
        info = certify_eigenpairs(solved, found, which, tol, soundness)
        H = jnp.diag(found.values).astype(operator.dtype)
        options = _invariant_options(solved, found, settings, tied_pairs(found, which), keep=not fill)
        Q, H = ATTACH_INVARIANT[derivative.mode](operator, found.Q, H, found.largest, options, which)
        if vectors:
            values, u = diagonal_eigh(H, threshold(derivative, operator) * found.largest)
            Q, middle = matmul(Q, u), pencil.values(times(values, operator.scale))
        else:
            middle = pencil.core(times(H, operator.scale))
        return _finish((pencil.vectors(Q), middle), info, fill, a.dtype), info

    return _over_batch(one, a, b, v0)


@partial(jax.jit, static_argnames=("k", "which", "vectors", "fill"))
def quotient(
    a: Array | LinearOperator,
    b: LinearOperator,
    sigma: Array | None,
    solve: LinearOperator,
    solver: EigSolver,
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
    """What ``hermitian`` returns, for a ``b`` that only multiplies; ``solve`` undoes b or, with sigma, a - sigma b."""

    def one(a: Array | LinearOperator, b: LinearOperator, v0: Array | None) -> Any:
        ours = Quotient.of(computing_operator(a, hermitian=True), computing_operator(b, hermitian=True), sigma, solve)
        operator, _ = scaled(ours)
        solved, fixed = frozen(operator), frozen(ours)
        of_schur = {"LA": "LR", "SA": "SR"}.get(which, which)
        schur = solve_eig(solved, k, of_schur, solver, tol, v0, _key(key))
        found, R, T = finish_quotient(solved, fixed, schur, which)
        values = fixed.values(times(found.values, solved.scale))
        soundness = sound_quotient(fixed, found, schur.norm, values, matmul(found.Q, R), tol, _key(key))
        info = certify_eigenpairs(solved, found, which, tol, soundness)
        residual = relative_residual(found, found.largest)
        tied, unit = jnp.any(tied_pairs(found, which)), jnp.ones_like(found.largest)
        options = solve_options(derivative, operator, residual, None, unit, singular=tied, keep=not fill)
        Q, _ = ATTACH_SCHUR[derivative.mode](operator, found.Q, T, found.largest, options, of_schur)
        X, H = rayleigh_ritz_under_b(ours, matmul(Q, R), found.values, operator.scale)
        if not vectors:
            return _finish((X, ours.core(times(H, operator.scale))), info, fill, a.dtype), info
        theta, u = diagonal_eigh(H, threshold(derivative, operator) * found.largest)
        return _finish((matmul(X, u), ours.values(times(theta, operator.scale))), info, fill, a.dtype), info

    return _over_batch(one, a, b, v0)


@partial(jax.jit, static_argnames=("k", "which", "vectors", "left", "fill"))
def general(
    a: Array | LinearOperator,
    sigma: Array | None,
    inverse: LinearOperator | None,
    solver: EigSolver,
    derivative: Implicit,
    v0: Array | None,
    key: Array | None,
    tol: Array,
    *,
    k: int,
    which: str,
    vectors: bool,
    left: bool,
    fill: bool,
) -> tuple[tuple[Array, ...], SolveInfo]:
    """``(eigenvectors, eigenvalues)`` if ``vectors``, and the ``left`` ones if so; else ``(Q, T)``; all complex.

    NaN where not converged if ``fill``.
    """

    def one(a: Array | LinearOperator, v0: Array | None) -> Any:
        given = computing_operator(a, hermitian=False)
        shift = None if sigma is None else Shifted.of(given, sigma, inverse)
        ours, finite = scaled(given)
        operator = ours if shift is None else scaled(shift)[0]
        solved = frozen(operator)
        found = solve_eig(solved, k, which, solver, tol, v0, _key(key))
        if shift is not None and not jnp.issubdtype(given.dtype, jnp.complexfloating):
            # Where Im theta < 0 there is Im l > 0, which comes first.
            found = conjugate(found)
        linear = is_linear(frozen(ours), _key(key)) if ours.opaque else jnp.ones((), bool)
        measured = found._replace(residuals=found.pair_residuals) if vectors else found
        info = certify_schur(solved, frozen(shift), measured, which, tol, finite, linear, _key(key))
        wide, size = promoted(operator, found.Q.dtype), found.largest
        residual = relative_residual(found, size)
        tied, unit = tied_schur(found, which), jnp.ones_like(size)
        options = solve_options(derivative, operator, residual, None, unit, singular=tied, keep=not fill)
        Q, T = ATTACH_SCHUR[derivative.mode](wide, found.Q, found.T, size, options, which)
        if not vectors:
            T = T * operator.scale.astype(T.dtype)
            return _finish((Q, T if shift is None else shift.core(T)), info, fill, Q.dtype), info
        values, W = triangular_eig(T, threshold(derivative, operator) * size)
        R = matmul(Q, W)
        # The phase is free; where all of a vector is real it comes out real.
        phase = phases(jax.lax.stop_gradient(R))[None, :]
        R, others = R * phase, []
        if left:
            Y = left_vectors(wide, Q, T, size=size, which=which, options=options)
            norm = jnp.maximum(size, found.norm)
            L = left_eigenvectors(wide, Y, W, values, size=norm, options=options) * phase
            values, others = with_tangent_of(values, stationary(two_sided_quotient, wide, (L, R))), [L]
        values = values * operator.scale.astype(values.dtype)
        values = values if shift is None else shift.values(values)
        return _finish((R, values, *others), info, fill, R.dtype), info

    return _over_batch(one, a, v0)


def _key(key: Array | None) -> Array:
    return jax.random.key(0, impl="threefry2x32") if key is None else key


def _preconditioned(
    solver: EighSolver, derivative: Implicit, pencil: Pencil, unit: Array
) -> tuple[EighSolver, Implicit]:
    """Both with their preconditioners in the coordinates of the pencil; what the solver has serves the derivative too.

    The solver sees the operator over ``unit``; the options of the derivative take the unit into account themselves.
    """
    given = in_coordinates(derivative.preconditioner, pencil.root)
    if isinstance(solver, LOBPCG):
        inverse = in_coordinates(solver.preconditioner, pencil.root)
        solver = dataclasses.replace(solver, preconditioner=in_units(inverse, unit))
        given = inverse if given is None else given
    return solver, dataclasses.replace(derivative, preconditioner=given)


def _polish_triplets(operator: Scaled, found: Triplets, which: str, size: Array, derivative: Implicit) -> Triplets:
    options = _singular_options(operator, found, size, derivative)
    U, V, spent = polished_triplets(operator, found.U, found.s, found.V, size=size, which=which, options=options)
    spent = found.products + spent + 2 * found.W.shape[0]
    U, V = orthonormal(U), orthonormal(V)
    found = finish_triplets(operator, U, V, found.leftover, found.W, found.iterations, spent, found.verified)
    if which != "SM":
        return found
    U, s, V, residuals = (x[..., ::-1] for x in (found.U, found.s, found.V, found.residuals))
    return found._replace(U=U, s=s, V=V, residuals=residuals)


def _polish_pairs(operator: Scaled, found: Eigenpairs, which: str, derivative: Implicit) -> Eigenpairs:
    options = _invariant_options(operator, found, derivative)
    Q, spent = polished_pairs(operator, found.Q, found.values, size=found.largest, which=which, options=options)
    spent = found.products + spent + found.W.shape[0]
    return finish_eigenpairs(
        operator, orthonormal(Q), which, found.leftover, found.W, found.largest, found.iterations, spent, found.verified
    )


def _singular_options(
    operator: Scaled,
    found: Triplets,
    size: Array,
    derivative: Implicit,
    tied: Array | None = None,
    *,
    keep: bool = False,
) -> SolveOptions:
    given = found.U, found.V, found.W, found.W_values
    leftovers = singular_deflation(operator, *given) if found.W.shape[0] else None
    residual, unit = relative_residual(found, size), jnp.ones_like(operator.scale)
    return solve_options(derivative, operator, residual, leftovers, unit, singular=tied, keep=keep)


def _invariant_options(
    operator: Scaled, found: Eigenpairs, derivative: Implicit, tied: Array | None = None, *, keep: bool = False
) -> SolveOptions:
    leftovers = invariant_deflation(operator, found.Q, found.W, found.W_values) if found.W.shape[0] else None
    residual = relative_residual(found, found.largest)
    return solve_options(derivative, operator, residual, leftovers, operator.scale, singular=tied, keep=keep)


def _finish(parts: tuple[Array, ...], info: SolveInfo, fill: bool, dtype: Any) -> Any:
    """Poison what is not to be trusted, and return to the dtype that came in."""
    if fill:
        parts = tuple(poison(x, info.converged) for x in parts)
    if computing_dtype(dtype) != dtype:
        parts = tuple(x.astype(dtype) for x in parts)
    return parts


def _over_batch(one: Callable, a: Array | LinearOperator, *others: Array | LinearOperator | None) -> Any:
    """``one`` mapped over the leading axes of an array ``a``, and of each of the ``others`` that has them."""
    axes = [None if x is None or len(x.shape) == 2 else 0 for x in others]
    for _ in range(len(a.shape) - 2):
        one = jax.vmap(one, in_axes=(0, *axes))
    return one(a, *others)
