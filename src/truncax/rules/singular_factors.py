"""Derivatives of the truncated singular value decomposition at given factors, from any solver."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import Array

from ..numerics.derivative import diagonal_svd
from ..numerics.products import adjoint, matmul, times
from ..numerics.tolerances import computing_dtype
from ..operators.convert import computing_operator
from ..operators.operator import LinearOperator, frozen, scaled
from ..options import Implicit
from ..results import SingularSubspaces, TSVDResult
from .at_factors import Form, cotangent, tangent
from .attach import ATTACH_SINGULAR
from .given import (
    given_derivative,
    given_rank,
    given_tuple,
    given_which,
    one_matrix,
)
from .settings import solve_options, threshold
from .svd_reverse import singular_cotangent


def tsvd_jvp(a: Any, factors: Any, da: Any, *, which: str = "LM", derivative: Implicit | None = None) -> TSVDResult:
    """The tangent ``(dU, dS, dVh)`` of k singular triplets that you have from any solver.

    What ``jax.jvp`` of ``truncax.tsvd`` returns, with no decomposition: one block solve in the complement of the
    factors. ``dS = Re diag(U^H da V)``; ``dU = U Om_U + X`` and ``dV = V Om_V + Y`` with ``P_U = I - U U^H``,
    ``Ap = P_U a P_V`` (what was discarded) and

        X S - Ap Y = P_U da V,   Y S - Ap^H X = P_V da^H U

    Args:
        a: one matrix (m, n), a NumPy or JAX array (map a batch with ``jax.vmap``), or a ``LinearOperator``.
        factors: ``(U, S, Vh)`` with shapes (m, k), (k,), (k, n), in any order of the triplets; cast to the dtype of
            ``a``. The error of the derivative is of the order of their error, over the gap at the cut.
        da: the tangent, like ``a``.
        which: which triplets they are: ``"LM"``, the k largest, or ``"SM"``, the k smallest.
        derivative: ``Implicit(...)``, as for ``truncax.tsvd``; ``mode="reverse"`` is refused.

    Returns:
        ``TSVDResult(dU, dS, dVh)`` with the shapes of the factors. NaN where the solve does not converge.

    Raises:
        ValueError, TypeError: shapes that do not fit, a batch, an unknown ``which``, an option without a use.

    Derivative: differentiable again, in every mode, with respect to ``a`` and ``da``. The factors count as functions
    of ``a`` and carry no derivative of their own, so that a second derivative is right for constants from SciPy too.
    Multiplets, zero values and ties at the cut are as ``truncax.tsvd`` says.

    Example:
        >>> import numpy as np, scipy.sparse.linalg
        >>> from truncax.rules import tsvd_jvp
        >>> a = np.diag(np.arange(1.0, 31.0)) + 0.1
        >>> factors = scipy.sparse.linalg.svds(a, k=3, rng=np.random.default_rng(0))
        >>> tangent = tsvd_jvp(a, factors, np.eye(30))
        >>> [f"{ds:.2f}" for ds in tangent.S]
        ['1.00', '1.00', '1.00']

    Source: Naumann, arXiv:2511.14651.

    """
    return tangent(TSVD, a, factors, da, which, derivative)


def tsvd_vjp(a: Any, factors: Any, cotangents: Any, *, which: str = "LM", derivative: Implicit | None = None) -> Any:
    """The cotangent of ``a`` from those of k singular triplets that you have from any solver.

    What ``jax.vjp`` of ``truncax.tsvd`` returns, with no decomposition: one block solve in the complement of the
    factors, the transpose of ``tsvd_jvp``. In terms of complex conjugates of the arguments and of the result,

        abar = (U Cbar + Z) V^H + U W^H,   Z S - Ap W = P_U Ubar,   W S - Ap^H Z = P_V Vbar

    where ``Cbar`` couples the kept triplets. Use it as the backward pass of a decomposition of your own.

    Args:
        a: as for ``tsvd_jvp``.
        factors: ``(U, S, Vh)``, as for ``tsvd_jvp``.
        cotangents: ``(Ubar, Sbar, Vhbar)`` with the shapes of the factors; None counts as zero. In JAX's convention,
            as ``jax.grad`` of a loss with respect to the factors returns them.
        which: as for ``tsvd_jvp``.
        derivative: ``Implicit(...)``; with ``mode="reverse"`` the product of ``a`` needs no forward mode.

    Returns:
        The cotangent of ``a``: an array (m, n), or for an operator an operator with those of its leaves, in JAX's
        convention. NaN where the solve does not converge.

    Raises:
        ValueError, TypeError: as ``tsvd_jvp``.

    Derivative: as ``tsvd_jvp``, with respect to ``a`` and the cotangents; with ``mode="reverse"`` in reverse mode.

    Example: the gradient of ``sum S^2`` is ``2 U S Vh``.
        >>> import numpy as np, scipy.sparse.linalg
        >>> from truncax.rules import tsvd_vjp
        >>> a = np.diag(np.arange(1.0, 31.0)) + 0.1
        >>> U, S, Vh = scipy.sparse.linalg.svds(a, k=3, rng=np.random.default_rng(0))
        >>> gradient = tsvd_vjp(a, (U, S, Vh), (None, 2 * S, None))
        >>> bool(np.allclose(gradient, 2 * (U * S) @ Vh, rtol=1e-4, atol=1e-3))
        True

    Source: Naumann, arXiv:2511.14651.

    """
    return cotangent(TSVD, a, factors, cotangents, which, derivative)


def singular_subspaces_jvp(
    a: Any, factors: Any, da: Any, *, which: str = "LM", derivative: Implicit | None = None
) -> SingularSubspaces:
    """The tangent ``(dU, dC, dVh)`` of the kept singular subspaces that you have from any solver.

    What ``jax.jvp`` of ``truncax.singular_subspaces`` returns. ``C = U^H a V`` need not be diagonal: any orthonormal
    bases of the two subspaces will do. ``dC = U^H da V``, ``dU = X`` and ``dV = Y`` with

        X C - Ap Y = P_U da V,   Y C^H - Ap^H X = P_V da^H U

    Args:
        a: as for ``tsvd_jvp``.
        factors: ``(U, C, Vh)`` with shapes (m, k), (k, k), (k, n); else as for ``tsvd_jvp``.
        da: the tangent, like ``a``.
        which: as for ``tsvd_jvp``.
        derivative: as for ``tsvd_jvp``; ``degeneracy_rtol`` has no use here and is refused.

    Returns:
        ``SingularSubspaces(dU, dC, dVh)``. NaN where the solve does not converge.

    Raises:
        ValueError, TypeError: as ``tsvd_jvp``.

    Derivative: as ``tsvd_jvp``.

    Example: the tangent of ``a`` projected on its subspaces.
        >>> import numpy as np
        >>> from truncax.rules import singular_subspaces_jvp
        >>> a = np.diag([3.0, 2.0, 2.0, 1.0, 0.5])
        >>> basis = np.eye(5)[:, :3]
        >>> tangent = singular_subspaces_jvp(a, (basis, basis.T @ a @ basis, basis.T), np.ones((5, 5)))
        >>> bool(np.allclose(tangent.C, 1))
        True

    Source: Naumann, arXiv:2511.14651; the subspace form is derived in ``truncax.rules.svd``.

    """
    return tangent(SINGULAR_SUBSPACES, a, factors, da, which, derivative)


def singular_subspaces_vjp(
    a: Any, factors: Any, cotangents: Any, *, which: str = "LM", derivative: Implicit | None = None
) -> Any:
    """The cotangent of ``a`` from those of the kept singular subspaces that you have from any solver.

    What ``jax.vjp`` of ``truncax.singular_subspaces`` returns, the transpose of ``singular_subspaces_jvp``. In terms
    of complex conjugates of the arguments and of the result,

        abar = (U Cbar + Z) V^H + U W^H,   Z C^H - Ap W = P_U Ubar,   W C - Ap^H Z = P_V Vbar

    Args:
        a: as for ``tsvd_jvp``.
        factors: ``(U, C, Vh)``, as for ``singular_subspaces_jvp``.
        cotangents: ``(Ubar, Cbar, Vhbar)``; else as for ``tsvd_vjp``.
        which: as for ``tsvd_jvp``.
        derivative: as for ``tsvd_vjp``; ``degeneracy_rtol`` has no use here and is refused.

    Returns:
        The cotangent of ``a``, as ``tsvd_vjp``.

    Raises:
        ValueError, TypeError: as ``tsvd_jvp``.

    Derivative: as ``tsvd_vjp``.

    Example: the gradient of ``C[0, 0]`` is ``u_0 v_0^H``.
        >>> import numpy as np
        >>> from truncax.rules import singular_subspaces_vjp
        >>> a = np.diag([3.0, 2.0, 2.0, 1.0, 0.5])
        >>> basis = np.eye(5)[:, :3]
        >>> first = np.zeros((3, 3))
        >>> first[0, 0] = 1
        >>> gradient = singular_subspaces_vjp(a, (basis, basis.T @ a @ basis, basis.T), (None, first, None))
        >>> bool(np.allclose(gradient, np.diag([1.0, 0, 0, 0, 0])))
        True

    Source: Naumann, arXiv:2511.14651; the subspace form is derived in ``truncax.rules.svd_reverse``.

    """
    return cotangent(SINGULAR_SUBSPACES, a, factors, cotangents, which, derivative)


def _checked(a: Any, factors: Any, which: Any, derivative: Any, *, forward: bool, vectors: bool) -> Any:
    a = one_matrix(a)
    given_which(which, ("LM", "SM"))
    derivative = given_derivative(derivative, a, vectors=vectors, forward=forward)
    names = ("U", "S" if vectors else "C", "Vh")
    (m, n), k = a.shape, given_rank(names, factors, a.shape, 0)
    middle, real = ((k,), jnp.finfo(a.dtype).dtype) if vectors else ((k, k), a.dtype)
    factors = given_tuple(names, factors, ((m, k), middle, (k, n)), (a.dtype, real, a.dtype), zeros=False)
    return a, factors, derivative


def _at_the_point(a: Array | LinearOperator, factors: Any, derivative: Implicit, *, vectors: bool) -> Any:
    """The scaled operator, (U, C, V) with diagonal C, its size, how to solve, and the way back to what is returned."""
    operator, _ = scaled(computing_operator(a, hermitian=False))
    U, middle, Vh = (x.astype(computing_dtype(x.dtype)) for x in frozen(factors))
    V = adjoint(Vh)
    middle = times(times(middle, 1 / operator.before), 1 / operator.after)
    if vectors:
        s = middle
    else:
        # The solve takes its columns one by one: C must be diagonal. The rule is covariant under a change of basis.
        u, s, vh = jnp.linalg.svd(middle)
        U, V = matmul(U, u), matmul(V, adjoint(vh))
    size = jnp.maximum(jnp.max(s), frozen(operator).magnitude())
    one = jnp.ones_like(size)
    options = solve_options(derivative, operator, 0 * one, None, one)

    def returned(U: Array, C: Array, V: Array) -> Any:
        if vectors:
            left, values, right = diagonal_svd(C, times(threshold(derivative, operator), size))
            parts = matmul(U, left), times(values, operator.scale), adjoint(matmul(V, right))
        else:
            C = times(matmul(u, matmul(C, vh)), operator.scale)
            parts = matmul(U, adjoint(u)), C, adjoint(matmul(V, vh))
        half = computing_dtype(a.dtype) != a.dtype
        return tuple(x.astype(a.dtype) for x in parts) if half else parts

    return operator, (U, jnp.diag(s).astype(operator.dtype), V), size, options, returned


def _form(result: type, bars: tuple[str, ...], *, vectors: bool) -> Form:
    check, at_the_point = partial(_checked, vectors=vectors), partial(_at_the_point, vectors=vectors)
    return Form(result, bars, check, at_the_point, ATTACH_SINGULAR.__getitem__, singular_cotangent)


TSVD = _form(TSVDResult, ("Ubar", "Sbar", "Vhbar"), vectors=True)
SINGULAR_SUBSPACES = _form(SingularSubspaces, ("Ubar", "Cbar", "Vhbar"), vectors=False)
