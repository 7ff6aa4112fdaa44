"""The options of the derivative do what they say: tolerance, preconditioner, polish."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from profiles import few
from references import (
    error,
    hermitian,
    hermitian_function_gradient,
    matrix,
    random,
    singular_function_gradient,
)

import truncax
from truncax import GolubKahan, Implicit, Lanczos

K = 4


def gradient_of(function, a, w, steps=None, **options):
    """The gradient, and the steps of its solve if ``steps`` is the fixture that counts them."""

    def loss(a):
        first, middle, *last = function(a, **options)
        right = last[0] if last else jnp.conj(first.T)
        return jnp.sum((w * (first @ middle @ right)).real)

    gradient = jax.jit(jax.grad(loss))
    if steps is None:
        return gradient(a)
    steps.clear()
    gradient = gradient(a)
    jax.effects_barrier()
    return gradient, steps[-1] if steps else 0


def singular(a, **options):
    return truncax.singular_subspaces(a, K, **options)


def exact_singular(a, w):
    return singular_function_gradient(np.asarray(a), np.conj(w), K, lambda s: s, np.ones_like)


def exact_hermitian(a, w, order):
    return hermitian_function_gradient(np.asarray(a), np.conj(w), (order, K), lambda x: x, np.ones_like)


def test_a_looser_tolerance_takes_fewer_steps_and_errs_more(steps):
    rng = np.random.default_rng(0)
    a, w = jnp.asarray(matrix(rng, (90, 80), 0.97 ** np.arange(80))), jnp.asarray(random(rng, (90, 80)))
    exact = exact_singular(a, w)
    tight, many = gradient_of(singular, a, w, steps, solver=GolubKahan())
    loose, few = gradient_of(singular, a, w, steps, solver=GolubKahan(), derivative=Implicit(tol=1e-3))
    assert error(tight, exact) <= 1e-12
    assert 1e-7 <= error(loose, exact) <= 1e-2
    assert few < many
    follows, fewer = gradient_of(singular, a, w, steps, solver=GolubKahan(), tol=1e-3)
    assert fewer < many
    assert error(follows, exact) <= 1


@pytest.mark.parametrize(
    ("which", "is_complex", "form"), few([("SA", False, "array"), ("LA", True, "function")], [("LM", True, "partial")])
)
def test_a_preconditioner_saves_steps_and_changes_nothing_else(steps, which, is_complex, form):
    rng = np.random.default_rng(1)
    values = np.concatenate([-np.linspace(1, 2, K), np.linspace(-0.9, 0.8, 60)]) * (1 if which == "SA" else -1)
    a, w = jnp.asarray(hermitian(rng, values, is_complex)), jnp.asarray(random(rng, (64, 64), is_complex))
    # As it comes: negative on the kept vectors, where what it does must not matter.
    inverse = jnp.asarray(np.linalg.inv(np.asarray(a) * (1 if which == "SA" else -1) + 0.96 * np.eye(64)))
    given = {
        "array": inverse,
        "function": lambda x: inverse @ x,
        "partial": jax.tree_util.Partial(jnp.matmul, inverse),
    }[form]

    def invariant(a, **options):
        return truncax.invariant_subspace(a, K, which=which, solver=Lanczos(ncv=8), **options)

    plain, many = gradient_of(invariant, a, w, steps)
    same, few = gradient_of(invariant, a, w, steps, derivative=Implicit(preconditioner=given))
    assert error(same, plain) <= 1e-11
    assert few <= 0.7 * many


def test_a_preconditioner_in_the_units_of_the_matrix(steps):
    rng = np.random.default_rng(2)
    values = np.concatenate([-np.linspace(1, 2, K), np.linspace(-0.9, 0.8, 60)])
    a, w = jnp.asarray(hermitian(rng, values)), jnp.asarray(random(rng, (64, 64)))
    lifted, q = np.linalg.eigh(np.asarray(a) + 0.96 * np.eye(64))
    inverse = (q / np.abs(lifted)) @ q.T
    counts = []
    for scale in (1.0, 1e-12, 1e12):
        options = {"which": "SA", "solver": Lanczos(), "derivative": Implicit(preconditioner=inverse / scale)}
        counts.append(
            gradient_of(lambda a, **o: truncax.invariant_subspace(a, K, **o), scale * a, w, steps, **options)[1]
        )
    assert max(counts) <= min(counts) + 2


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (np.eye(3), ValueError, r"preconditioner must have shape \(40, 40\), got \(3, 3\)"),
        ("jacobi", TypeError, r"preconditioner must be a function of a block"),
        (lambda x: x[:3], ValueError, r"preconditioner must return a block of the shape"),
    ],
)
def test_a_preconditioner_that_does_not_fit(given, kind, message):
    with pytest.raises(kind, match=message):
        jax.grad(lambda a: jnp.sum(truncax.tsvd(a, 2, derivative=Implicit(preconditioner=given)).U))(jnp.eye(50, 40))


@pytest.mark.parametrize(("shape", "is_complex"), [((90, 70), True), ((70, 90), False)], ids=str)
def test_polish_makes_the_gradient_of_a_loose_solver_accurate(shape, is_complex):
    """Error 1e-4 before, about its square over the gap after; values to rounding."""
    rng = np.random.default_rng(3)
    spectrum = np.concatenate([np.linspace(2, 1, K), 0.9 * 0.95 ** np.arange(66)])
    a, w = jnp.asarray(matrix(rng, shape, spectrum, is_complex)), jnp.asarray(random(rng, shape, is_complex))
    exact = exact_singular(a, w)
    loose, once, twice = (
        gradient_of(singular, a, w, solver=GolubKahan(ncv=8), tol=1e-4, derivative=Implicit(polish=i)) for i in range(3)
    )
    assert error(loose, exact) >= 1e-7
    assert error(once, exact) <= 1e-7
    assert error(twice, exact) <= 1e-12


@pytest.mark.parametrize("which", few(["LM", "SA"], ["LA", "BE"]))
def test_polish_of_eigenpairs(which):
    rng = np.random.default_rng(4)
    values = np.concatenate([[-2.3, -2.1, -1.9, -1.7], np.linspace(-1.5, 1.4, 52), [1.6, 1.8, 2.0, 2.2]])
    a, w = jnp.asarray(hermitian(rng, values, True)), jnp.asarray(random(rng, (60, 60), True))

    def invariant(a, **options):
        return truncax.invariant_subspace(a, K, which=which, **{"solver": Lanczos(ncv=8)} | options)

    order = {"LM": [0, 59, 1, 58], "LA": [59, 58, 57, 56], "SA": [0, 1, 2, 3], "BE": [59, 0, 58, 1]}[which]
    exact = exact_hermitian(a, w, order)
    loose, once = (gradient_of(invariant, a, w, tol=1e-3, derivative=Implicit(polish=i)) for i in range(2))
    assert error(loose, exact) >= 1e-6
    assert error(once, exact) <= 1e-2 * error(loose, exact)


def loose_and_polished(function, a, solver):
    options = {"solver": solver, "tol": 1e-4, "return_info": True}
    loose, once = (function(a, 3, derivative=Implicit(polish=i), **options)[1] for i in range(2))
    jax.effects_barrier()
    return loose, once


@pytest.mark.parametrize("shape", [(90, 80), (80, 90)], ids=str)
def test_polish_measures_again_and_counts_its_products(steps, shape):
    """2 k = 6 in the residuals, in each step, in the tangent and at the end; 2 p = 8 for the leftovers."""
    a = matrix(np.random.default_rng(5), shape, 0.9 ** np.arange(80))
    loose, once = loose_and_polished(truncax.tsvd, a, GolubKahan(ncv=7))
    assert int(once.products - loose.products) == 6 * (steps[-1] + 3) + 8
    assert jnp.max(once.residual_norms) <= 1e-2 * jnp.max(loose.residual_norms)


def test_polish_of_eigenpairs_counts_its_products(steps):
    a = hermitian(np.random.default_rng(6), 0.9 ** np.arange(80))
    loose, once = loose_and_polished(truncax.teigh, a, Lanczos(ncv=7))
    assert int(once.products - loose.products) == 3 * (steps[-1] + 2) + 4


def test_polish_at_a_tie_keeps_the_result():
    a = np.diag([3.0, 2.0, 2.0, 1.0, 0.5, 0.1])
    result, info = truncax.tsvd(a, 2, derivative=Implicit(polish=1), return_info=True)
    np.testing.assert_allclose(result.S, [3, 2], rtol=1e-14)
    assert info.converged


def test_a_loss_of_values_alone_solves_nothing(steps):
    """No loop in the compiled gradient beyond those of the value; in eager mode and in reverse mode no step."""
    a = jnp.asarray(matrix(np.random.default_rng(6), (60, 50), 0.9 ** np.arange(50)))
    result = truncax.tsvd(a, 3)
    for mode in ("all", "reverse"):
        steps.clear()
        gradient = jax.grad(lambda a, m=mode: jnp.sum(truncax.tsvd(a, 3, derivative=Implicit(mode=m)).S))(a)
        jax.effects_barrier()
        assert steps == [0]
        assert error(gradient, result.U @ result.Vh) <= 1e-12


def test_a_loss_of_values_alone_compiles_no_solve():
    a = jnp.asarray(matrix(np.random.default_rng(6), (60, 50), 0.9 ** np.arange(50)))

    def loops(f):
        # A scatter may be compiled to a loop too; its name ends otherwise.
        return len(re.findall(r' while\(.*/while"', jax.jit(f).lower(a).compile().as_text()))

    value = loops(lambda a: jnp.sum(truncax.tsvd(a, 3, solver=GolubKahan()).S))
    assert loops(jax.grad(lambda a: jnp.sum(truncax.tsvd(a, 3, solver=GolubKahan()).S))) == value
    assert loops(jax.grad(lambda a: jnp.sum(truncax.tsvd(a, 3, solver=GolubKahan()).U[0]))) > value
