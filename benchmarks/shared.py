"""What the benchmarks share: named spectra, matrices that have them, timing in turn."""

import statistics
import time

import numpy as np

SPECTRA = {"exp": lambda n: np.exp(-20 * np.arange(n) / n), "alg": lambda n: 1 / (1 + np.arange(n))}


def orthonormal(rng, n, dtype):
    x = rng.normal(size=(n, n))
    return np.linalg.qr(x + 1j * rng.normal(size=(n, n)) if np.dtype(dtype).kind == "c" else x)[0]


def matrix(n, spectrum, dtype, hermitian, seed=0):
    rng = np.random.default_rng(seed)
    u = orthonormal(rng, n, dtype)
    a = (u * SPECTRA[spectrum](n)) @ (u if hermitian else orthonormal(rng, n, dtype)).conj().T
    return np.ascontiguousarray((a + a.conj().T) / 2 if hermitian else a).astype(dtype)


def spectrum(kind, n, k, gap):
    """``k`` values from 2 to 1, a gap, and the others evenly below it (``uniform``) or crowded there."""
    count = n - k
    if kind == "uniform":
        below = (1 - gap) * (1 - np.arange(count) / count)
    else:
        distances = np.minimum(gap * 1.05 ** np.arange(count), 0.99)
        far = distances == 0.99
        distances[far] = np.linspace(0.99, 0.999, far.sum())
        below = 1 - distances
    return np.concatenate([np.linspace(2, 1, k), below])


def alternating(functions, repeats):
    """Medians in ms, from two rounds in turn. After each turn the threads of NumPy's BLAS are given time to rest."""
    times = [[] for _ in functions]
    for _ in range(2):
        for f, t in zip(functions, times, strict=True):
            time.sleep(0.1)
            f()
            for _ in range(repeats):
                start = time.perf_counter()
                f()
                t.append(time.perf_counter() - start)
    return [1e3 * statistics.median(t) for t in times]
