"""What the returned vectors are worth: residuals from new products, and the gaps that decide the derivative."""

import jax
import jax.numpy as jnp
from jax import Array

from ..numerics.products import adjoint, column_norms, matmul, times
from ..numerics.tolerances import epsilon, rounding_floor
from ..operators.operator import Operator
from ..results import SolveInfo, Status
from .found import Eigenpairs, Triplets, largest_magnitude


def _relative(x: Array, largest: Array) -> Array:
    return x / jnp.where(largest > 0, largest, 1)


def _info(
    residuals: Array,
    largest: Array,
    gaps: tuple[Array, Array],
    found: Triplets | Eigenpairs,
    products: int,
    size: int,
    tol: Array,
    finite: Array,
    hermitian: Array,
) -> SolveInfo:
    residual_norms = _relative(residuals, largest)
    allowed = jnp.maximum(tol, rounding_floor(tol.dtype, size, found.iterations))
    status = jnp.where(jnp.all(residual_norms <= allowed) & found.verified, Status.CONVERGED, Status.NOT_CONVERGED)
    status = jnp.where(hermitian, status, Status.NOT_HERMITIAN)
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


def certify_triplets(operator: Operator, found: Triplets, tol: Array, finite: Array) -> SolveInfo:
    """The ``SolveInfo`` of singular triplets. When m != n the zeros of the longer side count as discarded."""
    U, s, V = found.U, found.s, found.V
    k = s.shape[0]
    right = column_norms(operator.apply(V) - times(U, s))
    left = column_norms(operator.apply_adjoint(U) - times(V, s))
    m, n = operator.shape
    discarded = found.leftover if m == n else jnp.append(found.leftover, 0)
    gap = s[-1] - jnp.max(discarded, initial=-jnp.inf)
    return _info(jnp.maximum(right, left), s[0], (gap, gap), found, 2 * k, max(m, n), tol, finite, jnp.ones((), bool))


def certify_eigenpairs(
    operator: Operator, found: Eigenpairs, which: str, tol: Array, finite: Array, hermitian: Array
) -> SolveInfo:
    """The ``SolveInfo`` of eigenpairs."""
    values, Q, leftover = found.values, found.Q, found.leftover
    residuals = column_norms(operator.apply(Q) - times(Q, values))
    largest = largest_magnitude(found)
    cut_gap = jnp.min(jnp.abs(values[:, None] - leftover[None, :]), initial=jnp.inf)
    if leftover.shape[0]:
        rank = jnp.abs if which == "LM" else jnp.asarray
        selection_gap = jnp.abs(rank(values[-1]) - rank(leftover[0]))
    else:
        selection_gap = jnp.full_like(cut_gap, jnp.inf)
    # The two vectors of the Hermitian test are products as well.
    products = values.shape[0] + 2
    return _info(residuals, largest, (cut_gap, selection_gap), found, products, Q.shape[0], tol, finite, hermitian)


def is_hermitian(operator: Operator, key: Array) -> Array:
    """Whether ``y^H A x`` equals ``(x^H A y)^*`` for random x and y, up to rounding."""
    z = jax.random.normal(key, (operator.shape[1], 2), operator.dtype)
    Az = operator.apply(z)
    m = matmul(adjoint(z), Az)
    defect = jnp.abs(m[0, 1] - jnp.conj(m[1, 0]))
    bound = column_norms(z)[0] * column_norms(Az)[1] + column_norms(z)[1] * column_norms(Az)[0]
    return defect <= 32 * epsilon(operator.dtype) * bound
