"""Inside real programs: jit, vmap, scan, cond, checkpoint, Jacobians, debugging switches, no recompilation."""

import logging

import checks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from profiles import few
from references import cut_spectrum, error, hermitian, matrix, random

import truncax

SOLVERS = pytest.mark.parametrize("solver", [truncax.GolubKahan(), truncax.Dense()], ids=["native", "dense"])


def problem(seed=0, n=24, complex_=False):
    rng = np.random.default_rng(seed)
    return jnp.asarray(matrix(rng, (n, n), cut_spectrum(n, checks.K), complex_)), jnp.asarray(
        random(rng, (n, n), complex_)
    )


def loss(a, w, solver):
    return checks.triplet_loss(*truncax.tsvd(a, checks.K, solver=solver), w)


@SOLVERS
def test_jit_and_vmap_equal_the_full_decompositions(solver):
    pairs = [problem(seed, complex_=True) for seed in range(3)]
    a, w = (jnp.stack(x) for x in zip(*pairs, strict=True))
    gradient = jax.grad(loss)
    expected = jnp.stack([checks.reference_gradient(checks.full_svd_loss)(x, y) for x, y in zip(a, w, strict=True)])
    wraps = [jax.vmap, lambda f: jax.jit(jax.vmap(f)), lambda f: jax.vmap(jax.jit(f))]
    for wrap in wraps[::2] if solver == truncax.Dense() else wraps[1:2]:
        assert error(wrap(lambda x, y: gradient(x, y, solver))(a, w), expected) <= 1e-11
    if solver == truncax.Dense():
        batched = jax.jit(jax.grad(lambda a: jnp.sum(jax.vmap(lambda x, y: loss(x, y, solver))(a, w))))(a)
        assert error(batched, expected) <= 1e-11

    def by_leading_axes(a):
        return jnp.sum(jax.vmap(checks.triplet_loss)(*truncax.tsvd(a, checks.K, solver=solver), w))

    assert error(jax.jit(jax.grad(by_leading_axes))(a), expected) <= 1e-11


def test_hessian_vector_products_under_vmap():
    a, w = problem()
    directions = jnp.stack([problem(seed)[1] for seed in (1, 2)])

    def product(d):
        return jax.jvp(jax.grad(lambda x: loss(x, w, truncax.Dense())), (a,), (d,))[1]

    assert error(jax.jit(jax.vmap(product))(directions), jnp.stack([product(d) for d in directions])) <= 1e-10


def scanned(f):
    return lambda a: jax.lax.scan(lambda c, t: (c + t * f(a), None), 0.0, jnp.asarray([1.0, 2.0]))[0]


def branched(f):
    return lambda a: jax.lax.cond(jnp.sum(a) > -jnp.inf, f, jnp.sum, a)


@SOLVERS
def test_scan_cond_checkpoint(solver):
    a, w = problem()

    def plain(a):
        return loss(a, w, solver)

    gradient = checks.reference_gradient(checks.full_svd_loss)(a, w)
    nested = scanned(branched(jax.checkpoint(plain)))
    assert error(jax.jit(jax.grad(nested))(a), 3 * gradient) <= 1e-11
    if solver == truncax.Dense():
        assert error(jax.jit(jax.grad(scanned(plain)))(a), 3 * gradient) <= 1e-11
        assert error(jax.grad(branched(plain))(a), gradient) <= 1e-11
        assert error(jax.grad(jax.checkpoint(plain))(a), gradient) <= 1e-11


def test_jacobians_of_both_modes_agree():
    rng = np.random.default_rng(3)
    a = jnp.asarray(matrix(rng, (8, 7), cut_spectrum(7, 3)))

    def f(a):
        U, S, Vh = truncax.tsvd(a, 3)
        return checks.mm(U * S[None, :], Vh)[:2]

    assert error(jax.jacfwd(f)(a), jax.jacrev(f)(a)) <= 1e-12
    h = jnp.asarray(hermitian(rng, cut_spectrum(8, 3)))

    def g(a):
        return truncax.teigh(a + a.T, 3, which="LA").eigenvalues

    assert error(jax.jacfwd(g)(h), jax.jacrev(g)(h)) <= 1e-12


def test_a_custom_rule_around_us():
    a, w = problem()

    @jax.custom_vjp
    def f(a):
        return loss(a, w, truncax.Dense())

    f.defvjp(lambda a: (f(a), a), lambda a, ct: (ct * jax.grad(lambda a: loss(a, w, truncax.Dense()))(a),))
    assert error(jax.grad(f)(a), jax.grad(lambda a: loss(a, w, truncax.Dense()))(a)) <= 1e-13


@pytest.mark.parametrize("solver", few([truncax.GolubKahan()], [truncax.Dense()]))
def test_debugging_switches(solver):
    a, w = problem(5, n=23)
    expected = checks.reference_gradient(checks.full_svd_loss)(a, w)
    wraps = [jax.jit, lambda f: f] if solver == truncax.Dense() else [jax.jit]
    with jax.debug_nans(True), jax.check_tracer_leaks(True):
        gradients = [wrap(jax.grad(lambda a: loss(a, w, solver)))(a) for wrap in wraps]
        zero = jax.jit(jax.grad(lambda a: truncax.tsvd(a, 3, solver=solver).S.sum()))(jnp.zeros((9, 9)))
    assert all(error(gradient, expected) <= 1e-11 for gradient in gradients)
    assert jnp.all(jnp.isfinite(zero))


def test_eager_calls_with_new_values_do_not_recompile(caplog):
    a, w = problem(6, n=70)
    function = jax.grad(lambda a: checks.triplet_loss(*truncax.tsvd(a, checks.K, tol=1e-10), w))
    function(a)
    values = [a + 1e-3 * i for i in range(1, 4)]
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        for x in values:
            function(x)
            truncax.teigh(x + x.T, 2, solver=truncax.Lanczos(), tol=1e-9)
    compiled = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Compiling")]
    ours = [m for m in compiled if "singular" in m or "hermitian" in m or "while" in m]
    assert len(ours) <= 1, ours


def test_float32_cotangents_of_any_size():
    """A gradient of 1e-20 times the loss, divided by 1e-20, is the gradient."""
    rng = np.random.default_rng(7)
    a = jnp.asarray(matrix(rng, (40, 30), cut_spectrum(30, checks.K)).astype(np.float32))
    w = jnp.asarray(random(rng, (40, 30)).astype(np.float32))

    def f(a, scale):
        U, C, Vh = truncax.singular_subspaces(a, checks.K)
        return scale * jnp.sum(w * checks.mm(U, C, Vh))

    one, tiny = jax.grad(f)(a, jnp.float32(1)), jax.grad(f)(a, jnp.float32(1e-20))
    assert error(tiny / 1e-20, one) <= 1e-5
    double = jax.grad(lambda a: jnp.sum(w.astype(float) * checks.mm(*truncax.singular_subspaces(a, checks.K))))
    assert error(one, double(a.astype(float))) <= 1e-4


def test_an_optimisation_loop_under_jit():
    """A nuclear-norm descent step, compiled once, inside ``fori_loop``."""
    a, _ = problem(8)

    def value(a):
        return jnp.sum(truncax.tsvd(a, 4).S)

    descended = jax.jit(lambda a: jax.lax.fori_loop(0, 5, lambda i, x: x - 0.01 * jax.grad(value)(x), a))(a)
    np.testing.assert_allclose(value(descended), value(a) - 5 * 0.01 * 4, rtol=1e-10)
