"""Full against truncated on one matrix: what is measured, and against what."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..decompositions import singular_subspaces
from ..numerics.tolerances import degeneracy_rtol
from ..solvers.select import choose_svd
from .closed_form import ClosedForm, closed_form
from .loss import full_loss, full_loss_and_factors, random_weights, truncated_loss
from .measure import Measurement, measure

# Seconds after which no run is repeated, and the runs that are wanted.
PATIENCE = 15.0
TRUNCATED_RUNS, FULL_RUNS = 7, 3
# Beyond this gap, relative to the last kept value, a rank is recommended.
GOOD_GAP = 1e-3

NO_FULL = "no full SVD was computed (--no-full)"
UNDEFINED = "undefined: the cut falls into a multiplet"

Step = Callable[[str], AbstractContextManager[None]]


class Quantity(NamedTuple):
    """A number, or None and why there is none."""

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Side:
    """One way of computing: the value, the value with its gradient, and how right they are."""

    value: Measurement
    gradient: Measurement
    value_error: Quantity
    gradient_error: Quantity
    residual: float


@dataclass(frozen=True)
class Comparison:
    """The outcome. ``cut_gap`` is relative to s_1; ``advice`` holds ranks with a good gap next to the asked one."""

    shape: tuple[int, int]
    dtype: str
    rank: int
    truncated: Side
    full: Side | None
    solver: str
    products: int
    restarts: int
    last_value: float
    cut_gap: Quantity
    in_multiplet: bool
    gradient_difference: Quantity
    advice: list[int]


@contextlib.contextmanager
def _silent(_: str) -> Iterator[None]:
    yield


def compare(a: np.ndarray, rank: int, *, seed: int = 0, full: bool = True, step: Step = _silent) -> Comparison:
    """Measure the loss and its gradient at ``a``, by Truncax and by ``jnp.linalg.svd``; ``step`` shows progress.

    With ``full=False`` no full SVD is computed, and there is nothing to compare with. A 64-bit dtype needs
    ``jax.enable_x64``. Raises ``ConvergenceError`` as the library does.
    """
    w = random_weights(a.shape, a.dtype, seed)
    matrix, weights = jnp.asarray(a), jnp.asarray(w)
    with step("truncax: the kept triplets"):
        factors, info = jax.block_until_ready(singular_subspaces(matrix, rank, return_info=True))
    kept = np.abs(np.diagonal(factors.C))

    reference: ClosedForm | None = None
    cut_gap, advice = _gap(float(info.cut_gap)), list[int]()
    if full:
        with step("closed form of the gradient, by a full SVD in NumPy"):
            reference = closed_form(a, w, rank)
        cut_gap, advice = _exact_gap(reference.singular_values, rank, a)
    tied = cut_gap.value is not None and cut_gap.value <= degeneracy_rtol(a.dtype)

    residual = float(np.max(info.residual_norms))
    truncated, gradient = _truncated_side(matrix, weights, rank, residual, reference, tied, step)
    other, difference = None, Quantity(None, NO_FULL)
    if reference is not None:
        other, full_gradient = _full_side(matrix, weights, rank, reference, tied, step)
        difference = _relative(gradient, full_gradient, "one of them is not finite")
    return Comparison(
        shape=(a.shape[0], a.shape[1]),
        dtype=a.dtype.name,
        rank=rank,
        truncated=truncated,
        full=other,
        solver=type(choose_svd(rank, a, "LM", starts=False)).__name__,
        products=int(info.products),
        restarts=int(info.iterations),
        last_value=float(kept[-1] / kept[0]) if kept[0] > 0 else 0.0,
        cut_gap=cut_gap,
        in_multiplet=tied,
        gradient_difference=difference,
        advice=advice,
    )


def _truncated_side(
    a: Array, w: Array, k: int, residual: float, reference: ClosedForm | None, tied: bool, step: Step
) -> tuple[Side, np.ndarray]:
    def loss(a: Array, w: Array) -> Array:
        return truncated_loss(a, w, k)

    with step("truncax: value"):
        value, _ = measure(loss, a, w, repeats=TRUNCATED_RUNS, patience=PATIENCE)
    with step("truncax: value and gradient"):
        both, (number, gradient) = measure(jax.value_and_grad(loss), a, w, repeats=TRUNCATED_RUNS, patience=PATIENCE)
    gradient = np.asarray(gradient)
    unknown = "not finite: the linear solve of the derivative did not converge"
    errors = _errors(float(number), gradient, reference, tied, unknown)
    return Side(value, both, *errors, residual), gradient


def _full_side(a: Array, w: Array, k: int, reference: ClosedForm, tied: bool, step: Step) -> tuple[Side, np.ndarray]:
    def loss_and_factors(a: Array, w: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        return full_loss_and_factors(a, w, k)

    def loss(a: Array, w: Array) -> Array:
        return full_loss(a, w, k)

    with step("jnp.linalg.svd: value"):
        value, (number, factors) = measure(loss_and_factors, a, w, repeats=FULL_RUNS, patience=PATIENCE)
    with step("jnp.linalg.svd: value and gradient"):
        both, (_, gradient) = measure(jax.value_and_grad(loss), a, w, repeats=FULL_RUNS, patience=PATIENCE)
    U, s, Vh = map(np.asarray, factors)
    ties = int(np.sum((s[:-1] + s[1:]) * (s[:-1] - s[1:]) == 0))
    unknown = "NaN: its rule divides by the differences of all singular values"
    if ties:
        unknown += f", and {ties} of them are equal to their neighbour to the last bit"
    gradient = np.asarray(gradient)
    errors = _errors(float(number), gradient, reference, tied, unknown)
    return Side(value, both, *errors, _residual(np.asarray(a), U, s, Vh, k)), gradient


def _errors(
    value: float, gradient: np.ndarray, reference: ClosedForm | None, tied: bool, unknown: str
) -> tuple[Quantity, Quantity]:
    """The relative errors of value and gradient against the closed form."""
    if tied:
        returned = "finite numbers" if np.all(np.isfinite(gradient)) else "NaN"
        return Quantity(None, UNDEFINED), Quantity(None, f"{UNDEFINED}; it returned {returned}")
    if reference is None:
        return Quantity(None, NO_FULL), Quantity(None, NO_FULL if np.all(np.isfinite(gradient)) else unknown)
    error = abs(value - reference.value) / abs(reference.value) if reference.value else abs(value)
    return Quantity(error), _relative(gradient, reference.gradient, unknown)


def _relative(x: np.ndarray, y: np.ndarray, unknown: str) -> Quantity:
    """``||x - y|| / ||y||`` in the Frobenius norm; ``unknown`` says why it may not be finite."""
    norm = float(np.linalg.norm(y))
    error = float(np.linalg.norm(x - y)) / (norm if norm > 0 else 1)
    return Quantity(error) if np.isfinite(error) else Quantity(None, unknown)


def _residual(a: np.ndarray, U: np.ndarray, s: np.ndarray, Vh: np.ndarray, k: int) -> float:
    """The largest ``||A v - s u||`` or ``||A^H u - s v||`` over ``s_1``."""
    right = np.linalg.norm(a @ Vh.conj().T - U * s[:k], axis=0)
    left = np.linalg.norm(U.conj().T @ a - s[:k, None] * Vh, axis=1)
    return float(np.max(np.maximum(right, left)) / (s[0] if s[0] > 0 else 1))


def _gap(gap: float) -> Quantity:
    return Quantity(gap) if np.isfinite(gap) else Quantity(None, "nothing is discarded")


def _exact_gap(s: np.ndarray, k: int, a: np.ndarray) -> tuple[Quantity, list[int]]:
    """``(s_k - s_{k+1}) / s_1``, and the nearest ranks on both sides with a good gap.

    With m != n the zeros of the longer side count as discarded.
    """
    gaps = s - np.append(s[1:], 0 if a.shape[0] != a.shape[1] else -np.inf)
    good = 1 + np.flatnonzero((gaps > GOOD_GAP * s) & (gaps > degeneracy_rtol(a.dtype) * s[0]) & (s > 0))
    advice = [*good[good < k][-1:], *good[good > k][:1]]
    scale = s[0] if s[0] > 0 else 1
    return _gap(float(gaps[k - 1] / scale)), [int(rank) for rank in advice]
