"""Shift-invert and the generalized problem for sparse matrices, operators with an inverse, factors on the host."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from jax.experimental.sparse import BCOO
from pencils import SIGMA, K, N, loss_of, reference_loss, sparse_pencil, symmetric_weights
from profiles import few
from references import error

import truncax
from truncax.operators import diagonal, host_factors
from truncax.operators.entries import entries
from truncax.operators.operator import Conjugate, Hermitian

MASSES = {
    "none": lambda b: (None, lambda data: None),
    "sparse": lambda b: ((m := BCOO.from_scipy_sparse(b)).data, lambda data: BCOO((data, m.indices), shape=b.shape)),
    "diagonal": lambda b: (jnp.asarray(b.diagonal().real), diagonal),
    "dense": lambda b: (jnp.asarray(b.toarray()), lambda data: data),
}


@pytest.mark.parametrize(
    ("name", "options", "complex_"),
    few(
        [("sparse", {"sigma": 0.25}, False), ("diagonal", {"which": "LA"}, True)],
        [
            ("none", {"sigma": 0.25}, True),
            ("dense", {"which": "SM"}, False),
            ("sparse", {"which": "SA"}, True),
            ("diagonal", {"sigma": 0.25}, False),
        ],
    ),
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


def nearest(sigma):
    return lambda values: jnp.argsort(jnp.abs(values - sigma))


def check_gradients(loss, matrices, arguments, options, complex_):
    """Against the full decomposition of what ``matrices`` makes of the arguments."""
    w = symmetric_weights(np.random.default_rng(4), complex_)
    order = nearest(options["sigma"]) if "sigma" in options else jnp.argsort
    every = tuple(range(len(arguments)))
    got = jax.value_and_grad(lambda *x: loss_of(*loss(*x), w), every)(*arguments)
    expected = jax.value_and_grad(lambda *x: reference_loss(*matrices(*x), w, order), every)(*arguments)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert error(x, y) <= 1e-10


@pytest.mark.parametrize(("options", "complex_"), [({"sigma": 0.25}, True), ({"which": "SA"}, False)])
def test_an_array_beside_a_sparse_mass(options, complex_):
    a, b = sparse_pencil(complex_)
    data, form = MASSES["sparse"](b)
    check_gradients(
        lambda a, data: truncax.teigh(a, K, b=form(data), **options),
        lambda a, data: (a, form(data).todense()),
        (jnp.asarray(a.toarray()), data),
        options,
        complex_,
    )


@pytest.mark.parametrize("generalized", [True, False])
def test_an_inverse_that_is_an_operator(generalized):
    a, b = (jnp.asarray(x.toarray()) for x in sparse_pencil(True))
    b = b if generalized else jnp.eye(N, dtype=b.dtype)
    inverse = truncax.as_operator(jnp.linalg.inv(a - 0.25 * b))

    def found(a, b):
        operator = truncax.linear_operator(lambda x, a: a @ x, a, shape=N, dtype=a.dtype, hermitian=True)
        return truncax.teigh(operator, K, b=b if generalized else None, sigma=0.25, inverse=inverse)

    def hermitian(a):
        return (a + jnp.conj(a.T)) / 2

    w = symmetric_weights(np.random.default_rng(4), True)
    got = jax.grad(lambda a, b: loss_of(*found(hermitian(a), b), w), (0, 1))(a, b)
    expected = jax.grad(reference_loss, (0, 1))(a, b, w, nearest(0.25))
    for x, y in list(zip(got, expected, strict=True))[: 1 + generalized]:
        assert error(x, y) <= 1e-10


def test_an_inverse_of_vectors_that_are_pytrees():
    a = jnp.asarray(sparse_pencil()[0].toarray())
    like = {"u": jnp.zeros(N - 12), "v": jnp.zeros((3, 4))}

    def by(matrix, x):
        y = matrix @ jnp.concatenate([x["u"], x["v"].ravel()])
        return {"u": y[: N - 12], "v": y[N - 12 :].reshape(3, 4)}

    inverse = jnp.linalg.inv(a - 0.25 * jnp.eye(N))

    def found(a):
        operator = truncax.linear_operator(lambda x, a: by((a + a.T) / 2, x), a, like=like, hermitian=True)
        values, x = truncax.teigh(operator, K, sigma=0.25, inverse=lambda y: by(inverse, y))
        assert x["v"].shape == (3, 4, K)
        return values, jnp.concatenate([x["u"], x["v"].reshape(12, K)])

    check_gradients(found, lambda a: (a, jnp.eye(N)), (a,), {"sigma": 0.25}, False)


def test_entries_of_transposes_conjugates_and_real_matrices_on_complex_vectors():
    a, _ = sparse_pencil(True)
    rng = np.random.default_rng(5)
    b = scipy.sparse.random_array((N, N), density=0.1, rng=rng).tocsr()
    a, b = truncax.as_operator(a + 1j * b), truncax.as_operator(b)
    for operator in (a.H, a.T, b.T, Conjugate(a), (2j * a).H, a + b, (a + b).T, Hermitian(a.H)):
        values, row, column = entries(operator)
        assert values.dtype == operator.dtype
        matrix = np.zeros((N, N), values.dtype)
        np.add.at(matrix, (np.asarray(row), np.asarray(column)), np.asarray(values))
        np.testing.assert_allclose(matrix, operator @ np.eye(N), atol=1e-15)


@pytest.mark.parametrize("options", few([{"sigma": 0.25}], [{"which": "SA"}]))
def test_a_mass_of_another_dtype_than_sums_of_real_and_complex_matrices(options):
    """Their real parts stay real, in the precision of both together."""
    hop, mass = sparse_pencil(True)[0].astype(np.complex64), jnp.linspace(1, 2, N)
    real = scipy.sparse.diags_array(np.linspace(-1, 1, N, dtype=np.float32))
    a = truncax.as_operator(hop) + truncax.as_operator(real)
    zero = 0 * truncax.as_operator(hop)
    for matrix, b in (
        (a, diagonal(mass)),
        (a, diagonal(mass) + zero),
        (truncax.as_operator(real), diagonal(mass.astype(complex))),
    ):
        exact = scipy.linalg.eigh(matrix @ np.eye(N, dtype=complex), np.diag(mass), eigvals_only=True)
        found = truncax.teigh(matrix, K, b=b, **options).eigenvalues
        order = np.argsort(np.abs(exact - 0.25) if "sigma" in options else exact)
        np.testing.assert_allclose(found, exact[order[:K]], atol=1e-13)


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
