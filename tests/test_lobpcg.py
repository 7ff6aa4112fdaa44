"""LOBPCG: pairs against known spectra, nothing missed, derivatives with the solver's own preconditioner, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from checks import WEIGHTS, K, check_gradient, eigh_problem, full_eigh_loss, full_invariant_loss, mm, pair_loss
from jax.experimental.sparse import BCOO
from profiles import few
from references import error, hermitian, orthonormal

import truncax
from truncax import LOBPCG, Implicit
from truncax.operators import diagonal

N = 120
VALUES = np.linspace(1, 2, N) ** 5


def near_inverse(rng, values, q, shift, sign=1.0):
    """An inverse of ``sign (a - shift)`` that is right to a few per cent: definite, and not exact."""
    k = (q / (sign * (values - shift))) @ q.conj().T
    noise = hermitian(rng, rng.uniform(-0.02, 0.02, len(values)), np.iscomplexobj(q))
    root = scipy.linalg.sqrtm(k)
    return root @ (np.eye(len(values)) + noise) @ root


def problem(which, complex_, dtype, seed=0):
    rng = np.random.default_rng(seed)
    a = hermitian(rng, VALUES, complex_)
    values, q = np.linalg.eigh(a)
    sign = 1.0 if which == "SA" else -1.0
    inverse = near_inverse(rng, values, q, 0.9 if which == "SA" else 1.02 * values[-1], sign)
    kind = np.result_type(dtype, np.complex64) if complex_ else dtype
    return jnp.asarray(a.astype(kind)), jnp.asarray(inverse.astype(kind))


@pytest.mark.parametrize(
    ("which", "complex_", "dtype"),
    few([("LA", True, np.float64), ("SA", False, np.float32)], [("SA", True, np.float64), ("LA", False, np.float32)]),
)
def test_pairs_are_those_of_the_spectrum_and_preconditioned_ones_cheaper(which, complex_, dtype):
    a, inverse = problem(which, complex_, dtype)
    expected = VALUES[:K] if which == "SA" else VALUES[::-1][:K]
    eps = float(np.finfo(dtype).eps)

    @jax.jit
    def found(a, inverse):
        return truncax.teigh(a, K, which=which, solver=LOBPCG(inverse), return_info=True)

    (values, x), info = found(a, inverse)
    assert info.converged
    np.testing.assert_allclose(values, expected, atol=100 * eps * VALUES[-1])
    a, x = np.asarray(a), np.asarray(x)
    np.testing.assert_allclose(x.conj().T @ x, np.eye(K), atol=50 * eps)
    assert np.max(np.linalg.norm(a @ x - x * np.asarray(values), axis=0)) <= 40 * eps ** (5 / 6) * VALUES[-1]
    if which == "SA":
        _, plain = truncax.teigh(jnp.asarray(a), K, which=which, solver=LOBPCG(), return_info=True)
        assert plain.converged
        assert 2 * int(info.products) < int(plain.products)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (3, 2), (60, 20)])
def test_small_sizes_and_many_pairs(n, k):
    a = hermitian(np.random.default_rng(n), np.linspace(-1, 2, n) if n > 1 else np.ones(1))
    values, x = truncax.teigh(jnp.asarray(a), k, which="SA", solver=LOBPCG())
    np.testing.assert_allclose(values, np.linalg.eigvalsh(a)[:k], atol=1e-14)
    np.testing.assert_allclose(a @ np.asarray(x), np.asarray(x) * np.asarray(values), atol=1e-13)


@pytest.mark.parametrize("a", [np.zeros((90, 90)), np.eye(90), np.diag(np.r_[np.zeros(80), np.ones(10)])])
def test_nothing_is_left_of_a_direction(a):
    result, info = truncax.teigh(jnp.asarray(a), 3, which="LA", solver=LOBPCG(), return_info=True, on_failure="keep")
    np.testing.assert_allclose(result.eigenvalues, np.diag(a)[-3:], atol=1e-14)
    assert info.converged
    x = np.asarray(result.eigenvectors)
    np.testing.assert_allclose(x.T @ x, np.eye(3), atol=1e-13)


def laplacian(side):
    line = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(side, side))
    one = scipy.sparse.eye_array(side)
    return (scipy.sparse.kron(line, one) + scipy.sparse.kron(one, line)).tocsr()


@pytest.mark.parametrize("preconditioned", [False, True])
def test_no_copy_of_a_multiplet_is_missed(preconditioned):
    """The values of a square grid come in pairs; with k = 6 the last pair is complete."""
    a = laplacian(20)
    expected = np.linalg.eigvalsh(a.toarray())[:6]
    inverse = truncax.preconditioners.sparse_lu(a) if preconditioned else None

    @jax.jit
    def found(key):
        return truncax.teigh(a, 6, which="SA", solver=LOBPCG(inverse), key=key).eigenvalues

    for seed in range(6):
        np.testing.assert_allclose(found(jax.random.key(seed)), expected, atol=1e-12)


def test_more_copies_than_a_block_has_vectors():
    values = np.concatenate([np.ones(7), np.linspace(1.5, 4, 93)])
    a = jnp.asarray(hermitian(np.random.default_rng(0), values))
    for seed in range(3):
        key = jax.random.key(seed)
        found, info = truncax.teigh(a, 8, which="SA", solver=LOBPCG(), key=key, return_info=True)
        np.testing.assert_allclose(found.eigenvalues, values[:8], atol=1e-13)
        # 258 to 302; 1262 to 1946 where those that have converged are multiplied on.
        assert info.products <= 500


@pytest.mark.parametrize("part", [0, 1])
def test_a_copy_that_is_just_rising_is_not_set_aside(part):
    """The start has two copies and 1.01, and of the third nothing, or a part in a leftover, which then must go on.

    Set aside, (x + y) / sqrt(2) hides x: outside of it nothing is below 1.25.
    """
    values = np.r_[np.ones(3), 1.01, 1.5, np.linspace(1.6, 4, 95)]
    x = orthonormal(np.random.default_rng(0), 100, 100)
    leftover = (part * x[:, 2] + x[:, 4]) / (1 + part) ** 0.5
    start = np.stack([x[:, 0], x[:, 1], x[:, 3], leftover], axis=1)
    solver = LOBPCG(block_size=2)
    found = jax.jit(lambda key: truncax.teigh((x * values) @ x.T, 3, which="SA", solver=solver, v0=start, key=key))
    for seed in range(3):
        np.testing.assert_allclose(found(jax.random.key(seed)).eigenvalues, np.ones(3), atol=1e-12)


def test_a_copy_that_rounding_brings_up_is_found():
    """While the others converge, in whose leftovers it then has a part."""
    a = hermitian(np.random.default_rng(0), np.r_[np.ones(3), np.linspace(1.01, 4, 97)])
    solver = LOBPCG(jnp.asarray(np.linalg.inv(a + 0.1 * np.eye(100))), block_size=2)
    found = jax.jit(lambda key: truncax.teigh(a, 3, which="SA", solver=solver, key=key).eigenvalues)
    for seed in range(8):
        np.testing.assert_allclose(found(jax.random.key(seed)), np.ones(3), atol=1e-12)


def test_a_probe_that_settles_at_once_goes_on():
    """Of a random vector nearly all lies in the 3: its Ritz value settles before it has shown the copy of 1."""
    a = hermitian(np.random.default_rng(0), np.r_[1, 1, 1.5, np.full(295, 3.0), 50, 100])
    found = jax.jit(lambda key: truncax.teigh(a, 2, which="SA", solver=LOBPCG(block_size=1), key=key).eigenvalues)
    for seed in range(6):
        np.testing.assert_allclose(found(jax.random.key(seed)), np.ones(2), atol=1e-12)


def test_an_unreachable_tolerance_ends_with_what_there_is():
    a, inverse = problem("SA", False, np.float32)
    solver = LOBPCG(inverse, max_iterations=5)
    result, info = truncax.teigh(a, K, which="SA", solver=solver, return_info=True, on_failure="keep")
    assert not info.converged
    assert np.all(np.isfinite(result.eigenvalues))
    with pytest.raises(truncax.ConvergenceError, match="raise max_iterations"):
        truncax.teigh(a, K, which="SA", solver=solver)


def test_scales_at_the_ends_of_the_exponents():
    a, inverse = problem("SA", False, np.float64)

    @jax.jit
    def found(a, inverse):
        return truncax.teigh(a, K, which="SA", solver=LOBPCG(inverse))

    for scale in (1e-100, 1e100):
        np.testing.assert_allclose(found(a * scale, inverse / scale).eigenvalues, VALUES[:K] * scale, rtol=1e-12)


@pytest.mark.parametrize(("which", "complex_", "mode"), [("SA", True, "all"), ("LA", False, "reverse")])
def test_gradients_are_those_of_the_full_decomposition(which, complex_, mode):
    a, w, *rest = eigh_problem(which, complex_, n=48)
    sign = 1 if which == "SA" else -1
    inverse = jnp.linalg.inv(sign * a + 3.0 * jnp.eye(48, dtype=a.dtype))
    solver, derivative = LOBPCG(inverse), Implicit(mode=mode)

    def loss(a, w):
        return pair_loss(*truncax.teigh(a, K, which=which, solver=solver, derivative=derivative), w)

    check_gradient(loss, full_eigh_loss(which), (a, w, *rest))

    def of_subspace(a, w):
        Q, H = truncax.invariant_subspace(a, K, which=which, solver=solver, derivative=derivative)
        return jnp.sum((jnp.conj(w) * mm(Q, H + mm(H, H, H), jnp.conj(Q.T))).real)

    check_gradient(of_subspace, full_invariant_loss(which), (a, w, *rest))


def test_second_derivatives():
    a, w, d, *_ = eigh_problem("SA", False, n=48)
    inverse = jnp.linalg.inv(a + 3.0 * jnp.eye(48))

    def along(loss):
        return jax.jit(jax.jvp, static_argnums=0)(jax.grad(lambda a: loss(a, w)), (a,), (d,))[1]

    def loss(a, w):
        return pair_loss(*truncax.teigh(a, K, which="SA", solver=LOBPCG(inverse)), w)

    assert error(along(loss), along(full_eigh_loss("SA"))) <= 1e-9


def test_the_preconditioner_serves_the_derivative(steps):
    a, inverse = problem("SA", False, np.float64)
    taken = []
    for given in (inverse, None):
        jax.grad(lambda a, g=given: truncax.teigh(a, K, which="SA", solver=LOBPCG(g))[1][:, 0] @ jnp.ones(N))(a)
        jax.effects_barrier()
        taken.append(max(steps))
        steps.clear()
    assert taken[0] < taken[1] / 2


MASSES = {
    "dense": lambda b: jnp.asarray(b.toarray()),
    "sparse": BCOO.from_scipy_sparse,
    "diagonal": lambda b: diagonal(jnp.asarray(b.diagonal())),
}


@pytest.mark.parametrize(("name", "which"), few([("sparse", "SA")], [("diagonal", "LA"), ("dense", "SA")]))
def test_generalized_problems_in_the_coordinates_of_the_user(name, which, steps):
    n, sign = 100, 1 if which == "SA" else -1
    rng = np.random.default_rng(1)
    a = scipy.sparse.diags_array(
        [np.full(n - 1, -1.0), 2 + rng.uniform(0, 3, n), np.full(n - 1, -1.0)], offsets=[-1, 0, 1]
    )
    off = np.full(n - 1, 0.0 if name == "diagonal" else 0.2)
    b = scipy.sparse.diags_array([off, np.linspace(1, 3, n), off], offsets=[-1, 0, 1]).tocsr()
    reference, x = scipy.linalg.eigh(a.toarray(), b.toarray())
    order = np.arange(K) if which == "SA" else np.arange(n)[::-1][:K]
    shift = reference[order[0]] - 0.05 * sign
    inverse = truncax.preconditioners.sparse_lu(sign * (a - shift * b).tocsr(), shift=0.0)
    mass = MASSES[name](b)

    def loss(d, inverse):
        values, x = truncax.teigh(
            jnp.asarray(a.toarray()) + jnp.diag(d), K, b=mass, which=which, solver=LOBPCG(inverse)
        )
        return jnp.sum(jnp.asarray(WEIGHTS) * (values + x[3] ** 2)), values

    (_, values), gradient = jax.value_and_grad(loss, has_aux=True)(jnp.zeros(n), inverse)
    jax.effects_barrier()
    preconditioned = max(steps)
    np.testing.assert_allclose(values, reference[order], atol=1e-12)
    gaps = reference[order][None, :] - reference[:, None]
    coupling = np.where(gaps == 0, 0, 1 / np.where(gaps == 0, 1, gaps))
    dx3 = np.einsum("m,mj,im,ij->ij", x[3], coupling, x, x[:, order])
    expected = (x[:, order] ** 2 + 2 * x[3, order] * dx3) @ WEIGHTS
    assert error(gradient, expected) <= 1e-10
    steps.clear()
    jax.grad(lambda d: loss(d, None)[0])(jnp.zeros(n))
    jax.effects_barrier()
    assert preconditioned < max(steps)


def test_batches_and_vmap():
    rng = np.random.default_rng(0)
    a = jnp.asarray(np.stack([hermitian(rng, VALUES[:70] + i) for i in range(2)]))
    inverse = jnp.linalg.inv(jnp.mean(a, axis=0))

    def found(a):
        return truncax.teigh(a, 3, which="SA", solver=LOBPCG(inverse)).eigenvalues

    expected = np.stack([VALUES[:3], VALUES[:3] + 1])
    np.testing.assert_allclose(found(a), expected, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(found)(a), expected, atol=1e-12)


def test_a_start_of_many_vectors_of_which_one_is_none():
    a, inverse = problem("SA", False, np.float64)
    start = jnp.asarray(np.random.default_rng(0).normal(size=(N, 6))).at[:, 2].set(jnp.nan)
    found = truncax.teigh(a, K, which="SA", solver=LOBPCG(inverse), v0=start)
    np.testing.assert_allclose(found.eigenvalues, VALUES[:K], atol=1e-12)


A = jnp.diag(jnp.arange(1.0, 101.0))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: truncax.teigh(A, 2, solver=LOBPCG()), ValueError, "'SA' or 'LA'.*Lanczos"),
        (lambda: truncax.teigh(A, 2, which="SA", sigma=0.0, solver=LOBPCG()), ValueError, "takes no sigma"),
        (lambda: truncax.teigh(A, 2, which="SA", solver=LOBPCG(jnp.eye(3))), ValueError, "must have shape"),
        (
            lambda: truncax.teigh(A, 2, which="SA", solver=LOBPCG(jnp.eye(100, dtype=complex))),
            TypeError,
            "must be real",
        ),
        (lambda: truncax.teigh(A, 2, which="SA", solver=LOBPCG(lambda x: x[:3])), ValueError, "block of the shape"),
        (lambda: truncax.teigh(A, 2, which="SA", solver=LOBPCG("jacobi")), TypeError, "function of a block"),
        (lambda: truncax.tsvd(A, 2, solver=LOBPCG()), TypeError, "solver must be None or"),
        (lambda: LOBPCG(block_size=0), ValueError, "block_size must be"),
        (lambda: LOBPCG(max_iterations=2.5), ValueError, "max_iterations must be"),
    ],
)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
