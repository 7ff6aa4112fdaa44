"""The rank-k approximation, the projector and the discarded weight, at degeneracy, against full decompositions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental.sparse import BCOO
from profiles import crossed
from references import (
    error,
    finite_difference,
    hermitian,
    hermitian_function_gradient,
    matrix,
    random,
    singular_function_gradient,
)

import truncax
from truncax import discarded_weight, low_rank_approximation, spectral_projector

COMPLEX = pytest.mark.parametrize("complex_", [False, True], ids=["real", "complex"])
VALUES = np.concatenate([[2.0, 1.5, 1.5, 1.0, 1.0, 1.0], 0.9 * np.linspace(1, 0.3, 18)])
K = 6


def one(x):
    return np.ones_like(x)


def inner(w, x):
    return jnp.sum((jnp.conj(w) * x).real)


@COMPLEX
def test_low_rank_approximation_and_projector(complex_):
    rng = np.random.default_rng(0)
    a, w = matrix(rng, (24, 24), VALUES, complex_), random(rng, (24, 24), complex_)
    h = hermitian(rng, VALUES, complex_)
    u, s, vh = np.linalg.svd(a)
    assert error(low_rank_approximation(a, K), (u[:, :K] * s[:K]) @ vh[:K]) <= 1e-13
    q = np.linalg.eigh(h)[1][:, ::-1][:, :K]
    assert error(spectral_projector(h, K, which="LA"), q @ q.conj().T) <= 1e-13
    gradient = jax.jit(jax.grad(lambda a: inner(w, low_rank_approximation(a, K))))(a)
    assert error(gradient, singular_function_gradient(a, w, K, lambda s: s, one)) <= 1e-11
    gradient = jax.jit(jax.grad(lambda h: inner(w, spectral_projector(h, K, which="LA"))))(h)
    order = np.arange(24)[::-1]
    assert error(gradient, hermitian_function_gradient(h, w, (order, K), one, np.zeros_like)) <= 1e-11


def test_options_reach_the_decompositions():
    a = jnp.asarray(matrix(np.random.default_rng(1), (24, 24), VALUES))
    approximation, info = low_rank_approximation(a, K, solver=truncax.GolubKahan(), tol=1e-3, return_info=True)
    assert approximation.shape == (24, 24)
    assert info.products > 0
    projector, info = spectral_projector(a @ a.T, K, which="LA", solver=truncax.Lanczos(), return_info=True)
    assert projector.shape == (24, 24)
    assert bool(info.converged)
    assert low_rank_approximation(jnp.stack([a, a]), K).shape == (2, 24, 24)
    for call in (lambda: low_rank_approximation(a, 0), lambda: spectral_projector(a[:, :3], 1)):
        with pytest.raises(ValueError, match=r"k must be|square"):
            call()


def pytree_operator():
    return truncax.linear_operator(lambda x: {"x": 2 * x["x"]}, like={"x": jnp.ones(5)}, hermitian=True)


def test_operators_on_pytrees_have_no_array():
    for function in (low_rank_approximation, spectral_projector):
        with pytest.raises(TypeError, match="operator on pytrees"):
            function(pytree_operator(), 2)


def weight_of(a, which="singular_subspaces"):
    solver = truncax.Dense()
    if which in ("teigh", "invariant_subspace"):
        return discarded_weight(a, getattr(truncax, which)(a, K, which="LA", solver=solver))
    return discarded_weight(a, getattr(truncax, which)(a, K, solver=solver))


@pytest.mark.parametrize("scale", [1.0, 1e-6])
@pytest.mark.parametrize("shape", [(300, 40), (24, 40)])
def test_discarded_weight_is_accurate_when_it_is_small(shape, scale):
    """1e-12 of the norm: ``||A||^2 - sum S^2`` has an error of 4e-4 there."""
    rng = np.random.default_rng(2)
    below = scale * 0.9 * np.linspace(1, 0.3, min(shape) - K)
    a = jnp.asarray(matrix(rng, shape, np.r_[VALUES[:K], below]))
    exact = np.sum(np.linalg.svd(np.asarray(a), compute_uv=False)[K:] ** 2)
    result = truncax.tsvd(a, K)
    tolerance = 30 * np.finfo(float).eps / scale
    np.testing.assert_allclose(discarded_weight(a, result), exact, rtol=tolerance)
    np.testing.assert_allclose(exact, np.sum(below**2), rtol=1e3 * tolerance)
    if scale < 1:
        cancelled = jnp.sum(a**2) - jnp.sum(result.S**2)
        assert abs(cancelled / exact - 1) > 1e2 * tolerance


@crossed("which, complex_", ["tsvd", "singular_subspaces", "teigh", "invariant_subspace"], [False, True])
def test_derivatives_of_the_discarded_weight(which, complex_):
    """``2 (A - U C Vh)``, also at multiplets; the second derivative sees that the rest moves."""
    rng = np.random.default_rng(3)
    of_hermitian = which in ("teigh", "invariant_subspace")
    a = hermitian(rng, VALUES, complex_) if of_hermitian else matrix(rng, (24, 24), VALUES, complex_)
    d = hermitian(rng, rng.normal(size=24), complex_) if of_hermitian else random(rng, (24, 24), complex_)

    def gradient(a):
        u, s, vh = np.linalg.svd(a)
        return 2 * ((u[:, K:] * s[K:]) @ vh[K:]).conj()

    value, slope, product = jax.jit(
        lambda a, d: (weight_of(a, which), *jax.jvp(jax.grad(lambda a: weight_of(a, which)), (a,), (d,)))
    )(a, d)
    np.testing.assert_allclose(value, np.sum(VALUES[K:] ** 2), rtol=1e-12)
    assert error(slope, gradient(a)) <= 1e-12
    if which in ("singular_subspaces", "invariant_subspace"):
        assert error(product, finite_difference(gradient, a, d)) <= 1e-8


def test_discarded_weight_of_batches_sparse_matrices_and_functions():
    rng = np.random.default_rng(4)
    dense = np.where(rng.random((40, 30)) < 0.2, rng.normal(size=(40, 30)), 0)
    exact = np.sum(np.linalg.svd(dense, compute_uv=False)[3:] ** 2)
    batch = jnp.asarray(np.stack([dense, 2 * dense]))
    np.testing.assert_allclose(discarded_weight(batch, truncax.tsvd(batch, 3)), [exact, 4 * exact], rtol=1e-12)
    for a in (BCOO.fromdense(jnp.asarray(dense)), BCOO.fromdense(jnp.asarray(dense.T)), scipy.sparse.csr_matrix(dense)):
        np.testing.assert_allclose(discarded_weight(a, truncax.tsvd(a, 3)), exact, rtol=1e-12)

    def of_entries(data, indices):
        a = BCOO((data, indices), shape=(40, 30))
        return discarded_weight(a, truncax.singular_subspaces(a, 3))

    sparse = BCOO.fromdense(jnp.asarray(dense))
    gradient = jax.grad(of_entries)(sparse.data, sparse.indices)
    u, s, vh = np.linalg.svd(dense)
    full = 2 * (u[:, 3:30] * s[3:]) @ vh[3:]
    assert error(gradient, full[tuple(np.asarray(sparse.indices).T)]) <= 1e-11

    def of_function(m):
        a = truncax.linear_operator(lambda x, m: m @ x, m, shape=(40, 30))
        result = truncax.singular_subspaces(a, 3)
        with pytest.raises(TypeError, match="frobenius2"):
            discarded_weight(a, result)
        return discarded_weight(a, result, frobenius2=jnp.sum(m**2))

    value, gradient = jax.value_and_grad(of_function)(jnp.asarray(dense))
    np.testing.assert_allclose(value, exact, rtol=1e-11)
    assert error(gradient, full) <= 1e-11


def test_precisions_of_the_discarded_weight():
    a = jnp.asarray(matrix(np.random.default_rng(5), (24, 30), VALUES))
    for dtype, rtol in (("float16", 1e-1), ("float32", 1e-5)):
        weight = discarded_weight(a.astype(dtype), truncax.tsvd(a.astype(dtype), K))
        assert weight.dtype == dtype
        np.testing.assert_allclose(weight, np.sum(VALUES[K:] ** 2), rtol=rtol)


def test_bad_arguments_of_the_discarded_weight():
    a = jnp.eye(5)
    result = truncax.tsvd(a, 2)
    for arguments, options, kind, message in (
        ((a, tuple(result)), {}, TypeError, "result must be what tsvd"),
        ((a[:4], result), {}, ValueError, "of shape \\(4, 5\\)"),
        ((a, result), {"frobenius2": -1.0}, ValueError, "frobenius2 must be positive"),
        ((pytree_operator(), truncax.teigh(pytree_operator(), 2)), {}, TypeError, "frobenius2"),
    ):
        with pytest.raises(kind, match=message):
            discarded_weight(*arguments, **options)
