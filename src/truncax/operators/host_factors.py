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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import LinearOperator, SuperLU, eigsh, spilu, splu

from ..numerics.derivative import Side
from ..numerics.host import call_on_host
from ..numerics.linear import with_adjoint

# Factors that are kept, at most.
_MOST = 4
# More columns at once send SuperLU to a BLAS with threads of its own, which get in the way of XLA's: with 8 columns a
# solve took 34 ms instead of 12 (n = 40 000).
_TOGETHER = 4


class Incomplete(NamedTuple):
    """Incomplete factors ``M = L U`` of a Hermitian matrix, whose solve is made Hermitian: ``(M^-1 + M^-H) / 2``."""

    drop_tol: float
    fill_factor: float


Kind = str | Incomplete


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SparseLU:
    """The factors of a matrix, from its entries, more than one at a place if so.

    ``kind``: "definite", which has a root as well, "hermitian", "general" or ``Incomplete(...)``.
    """

    values: Array
    row: Array
    column: Array
    digest: Array
    size: int = field(metadata={"static": True})
    kind: Kind = field(metadata={"static": True})

    @classmethod
    def of(cls, values: Array, row: Array, column: Array, size: int, *, kind: Kind) -> SparseLU:
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
        if self.lu is None:
            return np.full_like(b, np.nan)
        side = "H" if by_adjoint else "N"
        if b.ndim == 1 or b.shape[1] <= _TOGETHER:
            return self.lu.solve(b, side)
        parts = (self.lu.solve(b[:, i : i + _TOGETHER], side) for i in range(0, b.shape[1], _TOGETHER))
        return np.concatenate(list(parts), axis=1)

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


_factors: OrderedDict[bytes, Any] = OrderedDict()
_lock = threading.Lock()


def _digest(size: int, kind: Kind, *entries: np.ndarray) -> np.ndarray:
    digest = hashlib.blake2b(repr((size, kind, entries[0].dtype.str)).encode(), digest_size=32)
    for part in entries:
        digest.update(part.tobytes())
    return np.frombuffer(digest.digest(), np.uint32)


def _with_factor(
    function: Callable[[Any, np.ndarray], np.ndarray],
    size: int,
    kind: Kind,
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
            factor = _factors[key] = (
                _Incomplete(matrix, kind) if isinstance(kind, Incomplete) else _Factor(matrix, kind)
            )
        _factors.move_to_end(key)
        while len(_factors) > _MOST:
            _factors.popitem(last=False)
    return function(factor, x)


def _solve(by_adjoint: bool, factor: _Factor, b: np.ndarray) -> np.ndarray:
    return factor.solve(b, by_adjoint)


def _root_product(side: Side, factor: _Factor, x: np.ndarray) -> np.ndarray:
    return factor.root_product(side, x)


class _Incomplete:
    def __init__(self, matrix: csc_array, kind: Incomplete) -> None:
        self.lu: SuperLU | None = None
        try:
            self.lu = spilu(
                matrix,
                drop_tol=kind.drop_tol,
                fill_factor=kind.fill_factor,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except RuntimeError:  # exactly singular
            return

    def solve(self, b: np.ndarray, by_adjoint: bool = False) -> np.ndarray:
        """By the Hermitian part of the inverse, its own adjoint."""
        if self.lu is None:
            return np.full_like(b, np.nan)
        columns = (self.lu.solve(x) + self.lu.solve(x, trans="H") for x in b.T)
        return np.stack(list(columns), axis=1) / 2


def shift_below(values: Array, row: Array, column: Array, size: int) -> Array:
    """A number a little below the smallest eigenvalue of a Hermitian matrix, by a factorisation and few solves."""
    real = jnp.finfo(values.dtype).dtype
    return call_on_host(partial(_shift_below, size), jax.ShapeDtypeStruct((1,), real), values, row, column)[0]


def _shift_below(size: int, values: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    if not np.all(np.isfinite(values)):
        return np.array([np.nan])
    matrix = coo_array((values, (row, column)), shape=(size, size)).tocsc()
    diagonal, norms = matrix.diagonal().real, abs(matrix).sum(axis=1)
    far = float(np.max(norms))
    # By Gershgorin's circles no eigenvalue is below it.
    bound = float(np.min(diagonal + np.abs(diagonal) - norms)) - 1e-3 * far
    if far == 0 or size < 16:
        return np.array([bound if far > 0 else -1.0])
    factor = _Factor((matrix - _diagonal(np.full(size, bound, matrix.dtype))).tocsc(), kind="hermitian")
    inverse = LinearOperator((size, size), factor.solve, dtype=matrix.dtype)
    start = np.random.default_rng(0).normal(size=size).astype(matrix.dtype)
    theta = eigsh(inverse, k=1, which="LA", tol=1e-2, v0=start, return_eigenvectors=False)
    return np.array([bound + 0.99 / float(theta[0])])
