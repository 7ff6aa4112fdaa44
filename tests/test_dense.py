"""The full decomposition behind ``Dense()``: by the Gram matrix where that is exact, all leftovers handed over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import EPS, error, matrix, random

import truncax
from truncax import Dense
from truncax.operators.dense import DenseOperator
from truncax.solvers import dense

K = 4
TOL = jnp.asarray(9e-14)
SHAPES = [(20, 20), (30, 20), (20, 30)]


def decaying(rng, shape, ratio, complex_=False):
    return matrix(rng, shape, ratio ** np.arange(min(shape)), complex_)


@pytest.fixture
def full_svds(mutate):
    """How often an SVD of the whole matrix was computed."""
    done, by_svd = [], dense._by_svd

    def counting(*arguments):
        jax.debug.callback(lambda: done.append(1))
        return by_svd(*arguments)

    mutate(dense, "_by_svd", counting)
    return done


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ratio", [0.9, 0.1, 1e-3])
def test_triplets_are_right_however_fast_the_values_fall(shape, ratio, complex_):
    """Residuals, orthonormality and values to rounding, also where the square of a matrix has no digits left."""
    a = decaying(np.random.default_rng(0), shape, ratio, complex_)
    found = jax.jit(lambda a: dense.dense_svd(DenseOperator.of(a), K, "LM", TOL))(jnp.asarray(a))
    bound = (10 + 30**0.5) * EPS
    # LAPACK's SVD leaves up to 45 eps.
    assert np.max(found.residuals) <= 64 * EPS
    np.testing.assert_allclose(found.s, ratio ** np.arange(K), rtol=0, atol=bound)
    for vectors in (found.U, found.V, found.W.T):
        gram = np.conj(np.asarray(vectors).T) @ vectors
        np.testing.assert_allclose(gram, np.eye(len(gram)), atol=bound)
    assert found.W.shape == (min(shape) - K, min(shape))


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [0, 2, K])
def test_vectors_of_zero_values_are_orthonormal_too(shape, rank, complex_):
    """``A^H u`` is zero there and has no direction, nor a residual that would show it."""
    a = matrix(np.random.default_rng(0), shape, np.r_[np.linspace(2, 1, rank), np.zeros(min(shape) - rank)], complex_)
    exact = jnp.zeros(shape).at[jnp.arange(rank), jnp.arange(rank)].set(1.0)
    for given in (jnp.asarray(a), exact):
        found, info = truncax.tsvd(given, K, solver=Dense(), return_info=True)
        assert info.converged
        assert (info.status == truncax.Status.CUT_DEGENERATE) == (rank < K)
        for vectors in (found.U, jnp.conj(found.Vh.T)):
            np.testing.assert_allclose(jnp.conj(vectors.T) @ vectors, np.eye(K), atol=30 * EPS)


@pytest.mark.parametrize("shape", SHAPES)
def test_leftovers_are_singular_vectors_on_the_shorter_side(shape):
    a = matrix(np.random.default_rng(0), shape, np.linspace(2, 1, min(shape)))
    squared = a @ a.T if shape[0] <= shape[1] else a.T @ a
    for ratio in (1.0, 1e-3):
        # The second matrix is one for the SVD.
        b = a if ratio == 1 else decaying(np.random.default_rng(0), shape, ratio)
        squared = b @ b.T if shape[0] <= shape[1] else b.T @ b
        found = dense.dense_svd(DenseOperator.of(jnp.asarray(b)), K, "LM", TOL)
        W, theta = np.asarray(found.W), np.asarray(found.W_values) ** 2
        np.testing.assert_allclose(W @ squared, theta[:, None] * W, atol=100 * EPS * np.max(squared))


def test_a_full_svd_is_computed_only_where_it_is_needed(full_svds):
    """Of a batch too: not for its sake, and for one member that needs it."""
    rng = np.random.default_rng(0)
    even = jnp.asarray(np.stack([decaying(rng, (20, 20), 0.9) for _ in range(3)]))
    S = truncax.tsvd(even, K, solver=Dense()).S
    jax.effects_barrier()
    assert not full_svds
    np.testing.assert_allclose(S, np.tile(0.9 ** np.arange(K), (3, 1)), atol=30 * EPS)
    mixed = even.at[1].set(jnp.asarray(decaying(rng, (20, 20), 1e-3)))
    S = truncax.tsvd(mixed, K, solver=Dense()).S
    jax.effects_barrier()
    assert full_svds
    np.testing.assert_allclose(S[1], 1e-3 ** np.arange(K), atol=30 * EPS)
    np.testing.assert_allclose(S[2], 0.9 ** np.arange(K), atol=30 * EPS)


def test_the_compiler_does_not_compute_it_before_it_is_needed():
    """What a loop computes from constants of the loop alone, XLA computes before it."""

    @jax.jit
    @jax.vmap
    def run(a):
        return truncax.tsvd(a, K, solver=Dense()).S

    program = run.lower(jnp.zeros((3, 20, 20))).compile().as_text()
    assert "gesdd" in program
    assert "gesdd" not in program[program.index("ENTRY") :]


@pytest.mark.parametrize("function", ["tsvd", "teigh"])
def test_with_all_leftovers_the_complement_solve_is_direct(steps, function):
    """At most one step of conjugate gradients, in a batch, for a gap of 1e-3."""
    rng = np.random.default_rng(0)
    values = np.concatenate([[2.0, 1.8, 1.6, 1.4], 1.4 - 1e-3 * (1 + np.arange(16))])
    a = jnp.asarray(np.stack([matrix(rng, (20, 20), values) for _ in range(3)]))
    a = a if function == "tsvd" else a @ jnp.swapaxes(a, 1, 2)
    w = jnp.asarray(random(rng, (20, 20)))

    def loss(a):
        if function == "tsvd":
            U, _, Vh = truncax.tsvd(a, K, solver=Dense())
        else:
            _, U = truncax.teigh(a, K, solver=Dense())
            Vh = jnp.swapaxes(U, 1, 2)
        return jnp.sum(w * jnp.sum(U @ Vh, axis=0))

    def reference(a):
        if function == "tsvd":
            U, _, Vh = jnp.linalg.svd(a, full_matrices=False)
            return jnp.sum(w * jnp.sum(U[:, :, :K] @ Vh[:, :K], axis=0))
        Q = jnp.linalg.eigh(a)[1][:, :, -K:]
        return jnp.sum(w * jnp.sum(Q @ jnp.swapaxes(Q, 1, 2), axis=0))

    got = jax.jit(jax.grad(loss))(a)
    jax.effects_barrier()
    assert max(steps) <= 1
    assert error(got, jax.grad(reference)(a)) <= 1e4 * EPS / 1e-3


def test_a_member_that_fails_is_marked_alone():
    """NaN in one matrix of a batch, and a tie at the cut in another, leave the others and their gradients alone."""
    rng = np.random.default_rng(0)
    members = [matrix(rng, (20, 20), np.linspace(2, 1, 20)) for _ in range(4)]
    members[1][0, 0] = np.nan
    members[2] = matrix(rng, (20, 20), np.where(np.arange(20) < K - 1, 2.0, 1.0))
    a = jnp.asarray(np.stack(members))

    def full(a):
        U, S, Vh = jnp.linalg.svd(a)
        return U[0, :K] @ Vh[:K, 0] + jnp.sum(S[:K])

    expected = jax.jit(jax.vmap(jax.grad(full)))(a[jnp.array([0, 3])])
    for solver in (Dense(), truncax.GolubKahan()):

        def run(a, solver=solver):
            (U, S, Vh), info = truncax.tsvd(a, K, solver=solver, on_failure="nan", return_info=True)
            return jnp.sum(U[:, 0] * Vh[:, :, 0]) + jnp.sum(S), info

        gradient, info = jax.jit(jax.grad(run, has_aux=True))(a)
        assert info.converged.tolist() == [True, False, True, True]
        assert info.status.tolist() == [0, truncax.Status.NON_FINITE, truncax.Status.CUT_DEGENERATE, 0]
        assert jnp.isnan(gradient).any(axis=(1, 2)).tolist() == [False, True, True, False]
        assert error(gradient[jnp.array([0, 3])], expected) <= 1e-11


@pytest.mark.parametrize("tol", [None, 1e-6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_accepted_counts_as_converged(dtype, tol):
    """Kept values of a tenth to a hundredth of the largest, where the Gram matrix begins to lose digits."""
    rng = np.random.default_rng(0)
    for ratio in (0.1, 0.05, 0.02, 0.01):
        s = np.r_[np.geomspace(1, ratio, K), ratio * np.linspace(0.9, 0.1, 60)]
        a = jnp.asarray(np.stack([matrix(rng, (64, 64), s) for _ in range(8)]), dtype)
        _, info = truncax.tsvd(a, K, solver=Dense(), tol=tol, on_failure="keep", return_info=True)
        assert bool(jnp.all(info.converged)), (ratio, info.residual_norms)


@pytest.mark.parametrize("shape", [(3, 5, 5), (100, 4, 4), (3, 30, 5), (3, 5, 30)])
def test_tiny_batches_are_compiled_without_poison(shape):
    """XLA aborted the process."""
    a = jnp.asarray(random(np.random.default_rng(0), shape))
    U, S, Vh = truncax.tsvd(a, 2, on_failure="keep")
    gradient = jax.grad(lambda a: truncax.tsvd(a, 2, on_failure="keep").S.sum())(a)
    np.testing.assert_allclose(S, np.linalg.svd(a, compute_uv=False)[:, :2], atol=1e-13)
    np.testing.assert_allclose(gradient, np.einsum("bik,bkj->bij", U, Vh), atol=1e-12)


@pytest.mark.parametrize("gap", [1e-9, 1e-11])
def test_a_close_cut_far_below_the_largest_value_loses_no_more_digits(gap):
    """The subspace of the Gram matrix has an error of ``eps s_1^2 / (2 s_k gap)``, the SVD's has ``eps s_1 / gap``."""
    s = np.r_[1.0, 0.5, 0.2, 0.04, 0.04 - gap, np.linspace(0.03, 0.001, 15)]
    errors = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        u, v = (np.linalg.qr(random(rng, (20, 20)))[0] for _ in range(2))
        found = dense.dense_svd(DenseOperator.of(jnp.asarray((u * s) @ v.T)), K, "LM", TOL)
        errors.append(np.linalg.norm(found.U @ found.U.T - u[:, :K] @ u[:, :K].T))
    # 0.12 and, by the Gram matrix, 0.9.
    assert np.sqrt(np.mean(np.square(errors))) <= 0.4 * EPS / gap
