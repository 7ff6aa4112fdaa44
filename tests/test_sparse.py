"""Sparse matrices of JAX and SciPy: values, gradients on the pattern, and never a dense array of the shape of a."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from checks import full_eigh_loss, full_svd_loss, pair_loss, triplet_loss
from jax.experimental import sparse
from jax.experimental.sparse import BCOO, BCSR
from profiles import crossed, few
from references import error, random

import truncax
from truncax.operators import chunks as chunks_module
from truncax.operators.convert import as_operator, given_matrix
from truncax.operators.operator import LinearOperator

K = 4
SHAPE = (40, 30)


def entries(rng, shape, count, complex_=False):
    """Unsorted places, some of them twice, one row empty, four entries of padding."""
    row, column = rng.integers(1, shape[0], count), rng.integers(0, shape[1], count)
    row[:5], column[:5] = row[5:10], column[5:10]
    row, column = np.append(row, [shape[0]] * 4), np.append(column, [shape[1]] * 4)
    return random(rng, count + 4, complex_), np.stack([row, column], axis=1).astype(np.int32)


def rectangular(complex_=False, seed=0):
    data, indices = entries(np.random.default_rng(seed), SHAPE, 300, complex_)
    return jnp.asarray(data), jnp.asarray(indices)


def symmetric(complex_=False, n=32, seed=0):
    """A Hermitian matrix whose entries are stored as they came: both triangles, the diagonal in two parts, padding."""
    rng = np.random.default_rng(seed)
    data, indices = entries(rng, (n, n), 120, complex_)
    diagonal = np.arange(n)
    data = np.concatenate([data, data.conj(), rng.normal(size=n), 0.5 * np.linspace(-9, 9, n)])
    indices = np.concatenate([indices, indices[:, ::-1], *[np.stack([diagonal, diagonal], axis=1)] * 2])
    return jnp.asarray(data), jnp.asarray(indices.astype(np.int32))


def dense(data, indices, shape):
    """The array, by a scatter that drops what is out of bounds."""
    return jnp.zeros(shape, data.dtype).at[indices[:, 0], indices[:, 1]].add(data, mode="drop")


def weights(shape, complex_):
    return jnp.asarray(random(np.random.default_rng(7), shape, complex_))


def svd_loss(a, w, derivative=None):
    return triplet_loss(*truncax.tsvd(a, K, solver=truncax.Dense(), derivative=derivative), w)


def eigh_loss(a, w, derivative=None):
    return pair_loss(*truncax.teigh(a, K, which="LA", solver=truncax.Dense(), derivative=derivative), w)


def subspaces_loss(a, w, derivative=None):
    U, C, Vh = truncax.singular_subspaces(a, K, solver=truncax.Dense(), derivative=derivative)
    return jnp.sum((jnp.conj(w) * (U @ (C + C @ jnp.conj(C.T) @ C) @ Vh)).real)


def invariant_loss(a, w, derivative=None):
    Q, H = truncax.invariant_subspace(a, K, which="LA", solver=truncax.Dense(), derivative=derivative)
    return jnp.sum((jnp.conj(w) * (Q @ (H + H @ H) @ jnp.conj(Q.T))).real)


LOSSES = {"tsvd": svd_loss, "singular_subspaces": subspaces_loss, "teigh": eigh_loss, "invariant": invariant_loss}


def problem(name, complex_):
    hermitian = name in ("teigh", "invariant")
    data, indices = symmetric(complex_) if hermitian else rectangular(complex_)
    shape = (32, 32) if hermitian else SHAPE
    return data, indices, shape, weights(shape, complex_)


@crossed("name, complex_, traced", LOSSES, [False, True], [False, True])
def test_value_and_gradient_are_those_of_the_array(name, complex_, traced):
    data, indices, shape, w = problem(name, complex_)
    loss = LOSSES[name]

    def of_data(data, indices):
        return loss(BCOO((data, indices), shape=shape), w)

    if traced:
        value, gradient = jax.jit(jax.value_and_grad(of_data))(data, indices)
    else:
        value, gradient = jax.jit(jax.value_and_grad(lambda data: of_data(data, indices)))(data)
    # The array's own derivative, pulled back by JAX through the scatter that makes it: zero where there is padding.
    expected, reference = jax.jit(jax.value_and_grad(lambda data: loss(dense(data, indices, shape), w)))(data)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert error(gradient, reference) <= 1e-10
    padded = np.any(np.asarray(indices) >= np.asarray(shape), axis=1)
    assert padded.sum() >= 4
    assert not np.any(np.asarray(gradient)[padded])


@pytest.mark.parametrize("name", few(["teigh"], ["tsvd"]))
def test_every_mode_and_order(name):
    data, indices, shape, w = problem(name, True)
    d = weights(data.shape, True)
    full = {"tsvd": full_svd_loss, "teigh": full_eigh_loss("LA")}[name]

    def derivatives(f):
        def run(data):
            hvp = jax.jvp(jax.grad(f), (data,), (d,))[1]
            back = jax.grad(lambda x: jnp.sum((jax.grad(f)(x) * d).real))(data)
            reverse = jax.grad(lambda x: f(x, "reverse"))(data)
            return jax.jvp(f, (data,), (d,))[1], reverse, hvp, back

        return jax.jit(run)(data)

    def sparse_loss(data, mode="all"):
        return LOSSES[name](BCOO((data, indices), shape=shape), w, truncax.Implicit(mode=mode))

    got, expected = derivatives(sparse_loss), derivatives(lambda data, mode="": full(dense(data, indices, shape), w))
    for i, (x, y) in enumerate(zip(got, expected, strict=True)):
        assert error(x, y) <= 1e-9, i


def test_a_product_that_is_not_symmetrised_is_wrong(mutate):
    """The entries of a BCOO are independent: a rule that trusts them to stay Hermitian is wrong by order one."""
    data, indices, shape, w = problem("teigh", False)
    reference = jax.grad(lambda data: eigh_loss(dense(data, indices, shape), w))(data)

    def gradient():
        return jax.jit(jax.grad(lambda data: eigh_loss(BCOO((data, indices), shape=shape), w)))(data)

    assert error(gradient(), reference) <= 1e-10
    from truncax.operators import operator

    mutate(operator, "hermitian_product", lambda a, x: a.apply(x))
    assert error(gradient(), reference) > 0.1


def forms():
    data, indices = rectangular()
    inside = np.all(np.asarray(indices) < np.asarray(SHAPE), axis=1)
    host = scipy.sparse.coo_array((np.asarray(data)[inside], tuple(np.asarray(indices)[inside].T)), shape=SHAPE)
    padded = BCOO((data, indices), shape=SHAPE)
    yield "BCOO", padded
    yield "sorted BCOO", padded.sort_indices()
    yield "BCOO without duplicates", padded.sum_duplicates(nse=padded.nse)
    csr = BCSR.from_bcoo(BCOO.from_scipy_sparse(host.tocsr()).sum_duplicates())
    yield "BCSR", csr
    # Padding of a BCSR: entries behind the end of the last row.
    tail = (jnp.append(csr.data, jnp.ones(3)), jnp.append(csr.indices, jnp.full(3, SHAPE[1], csr.indices.dtype)))
    yield "padded BCSR", BCSR((*tail, csr.indptr), shape=SHAPE)
    for kind in ("coo", "csr", "csc", "lil", "dok", "bsr"):
        yield kind, host.asformat(kind)
    yield "csr_matrix", scipy.sparse.csr_matrix(host)


FORMS = dict(forms())


@pytest.mark.parametrize("a", FORMS.values(), ids=FORMS)
def test_forms(a):
    expected = np.asarray(dense(*rectangular(), SHAPE))
    x, y = (weights((size, 3), False) for size in SHAPE[::-1])
    operators = [as_operator(a)]
    if not scipy.sparse.issparse(a):
        operators.append(jax.jit(as_operator)(a))
    for operator in operators:
        assert operator.shape == SHAPE
        np.testing.assert_allclose(operator.as_matrix(), expected, atol=1e-14)
        np.testing.assert_allclose(operator.apply(x), expected @ x, atol=1e-13)
        np.testing.assert_allclose(operator.apply(x[:, 0]), expected @ x[:, 0], atol=1e-13)
        np.testing.assert_allclose(operator.apply_adjoint(y), expected.T @ y, atol=1e-13)
    truncax.tsvd(a, 2)


def test_rows_of_any_length():
    """A full row, a full column, many short ones, none in the last: chunks that are summed to their rows."""
    rng = np.random.default_rng(3)
    a = np.where(rng.random((60, 50)) < 0.04, rng.normal(size=(60, 50)), 0)
    a[7], a[:, 11] = rng.normal(size=50), rng.normal(size=60)
    a[-1] = 0
    b = BCOO.fromdense(jnp.asarray(a))
    x, y = (jnp.asarray(rng.normal(size=(size, 2))) for size in (50, 60))
    products = jax.jit(lambda operator: operator.apply_both(x, y))
    for operator in (as_operator(b), jax.jit(as_operator)(b), given_matrix(b, hermitian=True)):
        assert operator.rows.owner is not None
        forward, back = products(operator)
        np.testing.assert_allclose(forward, a @ x, atol=1e-12)
        np.testing.assert_allclose(back, a.T @ y, atol=1e-12)
        arrays, build = operator.on_host()
        np.testing.assert_allclose(build(*map(np.asarray, arrays)).toarray(), a, atol=1e-14)


def test_similar_patterns_share_a_program():
    rng, sizes = np.random.default_rng(4), set()
    for _ in range(8):
        row, column = rng.integers(0, 1000, 30_000), rng.integers(0, 400, 30_000)
        sizes.add(chunks_module.chunks(row, column, 1000, 400).entry.shape)
    assert len(sizes) <= 2


def test_no_entries():
    a = BCOO((jnp.zeros(0), jnp.zeros((0, 2), jnp.int32)), shape=(50, 40))
    for f in (truncax.tsvd, jax.jit(truncax.tsvd, static_argnums=1)):
        np.testing.assert_array_equal(f(a, 2).S, 0)
    np.testing.assert_array_equal(truncax.tsvd(scipy.sparse.csr_array((50, 40)), 2).S, 0)
    gradient = jax.grad(lambda a: truncax.tsvd(a, 2).S.sum(), allow_int=True)(a)
    assert gradient.data.shape == (0,)


def test_the_gradient_is_a_bcoo_of_the_same_pattern():
    data, indices = rectangular()
    a, w = BCOO((data, indices), shape=SHAPE), weights(SHAPE, False)
    reference = jax.grad(lambda data: svd_loss(BCOO((data, indices), shape=SHAPE), w))(data)
    direct = jax.grad(svd_loss, allow_int=True)(a, w)
    assert isinstance(direct, BCOO)
    assert direct.shape == SHAPE
    np.testing.assert_array_equal(direct.data, reference)
    value, same = sparse.value_and_grad(svd_loss)(a, w)
    assert isinstance(same, BCOO)
    np.testing.assert_array_equal(same.indices, indices)
    np.testing.assert_array_equal(same.data, reference)
    np.testing.assert_array_equal(sparse.grad(svd_loss)(a, w).data, reference)
    np.testing.assert_allclose(value, svd_loss(a, w), rtol=1e-13)


def test_mapped_over_the_data_and_over_matrices():
    data, indices = rectangular()
    many = jnp.stack([data, 2 * data])

    def values(data):
        return truncax.tsvd(BCOO((data, indices), shape=SHAPE), 2).S

    got = jax.jit(jax.vmap(values))(many)
    expected = np.linalg.svd(dense(data, indices, SHAPE), compute_uv=False)[:2]
    np.testing.assert_allclose(got, [expected, 2 * expected], rtol=1e-13)
    batch = BCOO((many, jnp.stack([indices, indices])), shape=(2, *SHAPE))
    np.testing.assert_allclose(jax.vmap(lambda a: truncax.tsvd(a, 2).S)(batch), got, rtol=1e-13)


@pytest.mark.parametrize("solver", [truncax.GolubKahan(), truncax.Arpack(), truncax.Propack()])
def test_solvers_of_the_svd(solver):
    rng = np.random.default_rng(5)
    a = np.where(rng.random((90, 70)) < 0.1, random(rng, (90, 70), True), 0)
    a = a.T if solver == truncax.Propack() else a
    got = truncax.tsvd(scipy.sparse.csr_array(a), 3, solver=solver).S
    np.testing.assert_allclose(got, np.linalg.svd(a, compute_uv=False)[:3], rtol=1e-13)


@pytest.mark.parametrize("solver", [truncax.Lanczos(), truncax.Arpack()])
def test_solvers_of_the_hermitian_problem(solver):
    a = scipy.sparse.diags_array([np.ones(99), np.linspace(0, 9, 100), np.ones(99)], offsets=(-1, 0, 1))
    got = truncax.teigh(a, 3, which="SA", solver=solver).eigenvalues
    np.testing.assert_allclose(got, np.linalg.eigvalsh(a.toarray())[:3], rtol=1e-13, atol=1e-13)
    with pytest.raises(ValueError, match="a must be Hermitian"):
        truncax.teigh(scipy.sparse.diags_array([np.ones(99)], offsets=(1,), shape=(100, 100)), 1, solver=solver)


def test_dtypes():
    data, indices = rectangular()
    for dtype, computed, rtol in (
        ("float32", "float32", 1e-6),
        ("bfloat16", "bfloat16", 2e-2),
        ("int32", "float64", 1e-13),
    ):
        entries = (10 * data).astype(dtype)
        a = BCOO((entries, indices), shape=SHAPE)
        S = truncax.tsvd(a, 2).S
        assert S.dtype == computed
        expected = np.linalg.svd(dense(entries.astype("float64"), indices, SHAPE), compute_uv=False)[:2]
        np.testing.assert_allclose(S.astype("float64"), expected, rtol=rtol)


def array_sizes(jaxpr):
    for equation in jaxpr.eqns:
        yield from (v.aval.size for v in (*equation.invars, *equation.outvars) if hasattr(v.aval, "size"))
        for value in equation.params.values():
            for inner in jax.tree.leaves(value, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from array_sizes(inner)


@pytest.mark.parametrize("traced", [False, True], ids=["concrete", "traced"])
@pytest.mark.parametrize("hermitian", [False, True])
def test_no_dense_array_at_any_order(hermitian, traced):
    """10^8 places, 3000 entries: nothing in the Hessian's program has more entries than the basis of the solver."""
    n, k, rng = 10_000, 2, np.random.default_rng(6)
    indices = jnp.asarray(rng.integers(0, n, (3000, 2)).astype(np.int32))
    data = jnp.ones(3000)

    def f(data, indices):
        a = BCOO((data, indices), shape=(n, n))
        return jnp.sum(truncax.teigh(a, k)[1] ** 3) if hermitian else jnp.sum(truncax.tsvd(a, k).U ** 3)

    def hvp(data, indices):
        return jax.jvp(jax.grad(lambda x: f(x, indices)), (data,), (data,))[1]

    known = jax.make_jaxpr(lambda data: hvp(data, indices))
    program = jax.make_jaxpr(hvp)(data, indices) if traced else known(data)
    sizes = set(array_sizes(program.jaxpr))
    assert n in sizes
    assert max(sizes) <= 100 * n


BATCHED = BCOO.fromdense(jnp.ones((2, 5, 5)), n_batch=1)
BAD = [
    (BATCHED, ValueError, r"one matrix \(m, n\), got shape \(2, 5, 5\).*jax\.vmap"),
    (BCOO.fromdense(jnp.ones((5, 5)), n_batch=1), ValueError, r"n_batch=1.*jax\.vmap over the data"),
    (BCOO.fromdense(jnp.ones((5, 5)), n_dense=1), ValueError, r"n_dense=1.*update_layout\(n_dense=0\)"),
    (BCSR.fromdense(jnp.ones((2, 5, 5)), n_batch=1), ValueError, r"one matrix"),
    (sparse.CSR.fromdense(jnp.ones((5, 5))), TypeError, r"a is a CSR.*BCOO and BCSR are allowed"),
    (scipy.sparse.linalg.aslinearoperator(np.eye(5)), TypeError, r"linear_operator.*matvec.*JAX|JAX.*linear_operator"),
    (np.sin, TypeError, r"truncax\.linear_operator\(a, shape=\.\.\.\)"),
    (scipy.sparse.csr_array(np.ones((5, 5), "longdouble")), TypeError, r"float128|longdouble"),
]


@pytest.mark.parametrize("function", [truncax.tsvd, truncax.teigh])
@pytest.mark.parametrize(("a", "kind", "message"), BAD, ids=range(len(BAD)))
def test_what_is_refused(function, a, kind, message):
    with pytest.raises(kind, match=message):
        function(a, 1)


def test_not_finite():
    a = BCOO((jnp.asarray([1.0, jnp.nan]), jnp.asarray([[0, 0], [3, 4]])), shape=(50, 50))
    with pytest.raises(ValueError, match="a must be finite"):
        truncax.tsvd(a, 1)
    padded = BCOO((jnp.asarray([1.0, jnp.nan]), jnp.asarray([[0, 0], [50, 50]])), shape=(50, 50))
    for f in (truncax.tsvd, jax.jit(truncax.tsvd, static_argnums=1)):
        np.testing.assert_allclose(f(padded, 1).S, 1)


def test_as_operator():
    a = rectangular()
    operator = as_operator(BCOO(a, shape=SHAPE))
    assert isinstance(operator, LinearOperator)
    np.testing.assert_allclose(truncax.tsvd(operator, 2).S, truncax.tsvd(BCOO(a, shape=SHAPE), 2).S, rtol=1e-13)


def test_rules_at_given_factors():
    """Factors of SciPy's; the cotangent is a BCOO of the pattern of a."""
    for a in (FORMS["BCOO"], FORMS["padded BCSR"]):
        host, rng = np.asarray(dense(*rectangular(), SHAPE)), np.random.default_rng(8)
        U, S, Vh = (x[..., :K] if i < 2 else x[:K] for i, x in enumerate(np.linalg.svd(host, full_matrices=False)))
        bars = tuple(jnp.asarray(rng.normal(size=x.shape)) for x in (U, S, Vh))
        reference = truncax.rules.tsvd_vjp(host, (U, S, Vh), bars)
        gradient = truncax.rules.tsvd_vjp(a, (U, S, Vh), bars)
        assert type(gradient) is type(a)
        pattern = a if isinstance(a, BCOO) else FORMS["BCSR"].to_bcoo()
        row, column = np.asarray(pattern.indices)[np.all(np.asarray(pattern.indices) < SHAPE, axis=1)].T
        got = np.asarray(gradient.data)[: len(row)] if not isinstance(a, BCOO) else np.asarray(gradient.data)[:300]
        assert error(got, np.asarray(reference)[row, column]) <= 1e-10
        along = jax.tree.map(lambda x: x, a)
        tangent = truncax.rules.tsvd_jvp(a, (U, S, Vh), along)
        np.testing.assert_allclose(tangent.S, S, rtol=1e-12)
        with pytest.raises(TypeError, match=r"da must be a BC.. with the pattern of a"):
            truncax.rules.tsvd_jvp(a, (U, S, Vh), host)
    other = BCOO((a.data, FORMS["sorted BCOO"].indices[: a.nse]), shape=SHAPE)
    with pytest.raises(TypeError, match="da must be a BCSR"):
        truncax.rules.tsvd_jvp(a, (U, S, Vh), other)
    with pytest.raises(ValueError, match="da must have the pattern of a"):
        truncax.rules.tsvd_jvp(FORMS["BCOO"], (U, S, Vh), FORMS["sorted BCOO"])
    with pytest.raises(TypeError, match=r"BCOO\.from_scipy_sparse"):
        truncax.rules.tsvd_vjp(FORMS["csr"], (U, S, Vh), bars)
