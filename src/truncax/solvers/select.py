"""Which solver: the one place that knows all of them."""

import jax.numpy as jnp
from jax import Array

from ..numerics.products import times
from ..numerics.tolerances import smallest_tolerance
from ..operators.dense import DenseOperator
from ..operators.operator import Scaled, tall
from ..options import Dense, GolubKahan, Lanczos
from .dense import dense_eigh, dense_svd
from .found import Eigenpairs, Triplets
from .golub_kahan import golub_kahan
from .lanczos import lanczos


def prefers_dense(k: int, size: int) -> bool:
    """Whether the full decomposition is faster: small matrices, and k above an eighth of the size."""
    return size <= 64 or 8 * k > size


def choose_svd(k: int, shape: tuple[int, int], starts: bool) -> Dense | GolubKahan:
    """The default solver of the SVD; a start vector or a key asks for an iterative one."""
    return Dense() if prefers_dense(k, min(shape)) and not starts else GolubKahan()


def choose_eigh(k: int, n: int, starts: bool) -> Dense | Lanczos:
    """The default solver of the Hermitian problem; a start vector or a key asks for an iterative one."""
    return Dense() if prefers_dense(k, n) and not starts else Lanczos()


def solve_svd(
    operator: Scaled, k: int, solver: Dense | GolubKahan, tol: Array, v0: Array | None, key: Array
) -> Triplets:
    """The k largest singular triplets by ``solver``."""
    if isinstance(solver, Dense):
        return dense_svd(_matrix(operator), k)
    m, n = operator.shape
    if m >= n:
        return golub_kahan(operator, k, solver, estimate_target(tol), v0, key)
    start = None if v0 is None else operator.apply(v0)
    found = golub_kahan(tall(operator), k, solver, estimate_target(tol), start, key)
    return found._replace(U=found.V, V=found.U, products=found.products + int(v0 is not None))


def solve_eigh(
    operator: Scaled, k: int, which: str, solver: Dense | Lanczos, tol: Array, v0: Array | None, key: Array
) -> Eigenpairs:
    """The k best eigenpairs by ``solver``."""
    if isinstance(solver, Dense):
        return dense_eigh(_matrix(operator), k, which)
    return lanczos(operator, k, which, solver, estimate_target(tol), v0, key)


def estimate_target(tol: Array) -> Array:
    """The estimated residual at which an iteration stops: room is left for rounding in the measured one."""
    return jnp.maximum(tol, smallest_tolerance(tol.dtype)) / 4


def _matrix(operator: Scaled) -> DenseOperator:
    inner = operator.inner
    assert isinstance(inner, DenseOperator)
    return DenseOperator(times(times(inner.array, 1 / operator.before), 1 / operator.after))
