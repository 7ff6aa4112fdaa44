"""A self-adjoint linear solve that JAX can differentiate and transpose any number of times."""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..numerics.products import times
from .cg import block_cg


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SolveOptions:
    """How a complement system is solved: ``tol``, the relative residual of each column, in ``max_steps`` at most."""

    tol: Array
    max_steps: int = field(metadata={"static": True})


def solve_self_adjoint(matvec: Callable[[Array], Array], b: Array, *, sign: Array, options: SolveOptions) -> Array:
    """``x`` with ``matvec(x) = b`` for a block of columns (n, k).

    ``matvec`` must be self-adjoint under ``Re tr(x^H y)`` and regular on the whole space, and
    ``sign_j * matvec`` must be positive definite in column j. It may couple the columns through values
    that vanish at the point (the off-diagonal of C or H): higher derivatives need them.

    The solve runs on the pair (Re, Im). There the operator is symmetric, JAX has nothing to transpose,
    and the conjugates that a complex transpose needs cannot be forgotten. A column that fails is
    multiplied by NaN: a select would make its gradient zero.
    """
    is_complex = jnp.iscomplexobj(b)

    def split(z: Array) -> tuple[Array, ...]:
        return (z.real, z.imag) if is_complex else (z,)

    def merge(parts: tuple[Array, ...]) -> Array:
        return lax.complex(*parts) if is_complex else parts[0]

    def real_matvec(parts: tuple[Array, ...]) -> tuple[Array, ...]:
        return split(matvec(merge(parts)))

    def real_solve(mv: Callable, parts: tuple[Array, ...]) -> tuple[Array, ...]:
        found = block_cg(
            lambda x: times(merge(mv(split(x))), sign),
            times(merge(parts), sign),
            tol=options.tol,
            max_steps=options.max_steps,
        )
        return split(times(found.x, jnp.where(found.converged, 1, jnp.nan)))

    return merge(lax.custom_linear_solve(real_matvec, split(b), real_solve, symmetric=True))
