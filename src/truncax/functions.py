"""Functions of the kept part, exact at degeneracy because they are built on the subspaces."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .arguments import check_matrix, check_positive
from .entry import hermitian, singular
from .numerics.derivative import spectral_function, stationary
from .numerics.products import adjoint, matmul, times
from .numerics.tolerances import computing_dtype, tie_width
from .operators.convert import computing_operator
from .operators.operator import LinearOperator
from .operators.residual import squared_distance
from .operators.sparse import SparseOperator
from .operators.structure import Structure
from .operators.traced import traced
from .options import Implicit
from .results import InvariantSubspace, SingularSubspaces, TEighResult, TSVDResult
from .solvers.select import EighSolver, SvdSolver


def low_rank_approximation(
    a: Any,
    k: int,
    *,
    which: str = "LM",
    solver: SvdSolver | None = None,
    derivative: Implicit | None = None,
    v0: Any = None,
    key: Array | None = None,
    tol: Any = None,
    callback: Callable | None = None,
    on_failure: str = "raise",
    return_info: bool = False,
) -> Any:
    """The best approximation of rank k, ``U C Vh`` of ``singular_subspaces``, with a derivative that is exact at ties.

    Args:
        a: array (..., m, n), sparse matrix or operator on plain vectors, as for ``tsvd``; so are the options below.
        k: static int, 1 <= k <= min(m, n); best where ``info.cut_gap`` is not small.
        which: as for ``tsvd``; ``"SM"`` gives the part of the smallest values.
        solver: as for ``tsvd``.
        derivative: as for ``singular_subspaces``.
        v0: as for ``tsvd``.
        key: as for ``tsvd``.
        tol: as for ``tsvd``.
        callback: as for ``tsvd``.
        on_failure: as for ``tsvd``.
        return_info: also return a ``SolveInfo``.

    Returns:
        An array (..., m, n), or ``(array, info)``. It is dense: for a large operator keep the factors instead.

    Raises:
        ConvergenceError, ValueError, TypeError: as ``tsvd``. TypeError also for an operator on pytrees, whose
            approximation is no array.

    Derivative: forward and reverse mode, any order, exact for multiplets inside the kept block (``U * S @ Vh`` of
    ``tsvd`` is not). Undefined, NaN, where ``s_k = s_{k+1} > 0``. Kept zeros contribute ``U0 U0^H da V0 V0^H`` alone.

    Example:
        >>> import jax, jax.numpy as jnp, truncax
        >>> a = jnp.diag(jnp.array([3.0, 2.0, 2.0, 1.0, 0.5]))
        >>> gradient = jax.grad(lambda a: truncax.low_rank_approximation(a, 3)[1, 2])(a)
        >>> f"{gradient[1, 2]:.4f}"
        '1.0000'

    Source: Eckart and Young, Psychometrika 1 (1936); the derivative as ``singular_subspaces``.

    """
    _refuse_pytrees(a, "singular_subspaces", hermitian=False)
    (U, C, Vh), info = singular(a, k, which, solver, derivative, v0, key, tol, callback, on_failure, vectors=False)
    approximation = matmul(matmul(U, C), Vh)
    return (approximation, info) if return_info else approximation


def spectral_projector(
    a: Any,
    k: int,
    *,
    which: str = "LM",
    solver: EighSolver | None = None,
    derivative: Implicit | None = None,
    v0: Any = None,
    key: Array | None = None,
    tol: Any = None,
    callback: Callable | None = None,
    on_failure: str = "raise",
    return_info: bool = False,
) -> Any:
    """The orthogonal projector ``Q Q^H`` onto the k best eigenvectors of a Hermitian matrix.

    Args:
        a: array (..., n, n), sparse matrix or operator on plain vectors, as for ``teigh``; so are the options below.
        k: static int, 1 <= k <= n; best where ``info.cut_gap`` is not small.
        which: as for ``teigh``.
        solver: as for ``teigh``.
        derivative: as for ``invariant_subspace``.
        v0: as for ``teigh``.
        key: as for ``teigh``.
        tol: as for ``teigh``.
        callback: as for ``teigh``.
        on_failure: as for ``teigh``.
        return_info: also return a ``SolveInfo``.

    Returns:
        An array (..., n, n), or ``(array, info)``. It is dense: of ``P x`` for a large n, ``Q @ (Q^H @ x)`` with ``Q``
        of ``invariant_subspace`` is the cheap form.

    Raises:
        ConvergenceError, ValueError, TypeError: as ``teigh``. TypeError also for an operator on pytrees.

    Derivative: forward and reverse mode, any order, exact for multiplets inside the kept block:
    ``dP = X Q^H + Q X^H`` with X of ``invariant_subspace``. Undefined, NaN, where a discarded eigenvalue equals a
    kept one.

    Example:
        >>> import jax, jax.numpy as jnp, truncax
        >>> a = jnp.diag(jnp.array([2.0, 2.0, 1.0, 0.5]))
        >>> gradient = jax.grad(lambda a: truncax.spectral_projector(a, 2, which="LA")[0, 2])(a)
        >>> f"{gradient[0, 2]:.4f}"
        '0.5000'

    Source: Kato, Perturbation Theory for Linear Operators, section II.1.4 (analytic wherever the cut has a gap).

    """
    _refuse_pytrees(a, "invariant_subspace", hermitian=True)
    options = (solver, derivative, v0, key, tol, callback, on_failure)
    (Q, _), info = hermitian(a, k, None, None, which, None, None, *options, vectors=False)
    projector = matmul(Q, adjoint(Q))
    return (projector, info) if return_info else projector


def matrix_function(f: Any, H: Any) -> Array:
    """``f(H) = U diag(f(l)) U^H`` of a small Hermitian matrix, with derivatives that are exact at any split of values.

    With ``Q, H = invariant_subspace(a, k)``, ``Q @ matrix_function(f, H) @ Q^H`` is the function of the kept part of a.

    Args:
        f: a smooth function of one real number, written in JAX; it acts on each eigenvalue. Real or complex values. It
            may close over arrays.
        H: array (..., k, k), real symmetric or complex Hermitian; ``(H + H^H) / 2`` is used. Half precision is computed
            in float32, integers in the default float.

    Returns:
        An array (..., k, k), complex if H or f is.

    Raises:
        TypeError: f is no function, or does not return a floating-point or complex number.
        ValueError: f does not return one number; H is not square, or, where it is concrete, not Hermitian.
        NotImplementedError: a third derivative with respect to H.

    Derivative: first and second, forward and reverse mode, with respect to H and, to any order beside, to what f closes
    over. The first is ``U (f[l_i, l_j] o U^H dH U) U^H`` with divided differences: the quotient
    ``(f(l_i) - f(l_j)) / (l_i - l_j)`` where values are apart, the mean of f' between them (12 nodes) where they are
    close; f'(l) where they meet. f must be differentiable that often at the eigenvalues: ``sqrt`` at zero is not.

    Example:
        >>> import jax, jax.numpy as jnp, truncax
        >>> H = jnp.diag(jnp.array([1.0, 1.0, 2.0]))
        >>> gradient = jax.grad(lambda H: truncax.matrix_function(jnp.log, H)[0, 1])(H)
        >>> f"{gradient[0, 1]:.4f}"
        '0.5000'

    Source: Daleckii and Krein (1965), Higham, Functions of Matrices, SIAM 2008, chapter 3.

    """
    if not isinstance(H, jax.Array | np.ndarray):
        raise TypeError(f"H must be an array (..., k, k), got {type(H).__name__}")
    H = check_matrix(H, hermitian=True)
    if not callable(f):
        raise TypeError(f"f must be a function of one number, got {f!r}")
    dtype = computing_dtype(H.dtype)
    # As a vector of length one: a function that is traced takes a vector.
    function, returned = traced(f, "f", Structure.plain(1, jnp.finfo(dtype).dtype), ())
    if returned.size != 1:
        raise ValueError(f"f must return one number for each number, got {returned} for an array of shape (1,)")
    h = H.astype(dtype)
    _check_hermitian(h)
    of = partial(_spectral_function, jax.tree_util.Partial(_entry_by_entry, function))
    for _ in range(H.ndim - 2):
        of = jax.vmap(of)
    value = of(h)
    return value if dtype == H.dtype or jnp.iscomplexobj(value) else value.astype(H.dtype)


@partial(jax.jit, inline=True)
def _spectral_function(f: Any, h: Array) -> Array:
    return spectral_function(f, (h + adjoint(h)) / 2)


def discarded_weight(a: Any, result: Any, *, frobenius2: Any = None) -> Array:
    """``||A - U C Vh||_F^2``, the weight of what was discarded, accurate however small it is.

    Args:
        a: array (..., m, n), sparse matrix, or an operator, the one that ``result`` is of.
        result: what ``tsvd``, ``singular_subspaces``, ``teigh`` or ``invariant_subspace`` returned for ``a``, with the
            largest values kept or others.
        frobenius2: ``||A||_F^2``, for an operator whose rows are too many to be multiplied out, such as a function;
            may be traced, and is differentiated. Leave it out where ``a`` is at hand.

    Returns:
        A real scalar, or one for each member of the batch. From the residual in groups of rows, with a relative error
        of about ``eps ||A|| / ||A - U C Vh||``. With ``frobenius2`` it is ``frobenius2 - ||C||_F^2``, whose error is
        ``eps ||A||^2``: worthless below that.

    Raises:
        TypeError: another kind of ``result``; a function operator without ``frobenius2``.
        ValueError: shapes that do not fit; ``frobenius2`` that is no positive number.

    Derivative: forward and reverse mode, any order. The gradient is ``2 (A - U C Vh)`` (conjugated, as JAX has it):
    the result is stationary, so its own derivative enters from the second order on. Right where ``result`` is a
    converged one of ``a``, and at a tie at the cut a subgradient's negative: one of the possible limits.

    Example:
        >>> import jax, jax.numpy as jnp, truncax
        >>> a = jnp.diag(jnp.array([3.0, 2.0, 1.0, 1e-5]))
        >>> f"{truncax.discarded_weight(a, truncax.tsvd(a, 3)):.2e}"
        '1.00e-10'

    Source: Eckart and Young, Psychometrika 1 (1936).

    """
    a = check_matrix(a, hermitian=False)
    left, middle, right = _factors(result)
    if isinstance(a, LinearOperator):
        if a.domain is not None or a.codomain is not None:
            if frobenius2 is None:
                raise TypeError(_NEEDS_FROBENIUS)
        elif (jnp.shape(left)[0], jnp.shape(right)[1]) != a.shape:
            raise ValueError(_misfit(a, left, right))
    elif (*left.shape[:-1], right.shape[-1]) != a.shape:
        raise ValueError(_misfit(a, left, right))
    if frobenius2 is not None:
        frobenius2 = check_positive("frobenius2", frobenius2, a.dtype)
        return frobenius2 - jnp.sum(jnp.abs(middle) ** 2, axis=tuple(range(len(a.shape) - 2, middle.ndim)))
    if isinstance(a, LinearOperator) and not isinstance(a, SparseOperator):
        raise TypeError(_NEEDS_FROBENIUS)

    weight = _weight
    for _ in range(len(a.shape) - 2):
        weight = jax.vmap(weight)
    return weight(a, left, middle, right).astype(jnp.finfo(a.dtype).dtype)


@partial(jax.jit, inline=True)
def _weight(a: Array | SparseOperator, left: Array, middle: Array, right: Array) -> Array:
    left, middle, right = (x.astype(computing_dtype(x.dtype)) for x in (left, middle, right))
    left = times(left, middle) if middle.ndim == 1 else matmul(left, middle)
    return stationary(squared_distance, computing_operator(a, hermitian=False), (left, right))


_NEEDS_FROBENIUS = (
    "a is an operator whose entries are not at hand: pass frobenius2=, the squared Frobenius norm of a "
    "(or an array or a sparse matrix)"
)


def _misfit(a: Any, left: Any, right: Any) -> str:
    return f"result must be of a, of shape {a.shape}; got factors of shapes {jnp.shape(left)} and {jnp.shape(right)}"


def _factors(result: Any) -> tuple[Any, Array, Any]:
    """``(left, middle, right)`` with ``A ~ left middle right``."""
    if isinstance(result, TSVDResult | SingularSubspaces):
        return result[0], result[1], result[2]
    if isinstance(result, TEighResult):
        return result.eigenvectors, result.eigenvalues, _rows(result.eigenvectors)
    if isinstance(result, InvariantSubspace):
        return result.Q, result.H, _rows(result.Q)
    raise TypeError(
        "result must be what tsvd, teigh, singular_subspaces or invariant_subspace returned, "
        f"got {type(result).__name__}"
    )


def _rows(columns: Any) -> Any:
    return adjoint(columns) if isinstance(columns, jax.Array) and columns.ndim >= 2 else columns


def _refuse_pytrees(a: Any, instead: str, *, hermitian: bool) -> None:
    a = check_matrix(a, hermitian=hermitian)
    structures = (a.domain, a.codomain) if isinstance(a, LinearOperator) else ()
    if not all(x is None or x.is_plain for x in structures):
        raise TypeError(f"a is an operator on pytrees, and this function returns an array: use truncax.{instead}")


def _entry_by_entry(function: Any, x: Array) -> Array:
    return jax.vmap(lambda number: function(number[None])[0])(x.reshape(-1)).reshape(x.shape)


def _check_hermitian(h: Array) -> None:
    """Raise where values are concrete and the two triangles contradict each other."""
    try:
        largest, defect = (float(jnp.max(jnp.abs(x), initial=0)) for x in (h, h - adjoint(h)))
    except jax.errors.ConcretizationTypeError:
        return
    if defect > tie_width(h.dtype) * largest:
        raise ValueError(
            f"H must be Hermitian, got a matrix that differs from its conjugate transpose by {defect:.1e}; "
            "pass (H + H^H) / 2 if that is what you mean"
        )
