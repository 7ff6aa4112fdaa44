"""``a x = l b x`` with a b that only multiplies: the pairs and the derivatives of the same b as an array; refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from checks import mm
from jax.scipy.sparse.linalg import cg
from pencils import SIGMA, VALUES, K, loss_of, pencil, symmetric_weights
from profiles import LONG
from references import error, hermitian, random

import truncax
from truncax import Arnoldi, Dense, Implicit, Status
from truncax.rules import quotient

N = len(VALUES)
CASES = {
    "LA": {"which": "LA"},
    "SA": {"which": "SA"},
    "shift": {"sigma": SIGMA},
    "above": {"sigma": SIGMA, "which": "LA"},
}


def product(x, matrix):
    return mm(matrix, x)


def multiplying(matrix):
    return truncax.linear_operator(product, matrix, shape=matrix.shape[0], dtype=matrix.dtype)


def solving(a, b, case):
    """The options of this case beside a b that only multiplies."""
    options = CASES[case]
    matrix = np.asarray(a) - options["sigma"] * np.asarray(b) if "sigma" in options else np.asarray(b)
    name = "inverse" if "sigma" in options else "solve_b"
    return {
        name: truncax.linear_operator(product, jnp.linalg.inv(matrix), shape=len(matrix), hermitian=True),
        **options,
    }


def same(problem, reference, *at):
    """The value and the derivatives of both, by one compiled function each."""
    return (jax.jit(f)(*at) for f in (problem, reference))


@pytest.mark.parametrize(
    ("case", "complex_", "mode", "solver"),
    [("LA", True, "all", Dense()), ("SA", False, "reverse", Arnoldi()), ("above", False, "all", Arnoldi())],
)
def test_pairs_and_gradients_are_those_of_an_array(case, complex_, mode, solver):
    a, b = pencil(complex_)
    w, options = symmetric_weights(np.random.default_rng(1), complex_), solving(a, b, case)

    def by_products(a, b):
        kind = {"solver": solver, "derivative": Implicit(mode=mode), "return_info": True}
        found, info = truncax.teigh(multiplying(a), K, b=multiplying(b), **kind, **options)
        return loss_of(*found, w), (found, info)

    def by_array(a, b):
        return loss_of(*truncax.teigh(a, K, b=b, solver=Dense(), **CASES[case]), w), None

    both = [jax.value_and_grad(f, (0, 1), has_aux=True) for f in (by_products, by_array)]
    ((value, ((values, x), info)), gradients), ((expected, _), references) = same(*both, a, b)
    exact = truncax.teigh(a, K, b=b, solver=Dense(), **CASES[case]).eigenvalues
    np.testing.assert_allclose(values, exact, atol=1e-12)
    values, x = np.asarray(values), np.asarray(x)
    assert x.dtype == a.dtype
    np.testing.assert_allclose(np.asarray(a) @ x, np.asarray(b) @ x * values, atol=1e-11)
    np.testing.assert_allclose(x.conj().T @ np.asarray(b) @ x, np.eye(K), atol=1e-14)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert info.status == Status.CONVERGED
    assert info.residual_norms.max() <= 1e-13
    for gradient, reference in zip(gradients, references, strict=True):
        assert error(gradient, reference) <= 1e-11


def test_second_derivatives():
    """By reverse over reverse, along matrices that are not symmetric."""
    a, b = pencil()
    w, options, rng = (
        symmetric_weights(np.random.default_rng(1), False),
        solving(a, b, "LA"),
        np.random.default_rng(2),
    )
    along = tuple(jnp.asarray(random(rng, (N, N))) for _ in range(2))

    def twice(by):
        gradient = jax.grad(lambda a, b: loss_of(*by(a, b), w), (0, 1))
        return lambda a, b: jax.vjp(gradient, a, b)[1](along)

    def by_products(a, b):
        return truncax.teigh(multiplying(a), K, b=multiplying(b), **options)

    def by_array(a, b):
        return truncax.teigh(a, K, b=b, **CASES["LA"])

    got, expected = same(twice(by_products), twice(by_array), a, b)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert error(x, y) <= 1e-10


def twofold():
    """A pencil each of whose values has two vectors, and weights."""
    rng, n = np.random.default_rng(4), 15
    a, x = hermitian(rng, np.linspace(-2, 3, n) ** 3), rng.normal(size=(n, n))
    a, b = (np.kron(np.eye(2), m) for m in (a, x @ x.T / n + np.eye(n)))
    turn = np.linalg.qr(rng.normal(size=(2 * n, 2 * n)))[0]
    a, b, w = turn.T @ a @ turn, turn.T @ b @ turn, rng.normal(size=(2 * n, 2 * n))
    return jnp.asarray((a + a.T) / 2), jnp.asarray((b + b.T) / 2), jnp.asarray(w + w.T)


@pytest.mark.parametrize("sigma", [None, 0.4] if LONG else [None])
def test_multiplets_keep_their_derivative(sigma):
    """Q exp(H / 8) Q^T of two twofold values, to second order, with respect to both matrices."""
    a, b, w = twofold()
    rng = np.random.default_rng(6)
    along = tuple(jnp.asarray((d + d.T) / 20) for d in rng.normal(size=(2, *a.shape)))
    options = {"which": "LA"} if sigma is None else {"sigma": sigma}
    matrix = jnp.linalg.inv(b if sigma is None else a - sigma * b)
    given = {"solve_b" if sigma is None else "inverse": lambda y: mm(matrix, y)}

    def derivatives(by):
        def loss(a, b):
            Q, H = by(a, b)
            return jnp.sum(w * mm(mm(Q, jax.scipy.linalg.expm(H / 8)), Q.T))

        return lambda a, b: jax.jvp(jax.grad(loss, (0, 1)), (a, b), along)

    by_products = lambda a, b: truncax.invariant_subspace(multiplying(a), 4, b=multiplying(b), **given, **options)  # noqa: E731
    by_array = lambda a, b: truncax.invariant_subspace(a, 4, b=b, **options)  # noqa: E731
    got, expected = same(derivatives(by_products), derivatives(by_array), a, b)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert error(x, y) <= 1e-9
    Q, H = by_products(a, b)
    np.testing.assert_allclose(Q.T @ (b @ Q), np.eye(4), atol=1e-14)
    np.testing.assert_allclose(a @ Q, mm(mm(b, Q), H), atol=1e-12)
    values = scipy.linalg.eigh(np.asarray(a), np.asarray(b), eigvals_only=True)
    order = np.argsort(-values if sigma is None else np.abs(values - sigma))[:4]
    np.testing.assert_allclose(jnp.diagonal(H), values[order], atol=1e-12)


def test_vectors_that_do_not_follow_b_are_caught(mutate):
    """Orthonormality under b is what gives dQ the term ``-Q (Q^H db Q) / 2``."""
    a, b = pencil()
    w, options = symmetric_weights(np.random.default_rng(1), False), solving(a, b, "LA")

    def gradient():
        return jax.grad(lambda b: loss_of(*truncax.teigh(multiplying(a), K, b=multiplying(b), **options), w))(b)

    right = gradient()
    mutate(quotient, "inverse_root", lambda gram, count: jnp.eye(gram.shape[0]))
    assert error(gradient(), right) > 1e-2


def membrane(density, stiff):
    """Products of a square membrane on a field (5, 6): a stiffness and a mass that couples neighbours."""

    def around(x):
        x = jnp.pad(x, 1)
        return x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]

    def stiffness(x):
        return stiff * x * 5 - around(x)

    def inertia(x):
        return density * (density * x * 8 + around(density * x)) / 12

    return stiffness, inertia


def test_fields_and_conjugate_gradients_that_depend_on_what_is_traced():
    like = jnp.zeros((5, 6))
    rng = np.random.default_rng(7)
    density, stiff = (jnp.asarray(rng.uniform(1, 2, (2, 5, 6))) for _ in range(2))

    def loss(by):
        def of(density, stiff):
            products = membrane(density, stiff)
            a, b = (truncax.linear_operator(f, like=like, hermitian=True) for f in products)
            values, x = by(a, b, products[1])
            return jnp.sum(jnp.sqrt(values)) + jnp.sum(x[1, 2] ** 2)

        return jax.vmap(jax.grad(of, (0, 1)))

    def by_products(a, b, inertia):
        return truncax.teigh(a, 3, b=b, which="SA", solve_b=lambda y: cg(inertia, y, tol=1e-14)[0])

    def by_array(a, b, inertia):
        values, x = truncax.teigh(a.as_matrix(), 3, b=b.as_matrix(), which="SA")
        return values, x.reshape(5, 6, 3)

    for got, expected in zip(*same(loss(by_products), loss(by_array), density, stiff), strict=True):
        assert error(got, expected) <= 1e-10


def test_a_rough_inverse_is_said_to_be_rough():
    """The error of what undoes b is that of the vectors; it is measured, allowed, and reported."""
    a, b = pencil()
    start = jnp.linalg.inv(b).astype(jnp.float32).astype(b.dtype)
    found, info = truncax.teigh(a, K, b=multiplying(b), which="LA", solve_b=lambda y: mm(start, y), return_info=True)
    assert 1e-10 < info.residual_norms.max() <= 1e-6
    np.testing.assert_allclose(found.eigenvalues, np.sort(VALUES)[::-1][:K], rtol=1e-11)


def test_batches_single_precision_and_starts():
    a, b = pencil()
    options = solving(a, b, "LA")
    both = truncax.teigh(jnp.stack([a, 2 * a]), K, b=multiplying(b), **{**options, "which": "LM"})
    np.testing.assert_allclose(both.eigenvalues[1], 2 * VALUES[np.argsort(-np.abs(VALUES))][:K], rtol=1e-12)
    small = a.astype("float32"), b.astype("float32")
    options = {"b": multiplying(small[1]), **solving(*small, "LA"), "return_info": True, "solver": Arnoldi()}
    (values, x), cold = truncax.teigh(small[0], K, **options)
    assert x.dtype == jnp.float32
    np.testing.assert_allclose(values, np.sort(VALUES)[::-1][:K], rtol=1e-5)
    assert truncax.teigh(small[0], K, v0=x, **options)[1].products <= cold.products + 10


A, B = pencil()
MULTIPLIES = multiplying(B)
SOLVE = jnp.linalg.inv(B)
INDEFINITE = jnp.asarray(hermitian(np.random.default_rng(0), np.r_[-0.01, np.linspace(1, 2, N - 1)]))


def solve(y):
    return mm(SOLVE, y)


def teigh(**options):
    return truncax.teigh(A, 2, **{"b": MULTIPLIES, "which": "LA", "solve_b": solve, **options})


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: teigh(solve_b=None), ValueError, "give solve_b=, a function of one vector"),
        (lambda: teigh(solve_b=None, sigma=0.3), ValueError, "give inverse="),
        (lambda: teigh(solve_b=SOLVE), TypeError, "solve_b must be a function"),
        (lambda: teigh(solve_b=truncax.operators.identity(5)), ValueError, "solve_b must have shape"),
        (lambda: teigh(sigma=0.3, inverse=solve), ValueError, "solve_b has no use beside sigma"),
        (lambda: teigh(b=B), ValueError, "solve_b has no use, b is factorised"),
        (lambda: teigh(b=None), ValueError, "solve_b has no use, there is no b"),
        (
            lambda: truncax.invariant_subspace(A, 2, solve_b=solve, hermitian=False),
            NotImplementedError,
            "b and solve_b",
        ),
        (lambda: teigh(which="BE"), ValueError, "ask for 'LA' and for 'SA'"),
        (lambda: teigh(solver=truncax.LOBPCG()), ValueError, "the solver is truncax.Arnoldi"),
        (lambda: teigh(solver=truncax.Lanczos()), ValueError, "the solver is truncax.Arnoldi"),
        (lambda: teigh(solver=truncax.Arpack()), ValueError, "the solver is truncax.Arnoldi"),
        (lambda: truncax.teigh(A, 2, solver=Arnoldi()), TypeError, "solver must be None or"),
        (lambda: teigh(derivative=Implicit(polish=1)), NotImplementedError, "polish is not built beside a b"),
        (lambda: teigh(derivative=Implicit(preconditioner=B)), NotImplementedError, "a preconditioner is not built"),
        (lambda: teigh(solve_b=lambda y: 2 * solve(y)), ValueError, "solve_b b x = y"),
        (lambda: teigh(b=multiplying(-B), solve_b=lambda y: -solve(y)), ValueError, "b must be Hermitian and positive"),
        (lambda: teigh(b=multiplying(jnp.triu(B))), ValueError, "b must be Hermitian and positive definite"),
    ],
)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_failures_where_values_are_traced():
    @jax.jit
    def found(a, b, inverse):
        options = {"which": "LA", "solve_b": lambda y: mm(inverse, y), "return_info": True}
        return truncax.teigh(multiplying(a), 2, b=multiplying(b), **options)

    @jax.jit
    def shifted(a, b, sigma, inverse):
        options = {"sigma": sigma, "inverse": lambda y: mm(inverse, y), "return_info": True}
        return truncax.teigh(multiplying(a), 2, b=multiplying(b), **options)

    inverse, sigma = jnp.linalg.inv(A - SIGMA * B), 0.4 + 1e-14
    singular = A - sigma * B
    cases = (
        (Status.CONVERGED, found(A, B, SOLVE)),
        (Status.NOT_INVERSE, found(A, B, SOLVE + 1e-4 * jnp.eye(N))),
        (Status.NOT_INVERSE, found(A, B, SOLVE * jnp.nan)),
        (Status.NOT_HERMITIAN, found(jnp.triu(A), B, SOLVE)),
        (Status.NOT_DEFINITE, found(A, jnp.triu(B), jnp.linalg.inv(jnp.triu(B)))),
        (Status.NOT_DEFINITE, found(A, -B, -SOLVE)),
        (Status.NOT_DEFINITE, found(A, INDEFINITE, jnp.linalg.inv(INDEFINITE))),
        (Status.NON_FINITE, found(A * jnp.nan, B, SOLVE)),
        (Status.CONVERGED, shifted(A, B, SIGMA, inverse)),
        (Status.NOT_INVERSE, shifted(A, B, SIGMA, 2 * inverse)),
        (Status.SHIFT_SINGULAR, shifted(A, B, sigma, jnp.linalg.inv(singular))),
        (Status.NOT_DEFINITE, shifted(A, -B, -SIGMA, inverse)),
    )
    for status, (result, info) in cases:
        assert info.status == status
        assert all(jnp.all(jnp.isnan(x)) == (status != Status.CONVERGED) for x in result)
