"""Value and gradient of a rank-k loss on a dense matrix: truncax against the full SVD and PROPACK's forward pass.

    python benchmarks/dense.py [--sizes 1024 2048] [--rank 16] [--json FILE]

The spectra are those of the design: ``exp`` s_i = exp(-20 i / n), ``alg`` s_i = 1 / (1 + i). Every answer is checked
against the construction factors before it is timed; times are medians, side by side, compile time apart.
"""

import argparse
import json
import platform
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import svds

import truncax
from truncax.command.closed_form import closed_form
from truncax.command.loss import full_loss, random_weights, truncated_loss

SPECTRA = {"exp": lambda n: np.exp(-20 * np.arange(n) / n), "alg": lambda n: 1 / (1 + np.arange(n))}


def matrix(n, spectrum, seed=0):
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.normal(size=(n, n)))[0] for _ in range(2))
    return (u * SPECTRA[spectrum](n)) @ v.T


def timed(f, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(f())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def compiled(f, *args):
    start = time.perf_counter()
    executable = jax.jit(f).lower(*args).compile()
    return executable, time.perf_counter() - start


def measure(n, spectrum, k, full):
    a = jnp.asarray(matrix(n, spectrum))
    w = jnp.asarray(random_weights(a.shape, a.dtype, 0))
    value, _ = compiled(lambda a: truncated_loss(a, w, k), a)
    gradient, compile_time = compiled(jax.value_and_grad(lambda a: truncated_loss(a, w, k)), a)
    row = {"n": n, "spectrum": spectrum, "k": k, "compile value and gradient": compile_time}
    info = jax.jit(lambda a: truncax.tsvd(a, k, return_info=True)[1])(a)
    row |= {"residual": float(info.residual_norms.max()), "products": int(info.products), "gap": float(info.cut_gap)}
    if full:
        _, reference, _ = closed_form(np.asarray(a), np.asarray(w), k)
        row["gradient error"] = float(np.linalg.norm(gradient(a)[1] - reference) / np.linalg.norm(reference))
        assert row["gradient error"] < 1e-9, row
    row["value"], row["value and gradient"] = timed(lambda: value(a), 7), timed(lambda: gradient(a), 7)
    host = np.asarray(a)
    row["PROPACK value"] = timed(lambda: svds(host, k, solver="propack", rng=np.random.default_rng(0)), 5)
    if full:
        whole, _ = compiled(jax.value_and_grad(lambda a: full_loss(a, w, k)), a)
        row["full value and gradient"] = timed(lambda: whole(a), 3)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument(
        "--no-full", action="store_true", help="skip the full SVD, and with it the check of the gradient"
    )
    parser.add_argument("--json", help="write the rows to this file")
    options = parser.parse_args()
    print(f"{platform.machine()}, {jax.devices()[0].device_kind}, jax {jax.__version__}, float64, k = {options.rank}\n")
    columns = ["value", "value and gradient", "PROPACK value", "full value and gradient"]
    print("| n | spectrum | " + " | ".join(f"{c}, ms" for c in columns) + " | gradient error | residual | products |")
    print("|" + "---|" * (len(columns) + 5))
    rows = []
    with jax.enable_x64(True):
        for n in options.sizes:
            for spectrum in SPECTRA:
                row = measure(n, spectrum, options.rank, not options.no_full)
                rows.append(row)
                times = " | ".join(f"{1e3 * row[c]:.1f}" if c in row else "" for c in columns)
                error = f"{row['gradient error']:.0e}" if "gradient error" in row else "not checked"
                tail = f"{error} | {row['residual']:.0e} | {row['products']} |"
                print(f"| {n} | {spectrum} | {times} | {tail}", flush=True)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
