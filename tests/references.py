"""Matrices of known spectrum, and derivatives from sources that share nothing with the library.

Spectral functions ``f(A) = U_k g(S_k) V_k^H`` have a closed differential in the basis of the full decomposition
(divided differences); it is exact at any degeneracy for which the function is smooth.
"""

import numpy as np

# Rounding of a derivative: eps times a constant for the algebra, over the gap that amplifies it.
EPS = np.finfo(np.float64).eps


# Closer than this, relative, the mean of the derivative by two Gauss nodes is better than a quotient: 2e-13 at most.
NEAR = 1e-3


def tolerance(gap, factor=1e3, eps=EPS):
    """``factor * eps / gap``: what an exact rule may lose to rounding."""
    return factor * eps / gap


def promised(dtype, size, restarts=0):
    """The relative residual that a decomposition promises: ``eps^(5/6)``, and what rounding leaves beside it."""
    eps = np.finfo(dtype).eps
    return eps ** (5 / 6) + (10 + size**0.5 + 2 * restarts) * eps


def random(rng, shape, complex_=False):
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if complex_ else x


def orthonormal(rng, n, k, complex_=False):
    return np.linalg.qr(random(rng, (n, k), complex_))[0]


def matrix(rng, shape, s, complex_=False):
    """A matrix with the singular values ``s`` and random singular vectors."""
    m, n = shape
    u, v = orthonormal(rng, m, len(s), complex_), orthonormal(rng, n, len(s), complex_)
    return (u * np.asarray(s)) @ v.conj().T


def hermitian(rng, values, complex_=False):
    """A Hermitian matrix with the eigenvalues ``values`` and random eigenvectors."""
    q = orthonormal(rng, len(values), len(values), complex_)
    a = (q * np.asarray(values)) @ q.conj().T
    return (a + a.conj().T) / 2


def cut_spectrum(size, k, ratio=0.9):
    """k separated values from 2 down to 1, then ``ratio`` below the cut, falling slowly to ``ratio / 2``."""
    kept = np.linspace(2.0, 1.0, k) if k > 1 else np.ones(1)
    return np.concatenate([kept, ratio * np.linspace(1.0, 0.5, size - k)])


def _mean(dg, x, y):
    """The mean of ``dg`` between x and y; its error is that of two Gauss nodes, ``d^4 / 4320``."""
    half = (x - y) / 12**0.5
    return (dg((x + y) / 2 - half) + dg((x + y) / 2 + half)) / 2


def _quotients(s, g, dg, k):
    """Divided differences (even) and sums (odd) of ``g`` on the kept values and zero on the others."""
    kept = np.arange(len(s)) < k
    f = np.where(kept, g(s), 0.0)
    d, t = s[:, None] - s[None, :], s[:, None] + s[None, :]
    both = kept[:, None] & kept[None, :]
    near = both & (np.abs(d) < NEAR * s[0])
    neither = ~kept[:, None] & ~kept[None, :]
    mean = _mean(dg, s[:, None], s[None, :])
    even = np.where(
        near, mean, np.where(neither, 0, (f[:, None] - f[None, :]) / np.where(near | neither | (d == 0), 1, d))
    )
    odd = np.where(t > 0, (f[:, None] + f[None, :]) / np.where(t > 0, t, 1), dg(t / 2))
    return even, odd


def singular_function_gradient(a, w, k, g, dg):
    """Gradient, as JAX returns it, of ``Re <w, U_k g(S_k) V_k^H>`` for an odd function g with derivative dg."""
    m, n = a.shape
    if m > n:
        return singular_function_gradient(a.conj().T, w.conj().T, k, g, dg).conj().T
    u, s, vh = np.linalg.svd(a, full_matrices=True)
    even, odd = _quotients(s, g, dg, k)
    e = u.conj().T @ w @ vh.conj().T
    square, rest = e[:, :m], e[:, m:]
    sym, anti = (square + square.conj().T) / 2, (square - square.conj().T) / 2
    ratio = np.where(np.arange(m) < k, np.where(s > 0, g(s) / np.where(s > 0, s, 1), dg(s)), 0)
    inner = np.concatenate([even * sym + odd * anti, ratio[:, None] * rest], axis=1)
    return (u @ inner @ vh).conj()


def hermitian_function_gradient(a, w, order, g, dg):
    """Gradient, as JAX returns it, of ``Re <w, Q g(L) Q^H>`` over the first of ``order``: ``(indices, k)``."""
    values, q = np.linalg.eigh(a)
    indices, k = order
    kept = np.zeros(len(values), bool)
    kept[indices[:k]] = True
    f = np.where(kept, g(values), 0.0)
    d = values[:, None] - values[None, :]
    both, neither = kept[:, None] & kept[None, :], ~kept[:, None] & ~kept[None, :]
    near = both & (np.abs(d) < NEAR * np.max(np.abs(values)))
    mean = _mean(dg, values[:, None], values[None, :])
    quotient = np.where(
        near, mean, np.where(neither, 0, (f[:, None] - f[None, :]) / np.where(near | neither | (d == 0), 1, d))
    )
    h = (w + w.conj().T) / 2
    return (q @ (quotient * (q.conj().T @ h @ q)) @ q.conj().T).conj()


def best_first(values, which):
    key = {"LA": -values, "SA": values, "LM": -np.abs(values)}[which]
    return np.argsort(key, kind="stable")


def finite_difference(f, x, d, h=1e-3):
    """Directional derivative of an array-valued function by 4th-order central differences of step ``h / ||d||``."""
    size = np.linalg.norm(d, 2)
    d = d / size
    return size * (8 * (f(x + h * d) - f(x - h * d)) - (f(x + 2 * h * d) - f(x - 2 * h * d))) / (12 * h)


def error(x, reference):
    """Relative error in the Frobenius norm."""
    x, reference = np.asarray(x), np.asarray(reference)
    return float(np.linalg.norm(x - reference) / np.linalg.norm(reference))


# --- perturbation theory ----------------------------------------------------------------------------------------------


def level_derivatives(values, q, j, v):
    """First, second and third derivative of the j-th, simple eigenvalue of ``q diag(values) q^H`` along v.

    The sums over states of Rayleigh and Schroedinger, times 1, 2 and 6.
    """
    inside = q.conj().T @ v @ q
    others = np.arange(len(values)) != j
    x = inside[others, j] / (values[j] - values[others])
    first = inside[j, j].real
    second = np.vdot(inside[others, j], x).real
    third = np.vdot(x, inside[np.ix_(others, others)] @ x).real - first * np.vdot(x, x).real
    return first, 2 * second, 6 * third


def vector_derivative(values, q, j, v):
    """Of its vector, which stays orthogonal to itself."""
    others = np.arange(len(values)) != j
    return q[:, others] @ (q[:, others].conj().T @ v @ q[:, j] / (values[j] - values[others]))


def kept_derivatives(values, q, kept, v, f, df, ddf):
    """Of what is kept at any degeneracy inside: d tr f, d^2 tr f, dP; P the projector and f a function of the values.

    As divided differences: of f' for the second derivative, of the step at the cut for the projector.
    """
    inside = q.conj().T @ v @ q
    slope = np.where(kept, df(values), 0)
    d = values[:, None] - values[None, :]
    across = kept[:, None] != kept[None, :]
    near = np.abs(d) < NEAR * np.max(np.abs(values))
    safe = np.where(near, 1, d)
    bend = np.where(kept[:, None] & kept[None, :], ddf(values)[:, None], 0)
    second = np.where(near, bend, (slope[:, None] - slope[None, :]) / safe)
    step = np.where(across, (kept[:, None] * 1.0 - kept[None, :]) / np.where(across, d, 1), 0)
    return (
        np.sum(slope * np.diagonal(inside).real),
        np.sum(second * np.abs(inside) ** 2),
        q @ (step * inside) @ q.conj().T,
    )
