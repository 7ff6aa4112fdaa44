"""Where to cut a spectrum with multiplets: the k that ends at a gap, and a mask of the columns that do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .arguments import check_matrix, check_positive, check_rank
from .decompositions import teigh, tsvd
from .numerics.tolerances import computing_dtype, tie_width
from .results import SolveInfo
from .solvers.select import EighSolver, SvdSolver

_SIDES = ("above", "below")


def complete_multiplet(
    a: Any,
    k: int,
    rtol: Any = None,
    *,
    side: str = "above",
    hermitian: bool = False,
    which: str = "LM",
    solver: SvdSolver | EighSolver | None = None,
    key: Array | None = None,
    tol: Any = None,
) -> int:
    """The k next to the given one at which the cut falls into a gap, so that no multiplet is split.

    Outside jit only, for the result is a shape. The decomposition of that k has a subspace with a well-defined
    derivative. Inside jit: ``mask_multiplet``.

    Args:
        a: one matrix (m, n), sparse matrix or operator, as for ``tsvd`` or ``teigh``; concrete.
        k: 1 <= k <= min(m, n).
        rtol: values that differ by less than this times the largest one belong together; default ``sqrt(eps)``, 1e-8
            and 3e-4: at that gap a derivative has half of the digits.
        side: ``"above"``, the smallest such number that is k or more; ``"below"``, the largest that is k or less.
        hermitian: False for singular values, True for the eigenvalues of a Hermitian matrix.
        which: as for ``tsvd`` or ``teigh``. Under ``"LM"`` eigenvalues l and -l belong together: which of them is
            kept is not determined.
        solver: as for ``tsvd`` or ``teigh``.
        key: as for ``tsvd``.
        tol: as for ``tsvd``.

    Returns:
        An int.

    Raises:
        TypeError: ``a`` is traced. ValueError: no such number, as for a zero matrix below k; more than two dimensions.
        ConvergenceError, ValueError, TypeError: as ``tsvd`` and ``teigh``.

    Derivative: none, the result is an int.

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> a = jnp.diag(jnp.array([3.0, 2.0, 2.0, 2.0, 1.0, 0.5]))
        >>> truncax.complete_multiplet(a, 2), truncax.complete_multiplet(a, 2, side="below")
        (4, 1)

    Source: to complete a multiplet is the advice of KrylovKit, issue 110, and of MatrixAlgebraKit, issue 101.

    """
    given = check_matrix(a, hermitian=hermitian)
    if len(given.shape) != 2:
        raise ValueError(f"a must be one matrix, got shape {given.shape}: each of a batch has a k of its own")
    k = check_rank(k, given.shape)
    if side not in _SIDES:
        raise ValueError(f"side must be one of {', '.join(map(repr, _SIDES))}, got {side!r}")
    width, size = _width(rtol, computing_dtype(given.dtype)), min(given.shape)
    decompose: Callable[..., Any] = teigh if hermitian else tsvd
    # One more than k: its own distance from the next is known to a tenth only.
    count = min(k + 1, size)
    while True:
        _, info = decompose(a, count, which=which, solver=solver, key=key, tol=tol, return_info=True)
        try:
            ends = 1 + np.flatnonzero(np.asarray(info.gaps > width))
        except jax.errors.TracerArrayConversionError:
            raise TypeError(
                "a must be concrete here, since the result is a shape: call complete_multiplet outside jit, or use "
                "mask_multiplet inside"
            ) from None
        fitting = ends[ends <= k][::-1] if side == "below" else ends[ends >= k]
        if fitting.size:
            return int(fitting[0])
        if side == "below" or count == size:
            raise ValueError(
                f"no gap above rtol={float(width):.1e} at k={k} or {side}: lower rtol"
                + (", or ask for side='above'" if side == "below" else "")
            )
        count = min(2 * count, size)


def mask_multiplet(info: SolveInfo, rtol: Any = None) -> Array:
    """Ones for the kept columns up to the last gap, zeros for the rest: those of a multiplet that the cut splits.

    For use inside jit, where k is fixed. ``jnp.where(mask > 0, S, 0)`` and the like leave the split multiplet out of a
    loss, whose gradient is then well defined.

    Args:
        info: what ``return_info=True`` gives.
        rtol: as for ``complete_multiplet``; may be traced.

    Returns:
        An array (..., k) of the dtype of the values; all zeros where nothing kept ends at a gap. Works under jit and
        vmap.

    Raises:
        TypeError: ``info`` is no ``SolveInfo``. ValueError: ``rtol`` that is not positive.

    Derivative: zero. That of a masked loss of ``tsvd`` or ``teigh`` (projectors, ``U Vh``, ``sum f(S)``) is exact in
    reverse mode; in forward mode it is NaN at an exact tie, where the dropped columns have no tangent. Mask no columns
    of ``singular_subspaces`` or ``invariant_subspace``, whose derivative does not tell columns apart: take
    ``matrix_function`` of a step, ``lambda x: jnp.where(x > c, x, 0)`` with c in the gap.

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> a = jnp.diag(jnp.array([3.0, 2.0, 2.0, 2.0, 1.0, 0.5]))
        >>> _, info = truncax.tsvd(a, 3, return_info=True)
        >>> truncax.mask_multiplet(info).tolist()
        [1.0, 0.0, 0.0]

    Source: as ``complete_multiplet``.

    """
    if not isinstance(info, SolveInfo):
        raise TypeError(f"info must be the SolveInfo of return_info=True, got {type(info).__name__}")
    ends = (info.gaps > _width(rtol, info.gaps.dtype)).astype(info.gaps.dtype)
    return lax.cummax(ends, axis=ends.ndim - 1, reverse=True)


def _width(rtol: Any, dtype: Any) -> Array:
    width = check_positive("rtol", rtol, dtype)
    return jnp.asarray(tie_width(dtype), jnp.finfo(dtype).dtype) if width is None else width
