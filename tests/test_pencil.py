"""Shift-invert and the generalized problem: values, derivatives with respect to both matrices, and what is refused."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from jax.experimental.sparse import BCOO
from pencils import (
    NEAREST,
    ORDERED,
    SIGMA,
    VALUES,
    K,
    N,
    loss_of,
    pencil,
    reference_loss,
    slope,
    sparse_pencil,
    symmetric_weights,
)
from profiles import few
from references import error, random

import truncax
from truncax import Status
from truncax.numerics.derivative import Side
from truncax.operators import identity, low_rank
from truncax.operators import pencil as pencil_module

CASES = {
    "shift": ({"sigma": SIGMA}, lambda values: jnp.argsort(jnp.abs(values - SIGMA))),
    "above": ({"sigma": SIGMA, "which": "LA"}, lambda values: jnp.argsort(-1 / (values - SIGMA))),
    "smallest": ({"which": "SA"}, lambda values: jnp.argsort(values)),
}


@pytest.mark.parametrize(
    ("case", "complex_", "generalized", "mode"),
    few(
        [
            ("shift", False, True, "reverse"),
            ("shift", True, True, "all"),
            ("above", False, True, "all"),
            ("smallest", False, True, "all"),
        ],
        [("shift", True, False, "all"), ("smallest", True, True, "reverse")],
    ),
)
def test_values_and_gradients_are_those_of_the_full_decomposition(case, complex_, generalized, mode):
    (options, order), (a, b) = CASES[case], pencil(complex_, generalized=generalized)
    w = symmetric_weights(np.random.default_rng(1), complex_)

    def loss(a, b):
        kind = truncax.Implicit(mode=mode)
        found = truncax.teigh(a, K, b=b if generalized else None, derivative=kind, solver=truncax.Lanczos(), **options)
        return loss_of(*found, w), found

    (value, (values, x)), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(a, b)
    expected, references = jax.jit(jax.value_and_grad(reference_loss, (0, 1)), static_argnums=3)(a, b, w, order)
    np.testing.assert_allclose(values, VALUES[order(VALUES)[:K]], atol=1e-13)
    values, x = np.asarray(values), np.asarray(x)
    np.testing.assert_allclose(np.asarray(a) @ x, np.asarray(b) @ x * values, atol=1e-12)
    np.testing.assert_allclose(x.conj().T @ np.asarray(b) @ x, np.eye(K), atol=1e-13)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for gradient, reference in list(zip(gradients, references, strict=True))[: 1 + generalized]:
        assert error(gradient, reference) <= 1e-11


@pytest.mark.parametrize(("case", "complex_"), few([("smallest", True)], [("shift", False)]))
def test_second_derivatives_with_respect_to_both(case, complex_):
    """In every order of the modes: the transpose of a product with a root moves with b as well."""
    (options, order), (a, b) = CASES[case], pencil(complex_)
    rng = np.random.default_rng(2)
    w = symmetric_weights(rng, complex_)
    directions = [jnp.asarray(random(rng, (N, N), complex_)) for _ in range(4)]

    def second(loss):
        def along(a, b, first, second):
            slope = lambda a, b: jax.jvp(loss, (a, b), first)[1]  # noqa: E731
            forward = jax.jvp(slope, (a, b), second)[1], jax.vjp(slope, a, b)[1](1.0)
            gradient, bent = jax.jvp(jax.grad(loss, (0, 1)), (a, b), first)
            return *forward, bent, jax.vjp(jax.grad(loss, (0, 1)), a, b)[1](gradient)

        return jax.jit(along)(a, b, tuple(directions[:2]), tuple(directions[2:]))

    got = second(lambda a, b: loss_of(*truncax.teigh(a, K, b=b, **options), w))
    expected = second(lambda a, b: reference_loss(a, b, w, order))
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert error(x, y) <= 1e-9


def test_gradients_of_batches_and_of_many_shifts():
    (options, order), problems = CASES["shift"], [pencil(seed=seed) for seed in range(2)]
    a, b = map(jnp.stack, zip(*problems, strict=True))
    w = symmetric_weights(np.random.default_rng(1), False)

    def loss(a, b):
        return loss_of(*truncax.teigh(a, K, b=b, **options), w)

    together = jax.jit(jax.vmap(jax.grad(loss, (0, 1))))(a, b)
    for i in range(2):
        alone = jax.grad(reference_loss, (0, 1))(a[i], b[i], w, order)
        for x, y in zip(together, alone, strict=True):
            assert error(x[i], y) <= 1e-11
    sparse, _ = sparse_pencil()
    sigma, matrix = jnp.array([-0.5, 0.25]), BCOO.from_scipy_sparse(sparse)
    values = jax.vmap(lambda s: truncax.teigh(matrix, 2, sigma=s).eigenvalues)(sigma)
    exact = np.linalg.eigvalsh(sparse.toarray())
    for found, s in zip(np.asarray(values), np.asarray(sigma), strict=True):
        np.testing.assert_allclose(found, exact[np.argsort(np.abs(exact - s))[:2]], atol=1e-13)


@pytest.mark.parametrize(
    ("case", "side"),
    few(
        [("shift", Side.ADJOINT), ("smallest", Side.INVERSE)],
        [("shift", Side.ROOT), ("shift", Side.INVERSE_ADJOINT), ("smallest", Side.INVERSE_ADJOINT)],
    ),
)
def test_a_root_that_does_not_move_on_one_side_is_caught(mutate, case, side):
    """For one, orthonormality under b alone gives dQ the term ``-Q (Q^H db Q) / 2``."""
    (options, order), (a, b) = CASES[case], pencil()
    w = symmetric_weights(np.random.default_rng(1), False)
    reference = jax.grad(reference_loss, 1)(a, b, w, order)

    def gradient():
        return jax.jit(jax.grad(lambda b: loss_of(*truncax.teigh(a, K, b=b, **options), w)))(b)

    assert error(gradient(), reference) <= 1e-11
    right = pencil_module.root_product

    def still(at, b, factor, x):
        return right(at, jax.lax.stop_gradient(b) if at is side else b, factor, x)

    mutate(pencil_module, "root_product", still)
    assert error(gradient(), reference) > 1e-2


def test_a_multiplet_of_the_generalized_problem():
    """Q exp(H) Q^H at a threefold value inside the kept block, with respect to both matrices."""
    values = VALUES.copy()
    values[:3] = 0.4
    (a, b), rng = pencil(values=values), np.random.default_rng(5)
    w, da, db = (np.asarray(symmetric_weights(rng, False)) for _ in range(3))
    db = db / 20

    @jax.jit
    def loss(a, b):
        Q, H = truncax.invariant_subspace(a, K, b=b, sigma=SIGMA)
        return jnp.sum(jnp.asarray(w) * jnp.linalg.multi_dot([Q, jax.scipy.linalg.expm(H), Q.T], precision="highest"))

    def direct(t):
        values, x = scipy.linalg.eigh(np.asarray(a) + t * da, np.asarray(b) + t * db)
        index = np.argsort(np.abs(values - SIGMA))[:K]
        return np.sum(w * ((x[:, index] * np.exp(values[index])) @ x[:, index].T))

    expected = slope(direct, 1e-3 / np.linalg.norm(da, 2))
    got = jax.jvp(loss, (a, b), (jnp.asarray(da), jnp.asarray(db)))[1]
    np.testing.assert_allclose(got, expected, rtol=1e-7)
    ga, gb = jax.grad(loss, (0, 1))(a, b)
    np.testing.assert_allclose(np.sum(ga * da) + np.sum(gb * db), got, rtol=1e-11)


def test_the_solves_of_an_interior_derivative_are_few(steps):
    """400 values spread evenly, k = 8 in the middle: without the inverse it takes hundreds of steps."""
    values = np.linspace(-1, 1, 400) + 1e-3 * np.sin(np.arange(400.0))
    a, _ = pencil(values=values, generalized=False)
    gradient = jax.grad(lambda a: truncax.teigh(a, 8, sigma=0.1001, solver=truncax.Lanczos()).eigenvectors[0, 0])(a)
    assert jnp.all(jnp.isfinite(gradient))
    assert max(steps) <= 40


def test_batches():
    problems = [pencil(seed=seed) for seed in range(2)]
    a, b = map(jnp.stack, zip(*problems, strict=True))
    options = {"sigma": SIGMA, "solver": truncax.Lanczos()}
    together = truncax.teigh(a, K, b=b, **options)
    shared = truncax.teigh(a, K, b=b[0], **options)
    for i in range(2):
        np.testing.assert_allclose(together.eigenvalues[i], ORDERED, atol=1e-12)
        alone = scipy.linalg.eigh(a[i], b[0], eigvals_only=True)
        np.testing.assert_allclose(shared.eigenvalues[i], alone[np.argsort(abs(alone - SIGMA))][:K], atol=1e-12)


def test_start_vectors_are_those_of_the_user():
    a, b = pencil()
    options = {"b": b, "sigma": SIGMA, "solver": truncax.Lanczos(), "return_info": True}
    (_, x), cold = truncax.teigh(a, K, **options)
    _, warm = truncax.teigh(a, K, v0=x, **options)
    _, wrong = truncax.teigh(a, K, v0=b @ x, **options)
    assert warm.products < wrong.products <= cold.products + 10


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_single_precision(dtype):
    a, b = (x.astype(dtype) for x in pencil(dtype == "complex64"))
    values, x = truncax.teigh(a, K, b=b, sigma=SIGMA, solver=truncax.Lanczos())
    assert x.dtype == a.dtype
    np.testing.assert_allclose(values, ORDERED, atol=3e-6)
    gradient = jax.grad(lambda b: truncax.teigh(a, K, b=b, sigma=SIGMA).eigenvalues[0])(b)
    first = np.asarray(x[:, 0])
    expected = -float(values[0]) * np.outer(first.conj(), first)
    assert error(gradient, expected) <= 1e-4


def test_polished_pairs_near_a_shift():
    """Newton's steps square the error of rough pairs, and the derivative is that of good ones."""
    a, b = pencil(values=np.linspace(-1, 1, 300))
    solver = truncax.Lanczos(ncv=8, block_size=1)

    @partial(jax.jit, static_argnums=2)
    def gradient(a, b, polish, tol):
        def loss(a, b):
            kind = truncax.Implicit(polish=polish)
            options = {"sigma": 0.1001, "tol": tol, "solver": solver, "derivative": kind, "return_info": True}
            found, info = truncax.teigh(a, K, b=b, **options)
            return loss_of(*found, jnp.diag(jnp.arange(300.0))), info.residual_norms.max()

        return jax.grad(loss, (0, 1), has_aux=True)(a, b)

    (exact, _), (rough, before), (polished, after) = (gradient(a, b, *o) for o in ((0, 1e-13), (0, 1e-2), (2, 1e-2)))
    assert after <= 1e-13 < 1e-5 < before
    for one, rough_one, polished_one in zip(exact, rough, polished, strict=True):
        assert error(polished_one, one) <= 1e-9 < error(rough_one, one)


@pytest.mark.parametrize("form", [jnp.asarray, BCOO.fromdense])
@pytest.mark.parametrize(("of_a", "of_b"), [(1e150, 1.0), (1e-150, 1.0), (1.0, 1e150), (1e-150, 1e-150)])
def test_numbers_at_the_ends_of_the_exponent_range(of_a, of_b, form):
    a, b = pencil()
    unit = of_a / of_b

    def total(a):
        return truncax.teigh(form(a), K, b=form(of_b * b), sigma=unit * SIGMA).eigenvalues.sum()

    values, x = truncax.teigh(form(of_a * a), K, b=form(of_b * b), sigma=unit * SIGMA)
    np.testing.assert_allclose(values, unit * ORDERED, rtol=1e-12)
    np.testing.assert_allclose(x.T @ (of_b * b) @ x, np.eye(K), atol=1e-12)
    if form is jnp.asarray:
        assert error(jax.grad(total)(of_a * a) * of_b, (x * of_b**0.5) @ (x * of_b**0.5).T) <= 1e-11


@pytest.mark.parametrize("solver", [truncax.Dense(), truncax.Lanczos()])
@pytest.mark.parametrize("generalized", [True, False])
def test_a_shift_next_to_one_eigenvalue_returns_nothing_wrong_in_silence(solver, generalized):
    """The theta of one pair is then so much larger than the others that their residuals are small beside it."""
    a, b = (np.asarray(x) for x in pencil(generalized=generalized))
    norms = np.linalg.norm(a, 2), np.linalg.norm(b, 2)

    @jax.jit
    def found(sigma, tol):
        mass = b if generalized else None
        return truncax.teigh(a, K, b=mass, sigma=sigma, tol=tol, solver=solver, return_info=True, on_failure="keep")

    statuses = []
    for distance in 10.0 ** np.arange(-2, -14, -1):
        (values, x), info = found(NEAREST[1] + distance, 9e-14)
        values, x = np.asarray(values), np.asarray(x)
        exact = np.linalg.norm(a @ x - (b @ x) * values, axis=0) / np.linalg.norm(x, axis=0)
        exact = np.max(exact / (norms[0] + np.abs(values) * norms[1]))
        assert exact <= 2 * info.residual_norms.max() + 1e-15
        assert info.converged == (info.residual_norms.max() <= 1.5e-8)
        statuses.append(int(info.status))
    assert statuses[:6] == [Status.CONVERGED] * 6
    assert statuses[-1] == Status.SHIFT_SINGULAR
    assert found(NEAREST[1] + 1e-10, 1e-6)[1].converged
    with pytest.raises(ValueError, match="the other pairs lose their digits: move sigma"):
        truncax.teigh(a, K, sigma=np.linalg.eigvalsh(a)[3] + 1e-13, solver=solver)


A, B = pencil()
SINGULAR = A - ORDERED[0] * B
LARGE = identity(10**6) + low_rank(jnp.ones(10**6))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: truncax.teigh(A, 2, sigma=1j), TypeError, "sigma must be a real number"),
        (lambda: truncax.teigh(A, 2, sigma=np.inf), ValueError, "sigma must be finite"),
        (lambda: truncax.teigh(A, 2, sigma=0.0, which="SM"), ValueError, "leave which out"),
        (lambda: truncax.teigh(A, 2, inverse=lambda y: y), ValueError, "inverse has no use without sigma"),
        (lambda: truncax.teigh(A, 2, sigma=0.0, inverse=A), TypeError, "inverse must be a function"),
        (lambda: truncax.teigh(A, 2, b=B[:5, :5]), ValueError, "b must have the shape of a"),
        (lambda: truncax.teigh(A, 2, b="mass"), TypeError, "b must be an array"),
        (lambda: truncax.teigh(A, 2, b=-B), ValueError, "b must be Hermitian and positive definite"),
        (lambda: truncax.teigh(A, 2, b=jnp.triu(B)), ValueError, "b must be Hermitian and positive definite"),
        (lambda: truncax.teigh(A, 2, b=B.at[0, 0].set(jnp.nan)), ValueError, "must be finite"),
        (lambda: truncax.teigh(jnp.triu(A), 2, sigma=0.0), ValueError, "a must be Hermitian"),
        (lambda: truncax.teigh(SINGULAR, 2, b=B, which="SM"), ValueError, "is an eigenvalue"),
        (lambda: truncax.teigh(jnp.zeros((5, 5)), 2, sigma=0.0), ValueError, "is an eigenvalue"),
        (lambda: truncax.teigh(BCOO.fromdense(-B), 2, b=BCOO.fromdense(-B)), ValueError, "positive definite"),
        (lambda: truncax.teigh(A, 2, b=truncax.linear_operator(lambda x: x, shape=N)), ValueError, "give solve_b="),
        (lambda: truncax.teigh(A, 2, sigma=0.0, solver=truncax.Arpack()), ValueError, "takes no b and no sigma"),
        (lambda: truncax.teigh(A, 2, sigma=0.0, solver="arpack"), TypeError, "solver must be None or"),
        (lambda: truncax.teigh(LARGE, 2, b=LARGE), ValueError, "b must be a matrix that can be factorised"),
        (lambda: truncax.teigh(LARGE, 2, sigma=2.0), ValueError, "needs a matrix that can be factorised"),
        (
            lambda: truncax.teigh(A, 2, sigma=0.0, derivative=truncax.Implicit(preconditioner=jnp.eye(N))),
            ValueError,
            "no use beside sigma",
        ),
    ],
)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_failures_where_values_are_traced():
    @jax.jit
    def found(a, b, sigma):
        return truncax.teigh(a, 2, b=b, sigma=sigma, return_info=True)

    for status, arguments in (
        (Status.CONVERGED, (A, B, SIGMA)),
        (Status.SHIFT_SINGULAR, (A, B, ORDERED[0])),
        (Status.NOT_DEFINITE, (A, -B, SIGMA)),
        (Status.NOT_HERMITIAN, (jnp.triu(A), B, SIGMA)),
        (Status.NON_FINITE, (A, B * jnp.nan, SIGMA)),
    ):
        result, info = found(*arguments)
        assert info.status == status
        assert all(jnp.all(jnp.isnan(x)) == (status != Status.CONVERGED) for x in result)


def beam(thickness, count=24):
    """A clamped beam of Hermite elements: stiffness t^3 and mass t of each; the free degrees of freedom."""
    h = 1 / count
    k = np.array([[12, 6, -12, 6], [6, 4, -6, 2], [-12, -6, 12, -6], [6, 2, -6, 4]]) / h**3
    m = np.array([[156, 22, 54, -13], [22, 4, 13, -3], [54, 13, 156, -22], [-13, -3, -22, 4]]) * h / 420
    scale = np.array([1, h, 1, h])
    k, m = (jnp.asarray(x * np.outer(scale, scale)) for x in (k, m))
    size = 2 * (count + 1)
    places = 2 * np.arange(count)[:, None] + np.arange(4)[None, :]
    rows, columns = places[:, :, None], places[:, None, :]
    stiffness = jnp.zeros((size, size)).at[rows, columns].add(jnp.einsum("e,ij->eij", thickness**3, k))
    inertia = jnp.zeros((size, size)).at[rows, columns].add(jnp.einsum("e,ij->eij", thickness, m))
    return stiffness[2:, 2:], inertia[2:, 2:]


def test_frequencies_of_a_beam():
    thickness = jnp.asarray(1 + 0.3 * np.cos(np.arange(24.0)))

    def frequencies(thickness):
        stiffness, inertia = beam(thickness)
        return jnp.sqrt(truncax.teigh(stiffness, 3, b=inertia, sigma=0.0).eigenvalues)

    uniform = frequencies(jnp.ones(24))
    np.testing.assert_allclose(uniform, np.array([1.875104, 4.694091, 7.854757]) ** 2, rtol=1e-4)
    d = np.random.default_rng(7).normal(size=24)

    def direct(thickness):
        return np.sqrt(scipy.linalg.eigh(*map(np.asarray, beam(jnp.asarray(thickness))), eigvals_only=True)[:3])

    expected = slope(lambda t: direct(np.asarray(thickness) + t * d))
    got = jax.jvp(frequencies, (thickness,), (jnp.asarray(d),))[1]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_square_membrane_has_a_pair_that_moves_as_one():
    """Bilinear elements on a square: the second and third frequency are equal. Their mean square, with the density."""
    count = 7
    line_k = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(count, count)).toarray()
    line_m = scipy.sparse.diags_array([1.0, 4.0, 1.0], offsets=[-1, 0, 1], shape=(count, count)).toarray() / 6
    stiffness = jnp.asarray(np.kron(line_k, line_m) + np.kron(line_m, line_k))
    inertia = jnp.asarray(np.kron(line_m, line_m))
    weight = np.random.default_rng(8).normal(size=(count**2, count**2))
    weight = weight + weight.T

    def density_matrix(density):
        root = jnp.sqrt(density)
        Q, H = truncax.invariant_subspace(stiffness, 3, b=jnp.outer(root, root) * inertia, sigma=0.0)
        return jnp.sum(jnp.asarray(weight) * jnp.linalg.multi_dot([Q, H, Q.T], precision="highest"))

    def direct(density):
        root = np.sqrt(density)
        values, x = scipy.linalg.eigh(np.asarray(stiffness), np.outer(root, root) * np.asarray(inertia))
        return np.sum(weight * ((x[:, :3] * values[:3]) @ x[:, :3].T))

    d = np.random.default_rng(9).normal(size=count**2)
    values = truncax.teigh(stiffness, 3, b=inertia, sigma=0.0).eigenvalues
    assert abs(values[1] - values[2]) <= 1e-13 * values[2]
    expected = slope(lambda t: direct(1 + t * d))
    got = jnp.sum(jax.grad(density_matrix)(jnp.ones(count**2)) * d)
    np.testing.assert_allclose(got, expected, rtol=1e-7)
