"""Losses that depend neither on phases nor on the basis: their cotangents, and their gradients by other means."""

from dataclasses import replace

import jax
import numpy as np
from programs import parts, run
from references import hermitian_function_gradient, singular_function_gradient
from strategies import order


def adjoint(x):
    return x.conj().T


def middle_weights(case, rng):
    """A weight for each kept value, the same inside a cluster."""
    return rng.uniform(0.5, 1.5, case.program.k)[case.labels()]


def cotangent_of_loss(case, result, w, weights):
    """JAX's cotangent of ``Re <w, U f Vh>``: ``f = C + C C^H C`` of subspaces, the weights of single vectors.

    Of general matrices ``Re sum(weights * values)``, or of the projector on the subspace.
    """
    program, W = case.program, w.conj()
    bar = jax.tree.map(np.zeros_like, result)
    if program.function == "teig":
        return bar._replace(eigenvalues=weights + 0j)
    if program.kind == "general":
        return bar._replace(Q=(W + W.conj().T) @ result.Q.conj(), H=np.eye(program.k, dtype=complex))
    left, middle, right = parts(program, result)
    if program.subspaces:
        square = adjoint(middle) @ middle
        f, inner = middle + middle @ square, left.T @ W @ right.T
        of_middle = inner @ (np.eye(program.k) + square).T + middle.conj() @ adjoint(inner) @ middle.conj()
        of_middle = of_middle + (middle @ adjoint(middle)).T @ inner
    else:
        f, of_middle = np.diag(weights), weights
    of_left, of_right = W @ (f @ right).T, (left @ f).T @ W
    if program.kind == "singular":
        return type(result)(of_left, of_middle, of_right)
    of_left = of_left + adjoint(of_right)
    return bar._replace(Q=of_left, H=of_middle) if program.subspaces else type(result)(of_middle, of_left)


def gradient_of_loss(case, w, weights):
    """The same by the full decomposition."""
    k, a, which = case.program.k, case.a, case.program.which
    singular = case.program.kind == "singular"
    if singular:
        u, values, vh = np.linalg.svd(a)
        indices, right = np.arange(len(values)), vh
    else:
        values, u = np.linalg.eigh(a)
        indices, right = order(values, which), adjoint(u)
    kept = indices[:k]
    if case.program.subspaces:
        f, df, own = (lambda x: x + x**3), (lambda x: 1 + 3 * x**2), 0
    else:
        # A weight for each value in place of a function of it, and the slope of their sum.
        by_value = np.bincount(kept, weights, minlength=len(values))
        f, df, own = (lambda _: by_value), np.zeros_like, ((u[:, kept] * weights) @ right[kept]).conj()
    if singular:
        return singular_function_gradient(a, w, k, f, df) + own
    return hermitian_function_gradient(a, w, (indices, k), f, df) + own


def library_gradient(case, w, weights, program=None, a=None, scale=None):
    """Two calls of one program: the second pulls the cotangent back that the result of the first has."""
    program, a, scale = program or case.program, case.a if a is None else a, scale or case.scale
    at = replace(case, program=program)
    result = run(program, a, scale=scale).result
    found = run(program, a, w=cotangent_of_loss(at, result, w, weights), scale=scale)
    return found.cotangent, found


def loss_bound(case, info, factor=20):
    """Of the relative error of such a gradient; more where single vectors are close."""
    bound = case.tolerance(info, factor)
    return bound if case.program.subspaces else bound / case.split


def scale_of(gradient, w):
    return np.linalg.norm(gradient) + np.linalg.norm(w) + 1
