"""The cut of a spectrum: gaps, ties, what is defined there, and where to cut instead."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import mm
from profiles import crossed
from references import error, hermitian, hermitian_function_gradient, matrix, random

import truncax
from truncax import Status, complete_multiplet, mask_multiplet

NATIVE = {"tsvd": truncax.GolubKahan(), "teigh": truncax.Lanczos()}
BELOW = np.linspace(0.8, 0.1, 17)


def inner(w, x):
    return jnp.sum((jnp.conj(w) * x).real)


def vectors(result):
    return result.U if isinstance(result, truncax.TSVDResult) else result.eigenvectors


@cache
def with_gradients(name, k, which, solver, on_failure="raise"):
    """A result's info, and the gradients of a projector and of the sum, from one program."""

    @jax.jit
    def run(a, w):
        options = {"which": which, "solver": solver, "on_failure": on_failure, "return_info": True}
        result, pull, info = jax.vjp(lambda a: getattr(truncax, name)(a, k, **options), a, has_aux=True)
        losses = (
            lambda r: inner(w, mm(vectors(r), jnp.conj(vectors(r).T))),
            lambda r: r.S.sum() if name == "tsvd" else r[0].sum(),
        )
        return info, *(pull(jax.grad(loss)(result))[0] for loss in losses)

    return run


@crossed("name, native, dtype", ["tsvd", "teigh"], [True, False], ["float64", "float32"], rows=4)
def test_the_status_of_a_tie(name, native, dtype):
    """Exactly where the derivative of the subspace has no digit left; the sum keeps its subgradient."""
    solver = NATIVE[name] if native else truncax.Dense()
    which = "SA" if name == "teigh" else "LM"
    rng = np.random.default_rng(0)
    eps = np.finfo(dtype).eps
    for gap in (0, 4 * eps, 1e4 * eps):
        values = np.r_[2.0, 1.0, 1.0 - gap, BELOW]
        a = hermitian(rng, -values) if which == "SA" else matrix(rng, (20, 20), values)
        w = jnp.asarray(random(rng, (20, 20)), dtype)
        a = jnp.asarray(a, dtype)
        info, projector, total = with_gradients(name, 2, which, solver)(a, w)
        tied = gap < 100 * eps
        assert info.status == (Status.CUT_DEGENERATE if tied else Status.CONVERGED), gap
        assert bool(info.converged)
        assert bool(jnp.all(jnp.isnan(projector))) == tied
        assert abs(float(jnp.linalg.norm(total)) - np.sqrt(2)) <= 100 * eps
        assert np.linalg.norm(total, 2) <= 1 + 100 * eps


def test_a_tie_is_no_failure_among_the_members_of_a_batch():
    tie = jnp.diag(jnp.array([3.0, 2.0, 2.0, 1.0]))
    with pytest.raises(ValueError, match="in 1 of 3 members of the batch"):
        truncax.tsvd(jnp.stack([tie, jnp.eye(4) * jnp.arange(1.0, 5.0)[:, None], tie * jnp.nan]), 2)


def test_the_policy_at_a_tie():
    """A rule cannot raise: NaN unless the user keeps what failed. The members of a batch are told apart."""
    rng = np.random.default_rng(1)
    tied = matrix(rng, (20, 20), np.r_[2.0, 1.0, 1.0, BELOW])
    apart = matrix(rng, (20, 20), np.r_[2.0, 1.0, 0.9, BELOW])
    batch, w = jnp.asarray(np.stack([tied, apart])), random(rng, (20, 20))

    def gradients(on_failure):
        def loss(a):
            result, info = truncax.tsvd(a, 2, on_failure=on_failure, return_info=True)
            return inner(w, mm(result.U, result.U.T)), info.status

        return jax.jit(jax.vmap(jax.grad(loss, has_aux=True)))(batch)

    expected, statuses = gradients("nan")
    np.testing.assert_array_equal(statuses, [Status.CUT_DEGENERATE, Status.CONVERGED])
    assert jnp.all(jnp.isnan(expected[0]))
    assert jnp.all(jnp.isfinite(expected[1]))
    np.testing.assert_array_equal(gradients("raise")[0], expected)
    kept = gradients("keep")[0]
    assert jnp.all(jnp.isfinite(kept))
    np.testing.assert_array_equal(kept[1], expected[1])


def exact_gaps(values, k, which, more=()):
    order = {
        "LM": lambda v: np.argsort(-np.abs(v), kind="stable"),
        "LA": lambda v: np.argsort(-v),
        "SA": np.argsort,
        "BE": lambda v: np.argsort(v)[::-1][[j // 2 if j % 2 == 0 else len(v) - 1 - j // 2 for j in range(len(v))]],
    }[which]
    ordered = np.r_[values[order(values)], more]
    rank = np.abs if which == "LM" else np.asarray
    size = np.max(np.abs(ordered))
    gaps = [np.min(np.abs(rank(ordered[:j])[:, None] - rank(ordered[j:])[None, :])) for j in range(1, k + 1)]
    kept = ordered[:k]
    between = np.min(np.abs(kept[:, None] - kept[None, :]) + 10 * np.eye(k))
    cut = np.min(np.abs(kept[:, None] - ordered[None, k:]))
    return np.array(gaps) / size, between / size, cut / size


@pytest.mark.parametrize("which", ["LM", "LA", "SA", "BE"])
def test_gaps_of_eigenvalues(which):
    values = np.r_[2.0, -2.0, 1.9, 1.4, -1.4, 1.1, -0.9, np.linspace(-0.7, 0.7, 9)]
    a = hermitian(np.random.default_rng(2), values)
    # Seven from both ends: the nearest discarded value is not that of the last kept one.
    for k in (5, 6, 7) if which == "BE" else (5, 6):
        _, info = truncax.teigh(a, k, which=which, solver=truncax.Dense(), return_info=True)
        gaps, between, cut = exact_gaps(values, k, which)
        np.testing.assert_allclose(info.gaps, gaps, atol=1e-14)
        np.testing.assert_allclose([info.min_kept_gap, info.cut_gap], [between, cut], atol=1e-14)
        assert info.selection_gap == info.gaps[-1]


def test_gaps_of_singular_values():
    values = np.r_[2.0, 2.0, 1.9, 1.4, 0.3]
    a = matrix(np.random.default_rng(3), (5, 8), values)
    for k in (4, 5):
        _, info = truncax.tsvd(a, k, return_info=True)
        gaps, between, cut = exact_gaps(values, k, "LM", more=[0.0])
        np.testing.assert_allclose(info.gaps, gaps, atol=1e-14)
        np.testing.assert_allclose([info.min_kept_gap, info.cut_gap], [between, cut], atol=1e-14)
    assert truncax.tsvd(a, 1, return_info=True)[1].min_kept_gap == np.inf
    square = truncax.tsvd(a[:, :5], 5, return_info=True)[1]
    assert square.gaps[-1] == square.cut_gap == np.inf
    batch = jax.jit(lambda a: truncax.tsvd(a, 3, return_info=True)[1].gaps)(jnp.stack([jnp.asarray(a)] * 2))
    assert batch.shape == (2, 3)


def test_a_plus_minus_tie_is_no_tie_of_values():
    """Under "LM" a pair l, -l at the cut makes the selection ambiguous, not the derivative ill-conditioned."""
    rng = np.random.default_rng(4)
    values = np.r_[2.0, 1.0, -1.0, BELOW]
    a, w = hermitian(rng, values), random(rng, (20, 20))
    info, projector, _ = with_gradients("teigh", 2, "LM", truncax.Dense())(jnp.asarray(a), w)
    assert info.selection_gap <= 1e-14
    assert info.cut_gap > 0.05
    assert info.status == Status.CONVERGED
    assert jnp.linalg.norm(projector) < 1e3


def test_complete_multiplet():
    rng = np.random.default_rng(5)
    values = np.r_[3.0, 2.0, 2.0, 2.0, 1.0, 1.0 - 1e-4, np.linspace(0.7, 0.1, 24)]
    a = jnp.asarray(matrix(rng, (30, 36), values))
    expected = {1: (1, 1), 2: (4, 1), 3: (4, 1), 4: (4, 4), 5: (5, 5)}
    for k, (above, below) in expected.items():
        assert (complete_multiplet(a, k), complete_multiplet(a, k, side="below")) == (above, below)
    assert (complete_multiplet(a, 5, 1e-3), complete_multiplet(a, 5, 1e-3, side="below")) == (6, 4)
    assert complete_multiplet(a, 5, 1e-3, solver=truncax.GolubKahan()) == 6
    k = complete_multiplet(a, 3)
    assert truncax.tsvd(a, k, return_info=True)[1].cut_gap > 0.1
    # A whole multiplet that doubling must reach, and eigenvalues of both signs.
    h = hermitian(rng, np.r_[np.ones(23), -np.ones(2), np.zeros(5)])
    assert complete_multiplet(h, 2, hermitian=True, which="LA") == 23
    assert complete_multiplet(h, 2, hermitian=True) == 25
    assert complete_multiplet(h, 2, hermitian=True, which="SA") == 2
    assert complete_multiplet(h, 1, hermitian=True, which="SA") == 2
    assert complete_multiplet(np.eye(6), 2) == 6


def test_bad_arguments_of_complete_multiplet():
    a = jnp.eye(6)
    for call, kind, message in (
        (lambda: complete_multiplet(a, 2, side="below"), ValueError, "no gap above rtol=.* side='above'"),
        (lambda: complete_multiplet(jnp.zeros((3, 5)), 2), ValueError, "no gap above rtol"),
        (lambda: complete_multiplet(a, 2, side="left"), ValueError, "side must be one of 'above', 'below'"),
        (lambda: complete_multiplet(a[None], 2), ValueError, "one matrix"),
        (lambda: complete_multiplet(a, 2, rtol=0.0), ValueError, "rtol must be positive"),
        (lambda: jax.jit(lambda a: complete_multiplet(a, 2))(a), TypeError, "a must be concrete here"),
        (lambda: mask_multiplet(a), TypeError, "info must be the SolveInfo"),
    ):
        with pytest.raises(kind, match=message):
            call()


def test_mask_multiplet():
    """Inside jit and vmap: the mask ends at a gap, and the masked loss has the derivative of the whole multiplets."""
    rng = np.random.default_rng(6)
    spectra = ([3.0, 2.5, 2.5, 1.0, 1.0], [3.0, 2.0, 1.5, 1.2, 0.9], [1.0, 1.0, 1.0, 1.0, 1.0])
    batch = np.stack([hermitian(rng, np.r_[s, BELOW]) for s in spectra])
    w = random(rng, (22, 22))

    def loss(a):
        (_, Q), info = truncax.teigh(a, 4, which="LA", solver=truncax.Dense(), return_info=True)
        mask = mask_multiplet(info)
        Q = jnp.where(mask[None, :] > 0, Q, 0)
        return inner(w, mm(Q, Q.T)), mask

    gradients, masks = jax.jit(jax.vmap(jax.grad(loss, has_aux=True)))(batch)
    np.testing.assert_array_equal(masks, [[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    for a, gradient, mask in zip(batch, gradients, masks, strict=True):
        k = int(mask.sum())
        order = (np.arange(22)[::-1], k)
        expected = hermitian_function_gradient(a, w, order, np.ones_like, np.zeros_like)
        assert error(gradient, expected) <= 1e-11 if k else jnp.all(gradient == 0)


def test_mask_multiplet_in_forward_mode():
    """NaN where a dropped column is tied: it has no tangent, and zero times that is none either. Right elsewhere."""
    rng = np.random.default_rng(6)
    w, direction = random(rng, (22, 22)), hermitian(rng, np.linspace(-1, 1, 22))

    @jax.jit
    def loss(a):
        (_, Q), info = truncax.teigh(a, 4, which="LA", solver=truncax.Dense(), return_info=True)
        Q = jnp.where(mask_multiplet(info, 1e-3)[None, :] > 0, Q, 0)
        return inner(w, mm(Q, Q.T))

    for distance, finite in ((0.0, False), (1e-4, True)):
        a = hermitian(rng, np.r_[3.0, 2.5, 2.5, 1.0, 1.0 - distance, BELOW])
        tangent = jax.jvp(loss, (a,), (direction,))[1]
        expected = np.sum(
            hermitian_function_gradient(a, w, (np.arange(22)[::-1], 3), np.ones_like, np.zeros_like) * direction
        )
        assert jnp.isfinite(tangent) == finite
        np.testing.assert_allclose(jnp.sum(jax.grad(loss)(a) * direction), expected, rtol=1e-9)
        if finite:
            np.testing.assert_allclose(tangent, expected, rtol=1e-9)


@crossed("solver, complex_", [truncax.Dense(), truncax.GolubKahan()], [False, True])
def test_the_sum_is_a_subgradient_at_a_tie(solver, complex_):
    """``sum S(A + B) >= sum S(A) + <G, B>``: Ky Fan's norm is convex; 1000 directions of many lengths."""
    rng = np.random.default_rng(7)
    a = matrix(rng, (12, 14), np.r_[2.0, 1.0, 1.0, 1.0, 0.5 * np.linspace(1, 0, 8)], complex_)
    gradient = jax.jit(jax.grad(lambda a: truncax.tsvd(a, 2, solver=solver).S.sum()))(a)
    b = random(rng, (1000, 12, 14), complex_) * 10.0 ** rng.uniform(-6, 1, (1000, 1, 1))
    moved = np.linalg.svd(a + b, compute_uv=False)[:, :2].sum(axis=1)
    linear = np.sum((np.asarray(gradient)[None] * b).real, axis=(1, 2))
    assert np.min(moved - 3.0 - linear) >= -1e-13


@pytest.mark.parametrize("k", [1, 3])
def test_where_the_full_decomposition_gives_nan(k):
    """Tied and zero tails, and in float32 a spectrum that falls below rounding: finite and right."""
    n, rng = 24, np.random.default_rng(8)
    kept = np.r_[2.0, 1.5, 1.2][:k]
    tails = {
        "tied": np.full(n - k, 0.5),
        "rank deficient": np.zeros(n - k),
        "fast decay": 0.1 ** np.arange(1, n - k + 1),
    }
    dtypes = {"fast decay": "float32"}
    w = random(rng, (n, n))
    order = (np.arange(n)[::-1], k)

    @jax.jit
    def gradients(a):
        result, pull = jax.vjp(lambda a: truncax.tsvd(a, k), a)
        return pull(jax.grad(lambda r: inner(w.astype(a.dtype), mm(r.U, r.U.T)))(result))[0]

    @jax.jit
    def full(a):
        return jax.grad(lambda a: inner(w.astype(a.dtype), (lambda U: mm(U, U.T))(jnp.linalg.svd(a)[0][:, :k])))(a)

    for name, tail in tails.items():
        values, dtype = np.r_[kept, tail], dtypes.get(name, "float64")
        a = np.diag(values)
        assert not jnp.all(jnp.isfinite(full(jnp.asarray(a, dtype)))), name
        gram = hermitian_function_gradient(a @ a.T, w, order, np.ones_like, np.zeros_like)
        got = gradients(jnp.asarray(a, dtype))
        assert error(got, 2 * gram @ a) <= (1e-5 if dtype == "float32" else 1e-11), name


@pytest.mark.parametrize("function", [truncax.tsvd, truncax.singular_subspaces])
@pytest.mark.parametrize("rank", [0, 2])
def test_zeros_that_are_kept_and_discarded_have_no_tangent(function, rank):
    """Zero in forward mode as in reverse mode, beside the tangents of the others, which have a gap."""
    rng = np.random.default_rng(0)
    a, d = jnp.asarray(matrix(rng, (6, 8), [2.0, 1.0][:rank])), jnp.asarray(random(rng, (6, 8)))
    (result, info), (tangent, _) = jax.jvp(lambda a: function(a, 4, return_info=True), (a,), (d,))
    assert info.status == truncax.Status.CUT_DEGENERATE
    outside = np.asarray(tangent.U) - np.asarray(result.U) @ (np.asarray(result.U).T @ np.asarray(tangent.U))
    np.testing.assert_allclose(outside[:, rank:], 0, atol=1e-14)
    assert all(jnp.all(jnp.isfinite(x)) for x in tangent)
