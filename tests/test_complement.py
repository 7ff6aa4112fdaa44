"""The complement solve inverts the very operator whose derivative JAX takes, on the whole space, at any deflation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import EPS, error, hermitian, matrix, orthonormal, random

from truncax.complement.cg import block_cg
from truncax.complement.deflation import Preconditioner, Spectral, by_eigenvectors, deflation, preconditioner
from truncax.complement.solve import SolveOptions, solve_once, solve_self_adjoint
from truncax.operators.dense import DenseOperator
from truncax.operators.operator import Hermitian
from truncax.rules.eigh import definite_sign, invariant_deflation, invariant_system
from truncax.rules.svd import singular_deflation, singular_system

N, K = 30, 4
COMPLEX = pytest.mark.parametrize("complex_", [False, True], ids=["real", "complex"])


def system_and_leftovers(which, complex_):
    rng = np.random.default_rng(0)
    values = np.concatenate([[3.0, 2.5, 2.0, 1.8], np.linspace(1.2, 0.9, N - 8), [0.4, 0.3, 0.2, 0.1]])
    size = jnp.asarray(3.0)
    if which in ("svd LM", "svd SM"):
        a = jnp.asarray(matrix(rng, (N, N), values, complex_))
        operator, (U, s, Vh) = DenseOperator.of(a), jnp.linalg.svd(a)
        U, V = (x[:, ::-1] if which == "svd SM" else x for x in (U, Vh.conj().T))
        s = s[::-1] if which == "svd SM" else s
        C = jnp.diag(s[:K]).astype(a.dtype)
        system = singular_system(operator, U[:, :K], C, V[:, :K], size, which[-2:])
        return system, singular_deflation(operator, U[:, :K], V[:, :K], U[:, K : K + 6].T)
    signs = np.where(np.arange(N) % 2, -1, 1) if which in ("LM", "BE") else 1
    a = jnp.asarray(hermitian(rng, values * signs, complex_))
    operator = Hermitian(DenseOperator.of(a))
    values, Q = jnp.linalg.eigh(a)
    order = {"LA": np.argsort(-values), "SA": np.argsort(values), "LM": np.argsort(-np.abs(values))}
    order["BE"] = np.ravel(np.stack([order["LA"], order["SA"]], axis=1))[:N]
    Q, values = Q[:, order[which]], values[order[which]]
    H = jnp.diag(values[:K]).astype(a.dtype)
    system = invariant_system(operator, Q[:, :K], H, size, which).system
    return system, invariant_deflation(operator, Q[:, :K], Q[:, K : K + 6].T)


@COMPLEX
@pytest.mark.parametrize("which", ["svd LM", "svd SM", "LA", "SA", "LM", "BE"])
def test_the_solve_inverts_the_operator_on_the_whole_space(which, complex_):
    system, leftovers = system_and_leftovers(which, complex_)
    b = jnp.asarray(random(np.random.default_rng(1), (N, K), complex_))
    for given in (None, leftovers):
        found = solve_once(system, b, SolveOptions(jnp.asarray(1e-14), 500, given))
        assert jnp.all(found.converged)
        assert error(system.matvec(found.x), b) <= 1e-12


def test_what_fails_is_nan_or_kept_where_asked():
    system, _ = system_and_leftovers("LA", True)
    b = jnp.asarray(random(np.random.default_rng(15), (N, K), True))
    for keep in (False, True):
        x = solve_self_adjoint(system, b, SolveOptions(jnp.asarray(1e-14), 1, keep=keep))
        assert jnp.all(jnp.isfinite(x) if keep else jnp.isnan(x))


def test_a_preconditioner_has_no_say_on_the_kept_span():
    """Neither by what it makes of the kept vectors, on which it may be negative, nor by what it mixes in of them."""
    system, leftovers = system_and_leftovers("LA", True)
    rng = np.random.default_rng(14)
    inverse = hermitian(rng, np.linspace(1, 3, N), True)
    inverse = jax.tree_util.Partial(jnp.matmul, jnp.asarray(inverse) - 5 * system.kept @ system.kept.conj().T)
    b = jnp.asarray(random(rng, (N, K), True))
    found = solve_once(system, b, SolveOptions(jnp.asarray(1e-14), 500, leftovers, inverse))
    assert jnp.all(found.converged)
    assert error(system.matvec(found.x), b) <= 1e-12


@COMPLEX
def test_what_lies_in_the_kept_span_takes_no_step(complex_):
    """The rest is rounding error then, and measured by the whole right-hand side."""
    system, leftovers = system_and_leftovers("SA", complex_)
    b = system.kept @ jnp.asarray(random(np.random.default_rng(2), (K, K), complex_))
    found = solve_once(system, b, SolveOptions(jnp.asarray(1e-13), 500, leftovers))
    assert found.steps == 0
    assert error(system.matvec(found.x), b) <= 1e-13


def test_beside_a_whole_basis_nothing_is_solved_for():
    """What rounding leaves outside of one, 1e-14 at n = 200, is above the tolerance, and no system holds it."""
    rng = np.random.default_rng(4)
    values, Q = np.linspace(1, 2, N)[::-1], orthonormal(rng, N, N)
    operator = Hermitian(DenseOperator.of(jnp.asarray((Q * values) @ Q.T)))
    Q, H = jnp.asarray(Q + 1e-13 * random(rng, (N, N))), jnp.diag(jnp.asarray(values))
    system = invariant_system(operator, Q, H, jnp.asarray(2.0), "LA").system
    b = jnp.asarray(random(rng, (N, N)))
    found = solve_once(system, b, SolveOptions(jnp.asarray(1e-15), 500))
    assert jnp.all(found.converged)
    assert found.steps == 0
    assert error(system.matvec(found.x), b) <= 1e-11


def test_a_row_without_a_tolerance_fails_at_once():
    b = jnp.asarray(random(np.random.default_rng(3), (3, N)))
    tol = jnp.asarray([1e-10, jnp.nan, 1e-10])
    found = block_cg(lambda x: 2 * x, b, tol=tol, max_steps=100)
    assert found.converged.tolist() == [True, False, True]
    assert found.steps == 1
    np.testing.assert_allclose(found.x[0], b[0] / 2)
    assert block_cg(lambda x: 2 * x, b, tol=jnp.full(3, jnp.nan), max_steps=100).steps == 0


def test_right_hand_sides_of_any_size():
    """float32 and 1e-25: the squares of the residual would be zero."""
    b = jnp.asarray(random(np.random.default_rng(11), (2, N)), jnp.float32)
    d, tol = jnp.linspace(1, 10, N, dtype=jnp.float32)[None, :], 1e-5
    found = block_cg(lambda x: d * x, b * jnp.float32(1e-25), tol=jnp.float32(tol), max_steps=100)
    assert jnp.all(found.converged)
    # The condition of d times the residual.
    assert error(np.asarray(found.x, np.float64) * 1e25, b / d) <= 10 * tol


def test_a_row_that_is_not_finite_fails_alone():
    """It must not count as zero, which is solved."""
    b = jnp.asarray(random(np.random.default_rng(12), (3, N))).at[1, 4].set(jnp.nan)
    found = block_cg(lambda x: 2 * x, b, tol=jnp.asarray(1e-10), max_steps=100)
    assert found.converged.tolist() == [True, False, True]
    assert found.steps < 5


def test_an_operator_that_is_singular_to_working_precision_fails():
    """Its two values would let the iteration end in two steps, with a result that has no digit."""
    b = jnp.asarray(random(np.random.default_rng(13), (2, N)))
    d = jnp.ones((2, N)).at[0, 3].set(1e-15).at[1, 3].set(1e-10)
    found = block_cg(lambda x: d * x, b, tol=jnp.asarray(1e-5), max_steps=100)
    assert found.converged.tolist() == [False, True]


def test_a_row_that_has_converged_is_frozen():
    """One with a loose tolerance is not improved by the steps that the other one needs."""
    b, d = jnp.asarray(random(np.random.default_rng(6), (2, N))), jnp.linspace(1, 10, N)[None, :]
    both = block_cg(lambda x: d * x, b, tol=jnp.asarray([1e-2, 1e-13]), max_steps=100)
    alone = block_cg(lambda x: d * x, b[:1], tol=jnp.asarray([1e-2]), max_steps=100)
    assert 2 * alone.steps < both.steps
    np.testing.assert_allclose(both.x[0], alone.x[0], rtol=1e-13)


def test_a_preconditioner_that_is_not_definite_fails_at_once():
    """Without a sign of it in the residuals: with minus the identity the steps are those without a preconditioner."""
    b = jnp.asarray(random(np.random.default_rng(7), (2, N)))
    wrong = Preconditioner(lambda b: (jnp.zeros_like(b), b), lambda r: -r)
    found = block_cg(lambda x: 2 * x, b, tol=jnp.asarray(1e-10), max_steps=100, preconditioner=wrong)
    assert not jnp.any(found.converged)
    assert found.steps == 1


def test_residuals_are_brought_back_to_the_subspace():
    """The product leaves it by 1e-3, as rounding would after many steps; nothing reduces that again."""
    b = jnp.asarray(random(np.random.default_rng(8), (2, N))).at[:, -1].set(0)
    d = jnp.linspace(1, 10, N)[None, :].at[0, -1].set(0)

    def matvec(x):
        return (d * x).at[:, -1].set(1e-3 * x[:, 0])

    found = block_cg(matvec, b, tol=jnp.asarray(1e-12), max_steps=100, project=lambda r: r.at[:, -1].set(0))
    assert jnp.all(found.converged)
    np.testing.assert_allclose(found.x[:, :-1], b[:, :-1] / d[:, :-1], rtol=1e-10)


def test_the_sign_of_an_odd_number_from_both_ends():
    """One more of them is high; the values come in any order."""
    assert definite_sign(jnp.asarray([3.0, -2.0, 1.0]), "BE").tolist() == [-1, 1, -1]


def test_small_kept_values_need_both_projections():
    """With a single one in ``Ap Ap^H`` nothing converges below s_k / s_1 = 1e-8. The bound is eps s_1 / s_k."""
    s = np.concatenate([[1.0, 1e-3, 1e-6, 1e-9], 0.5e-9 * np.linspace(1, 0.1, N - K)])
    a = jnp.asarray(matrix(np.random.default_rng(9), (N, N), s))
    U, s, Vh = jnp.linalg.svd(a)
    C = jnp.diag(s[:K])
    system = singular_system(DenseOperator.of(a), U[:, :K], C, Vh[:K].T, s[0], "LM")
    b = jnp.asarray(random(np.random.default_rng(1), (N, K)))
    found = solve_once(system, b, SolveOptions(jnp.asarray(1e-8), 100))
    assert jnp.all(found.converged)
    assert error(system.matvec(found.x), b) <= 1e-6


@COMPLEX
@pytest.mark.parametrize("inner", [False, True], ids=["scalar", "preconditioner"])
def test_the_balancing_preconditioner_is_its_formula(inner, complex_):
    """For vectors W that know nothing of the operator: with Ritz vectors alone half of the terms vanish."""
    rng, p = np.random.default_rng(4), 5
    C = hermitian(rng, np.linspace(1, 0, N), complex_)
    M = hermitian(rng, np.linspace(1, 2, N), complex_) if inner else np.eye(N) / 1.5
    W = np.linalg.qr(random(rng, (N, p), complex_))[0]
    alpha, beta = np.array([1.0, 1.2, 2.0]), -np.array([0.99, 0.9, 0.8])
    spectral = Spectral(jnp.asarray(alpha), jnp.asarray(beta), jnp.asarray(1.5))
    given = deflation(lambda x: jnp.asarray(C) @ x, jnp.asarray(W))
    apply = (lambda r: (jnp.asarray(M) @ r.T).T) if inner else None
    found = preconditioner(given, spectral, apply)
    r = random(rng, (3, N), complex_)
    x, rest = found.start(jnp.asarray(r))
    z = found.apply(jnp.asarray(r))
    for j in range(3):
        K_j, one = alpha[j] * np.eye(N) + beta[j] * C, np.eye(N)
        Q = W @ np.linalg.solve(W.conj().T @ K_j @ W, W.conj().T)
        np.testing.assert_allclose(x[j], Q @ r[j], atol=1e-12)
        np.testing.assert_allclose(rest[j], (one - K_j @ Q) @ r[j], atol=1e-12)
        np.testing.assert_allclose(z[j], ((one - Q @ K_j) @ M @ (one - K_j @ Q) + Q) @ r[j], atol=1e-12)


@pytest.mark.parametrize("inner", [False, True], ids=["scalar", "preconditioner"])
def test_the_preconditioner_by_eigenvectors_is_its_formula(inner):
    """Of the same formula the terms that are left where ``K_j W = W E_j``; one direction is singular for row 0."""
    rng, p = np.random.default_rng(10), 5
    q = orthonormal(rng, N, N, True)
    theta = np.linspace(1, 0, N)
    C = (q * theta) @ q.conj().T
    M = hermitian(rng, np.linspace(1, 2, N), True) if inner else np.eye(N) / 1.5
    alpha, beta = np.array([1.0 + 4 * EPS, 1.2, 2.0]), -np.array([1.0, 0.9, 0.8])
    spectral = Spectral(jnp.asarray(alpha), jnp.asarray(beta), jnp.asarray(1.5))
    given = by_eigenvectors(jnp.asarray(q[:, :p].T), jnp.asarray(theta[:p]))
    apply = (lambda r: (jnp.asarray(M) @ r.T).T) if inner else None
    found = preconditioner(given, spectral, apply)
    r = random(rng, (3, N), True)
    x, rest = found.start(jnp.asarray(r))
    z = found.apply(jnp.asarray(r))
    assert rest is None
    for j in range(3):
        W = q[:, 1:p] if j == 0 else q[:, :p]
        K_j, one = alpha[j] * np.eye(N) + beta[j] * C, np.eye(N)
        Q = W @ np.linalg.solve(W.conj().T @ K_j @ W, W.conj().T)
        np.testing.assert_allclose(x[j], Q @ r[j], atol=1e-12)
        np.testing.assert_allclose(z[j], ((one - Q @ K_j) @ M @ (one - K_j @ Q) + Q) @ r[j], atol=1e-12)


def test_leftovers_that_are_not_orthonormal_any_more_change_nothing():
    """As after a polish, when the kept vectors have moved: the exact solution, from vectors off by 1e-3."""
    rng = np.random.default_rng(5)
    C = hermitian(rng, np.linspace(1, 0, N))
    W = np.linalg.qr(random(rng, (N, 4)))[0] @ (np.eye(4) + 1e-3 * random(rng, (4, 4)))
    given = deflation(lambda x: jnp.asarray(C) @ x, jnp.asarray(np.concatenate([W, np.zeros((N, 2))], axis=1)))
    w = np.asarray(given.basis[:6])
    np.testing.assert_allclose(np.sort(np.linalg.norm(w, axis=1)), [0, 0, 1, 1, 1, 1], atol=1e-12)
    spectral = Spectral(jnp.ones(2), -jnp.asarray([0.9, 0.8]), jnp.ones(()))
    b = jnp.asarray(random(rng, (2, N)))
    found = block_cg(
        lambda x: x - jnp.asarray([[0.9], [0.8]]) * (x @ jnp.asarray(C)),
        b,
        tol=jnp.asarray(1e-14),
        max_steps=200,
        preconditioner=preconditioner(given, spectral, None),
    )
    exact = np.stack([np.linalg.solve(np.eye(N) - g * C, y) for g, y in zip((0.9, 0.8), b, strict=True)])
    assert jnp.all(found.converged)
    assert error(found.x, exact) <= 1e-13
