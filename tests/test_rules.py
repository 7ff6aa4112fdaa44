"""The rules at given factors: from SciPy, in any order and basis, against the derivative of the decompositions."""

import doctest
import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg
from checks import K, adjoint, eigh_problem, mm, svd_problem
from profiles import LONG, crossed, selected
from references import EPS, error, orthonormal, random

import truncax
from truncax import Implicit, rules
from truncax.operators.dense import DenseOperator

NAMES = ["tsvd", "singular_subspaces", "teigh", "invariant_subspace"]
NAME = pytest.mark.parametrize("name", NAMES)
# For what the four share: vectors once, a basis once.
FEW = pytest.mark.parametrize("name", NAMES if LONG else ["tsvd", "invariant_subspace"])
SVD, EIGH = NAMES[:2], NAMES[2:]
# Two forward solutions of 1e-14 and two solves of 1e-13, over a gap of 0.1.
CLOSE = 1e-11


def rules_of(name):
    return getattr(rules, f"{name}_jvp"), getattr(rules, f"{name}_vjp")


def like(rng, tree):
    return jax.tree.map(lambda x: jnp.asarray(random(rng, x.shape, jnp.iscomplexobj(x)), x.dtype), tuple(tree))


def problem(name, complex_, which="LM", shape=(20, 28)):
    a, _, da, *_ = svd_problem(shape, complex_, which=which) if name in SVD else eigh_problem(which, complex_)
    return a, da


def decomposition(name, which="LM"):
    return partial(getattr(truncax, name), k=K, which=which, solver=truncax.Dense())


# --- SciPy's factors --------------------------------------------------------------------------------------------------


def from_scipy(a, name, which):
    """Ascending, in SciPy's order; the smallest triplets and both ends of a complex matrix by LAPACK."""
    a, rng = np.asarray(a), np.random.default_rng(0)
    if name in SVD:
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        u, s, vh = (u[:, -K:], s[-K:], vh[-K:]) if which == "SM" else scipy.sparse.linalg.svds(a, K, tol=1e-14, rng=rng)
        return (u, s, vh) if name == "tsvd" else (u, u.conj().T @ a @ vh.conj().T, vh)
    if which == "BE":
        values, q = np.linalg.eigh(a)
        values, q = values[[0, 1, -2, -1]], q[:, [0, 1, -2, -1]]
    else:
        values, q = scipy.sparse.linalg.eigsh(a, K, which=which, tol=1e-14, v0=np.ones(len(a)))
    return (values, q) if name == "teigh" else (q, q.conj().T @ a @ q)


def loss_of(name, w):
    """Functions that know neither the order nor the phases of the factors."""

    def triplets(U, S, Vh):
        return jnp.sum(jnp.exp(S) * jnp.sum(jnp.conj(U) * mm(w, adjoint(Vh)), axis=0).real)

    def pairs(values, Q):
        return jnp.sum(jnp.exp(values) * jnp.sum(jnp.conj(Q) * mm(w, Q), axis=0).real)

    return {
        "tsvd": triplets,
        "teigh": pairs,
        "singular_subspaces": lambda U, C, Vh: jnp.sum((jnp.conj(w) * mm(U, C + mm(C, adjoint(C), C), Vh)).real),
        "invariant_subspace": lambda Q, H: jnp.sum((jnp.conj(w) * mm(Q, H + mm(H, H, H), adjoint(Q))).real),
    }[name]


CASES = [
    *selected(SVD, ["LM", "SM"], [True, False], rows=3),
    *selected(EIGH, ["LM", "LA", "SA", "BE"], [True, False]),
]


@pytest.mark.parametrize(("name", "which", "complex_"), CASES)
def test_factors_from_scipy(name, which, complex_):
    """The gradient through SciPy's factors is the one through the decomposition; the tangent is its transpose."""
    a, da = problem(name, complex_, which, shape=(28, 20) if which == "SM" else (20, 28))
    loss = loss_of(name, jnp.asarray(random(np.random.default_rng(2), a.shape, complex_)))
    tangent_of, cotangent_of = rules_of(name)
    factors = tuple(map(jnp.asarray, from_scipy(a, name, which)))
    cotangents = jax.grad(lambda f: loss(*f))(factors)
    expected = jax.jit(jax.grad(lambda a: loss(*decomposition(name, which)(a))))(a)
    for mode in ("all", "reverse"):
        gradient = cotangent_of(a, factors, cotangents, which=which, derivative=Implicit(mode=mode))
        assert error(gradient, expected) <= CLOSE, mode
    tangent = tangent_of(a, factors, da, which=which)
    assert [x.shape for x in tangent] == [x.shape for x in factors]
    left = sum(jnp.sum(x * y).real for x, y in zip(cotangents, tangent, strict=True))
    right = jnp.sum(expected * da).real
    assert abs(left - right) <= CLOSE * jnp.linalg.norm(expected) * jnp.linalg.norm(da)


@pytest.mark.parametrize("name", ["singular_subspaces", "invariant_subspace"])
def test_any_basis_of_the_subspaces(name):
    """``C`` and ``H`` need not be diagonal: a rotated basis has the rotated derivative."""
    rng = np.random.default_rng(3)
    a, da = problem(name, True)
    middle = from_scipy(a, name, "LM")
    u, v = orthonormal(rng, K, K, True), orthonormal(rng, K, K, True)
    tangent_of, _ = rules_of(name)
    if name in SVD:
        U, C, Vh = middle
        dU, dC, dVh = tangent_of(a, middle, da)
        turned = tangent_of(a, (U @ u, u.conj().T @ C @ v, v.conj().T @ Vh), da)
        expected = dU @ u, u.conj().T @ dC @ v, v.conj().T @ dVh
    else:
        Q, H = middle
        dQ, dH = tangent_of(a, middle, da)
        turned = tangent_of(a, (Q @ u, u.conj().T @ H @ u), da)
        expected = dQ @ u, u.conj().T @ dH @ u
    for x, y in zip(turned, expected, strict=True):
        assert error(x, y) <= CLOSE


# --- the library's own factors: equal to jax.jvp and jax.vjp to rounding ----------------------------------------------


@crossed("name, complex_", NAMES, [False, True])
def test_equal_to_the_derivative_of_the_decomposition(name, complex_):
    a, da = problem(name, complex_)
    function = decomposition(name)
    tangent_of, cotangent_of = rules_of(name)
    factors, expected = jax.jvp(function, (a,), (da,))
    tangent = tangent_of(a, factors, da)
    assert type(tangent) is type(factors)
    for x, y in zip(tangent, expected, strict=True):
        assert x.dtype == y.dtype
        assert error(x, y) <= 1e4 * EPS
    w = like(np.random.default_rng(4), factors)
    (gradient,) = jax.vjp(function, a)[1](type(factors)(*w))
    for mode in ("all", "reverse"):
        assert error(cotangent_of(a, factors, w, derivative=Implicit(mode=mode)), gradient) <= 1e4 * EPS


@NAME
def test_none_is_a_zero_cotangent(name):
    a, _ = problem(name, False)
    factors = decomposition(name)(a)
    _, cotangent_of = rules_of(name)
    w = like(np.random.default_rng(5), factors)
    for i in range(len(w)):
        partly = tuple(x if i == j else None for j, x in enumerate(w))
        zeros = tuple(x if i == j else jnp.zeros_like(x) for j, x in enumerate(w))
        np.testing.assert_array_equal(cotangent_of(a, factors, partly), cotangent_of(a, factors, zeros))


@crossed("name, mode", NAMES, ["all", "reverse"])
def test_differentiable_again(name, mode):
    """A second derivative with constant factors from SciPy is the full one: the factors count as functions of a."""
    a, da = problem(name, True)
    w = jnp.asarray(random(np.random.default_rng(6), a.shape, True))
    loss = loss_of(name, w)
    factors = tuple(map(jnp.asarray, from_scipy(a, name, "LM")))
    _, cotangent_of = rules_of(name)
    cotangents = jax.grad(lambda f: loss(*f))(factors)

    def linear(f):
        return sum(jnp.sum(x * y).real for x, y in zip(f, cotangents, strict=True))

    def by_rules(a):
        return jnp.sum((cotangent_of(a, factors, cotangents, derivative=Implicit(mode=mode)) * da).real)

    # The loss that is linear in the factors depends on their gauge; the decomposition is given SciPy's by its phases.
    def by_decomposition(a):
        _, tangent = jax.jvp(lambda a: attached(name, a, factors), (a,), (da,))
        return linear(tangent)

    assert error(jax.jit(jax.grad(by_rules))(a), jax.jit(jax.grad(by_decomposition))(a)) <= 1e-9


def attached(name, a, factors):
    """The decomposition of ``a`` by the tangent rule alone, as a function whose value is ``factors``."""
    tangent_of, _ = rules_of(name)

    @jax.custom_jvp
    def identity(a):
        return factors

    @identity.defjvp
    def _(primals, tangents):
        return identity(*primals), tuple(tangent_of(primals[0], factors, tangents[0]))

    return identity(a)


@pytest.mark.parametrize("name", ["tsvd", "teigh"])
def test_a_decomposition_of_your_own(name):
    """SciPy's solver with this backward pass, in a loss and under reverse over reverse."""
    a, da = problem(name, False)
    a, da = a.real, da.real
    w = jnp.asarray(random(np.random.default_rng(7), a.shape))
    loss = loss_of(name, w)
    shapes = jax.eval_shape(lambda a: tuple(decomposition(name)(a)), a)
    _, cotangent_of = rules_of(name)

    @jax.custom_vjp
    def own(a):
        return jax.pure_callback(lambda a: tuple(np.ascontiguousarray(x) for x in from_scipy(a, name, "LM")), shapes, a)

    def forward(a):
        factors = own(a)
        return factors, (a, factors)

    own.defvjp(forward, lambda r, w: (cotangent_of(*r, w),))

    def orders(function):
        gradient = jax.grad(lambda a: loss(*function(a)))
        return gradient, jax.grad(lambda a: jnp.sum(gradient(a) * da))

    for got, expected in zip(orders(own), orders(decomposition(name)), strict=True):
        assert error(got(a), jax.jit(expected)(a)) <= 1e-9


# --- operators, dtypes, scales, transformations -----------------------------------------------------------------------


@FEW
def test_operators(name):
    """An operator in, an operator with the cotangents of its leaves out."""
    a, da = problem(name, True)
    factors = decomposition(name)(a)
    tangent_of, cotangent_of = rules_of(name)
    w = like(np.random.default_rng(8), factors)
    gradient = cotangent_of(DenseOperator(a), factors, w)
    assert isinstance(gradient, DenseOperator)
    np.testing.assert_allclose(gradient.array, cotangent_of(a, factors, w), rtol=1e-11, atol=1e-13)
    for x, y in zip(tangent_of(DenseOperator(a), factors, DenseOperator(da)), tangent_of(a, factors, da), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-13)
    with pytest.raises(ValueError, match="da must have the structure of a"):
        tangent_of(DenseOperator(a), factors, da)


@crossed("name, dtype", NAMES, ["float16", "float32", "complex64", "int32"], rows=6)
def test_dtypes(name, dtype):
    """The result is in the dtype of ``a``, whatever the dtype of the factors; NumPy arrays are welcome."""
    a = np.diag([9, 7, 5, 4, 2, 1, 1]).astype(dtype)
    result = np.float64 if dtype == "int32" else dtype
    tangent_of, cotangent_of = rules_of(name)
    # NumPy has no half precision decompositions.
    e = np.eye(7)[:, :4]
    values = np.array([9.0, 7, 5, 4])
    factors = {
        "tsvd": (e, values, e.T),
        "singular_subspaces": (e, np.diag(values), e.T),
        "teigh": (values, e),
        "invariant_subspace": (e, np.diag(values)),
    }[name]
    gradient = cotangent_of(a, factors, tuple(np.ones_like(x) for x in factors))
    assert gradient.dtype == result
    assert gradient.shape == a.shape
    tangent = tangent_of(a, factors, np.ones_like(a))
    values_dtype = np.dtype(result).type(0).real.dtype if name in ("tsvd", "teigh") else result
    position = {"teigh": 0}.get(name, 1)
    assert tangent[position].dtype == values_dtype
    assert tangent[1 - position].dtype == result


@pytest.mark.parametrize(("name", "scale"), list(zip(NAMES, [1e-150, 1e150] * 2, strict=True)))
def test_scales(name, scale):
    """The squares of the entries leave the exponent range; the derivative does not notice."""
    a, da = problem(name, False)
    tangent_of, _ = rules_of(name)
    factors = decomposition(name)(a)
    middle = 0 if name == "teigh" else 1
    scaled = tuple(x * scale if i == middle else x for i, x in enumerate(factors))
    for x, y in zip(tangent_of(a * scale, scaled, da * scale), tangent_of(a, factors, da), strict=True):
        size = scale if x.shape == factors[middle].shape else 1.0
        assert error(x / size, y) <= CLOSE


@FEW
def test_jit_and_vmap(name):
    a, da = problem(name, False)
    tangent_of, cotangent_of = rules_of(name)
    batch = jnp.stack([a, a + da * 1e-3])
    factors = jax.vmap(decomposition(name))(batch)
    w = like(np.random.default_rng(9), factors)
    gradients = jax.jit(jax.vmap(lambda a, f, w: cotangent_of(a, tuple(f), w)))(batch, factors, w)
    tangents = jax.jit(jax.vmap(lambda a, f: tangent_of(a, tuple(f), da)))(batch, factors)
    for i in range(2):
        one, w_one = tuple(x[i] for x in factors), tuple(x[i] for x in w)
        assert error(gradients[i], cotangent_of(batch[i], one, w_one)) <= 1e4 * EPS
        for x, y in zip(tangents, tangent_of(batch[i], one, da), strict=True):
            assert error(x[i], y) <= 1e4 * EPS


@FEW
def test_a_failed_solve_is_nan(name):
    a, _ = problem(name, False)
    factors = decomposition(name)(a)
    tangent_of, cotangent_of = rules_of(name)
    once = Implicit(max_steps=1)
    w = like(np.random.default_rng(10), factors)
    for mode in ("all", "reverse"):
        assert jnp.all(jnp.isnan(cotangent_of(a, factors, w, derivative=Implicit(max_steps=1, mode=mode))))
    vectors = tangent_of(a, factors, jnp.ones_like(a), derivative=once)[1 if name == "teigh" else 0]
    assert jnp.all(jnp.isnan(vectors))


# --- errors and documentation -----------------------------------------------------------------------------------------

A, E = np.diag([5.0, 4, 3, 2, 1]), np.eye(5)[:, :2]
S = np.array([5.0, 4.0])
F = (E, S, E.T)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: rules.tsvd_vjp(A[None], F, F), ValueError, r"one matrix \(m, n\), got shape \(1, 5, 5\).*jax\.vmap"),
        (lambda: rules.tsvd_vjp("A", F, F), TypeError, r"a must be an array .*LinearOperator.*str"),
        (lambda: rules.tsvd_vjp(A, (E, S), F), TypeError, r"expected the tuple \(U, S, Vh\), got tuple of length 2"),
        (lambda: rules.tsvd_vjp(A, E, F), TypeError, r"expected the tuple \(U, S, Vh\), got ndarray"),
        (lambda: rules.tsvd_vjp(A, (E.T, S, E), F), ValueError, r"U must have shape \(5, k\).*got \(2, 5\)"),
        (lambda: rules.tsvd_vjp(A, (E, S, E), F), ValueError, r"Vh must have shape \(2, 5\), got \(5, 2\)"),
        (lambda: rules.tsvd_vjp(A, (E, np.diag(S), E.T), F), ValueError, r"S must have shape \(2,\), got \(2, 2\)"),
        (lambda: rules.tsvd_vjp(A, (E, S * 1j, E.T), F), TypeError, r"S must be real, got dtype complex128"),
        (lambda: rules.tsvd_vjp(A, (E * 1j, S, E.T), F), TypeError, r"U must be real"),
        (lambda: rules.tsvd_vjp(A, F, (E, S, E)), ValueError, r"Vhbar must have shape \(2, 5\), got \(5, 2\)"),
        (lambda: rules.tsvd_vjp(A, F, S), TypeError, r"expected the tuple \(Ubar, Sbar, Vhbar\), got ndarray"),
        (lambda: rules.tsvd_vjp(A, F, F, which="LA"), ValueError, r"which must be one of 'LM', 'SM', got 'LA'"),
        (lambda: rules.tsvd_jvp(A, F, A[:4]), ValueError, r"da must have shape \(5, 5\), got \(4, 5\)"),
        (lambda: rules.tsvd_jvp(A, F, A * 1j), TypeError, r"da must be real"),
        (lambda: rules.tsvd_jvp(A, F, None), TypeError, r"da must be a numeric NumPy or JAX array; got NoneType"),
        (lambda: rules.tsvd_jvp(A, F, A, derivative=1), TypeError, r"derivative must be None or truncax\.Implicit"),
        (lambda: rules.tsvd_jvp(A, F, A, derivative=Implicit(mode="reverse")), ValueError, r"needs forward mode"),
        (lambda: rules.tsvd_jvp(A, F, A, derivative=Implicit(polish=1)), ValueError, r"used as they are, got polish"),
        (lambda: rules.singular_subspaces_vjp(A, F, F), ValueError, r"C must have shape \(2, 2\), got \(2,\)"),
        (
            lambda: rules.singular_subspaces_jvp(A, F, A, derivative=Implicit(degeneracy_rtol=1e-3)),
            ValueError,
            r"degeneracy_rtol has no use for subspaces",
        ),
        (lambda: rules.teigh_vjp(A[:4], (S, E), (S, E)), ValueError, r"a must be square.*got shape \(4, 5\)"),
        (lambda: rules.teigh_vjp(A, (E, S), (S, E)), ValueError, r"eigenvectors must have shape \(5, k\).*got \(2,\)"),
        (lambda: rules.teigh_vjp(A, (S, E), (S, E), which="SM"), ValueError, r"which must be one of 'LM', 'LA'"),
        (lambda: rules.invariant_subspace_jvp(A, (E, S), A), ValueError, r"H must have shape \(2, 2\), got \(2,\)"),
    ],
    ids=range(24),
)
def test_errors_name_what_was_given(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_the_rules_are_there_after_import_truncax():
    assert truncax.rules is rules
    names = [f"{name}_{kind}" for name in NAMES for kind in ("jvp", "vjp")]
    assert rules.__all__ == sorted(["derivative_info", *names])


@pytest.mark.parametrize("name", rules.__all__)
def test_documentation(name):
    function = getattr(rules, name)
    text = inspect.getdoc(function)
    for section in ("Args:", "Returns:", "Raises:", "Derivative:", "Example", "Source:", ">>> "):
        assert section in text, section
    for parameter in inspect.signature(function).parameters:
        assert f"\n    {parameter}: " in text, parameter
    runner = doctest.DocTestRunner()
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for example in doctest.DocTestFinder(recurse=False).find(function, name):
            assert example.examples
            runner.run(example)
    assert runner.summarize().failed == 0
