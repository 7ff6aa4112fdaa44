"""Sparse matrices of JAX and SciPy as operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
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
        raise ValueError(f"a must be one matrix (m, n), got shape {a.shape}: map a batch with jax.vmap")
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
            # Under jit a slice is traced even where the indices are known.
            known = concrete(a.indices)
            indices: Any = a.indices if known is None else known
            row, column, ascending = indices[:, 0], indices[:, 1], a.indices_sorted
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


def sparse_tangent(a: Any, da: Any, convert: Callable[[Any], Any]) -> Any:
    """The tangent of ``convert(a)`` along ``da``, a matrix of the same kind and the same pattern."""
    if type(da) is not type(a) or da.shape != a.shape or da.data.shape != a.data.shape:
        raise TypeError(f"da must be a {type(a).__name__} with the pattern of a, {a}; got {da!r}")
    for ours, theirs in zip(_pattern(a), _pattern(da), strict=True):
        known, given = concrete(ours), concrete(theirs)
        if known is not None and given is not None and not np.array_equal(known, given):
            raise ValueError("da must have the pattern of a, in the same order: make it of the indices of a")
    data, along = _inexact_like(a.data), jnp.asarray(da.data)
    return jax.jvp(lambda data: convert(_with_data(a, data)), (data,), (along.astype(data.dtype),))[1]


def sparse_cotangent(a: Any, bar: Any, convert: Callable[[Any], Any]) -> Any:
    """The cotangent of ``a``, of its kind and in its pattern, from that of ``convert(a)``."""
    _, pull = jax.vjp(lambda data: convert(_with_data(a, data)), _inexact_like(a.data))
    return _with_data(a, pull(bar)[0])


def _inexact_like(data: Any) -> Any:
    return data if jnp.issubdtype(data.dtype, jnp.inexact) else data.astype(jnp.result_type(float))


def _pattern(a: Any) -> tuple[Any, ...]:
    return (a.indices,) if isinstance(a, BCOO) else (a.indices, a.indptr)


def _with_data(a: Any, data: Any) -> Any:
    kind, flags = type(a), {"indices_sorted": a.indices_sorted, "unique_indices": a.unique_indices}
    return kind((data, *_pattern(a)), shape=a.shape, **flags)
