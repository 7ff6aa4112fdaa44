"""The table of docs/degeneracy.md: clusters of 2, 3, 5 and 60 values, split by 0 to 1e-6, and graphs with symmetry."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import adjoint, mm
from profiles import crossed
from references import (
    error,
    finite_difference,
    hermitian,
    hermitian_function_gradient,
    matrix,
    random,
    singular_function_gradient,
)

import truncax
from truncax import matrix_function

SPLITS = [0, 1e-14, 1e-12, 1e-10, 1e-8, 1e-6]
EPS = np.finfo(float).eps
DENSE = truncax.Dense()
ORDERS = {2: 10, 3: 10, 5: 10, 60: 80}


def inner(w, x):
    return jnp.sum((jnp.conj(w) * x).real)


def spectrum(size, n, split):
    """The largest value, the cluster, and the discarded values at 0.9 of it and below."""
    return np.r_[2.0, 1 + split * np.arange(size)[::-1], 0.9 * np.linspace(1, 0.5, n - size - 1)]


@cache
def singular_derivatives(k):
    """Gradients by subspaces and by vectors, and the Hessian product by subspaces, from one program."""

    def blocks(a, w):
        U, C, Vh = truncax.singular_subspaces(a, k, solver=DENSE)
        return inner(w, mm(U, C, Vh))

    def polar(a, w):
        U, C, Vh = truncax.singular_subspaces(a, k, solver=DENSE)
        return inner(w, mm(U, C, matrix_function(lambda x: x**-0.5, mm(adjoint(C), C)), Vh))

    def by_vectors(a, w):
        result, pull = jax.vjp(lambda a: truncax.tsvd(a, k, solver=DENSE), a)
        losses = {
            "polar": lambda r: inner(w, mm(r.U, r.Vh)),
            "sum": lambda r: jnp.sum(r.S),
            "reconstruction": lambda r: inner(w, mm(r.U * r.S[None, :].astype(a.dtype), r.Vh)),
        }
        return {name: pull(jax.grad(loss)(result))[0] for name, loss in losses.items()}

    @jax.jit
    def run(a, w, d):
        gradient, product = jax.jvp(lambda a: jax.grad(blocks)(a, w), (a,), (d,))
        return {
            "blocks": gradient,
            "product": product,
            "polar by subspaces": jax.grad(polar)(a, w),
            **by_vectors(a, w),
        }

    return run


@cache
def hermitian_derivatives(k):
    def projector(a, w):
        Q, _ = truncax.invariant_subspace(a, k, which="LA", solver=DENSE)
        return inner(w, mm(Q, adjoint(Q)))

    def exponential(a, w):
        Q, H = truncax.invariant_subspace(a, k, which="LA", solver=DENSE)
        return inner(w, mm(Q, matrix_function(jnp.exp, H), adjoint(Q)))

    def by_vectors(a, w):
        result, pull = jax.vjp(lambda a: truncax.teigh(a, k, which="LA", solver=DENSE), a)
        losses = {
            "projector by vectors": lambda r: inner(w, mm(r.eigenvectors, adjoint(r.eigenvectors))),
            "sum of exponentials": lambda r: jnp.sum(jnp.exp(r.eigenvalues)),
        }
        return {name: pull(jax.grad(loss)(result))[0] for name, loss in losses.items()}

    @jax.jit
    def run(a, w, d):
        gradient, product = jax.jvp(lambda a: jax.grad(exponential)(a, w), (a,), (d,))
        return {"projector": jax.grad(projector)(a, w), "exponential": gradient, "product": product, **by_vectors(a, w)}

    return run


def allowed(size, split):
    """What single vectors may lose: ten times theory's ``0.3 eps / split``, nothing below the threshold.

    That is 1.8e-12 of the largest value, 2; the ends of a cluster may be above it where neighbours are not.
    """
    threshold = 2 * 1.8e-12
    return 1e-11 + (3 * EPS / max(split, threshold) if (size - 1) * split > threshold / 2 else 0)


def one(x):
    return np.ones_like(x)


@crossed("size, complex_", ORDERS, [False, True])
def test_singular_clusters(size, complex_):
    n = ORDERS[size]
    for i, split in enumerate(SPLITS):
        rng, k = np.random.default_rng(i), size + 1
        a, w, d = (
            matrix(rng, (n, n), spectrum(size, n, split), complex_),
            *(random(rng, (n, n), complex_) for _ in "wd"),
        )
        got = singular_derivatives(k)(a, w, d)

        def reconstruction(x, w=w, k=k):
            return singular_function_gradient(x, w, k, lambda s: s, one)

        assert error(got["blocks"], reconstruction(a)) <= 1e-11, split
        assert error(got["product"], finite_difference(reconstruction, a, d)) <= 1e-6, split
        unitary = singular_function_gradient(a, w, k, one, np.zeros_like)
        assert error(got["polar by subspaces"], unitary) <= 1e-11, split
        assert error(got["polar"], unitary) <= allowed(size, split), split
        u, _, vh = np.linalg.svd(a)
        assert error(got["sum"], (u[:, :k] @ vh[:k]).conj()) <= 1e-11, split
        if split < 1e-12:  # the documented limit
            assert error(got["reconstruction"], reconstruction(a)) >= 1e-3, split


@crossed("size, complex_", ORDERS, [True, False])
def test_hermitian_clusters(size, complex_):
    n = ORDERS[size]
    for i, split in enumerate(SPLITS):
        rng, k = np.random.default_rng(i), size + 1
        a, w = hermitian(rng, spectrum(size, n, split), complex_), random(rng, (n, n), complex_)
        d = hermitian(rng, rng.normal(size=n), complex_)
        order = (np.arange(n)[::-1], k)
        got = hermitian_derivatives(k)(a, w, d)

        def exponential(x, w=w, order=order):
            return hermitian_function_gradient(x, w, order, np.exp, np.exp)

        projector = hermitian_function_gradient(a, w, order, one, np.zeros_like)
        assert error(got["projector"], projector) <= 1e-11, split
        assert error(got["exponential"], exponential(a)) <= 1e-11, split
        assert error(got["product"], finite_difference(exponential, a, d)) <= 1e-6, split
        assert error(got["projector by vectors"], projector) <= allowed(size, split), split
        values, q = np.linalg.eigh(a)
        total = ((q[:, -k:] * np.exp(values[-k:])) @ q[:, -k:].conj().T).conj()
        assert error(got["sum of exponentials"], total) <= 1e-11, split


def karate_club():
    """The friendships of 34 members, after Zachary, J. Anthropol. Res. 33 (1977)."""
    later = {
        0: [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 17, 19, 21, 31],
        1: [2, 3, 7, 13, 17, 19, 21, 30],
        2: [3, 7, 8, 9, 13, 27, 28, 32],
        3: [7, 12, 13],
        4: [6, 10],
        5: [6, 10, 16],
        6: [16],
        8: [30, 32, 33],
        9: [33],
        13: [33],
        **{i: [32, 33] for i in (14, 15, 18, 20, 22, 29, 30)},
        19: [33],
        23: [25, 27, 29, 32, 33],
        24: [25, 27, 31],
        25: [31],
        26: [29, 33],
        27: [33],
        28: [31, 33],
        31: [32, 33],
        32: [33],
    }
    return [(i, j) for i, others in later.items() for j in others], 34


def torus(m):
    nodes = [(i, j) for i in range(m) for j in range(m)]
    return [(i * m + j, x) for i, j in nodes for x in (((i + 1) % m) * m + j, i * m + (j + 1) % m)], m * m


# Edges, number of nodes, and a k that ends at a gap.
GRAPHS = {
    "karate club": (karate_club(), 3),
    "hypercube": (([(i, i | 1 << b) for i in range(32) for b in range(5) if not i >> b & 1], 32), 6),
    "torus": (torus(5), 5),
    "complete": (([(i, j) for i in range(10) for j in range(i)], 10), 1),
    "star": (([(0, i) for i in range(1, 12)], 12), 11),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_lowest_projector_of_a_graph_laplacian(name):
    """The gradient of a loss of the projector with respect to edge weights, at weights of one."""
    (edges, n), k = GRAPHS[name]
    i, j = np.array(edges).T
    rng = np.random.default_rng(0)
    w, d = random(rng, (n, n)), rng.normal(size=len(edges))
    incidence = np.zeros((len(edges), n))
    incidence[np.arange(len(edges)), i], incidence[np.arange(len(edges)), j] = 1, -1

    def laplacian(weights):
        return incidence.T @ (weights[:, None] * incidence)

    def exact(weights):
        q = np.linalg.eigh(laplacian(weights))[1][:, :k]
        return np.sum(w * (q @ q.T))

    @jax.jit
    def both(weights):
        def loss(weights):
            return inner(w, truncax.spectral_projector(laplacian(weights), k, which="SA", solver=DENSE))

        return jax.value_and_grad(loss)(weights)

    ones = np.ones(len(edges))
    value, gradient = both(jnp.asarray(ones))
    np.testing.assert_allclose(value, exact(ones), rtol=1e-12, atol=1e-12)
    h = 1e-3
    slope = (8 * (exact(ones + h * d) - exact(ones - h * d)) - exact(ones + 2 * h * d) + exact(ones - 2 * h * d)) / (
        12 * h
    )
    np.testing.assert_allclose(np.sum(gradient * d), slope, rtol=1e-9, atol=1e-9)
