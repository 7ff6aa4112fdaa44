"""Operators given by functions: every form against the dense array, closures, pytrees, and what is refused."""

from dataclasses import dataclass

import checks
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from profiles import crossed, few
from references import cut_spectrum, error, hermitian, matrix, random

import truncax
from truncax import GolubKahan, Implicit, Lanczos, linear_operator
from truncax.operators.function import FunctionOperator

K = checks.K
SHAPE = (20, 32)


def product(x, a):
    return checks.mm(a, x)


def adjoint_product(y, a):
    return checks.mm(jnp.conj(a.T), y)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Duck:
    """The methods that lineax operators have, on vectors that are pytrees of two parts."""

    matrix: jax.Array

    def mv(self, x):
        return (product(jnp.concatenate([x["a"].reshape(-1), x["b"]]), self.matrix),)

    def transpose(self):
        return DuckTransposed(self.matrix)

    def in_structure(self):
        n, dtype = self.matrix.shape[1], self.matrix.dtype
        return {"a": jax.ShapeDtypeStruct((2, 3), dtype), "b": jax.ShapeDtypeStruct((n - 6,), dtype)}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DuckTransposed:
    matrix: jax.Array

    def mv(self, y):
        x = product(y[0], self.matrix.T)
        return {"a": x[:6].reshape(2, 3), "b": x[6:]}


FORMS = {
    "closure": lambda a: linear_operator(lambda x: product(x, a), shape=a.shape, dtype=a.dtype),
    "lineax": Duck,
    "argument": lambda a: linear_operator(product, a, shape=a.shape),
    "adjoint given": lambda a: linear_operator(product, a, shape=a.shape, rmatvec=adjoint_product),
    "block given": lambda a: linear_operator(product, a, shape=a.shape, matmat=product),
    "partial": lambda a: linear_operator(jax.tree_util.Partial(checks.mm, a), shape=a.shape),
    "example": lambda a: linear_operator(product, a, like=jnp.zeros(a.shape[1], a.dtype)),
}


def flat(leaves, k):
    """The rows of a result with leaves ``(k,) + shape``."""
    return jnp.concatenate([leaf.reshape(k, -1) for leaf in jax.tree.leaves(leaves)], axis=1)


def singular_loss(operator, w, solver, mode):
    U, S, Vh = truncax.tsvd(operator, K, solver=solver, derivative=Implicit(mode=mode))
    return checks.triplet_loss(flat(jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), U), K).T, S, flat(Vh, K), w)


def orders(of, w, d, solver, mode, second):
    """Value, gradient and, if ``second``, a product with the Hessian."""

    def loss(a):
        return singular_loss(of(a), w, solver, mode)

    def all_orders(a):
        product = jax.grad(lambda a: jnp.sum((jax.grad(loss)(a) * d).real))(a) if second else a
        return *jax.value_and_grad(loss)(a), product

    return jax.jit(all_orders)


@pytest.fixture(scope="module")
def expected():
    """The same of the array."""
    found = {}
    for complex_ in (False, True):
        a, w, d, *_ = checks.svd_problem(SHAPE, complex_)
        found[complex_] = orders(lambda a: a, w, d, truncax.Dense(), "all", True)(a)
    return found


@crossed("form, complex_, mode", FORMS, [True, False], ["reverse", "all"], rows=6)
def test_the_forms_agree_with_the_array(expected, form, complex_, mode):
    a, w, d, *_ = checks.svd_problem(SHAPE, complex_)
    make = FORMS[form]
    solver = GolubKahan() if form == "argument" else truncax.Dense()
    second = form in ("closure", "lineax")
    found = orders(make, w, d, solver, mode, second)(a)
    for got, reference in list(zip(found, expected[complex_], strict=True))[: 2 + second]:
        assert error(got, reference) <= 1e-10
    if form == "closure":
        tangent = jax.jit(lambda a: jax.jvp(lambda a: singular_loss(make(a), w, solver, "all"), (a,), (d,))[1])(a)
        assert error(tangent, jnp.sum(expected[complex_][1] * d).real) <= 1e-10


@pytest.mark.parametrize("mode", ["all", "reverse"])
def test_hermitian_functions(mode):
    """With the word ``hermitian`` the cotangent is that of the function; without it, it is symmetrised."""
    a, w, *_ = checks.eigh_problem("LA", True)

    def gradient(of):
        def loss(a):
            return checks.pair_loss(*truncax.teigh(of(a), K, which="LA", derivative=Implicit(mode=mode)), w)

        return jax.jit(jax.grad(loss))(a)

    expected = gradient(lambda a: a)
    declared = gradient(lambda a: linear_operator(product, a, shape=a.shape[0], hermitian=True))
    assert error(gradient(lambda a: linear_operator(product, a, shape=a.shape[0])), expected) <= 1e-10
    assert error((declared + jnp.conj(declared.T)) / 2, expected) <= 1e-10
    assert error(declared, expected) > 1e-2


def chain(x, potential, neighbours):
    return potential * x - x[neighbours] - x[jnp.roll(neighbours, -2)]


N = 40
NEIGHBOURS = jnp.roll(jnp.arange(N), 1)


def ground(potential, neighbours, mode):
    """The lowest two values and their projector, of a chain that closes over a float and an integer array."""
    operator = linear_operator(lambda x: chain(x, potential, neighbours), shape=N, hermitian=True)
    Q, H = truncax.invariant_subspace(
        operator, 2, which="SA", solver=Lanczos(ncv=16), derivative=Implicit(mode=mode), tol=1e-13
    )
    return jnp.trace(H) + jnp.sum((Q[:5] @ H @ Q.T) ** 2)


@pytest.mark.parametrize("mode", few(["all"], ["reverse"]))
def test_closures_over_traced_floats_and_integers(mode):
    """``jax.closure_convert`` hoists floats only: the integers then leave the scope they were traced in."""
    potential = jnp.asarray(np.random.default_rng(0).uniform(0, 3, N))
    batch = jnp.stack([potential, potential[::-1]])

    def dense(potential):
        a = jax.vmap(lambda e: chain(e, potential, NEIGHBOURS))(jnp.eye(N))
        values, Q = jnp.linalg.eigh(a)
        H, Q = jnp.diag(values[:2]), Q[:, :2]
        return jnp.trace(H) + jnp.sum((Q[:5] @ H @ Q.T) ** 2)

    expected = jax.jit(jax.grad(dense))(potential)
    loss = lambda p, i: ground(p, i, mode)  # noqa: E731
    twice = jnp.stack([NEIGHBOURS] * 2)
    scanned = lambda p: jax.lax.scan(lambda c, i: (c + jax.checkpoint(loss)(p, i), None), 0.0, twice)[0]  # noqa: E731
    assert error(jax.grad(jax.jit(loss))(potential, NEIGHBOURS), expected) <= 1e-9
    assert error(jax.jit(jax.grad(scanned))(potential), 2 * expected) <= 1e-9
    mapped = jax.jit(jax.grad(lambda p: jnp.sum(jax.vmap(loss)(p, twice))))(batch)
    assert error(mapped, jnp.stack([expected, jax.jit(jax.grad(dense))(batch[1])])) <= 1e-9


def test_arguments_do_not_compile_again_and_operators_pass_through_jit():
    traces = []

    def counted(x, a):
        traces.append(x.shape)
        return product(x, a)

    a = checks.svd_problem(SHAPE, False)[0]
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **__: compiled.append(event) if "backend_compile" in event else None
    )

    def values(scale):
        operator = linear_operator(counted, scale * a, shape=SHAPE)
        return truncax.tsvd(operator, 2, solver=GolubKahan()).S

    first, double = values(1.0), values(2.0)
    number = len(compiled)
    triple = values(3.0)
    assert number > 0
    assert len(compiled) == number
    np.testing.assert_allclose(double, 2 * first, rtol=1e-12)
    np.testing.assert_allclose(triple, 3 * first, rtol=1e-12)
    through = jax.jit(lambda operator: truncax.tsvd(operator, 2, solver=GolubKahan()).S)
    np.testing.assert_allclose(through(linear_operator(counted, a, shape=SHAPE)), first, rtol=1e-12)
    again, number = linear_operator(counted, 3.0 * a, shape=SHAPE), len(compiled)
    triple = through(again)
    assert len(compiled) == number
    np.testing.assert_allclose(triple, 3 * first, rtol=1e-12)


FACTOR = 1.0


def test_a_function_whose_surroundings_changed_is_traced_again():
    def scaled(x):
        return FACTOR * jnp.arange(1.0, 6.0) * x

    def largest():
        return truncax.teigh(linear_operator(scaled, shape=5, hermitian=True), 1).eigenvalues[0]

    global FACTOR
    assert abs(largest() - 5) <= 1e-12
    FACTOR = 2.0
    assert abs(largest() - 10) <= 1e-12


def test_blocks_go_through_the_users_function():
    widths = []

    def block(x, a):
        widths.append(x.shape)
        return checks.mm(a, x)

    a = checks.svd_problem(SHAPE, False)[0]
    solver = GolubKahan(block_size=4, ncv=16)
    result = truncax.tsvd(linear_operator(product, a, shape=SHAPE, matmat=block), K, solver=solver)
    np.testing.assert_allclose(result.S, np.linalg.svd(a)[1][:K], rtol=1e-12)
    assert (32, 4) in widths


def network(params, x):
    return jnp.tanh(x @ params["w"] + params["b"][None, :]) @ params["out"]


def curvature(v, params, x, y):
    loss = lambda p: jnp.mean((network(p, x) - y) ** 2)  # noqa: E731
    return jax.jvp(jax.grad(loss), (params,), (v,))[1]


def test_the_top_of_a_hessian_comes_as_trees_of_parameters():
    rng = np.random.default_rng(1)
    params = {"w": rng.normal(size=(3, 5)), "b": rng.normal(size=5), "out": rng.normal(size=(5,))}
    params = jax.tree.map(jnp.asarray, params)
    x, y = jnp.asarray(rng.normal(size=(30, 3))), jnp.asarray(rng.normal(size=30))
    flat_params, unravel = jax.flatten_util.ravel_pytree(params)

    def sharpness(params):
        operator = linear_operator(curvature, params, x, y, like=params, hermitian=True)
        return jnp.sum(truncax.teigh(operator, 2, which="LA", solver=Lanczos(ncv=12)).eigenvalues)

    def full(vector):
        return jnp.sum(
            jnp.linalg.eigvalsh(jax.hessian(lambda v: jnp.mean((network(unravel(v), x) - y) ** 2))(vector))[-2:]
        )

    operator = linear_operator(curvature, params, x, y, like=params, hermitian=True)
    values, vectors = truncax.teigh(operator, 2, which="LA", solver=Lanczos(ncv=12), v0=params)
    assert jax.tree.map(jnp.shape, vectors) == {"w": (3, 5, 2), "b": (5, 2), "out": (5, 2)}
    for j in range(2):
        vector = jax.tree.map(lambda leaf, j=j: leaf[..., j], vectors)
        residual = jax.tree.map(lambda p, q, j=j: p - values[j] * q, curvature(vector, params, x, y), vector)
        assert max(jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(residual)) <= 1e-11 * values[0]
    gradient = jax.flatten_util.ravel_pytree(jax.grad(sharpness)(params))[0]
    assert error(gradient, jax.grad(full)(flat_params)) <= 1e-10


def test_the_jacobian_of_a_network_between_trees():
    rng = np.random.default_rng(2)
    params = {"w": jnp.asarray(rng.normal(size=(3, 5))), "b": jnp.asarray(rng.normal(size=5))}
    x = jnp.asarray(rng.normal(size=(4, 3)))

    def outputs(params):
        hidden = jnp.tanh(x @ params["w"] + params["b"][None, :])
        return {"mean": jnp.mean(hidden, axis=0), "first": hidden[:2]}

    operator = linear_operator(lambda v: jax.jvp(outputs, (params,), (v,))[1], like=params)
    U, S, Vh = truncax.tsvd(operator, 3)
    assert jax.tree.map(jnp.shape, (U, Vh)) == (
        {"mean": (5, 3), "first": (2, 5, 3)},
        {"w": (3, 3, 5), "b": (3, 5)},
    )
    vector, unravel = jax.flatten_util.ravel_pytree(params)
    jacobian = jax.jacobian(lambda v: jax.flatten_util.ravel_pytree(outputs(unravel(v)))[0])(vector)
    np.testing.assert_allclose(S, np.linalg.svd(jacobian)[1][:3], rtol=1e-12)


def test_dtypes():
    a = np.diag([5.0, 4.0, 2.0, 1.0, 0.5])
    single = jnp.asarray(a, jnp.float32)
    assert truncax.tsvd(linear_operator(product, single, shape=5), 2).S.dtype == jnp.float32
    assert linear_operator(lambda x: checks.mm(jnp.asarray(1j * a), x), shape=5, dtype=complex).dtype == jnp.complex128
    with jax.numpy_dtype_promotion("standard"):
        assert linear_operator(lambda x: jnp.asarray(1j * a) @ x, shape=5).dtype == jnp.complex128
    half = {"x": jnp.zeros(5, jnp.bfloat16)}
    double = linear_operator(lambda v: {"x": v["x"] * jnp.arange(5, dtype=jnp.bfloat16)}, like=half, hermitian=True)
    values, vectors = truncax.teigh(double, 1)
    assert values.dtype == jnp.float32
    assert vectors["x"].dtype == jnp.bfloat16
    np.testing.assert_allclose(values, [4.0], rtol=1e-2)
    with jax.enable_x64(False):
        operator = linear_operator(product, a, shape=5)
        assert operator.dtype == jnp.float32
        with pytest.raises(TypeError, match="dtype=float64 needs double precision"):
            linear_operator(product, a, shape=5, dtype=np.float64)


@jax.custom_vjp
def reverse_only(a, x):
    return checks.mm(a, x)


reverse_only.defvjp(
    lambda a, x: (checks.mm(a, x), (a, x)), lambda r, g: (g[:, None] * r[1][None, :], checks.mm(r[0].T, g))
)


@pytest.mark.parametrize("hermitian_", [True, False])
def test_a_product_with_a_rule_for_reverse_mode_only(hermitian_):
    a, w, d, *_ = checks.eigh_problem("LA", False)

    def loss(a, of, mode):
        return checks.pair_loss(*truncax.teigh(of(a), K, which="LA", derivative=Implicit(mode=mode)), w)

    def own(a):
        return linear_operator(lambda x: reverse_only(a, x), shape=a.shape[0], hermitian=hermitian_)

    gradient = jax.jit(jax.grad(lambda a: loss(a, own, "reverse")))(a)
    expected = jax.jit(jax.grad(lambda a: loss(a, lambda a: a, "all")))(a)
    assert error((gradient + gradient.T) / 2, expected) <= 1e-10
    if hermitian_:
        again = jax.jit(jax.grad(lambda a: jnp.sum(jax.grad(lambda a: loss(a, own, "reverse"))(a) * d)))(a)
        reference = jax.jit(jax.grad(lambda a: jnp.sum(jax.grad(lambda a: loss(a, lambda a: a, "all"))(a) * d)))(a)
        assert error((again + again.T) / 2, reference) <= 1e-9
    with pytest.raises(TypeError, match=r"reverse mode alone: .*Implicit\(mode='reverse'\)"):
        jax.jvp(lambda a: loss(a, own, "all"), (a,), (d,))
    with pytest.raises(TypeError, match="has no forward mode"):
        jax.jvp(lambda a: loss(a, own, "reverse"), (a,), (d,))


D = np.diag(np.arange(1.0, 8.0))
UPPER = jnp.asarray(np.triu(np.ones((7, 7))) + D)


@pytest.mark.parametrize(
    ("operator", "hermitian_", "message"),
    [
        (lambda: linear_operator(lambda x: D @ x + x**2, shape=7), False, "a must be a linear operator"),
        (lambda: linear_operator(lambda x: D @ x + 1, shape=7), False, "a must be a linear operator"),
        (lambda: linear_operator(lambda x: D @ x, shape=7, rmatvec=lambda y: y), False, "a must be a linear operator"),
        (lambda: linear_operator(lambda x: UPPER @ x, shape=7, hermitian=True), True, "a must be Hermitian, but"),
        (lambda: linear_operator(lambda x: UPPER @ x, shape=7), True, "a must be Hermitian, but"),
        (lambda: linear_operator(lambda x: D @ x + x**3, shape=7, hermitian=True), True, "linear and Hermitian"),
        (lambda: linear_operator(lambda x: D @ x * jnp.nan, shape=7), False, "a must be finite"),
    ],
    ids=range(7),
)
def test_what_is_not_linear_or_not_hermitian_is_found(operator, hermitian_, message):
    function = truncax.teigh if hermitian_ else truncax.tsvd
    with pytest.raises(ValueError, match=message):
        function(operator(), 2)
    assert jnp.all(jnp.isnan(jax.jit(lambda: function(operator(), 2)[1])()))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: linear_operator(None, shape=3), TypeError, "matvec must be a function, got NoneType"),
        (lambda: linear_operator(product, D), ValueError, r"give shape=\(m, n\).*or like=x"),
        (lambda: linear_operator(product, D, shape=7, like=D[0]), ValueError, "leave shape and dtype out"),
        (lambda: linear_operator(product, D, shape=(7, 7, 7)), TypeError, r"shape must be \(m, n\).*\(7, 7, 7\)"),
        (lambda: linear_operator(product, D, shape="7"), TypeError, r"shape must be \(m, n\).*'7'"),
        (lambda: linear_operator(product, D, shape=(0, 7)), ValueError, r"shape must be positive, got \(0, 7\)"),
        (
            lambda: linear_operator(product, D, shape=(8, 7)),
            ValueError,
            r"array of shape \(8,\).*array of shape \(7,\)",
        ),
        (lambda: linear_operator(lambda x: (x, x), shape=7), ValueError, r"must return an array of shape \(7,\)"),
        (
            lambda: linear_operator(lambda x: x.astype(int), shape=7),
            TypeError,
            "what matvec returns must hold floating",
        ),
        (
            lambda: linear_operator(lambda x: None, shape=7),
            ValueError,
            "what matvec returns must be a pytree with arrays",
        ),
        (
            lambda: linear_operator(lambda x: x.astype(complex), shape=7, dtype=float),
            TypeError,
            "complex vectors .* of real ones",
        ),
        (lambda: linear_operator(product, D, shape=7, dtype=int), TypeError, "dtype must be a floating-point"),
        (
            lambda: linear_operator(product, "D", shape=7),
            TypeError,
            "arguments of matvec must be arrays.*'D' of type str",
        ),
        (lambda: linear_operator(lambda x: x, like={"x": jnp.arange(3)}), TypeError, "like must hold floating.*int64"),
        (lambda: linear_operator(lambda x: x, like=(D, D * 1j)), TypeError, "like must be all real or all complex"),
        (lambda: linear_operator(lambda x: x[:2], like=D[0], hermitian=True), ValueError, "returns what it takes"),
        (
            lambda: linear_operator(product, D, shape=7, hermitian=True, rmatvec=product),
            ValueError,
            "leave rmatvec out",
        ),
        (lambda: linear_operator(product, D, shape=7, rmatvec=lambda y, a: y[:3]), ValueError, "rmatvec must return"),
        (lambda: linear_operator(product, D, shape=7, matmat=lambda x, a: x[0]), ValueError, "matmat must return"),
        (
            lambda: jax.jit(lambda a: linear_operator(product, D, shape=7, matmat=lambda x, b: a @ x))(D),
            ValueError,
            "matmat closes over a traced array: pass it through args",
        ),
        (
            lambda: truncax.teigh(linear_operator(product, D, shape=7, hermitian=True), 1, solver=truncax.Arpack()),
            TypeError,
            "FunctionOperator has no product outside JAX",
        ),
        (lambda: truncax.tsvd(linear_operator(product, D, like={"x": D[0]}), 1), TypeError, "dict"),
        (
            lambda: truncax.teigh(linear_operator(lambda v: v, like={"x": D}), 1, v0={"y": D}),
            ValueError,
            r"v0 must be a vector like those of the operator.*\(7, 7\)",
        ),
    ],
    ids=range(23),
)
def test_errors_name_what_was_given(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_as_operator():
    a = jnp.asarray(matrix(np.random.default_rng(3), (6, 4), cut_spectrum(4, 2), True))
    dense = truncax.as_operator(a)
    assert truncax.as_operator(dense) is dense
    assert dense.shape == (6, 4)
    x, y = random(np.random.default_rng(4), (4, 2), True), random(np.random.default_rng(5), 6, True)
    np.testing.assert_allclose(dense.apply(jnp.asarray(x)), a @ x, rtol=1e-13)
    np.testing.assert_allclose(dense.H.apply(jnp.asarray(y)), np.conj(a.T) @ y, rtol=1e-13)
    np.testing.assert_allclose(dense.T.apply(jnp.asarray(y)), a.T @ y, rtol=1e-13)
    assert isinstance(truncax.as_operator(Duck(a)), FunctionOperator) if a.shape[1] > 6 else True
    h = hermitian(np.random.default_rng(6), cut_spectrum(6, 2))
    with pytest.raises(ValueError, match="a must be square for an eigenproblem"):
        truncax.teigh(dense, 1)
    np.testing.assert_allclose(truncax.as_operator(h).as_matrix(), h)


def test_functions_that_return_arrays_take_plain_vectors_alone():
    a = jnp.asarray(hermitian(np.random.default_rng(5), np.arange(1.0, 9.0)))
    plain = truncax.linear_operator(lambda x, a: checks.mm(a, x), a, shape=8, hermitian=True)
    for function in (truncax.spectral_projector, truncax.low_rank_approximation):
        np.testing.assert_allclose(function(plain, 3), function(a, 3), atol=1e-13)
        with pytest.raises(TypeError, match="operator on pytrees"):
            function(truncax.linear_operator(lambda x: {"x": 2 * x["x"]}, like={"x": jnp.ones(8)}, hermitian=True), 3)
