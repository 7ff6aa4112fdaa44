"""ARPACK and PROPACK on the host: counted, limited, mapped, differentiated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import matrix, random

import truncax
from truncax import GolubKahan


@pytest.mark.parametrize("solver", [truncax.Arpack(), truncax.Propack()])
def test_host_solvers_count_more_than_the_check(solver):
    a = matrix(np.random.default_rng(18), (120, 90), 0.8 ** np.arange(90))
    native = truncax.tsvd(a, 3, solver=GolubKahan(), return_info=True)[1]
    info = truncax.tsvd(a, 3, solver=solver, return_info=True)[1]
    assert int(native.products) // 2 < info.products < 4 * int(native.products)


@pytest.mark.parametrize("solver", [truncax.Arpack(max_iterations=1), truncax.Propack(max_iterations=8)])
def test_a_limit_on_a_host_solver_counts(solver):
    a = random(np.random.default_rng(19), (120, 100))
    with pytest.raises(truncax.ConvergenceError, match=r"may have given up.*raise max_iterations"):
        truncax.tsvd(a, 6, solver=solver)
    assert jnp.all(jnp.isnan(jax.jit(lambda a: truncax.tsvd(a, 6, solver=solver).S)(a)))
    kept = truncax.tsvd(a, 6, solver=solver, on_failure="keep")
    np.testing.assert_allclose(kept.S, np.linalg.svd(a, compute_uv=False)[:6], rtol=1e-13)


def test_host_solvers_under_vmap_and_grad():
    a = random(np.random.default_rng(20), (3, 40, 30))
    for solver in (truncax.Arpack(), truncax.Propack()):

        def values(a, solver=solver):
            S = truncax.tsvd(a, 2, solver=solver).S
            return S.sum(), S

        g, S = jax.jit(jax.vmap(jax.grad(values, has_aux=True)))(a)
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        np.testing.assert_allclose(S, s[:, :2], rtol=1e-13)
        np.testing.assert_allclose(g, u[:, :, :2] @ vh[:, :2], atol=1e-12)


@pytest.mark.parametrize(("dtype", "solver"), [("float32", truncax.Propack()), ("complex64", truncax.Arpack())])
def test_host_solvers_in_single_precision(dtype, solver):
    a = random(np.random.default_rng(21), (60, 50), dtype == "complex64").astype(dtype)
    (_, S, _), info = truncax.tsvd(a, 3, solver=solver, return_info=True)
    np.testing.assert_allclose(S, np.linalg.svd(a, compute_uv=False)[:3], rtol=1e-5)
    assert bool(info.converged)
