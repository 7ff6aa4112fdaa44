"""Block Gram-Schmidt: the split is exact, the rows are orthonormal, whatever the rank of the block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import orthonormal, random

from truncax.numerics.gram import inverse_root, with_block, without
from truncax.numerics.orthonormal import Block, Near, orthonormalise, random_directions
from truncax.solvers.small import hermitian_rayleigh_ritz, singular_rayleigh_ritz

N = 40


def block(kind, basis, complex_):
    rng = np.random.default_rng(1)
    w = random(rng, (4, N), complex_)
    inside = random(rng, (4, basis.shape[0]), complex_) @ basis
    return {
        "generic": w,
        "inside": inside,
        "half inside": np.concatenate([w[:2], inside[:2]]),
        "equal rows": np.stack([w[0]] * 4),
        "nearly equal rows": w[:1] + 1e-9 * w,
        "mixed scales": orthonormal(rng, 4, 4, complex_) @ (w * np.array([1.0, 1e-8, 1e-11, 1e-13])[:, None]),
        "graded": w * np.array([1.0, 1e-5, 1e-10, 1e-15])[:, None],
        "zero": 0 * w,
        "one row": w[:1],
    }[kind]


KINDS = ["generic", "inside", "half inside", "equal rows", "nearly equal rows", "mixed scales", "graded", "zero"]
KINDS += ["one row"]


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_split_is_exact_and_the_rows_are_orthonormal(kind, complex_):
    basis = np.concatenate([orthonormal(np.random.default_rng(0), N, 10, complex_).T, np.zeros((3, N))])
    w = jnp.asarray(block(kind, basis, complex_))
    spare = random_directions(jax.random.key(0), N, w.shape[0], w.dtype)
    rows, factor, coefficients, *_ = orthonormalise(jnp.asarray(basis), w, lambda: spare(jnp.int32(5)))
    scale = max(float(jnp.max(jnp.linalg.norm(w, axis=1))), 1e-300)
    np.testing.assert_allclose(coefficients @ basis + factor @ rows, w, atol=1e-14 * scale)
    np.testing.assert_allclose(rows @ rows.conj().T, np.eye(len(w)), atol=1e-14)
    np.testing.assert_allclose(basis @ rows.conj().T, 0, atol=1e-14)


def test_an_exhausted_space_gives_zero_rows():
    q = orthonormal(np.random.default_rng(0), 12, 12).T
    spare = random_directions(jax.random.key(0), 12, 4, jnp.float64)
    w = jnp.asarray(random(np.random.default_rng(2), (4, 12)))
    rows, factor, coefficients, *_ = orthonormalise(jnp.asarray(q[:10]), w, lambda: spare(jnp.int32(1)))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 1, 0, 0], atol=1e-14)
    np.testing.assert_allclose(coefficients @ q[:10] + factor @ rows, w, atol=1e-13)


def test_a_refilled_row_has_no_part_in_the_split():
    rng = np.random.default_rng(9)
    basis = jnp.asarray(orthonormal(rng, N, 10).T)
    w = random(rng, (3, N))
    w[1] = 0
    spare = random_directions(jax.random.key(0), N, 3, jnp.float64)
    rows, factor, *_ = orthonormalise(basis, jnp.asarray(w), lambda: spare(jnp.int32(5)))
    np.testing.assert_allclose(rows @ rows.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(factor, axis=0)[2], 0, atol=1e-14)


@pytest.mark.parametrize("complex_", [False, True])
def test_a_nearly_orthogonal_basis_is_exhausted_too(complex_):
    """What it leaves of a vector in its span, 1e-8, is no direction outside."""
    rng = np.random.default_rng(8)
    q = orthonormal(rng, 12, 12, complex_).T
    for filled in (10, 12):
        basis = (q + 1e-8 * random(rng, q.shape, complex_))[:filled]
        basis = jnp.asarray(basis / np.linalg.norm(basis, axis=1)[:, None])
        spare = random_directions(jax.random.key(0), 12, 3, basis.dtype)
        for w in (random(rng, (3, 12), complex_), random(rng, (3, filled), complex_) @ basis):
            fresh = spare(jnp.int32(1))
            split = orthonormalise(basis, jnp.asarray(w), lambda fresh=fresh: fresh, loose=1e-7)
            lengths = [1, 1, 0] if filled == 10 else [0, 0, 0]
            np.testing.assert_allclose(np.linalg.norm(split.rows, axis=1), lengths, atol=1e-14)
            np.testing.assert_allclose(split.coefficients @ basis + split.factor @ split.rows, w, atol=1e-13)
            assert np.max(np.abs(split.rows @ basis.conj().T)) <= 1e-7


def test_random_directions_do_not_repeat():
    spare = random_directions(jax.random.key(0), 30, 4, jnp.float64)
    x = jnp.concatenate([spare(jnp.int32(i)) for i in range(60)])
    overlap = np.abs(np.asarray(x @ x.T) - np.eye(240))
    assert overlap.max() < 0.95
    assert np.sqrt(np.mean(overlap**2)) < 1.5 / np.sqrt(30)


@pytest.mark.parametrize("size", [20, 50, 70], ids=["svd", "gram", "large"])
@pytest.mark.parametrize("spectrum", ["flat", "graded", "steep", "tied", "deficient"])
@pytest.mark.parametrize("complex_", [False, True])
def test_the_small_svd_of_a_partly_filled_matrix(size, spectrum, complex_):
    """Every route of the small problem; what is not filled must not mix in, even where the filled part is singular."""
    rng = np.random.default_rng(3)
    count = size - 7
    s = {
        "flat": np.linspace(1, 0.1, count),
        "graded": 10.0 ** -np.linspace(0, 14, count),
        "steep": 10.0 ** -np.r_[0, 1.5, 3, 4.5, 6, np.linspace(7, 14, count - 5)],
        "tied": np.repeat(np.linspace(1, 0.1, (count + 1) // 2), 2)[:count],
        "deficient": np.r_[np.linspace(1, 0.5, 8), np.zeros(count - 8)],
    }[spectrum]
    b = np.zeros((size, size), complex if complex_ else float)
    b[:count, :count] = (orthonormal(rng, count, count, complex_) * s) @ orthonormal(rng, count, count, complex_)
    left, values, right, _, defects = singular_rayleigh_ritz(jnp.asarray(b), jnp.int32(count), 5)
    # By the Gram matrix, what is far below the five that are wanted stays mixed, and ``defects`` says so; where the
    # fifth itself is, the Gram matrix is not used.
    sharp = 5 if (spectrum, size) == ("graded", 50) else count
    left, right = (np.asarray(q)[:, :count] for q in (left, right))
    for q in (left, right):
        np.testing.assert_allclose(q.conj().T @ q, np.eye(count), atol=1e-14)
        np.testing.assert_allclose(q[count:], 0, atol=1e-14)
    inside = left.conj().T @ b @ right
    np.testing.assert_allclose(values[:sharp], s[:sharp], atol=1e-14)
    np.testing.assert_allclose(inside[:sharp], np.eye(sharp, count) * s[:sharp, None], atol=3e-14)
    beside = inside - np.diag(np.diag(inside))
    measured = np.maximum(np.linalg.norm(beside, axis=0), np.linalg.norm(beside, axis=1))
    np.testing.assert_allclose(defects[:count], measured[:count], atol=1e-14)


@pytest.mark.parametrize("which", ["LM", "LA", "SA", "BE"])
def test_the_small_eigenproblem_of_a_partly_filled_matrix(which):
    rng = np.random.default_rng(4)
    size, count = 20, 13
    values = np.r_[np.linspace(-1, 1.5, 9), np.zeros(4)]
    q = orthonormal(rng, count, count)
    h = np.zeros((size, size))
    h[:count, :count] = (q * values) @ q.T
    found, ritz = hermitian_rayleigh_ritz(jnp.asarray(h), jnp.int32(count), which)
    np.testing.assert_allclose(np.sort(found[:count]), np.sort(values), atol=1e-14)
    ritz = ritz[:, :count]
    np.testing.assert_allclose(ritz[count:], 0, atol=1e-14)
    np.testing.assert_allclose(ritz.T @ h @ ritz, np.diag(found[:count]), atol=1e-14)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("loose", [None, 1e-6])
def test_what_is_left_of_the_products_is_measured(loose, complex_):
    """A first pass that looks in two rows only leaves the rest: below ``loose`` it is reported, above it is removed."""
    rng = np.random.default_rng(5)
    basis = orthonormal(rng, N, 10, complex_).T
    spare = random_directions(jax.random.key(0), N, 2, jnp.asarray(basis).dtype)
    near = Near(jnp.int32(4), 2)
    outside = random(rng, (2, N), complex_)
    outside = outside - outside @ basis.conj().T @ basis
    for size in (1e-9, 1e-3):
        parts = size * random(rng, (2, 10), complex_)
        parts[:, 4:6] = 1
        w = jnp.asarray(parts @ basis + outside)
        split = orthonormalise(jnp.asarray(basis), w, lambda: spare(jnp.int32(1)), near=near, loose=loose)
        np.testing.assert_allclose(split.coefficients @ basis + split.factor @ split.rows, w, atol=2e-14)
        np.testing.assert_allclose(split.products, split.rows @ basis.conj().T, atol=1e-15)
        np.testing.assert_allclose(split.among, split.rows @ split.rows.conj().T, atol=1e-15)
        kept = np.max(np.abs(split.products))
        assert 1e-11 < kept < 1e-8 if (loose, size) == (1e-6, 1e-9) else kept < 1e-14


@pytest.mark.parametrize("complex_", [False, True])
def test_a_basis_with_known_products_is_made_orthonormal(complex_):
    """``G^(-1/2)`` on the filled part, and what waits behind it without its part in the span."""
    rng = np.random.default_rng(6)
    q = orthonormal(rng, N, 9, complex_) + 1e-4 * random(rng, (N, 9), complex_)
    q = np.concatenate([q / np.linalg.norm(q, axis=0), np.zeros((N, 3))], axis=1)
    gram = jnp.asarray(q.conj().T @ q)
    root = np.asarray(inverse_root(gram[:10, :10], jnp.int32(7)))
    basis = q[:, :7] @ root[:7, :7]
    np.testing.assert_allclose(basis.conj().T @ basis, np.eye(7), atol=1e-14)
    np.testing.assert_allclose(root[7:], np.eye(10)[7:])
    outside = without(gram, jnp.int32(7), 2)
    rest = q[:, 7:9] - q[:, :10] @ outside.coefficients
    np.testing.assert_allclose(basis.conj().T @ rest, 0, atol=1e-14)
    np.testing.assert_allclose(outside.gram, rest.conj().T @ rest, atol=1e-14)


def test_the_products_of_a_growing_basis_are_kept():
    rng = np.random.default_rng(7)
    basis, gram = np.zeros((8, N)), jnp.eye(8, dtype=jnp.float64)
    for at in (0, 2, 4):
        rows = orthonormal(rng, N, 2).T + 1e-3 * random(rng, (2, N))
        among, products = rows @ rows.T, rows @ basis.T
        gram = with_block(gram, Block(rows, None, None, jnp.asarray(products), jnp.asarray(among)), jnp.int32(at))
        basis[at : at + 2] = rows
    np.testing.assert_allclose(gram[:6, :6], (basis @ basis.T)[:6, :6], atol=1e-14)
    np.testing.assert_allclose(gram[6:, 6:], np.eye(2))
