"""A process of its own that runs one peer once and prints its peak of memory: ``studies.memory`` starts it.

    python -m benchmarks.memory PEER FILE.npy K

Compiling is done before; Linux forgets the earlier peak when told so. Elsewhere this ends with an error.
"""

import json
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from .peers import PEERS
from .problems import Problem


def resident(name):
    """Bytes of ``VmRSS`` (now) or ``VmHWM`` (the peak)."""
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1))


def main(key, file, k):
    jax.config.update("jax_enable_x64", True)
    a = np.load(file)
    w = np.random.default_rng(0).standard_normal(a.shape)
    nothing = np.empty(0)
    problem = Problem("", int(k), a, (w,), nothing, nothing, "", 0.0, depth=96)
    ready = PEERS[key].prepare(problem)
    arguments = jnp.asarray(a), (jnp.asarray(w),)
    jax.block_until_ready(arguments)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    jax.block_until_ready((ready.gradient or ready.value)(*arguments))
    print(json.dumps({"peak": resident("VmHWM") - before, "matrix": a.nbytes, "program": ready.memory[1]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
