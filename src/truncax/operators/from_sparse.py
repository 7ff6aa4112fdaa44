"""Sparse matrices of JAX and SciPy as operators."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO, BCSR, JAXSparse
from scipy.sparse import issparse

from .chunks import concrete
from .sparse import SparseOperator


def is_sparse(a: Any) -> bool:
    """Whether ``a`` is a sparse matrix of JAX or SciPy."""
    return isinstance(a, JAXSparse) or issparse(a)


def sparse_operator(a: Any, cast: Any, *, both: bool) -> SparseOperator:
    """The operator of a BCOO, a BCSR or a SciPy matrix; ``cast`` checks and promotes its entries.

    ``both``: with a fast product of the adjoint.
    """
    if len(a.shape) != 2:
        raise ValueError(f"a sparse a must be one matrix (m, n), got shape {a.shape}")
    if issparse(a):
        a = a.tocoo()
        row, column, data, ascending = a.row, a.col, a.data, False
    elif isinstance(a, BCOO | BCSR):
        name = type(a).__name__
        for part, count in (("n_batch", a.n_batch), ("n_dense", a.n_dense)):
            if count:
                raise ValueError(
                    f"a is a {name} with {part}={count}; allowed is a single matrix with n_batch=0 and n_dense=0: map "
                    f"a batch with jax.vmap over the data, jax.vmap(lambda data: f({name}((data, ...), shape=a.shape)))"
                    + (", or call a.update_layout(n_dense=0)" if part == "n_dense" and name == "BCOO" else "")
                )
        data = a.data
        if isinstance(a, BCOO):
            row, column, ascending = a.indices[:, 0], a.indices[:, 1], a.indices_sorted
        else:
            row, column, ascending = _expanded(a.indptr, a.nse), a.indices, True
    else:
        raise TypeError(
            f"a is a {type(a).__name__}; of the formats of jax.experimental.sparse BCOO and BCSR are allowed: "
            "make one with BCOO.fromdense(a.todense()) or BCOO.from_scipy_sparse"
        )
    return SparseOperator.of(cast(data), row, column, a.shape, both=both, ascending=ascending)


def _expanded(indptr: Any, count: int) -> Any:
    """The row of every entry of a BCSR; of those after the last row, the padding, the number of rows."""
    known = concrete(indptr)
    if known is None:
        return (jnp.searchsorted(indptr, jnp.arange(count, dtype=indptr.dtype), side="right") - 1).astype(jnp.int32)
    return np.searchsorted(known, np.arange(count), side="right") - 1
