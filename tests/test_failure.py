"""Nothing unconverged or non-finite is returned in silence, forward or in a derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from profiles import LONG, crossed
from references import hermitian, random

import truncax
from truncax import ConvergenceError, GolubKahan, Implicit, Lanczos, Status

A = jnp.asarray(random(np.random.default_rng(0), (150, 150)))
H = jnp.asarray(hermitian(np.random.default_rng(1), np.linspace(-1, 1, 150)))
PROBLEMS = {
    truncax.tsvd: (A, GolubKahan(max_restarts=1)),
    truncax.singular_subspaces: (A, GolubKahan(max_restarts=1)),
    truncax.teigh: (H, Lanczos(max_restarts=1)),
    truncax.invariant_subspace: (H, Lanczos(max_restarts=1)),
}
# The four fail alike: vectors once, a basis once.
FEW = PROBLEMS if LONG else [truncax.tsvd, truncax.invariant_subspace]
FUNCTION = pytest.mark.parametrize("function", FEW)


def total(result):
    return sum(jnp.sum(x) for x in result)


@FUNCTION
def test_a_failed_forward_solve_raises_in_eager_code(function):
    a, solver = PROBLEMS[function]
    message = r"no convergence: the largest relative residual is .* after 1 of 1 restart cycles.*tol is .*max_restarts"

    def loss(a):
        return total(function(a, 3, solver=solver))

    calls = [lambda: loss(a), lambda: jax.grad(loss)(a), lambda: jax.jvp(loss, (a,), (a,))]
    for call in calls if function is truncax.tsvd else calls[1:2]:
        with pytest.raises(ConvergenceError, match=message):
            call()


def test_residuals_that_stand_still_are_not_a_matter_of_restarts():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((300, 200))
    a = a.T @ a
    a += 1e-4 * np.linalg.norm(a) * np.triu(np.ones((200, 200))) / 200
    with pytest.raises(ConvergenceError, match="not quite Hermitian") as raised:
        truncax.teigh(jnp.asarray(a, jnp.float32), 3)
    assert "max_restarts" not in str(raised.value)


def test_smallest_eigenvalues_that_do_not_converge_need_a_shift():
    def failing(a):
        truncax.teigh(a, 3, which="SA", solver=Lanczos(max_restarts=1))

    with pytest.raises(ConvergenceError, match=r"smallest eigenvalues are found .* such as sigma="):
        failing(H)
    with pytest.raises(ConvergenceError) as raised:
        failing(truncax.linear_operator(lambda x: H @ x, shape=len(H), dtype=H.dtype, hermitian=True))
    assert "sigma" not in str(raised.value)


@FUNCTION
def test_a_failed_forward_solve_is_nan_where_traced(function):
    a, solver = PROBLEMS[function]

    @jax.jit
    def both_modes(a):
        def f(a):
            return function(a, 3, solver=solver, return_info=True)

        result, pull, info = jax.vjp(f, a, has_aux=True)
        (gradient,) = pull(jax.tree.map(jnp.ones_like, result))
        return result, info, gradient, jax.jvp(lambda a: f(a)[0], (a,), (a,))[1]

    result, info, gradient, tangent = both_modes(a)
    assert all(jnp.all(jnp.isnan(x)) for x in (*result, gradient, *tangent))
    assert info.status == Status.NOT_CONVERGED
    assert not bool(info.converged)
    assert jnp.all(jnp.isfinite(info.residual_norms))


def short_of_leftovers(function):
    """A solver after which the derivative takes some steps: after a full decomposition its solve is direct."""
    singular = function in (truncax.tsvd, truncax.singular_subspaces)
    return truncax.GolubKahan(ncv=8) if singular else truncax.Lanczos(ncv=8)


@FUNCTION
def test_a_failed_derivative_solve_is_nan(function):
    """Also under a gradient alone, whose forward results are fine: a select would give zero here."""
    a = PROBLEMS[function][0][:30, :30]
    options = Implicit(max_steps=1)
    vectors = 1 if function is truncax.teigh else 0

    def loss(a):
        return jnp.sum(function(a, 3, derivative=options, solver=short_of_leftovers(function))[vectors])

    assert jnp.isfinite(loss(a))
    for wrap in (lambda f: f, jax.jit):
        assert jnp.all(jnp.isnan(wrap(jax.grad(loss))(a)))
        assert jnp.isnan(wrap(lambda a: jax.jvp(loss, (a,), (a[::-1] + a[::-1].T,))[1])(a))


@FUNCTION
def test_every_output_alone_passes_nan_on(function):
    """A NaN cotangent of the vectors alone goes through the linear solve, and must come out as NaN."""
    a = PROBLEMS[function][0][:30, :30]
    result, pull = jax.vjp(lambda a: function(a, 3, solver=truncax.Dense()), a)
    for i in range(len(result)):
        cotangent = type(result)(*(jnp.full_like(x, jnp.nan if i == j else 0.0) for j, x in enumerate(result)))
        assert jnp.all(jnp.isnan(pull(cotangent)[0])), i


def test_a_bad_traced_tolerance_is_loud():
    def gradient(tol):
        options = Implicit(tol=tol)
        return jax.grad(lambda a: truncax.tsvd(a, 3, derivative=options, solver=truncax.Dense()).U[0, 0])(A[:30, :30])

    for tol in (-1.0, jnp.nan):
        assert jnp.all(jnp.isnan(jax.jit(gradient)(tol)))


def test_a_failed_derivative_solve_spares_what_needs_no_solve():
    gradient = jax.grad(lambda a: truncax.tsvd(a, 3, derivative=Implicit(max_steps=1)).S.sum())(A)
    assert jnp.all(jnp.isfinite(gradient))


def test_options_of_the_derivative_have_their_effect():
    def gradient(**options):
        def loss(a):
            solver = short_of_leftovers(truncax.tsvd)
            return jnp.sum(truncax.tsvd(a, 3, derivative=Implicit(**options), solver=solver).U[:, 0] ** 4)

        return jax.grad(loss)(A[:60, :60])

    exact = gradient(tol=1e-14)
    loose = float(jnp.linalg.norm(gradient(tol=1e-3) - exact) / jnp.linalg.norm(exact))
    assert 1e-8 < loose < 1e-1
    assert jnp.linalg.norm(gradient(max_steps=10_000) - exact) <= 1e-10 * jnp.linalg.norm(exact)
    traced = jax.jit(lambda tol: gradient(tol=tol))(1e-3)
    assert jnp.linalg.norm(traced - gradient(tol=1e-3)) <= 1e-6 * jnp.linalg.norm(exact)


@FUNCTION
def test_on_failure(function):
    a, solver = PROBLEMS[function]
    result, info = function(a, 3, solver=solver, on_failure="nan", return_info=True)
    assert all(jnp.all(jnp.isnan(x)) for x in result)
    assert info.status == Status.NOT_CONVERGED
    kept, info = function(a, 3, solver=solver, on_failure="keep", return_info=True)
    assert all(jnp.all(jnp.isfinite(x)) for x in kept)
    assert info.residual_norms.max() > 1e-6


@crossed("function, native", PROBLEMS, [True, False])
def test_non_finite_input_where_traced(function, native):
    a, solver = PROBLEMS[function]
    a = a[:20, :20].at[3, 4].set(jnp.nan)
    solver = type(solver)() if native else truncax.Dense()
    result, info = jax.jit(lambda a: function(a, 3, solver=solver, return_info=True))(a)
    assert info.status == Status.NON_FINITE
    assert all(jnp.all(jnp.isnan(x)) for x in result)


def test_a_matrix_that_is_not_hermitian_where_traced():
    for solver in (Lanczos(), truncax.Dense()):
        result, info = jax.jit(lambda a, s=solver: truncax.teigh(a, 3, solver=s, return_info=True))(A)
        assert info.status == Status.NOT_HERMITIAN
        assert all(jnp.all(jnp.isnan(x)) for x in result)


def test_a_result_that_was_not_verified_is_not_trusted():
    """One cycle is enough to converge here, and not to make sure that no copy was missed."""
    a = jnp.diag(jnp.asarray(np.r_[4.0, 2.0, 1.0, np.zeros(147)]))
    with pytest.raises(ConvergenceError, match="whether one was missed is not settled"):
        truncax.tsvd(a, 3, solver=GolubKahan(max_restarts=1))
    assert truncax.tsvd(a, 3, solver=GolubKahan(max_restarts=9)).S[0] == pytest.approx(4)


def test_only_the_failed_member_of_a_batch_is_nan():
    batch = jnp.stack([jnp.diag(jnp.asarray(np.r_[4.0, 2.0, 1.0, np.zeros(147)])), A])
    solver = GolubKahan(max_restarts=3)
    result, info = truncax.tsvd(batch, 3, solver=solver, on_failure="nan", return_info=True)
    np.testing.assert_array_equal(info.status, [Status.CONVERGED, Status.NOT_CONVERGED])
    assert jnp.all(jnp.isfinite(result.S[0]))
    assert jnp.all(jnp.isnan(result.S[1]))
    with pytest.raises(ConvergenceError, match=r"in 1 of 2 members of the batch \(at 1\)"):
        truncax.tsvd(batch, 3, solver=solver)


def test_members_of_several_axes_are_named_by_all_their_indices():
    batch = jnp.tile(jnp.diag(jnp.arange(1.0, 5.0)), (2, 2, 1, 1)).at[1, 0, 2, 3].set(jnp.nan)
    with pytest.raises(ValueError, match=r"in 1 of 4 members of the batch \(at 1, 0\)"):
        truncax.tsvd(batch, 2)
