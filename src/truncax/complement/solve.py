"""Linear solves in the complement that JAX can differentiate and transpose any number of times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..numerics.linear import self_adjoint_solve, with_adjoint
from ..numerics.products import column_norms, materialised, matmul, times
from ..results import DerivativeInfo
from .bicgstab import bicgstab
from .cg import BlockSolution, block_cg
from .deflation import Deflation, Spectral, preconditioner


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SolveOptions:
    """How a complement system is solved.

    ``tol``, the relative residual (of each column), in ``max_steps`` at most; a ``deflation`` and a ``preconditioner``
    (a function of a block of columns that JAX sees as a pytree) where there are any. ``keep``: what fails stays.
    """

    tol: Array
    max_steps: int = field(metadata={"static": True})
    deflation: Deflation | None = None
    preconditioner: Callable[[Array], Array] | None = None
    keep: bool = field(default=False, metadata={"static": True})


class System(NamedTuple):
    """The operator of a complement system, for a block of columns (n, k).

    ``matvec`` must be self-adjoint under ``Re tr(x^H y)`` and regular on the whole space, and ``sign_j * matvec``
    positive definite in column j. It may couple the columns through values that vanish at the point (the off-diagonal
    of C or H): higher derivatives need them. ``spectral`` says what ``sign_j * matvec`` is at the point, where C is
    ``product`` between two projections onto the complement of the columns of ``kept``.
    """

    matvec: Callable[[Array], Array]
    product: Callable[[Array], Array]
    spectral: Spectral
    sign: Array
    kept: Array


def solve_self_adjoint(system: System, b: Array, options: SolveOptions) -> Array:
    """``x`` with ``system.matvec(x) = b`` for a block of columns (n, k).

    A column that fails is multiplied by NaN: a select would make its gradient zero.
    """

    def solve(b: Array) -> Array:
        found = solve_once(system, b, options)
        return times(found.x, jnp.where(found.converged | options.keep, 1, jnp.nan))

    return self_adjoint_solve(system.matvec, b, solve)


def solve_once(system: System, b: Array, options: SolveOptions) -> BlockSolution:
    """What ``solve_self_adjoint`` finds, and how; without a derivative.

    On the span of the kept vectors the solution is known; in the complement it takes conjugate gradients.
    """
    spectral, sign, kept = lax.stop_gradient((system.spectral, system.sign, system.kept))
    alpha, beta, size = spectral
    into, back = materialised(jnp.conj(kept)), materialised(kept.T)

    # Outside of a whole basis there is nothing; what rounding leaves there is not to be solved for.
    whole = kept.shape[0] == kept.shape[1]

    def projected(r: Array) -> Array:
        return jnp.zeros_like(r) if whole else r - matmul(matmul(r, into), back)

    def matvec(p: Array) -> Array:
        return times(p, alpha[:, None]) + times(system.product(p.T).T, beta[:, None])

    inner = None
    if options.preconditioner is not None:
        inverse = options.preconditioner
        inner = lambda r: projected(inverse(r.T).T)  # noqa: E731
    rows = times(b, sign).T
    inside = projected(rows)
    found = block_cg(
        matvec,
        inside,
        tol=options.tol,
        max_steps=options.max_steps,
        preconditioner=preconditioner(options.deflation, spectral, inner),
        lengths=column_norms(b),
        project=projected,
    )
    return found._replace(x=(found.x + times(rows - inside, 1 / size)).T)


Solve = Callable[[System, Array, SolveOptions], Array]


class Recorder:
    """Solves like ``solve_once`` in the place of ``solve_self_adjoint`` and keeps what it found.

    A column that fails is zero: what was asked for does without it.
    """

    def __init__(self) -> None:
        self.found: BlockSolution | None = None

    @property
    def info(self) -> DerivativeInfo:
        """How the solve went."""
        assert self.found is not None
        return DerivativeInfo(self.found.converged, self.found.residual_norms, self.found.steps)

    def __call__(self, system: System, b: Array, options: SolveOptions) -> Array:
        """The solution of ``system.matvec(x) = b``."""
        self.found = solve_once(system, b, options)
        return jnp.where(self.found.converged[None, :], self.found.x, 0)


class CoupledSystem(NamedTuple):
    """The operator of a general complement system, for a block of columns (n, k), and its adjoint under
    ``Re tr(x^H y)``; linear over the complex numbers, regular on the whole space.
    """

    matvec: Callable[[Array], Array]
    adjoint_matvec: Callable[[Array], Array]

    def adjoint(self) -> CoupledSystem:
        """The system with the adjoint operator."""
        return CoupledSystem(self.adjoint_matvec, self.matvec)


def solve_coupled(system: CoupledSystem, b: Array, options: SolveOptions) -> Array:
    """``x`` with ``system.matvec(x) = b`` for a block of columns (n, k), by ``complement.bicgstab``.

    The columns are coupled and fail together: NaN, by multiplication. The tolerance refers to the norm of all of them.
    """

    def by(matvec: Callable[[Array], Array]) -> Callable[[Array], Array]:
        def solve(b: Array) -> Array:
            found = bicgstab(matvec, b, tol=options.tol, max_steps=options.max_steps)
            return times(found.x, jnp.where(found.converged | options.keep, 1, jnp.nan))

        return solve

    matvec, adjoint_matvec = system
    return with_adjoint(by(matvec), by(adjoint_matvec), matvec, adjoint_matvec, b)
