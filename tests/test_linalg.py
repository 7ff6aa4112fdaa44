"""The drop-in: the calls of jnp.linalg answered alike, with k a slice of them; a derivative where jnp has none."""

import inspect
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import error, hermitian, matrix, random

import truncax
from truncax import linalg

TYPES = {"f32": np.float32, "f64": np.float64, "c64": np.complex64, "c128": np.complex128}
NAMES = ("svd", "svdvals", "eigh", "eigvalsh")


def spectrum(size, of):
    """Separated values; those of an eigenproblem have both signs, and no two the same magnitude."""
    s = np.linspace(2.0, 0.5, size) if size else np.ones(0)
    return s * np.where(np.arange(size) % 3 == 1, -1, 1) if of == "eigh" else s


def sample(shape, dtype, of):
    """A batch of matrices with well separated values, Hermitian for the eigenproblem."""
    rng = np.random.default_rng(sum(shape))
    *batch, m, n = shape
    complex_ = np.issubdtype(dtype, np.complexfloating)
    s = spectrum(min(m, n), of)
    make = (lambda: hermitian(rng, s, complex_)) if of == "eigh" else (lambda: matrix(rng, (m, n), s, complex_))
    members = [make() for _ in range(int(np.prod(batch)))]
    return jnp.asarray(np.reshape(members, shape), dtype)


def calls():
    """Calls that jnp.linalg answers: (function, shape, dtype, arguments)."""
    everywhere = [*TYPES]
    for shape in [(6, 6), (7, 4), (4, 7), (1, 1), (1, 5), (2, 6, 4), (3, 1, 5, 5), (0, 4, 3), (0, 4), (4, 0), (0, 0)]:
        types = everywhere if shape in [(6, 6), (7, 4)] else ["f64"]
        for dtype in types:
            yield "svd", shape, dtype, {"full_matrices": False}
            yield "svd", shape, dtype, {"compute_uv": False}
            yield "svdvals", shape, dtype, {}
        yield "svd", shape, "f64", {}
        yield "svd", shape, "f64", {"full_matrices": False, "subset_by_index": (0, min(shape[-2:]))}
    for shape in [(6, 6), (1, 1), (2, 5, 5), (2, 1, 4, 4), (0, 3, 3), (0, 0)]:
        for dtype in everywhere if shape == (6, 6) else ["c128"]:
            yield "eigh", shape, dtype, {}
            yield "eigvalsh", shape, dtype, {}
            yield "svd", shape, dtype, {"hermitian": True}
        yield "eigh", shape, "f64", {"UPLO": "L"}
        yield "eigh", shape, "c128", {"UPLO": "U", "symmetrize_input": False}
        yield "eigh", shape, "c128", {"symmetrize_input": False}
        yield "eigvalsh", shape, "f64", {"UPLO": "U", "symmetrize_input": False}
        yield "svd", shape, "f64", {"hermitian": True, "compute_uv": False}
    for dtype in (np.int32, np.bool_):
        yield "svd", (3, 3), dtype, {"full_matrices": False}
        yield "eigvalsh", (3, 3), dtype, {}


CALLS = list(calls())


def given(function, shape, dtype, arguments):
    """The matrix of a call; for one triangle the other is not a number."""
    if dtype in TYPES:
        hermitian_ = function.startswith("eig") or arguments.get("hermitian")
        a = sample(shape, TYPES[dtype], "eigh" if hermitian_ else "svd")
    else:
        a = jnp.asarray(np.diag([3, 2, 1]) > 0 if dtype is np.bool_ else np.diag([3, 2, 1]), dtype)
    if arguments.get("symmetrize_input", True):
        return a
    other = jnp.triu(jnp.ones(shape, bool), 1) if arguments.get("UPLO") != "U" else jnp.tril(jnp.ones(shape, bool), -1)
    return jnp.where(other, jnp.asarray(jnp.nan, a.dtype), a)


def parts(result):
    return tuple(result) if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("call", CALLS, ids=lambda c: f"{c[0]}-{c[1]}-{c[2]}-{c[3]}")
def test_without_k_it_is_jnp(call):
    """Names, shapes, dtypes, order, values and the signs of vectors."""
    function, _, _, arguments = call
    a = given(*call)
    expected = getattr(jnp.linalg, function)(a, **arguments)
    got = getattr(linalg, function)(a, **arguments)
    assert getattr(got, "_fields", None) == getattr(expected, "_fields", None)
    for x, y in zip(parts(got), parts(expected), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        if arguments.get("UPLO") == "U" and y.ndim > 1:
            # LAPACK gives the vectors of the upper triangle other phases.
            x, y = jnp.abs(x), jnp.abs(y)
        np.testing.assert_allclose(x, y, rtol=0, atol=100 * jnp.finfo(y.dtype).eps)


def test_the_table_is_long_enough():
    assert len(CALLS) >= 60


@pytest.mark.parametrize("name", NAMES)
def test_the_signature_begins_as_in_jnp(name):
    """The same names, kinds and defaults; what is added is by keyword."""
    theirs = list(inspect.signature(getattr(jnp.linalg, name)).parameters.values())
    ours = list(inspect.signature(getattr(linalg, name)).parameters.values())
    for mine, other in zip(ours, theirs, strict=False):
        assert (mine.name, mine.kind, mine.default) == (other.name, other.kind, other.default)
    added = ours[len(theirs) :]
    assert added[0].name == "k"
    assert all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in added)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(9, 6), (2, 5, 8)])
def test_with_k_it_is_a_slice_of_jnp(shape, dtype):
    """Values, order, dtypes and the product; vectors up to a phase."""
    a, k = sample(shape, TYPES[dtype], "svd"), 2
    U, S, Vh = jnp.linalg.svd(a, full_matrices=False)
    got = linalg.svd(a, k=k)
    bound = 300 * float(jnp.finfo(S.dtype).eps)
    assert (got.U.dtype, got.S.dtype, got.Vh.dtype) == (a.dtype, S.dtype, a.dtype)
    np.testing.assert_allclose(got.S, S[..., :k], atol=bound)
    product = jnp.einsum("...ik,...k,...kj->...ij", U[..., :k], S[..., :k].astype(a.dtype), Vh[..., :k, :])
    ours = jnp.einsum("...ik,...k,...kj->...ij", got.U, got.S.astype(a.dtype), got.Vh)
    np.testing.assert_allclose(ours, product, atol=bound)
    np.testing.assert_allclose(linalg.svdvals(a, k=k), S[..., :k], atol=bound)
    np.testing.assert_allclose(linalg.svd(a, compute_uv=False, k=k), S[..., :k], atol=bound)
    middle = linalg.svd(a, subset_by_index=(1, 3))
    assert (middle.U.shape, middle.Vh.shape) == ((*shape[:-1], 2), (*shape[:-2], 2, shape[-1]))
    np.testing.assert_allclose(middle.S, S[..., 1:3], atol=bound)


@pytest.mark.parametrize("which", ["LA", "SA"])
@pytest.mark.parametrize("dtype", TYPES)
def test_eigenpairs_from_one_end_ascend(dtype, which):
    a, k = sample((2, 7, 7), TYPES[dtype], "eigh"), 3
    expected = jnp.linalg.eigvalsh(a)
    expected = expected[..., -k:] if which == "LA" else expected[..., :k]
    bound = 300 * float(jnp.finfo(expected.dtype).eps)
    values, Q = linalg.eigh(a, k=k, which=which)
    np.testing.assert_allclose(values, expected, atol=bound)
    np.testing.assert_allclose(jnp.matmul(a, Q), Q * values[..., None, :].astype(Q.dtype), atol=bound)
    np.testing.assert_allclose(linalg.eigvalsh(a, k=k, which=which), expected, atol=bound)


def test_an_empty_batch_has_k_values_too():
    a = jnp.zeros((0, 5, 5))
    assert [x.shape for x in linalg.svd(a, k=2)] == [(0, 5, 2), (0, 2), (0, 2, 5)]
    assert [x.shape for x in linalg.eigh(a, k=2, which="SA")] == [(0, 2), (0, 5, 2)]
    assert linalg.svd(a, hermitian=True, k=2).S.shape == (0, 2)


def test_hermitian_with_k_keeps_the_largest_magnitudes():
    a = sample((9, 9), np.complex128, "eigh")
    U, S, Vh = linalg.svd(a, hermitian=True, k=3)
    np.testing.assert_allclose(S, jnp.linalg.svd(a, hermitian=True).S[:3], atol=1e-13)
    np.testing.assert_allclose(jnp.conj(U.T) @ U, np.eye(3), atol=1e-13)
    np.testing.assert_allclose(a @ jnp.conj(Vh.T), U * S[None, :].astype(U.dtype), atol=1e-13)


def weighted(product):
    rng = np.random.default_rng(3)
    w = jnp.asarray(random(rng, (6, 6)))
    return lambda a: jnp.sum(w * product(a))


INVARIANT = {
    "U Vh": (lambda a, lib: (lambda r: r[0] @ r[2])(lib.svd(a, full_matrices=False)), 2),
    "projector": (lambda a, lib: (lambda r: r[0][:, :3] @ r[0][:, :3].T)(lib.svd(a, full_matrices=False)), 1),
    "square svd": (lambda a, lib: (lambda r: r[0] @ r[2])(lib.svd(a)), 2),
    "eigh projector": (lambda a, lib: (lambda r: r[1][:, :2] @ r[1][:, :2].T)(lib.eigh(a @ a.T)), 1),
}


@pytest.mark.parametrize("name", INVARIANT)
def test_all_values_have_the_derivative_of_jnp(name):
    """Where there is no degeneracy: the gradient and a Hessian-vector product."""
    product, _ = INVARIANT[name]
    rng = np.random.default_rng(0)
    a, d = jnp.asarray(matrix(rng, (6, 6), np.linspace(2, 0.5, 6))), jnp.asarray(random(rng, (6, 6)))

    def both(lib):
        f = weighted(lambda a: product(a, lib))
        return jax.jit(lambda a: jax.jvp(jax.grad(f), (a,), (d,)))(a)

    for got, expected in zip(both(linalg), both(jnp.linalg), strict=True):
        assert error(got, expected) <= 1e-11


@pytest.mark.parametrize("name", INVARIANT)
def test_all_values_have_a_finite_derivative_at_ties(name):
    """jnp gives NaN; the derivative is that of a neighbour without a tie, to first order in its distance."""
    product, tied = INVARIANT[name]
    s = np.array([2.0, 2.0, 1.5, 0.9, 0.9, 0.5]) if tied == 2 else np.array([2.0, 2.0, 1.5, 0.9, 0.7, 0.5])
    q, p = (np.eye(6)[:, np.random.default_rng(i).permutation(6)] for i in (1, 2))
    a = jnp.asarray((q * s) @ p.T)
    gradient = {lib: jax.grad(weighted(lambda a, lib=lib: product(a, lib)))(a) for lib in (linalg, jnp.linalg)}
    assert bool(jnp.all(jnp.isnan(gradient[jnp.linalg])))
    near = s * (1 + 1e-6 * np.arange(6))
    if name == "eigh projector":
        near = s * (1 - 1e-6 * np.arange(6))
    expected = jax.grad(weighted(lambda a: product(a, jnp.linalg)))(jnp.asarray((q * near) @ p.T))
    assert error(gradient[linalg], expected) <= 1e-4


@pytest.mark.parametrize("name", ["svdvals", "eigvalsh"])
def test_values_alone_are_computed_alone(name):
    """No vectors are computed unless a derivative is asked for; that one is right, in both modes."""
    a = sample((6, 6), np.float64, "eigh")
    f, g = getattr(linalg, name), getattr(jnp.linalg, name)
    np.testing.assert_allclose(jax.jacfwd(f)(a), jax.jacfwd(g)(a), atol=1e-12)
    np.testing.assert_allclose(jax.jacrev(f)(a), jax.jacrev(g)(a), atol=1e-12)
    if name == "svdvals":
        shapes = {str(x.aval) for e in jax.make_jaxpr(f)(a).eqns for x in e.outvars}
        assert shapes == {"float64[6]"}
    second = jax.hessian(lambda a: jnp.sum(f(a) ** 2))(jnp.eye(6))
    assert bool(jnp.all(jnp.isfinite(second)))


def test_one_triangle_is_read_and_the_derivative_is_hermitian():
    a = sample((6, 6), np.complex128, "eigh")
    lower = jnp.tril(a)

    def loss(eigh, a, **options):
        values, Q = eigh(a, **options)
        return jnp.sum(jnp.exp(values[:3]) * jnp.abs(Q[0, :3]) ** 2)

    expected = jax.grad(lambda a: loss(jnp.linalg.eigh, a))(a)
    for options in ({}, {"k": 3, "which": "SA"}):
        got = jax.grad(lambda a, o=options: loss(linalg.eigh, a, symmetrize_input=False, **o))(lower)
        assert error(got, expected) <= 1e-12


def test_the_diagonal_of_one_triangle_is_real():
    """As LAPACK reads it, which ignores an imaginary part."""
    a = sample((6, 6), np.complex128, "eigh")
    given = jnp.tril(a) + 1j * jnp.eye(6, dtype=a.dtype)
    np.testing.assert_allclose(linalg.eigh(given, symmetrize_input=False)[0], jnp.linalg.eigvalsh(a), atol=1e-14)


def test_what_is_not_symmetric_is_symmetrised():
    a = jnp.asarray(random(np.random.default_rng(0), (6, 6)))
    np.testing.assert_allclose(linalg.eigh(a)[0], jnp.linalg.eigh(a)[0], atol=1e-14)
    np.testing.assert_allclose(linalg.eigvalsh(a, k=2, which="SA"), jnp.linalg.eigvalsh(a)[:2], atol=1e-13)
    np.testing.assert_allclose(linalg.svd(a, hermitian=True)[1], jnp.linalg.svd(a, hermitian=True)[1], atol=1e-14)


def test_operators_and_options_go_with_k():
    rng = np.random.default_rng(0)
    a = jnp.asarray(hermitian(rng, np.linspace(1, 3, 80)))
    operator = truncax.as_operator(a)
    found, _ = linalg.eigh(operator, k=2, which="LA", solver=truncax.Lanczos(), tol=1e-8)
    np.testing.assert_allclose(found, np.linspace(1, 3, 80)[-2:], atol=1e-8)
    np.testing.assert_allclose(linalg.svdvals(operator, k=2), [3.0, 3 - 2 / 79], atol=1e-12)
    reverse = truncax.Implicit(mode="reverse")
    got = jax.grad(lambda a: linalg.svdvals(a, derivative=reverse)[0])(a)
    assert error(got, jax.grad(lambda a: linalg.svdvals(a, k=1)[0])(a)) <= 1e-12


def test_not_a_number_comes_back_as_such_without_k():
    a = jnp.full((3, 3), jnp.nan)
    for found in (linalg.svd(a).S, linalg.svdvals(a), linalg.eigh(a).eigenvalues):
        assert bool(jnp.all(jnp.isnan(found)))
    with pytest.raises(ValueError, match="NaN"):
        linalg.svd(a, k=1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_without_k(dtype):
    a = sample((6, 4), np.float32, "svd").astype(dtype)
    expected = jnp.linalg.svd(a.astype(jnp.float32))
    for found in (linalg.svdvals(a), linalg.svd(a).S, linalg.svd(a, full_matrices=False).S):
        assert found.dtype == dtype
        np.testing.assert_allclose(found.astype(np.float32), expected.S, rtol=1e-2)
    assert linalg.svd(a).U.shape == (6, 6)


def test_a_part_takes_the_options_too():
    a = sample((40, 30), np.float64, "svd")
    found = linalg.svd(a, subset_by_index=(1, 3), solver=truncax.GolubKahan(), tol=1e-9)
    np.testing.assert_allclose(found.S, jnp.linalg.svdvals(a)[1:3], atol=1e-9)


def test_it_traces():
    a = sample((2, 6, 6), np.float64, "svd")
    f = jax.jit(linalg.svd, static_argnames=("k", "full_matrices"))
    np.testing.assert_allclose(f(a, k=2).S, jnp.linalg.svd(a).S[:, :2], atol=1e-13)
    np.testing.assert_allclose(jax.vmap(linalg.svdvals)(a), jnp.linalg.svdvals(a), atol=1e-13)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda a: linalg.svd(a, k=0), ValueError, "k must be between 1"),
        (lambda a: linalg.svd(a, k=2, subset_by_index=(0, 2)), ValueError, "leave one out"),
        (lambda a: linalg.svd(a, subset_by_index=(2, 9)), ValueError, "subset_by_index must be"),
        (lambda a: linalg.svd(a, subset_by_index=3), TypeError, "pair of ints"),
        (lambda a: linalg.svd(a, subset_by_index=(1.5, 3)), TypeError, "pair of ints"),
        (lambda a: linalg.svd(a, subset_by_index=(True, 3)), TypeError, "pair of ints"),
        (lambda a: linalg.svd(a, subset_by_index=(0, 4), tol=1e-3), ValueError, "tol has no use without k"),
        (lambda a: linalg.svd(a[:3], derivative=truncax.Implicit()), ValueError, "derivative has no use for all"),
        (lambda a: linalg.svd(a, tol=1e-3), ValueError, "tol has no use without k"),
        (lambda a: linalg.svd(a, k=2, which="SM"), TypeError, "which is no argument"),
        (lambda a: linalg.svd(truncax.as_operator(a)), TypeError, "without k only an array"),
        (lambda a: linalg.svd(a[:, :2], hermitian=True), ValueError, "square"),
        (lambda a: linalg.svd(a[0]), ValueError, "two dimensions"),
        (lambda a: linalg.svd([[1.0]]), TypeError, "must be an array"),
        (lambda a: linalg.eigh(a, k=2), ValueError, "which must be 'LA'"),
        (lambda a: linalg.eigh(a, k=2, which="XX"), ValueError, "which must be one of 'LA', 'SA'"),
        (lambda a: linalg.eigh(a, k=2, which="LM"), ValueError, "truncax.teigh has which='LM'"),
        (lambda a: linalg.svd(a, 2), TypeError, "full_matrices must be a bool, got 2.*by name"),
        (lambda a: linalg.eigh(a, which="LA"), ValueError, "no use without k"),
        (lambda a: linalg.eigh(a, UPLO="X"), ValueError, "UPLO must be one of"),
        (lambda a: linalg.eigh(a[:, :2]), ValueError, "square"),
        (
            lambda a: linalg.eigh(truncax.as_operator(a), symmetrize_input=False, k=1, which="LA"),
            ValueError,
            "symmetrize_input=False reads one triangle",
        ),
        (lambda a: linalg.svdvals(x=a), TypeError, "positional"),
    ],
)
def test_bad_arguments(call, kind, message):
    with pytest.raises(kind, match=message):
        call(jnp.eye(4))


def test_new_values_are_not_compiled_again(caplog):
    """Batches, one by one and in gradients; with k and without."""

    def calls(a):
        linalg.svd(a, k=2)
        linalg.svdvals(a)
        jax.grad(lambda a: jnp.sum(linalg.svd(a).Vh ** 3))(a)
        jax.grad(lambda a: jnp.sum(linalg.eigh(a, k=2, which="SA")[0] ** 3))(a)

    a = sample((3, 7, 7), np.float64, "eigh")
    other = a + 1
    calls(a)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        calls(other)
    assert not [r for r in caplog.records if r.getMessage().startswith("Compiling")]
