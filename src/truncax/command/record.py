"""The outcome for programs: one JSON object."""

import json
from typing import Any

import jax

from .compare import NO_FULL, Comparison, Quantity, Side
from .measure import Measurement
from .table import Subject
from .verdict import verdict


def as_json(c: Comparison, subject: Subject, version: str) -> str:
    """One object in strict JSON: a number that does not exist is null, and ``<name>_reason`` says why."""
    check = subject.kaufman
    record = {
        "truncax": version,
        "jax": jax.__version__,
        "platform": jax.devices()[0].platform,
        "matrix": subject.title,
        "notes": list(subject.notes),
        "shape": list(c.shape),
        "dtype": c.dtype,
        "rank": c.rank,
        "seed": subject.seed,
        "divided_by_two_to_the": subject.exponent,
        "cut_gap": c.cut_gap,
        "cut_gap_is_exact": c.full is not None,
        "cut_in_multiplet": c.in_multiplet,
        "better_ranks": c.advice if c.in_multiplet else [],
        "solver": c.solver,
        "restart_cycles": c.restarts,
        "products": c.products,
        "truncated": _side(c.truncated),
        "full": Quantity(None, NO_FULL) if c.full is None else _side(c.full),
        "gradient_difference": c.gradient_difference,
        "ising": None if check is None else check._asdict(),
        "summary": verdict(c),
    }
    return json.dumps(_plain(record), indent=2, allow_nan=False)


def _side(side: Side) -> dict[str, Any]:
    return {
        "value": _measurement(side.value),
        "value_and_gradient": _measurement(side.gradient),
        "value_error": side.value_error,
        "gradient_error": side.gradient_error,
        "largest_residual": side.residual,
    }


def _measurement(x: Measurement) -> dict[str, Any]:
    memory = Quantity(x.memory, "" if x.memory is not None else "the backend does not tell")
    return {
        "median_seconds": x.median,
        "runs": x.runs,
        "slowest_over_fastest": x.spread,
        "compile_seconds": x.compile_seconds,
        "program_memory_bytes": memory,
    }


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, x in record.items():
        if isinstance(x, Quantity):
            plain[name] = x.value
            if x.value is None:
                plain[f"{name}_reason"] = x.reason
        else:
            plain[name] = _plain(x) if isinstance(x, dict) else x
    return plain
