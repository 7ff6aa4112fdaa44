"""Hypothesis: what must hold of every decomposition and of its derivative, whatever the matrix.

Programs and their shapes are in ``programs.py``, matrices in ``strategies.py``. Everything is measured in double
precision on the host, in units of the scale of the matrix; every bound is a factor times the residual that a
decomposition promises, over the gap.
"""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
import scipy.sparse
from hypothesis import assume, given
from hypothesis import strategies as st
from losses import cotangent_of_loss, gradient_of_loss, library_gradient, loss_bound, middle_weights, scale_of
from profiles import HYPOTHESIS_LONG
from programs import (
    PROGRAMS,
    SHORT,
    Program,
    blank,
    norm,
    pairing,
    parts,
    rounded,
    run,
    run_form,
    run_forward,
    values_of,
)
from references import hermitian, matrix, orthonormal
from strategies import CLUSTERED, SCALES, SEPARATED, cases, wild_cases

import truncax
from truncax.results import Status

NORMAL = [p for p in PROGRAMS if p.kind != "general"]
SUBSPACES = [p for p in NORMAL if p.subspaces]
VECTORS = [p for p in PROGRAMS if not p.subspaces]
DOUBLE = [p for p in PROGRAMS if p.double]


def adjoint(x):
    return x.conj().T


def far(x, y):
    return float(np.linalg.norm(np.asarray(x) - np.asarray(y)))


def projectors(program, result):
    """What the vectors span, as matrices that do not depend on the basis."""
    if program.kind == "general":
        Q = np.linalg.qr(result.Q if program.subspaces else result.eigenvectors)[0]
        return [Q @ adjoint(Q)]
    left, _, right = parts(program, result)
    return [left @ adjoint(left), adjoint(right) @ right]


def in_order(program, values):
    """As they are, or ascending where either of l and -l may come first."""
    return np.sort(values.real) if program.which == "LM" else values


# The forward pass.


@given(cases())
def test_residuals_are_small(case):
    program, found = case.program, run(case.program, case.a, scale=case.scale)
    assert found.info.converged
    bound = case.tolerance(found.info, 2 * program.k**0.5, 0)
    if program.kind == "general":
        vectors = found.result.Q if program.subspaces else found.result.eigenvectors
        middle = found.result.H if program.subspaces else np.diag(found.result.eigenvalues)
        # Rounding is relative to the norm of a, twice its largest eigenvalue here.
        assert far(case.a @ vectors, vectors @ middle) <= 4 * bound
        return
    left, middle, right = parts(program, found.result)
    assert far(case.a @ adjoint(right), left @ middle) <= bound
    assert far(adjoint(case.a) @ left, adjoint(right) @ adjoint(middle)) <= bound
    assert found.info.residual_norms.max() <= bound


@given(cases())
def test_vectors_are_orthonormal(case):
    program, found = case.program, run(case.program, case.a, scale=case.scale)
    eps = np.finfo(program.dtype).eps
    if program.function == "teig":
        np.testing.assert_allclose(np.linalg.norm(found.result.eigenvectors, axis=0), 1, atol=50 * eps)
        return
    vectors = [found.result.Q] if program.function == "invariant_subspace" else None
    if vectors is None:
        left, _, right = parts(program, found.result)
        vectors = [left, adjoint(right)]
    for x in vectors:
        np.testing.assert_allclose(adjoint(x) @ x, np.eye(program.k), atol=50 * eps)


@given(cases())
def test_values_are_those_of_the_full_decomposition(case):
    program, found = case.program, run(case.program, case.a, scale=case.scale)
    values = values_of(program, found.result)
    bound = case.tolerance(found.info, 2, 0)
    if program.kind == "general":
        # Pairs of the same magnitude in any order; the condition of the vectors is two.
        distances = np.abs(values[:, None] - case.kept[None, :])
        assert max(distances.min(axis=0).max(), distances.min(axis=1).max()) <= 10 * bound
        return
    np.testing.assert_allclose(in_order(program, values), in_order(program, case.kept), atol=bound)
    if np.isfinite(found.info.cut_gap) and program.kind == "singular":
        np.testing.assert_allclose(found.info.cut_gap, case.gap, rtol=0.1, atol=bound)


@given(cases())
def test_the_best_come_first(case):
    program, found = case.program, run(case.program, case.a, scale=case.scale)
    values = values_of(program, found.result)
    key = {"LM": -np.abs(values), "LA": -values, "SA": values, "BE": None}[program.which]
    rounding = 8 * np.finfo(program.dtype).eps
    for part in (values[1::2], -values[::2]) if key is None else (key,):
        assert np.all(np.diff(part.real) >= -rounding)
    if program.kind == "singular":
        assert np.all(values >= 0)
    if program.kind == "general" and not program.complex:
        # Conjugate pairs are together, the positive imaginary part first.
        first = np.flatnonzero(values.imag > 1e3 * rounding)
        np.testing.assert_allclose(values[first + 1], values[first].conj(), atol=1e3 * rounding)


@given(cases([p for p in PROGRAMS if p.k > 1][::3]))
def test_fewer_are_the_first_of_more(case):
    program = case.program
    j = program.k // 2
    fewer = replace(program, k=j)
    more, info, *_ = run(program, case.a, scale=case.scale)
    # In the order of ``which``: of values of the same magnitude under "LM" any may come first.
    ranks = np.abs(case.spectrum) if program.which == "LM" else case.spectrum
    gap = np.min(np.abs(ranks[:j, None] - ranks[None, j:]))
    assume(gap >= 1e-3)
    few, few_info = run_forward(fewer, case.a, case.scale)
    bound = 20 * case.tolerance(info if info.iterations > few_info.iterations else few_info, 1, 0)
    np.testing.assert_allclose(values_of(fewer, few), values_of(program, more)[:j], atol=bound)
    if program.function in ("tsvd", "teigh"):
        left, _, right = parts(program, more)
        left, right = left[:, :j], right[:j]
        for x, y in zip(projectors(fewer, few), (left @ adjoint(left), adjoint(right) @ right), strict=True):
            assert far(x, y) <= bound / gap


# The derivative against other sources.


@given(cases(NORMAL))
def test_gradients_are_those_of_the_full_decomposition(case):
    rng = case.rng
    w, weights = case.random(rng), middle_weights(case, rng)
    gradient, found = library_gradient(case, w, weights)
    expected = gradient_of_loss(case, w, weights)
    assert far(gradient, expected) <= loss_bound(case, found.info) * scale_of(expected, w)


@given(cases(SUBSPACES, CLUSTERED))
def test_subspaces_do_not_see_clusters(case):
    """No loss of digits where kept values agree or nearly so: the gap inside does not enter the bound."""
    rng = case.rng
    w = case.random(rng)
    gradient, found = library_gradient(case, w, None)
    expected = gradient_of_loss(case, w, None)
    assert far(gradient, expected) <= case.tolerance(found.info, 20) * scale_of(expected, w)


@given(cases([p for p in PROGRAMS if p.function == "teig"], scaled=False))
def test_tangents_of_general_pairs_are_those_of_the_full_decomposition(case):
    """``dl = (R^-1 da R)_jj``, ``dr_j = sum_i r_i (R^-1 da R)_ij / (l_j - l_i)``, less its part along ``r_j``."""
    rng = case.rng
    v = case.direction(rng)
    found = run(case.program, case.a, v=v)
    values, vectors = found.result
    every, R = np.linalg.eig(case.a)
    nearest = np.argmin(np.abs(values[:, None] - every[None, :]), axis=1)
    gap = np.min(np.abs(values[:, None] - every[None, :]) + np.eye(len(every))[nearest] * 9)
    assume(gap >= 1e-3)
    N = np.linalg.solve(R, v @ R)
    size = np.linalg.norm(N)
    bound = 50 * case.tolerance(found.info, 1, 0)
    np.testing.assert_allclose(found.tangent.eigenvalues, np.diagonal(N)[nearest], atol=bound * size / gap)
    with np.errstate(divide="ignore", invalid="ignore"):
        F = np.where(np.eye(len(every)), 0, 1 / (every[None, :] - every[:, None]))
    dR = (R @ (F * N))[:, nearest]
    r = R[:, nearest]
    phase = np.sum(r.conj() * vectors, axis=0) / np.sum(np.abs(r) ** 2, axis=0)
    dR = (dR - r * np.sum(r.conj() * dR, axis=0) / np.sum(np.abs(r) ** 2, axis=0)) * phase
    assert far(found.tangent.eigenvectors, dR) <= bound * size / gap**2


# Symmetries.


@given(cases(), st.sampled_from([2.0**-60, 1e-9, 0.3, 7.0, 2.0**60]))
def test_a_multiple_has_the_same_vectors_and_multiples_of_the_values(case, factor):
    rng, program = case.rng, case.program
    w, weights = case.random(rng), middle_weights(case, rng)
    a = rounded(program, case.a)
    assume(np.array_equal(rounded(program, a, factor), a) or program.double)
    gradient, found = library_gradient(case, w, weights, a=a, scale=1.0)
    scaled, other = library_gradient(case, w, weights, a=a, scale=factor)
    bound = case.tolerance(found.info, 4, 0)
    np.testing.assert_allclose(
        np.sort(np.abs(values_of(program, other.result))),
        np.sort(np.abs(values_of(program, found.result))),
        atol=10 * bound,
    )
    for x, y in zip(projectors(program, other.result), projectors(program, found.result), strict=True):
        assert far(x, y) <= 10 * bound / case.gap
    if program.kind != "general":
        assert far(gradient, scaled) <= loss_bound(case, found.info) * scale_of(gradient, w)


@given(cases([p for p in NORMAL if p.which in ("LA", "SA")]), st.floats(-3, 3))
def test_a_shift_moves_the_values_alone(case, shift):
    rng, program = case.rng, case.program
    w, weights = case.random(rng), middle_weights(case, rng)
    a = case.a + shift * np.eye(len(case.a))
    a = rounded(program, a, case.scale)
    # What rounding has changed belongs to the matrix.
    moved = replace(case, a=a)
    before = replace(case, a=rounded(program, a - shift * np.eye(len(a)), case.scale))
    x, y = run(program, before.a, scale=case.scale), run(program, a, scale=case.scale)
    bound = case.tolerance(y.info, 20 * (1 + abs(shift)), 0)
    np.testing.assert_allclose(values_of(program, y.result), values_of(program, x.result) + shift, atol=bound)
    for p, q in zip(projectors(program, x.result), projectors(program, y.result), strict=True):
        assert far(p, q) <= bound / case.gap
    if not program.subspaces:
        one, _ = library_gradient(before, w, weights)
        two, found = library_gradient(moved, w, weights)
        # Beside values that the shift has made larger, a gap may be too small for a derivative.
        assume(int(found.info.status) != truncax.Status.CUT_DEGENERATE)
        assert far(one, two) <= bound / case.gap / case.split * scale_of(one, w)


@given(cases(NORMAL))
def test_unitary_factors_turn_vectors_and_gradients(case):
    rng, program = case.rng, case.program
    m, n = program.shape
    w, weights = case.random(rng), middle_weights(case, rng)
    P, Q = orthonormal(rng, m, m, program.complex), orthonormal(rng, n, n, program.complex)
    Q = P if program.kind == "hermitian" else Q
    turned = P @ case.a @ adjoint(Q)
    turned = (turned + adjoint(turned)) / 2 if program.kind == "hermitian" else turned
    x, y = run(program, case.a, scale=case.scale), run(program, turned, scale=case.scale)
    bound = case.tolerance(y.info, 20 + case.program.k, 0)
    values = (in_order(program, values_of(program, found.result)) for found in (x, y))
    np.testing.assert_allclose(*values, atol=bound)
    for p, q, T in zip(projectors(program, x.result), projectors(program, y.result), (P, Q), strict=True):
        assert far(T @ p @ adjoint(T), q) <= bound / case.gap
    one, _ = library_gradient(case, w, weights)
    two, found = library_gradient(case, P @ w @ adjoint(Q), weights, a=turned)
    assert far(P.conj() @ one @ Q.T, two) <= 2 * loss_bound(case, found.info) * scale_of(one, w)


@given(cases([p for p in DOUBLE if HYPOTHESIS_LONG or p.shape[0] == p.shape[1] or p.solver == truncax.Dense()]))
def test_the_adjoint_swaps_the_sides(case):
    """``A -> A^H`` swaps U and V; of Hermitian and general matrices the transpose has the same values."""
    rng, program = case.rng, case.program
    w, weights = case.random(rng), middle_weights(case, rng)
    other = replace(program, shape=program.shape[::-1])
    singular = program.kind == "singular"
    a = adjoint(case.a) if singular else case.a.T
    x, y = run(program, case.a, scale=case.scale), run(other, a, scale=case.scale)
    bound = case.tolerance(y.info, 20, 0)
    one, two = values_of(program, x.result), values_of(program, y.result)
    if program.kind == "general":
        distances = np.abs(one[:, None] - two[None, :])
        assert max(distances.min(axis=0).max(), distances.min(axis=1).max()) <= bound
        return
    np.testing.assert_allclose(in_order(program, one), in_order(program, two), atol=bound)
    turned = projectors(program, y.result)
    turned = turned[::-1] if singular else [p.T for p in turned]
    for p, q in zip(projectors(program, x.result), turned, strict=True):
        assert far(p, q) <= bound / case.gap
    one, _ = library_gradient(case, w, weights)
    swapped = adjoint(w) if singular else w.T
    two, found = library_gradient(replace(case, program=other), swapped, weights, a=a)
    assert far(one, adjoint(two) if singular else two.T) <= 2 * loss_bound(case, found.info) * scale_of(one, w)


# The derivative as a linear map.


def random_like(case, rng):
    return jax.tree.map(
        lambda x: rng.normal(size=x.shape) + (1j * rng.normal(size=x.shape) if np.iscomplexobj(x) else 0),
        blank(case.program),
    )


def sized(tree):
    return max(norm(tree), 1e-300)


@given(cases(), st.floats(-2, 2))
def test_tangents_are_linear_in_the_direction(case, factor):
    rng = case.rng
    one, two = case.direction(rng), case.direction(rng)
    # In the precision of the program, so that it sees their sum.
    both = rounded(case.program, one + factor * two, case.scale)
    two = (both - one) / factor if abs(factor) > 0.1 else two
    assume(abs(factor) > 0.1)
    x, y, z = (run(case.program, case.a, v=v, scale=case.scale) for v in (one, two, both))
    expected = jax.tree.map(lambda x, y: x + factor * y, x.tangent, y.tangent)
    size = sized(x.tangent) + abs(factor) * sized(y.tangent)
    assert norm(jax.tree.map(np.subtract, z.tangent, expected)) <= loss_bound(case, x.info) / 0.1 * size


@given(cases())
def test_the_cotangent_map_is_the_adjoint_of_the_tangent_map(case):
    """For random cotangents, which depend on phases and on the basis as well."""
    rng = case.rng
    v, w = case.direction(rng), random_like(case, rng)
    found = run(case.program, case.a, v=v, w=w, scale=case.scale)
    left, right = pairing(w, found.tangent), pairing(found.cotangent, v)
    size = sized(found.tangent) * norm(w) + sized(found.cotangent) * norm(v)
    assert abs(left - right) <= case.tolerance(found.info, 10) * size


@given(cases([p for p in PROGRAMS if p.double or p.subspaces][::3]))
def test_both_modes_have_the_same_gradient(case):
    rng, program = case.rng, case.program
    w, weights = case.random(rng), middle_weights(case, rng)
    one, found = library_gradient(case, w, weights)
    two, _ = library_gradient(case, w, weights, program=replace(program, mode="reverse"))
    assert far(one, two) <= loss_bound(case, found.info) * scale_of(one, w)


def invariant(program, result):
    """A matrix and values that do not depend on phases or on the basis, to be differentiated."""
    if program.function == "teig":
        return result.eigenvalues
    if program.kind == "general":
        return result.Q @ adjoint(result.Q)
    left, middle, right = parts(program, result)
    return left @ middle @ right


def tangent_of_invariant(program, result, tangent):
    if program.function == "teig":
        return tangent.eigenvalues
    if program.kind == "general":
        half = tangent.Q @ adjoint(result.Q)
        return half + adjoint(half)
    (left, middle, right), (dl, dm, dr) = parts(program, result), parts(program, tangent)
    return dl @ middle @ right + left @ dm @ right + left @ middle @ dr


@given(cases(DOUBLE, SEPARATED))
def test_tangents_are_those_of_differences(case):
    assume(case.gap >= 1e-2)
    program, rng = case.program, case.rng
    d = case.direction(rng)
    d = d / np.linalg.norm(d, 2)
    found = run(program, case.a, v=d, scale=case.scale)
    if program.function == "teig":
        assume(np.min(np.abs(np.subtract.outer(case.kept, case.kept)) + 9 * np.eye(program.k)) > 0.05)
    h = 2e-3 * case.gap

    def f(t):
        return invariant(program, run(program, case.a + t * d, scale=case.scale).result)

    slope = (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)
    got = tangent_of_invariant(program, found.result, found.tangent)
    assert far(got, slope) <= case.tolerance(found.info, 1e4) * (1 + np.linalg.norm(got))


# Gauge.

DEFECT = jax.jit(truncax.gauge_defect)


@partial(jax.jit, static_argnums=0, static_argnames="which")
def at_factors(function, a, factors, cotangents, which):
    options = {"which": which}
    return getattr(truncax.rules, f"{function}_vjp")(a, factors, cotangents, **options)


def cast(program, parts):
    like = blank(program)
    return type(like)(*(np.asarray(x, b.dtype) for x, b in zip(parts, like, strict=True)))


@given(cases(NORMAL, scaled=False))
def test_invariant_losses_have_no_gauge_defect_and_others_do(case):
    rng, program = case.rng, case.program
    w, weights = case.random(rng), middle_weights(case, rng)
    found = run(program, case.a)
    result, eps = cast(program, found.result), np.finfo(program.dtype).eps
    assert DEFECT(result, cast(program, cotangent_of_loss(case, found.result, w, weights))) <= 100 * eps
    if program.complex or (program.k > 1 and program.subspaces):
        # One number may come near zero by chance, three in a row do not.
        assert max(DEFECT(result, cast(program, random_like(case, rng))) for _ in range(3)) > 1e-3


@given(cases(NORMAL[::3], scaled=False))
def test_gradients_do_not_depend_on_phases_or_the_basis(case):
    """The derivative at the same factors with other phases, of subspaces in another basis."""
    rng, program = case.rng, case.program
    w, weights = case.random(rng), middle_weights(case, rng)
    one, found = library_gradient(case, w, weights, scale=1.0)
    k = program.k
    if program.subspaces:
        P, Q = orthonormal(rng, k, k, program.complex), orthonormal(rng, k, k, program.complex)
    else:
        P = np.diag(np.exp(1j * rng.uniform(0, 6, k)) if program.complex else rng.choice([-1.0, 1.0], k))
        Q = P
    Q = P if program.kind == "hermitian" else Q
    left, middle, right = parts(program, found.result)
    turned = {
        "tsvd": lambda: (left @ P, found.result[1], adjoint(P) @ right),
        "singular_subspaces": lambda: (left @ P, adjoint(P) @ middle @ Q, adjoint(Q) @ right),
        "teigh": lambda: (found.result.eigenvalues, left @ P),
        "invariant_subspace": lambda: (left @ P, adjoint(P) @ middle @ P),
    }[program.function]()
    turned = type(found.result)(*turned)
    bars = cast(program, cotangent_of_loss(case, turned, w, weights))
    a = np.asarray(case.a, program.dtype)
    two = at_factors(program.function, a, tuple(cast(program, turned)), tuple(bars), which=program.which)
    assert far(one, two) <= loss_bound(case, found.info) * scale_of(one, w)


# Other forms of one operator.

FORMS = [
    (program, form)
    for program in SHORT
    for function, shape, form in [
        ("tsvd", (24, 40), "bcoo"),
        ("tsvd", (40, 24), "sum"),
        ("singular_subspaces", (32, 32), "product"),
        ("teigh", "LM", "function"),
        ("invariant_subspace", "LA", "gram"),
    ]
    if program.function == function and shape in (program.shape, program.which)
]
if HYPOTHESIS_LONG:
    every = {program: None for program, _ in FORMS}
    FORMS = [(p, form) for p in every for form in ("bcoo", "function", "sum", "product")] + FORMS[-1:]


def in_form(form, a, rng):
    """Arrays that make ``a`` in this form, what does not move, and how the gradients are those of an array."""
    m, n = a.shape
    if form == "gram":
        return a, None, lambda g: a.conj() @ (g + g.conj().T)
    if form == "function":
        return a, None, lambda g: g
    if form == "sum":
        other = a * rng.uniform(-2, 2, a.shape)
        other = (other + adjoint(other)) / 2 if m == n else other
        return (a - other, other), None, lambda g: (g, g)
    if form == "product":
        # Both factors are functions of a where a is square, so that their product is Hermitian if a is.
        b = a + 3 * np.eye(n) if m == n else orthonormal(rng, n, n, np.iscomplexobj(a)) * np.linspace(1, 2, n)
        c = a @ np.linalg.inv(b)
        return (c, b), None, lambda g: (g @ b.T, c.T @ g)
    places = np.stack(np.divmod(rng.permutation(m * n), n), axis=1)
    places = np.concatenate([places, places[:5]])
    data = a[tuple(places.T)]
    data[:5] *= 0.25
    data[-5:] *= 0.75
    return data, places.astype(np.int32), lambda g: g[tuple(places.T)]


@given(st.sampled_from(FORMS), st.data())
def test_forms_of_an_operator_agree(chosen, data):
    program, form = chosen
    case = data.draw(cases([program], SEPARATED, scaled=False))
    rng = case.rng
    w, weights = case.random(rng), middle_weights(case, rng)
    x, fixed, pulled = in_form(form, case.a, rng)
    a = adjoint(x) @ x if form == "gram" else case.a
    gradient, found = library_gradient(case, w, weights, a=a, scale=1.0)
    formed = replace(program, form=form)
    zeros = jax.tree.map(np.zeros_like, x)
    first = run_form(formed, x, zeros, blank(program), fixed)
    bars = cotangent_of_loss(case, first.result, w, weights)
    v = jax.tree.map(lambda y: rng.normal(size=y.shape).astype(y.dtype), x)
    second = run_form(formed, x, v, bars, fixed)
    bound = loss_bound(case, found.info, 100)
    np.testing.assert_allclose(values_of(program, first.result), values_of(program, found.result), atol=bound)
    for p, q in zip(projectors(program, first.result), projectors(program, found.result), strict=True):
        assert far(p, q) <= bound
    expected, got = pulled(gradient), second.cotangent
    if form == "function" and program.kind == "hermitian":
        # Its tangents are Hermitian by the user's word, and only that part of the cotangent has a meaning.
        got = (got + adjoint(got)) / 2
        v = (v + adjoint(v)) / 2
        second = run_form(formed, x, v, bars, fixed)
    difference = jax.tree.map(np.subtract, expected, got)
    assert norm(difference) <= bound * (norm(expected) + norm(w))
    left, right = pairing(bars, second.tangent), pairing(second.cotangent, v)
    assert abs(left - right) <= bound * (norm(bars) * norm(second.tangent) + norm(second.cotangent) * norm(v))


@given(cases(NORMAL[:1], scaled=False))
def test_sparse_matrices_of_scipy_agree_with_arrays(case):
    program = case.program
    result, info, *_ = run(program, case.a)
    sparse, sparse_info = jax.device_get(program.decompose(scipy.sparse.csr_array(case.a)))
    bound = case.tolerance(info if info.iterations > sparse_info.iterations else sparse_info, 10, 0)
    np.testing.assert_allclose(values_of(program, sparse), values_of(program, result), atol=bound)
    for p, q in zip(projectors(program, sparse), projectors(program, result), strict=True):
        assert far(p, q) <= bound / case.gap


# Anything finite: right, or not a number with a status that says so.


def finite(tree):
    return all(np.all(np.isfinite(x)) for x in jax.tree.leaves(tree))


@given(wild_cases())
def test_whatever_is_finite_is_decomposed_or_refused(case):
    program, found = case.program, run(case.program, case.a, scale=case.scale, missed=True)
    if not found.info.converged:
        assert found.info.status in (Status.NOT_CONVERGED, Status.NON_FINITE)
        assert all(np.all(np.isnan(x)) for x in found.result)
        return
    assert finite(found.result)
    size = np.linalg.norm(case.a, 2) if program.kind == "general" else np.abs(case.spectrum).max()
    bound = 10 * program.k**0.5 * case.tolerance(found.info, 1, 0) * size
    values = values_of(program, found.result)
    if program.kind == "general":
        vectors = found.result.Q if program.subspaces else found.result.eigenvectors
        middle = found.result.H if program.subspaces else np.diag(values)
        assert far(case.a @ vectors, vectors @ middle) <= bound
        return
    np.testing.assert_allclose(np.abs(values), np.abs(case.kept), atol=bound)
    left, middle, right = parts(program, found.result)
    assert far(case.a @ adjoint(right), left @ middle) <= bound
    assert far(adjoint(left) @ left, np.eye(program.k)) <= 100 * program.k * np.finfo(program.dtype).eps


@given(wild_cases(NORMAL))
def test_derivatives_are_right_or_not_a_number(case):
    """The values' always, a subgradient at a tie; the vectors' where they are finite adjoint to each other."""
    program, rng = case.program, case.rng
    v, w = case.direction(rng), random_like(case, rng)
    found = run(program, case.a, v=v, w=w, scale=case.scale)
    if not found.info.converged:
        assert all(np.all(np.isnan(x)) for x in found.tangent)
        return
    left, _, right = parts(program, found.result)
    slope = np.trace(adjoint(left) @ v @ adjoint(right)).real
    of_sum = np.sum(values_of(program, found.tangent)).real
    eps = np.finfo(program.dtype).eps
    assert abs(of_sum - slope) <= 100 * eps * program.k * np.linalg.norm(v)
    if not finite(found.tangent):
        assert np.all(np.isnan(found.cotangent)) or finite(found.cotangent)
        # Zeros that are kept and discarded have the tangent zero, so that others must be close, also to the zeros of
        # the longer side.
        largest = np.abs(case.spectrum).max()
        kept = case.kept if program.which != "LM" else case.kept[np.abs(case.kept) > 64 * eps * largest]
        discarded = np.append(case.spectrum[program.k :], np.zeros(abs(np.subtract(*program.shape))))
        assert np.min(np.abs(kept[:, None] - discarded[None, :]), initial=np.inf) <= 1e-2 * largest
        return
    if found.info.status == Status.CONVERGED and finite(found.cotangent):
        one, two = pairing(w, found.tangent), pairing(found.cotangent, v)
        size = norm(found.tangent) * norm(w) + norm(found.cotangent) * norm(v)
        gap = max(float(found.info.cut_gap), eps)
        assert abs(one - two) <= case.tolerance(found.info, 10, 0) / min(gap, 1) * size


MULTIPLETS = [
    Program("tsvd", (10, 12), 5, "float64", truncax.Dense()),
    Program("teigh", (10, 10), 2, "float64", truncax.Dense(), "SA"),
]


@given(st.sampled_from(MULTIPLETS), st.sampled_from(["above", "below"]), st.data())
def test_complete_multiplet_ends_at_a_gap(program, side, data):
    steps = np.array(data.draw(st.lists(st.sampled_from([0.0, 1e-12, 0.1]), min_size=9, max_size=9)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    scale = data.draw(st.sampled_from(SCALES[True]))
    s = 2 - np.concatenate([[0], np.cumsum(steps)])
    singular = program.kind == "singular"
    a = scale * (matrix(rng, program.shape, s) if singular else hermitian(rng, -s))
    ends = [j for j in range(1, 11) if j == 10 or steps[j - 1] > 1e-3]
    fitting = [j for j in ends if (j >= program.k if side == "above" else j <= program.k)]
    options = {"side": side, "hermitian": not singular, "which": program.which, "solver": program.solver}
    if not fitting:
        with pytest.raises(ValueError, match="no gap above rtol"):
            truncax.complete_multiplet(a, program.k, **options)
        return
    assert truncax.complete_multiplet(a, program.k, **options) == (min if side == "above" else max)(fitting)
