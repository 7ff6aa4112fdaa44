"""Start vectors and keys: every form, no derivative, another path and the same result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import hermitian, matrix, random

import truncax
from truncax import GolubKahan, Lanczos


def test_start_vector_and_key_change_the_path_and_not_the_result():
    a = matrix(np.random.default_rng(10), (90, 70), 0.5 ** np.arange(70))
    plain, info = truncax.tsvd(a, 3, solver=GolubKahan(), return_info=True)
    other = truncax.tsvd(a, 3, solver=GolubKahan(), key=jax.random.key(1))
    started, warm = truncax.tsvd(a, 3, v0=np.asarray(plain.Vh).sum(0), solver=GolubKahan(), return_info=True)
    for result in (other, started):
        np.testing.assert_allclose(result.S, plain.S, rtol=1e-13)
        assert not jnp.array_equal(result.U, plain.U)
    assert warm.products <= info.products
    wide = truncax.tsvd(a.T, 3, v0=np.asarray(plain.U).sum(1))
    np.testing.assert_allclose(wide.S, plain.S, rtol=1e-13)
    legacy = truncax.tsvd(a, 3, key=jax.random.PRNGKey(1))
    np.testing.assert_allclose(legacy.S, plain.S, rtol=1e-13)


def test_the_start_vector_has_no_derivative():
    a = random(np.random.default_rng(11), (40, 40))
    gradient = jax.grad(lambda v: jnp.sum(truncax.tsvd(a, 2, v0=v).S))(jnp.ones(40))
    assert jnp.all(gradient == 0)


@pytest.mark.parametrize("form", ["vector", "Vh", "columns", "zero", "nan"])
def test_every_form_of_a_start(form):
    a = matrix(np.random.default_rng(24), (90, 70), 0.8 ** np.arange(70))
    plain, cold = truncax.tsvd(a, 3, solver=GolubKahan(), return_info=True)
    Vh = np.asarray(plain.Vh)
    v0 = {"vector": Vh.sum(0), "Vh": Vh, "columns": Vh.T, "zero": np.zeros(70), "nan": np.full((3, 70), np.nan)}[form]
    for solver in (GolubKahan(), truncax.Arpack()):
        result, warm = truncax.tsvd(a, 3, v0=v0, solver=solver, return_info=True)
        np.testing.assert_allclose(result.S, plain.S, rtol=1e-13)
        if form in ("vector", "Vh", "columns") and solver == GolubKahan():
            assert warm.products < cold.products


def test_a_warm_start_of_eigenvectors_saves_products():
    rng = np.random.default_rng(25)
    a = hermitian(rng, 0.97 ** np.arange(200))
    result = truncax.teigh(a, 4, which="LA", solver=Lanczos())
    changed = a + 1e-4 * hermitian(rng, rng.normal(size=200))
    cold = truncax.teigh(changed, 4, which="LA", solver=Lanczos(), tol=1e-6, return_info=True)[1]
    _, warm = truncax.teigh(changed, 4, which="LA", v0=result.eigenvectors, tol=1e-6, return_info=True)
    assert warm.products < cold.products


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_the_scale_of_a_start_does_not_matter(scale):
    a = matrix(np.random.default_rng(26), (90, 70), 0.8 ** np.arange(70))
    v0 = np.linalg.svd(a)[2][:3]
    v0[1] = np.nan

    def started(v0):
        result, info = truncax.tsvd(a, 3, v0=v0, solver=GolubKahan(), return_info=True)
        np.testing.assert_allclose(result.S, 0.8 ** np.arange(3), rtol=1e-13)
        return info.products

    # A start that is dropped, or overflows, is the one of zeros.
    assert started(scale * v0) == started(v0) < started(0 * v0)


def test_a_start_that_never_leaves_a_part_of_the_space_is_probed_beyond():
    """Two blocks without an entry between them: the larger values are in the one where the start has none."""
    rng = np.random.default_rng(11)
    small, large = (hermitian(rng, values * np.linspace(0.5, 1, 100) ** 3) for values in (1.0, 2.0))
    zero = np.zeros((100, 100))
    a, v0 = np.block([[small, zero], [zero, large]]), np.r_[rng.normal(size=100), np.zeros(100)]
    expected = 2 * np.linspace(1, 0.5, 100)[:3] ** 3
    np.testing.assert_allclose(truncax.tsvd(a, 3, v0=v0, solver=truncax.GolubKahan()).S, expected, rtol=1e-12)
    found = truncax.teigh(a, 3, which="LA", v0=v0, solver=truncax.Lanczos())
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-12)
