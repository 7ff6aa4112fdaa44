"""Derivatives of the truncated Hermitian eigendecomposition at given factors, from any solver."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import Array

from ..numerics.derivative import diagonal_eigh
from ..numerics.products import adjoint, matmul, times
from ..numerics.tolerances import computing_dtype
from ..operators.convert import computing_operator
from ..operators.operator import LinearOperator, frozen, scaled
from ..options import Implicit
from ..results import InvariantSubspace, TEighResult
from .at_factors import Form, cotangent, tangent
from .attach import ATTACH_INVARIANT
from .eigh_reverse import invariant_cotangent
from .given import (
    given_derivative,
    given_rank,
    given_tuple,
    given_which,
    one_matrix,
)
from .settings import solve_options, threshold


def teigh_jvp(a: Any, factors: Any, da: Any, *, which: str = "LM", derivative: Implicit | None = None) -> TEighResult:
    """The tangent ``(dl, dQ)`` of k eigenpairs of a Hermitian matrix that you have from any solver.

    What ``jax.jvp`` of ``truncax.teigh`` returns, with no decomposition: one block solve in the complement of the
    eigenvectors. With P = I - Q Q^H and ``da`` symmetrised,

        dl = Re diag(Q^H da Q),   dQ = Q (F o Q^H da Q) + X,   F_ij = 1 / (l_j - l_i)
        (P a P - l_j) x_j = -P da q_j

    Args:
        a: one Hermitian matrix (n, n), a NumPy or JAX array (map a batch with ``jax.vmap``), or a
            ``LinearOperator``.
        factors: ``(eigenvalues, eigenvectors)`` with shapes (k,) and (n, k), the order in which SciPy's ``eigsh``
            returns them, in any order of the pairs; cast to the dtype of ``a``. The error of the derivative is of the
            order of their error, over the gap at the cut.
        da: the tangent, like ``a``.
        which: which pairs they are, as for ``truncax.teigh``: ``"LM"``, ``"LA"``, ``"SA"``, or ``"BE"``, from both
            ends, with one more from the high end where k is odd.
        derivative: ``Implicit(...)``, as for ``truncax.teigh``; ``mode="reverse"`` is refused.

    Returns:
        ``TEighResult(dl, dQ)`` with the shapes of the factors. NaN where the solve does not converge.

    Raises:
        ValueError, TypeError: shapes that do not fit, a batch, an unknown ``which``, an option without a use.

    Derivative: differentiable again, in every mode, with respect to ``a`` and ``da``. The factors count as functions
    of ``a`` and carry no derivative of their own, so that a second derivative is right for constants from SciPy too.
    Multiplets, zero values and ties at the cut are as ``truncax.teigh`` says.

    Example:
        >>> import numpy as np, scipy.sparse.linalg
        >>> from truncax.rules import teigh_jvp
        >>> a = np.diag(np.arange(1.0, 31.0)) + 0.1
        >>> factors = scipy.sparse.linalg.eigsh(a, k=3, which="SA", v0=np.ones(30))
        >>> tangent = teigh_jvp(a, factors, np.eye(30), which="SA")
        >>> [f"{dl:.2f}" for dl in tangent.eigenvalues]
        ['1.00', '1.00', '1.00']

    Source: Naumann, arXiv:2511.14651; Kasim, arXiv:2011.04366.

    """
    return tangent(TEIGH, a, factors, da, which, derivative)


def teigh_vjp(a: Any, factors: Any, cotangents: Any, *, which: str = "LM", derivative: Implicit | None = None) -> Any:
    """The cotangent of ``a`` from those of k eigenpairs of a Hermitian matrix that you have from any solver.

    What ``jax.vjp`` of ``truncax.teigh`` returns, with no decomposition: one block solve in the complement of the
    eigenvectors, the transpose of ``teigh_jvp``. In terms of complex conjugates of the arguments and of the result,

        abar = herm((Q Hbar + Z) Q^H),   (P a P - l_j) z_j = -P qbar_j

    where ``Hbar`` couples the kept pairs. Use it as the backward pass of a decomposition of your own.

    Args:
        a: as for ``teigh_jvp``.
        factors: ``(eigenvalues, eigenvectors)``, as for ``teigh_jvp``.
        cotangents: those of the two factors, with their shapes; None counts as zero. In JAX's convention, as
            ``jax.grad`` of a loss with respect to the factors returns them.
        which: as for ``teigh_jvp``.
        derivative: ``Implicit(...)``; with ``mode="reverse"`` the product of ``a`` needs no forward mode.

    Returns:
        The cotangent of ``a``: a Hermitian array (n, n), or for an operator an operator with those of its leaves, in
        JAX's convention. NaN where the solve does not converge.

    Raises:
        ValueError, TypeError: as ``teigh_jvp``.

    Derivative: as ``teigh_jvp``, with respect to ``a`` and the cotangents; with ``mode="reverse"`` in reverse mode.

    Example: the gradient of the sum of the kept eigenvalues is the projector ``Q Q^H``.
        >>> import numpy as np, scipy.sparse.linalg
        >>> from truncax.rules import teigh_vjp
        >>> a = np.diag(np.arange(1.0, 31.0)) + 0.1
        >>> values, Q = scipy.sparse.linalg.eigsh(a, k=3, which="SA", v0=np.ones(30))
        >>> gradient = teigh_vjp(a, (values, Q), (np.ones(3), None), which="SA")
        >>> bool(np.allclose(gradient, Q @ Q.T, atol=1e-5))
        True

    Source: Naumann, arXiv:2511.14651; Kasim, arXiv:2011.04366.

    """
    return cotangent(TEIGH, a, factors, cotangents, which, derivative)


def invariant_subspace_jvp(
    a: Any, factors: Any, da: Any, *, which: str = "LM", derivative: Implicit | None = None
) -> InvariantSubspace:
    """The tangent ``(dQ, dH)`` of a kept invariant subspace that you have from any solver.

    What ``jax.jvp`` of ``truncax.invariant_subspace`` returns. ``H = Q^H a Q`` need not be diagonal: any orthonormal
    basis of the subspace will do. ``dH = Q^H da Q``, ``dQ = X`` with ``P a X - X H = -P da Q``.

    Args:
        a: as for ``teigh_jvp``.
        factors: ``(Q, H)`` with shapes (n, k) and (k, k), ``H`` Hermitian; else as for ``teigh_jvp``.
        da: the tangent, like ``a``.
        which: as for ``teigh_jvp``.
        derivative: as for ``teigh_jvp``; ``degeneracy_rtol`` has no use here and is refused.

    Returns:
        ``InvariantSubspace(dQ, dH)``. NaN where the solve does not converge.

    Raises:
        ValueError, TypeError: as ``teigh_jvp``.

    Derivative: as ``teigh_jvp``.

    Example:
        >>> import numpy as np
        >>> from truncax.rules import invariant_subspace_jvp
        >>> a = np.diag([3.0, 2.0, 2.0, 1.0, 0.5])
        >>> basis = np.eye(5)[:, :3]
        >>> tangent = invariant_subspace_jvp(a, (basis, basis.T @ a @ basis), np.ones((5, 5)))
        >>> bool(np.allclose(tangent.H, 1))
        True

    Source: Naumann, arXiv:2511.14651; the subspace form is derived in ``truncax.rules.eigh``.

    """
    return tangent(INVARIANT_SUBSPACE, a, factors, da, which, derivative)


def invariant_subspace_vjp(
    a: Any, factors: Any, cotangents: Any, *, which: str = "LM", derivative: Implicit | None = None
) -> Any:
    """The cotangent of ``a`` from those of a kept invariant subspace that you have from any solver.

    What ``jax.vjp`` of ``truncax.invariant_subspace`` returns, the transpose of ``invariant_subspace_jvp``. In terms
    of complex conjugates of the arguments and of the result,

        abar = herm((Q Hbar + Z) Q^H),   P a Z - Z H = -P Qbar

    Args:
        a: as for ``teigh_jvp``.
        factors: ``(Q, H)``, as for ``invariant_subspace_jvp``.
        cotangents: ``(Qbar, Hbar)``; else as for ``teigh_vjp``.
        which: as for ``teigh_jvp``.
        derivative: as for ``teigh_vjp``; ``degeneracy_rtol`` has no use here and is refused.

    Returns:
        The cotangent of ``a``, as ``teigh_vjp``.

    Raises:
        ValueError, TypeError: as ``teigh_jvp``.

    Derivative: as ``teigh_vjp``.

    Example: the gradient of ``trace H`` is the projector ``Q Q^H``.
        >>> import numpy as np
        >>> from truncax.rules import invariant_subspace_vjp
        >>> a = np.diag([3.0, 2.0, 2.0, 1.0, 0.5])
        >>> basis = np.eye(5)[:, :3]
        >>> gradient = invariant_subspace_vjp(a, (basis, basis.T @ a @ basis), (None, np.eye(3)))
        >>> bool(np.allclose(gradient, basis @ basis.T))
        True

    Source: Naumann, arXiv:2511.14651; the subspace form is derived in ``truncax.rules.eigh_reverse``.

    """
    return cotangent(INVARIANT_SUBSPACE, a, factors, cotangents, which, derivative)


def _checked(a: Any, factors: Any, which: Any, derivative: Any, *, forward: bool, vectors: bool) -> Any:
    a = one_matrix(a)
    if a.shape[0] != a.shape[1]:
        raise ValueError(f"a must be square for an eigenproblem, got shape {a.shape}")
    given_which(which, ("LM", "LA", "SA", "BE"))
    derivative = given_derivative(derivative, a, vectors=vectors, forward=forward)
    names = ("eigenvalues", "eigenvectors") if vectors else ("Q", "H")
    n, k = a.shape[0], given_rank(names, factors, a.shape, 1 if vectors else 0)
    shapes = ((k,), (n, k)) if vectors else ((n, k), (k, k))
    dtypes = (jnp.finfo(a.dtype).dtype, a.dtype) if vectors else (a.dtype, a.dtype)
    return a, given_tuple(names, factors, shapes, dtypes, zeros=False), derivative


def _at_the_point(a: Array | LinearOperator, factors: Any, derivative: Implicit, *, vectors: bool) -> Any:
    """The scaled operator, (Q, H) with diagonal H, its size, how to solve, and the way back to what is returned."""
    operator, _ = scaled(computing_operator(a, hermitian=True))
    Q, middle = (x.astype(computing_dtype(x.dtype)) for x in frozen(factors[::-1] if vectors else factors))
    middle = times(times(middle, 1 / operator.before), 1 / operator.after)
    if vectors:
        values = middle
    else:
        # The solve takes its columns one by one: H must be diagonal. The rule is covariant under a change of basis.
        values, q = jnp.linalg.eigh(middle)
        Q = matmul(Q, q)
    size = jnp.maximum(jnp.max(jnp.abs(values)), frozen(operator).magnitude())
    options = solve_options(derivative, operator, jnp.zeros_like(size), None, operator.scale)

    def returned(Q: Array, H: Array) -> Any:
        if vectors:
            new, u = diagonal_eigh(H, times(threshold(derivative, operator), size))
            parts = times(new, operator.scale), matmul(Q, u)
        else:
            parts = matmul(Q, adjoint(q)), times(matmul(q, matmul(H, adjoint(q))), operator.scale)
        half = computing_dtype(a.dtype) != a.dtype
        return tuple(x.astype(a.dtype) for x in parts) if half else parts

    return operator, (Q, jnp.diag(values).astype(operator.dtype)), size, options, returned


def _form(result: type, bars: tuple[str, ...], *, vectors: bool) -> Form:
    check, at_the_point = partial(_checked, vectors=vectors), partial(_at_the_point, vectors=vectors)
    return Form(result, bars, check, at_the_point, ATTACH_INVARIANT.__getitem__, invariant_cotangent)


TEIGH = _form(TEighResult, ("cotangent of eigenvalues", "cotangent of eigenvectors"), vectors=True)
INVARIANT_SUBSPACE = _form(InvariantSubspace, ("Qbar", "Hbar"), vectors=False)
