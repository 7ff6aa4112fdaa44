"""The forward pass: values with multiplicity, residuals, order, scale, determinism, options that do what they say."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from profiles import crossed
from references import hermitian, matrix, random

import truncax
from truncax import Arnoldi, GolubKahan, Lanczos
from truncax.operators.dense import DenseOperator
from truncax.operators.operator import Hermitian
from truncax.solvers.arnoldi import arnoldi
from truncax.solvers.golub_kahan import golub_kahan
from truncax.solvers.lanczos import lanczos
from truncax.solvers.refine import finish_eigenpairs, finish_schur, finish_triplets, triplet_residuals
from truncax.solvers.restart import probe_length


@crossed(
    "dtype, shape, solver",
    ["float32", "float64", "complex64", "complex128"],
    [(90, 60), (60, 90), (70, 70)],
    [GolubKahan(), truncax.Dense(), None],
    rows=9,
)
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


@crossed(
    "which, dtype, solver",
    ["LM", "LA", "SA"],
    ["float32", "float64", "complex64", "complex128"],
    [Lanczos(), truncax.Dense(), None],
    rows=6,
)
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


SCALES = {"float64": [1e-150, 1e150, 1e-300, 1e305], "float32": [1e-15, 1e15, 1e-30], "complex128": [1e-150]}


@crossed("dtype, solver", SCALES, [GolubKahan(), truncax.Dense()], rows=4)
def test_scale(dtype, solver):
    rng = np.random.default_rng(5)
    a = random(rng, (60, 50), dtype.startswith("c")).astype(dtype)
    w = random(rng, (60, 60), dtype.startswith("c")).astype(dtype)

    def loss(a):
        (U, S, _), info = truncax.tsvd(a, 4, solver=solver, return_info=True)
        return jnp.sum((w.conj() * (U @ U.conj().T)).real), (S, info)

    run = jax.jit(jax.grad(loss, has_aux=True))
    gradient, (S, _) = run(a)
    gradient = np.asarray(gradient)
    eps = np.finfo(dtype).eps
    for scale in SCALES[dtype]:
        scaled = (a * scale).astype(dtype)
        ratio, (found, info) = run(scaled)
        assert info.residual_norms.max() <= max(eps ** (5 / 6), 64 * eps)
        np.testing.assert_allclose(np.asarray(found, np.float64) / scale, S, rtol=40 * eps)
        if scale > 1e300:  # the gradient itself, about 1 / scale, is at the end of the exponent range
            continue
        ratio = np.asarray(ratio).astype(np.complex128) * scale
        assert np.linalg.norm(ratio - gradient) <= 2e4 * eps * np.linalg.norm(gradient)


def test_graded_values():
    rng = np.random.default_rng(6)
    s = 10.0 ** -np.arange(60)
    a = matrix(rng, (60, 60), s)
    for solver in (GolubKahan(), truncax.Dense()):
        np.testing.assert_allclose(truncax.tsvd(a, 11, solver=solver).S, s[:11], atol=1e-14)


@crossed("k, hermitian_problem", [1, 2, 19, 20], [False, True], rows=5)
def test_small_and_full_ranks(k, hermitian_problem):
    if not hermitian_problem:
        a = random(np.random.default_rng(7), (20, 35))
        S = truncax.tsvd(a, k, solver=GolubKahan()).S
        np.testing.assert_allclose(S, np.linalg.svd(a, compute_uv=False)[:k], rtol=1e-13)
        return
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


def test_options_of_the_solver_have_their_effect():
    a = matrix(np.random.default_rng(12), (120, 120), 0.95 ** np.arange(120))

    def info(**options):
        return truncax.tsvd(a, 4, solver=GolubKahan(**options), return_info=True)[1]

    assert info(ncv=60).iterations < info(ncv=12).iterations
    loose = truncax.tsvd(a, 4, solver=GolubKahan(), tol=1e-3, return_info=True)[1]
    assert loose.products < info().products
    assert 1e-13 < loose.residual_norms.max() <= 1e-3


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Counting(DenseOperator):
    """Counts the vectors that it multiplies while the program runs."""

    counted: ClassVar[list] = [0]

    def _count(self, x):
        columns = 1 if x.ndim == 1 else x.shape[1]

        def add():
            self.counted[0] += columns

        jax.debug.callback(add)

    def apply(self, x):
        self._count(x)
        return super().apply(x)

    def apply_adjoint(self, y):
        self._count(y)
        return super().apply_adjoint(y)


@crossed("block_size, hermitian_problem", [1, 4], [False, True])
def test_the_count_of_products_is_true(block_size, hermitian_problem):
    rng = np.random.default_rng(13)
    a = hermitian(rng, np.linspace(1, 0, 150)) if hermitian_problem else random(rng, (200, 150))
    options = {"block_size": block_size, "ncv": 20}
    tol, key = jnp.asarray(1e-13), jax.random.key(0)

    @jax.jit
    def solve(a):
        operator = Counting.of(a)
        if hermitian_problem:
            return lanczos(operator, 3, "LA", Lanczos(**options), tol, None, key)
        return golub_kahan(operator, 3, GolubKahan(**options), tol, None, key)

    Counting.counted[0] = 0
    found = jax.block_until_ready(solve(jnp.asarray(a)))
    jax.effects_barrier()
    assert found.iterations > 2
    assert found.products == Counting.counted[0]


@crossed("k, solver", [5, 4, 1], [Lanczos(), truncax.Arpack(), Lanczos(block_size=3), None], rows=6)
def test_both_ends(k, solver):
    """``BE`` alternates, a high one first."""
    values = np.r_[np.linspace(-1, -0.2, 30), np.linspace(0.1, 3, 60)]
    a = hermitian(np.random.default_rng(22), values)
    expected = [(values[::-1] if i % 2 == 0 else values)[i // 2] for i in range(k)]
    found, info = truncax.teigh(a, k, which="BE", solver=solver, return_info=True)
    np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-13)
    kept = np.isclose(values[:, None], np.asarray(expected)[None, :]).any(1)
    gap = np.abs(values[~kept][:, None] - np.asarray(expected)).min() / 3
    np.testing.assert_allclose([info.cut_gap, info.selection_gap], gap, rtol=0.1)


def test_both_ends_although_more_is_known_at_one_of_them():
    """At the low end the discarded values crowd at the cut, and never settle as deep as they do at the high end."""
    rng = np.random.default_rng(371)
    signs = rng.choice([-1.0, 1.0], 36)
    signs[:4] = 1, -1, 1, -1
    kept, rest = np.array([1, 5 / 6, 2 / 3, 1 / 2]), 0.495 * (1 - 0.3 * np.linspace(0, 1, 32) ** 3)
    a = jnp.asarray(hermitian(rng, signs * np.concatenate([kept, rest])))
    result, info = truncax.teigh(a, 4, which="BE", solver=truncax.Lanczos(ncv=19), return_info=True)
    np.testing.assert_allclose(result.eigenvalues, [1, -5 / 6, 2 / 3, -1 / 2], atol=1e-13)
    np.testing.assert_allclose(info.cut_gap, 0.005, rtol=0.1)
    assert info.iterations <= 100


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (25, 25)])
def test_smallest_triplets_ascend(shape):
    a = random(np.random.default_rng(23), shape, True)
    (U, S, Vh), info = truncax.tsvd(a, 3, which="SM", return_info=True)
    s = np.linalg.svd(a, compute_uv=False)[::-1]
    np.testing.assert_allclose(S, s[:3], atol=1e-13)
    np.testing.assert_allclose(a @ np.asarray(Vh).conj().T, np.asarray(U) * np.asarray(S), atol=1e-12)
    np.testing.assert_allclose(info.cut_gap, (s[3] - s[2]) / s[-1], rtol=1e-10)


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


def test_the_residual_of_a_triplet_is_the_larger_of_both():
    """Of ``[[1, x], [y, 0]]`` the first unit vectors have the residuals y, of A v, and x, of A^H u."""
    one, s = jnp.eye(2)[:, :1], jnp.ones(1)
    for x, y in ((5.0, 0.0), (0.0, 3.0)):
        operator = DenseOperator.of(jnp.asarray([[1.0, x], [y, 0.0]]))
        assert triplet_residuals(operator, one, s, one, operator.apply(one)).tolist() == [max(x, y)]


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


def test_float32_needs_no_more_products_than_float64():
    a = matrix(np.random.default_rng(14), (512, 512), np.exp(-10 * np.arange(512) / 512))
    double, single = (truncax.tsvd(a.astype(d), 16, return_info=True)[1].products for d in ("float64", "float32"))
    assert int(single) <= 1.2 * int(double)


@crossed("block_size, hermitian_problem", [1, 4], [False, True], rows=3)
def test_the_smallest_basis_converges(block_size, hermitian_problem):
    spectrum = 0.9 ** np.arange(60)
    options = {"ncv": 4 + 2 * block_size, "block_size": block_size}
    if not hermitian_problem:
        a = matrix(np.random.default_rng(15), (80, 60), spectrum)
        np.testing.assert_allclose(truncax.tsvd(a, 4, solver=GolubKahan(**options)).S, spectrum[:4], rtol=1e-12)
        return
    h = hermitian(np.random.default_rng(16), spectrum)
    values = truncax.teigh(h, 4, which="LA", solver=Lanczos(**options)).eigenvalues
    np.testing.assert_allclose(values, spectrum[:4], rtol=1e-12)


@crossed("rows, dtype", [1, 2, 3], [np.complex128, np.float64])
def test_products_in_panels_are_products(dtype, rows):
    """64 MB and more are multiplied from the left in panels of rows."""
    rng = np.random.default_rng(17)
    a, da = (jnp.asarray(random(rng, (4096, 2048), dtype == np.complex128)) for _ in range(2))
    y = jnp.asarray(random(rng, (4096, rows), dtype == np.complex128))
    product, tangent = jax.jvp(lambda a: DenseOperator.of(a).apply_adjoint(y), (a,), (da,))
    for x, got in ((a, product), (da, tangent)):
        expected = np.asarray(x).conj().T @ np.asarray(y)
        assert np.linalg.norm(got - expected) <= 1e-13 * np.linalg.norm(expected)


def test_the_operator_of_an_array_multiplies_vectors_and_blocks():
    """A complex array multiplies by its real and imaginary part on a CPU."""
    rng = np.random.default_rng(18)
    for is_complex in (False, True):
        a = random(rng, (9, 7), is_complex)
        operator = DenseOperator.of(jnp.asarray(a))
        for columns in ((), (3,)):
            x, y = random(rng, (7, *columns), is_complex), random(rng, (9, *columns), is_complex)
            np.testing.assert_allclose(operator.apply(jnp.asarray(x)), a @ x, rtol=1e-13)
            np.testing.assert_allclose(operator.apply_adjoint(jnp.asarray(y)), a.conj().T @ y, rtol=1e-13)


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize("gap", [1.0, 0.3, 0.03])
def test_the_length_of_a_probe_is_the_shortest_that_the_bound_allows(gap, block):
    def missed(q):
        return (1.65 * np.sqrt(1000) * np.exp(-np.sqrt(gap) * (2 * q - 1))) ** block

    q = int(probe_length(jnp.asarray(gap), 1000, block))
    assert missed(q) <= 1e-3 < missed(q - 1)


ENDS_IN_A_MULTIPLET = np.repeat([1.0, 0.6, 0.3, 0.2, 0.0], [1, 7, 20, 7, 1])
ZERO_IS_KEPT = np.repeat([1.0, 0.6, 0.3, 0.0], [1, 7, 4, 24])


@pytest.mark.parametrize("dtype", [np.complex64, np.float64])
@pytest.mark.parametrize(
    ("values", "k", "which", "block"),
    [
        pytest.param(ENDS_IN_A_MULTIPLET, 18, "BE", 2, id="both ends"),
        pytest.param(ENDS_IN_A_MULTIPLET, 9, "SA", 4, id="smallest"),
        pytest.param(ZERO_IS_KEPT, 14, "LM", 2, id="largest magnitudes, zero among them"),
        pytest.param(-ZERO_IS_KEPT, 17, "LA", 3, id="largest, zero first"),
    ],
)
def test_where_blocks_fill_the_space_every_copy_is_found(values, k, which, block, dtype):
    """The block next to a basis of almost the whole space has rows of zeros, which once came to stand inside it."""
    a = jnp.asarray(hermitian(np.random.default_rng(0), values, dtype == np.complex64), dtype)
    solver = Lanczos(block_size=block)
    found, info = truncax.teigh(a, k, which=which, solver=solver, on_failure="keep", return_info=True)
    assert int(info.status) in (truncax.Status.CONVERGED, truncax.Status.CUT_DEGENERATE)
    Q, tol = np.asarray(found.eigenvectors), 100 * np.finfo(dtype).eps
    ordered = np.sort(values)
    ends = {"LA": (k, 0), "LM": (k, 0), "SA": (0, k), "BE": (k - k // 2, k // 2)}[which]
    expected = np.concatenate([ordered[: ends[1]], ordered[36 - ends[0] :]])
    np.testing.assert_allclose(np.sort(found.eigenvalues), expected, atol=tol)
    np.testing.assert_allclose(Q.conj().T @ Q, np.eye(k), atol=tol)


@pytest.mark.parametrize("k", [8, 16])
def test_where_many_start_vectors_fill_the_space_every_copy_is_found(k):
    """As a host solver hands them over: all of them wait, and what waits has rows of zeros so many steps sooner.

    Of 8 a shorter basis is made, of 16 one of the whole space.
    """
    rng, values = np.random.default_rng(0), np.r_[np.zeros(6), np.linspace(0.01, 1, 30) ** 3]
    operator = Hermitian(DenseOperator.of(jnp.asarray(hermitian(rng, values))))
    start = jnp.asarray(random(rng, (k, 36)))
    found = lanczos(operator, k, "SA", Lanczos(block_size=1), jnp.asarray(1e-14), start, jax.random.key(0))
    assert found.verified
    np.testing.assert_allclose(found.values, values[:k], atol=1e-14)
    np.testing.assert_allclose(found.Q.T @ found.Q, np.eye(k), atol=1e-14)
    x = np.eye(36) + 0.05 * rng.normal(size=(36, 36))
    operator = DenseOperator.of(jnp.asarray((x * values) @ np.linalg.inv(x)))
    found = arnoldi(operator, k, "SR", Arnoldi(block_size=1), jnp.asarray(1e-13), start, jax.random.key(0))
    assert found.verified
    np.testing.assert_allclose(np.sort(found.values.real), values[:k], atol=1e-13)


@pytest.mark.parametrize("dtype", [np.complex64, np.float64])
def test_where_blocks_fill_the_space_zero_singular_values_are_found(dtype):
    a = jnp.asarray(matrix(np.random.default_rng(0), (41, 36), ZERO_IS_KEPT, dtype == np.complex64), dtype)
    solver = GolubKahan(block_size=3)
    (U, s, Vh), info = truncax.tsvd(a, 17, solver=solver, on_failure="keep", return_info=True)
    assert int(info.status) in (truncax.Status.CONVERGED, truncax.Status.CUT_DEGENERATE)
    tol = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(np.asarray(s), ZERO_IS_KEPT[:17], atol=tol)
    for X in map(np.asarray, (U, Vh.conj().T)):
        np.testing.assert_allclose(X.conj().T @ X, np.eye(17), atol=tol)


def test_copies_of_a_vector_are_not_a_result():
    """Their residuals are small too. On either side, and of a general matrix."""
    operator, q = DenseOperator.of(jnp.diag(jnp.arange(6.0, 0, -1))), jnp.eye(6)
    right, copies, six = q[:, :3], q[:, jnp.array([0, 1, 1])], jnp.asarray(6.0)
    leftover, W, end = jnp.zeros(0), q[:0], (jnp.int32(0), jnp.int32(0), jnp.ones((), bool))
    assert finish_eigenpairs(operator, right, "LA", leftover, W, six, *end).verified
    assert not finish_eigenpairs(operator, copies, "LA", leftover, W, six, *end).verified
    assert finish_schur(operator, right, leftover, six, six, *end).verified
    assert not finish_schur(operator, copies, leftover, six, six, *end).verified
    assert finish_triplets(operator, right, right, leftover, W, *end).verified
    for U, V in ((copies, right), (right, copies)):
        assert not finish_triplets(operator, U, V, leftover, W, *end).verified
