"""General matrices: values, and value and gradient, beside ARPACK's ``eigs`` and the full ``jnp.linalg.eig``.

    python benchmarks/general.py [--sizes 300 1000 2000] [--k 6] [--repeats 3] [--complex]

A disk of random eigenvalues of radius 0.9 and k outliers from 1.0 to 1.5, mildly non-normal. The loss depends on values
and vectors; its gradient is checked against a difference quotient. Medians of one process.
"""

import argparse
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import eigs

import truncax


def matrix(n, k, complex_):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(n, n)) + (1j * rng.normal(size=(n, n)) if complex_ else 0)
    a = 0.9 * noise / np.sqrt(n * (2 if complex_ else 1))
    q = np.linalg.qr(rng.normal(size=(n, k)))[0]
    # The disk without the span of q, and the outliers there, coupled to it.
    inside = a - q @ (q.T @ a)
    return inside + q @ np.diag(np.linspace(1.5, 1.0, k)) @ q.T


def median(f, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(f())
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def row(n, k, repeats, complex_):
    a = jnp.asarray(matrix(n, k, complex_))
    m, d = (jnp.asarray(np.random.default_rng(s).normal(size=(n, n))) for s in (1, 2))

    def loss(a):
        values, vectors = truncax.teig(a, k, solver=truncax.Arnoldi())
        quotients = jnp.sum(jnp.conj(vectors) * (m @ vectors), axis=0)
        return jnp.sum(jnp.abs(values) ** 2) + jnp.sum(jnp.abs(quotients) ** 2) / n

    value = jax.jit(lambda a: truncax.teig(a, k, solver=truncax.Arnoldi(), return_info=True))
    both, full = jax.jit(jax.value_and_grad(loss)), jax.jit(jnp.linalg.eig)
    (found, info), (_, gradient) = value(a), both(a)
    host = np.asarray(a)
    exact = eigs(host, k, v0=np.ones(n), return_eigenvectors=False)
    error = max(np.abs(exact - x).min() for x in np.asarray(found.eigenvalues))
    assert error <= 1e-9, error
    h = 1e-5
    slope = (both(a + h * d)[0] - both(a - h * d)[0]) / (2 * h)
    wrong = abs(float(jnp.sum(gradient * d).real / slope) - 1)
    columns = [
        median(lambda: value(a), repeats),
        median(lambda: both(a), repeats),
        median(lambda: eigs(host, k, v0=np.ones(n)), repeats),
        median(lambda: full(a), repeats) if n <= 1000 else float("nan"),
    ]
    return f"| {n} | {int(info.products)} | " + " | ".join(f"{t:.0f}" for t in columns) + f" | {wrong:.0e} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[300, 1000, 2000])
    parser.add_argument("--k", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--complex", action="store_true")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    k = options.k
    print(f"{platform.machine()}, {jax.default_backend()}, jax {jax.__version__}, k = {k}, medians in ms")
    print("| n | products | teig | value and gradient | eigs | full eig | gradient error |")
    print("|---|---|---|---|---|---|---|")
    for n in options.sizes:
        print(row(n, k, options.repeats, options.complex))


if __name__ == "__main__":
    main()
