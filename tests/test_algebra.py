"""Operators made of operators, against the arrays that they stand for."""

import doctest
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import K, adjoint, mm, pair_loss, triplet_loss
from references import error, hermitian, random

import truncax
from truncax import operators
from truncax.operators import LinearOperator, as_operator, diagonal, gram, identity, kron, low_rank
from truncax.operators.operator import Adjoint, Conjugate, Hermitian
from truncax.operators.structure import Structure

ROUNDING = 1e-13


def close(x, reference, bound=ROUNDING):
    assert x.shape == reference.shape
    assert x.dtype == reference.dtype
    assert error(x, reference) <= bound


def draw(complex_, seed=0):
    """A and B (5, 4), S (4, 4), C (2, 3), d (4,), X (5, 2), Y (4, 2), c scalar."""
    rng = np.random.default_rng(seed)
    shapes = {"a": (5, 4), "b": (5, 4), "s": (4, 4), "c": (2, 3), "d": (4,), "x": (5, 2), "y": (4, 2), "f": ()}
    return {name: jnp.asarray(random(rng, shape, complex_)) for name, shape in shapes.items()}


# Each with the array that it stands for, as functions of the drawn arrays.
CASES = {
    "sum": (lambda p: as_operator(p["a"]) + p["b"], lambda p: p["a"] + p["b"]),
    "array first": (lambda p: p["a"] + as_operator(p["b"]), lambda p: p["a"] + p["b"]),
    "difference": (lambda p: as_operator(p["a"]) - p["b"], lambda p: p["a"] - p["b"]),
    "array less": (lambda p: p["a"] - as_operator(p["b"]), lambda p: p["a"] - p["b"]),
    "multiple": (lambda p: p["f"] * as_operator(p["a"]), lambda p: p["f"] * p["a"]),
    "quotient": (lambda p: -as_operator(p["a"]) / p["f"] * 2, lambda p: -p["a"] / p["f"] * 2),
    "product": (lambda p: as_operator(p["a"]) @ as_operator(p["s"]), lambda p: mm(p["a"], p["s"])),
    "transposes": (lambda p: as_operator(p["a"]).T @ as_operator(p["b"]).H.T, lambda p: mm(p["a"].T, jnp.conj(p["b"]))),
    "adjoint": (lambda p: (as_operator(p["a"]) @ as_operator(p["s"])).H, lambda p: adjoint(mm(p["a"], p["s"]))),
    "identity": (lambda p: as_operator(p["s"]) + p["f"] * identity(4), lambda p: p["s"] + p["f"] * jnp.eye(4)),
    "diagonal": (lambda p: diagonal(p["d"]), lambda p: jnp.diag(p["d"])),
    "low rank": (lambda p: low_rank(p["x"], p["y"]), lambda p: mm(p["x"], adjoint(p["y"]))),
    "update": (lambda p: p["a"] + low_rank(p["x"], p["y"]), lambda p: p["a"] + mm(p["x"], adjoint(p["y"]))),
    "rank one": (lambda p: low_rank(p["x"][:, 0], p["d"]), lambda p: jnp.outer(p["x"][:, 0], jnp.conj(p["d"]))),
    "square": (lambda p: low_rank(p["y"]), lambda p: mm(p["y"], adjoint(p["y"]))),
    "gram": (lambda p: gram(p["a"]), lambda p: mm(adjoint(p["a"]), p["a"])),
    "outer gram": (lambda p: gram(as_operator(p["a"]).H), lambda p: mm(p["a"], adjoint(p["a"]))),
    "kron": (lambda p: kron(p["a"], p["c"]), lambda p: jnp.kron(p["a"], p["c"])),
    "kron, second factor last": (lambda p: kron(p["c"], p["a"]), lambda p: jnp.kron(p["c"], p["a"])),
    "kron of operators": (
        lambda p: kron(diagonal(p["d"]), p["c"]).H,
        lambda p: adjoint(jnp.kron(jnp.diag(p["d"]), p["c"])),
    ),
    "Kronecker sum": (
        lambda p: kron(p["s"], identity(4)) + kron(identity(4), p["s"].T),
        lambda p: jnp.kron(p["s"], jnp.eye(4)) + jnp.kron(jnp.eye(4), p["s"].T),
    ),
}
IN_REAL = ("sum", "multiple", "product", "low rank", "kron")
CASE = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def strict_off(dense):
    """The reference may promote as it likes."""

    def promoting(p):
        with jax.numpy_dtype_promotion("standard"):
            return dense(p)

    return promoting


@pytest.mark.parametrize(
    ("name", "complex_"),
    [*((name, True) for name in CASES), *((name, False) for name in IN_REAL)],
)
def test_products(name, complex_):
    build, dense = CASES[name]
    p = draw(complex_)
    operator, matrix = build(p), strict_off(dense)(p)
    m, n = matrix.shape
    assert isinstance(operator, LinearOperator)
    assert operator.shape == (m, n)
    assert operator.dtype == matrix.dtype
    close(operator.as_matrix(), matrix)
    rng = np.random.default_rng(1)
    vector, block, left, lefts = (jnp.asarray(random(rng, shape, complex_)) for shape in ((n,), (n, 3), (m,), (m, 3)))

    @jax.jit
    def products(a):
        h = a.H if isinstance(a, LinearOperator) else adjoint(a)
        return a @ vector, a @ block, left @ a, lefts.T @ a, h @ left, h @ lefts

    for got, expected in zip(products(operator), products(matrix), strict=True):
        close(got, expected)
    for got, expected in zip(operator.apply_both(block, lefts), products(matrix)[1::4], strict=True):
        close(got, expected)
    size = float(operator.magnitude()) / float(jnp.max(jnp.abs(matrix)))
    assert 0.02 < size < 50
    assert operator.magnitude().dtype == jnp.finfo(matrix.dtype).dtype


@CASE
def test_products_differentiate(case):
    """The gradient of a loss of both products, and its tangent."""
    build, dense = case
    p, t = draw(True), draw(True, seed=1)
    m, n = build(p).shape
    rng = np.random.default_rng(2)
    x, y, v, w = (jnp.asarray(random(rng, (size, 2), True)) for size in (n, m, m, n))

    def loss(make):
        def of(p):
            operator = make(p)
            if isinstance(operator, LinearOperator):
                ax, ahy = operator.apply(x), operator.apply_adjoint(y)
            else:
                ax, ahy = mm(operator, x), mm(adjoint(operator), y)
            return jnp.sum((v * ax).real ** 2) + jnp.sum((w * ahy).real ** 2)

        return of

    def derivatives(f):
        return jax.jit(lambda p, t: jax.jvp(jax.grad(f), (p,), (t,)))(p, t)

    got, expected = derivatives(loss(build)), derivatives(loss(strict_off(dense)))
    for g, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert jnp.linalg.norm(g - e) <= 1e-12 * (1 + jnp.linalg.norm(e))


def general(p):
    """Everything that need not be Hermitian, (8, 12), and its array."""
    operator = p["f"] * (as_operator(p["a"]) @ diagonal(p["d"])) + low_rank(p["x"], p["y"]) - kron(p["s"], p["c"]) / 3
    middle = mm(p["a"], jnp.diag(p["d"]))
    return operator, p["f"] * middle + mm(p["x"], adjoint(p["y"])) - jnp.kron(p["s"], p["c"]) / 3


def symmetric(p):
    """Everything that is Hermitian by construction, (12, 12), and its array."""
    g = gram(p["c"])
    operator = gram(p["a"]) + diagonal(p["d"].real) - low_rank(p["y"]) + kron(gram(p["s"]), g) / 4 - 0.5 * identity(12)
    ss, cc = mm(adjoint(p["s"]), p["s"]), mm(adjoint(p["c"]), p["c"])
    rest = jnp.diag(p["d"].real - 0.5).astype(p["a"].dtype) + jnp.kron(ss, cc) / 4
    return operator, mm(adjoint(p["a"]), p["a"]) + rest - mm(p["y"], adjoint(p["y"]))


def leaves(complex_, seed=3):
    rng = np.random.default_rng(seed)
    shapes = {"a": (8, 12), "s": (4, 4), "c": (2, 3), "d": (12,), "x": (8, 2), "y": (12, 2), "f": ()}
    return {name: jnp.asarray(random(rng, shape, complex_)) for name, shape in shapes.items()}


def singular_loss(p, w, solver):
    return triplet_loss(*truncax.tsvd(general(p)[0] / 10, K, solver=solver), w)


def full_singular_loss(p, w):
    U, S, Vh = jnp.linalg.svd(general(p)[1] / 10, full_matrices=False)
    return triplet_loss(U[:, :K], S[:K], Vh[:K], w)


def eigen_loss(p, w, solver):
    return pair_loss(*truncax.teigh(symmetric(p)[0] / 10, K, which="LA", solver=solver), w)


def full_eigen_loss(p, w):
    values, Q = jnp.linalg.eigh(symmetric(p)[1] / 10)
    return pair_loss(values[::-1][:K], Q[:, ::-1][:, :K], w)


def agree(got, expected, bound):
    for name, value in got.items():
        assert jnp.linalg.norm(value - expected[name]) <= bound * (1 + jnp.linalg.norm(expected[name])), name


@pytest.mark.parametrize(("solver", "complex_"), [(truncax.Dense(), False), (truncax.GolubKahan(), True)])
def test_gradient_through_tsvd(solver, complex_):
    p, w = leaves(complex_), jnp.asarray(random(np.random.default_rng(4), (8, 12), complex_))
    got = jax.jit(jax.value_and_grad(lambda p: singular_loss(p, w, solver)))(p)
    expected = jax.jit(jax.value_and_grad(full_singular_loss))(p, w)
    assert error(got[0], expected[0]) <= 1e-10
    agree(got[1], expected[1], 1e-10)


@pytest.mark.parametrize(("solver", "complex_"), [(truncax.Dense(), False), (truncax.Lanczos(), True)])
def test_gradient_through_teigh(solver, complex_):
    p, w = leaves(complex_), jnp.asarray(random(np.random.default_rng(5), (12, 12), complex_))
    assert symmetric(p)[0].hermitian
    got = jax.jit(jax.value_and_grad(lambda p: eigen_loss(p, w, solver)))(p)
    expected = jax.jit(jax.value_and_grad(full_eigen_loss))(p, w)
    assert error(got[0], expected[0]) <= 1e-10
    agree(got[1], expected[1], 1e-10)


def test_hessian_product():
    p, t = leaves(True), leaves(True, seed=6)
    w = jnp.asarray(random(np.random.default_rng(4), (8, 12), True))

    def product(f):
        return jax.jit(lambda p, t: jax.jvp(jax.grad(f), (p,), (t,))[1])(p, t)

    got, expected = (
        product(f) for f in (lambda p: singular_loss(p, w, truncax.Dense()), lambda p: full_singular_loss(p, w))
    )
    agree(got, expected, 1e-9)


def test_a_sum_that_is_hermitian_in_value_only():
    """Tangents are symmetrised: the gradient is that of the array's Hermitian problem."""
    rng = np.random.default_rng(7)
    a = jnp.asarray(hermitian(rng, np.linspace(1, 3, 10), True))
    x, w = jnp.asarray(random(rng, (10, 2), True)), jnp.asarray(random(rng, (10, 10), True))

    def loss(build):
        return lambda a: pair_loss(*truncax.teigh(build(a), K, which="LA", solver=truncax.Dense()), w)

    operator = as_operator(a) - low_rank(x)
    assert not operator.hermitian
    assert not (1j * Hermitian(as_operator(a))).hermitian
    assert (2 * Hermitian(as_operator(a))).hermitian
    got = jax.jit(jax.grad(loss(lambda a: as_operator(a) - low_rank(x))))(a)
    assert error(got, jax.jit(jax.grad(loss(lambda a: a - mm(x, adjoint(x)))))(a)) <= 1e-11


def test_principal_components_without_a_centred_copy():
    rng = np.random.default_rng(8)
    data = jnp.asarray(rng.normal(size=(40, 12)) * np.linspace(3, 1, 12) + 5)
    w = jnp.asarray(rng.normal(size=(40, 12)))

    def loss(data):
        mean = jnp.mean(data, axis=0)
        return triplet_loss(*truncax.tsvd(as_operator(data) - low_rank(jnp.ones(40), mean), K, tol=1e-13), w)

    def dense_loss(data):
        U, S, Vh = jnp.linalg.svd(data - jnp.mean(data, axis=0)[None], full_matrices=False)
        return triplet_loss(U[:, :K], S[:K], Vh[:K], w)

    got, expected = (jax.jit(jax.value_and_grad(f))(data) for f in (loss, dense_loss))
    assert error(got[0], expected[0]) <= 1e-11
    assert error(got[1], expected[1]) <= 1e-10


def test_new_arrays_of_the_same_shapes_compile_nothing():
    traces = []

    @jax.jit
    def largest(operator):
        traces.append(operator)
        return truncax.tsvd(operator, 1).S[0]

    for seed in (0, 1):
        operator, matrix = general(leaves(False, seed))
        assert error(largest(operator), np.linalg.norm(matrix, 2)) <= 1e-12
    for factor in (2, 2.5, np.float64(3), jnp.asarray(4.0)):
        largest(factor * operator)
    assert len(traces) == 2


def test_vmap_over_leaves():
    batch = jax.tree.map(lambda *x: jnp.stack(x), *(leaves(False, seed) for seed in range(3)))
    got = jax.jit(jax.vmap(lambda p: truncax.tsvd(general(p)[0], 2).S))(batch)
    made = jax.vmap(lambda p: general(p)[0])(batch)
    for seed in range(3):
        matrix = general(leaves(False, seed))[1]
        assert error(got[seed], np.linalg.svd(matrix, compute_uv=False)[:2]) <= 1e-12
        assert error(jax.vmap(lambda operator: operator @ jnp.ones(12))(made)[seed], matrix.sum(1)) <= 1e-13


def test_pytrees_hold_anything():
    operator, _ = general(leaves(False))
    for leaf in (None, 0, object()):
        jax.tree.unflatten(jax.tree.structure(operator), [leaf] * len(jax.tree.leaves(operator)))
    assert type(Adjoint(Conjugate(operator))) is type(operator.H)
    assert not operator.opaque
    assert operator.blocks_pay is False  # its Kronecker product
    assert (as_operator(jnp.ones((3, 3))) + diagonal(jnp.ones(3))).blocks_pay


F32, F64, C64, C128 = np.float32, np.float64, np.complex64, np.complex128
MIXED = [(F32, F32), (F32, F64), (F64, F32), (F32, C64), (F64, C64), (F32, C128), (C128, F32), (C64, C128)]


@pytest.mark.parametrize(("first", "second"), MIXED)
def test_dtypes_mix(first, second):
    """Every combination has the dtype of the arrays', and is right to the rounding of the wider precision."""
    rng = np.random.default_rng(9)

    def array(shape, dtype):
        return jnp.asarray(random(rng, shape, np.issubdtype(dtype, np.complexfloating)).astype(dtype))

    a, b, x, d, f = (
        array(shape, dtype)
        for shape, dtype in (((4, 4), first), ((4, 4), second), ((4, 3), second), ((4,), second), ((), second))
    )
    A, one = as_operator(a), jnp.eye(4, dtype=first)
    with jax.numpy_dtype_promotion("standard"), jax.default_matmul_precision("highest"):
        expected = {
            "sum": a + b,
            "product": a @ b,
            "kron": jnp.kron(a, b),
            "multiple": f * a,
            "nested": (a + jnp.diag(d)) @ b,
            "vectors": a @ x,
            "rows": x.T @ a,
            "low rank": a @ x,
        }
    got = {
        "sum": (A + b).as_matrix(),
        "product": A @ as_operator(b) @ one,
        "kron": kron(a, b) @ jnp.kron(one, one),
        "multiple": (f * A) @ one,
        "nested": ((A + diagonal(d)) @ as_operator(b)).as_matrix(),
        "vectors": A @ x,
        "rows": x.T @ A,
        "low rank": low_rank(a, jnp.conj(x.T)).as_matrix(),
    }
    eps = jnp.finfo(np.result_type(first, second)).eps
    for name, value in expected.items():
        assert value.dtype == np.result_type(first, second)
        assert got[name].dtype == value.dtype, name
        assert error(got[name], value) <= 100 * eps, name


def test_numbers_do_not_widen():
    A = as_operator(jnp.ones((3, 2), jnp.float32))
    for operator in (2 * A, A / 3, A * 2.5, np.int64(2) * A, A / np.int64(2), True * A):
        assert operator.dtype == jnp.float32
    assert (2j * A).dtype == jnp.complex64
    assert (A @ np.ones(2, int)).dtype == jnp.float32
    assert (A @ np.ones(2, np.float16)).dtype == jnp.float32
    assert diagonal(np.arange(3)).dtype == jnp.float64
    assert low_rank(jnp.ones(3, jnp.bfloat16)).dtype == jnp.float32


def test_complex_multiples_of_a_real_operator_through_tsvd():
    a = jnp.asarray(np.random.default_rng(10).normal(size=(6, 5)))
    got = truncax.tsvd((1 + 1j) * as_operator(a), 2)
    assert got.U.dtype == jnp.complex128
    assert error(got.S, np.sqrt(2) * np.linalg.svd(a, compute_uv=False)[:2]) <= 1e-13


class Tree(LinearOperator):
    """Twice the identity in pytrees of one form."""

    def __init__(self, dtype, **shapes):
        self.structure = Structure.of({k: jax.ShapeDtypeStruct(s, dtype) for k, s in shapes.items()}, "like")

    shape = property(lambda self: (self.structure.size, self.structure.size))
    dtype = property(lambda self: self.structure.dtype)
    domain = codomain = property(lambda self: self.structure)

    def apply(self, x):
        return 2 * x

    apply_adjoint = apply


jax.tree_util.register_static(Tree)


def test_structures_are_carried_through():
    tree, plain = Tree(jnp.float64, u=(2,), v=(2,)), jnp.eye(4)
    for operator in (tree + plain, plain - tree, 2 * tree, tree @ tree, gram(tree), tree.H, tree + tree):
        assert operator.domain == operator.codomain == tree.structure
    wide = as_operator(jnp.ones((3, 4))) @ tree
    assert (wide.domain, wide.codomain) == (tree.structure, None)
    assert (gram(wide).codomain, gram(wide.H).codomain) == (tree.structure, None)
    assert kron(tree, tree).domain is None
    rotated = 1j * tree
    assert rotated.domain.dtypes == (jnp.complex128,) * 2
    vectors = truncax.tsvd(rotated + jnp.diag(jnp.arange(4.0)), 2)
    assert vectors.U["u"].dtype == jnp.complex128
    assert vectors.Vh["v"].shape == (2, 2)


def test_structures_that_differ():
    tree, other = Tree(jnp.float64, u=(2,), v=(2,)), Tree(jnp.float64, u=(4,))
    for combine in (lambda: tree + other, lambda: tree @ other):
        with pytest.raises(ValueError, match="must have one structure"):
            combine()
    assert (tree + 1j * tree).domain.dtypes == (jnp.complex128,) * 2
    with pytest.raises(TypeError, match="Tree multiplies in float32 and cannot be combined"):
        Tree(jnp.float32, u=(4,)) + jnp.eye(4)


def test_refusals():
    A = as_operator(jnp.ones((3, 2)))
    for error_, match, attempt in [
        (ValueError, r"one shape, got \(3, 2\) and \(2, 3\)", lambda: A + A.T),
        (ValueError, r"as many columns of A as rows of B", lambda: A @ A),
        (ValueError, r"x of shape \(2,\) or \(2, p\)", lambda: A @ jnp.ones(3)),
        (ValueError, r"x of shape \(3,\) or \(p, 3\)", lambda: jnp.ones(2) @ A),
        (ValueError, r"got \(2, 2, 2\)", lambda: A @ jnp.ones((2, 2, 2))),
        (TypeError, "numeric array", lambda: A @ np.array(["a", "b"])),
        (TypeError, "by a scalar", lambda: A * jnp.ones(2)),
        (TypeError, "by a scalar", lambda: A * A),
        (TypeError, "by a scalar", lambda: "2" * A),
        (TypeError, "must be an array", lambda: A + 1),
        (TypeError, "must be an array", lambda: "A" @ A),
        (ValueError, r"map a batch by jax.vmap", lambda: A + jnp.ones((5, 3, 2))),
        (ValueError, r"map a batch by jax.vmap", lambda: gram(jnp.ones((5, 3, 2)))),
        (TypeError, "must be an array", lambda: kron(A, [[1.0]])),
        (ValueError, r"d must be a vector \(n,\), got shape \(2, 2\)", lambda: diagonal(jnp.ones((2, 2)))),
        (TypeError, "d must be a numeric", lambda: diagonal([1.0])),
        (ValueError, "as many columns each", lambda: low_rank(jnp.ones((3, 2)), jnp.ones((3, 1)))),
        (ValueError, "x must be a vector or a block", lambda: low_rank(jnp.ones((3, 2, 1)))),
        (TypeError, "y must be a numeric", lambda: low_rank(jnp.ones(3), "y")),
        (ValueError, "n must be at least 1", lambda: identity(0)),
        (TypeError, "n must be an int", lambda: identity(2.0)),
        (TypeError, "dtype must be floating-point or complex", lambda: identity(2, int)),
    ]:
        with pytest.raises(error_, match=match):
            attempt()


def test_what_is_zero_and_what_is_not_finite():
    a = jnp.asarray(random(np.random.default_rng(11), (5, 4)))
    A = as_operator(a)
    for zero in (A - a, 0 * A, gram(0 * A), kron(A, 0 * A), diagonal(jnp.zeros(3)), low_rank(jnp.zeros(3))):
        assert zero.magnitude() == 0
    for value in (jnp.nan, jnp.inf):
        bad = as_operator(a.at[1, 2].set(value))
        for operator in (A + bad, value * A, bad.H @ A, gram(bad), kron(A, bad), diagonal(a[0].at[1].set(value))):
            assert not jnp.isfinite(operator.magnitude())


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_the_magnitude_of_a_large_array_keeps_nan(dtype):
    """XLA's own maximum of more than a thousand entries drops it on a CPU, from jax 0.10 on."""
    a = random(np.random.default_rng(12), (200, 100)).astype(dtype)
    for place in ((0, 0), (70, 31), (199, 99)):
        assert jnp.isnan(as_operator(jnp.asarray(a).at[place].set(jnp.nan)).magnitude())


def test_every_public_operator_is_documented():
    assert operators.__all__ == sorted(operators.__all__)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        runner = doctest.DocTestRunner()
        for function in (diagonal, gram, identity, kron, low_rank):
            for section in ("Args:", "Returns:", "Raises:", "Derivative:", "Example:"):
                assert section.removesuffix(":") in function.__doc__, (function.__name__, section)
            for example in doctest.DocTestFinder(recurse=False).find(function, function.__name__):
                assert example.examples
                runner.run(example)
        page = Path(__file__).parent.parent / "docs" / "operators.md"
        on_page = doctest.testfile(str(page), module_relative=False)
    assert on_page.attempted
    assert on_page.failed == 0
    assert runner.summarize().failed == 0
