"""The full decomposition, cut after k."""

import jax.numpy as jnp

from ..numerics.products import adjoint
from ..operators.dense import DenseOperator
from .found import Eigenpairs, Triplets, best_first

_NO_WORK = jnp.int32


def dense_svd(operator: DenseOperator, k: int) -> Triplets:
    """All singular triplets of the array by LAPACK or cuSOLVER, the first k of them kept."""
    U, s, Vh = jnp.linalg.svd(operator.array, full_matrices=False)
    return Triplets(U[:, :k], s[:k], adjoint(Vh[:k]), s[k:], _NO_WORK(0), _NO_WORK(0), jnp.ones((), bool))


def dense_eigh(operator: DenseOperator, k: int, which: str) -> Eigenpairs:
    """All eigenpairs of the array by LAPACK or cuSOLVER, the k best by ``which`` kept."""
    values, Q = jnp.linalg.eigh(operator.array)
    order = best_first(values, which)
    return Eigenpairs(
        values[order[:k]], Q[:, order[:k]], values[order[k:]], _NO_WORK(0), _NO_WORK(0), jnp.ones((), bool)
    )
