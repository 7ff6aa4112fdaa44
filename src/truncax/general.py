"""The public decomposition of general matrices: what it promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax import Array

from .entry import general
from .options import Implicit
from .results import TEigLeftResult, TEigResult
from .solvers.select import EigSolver


def teig(
    a: Any,
    k: int,
    *,
    which: str = "LM",
    sigma: Any = None,
    inverse: Any = None,
    left: bool = False,
    solver: EigSolver | None = None,
    derivative: Implicit | None = None,
    v0: Any = None,
    key: Array | None = None,
    tol: Any = None,
    callback: Callable | None = None,
    on_failure: str = "raise",
    return_info: bool = False,
) -> Any:
    """The k best eigenpairs of a general square matrix, and their exact derivative.

    ``a @ eigenvectors = eigenvectors * eigenvalues`` with unit columns, from an iterative solver that multiplies by a
    only; nothing is asked of a, which need not be normal. Eigenvalues and vectors are complex, of a real matrix too.

    Args:
        a: array (..., n, n), real or complex; leading axes are a batch; or a sparse matrix or an operator, such as a
            Jacobian by ``linear_operator(lambda v: jax.jvp(f, (x,), (v,))[1], like=x)``; dtypes as ``tsvd``.
        k: static int, 1 <= k <= n. Where it parts a conjugate pair of a real matrix, the member with the positive
            imaginary part is kept, which comes first in every pair.
        which: best first: ``"LM"`` largest magnitude, ``"LR"`` largest and ``"SR"`` smallest real part, ``"LI"``
            largest and ``"SI"`` smallest imaginary part; in magnitude if a is real, whose pairs belong together, else
            with its sign. ``"SI"`` of a real matrix asks for values inside of the spectrum: expect many products, and a
            derivative whose solve often fails (NaN); ``sigma`` serves there.
            ``"SM"`` smallest magnitude, the same as ``sigma=0``.
        sigma: the pairs next to this number, by the inverse of ``a - sigma``; complex for a complex a only; may be
            traced, has no derivative. ``which`` then refers to ``theta = 1 / (l - sigma)``: ``"LM"`` the nearest. So do
            ``tol``, ``degeneracy_rtol``, the residuals and gaps of ``SolveInfo``; its ``products`` count solves. An
            array is factorised by LU, a sparse matrix by SciPy's LU on the host.
        inverse: for an operator that only multiplies, or in place of those factors: a function of one vector, or a
            ``LinearOperator``, that solves ``(a - sigma) x = y`` to ``sqrt(eps)`` or better. It decides the accuracy
            of the result and is not differentiated: the derivative is that of the equation.
        left: also return the left eigenvectors. They take one more solve, by a and its adjoint, and then the gradient
            of the eigenvalues takes none.
        solver: ``Arnoldi(...)``, ``Dense()``, or SciPy's ``Arpack(...)`` on the host; by default ``Dense()`` for n up
            to 64 or k above a third of n, else ``Arnoldi()``.
        derivative: ``Implicit(...)``, the options of the derivative: its linear solve, its ``mode``; ``preconditioner``
            and ``polish`` are not built for general matrices.
        v0: where the iterative solver starts; its derivative is zero. A vector (n,) or (..., n), or a block of columns
            (..., n, p), such as the eigenvectors of an earlier result.
        key: PRNG key of the start vector and of the checks; by default a fixed one.
        tol: the largest allowed ``||a x - l x||``, relative to the largest magnitude of an eigenvalue seen. By default
            ``eps^(5/6)``: 9e-14 in float64, 2e-6 in float32. What rounding leaves is allowed beside it: ``(10 + sqrt(n)
            + 2 restarts) eps``, relative to the norm of a, which may be the larger one.
        callback: as for ``tsvd``.
        on_failure: ``"raise"``, ``"nan"`` or ``"keep"``, as for ``tsvd``.
        return_info: also return a ``SolveInfo``.

    Returns:
        ``TEigResult(eigenvalues, eigenvectors)`` with shapes (..., k), (..., n, k), both complex; with ``left``
        ``TEigLeftResult``, which has ``left_eigenvectors`` L (..., n, k) beside them, ``L^H @ eigenvectors = 1``; or
        ``(result, info)``. The largest entry of each vector is real and positive. For operators on pytrees the vectors
        have leaves of shape ``leaf.shape + (k,)``.

    Raises:
        ConvergenceError: the residuals stayed above ``tol``.
        ValueError, TypeError: a bad argument; also NaN or infinite entries, where values are concrete.
        ValueError: also ``sigma`` at an eigenvalue, an ``inverse`` that is none.
        NotImplementedError: ``preconditioner`` and ``polish``.

    Derivative: forward and reverse mode, any order, with respect to ``a``; real for a real a; under
    ``Implicit(mode="reverse")`` reverse mode alone. With Schur vectors ``a Q = Q T``, P = I - Q Q^H, and ``T W = W L``:

        P a X - X T = -P da Q,   dT = Q^H (da Q + a X)
        dl = diag N,   dR = X W + R (F o N),   N = W^-1 dT W,   F_ij = 1 / (l_j - l_i)

    less what each column of dR has along its vector: ``r_j^H dr_j = 0``, so that length and phase do not move. With
    ``left``, ``dl_j = l_j^H da r_j`` at first order, without a solve.

    Undefined, and what you get there:
        - single pairs of a multiplet: differences below ``degeneracy_rtol`` count as zero; exact for first derivatives
          of ``sum f(l)`` if a has as many eigenvectors. Where the kept pairs have fewer eigenvectors than values (a
          Jordan block) the derivatives of all of them, and left eigenvectors, are NaN: use
          ``invariant_subspace(hermitian=False)``, which needs no eigenvectors.
        - eigenvalues and vectors where a discarded eigenvalue equals a kept one: NaN, and ``info.status`` is
          ``CUT_DEGENERATE``.
        - vectors of zero eigenvalues under ``"LM"``, where all that is discarded is zero too: taken as zero; the
          derivative of such eigenvalues depends on the basis. Left eigenvectors are NaN if what is discarded is not
          zero itself (nilpotent): keep fewer.
        - left eigenvectors whose solve fails are NaN, and with them the gradient of the eigenvalues, not the values.

    The error of the vectors and of their derivative grows with the condition of the eigenvectors: 2e-9 to 7e-8 where
    that is 1e5. A derivative whose linear solve does not converge in ``Implicit.max_steps`` is NaN.

    Example: how much of its start a walk around a ring remembers after a step.
        >>> import jax, jax.numpy as jnp, truncax
        >>> def memory(p):
        ...     ring = jnp.roll(jnp.eye(100), 1, axis=1)
        ...     chain = 0.5 * jnp.eye(100) + p * ring + (0.5 - p) * ring.T
        ...     return jnp.abs(truncax.teig(chain, 3).eigenvalues[1])
        >>> f"{memory(0.4):.4f} {jax.grad(memory)(0.4):.4f}"
        '0.9992 0.0024'

    Source: Naumann, arXiv:2511.14651 (derivative); Stewart, SIAM J. Matrix Anal. Appl. 23 (2002) (solver).

    """
    (vectors, values, *others), info = general(
        a, k, which, sigma, inverse, solver, derivative, v0, key, tol, callback, on_failure, vectors=True, left=left
    )
    result = TEigLeftResult(values, vectors, *others) if left else TEigResult(values, vectors)
    return (result, info) if return_info else result
