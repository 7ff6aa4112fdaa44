"""Three questions asked of one kind of matrix each: what a gap costs, what accuracy costs, what memory is needed.

Each returns rows for a plot. What fails is left out of it, and said.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import truncax

from . import made, peers
from .measuring import SLOW, accuracy, clocked, finite, first_line, relative, scientific

GAP_PEERS = ("truncax", "jnp", "gram", "matfree")
MEMORY_PEERS = ("truncax", "jnp", "gram", "matfree", "propack", "torch")


def seconds(f, *arguments):
    """``(median in ms, result)`` of three warm runs, of one where they take long."""
    first, result = clocked(f, *arguments)
    runs = [clocked(f, *arguments)[0] for _ in range(1 if first > SLOW else 3)]
    return 1e3 * statistics.median(runs), result


def gaps(n, k, exponents, say):
    """Error of the gradient, products and steps of the solve against the gap at the cut: one program for all gaps.

    ``exponents`` of the gaps, by what lies below: ``uniform`` or ``accumulating``, as ``shared.spectrum`` has them.
    """
    problems = {kind: [made.at_gap(n, k, 10.0**-e, kind) for e in found] for kind, found in exponents.items()}
    first = next(iter(problems.values()))[0]
    rows = []
    for key in GAP_PEERS:
        peer = peers.PEERS[key]
        if peer.refusal(first, key):
            continue
        try:
            ready = peer.prepare(first)
            count = jax.jit(lambda a, w: work(first, a, w)) if key == "truncax" else None
        except Exception as failure:
            say(f"{peer.title}: FAILED, {first_line(failure)}")
            continue
        for kind, problem in [(kind, problem) for kind, group in problems.items() for problem in group]:
            try:
                arguments = jnp.asarray(problem.parameter), tuple(map(jnp.asarray, problem.weights))
                time, (_, found) = seconds(ready.gradient, *arguments)
                error = finite(relative(np.asarray(found), problem.gradient))
                row = {"peer": key, "below": kind, "gap": problem.gap, "gradient_ms": time, "gradient_error": error}
                if count is not None:
                    row |= {name: int(x) for name, x in count(*arguments).items()}
                rows.append(row)
                say(f"{peer.title}, {kind}, gap {problem.gap:.0e}: error {scientific(error)}, {time:.3g} ms")
            except Exception as failure:
                say(f"{peer.title}, {kind}, gap {problem.gap:.0e}: FAILED, {first_line(failure)}")
    return rows


def work(problem, a, weights):
    """Products of the forward pass, and the steps of the linear solve of the derivative."""
    result, info = truncax.tsvd(a, problem.k, return_info=True, on_failure="keep")
    cotangents = jax.grad(lambda factors: problem.loss(factors, weights))(tuple(result))
    steps = truncax.derivative_info(a, result, cotangents).iterations
    return {"products": info.products, "steps": jnp.max(steps)}


def precision(n, k, tolerances, depths, say):
    """Error against time where what is asked for varies: tol, the depth of a Krylov space, power iterations."""
    problem = made.dense(n, n, k)
    arguments = jnp.asarray(problem.parameter), tuple(map(jnp.asarray, problem.weights))
    rows = []

    def record(curve, setting, value, gradient=None):
        try:
            row = {"curve": curve, "setting": setting}
            row["value_ms"], factors = seconds(value)
            row |= accuracy(problem, factors)
            if gradient is not None:
                row["gradient_ms"], (_, found) = seconds(gradient)
                row["gradient_error"] = finite(relative(np.asarray(found), problem.gradient))
            rows.append(row)
            say(f"{curve}, {setting}: residual {row['residual']:.0e}, {row['value_ms']:.3g} ms")
        except Exception as failure:
            say(f"{curve}, {setting}: FAILED, {first_line(failure)}")

    def prepared(key):
        if reason := peers.PEERS[key].refusal(problem, key):
            return say(f"{peers.PEERS[key].title}: skipped, {reason}")
        try:
            return peers.PEERS[key].prepare(problem)
        except Exception as failure:
            return say(f"{peers.PEERS[key].title}: FAILED, {first_line(failure)}")

    for curve, polish in (("truncax, tol", 0), ("truncax, tol, polish=1", 1)):

        def decompose(a, tol, polish=polish):
            options = {"tol": tol, "derivative": truncax.Implicit(polish=polish), "on_failure": "keep"}
            return tuple(truncax.tsvd(a, k, **options))

        value = jax.jit(lambda a, w, tol, decompose=decompose: decompose(a, tol))
        gradient = jax.jit(
            jax.value_and_grad(lambda a, w, tol, decompose=decompose: problem.loss(decompose(a, tol), w))
        )
        for tol in tolerances:
            record(
                curve,
                f"{tol:.0e}",
                lambda tol=tol, f=value: f(*arguments, tol),
                lambda tol=tol, f=gradient: f(*arguments, tol),
            )
    matrix = problem.host()
    for tol in tolerances:
        record("PROPACK, tol", f"{tol:.0e}", lambda tol=tol: peers.propack(problem, matrix, tol))
    if peers.why_absent("matfree") is None:
        for depth in depths:
            value = jax.jit(lambda a, depth=depth: peers.krylov(problem, a, depth))
            gradient = jax.jit(
                jax.value_and_grad(lambda a, w, depth=depth: problem.loss(peers.krylov(problem, a, depth), w))
            )
            record("matfree, depth", str(depth), lambda f=value: f(arguments[0]), lambda f=gradient: f(*arguments))
    if peers.why_absent("torch") is None:
        for steps in (1, 2, 4, 8, 16):
            ready = peers.by_torch(problem, lambda torch, a, k, s=steps: peers.torch_lowrank(torch, a, k, s))
            record(
                "torch.svd_lowrank, niter",
                str(steps),
                lambda r=ready: r.value(*arguments),
                lambda r=ready: r.gradient(*arguments),
            )
    for key in ("jnp", "gram"):
        if (ready := prepared(key)) is not None:
            title = peers.PEERS[key].title
            record(title, "", lambda r=ready: r.value(*arguments), lambda r=ready: r.gradient(*arguments))
    return rows


def memory(sizes, k, say, names=MEMORY_PEERS):
    """The largest resident memory of a fresh process during value and gradient, above that before, in bytes."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            path = Path(folder) / f"{n}.npy"
            problem = made.dense(n, n, k)
            np.save(path, problem.parameter)
            for key in names:
                title = peers.PEERS[key].title
                if peers.PEERS[key].refusal(problem, key):
                    continue
                command = [sys.executable, "-m", "benchmarks.memory", key, str(path), str(k)]
                root = Path(__file__).parents[1]
                run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=600, check=False)
                if run.returncode:
                    say(f"{title}, n = {n}: FAILED, {run.stderr.strip().splitlines()[-1:]}")
                    continue
                row = {"peer": key, "n": n} | json.loads(run.stdout)
                rows.append(row)
                say(f"{title}, n = {n}: {row['peak'] / 1e6:.0f} MB at most")
    return rows
