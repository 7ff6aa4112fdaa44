"""How the linear solve of a derivative goes, for a user who wonders about it."""

from typing import Any

from ..options import Implicit
from ..results import DerivativeInfo
from .at_factors import diagnosed
from .hermitian_factors import INVARIANT_SUBSPACE, TEIGH
from .singular_factors import SINGULAR_SUBSPACES, TSVD


def derivative_info(
    a: Any, result: Any, cotangents: Any, *, which: str = "LM", derivative: Implicit | None = None
) -> DerivativeInfo:
    """The complement solve of one gradient: whether it converges, its residuals, its steps.

    Runs the solve of ``mode="reverse"`` without leftover vectors, from these cotangents alone: the steps are an upper
    estimate of those inside ``jax.grad``. For the gap that decides them see ``SolveInfo.cut_gap`` (``return_info``).

    Args:
        a: one matrix (m, n), or a ``LinearOperator``.
        result: what ``tsvd``, ``teigh``, ``singular_subspaces`` or ``invariant_subspace`` returned for ``a``.
        cotangents: those of the result, a tuple of the same shapes as ``jax.grad`` of a loss with respect to the
            result returns them; None counts as zero.
        which: as it was given for the result.
        derivative: ``Implicit(...)``.

    Returns:
        ``DerivativeInfo(converged, residual_norms, iterations)``. Works under jit and vmap.

    Raises:
        TypeError: another kind of ``result``. ValueError, TypeError: as ``tsvd_vjp``.

    Derivative: none.

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> a = jnp.diag(jnp.arange(1.0, 31.0)) + 0.1
        >>> result = truncax.tsvd(a, 3)
        >>> info = truncax.derivative_info(a, result, (result.U ** 3, None, None))
        >>> bool(info.converged.all())
        True

    Source: theory of the complement solve after Naumann, arXiv:2511.14651.

    """
    for form in (TSVD, SINGULAR_SUBSPACES, TEIGH, INVARIANT_SUBSPACE):
        if isinstance(result, form.result):
            return diagnosed(form, a, result, cotangents, which, derivative)
    raise TypeError(
        "result must be what tsvd, teigh, singular_subspaces or invariant_subspace returned, "
        f"got {type(result).__name__}"
    )
