"""Calls on the host, and ARPACK and PROPACK there: counted, limited, mapped, differentiated."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from profiles import few
from references import matrix, random

import truncax
from truncax import GolubKahan
from truncax.numerics.host import call_on_host


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128", "int32"])
def test_every_bit_goes_to_the_host_and_back(dtype):
    x = (1e3 * random(np.random.default_rng(17), (3, 4, 5), dtype.startswith("c"))).astype(dtype)
    seen = []

    def function(first, others):
        seen.append((type(first), first.dtype, first.shape, others[0].dtype, others[0].shape))
        return {"turned": first.T, "corner": first[0, 0], "known": others[0]}

    like = {
        "turned": jax.ShapeDtypeStruct((5, 4), dtype),
        "corner": jax.ShapeDtypeStruct((), dtype),
        "known": jax.ShapeDtypeStruct((), bool),
    }
    found = jax.jit(jax.vmap(lambda x: call_on_host(function, like, x, [jnp.asarray(True)])))(jnp.asarray(x))
    assert seen == [(np.ndarray, np.dtype(dtype), (4, 5), np.dtype(bool), ())] * 3
    assert found["turned"].dtype == dtype
    np.testing.assert_array_equal(found["turned"], x.swapaxes(1, 2))
    np.testing.assert_array_equal(found["corner"], x[:, 0, 0])
    assert found["known"].tolist() == [True] * 3


def test_host_solvers_work_in_64_bits_where_those_are_a_context():
    """From what they find in 32 bits the native solver would have a long way to go."""
    code = """
import jax, numpy as np, truncax
a = np.random.default_rng(0).normal(size=(300, 200))
h = a.T @ a

def products():
    counts = []
    for solver in (truncax.Arpack(), truncax.Propack()):
        (_, S, _), info = truncax.tsvd(a, 4, solver=solver, return_info=True)
        np.testing.assert_allclose(S, np.linalg.svd(a, compute_uv=False)[:4], rtol=1e-13)
        counts.append(int(info.products))
    (values, _), info = truncax.teigh(h, 4, which="LA", solver=truncax.Arpack(), return_info=True)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(h)[:-5:-1], rtol=1e-13)
    return [*counts, int(info.products)]

with jax.enable_x64(True):
    in_context = products()
jax.config.update("jax_enable_x64", True)
assert in_context == products(), (in_context, products())
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("solver", [truncax.Arpack(), truncax.Propack()])
def test_host_solvers_count_more_than_the_check(solver):
    a = matrix(np.random.default_rng(18), (120, 90), 0.8 ** np.arange(90))
    native = truncax.tsvd(a, 3, solver=GolubKahan(), return_info=True)[1]
    info = truncax.tsvd(a, 3, solver=solver, return_info=True)[1]
    assert int(native.products) // 2 < info.products < 4 * int(native.products)


@pytest.mark.parametrize("solver", few([truncax.Propack(max_iterations=8)], [truncax.Arpack(max_iterations=1)]))
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
