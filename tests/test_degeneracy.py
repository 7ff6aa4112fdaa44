"""Multiplets, zero values, ties at the cut and in the tail, against closed forms that hold there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import adjoint, mm
from profiles import crossed
from references import (
    best_first,
    error,
    finite_difference,
    hermitian,
    hermitian_function_gradient,
    matrix,
    orthonormal,
    random,
    singular_function_gradient,
)

import truncax

COMPLEX = pytest.mark.parametrize("complex_", [False, True], ids=["real", "complex"])
NATIVE = truncax.GolubKahan()
FUNCTIONS = [truncax.tsvd, truncax.singular_subspaces, truncax.teigh, truncax.invariant_subspace]
# Kept: a pair and a triple of equal values, in a random basis; 0.9 below the cut.
VALUES = np.concatenate([[2.0, 1.5, 1.5, 1.0, 1.0, 1.0], 0.9 * np.linspace(1, 0.3, 18)])
K = 6


def one(x):
    return np.ones_like(x)


def inner(w, x):
    return jnp.sum((jnp.conj(w) * x).real)


def low_rank(a, solver=NATIVE):
    U, C, Vh = truncax.singular_subspaces(a, K, solver=solver)
    return mm(U, C, Vh)


def exponential(a, which="LA"):
    Q, H = truncax.invariant_subspace(a, K, which=which, solver=truncax.Lanczos())
    return mm(Q, jax.scipy.linalg.expm(H), adjoint(Q))


@crossed("shape, complex_", [(24, 30), (24, 24), (30, 24)], [True, False])
def test_low_rank_approximation_at_a_multiplet(shape, complex_):
    rng = np.random.default_rng(1)
    a, w = matrix(rng, shape, VALUES, complex_), random(rng, shape, complex_)
    gradient = jax.jit(jax.grad(lambda a: inner(w, low_rank(a))))
    assert error(gradient(a), singular_function_gradient(a, w, K, lambda s: s, one)) <= 1e-11


@COMPLEX
def test_hessian_of_the_low_rank_approximation_at_a_multiplet(complex_):
    rng = np.random.default_rng(2)
    a, w, d = matrix(rng, (24, 24), VALUES, complex_), random(rng, (24, 24), complex_), random(rng, (24, 24), complex_)
    gradient = jax.grad(lambda a: inner(w, low_rank(a, truncax.Dense())))
    product = jax.jit(lambda a, d: jax.jvp(gradient, (a,), (d,))[1])(a, d)
    reference = finite_difference(lambda x: singular_function_gradient(x, w, K, lambda s: s, one), a, d)
    assert error(product, reference) <= 1e-6


@crossed("which, complex_", ["LA", "SA"], [False, True])
def test_matrix_exponential_on_a_degenerate_subspace(which, complex_):
    rng = np.random.default_rng(3)
    values = VALUES if which == "LA" else -VALUES
    a, w = hermitian(rng, values, complex_), random(rng, (24, 24), complex_)
    d = hermitian(rng, rng.normal(size=24), complex_)
    gradient = jax.grad(lambda a: inner(w, exponential(a, which)))

    def reference(x):
        return hermitian_function_gradient(x, w, (best_first(np.linalg.eigvalsh(x), which), K), np.exp, np.exp)

    value, product = jax.jit(lambda a, d: jax.jvp(gradient, (a,), (d,)))(a, d)
    assert error(value, reference(a)) <= 1e-11
    assert error(product, finite_difference(reference, a, d)) <= 1e-6


@COMPLEX
def test_tsvd_at_a_multiplet(complex_):
    """Projectors, the polar factor and sums have exact first derivatives by the vectors too."""
    rng = np.random.default_rng(4)
    a, w = matrix(rng, (24, 24), VALUES, complex_), random(rng, (24, 24), complex_)
    gram = a @ a.conj().T
    gram_gradient = hermitian_function_gradient(gram, w, (np.arange(24)[::-1], K), one, np.zeros_like)
    expected = {
        "projector": (2 * gram_gradient.conj() @ a).conj(),
        "polar": singular_function_gradient(a, w, K, one, np.zeros_like),
        "sum": singular_function_gradient(a, a, K, lambda s: s, one) * 0 + _sum_gradient(a),
    }
    losses = {
        "projector": lambda r: inner(w, mm(r.U, adjoint(r.U))),
        "polar": lambda r: inner(w, mm(r.U, r.Vh)),
        "sum": lambda r: jnp.sum(r.S),
    }

    @jax.jit
    def gradients(a):
        result, pull = jax.vjp(lambda a: truncax.tsvd(a, K, solver=NATIVE), a)
        return {name: pull(jax.grad(loss)(result))[0] for name, loss in losses.items()}

    for name, got in gradients(a).items():
        assert error(got, expected[name]) <= 1e-11, name


def _sum_gradient(a):
    u, _, vh = np.linalg.svd(a)
    return (u[:, :K] @ vh[:K]).conj()


def test_the_documented_limit_of_tsvd_at_a_multiplet():
    """``U S V^H`` by the vectors is wrong at a multiplet; the subspaces are the way."""
    rng = np.random.default_rng(5)
    a, w = matrix(rng, (24, 24), VALUES), random(rng, (24, 24))
    expected = singular_function_gradient(a, w, K, lambda s: s, one)

    def by_vectors(a):
        U, S, Vh = truncax.tsvd(a, K)
        return inner(w, mm(U * S[None, :], Vh))

    assert error(jax.grad(by_vectors)(jnp.asarray(a)), expected) > 1e-3
    assert error(jax.grad(lambda a: inner(w, low_rank(a)))(jnp.asarray(a)), expected) <= 1e-11


@crossed("tail, solver", ["rank 32 of 256", "equal tail"], [None, truncax.Dense()])
def test_ties_below_the_cut_where_the_full_rule_is_nan(tail, solver):
    rng = np.random.default_rng(6)
    below = np.concatenate([0.9 * np.linspace(1, 0.2, 24), np.zeros(224)]) if "32" in tail else np.full(248, 0.9)
    a, w = matrix(rng, (256, 256), np.concatenate([np.linspace(2, 1, 8), below])), random(rng, (256, 256))

    def full(a):
        U, S, Vh = jnp.linalg.svd(a, full_matrices=False)
        return inner(w, mm(U[:, :8] * S[None, :8], Vh[:8]))

    def truncated(a):
        U, S, Vh = truncax.tsvd(a, 8, solver=solver)
        return inner(w, mm(U * S[None, :], Vh))

    exact_tail = np.zeros((256, 256))
    exact_tail[:8, :8] = np.diag(np.linspace(2, 1, 8))
    assert np.isnan(np.asarray(jax.grad(full)(jnp.asarray(exact_tail)))).any()
    got = jax.jit(jax.grad(truncated))(a)
    assert error(got, singular_function_gradient(a, w, 8, lambda s: s, one)) <= 1e-9


@crossed("solver, shape, complex_", [NATIVE, truncax.Dense()], [(12, 18), (12, 12), (18, 12)], [True, False], rows=4)
def test_k_equals_the_smaller_side(shape, complex_, solver):
    """Nothing is discarded but the null space of the longer side: the approximation is A itself."""
    rng = np.random.default_rng(7)
    a, w = matrix(rng, shape, np.linspace(2, 0.5, 12), complex_), random(rng, shape, complex_)

    def loss(a):
        U, S, Vh = truncax.tsvd(a, 12, solver=solver)
        return inner(w, mm(U * S[None, :].astype(a.dtype), Vh)) + inner(w, mm(U, Vh))

    expected = w.conj() + singular_function_gradient(a, w, 12, one, np.zeros_like)
    assert error(jax.jit(jax.grad(loss))(a), expected) <= 1e-11


@pytest.mark.parametrize("solver", [truncax.GolubKahan(), truncax.Dense()], ids=["native", "dense"])
def test_k_of_one(solver):
    rng = np.random.default_rng(8)
    a, w = matrix(rng, (20, 15), np.concatenate([[1.0], 0.9 * np.linspace(1, 0.1, 14)])), random(rng, (20, 15))

    def loss(a):
        U, S, Vh = truncax.tsvd(a, 1, solver=solver)
        return S[0] * inner(w, mm(U, Vh))

    assert error(jax.jit(jax.grad(loss))(a), singular_function_gradient(a, w, 1, lambda s: s, one)) <= 1e-11


@crossed("solver, shape", [NATIVE, truncax.Dense()], [(30, 20), (20, 20), (20, 30)])
def test_a_matrix_of_rank_k(solver, shape):
    """``U S V^H`` has the tangent-space projection ``P G + G Q - P G Q`` for its derivative."""
    rng = np.random.default_rng(9)
    u, v = orthonormal(rng, shape[0], 3), orthonormal(rng, shape[1], 3)
    a, w = (u * np.array([2.0, 1.5, 1.0])) @ v.T, random(rng, shape)
    p, q = u @ u.T, v @ v.T

    def loss(a):
        U, S, Vh = truncax.tsvd(a, 3, solver=solver)
        return inner(w, mm(U * S[None, :], Vh))

    assert error(jax.jit(jax.grad(loss))(a), p @ w + w @ q - p @ w @ q) <= 1e-11


def with_each_gradient(function, a):
    """The result and info of ``function``, and the gradients of the sum of each factor, from one program."""

    @jax.jit
    def both(a):
        result, pull, info = jax.vjp(function, a, has_aux=True)
        ones = [type(result)(*(jnp.full_like(x, i == j) for j, x in enumerate(result))) for i in range(len(result))]
        return result, info, [pull(x)[0] for x in ones]

    return both(a)


@pytest.mark.parametrize("solver", [truncax.GolubKahan(), truncax.Dense()], ids=["native", "dense"])
def test_kept_zero_values_are_finite(solver):
    """Beyond the rank: zero singular values with orthonormal vectors, and a finite derivative everywhere."""
    rng = np.random.default_rng(10)
    a = jnp.asarray(matrix(rng, (20, 15), [2.0, 1.0]))
    result, info, gradients = with_each_gradient(lambda a: truncax.tsvd(a, 5, solver=solver, return_info=True), a)
    assert bool(info.converged)
    np.testing.assert_allclose(result.S, [2, 1, 0, 0, 0], atol=1e-14)
    np.testing.assert_allclose(result.U.T @ result.U, np.eye(5), atol=1e-14)
    np.testing.assert_allclose(result.Vh @ result.Vh.T, np.eye(5), atol=1e-14)
    for i, gradient in enumerate(gradients):
        assert jnp.all(jnp.isfinite(gradient)), i
    values_only = jax.jit(jax.grad(lambda a: jnp.sum(truncax.tsvd(a, 2, solver=solver).S)))(a)
    assert error(values_only, np.linalg.svd(a)[0][:, :2] @ np.linalg.svd(a)[2][:2]) <= 1e-11


@crossed("function, native", FUNCTIONS, [True, False], rows=5)
def test_the_zero_matrix(function, native):
    svd = function in (truncax.tsvd, truncax.singular_subspaces)
    solver = (truncax.GolubKahan() if svd else truncax.Lanczos()) if native else truncax.Dense()
    a = jnp.zeros((12, 12))
    result, info, gradients = with_each_gradient(lambda a: function(a, 3, solver=solver, return_info=True), a)
    assert bool(info.converged)
    assert info.cut_gap == 0
    assert all(jnp.all(jnp.isfinite(x)) for x in result)
    assert all(jnp.all(jnp.isfinite(x)) for x in gradients)


def test_the_subgradient_of_the_nuclear_norm_of_zero():
    gradient = jax.grad(lambda a: truncax.tsvd(a, 12).S.sum())(jnp.zeros((12, 12)))
    assert np.linalg.norm(gradient, 2) <= 1 + 1e-12


def test_a_tie_at_the_cut_is_loud_for_vectors_and_silent_for_values():
    rng = np.random.default_rng(11)
    a, w = jnp.asarray(matrix(rng, (20, 20), np.r_[2.0, 1.0, 1.0, np.linspace(0.8, 0.1, 17)])), random(rng, (20, 20))
    _, info = truncax.tsvd(a, 2, return_info=True)
    assert info.cut_gap <= 1e-14
    sums = jax.grad(lambda a: truncax.tsvd(a, 2).S.sum())(a)
    assert np.linalg.norm(sums, 2) <= 1 + 1e-12
    assert abs(np.linalg.norm(sums) - np.sqrt(2)) <= 1e-12
    projector = jax.grad(lambda a: inner(w, (lambda U: mm(U, U.T))(truncax.tsvd(a, 2).U)))(a)
    assert np.isnan(np.asarray(projector)).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_exact_tie_at_the_cut_is_never_a_finite_number(seed, dtype):
    rng = np.random.default_rng(seed)
    a = matrix(rng, (40, 40), np.r_[2.0, 1.0, 1.0, np.linspace(0.8, 0.1, 37)]).astype(dtype)
    w = random(rng, (40, 40)).astype(dtype)
    gradient = jax.grad(lambda a: inner(w, (lambda U: mm(U, U.T))(truncax.tsvd(a, 2).U)))(jnp.asarray(a))
    assert np.isnan(np.asarray(gradient)).all()


@crossed("solver, zeros", [truncax.Dense(), truncax.Lanczos()], [1, 2])
def test_a_null_space_is_a_subspace_like_any_other(zeros, solver):
    """The lowest pairs of a Laplacian or of a positive semidefinite matrix: values of zero, a gap of one."""
    rng = np.random.default_rng(13)
    values = np.r_[np.zeros(zeros), np.linspace(1, 2, 20 - zeros)]
    a = np.diag(values) if zeros == 1 else hermitian(rng, values)
    w, d = random(rng, (20, 20)), hermitian(rng, rng.normal(size=20))

    def projector(a):
        Q = truncax.teigh(a, zeros, which="SA", solver=solver).eigenvectors
        return inner(w, mm(Q, Q.T))

    def lowest(a):
        return jnp.sum(truncax.teigh(a, zeros, which="SA", solver=solver).eigenvalues)

    expected = hermitian_function_gradient(a, w, (np.arange(20), zeros), one, np.zeros_like)
    a = jnp.asarray(a)
    assert error(jax.grad(projector)(a), expected) <= 1e-11
    if zeros == 1:
        second = jax.jvp(jax.grad(lowest), (a,), (d,))[1]
        exact = -2 * np.sum(d[0, 1:] ** 2 / (values[1:] - values[0]))
        np.testing.assert_allclose(np.sum(np.asarray(second) * d), exact, rtol=1e-11)


def test_degeneracy_rtol_moves_the_threshold():
    """A split of 1e-6 counts as a difference by default, and as none above the threshold."""
    rng = np.random.default_rng(12)
    a, w = (
        jnp.asarray(matrix(rng, (20, 20), np.r_[2.0, 1 + 1e-6, 1.0, np.linspace(0.8, 0.1, 17)])),
        random(rng, (20, 20)),
    )

    def gradient(rtol):
        options = truncax.Implicit(degeneracy_rtol=rtol)
        return jax.grad(lambda a: inner(w, truncax.tsvd(a, 3, derivative=options).U @ jnp.ones((3, 20))))(a)

    assert jnp.linalg.norm(gradient(None)) > 1e4
    assert jnp.linalg.norm(gradient(1e-5)) < 1e3
