"""Matrix products at full precision, in the order that is fast on every backend."""

import jax.numpy as jnp
from jax import Array, lax

# TF32 and bfloat16 passes cost 1e-2 in a residual, so no product here uses them.
PRECISION = lax.Precision.HIGHEST


def adjoint(x: Array) -> Array:
    """``x^H`` of the last two axes."""
    return jnp.conj(jnp.swapaxes(x, -1, -2))


def matmul(a: Array, b: Array) -> Array:
    """``a @ b`` at full precision; ``b`` may be a vector or a block of columns."""
    return jnp.matmul(a, b, precision=PRECISION)


def adjoint_matmul(a: Array, y: Array) -> Array:
    """``a^H @ y``, computed as ``(y^H a)^H``: XLA on a CPU runs ``a.T @ y`` 6 to 22 times slower."""
    if y.ndim == 1:
        return jnp.conj(jnp.matmul(jnp.conj(y), a, precision=PRECISION))
    return adjoint(jnp.matmul(adjoint(y), a, precision=PRECISION))


def project_out(basis: Array, x: Array) -> Array:
    """``(I - basis basis^H) x`` for orthonormal columns ``basis``."""
    return x - matmul(basis, matmul(adjoint(basis), x))


def row_inner(x: Array, y: Array) -> Array:
    """``Re <x_i, y_i>`` for every row i."""
    return jnp.sum((jnp.conj(x) * y).real, axis=1)


def column_norms(x: Array) -> Array:
    """Euclidean norm of every column, safe from underflow and overflow of the squares."""
    largest = jnp.max(jnp.abs(x), axis=0)
    scaled = times(x, 1 / jnp.where(largest > 0, largest, 1))
    return largest * jnp.sqrt(row_inner(scaled.T, scaled.T))


def times(x: Array, factor: Array) -> Array:
    """``x * factor`` for a real scalar, array of x's shape, or one factor for each column.

    JAX's strict modes forbid the implicit promotion of dtypes and ranks; a user may have set them.
    """
    if factor.ndim == 1 and x.ndim == 2:
        factor = factor[None, :]
    return x * factor.astype(x.dtype)
