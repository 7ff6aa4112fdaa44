"""The forward pass: values with multiplicity, residuals, order, scale, determinism, options that do what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import hermitian, matrix, orthonormal, random

import truncax
from truncax import GolubKahan, Lanczos

SEEDS = pytest.mark.parametrize("seed", range(3))


def ring(n):
    return 2 * np.eye(n) - np.roll(np.eye(n), 1, 0) - np.roll(np.eye(n), -1, 0)


def torus(n):
    return np.kron(ring(n), np.eye(n)) + np.kron(np.eye(n), ring(n))


def hypercube(d):
    """The Laplacian of the hypercube graph: eigenvalue 2 j with multiplicity binomial(d, j)."""
    nodes = np.arange(2**d)
    distance = np.array([bin(x).count("1") for x in range(2**d)])[nodes[:, None] ^ nodes[None, :]]
    return d * np.eye(2**d) - (distance == 1)


def symmetric_case(name):
    rng = np.random.default_rng(0)
    if name == "60-fold top":
        return hermitian(rng, np.r_[np.ones(60), np.linspace(0.5, 0, 140)]), 20
    if name == "two equal blocks":
        block = hermitian(rng, np.linspace(1, 0.01, 80))
        return np.kron(np.eye(2), block), 8
    if name == "orthogonal to ones":
        q = orthonormal(rng, 120, 120)
        q[:, 0] = 1 / np.sqrt(120)
        q = np.linalg.qr(q)[0]
        return (q * np.r_[0.0, np.linspace(1, 0.01, 119)]) @ q.T, 6
    return {
        "identity": (np.eye(100), 5),
        "ring": (ring(120), 7),
        "torus": (torus(12), 9),
        "hypercube": (hypercube(7), 8),
    }[name]


CASES = pytest.mark.parametrize(
    "name", ["identity", "ring", "torus", "hypercube", "60-fold top", "two equal blocks", "orthogonal to ones"]
)


@SEEDS
@CASES
@pytest.mark.parametrize("which", ["LA", "SA"])
def test_lanczos_misses_no_member_of_a_multiplet(name, which, seed):
    a, k = symmetric_case(name)
    (values, Q), info = truncax.teigh(a, k, which=which, solver=Lanczos(), key=jax.random.key(seed), return_info=True)
    exact = np.linalg.eigvalsh(a)
    exact = exact[::-1][:k] if which == "LA" else exact[:k]
    np.testing.assert_allclose(values, exact, atol=1e-12 * np.abs(a).sum(1).max())
    np.testing.assert_allclose(Q.T @ Q, np.eye(k), atol=1e-13)
    assert info.residual_norms.max() <= 1e-13


@SEEDS
@CASES
def test_golub_kahan_misses_no_member_of_a_multiplet(name, seed):
    a, k = symmetric_case(name)
    (U, S, Vh), info = truncax.tsvd(a, k, solver=GolubKahan(), key=jax.random.key(seed), return_info=True)
    np.testing.assert_allclose(S, np.linalg.svd(a, compute_uv=False)[:k], atol=1e-12 * np.abs(a).sum(1).max())
    np.testing.assert_allclose(U.T @ U, np.eye(k), atol=1e-13)
    np.testing.assert_allclose(Vh @ Vh.T, np.eye(k), atol=1e-13)
    assert info.residual_norms.max() <= 1e-13


@pytest.mark.parametrize(("copies", "k"), [(2, 2), (3, 3)])
def test_a_multiplet_with_a_small_gap_behind_it(copies, k):
    """Disconnected path graphs: a missed copy of the top value hides behind a relative gap of 2e-4."""
    n = 100
    path = np.diag(np.r_[1.0, 2 * np.ones(n - 2), 1.0]) - np.eye(n, k=1) - np.eye(n, k=-1)
    laplacian = np.kron(np.eye(copies), path)

    @jax.jit
    def values(a, key):
        result, info = truncax.teigh(a, k, which="SA", solver=Lanczos(), key=key, return_info=True)
        return result.eigenvalues, info

    for seed in range(8):
        found, info = values(laplacian, jax.random.key(seed))
        np.testing.assert_allclose(found, np.linalg.eigvalsh(laplacian)[:k], atol=1e-12)
        np.testing.assert_allclose(info.cut_gap, np.diff(np.linalg.eigvalsh(path)[:2])[0] / 4, rtol=0.05)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (70, 70)], ids=str)
@pytest.mark.parametrize("solver", [None, GolubKahan(), truncax.Dense()], ids=["default", "native", "dense"])
def test_triplets(dtype, shape, solver):
    rng = np.random.default_rng(1)
    a = random(rng, shape, dtype.startswith("c")).astype(dtype)
    (U, S, Vh), info = truncax.tsvd(a, 5, solver=solver, return_info=True)
    eps = np.finfo(dtype).eps
    assert (U.dtype, S.dtype, Vh.dtype) == (a.dtype, a.real.dtype, a.dtype)
    assert (U.shape, S.shape, Vh.shape) == ((shape[0], 5), (5,), (5, shape[1]))
    np.testing.assert_allclose(S, np.linalg.svd(a, compute_uv=False)[:5], rtol=50 * eps)
    V = np.asarray(Vh).conj().T
    right = np.linalg.norm(a @ V - np.asarray(U) * np.asarray(S), axis=0)
    left = np.linalg.norm(a.conj().T @ np.asarray(U) - V * np.asarray(S), axis=0)
    np.testing.assert_allclose(np.maximum(right, left) / S[0], info.residual_norms, atol=20 * eps)
    assert bool(info.converged)
    assert info.status == truncax.Status.CONVERGED


@pytest.mark.parametrize("which", ["LM", "LA", "SA"])
@pytest.mark.parametrize("solver", [None, Lanczos(), truncax.Dense()], ids=["default", "native", "dense"])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_pairs(which, solver, dtype):
    rng = np.random.default_rng(2)
    spectrum = np.linspace(-1.0, 1.1, 80)
    a = hermitian(rng, spectrum, dtype.startswith("c")).astype(dtype)
    a = (a + a.conj().T) / 2
    (values, Q), info = truncax.teigh(a, 6, which=which, solver=solver, return_info=True)
    expected = {"LA": spectrum[::-1], "SA": spectrum, "LM": spectrum[np.argsort(-np.abs(spectrum))]}[which][:6]
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(values, expected, atol=50 * eps)
    residual = np.linalg.norm(a @ np.asarray(Q) - np.asarray(Q) * np.asarray(values), axis=0) / 1.1
    np.testing.assert_allclose(residual, info.residual_norms, atol=20 * eps)
    gap = spectrum[1] - spectrum[0]
    if which != "LM":
        # The discarded neighbour is a Ritz value, still on its way from inside.
        bound = 10 * eps if solver == truncax.Dense() else 0.05 * gap
        np.testing.assert_allclose([info.cut_gap, info.selection_gap], gap / 1.1, atol=bound)


def test_the_gaps_differ_at_a_plus_minus_tie():
    rng = np.random.default_rng(3)
    a = hermitian(rng, np.r_[1.0, -0.8, 0.8, np.linspace(-0.3, 0.3, 37)])
    for solver in (truncax.Dense(), Lanczos()):
        _, info = truncax.teigh(a, 2, solver=solver, return_info=True)
        np.testing.assert_allclose(info.selection_gap, 0, atol=1e-12)
        assert info.cut_gap >= 0.15


@pytest.mark.parametrize("k", [1, 3, 7])
def test_the_first_values_do_not_depend_on_k(k):
    a = random(np.random.default_rng(4), (90, 80))
    np.testing.assert_allclose(truncax.tsvd(a, k, solver=GolubKahan()).S, truncax.tsvd(a, 10).S[:k], rtol=1e-13)


@pytest.mark.parametrize(
    ("dtype", "scales"),
    [("float64", [1e-150, 1e150, 1e-300, 1e305]), ("float32", [1e-15, 1e15, 1e-30]), ("complex128", [1e-150])],
)
@pytest.mark.parametrize("solver", [GolubKahan(), truncax.Dense()], ids=["native", "dense"])
def test_scale(dtype, scales, solver):
    rng = np.random.default_rng(5)
    a = random(rng, (60, 50), dtype.startswith("c")).astype(dtype)
    w = random(rng, (60, 60), dtype.startswith("c")).astype(dtype)

    def loss(a):
        U = truncax.tsvd(a, 4, solver=solver).U
        return jnp.sum((w.conj() * (U @ U.conj().T)).real)

    S, gradient = truncax.tsvd(a, 4, solver=solver).S, jax.grad(loss)(a)
    eps = np.finfo(dtype).eps
    for scale in scales:
        scaled = (a * scale).astype(dtype)
        result, info = truncax.tsvd(scaled, 4, solver=solver, return_info=True)
        assert info.residual_norms.max() <= max(eps ** (5 / 6), 64 * eps)
        np.testing.assert_allclose(np.asarray(result.S, np.float64) / scale, S, rtol=40 * eps)
        if scale > 1e300:  # the gradient itself, about 1 / scale, is at the end of the exponent range
            continue
        ratio = np.asarray(jax.grad(loss)(scaled)).astype(np.complex128) * scale
        gradient = np.asarray(gradient)
        assert np.linalg.norm(ratio - gradient) <= 2e4 * eps * np.linalg.norm(gradient)


def test_graded_values():
    rng = np.random.default_rng(6)
    s = 10.0 ** -np.arange(60)
    a = matrix(rng, (60, 60), s)
    for solver in (GolubKahan(), truncax.Dense()):
        np.testing.assert_allclose(truncax.tsvd(a, 11, solver=solver).S, s[:11], atol=1e-14)


@pytest.mark.parametrize("k", [1, 2, 19, 20])
def test_small_and_full_ranks(k):
    a = random(np.random.default_rng(7), (20, 35))
    S = truncax.tsvd(a, k, solver=GolubKahan()).S
    np.testing.assert_allclose(S, np.linalg.svd(a, compute_uv=False)[:k], rtol=1e-13)
    h = hermitian(np.random.default_rng(8), np.linspace(-1, 2, 20))
    values = truncax.teigh(h, k, which="SA", solver=Lanczos()).eigenvalues
    np.testing.assert_allclose(values, np.linspace(-1, 2, 20)[:k], atol=1e-13)


def test_one_by_n():
    a = np.array([[3.0, 4.0]])
    for x in (a, a.T):
        np.testing.assert_allclose(truncax.tsvd(x, 1, solver=GolubKahan()).S, [5.0], rtol=1e-15)


def test_the_same_input_gives_the_same_bits():
    a = random(np.random.default_rng(9), (90, 80))
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (truncax.tsvd(a, 5, solver=GolubKahan()) for _ in range(2))
    assert all(jnp.array_equal(x, y) for x, y in zip(first, second, strict=True))
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_start_vector_and_key_change_the_path_and_not_the_result():
    a = matrix(np.random.default_rng(10), (80, 60), 0.5 ** np.arange(60))
    plain, info = truncax.tsvd(a, 3, solver=GolubKahan(), return_info=True)
    other = truncax.tsvd(a, 3, solver=GolubKahan(), key=jax.random.key(1))
    started, warm = truncax.tsvd(a, 3, v0=np.asarray(plain.Vh).sum(0), return_info=True)
    for result in (other, started):
        np.testing.assert_allclose(result.S, plain.S, rtol=1e-13)
        assert not jnp.array_equal(result.U, plain.U)
    assert warm.products <= info.products
    wide = truncax.tsvd(a.T, 3, v0=np.asarray(plain.U).sum(1))
    np.testing.assert_allclose(wide.S, plain.S, rtol=1e-13)
    legacy = truncax.tsvd(a, 3, key=jax.random.PRNGKey(1))
    np.testing.assert_allclose(legacy.S, plain.S, rtol=1e-13)


def test_the_start_vector_has_no_derivative():
    a = random(np.random.default_rng(11), (40, 40))
    gradient = jax.grad(lambda v: jnp.sum(truncax.tsvd(a, 2, v0=v).S))(jnp.ones(40))
    assert jnp.all(gradient == 0)


def test_options_of_the_solver_have_their_effect():
    a = random(np.random.default_rng(12), (120, 120))

    def info(**options):
        return truncax.tsvd(a, 4, solver=GolubKahan(**options), return_info=True)[1]

    assert info(ncv=60).iterations < info(ncv=12).iterations
    loose = truncax.tsvd(a, 4, solver=GolubKahan(), tol=1e-3, return_info=True)[1]
    assert loose.products < info().products
    assert 1e-13 < loose.residual_norms.max() <= 1e-3


def test_products_are_counted():
    """The count of a run that ends after one full cycle is known: two products a step, k for the Ritz values, 2k."""
    a = random(np.random.default_rng(13), (20, 12))
    info = truncax.tsvd(a, 2, solver=GolubKahan(), return_info=True)[1]
    assert info.iterations == 1
    assert info.products == 2 * 12 + 2 + 2 * 2


def test_batches():
    a = random(np.random.default_rng(14), (2, 3, 30, 20))
    (U, S, Vh), info = truncax.tsvd(a, 3, solver=GolubKahan(), return_info=True)
    assert (U.shape, S.shape, Vh.shape, info.status.shape) == ((2, 3, 30, 3), (2, 3, 3), (2, 3, 3, 20), (2, 3))
    np.testing.assert_allclose(S, np.linalg.svd(a, compute_uv=False)[..., :3], rtol=1e-13)
    h = a @ np.swapaxes(a, -1, -2)
    np.testing.assert_allclose(truncax.teigh(h, 3).eigenvalues, np.linalg.eigvalsh(h)[..., ::-1][..., :3], rtol=1e-12)
    assert truncax.tsvd(np.zeros((0, 5, 4)), 2).S.shape == (0, 2)
    starts = np.ones((2, 3, 20))
    np.testing.assert_allclose(truncax.tsvd(a, 3, v0=starts).S, S, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["int32", "bool", "float16", "bfloat16"])
def test_promotion(dtype):
    a = jnp.asarray(np.random.default_rng(15).integers(0, 2, (30, 20))).astype(dtype)
    result = truncax.tsvd(a, 2)
    expected = a.dtype if "float" in dtype else jnp.dtype("float64")
    assert {x.dtype for x in result} == {expected}
    np.testing.assert_allclose(
        np.asarray(result.S, np.float64), np.linalg.svd(np.asarray(a, np.float64), compute_uv=False)[:2], rtol=2e-2
    )
    if "float" in dtype:
        assert jax.grad(lambda a: truncax.tsvd(a, 2).S.astype(jnp.float32).sum())(a).dtype == a.dtype


def test_x64_off():
    a = random(np.random.default_rng(16), (90, 80)).astype(np.float32)
    with jax.enable_x64(False):
        result, info = truncax.tsvd(a, 5, return_info=True)
        gradient = jax.grad(lambda a: jnp.sum(truncax.tsvd(a, 5).S))(jnp.asarray(a))
    assert {x.dtype for x in (*result, gradient)} == {np.dtype("float32")}
    assert bool(info.converged)
    u, _, vh = np.linalg.svd(a.astype(np.float64))
    np.testing.assert_allclose(gradient, u[:, :5] @ vh[:5], atol=1e-4)
