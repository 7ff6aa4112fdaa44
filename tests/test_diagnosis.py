"""``derivative_info``: what the solve of a gradient does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from profiles import crossed
from references import hermitian, matrix, random

import truncax
from truncax import Implicit, derivative_info

FUNCTIONS = [truncax.tsvd, truncax.singular_subspaces, truncax.teigh, truncax.invariant_subspace]


def problem(is_complex):
    spectrum = np.concatenate([[3.0, 2.5, 2.0], 1.9 * 0.98 ** np.arange(37)])
    return jnp.asarray(hermitian(np.random.default_rng(0), spectrum, is_complex))


def cotangents_of(result):
    rng = np.random.default_rng(1)
    return tuple(jnp.asarray(random(rng, x.shape, jnp.iscomplexobj(x))).astype(x.dtype) for x in result)


@crossed("function, is_complex", FUNCTIONS, [True, False])
def test_a_solve_that_goes_well_and_one_that_is_cut_short(function, is_complex):
    a = problem(is_complex)
    result = function(a, 3)
    info = jax.jit(derivative_info)(a, result, cotangents_of(result))
    assert info.converged.shape == (3,)
    assert jnp.all(info.converged)
    assert jnp.all(info.residual_norms <= 16 * jnp.finfo(a.dtype).eps)
    assert 10 <= info.iterations <= 60
    short = derivative_info(a, result, cotangents_of(result), derivative=Implicit(max_steps=2))
    assert short.iterations == 2
    assert not jnp.any(short.converged)


def test_no_cotangent_of_vectors_needs_no_step():
    a = problem(False)
    result = truncax.tsvd(a, 3)
    assert derivative_info(a, result, (None, result.S, None)).iterations == 0
    assert derivative_info(a, result, (result.U**3, None, None)).iterations > 0


def test_cotangents_are_those_of_jax():
    """The conjugates of ours: of a discarded vector the solve takes one step, of its conjugate many."""
    a = problem(True)
    discarded, options = jnp.conj(jnp.linalg.svd(a)[0][:, 5:6]), Implicit(tol=1e-10)
    for function, place in ((truncax.tsvd, 0), (truncax.teigh, 1)):
        result = function(a, 3)
        cotangents = [None] * len(result)
        cotangents[place] = jnp.tile(discarded, (1, 3))
        assert derivative_info(a, result, tuple(cotangents), derivative=options).iterations == 1


def test_a_tie_at_the_cut_shows():
    a = jnp.diag(jnp.asarray([3.0, 2.0, 2.0, 1.0]))
    result, info = truncax.tsvd(a, 2, return_info=True)
    assert info.cut_gap <= 1e-15
    found = derivative_info(a, result, (jnp.ones((4, 2)), None, None))
    assert found.converged.tolist() == [True, False]


def test_the_scale_of_the_matrix_and_of_the_cotangent_does_not_matter():
    a = jnp.asarray(matrix(np.random.default_rng(2), (40, 30), 0.9 ** np.arange(30)))
    counts = []
    for scale, size in ((1.0, 1.0), (1e-150, 1e-20), (1e150, 1e20)):
        result = truncax.tsvd(scale * a, 3)
        counts.append(int(derivative_info(scale * a, result, (size * jnp.ones((40, 3)), None, None)).iterations))
    assert max(counts) <= min(counts) + 1


def test_another_result_is_refused():
    with pytest.raises(TypeError, match=r"result must be what tsvd.*got tuple"):
        derivative_info(np.eye(3), (1, 2, 3), (None, None, None))
