"""The derivative checks, as functions: the tests call them, and the mutation tests watch them fail."""

from functools import cache, lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from references import cut_spectrum, error, hermitian, matrix, random

import truncax

K = 4
WEIGHTS = np.array([1.0, -0.6, 1.7, 0.4])
SHAPES = [(20, 32), (26, 26), (32, 20)]
NATIVE_SVD = truncax.GolubKahan()
NATIVE_EIGH = truncax.Lanczos()

HIGHEST = jax.lax.Precision.HIGHEST


def mm(*factors):
    product = factors[0]
    for f in factors[1:]:
        product = jnp.matmul(product, f, precision=HIGHEST)
    return product


def adjoint(x):
    return jnp.conj(x.T)


def svd_problem(shape, complex_, seed=0, which="LM"):
    rng = np.random.default_rng(seed)
    s = cut_spectrum(min(shape), K)
    a = matrix(rng, shape, s if which == "LM" else 0.5 / s, complex_)
    return tuple(map(jnp.asarray, (a, *(random(rng, shape, complex_) for _ in range(4)))))


def eigh_problem(which, complex_, n=24, seed=0):
    """The kept values lie at the end that ``which`` names, of both signs under LM and BE; 0.9 below the cut."""
    rng = np.random.default_rng(seed)
    values = cut_spectrum(n, K)
    if which in ("LM", "BE"):
        values = values * np.where(np.arange(n) % 2, -1.0, 1.0)
    elif which == "SA":
        values = -values
    a = hermitian(rng, values, complex_)
    directions = (random(rng, (n, n), complex_) for _ in range(3))
    return tuple(map(jnp.asarray, (a, random(rng, (n, n), complex_), *((d + d.conj().T) / 2 for d in directions))))


def triplet_loss(U, S, Vh, w):
    """``sum_j c_j exp(s_j) Re(u_j^H w v_j)``: gauge invariant, mixes vectors and values, a weight for each triplet."""
    diagonal = jnp.sum(jnp.conj(U) * mm(w, adjoint(Vh)), axis=0)
    return jnp.sum(jnp.asarray(WEIGHTS) * jnp.exp(S) * diagonal.real)


def pair_loss(values, Q, w):
    """``sum_j c_j exp(l_j) Re(q_j^H w q_j)``."""
    diagonal = jnp.sum(jnp.conj(Q) * mm(w, Q), axis=0)
    return jnp.sum(jnp.asarray(WEIGHTS) * jnp.exp(values) * diagonal.real)


# The rules do not know the solver, and a full decomposition compiles ten times faster inside seven derivatives;
# the native solvers have their own tests.
def tsvd_loss(a, w, solver=None, which="LM"):
    return triplet_loss(*truncax.tsvd(a, K, which=which, solver=solver or truncax.Dense()), w)


def full_svd_loss(a, w, which="LM"):
    U, S, Vh = jnp.linalg.svd(a, full_matrices=False)
    if which == "SM":
        U, S, Vh = U[:, ::-1], S[::-1], Vh[::-1]
    return triplet_loss(U[:, :K], S[:K], Vh[:K], w)


def approximation_loss(a, w, solver=None):
    """``Re <w, U C (1 + C^H C) V^H>`` by the subspaces."""
    U, C, Vh = truncax.singular_subspaces(a, K, solver=solver or truncax.Dense())
    return jnp.sum((jnp.conj(w) * mm(U, C + mm(C, adjoint(C), C), Vh)).real)


def full_approximation_loss(a, w):
    U, S, Vh = jnp.linalg.svd(a, full_matrices=False)
    U, S, Vh = U[:, :K], S[:K], Vh[:K]
    middle = jnp.diag(S + S**3).astype(a.dtype)
    return jnp.sum((jnp.conj(w) * mm(U, middle, Vh)).real)


def teigh_loss(which):
    def loss(a, w, solver=None):
        return pair_loss(*truncax.teigh(a, K, which=which, solver=solver or truncax.Dense()), w)

    return loss


def invariant_loss(which):
    def loss(a, w, solver=None):
        Q, H = truncax.invariant_subspace(a, K, which=which, solver=solver or truncax.Dense())
        return jnp.sum((jnp.conj(w) * mm(Q, H + mm(H, H, H), adjoint(Q))).real)

    return loss


def _full_eigh(a, which):
    values, q = jnp.linalg.eigh(a)
    key = {"LA": -values, "SA": values, "LM": -jnp.abs(values), "BE": -jnp.abs(values)}[which]
    order = jnp.argsort(jax.lax.stop_gradient(key))[:K]
    return values[order], q[:, order]


@cache
def full_eigh_loss(which):
    return lambda a, w: pair_loss(*_full_eigh(a, which), w)


@cache
def full_invariant_loss(which):
    def loss(a, w):
        values, q = _full_eigh(a, which)
        middle = jnp.diag(values + values**3).astype(a.dtype)
        return jnp.sum((jnp.conj(w) * mm(q, middle, adjoint(q))).real)

    return loss


def derivatives(loss, names=None):
    """Everything up to third order in every combination of modes, or what ``names`` lists, as one compiled function."""

    def all_of_them(a, w, d1, d2, d3):
        def f(x):
            return loss(x, w)

        def along(g, d):
            return lambda x: jax.jvp(g, (x,), (d,))[1]

        functions = {
            "jvp": along(f, d1),
            "vjp": jax.grad(f),
            "hvp forward over reverse": along(jax.grad(f), d1),
            "hvp reverse over reverse": jax.grad(lambda x: jnp.sum((jax.grad(f)(x) * d1).real)),
            "hvp forward over forward": along(along(f, d1), d2),
            "hvp reverse over forward": jax.grad(along(f, d1)),
            "third": along(along(along(f, d1), d2), d3),
        }
        return {name: functions[name](a) for name in names or functions}

    return jax.jit(all_of_them)


# A reference compiles once for several losses; no more of them, since they are large.
reference_derivatives = lru_cache(maxsize=4)(derivatives)
reference_gradient = lru_cache(maxsize=4)(lambda reference: jax.jit(jax.grad(reference)))


def check_orders(loss, reference, problem, names=None):
    """First order to 1e-11, second and third to 1e-9."""
    got, expected = derivatives(loss, names)(*problem), reference_derivatives(reference)(*problem)
    for name, value in got.items():
        bound = 1e-11 if name in ("jvp", "vjp") else 1e-9
        assert error(value, expected[name]) <= bound, name


def check_gradient(loss, reference, problem):
    """The gradient to 1e-11."""
    a, w, *_ = problem
    assert error(jax.jit(jax.grad(loss))(a, w), reference_gradient(reference)(a, w)) <= 1e-11


def check_adjoint(function, a, seed=0):
    """``<w, J v> = <J^T w, v>`` to 1e-12 for random, also gauge-dependent, cotangents; returns both modes' terms."""
    rng = np.random.default_rng(seed)
    v = jnp.asarray(random(rng, a.shape, jnp.iscomplexobj(a)))

    def both(a, v, w):
        _, tangent = jax.jvp(function, (a,), (v,))
        (cotangent,) = jax.vjp(function, a)[1](w)
        return tangent, cotangent

    shapes = jax.eval_shape(function, a)
    w = jax.tree.map(lambda x: jnp.asarray(random(rng, x.shape, jnp.issubdtype(x.dtype, jnp.complexfloating))), shapes)
    tangent, cotangent = jax.jit(both)(a, v, w)
    left = sum(jax.tree.leaves(jax.tree.map(lambda x, y: jnp.sum(x * y).real, w, tangent)))
    right = jnp.sum(cotangent * v).real
    scale = np.sqrt(sum(float(jnp.sum(jnp.abs(x) ** 2)) for x in jax.tree.leaves(tangent))) * np.sqrt(
        sum(float(jnp.sum(jnp.abs(x) ** 2)) for x in jax.tree.leaves(w))
    )
    assert abs(float(left - right)) <= 1e-12 * scale
