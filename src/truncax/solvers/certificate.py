"""What the returned vectors are worth: the status from their residuals, and the gaps that decide the derivative."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..numerics.derivative import Side
from ..numerics.products import adjoint, column_norms, matmul, times
from ..numerics.tolerances import (
    epsilon,
    lost_to_shift,
    negligible,
    rounding_floor,
    shift_tolerance,
    singular_curvature,
    symmetry_tolerance,
)
from ..operators.operator import LinearOperator, Scaled, scaled
from ..operators.pencil import Inverse, Pencil
from ..operators.promoted import promoted
from ..operators.quotient import Quotient
from ..operators.shifted import Shifted
from ..results import SolveInfo, Status
from .found import Eigenpairs, SchurVectors, Triplets, largest_singular, ranking

# The noise of a product with one random vector stands for that of the others, which may be some times larger.
_NOISE = 16


class Soundness(NamedTuple):
    """``conditions`` that must be met, each with the status if it is not, of which the last counts; the relative
    ``noise`` of the products; beside a shift the relative ``residuals`` of ``A x = l B x``, and how large they may be.
    """

    conditions: list[tuple[Array, Status]]
    noise: Array | float = 0.0
    residuals: Array | float = 0.0
    largest_residual: Array | float = 0.0


def _relative(x: Array, largest: Array) -> Array:
    return x / jnp.where(largest > 0, largest, 1)


def _info(
    largest: Array,
    values: Array,
    discarded: Array,
    ranks: tuple[Array, Array],
    found: Triplets | Eigenpairs | SchurVectors,
    products: int,
    size: int,
    tol: Array,
    soundness: Soundness,
) -> SolveInfo:
    residual_norms = _relative(found.residuals, largest)
    allowed = jnp.maximum(tol, rounding_floor(tol.dtype, size, found.iterations) + soundness.noise)
    status = jnp.where(jnp.all(residual_norms <= allowed) & found.verified, Status.CONVERGED, Status.NOT_CONVERGED)
    cut_gaps = _relative(_nearest(values, discarded), largest)
    itself = jnp.eye(values.shape[0], dtype=bool)
    between = jnp.where(itself, jnp.inf, jnp.abs(values[:, None] - values[None, :]))
    gaps = _relative(prefix_gaps(*ranks), largest)
    degenerate = (status == Status.CONVERGED) & jnp.any(_tied(cut_gaps))
    status = jnp.where(degenerate, Status.CUT_DEGENERATE, status)
    lost = (status != Status.NOT_CONVERGED) & jnp.any(soundness.residuals > soundness.largest_residual)
    status = jnp.where(lost, Status.SHIFT_SINGULAR, status)
    for met, otherwise in soundness.conditions:
        status = jnp.where(met, status, otherwise)
    status = status.astype(jnp.int32)
    return SolveInfo(
        status=status,
        converged=(status == Status.CONVERGED) | (status == Status.CUT_DEGENERATE),
        residual_norms=jnp.maximum(residual_norms, soundness.residuals),
        iterations=found.iterations,
        products=found.products + products,
        cut_gap=jnp.min(cut_gaps),
        selection_gap=gaps[-1],
        min_kept_gap=_relative(jnp.min(between), largest),
        gaps=gaps,
    )


def _nearest(values: Array, discarded: Array) -> Array:
    """The distance of each kept value from the nearest discarded one."""
    return jnp.min(jnp.abs(values[:, None] - discarded[None, :]), axis=1, initial=jnp.inf)


def _tied(cut_gaps: Array) -> Array:
    return cut_gaps <= singular_curvature(cut_gaps.dtype)


def tied_triplets(operator: LinearOperator, found: Triplets, which: str) -> Array:
    """The kept triplets (k,) whose value equals a discarded one: their complement system is singular.

    But the rule masks the zeros of "LM", which have only zeros beside them.
    """
    largest = largest_singular(found)
    masked = (found.s <= negligible(found.s.dtype) * largest) & (which == "LM")
    return _tied(_relative(_nearest(found.s, _discarded(operator, found, which)), largest)) & ~masked


def tied_pairs(found: Eigenpairs, which: str) -> Array:
    """The same for eigenpairs; the rule masks the zeros of A = 0 as well."""
    masked = (jnp.abs(found.values) <= negligible(found.values.dtype) * found.largest) & (
        (which == "LM") | (found.largest == 0)
    )
    return _tied(_relative(_nearest(found.values, found.leftover), found.largest)) & ~masked


def _discarded(operator: LinearOperator, found: Triplets, which: str) -> Array:
    """The leftover values and, if m != n, the zeros of the longer side; under "SM" those are kept apart by the rule."""
    m, n = operator.shape
    return found.leftover if m == n or which == "SM" else jnp.append(found.leftover, 0)


def prefix_gaps(kept: Array, discarded: Array) -> Array:
    """The smallest distance of the first j kept from all the others, for j = 1..k."""
    k = kept.shape[0]
    others = jnp.concatenate([kept, discarded, jnp.full(1, jnp.inf, kept.dtype)])
    distances = jnp.abs(kept[:, None] - others[None, :])
    nearest_later = lax.cummin(distances, axis=1, reverse=True)[:, 1 : k + 1]
    return jnp.diagonal(lax.cummin(nearest_later, axis=0))


def certify_triplets(
    operator: LinearOperator, found: Triplets, which: str, tol: Array, finite: Array, linear: Array
) -> SolveInfo:
    """The ``SolveInfo`` of singular triplets."""
    s, largest, size = found.s, largest_singular(found), max(operator.shape)
    discarded = _discarded(operator, found, which)
    soundness = Soundness([(linear, Status.NOT_LINEAR), (finite, Status.NON_FINITE)])
    ranks = s, discarded
    return _info(largest, s, discarded, ranks, found, 2 * operator.opaque, size, tol, soundness)


def certify_eigenpairs(
    operator: LinearOperator, found: Eigenpairs, which: str, tol: Array, soundness: Soundness
) -> SolveInfo:
    """The ``SolveInfo`` of eigenpairs."""
    values, leftover, largest = found.values, found.leftover, found.largest
    ranks = (jnp.abs(values), jnp.abs(leftover)) if which == "LM" else (values, leftover)
    # The two vectors of the Hermitian test are products as well.
    return _info(largest, values, leftover, ranks, found, 2, found.Q.shape[0], tol, soundness)


def certify_schur(
    operator: Scaled,
    shift: Shifted | None,
    found: SchurVectors,
    which: str,
    tol: Array,
    finite: Array,
    linear: Array,
    key: Array,
) -> SolveInfo:
    """The ``SolveInfo`` of the eigenpairs or of the Schur vectors of a general operator, whichever ``residuals`` are.

    Rounding is relative to the norm of A, which may be much larger than its eigenvalues.
    """
    values, leftover, size = found.values, found.leftover, found.Q.shape[0]
    others = jnp.where(jnp.isfinite(leftover.real), ranking(leftover, which), -jnp.inf)
    noise = rounding_floor(tol.dtype, size, found.iterations) * _relative(found.norm, found.largest)
    conditions = [(linear, Status.NOT_LINEAR), (finite, Status.NON_FINITE)]
    residuals: Array | float = 0.0
    limit: Array | float = 0.0
    if shift is not None:
        z = jax.random.normal(key, (size, 1), shift.dtype)
        regular, wrong, left = _is_inverted(shift, z)
        residuals = _shifted_residuals(shift, found, operator.scale, z)
        limit = jnp.maximum(tol, shift_tolerance(shift.dtype)) + _NOISE * left
        inverted = left <= shift_tolerance(shift.dtype)
        conditions = [(inverted, Status.NOT_INVERSE), (regular, Status.SHIFT_SINGULAR), *conditions]
        noise = noise + _NOISE * wrong
    soundness = Soundness(conditions, noise, residuals, limit)
    ranks = ranking(values, which), others
    return _info(found.largest, values, leftover, ranks, found, 2 * operator.opaque, size, tol, soundness)


def tied_schur(found: SchurVectors, which: str) -> Array:
    """Whether a kept value equals a discarded one: the columns are coupled, and fail together."""
    zeros_beside = (which == "LM") | (found.largest == 0)
    masked = (jnp.abs(found.values) <= negligible(found.values.dtype) * found.largest) & zeros_beside
    return jnp.any(_tied(_relative(_nearest(found.values, found.leftover), found.largest)) & ~masked)


def is_hermitian(operator: LinearOperator, key: Array) -> Array:
    """Whether ``y^H A x`` equals ``(x^H A y)^*`` for random x and y, up to rounding."""
    z = jax.random.normal(key, (operator.shape[1], 2), operator.dtype)
    Az = operator.apply(z)
    m = matmul(adjoint(z), Az)
    defect = jnp.abs(m[0, 1] - jnp.conj(m[1, 0]))
    bound = column_norms(z)[0] * column_norms(Az)[1] + column_norms(z)[1] * column_norms(Az)[0]
    return defect <= symmetry_tolerance(operator.dtype, operator.opaque) * bound


def is_linear(operator: LinearOperator, key: Array) -> Array:
    """Whether ``y^H (A x)`` equals ``(A^H y)^H x`` for random x and y, as it does for a linear A and its adjoint."""
    m, n = operator.shape
    of_x, of_y = jax.random.split(key)
    x, y = (jax.random.normal(of, (size, 1), operator.dtype) for of, size in ((of_x, n), (of_y, m)))
    Ax, AHy = operator.apply(x), operator.apply_adjoint(y)
    defect = jnp.abs(matmul(adjoint(y), Ax) - matmul(adjoint(AHy), x))[0, 0]
    bound = column_norms(y) * column_norms(Ax) + column_norms(x) * column_norms(AHy)
    return defect <= symmetry_tolerance(operator.dtype, operator.opaque) * bound[0]


def sound(
    pencil: Pencil, a: Scaled, found: Eigenpairs, theta: Array, finite: Array, tol: Array, key: Array
) -> Soundness:
    """What must hold of ``A x = l B x`` for a result to be worth something; ``a`` is A, scaled, if it is ``finite``.

    ``theta`` are the values that were found, in the unit of the pencil.
    """
    conditions = [(is_hermitian(a, key), Status.NOT_HERMITIAN)]
    z, noise = jax.random.normal(key, (a.shape[1], 1), a.dtype), jnp.zeros((), jnp.finfo(a.dtype).dtype)
    b = None
    if pencil.root is not None:
        b, b_finite = scaled(pencil.root.b)
        again = pencil.root.product(Side.INVERSE, pencil.root.product(Side.ROOT, z))
        noise = noise + (column_norms(again - z) / column_norms(z))[0]
        conditions += [(is_hermitian(b, key) & jnp.all(jnp.isfinite(again)), Status.NOT_DEFINITE)]
        finite = finite & b_finite
    conditions += [(finite, Status.NON_FINITE)]
    if pencil.inverse is None:
        return Soundness(conditions, _NOISE * noise)
    regular, wrong, left = _is_inverted(pencil.inverse, z)
    inverted = left <= shift_tolerance(a.dtype)
    conditions = [(inverted, Status.NOT_INVERSE), (regular, Status.SHIFT_SINGULAR), *conditions]
    residuals = _pencil_residuals(a, b, pencil.values(theta), pencil.vectors(found.Q), z)
    allowed = jnp.maximum(tol, shift_tolerance(a.dtype)) + _NOISE * (noise + left)
    return Soundness(conditions, _NOISE * (noise + wrong), residuals, allowed)


def sound_quotient(
    quotient: Quotient, found: Eigenpairs, norm: Array, values: Array, x: Array, tol: Array, key: Array
) -> Soundness:
    """The same where B only multiplies, for eigenvectors ``x`` of ``A x = l B x`` and their ``values``.

    ``norm`` is that of the operator that was decomposed, not of its eigenvalues, and rounding is relative to it.
    """
    a, a_finite = scaled(quotient.a)
    b, b_finite = scaled(quotient.b)
    z = jax.random.normal(key, (a.shape[1], 1), a.dtype)
    regular, wrong, left = _is_inverted(quotient.inverse, z)
    inverted = left <= shift_tolerance(a.dtype)
    # Random vectors see large negative eigenvalues of B in the product, small ones in the inverse.
    positive = _inner(z, b.apply(z)) > 0
    if not quotient.shifted:
        positive = positive & regular & (_inner(z, quotient.inverse.apply(z)) > 0)
    definite = is_hermitian(b, key) & ((positive & jnp.all(jnp.isfinite(x))) | ~inverted)
    conditions = [
        (inverted, Status.NOT_INVERSE),
        (regular | ~jnp.asarray(quotient.shifted), Status.SHIFT_SINGULAR),
        (is_hermitian(a, key), Status.NOT_HERMITIAN),
        (definite, Status.NOT_DEFINITE),
        (a_finite & b_finite, Status.NON_FINITE),
    ]
    noise = rounding_floor(tol.dtype, a.shape[1], found.iterations) * _relative(norm, found.largest) + _NOISE * wrong
    if not quotient.shifted:
        return Soundness(conditions, noise)
    allowed = jnp.maximum(tol, shift_tolerance(a.dtype)) + _NOISE * left
    return Soundness(conditions, noise, _pencil_residuals(a, b, values, x, z), allowed)


def _inner(x: Array, y: Array) -> Array:
    return jnp.sum(jnp.conj(x) * y).real


def _is_inverted(inverse: Inverse | Shifted, z: Array) -> tuple[Array, Array, Array]:
    """Whether ``w = (A - sigma B)^-1 z`` has digits; the relative error of w; by how much ``A - sigma B`` misses z."""
    w = inverse.apply(z)
    residual = inverse.shifted(w) - z
    length, left, found, wrong = (column_norms(x)[0] for x in (z, residual, w, inverse.apply(residual)))
    growth = inverse.size() * found
    regular = epsilon(inverse.dtype) * growth <= lost_to_shift(inverse.dtype) * length
    return regular, _relative(wrong, found), left / (length + growth)


def _pencil_residuals(a: Scaled, b: Scaled | None, values: Array, x: Array, z: Array) -> Array:
    """``||A x - l B x|| / ((||A|| + |l| ||B||) ||x||)`` for each pair; norms from a start z of the power method.

    The residuals of a shifted problem are relative to ``1 / |l - sigma|`` of the nearest pair: where that is far nearer
    than the others, they say little of those.
    """
    x = times(x, 1 / column_norms(x))
    values, Bx, size = values / a.scale, x, jnp.ones((), values.dtype)
    if b is not None:
        values, Bx, size = values * b.scale, b.apply(x), _norm(b, z)
    return column_norms(a.apply(x) - times(Bx, values)) / (_norm(a, z) + jnp.abs(values) * size)


def _shifted_residuals(shift: Shifted, found: SchurVectors, scale: Array, z: Array) -> Array:
    """``||A Q - Q H|| / (||A|| + |l|)`` for each Schur vector, with ``H = sigma + T^-1``; for the same reason."""
    Q, T = found.Q, found.T * scale.astype(found.T.dtype)
    H = shift.core(T)
    rest = promoted(shift.inner, Q.dtype).apply(Q) - matmul(Q, H)
    size = jnp.maximum(_norm(shift.inner, z), _relative(column_norms(shift.inner.apply(z)), column_norms(z))[0])
    return column_norms(rest) / (size + jnp.abs(jnp.diagonal(H)))


def _norm(a: LinearOperator, z: Array) -> Array:
    """The norm of a Hermitian operator, or somewhat less."""
    Az = a.apply(z)
    return _relative(column_norms(a.apply(Az)), column_norms(Az))[0]
