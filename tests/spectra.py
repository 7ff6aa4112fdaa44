"""The named spectra of the test matrix: what is kept, at which gap, and the matrices that have them."""

from typing import NamedTuple

import numpy as np
from references import hermitian, matrix, orthonormal


class Spectrum(NamedTuple):
    """``values``, positive, the k kept ones first; ``gap``: what divides the rounding errors, relative to the largest.

    ``tied``: kept values that are equal, for which only functions of the kept subspace have a derivative.
    """

    values: np.ndarray
    gap: float
    tied: bool = False


def spectra(size, k):
    """Every named spectrum of ``size`` values. The gaps are stated, not found."""
    x, steps = np.linspace(0, 1, size - k), np.arange(size)
    kept = np.linspace(2, 1, k)
    pairs = np.repeat(np.linspace(2, 1, (k + 1) // 2), 2)[:k]

    def below(rest, head=kept):
        return np.r_[head, rest]

    algebraic = 1 / (1.0 + steps)
    return {
        "uniform": Spectrum(below(0.9 - 0.8 * x), 0.05),
        "geometric": Spectrum(0.8**steps, 0.2 * 0.8 ** (k - 1)),
        "algebraic": Spectrum(algebraic, algebraic[k - 1] - algebraic[k]),
        "accumulating at the cut": Spectrum(below(0.9 - 0.4 * x**3), 0.05),
        "close cut": Spectrum(below(0.999 - 0.8 * x), 5e-4),
        "pairs inside": Spectrum(below(0.9 - 0.8 * x, pairs), 0.05, tied=True),
        "all kept equal": Spectrum(below(0.9 - 0.8 * x, np.full(k, 2.0)), 0.5, tied=True),
        "clusters below": Spectrum(below(np.where(x < 0.5, 0.8, 0.3)), 0.1),
        "rank k": Spectrum(below(0 * x), 0.5),
        "graded": Spectrum(10.0 ** -(0.5 * steps), 0.5 * 10.0 ** -(0.5 * (k - 1))),
        "identity-like": Spectrum(below(np.full(size - k, 0.5)), 0.25),
    }


SIGNS = {"LM": [1, -1], "LA": [1, 1], "SA": [-1, -1], "BE": [1, -1]}


def rectangular(rng, shape, spectrum, complex_):
    """A matrix with these singular values."""
    return matrix(rng, shape, spectrum.values, complex_)


def self_adjoint(rng, spectrum, which, complex_):
    """A Hermitian matrix whose best eigenvalues by ``which`` are the kept ones, of both signs under LM and BE.

    Under the others the values stand in the order of ``which`` from the end that it names.
    """
    signs = np.resize(SIGNS[which], spectrum.values.size)
    return hermitian(rng, spectrum.values * signs, complex_)


def non_normal(rng, spectrum, complex_):
    """``X diag(l) X^-1`` with real values of both signs and a condition of X of some units."""
    n = spectrum.values.size
    x = orthonormal(rng, n, n, complex_) @ (np.eye(n) + np.triu(rng.normal(size=(n, n)), 1) / n)
    return (x * (spectrum.values * np.resize([1, -1], n))) @ np.linalg.inv(x)
