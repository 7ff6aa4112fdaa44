"""The matrix of tests: function x solver x operator x dtype x derivative x transform, on named spectra.

Each cell compares one function with the closed differential of ``U_k g(S_k) V_k^H``, ``Q_k g(L_k) Q_k^H`` or, of a
general matrix, with perturbation theory: all from full decompositions by NumPy in double precision. The error that is
allowed is ``C eps / gap`` for values of order one: of vectors and first derivatives once, of second ones twice.

By default 14 cells, which hold every value of every axis and most pairs; ``TRUNCAX_LONG=1`` meets all pairs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spectra
from checks import adjoint, mm
from jax.experimental import sparse
from profiles import covering
from references import (
    best_first,
    finite_difference,
    hermitian_function_gradient,
    random,
    singular_function_gradient,
)

import truncax

K, N, SHAPE = 4, 40, (40, 48)
SINGULAR = ["tsvd", "singular_subspaces", "low_rank_approximation"]
HERMITIAN = {
    "teigh": ["LM", "LA", "SA"],
    "invariant_subspace": ["LM", "LA", "SA"],
    "spectral_projector": ["LM", "LA"],
}
FUNCTIONS = [
    *SINGULAR,
    *(f"{name} {which}" for name, orders in HERMITIAN.items() for which in orders),
    "teig LM",
    "invariant_subspace, general LM",
]
SPECTRA = spectra.spectra(N, K)
AXES = {
    "function": FUNCTIONS,
    "solver": ["Dense", "native", "Arpack", "Propack", "LOBPCG", "default"],
    "operator": ["array", "BCOO", "BCSR", "function", "sum", "product"],
    "dtype": ["float32", "float64", "complex64", "complex128"],
    "derivative": ["value", "jvp", "vjp", "reverse", "hvp"],
    "transform": ["eager", "jit", "vmap", "scan", "cond", "checkpoint"],
    "spectrum": list(SPECTRA),
}
NATIVE = {"singular": truncax.GolubKahan(), "hermitian": truncax.Lanczos(), "general": truncax.Arnoldi(ncv=20)}
# What products, solves and a reference lose to rounding, in units of eps / gap.
CONSTANT = 200
# The reference of second derivatives is a central difference of fourth order.
DIFFERENCES = 1e-7


def family(cell):
    name = cell["function"]
    if name in SINGULAR:
        return "singular"
    return "hermitian" if name.split()[0] in HERMITIAN and "general" not in name else "general"


def order(cell):
    return cell["function"].split()[-1] if family(cell) == "hermitian" else "LM"


def allowed(cell):
    """What the library promises: the rest of the product it refuses, or the derivative does not exist."""
    kind, solver, spectrum = family(cell), cell["solver"], SPECTRA[cell["spectrum"]]
    second, single = cell["derivative"] == "hvp", cell["dtype"] in ("float32", "complex64")
    if solver == "Propack" and kind != "singular":
        return False
    if solver == "LOBPCG" and (kind != "hermitian" or order(cell) == "LM"):
        return False
    if solver in ("Arpack", "Propack") and cell["operator"] not in ("array", "BCOO", "BCSR"):
        return False
    if second and (single or spectrum.gap < 1e-2 or (spectrum.tied and cell["function"].startswith("t"))):
        return False
    if kind == "general" and (spectrum.tied or cell["spectrum"] in ("rank k", "graded")):
        return False
    return not (single and spectrum.gap < 1e-2)


CELLS = covering(AXES, allowed, rows=14)


def solver_of(cell):
    name = cell["solver"]
    if name == "native":
        return NATIVE[family(cell)]
    return None if name == "default" else getattr(truncax, name)()


def places(shape):
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 2)


def product(x, a):
    return mm(a, x)


def operator_of(cell, a):
    """What is decomposed; its derivative goes to the entries of the array ``a``."""
    (m, n), hermitian = a.shape, family(cell) == "hermitian"
    kinds = {
        "array": lambda: a,
        "BCOO": lambda: sparse.BCOO((a.reshape(-1), jnp.asarray(places(a.shape))), shape=a.shape),
        "BCSR": lambda: sparse.BCSR((a.reshape(-1), jnp.tile(jnp.arange(n), m), n * jnp.arange(m + 1)), shape=a.shape),
        "function": lambda: truncax.linear_operator(product, a, shape=a.shape, hermitian=hermitian),
        "sum": lambda: 2 * truncax.as_operator(a) - truncax.as_operator(a),
        "product": lambda: truncax.as_operator(a) @ truncax.as_operator(jnp.eye(n, dtype=a.dtype)),
    }
    return kinds[cell["operator"]]()


def decomposed(cell, a):
    """The array that has a closed differential: ``U g(S) V^H``, ``Q g(L) Q^H``, or of a general one its projector."""
    mode = "reverse" if cell["derivative"] == "reverse" else "all"
    options = {"solver": solver_of(cell), "derivative": truncax.Implicit(mode=mode)}
    name, which, a = cell["function"].split()[0], order(cell), operator_of(cell, a)
    if name == "tsvd":
        U, _, Vh = truncax.tsvd(a, K, **options)
        return mm(U, Vh)
    if name == "singular_subspaces":
        return mm(*truncax.singular_subspaces(a, K, **options))
    if name == "low_rank_approximation":
        return truncax.low_rank_approximation(a, K, **options)
    if name == "spectral_projector":
        return truncax.spectral_projector(a, K, which=which, **options)
    if name == "teigh":
        Q = truncax.teigh(a, K, which=which, **options).eigenvectors
        return mm(Q, adjoint(Q))
    if name == "teig":
        Q, _ = jnp.linalg.qr(truncax.teig(a, K, **options).eigenvectors)
        return mm(Q, adjoint(Q))
    if name == "invariant_subspace,":
        Q, _ = truncax.invariant_subspace(a, K, hermitian=False, **options)
        return mm(Q, adjoint(Q))
    Q, H = truncax.invariant_subspace(a, K, which=which, **options)
    return mm(Q, H + mm(H, H, H), adjoint(Q))


def one(x):
    return np.ones_like(x)


FUNCTION = {  # g and g'
    "tsvd": (one, np.zeros_like),
    "singular_subspaces": (lambda s: s, one),
    "low_rank_approximation": (lambda s: s, one),
    "invariant_subspace": (lambda x: x + x**3, lambda x: 1 + 3 * x**2),
    "teigh": (one, np.zeros_like),
    "spectral_projector": (one, np.zeros_like),
}


def reference_value(cell, a):
    if family(cell) == "singular":
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        return (u[:, :K] * FUNCTION[cell["function"]][0](s[:K])) @ vh[:K]
    if family(cell) == "general":
        q, _ = np.linalg.qr(right_eigenvectors(a)[1][:, :K])
        return q @ q.conj().T
    values, q = np.linalg.eigh(a)
    best = best_first(values, order(cell))[:K]
    g, _ = FUNCTION[cell["function"].split()[0]]
    return (q[:, best] * g(values[best])) @ q[:, best].conj().T


def right_eigenvectors(a):
    values, x = np.linalg.eig(a)
    best = np.argsort(-np.abs(values))
    return values[best], x[:, best]


def projector_gradient(a, w):
    """The gradient, as JAX returns it, of ``Re <w, P>``, P the projector onto the kept right eigenvectors.

    Perturbation theory: ``dX = X_d (F o (Y_d dA X_k))`` with ``Y = X^-1`` and ``F_ij = 1 / (l_j - l_i)``, and
    ``dP = (1 - P) dX X_k^+ + h.c.``
    """
    values, x = right_eigenvectors(a)
    y, pinv = np.linalg.inv(x), np.linalg.pinv(x[:, :K])
    f = 1 / (values[None, :K] - values[K:, None])
    rest = np.eye(len(a)) - x[:, :K] @ pinv
    b = pinv @ (w + w.conj().T) @ rest @ x[:, K:]
    gradient = (x[:, :K] @ (b * f.T) @ y[K:]).T
    return gradient if np.iscomplexobj(a) else gradient.real


def reference_gradient(cell, a, w):
    if family(cell) == "general":
        return projector_gradient(a, w)
    g, dg = FUNCTION[cell["function"].split()[0]]
    if family(cell) == "singular":
        return singular_function_gradient(a, w, K, g, dg)
    best = best_first(np.linalg.eigvalsh(a), order(cell))
    return hermitian_function_gradient(a, w, (best, K), g, dg)


TRANSFORMS = {
    "eager": lambda f: f,
    "jit": jax.jit,
    "vmap": lambda f: lambda *args: jax.tree.map(lambda x: x[1], jax.jit(jax.vmap(f))(*(_two(x) for x in args))),
    "scan": lambda f: jax.jit(lambda *args: jax.lax.scan(lambda c, _: (c, f(*args)), 0, None, length=1)[1][0]),
    "cond": lambda f: jax.jit(lambda a, *more: jax.lax.cond(a[0, 0].real < 1e9, f, _zeros_of(f), a, *more)),
    "checkpoint": lambda f: jax.jit(f),
}


def _zeros_of(f):
    return lambda *args: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(f, *args))


def _two(x):
    return jnp.stack([x / 2, x])


def problem(cell, seed):
    """The matrix in the dtype of the cell, a weight, a direction, and the gap."""
    rng, spectrum = np.random.default_rng(seed), SPECTRA[cell["spectrum"]]
    complex_, kind = cell["dtype"].startswith("c"), family(cell)
    if kind == "singular":
        a = spectra.rectangular(rng, SHAPE, spectrum, complex_)
    elif kind == "hermitian":
        a = spectra.self_adjoint(rng, spectrum, order(cell), complex_)
    else:
        a = spectra.non_normal(rng, spectrum, complex_)
    w, d = random(rng, a.shape, complex_), random(rng, a.shape, complex_)
    if kind == "hermitian":
        d = (d + d.conj().T) / 2
    a, w, d = (x.astype(cell["dtype"]) for x in (a, w, d))
    return (a + a.conj().T) / 2 if kind == "hermitian" else a, w, d, spectrum.gap


def looked_at(cell, value):
    """The function of ``(a, w, d)`` that the cell looks at: ``value`` or a derivative of ``Re <w, value>``."""

    def loss(a, w):
        x = value(a)  # complex of a general real matrix
        return jnp.sum((jnp.conj(w).astype(x.dtype) * x).real)

    def along(f):
        return lambda a, w, d: jax.jvp(lambda x: f(x, w), (a,), (d,))[1]

    gradient = jax.grad(loss)
    return {
        "value": lambda a, w, d: value(a),
        "jvp": along(loss),
        "vjp": lambda a, w, d: gradient(a, w),
        "reverse": lambda a, w, d: gradient(a, w),
        "hvp": along(gradient),
    }[cell["derivative"]]


def expected(cell, a, w, d, gap):
    """What it is, and the size that its error is relative to."""
    if cell["derivative"] == "value":
        value = reference_value(cell, a)
        return value, np.linalg.norm(value)
    gradient = reference_gradient(cell, a, w)
    if cell["derivative"] == "jvp":
        return np.sum((gradient * d).real), np.linalg.norm(gradient) * np.linalg.norm(d)
    if cell["derivative"] == "hvp":
        gradient = finite_difference(lambda x: reference_gradient(cell, x, w), a, d, h=1e-2 * gap)
    return gradient, np.linalg.norm(gradient)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(cell.values()).replace(" ", "_"))
def test_cell(cell):
    a, w, d, gap = problem(cell, CELLS.index(cell))

    def value(a):
        return decomposed(cell, a)

    value = jax.checkpoint(value) if cell["transform"] == "checkpoint" else value
    got = np.asarray(TRANSFORMS[cell["transform"]](looked_at(cell, value))(*map(jnp.asarray, (a, w, d))))
    reference, size = expected(cell, *(x.astype(complex if np.iscomplexobj(x) else float) for x in (a, w, d)), gap)
    bound = CONSTANT * np.finfo(a.dtype).eps / gap
    bound = bound / gap + DIFFERENCES if cell["derivative"] == "hvp" else bound
    assert got.real.dtype == a.real.dtype
    difference = got - reference
    if family(cell) == "hermitian" and got.ndim:
        # Hermitian changes of the matrix see no more of a gradient.
        difference = (difference + difference.conj().T) / 2
    assert np.linalg.norm(difference) <= bound * size, np.linalg.norm(difference) / (bound * size)
