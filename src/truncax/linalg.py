"""The signatures of ``jax.numpy.linalg``, plus ``k``: change the import, add ``k=16``.

Results have the names, the shapes and the order of ``jnp.linalg``: with k, of a slice of its result. Without k all
values are computed and returned, by the same routines, and the derivative is finite at equal values, where that of
``jnp.linalg`` is NaN.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .arguments import check_matrix, check_which
from .decompositions import teigh, tsvd
from .numerics.derivative import value_by, with_tangent_of
from .numerics.products import adjoint
from .numerics.tolerances import computing_dtype
from .operators.operator import LinearOperator
from .options import Dense, Implicit
from .results import TEighResult, TSVDResult


class Options(TypedDict, total=False):
    """The options of ``truncax.tsvd`` and ``truncax.teigh`` that may stand beside ``k``."""

    solver: Any
    derivative: Implicit | None
    v0: Any
    key: Array | None
    tol: Any
    callback: Callable | None
    on_failure: str


def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
    subset_by_index: tuple[int, int] | None = None,
    *,
    k: int | None = None,
    **options: Unpack[Options],
) -> Any:
    """The singular value decomposition, or its k largest triplets: ``jnp.linalg.svd`` plus ``k``.

    ``a = U @ diag(S) @ Vh``; with k the best approximation of that rank.

    Args:
        a: array (..., m, n); with k also whatever ``truncax.tsvd`` takes.
        full_matrices: without k as in ``jnp.linalg.svd``; where a is not square its result is returned, which has no
            derivative. With k, or beside a part in ``subset_by_index``, it has no meaning and is ignored.
        compute_uv: whether to return the vectors too.
        hermitian: whether a is Hermitian; an array is symmetrised first, ``(a + a^H) / 2``.
        subset_by_index: ``(i, j)``, the triplets from i to j - 1 of all, counted from the largest. As many as ``k=j``
            are computed. ``jnp.linalg`` has it on some devices only.
        k: static int, 1 <= k <= min(m, n), the number of triplets; all of them by default.
        **options: beside k or a part, ``solver``, ``derivative``, ``v0``, ``key``, ``tol``, ``callback`` and
            ``on_failure`` of ``truncax.tsvd`` (of ``truncax.teigh`` if ``hermitian``); without it ``derivative`` only.

    Returns:
        ``TSVDResult(U, S, Vh)`` with shapes (..., m, k), (..., k), (..., k, n), or ``S`` if not ``compute_uv``. S
        descends.

    Raises:
        ValueError, TypeError: a bad argument.
        ConvergenceError: with k, as ``truncax.tsvd``. Without k nothing is raised for what is not finite: the result
            is NaN, as that of ``jnp.linalg.svd``.

    Derivative: that of ``truncax.tsvd``. Without k too: finite at equal values and zero values, where
    ``jnp.linalg.svd`` gives NaN, and right there to first order for what does not depend on the basis inside a
    multiplet (``U U^H``, ``U Vh``, ``sum f(S)``).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from truncax import linalg
        >>> a = jnp.diag(jnp.array([3.0, 2.0, 2.0, 1.0]))
        >>> U, S, Vh = linalg.svd(a, full_matrices=False, k=3)
        >>> S.tolist()
        [3.0, 2.0, 2.0]
        >>> jax.grad(lambda a: jnp.sum(linalg.svd(a).Vh[:3] ** 2))(a).shape
        (4, 4)

    Source: the signature is that of ``jax.numpy.linalg.svd``.

    """
    if k is not None and subset_by_index is not None:
        raise ValueError(f"k={k!r} and subset_by_index={subset_by_index!r} say the same: leave one out")
    if not isinstance(full_matrices, bool | np.bool_):
        raise TypeError(
            f"full_matrices must be a bool, got {full_matrices!r}; the number of triplets is k=..., by name"
        )
    a = _matrix(a, k if subset_by_index is None else subset_by_index, square=hermitian)
    limit = min(a.shape[-2:])
    first, count = (0, k) if subset_by_index is None else _subset(subset_by_index, limit)
    _check_options(count, options)
    if count is None:
        thin = not full_matrices or not compute_uv or hermitian or a.shape[-1] == a.shape[-2]
        if not thin and options:
            raise ValueError(
                f"derivative has no use for all of U and Vh of a matrix of shape {a.shape}, which jnp computes and "
                "does not differentiate: say full_matrices=False, or leave derivative out"
            )
        if 0 in a.shape or not thin:
            return _by_jnp(a, full_matrices=full_matrices, compute_uv=compute_uv, hermitian=hermitian)
        options = _as_jnp(options)
        if not compute_uv and not hermitian and "derivative" not in options:
            values = partial(_by_jnp, full_matrices=False, compute_uv=False)
            return value_by(values, lambda a: tsvd(a, limit, **options).S, a)
    rank = limit if count is None else count
    result = _hermitian_svd(a, rank, options) if hermitian else tsvd(a, rank, **options)
    if first:
        result = TSVDResult(result.U[..., first:], result.S[..., first:], result.Vh[..., first:, :])
    return result if compute_uv else result.S


def svdvals(x: Any, /, *, k: int | None = None, **options: Unpack[Options]) -> Array:
    """The singular values, or the k largest: ``jnp.linalg.svdvals`` plus ``k``.

    Args:
        x: as ``a`` of ``svd``.
        k: static int, 1 <= k <= min(m, n); all of them by default.
        **options: as for ``svd``.

    Returns:
        ``S`` (..., k), descending.

    Raises:
        ValueError, TypeError, ConvergenceError: as ``svd``.

    Derivative: ``dS = Re diag(U^H da V)``, as of ``svd``.

    Example:
        >>> import jax.numpy as jnp
        >>> from truncax import linalg
        >>> linalg.svdvals(jnp.diag(jnp.arange(1.0, 5.0)), k=2).tolist()
        [4.0, 3.0]

    Source: the signature is that of ``jax.numpy.linalg.svdvals``.

    """
    S: Array = svd(x, full_matrices=False, compute_uv=False, k=k, **options)
    return S


def eigh(
    a: Any,
    UPLO: str | None = None,
    symmetrize_input: bool = True,
    *,
    k: int | None = None,
    which: str | None = None,
    **options: Unpack[Options],
) -> TEighResult:
    """The eigenpairs of a Hermitian matrix, or k of them from one end: ``jnp.linalg.eigh`` plus ``k`` and ``which``.

    ``a @ eigenvectors = eigenvectors * eigenvalues``.

    Args:
        a: array (..., n, n); with k also whatever ``truncax.teigh`` takes.
        UPLO: ``"L"`` (the default) or ``"U"``, the triangle of a that is read if not ``symmetrize_input``.
        symmetrize_input: whether ``(a + a^H) / 2`` is decomposed; else one triangle is read, and tangents are
            symmetrised all the same.
        k: static int, 1 <= k <= n; all pairs by default.
        which: with k, ``"LA"`` for the largest eigenvalues or ``"SA"`` for the smallest; it must be given.
        **options: beside k, ``solver``, ``derivative``, ``v0``, ``key``, ``tol``, ``callback`` and ``on_failure`` of
            ``truncax.teigh``; without it ``derivative`` only.

    Returns:
        ``TEighResult(eigenvalues, eigenvectors)`` with shapes (..., k), (..., n, k). Eigenvalues ascend, under
        ``"LA"`` too: ``jnp.linalg.eigh(a)`` sliced by ``[-k:]`` or ``[:k]``.

    Raises:
        ValueError, TypeError: a bad argument.
        ConvergenceError: with k, as ``truncax.teigh``. Without k what is not finite gives NaN.

    Derivative: that of ``truncax.teigh``, also without k: finite at equal eigenvalues, where ``jnp.linalg.eigh`` gives
    NaN, and right there to first order for what does not depend on the basis inside a multiplet.

    Example:
        >>> import jax.numpy as jnp
        >>> from truncax import linalg
        >>> a = jnp.diag(jnp.array([3.0, 1.0, 4.0, 2.0]))
        >>> values, vectors = linalg.eigh(a, k=2, which="LA")
        >>> values.tolist()
        [3.0, 4.0]

    Source: the signature is that of ``jax.numpy.linalg.eigh``.

    """
    _check_options(k, options)
    if UPLO not in (None, "L", "U"):
        raise ValueError(f"UPLO must be one of None, 'L' or 'U', got {UPLO!r}")
    if k is None and which is not None:
        raise ValueError(f"which={which!r} has no use without k: all pairs are returned")
    if k is not None and which is None:
        raise ValueError("which must be 'LA', the largest, or 'SA', the smallest eigenvalues, beside k")
    if k is not None and which in ("LM", "BE"):
        raise ValueError(f"which must be 'LA' or 'SA' here, whose results ascend: truncax.teigh has which={which!r}")
    end = "SA" if which is None else check_which(which, ("LA", "SA"))
    a = _matrix(a, k, square=True)
    if k is None and 0 in a.shape:
        return TEighResult(*jnp.linalg.eigh(a, UPLO, symmetrize_input))
    chosen = _as_jnp(options) if k is None else options
    a = _hermitian(a, lower=UPLO != "U", symmetrize=symmetrize_input)
    values, Q = teigh(a, a.shape[-1] if k is None else k, which=end, **chosen)
    return TEighResult(values, Q) if end == "SA" else TEighResult(values[..., ::-1], Q[..., ::-1])


def eigvalsh(
    a: Any,
    UPLO: str | None = "L",
    *,
    symmetrize_input: bool = True,
    k: int | None = None,
    which: str | None = None,
    **options: Unpack[Options],
) -> Array:
    """The eigenvalues of a Hermitian matrix, or k from one end: ``jnp.linalg.eigvalsh`` plus ``k`` and ``which``.

    Args:
        a: as for ``eigh``.
        UPLO: as for ``eigh``.
        symmetrize_input: as for ``eigh``.
        k: as for ``eigh``.
        which: as for ``eigh``.
        **options: as for ``eigh``.

    Returns:
        The eigenvalues (..., k), ascending.

    Raises:
        ValueError, TypeError, ConvergenceError: as ``eigh``.

    Derivative: ``dl = Re diag(Q^H da Q)``, as of ``eigh``.

    Example:
        >>> import jax.numpy as jnp
        >>> from truncax import linalg
        >>> linalg.eigvalsh(jnp.diag(jnp.arange(1.0, 5.0)), k=2, which="SA").tolist()
        [1.0, 2.0]

    Source: the signature is that of ``jax.numpy.linalg.eigvalsh``.

    """
    return eigh(a, UPLO, symmetrize_input, k=k, which=which, **options).eigenvalues


def _check_options(k: Any, options: Any) -> None:
    allowed = list(Options.__annotations__)
    for name in options:
        if name not in allowed:
            raise TypeError(f"{name} is no argument of this function; beside k there are {', '.join(allowed)}")
        if k is None and name != "derivative":
            raise ValueError(f"{name} has no use without k: all values are computed; give k or leave {name} out")


def _matrix(a: Any, some: Any, *, square: bool) -> Any:
    """What to decompose, integers in the dtype that jnp takes for them; all of it only if it is an array."""
    if isinstance(a, jax.Array | np.ndarray) and a.dtype.kind in "biu":
        a = jnp.asarray(a, jax.eval_shape(jnp.sqrt, a).dtype)
    a = check_matrix(a, hermitian=square)
    if some is None and isinstance(a, LinearOperator):
        raise TypeError("without k only an array is decomposed: give k, or a.as_matrix()")
    return a


def _subset(given: Any, limit: int) -> tuple[int, int | None]:
    """The first index and the number of triplets that it takes; None for all of them."""
    try:
        first, end = (operator.index(i) for i in given if not isinstance(i, bool))
    except (TypeError, ValueError):
        raise TypeError(f"subset_by_index must be a pair of ints (i, j), got {given!r}") from None
    if (first, end) == (0, limit):
        return 0, None
    if not 0 <= first < end <= limit:
        raise ValueError(f"subset_by_index must be (i, j) with 0 <= i < j <= min(m, n) = {limit}, got {given!r}")
    return first, end


def _as_jnp(options: Any) -> Any:
    """The options under which all values are computed as ``jnp.linalg`` does: NaN comes back as NaN."""
    return {**options, "solver": Dense(), "on_failure": "nan"}


def _by_jnp(a: Array, **arguments: Any) -> Any:
    """``jnp.linalg.svd``, of half precision too."""
    result = jnp.linalg.svd(a.astype(computing_dtype(a.dtype)), **arguments)
    return result if computing_dtype(a.dtype) == a.dtype else jax.tree.map(lambda x: x.astype(a.dtype), result)


def _hermitian_svd(a: Any, k: int, options: Any) -> TSVDResult:
    """``a = Q diag(l) Q^H`` with the signs of l on the right."""
    values, Q = teigh(_hermitian(a, lower=True, symmetrize=True), k, which="LM", **options)
    signs = jnp.where(values < 0, -1, 1)
    return TSVDResult(Q, values * signs.astype(values.dtype), adjoint(Q * signs[..., None, :].astype(Q.dtype)))


def _hermitian(a: Any, *, lower: bool, symmetrize: bool) -> Any:
    """The Hermitian array that is meant, with the tangents of ``a``; an operator is Hermitian by itself."""
    if isinstance(a, LinearOperator):
        if not symmetrize:
            raise ValueError(
                "symmetrize_input=False reads one triangle of an array, and a is an operator: leave it out"
            )
        return a
    if symmetrize:
        return a / 2 + adjoint(a) / 2
    inside, beside = (jnp.tril, -1) if lower else (jnp.triu, 1)
    triangle = inside(a, beside)
    diagonal = (inside(a) - triangle).real.astype(a.dtype)
    return with_tangent_of(triangle + adjoint(triangle) + diagonal, a)
