"""Which solver: the one place that knows all of them."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..numerics.devices import is_split, varying_with
from ..numerics.tolerances import smallest_tolerance
from ..operators.dense import DenseOperator
from ..operators.entries import has_small_matrix
from ..operators.operator import LinearOperator, Scaled, tall
from ..options import LOBPCG, Arnoldi, Arpack, Dense, GolubKahan, Lanczos, Propack
from .arnoldi import arnoldi
from .dense import dense_eigh, dense_schur, dense_svd
from .found import Eigenpairs, SchurVectors, Triplets
from .golub_kahan import golub_kahan
from .host import propose_eigenvectors, propose_right_vectors, propose_schur_vectors
from .lanczos import lanczos
from .lobpcg import lobpcg
from .start import superposed

SvdSolver = Dense | GolubKahan | Arpack | Propack
EighSolver = Dense | Lanczos | LOBPCG | Arpack
EigSolver = Dense | Arnoldi | Arpack


def prefers_dense(k: int, a: Array | np.ndarray | LinearOperator) -> bool:
    """Whether the full decomposition is faster: small matrices, and k above a twelfth of the size.

    Not of an array that is split over devices, each of which would need all of it.
    """
    if not has_small_matrix(a) if isinstance(a, LinearOperator) else is_split(a):
        return False
    size = min(a.shape[-2:])
    return size <= 64 or 12 * k > size


def choose_svd(k: int, a: Array | np.ndarray | LinearOperator, which: str, starts: bool) -> Dense | GolubKahan:
    """The default solver of the SVD; a start vector or a key asks for an iterative one."""
    dense = which == "SM" or (prefers_dense(k, a) and not starts)
    return Dense() if dense else GolubKahan()


def choose_eigh(k: int, a: Array | np.ndarray | LinearOperator, starts: bool) -> Dense | Lanczos:
    """The default solver of the Hermitian problem; a start vector or a key asks for an iterative one."""
    return Dense() if prefers_dense(k, a) and not starts else Lanczos()


def choose_eig(k: int, a: Array | np.ndarray | LinearOperator, starts: bool) -> Dense | Arnoldi:
    """The default solver of the general problem: to bring a full Schur form into order is slow where it is large."""
    n = a.shape[-1]
    small = has_small_matrix(a) if isinstance(a, LinearOperator) else not is_split(a)
    return Dense() if small and (n <= 64 or 3 * k > n) and not starts else Arnoldi()


def in_blocks(solver: Any, a: Array | np.ndarray | LinearOperator) -> Any:
    """The solver as it goes: with single vectors or pairs, if it is not said otherwise, where blocks do not pay."""
    if isinstance(a, LinearOperator) and not a.blocks_pay and getattr(solver, "block_size", 0) is None:
        return dataclasses.replace(solver, block_size=2 if isinstance(solver, LOBPCG) else 1)
    return solver


def solve_svd(
    operator: Scaled, k: int, which: str, solver: SvdSolver, tol: Array, v0: Array | None, key: Array
) -> Triplets:
    """The k best singular triplets by ``which``; ``v0`` holds right vectors as rows."""
    if isinstance(solver, Dense):
        return dense_svd(_matrix(operator), k, which, tol)
    m, n = operator.shape
    tol, v0, key = varying_with((tol, v0, key), operator.before, tol, v0, key, solver)
    target, native = estimate_target(tol), in_blocks(GolubKahan(), operator)
    start = v0 if v0 is None or m >= n else operator.apply(v0.T).T
    spent = 0 if start is v0 or v0 is None else v0.shape[0]
    if isinstance(solver, GolubKahan):
        native = in_blocks(solver, operator)
        start = None if start is None else superposed(start, native.block(k, min(m, n)))
        found = golub_kahan(tall(operator), k, native, target, start, key)
    else:
        start, ok, products = propose_right_vectors(operator, k, solver, target, start, key)
        found = golub_kahan(tall(operator), k, native, target, start, key)
        found = found._replace(verified=found.verified & ok, products=found.products + products)
    if m >= n:
        return found
    return found._replace(U=found.V, V=found.U, products=found.products + spent)


def solve_eigh(
    operator: Scaled, k: int, which: str, solver: EighSolver, tol: Array, v0: Array | None, key: Array
) -> Eigenpairs:
    """The k best eigenpairs by ``which``; ``v0`` holds vectors as rows."""
    if isinstance(solver, Dense):
        return dense_eigh(_matrix(operator), k, which)
    tol, v0, key = varying_with((tol, v0, key), operator.before, tol, v0, key, solver)
    target, native = estimate_target(tol), in_blocks(Lanczos(), operator)
    if isinstance(solver, Lanczos):
        native = in_blocks(solver, operator)
        start = None if v0 is None else superposed(v0, native.block(k, operator.shape[1]))
        return lanczos(operator, k, which, native, target, start, key)
    if isinstance(solver, LOBPCG):
        return lobpcg(operator, k, which, in_blocks(solver, operator), target, v0, key)
    start, ok, products = propose_eigenvectors(operator, k, which, solver, target, v0, key)
    found = lanczos(operator, k, which, native, target, start, key)
    return found._replace(verified=found.verified & ok, products=found.products + products)


def solve_eig(
    operator: Scaled, k: int, which: str, solver: EigSolver, tol: Array, v0: Array | None, key: Array
) -> SchurVectors:
    """The k best Schur vectors of a general operator by ``which``; ``v0`` holds vectors as rows."""
    if isinstance(solver, Dense):
        return dense_schur(_matrix(operator), k, which)
    tol, v0, key = varying_with((tol, v0, key), operator.before, tol, v0, key, solver)
    target = estimate_target(tol)
    if isinstance(solver, Arnoldi):
        start = None if v0 is None else superposed(v0, solver.block(k, operator.shape[1]))
        return arnoldi(operator, k, which, solver, target, start, key)
    start, ok, products = propose_schur_vectors(operator, k, which, solver, target, v0, key)
    found = arnoldi(operator, k, which, Arnoldi(), target, start, key)
    return found._replace(verified=found.verified & ok, products=found.products + products)


def estimate_target(tol: Array) -> Array:
    """The estimated residual at which an iteration stops: room is left for rounding in the measured one."""
    return jnp.maximum(tol, smallest_tolerance(tol.dtype)) / 4


def _matrix(operator: Scaled) -> DenseOperator:
    return DenseOperator.of(operator.as_matrix())
