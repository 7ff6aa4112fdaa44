"""Every derivative mode against the full decomposition, on matrices with s_{k+1} / s_k = 0.9."""

from functools import partial

import checks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import SHAPES, K, check_adjoint, check_gradient, check_orders, eigh_problem, svd_problem
from jax.test_util import check_grads
from profiles import LONG_ONLY, crossed, few
from references import error, random

import truncax

COMPLEX = pytest.mark.parametrize("complex_", [False, True], ids=["real", "complex"])
WHICH = ["LM", "LA", "SA", "BE"]
SVD = [truncax.tsvd, truncax.singular_subspaces]
EIGH = [truncax.teigh, truncax.invariant_subspace]


# Every pair of modes and every order compiles for seconds.
@pytest.mark.parametrize(
    ("function", "shape", "complex_"),
    few(
        [(SVD[0], SHAPES[1], True), (SVD[1], SHAPES[0], False)],
        [(SVD[0], SHAPES[2], False), *((SVD[1], shape, True) for shape in SHAPES)],
    ),
)
def test_every_order_of_triplets(function, shape, complex_):
    losses = {
        truncax.tsvd: (checks.tsvd_loss, checks.full_svd_loss),
        truncax.singular_subspaces: (checks.approximation_loss, checks.full_approximation_loss),
    }
    check_orders(*losses[function], svd_problem(shape, complex_))


@crossed("shape, complex_", SHAPES, [True, False])
def test_smallest_triplets(shape, complex_):
    problem = svd_problem(shape, complex_, which="SM")
    check_gradient(partial(checks.tsvd_loss, which="SM"), partial(checks.full_svd_loss, which="SM"), problem)


@LONG_ONLY
def test_smallest_triplets_at_every_order():
    problem = svd_problem((20, 32), True, which="SM")
    check_orders(partial(checks.tsvd_loss, which="SM"), partial(checks.full_svd_loss, which="SM"), problem)


@pytest.mark.parametrize(
    ("function", "which", "complex_"),
    few(
        [(EIGH[0], "BE", True), (EIGH[1], "SA", False)],
        [*((EIGH[0], which, False) for which in WHICH), *((EIGH[1], which, True) for which in WHICH)],
    ),
)
def test_every_order_of_eigenpairs(function, which, complex_):
    loss, reference = {
        truncax.teigh: (checks.teigh_loss, checks.full_eigh_loss),
        truncax.invariant_subspace: (checks.invariant_loss, checks.full_invariant_loss),
    }[function]
    check_orders(loss(which), reference(which), eigh_problem(which, complex_))


@crossed("function, shape, complex_", SVD, SHAPES, [True, False], rows=4)
def test_singular_adjointness(function, shape, complex_):
    check_adjoint(lambda a: function(a, K, solver=truncax.Dense()), svd_problem(shape, complex_)[0])


@crossed("shape, complex_", SHAPES, [False, True])
def test_smallest_adjointness(shape, complex_):
    a = svd_problem(shape, complex_, which="SM")[0]
    check_adjoint(lambda a: truncax.tsvd(a, K, which="SM"), a)


@crossed("function, which, complex_", EIGH, WHICH, [True, False])
def test_hermitian_adjointness(function, which, complex_):
    check_adjoint(lambda a: function(a, K, which=which, solver=truncax.Dense()), eigh_problem(which, complex_)[0])


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_check_grads(mode):
    a, w, *_ = svd_problem((20, 24), True)
    check_grads(jax.jit(lambda x: checks.tsvd_loss(x, w)), (a,), order=2, modes=(mode,), rtol=1e-5, atol=1e-5)


@COMPLEX
def test_the_gradient_of_a_hermitian_problem_is_hermitian(complex_):
    a, w, *_ = eigh_problem("LA", complex_)
    gradient = jax.jit(jax.grad(checks.teigh_loss("LA")))(a, w)
    assert jnp.max(jnp.abs(gradient - gradient.conj().T)) <= 1e-14 * jnp.max(jnp.abs(gradient))


@crossed("shape, complex_", SHAPES, [True, False], rows=4)
def test_native_solver(shape, complex_):
    problem = svd_problem(shape, complex_)
    check_gradient(partial(checks.tsvd_loss, solver=truncax.GolubKahan()), checks.full_svd_loss, problem)


@crossed("which, complex_", WHICH, [False, True], rows=5)
def test_native_eigensolver(which, complex_):
    problem = eigh_problem(which, complex_)
    check_gradient(partial(checks.teigh_loss(which), solver=truncax.Lanczos()), checks.full_eigh_loss(which), problem)


@pytest.mark.parametrize("solver", [truncax.Arpack(), truncax.Propack(), truncax.GolubKahan(block_size=3)])
def test_other_solvers_have_the_same_derivative(solver):
    check_gradient(partial(checks.tsvd_loss, solver=solver), checks.full_svd_loss, svd_problem((26, 20), True))


@pytest.mark.parametrize("solver", [truncax.Arpack(), truncax.Lanczos(block_size=3)])
def test_other_eigensolvers_have_the_same_derivative(solver):
    problem = eigh_problem("SA", True)
    check_gradient(partial(checks.teigh_loss("SA"), solver=solver), checks.full_eigh_loss("SA"), problem)


def test_native_solver_at_higher_orders():
    loss = partial(checks.tsvd_loss, solver=truncax.GolubKahan())
    names = ["hvp forward over reverse", "third"]
    check_orders(loss, checks.full_svd_loss, svd_problem((26, 26), True), names)


def test_a_tangent_of_zero_and_an_unused_argument():
    a, w, *_ = svd_problem((20, 20), False)
    assert jnp.all(jax.jvp(lambda x: checks.tsvd_loss(x, w), (a,), (jnp.zeros_like(a),))[1] == 0)
    gradient = jax.grad(lambda w: checks.tsvd_loss(a, w))(w)
    assert jnp.all(jnp.isfinite(gradient))


def test_both_products_and_their_cotangent_in_groups_of_rows():
    from truncax.numerics.products import both_products

    rng = np.random.default_rng(20)
    a, x, y = (jnp.asarray(random(rng, shape)) for shape in ((1280, 512), (512, 3), (1280, 2)))
    (ax, ahy), pull = jax.vjp(lambda a: both_products(a, x, y), a)
    assert error(ax, a @ x) <= 1e-14
    assert error(ahy, a.T @ y) <= 1e-13
    (cotangent,) = pull((ax, ahy))
    assert error(cotangent, ax @ x.T + y @ ahy.T) <= 1e-13


@pytest.mark.parametrize("mode", ["all", "reverse"])
def test_the_gradient_needs_no_second_matrix(mode):
    """Beyond A, its cotangent and the factors the memory is O((m + n) (ncv + k))."""
    n, k = 1024, 4
    derivative = truncax.Implicit(mode=mode)

    def loss(a):
        U, C, Vh = truncax.singular_subspaces(a, k, derivative=derivative)
        return jnp.sum(U[0] * Vh[:, 1]) + C[0, 0]

    a = jax.ShapeDtypeStruct((n, n), np.float64)
    extra = jax.jit(jax.grad(loss)).lower(a).compile().memory_analysis().temp_size_in_bytes
    assert extra <= 10 * 8 * 2 * n * (truncax.GolubKahan().basis_size(k, n) + k)
