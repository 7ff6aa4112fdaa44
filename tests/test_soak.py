"""Long runs: 500 steps into a degeneracy, crossings, callbacks to Python in 8 threads, the same bits again."""

import gc
import logging
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import adjoint, mm
from references import hermitian

import truncax

N, K, STEPS = 70, 4, 500


def ring(x):
    """A chain closed to a ring, whose eigenvalues are pairs at x = 0; ``x`` moves one bond and two sites."""
    shift = jnp.roll(jnp.eye(N), 1, axis=0)
    bond = jnp.zeros((N, N)).at[0, 1].set(1.0)
    site = jnp.zeros(N).at[3].set(1.0), jnp.zeros(N).at[20].set(-1.0)
    return shift + shift.T + x[0] * (bond + bond.T) + x[1] * jnp.diag(site[0]) + x[2] * jnp.diag(site[1])


def loss(x):
    """Two functions of the kept subspace, smooth wherever kept values meet, least where a pair is a pair again.

    k = 5 of the ring: the constant and two pairs, so that the cut is never inside one.
    """
    Q, H = truncax.invariant_subspace(ring(x), 5, which="LA", solver=truncax.Lanczos())
    densities = jnp.sum(Q**2, axis=1)
    return jnp.sum((densities - 5 / N) ** 2) + (jnp.trace(mm(H, H)) - ENERGY) ** 2


ENERGY = float(np.sum((2 * np.cos(2 * np.pi * np.array([0, 1, 1, 2, 2]) / N)) ** 2))


def descended(step, x):
    """The values on the way and the last point."""
    values = []
    for _ in range(STEPS):
        value, x = step(x)
        values.append(float(value))
    return np.array(values), np.array(x)


def test_500_steps_towards_a_degeneracy(caplog):
    """From a split pair down to the exact one: finite, the same bits again, nothing compiled and nothing kept alive."""

    @jax.jit
    def step(x):
        value, gradient = jax.value_and_grad(loss)(x)
        return value, x - 0.25 * gradient

    start = jnp.array([0.3, 0.2, 0.25])
    jax.block_until_ready(step(start))
    gc.collect()
    alive = len(jax.live_arrays())
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        first, end = descended(step, start)
    assert not [r for r in caplog.records if r.getMessage().startswith("Compiling")]
    gc.collect()
    assert len(jax.live_arrays()) <= alive
    assert np.all(np.isfinite(first))
    assert np.all(np.diff(first) <= 1e-12)
    assert first[-1] < 1e-3 * first[0]
    again, same = descended(step, start)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(end, same)
    # The degenerate point itself.
    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.zeros(3))
    assert abs(value) <= 1e-24
    np.testing.assert_allclose(gradient, 0, atol=1e-11)


def test_a_crossing_is_passed():
    """Two kept values cross on the way; functions of both go on, with the derivative that they have on either side."""
    rng = np.random.default_rng(0)
    values = np.r_[2.0, 1.6, 1.5, 1.2, np.linspace(0.9, -0.5, N - K)]
    q = np.linalg.qr(rng.normal(size=(N, N)))[0]
    w = jnp.asarray(hermitian(rng, rng.normal(size=N)))

    def matrix(t):
        moved = jnp.asarray(values) + t * jnp.zeros(N).at[1].set(-1.0).at[2].set(1.0)
        return mm(jnp.asarray(q) * moved[None, :], jnp.asarray(q.T))

    def function(t):
        Q, H = truncax.invariant_subspace(matrix(t), K, which="LA", solver=truncax.Lanczos())
        return jnp.sum(w * mm(Q, jax.scipy.linalg.expm(H), adjoint(Q)))

    diagonal = np.einsum("ij,jk,ki->i", q.T, np.asarray(w), q)
    slope = jax.jit(jax.grad(function))
    for t in np.r_[np.linspace(0, 0.2, 9), 0.05 + np.array([-1e-8, -1e-12, 0.0, 1e-14, 1e-10])]:
        expected = diagonal[2] * np.exp(1.5 + t) - diagonal[1] * np.exp(1.6 - t)
        np.testing.assert_allclose(slope(t), expected, rtol=1e-11)


@pytest.mark.parametrize("solver", [truncax.Arpack(), truncax.Lanczos()], ids=["host solver", "progress"])
def test_eight_threads(solver):
    """Callbacks to Python from 8 threads at once neither stand still nor get mixed up."""
    rng, seen = np.random.default_rng(1), []
    matrices = [jnp.asarray(hermitian(rng, np.linspace(1, 2, N) ** 3)) for _ in range(8)]
    callback = None if isinstance(solver, truncax.Arpack) else lambda *args: seen.append(args)

    @jax.jit
    def gradient(a):
        return jax.grad(
            lambda a: jnp.sum(truncax.teigh(a, K, which="LA", solver=solver, callback=callback).eigenvectors[0] ** 2)
        )(a)

    expected = [np.asarray(gradient(a)) for a in matrices]
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(lambda a: np.asarray(gradient(a)), matrices[i % 8]) for i in range(40)]
        results = [f.result(timeout=120) for f in found]
    for i, result in enumerate(results):
        np.testing.assert_array_equal(result, expected[i % 8])
    assert callback is None or len(seen) >= 48
