"""Problems ``a x = l b x`` of known eigenvalues, and losses of their pairs."""

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from references import orthonormal, random

N, K = 40, 4
# Around sigma = 0.3 the four nearest are apart, the fifth is half as near as the fourth is.
SIGMA = 0.3
NEAREST = np.array([0.4, 0.12, 0.62, -0.16])
ORDERED = NEAREST[np.argsort(np.abs(NEAREST - SIGMA))]
VALUES = np.concatenate([NEAREST, np.linspace(1.3, 6, 20), np.linspace(-0.8, -5, N - 24)])


def mass(rng, complex_=False, n=N):
    x = random(rng, (n, n), complex_)
    return x @ x.conj().T / n + np.eye(n)


def pencil(complex_=False, values=VALUES, generalized=True, seed=0):
    """``(a, b)`` with ``a x = l b x`` for these l."""
    rng = np.random.default_rng(seed)
    n = len(values)
    b = mass(rng, complex_, n) if generalized else np.eye(n)
    x = np.linalg.cholesky(b) @ orthonormal(rng, n, n, complex_)
    a = (x * values) @ x.conj().T
    return jnp.asarray((a + a.conj().T) / 2), jnp.asarray(b)


def slope(f, h=1e-3):
    """The derivative at 0, by 4th-order central differences."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def loss_of(values, x, w):
    weights = jnp.arange(1.0, K + 1)
    quadratic = jnp.einsum("ij,ik,kj->j", jnp.conj(x), w, x, precision="highest").real
    return jnp.sum(weights * (jnp.sin(values) + quadratic))


def reference_loss(a, b, w, order):
    """By the full decomposition of the whitened matrix, which JAX differentiates; its values are all apart."""
    a, b = ((m + jnp.conj(m.T)).astype(a.dtype) / 2 for m in (a, b))
    inverse = jnp.linalg.inv(jnp.linalg.cholesky(b))
    values, y = jnp.linalg.eigh(jnp.linalg.multi_dot([inverse, a, jnp.conj(inverse.T)], precision="highest"))
    index = order(values)[:K]
    x = jnp.matmul(jnp.conj(inverse.T), y[:, index], precision="highest")
    return loss_of(values[index], x, w)


def symmetric_weights(rng, complex_):
    w = random(rng, (N, N), complex_)
    return jnp.asarray(w + w.conj().T)


def sparse_pencil(complex_=False):
    """A chain with a potential, and a mass that couples neighbours."""
    rng = np.random.default_rng(3)
    hop = np.exp(1j * rng.normal(size=N - 1)) if complex_ else rng.uniform(0.5, 1.5, N - 1)
    a = scipy.sparse.diags_array([hop.conj(), rng.uniform(-1, 1, N), hop], offsets=[-1, 0, 1]).tocsr()
    off = np.full(N - 1, 0.2)
    b = scipy.sparse.diags_array([off, np.linspace(1, 2, N), off], offsets=[-1, 0, 1]).tocsr()
    return a, (b * (1 + 0j) if complex_ else b)
