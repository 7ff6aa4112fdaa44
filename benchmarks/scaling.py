"""Value and gradient against n, k and the gap at the cut, on dense matrices; the gradient is checked first.

    python benchmarks/scaling.py sizes | gaps [--json FILE]

``sizes``: k = 4, 16, 64 of n = 256 to 2048 at a gap of 1e-2. ``gaps``: n = 512, k = 8, gaps 1e-1 to 1e-6
(accumulating: to 1e-4; at 1e-5 the default solver reaches its limit of restarts). The kept
values go from 2 to 1; the discarded ones are spread evenly below 1 - gap (``uniform``) or pile up there
(``accumulating``, geometric distances from the gap on). ``error``: of the gradient of the loss of ``python -m truncax``
against the closed form, in units of eps / gap. Times are medians in one process; compiling is apart.
"""

import argparse
import json
import platform

import jax
import jax.numpy as jnp
import numpy as np
from gradient import loss
from shared import alternating, orthonormal, spectrum

import truncax
from truncax.command.closed_form import closed_form
from truncax.command.loss import random_weights

COLUMNS = ("n", "k", "spectrum", "gap", "products", "value, ms", "value and gradient, ms", "error", "residual")


def measure(n, k, kind, gap, repeats):
    rng = np.random.default_rng(0)
    host = np.ascontiguousarray(
        (orthonormal(rng, n, "float64") * spectrum(kind, n, k, gap)) @ orthonormal(rng, n, "float64").T
    )
    a, w = jnp.asarray(host), jnp.asarray(random_weights((n, n), np.float64, 0))
    info = jax.jit(lambda a: truncax.tsvd(a, k, return_info=True)[1])(a)
    value = jax.jit(lambda a: loss(a, w, k, "all"))
    both = jax.jit(jax.value_and_grad(lambda a: loss(a, w, k, "all")))
    expected = closed_form(host, np.asarray(w), k).gradient
    error = float(np.linalg.norm(both(a)[1] - expected) / np.linalg.norm(expected)) * gap / np.finfo(float).eps
    assert error <= 100, error
    times = alternating([lambda f=f: jax.block_until_ready(f(a)) for f in (value, both)], repeats)
    row = (n, k, kind, gap, int(info.products), *times, error, float(info.residual_norms.max()))
    return dict(zip(COLUMNS, row, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("sizes", "gaps"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", help="write the rows to this file")
    options = parser.parse_args()
    if options.what == "sizes":
        cases = [(n, k, "uniform", 1e-2) for n in (256, 512, 1024, 2048) for k in (4, 16, 64)]
    else:
        last = {"uniform": 6, "accumulating": 4}
        cases = [(512, 8, kind, 10.0**-i) for kind in last for i in range(1, last[kind] + 1)]
    print(f"{platform.machine()}, {jax.devices()[0].device_kind}, jax {jax.__version__}, float64\n")
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    rows = []
    with jax.enable_x64(True):
        for case in cases:
            row = measure(*case, options.repeats)
            rows.append(row)
            print(
                "| " + " | ".join(f"{x:.3g}" if isinstance(x, float) else str(x) for x in row.values()) + " |",
                flush=True,
            )
    if options.json:
        with open(options.json, "w") as f:
            json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
