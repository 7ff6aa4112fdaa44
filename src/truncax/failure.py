"""What becomes of a result that is not to be trusted: an error where values are concrete, NaN where they are traced."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .options import LOBPCG, Arpack, Dense, Krylov, Propack
from .results import ConvergenceError, SolveInfo, Status


def poison(x: Array, trusted: Array) -> Array:
    """``x``, or NaN. By multiplication: the transpose of a select would turn a failure into a zero gradient."""
    return x * jnp.where(trusted, 1, jnp.nan).astype(x.dtype)


@contextlib.contextmanager
def forward_mode_explained(mode: str) -> Iterator[None]:
    """What to do where a derivative in reverse mode alone meets forward mode: JAX does not say which one it is."""
    try:
        yield
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        if mode == "reverse":
            what = "Implicit(mode='reverse') has no forward mode: leave mode out, or use jax.grad or jax.vjp"
        else:
            what = (
                "the product of a uses a function whose derivative is defined in reverse mode alone: use jax.grad or "
                "jax.vjp with derivative=truncax.Implicit(mode='reverse')"
            )
        raise TypeError(f"{what} ({error})") from error


_SHIFTED = {
    Status.NOT_DEFINITE: "b must be Hermitian and positive definite, and is not",
    Status.SHIFT_SINGULAR: "sigma (0 for which='SM') is an eigenvalue, or so close to one that the other pairs lose "
    "their digits: move sigma a little, for a positive semidefinite a below zero, such as sigma=-1e-3 times its norm, "
    "or use which='SA'",
    Status.NOT_INVERSE: "inverse must solve (a - sigma b) x = y, and solve_b b x = y, but the product with what was "
    "given and y differ for a random y",
}


def raise_if_failed(
    info: SolveInfo,
    tol: Array,
    solver: Dense | Krylov | LOBPCG | Arpack | Propack,
    ncv: int,
    opaque: bool,
    shift_helps: bool = False,
) -> None:
    """Raise what ``info`` says, if its values are concrete.

    ``ncv`` is the basis size that was used, ``opaque`` whether the products are a user's code, ``shift_helps`` whether
    the smallest eigenvalues were asked for of a matrix that can be factorised.

    Traced values (jit, vmap, scan, checkpoint) cannot be tested; there the results are NaN.
    """
    try:
        failed = not bool(jnp.all(info.converged))
    except jax.errors.ConcretizationTypeError:
        return
    if not failed:
        return
    statuses = np.asarray(info.status)
    count = ""
    if statuses.ndim:
        where = [", ".join(map(str, index)) for index in np.argwhere(~np.asarray(info.converged))]
        shown = "; ".join(where[:5]) + ("; ..." if len(where) > 5 else "")
        count = f" in {len(where)} of {statuses.size} members of the batch (at {shown})"
    if np.any(statuses == Status.NON_FINITE):
        raise ValueError(f"a must be finite, got NaN or infinite entries{count}")
    if np.any(statuses == Status.NOT_LINEAR):
        raise ValueError(
            "a must be a linear operator with its adjoint, but y^H (a x) and (a^H y)^H x differ for random x and y"
            f"{count}; check that matvec is linear, and that rmatvec, if you gave one, is its conjugate transpose"
        )
    for status, message in _SHIFTED.items():
        if np.any(statuses == status):
            raise ValueError(f"{message}{count}")
    if np.any(statuses == Status.NOT_HERMITIAN) and opaque:
        raise ValueError(
            f"a must be Hermitian, but y^H (a x) and (x^H (a y))^* differ for random x and y{count}; check that its "
            "product is linear and Hermitian"
        )
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
    elif isinstance(solver, LOBPCG):
        work = f"after at most {solver.step_limit} block steps and {np.max(np.asarray(info.products))} products"
        advice = "raise max_iterations in solver=LOBPCG(...), raise tol, or use a better preconditioner"
    else:
        work = (
            f"after {np.max(np.asarray(info.iterations))} of {solver.restart_limit} restart cycles "
            f"and {np.max(np.asarray(info.products))} products"
        )
        spent = np.max(np.asarray(info.iterations)) >= solver.restart_limit
        advice = (
            f"raise {'max_restarts, raise ' if spent else ''}tol, raise ncv (now {ncv}) in "
            f"solver={type(solver).__name__}(...), or use solver=truncax.Dense()"
        )
        if shift_helps:
            advice += (
                "; the smallest eigenvalues are found in a few steps with a shift below them, such as sigma=-1e-3 "
                "times the norm of a positive semidefinite a, and which='LM'"
            )
        if not spent:
            advice += "; residuals that stay where they are can come from an a that is not quite Hermitian or linear"
    what = f"the largest relative residual is {worst:.1e} {work}, and tol is {float(tol):.1e}"
    if worst <= float(tol):
        what = f"the pairs found have converged, but whether one was missed is not settled {work}"
    raise ConvergenceError(
        f"no convergence{count}: {what}. "
        f"What to do: {advice}. on_failure='nan' or 'keep' returns the result instead of raising"
    )
