"""The public decompositions: what they promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax import Array

from .entry import general, singular
from .entry import hermitian as of_hermitian
from .options import Implicit
from .results import InvariantSubspace, SingularSubspaces, TEighResult, TSVDResult
from .solvers.select import EighSolver, EigSolver, SvdSolver


def tsvd(
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
    """The k largest singular triplets of a matrix, and their exact derivative.

    ``a @ Vh^H = U * S`` and ``a^H @ U = Vh^H * S`` with orthonormal columns of ``U`` and ``Vh^H``, from an
    iterative solver: the other singular triplets are never computed, and the derivative is right all the same.

    Args:
        a: array (..., m, n), real or complex; leading axes are a batch. float32, float64, complex64 and
            complex128 are computed as they are, float16 and bfloat16 in float32 (and returned as they came),
            integers and bools in the default float. Or a ``BCOO``, ``BCSR`` (differentiated by
            ``jax.experimental.sparse.grad``, by ``jax.grad(..., allow_int=True)``, or through the ``data`` that it is
            made of: close over the indices, so that they are sorted once) or SciPy sparse matrix (m, n); or a
            ``LinearOperator`` (``linear_operator`` for a function, ``truncax.operators``) or one of lineax. An array
            that is split over devices stays so, and its cotangent is split alike (docs/sharding.md).
        k: static int, 1 <= k <= min(m, n).
        which: ``"LM"``, the largest singular values, ``S`` descends; ``"SM"``, the smallest, ``S`` ascends, by
            ``Dense()`` only: the array and ``O(m n min(m, n))`` operations. Those of a large sparse square matrix are
            the square roots of ``teigh(operators.gram(a), k, sigma=0.0, inverse=...)``, down to ``sqrt(eps) s_1``.
        solver: ``GolubKahan(...)``, ``Dense()``, or SciPy's ``Arpack(...)`` or ``Propack(...)`` on the host; by
            default what ``truncax.solvers.select`` chooses from k and the shape, ``Dense()`` for small matrices and
            for k that are a large part of them, else ``GolubKahan()``.
        derivative: ``Implicit(...)``, the options of the derivative: its linear solve, its ``mode``.
        v0: where the iterative solver starts; its derivative is zero. A right vector (n,) or (..., n), a block of
            columns (..., n, p), or the ``Vh`` of an earlier result (..., p, n). It saves the first steps: a part
            of the work under a loose ``tol``, little under the default. What is zero or not finite counts as none.
        key: PRNG key of the start vector and of the verification; by default a fixed one. The same input gives
            the same bits.
        tol: the largest allowed ``||a v - s u||`` and ``||a^H u - s v||``, relative to ``s_1``. By default
            ``eps^(5/6)``: 9e-14 in float64, 2e-6 in float32. What rounding leaves is allowed beside it:
            ``(10 + sqrt(max(m, n)) + 2 restarts) eps``.
        callback: called on the host while an iterative solver runs, every fourth restart and at its end, as
            ``callback(iteration, converged, residuals)``: restarts so far, how many of the k have converged, estimated
            residuals (k,) relative to ``s_1``. ``truncax.show_progress`` prints them. Of a batch or under ``vmap`` it
            is called more often, for each member on its own. Define it once: a new lambda each time compiles each time.
        on_failure: ``"raise"``: an error where values are concrete, NaN results where they are traced (jit, vmap,
            scan); ``"nan"``: NaN always; ``"keep"``: the results as they are. A derivative whose linear solve fails
            is NaN under the first two, and as the solve left it under ``"keep"``.
        return_info: also return a ``SolveInfo``.

    Returns:
        ``TSVDResult(U, S, Vh)`` with shapes (..., m, k), (..., k), (..., k, n), or ``(result, info)``. For operators on
        pytrees ``U`` has leaves of shape ``leaf.shape + (k,)`` and ``Vh`` of shape ``(k,) + leaf.shape``.

    Raises:
        ConvergenceError: the residuals stayed above ``tol``.
        ValueError, TypeError: a bad argument; also NaN or infinite entries, where values are concrete.

    Derivative: forward and reverse mode, any order, with respect to ``a``; none with respect to the options. Under
    ``Implicit(mode="reverse")`` reverse mode alone. At factors of your own: ``truncax.rules.tsvd_jvp``, ``tsvd_vjp``.
    With ``P_U = I - U U^H``, ``P_V = I - V V^H`` and ``Ap = P_U a P_V`` (what was discarded),

        dS = Re diag(U^H da V)
        dU = U Om_U + X,  dV = V Om_V + Y,  X S - Ap Y = P_U da V,  Y S - Ap^H X = P_V da^H U

    where Om_U and Om_V couple the kept triplets. The gauge is ``u^H du + v^H dv = 0``: a loss that depends on
    the phase of the vectors has no meaning. The derivative of vectors grows like 1 / cut gap (``info.cut_gap``).

    Undefined, and what you get there:
        - single triplets of a multiplet (equal kept values): differences below ``degeneracy_rtol`` count as
          zero. That is exact for first derivatives of ``U U^H``, ``U Vh``, ``sum f(S)``, and wrong for
          ``U f(S) Vh`` and for second derivatives: use ``singular_subspaces``.
        - vectors when ``s_k = s_{k+1}`` (relative gap below about 1e-14 in float64, 1e-5 in float32): NaN, and
          ``info.status`` is ``CUT_DEGENERATE``; ``complete_multiplet`` finds a k that splits none. Losses of ``S``
          alone stay finite; for the sum it is a subgradient.
        - vectors of zero singular values: their derivative is taken as zero, so that the gradient of ``S.sum()`` is a
          subgradient of it.

    A derivative whose linear solve does not converge in ``Implicit.max_steps`` is NaN.

    Example:
        >>> import jax, jax.numpy as jnp, truncax
        >>> a = jnp.diag(jnp.arange(100.0, 0, -1)) + 0.1
        >>> [f"{s:.2f}" for s in truncax.tsvd(a, 3).S]
        ['100.20', '99.16', '98.15']
        >>> jax.grad(lambda a: truncax.tsvd(a, 3).S.sum())(a).shape
        (100, 100)

    Source: Naumann, arXiv:2511.14651 (derivative); Baglama and Reichel, SIAM J. Sci. Comput. 27 (2005) (solver).

    """
    (U, S, Vh), info = singular(a, k, which, solver, derivative, v0, key, tol, callback, on_failure, vectors=True)
    result = TSVDResult(U, S, Vh)
    return (result, info) if return_info else result


def singular_subspaces(
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
    """The subspaces of the k largest singular values, with a derivative that is exact at any degeneracy.

    ``U`` and ``Vh^H`` have orthonormal columns, ``C = U^H a Vh^H``. The value of ``C`` is ``diag(S)``; its
    derivative is a full k x k matrix. Use it for losses that depend on the subspaces and on ``C`` together and
    not on the basis inside: ``U @ C @ Vh`` (the best rank-k approximation), ``trace(C^H C)``, projectors.

    Args:
        a: array (..., m, n), as for ``tsvd``; so are the options below.
        k: static int, 1 <= k <= min(m, n); best where ``info.cut_gap`` is not small.
        which: as for ``tsvd``.
        solver: as for ``tsvd``.
        derivative: as for ``tsvd``; ``degeneracy_rtol`` has no use here and must be left out.
        v0: as for ``tsvd``.
        key: as for ``tsvd``.
        tol: as for ``tsvd``, relative to ``s_1``.
        callback: as for ``tsvd``.
        on_failure: as for ``tsvd``.
        return_info: also return a ``SolveInfo``.

    Returns:
        ``SingularSubspaces(U, C, Vh)`` with shapes (..., m, k), (..., k, k), (..., k, n), or ``(result, info)``.

    Raises:
        ConvergenceError, ValueError, TypeError: as ``tsvd``.

    Derivative: forward and reverse mode, any order. ``dC = U^H da V``, ``dU = X``, ``dV = Y`` with

        X C - Ap Y = P_U da V,   Y C^H - Ap^H X = P_V da^H U,   Ap = P_U a P_V

    No difference of kept values appears. Undefined: losses that depend on the basis inside the subspaces (their
    value is as arbitrary as the basis), the subspaces when ``s_k = s_{k+1}`` (NaN; losses of ``C`` alone stay
    finite), and those of zero singular values, whose derivative is taken as zero.

    Example:
        >>> import jax, jax.numpy as jnp, truncax
        >>> a = jnp.diag(jnp.array([3.0, 2.0, 2.0, 1.0, 0.5]))
        >>> def approximation(a):
        ...     U, C, Vh = truncax.singular_subspaces(a, 3)
        ...     return U @ C @ Vh
        >>> gradient = jax.grad(lambda a: approximation(a)[1, 2])(a)
        >>> f"{gradient[1, 2]:.4f}"
        '1.0000'

    Source: Naumann, arXiv:2511.14651; the subspace form is derived in ``truncax.rules.svd``.

    """
    (U, C, Vh), info = singular(a, k, which, solver, derivative, v0, key, tol, callback, on_failure, vectors=False)
    result = SingularSubspaces(U, C, Vh)
    return (result, info) if return_info else result


def teigh(
    a: Any,
    k: int,
    *,
    b: Any = None,
    solve_b: Any = None,
    which: str = "LM",
    sigma: Any = None,
    inverse: Any = None,
    solver: EighSolver | EigSolver | None = None,
    derivative: Implicit | None = None,
    v0: Any = None,
    key: Array | None = None,
    tol: Any = None,
    callback: Callable | None = None,
    on_failure: str = "raise",
    return_info: bool = False,
) -> Any:
    """The k best eigenpairs of a Hermitian matrix, and their exact derivative.

    ``a @ eigenvectors = eigenvectors * eigenvalues`` with orthonormal eigenvectors, from an iterative solver. With
    ``b`` the generalized problem: ``a @ eigenvectors = b @ eigenvectors * eigenvalues``, orthonormal under b.

    Args:
        a: array (..., n, n), real symmetric or complex Hermitian; leading axes are a batch; or a sparse matrix, with
            both triangles, or an operator; dtypes and devices as ``tsvd``.
        k: static int, 1 <= k <= n.
        b: Hermitian and positive definite, of the shape of ``a``: an array, a sparse matrix (factorised by SciPy on
            the host) or ``truncax.operators.diagonal(...)``. An array has the leading axes of ``a`` or none. Or an
            operator that only multiplies, beside which stands ``solve_b`` or, with ``sigma``, ``inverse``.
        solve_b: for a ``b`` that only multiplies, without ``sigma``: a function of one vector, or a ``LinearOperator``,
            that solves ``b x = y`` to ``sqrt(eps)`` or better. It decides the accuracy of the result and is not
            differentiated. Such a problem is that of the general operator ``b^-1 a``, or ``(a - sigma b)^-1 b``.
        which: best first: ``"LM"`` largest magnitude (descending in magnitude), ``"LA"`` largest (descending,
            unlike the ascending order of jnp's and SciPy's eigh), ``"SA"`` smallest (ascending), ``"BE"`` from
            both ends, alternating, a largest one first, ``"SM"`` smallest magnitude, the same as ``sigma=0``.
        sigma: the pairs next to this real number, by the inverse of ``a - sigma b``; may be traced, has no derivative.
            ``which`` then refers to ``theta = 1 / (l - sigma)``, as in SciPy: ``"LM"`` the nearest, ``"LA"`` the
            nearest above, ``"SA"`` below. So do ``tol``, ``degeneracy_rtol`` and the gaps of ``SolveInfo``, whose
            residuals are those of both problems; its ``products`` count solves. An array is factorised by LU, a sparse
            matrix by SciPy's LU on the host.
        inverse: for an operator that only multiplies, or in place of those factors: a function of one vector, or a
            ``LinearOperator``, that solves ``(a - sigma b) x = y`` to ``sqrt(eps)`` or better. It decides the accuracy
            of the result and is not differentiated: the derivative is that of the equation.
        solver: ``Lanczos(...)``, ``Dense()``, ``LOBPCG(...)`` with a preconditioner for ``"SA"`` and ``"LA"`` without
            ``sigma``, or SciPy's ``Arpack(...)`` on the host; by default what ``truncax.solvers.select`` chooses from k
            and n, ``Dense()`` or ``Lanczos()``. Beside a b that only multiplies ``Arnoldi(...)`` or ``Dense()``.
        derivative: ``Implicit(...)``, the options of the derivative: its linear solve, its ``mode``.
        v0: where the iterative solver starts; its derivative is zero. A vector (n,) or (..., n), or a block of
            columns (..., n, p), such as the eigenvectors of an earlier result. What is zero or not finite counts as
            none.
        key: PRNG key of the start vector and of the checks; by default a fixed one.
        tol: the largest allowed ``||a x - l x||``, relative to the largest magnitude of an eigenvalue seen.
            By default ``eps^(5/6)``: 9e-14 in float64, 2e-6 in float32. What rounding leaves is allowed beside
            it: ``(10 + sqrt(n) + 2 restarts) eps``.
        callback: as for ``tsvd``.
        on_failure: ``"raise"``, ``"nan"`` or ``"keep"``, as for ``tsvd``.
        return_info: also return a ``SolveInfo``.

    Returns:
        ``TEighResult(eigenvalues, eigenvectors)`` with shapes (..., k), (..., n, k), or ``(result, info)``; for
        operators on pytrees the eigenvectors have leaves of shape ``leaf.shape + (k,)``.

    Raises:
        ConvergenceError: the residuals stayed above ``tol``.
        ValueError, TypeError: a bad argument; also a matrix that is not finite or not Hermitian, where values
            are concrete (where they are traced the result is NaN and the status says so). ``y^H a x`` is compared
            with ``(x^H a y)^*`` for random x and y, up to rounding.
        ValueError: also ``b`` not positive definite, ``sigma`` at an eigenvalue or so close to one that the other
            pairs lose half of their digits, an ``inverse`` or a ``solve_b`` that is none.
        NotImplementedError: ``polish`` and ``preconditioner`` beside a ``b`` that only multiplies.

    Derivative: forward and reverse mode, any order, with respect to ``a`` and ``b``; under
    ``Implicit(mode="reverse")`` reverse mode alone. At factors of your own, without b: ``truncax.rules.teigh_jvp``,
    ``teigh_vjp``. Tangents are symmetrised, ``da <- (da + da^H) / 2``, in every product, so gradients are Hermitian.
    With P = I - Q Q^H:

        dl = Re diag(Q^H da Q),  dQ = Q (F o Q^H da Q) + X,  F_ij = 1 / (l_j - l_i)
        (P a P - l_j) x_j = -P da q_j

    With ``b`` and M = Q^H db Q: in dQ, ``Q^H da Q - (L M + M L) / 2`` takes the place of ``Q^H da Q``, elsewhere
    ``da - l_j db`` that of ``da``, and dQ has ``-Q M / 2`` beside it, which keeps Q orthonormal under b.

    Undefined, and what you get there:
        - single pairs of a multiplet: differences below ``degeneracy_rtol`` count as zero. Exact for first
          derivatives of ``Q Q^H`` and ``sum f(l)``, wrong for ``Q f(L) Q^H`` and for second derivatives: use
          ``invariant_subspace``.
        - vectors when a discarded eigenvalue equals a kept one: NaN, and ``info.status`` is ``CUT_DEGENERATE``.
          Losses of the eigenvalues stay finite.
        - vectors of zero eigenvalues under ``"LM"``, where all that is discarded is zero too: taken as zero.

    A derivative whose linear solve does not converge in ``Implicit.max_steps`` is NaN.

    Example:
        >>> import jax, jax.numpy as jnp, truncax
        >>> laplacian = 2 * jnp.eye(100) - jnp.eye(100, k=1) - jnp.eye(100, k=-1)
        >>> [f"{l:.4f}" for l in truncax.teigh(laplacian, 2, which="LA").eigenvalues]
        ['3.9990', '3.9961']
        >>> [f"{l:.4f}" for l in truncax.teigh(laplacian, 2, sigma=1.0).eigenvalues]
        ['1.0180', '0.9643']

    Source: Naumann, arXiv:2511.14651; Kasim, arXiv:2011.04366 (derivative); Wu and Simon, SIAM J. Matrix Anal.
    Appl. 22 (2000) (solver); Ericsson and Ruhe, Math. Comp. 35 (1980) (shift-invert).

    """
    (Q, values), info = of_hermitian(
        a, k, b, solve_b, which, sigma, inverse, solver, derivative, v0, key, tol, callback, on_failure, vectors=True
    )
    result = TEighResult(values, Q)
    return (result, info) if return_info else result


def invariant_subspace(
    a: Any,
    k: int,
    *,
    b: Any = None,
    solve_b: Any = None,
    which: str = "LM",
    hermitian: bool = True,
    sigma: Any = None,
    inverse: Any = None,
    solver: EighSolver | EigSolver | None = None,
    derivative: Implicit | None = None,
    v0: Any = None,
    key: Array | None = None,
    tol: Any = None,
    callback: Callable | None = None,
    on_failure: str = "raise",
    return_info: bool = False,
) -> Any:
    """The invariant subspace of the k best eigenvalues, with a derivative that is exact at any degeneracy.

    ``Q`` has orthonormal columns, ``H = Q^H a Q``; with ``b``, ``Q^H b Q = 1`` and ``a Q = b Q H``. The value of
    ``H`` is diagonal; its derivative is a full Hermitian k x k matrix. Use it for losses that do not depend on the
    basis inside the subspace: ``Q @ f(H) @ Q^H``, ``trace(f(H))``, projectors.

    With ``hermitian=False`` the same of a general matrix: ``Q`` and ``H`` are complex, and the value of ``H`` is upper
    triangular with the eigenvalues on its diagonal, which need not have as many eigenvectors.

    Args:
        a: array (..., n, n), as for ``teigh``; so are the options below.
        k: static int, 1 <= k <= n.
        b: as for ``teigh``.
        solve_b: as for ``teigh``.
        which: as for ``teigh``; of a general matrix as for ``teig``.
        hermitian: whether a is Hermitian; of a general matrix there is no ``b``.
        sigma: as for ``teigh``.
        inverse: as for ``teigh``.
        solver: as for ``teigh``; of a general matrix as for ``teig``.
        derivative: as for ``teigh``; ``degeneracy_rtol`` has no use here and must be left out.
        v0: as for ``teigh``.
        key: as for ``teigh``.
        tol: as for ``teigh``.
        callback: as for ``teigh``.
        on_failure: as for ``teigh``.
        return_info: also return a ``SolveInfo``.

    Returns:
        ``InvariantSubspace(Q, H)`` with shapes (..., n, k), (..., k, k), or ``(result, info)``.

    Raises:
        ConvergenceError, ValueError, TypeError, NotImplementedError: as ``teigh``.

    Derivative: forward and reverse mode, any order. ``dH = Q^H da Q``, ``dQ = X`` with
    ``P a X - X H = -P da Q``, P = I - Q Q^H, and ``da`` symmetrised; of a general matrix it is not, and
    ``dH = Q^H (da Q + a X)``. No difference of kept values appears.
    Undefined: losses that depend on the basis inside the subspace, and vectors when a discarded eigenvalue
    equals a kept one (NaN).

    Example:
        >>> import jax, jax.numpy as jnp, truncax
        >>> a = jnp.diag(jnp.array([3.0, 2.0, 2.0, 1.0, 0.5]))
        >>> def exponential(a):
        ...     Q, H = truncax.invariant_subspace(a, 3, which="LA")
        ...     return Q @ jax.scipy.linalg.expm(H) @ Q.T
        >>> gradient = jax.grad(lambda a: exponential(a)[1, 1])(a)
        >>> f"{gradient[1, 1]:.3f}"
        '7.389'

    Source: Naumann, arXiv:2511.14651; the subspace form is derived in ``truncax.rules.eigh``.

    """
    if not _is_hermitian(hermitian, b, solve_b):
        parts, info = general(
            a, k, which, sigma, inverse, solver, derivative, v0, key, tol, callback, on_failure, vectors=False
        )
        result = InvariantSubspace(*parts)
        return (result, info) if return_info else result
    (Q, H), info = of_hermitian(
        a, k, b, solve_b, which, sigma, inverse, solver, derivative, v0, key, tol, callback, on_failure, vectors=False
    )
    result = InvariantSubspace(Q, H)
    return (result, info) if return_info else result


def _is_hermitian(hermitian: Any, b: Any, solve_b: Any) -> bool:
    if not isinstance(hermitian, bool):
        raise TypeError(f"hermitian must be True or False, got {hermitian!r}")
    if not hermitian and (b is not None or solve_b is not None):
        raise NotImplementedError("b and solve_b are built for hermitian=True only: leave them out")
    return hermitian
