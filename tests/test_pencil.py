"""Shift-invert and the generalized problem: values, derivatives with respect to both matrices, and what is refused."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from jax.experimental.sparse import BCOO
from references import error, orthonormal, random

import truncax
from truncax import Status
from truncax.operators import diagonal, host_factors
from truncax.operators import pencil as pencil_module

N, K = 40, 4
# Around sigma = 0.3 the four nearest are apart, the fifth is half as near as the fourth is.
SIGMA = 0.3
NEAREST = np.array([0.4, 0.12, 0.62, -0.16])
ORDERED = NEAREST[np.argsort(np.abs(NEAREST - SIGMA))]
VALUES = np.concatenate([NEAREST, np.linspace(1.3, 6, 20), np.linspace(-0.8, -5, N - 24)])


def mass(rng, complex_=False, n=N):
    x = random(rng, (n, n), complex_)
    return x @ x.conj().T / n + np.eye(n)


def pencil(complex_=False, values=VALUES, generalized=True, seed=0):
    """``(a, b)`` with ``a x = l b x`` for these l."""
    rng = np.random.default_rng(seed)
    n = len(values)
    b = mass(rng, complex_, n) if generalized else np.eye(n)
    x = np.linalg.cholesky(b) @ orthonormal(rng, n, n, complex_)
    a = (x * values) @ x.conj().T
    return jnp.asarray((a + a.conj().T) / 2), jnp.asarray(b)


def slope(f, h=1e-3):
    """The derivative at 0, by 4th-order central differences."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def loss_of(values, x, w):
    weights = jnp.arange(1.0, K + 1)
    quadratic = jnp.einsum("ij,ik,kj->j", jnp.conj(x), w, x, precision="highest").real
    return jnp.sum(weights * (jnp.sin(values) + quadratic))


def reference_loss(a, b, w, order):
    """By the full decomposition of the whitened matrix, which JAX differentiates; its values are all apart."""
    a, b = ((m + jnp.conj(m.T)).astype(a.dtype) / 2 for m in (a, b))
    inverse = jnp.linalg.inv(jnp.linalg.cholesky(b))
    values, y = jnp.linalg.eigh(jnp.linalg.multi_dot([inverse, a, jnp.conj(inverse.T)], precision="highest"))
    index = order(values)[:K]
    x = jnp.matmul(jnp.conj(inverse.T), y[:, index], precision="highest")
    return loss_of(values[index], x, w)


def symmetric_weights(rng, complex_):
    w = random(rng, (N, N), complex_)
    return jnp.asarray(w + w.conj().T)


CASES = {
    "shift": ({"sigma": SIGMA}, lambda values: jnp.argsort(jnp.abs(values - SIGMA))),
    "above": ({"sigma": SIGMA, "which": "LA"}, lambda values: jnp.argsort(-1 / (values - SIGMA))),
    "smallest": ({"which": "SA"}, lambda values: jnp.argsort(values)),
}


@pytest.mark.parametrize(
    ("case", "complex_", "generalized", "mode"),
    [
        ("shift", True, False, "all"),
        ("shift", False, True, "reverse"),
        ("shift", True, True, "all"),
        ("above", False, True, "all"),
        ("smallest", True, True, "reverse"),
        ("smallest", False, True, "all"),
    ],
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


def test_second_derivatives_with_respect_to_both():
    (options, order), (a, b) = CASES["shift"], pencil()
    rng = np.random.default_rng(2)
    w, *directions = (symmetric_weights(rng, False) for _ in range(5))

    def second(loss):
        def along(a, b, first, second):
            slope = lambda a, b: jax.jvp(loss, (a, b), first)[1]  # noqa: E731
            return jax.jvp(slope, (a, b), second)[1], jax.vjp(slope, a, b)[1](1.0)

        return jax.jit(along)(a, b, tuple(directions[:2]), tuple(directions[2:]))

    got = second(lambda a, b: loss_of(*truncax.teigh(a, K, b=b, **options), w))
    expected = second(lambda a, b: reference_loss(a, b, w, order))
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert error(x, y) <= 1e-9


def sparse_pencil(complex_=False):
    """A chain with a potential, and a mass that couples neighbours."""
    rng = np.random.default_rng(3)
    hop = np.exp(1j * rng.normal(size=N - 1)) if complex_ else rng.uniform(0.5, 1.5, N - 1)
    a = scipy.sparse.diags_array([hop.conj(), rng.uniform(-1, 1, N), hop], offsets=[-1, 0, 1]).tocsr()
    off = np.full(N - 1, 0.2)
    b = scipy.sparse.diags_array([off, np.linspace(1, 2, N), off], offsets=[-1, 0, 1]).tocsr()
    return a, (b * (1 + 0j) if complex_ else b)


MASSES = {
    "none": lambda b: (None, lambda data: None),
    "sparse": lambda b: ((m := BCOO.from_scipy_sparse(b)).data, lambda data: BCOO((data, m.indices), shape=b.shape)),
    "diagonal": lambda b: (jnp.asarray(b.diagonal().real), diagonal),
    "dense": lambda b: (jnp.asarray(b.toarray()), lambda data: data),
}


@pytest.mark.parametrize(
    ("name", "options", "complex_"),
    [
        ("none", {"sigma": 0.25}, True),
        ("sparse", {"sigma": 0.25}, False),
        ("sparse", {"which": "SA"}, True),
        ("diagonal", {"sigma": 0.25}, False),
        ("diagonal", {"which": "LA"}, True),
        ("dense", {"which": "SM"}, False),
    ],
)
def test_sparse_matrices_have_the_values_and_derivatives_of_arrays(name, options, complex_):
    a, b = sparse_pencil(complex_)
    data, form = MASSES[name](b)
    sparse, w = BCOO.from_scipy_sparse(a), symmetric_weights(np.random.default_rng(4), complex_)

    def of_arrays(entries, data):
        m = BCOO((entries, sparse.indices), shape=a.shape).todense()
        b = form(data)
        b = b.todense() if name == "sparse" else b.as_matrix() if name == "diagonal" else b
        return m, None if b is None else b.astype(m.dtype)

    def run(matrices, entries, data):
        def loss(entries, data):
            m, b = matrices(entries, data)
            return loss_of(*truncax.teigh(m, K, b=b, solver=truncax.Lanczos(), **options), w)

        hvp = jax.jvp(jax.grad(loss), (entries, data), (entries, data))[1]
        return jax.value_and_grad(loss, 0 if data is None else (0, 1))(entries, data), hvp

    def of_sparse(entries, data):
        return BCOO((entries, sparse.indices), shape=a.shape), form(data)

    got, expected = (jax.jit(run, static_argnums=0)(f, sparse.data, data) for f in (of_sparse, of_arrays))
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert error(x, y) <= 1e-9


def test_sums_of_sparse_and_diagonal_matrices_are_factorised_as_they_are():
    a, b = sparse_pencil()
    fixed, potential = truncax.as_operator(a - scipy.sparse.diags_array(a.diagonal())), jnp.asarray(a.diagonal())
    mass = 2 * truncax.as_operator(b / 2) + 0.0 * truncax.operators.identity(N)
    dense = jnp.asarray(a.toarray() - np.diag(a.diagonal()))

    def of_operators(potential):
        return truncax.teigh(fixed + diagonal(potential), K, b=mass, sigma=0.25)

    def of_arrays(potential):
        return truncax.teigh(dense + jnp.diag(potential), K, b=jnp.asarray(b.toarray()), sigma=0.25)

    w = symmetric_weights(np.random.default_rng(4), False)
    got, expected = (
        jax.value_and_grad(lambda potential, f=f: loss_of(*f(potential), w))(potential)
        for f in (of_operators, of_arrays)
    )
    for x, y in zip(got, expected, strict=True):
        assert error(x, y) <= 1e-10


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


def test_a_root_that_does_not_move_is_wrong(mutate):
    """Orthonormality under b alone gives dQ the term ``-Q (Q^H db Q) / 2``."""
    (options, order), (a, b) = CASES["shift"], pencil()
    w = symmetric_weights(np.random.default_rng(1), False)
    reference = jax.grad(reference_loss, 1)(a, b, w, order)

    def gradient():
        return jax.jit(jax.grad(lambda b: loss_of(*truncax.teigh(a, K, b=b, **options), w)))(b)

    assert error(gradient(), reference) <= 1e-11
    mutate(pencil_module, "root_product", lambda side, b, factor, x: factor.product(side, x))
    assert error(gradient(), reference) > 0.1


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


def test_an_operator_with_an_inverse_of_its_own():
    diagonal_ = jnp.linspace(-1, 3, 60)

    def product(x, d, u):
        return d * x + 0.3 * jnp.vdot(u, x, precision="highest") * u

    def solve(y, d, u):
        d = d - SIGMA
        z = y / d
        return z - 0.3 * (u / d) * jnp.vdot(u, z) / (1 + 0.3 * jnp.vdot(u, u / d))

    def loss(d, u, inverse):
        operator = truncax.linear_operator(product, d, u, shape=60, hermitian=True)
        return jnp.sum(truncax.teigh(operator, 3, sigma=SIGMA, inverse=inverse).eigenvectors[:, 0] ** 4)

    def dense_loss(d, u):
        a = jnp.diag(d) + 0.3 * jnp.outer(u, u)
        return jnp.sum(truncax.teigh(a, 3, sigma=SIGMA, solver=truncax.Dense()).eigenvectors[:, 0] ** 4)

    u = jnp.asarray(np.random.default_rng(6).normal(size=60)) / 6
    got = jax.grad(loss, (0, 1))(diagonal_, u, lambda y: solve(y, diagonal_, u))
    for x, y in zip(got, jax.grad(dense_loss, (0, 1))(diagonal_, u), strict=True):
        assert error(x, y) <= 1e-10
    with pytest.raises(ValueError, match="inverse must solve"):
        loss(diagonal_, u, lambda y: 1.001 * solve(y, diagonal_, u))
    with pytest.raises(ValueError, match="give inverse="):
        loss(diagonal_, u, None)


def test_batches():
    problems = [pencil(seed=seed) for seed in range(2)]
    a, b = map(jnp.stack, zip(*problems, strict=True))
    options = {"sigma": SIGMA, "solver": truncax.Lanczos()}
    together = truncax.teigh(a, K, b=b, **options)
    shared = truncax.teigh(a, K, b=b[0], **options)
    for i in range(2):
        np.testing.assert_allclose(together.eigenvalues[i], ORDERED, atol=1e-12)
        alone = truncax.teigh(a[i], K, b=b[0], **options)
        np.testing.assert_allclose(shared.eigenvalues[i], alone.eigenvalues, atol=1e-12)


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


A, B = pencil()
SINGULAR = A - ORDERED[0] * B


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
        (lambda: truncax.teigh(SINGULAR, 2, b=B, which="SM"), ValueError, "sigma is an eigenvalue"),
        (lambda: truncax.teigh(jnp.zeros((5, 5)), 2, sigma=0.0), ValueError, "sigma is an eigenvalue"),
        (lambda: truncax.teigh(BCOO.fromdense(-B), 2, b=BCOO.fromdense(-B)), ValueError, "positive definite"),
        (lambda: truncax.teigh(A, 2, b=truncax.linear_operator(lambda x: x, shape=N)), NotImplementedError, "for b"),
        (lambda: truncax.teigh(A, 2, sigma=0.0, solver=truncax.Arpack()), ValueError, "takes no b and no sigma"),
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


def test_factors_on_the_host_are_few_and_found_again():
    a, b = sparse_pencil()
    expected = np.sort(np.abs(scipy.linalg.eigh(a.toarray(), b.toarray(), eigvals_only=True)))
    host_factors._factors.clear()

    @jax.jit
    def values(shift):
        return truncax.teigh(BCOO.from_scipy_sparse(a), 2, b=BCOO.from_scipy_sparse(b), sigma=shift).eigenvalues

    for shift in np.linspace(-0.01, 0.01, 5):
        values(shift)
        assert len(host_factors._factors) <= 4
    np.testing.assert_allclose(np.abs(values(0.0)), expected[:2], atol=1e-12)
    host_factors._factors.clear()
    np.testing.assert_allclose(np.abs(values(0.0)), expected[:2], atol=1e-12)


def test_all_digits_reach_the_host_where_64_bits_are_a_context():
    code = """
import jax, numpy as np, scipy.sparse, truncax
a = scipy.sparse.diags_array([np.full(99, -1.0), np.linspace(2, 3, 100), np.full(99, -1.0)], offsets=[-1, 0, 1])
with jax.enable_x64(True):
    for b in (a, a.astype(np.complex128)):
        values, x = truncax.teigh(b.tocsr(), 2, sigma=0.0)
        assert np.linalg.norm(a @ np.asarray(x) - np.asarray(x) * np.asarray(values)) < 1e-13
"""
    subprocess.run([sys.executable, "-c", code], check=True)


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
