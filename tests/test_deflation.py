"""Deflation of the derivative's solve: fewer steps, and the same solution whatever the leftovers are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import hermitian, matrix, random

import truncax
from truncax import Dense, GolubKahan, Implicit, Lanczos
from truncax.complement.cg import block_cg
from truncax.complement.deflation import Deflation, Spectral, deflation, preconditioner
from truncax.numerics.products import times

N, K, P = 120, 3, 12


def problem(is_complex):
    """``I - C g_j`` with the eigenvalues of C next to 1 known, and a right-hand side."""
    rng = np.random.default_rng(0)
    q = np.linalg.qr(random(rng, (N, N), is_complex))[0]
    values = 1 - 1e-4 * (1 + np.arange(N)) ** 2
    C = (q * values) @ q.conj().T
    g = np.array([1.0, 0.99, 0.9])
    return rng, q, C, g, random(rng, (N, K), is_complex)


def solve(C, g, b, W):
    given = None if W is None else deflation(lambda x: jnp.asarray(C) @ x, jnp.asarray(W))
    spectral = Spectral(jnp.ones(K), -jnp.asarray(g), jnp.ones(()))
    return block_cg(
        lambda x: x - times(jnp.asarray(C) @ x, jnp.asarray(g)),
        jnp.asarray(b),
        tol=jnp.asarray(1e-13),
        max_steps=1000,
        preconditioner=preconditioner(given, spectral, None),
    )


@pytest.mark.parametrize("is_complex", [False, True])
def test_the_solution_does_not_depend_on_the_leftovers_and_the_steps_do(is_complex):
    rng, q, C, g, b = problem(is_complex)
    exact = np.stack([np.linalg.solve(np.eye(N) - C * x, y) for x, y in zip(g, b.T, strict=True)], axis=1)
    near = q[:, :P]
    crude, wild = (np.linalg.qr(x)[0] for x in (near + 0.1 * random(rng, near.shape, is_complex) / N**0.5, b[:, :2]))
    steps = {}
    leftovers = {"none": None, "near": near, "crude": crude, "wild": wild, "zero": np.zeros((N, 4), q.dtype)}
    for name, W in leftovers.items():
        found = solve(C, g, b, W)
        assert jnp.all(found.converged)
        assert np.linalg.norm(found.x - exact) <= 1e-9 * np.linalg.norm(exact), name
        steps[name] = int(found.steps)
    assert steps["near"] <= 0.7 * steps["none"]
    assert steps["crude"] <= 0.9 * steps["none"]
    assert steps["zero"] <= 1.2 * steps["none"]


def test_a_direction_on_which_the_operator_is_singular_is_not_deflated():
    _, q, C, g, b = problem(False)
    assert not jnp.all(solve(C / 0.9999, g, b, q[:, :P]).converged)


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (70, 70)], ids=str)
@pytest.mark.parametrize("solver", [GolubKahan(), Dense()], ids=["native", "dense"])
def test_the_leftovers_of_a_solver_are_on_the_side_of_the_solve(monkeypatch, solver, shape):
    """Exact leftovers of the wrong side would cost steps instead of saving them."""
    taken = []

    def counting(*args, **options):
        found = block_cg(*args, **options)
        jax.debug.callback(lambda steps: taken.append(int(steps)), found.steps)
        return found

    monkeypatch.setattr("truncax.complement.solve.block_cg", counting)
    a = matrix(np.random.default_rng(1), shape, np.append(2.0, 0.999 ** np.arange(min(shape) - 1)))

    def steps():
        jax.clear_caches()
        taken.clear()
        gradient = jax.grad(lambda a: jnp.sum(truncax.tsvd(a, 6, solver=solver).U[0]))(jnp.asarray(a))
        jax.effects_barrier()
        return taken[-1], gradient

    deflated, gradient = steps()
    monkeypatch.setattr("truncax.complement.solve.preconditioner", lambda *_: None)
    plain, same = steps()
    assert deflated <= 0.8 * plain
    assert jnp.linalg.norm(gradient - same) <= 1e-8 * jnp.linalg.norm(same)


@pytest.mark.parametrize("which", ["LM", "LA", "SA", "BE"])
def test_eigenpairs_with_and_without_leftovers(monkeypatch, which):
    a = jnp.asarray(hermitian(np.random.default_rng(2), np.linspace(-1, 1.3, 80), True))
    w = jnp.asarray(random(np.random.default_rng(3), (80, 80), True))

    def gradient():
        jax.clear_caches()

        def loss(a):
            Q, H = truncax.invariant_subspace(a, 6, which=which, solver=Lanczos(), derivative=Implicit(tol=1e-14))
            return jnp.sum((w * (Q @ H @ Q.conj().T)).real)

        return jax.grad(loss)(a)

    deflated = gradient()
    monkeypatch.setattr("truncax.complement.solve.preconditioner", lambda *_: None)
    plain = gradient()
    assert jnp.linalg.norm(deflated - plain) <= 1e-12 * jnp.linalg.norm(plain)


def test_rayleigh_ritz_makes_the_leftovers_eigenvectors_of_the_projection():
    _, _, C, _, b = problem(True)
    W = jnp.linalg.qr(jnp.asarray(b))[0]
    found = deflation(lambda x: jnp.asarray(C) @ x, W)
    assert isinstance(found, Deflation)
    np.testing.assert_allclose(found.W.conj().T @ C @ found.W, jnp.diag(found.theta), atol=1e-14)
    np.testing.assert_allclose(found.CW, C @ found.W, atol=1e-14)
