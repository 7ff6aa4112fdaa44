"""What the public functions return."""

from __future__ import annotations

import enum
from typing import NamedTuple

from jax import Array


class TSVDResult(NamedTuple):
    """``A ~ U @ diag(S) @ Vh`` with the k kept triplets, best match first.

    ``U`` (..., m, k), ``S`` (..., k) real, ``Vh`` (..., k, n).
    """

    U: Array
    S: Array
    Vh: Array


class TEighResult(NamedTuple):
    """``A @ eigenvectors ~ eigenvectors * eigenvalues`` for the k kept pairs, best match first.

    ``eigenvalues`` (..., k) real, ``eigenvectors`` (..., n, k).
    """

    eigenvalues: Array
    eigenvectors: Array


class TEigResult(NamedTuple):
    """``A @ eigenvectors ~ eigenvectors * eigenvalues`` for the k kept pairs of a general matrix, best match first.

    Both complex: ``eigenvalues`` (..., k), ``eigenvectors`` (..., n, k), unit columns.
    """

    eigenvalues: Array
    eigenvectors: Array


class TEigLeftResult(NamedTuple):
    """The same with ``left_eigenvectors`` L (..., n, k): ``L^H A = diag(eigenvalues) L^H`` and
    ``L^H @ eigenvectors = 1``.
    """

    eigenvalues: Array
    eigenvectors: Array
    left_eigenvectors: Array


class SingularSubspaces(NamedTuple):
    """The kept singular subspaces: ``U`` (..., m, k), ``C = U^H A V`` (..., k, k), ``Vh`` (..., k, n).

    The value of ``C`` is ``diag(S)``; its derivative is a full matrix.
    """

    U: Array
    C: Array
    Vh: Array


class InvariantSubspace(NamedTuple):
    """The kept invariant subspace: ``Q`` (..., n, k) orthonormal, ``H = Q^H A Q`` (..., k, k).

    The value of ``H`` is diagonal, of a general matrix upper triangular; its derivative is a full matrix.
    """

    Q: Array
    H: Array


class Status(enum.IntEnum):
    """The meaning of ``SolveInfo.status``.

    ``NOT_HERMITIAN`` and ``NOT_LINEAR``: products with random vectors contradict a Hermitian A, or a linear A with this
    adjoint. ``CUT_DEGENERATE``: converged, but a discarded value equals a kept one to rounding (128 eps), so that
    values and residuals are right and the subspace is one of many: its derivative is NaN (under ``on_failure="keep"``
    it is left as it is), that of the sum of the values a subgradient. ``SHIFT_SINGULAR``: ``sigma`` is an
    eigenvalue, or so close to one that the inverse has no digits, or that residuals of ``A x = l B x`` are above
    ``sqrt(eps)`` and ``tol``. ``NOT_DEFINITE``: ``b`` is not Hermitian and positive definite. ``NOT_INVERSE``: what was
    given as ``inverse`` does not undo ``a - sigma b``, or ``solve_b`` not b.
    """

    CONVERGED = 0
    NOT_CONVERGED = 1
    NON_FINITE = 2
    NOT_HERMITIAN = 3
    NOT_LINEAR = 4
    CUT_DEGENERATE = 5
    SHIFT_SINGULAR = 6
    NOT_DEFINITE = 7
    NOT_INVERSE = 8


class SolveInfo(NamedTuple):
    """How a decomposition went. Arrays only, one entry for each member of a batch; no derivative.

    - ``status``: int32, a ``Status``.
    - ``converged``: bool, ``status`` is ``CONVERGED`` or ``CUT_DEGENERATE``.
    - ``residual_norms`` (k,): the larger of ``||A v - s u||`` and ``||A^H u - s v||`` over ``s_1``, or
      ``||A x - l x||`` over ``max|l|``; computed anew from the returned vectors, in the units of ``tol``. With a
      shift that of the inverse or, if it is larger, ``||A x - l B x||`` over ``||A|| + |l| ||B||``.
    - ``iterations``: int32, restart cycles.
    - ``products``: int32, vectors multiplied by A or by A^H, the residuals of the last line included; with a shift,
      solves with ``A - sigma B``. A dense decomposition counts its residuals only.
    - ``cut_gap``: ``min |l_j - l_discarded|`` over kept and discarded values, relative to ``s_1`` or
      ``max|l|``: the derivative of a vector grows like its inverse. Infinite when nothing is discarded;
      from Ritz values, known to a tenth of the gap, where the discarded values are not computed.
    - ``selection_gap``: the distance of the last kept from the first discarded value in the order of
      ``which``, in the same unit. Under ``which="LM"`` it is zero for a pair l, -l at the cut while
      ``cut_gap`` is not.
    - ``min_kept_gap``: the smallest distance of two kept values, in the same unit; infinite for k = 1. The
      derivative of single vectors grows like its inverse, that of the subspaces does not see it.
    - ``gaps`` (k,): by how much the first j kept values are apart from all others, for j = 1..k, in the order of
      ``which`` and the same unit. The last entry is ``selection_gap``; ``mask_multiplet`` reads them.
    """

    status: Array
    converged: Array
    residual_norms: Array
    iterations: Array
    products: Array
    cut_gap: Array
    selection_gap: Array
    min_kept_gap: Array
    gaps: Array


class DerivativeInfo(NamedTuple):
    """How the complement solve of a derivative went. Arrays only; no derivative.

    - ``converged`` (k,): bool. A column that is not makes the derivative NaN: its operator is singular (the cut falls
      on a tie, see ``SolveInfo.cut_gap``), or ``Implicit.max_steps`` is too small.
    - ``residual_norms`` (k,): relative to the right-hand side of each column, in the units of ``Implicit.tol``.
    - ``iterations``: int32, conjugate gradient steps; each multiplies k vectors by A and, for singular triplets, by
      A^H.
    """

    converged: Array
    residual_norms: Array
    iterations: Array


class ConvergenceError(RuntimeError):
    """No convergence within the allowed steps; the message says what was reached and what to change."""
