"""The way from the user's arguments to the pipeline, and back to the form of the user's vectors."""

from __future__ import annotations

from typing import Any, get_args

import jax.numpy as jnp
from jax import Array

from . import pipeline
from .arguments import (
    check_callback,
    check_general,
    check_host_solver,
    check_key,
    check_mass,
    check_matrix,
    check_options,
    check_plain,
    check_positive,
    check_preconditioned,
    check_quotient,
    check_rank,
    check_shift,
    check_smallest,
    check_solve,
    check_start,
    check_which,
)
from .failure import forward_mode_explained, raise_if_failed
from .numerics.tolerances import computing_dtype, solve_tolerance
from .operators.entries import can_be_factorised
from .operators.operator import LinearOperator
from .operators.promoted import promoted, result_type
from .operators.structure import Structure
from .options import LOBPCG, Arnoldi, Krylov
from .results import SolveInfo
from .solvers.select import EighSolver, EigSolver, SvdSolver, choose_eig, choose_eigh, choose_svd, in_blocks


def singular(
    a: Any,
    k: Any,
    which: Any,
    solver: Any,
    derivative: Any,
    v0: Any,
    key: Any,
    tol: Any,
    callback: Any,
    on_failure: Any,
    *,
    vectors: bool,
) -> tuple[tuple[Any, Array, Any], SolveInfo]:
    """``(U, S, Vh)`` if ``vectors``, else ``(U, C, Vh)``, in the form of the user's vectors."""
    a = check_matrix(a, hermitian=False)
    k = check_rank(k, a.shape)
    check_which(which, ("LM", "SM"))
    derivative = check_options(solver, get_args(SvdSolver), derivative, on_failure, a, vectors)
    check_smallest(which, solver, derivative, v0, key)
    check_host_solver(solver, k, a, which)
    v0, key, tol = check_start(v0, a, solver, rows=True), check_key(key, solver), _tolerance(tol, a)
    solver = solver or choose_svd(k, a, which, starts=any(x is not None for x in (v0, key, callback)))
    solver = check_callback(callback, solver)
    basis = _basis_size(solver, a, k)
    with forward_mode_explained(derivative.mode):
        parts, info = pipeline.singular(
            a, solver, derivative, v0, key, tol, k=k, which=which, vectors=vectors, fill=on_failure != "keep"
        )
    if on_failure == "raise":
        raise_if_failed(info, tol, solver, basis, isinstance(a, LinearOperator) and a.opaque)
    if isinstance(a, LinearOperator):
        U, middle, Vh = parts
        parts = (_columns(a.codomain, U), middle, Vh if a.domain is None else a.domain.unravel_rows(Vh))
    return parts, info


def hermitian(
    a: Any,
    k: Any,
    b: Any,
    solve_b: Any,
    which: Any,
    sigma: Any,
    inverse: Any,
    solver: Any,
    derivative: Any,
    v0: Any,
    key: Any,
    tol: Any,
    callback: Any,
    on_failure: Any,
    *,
    vectors: bool,
) -> tuple[tuple[Any, Array], SolveInfo]:
    """``(eigenvectors, eigenvalues)`` if ``vectors``, else ``(Q, H)``, in the form of the user's vectors."""
    a = check_matrix(a, hermitian=True)
    k = check_rank(k, a.shape)
    check_which(which, ("LM", "LA", "SA", "BE", "SM"))
    solver = check_preconditioned(solver, which, sigma, a)
    a, b, multiplies = check_mass(b, a)
    which, sigma, inverse = check_shift(which, sigma, inverse, a, b)
    solve = check_solve(solve_b, b, sigma, multiplies) or inverse
    kinds = (*get_args(EighSolver), Arnoldi) if multiplies else get_args(EighSolver)
    derivative = check_options(solver, kinds, derivative, on_failure, a, vectors)
    if multiplies:
        check_quotient(which, solver, derivative)
    check_plain(b, sigma, solver, derivative)
    check_host_solver(solver, k, a, which)
    v0, key, tol = check_start(v0, a, solver, rows=False), check_key(key, solver), _tolerance(tol, a)
    starts = any(x is not None for x in (v0, key, callback))
    solver = solver or (choose_eig(k, a, starts) if multiplies else choose_eigh(k, a, starts))
    solver = check_callback(callback, solver)
    basis = _basis_size(solver, a, k)
    with forward_mode_explained(derivative.mode):
        parts, info = (pipeline.quotient if multiplies else pipeline.hermitian)(
            a,
            b,
            sigma,
            solve,
            solver,
            derivative,
            v0,
            key,
            tol,
            k=k,
            which=which,
            vectors=vectors,
            fill=on_failure != "keep",
        )
    if on_failure == "raise":
        shift_helps = which == "SA" and b is None and sigma is None and can_be_factorised(a)
        raise_if_failed(info, tol, solver, basis, isinstance(a, LinearOperator) and a.opaque, shift_helps)
    if isinstance(a, LinearOperator):
        Q, middle = parts
        parts = (_columns(a.domain, Q), middle)
    return parts, info


def general(
    a: Any,
    k: Any,
    which: Any,
    sigma: Any,
    inverse: Any,
    solver: Any,
    derivative: Any,
    v0: Any,
    key: Any,
    tol: Any,
    callback: Any,
    on_failure: Any,
    *,
    vectors: bool,
    left: bool = False,
) -> tuple[tuple[Any, ...], SolveInfo]:
    """``(eigenvectors, eigenvalues)`` if ``vectors``, and the ``left`` ones; else ``(Q, T)``; in the user's form."""
    a = check_matrix(a, hermitian=False, square=True)
    k = check_rank(k, a.shape)
    which = check_which(which, ("LM", "LR", "SR", "LI", "SI", "SM"))
    which, sigma, inverse = check_shift(which, sigma, inverse, a, None, hermitian=False)
    if jnp.issubdtype(a.dtype, jnp.complexfloating):
        which = {"LI": "+I", "SI": "-I"}.get(which, which)
    derivative = check_options(solver, get_args(EigSolver), derivative, on_failure, a, vectors)
    check_general(derivative, solver, sigma)
    check_host_solver(solver, k, a, which)
    v0, key = check_start(v0, a, solver, rows=False, parts=True), check_key(key, solver)
    tol = _tolerance(tol, a)
    solver = solver or choose_eig(k, a, starts=any(x is not None for x in (v0, key, callback)))
    solver = check_callback(callback, solver)
    basis = _basis_size(solver, a, k)
    with forward_mode_explained(derivative.mode):
        parts, info = pipeline.general(
            a,
            sigma,
            inverse,
            solver,
            derivative,
            v0,
            key,
            tol,
            k=k,
            which=which,
            vectors=vectors,
            left=left,
            fill=on_failure != "keep",
        )
    if on_failure == "raise":
        raise_if_failed(info, tol, solver, basis, isinstance(a, LinearOperator) and a.opaque)
    if isinstance(a, LinearOperator):
        domain = promoted(a, result_type(a.dtype, jnp.complex64)).domain
        Q, middle, *others = parts
        parts = (_columns(domain, Q), middle, *(_columns(domain, x) for x in others))
    return parts, info


def _columns(structure: Structure | None, x: Array) -> Any:
    return x if structure is None else structure.unravel(x)


def _basis_size(solver: Any, a: Array | LinearOperator, k: int) -> int:
    """The number of basis vectors that will be used; refused here if it is too small."""
    size = min(a.shape[-2:])
    return in_blocks(solver, a).basis_size(k, size) if isinstance(solver, Krylov | LOBPCG) else size


def _tolerance(tol: Any, a: Array | LinearOperator) -> Array:
    """The forward tolerance in the dtype that is computed in."""
    dtype = computing_dtype(a.dtype)
    given = check_positive("tol", tol, dtype, below=1)
    if given is not None:
        return given
    return jnp.asarray(solve_tolerance(dtype), jnp.finfo(dtype).dtype)
