"""Hypothesis strategies: matrices with a prescribed spectrum, cut gap, clusters, shape, dtype and scale."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from programs import PROGRAMS, Program, rounded
from references import hermitian, matrix, orthonormal, promised, random
from scipy.sparse.csgraph import connected_components

from truncax.numerics.tolerances import degeneracy_rtol

# Each takes the size, k and the relative gap at the cut: k kept values that descend to 1, and the rest below 1 - gap.
SPECTRA = {
    "uniform": lambda n, k, gap: (np.linspace(2, 1, k), (1 - gap) * np.linspace(1, 0.2, n - k)),
    "geometric": lambda n, k, gap: (1.3 ** np.arange(k)[::-1], (1 - gap) * 0.7 ** np.arange(n - k)),
    "algebraic": lambda n, k, gap: ((k / np.arange(1, k + 1)) ** 2, (1 - gap) / np.arange(1, n - k + 1)),
    "accumulating": lambda n, k, gap: (np.linspace(2, 1, k), (1 - gap) * (1 - 0.3 * np.linspace(0, 1, n - k) ** 3)),
    "graded": lambda n, k, gap: (
        10 ** np.linspace(min(k - 1, 3), 0, k),
        (1 - gap) * 10.0 ** -np.linspace(0, 9, n - k),
    ),
    "clusters below": lambda n, k, gap: (np.linspace(2, 1, k), (1 - gap) * (1 - np.arange(n - k) // 3 * 3 / n)),
    "rank k": lambda n, k, gap: (np.linspace(2, 1, k), np.zeros(n - k)),
    "two levels": lambda n, k, gap: (np.ones(k), np.full(n - k, 1 - gap)),
    "cluster": lambda n, k, gap: (np.where(np.arange(k) < k // 3, 2.0, 1.0), (1 - gap) * np.linspace(1, 0.2, n - k)),
}
CLUSTERED = ("two levels", "cluster")
SEPARATED = ("uniform", "algebraic", "accumulating", "clusters below", "rank k")
GAPS = {True: (0.5, 0.1, 1e-2, 1e-3), False: (0.5, 0.1, 0.03)}
GENERAL_GAPS = (0.5, 0.2, 0.1)
SPLITS = {True: (0.0, 1e-14, 1e-9, 1e-5), False: (0.0, 1e-3)}
SCALES = {
    True: (1.0, 2.0**-800, 2.0**800, 1e-250, 1e250, 1e-7, 3e5),
    False: (1.0, 2.0**-80, 2.0**80, 1e-25, 1e25, 1e-7, 3e5),
}


@dataclass(frozen=True)
class Case:
    """A matrix ``a`` in double precision, exactly what the program sees in units of ``scale``, of norm about one."""

    program: Program
    name: str
    a: np.ndarray
    gap: float
    scale: float
    seed: int

    def __repr__(self):
        return f"{self.name}, gap {self.gap:.0e}, scale {self.scale:.0e}, seed {self.seed}: {self.program}"

    def _repr_pretty_(self, printer, cycle):
        printer.text(repr(self))

    @property
    def rng(self):
        """Anew for each property, which draws directions and weights from it."""
        return np.random.default_rng([self.seed, 1])

    def random(self, rng, shape=None):
        return rounded(self.program, random(rng, shape or self.program.shape, self.program.complex))

    def direction(self, rng):
        """A tangent, Hermitian where the matrix is."""
        d = self.random(rng)
        return (d + d.conj().T) / 2 if self.program.kind == "hermitian" else d

    @cached_property
    def spectrum(self):
        """All values in the order of ``which``, by NumPy."""
        if self.program.kind == "singular":
            return np.linalg.svd(self.a, compute_uv=False)
        if self.program.kind == "hermitian":
            values = np.linalg.eigvalsh(self.a)
            return values[order(values, self.program.which)]
        values = np.linalg.eigvals(self.a)
        return values[np.lexsort([-values.imag, -np.round(np.abs(values), 9)])]

    @property
    def kept(self):
        return self.spectrum[: self.program.k]

    def labels(self):
        """For each kept value the number of its cluster, of values in steps below 1e-2; l and -l are one under "LM"."""
        ranks = np.abs(self.kept) if self.program.which == "LM" else self.kept
        return connected_components(np.abs(ranks[:, None] - ranks[None, :]) < 1e-2)[1]

    @property
    def split(self):
        """The smallest distance of two kept values that the derivative of single vectors divides by, at most 1."""
        distances = np.abs(self.kept[:, None] - self.kept[None, :])
        return np.min(distances[distances > degeneracy_rtol(self.program.dtype) / 2], initial=1.0)

    def tolerance(self, info, factor, power=1):
        """``factor * eps / gap^power``, where eps is the residual that a decomposition promises; see references."""
        return factor * promised(self.program.dtype, max(self.a.shape), int(info.iterations)) / self.gap**power


def order(values, which):
    """The indices of the eigenvalues, best first."""
    if which == "BE":
        descending = np.argsort(-values, kind="stable")
        return np.stack([descending, descending[::-1]]).T.ravel()[: len(values)]
    return np.argsort({"LA": -values, "SA": values, "LM": -np.abs(values)}[which], kind="stable")


def _near(draw, kept, double):
    """Values that are equal become a near cluster, split by a drawn distance."""
    split = draw(st.sampled_from(SPLITS[double]))
    first = np.argmax(np.abs(kept[:, None] - kept[None, :]) == 0, axis=1)
    return kept + split * kept[0] * (np.arange(len(kept)) - first)[::-1] / len(kept)


@st.composite
def spectra(draw, program, names=tuple(SPECTRA)):
    """``(name, magnitudes, gap)``: all values descend, relative to the largest, and so is the gap below the k-th.

    Of general matrices none that is graded, and no gap below 0.1: the solve of their derivative, for all columns at
    once, may fail there, and the derivative is NaN as the docstring says.
    """
    general = program.kind == "general"
    names = tuple(name for name in names if not general or name != "graded")
    size, k, double = min(program.shape), program.k, program.double
    name, gap = draw(st.sampled_from(names)), draw(st.sampled_from(GENERAL_GAPS if general else GAPS[double]))
    kept, rest = SPECTRA[name](size, k, gap)
    if name in CLUSTERED:
        kept = np.sort(_near(draw, kept, double))[::-1]
    s = np.concatenate([kept, rest])
    below = s[k] if size > k else 0.0
    gap = 1.0 if size == k and program.shape == (size, size) else (s[k - 1] - below) / s[0]
    return name, s / s[0], gap


def signed(rng, s, k, which):
    """Eigenvalues of these magnitudes, whose first k are the best by ``which``."""
    if which in ("LA", "SA"):
        return s if which == "LA" else -s
    signs = rng.choice([-1.0, 1.0], len(s))
    if which == "BE":
        signs[:k] = (-1.0) ** np.arange(k)
    return s * signs


def general(rng, s, k, complex_):
    """A matrix of eigenvalues of these magnitudes; real ones in conjugate pairs, none of which the cut parts."""
    n = len(s)
    if complex_:
        core = np.diag(s * np.exp(2j * np.pi * rng.random(n)))
    else:
        core, j = np.diag(s * rng.choice([-1.0, 1.0], n)), 0
        while j + 1 < n:
            if j + 1 != k and rng.random() < 0.5:
                angle = rng.uniform(0.3, 2.8)
                c, t = np.cos(angle), np.sin(angle)
                s = s.copy()
                s[j + 1] = s[j]
                core[j : j + 2, j : j + 2] = s[j] * np.array([[c, t], [-t, c]])
                j += 1
            j += 1
    q, p = orthonormal(rng, n, n, complex_), orthonormal(rng, n, n, complex_)
    x = (q * np.linspace(1, 2, n)) @ p
    return x @ core @ np.linalg.inv(x)


def laplacians(n):
    """Laplacians of graphs of n vertices: a ring, a path, a grid, a star, two rings, and the hypercube of 32."""
    step = np.roll(np.eye(n), 1, axis=1)
    path = np.eye(n, k=1)
    star = np.zeros((n, n))
    star[0, 1:] = 1
    rows = next(r for r in range(int(n**0.5), 0, -1) if n % r == 0)
    grid = np.kron(np.eye(rows, k=1), np.eye(n // rows)) + np.kron(np.eye(rows), np.eye(n // rows, k=1))
    half = np.roll(np.eye(n // 2), 1, axis=1)
    bits = np.arange(n)[:, None] ^ np.arange(n)[None, :]
    cube = np.triu((bits & (bits - 1) == 0) & (bits > 0)) * 1.0
    graphs = {"ring": step, "path": path, "grid": grid, "star": star, "two rings": np.kron(np.eye(2), half)}
    for name, upper in {**graphs, "hypercube": cube}.items():
        adjacency = upper + upper.T
        yield name, np.diag(adjacency.sum(axis=1)) - adjacency


@st.composite
def cases(draw, programs=PROGRAMS, names=tuple(SPECTRA), scaled=True):
    """A program and a matrix of a prescribed spectrum with a gap at its cut, or the Laplacian of a graph with one."""
    program = draw(st.sampled_from([*programs]))
    scale = draw(st.sampled_from(SCALES[program.double])) if scaled else 1.0
    graph = program.kind == "hermitian" and names == tuple(SPECTRA) and draw(st.integers(0, 7)) == 0
    name, s, gap = ("graph", None, None) if graph else draw(spectra(program, names))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    if graph:
        name, a = draw(st.sampled_from([*laplacians(program.shape[0])]))
        phases = np.exp(2j * np.pi * rng.random(len(a))) if program.complex else rng.choice([-1.0, 1.0], len(a))
        a = phases[:, None] * a * phases.conj() / np.linalg.norm(a, 2)
        values = np.linalg.eigvalsh(a)
        values = values[order(values, program.which)]
        gap = np.min(np.abs(values[: program.k, None] - values[None, program.k :]), initial=1.0)
        assume(gap >= GAPS[program.double][-1])
    elif program.kind == "singular":
        a = matrix(rng, program.shape, s, program.complex)
    elif program.kind == "hermitian":
        a = hermitian(rng, signed(rng, s, program.k, program.which), program.complex)
    else:
        a = general(rng, s, program.k, program.complex)
    return Case(program, name, rounded(program, a, scale), float(gap), scale, seed)


def wild(rng, program, name):
    """Finite matrices with no gap, no rank, no size, or too much of one."""
    shape, size, k = program.shape, min(program.shape), program.k
    tied = np.concatenate([np.linspace(2, 1, k), np.ones(size - k)])[:size]
    singular = program.kind == "singular"
    of_values = (lambda s: matrix(rng, shape, s, program.complex)) if singular else None
    if of_values is None:
        of_values = lambda s: hermitian(rng, signed(rng, s, k, program.which), program.complex)  # noqa: E731
    half = np.where(np.arange(size) < (k + 1) // 2, 1.0, 0.0)
    made = {
        "zero": lambda: np.zeros(shape),
        "identity": lambda: np.eye(*shape),
        "tie at the cut": lambda: of_values(tied),
        "near tie at the cut": lambda: of_values(
            tied * np.where(np.arange(size) < k, 1, 1 - 10.0 ** rng.uniform(-16, -4))
        ),
        "rank below k": lambda: of_values(half),
        "rank one": lambda: np.ones(shape),
        "one entry": lambda: np.pad(np.ones((1, 1)), [(0, n - 1) for n in shape]),
        "small integers": lambda: rng.integers(-1, 2, shape).astype(float),
        "graded rows": lambda: 10.0 ** -rng.uniform(0, 30, shape[0])[:, None] * random(rng, shape, program.complex),
        "sparse": lambda: random(rng, shape, program.complex) * (rng.random(shape) < 0.1),
        "steep": lambda: of_values(10.0 ** -(np.arange(size) * 20.0 / size)),
        "random": lambda: random(rng, shape, program.complex),
    }
    a = made[name]()
    return a if program.kind != "hermitian" else (a + a.conj().T) / 2


WILD = (
    *("zero", "identity", "tie at the cut", "near tie at the cut", "rank below k", "rank one", "one entry"),
    *("small integers", "graded rows", "sparse", "steep", "random"),
)


@st.composite
def wild_cases(draw, programs=PROGRAMS):
    """Any finite matrix; ``gap`` says nothing."""
    program, name = draw(st.sampled_from([*programs])), draw(st.sampled_from(WILD))
    scale = draw(st.sampled_from(SCALES[program.double]))
    seed = draw(st.integers(0, 2**32 - 1))
    a = wild(np.random.default_rng(seed), program, name)
    return Case(program, name, rounded(program, a, scale), 1.0, scale, seed)
