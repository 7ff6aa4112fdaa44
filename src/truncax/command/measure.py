"""How long a compiled function takes, and how much memory its program needs."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Measurement(NamedTuple):
    """Seconds (``median`` of ``runs``), slowest over fastest run, seconds to compile, bytes of the program or None."""

    median: float
    runs: int
    spread: float
    compile_seconds: float
    memory: int | None


def measure(function: Callable[..., Any], *arguments: Any, repeats: int, patience: float) -> tuple[Measurement, Any]:
    """Compile ``function`` and run it, once to warm up and then ``repeats`` times, waiting for the result.

    Once ``patience`` seconds have gone by it stops early; of a single run it takes that one. Returns the
    result too.
    """
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    compile_seconds = time.perf_counter() - start
    seconds: list[float] = []
    while not seconds or (len(seconds) <= repeats and sum(seconds) < patience):
        start = time.perf_counter()
        result = jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - start)
    timed = seconds[1:] or seconds
    spread = max(timed) / min(timed)
    memory = program_memory(compiled)
    return Measurement(statistics.median(timed), len(timed), spread, compile_seconds, memory), result


def program_memory(compiled: Any) -> int | None:
    """Bytes of arguments, results and temporaries of a compiled program; None where the backend does not tell.

    The workspace that LAPACK or cuSOLVER allocate for themselves is not in it.
    """
    try:
        sizes = compiled.memory_analysis()
        parts = (sizes.argument_size_in_bytes, sizes.output_size_in_bytes, sizes.temp_size_in_bytes)
        return int(sum(parts) - sizes.alias_size_in_bytes)
    except (AttributeError, NotImplementedError, TypeError, jax.errors.JaxRuntimeError):
        return None
