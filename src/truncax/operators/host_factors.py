"""Sparse factors by SuperLU, on the host.

What JAX holds of a factor is the matrix and a digest of it. The factors themselves stay on the host, where the digest
finds them again; those that were not used for long are dropped, and made anew from the matrix if they are asked for.
The functions on the host never call JAX.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import SuperLU, splu

from ..numerics.derivative import Side
from ..numerics.host import call_on_host
from ..numerics.linear import with_adjoint

# Factors that are kept, at most.
_MOST = 4


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SparseLU:
    """The factors of a matrix, from its entries, more than one at a place if so.

    ``kind``: "definite", which has a root as well, "hermitian" or "general".
    """

    values: Array
    row: Array
    column: Array
    digest: Array
    size: int = field(metadata={"static": True})
    kind: str = field(metadata={"static": True})

    @classmethod
    def of(cls, values: Array, row: Array, column: Array, size: int, *, kind: str) -> SparseLU:
        """Factorises."""
        like = jax.ShapeDtypeStruct((8,), jnp.uint32)
        digest = call_on_host(partial(_digest, size, kind), like, values, row, column)
        return cls(values, row, column, digest, size, kind)

    def solve(self, b: Array, by_adjoint: bool = False) -> Array:
        """``x`` with ``A x = b``, or ``A^H x = b``; NaN if A is singular."""
        return self._on_host(partial(_solve, by_adjoint), b)

    def product(self, side: Side, x: Array) -> Array:
        """The product with the root on this ``side``; NaN if A is not positive definite."""

        def by(side: Side) -> Callable[[Array], Array]:
            return partial(self._on_host, partial(_root_product, side))

        return with_adjoint(by(side), by(side.adjoint), by(side.inverse), by(side.inverse.adjoint), x)

    def _on_host(self, function: Callable[..., np.ndarray], x: Array) -> Array:
        call = partial(_with_factor, function, self.size, self.kind)
        like = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return call_on_host(call, like, self.digest, self.values, self.row, self.column, x)


class _Factor:
    """The factors of a matrix: ``P_r A P_c = L U``, and if "definite" ``A = F F^H`` with ``F = P_r^T L D^(1/2)``."""

    def __init__(self, matrix: csc_array, kind: str) -> None:
        options: dict[str, Any] = {}
        if kind != "general":
            # A symmetric order and pivots on the diagonal, where they are not too small: half of the fill.
            threshold = 0.0 if kind == "definite" else 0.01
            options = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": threshold}
            options["options"] = {"SymmetricMode": True}
        self.lu: SuperLU | None = None
        self.lower: Any = None
        try:
            self.lu = splu(matrix, **options)
        except RuntimeError:  # exactly singular
            return
        if kind == "definite":
            pivots = self.lu.U.diagonal().real
            if np.all(pivots > 0) and np.array_equal(self.lu.perm_r, self.lu.perm_c):
                self.lower = (self.lu.L @ _diagonal(np.sqrt(pivots))).tocsr()
                self.upper = self.lower.conj().T.tocsr()

    def solve(self, b: np.ndarray, by_adjoint: bool = False) -> np.ndarray:
        return np.full_like(b, np.nan) if self.lu is None else self.lu.solve(b, "H" if by_adjoint else "N")

    def root_product(self, side: Side, x: np.ndarray) -> np.ndarray:
        if self.lower is None or self.lu is None:
            return np.full_like(x, np.nan)
        if side is Side.ROOT:
            return (self.lower @ x)[self.lu.perm_r]
        if side is Side.ADJOINT:
            y = np.empty_like(x)
            y[self.lu.perm_r] = x
            return self.upper @ y
        if side is Side.INVERSE:
            return self.root_product(Side.ADJOINT, self.solve(x))
        return self.solve(self.root_product(Side.ROOT, x))


def _diagonal(entries: np.ndarray) -> csc_array:
    index = np.arange(entries.size)
    return csc_array((entries, (index, index)), shape=(entries.size, entries.size))


_factors: OrderedDict[bytes, _Factor] = OrderedDict()
_lock = threading.Lock()


def _digest(size: int, kind: str, *entries: np.ndarray) -> np.ndarray:
    digest = hashlib.blake2b(repr((size, kind, entries[0].dtype.str)).encode(), digest_size=32)
    for part in entries:
        digest.update(part.tobytes())
    return np.frombuffer(digest.digest(), np.uint32)


def _with_factor(
    function: Callable[[_Factor, np.ndarray], np.ndarray],
    size: int,
    kind: str,
    digest: np.ndarray,
    values: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    x: np.ndarray,
) -> np.ndarray:
    if not x.any():
        return np.zeros_like(x)
    key = digest.tobytes()
    with _lock:
        factor = _factors.get(key)
        if factor is None:
            matrix = coo_array((values, (row, column)), shape=(size, size)).tocsc()
            factor = _factors[key] = _Factor(matrix, kind)
        _factors.move_to_end(key)
        while len(_factors) > _MOST:
            _factors.popitem(last=False)
    return function(factor, x)


def _solve(by_adjoint: bool, factor: _Factor, b: np.ndarray) -> np.ndarray:
    return factor.solve(b, by_adjoint)


def _root_product(side: Side, factor: _Factor, x: np.ndarray) -> np.ndarray:
    return factor.root_product(side, x)
