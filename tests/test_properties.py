"""Hypothesis: shape, dtype, rank and a spectrum with a prescribed gap, against full decompositions and differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from references import (
    EPS,
    best_first,
    error,
    finite_difference,
    hermitian,
    hermitian_function_gradient,
    matrix,
    random,
    singular_function_gradient,
)

import truncax

# Few programs: every shape, rank and dtype compiles anew. Each occurs here in real and complex.
RANKS = [1, 3, 12]
SINGULAR = [
    ((12, 17), 1, True),
    ((12, 17), 12, False),
    ((14, 14), 3, False),
    ((14, 14), 12, True),
    ((17, 12), 3, True),
    ((17, 12), 1, False),
]
HERMITIAN = [
    ("LM", 3, True),
    ("LM", 12, False),
    ("LA", 1, False),
    ("LA", 12, True),
    ("SA", 3, False),
    ("SA", 1, True),
]
KINDS = ["uniform", "geometric", "accumulating", "pair"]


@st.composite
def spectra(draw, size, k):
    """k kept values, the cut at a relative gap between 0.02 and 0.5, the rest below; exact pairs among the kept."""
    gap = draw(st.sampled_from([0.5, 0.1, 0.02]))
    kind = draw(st.sampled_from(KINDS))
    kept = np.linspace(2, 1, k) if k > 1 else np.ones(1)
    if kind == "pair" and k > 2:
        kept[1] = kept[2]
    x = np.linspace(0, 1, size - k)
    rest = {"uniform": 1 - 0.8 * x, "geometric": 0.7 ** (8 * x), "accumulating": 1 - 0.3 * x**3, "pair": 1 - x}[kind]
    return np.concatenate([kept, (1 - gap) * rest]), gap if size > k else 1.0


@st.composite
def problems(draw, programs=SINGULAR):
    kind, k, complex_ = draw(st.sampled_from(programs))  # the shape or, of a Hermitian matrix, ``which``
    s, gap = draw(spectra(14 if isinstance(kind, str) else min(kind), k))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng, kind, k, complex_, s, gap


def adjoint(x):
    return jnp.conj(x.T)


def mm(a, b):
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


@jax.jit
def _low_rank_weight(U, C, Vh, w):
    return jnp.sum((jnp.conj(w) * mm(U, mm(C, Vh))).real)


def low_rank_loss(k, solver):
    return jax.jit(lambda a, w: _low_rank_weight(*truncax.singular_subspaces(a, k, solver=solver), w))


def exponential_loss(k, which):
    def loss(a, w):
        Q, H = truncax.invariant_subspace(a, k, which=which)
        return jnp.sum((jnp.conj(w) * mm(Q, mm(jax.scipy.linalg.expm(H), adjoint(Q)))).real)

    return jax.jit(loss)


LOW_RANK = {k: jax.jit(jax.grad(low_rank_loss(k, truncax.Dense()))) for k in RANKS}
EXPONENTIAL = {(k, w): jax.jit(jax.grad(exponential_loss(k, w))) for k in RANKS for w in ("LM", "LA", "SA")}


@given(problems())
def test_gradient_of_the_low_rank_approximation(problem):
    rng, shape, k, complex_, s, gap = problem
    a, w = matrix(rng, shape, s, complex_), random(rng, shape, complex_)
    gradient = LOW_RANK[k](a, w)
    expected = singular_function_gradient(a, w, k, lambda s: s, np.ones_like)
    assert error(gradient, expected) <= 1e4 * EPS / gap


@given(problems(HERMITIAN))
def test_gradient_of_the_exponential_on_the_kept_subspace(problem):
    rng, which, k, complex_, s, gap = problem
    shape = (14, 14)
    values = -s if which == "SA" else s
    a, w = hermitian(rng, values, complex_), random(rng, shape, complex_)
    expected = hermitian_function_gradient(a, w, (best_first(np.linalg.eigvalsh(a), which), k), np.exp, np.exp)
    assert error(EXPONENTIAL[k, which](a, w), expected) <= 1e4 * EPS / gap


def _projector(a, k):
    U = truncax.tsvd(a, k, solver=truncax.Dense()).U
    return mm(U, adjoint(U))


FORWARD = {k: jax.jit(partial(truncax.tsvd, k=k, solver=truncax.GolubKahan(), return_info=True)) for k in RANKS}
PROJECTOR = {k: jax.jit(partial(_projector, k=k)) for k in RANKS}
TANGENT = {k: jax.jit(lambda a, d, k=k: jax.jvp(partial(_projector, k=k), (a,), (d,))[1]) for k in RANKS}


@given(problems())
def test_forward_values_and_vectors(problem):
    rng, shape, k, complex_, s, gap = problem
    (U, S, Vh), info = FORWARD[k](matrix(rng, shape, s, complex_))
    np.testing.assert_allclose(S, s[:k], atol=50 * EPS)
    assert info.residual_norms.max() <= 100 * EPS
    np.testing.assert_allclose(mm(adjoint(U), U), np.eye(k), atol=20 * EPS)
    np.testing.assert_allclose(mm(Vh, adjoint(Vh)), np.eye(k), atol=20 * EPS)
    if min(shape) > k:
        np.testing.assert_allclose(info.cut_gap, gap / s[0], rtol=1e-6)


@given(problems())
def test_tangent_of_the_projector_against_differences(problem):
    rng, shape, k, complex_, s, gap = problem
    a, d = matrix(rng, shape, s, complex_), random(rng, shape, complex_)
    if k == shape[0]:
        return
    reference = finite_difference(lambda x: np.asarray(PROJECTOR[k](x)), a, d, h=gap * 1e-3)
    assert error(TANGENT[k](a, d), reference) <= 1e-8
