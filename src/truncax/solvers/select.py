"""Which solver: the one place that knows all of them."""

import jax.numpy as jnp
from jax import Array

from ..numerics.products import times
from ..numerics.tolerances import smallest_tolerance
from ..operators.dense import DenseOperator
from ..operators.operator import Scaled, tall
from ..options import Arpack, Dense, GolubKahan, Lanczos, Propack
from .dense import dense_eigh, dense_svd
from .found import Eigenpairs, Triplets
from .golub_kahan import golub_kahan
from .host import propose_eigenvectors, propose_right_vectors
from .lanczos import lanczos
from .start import superposed

SvdSolver = Dense | GolubKahan | Arpack | Propack
EighSolver = Dense | Lanczos | Arpack


def prefers_dense(k: int, size: int) -> bool:
    """Whether the full decomposition is faster: small matrices, and k above a twelfth of the size."""
    return size <= 64 or 12 * k > size


def choose_svd(k: int, shape: tuple[int, int], which: str, starts: bool) -> Dense | GolubKahan:
    """The default solver of the SVD; a start vector or a key asks for an iterative one."""
    dense = which == "SM" or (prefers_dense(k, min(shape)) and not starts)
    return Dense() if dense else GolubKahan()


def choose_eigh(k: int, n: int, starts: bool) -> Dense | Lanczos:
    """The default solver of the Hermitian problem; a start vector or a key asks for an iterative one."""
    return Dense() if prefers_dense(k, n) and not starts else Lanczos()


def solve_svd(
    operator: Scaled, k: int, which: str, solver: SvdSolver, tol: Array, v0: Array | None, key: Array
) -> Triplets:
    """The k best singular triplets by ``which``; ``v0`` holds right vectors as rows."""
    if isinstance(solver, Dense):
        return dense_svd(_matrix(operator), k, which)
    m, n = operator.shape
    target = estimate_target(tol)
    start = v0 if v0 is None or m >= n else operator.apply(v0.T).T
    spent = 0 if start is v0 or v0 is None else v0.shape[0]
    if isinstance(solver, GolubKahan):
        start = None if start is None else superposed(start, solver.block(k, min(m, n)))
        found = golub_kahan(tall(operator), k, solver, target, start, key)
    else:
        start, ok, products = propose_right_vectors(operator, k, solver, target, start, key)
        found = golub_kahan(tall(operator), k, GolubKahan(), target, start, key)
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
    target = estimate_target(tol)
    if isinstance(solver, Lanczos):
        start = None if v0 is None else superposed(v0, solver.block(k, operator.shape[1]))
        return lanczos(operator, k, which, solver, target, start, key)
    start, ok, products = propose_eigenvectors(operator, k, which, solver, target, v0, key)
    found = lanczos(operator, k, which, Lanczos(), target, start, key)
    return found._replace(verified=found.verified & ok, products=found.products + products)


def estimate_target(tol: Array) -> Array:
    """The estimated residual at which an iteration stops: room is left for rounding in the measured one."""
    return jnp.maximum(tol, smallest_tolerance(tol.dtype)) / 4


def _matrix(operator: Scaled) -> DenseOperator:
    inner = operator.inner
    assert isinstance(inner, DenseOperator)
    return DenseOperator.of(times(times(inner.array, 1 / operator.before), 1 / operator.after))
