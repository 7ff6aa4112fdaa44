"""Preconditioners for ``LOBPCG`` and ``Implicit``: approximate inverses of ``a - shift`` for the smallest eigenpairs.

For the largest ones make them of ``-a``, with ``-shift``; for ``a x = l b x`` of ``a - s b``. Each is a function of a
block of columns (n, p) and a pytree: make it inside or outside of ``jax.jit``. Nothing here has a derivative; what a
preconditioner decides is the number of steps, not the result.
"""

from __future__ import annotations

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import cho_solve

from .numerics.products import times
from .operators.convert import computing_operator, given_matrix
from .operators.entries import entries, inside
from .operators.host_factors import Incomplete, SparseLU, shift_below
from .operators.operator import LinearOperator, frozen

__all__ = ["chebyshev", "cholesky", "incomplete_lu", "jacobi", "sparse_lu"]


def jacobi(a: Any, *, shift: Any = 0.0) -> Any:
    """The inverse of the diagonal: ``1 / |a_ii - shift|``, for matrices whose diagonal varies a lot.

    Args:
        a: Hermitian array or sparse matrix (n, n), or an operator made of them.
        shift: a real number, next to the smallest eigenvalue; best below it. May be traced.

    Returns:
        A function of a block of columns, a pytree.

    Raises:
        TypeError, ValueError: an operator that has no entries to tell; a matrix that is not square.

    Derivative: none.

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> a = jnp.diag(jnp.arange(1.0, 101)) + 0.1
        >>> solver = truncax.LOBPCG(preconditioner=truncax.preconditioners.jacobi(a))
        >>> [f"{l:.1f}" for l in truncax.teigh(a, 2, which="SA", solver=solver).eigenvalues]
        ['1.1', '2.1']

    Source: Davidson, J. Comput. Phys. 17 (1975).

    """
    operator = _matrix(a)
    found = entries(operator)
    if found is None:
        diagonal = jnp.diagonal(_dense(operator, "jacobi"))
    else:
        values, row, column = found
        diagonal = jnp.zeros(operator.shape[0], operator.dtype).at[row].add(jnp.where(row == column, values, 0))
    distance = jnp.abs(diagonal.real - _shift(shift, operator))
    return jax.tree_util.Partial(_rows_times, 1 / jnp.where(distance > 0, distance, 1))


def cholesky(a: Any, *, shift: Any = 0.0) -> Any:
    """The inverse of a dense ``a - shift``, by its Cholesky factor; also of a matrix that only resembles ``a``.

    Args:
        a: Hermitian array (n, n).
        shift: a real number below the smallest eigenvalue. May be traced.

    Returns:
        A function of a block of columns, a pytree.

    Raises:
        ValueError: where values are concrete: ``a - shift`` is not positive definite. (Traced: results are NaN.)
        TypeError, ValueError: a sparse matrix; a matrix that is not square.

    Derivative: none.

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> a = jnp.diag(jnp.arange(1.0, 101)) + 0.1
        >>> solver = truncax.LOBPCG(preconditioner=truncax.preconditioners.cholesky(a, shift=0.9))
        >>> [f"{l:.1f}" for l in truncax.teigh(a, 2, which="SA", solver=solver).eigenvalues]
        ['1.1', '2.1']

    Source: Golub and Van Loan, Matrix Computations, 4.2.

    """
    operator = _matrix(a)
    matrix = _dense(operator, "cholesky")
    one = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    lower = jnp.linalg.cholesky(matrix - times(one, _shift(shift, operator)))
    with contextlib.suppress(jax.errors.ConcretizationTypeError):
        if not bool(jnp.all(jnp.isfinite(lower))):
            raise ValueError("a - shift must be Hermitian and positive definite: choose shift below its spectrum")
    return jax.tree_util.Partial(_solved_by_cholesky, lower)


def sparse_lu(a: Any, *, shift: Any = None) -> Any:
    """The inverse of a sparse ``a - shift``, by SciPy's SuperLU on the host; the factors are kept there.

    The best one where the factors fit into memory, two-dimensional grids above all.

    Args:
        a: Hermitian sparse matrix (``BCOO``, ``BCSR``, SciPy's), or an operator made of them and of ``diagonal``.
        shift: a real number below the smallest eigenvalue, the nearer the fewer steps. May be traced. None: one is
            found, at the price of a second factorisation and some solves, 1 % of the way from Gershgorin's bound
            below the smallest eigenvalue.

    Returns:
        A function of a block of columns, a pytree.

    Raises:
        TypeError, ValueError: an array, or an operator that has no entries to tell; a matrix that is not square.

    Derivative: none.

    Example:
        >>> import scipy.sparse, truncax
        >>> a = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(200, 200)).tocsr()
        >>> solver = truncax.LOBPCG(preconditioner=truncax.preconditioners.sparse_lu(a))
        >>> [f"{l:.6f}" for l in truncax.teigh(a, 2, which="SA", solver=solver).eigenvalues]
        ['0.000244', '0.000977']

    Source: Li, ACM Trans. Math. Softw. 31 (2005), for SuperLU.

    """
    operator, (values, row, column) = _sparse(a, "sparse_lu")
    n = operator.shape[0]
    below = shift_below(values, row, column, n) if shift is None else _shift(shift, operator)
    return jax.tree_util.Partial(
        SparseLU.solve, SparseLU.of(*_minus(values, row, column, below, n), n, kind="hermitian")
    )


def incomplete_lu(a: Any, *, shift: Any = 0.0, drop_tol: float = 1e-3, fill_factor: float = 10.0) -> Any:
    """An approximate inverse of a sparse ``a - shift``, by SciPy's incomplete LU on the host, made Hermitian.

    For matrices whose full factors are too large, three-dimensional grids above all. ``(M^-1 + M^-H) / 2`` of the
    factors ``M = L U`` is Hermitian, and positive definite if M is near enough to ``a - shift``: where derivatives do
    not converge it is not, and ``drop_tol`` must be smaller.

    Args:
        a: Hermitian sparse matrix, as for ``sparse_lu``.
        shift: a real number below the smallest eigenvalue. May be traced.
        drop_tol: entries of the factors below this, relative to their column, are dropped.
        fill_factor: the most entries of the factors, relative to those of ``a``.

    Returns:
        A function of a block of columns, a pytree.

    Raises:
        TypeError, ValueError: as ``sparse_lu``; ``drop_tol`` or ``fill_factor`` not a positive number.

    Derivative: none.

    Example:
        >>> import scipy.sparse, truncax
        >>> a = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(200, 200)).tocsr()
        >>> solver = truncax.LOBPCG(preconditioner=truncax.preconditioners.incomplete_lu(a))
        >>> [f"{l:.6f}" for l in truncax.teigh(a, 2, which="SA", solver=solver).eigenvalues]
        ['0.000244', '0.000977']

    Source: Li and Shao, ACM Trans. Math. Softw. 37 (2011).

    """
    for name, value in (("drop_tol", drop_tol), ("fill_factor", fill_factor)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a positive number, got {value!r}")
    operator, found = _sparse(a, "incomplete_lu")
    n = operator.shape[0]
    shifted = _minus(*found, _shift(shift, operator), n)
    kind = Incomplete(float(drop_tol), float(fill_factor))
    return jax.tree_util.Partial(SparseLU.solve, SparseLU.of(*shifted, n, kind=kind))


def chebyshev(a: Any, *, shift: Any = 0.0, degree: int = 16, lower: Any = None, upper: Any = None) -> Any:
    """A polynomial in ``a`` that approximates the inverse of ``a - shift``: no entries, no factors, on every device.

    For operators that only multiply, grids on a GPU above all. ``degree`` products make one application, with
    ``K = (1 - p(a)) (a - shift)^-1``, where p is the Chebyshev polynomial of ``[lower, upper]`` that is one at
    ``shift``. It is positive definite if the spectrum lies between ``shift`` and ``upper``.

    Args:
        a: Hermitian array, sparse matrix or operator (n, n).
        shift: a real number below the smallest eigenvalue. May be traced.
        degree: the number of products, at least 1.
        lower: where the approximation begins to be good; default ``shift + (upper - shift) (2 / degree)^2``.
        upper: a bound above the largest eigenvalue; by default from ten steps of the Lanczos process.

    Returns:
        A function of a block of columns, a pytree.

    Raises:
        TypeError, ValueError: a matrix that is not square; a ``degree`` that is no positive int.

    Derivative: none.

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> a = 2 * jnp.eye(200) - jnp.eye(200, k=1) - jnp.eye(200, k=-1)
        >>> solver = truncax.LOBPCG(preconditioner=truncax.preconditioners.chebyshev(a))
        >>> [f"{l:.5f}" for l in truncax.teigh(a, 2, which="SA", solver=solver).eigenvalues]
        ['0.00024', '0.00098']

    Source: Saad, Iterative Methods for Sparse Linear Systems, 2003, section 12.3.

    """
    if isinstance(degree, bool) or not isinstance(degree, int) or degree < 1:
        raise ValueError(f"degree must be a positive int, got {degree!r}")
    operator = _matrix(a)
    shift = _shift(shift, operator)
    high = _largest(operator) if upper is None else _shift(upper, operator)
    low = shift + (high - shift) * (2 / max(degree, 3)) ** 2 if lower is None else _shift(lower, operator)
    return jax.tree_util.Partial(_chebyshev, operator, shift, low, high, jnp.arange(degree - 1, dtype=jnp.int32))


def _chebyshev(operator: LinearOperator, shift: Array, low: Array, high: Array, steps: Array, r: Array) -> Array:
    center, half = (low + high) / 2 - shift, (high - low) / 2
    ratio = center / half

    def step(carry: Any, _: Array) -> tuple[Any, None]:
        x, d, r, rho = carry
        r = r - (operator.apply(d) - times(d, shift))
        new = 1 / (2 * ratio - rho)
        d = times(d, new * rho) + times(r, 2 * new / half)
        return (x + d, d, r, new), None

    d = times(r, 1 / center)
    return lax.scan(step, (d, d, r, 1 / ratio), steps)[0][0]


def _largest(operator: LinearOperator, steps: int = 10) -> Array:
    """A bound above the largest eigenvalue, in practice: the largest Ritz value and its residual."""
    n, dtype = operator.shape[0], operator.dtype
    q = jax.random.normal(jax.random.key(0, impl="threefry2x32"), (n,), dtype)
    q, before, beta = times(q, 1 / jnp.linalg.norm(q)), jnp.zeros_like(q), jnp.zeros((), jnp.finfo(dtype).dtype)
    alphas: list[Array] = []
    betas: list[Array] = []
    for _ in range(min(steps, n)):
        w = operator.apply(q) - times(before, beta)
        alpha = jnp.vdot(q, w, precision=lax.Precision.HIGHEST).real
        w = w - times(q, alpha)
        beta = jnp.linalg.norm(w)
        alphas, betas = [*alphas, alpha], [*betas, beta]
        before, q = q, times(w, 1 / jnp.where(beta > 0, beta, 1))
    off = jnp.stack(betas[:-1]) if len(betas) > 1 else jnp.zeros((0,), beta.dtype)
    T = jnp.diag(jnp.stack(alphas)) + jnp.diag(off, 1) + jnp.diag(off, -1)
    return jnp.linalg.eigvalsh(T)[-1] + betas[-1]


def _matrix(a: Any) -> LinearOperator:
    a = given_matrix(a, hermitian=True)
    if len(a.shape) != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(f"a must be one square matrix, got shape {a.shape}; map a batch with jax.vmap")
    return frozen(inside(computing_operator(a, hermitian=True)))


def _dense(operator: LinearOperator, name: str) -> Array:
    if operator.opaque or entries(operator) is not None:
        raise TypeError(f"{name} needs an array, got {type(operator).__name__}")
    return operator.as_matrix()


def _sparse(a: Any, name: str) -> tuple[LinearOperator, tuple[Array, Array, Array]]:
    operator = _matrix(a)
    found = entries(operator)
    if found is None:
        raise TypeError(
            f"{name} needs a sparse matrix, or an operator made of such, got {type(operator).__name__}; for an array "
            "use cholesky, for an operator that only multiplies chebyshev"
        )
    return operator, found


def _shift(shift: Any, operator: LinearOperator) -> Array:
    return lax.stop_gradient(jnp.asarray(shift, jnp.finfo(operator.dtype).dtype))


def _minus(values: Array, row: Array, column: Array, shift: Array, n: int) -> tuple[Array, Array, Array]:
    index = jnp.arange(n, dtype=jnp.int32)
    diagonal = times(jnp.ones(n, values.dtype), -shift)
    return jnp.concatenate([values, diagonal]), jnp.concatenate([row, index]), jnp.concatenate([column, index])


def _rows_times(factor: Array, x: Array) -> Array:
    return times(x.T, factor).T


def _solved_by_cholesky(lower: Array, x: Array) -> Array:
    return cho_solve((lower, True), x)
