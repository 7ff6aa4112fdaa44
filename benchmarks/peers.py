"""The ways to k triplets or pairs and, where there is one, to the gradient: ours, JAX's own, and those of our peers.

A peer says why it does not serve a problem, or prepares it: functions of (parameter, weights), compiled if it compiles.
All hosts' solvers get the tolerance that is our default, eps^(5/6).
"""

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import eigsh, svds

import truncax
from truncax.command.measure import program_memory

from .machine import cores


@dataclass
class Prepared:
    """``value`` gives the factors, ``gradient`` the loss and its gradient or is None; bytes and seconds are of each."""

    value: Callable
    gradient: Callable | None = None
    compile_seconds: tuple = (0.0, 0.0)
    memory: tuple = (None, None)


@dataclass(frozen=True)
class Peer:
    """``serves(problem)`` is None or why not; ``prepare(problem)`` is called once for each problem."""

    title: str
    prepare: Callable[[Any], Prepared]
    serves: Callable[[Any], str | None]
    module: str | None = None

    def refusal(self, problem, name):
        if name in problem.left_out:
            return problem.left_out[name]
        if self.module is not None and (absent := why_absent(self.module)):
            return absent
        return self.serves(problem)


def why_absent(module):
    try:
        importlib.import_module(module)
    except Exception as problem:  # a broken build fails in ways of its own
        return f"{module} cannot be imported ({type(problem).__name__})"
    return None


def tolerance(problem):
    return float(np.finfo(problem.parameter.dtype).eps ** (5 / 6))


def compiled(function, *arguments):
    start = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    return program, time.perf_counter() - start, program_memory(program)


def by_jax(problem, decompose):
    """From a differentiable ``decompose(problem, parameter)``."""
    arguments = jnp.asarray(problem.parameter), tuple(map(jnp.asarray, problem.weights))

    def loss(parameter, weights):
        return problem.loss(decompose(problem, parameter), weights)

    value, first, small = compiled(lambda parameter, _: decompose(problem, parameter), *arguments)
    both, second, large = compiled(jax.value_and_grad(loss), *arguments)
    return Prepared(value, both, (first, second), (small, large))


def jax_peer(title, decompose, serves=lambda _: None, module=None):
    return Peer(title, lambda problem: by_jax(problem, decompose), serves, module)


def host_peer(title, decompose, serves, module=None):
    """Values alone, from ``decompose(problem, matrix)`` on the host; its copy of the matrix is made beforehand."""

    def prepare(problem):
        matrix = problem.host()
        return Prepared(lambda *_: decompose(problem, matrix))

    return Peer(title, prepare, serves, module)


# Ours and JAX's own


def ours(problem, parameter, **options):
    matrix = problem.matrix(parameter)
    if problem.hermitian:
        return tuple(truncax.teigh(matrix, problem.k, **({"which": problem.which} | options)))
    return tuple(truncax.tsvd(matrix, problem.k, **options))


def ours_shifted(problem, parameter):
    return tuple(truncax.teigh(problem.matrix(parameter), problem.k, sigma=problem.sigma))


def full(problem, parameter):
    a, k = problem.dense(parameter), problem.k
    if problem.hermitian:
        values, vectors = jnp.linalg.eigh(a)
        return best(values, vectors, k, problem.which)
    U, S, Vh = jnp.linalg.svd(a, full_matrices=False)
    return U[..., :k], S[..., :k], Vh[..., :k, :]


def best(values, vectors, k, which):
    if which == "SA":
        return values[:k], vectors[:, :k]
    return values[::-1][:k], vectors[:, ::-1][:, :k]


def gram(problem, parameter):
    """By ``eigh`` of the smaller of A^H A and A A^H."""
    a, k = problem.dense(parameter), problem.k
    wide = a.shape[-2] < a.shape[-1]
    a = adjoint(a) if wide else a
    squares, V = jnp.linalg.eigh(adjoint(a) @ a)
    V, S = V[..., ::-1][..., :k], jnp.sqrt(squares[..., ::-1][..., :k])
    U = a @ V / S.astype(V.dtype)[..., None, :]
    return (V, S, adjoint(U)) if wide else (U, S, adjoint(V))


def adjoint(x):
    return jnp.conj(jnp.swapaxes(x, -1, -2))


# Solvers on the host


def sorted_triplets(U, s, Vh):
    order = np.argsort(s)[::-1]
    return U[:, order], s[order], Vh[order]


def sorted_pairs(problem, values, vectors):
    order = np.argsort(values)
    order = order if problem.which == "SA" else order[::-1]
    return values[order], vectors[:, order]


def propack(problem, matrix, tol=None):
    tol = tolerance(problem) if tol is None else tol
    rng = np.random.default_rng(0)
    return sorted_triplets(*svds(matrix, problem.k, solver="propack", tol=tol, maxiter=2000, rng=rng))


def arpack(problem, matrix):
    rng, tol = np.random.default_rng(0), tolerance(problem)
    if problem.hermitian:
        return sorted_pairs(problem, *eigsh(matrix, problem.k, which=problem.which, tol=tol, rng=rng))
    return sorted_triplets(*svds(matrix, problem.k, solver="arpack", tol=tol, rng=rng))


def arpack_shifted(problem, matrix):
    rng, tol = np.random.default_rng(0), tolerance(problem)
    return sorted_pairs(problem, *eigsh(matrix, problem.k, sigma=problem.sigma, which="LM", tol=tol, rng=rng))


def primme(problem, matrix):
    module, tol = importlib.import_module("primme"), tolerance(problem)
    if problem.hermitian:
        return sorted_pairs(problem, *module.eigsh(matrix, problem.k, which=problem.which, tol=tol))
    return sorted_triplets(*module.svds(matrix, problem.k, tol=tol))


# matfree and torch


def krylov(problem, parameter, depth=None):
    """matfree's Lanczos process with its own gradient: of the matrix, or of the smaller of A^T A and A A^T."""
    decomp, eig = (importlib.import_module(f"matfree.{name}") for name in ("decomp", "eig"))
    m, n = problem.shape or problem.parameter.shape
    depth = min(depth or problem.depth, m, n)
    run = eig.eigh_partial(decomp.tridiag_sym(depth, custom_vjp=True))
    wide = m < n

    def forward(x, parameter):
        return problem.matrix(parameter) @ x

    def back(x, parameter):  # x @ A: on a CPU many times faster than A.T @ x inside jit
        a = problem.matrix(parameter)
        return a.T @ x if problem.indices is not None else x @ a

    def square(x, parameter):
        return forward(back(x, parameter), parameter) if wide else back(forward(x, parameter), parameter)

    start = jnp.asarray(np.random.default_rng(0).standard_normal(min(m, n)), problem.parameter.dtype)
    if problem.hermitian:
        values, rows = run(forward, start, parameter)
        return best(values, rows.T, problem.k, problem.which)
    squares, rows = run(square, start, parameter)
    S, rows = jnp.sqrt(squares[::-1][: problem.k]), rows[::-1][: problem.k]
    a = problem.matrix(parameter)
    if wide:
        return rows.T, S, (rows @ a if problem.indices is None else (a.T @ rows.T).T) / S[:, None]
    return a @ rows.T / S[None, :], S, rows


def by_torch(problem, decompose):
    """``decompose(torch, matrix, k)`` under torch's own reverse mode, on as many threads as JAX has."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(cores())
    dense = np.asarray(problem.dense(jnp.asarray(problem.parameter)))
    tensors = {}

    def tensor(x):
        if id(x) not in tensors:
            tensors[id(x)] = x, torch.tensor(np.asarray(x))
        return tensors[id(x)][1]

    def value(*_):
        with torch.no_grad():
            return decompose(torch, tensor(dense), problem.k)

    def gradient(_, weights):
        a = tensor(dense).clone().requires_grad_()
        U, S, Vh = decompose(torch, a, problem.k)
        left = U * (S / (1 + S**2)).unsqueeze(-2)
        if len(weights) == 2:
            loss = torch.sum((tensor(weights[0]).T @ left) * (Vh @ tensor(weights[1])).T)
        else:
            loss = torch.sum((left.mH @ tensor(weights[0]) * Vh.conj()).real)
        loss.backward()
        found = a.grad.resolve_conj().numpy()
        return loss.item(), found.conj() if problem.indices is None else found[tuple(problem.indices.T)]

    return Prepared(value, gradient)


def torch_svd(torch, a, k):
    U, S, Vh = torch.linalg.svd(a, full_matrices=False)
    return U[..., :k], S[..., :k], Vh[..., :k, :]


def torch_lowrank(torch, a, k, steps=2):
    torch.manual_seed(0)
    U, S, V = torch.svd_lowrank(a, q=min(k + 8, *a.shape[-2:]), niter=steps)
    return U[..., :k], S[..., :k], V.mH[..., :k, :]


# Who serves what


def triplets(problem):
    return "pairs of a Hermitian matrix" if problem.hermitian else None


def one(problem):
    return "a batch" if problem.batched else None


def one_of_triplets(problem):
    return triplets(problem) or one(problem)


def pairs(problem):
    return None if problem.hermitian else "triplets"


def real(problem):
    complex_ = np.iscomplexobj(problem.parameter)
    return one(problem) or ("its gradient is for real matrices only" if complex_ else None)


PEERS = {
    "truncax": jax_peer("truncax", ours),
    "truncax-shift": jax_peer("truncax, `sigma`", ours_shifted, pairs),
    "jnp": jax_peer("jnp.linalg, full", full),
    "gram": jax_peer("eigh(A^H A) in JAX", gram, triplets),
    "matfree": jax_peer("matfree, Lanczos", krylov, real, "matfree"),
    "torch": Peer("torch.linalg.svd", lambda p: by_torch(p, torch_svd), triplets, "torch"),
    "torch-lowrank": Peer("torch.svd_lowrank", lambda p: by_torch(p, torch_lowrank), triplets, "torch"),
    "propack": host_peer("PROPACK (SciPy)", propack, one_of_triplets),
    "arpack": host_peer("ARPACK (SciPy)", arpack, one),
    "arpack-shift": host_peer("ARPACK, shift-invert", arpack_shifted, pairs),
    "primme": host_peer("PRIMME", primme, one, "primme"),
}
