"""One problem by all ways: accuracy first, then times in turn. A way that fails is a row that says so."""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from .peers import PEERS

# From here on a run is not repeated: it is timed once more, after the one that warmed it up.
SLOW = 4.0
# Seconds before each turn: the threads of BLAS libraries go on spinning for a while.
REST = 0.1


def measure(name, problem, say, *, budget, rounds=2, only=None):
    """A row for each peer that serves the problem, those that fail included; ``say`` is told of each as it comes."""
    rows, prepared = [], {}
    weights = tuple(map(jnp.asarray, problem.weights))
    parameter = jnp.asarray(problem.parameter)
    for key, peer in PEERS.items():
        if only is not None and key not in only:
            continue
        if reason := peer.refusal(problem, key):
            if key in problem.left_out:
                rows.append({"problem": name, "peer": key, "status": "left out", "note": reason})
                say(f"{peer.title}: left out, {reason}")
            continue
        row = {"problem": name, "peer": key, "status": "ok", "note": ""}
        rows.append(row)
        try:
            ready = peer.prepare(problem)
            value_seconds, factors = clocked(ready.value, parameter, weights)
            row |= {"compile_value_s": ready.compile_seconds[0], "compile_gradient_s": ready.compile_seconds[1]}
            row |= {"memory_value": ready.memory[0], "memory_gradient": ready.memory[1]}
            row |= accuracy(problem, factors)
            gradient_seconds = None
            if ready.gradient is not None:
                gradient_seconds, (_, found) = clocked(ready.gradient, parameter, weights)
                row["gradient_error"] = finite(relative(np.asarray(found), problem.gradient))
            prepared[key] = ready, value_seconds, gradient_seconds
            say(f"{peer.title}: {checked(row)}")
        except Exception as failure:  # whatever a peer does, the others go on
            row |= {"status": "failed", "note": first_line(failure)}
            say(f"{peer.title}: FAILED, {row['note']}")
    add_times(rows, prepared, parameter, weights, budget, rounds)
    for row in rows:
        if "value_ms" in row:
            gradient = f", value and gradient {row['gradient_ms']:.3g} ms" if "gradient_ms" in row else ""
            say(f"{PEERS[row['peer']].title}: value {row['value_ms']:.3g} ms{gradient}")
    return rows


def clocked(f, *arguments):
    start = time.perf_counter()
    result = jax.block_until_ready(f(*arguments))
    return time.perf_counter() - start, result


def first_line(failure):
    text = next(iter(str(failure).strip().splitlines()), "")
    return f"{type(failure).__name__}: {text}"[:160]


def checked(row):
    names = ("residual", "value_error", "gradient_error")
    return ", ".join(f"{name.replace('_', ' ')} {scientific(row[name])}" for name in names if name in row)


def finite(x):
    """A number for JSON: None where it is not finite."""
    return float(x) if np.isfinite(x) else None


def scientific(x):
    return "NaN" if x is None else f"{x:.0e}"


def accuracy(problem, factors):
    """The largest residual and the largest error of a value, both relative to the largest value."""
    factors = [np.asarray(x) for x in factors]
    scale = np.max(np.abs(problem.values))
    a = problem.host()
    if problem.hermitian:
        values, q = factors
        residual = np.max(np.linalg.norm(a @ q - q * values, axis=0))
    else:
        U, values, Vh = factors
        V = np.conj(np.swapaxes(Vh, -1, -2))
        ah = np.conj(np.swapaxes(a, -1, -2)) if isinstance(a, np.ndarray) else a.T
        S = values[..., None, :]
        residual = max(np.max(np.linalg.norm(r, axis=-2)) for r in (a @ V - U * S, ah @ U - V * S))
    return {
        "residual": finite(residual / scale),
        "value_error": finite(np.max(np.abs(values - problem.values)) / scale),
    }


def relative(found, expected):
    """The error in the Frobenius norm; the largest over the members of a batch."""
    axes = tuple(range(expected.ndim))[-2:]
    errors = np.sqrt(np.sum(np.abs(found - expected) ** 2, axis=axes) / np.sum(np.abs(expected) ** 2, axis=axes))
    return float(np.max(errors))


def add_times(rows, prepared, parameter, weights, budget, rounds):
    """Medians in ms, all ways in turn in each round; ``budget``: the seconds that each gets, roughly."""
    jobs = []
    for row in rows:
        if row["peer"] in prepared:
            ready, *seconds = prepared[row["peer"]]
            functions = ("value_ms", ready.value, seconds[0]), ("gradient_ms", ready.gradient, seconds[1])
            jobs += [(row, *job) for job in functions if job[1] is not None]
    runs = {(id(row), name): [] for row, name, *_ in jobs}
    for turn in range(rounds):
        for row, name, f, first in jobs:
            slow = first > SLOW
            if slow and turn > 0:
                continue
            time.sleep(REST)
            if not slow:
                f(parameter, weights)
            for _ in range(1 if slow else repeats(first, budget / rounds)):
                runs[id(row), name].append(clocked(f, parameter, weights)[0])
    for row, name, *_ in jobs:
        times = runs[id(row), name]
        row[name] = 1e3 * statistics.median(times)
        row["runs"] = min(row.get("runs", len(times)), len(times))
        row["spread"] = max(row.get("spread", 1.0), max(times) / min(times))


def repeats(first, budget):
    """How often in one round, beside the run that warms up."""
    return int(np.clip(budget / max(first, 1e-6) - 1, 1, 5))
