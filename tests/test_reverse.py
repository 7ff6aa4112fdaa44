"""``Implicit(mode="reverse")``: a rule of its own that agrees with the other one and with full decompositions."""

from dataclasses import dataclass
from functools import cache, partial

import checks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import SHAPES, K, adjoint, eigh_problem, mm, svd_problem
from hypothesis import given
from hypothesis import strategies as st
from profiles import LONG, LONG_ONLY, crossed, selected
from references import (
    best_first,
    error,
    finite_difference,
    hermitian,
    hermitian_function_gradient,
    matrix,
    random,
    singular_function_gradient,
)

import truncax
from truncax import Implicit
from truncax.complement.solve import SolveOptions
from truncax.operators.dense import DenseOperator
from truncax.operators.operator import Scaled
from truncax.rules import attach, eigh, eigh_reverse, svd_reverse

REVERSE = Implicit(mode="reverse")
COMPLEX = pytest.mark.parametrize("complex_", [False, True], ids=["real", "complex"])
FUNCTIONS = [truncax.tsvd, truncax.singular_subspaces, truncax.teigh, truncax.invariant_subspace]
SVD, EIGH = FUNCTIONS[:2], FUNCTIONS[2:]
# For what the four share: vectors once, a basis once.
FEW = pytest.mark.parametrize("function", FUNCTIONS if LONG else [truncax.tsvd, truncax.invariant_subspace])


def like(rng, tree):
    return jax.tree.map(lambda x: jnp.asarray(random(rng, x.shape, jnp.iscomplexobj(x)), x.dtype), tree)


def kept(function, k=K, which="LM", mode="reverse", **options):
    return partial(function, k=k, which=which, solver=truncax.Dense(), derivative=Implicit(mode=mode, **options))


# --- the two modes are one derivative ---------------------------------------------------------------------------------


@cache
def cotangents_of_both_modes(function, k, which):
    @jax.jit
    def both(a, w):
        return [jax.vjp(kept(function, k, which, mode), a)[1](w)[0] for mode in ("all", "reverse")]

    return both


# What is compiled anew: a function, its ``which``, a shape, a dtype and k, each at least once.
PROGRAMS = [
    (truncax.tsvd, "LM", (9, 13), np.complex64, 4),
    (truncax.tsvd, "SM", (13, 9), np.float64, 4),
    (truncax.singular_subspaces, "LM", (13, 9), np.complex128, 4),
    (truncax.singular_subspaces, "SM", (9, 13), np.float32, 1),
    (truncax.teigh, "LM", (11, 11), np.float64, 1),
    (truncax.teigh, "BE", (11, 11), np.complex128, 4),
    (truncax.invariant_subspace, "LA", (11, 11), np.complex64, 1),
    (truncax.invariant_subspace, "SA", (11, 11), np.float32, 4),
]


@st.composite
def problems(draw):
    """A program, a matrix with a prescribed gap, with or without a pair of equal kept values."""
    function, which, shape, dtype, k = draw(st.sampled_from(PROGRAMS))
    svd = function in SVD
    gap, pair = draw(st.sampled_from([0.5, 0.1, 0.02])), draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = np.linspace(2, 1, k) if k > 1 else np.ones(1)
    if pair and k > 1:
        top[2] = top[0] if which == "BE" else top[1]
    values = np.concatenate([top, (1 - gap) * np.linspace(1, 0.5, min(shape) - k)])
    if which == "SM":
        values = 1 / values
    elif which == "SA":
        values = -values
    elif which == "BE":
        values = values * np.where(np.arange(len(values)) % 2, -1, 1)
    build = matrix if svd else lambda rng, _, values, complex_: hermitian(rng, values, complex_)
    a = build(rng, shape, values, np.issubdtype(dtype, np.complexfloating))
    return rng, function, k, which, jnp.asarray(a, dtype), gap


@given(problems())
def test_both_modes_are_one_derivative(problem):
    """For random, also gauge-dependent, cotangents; each is as exact as its solve, over the gap."""
    rng, function, k, which, a, gap = problem
    w = like(rng, jax.eval_shape(kept(function, k, which), a))
    forward_rule, reverse_rule = cotangents_of_both_modes(function, k, which)(a, w)
    assert reverse_rule.dtype == a.dtype
    scale = 16 if which == "SM" else 1  # (s_max / s_min)^2, the condition of the system of the smallest
    assert error(reverse_rule, forward_rule) <= 10 * scale * float(jnp.finfo(a.dtype).eps) ** (5 / 6) / gap


@pytest.mark.parametrize(
    ("function", "which", "shape"),
    [
        *selected(SVD, ["LM", "SM"], SHAPES, rows=4),
        (truncax.teigh, "BE", None),
        (truncax.invariant_subspace, "LM", None),
    ],
)
def test_adjointness(function, which, shape):
    """``<w, J v> = <J^T w, v>`` between the tangent of one rule and the cotangent of the other."""
    a, _, v, *_ = svd_problem(shape, True, which=which) if shape else eigh_problem(which, True)
    w = like(np.random.default_rng(0), jax.eval_shape(kept(function, K, which), a))

    @jax.jit
    def both(a, v, w):
        tangent = jax.jvp(kept(function, K, which, "all"), (a,), (v,))[1]
        return tangent, jax.vjp(kept(function, K, which, "reverse"), a)[1](w)[0]

    tangent, cotangent = both(a, v, w)
    left = sum(jnp.sum(x * y).real for x, y in zip(w, tangent, strict=True))
    scale = np.prod([np.sqrt(sum(float(jnp.sum(jnp.abs(x) ** 2)) for x in t)) for t in (w, tangent)])
    assert abs(float(left - jnp.sum(cotangent * v).real)) <= 1e-12 * scale


# --- against full decompositions --------------------------------------------------------------------------------------


def check_reverse(loss, reference, problem):
    """The gradient to 1e-11, reverse over reverse to 1e-9."""
    a, w, d, *_ = problem

    def orders(f):
        @jax.jit
        def both(a):
            gradient = jax.grad(lambda x: f(x, w))
            return gradient(a), jax.grad(lambda x: jnp.sum((gradient(x) * d).real))(a)

        return both

    for x, expected, bound in zip(orders(loss)(a), orders(reference)(a), (1e-11, 1e-9), strict=True):
        assert error(x, expected) <= bound


def approximation(factors, w):
    U, C, Vh = factors
    return jnp.sum((jnp.conj(w) * mm(U, C + mm(C, adjoint(C), C), Vh)).real)


def pair_function(Q, H, w):
    return jnp.sum((jnp.conj(w) * mm(Q, H + mm(H, H, H), adjoint(Q))).real)


@crossed("which, shape, complex_", ["LM", "SM"], SHAPES, [True, False], rows=4)
def test_tsvd(which, shape, complex_):
    loss = lambda a, w: checks.triplet_loss(*kept(truncax.tsvd, which=which)(a), w)  # noqa: E731
    check_reverse(loss, partial(checks.full_svd_loss, which=which), svd_problem(shape, complex_, which=which))


@crossed("shape, complex_", SHAPES, [False, True])
def test_singular_subspaces(shape, complex_):
    loss = lambda a, w: approximation(kept(truncax.singular_subspaces)(a), w)  # noqa: E731
    check_reverse(loss, checks.full_approximation_loss, svd_problem(shape, complex_))


@crossed("function, which, complex_", EIGH, ["LM", "LA", "SA", "BE"], [True, False], rows=5)
def test_eigenpairs(function, which, complex_):
    by_vectors = function is truncax.teigh
    loss = lambda a, w: (checks.pair_loss if by_vectors else pair_function)(*kept(function, which=which)(a), w)  # noqa: E731
    reference = checks.full_eigh_loss if by_vectors else checks.full_invariant_loss
    check_reverse(loss, reference(which), eigh_problem(which, complex_))


@LONG_ONLY
def test_the_third_order_in_reverse():
    a, w, d, e, _ = svd_problem((20, 26), True)

    def third(mode):
        def loss(a):
            return approximation(kept(truncax.singular_subspaces, mode=mode)(a), w)

        second = jax.grad(lambda x: jnp.sum((jax.grad(loss)(x) * d).real))
        return jax.jit(jax.grad(lambda x: jnp.sum((second(x) * e).real)))

    e = e[:20, :26]
    assert error(third("reverse")(a), third("all")(a)) <= 1e-9


# --- degeneracy and zero values ---------------------------------------------------------------------------------------

VALUES = np.concatenate([[2.0, 1.5, 1.5, 1.0, 1.0, 1.0], 0.9 * np.linspace(1, 0.3, 14)])


def one(x):
    return np.ones_like(x)


@COMPLEX
def test_the_low_rank_approximation_at_a_multiplet(complex_):
    """First order, and second in reverse over reverse, where a diagonal ``C`` in the rule would fail."""
    rng = np.random.default_rng(1)
    a, w, d = (matrix(rng, (20, 20), VALUES, complex_), *(random(rng, (20, 20), complex_) for _ in range(2)))

    def reference(x):
        return singular_function_gradient(x, w, 6, lambda s: s, one)

    def loss(a):
        U, C, Vh = kept(truncax.singular_subspaces, 6)(a)
        return jnp.sum((jnp.conj(w) * mm(U, C, Vh)).real)

    gradient = jax.grad(loss)
    assert error(jax.jit(gradient)(a), reference(a)) <= 1e-11
    product = jax.jit(jax.grad(lambda x: jnp.sum((gradient(x) * d).real)))(a)
    assert error(product, finite_difference(reference, a, d)) <= 1e-6


@crossed("which, complex_", ["LA", "SA"], [True, False])
def test_the_exponential_on_a_degenerate_subspace(which, complex_):
    rng = np.random.default_rng(3)
    a, w = hermitian(rng, VALUES if which == "LA" else -VALUES, complex_), random(rng, (20, 20), complex_)

    def loss(a):
        Q, H = kept(truncax.invariant_subspace, 6, which)(a)
        return jnp.sum((jnp.conj(w) * mm(Q, jax.scipy.linalg.expm(H), adjoint(Q))).real)

    order = best_first(np.linalg.eigvalsh(a), which), 6
    assert error(jax.jit(jax.grad(loss))(a), hermitian_function_gradient(a, w, order, np.exp, np.exp)) <= 1e-11


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("rank", [0, 2])
def test_kept_zero_values_as_the_other_rule(function, rank):
    rng = np.random.default_rng(4)
    svd = function in SVD
    a = matrix(rng, (12, 12), [2.0, 1.0][:rank]) if svd else hermitian(rng, [2.0, -1.0][:rank] + [0.0] * (12 - rank))
    a = jnp.asarray(a if rank else np.zeros((12, 12)))
    for which in ("LM", "LA") if rank == 0 and not svd else ("LM",):
        w = like(rng, jax.eval_shape(kept(function, 4, which), a))
        forward_rule, reverse_rule = cotangents_of_both_modes(function, 4, which)(a, w)
        assert jnp.all(jnp.isfinite(reverse_rule))
        assert jnp.linalg.norm(reverse_rule - forward_rule) <= 1e-13 * (1 + jnp.linalg.norm(forward_rule))


def test_the_smallest_triplet_of_a_singular_matrix():
    """A kept zero under SM: its U column has a derivative, and so both rules must treat it alike."""
    rng = np.random.default_rng(5)
    for shape in ((10, 10), (10, 14), (14, 10)):
        a = jnp.asarray(matrix(rng, shape, np.r_[np.linspace(2, 0.5, 9), 0.0]))
        w = like(rng, jax.eval_shape(kept(truncax.singular_subspaces, 2, "SM"), a))
        forward_rule, reverse_rule = cotangents_of_both_modes(truncax.singular_subspaces, 2, "SM")(a, w)
        assert error(reverse_rule, forward_rule) <= 1e-11


# --- an operator whose product has reverse mode only ------------------------------------------------------------------


@jax.custom_vjp
def product(a, x):
    return mm(a, x)


product.defvjp(lambda a, x: (mm(a, x), (a, x)), lambda r, g: (mm(g, r[1].T), mm(r[0].T, g)))


@jax.custom_vjp
def hermitian_product(a, x):
    return mm(a, x)


def _hermitian_backward(residuals, g):
    a, x = residuals
    abar = mm(g, x.T)
    return (abar + adjoint(abar)) / 2, mm(a.T, g)


hermitian_product.defvjp(lambda a, x: (mm(a, x), (a, x)), _hermitian_backward)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ReverseOnly(DenseOperator):
    def apply(self, x):
        return product(self.array, x)

    def apply_adjoint(self, y):
        return product(adjoint(self.array), y)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ReverseOnlyHermitian(DenseOperator):
    def apply(self, x):
        return hermitian_product(self.array, x)

    apply_adjoint = apply


OPTIONS = SolveOptions(tol=jnp.asarray(1e-13), max_steps=300)


def scaled(operator):
    return Scaled(operator, jnp.asarray(2.0), jnp.asarray(0.5))


def singular_by_operator(shape, complex_, mode):
    a, w, d, *_ = svd_problem(shape, complex_)
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    U, C, V = jnp.asarray(u[:, :K]), jnp.diag(jnp.asarray(s[:K])).astype(a.dtype), jnp.asarray(vh[:K].conj().T)

    def loss(a, w):
        U_, C_, V_ = attach.ATTACH_SINGULAR[mode](scaled(ReverseOnly(a)), U, C, V, jnp.asarray(s[0]), OPTIONS, "LM")
        return approximation((U_, C_, adjoint(V_)), w)

    return loss, (a, w, d)


def hermitian_by_operator(complex_, mode):
    a, w, d, *_ = eigh_problem("LA", complex_)
    values, q = np.linalg.eigh(a)
    H, Q = jnp.diag(jnp.asarray(values[::-1][:K])).astype(a.dtype), jnp.asarray(q[:, ::-1][:, :K])

    def loss(a, w):
        size = jnp.asarray(values[-1])
        pair = attach.ATTACH_INVARIANT[mode](scaled(ReverseOnlyHermitian(a)), Q, H, size, OPTIONS, "LA")
        return pair_function(*pair, w)

    return loss, (a, w, d)


@crossed("shape, complex_", SHAPES, [False, True])
def test_an_operator_without_forward_mode(shape, complex_):
    loss, problem = singular_by_operator(shape, complex_, "reverse")
    check_reverse(loss, checks.full_approximation_loss, problem)


@COMPLEX
def test_a_hermitian_operator_without_forward_mode(complex_):
    loss, problem = hermitian_by_operator(complex_, "reverse")
    check_reverse(loss, checks.full_invariant_loss("LA"), problem)


def test_an_operator_without_forward_mode_under_vmap():
    loss, (a, w, d) = singular_by_operator((20, 32), False, "reverse")
    rows = jnp.stack([w, d])
    got = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0)))(a, rows)
    for x, row in zip(got, rows, strict=True):
        assert error(x, jax.grad(checks.full_approximation_loss)(a, row)) <= 1e-11


@pytest.mark.parametrize("operator", [ReverseOnly, ReverseOnlyHermitian])
def test_these_operators_have_no_forward_mode(operator):
    a = jnp.eye(3)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda a: operator(a).apply(a), (a,), (a,))


# --- transformations, scales, failure ---------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_forward_mode_is_refused(function):
    a = jnp.diag(jnp.arange(12.0))
    for call in (
        lambda: jax.jvp(kept(function, 3), (a,), (a,)),
        lambda: jax.jit(jax.jacfwd(kept(function, 3)))(a),
        lambda: jax.hessian(lambda x: jnp.sum(jnp.abs(kept(function, 3)(x)[0])))(a),
    ):
        with pytest.raises(TypeError, match=r"forward-mode.*custom_vjp"):
            call()


@FEW
def test_a_failed_solve_is_nan(function):
    a = jnp.asarray(hermitian(np.random.default_rng(0), 0.97 ** np.arange(40)))

    def loss(a):
        # The leftovers of a full decomposition make the solve direct; the native solvers' do not.
        native = truncax.GolubKahan() if function in (truncax.tsvd, truncax.singular_subspaces) else truncax.Lanczos()
        vectors = kept(function, 3, max_steps=1)(a, solver=native)[1 if function is truncax.teigh else 0]
        return jnp.sum(jnp.abs(vectors) ** 3)

    gradient = jax.grad(loss)
    assert jnp.all(jnp.isnan(gradient(a)))
    assert jnp.all(jnp.isnan(jax.jit(gradient)(a)))


@FEW
def test_batches_and_vmap(function):
    rng = np.random.default_rng(7)
    spectrum = np.concatenate([[2.0, 1.6, 1.3], 0.9 * np.linspace(1, 0.2, 9)])
    batch = jnp.stack([jnp.asarray(hermitian(rng, spectrum)) for _ in range(3)])
    w = like(rng, jax.eval_shape(kept(function, 3), batch[0]))

    def loss(a):
        """Of the batch as a whole: the sum over its members."""
        return sum(jnp.sum(x * y[None]) for x, y in zip(kept(function, 3)(a), w, strict=True))

    def single(a):
        return sum(jnp.sum(x * y) for x, y in zip(kept(function, 3)(a), w, strict=True))

    gradient = jax.jit(jax.grad(single))
    each = jnp.stack([gradient(a) for a in batch])
    wraps = {
        "leading axes": lambda: jax.grad(loss)(batch),
        "vmap of grad": lambda: jax.jit(jax.vmap(jax.grad(single)))(batch),
        "grad of vmap": lambda: jax.jit(jax.grad(lambda b: jnp.sum(jax.vmap(single)(b))))(batch),
        "checkpoint": lambda: jax.jit(jax.vmap(jax.grad(jax.checkpoint(single))))(batch),
    }
    for name in wraps if function is truncax.tsvd else ["leading axes", "grad of vmap"]:
        assert error(wraps[name](), each) <= 1e-12, name


def test_native_solvers():
    problem = svd_problem((32, 20), True)
    loss = lambda a, w: checks.tsvd_loss(a, w, solver=truncax.GolubKahan())  # noqa: E731
    expected = jax.jit(jax.grad(loss))(*problem[:2])

    def by_reverse(a, w):
        return checks.triplet_loss(*truncax.tsvd(a, K, solver=truncax.GolubKahan(), derivative=REVERSE), w)

    assert error(jax.jit(jax.grad(by_reverse))(*problem[:2]), expected) <= 1e-11


@FEW
def test_the_scale_of_the_matrix(function):
    """Vectors do not feel it: their gradient is inverse to it."""
    a, w, *_ = eigh_problem("LA", True)

    def loss(a):
        Q = function(a, K, solver=truncax.Dense(), derivative=REVERSE)
        Q = Q.eigenvectors if function is truncax.teigh else Q[0]
        return jnp.sum((jnp.conj(w) * mm(Q, adjoint(Q))).real)

    gradient = jax.jit(jax.grad(loss))
    for scale in (1e-150, 1e150):
        assert error(gradient(a * scale) * scale, gradient(a)) <= 1e-11, scale


@FEW
def test_tiny_cotangents(function):
    """float32 and 1e-20: squares underflow."""
    a = jnp.asarray(eigh_problem("LA", False)[0], jnp.float32)
    w = like(np.random.default_rng(0), jax.eval_shape(kept(function), a))
    both = cotangents_of_both_modes(function, K, "LM")
    tiny = jax.tree.map(lambda x: x * jnp.float32(1e-20), w)
    assert error(both(a, tiny)[1].astype(jnp.float64) * 1e20, both(a, w)[1]) <= 1e-4


# --- wrong rules, which these checks must catch -----------------------------------------------------------------------


def singular_check(shape=(26, 26), complex_=True):
    loss = lambda a, w: approximation(kept(truncax.singular_subspaces)(a), w)  # noqa: E731
    check_reverse(loss, checks.full_approximation_loss, svd_problem(shape, complex_))


def hermitian_check():
    loss = lambda a, w: pair_function(*kept(truncax.invariant_subspace, which="LA")(a), w)  # noqa: E731
    check_reverse(loss, checks.full_invariant_loss("LA"), eigh_problem("LA", True))


def test_dropping_the_coupling_is_caught(mutate):
    def uncoupled(operator, U, V):
        return lambda y: 0 * mm(U, adjoint(V), y), lambda x: 0 * mm(V, adjoint(U), x)

    mutate(svd_reverse, "discarded_part", uncoupled)
    with pytest.raises(AssertionError):
        singular_check()
    mutate(eigh, "discarded_part", lambda operator, Q: lambda y: 0 * y)
    with pytest.raises(AssertionError):
        hermitian_check()


def test_a_missing_conjugate_is_caught(mutate):
    right, right_hermitian = svd_reverse.singular_cotangent, eigh_reverse.invariant_cotangent

    def unconjugated(operator, U, C, V, *bars, **options):
        return right(operator, U, C, V, *map(jnp.conj, bars), **options)

    def unconjugated_hermitian(operator, Q, H, *bars, **options):
        return right_hermitian(operator, Q, H, *map(jnp.conj, bars), **options)

    mutate(attach, "singular_cotangent", unconjugated)
    with pytest.raises(AssertionError):
        singular_check()
    mutate(attach, "invariant_cotangent", unconjugated_hermitian)
    with pytest.raises(AssertionError):
        hermitian_check()


def test_a_diagonal_core_is_caught_at_second_order(mutate):
    right, right_hermitian = svd_reverse.singular_cotangent, eigh_reverse.invariant_cotangent

    def diagonal(operator, U, C, V, *bars, **options):
        return right(operator, U, jnp.diag(jnp.diagonal(C)), V, *bars, **options)

    def diagonal_hermitian(operator, Q, H, *bars, **options):
        return right_hermitian(operator, Q, jnp.diag(jnp.diagonal(H)), *bars, **options)

    mutate(attach, "singular_cotangent", diagonal)
    with pytest.raises(AssertionError, match="1e-09"):
        singular_check()
    mutate(attach, "invariant_cotangent", diagonal_hermitian)
    with pytest.raises(AssertionError, match="1e-09"):
        hermitian_check()


def test_an_operator_that_is_singular_on_the_kept_space_is_caught(mutate):
    def singular(operator, Q, H, Qbar, Hbar, *, size, which, options):
        system = eigh_reverse.invariant_system(operator, Q, H, size, which).system
        system = system._replace(matvec=lambda z: operator.apply(z) - mm(z, H))
        b = -(Qbar - mm(Q, adjoint(Q), Qbar))
        Z = eigh_reverse.solve_self_adjoint(system, b, options)
        return mm(Q, Hbar) + Z

    mutate(attach, "invariant_cotangent", singular)
    with pytest.raises(AssertionError):
        hermitian_check()
