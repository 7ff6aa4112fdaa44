"""Progress of a long solve: what the callback is told, and that nothing is there without it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import hermitian, matrix

import truncax
from truncax import LOBPCG, Arnoldi, Dense, GolubKahan, Lanczos
from truncax.solvers.progress import report

N, K = 120, 3


def spectrum():
    """A cut with a small gap, so that it takes some restarts."""
    return np.concatenate([[2.0, 1.8, 1.6], 1.59 - 0.01 * np.arange(N - 3)])


def problem(name):
    rng = np.random.default_rng(0)
    if name == "tsvd":
        return truncax.tsvd, jnp.asarray(matrix(rng, (N, N), spectrum())), {"solver": GolubKahan(ncv=12)}
    a = jnp.asarray(hermitian(rng, spectrum()))
    if name == "teigh":
        return truncax.teigh, a, {"which": "LA", "solver": Lanczos(ncv=12)}
    if name == "lobpcg":
        return truncax.teigh, a, {"which": "LA", "solver": LOBPCG()}
    return truncax.teig, a, {"which": "LR", "solver": Arnoldi(ncv=14)}


@pytest.mark.parametrize("name", ["tsvd", "teigh", "lobpcg", "teig"])
def test_it_is_told_how_far_the_solver_is(name):
    """Restarts ascend, every fourth one and the last; all pairs have converged in the end, and not before."""
    function, a, options = problem(name)
    told = []

    def callback(iteration, converged, residuals):
        told.append((int(iteration), int(converged), np.asarray(residuals)))

    result, info = function(a, K, callback=callback, return_info=True, tol=1e-10, **options)
    jax.effects_barrier()
    iterations, converged, residuals = zip(*sorted(told, key=lambda x: x[0]), strict=True)
    assert iterations[-1] == int(info.iterations)
    assert len(told) >= 2
    assert all(i % 4 == 0 for i in iterations[:-1])
    assert converged[-1] == K
    assert converged[0] < K
    assert all(r.shape == (K,) for r in residuals)
    assert np.max(residuals[-1]) <= 1e-10 < np.max(residuals[0])
    same, other = function(a, K, return_info=True, tol=1e-10, **options)
    jax.tree.map(np.testing.assert_array_equal, result, same)
    assert int(other.products) == int(info.products)


def test_it_is_told_the_end_where_the_solver_gives_up():
    a, told = jnp.asarray(matrix(np.random.default_rng(0), (N, N), spectrum())), []
    for limit in (1, 3, 4, 5):
        told.clear()
        solver = GolubKahan(ncv=12, max_restarts=limit)
        callback = lambda iteration, *_: told.append(int(iteration))  # noqa: E731
        _, info = truncax.tsvd(a, K, solver=solver, callback=callback, on_failure="nan", return_info=True)
        jax.effects_barrier()
        assert int(info.iterations) == limit
        assert sorted(told) == sorted({*range(4, limit, 4), limit})


def test_one_report_is_due_at_every_fourth_restart_and_at_the_end():
    """Not at the looks between two restarts, of which there are some."""
    told = []
    for iteration, restarting, done in itertools.product((3, 4), (False, True), (False, True)):
        state = map(jnp.asarray, (iteration, restarting, done, np.ones(K, bool), np.zeros(K)))
        report(lambda *_, case=(iteration, restarting, done): told.append(case), *state)
    jax.effects_barrier()
    assert sorted(told) == [(3, False, True), (3, True, True), (4, False, True), (4, True, False), (4, True, True)]


def test_it_runs_under_transformations():
    a, told = jnp.asarray(matrix(np.random.default_rng(0), (N, N), spectrum())), []

    def values(a):
        return truncax.tsvd(a, K, solver=GolubKahan(ncv=12), callback=lambda i, *_: told.append(int(i))).S.sum()

    for function, x in ((jax.jit(jax.grad(values)), a), (jax.vmap(values), jnp.stack([a, 2 * a]))):
        told.clear()
        jax.block_until_ready(function(x))
        jax.effects_barrier()
        assert told


def test_without_it_the_program_has_no_callback():
    a = jnp.zeros((N, N))
    for callback, there in ((None, False), (truncax.show_progress, True)):
        program = jax.jit(lambda a, f=callback: truncax.tsvd(a, K, callback=f).S).lower(a).as_text()
        assert ("callback" in program) == there


def test_the_default_solver_is_then_an_iterative_one(capfd):
    """Also for a small matrix; the ready-made line goes to stderr."""
    a = jnp.asarray(matrix(np.random.default_rng(0), (50, 50), np.linspace(2, 1, 50)))
    truncax.singular_subspaces(a, K, callback=truncax.show_progress)
    jax.effects_barrier()
    lines = capfd.readouterr().err.splitlines()
    assert lines[-1].startswith("truncax: restart")
    assert f"{K} of {K} converged, largest residual" in lines[-1]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"callback": truncax.show_progress, "solver": Dense()}, ValueError, "callback reports the restarts"),
        ({"callback": truncax.show_progress, "solver": truncax.Propack()}, ValueError, "callback reports the restarts"),
        ({"callback": 3}, TypeError, "callback must be None or a function"),
        ({"callback": print, "solver": GolubKahan(callback=repr)}, ValueError, "callback is given twice"),
    ],
)
def test_bad_arguments(options, kind, message):
    with pytest.raises(kind, match=message):
        truncax.tsvd(jnp.eye(5), 2, **options)
