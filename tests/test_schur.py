"""The ordered Schur form, its eigenvectors, and the solver of coupled systems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import EPS, random

from truncax.complement.bicgstab import bicgstab
from truncax.numerics import schur as module
from truncax.numerics.schur import ordered, schur, triangular_eigenvectors


def in_order(h, key):
    return jax.jit(lambda h: (lambda form: ordered(form, key(form.values)))(schur(h)))(jnp.asarray(h))


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("n", [1, 2, 17])
def test_form(n, complex_):
    h = random(np.random.default_rng(n), (n, n), complex_)
    T, Z, values, pairs = map(np.asarray, in_order(h, lambda x: -jnp.abs(x)))
    np.testing.assert_allclose(h @ Z, Z @ T, atol=1e-13)
    np.testing.assert_allclose(Z.conj().T @ Z, np.eye(n), atol=1e-14)
    np.testing.assert_array_equal(T, np.triu(T))
    np.testing.assert_array_equal(np.diagonal(T), values)
    assert np.all(np.diff(np.abs(values)) <= 0)
    if not complex_:
        np.testing.assert_array_equal(values[pairs], values[np.roll(pairs, 1)].conj())
        assert np.all(values[pairs].imag > 0)
        assert np.all(values[~(pairs | np.roll(pairs, 1))].imag == 0)


def test_pairs_of_one_key_stay_pairs():
    """All on the unit circle: the keys of a permutation's values are equal to rounding, and the pairs whole."""
    _, _, values, pairs = in_order(np.roll(np.eye(12), 1, axis=0), lambda x: jnp.round(-jnp.abs(x), 6))
    first = np.flatnonzero(pairs)
    assert len(first) == 5
    np.testing.assert_array_equal(values[first + 1], values[first].conj())


def test_order_costs_no_digits_where_eigenvectors_are_parallel():
    """A Jordan block and its neighbours: a basis from eigenvectors would have lost half of the digits."""
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    h = q @ (np.diag([0.1, 2, 2, 2, 0.5, 0.3, 1, 0.2]) + np.diag(np.ones(7), 1)) @ q.T
    T, Z, *_ = map(np.asarray, in_order(h, lambda x: -jnp.abs(x)))
    assert np.abs(h @ Z[:, :3] - Z[:, :3] @ T[:3, :3]).max() <= 1e-14 * 8


def test_elsewhere_the_host_does_it():
    h = random(np.random.default_rng(1), (9, 9), False)
    ours, theirs = (jax.jit(f)(jnp.asarray(h)) for f in (jax.lax.linalg.schur, module._schur_on_host))
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-13)
    for x in jax.jit(module._schur_on_host)(jnp.full((3, 3), jnp.nan)):
        assert np.all(np.isnan(x))


def test_eigenvectors_of_triangular_matrices():
    rng = np.random.default_rng(2)
    t = np.triu(random(rng, (7, 7), True))
    w = np.asarray(triangular_eigenvectors(jnp.asarray(t)))
    np.testing.assert_allclose(t @ w, w * np.diagonal(t), atol=1e-13)
    np.testing.assert_allclose(np.linalg.norm(w, axis=0), 1, atol=1e-14)
    np.testing.assert_array_equal(w, np.triu(w))
    # Equal values with vectors of their own, up to rounding; and without.
    semisimple = np.diag([2.0, 2.0, 2.0, 1.0]) + np.triu(rng.normal(size=(4, 4)), 1) * 1e-16
    assert np.linalg.cond(triangular_eigenvectors(jnp.asarray(semisimple + 0j))) < 10
    jordan = jnp.asarray([[1.0 + 0j, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(np.abs(triangular_eigenvectors(jordan)), [[1, 1], [0, 0]], atol=1e-15)


def system(n, complex_=True):
    rng = np.random.default_rng(n)
    a = np.eye(n) - 0.9 * random(rng, (n, n), complex_) / np.sqrt(n * (2 if complex_ else 1))
    return jnp.asarray(a), jnp.asarray(random(rng, (n, 3), complex_))


def solved(a, b, tol=1e-12, max_steps=2000):
    return jax.jit(lambda b: bicgstab(lambda x: jnp.matmul(a, x), b, tol=jnp.asarray(tol), max_steps=max_steps))(b)


def test_coupled_solve():
    a, b = system(60)
    x, converged, residual, steps = solved(a, b)
    assert converged
    assert residual <= 1e-12
    assert steps < 150
    np.testing.assert_allclose(a @ x, b, atol=1e-11)
    for scale in (1e-200, 1e200):
        np.testing.assert_allclose(solved(a, scale * b).x / scale, x, atol=1e-11)
    real, b = system(60, complex_=False)
    np.testing.assert_allclose(real @ solved(real, b).x, b, atol=1e-11)


def test_coupled_solve_on_the_imaginary_axis():
    """One step of BiCGStab alone stands still here: its residuals are orthogonal to what A makes of them."""
    rotation = np.kron(np.diag(np.linspace(0.5, 2, 20)), [[0, 1], [-1, 0]])
    b = random(np.random.default_rng(3), (40, 2), False)
    x, converged, *_ = solved(jnp.asarray(rotation), jnp.asarray(b), tol=1e-10)
    assert converged
    np.testing.assert_allclose(rotation @ x, b, atol=1e-8)


def test_the_residual_of_a_coupled_solve_is_the_true_one():
    """Far from normal, after some hundred products: the one that the recurrence carries has drifted by 3 %."""
    rng, n = np.random.default_rng(0), 40
    a = np.eye(n) + 0.9 * random(rng, (n, n), False) / np.sqrt(n) + 2 * np.diag(np.ones(n - 1), 1)
    b = random(rng, (n, 2), False)
    x, converged, residual, _ = solved(jnp.asarray(a), jnp.asarray(b))
    assert converged
    size = np.linalg.norm(a, 2) * np.linalg.norm(x) / np.linalg.norm(b) + 1
    assert abs(np.linalg.norm(b - a @ np.asarray(x)) / np.linalg.norm(b) - residual) <= 8 * EPS * size


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_singular_coupled_system_is_not_solved(dtype):
    """x grows by 1e15 along the null vector: beside that any residual looks like rounding."""
    rng = np.random.default_rng(0)
    q = np.linalg.qr(random(rng, (30, 30), False))[0]
    a, b = q * np.linspace(0, 1, 30) @ q.T, random(rng, (30, 2), False)
    found = solved(jnp.asarray(a, dtype), jnp.asarray(b, dtype), tol=np.dtype(dtype).type(1e-12))
    assert not found.converged


def test_coupled_solve_at_its_ends():
    a, b = system(20)
    one = solved(jnp.eye(20, dtype=b.dtype), b)
    assert one.converged
    np.testing.assert_allclose(one.x, b, atol=1e-14)
    zero = solved(a, 0 * b)
    assert zero.converged
    assert zero.steps == 0
    assert not np.any(zero.x)
    for failed in (
        solved(a, b, tol=np.nan),
        solved(a, b, max_steps=4),
        solved(a, b.at[0, 0].set(jnp.nan)),
        solved(jnp.zeros((20, 20), b.dtype), b),
    ):
        assert not failed.converged
