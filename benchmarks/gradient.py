"""Value and gradient of a rank-k loss on a dense matrix: both derivative modes, PROPACK's forward pass, the full SVD.

    python benchmarks/gradient.py [--sizes 1024 2048] [--rank 16] [--full] [--json FILE]

The loss is that of ``python -m truncax``. The gradient is checked before it is timed: against the closed form up to
n = 2048, above that between the two modes. Times are medians of two rounds in turn in one process; compiling is apart.
``--full`` times ``jax.value_and_grad`` of ``jnp.linalg.svd`` as well.
"""

import argparse
import json
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import svds
from shared import SPECTRA, alternating, matrix

import truncax
from truncax.command.closed_form import closed_form
from truncax.command.loss import full_loss, paired, random_weights

COLUMNS = ("n", "spectrum", "value, ms", "all, ms", "reverse, ms", "PROPACK, ms", "full, ms", "all / PROPACK")
CHECKS = ("gradient error", "residual", "cut gap", "compile, s")


def loss(a, w, k, mode):
    """``Re <W, U C (1 + C^H C)^-1 V^H>`` of the kept subspaces."""
    U, C, Vh = truncax.singular_subspaces(a, k, derivative=truncax.Implicit(mode=mode))
    return paired(w, U @ jnp.linalg.solve(jnp.eye(k) + C.T @ C, C.T).T, Vh)


def measure(n, spectrum, k, full, repeats):
    host = matrix(n, spectrum, "float64", False)
    a, w = jnp.asarray(host), jnp.asarray(random_weights((n, n), np.float64, 0))
    info = jax.jit(lambda a: truncax.tsvd(a, k, return_info=True)[1])(a)
    value = jax.jit(lambda a: loss(a, w, k, "all"))
    start = time.perf_counter()
    both = jax.jit(jax.value_and_grad(lambda a: loss(a, w, k, "all"))).lower(a).compile()
    compile_time = time.perf_counter() - start
    reverse = jax.jit(jax.value_and_grad(lambda a: loss(a, w, k, "reverse")))
    gradient = both(a)[1]
    expected = closed_form(host, np.asarray(w), k).gradient if n <= 2048 else reverse(a)[1]
    error = float(np.linalg.norm(gradient - expected) / np.linalg.norm(expected))
    assert error < 1e-9, error
    tol = np.finfo(np.float64).eps ** (5 / 6)
    functions = [
        *(lambda f=f: jax.block_until_ready(f(a)) for f in (value, both, reverse)),
        lambda: svds(host, k, solver="propack", tol=tol, rng=np.random.default_rng(0)),
    ]
    times = alternating(functions, repeats)
    whole = float("nan")
    if full:
        run = jax.jit(jax.value_and_grad(lambda a: full_loss(a, w, k)))
        (whole,) = alternating([lambda: jax.block_until_ready(run(a))], 1)
    row = (n, spectrum, *times, whole, times[1] / times[3])
    checks = (error, float(info.residual_norms.max()), float(info.cut_gap), compile_time)
    return dict(zip(COLUMNS + CHECKS, row + checks, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="time the full SVD as well")
    parser.add_argument("--json", help="write the rows to this file")
    options = parser.parse_args()
    print(f"{platform.machine()}, {jax.devices()[0].device_kind}, jax {jax.__version__}, float64, k = {options.rank}\n")
    print("| " + " | ".join(COLUMNS + CHECKS) + " |\n|" + "---|" * len(COLUMNS + CHECKS))
    rows = []
    with jax.enable_x64(True):
        for n in options.sizes:
            for spectrum in SPECTRA:
                row = measure(n, spectrum, options.rank, options.full, options.repeats)
                rows.append(row)
                print("| " + " | ".join(f"{x:.3g}" if isinstance(x, float) else str(x) for x in row.values()) + " |")
    if options.json:
        with open(options.json, "w") as f:
            json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
