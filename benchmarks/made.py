"""Matrices made for the purpose: the spectrum and the singular vectors are known."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from truncax.command.closed_form import at_factors, closed_form
from truncax.command.loss import random_weights

from .problems import Problem
from .references import hermitian, singular
from .shared import SPECTRA, spectrum

MADE = "closed form at the factors that the matrix was made of"
FULL = "closed form by a full SVD in NumPy, in double precision"
SOLVED = "ARPACK to rounding and conjugate gradients (SciPy)"
FACTORED = "shift-invert ARPACK and a bordered sparse LU (SciPy)"
SAME_WORK = "the full decomposition is the same work as at `exp`, k = 16"


def columns(rng, m, n, dtype):
    x = rng.standard_normal((m, n))
    return np.linalg.qr(x + 1j * rng.standard_normal((m, n)) if np.dtype(dtype).kind == "c" else x)[0]


def dense(m, n, k, kind="exp", dtype="float64", **options):
    """An m x n matrix of one of the named spectra."""
    return of_values(SPECTRA[kind](min(m, n)), m, n, k, f"dense {m} x {n}, `{kind}`", dtype, **options)


def at_gap(n, k, gap, kind):
    """k values from 2 to 1, the others evenly spread below a gap (``uniform``) or piled up there (``accumulating``)."""
    return of_values(spectrum(kind, n, k, gap), n, n, k, f"dense {n} x {n}, gap {gap:.0e}, {kind}")


def rank_deficient(n, rank, k):
    """An exact rank: all the values behind it are rounding, and LAPACK returns many of them equal."""
    values = np.where(np.arange(n) < rank, 0.95 ** np.arange(n), 0.0)
    return of_values(values, n, n, k, f"dense {n} x {n} of rank {rank}", depth=rank + 1)


def of_values(values, m, n, k, title, dtype="float64", **options):
    rng = np.random.default_rng(0)
    r = len(values)
    U, V = columns(rng, m, r, dtype), columns(rng, n, r, dtype)
    a = np.ascontiguousarray((U * values) @ V.conj().T).astype(dtype)
    w = random_weights((m, n), dtype, 0)
    double = np.dtype(dtype).name in ("float64", "complex128")
    exact = at_factors(U, values, V.conj().T, w, k) if double else closed_form(a, w, k)
    suffix = "" if dtype == "float64" else f", {dtype}"
    return Problem(
        title=title + suffix,
        k=k,
        parameter=a,
        weights=(w,),
        values=exact.singular_values[:k],
        gradient=exact.gradient,
        reference=MADE if double else FULL,
        gap=float((values[k - 1] - values[k]) / values[0]),
        **options,
    )


def batch(count, n, k):
    """Many small random matrices."""
    rng = np.random.default_rng(0)
    a, w = rng.standard_normal((count, n, n)) / np.sqrt(n), rng.standard_normal((n, n))
    exact = [closed_form(x, w, k) for x in a]
    values = np.stack([e.singular_values for e in exact])
    return Problem(
        title=f"{count} random matrices of {n} x {n}",
        k=k,
        parameter=a,
        weights=(w,),
        values=values[:, :k],
        gradient=np.stack([e.gradient for e in exact]),
        reference=FULL,
        gap=float(np.min((values[:, k - 1] - values[:, k]) / values[:, 0])),
    )


def sparse_problem(a, k, title, **options):
    """The k triplets of a sparse matrix, by its stored entries; it is divided by its norm."""
    rng = np.random.default_rng(1)
    a = a.tocsr()
    a.sum_duplicates()
    X, Y = (rng.standard_normal((size, 4)) for size in a.shape)
    values, gap, _ = singular(a, 1, X, Y)
    a = a / values[0]
    values, gap, gradient = singular(a, k, X, Y)
    return Problem(
        title=title,
        k=k,
        parameter=a.data,
        weights=(X, Y),
        values=values,
        gradient=gradient,
        reference=SOLVED,
        gap=float(gap),
        shape=a.shape,
        indices=np.stack(a.tocoo().coords, axis=1).astype(np.int32),
        entries=lambda data: data,
        **options,
    )


def random_sparse(m, n, k, graded):
    """Ten normal entries in each row; ``graded``: columns that shrink, so that the leading values stand apart."""
    import scipy.sparse

    rng = np.random.default_rng(0)
    places = np.repeat(np.arange(m), 10), rng.integers(0, n, 10 * m)
    data = rng.standard_normal(10 * m)
    if graded:
        data = data / np.sqrt(1 + places[1])
    a = scipy.sparse.coo_array((data, places), shape=(m, n))
    kind = "graded" if graded else "flat"
    reason = dict.fromkeys(("jnp", "gram", "torch", "torch-lowrank"), "a dense copy would not fit")
    return sparse_problem(a, k, f"sparse {m} x {n}, {kind}", depth=120 if graded else 240, left_out=reason)


def laplacian(side, k):
    """The 5-point Laplacian of a square and a random potential in [0, 1]: the lowest states, by the potential."""
    n = side * side
    site = np.arange(n).reshape(side, side)
    pairs = [(site[:, 1:], site[:, :-1]), (site[1:], site[:-1])]
    pairs = np.concatenate([np.stack([x.ravel(), y.ravel()], 1) for x, y in pairs])
    indices = np.concatenate([pairs, pairs[:, ::-1], np.stack([np.arange(n)] * 2, 1)]).astype(np.int32)
    rng = np.random.default_rng(3)
    potential, w, c = rng.uniform(0, 1, n), 1 + rng.uniform(0, 1, k), rng.standard_normal(n)
    hopping = -np.ones(2 * len(pairs))

    def entries(potential):
        return jnp.concatenate([jnp.asarray(hopping), 4 + potential])

    reason = {"jnp": "a dense copy takes minutes"} if n > 4000 else {}
    problem = Problem(
        title=f"2D Laplacian + random potential, {side} x {side}",
        k=k,
        parameter=potential,
        weights=(w, c),
        values=np.empty(0),
        gradient=np.empty(0),
        reference=FACTORED,
        gap=0.0,
        which="SA",
        shape=(n, n),
        indices=indices,
        entries=entries,
        sigma=0.0,
        depth=400,
        left_out=reason,
    )
    return answered(problem, lambda q, z: np.sum(z * q + w * q**2, axis=1))


def answered(problem, gradient):
    """A Hermitian ``problem`` with its answers; ``gradient`` makes that of the parameter from q and z."""
    w, c = problem.weights
    values, gap, q, z = hermitian(problem.host(), problem.k, problem.sigma, w, c)
    return dataclasses.replace(problem, values=values, gap=float(gap), gradient=gradient(q, z))
