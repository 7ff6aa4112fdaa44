"""What the returned vectors are worth: the status from their residuals, and the gaps that decide the derivative."""

import jax
import jax.numpy as jnp
from jax import Array

from ..numerics.products import adjoint, column_norms, matmul
from ..numerics.tolerances import rounding_floor, symmetry_tolerance
from ..operators.operator import LinearOperator
from ..results import SolveInfo, Status
from .found import Eigenpairs, Triplets, largest_singular


def _relative(x: Array, largest: Array) -> Array:
    return x / jnp.where(largest > 0, largest, 1)


def _info(
    largest: Array,
    gaps: tuple[Array, Array],
    found: Triplets | Eigenpairs,
    products: int,
    size: int,
    tol: Array,
    finite: Array,
    contradiction: tuple[Array, Status],
) -> SolveInfo:
    residual_norms = _relative(found.residuals, largest)
    allowed = jnp.maximum(tol, rounding_floor(tol.dtype, size, found.iterations))
    status = jnp.where(jnp.all(residual_norms <= allowed) & found.verified, Status.CONVERGED, Status.NOT_CONVERGED)
    consistent, otherwise = contradiction
    status = jnp.where(consistent, status, otherwise)
    status = jnp.where(finite, status, Status.NON_FINITE).astype(jnp.int32)
    cut_gap, selection_gap = (_relative(gap, largest) for gap in gaps)
    return SolveInfo(
        status=status,
        converged=status == Status.CONVERGED,
        residual_norms=residual_norms,
        iterations=found.iterations,
        products=found.products + products,
        cut_gap=cut_gap,
        selection_gap=selection_gap,
    )


def certify_triplets(
    operator: LinearOperator, found: Triplets, which: str, tol: Array, finite: Array, linear: Array
) -> SolveInfo:
    """The ``SolveInfo`` of singular triplets. When m != n the zeros of the longer side count as discarded."""
    s, (m, n), largest = found.s, operator.shape, largest_singular(found)
    if which == "SM":
        # The zeros of the longer side are a null space of their own, kept apart by the rule.
        gap = jnp.min(found.leftover, initial=jnp.inf) - s[-1]
    else:
        discarded = found.leftover if m == n else jnp.append(found.leftover, 0)
        gap = s[-1] - jnp.max(discarded, initial=-jnp.inf)
    return _info(largest, (gap, gap), found, 2 * operator.opaque, max(m, n), tol, finite, (linear, Status.NOT_LINEAR))


def certify_eigenpairs(
    operator: LinearOperator, found: Eigenpairs, which: str, tol: Array, finite: Array, hermitian: Array
) -> SolveInfo:
    """The ``SolveInfo`` of eigenpairs."""
    values, leftover, largest = found.values, found.leftover, found.largest
    cut_gap = jnp.min(jnp.abs(values[:, None] - leftover[None, :]), initial=jnp.inf)
    if which == "BE":
        selection_gap = cut_gap
    elif leftover.shape[0]:
        rank = jnp.abs if which == "LM" else jnp.asarray
        selection_gap = jnp.abs(rank(values[-1]) - rank(leftover[0]))
    else:
        selection_gap = jnp.full_like(cut_gap, jnp.inf)
    # The two vectors of the Hermitian test are products as well.
    size, contradiction = found.Q.shape[0], (hermitian, Status.NOT_HERMITIAN)
    return _info(largest, (cut_gap, selection_gap), found, 2, size, tol, finite, contradiction)


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
