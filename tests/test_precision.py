"""Precisions: what comes in comes out; full precision in every product; on a GPU nothing waits for the host."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from profiles import LONG, crossed
from references import hermitian, matrix

import truncax

K = 3


def sizes(n):
    return np.linspace(2, 0.5, n)


def loss(name):
    """A value and the gradient of what depends on vectors and values."""

    def of(a):
        if name == "tsvd":
            U, S, Vh = truncax.tsvd(a, K)
            return jnp.sum(S) + jnp.sum(U[0] * Vh[:, 0])
        if name == "singular_subspaces":
            U, C, Vh = truncax.singular_subspaces(a, K)
            return jnp.sum(jnp.abs(U @ C @ Vh) ** 2)
        if name == "teigh":
            values, Q = truncax.teigh(a, K, which="LA")
            return jnp.sum(values) + jnp.sum(jnp.abs(Q[0]) ** 2)
        Q, H = truncax.invariant_subspace(a, K, which="SA")
        return jnp.sum(jnp.abs(Q @ H @ jnp.conj(Q.T)) ** 2)

    return lambda a: of(a).real.astype(jnp.finfo(a.dtype).dtype)


@crossed("name, dtype, size", ["tsvd", "teigh"], ["bfloat16", "float16"], [40, 200])
def test_half_precision_goes_in_and_out(name, dtype, size):
    """Computed in float32, whose result is rounded once; so is the gradient."""
    rng = np.random.default_rng(0)
    a = matrix(rng, (size, size), sizes(size)) if name == "tsvd" else hermitian(rng, sizes(size))
    half = jnp.asarray(a, dtype)
    function = truncax.tsvd if name == "tsvd" else truncax.teigh
    got, expected = function(half, K), function(half.astype(jnp.float32), K)
    for x, y in zip(got, expected, strict=True):
        assert x.dtype == dtype
        np.testing.assert_array_equal(x, y.astype(dtype))
    gradient = jax.grad(lambda a: jnp.sum(function(a, K)[name == "tsvd"].astype(jnp.float32)))(half)
    assert gradient.dtype == dtype
    assert bool(jnp.all(jnp.isfinite(gradient.astype(jnp.float32))))


@pytest.mark.parametrize("name", ["tsvd", "teigh", "teig", *(["singular_subspaces", "invariant_subspace"] * LONG)])
def test_without_x64_nothing_asks_for_it(name):
    """NumPy's float64 is float32 then, without a warning; the results are right to that precision."""
    rng = np.random.default_rng(0)
    a = hermitian(rng, sizes(80))
    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.simplefilter("error")
        result, info = getattr(truncax, name)(a, K, return_info=True)
        jax.grad(lambda a: jnp.sum(jnp.abs(getattr(truncax, name)(a, K)[0])))(jnp.asarray(a))
    assert {x.dtype.name for x in (*result, *info)} <= {"float32", "complex64", "int32", "bool"}
    middle = next(x for x in result if x.shape[-1] == K and x.shape[0] == K)
    np.testing.assert_allclose(np.abs(middle if middle.ndim == 1 else np.diagonal(middle)), sizes(80)[:K], rtol=2e-6)


def lowered_for_gpu(name, dtype, size=200):
    function = jax.jit(jax.value_and_grad(loss(name)))
    return export.export(function, platforms=["cuda"])(jax.ShapeDtypeStruct((size, size), dtype)).mlir_module()


@crossed("name, dtype", ["tsvd", "singular_subspaces", "teigh", "invariant_subspace"], ["float32", "complex64"])
def test_the_default_path_on_a_gpu(name, dtype):
    """No TF32: every product at the highest precision. No host: LAPACK's and Python's calls are not there."""
    with jax.numpy_dtype_promotion("standard"), jax.default_matmul_precision("highest"):
        program = lowered_for_gpu(name, dtype)
    products = re.findall(r"stablehlo\.dot_general.*", program)
    assert len(products) > 20
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)
    calls = set(re.findall(r"stablehlo\.custom_call @(\w+)", program))
    assert calls
    assert not {c for c in calls if "callback" in c or "lapack" in c or "cpu" in c}


def test_products_are_at_full_precision_whatever_the_default_is():
    """But for those of the loss, which are the user's."""
    with jax.default_matmul_precision("bfloat16"):
        function = jax.jit(lambda a: truncax.tsvd(a, K))
        shape = jax.ShapeDtypeStruct((200, 200), jnp.float32)
        program = export.export(function, platforms=["cuda"])(shape).mlir_module()
    assert all("[HIGHEST, HIGHEST]" in line for line in re.findall(r"stablehlo\.dot_general.*", program))
