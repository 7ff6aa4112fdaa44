"""What the properties run: a decomposition with a tangent and a cotangent, compiled once for each configuration."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import assume
from jax.experimental.sparse import BCOO
from profiles import HYPOTHESIS_LONG, selected
from references import promised

import truncax
from truncax.operators import as_operator, gram

SINGULAR = ("tsvd", "singular_subspaces")
DTYPES = ("float64", "complex128", "float32", "complex64")


@dataclass(frozen=True)
class Program:
    """A function and all that decides what is compiled; ``which`` is ``"LM"`` for singular values."""

    function: str
    shape: tuple[int, int]
    k: int
    dtype: str
    solver: Any
    which: str = "LM"
    hermitian: bool = True
    mode: str = "all"
    form: str = "array"

    @property
    def kind(self):
        if self.function in SINGULAR:
            return "singular"
        return "hermitian" if self.hermitian and self.function != "teig" else "general"

    @property
    def complex(self):
        return self.dtype.startswith("complex")

    @property
    def double(self):
        return self.dtype in ("float64", "complex128")

    @property
    def subspaces(self):
        """Whether the result is a subspace, whose basis is free, not single vectors."""
        return self.function in ("singular_subspaces", "invariant_subspace")

    def __repr__(self):
        return (
            f"{self.function}({self.shape[0]}x{self.shape[1]}, {self.k}, {self.which}, {self.dtype}, {self.solver}, "
            f"hermitian={self.hermitian}, {self.mode}, {self.form})"
        )

    def _repr_pretty_(self, printer, cycle):
        printer.text(repr(self))

    def decompose(self, a):
        options = {} if self.kind == "singular" else {"which": self.which}
        if self.function == "invariant_subspace":
            options["hermitian"] = self.hermitian
        derivative = truncax.Implicit(mode=self.mode)
        function = getattr(truncax, self.function)
        return function(a, self.k, solver=self.solver, derivative=derivative, return_info=True, **options)


class Found(NamedTuple):
    """On the host: the result, its ``SolveInfo``, the tangent along v and the cotangent of w."""

    result: Any
    info: truncax.SolveInfo
    tangent: Any
    cotangent: Any


def _matmul(vector, matrix):
    return jnp.matmul(matrix, vector, precision=jax.lax.Precision.HIGHEST)


# What makes an operator of arrays: those that move, and those that do not (indices, neither sorted nor unique).
FORMS = {
    "array": lambda program, x, fixed: x,
    "bcoo": lambda program, x, fixed: BCOO((x, fixed), shape=program.shape),
    "function": lambda program, x, fixed: truncax.linear_operator(
        _matmul, x, shape=program.shape, hermitian=program.kind == "hermitian"
    ),
    "sum": lambda program, x, fixed: as_operator(x[0]) + x[1],
    "product": lambda program, x, fixed: as_operator(x[0]) @ x[1],
    "gram": lambda program, x, fixed: gram(x),
}


@cache
def compiled(program):
    """``(x, v, w, fixed) -> (result, info, tangent, cotangent)``; no tangent in reverse mode."""

    def run(moving, v, w, fixed=None):
        def decompose(moving):
            return program.decompose(FORMS[program.form](program, moving, fixed))

        tangent = None
        if program.mode == "all":
            _, tangent, _ = jax.jvp(decompose, (moving,), (v,), has_aux=True)
        result, pull, info = jax.vjp(decompose, moving, has_aux=True)
        return result, info, tangent, pull(w)[0]

    return jax.jit(run)


@cache
def compiled_forward(program):
    return jax.jit(program.decompose)


@cache
def blank(program):
    """A result of zeros."""
    shapes, _ = jax.eval_shape(program.decompose, jax.ShapeDtypeStruct(program.shape, program.dtype))
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)


def with_values(program, result, f):
    """The result with ``f`` of its values or its middle matrix."""
    name = {"tsvd": "S", "singular_subspaces": "C", "invariant_subspace": "H"}.get(program.function, "eigenvalues")
    return result._replace(**{name: f(getattr(result, name))})


def run(program, a, v=None, w=None, scale=1.0, missed=False):
    """The decomposition of ``scale a`` in units of ``scale``, so that it does not depend on it.

    In single precision the default tolerance, 14 eps, lies next to what rounding leaves. A residual that misses it by
    less than a factor of two, so that the result is NaN, is no case of a property unless it asks for what was
    ``missed``.
    """
    w = blank(program) if w is None else w
    v = np.zeros(program.shape) if v is None else v
    a, v = (np.asarray(scale * x, program.dtype) for x in (a, v))
    found = run_form(program, a, v, with_values(program, w, lambda x: x / scale))
    if not (missed or program.double or found.info.converged):
        assume(found.info.residual_norms.max() > 2 * promised(program.dtype, max(program.shape)))
    result, tangent = (with_values(program, x, lambda y: y / scale) for x in (found.result, found.tangent))
    return found._replace(result=result, tangent=tangent, cotangent=found.cotangent * scale)


def run_form(program, x, v, w, fixed=None):
    """The same of what the program's form makes of the arrays ``x``, as it is."""
    w = type(w)(*(np.asarray(x, b.dtype) for x, b in zip(w, blank(program), strict=True)))
    result, info, tangent, cotangent = jax.device_get(compiled(program)(x, v, w, fixed))
    return Found(wide(result), info, wide(blank(program) if tangent is None else tangent), wide(cotangent))


def run_forward(program, a, scale=1.0):
    """The result and its ``SolveInfo`` alone: another program, with neither tangent nor cotangent."""
    result, info = jax.device_get(compiled_forward(program)(np.asarray(scale * a, program.dtype)))
    return with_values(program, wide(result), lambda x: x / scale), info


def wide(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.complex128 if np.iscomplexobj(x) else np.float64), tree)


def rounded(program, a, scale=1.0):
    """What the program sees of ``scale a``, in units of ``scale``."""
    return wide(np.asarray(scale * a, program.dtype)) / scale


def parts(program, result):
    """``(left, middle, right)`` with ``left middle right`` the kept part, of a Hermitian or singular problem."""
    if program.function == "teigh":
        return result.eigenvectors, np.diag(result.eigenvalues), result.eigenvectors.conj().T
    if program.function == "invariant_subspace":
        return result.Q, result.H, result.Q.conj().T
    return result[0], np.diag(result[1]) if program.function == "tsvd" else result[1], result[2]


def values_of(program, result):
    """The kept values (k,)."""
    if program.function in ("teigh", "teig"):
        return result.eigenvalues
    return result.S if program.function == "tsvd" else np.diagonal(result[1])


def pairing(x, y):
    """As JAX pairs a cotangent with a tangent, without conjugation."""
    return sum(float(np.sum(a * b).real) for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True))


def norm(x):
    return float(np.sqrt(sum(np.sum(np.abs(leaf) ** 2) for leaf in jax.tree.leaves(x))))


GK = truncax.GolubKahan
SHAPES = ((24, 40), (32, 32), (40, 24))
SYMMETRIC, SQUARE = (36, 36), (30, 30)


def _restarting(solver, k):
    """A basis that is too small for the whole space, so that the solver restarts; LOBPCG and Dense have none."""
    return replace(solver, ncv=k + 15) if hasattr(solver, "ncv") else solver


def _short():
    dense, gk, lanczos = truncax.Dense(), truncax.GolubKahan(), truncax.Lanczos()
    singular = [
        ("tsvd", (24, 40), 3, "float64", gk),
        ("tsvd", (40, 24), 5, "complex128", dense),
        ("tsvd", (32, 32), 1, "complex64", dense),
        ("singular_subspaces", (32, 32), 5, "float64", dense),
        ("singular_subspaces", (40, 24), 3, "complex128", gk),
        ("singular_subspaces", (24, 40), 5, "float32", dense),
    ]
    hermitian = [
        ("teigh", "LM", 3, "complex128", lanczos),
        ("teigh", "SA", 5, "float64", truncax.LOBPCG()),
        ("teigh", "LA", 3, "float32", dense),
        ("invariant_subspace", "LA", 5, "complex128", dense),
        ("invariant_subspace", "BE", 4, "float64", lanczos),
        ("invariant_subspace", "SA", 1, "complex64", dense),
    ]
    general = [
        ("teig", "LM", 4, "float64", truncax.Arnoldi()),
        ("teig", "LM", 3, "complex128", dense),
        ("invariant_subspace", "LM", 4, "complex128", dense),
    ]
    return singular, hermitian, general


def _long():
    dense, gk, lanczos = truncax.Dense(), truncax.GolubKahan(), truncax.Lanczos()
    singular = selected(SINGULAR, SHAPES, (1, 3, 5, 24), DTYPES, (gk, truncax.GolubKahan(block_size=2), dense), rows=24)
    hermitian = selected(
        ("teigh", "invariant_subspace"),
        ("LM", "LA", "SA", "BE"),
        (1, 3, 4, 36),
        DTYPES,
        (lanczos, truncax.Lanczos(block_size=2), dense, truncax.LOBPCG()),
        rows=28,
    )
    general = selected(("teig", "invariant_subspace"), ("LM",), (1, 4, 7), DTYPES, (truncax.Arnoldi(), dense), rows=12)
    return singular, hermitian, general


def _programs(singular, hermitian, general):
    found = [Program(f, shape, k, dtype, _restarting(solver, k)) for f, shape, k, dtype, solver in singular]
    for f, which, k, dtype, solver in hermitian:
        if isinstance(solver, truncax.LOBPCG) and which in ("LM", "BE"):
            solver = truncax.Lanczos(block_size=2)
        found.append(Program(f, SYMMETRIC, k, dtype, _restarting(solver, k), which))
    for f, which, k, dtype, solver in general:
        found.append(Program(f, SQUARE, k, dtype, _restarting(solver, k), which, hermitian=False))
    return list(dict.fromkeys(found))


SHORT = _programs(*map(list, _short()))
PROGRAMS = list(dict.fromkeys(SHORT + _programs(*_long()))) if HYPOTHESIS_LONG else SHORT
