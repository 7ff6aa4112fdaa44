"""Phases and bases: whether a loss depends on them, and how to fix the phases."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .arguments import check_positive
from .numerics.gauge import phases, turned_invariant_subspace, turned_singular_subspaces, turned_vectors
from .numerics.products import times
from .numerics.tolerances import computing_dtype, degeneracy_rtol
from .operators.operator import frozen
from .operators.structure import common_dtype
from .results import InvariantSubspace, SingularSubspaces, TEighResult, TEigLeftResult, TEigResult, TSVDResult

_Pairs = TEighResult | TEigResult | TEigLeftResult


def gauge_defect(result: Any, cotangent: Any, *, rtol: Any = None) -> Array:
    """How far a loss is from gauge invariance, from its gradient with respect to a result: 0 where it is invariant.

    A decomposition leaves free the phase of each pair of vectors and their basis inside a multiplet (``tsvd``,
    ``teigh``, ``teig``), or the whole basis (``singular_subspaces``, ``invariant_subspace``). A loss that depends on
    what is free has an arbitrary value, and its gradient through the decomposition is not its derivative.

    Args:
        result: what ``tsvd``, ``teigh``, ``teig``, ``singular_subspaces`` or ``invariant_subspace`` returned.
        cotangent: the gradient of the loss with respect to the result, as ``jax.grad(loss)(result)`` returns it
            (the conjugate of the mathematical one): a tuple of the same shapes; None counts as zero.
        rtol: for ``tsvd``, ``teigh`` and ``teig``: values that differ by less than this times the largest one kept
            count as equal; by default as in their derivative, ``eps^(3/4)``. The subspaces have no use for it.

    Returns:
        A real scalar, one for each member of a batch: the norm of the part of the cotangent that turns what is free,
        over the norm of the whole; value cotangents are counted in units of the largest value. For ``tsvd`` and
        ``teigh`` it includes the spread of the value cotangents inside a multiplet, which alone shows that
        ``U f(S) Vh`` is not for single vectors there. About 1e-16 for an invariant loss, of order 0.1 for others; zero
        for a zero cotangent. Works under jit and vmap.

    Raises:
        TypeError: another kind of ``result``; a cotangent of another structure. ValueError: other shapes; ``rtol`` that
            is not positive, or given for subspaces.

    Derivative: zero.

    Example:
        >>> import jax, jax.numpy as jnp, truncax
        >>> result = truncax.tsvd(jnp.diag(jnp.array([3.0, 2.0, 2.0, 1.0])), 3)  # a pair of equal values
        >>> def defect(loss):
        ...     return float(truncax.gauge_defect(result, jax.grad(loss)(result)))
        >>> defect(lambda r: (r.U @ r.Vh)[0, 1] + r.S.sum()) < 1e-6
        True
        >>> defect(lambda r: (r.U * r.S @ r.Vh)[1, 1]) > 0.1  # for singular_subspaces
        True

    Source: Francuz, Schuch and Vanhecke, arXiv:2311.11894; Naumann, arXiv:2511.14651.

    """
    parts = _parts(result)
    bars = _parts(_matched(result, cotangent))
    vectors = isinstance(result, TSVDResult | _Pairs)
    if not vectors and rtol is not None:
        raise ValueError("rtol has no use for subspaces, whose whole basis is free: leave it out")
    dtype = computing_dtype(parts.middle.dtype)
    width = check_positive("rtol", rtol, dtype)
    width = jnp.asarray(degeneracy_rtol(dtype) if width is None else width, jnp.finfo(dtype).dtype)

    defect = partial(_defect, type(result))
    for _ in range(parts.batch):
        defect = jax.vmap(defect, in_axes=(0, 0, None))
    return defect(*frozen((parts, bars, width)))


@partial(jax.jit, static_argnums=0)
def _defect(kind: type, parts: _Parts, bars: _Parts, width: Array) -> Array:
    sides = [(_columns(u), jnp.conj(_columns(u_bar))) for u, u_bar in zip(parts.sides, bars.sides, strict=True)]
    middle, bar = (x.astype(computing_dtype(x.dtype)) for x in (parts.middle, jnp.conj(bars.middle)))
    size = jnp.max(jnp.abs(middle))
    measured = [times(bar, size), *(u_bar for _, u_bar in sides)]
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(x)) for x in measured]))
    # Squares of small cotangents must not underflow.
    unit = 1 / jnp.where(largest > 0, largest, 1)
    whole = jnp.sqrt(sum(jnp.sum(jnp.abs(times(x, unit)) ** 2) for x in measured))
    sides, bar = [(u, times(u_bar, unit)) for u, u_bar in sides], times(bar, unit)
    if kind is SingularSubspaces:
        free = turned_singular_subspaces(middle, bar, *sides)
    elif kind is InvariantSubspace:
        free = turned_invariant_subspace(middle, bar, *sides[0])
    else:
        free = turned_vectors(middle, bar, *sides, width=width * size)
    return free / jnp.where(whole > 0, whole, 1)


def fix_gauge(result: Any) -> Any:
    """The result with documented phases: the largest entry of each left vector, or eigenvector, real and positive.

    The derivative goes through the phase, so that a loss which depends on phases has a derivative, matched by finite
    differences, where it is taken of the fixed result. Real vectors change their sign at most.

    Args:
        result: what ``tsvd``, ``teigh`` or ``teig`` returned.

    Returns:
        The same kind, of the same shapes and values: ``U * p`` and ``conj(p) * Vh`` with unit numbers p; the entry
        is the first of those with the largest magnitude, over all leaves if the vectors are pytrees.

    Raises:
        TypeError: another kind of result. Subspaces have no phases but a whole basis that is free, and no basis is
            better than another at a tie: use ``tsvd`` or ``teigh``, or a loss that does not depend on it.

    Derivative: forward and reverse mode, any order. Undefined where two entries of a vector are both largest (the
    phase jumps there) and inside a multiplet, which phases do not fix: ``gauge_defect`` tells.

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> result = truncax.fix_gauge(truncax.tsvd(-jnp.diag(jnp.array([3.0, 2.0, 1.0])), 2))
        >>> result.U[:2, :2].tolist(), result.Vh[:2, :2].tolist()
        ([[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, -1.0]])

    Source: for real vectors the convention of ``svd_flip`` in scikit-learn; the derivative is that of the formula.

    """
    if not isinstance(result, TSVDResult | _Pairs):
        raise TypeError(
            f"result must be what tsvd, teigh or teig returned, got {type(result).__name__}; the basis of a subspace "
            "is free as a whole, and phases do not fix it"
        )
    parts = _parts(result)

    fix = _in_phase
    for _ in range(parts.batch):
        fix = jax.vmap(fix)
    fixed = fix(parts.sides)
    if isinstance(result, _Pairs):
        return type(result)(result.eigenvalues, *fixed)
    Vh = jax.tree.map(lambda x: jnp.conj(jnp.moveaxis(x, -1, parts.batch)), fixed[1])
    return result._replace(U=fixed[0], Vh=Vh)


@partial(jax.jit, inline=True)
def _in_phase(sides: list[Any]) -> list[Any]:
    phase = phases(_columns(sides[0]))
    return jax.tree.map(lambda x: x * phase.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,)), sides)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Parts:
    """The values or the middle matrix; vectors as columns, U and V or Q alone; the number of batch axes."""

    middle: Array
    sides: list[Any]
    batch: int = field(metadata={"static": True})


def _parts(result: Any) -> _Parts:
    if isinstance(result, TSVDResult | SingularSubspaces):
        left, middle, rows = result
        batch = middle.ndim - (1 if isinstance(result, TSVDResult) else 2)
        return _Parts(middle, [left, jax.tree.map(lambda x: jnp.conj(jnp.moveaxis(x, batch, -1)), rows)], batch)
    if isinstance(result, _Pairs):
        values, *sides = result
        return _Parts(values, sides, values.ndim - 1)
    if isinstance(result, InvariantSubspace):
        return _Parts(result.H, [result.Q], result.H.ndim - 2)
    raise TypeError(
        "result must be what tsvd, teigh, teig, singular_subspaces or invariant_subspace returned, "
        f"got {type(result).__name__}"
    )


def _matched(result: Any, cotangent: Any) -> Any:
    """The cotangent as a tuple like the result, with arrays of its shapes."""
    if not isinstance(cotangent, tuple | list) or len(cotangent) != len(result):
        raise TypeError(
            f"cotangent must be a tuple like the result, ({', '.join(result._fields)}), as jax.grad(loss)(result) "
            f"returns it; got {type(cotangent).__name__}"
        )
    parts = []
    for name, x, bar in zip(result._fields, result, cotangent, strict=True):
        bar = jax.tree.map(jnp.zeros_like, x) if bar is None else bar
        shapes, given = (jax.tree.map(jnp.shape, tree) for tree in (x, bar))
        if shapes != given:
            raise ValueError(f"the cotangent of {name} must have the shape {shapes} of {name}, got {given}")
        parts.append(jax.tree.map(jnp.asarray, bar))
    return type(result)(*parts)


def _columns(tree: Any) -> Array:
    """The vectors as columns (n, k), pytrees leaf by leaf."""
    leaves = jax.tree.leaves(tree)
    dtype = computing_dtype(common_dtype([x.dtype for x in leaves]))
    return jnp.concatenate([x.reshape(-1, x.shape[-1]).astype(dtype) for x in leaves])
