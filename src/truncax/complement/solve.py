"""A self-adjoint linear solve that JAX can differentiate and transpose any number of times."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..numerics.products import project_out, times
from .cg import BlockSolution, block_cg
from .deflation import Deflation, Spectral, preconditioner


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SolveOptions:
    """How a complement system is solved.

    ``tol``, the relative residual of each column, in ``max_steps`` at most; a ``deflation`` and a ``preconditioner``
    (a function of a block of columns that JAX sees as a pytree) where there are any.
    """

    tol: Array
    max_steps: int = field(metadata={"static": True})
    deflation: Deflation | None = None
    preconditioner: Callable[[Array], Array] | None = None


def solve_self_adjoint(
    matvec: Callable[[Array], Array],
    b: Array,
    *,
    sign: Array,
    spectral: Spectral,
    options: SolveOptions,
    kept: Array,
) -> Array:
    """``x`` with ``matvec(x) = b`` for a block of columns (n, k).

    ``matvec`` must be self-adjoint under ``Re tr(x^H y)`` and regular on the whole space, and
    ``sign_j * matvec`` must be positive definite in column j. It may couple the columns through values
    that vanish at the point (the off-diagonal of C or H): higher derivatives need them. ``spectral`` says what
    ``sign_j * matvec`` is at the point, on the complement of the columns of ``kept``.

    The solve runs on the pair (Re, Im). There the operator is symmetric, JAX has nothing to transpose,
    and the conjugates that a complex transpose needs cannot be forgotten. A column that fails is
    multiplied by NaN: a select would make its gradient zero.
    """
    is_complex = jnp.iscomplexobj(b)
    spectral, kept = lax.stop_gradient((spectral, kept))

    def split(z: Array) -> tuple[Array, ...]:
        return (z.real, z.imag) if is_complex else (z,)

    def merge(parts: tuple[Array, ...]) -> Array:
        return lax.complex(*parts) if is_complex else parts[0]

    def real_matvec(parts: tuple[Array, ...]) -> tuple[Array, ...]:
        return split(matvec(merge(parts)))

    def real_solve(mv: Callable, parts: tuple[Array, ...]) -> tuple[Array, ...]:
        found = solve_once(
            lambda x: merge(mv(split(x))), merge(parts), sign=sign, spectral=spectral, options=options, kept=kept
        )
        return split(times(found.x, jnp.where(found.converged, 1, jnp.nan)))

    return merge(lax.custom_linear_solve(real_matvec, split(b), real_solve, symmetric=True))


def solve_once(
    matvec: Callable[[Array], Array],
    b: Array,
    *,
    sign: Array,
    spectral: Spectral,
    options: SolveOptions,
    kept: Array,
) -> BlockSolution:
    """What ``solve_self_adjoint`` finds, and how; without a derivative."""
    inner = None if options.preconditioner is None else _projected(options.preconditioner, kept, spectral.size)
    return block_cg(
        lambda x: times(matvec(x), sign),
        times(b, sign),
        tol=options.tol,
        max_steps=options.max_steps,
        preconditioner=preconditioner(options.deflation, spectral, inner),
    )


class Recorder:
    """Solves like ``solve_once`` in the place of ``solve_self_adjoint`` and keeps what it found.

    A column that fails is zero: what was asked for does without it.
    """

    def __init__(self) -> None:
        self.found: BlockSolution | None = None

    def __call__(self, matvec: Callable[[Array], Array], b: Array, **options: Any) -> Array:
        """The solution of ``matvec(x) = b``."""
        self.found = solve_once(matvec, b, **options)
        return jnp.where(self.found.converged[None, :], self.found.x, 0)


def _projected(inverse: Callable[[Array], Array], kept: Array, size: Array) -> Callable[[Array], Array]:
    """``P M P + (I - P) / size`` for blocks carried as rows."""

    def apply(r: Array) -> Array:
        x = project_out(kept, r.T)
        return (project_out(kept, inverse(x)) + times(r.T - x, 1 / size)).T

    return apply
