"""Deflation of the derivative's solve: fewer steps, and the same solution whatever the leftovers are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from profiles import crossed, few
from references import hermitian, matrix, random

import truncax
from truncax import Dense, GolubKahan, Implicit, Lanczos
from truncax.complement import solve
from truncax.complement.cg import block_cg
from truncax.complement.deflation import Deflation, Spectral, deflation, preconditioner
from truncax.numerics.products import times
from truncax.operators.dense import DenseOperator
from truncax.solvers.golub_kahan import golub_kahan
from truncax.solvers.lanczos import lanczos

N, K, P = 120, 3, 12


def problem(is_complex):
    """``I - C g_j`` with the eigenvalues of C next to 1 known, and a right-hand side."""
    rng = np.random.default_rng(0)
    q = np.linalg.qr(random(rng, (N, N), is_complex))[0]
    values = 1 - 1e-4 * (1 + np.arange(N)) ** 2
    C = (q * values) @ q.conj().T
    g = np.array([1.0, 0.99, 0.9])
    return rng, q, C, g, random(rng, (N, K), is_complex)


def solved_with(C, g, b, W):
    given = None if W is None else deflation(lambda x: jnp.asarray(C) @ x, jnp.asarray(W))
    spectral = Spectral(jnp.ones(K), -jnp.asarray(g), jnp.ones(()))
    found = block_cg(
        lambda x: x - times((jnp.asarray(C) @ x.T).T, jnp.asarray(g)[:, None]),
        jnp.asarray(b).T,
        tol=jnp.asarray(1e-13),
        max_steps=1000,
        preconditioner=preconditioner(given, spectral, None),
    )
    return found._replace(x=found.x.T)


@pytest.mark.parametrize("is_complex", few([False], [True]))
def test_the_solution_does_not_depend_on_the_leftovers_and_the_steps_do(is_complex):
    rng, q, C, g, b = problem(is_complex)
    exact = np.stack([np.linalg.solve(np.eye(N) - C * x, y) for x, y in zip(g, b.T, strict=True)], axis=1)
    near = q[:, :P]
    crude, wild = (np.linalg.qr(x)[0] for x in (near + 0.1 * random(rng, near.shape, is_complex) / N**0.5, b[:, :2]))
    steps = {}
    leftovers = {"none": None, "near": near, "crude": crude, "wild": wild, "zero": np.zeros((N, 4), q.dtype)}
    for name, W in leftovers.items():
        found = solved_with(C, g, b, W)
        assert jnp.all(found.converged)
        assert np.linalg.norm(found.x - exact) <= 1e-9 * np.linalg.norm(exact), name
        steps[name] = int(found.steps)
    assert steps["near"] <= 0.7 * steps["none"]
    assert steps["crude"] <= 0.9 * steps["none"]
    assert steps["zero"] <= 1.2 * steps["none"]


def test_a_direction_on_which_the_operator_is_singular_is_not_deflated():
    _, q, C, g, b = problem(False)
    assert not jnp.all(solved_with(C / 0.9999, g, b, q[:, :P]).converged)


@crossed("shape, solver", [(90, 60), (60, 90), (70, 70)], [GolubKahan(), Dense()], rows=4)
def test_the_leftovers_of_a_solver_are_on_the_side_of_the_solve(steps, mutate, solver, shape):
    """Exact leftovers of the wrong side would cost steps instead of saving them."""
    a = jnp.asarray(matrix(np.random.default_rng(1), shape, np.append(2.0, 0.999 ** np.arange(min(shape) - 1))))

    def solved():
        gradient = jax.jit(jax.grad(lambda a: jnp.sum(truncax.tsvd(a, 6, solver=solver).U[0])))(a)
        jax.effects_barrier()
        return steps[-1], gradient

    deflated, gradient = solved()
    mutate(solve, "preconditioner", lambda *_: None)
    plain, same = solved()
    assert deflated <= 0.8 * plain
    assert jnp.linalg.norm(gradient - same) <= 1e-8 * jnp.linalg.norm(same)


@pytest.mark.parametrize("is_hermitian", [False, True])
def test_the_leftovers_of_a_native_solver_are_ritz_vectors_or_zero(is_hermitian):
    """In a basis with room left, where the vectors that wait to be multiplied must not count as leftovers.

    They are those from before the probe: it displaces all but the first few.
    """
    rng, spectrum, tol, key = np.random.default_rng(0), 0.8 ** np.arange(60), jnp.asarray(1e-13), jax.random.key(0)
    a = hermitian(rng, spectrum) if is_hermitian else matrix(rng, (90, 60), spectrum)

    @jax.jit
    def leftovers(a):
        operator = DenseOperator.of(a)
        if is_hermitian:
            return lanczos(operator, 3, "LA", Lanczos(), tol, None, key).W
        return golub_kahan(operator, 3, GolubKahan(), tol, None, key).W

    W = np.asarray(leftovers(jnp.asarray(a))).T
    gram, projected = W.T @ W, W.T @ (a if is_hermitian else a.T @ a) @ W
    count = round(np.trace(gram))
    assert 10 <= count < W.shape[1]
    np.testing.assert_allclose(gram, np.diag(np.r_[np.ones(count), np.zeros(W.shape[1] - count)]), atol=1e-14)
    np.testing.assert_allclose(projected, np.diag(np.diagonal(projected)), atol=1e-14)
    expected = spectrum if is_hermitian else spectrum**2
    np.testing.assert_allclose(np.diagonal(projected)[:9], expected[3:12], rtol=1e-8)


@pytest.mark.parametrize("which", few(["LM", "SA"], ["LA", "BE"]))
def test_eigenpairs_with_and_without_leftovers(steps, mutate, which):
    spectrum = np.concatenate([np.linspace(-1.6, -1.4, 3), np.linspace(-1, 1, 74), np.linspace(1.3, 1.7, 3)])
    a = jnp.asarray(hermitian(np.random.default_rng(2), spectrum, True))
    w = jnp.asarray(random(np.random.default_rng(3), (80, 80), True))

    def solved():
        def loss(a):
            Q, H = truncax.invariant_subspace(a, 4, which=which, solver=Lanczos(), derivative=Implicit(tol=1e-14))
            return jnp.sum((w * (Q @ H @ Q.conj().T)).real)

        gradient = jax.jit(jax.grad(loss))(a)
        jax.effects_barrier()
        return steps[-1], gradient

    deflated, gradient = solved()
    mutate(solve, "preconditioner", lambda *_: None)
    plain, same = solved()
    assert deflated <= 0.8 * plain
    assert jnp.linalg.norm(gradient - same) <= 1e-12 * jnp.linalg.norm(same)


@pytest.mark.parametrize(("gap", "ncv", "counted"), [(1e-3, 20, 55), (1e-4, 32, 42)])
def test_as_many_steps_as_the_real_leftovers_of_a_thick_restart_allow(steps, gap, ncv, counted):
    """1.2 times the counts of the theory page for evenly spread discarded values; 94 and 101 without leftovers."""
    rng, n, k = np.random.default_rng(4), 400, 8
    spectrum = np.concatenate([np.linspace(2, 1, k), (1 - gap) * (1 - np.arange(n - k) / (n - k))])
    a, w = jnp.asarray(matrix(rng, (n, n), spectrum)), jnp.asarray(random(rng, (n, n)))

    def loss(a):
        options = {"solver": GolubKahan(ncv=ncv, block_size=1), "tol": 1e-11, "derivative": Implicit(tol=1e-10)}
        U, _, Vh = truncax.singular_subspaces(a, k, **options)
        return jnp.sum(w * (U @ Vh))

    jax.jit(jax.grad(loss))(a)
    jax.effects_barrier()
    assert 10 <= steps[-1] <= 1.2 * counted


def test_rayleigh_ritz_makes_the_leftovers_eigenvectors_of_the_projection():
    _, _, C, _, b = problem(True)
    W = jnp.linalg.qr(jnp.asarray(b))[0]
    found = deflation(lambda x: jnp.asarray(C) @ x, W)
    assert isinstance(found, Deflation)
    rotated, rest = found.basis[:K].T, found.basis[K:].T
    np.testing.assert_allclose(rotated.conj().T @ C @ rotated, jnp.diag(found.theta), atol=1e-14)
    np.testing.assert_allclose(C @ rotated, rotated @ jnp.diag(found.theta).astype(rest.dtype) + rest, atol=1e-14)
    np.testing.assert_allclose(rotated.conj().T @ rest, 0, atol=1e-14)
    np.testing.assert_allclose(found.gram, rest.T @ rest.conj(), atol=1e-14)
