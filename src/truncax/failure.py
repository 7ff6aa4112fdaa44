"""What becomes of a result that is not to be trusted: an error where values are concrete, NaN where they are traced."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .options import Arpack, Dense, Krylov, Propack
from .results import ConvergenceError, SolveInfo, Status


def poison(x: Array, trusted: Array) -> Array:
    """``x``, or NaN. By multiplication: the transpose of a select would turn a failure into a zero gradient."""
    return x * jnp.where(trusted, 1, jnp.nan).astype(x.dtype)


def raise_if_failed(info: SolveInfo, tol: Array, solver: Dense | Krylov | Arpack | Propack, ncv: int) -> None:
    """Raise what ``info`` says, if its values are concrete; ``ncv`` is the basis size that was used.

    Traced values (jit, vmap, scan, checkpoint) cannot be tested; there the results are NaN.
    """
    try:
        failed = not bool(jnp.all(info.converged))
    except jax.errors.ConcretizationTypeError:
        return
    if not failed:
        return
    statuses = np.asarray(info.status)
    count = f" in {np.sum(statuses != 0)} of {statuses.size} members of the batch" if statuses.ndim else ""
    if np.any(statuses == Status.NON_FINITE):
        raise ValueError(f"a must be finite, got NaN or infinite entries{count}")
    if np.any(statuses == Status.NOT_HERMITIAN):
        raise ValueError(
            f"a must be Hermitian, got a matrix that differs from its conjugate transpose{count}; "
            "pass (a + a^H) / 2 if that is what you mean"
        )
    worst = float(np.max(np.asarray(info.residual_norms)))
    if isinstance(solver, Dense):
        work, advice = "by the full decomposition", "raise tol, or use a wider dtype"
    elif isinstance(solver, Arpack | Propack):
        name = type(solver).__name__
        work = f"after {np.max(np.asarray(info.products))} products, and {name} may have given up"
        advice = f"raise max_iterations in solver={name}(...), raise tol, or leave solver out"
    else:
        work = (
            f"after {np.max(np.asarray(info.iterations))} of {solver.restart_limit} restart cycles "
            f"and {np.max(np.asarray(info.products))} products"
        )
        advice = (
            f"raise max_restarts, raise tol, raise ncv (now {ncv}) in solver={type(solver).__name__}(...), "
            "or use solver=truncax.Dense()"
        )
    what = f"the largest relative residual is {worst:.1e} {work}, and tol is {float(tol):.1e}"
    if worst <= float(tol):
        what = f"the pairs found have converged, but whether one was missed is not settled {work}"
    raise ConvergenceError(
        f"no convergence{count}: {what}. "
        f"What to do: {advice}. on_failure='nan' or 'keep' returns the result instead of raising"
    )
