"""Checks for a user's own operator and loss: matrices of a given spectrum, distances, derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .gauge import gauge_defect
from .numerics.products import adjoint, matmul
from .numerics.tolerances import epsilon
from .operators.convert import as_operator
from .operators.operator import LinearOperator
from .results import InvariantSubspace, SingularSubspaces, TEighResult, TSVDResult


def matrix_of_spectrum(
    values: Sequence[float] | np.ndarray | Array,
    shape: tuple[int, int] | None = None,
    *,
    hermitian: bool = False,
    dtype: Any = None,
    seed: int = 0,
) -> Array:
    """A matrix with these singular values, or eigenvalues, and random vectors.

    Args:
        values: the singular values, at most min(m, n), the others are zero; or all n eigenvalues if ``hermitian``.
        shape: (m, n); by default square.
        hermitian: whether the values are eigenvalues.
        dtype: of the matrix; by default the default float. Made in double precision on the host, then rounded.
        seed: of the vectors.

    Returns:
        An array (m, n).

    Raises:
        ValueError: more values than the shape has, or a shape that is not (n, n) for n eigenvalues.

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> a = truncax.testing.matrix_of_spectrum([3.0, 2.0, 2.0], (6, 4))
        >>> a.shape, [f"{s:.3f}" for s in jnp.linalg.svd(a, compute_uv=False)[:3]]
        ((6, 4), ['3.000', '2.000', '2.000'])

    """
    s = np.asarray(values, float)
    m, n = (s.size, s.size) if shape is None else shape
    if s.ndim != 1 or s.size > min(m, n) or (hermitian and (m, n) != (s.size, s.size)):
        raise ValueError(
            f"values must be a list of at most min(m, n) singular values or of n eigenvalues, got shape {s.shape} for "
            f"a matrix of shape {(m, n)}"
        )
    dtype = jnp.zeros(()).dtype if dtype is None else jnp.dtype(dtype)
    rng, complex_ = np.random.default_rng(seed), jnp.issubdtype(dtype, jnp.complexfloating)
    u = _orthonormal(rng, m, s.size, complex_)
    v = u if hermitian else _orthonormal(rng, n, s.size, complex_)
    a = (u * s) @ v.conj().T
    return jnp.asarray((a + a.conj().T) / 2 if hermitian else a, dtype)


def subspace_distance(x: Array, y: Array) -> Array:
    """The sine of the largest angle between the spans of the orthonormal columns of ``x`` and ``y``, both (n, k).

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> x = jnp.eye(4)[:, :2]
        >>> float(truncax.testing.subspace_distance(x, -x[:, ::-1]))
        0.0

    """
    if x.shape != y.shape or x.ndim != 2:
        raise ValueError(f"x and y must have the same shape (n, k), got {x.shape} and {y.shape}")
    return jnp.linalg.norm(y - matmul(x, matmul(adjoint(x), y)), 2)


def _orthonormal(rng: np.random.Generator, n: int, k: int, complex_: bool) -> np.ndarray:
    x = rng.normal(size=(n, k))
    return np.linalg.qr(x + 1j * rng.normal(size=(n, k)) if complex_ else x)[0]


@dataclass(frozen=True)
class Check:
    """One line of a report: what was compared, the relative error, what is allowed, and what a failure means."""

    name: str
    error: float
    allowed: float
    meaning: str

    @property
    def passed(self) -> bool:
        """Whether the error is a number within what is allowed."""
        return self.error <= self.allowed


class Slope(NamedTuple):
    """A difference quotient and its error."""

    value: float
    error: float


@dataclass(frozen=True)
class DerivativeReport:
    """What ``check_derivatives`` found; ``print`` it. ``bool(report)``: whether every check passed."""

    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    def __bool__(self) -> bool:
        return all(check.passed for check in self.checks)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def __str__(self) -> str:
        lines = []
        for check in self.checks:
            verdict = "ok  " if check.passed else "FAIL"
            lines.append(f"{verdict} {check.name:<28} {check.error:8.1e}  allowed {check.allowed:.1e}")
            if not check.passed:
                lines.append(f"     {check.meaning}")
        return "\n".join([*lines, *(f"note {note}" for note in self.notes)])


def check_derivatives(
    fn: Callable[..., Any],
    operator: Any,
    k: int,
    *,
    loss: Callable[[Any], Array] | None = None,
    directions: int = 2,
    seed: int = 0,
    **options: Any,
) -> DerivativeReport:
    """Whether a decomposition of your operator, and your loss of it, have the derivative that they should.

    Compares, in random directions: the products of the operator with its adjoint; forward with reverse mode for random
    cotangents (any, so that nothing cancels); both with differences of the loss; the loss with what it may depend on.

    Args:
        fn: ``tsvd``, ``teigh``, ``singular_subspaces``, ``invariant_subspace``, or a function of yours of the same
            form, ``fn(operator, k, return_info=True, **options)``, with any custom rule inside.
        operator: an array, a sparse matrix of JAX or a ``LinearOperator``, as for ``fn``; what is differentiated are
            its floating-point arrays.
        k: as for ``fn``.
        loss: a real function of the result, gauge invariant; by default one of the projectors and the values.
        directions: how many.
        seed: of everything random.
        **options: for ``fn``.

    Returns:
        A ``DerivativeReport``: ``print(report)``, ``bool(report)``, ``report["forward against reverse"].error``. Its
        lines are ``adjoint of the operator``, ``forward against reverse`` and ``forward against differences`` (where
        there is a forward mode), ``reverse against differences``, ``gauge defect`` and ``inverse of the cut gap``. The
        errors are relative; allowed are rounding over the cut gap and the error of the differences, as two step
        sizes show it.

    Raises:
        TypeError: a loss that is not real, an operator without floating-point arrays, or a result of another kind;
            what ``fn`` raises.

    Example:
        >>> import truncax
        >>> a = truncax.testing.matrix_of_spectrum([3.0, 2.0, 2.0, 1.0, 0.9, 0.3])
        >>> report = truncax.testing.check_derivatives(truncax.singular_subspaces, a, 4)
        >>> bool(report), len(report.checks)
        (True, 6)

    Source: the adjoint test of automatic differentiation; finite differences of fourth order.

    """
    leaves, treedef = jax.tree.flatten(operator)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    moving = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    if not moving:
        raise TypeError(f"operator must have floating-point arrays to be differentiated, got {type(operator).__name__}")
    rng, point = np.random.default_rng(seed), [leaves[i] for i in moving]

    def at(arrays: list[Array]) -> Any:
        every = dict(enumerate(leaves)) | dict(zip(moving, arrays, strict=True))
        return jax.tree.unflatten(treedef, [every[i] for i in range(len(leaves))])

    def decomposed(arrays: list[Array]) -> Any:
        return fn(at(arrays), k, return_info=True, **options)

    result, info = decomposed(point)
    symmetric = _is_hermitian(result) and not isinstance(operator, LinearOperator) and point[0].ndim == 2
    of_result = _default_loss(result, rng) if loss is None else loss

    def of_arrays(arrays: list[Array]) -> Array:
        return of_result(decomposed(arrays)[0])

    value = of_arrays(point)
    if jnp.shape(value) != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"loss must return a real number, got shape {jnp.shape(value)} and dtype {value.dtype}")
    eps, gap = epsilon(value.dtype), float(info.cut_gap)
    rounding = min(1.0, 1e3 * eps / max(min(gap, 1.0), eps))
    lines = [_adjointness(as_operator(operator), rng, rounding)]

    errors, allowed = dict.fromkeys(("modes", "forward", "reverse"), 0.0), rounding
    _, pull = jax.vjp(lambda arrays: decomposed(arrays)[0], point)
    gradient = jax.grad(of_arrays)(point)
    forward_mode = _has_forward_mode(of_arrays, point)
    for _ in range(directions):
        along = [_direction(rng, x, symmetric=symmetric) for x in point]
        if forward_mode:
            bar = jax.tree.map(lambda x: _random(rng, x), result)
            _, tangent = jax.jvp(lambda arrays: decomposed(arrays)[0], (point,), (along,))
            left, right = _pairing(bar, tangent), _pairing(pull(bar)[0], along)
            errors["modes"] = _worst(errors["modes"], abs(left - right), _norm(bar) * _norm(tangent))
        slope = _difference(of_arrays, point, along, max(eps**0.2 * min(gap, 1.0), eps**0.5))
        size = max(abs(slope.value), 1e-3 * _norm(gradient) * _norm(along))
        if forward_mode:
            forward = float(jax.jvp(of_arrays, (point,), (along,))[1])
            errors["forward"] = _worst(errors["forward"], abs(forward - slope.value), size)
        errors["reverse"] = _worst(errors["reverse"], abs(_pairing(gradient, along) - slope.value), size)
        # A difference that is no better than this proves nothing.
        allowed = max(allowed, min(_WORST_DIFFERENCE, 10 * slope.error / size if size else 0.0))
    defect = float(gauge_defect(result, jax.grad(of_result)(result)))
    if forward_mode:
        lines += [
            Check("forward against reverse", errors["modes"], rounding, "the two modes are not adjoint to each other"),
            Check("forward against differences", errors["forward"], allowed, f"forward mode {_WRONG}"),
        ]
    lines += [
        Check("reverse against differences", errors["reverse"], allowed, f"the gradient {_WRONG}"),
        Check("gauge defect", defect, rounding, _DEFECT),
        Check("inverse of the cut gap", 1 / gap if gap > 0 else np.inf, 1e-3 / eps, _GAP),
    ]
    notes = [f"cut gap {gap:.1e}, smallest gap inside {float(info.min_kept_gap):.1e}, relative to the largest value"]
    if not forward_mode:
        notes.append("no forward mode: what is differentiated has a rule for reverse mode alone")
    return DerivativeReport(tuple(lines), tuple(notes))


def _has_forward_mode(f: Callable[[list[Array]], Array], point: list[Array]) -> bool:
    try:
        jax.jvp(f, (point,), (point,))
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        return False
    return True


_WORST_DIFFERENCE = 0.03
_WRONG = "is wrong; or the loss is not smooth here, if the gauge defect or the gap say so"
_DEFECT = (
    "the loss depends on phases, or on the basis inside a multiplet: take singular_subspaces or invariant_subspace and "
    "a loss that does not, or fix_gauge"
)
_GAP = "the cut splits a multiplet or nearly so: truncax.complete_multiplet finds a k that does not"


def _is_hermitian(result: Any) -> bool:
    return isinstance(result, TEighResult | InvariantSubspace)


def _default_loss(result: Any, rng: np.random.Generator) -> Callable[[Any], Array]:
    """A sum of random entries of the projectors, and of the squares of the values."""
    weights = jax.tree.map(lambda x: _random(rng, x), result)

    def projected(x: Array, w: Array) -> Array:
        return jnp.sum(jnp.abs(matmul(adjoint(w), matmul(x, adjoint(x)))) ** 2)

    def columns(x: Any) -> Array:
        return jnp.concatenate([leaf.reshape(-1, leaf.shape[-1]) for leaf in jax.tree.leaves(x)])

    def rows(x: Any) -> Array:
        return jnp.concatenate([leaf.reshape(leaf.shape[0], -1).T for leaf in jax.tree.leaves(x)])

    def loss(result: Any) -> Array:
        if isinstance(result, TSVDResult | SingularSubspaces):
            (U, middle, Vh), (u, _, vh) = result, weights
            sides = projected(columns(U), columns(u)) + projected(jnp.conj(rows(Vh)), rows(vh))
        elif isinstance(result, TEighResult):
            middle, sides = result.eigenvalues, projected(columns(result.eigenvectors), columns(weights.eigenvectors))
        else:
            middle, sides = result.H, projected(columns(result.Q), columns(weights.Q))
        return sides + jnp.sum(jnp.abs(middle) ** 2)

    return loss


def _adjointness(operator: LinearOperator, rng: np.random.Generator, allowed: float) -> Check:
    """``y^H (A x)`` and ``(A^H y)^H x`` for random x and y."""
    m, n = operator.shape
    x, y = (_random(rng, jnp.zeros(size, operator.dtype)) for size in (n, m))
    Ax, AHy = operator.apply(x), operator.apply_adjoint(y)
    error = float(jnp.abs(jnp.vdot(y, Ax) - jnp.vdot(AHy, x)))
    size = _norm(y) * _norm(Ax) + _norm(x) * _norm(AHy)
    return Check(
        "adjoint of the operator", error / size if size else 0.0, allowed, "rmatvec is not the adjoint of matvec"
    )


def _random(rng: np.random.Generator, x: Array) -> Array:
    z = rng.normal(size=x.shape)
    return jnp.asarray(z + 1j * rng.normal(size=x.shape) if jnp.iscomplexobj(x) else z, x.dtype)


def _direction(rng: np.random.Generator, x: Array, *, symmetric: bool) -> Array:
    """A random direction of the size of x; Hermitian where x is a matrix that must stay so."""
    d = _random(rng, x)
    d = (d + adjoint(d)) / 2 if symmetric else d
    return d * (jnp.linalg.norm(x) / jnp.linalg.norm(d)).astype(x.dtype)


def _pairing(bar: Any, tangent: Any) -> float:
    """As JAX pairs a cotangent with a tangent, without conjugation."""
    return sum(float(jnp.sum(x * y).real) for x, y in zip(jax.tree.leaves(bar), jax.tree.leaves(tangent), strict=True))


def _norm(tree: Any) -> float:
    return sum(float(jnp.linalg.norm(x.ravel())) ** 2 for x in jax.tree.leaves(tree)) ** 0.5


def _worst(so_far: float, error: float, size: float) -> float:
    """The larger of two relative errors; NaN counts as infinite."""
    error = error / size if size else error
    return max(so_far, np.inf if np.isnan(error) else error)


def _difference(f: Callable[[list[Array]], Array], point: list[Array], along: list[Array], h: float) -> Slope:
    """The slope of f by central differences of fourth order with the steps h and h / 2, whose distance is the error."""

    def odd(t: float) -> float:
        ahead, behind = (
            f([x + jnp.asarray(sign * t, x.dtype) * d for x, d in zip(point, along, strict=True)]) for sign in (1, -1)
        )
        return (float(ahead) - float(behind)) / (2 * t)

    at_two, at_one, at_half = odd(2 * h), odd(h), odd(h / 2)
    coarse, fine = (4 * at_one - at_two) / 3, (4 * at_half - at_one) / 3
    noise = epsilon(point[0].dtype) * abs(float(f(point))) / h
    return Slope(fine, abs(fine - coarse) + noise)
