"""The loss and its gradient from a full SVD by divided differences, in NumPy: the answer to compare with."""

from typing import NamedTuple

import numpy as np


class ClosedForm(NamedTuple):
    """``value``; ``gradient`` (m, n) as ``jax.grad`` returns it; all the ``singular_values``."""

    value: float
    gradient: np.ndarray
    singular_values: np.ndarray


def closed_form(a: np.ndarray, w: np.ndarray, k: int) -> ClosedForm:
    """``L(A) = Re <W, U_k g(S_k) V_k^H>`` with ``g(s) = s / (1 + s^2)``, and its gradient, in double precision.

    With ``A = U S V^H``, ``E = U^H W V``, ``g_i = g(s_i)`` for the kept values and 0 for the others,

        U^H grad V = P o (E + E^H)/2 + Q o (E - E^H)/2
        P_ij = (g_i - g_j) / (s_i - s_j),   Q_ij = (g_i + g_j) / (s_i + s_j)

    and on the remainder of the longer side ``(I - U U^H) W V diag(g_i / s_i) V^H``, or its mirror image. P and Q
    are symmetric, so that the derivative and its adjoint are one map. Between kept values ``P = (1 - s_i s_j) /
    ((1 + s_i^2) (1 + s_j^2))`` and ``Q`` is the same with ``1 + s_i s_j``: nothing cancels where they meet.
    Where ``s_k = s_{k+1}`` (with ``s_{r+1} = 0`` after the last of r values if m != n) there is no gradient: NaN.

    For a complex A the gradient is the conjugate, the convention of ``jax.grad``.

    Source: Daleckii and Krein 1965, for singular values: Noferini, SIAM J. Matrix Anal. Appl. 38 (2017).
    """
    double = np.complex128 if np.iscomplexobj(a) else np.float64
    return at_factors(*np.linalg.svd(a.astype(double), full_matrices=False), w.astype(double), k)


def at_factors(U: np.ndarray, s: np.ndarray, Vh: np.ndarray, w: np.ndarray, k: int) -> ClosedForm:
    """The same from all the singular triplets ``U`` (m, r), ``s``, ``Vh`` (r, n), r = min(m, n), of ``A``."""
    m, n = U.shape[0], Vh.shape[1]
    kept, Uk, Vkh = s[:k, None], U[:, :k], Vh[:k]
    over = 1 / (1 + kept**2)
    value = float(np.sum((w.conj() * (Uk @ (kept * over * Vkh))).real))

    if (k < s.size or m != n) and s[k - 1] == (s[k] if k < s.size else 0):
        return ClosedForm(value, np.full((m, n), np.nan, w.dtype), s)

    even, odd = _quotients(kept, s[None, k:], over)
    left, right = Uk.conj().T @ w, w @ Vkh.conj().T
    # Rows 1..k of E and of E^H: all that P and Q leave.
    e, e_h = left @ Vh.conj().T, (U.conj().T @ right).conj().T
    symmetric, skew = even * (e + e_h) / 2, odd * (e - e_h) / 2
    rows, columns = symmetric + skew, (symmetric - skew).conj().T
    gradient = Uk @ (rows @ Vh) + (U[:, k:] @ columns[k:]) @ Vkh
    if m > n:
        gradient += (right - U @ e_h.conj().T) @ (over * Vkh)
    if n > m:
        gradient += (Uk * over.T) @ (left - e @ Vh)
    return ClosedForm(value, gradient.conj(), s)


def _quotients(kept: np.ndarray, discarded: np.ndarray, over: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P and Q for the kept values (k, 1) against all: the kept, then the ``discarded`` (1, r - k)."""
    both, product, g = over * over.T, kept * kept.T, kept * over
    even = np.hstack([(1 - product) * both, g / (kept - discarded)])
    odd = np.hstack([(1 + product) * both, g / (kept + discarded)])
    return even, odd
