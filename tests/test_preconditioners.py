"""The shipped preconditioners: what they invert, that they help, that they have no derivative, what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from profiles import few
from references import hermitian, random

import truncax
from truncax import preconditioners
from truncax.operators import host_factors

SIDE = 16
N = SIDE * SIDE


def grid(complex_=False):
    hop = np.exp(0.3j) if complex_ else 1.0
    line = scipy.sparse.diags_array([-np.conj(hop), 2.0, -hop], offsets=[-1, 0, 1], shape=(SIDE, SIDE))
    one = scipy.sparse.eye_array(SIDE)
    # A diagonal that varies: of an even one Jacobi makes nothing.
    potential = scipy.sparse.diags_array(np.random.default_rng(0).uniform(0, 40, N))
    return (scipy.sparse.kron(line, one) + scipy.sparse.kron(one, line) + potential).tocsr()


MADE = {
    "jacobi": lambda a: preconditioners.jacobi(a, shift=0.5),
    "cholesky": lambda a: preconditioners.cholesky(a.toarray(), shift=0.5),
    "sparse_lu": preconditioners.sparse_lu,
    "incomplete_lu": lambda a: preconditioners.incomplete_lu(a, shift=0.5, drop_tol=1e-2),
    "chebyshev": lambda a: preconditioners.chebyshev(a, shift=0.5),
}


@pytest.mark.parametrize(
    ("name", "complex_"),
    few(
        [("jacobi", True), ("sparse_lu", True), ("chebyshev", False)],
        [("cholesky", False), ("incomplete_lu", False), ("cholesky", True), ("incomplete_lu", True)],
    ),
)
def test_each_is_hermitian_and_definite_and_saves_products(name, complex_):
    a = grid(complex_)
    inverse = MADE[name](a)
    K = np.asarray(jax.jit(lambda inverse, x: inverse(x))(inverse, jnp.eye(N, dtype=a.dtype)))
    np.testing.assert_allclose(K, K.conj().T, atol=1e-12 * np.linalg.norm(K, 2))
    assert np.linalg.eigvalsh(K)[0] > 0
    _, plain = truncax.teigh(a, 4, which="SA", solver=truncax.LOBPCG(), return_info=True)
    (values, _), info = truncax.teigh(a, 4, which="SA", solver=truncax.LOBPCG(inverse), return_info=True)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(a.toarray())[:4], atol=1e-12)
    assert int(info.products) < int(plain.products) * 0.6


def test_the_exact_ones_are_inverses():
    a, x = grid(True), jnp.asarray(random(np.random.default_rng(1), (N, 6), True))
    shifted = a.toarray() - 0.5 * np.eye(N)
    for inverse in (preconditioners.cholesky(a.toarray(), shift=0.5), preconditioners.sparse_lu(a, shift=0.5)):
        np.testing.assert_allclose(shifted @ np.asarray(inverse(x)), x, atol=1e-11)


@pytest.mark.parametrize("scale", [1.0, 1e-100, 1e100])
def test_the_shift_that_is_found_is_below_and_near(scale):
    a = scale * grid()
    least = np.linalg.eigvalsh(a.toarray())[0]
    values, row, column = (jnp.asarray(x) for x in (a.tocoo().data, *a.tocoo().coords))
    shift = float(host_factors.shift_below(values, row, column, N))
    assert 0.9 * least < shift < least


def test_a_shift_is_found_for_a_singular_matrix():
    ring = scipy.sparse.diags_array([-1.0, -1.0, 2.0, -1.0, -1.0], offsets=[-49, -1, 0, 1, 49], shape=(50, 50)).tocsr()
    solver = truncax.LOBPCG(preconditioners.sparse_lu(ring))
    values = truncax.teigh(ring, 3, which="SA", solver=solver).eigenvalues
    np.testing.assert_allclose(values, np.linalg.eigvalsh(ring.toarray())[:3], atol=1e-13)


@pytest.mark.parametrize("name", few(["jacobi", "sparse_lu", "chebyshev"], ["cholesky", "incomplete_lu"]))
def test_made_inside_of_what_is_differentiated(name):
    """The gradient of the smallest value with respect to the potential is the density; the preconditioner adds none."""
    a = grid()
    fixed = truncax.as_operator(a)

    @jax.jit
    def both(potential):
        def loss(potential):
            matrix = fixed + truncax.operators.diagonal(potential)
            if name == "cholesky":
                inverse = preconditioners.cholesky(matrix.as_matrix(), shift=0.1)
            else:
                inverse = getattr(preconditioners, name)(matrix, shift=0.1)
            values, x = truncax.teigh(matrix, 1, which="SA", solver=truncax.LOBPCG(inverse))
            return values[0], x[:, 0]

        return jax.value_and_grad(loss, has_aux=True)(potential)

    (_, x), gradient = both(jnp.full(N, 0.1))
    np.testing.assert_allclose(gradient, x**2, atol=1e-11)


def test_the_largest_pairs_of_an_operator_that_only_multiplies():
    a = jnp.asarray(hermitian(np.random.default_rng(0), np.linspace(-1, 3, 100)))
    operator = truncax.linear_operator(lambda x: jnp.matmul(a, x, precision="highest"), shape=100, hermitian=True)
    inverse = preconditioners.chebyshev(-1.0 * operator, shift=-3.05)
    values = truncax.teigh(operator, 3, which="LA", solver=truncax.LOBPCG(inverse)).eigenvalues
    np.testing.assert_allclose(values, np.linspace(-1, 3, 100)[::-1][:3], atol=1e-12)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: preconditioners.cholesky(jnp.diag(jnp.arange(3.0)), shift=1.0), ValueError, "positive definite"),
        (lambda: preconditioners.cholesky(grid()), TypeError, "needs an array"),
        (lambda: preconditioners.sparse_lu(jnp.eye(3)), TypeError, "needs a sparse matrix"),
        (lambda: preconditioners.incomplete_lu(jnp.eye(3)), TypeError, "needs a sparse matrix"),
        (lambda: preconditioners.incomplete_lu(grid(), drop_tol=0), ValueError, "drop_tol must be"),
        (lambda: preconditioners.jacobi(jnp.ones((3, 4))), ValueError, "square"),
        (lambda: preconditioners.jacobi(truncax.linear_operator(lambda x: x, shape=3)), TypeError, "needs an array"),
        (lambda: preconditioners.chebyshev(jnp.eye(3), degree=0), ValueError, "degree must be"),
    ],
)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("name", preconditioners.__all__)
def test_docstring_examples(name):
    import doctest

    function = getattr(preconditioners, name)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
        for example in finder.find(function, name):
            runner.run(example)
    assert runner.summarize().failed == 0
