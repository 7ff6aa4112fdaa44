"""Checks of what the user gave: at once, naming what was given and what is allowed."""

from __future__ import annotations

import contextlib
import dataclasses
import operator as _operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .numerics.devices import explicit_axes, is_split
from .numerics.tolerances import computing_dtype
from .operators.convert import given_matrix
from .operators.entries import can_be_factorised
from .operators.function import linear_operator
from .operators.operator import LinearOperator
from .operators.preconditioning import as_preconditioner
from .operators.promoted import promoted, result_type
from .options import LOBPCG, Arnoldi, Arpack, Dense, Implicit, Krylov, Propack

ON_FAILURE = ("raise", "nan", "keep")


def check_matrix(a: Any, *, hermitian: bool, square: bool = False) -> Array | LinearOperator:
    """``a`` as a JAX array of at least two dimensions or as an operator, of a dtype that is computed in."""
    a = given_matrix(a, hermitian=hermitian)
    if (hermitian or square) and a.shape[-1] != a.shape[-2]:
        raise ValueError(f"a must be square for an eigenproblem, got shape {a.shape}")
    if not isinstance(a, LinearOperator) and (axes := explicit_axes(a)):
        raise ValueError(
            f"a is split over {axes}, explicit axes of a mesh: call this function inside "
            "jax.sharding.auto_axes(f, out_sharding=...), where the compiler chooses how arrays are split"
        )
    return a


def check_rank(k: Any, shape: tuple[int, ...]) -> int:
    """``k`` as an int between 1 and min(m, n)."""
    limit = min(shape[-2:])
    if isinstance(k, bool | np.bool_):
        raise TypeError(f"k must be an int, got {k!r}")
    try:
        rank = _operator.index(k)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerIntegerConversionError):
        raise TypeError(
            "k must be a static Python int, got a traced value: the shapes of the results depend on it; "
            "mark it with static_argnames=('k',) in jax.jit, or close over it"
        ) from None
    except TypeError:
        raise TypeError(f"k must be an int, got {k!r} of type {type(k).__name__}") from None
    if not 1 <= rank <= limit:
        raise ValueError(f"k must be between 1 and min(m, n) = {limit} for a of shape {shape}, got {rank}")
    return rank


def check_which(which: Any, allowed: tuple[str, ...]) -> str:
    """``which`` as one of the allowed names."""
    if isinstance(which, str) and which in allowed:
        return which
    raise ValueError(f"which must be one of {', '.join(map(repr, allowed))}, got {which!r}")


def check_options(
    solver: Any, solvers: tuple[type, ...], derivative: Any, on_failure: Any, a: Array | LinearOperator, vectors: bool
) -> Implicit:
    """The derivative's options, after a look at the solver and at ``on_failure``."""
    for name, value, kinds in (("solver", solver, solvers), ("derivative", derivative, (Implicit,))):
        if value is not None and not isinstance(value, kinds):
            allowed = " or ".join(f"truncax.{kind.__name__}(...)" for kind in kinds)
            raise TypeError(f"{name} must be None or {allowed} for this function, got {value!r}")
    if on_failure not in ON_FAILURE:
        raise ValueError(f"on_failure must be one of {', '.join(map(repr, ON_FAILURE))}, got {on_failure!r}")
    if derivative is None:
        return Implicit()
    if not vectors and derivative.degeneracy_rtol is not None:
        raise ValueError(
            "derivative: degeneracy_rtol has no use for subspaces, whose derivative divides by no difference of kept "
            "values: leave it out"
        )
    dtype = computing_dtype(a.dtype)
    return dataclasses.replace(
        derivative,
        preconditioner=as_preconditioner(derivative.preconditioner, min(a.shape[-2:]), dtype),
        tol=check_positive("Implicit tol", derivative.tol, dtype, below=1),
        degeneracy_rtol=check_positive("Implicit degeneracy_rtol", derivative.degeneracy_rtol, dtype),
    )


def check_positive(name: str, value: Any, dtype: Any, below: float = float("inf")) -> Array | None:
    """A positive real scalar (concrete or traced) in the real dtype behind ``dtype``; None stays None."""
    if value is None:
        return None
    if isinstance(value, str | bytes) or np.ndim(value) != 0 or jnp.iscomplexobj(value):
        raise TypeError(f"{name} must be a positive real number, got {value!r}")
    try:
        wrong = not 0 < float(value) < below
    except jax.errors.ConcretizationTypeError:
        wrong = False
    if wrong:
        limit = "finite" if below == float("inf") else f"below {below:g}"
        raise ValueError(f"{name} must be positive and {limit}, got {value!r}; leave it out for the default")
    return jnp.asarray(value, jnp.finfo(dtype).dtype)


def check_smallest(which: str, solver: Any, derivative: Any, v0: Any, key: Any) -> None:
    """The smallest singular values are served by the full decomposition only."""
    if which != "SM":
        return
    if solver is not None and not isinstance(solver, Dense):
        raise ValueError(
            f"which='SM' is built for solver=truncax.Dense() only, got solver={solver!r}: "
            "leave solver out, or pass Dense()"
        )
    if derivative is not None and derivative.preconditioner is not None:
        raise ValueError("which='SM' has no use for a preconditioner: leave it out of derivative=Implicit(...)")
    for name, value in (("v0", v0), ("key", key)):
        if value is not None:
            raise ValueError(f"which='SM' uses the full decomposition, which takes no {name}: leave it out")


def check_host_solver(solver: Any, k: int, a: Array | LinearOperator, which: str) -> None:
    """The limits of ARPACK, and an array that can be sent to the host."""
    if isinstance(solver, Arpack | Propack) and isinstance(a, LinearOperator):
        a.on_host()
    elif isinstance(solver, Arpack | Propack) and is_split(a):
        raise ValueError(
            f"solver={type(solver).__name__}() runs on one host, and a is split over several devices: "
            "leave solver out, or use one in JAX, GolubKahan(), Lanczos() or Arnoldi()"
        )
    if not isinstance(solver, Arpack):
        return
    size, complex_ = min(a.shape[-2:]), jnp.issubdtype(a.dtype, jnp.complexfloating)
    most = size - 2 if complex_ else size - 1
    if k > most:
        kind = "complex" if complex_ else "real"
        raise ValueError(
            f"solver=Arpack() finds at most {most} pairs of a {kind} problem of size {size}, got k={k}; "
            "use solver=truncax.Dense()"
        )
    if solver.ncv is not None and not k + 1 < solver.ncv <= size:
        raise ValueError(f"Arpack ncv must be between k + 2 = {k + 2} and {size}, got {solver.ncv}; or leave it out")
    if which == "BE" and complex_:
        raise ValueError("solver=Arpack() has no which='BE' for complex matrices; use solver=truncax.Lanczos()")


def check_general(derivative: Implicit, solver: Any, sigma: Any) -> None:
    """What there is for Hermitian matrices only."""
    if derivative.preconditioner is not None:
        raise NotImplementedError("a preconditioner is not built for general matrices: leave it out of Implicit(...)")
    if derivative.polish:
        raise NotImplementedError("polish is not built for general matrices: leave it out of Implicit(...)")
    if sigma is not None and isinstance(solver, Arpack):
        raise ValueError("solver=Arpack() takes no sigma: leave solver out, the native one does the same")


def check_start(v0: Any, a: Array | LinearOperator, solver: Any, *, rows: bool, parts: bool = False) -> Array | None:
    """The start vectors as rows (..., p, n).

    ``v0`` is a vector (n,), one for each member of the batch (..., n), or a block (..., n, p); also (..., p, n), as
    ``Vh`` is, if ``rows``. A complex one for a real ``a`` is refused, or counts as its real and imaginary ``parts``.
    """
    if v0 is None:
        return None
    if isinstance(solver, Dense):
        raise ValueError("solver=Dense() takes no start vector: leave v0 out, or choose an iterative solver")
    domain = a.domain if isinstance(a, LinearOperator) else None
    if domain is not None and domain.fits(v0):
        v0 = domain.ravel(jax.tree.map(jnp.asarray, v0))
    elif domain is not None and not isinstance(v0, jax.Array | np.ndarray):
        raise ValueError(f"v0 must be a vector like those of the operator, {domain}; got {jax.tree.structure(v0)}")
    shape, dims, batch, n = np.shape(v0), len(a.shape), a.shape[:-2], a.shape[-1]
    vector = shape in ((n,), (*batch, n))
    across = rows and len(shape) == dims and shape[:-2] == batch and shape[-1] == n
    down = len(shape) == dims and shape[:-2] == batch and shape[-2] == n
    if not (vector or across or down):
        forms = [(n,), (*batch, n), (*batch, n, "p"), *([(*batch, "p", n)] if rows else [])]
        names = " or ".join(
            dict.fromkeys("(" + ", ".join(map(str, form)) + ("," if len(form) == 1 else "") + ")" for form in forms)
        )
        raise ValueError(f"v0 must have shape {names} for a of shape {a.shape}, got {shape}")
    v0 = jnp.asarray(v0)
    apart = jnp.iscomplexobj(v0) and not jnp.issubdtype(a.dtype, jnp.complexfloating)
    if apart and not parts:
        raise TypeError(f"v0 is complex ({v0.dtype}) but a is real ({a.dtype})")
    # Vh holds the conjugates of the vectors in its rows.
    down = v0[..., None] if vector and len(shape) < dims else v0
    given = jax.lax.stop_gradient(jnp.conj(v0) if across else jnp.swapaxes(down, -1, -2))
    if apart:
        given = jnp.concatenate([given.real, given.imag], axis=-2)
    return given.astype(a.dtype)


def check_mass(b: Any, a: Array | LinearOperator) -> tuple[Any, Any, bool]:
    """``a`` and ``b``, of the shape of ``a``, in one dtype; whether ``b`` only multiplies and cannot be factorised."""
    if b is None:
        return a, None, False
    try:
        b = given_matrix(b, hermitian=True)
    except (TypeError, ValueError) as error:
        raise type(error)("b" + str(error).removeprefix("a")) from None
    if b.shape not in (a.shape, a.shape[-2:]):
        raise ValueError(f"b must have the shape of a, {a.shape}, got {b.shape}")
    dtype = result_type(computing_dtype(a.dtype), computing_dtype(b.dtype))
    members = (b,) if isinstance(a, LinearOperator) else (a, b)
    multiplies = isinstance(b, LinearOperator) and not can_be_factorised(*members)
    return _in_dtype(a, dtype), _in_dtype(b, dtype), multiplies


def check_solve(solve_b: Any, b: Any, sigma: Any, multiplies: bool) -> LinearOperator | None:
    """What undoes a ``b`` that only ``multiplies``, if it is needed."""
    if solve_b is not None and not multiplies:
        what = "b is factorised" if b is not None else "there is no b"
        raise ValueError(f"solve_b has no use, {what}: leave it out")
    if solve_b is not None and sigma is not None:
        raise ValueError("solve_b has no use beside sigma, where inverse solves (a - sigma b) x = y: leave it out")
    if not multiplies or sigma is not None:
        return None
    if solve_b is None:
        raise ValueError(
            "b must be a matrix that can be factorised, an array, a sparse one or a small one; beside an operator that "
            "only multiplies give solve_b=, a function of one vector that solves b x = y, or sigma and inverse"
        )
    return _as_inverse(solve_b, b, b.dtype, hermitian=True, name="solve_b")


def check_quotient(which: str, solver: Any, derivative: Implicit) -> None:
    """What there is beside a ``b`` that only multiplies: the problem is that of a general operator."""
    if which == "BE":
        raise ValueError("which='BE' is not built beside a b that only multiplies: ask for 'LA' and for 'SA'")
    if solver is not None and not isinstance(solver, Dense | Arnoldi):
        raise ValueError(
            "beside a b that only multiplies the solver is truncax.Arnoldi(...) or truncax.Dense(), got "
            f"solver={solver!r}: leave it out"
        )
    for name, given in (("a preconditioner", derivative.preconditioner is not None), ("polish", derivative.polish)):
        if given:
            raise NotImplementedError(
                f"{name} is not built beside a b that only multiplies: leave it out of Implicit(...)"
            )


def _in_dtype(x: Array | LinearOperator, dtype: Any) -> Array | LinearOperator:
    if computing_dtype(x.dtype) == dtype:
        return x
    return promoted(x, dtype) if isinstance(x, LinearOperator) else x.astype(dtype)


def check_shift(
    which: str, sigma: Any, inverse: Any, a: Array | LinearOperator, b: Any, *, hermitian: bool = True
) -> tuple[str, Any, Any]:
    """``which`` of theta = 1 / (l - sigma), ``sigma`` as an array, ``inverse`` as an operator; or None for both.

    The smallest in magnitude are those next to zero. A complex ``sigma`` is for a complex ``a`` that is not Hermitian.
    """
    if which == "SM" and sigma is not None:
        raise ValueError(f"which='SM' means sigma=0, got sigma={sigma!r} beside it: leave which out")
    if which == "SM":
        which, sigma = "LM", 0.0
    if sigma is None:
        if inverse is not None:
            raise ValueError("inverse has no use without sigma: give sigma, the shift in (a - sigma b)^-1")
        return which, None, None
    if isinstance(sigma, str | bytes) or np.ndim(sigma) != 0 or (hermitian and jnp.iscomplexobj(sigma)):
        raise TypeError(f"sigma must be a {'real ' if hermitian else ''}number, got {sigma!r}")
    dtype = computing_dtype(a.dtype)
    with contextlib.suppress(jax.errors.ConcretizationTypeError):
        if not np.isfinite(complex(sigma)):
            raise ValueError(f"sigma must be finite, got {sigma!r}")
    if jnp.iscomplexobj(sigma) and not jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"sigma is complex but a is real ({a.dtype}): make a complex, such as a + 0j")
    shift = jax.lax.stop_gradient(jnp.asarray(sigma, dtype if jnp.iscomplexobj(sigma) else jnp.finfo(dtype).dtype))
    if inverse is not None:
        return which, shift, _as_inverse(inverse, a, dtype, hermitian)
    if not can_be_factorised(a, *([] if b is None else [b])):
        raise ValueError(
            "sigma (and which='SM') needs a matrix that can be factorised, an array, a sparse one or a small one; for "
            "an operator that only multiplies, give inverse=, a function of one vector that solves (a - sigma b) x = y"
        )
    return which, shift, None


def _as_inverse(
    inverse: Any, a: Array | LinearOperator, dtype: Any, hermitian: bool, name: str = "inverse"
) -> LinearOperator:
    n = a.shape[-1]
    if isinstance(inverse, jax.Array | np.ndarray) or not (callable(inverse) or isinstance(inverse, LinearOperator)):
        raise TypeError(f"{name} must be a function of one vector or a LinearOperator, got {type(inverse).__name__}")
    if not isinstance(inverse, LinearOperator):
        domain = a.domain if isinstance(a, LinearOperator) else None
        like = jax.ShapeDtypeStruct((n,), dtype) if domain is None else domain.unravel(jnp.zeros(n, dtype))
        inverse = linear_operator(inverse, like=like, hermitian=hermitian)
    if inverse.shape != (n, n) or inverse.dtype != dtype:
        raise ValueError(f"{name} must have shape {(n, n)} and dtype {dtype}, got {inverse.shape} and {inverse.dtype}")
    return inverse


def check_plain(b: Any, sigma: Any, solver: Any, derivative: Implicit) -> None:
    """What there is for A x = l x without a shift only."""
    if b is None and sigma is None:
        return
    if isinstance(solver, Arpack):
        raise ValueError("solver=Arpack() takes no b and no sigma: leave solver out, the native one does the same")
    if sigma is not None and derivative.preconditioner is not None:
        raise ValueError("a preconditioner has no use beside sigma: leave it out of derivative=Implicit(...)")


def check_preconditioned(solver: Any, which: str, sigma: Any, a: Array | LinearOperator) -> Any:
    """LOBPCG with its preconditioner as a pytree, if it is asked for what it can do; other solvers as they are."""
    if not isinstance(solver, LOBPCG):
        return solver
    if sigma is not None:
        raise ValueError(
            "solver=LOBPCG() takes no sigma, a preconditioner takes its place: leave sigma out, or use "
            "solver=truncax.Lanczos() with it"
        )
    if which not in ("SA", "LA"):
        raise ValueError(f"solver=LOBPCG() finds which='SA' or 'LA', got {which!r}; use solver=truncax.Lanczos()")
    inverse = as_preconditioner(solver.preconditioner, a.shape[-1], computing_dtype(a.dtype))
    return dataclasses.replace(solver, preconditioner=inverse)


def check_callback(callback: Any, solver: Any) -> Any:
    """The solver, which reports to ``callback``."""
    if callback is None:
        return solver
    if not isinstance(solver, Krylov | LOBPCG):
        raise ValueError(
            f"callback reports the restarts of an iterative solver, {solver!r} has none: leave callback out"
        )
    if solver.callback not in (None, callback):
        raise ValueError(f"callback is given twice: {callback!r} and {solver.callback!r} of the solver")
    return dataclasses.replace(solver, callback=callback)


def check_key(key: Any, solver: Any) -> Array | None:
    """A single PRNG key, typed or two uint32 words."""
    if key is None:
        return None
    if isinstance(solver, Dense):
        raise ValueError("solver=Dense() uses no random numbers: leave key out, or choose an iterative solver")
    if isinstance(key, jax.Array):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0:
            return key
        if key.dtype == jnp.uint32 and key.shape == (2,):
            return jax.random.wrap_key_data(key)
    raise TypeError(f"key must be one PRNG key, as jax.random.key(seed) makes it, got {key!r}")
