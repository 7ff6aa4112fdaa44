"""The forward pass on dense matrices: our default, side by side with PROPACK (or ARPACK for eigenpairs).

    python benchmarks/forward.py [--sizes 1024 2048] [--ranks 16 64] [--dtype float64] [--hermitian]
                                 [--json FILE] [--plot FILE]

Every answer is checked against the spectrum it was made from, and its residuals are measured with NumPy, before it is
timed. Times are medians of two rounds in turn in one process, both at our default tolerance; compiling is apart.
"""

import argparse
import json
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import eigsh, svds
from shared import SPECTRA, alternating, matrix

import truncax

COLUMNS = ("n", "spectrum", "k", "ours, ms", "host, ms", "ratio", "residual", "host residual", "products", "compile, s")


def residual(a, left, values, right):
    u, v = np.asarray(left), np.asarray(right)
    s = np.asarray(values)
    both = np.linalg.norm(a @ v - u * s, axis=0), np.linalg.norm(a.conj().T @ u - v * s, axis=0)
    return float(np.max(both) / np.max(s))


def measure(n, spectrum, k, dtype, hermitian, repeats):
    a = matrix(n, spectrum, dtype, hermitian)
    options = {"which": "LA"} if hermitian else {}
    function = truncax.teigh if hermitian else truncax.tsvd
    on_device = jnp.asarray(a)
    start = time.perf_counter()
    run = jax.jit(lambda a: function(a, k, return_info=True, **options)).lower(on_device).compile()
    compile_time = time.perf_counter() - start

    tol = np.finfo(dtype).eps ** (5 / 6)

    def host():
        if hermitian:
            values, q = eigsh(a, k, which="LA", tol=tol)
            return q, values, q
        u, s, vh = svds(a, k, solver="propack", tol=tol, rng=np.random.default_rng(0))
        return u, s, vh.conj().T

    result, info = run(on_device)
    ours = (result[1], result[0], result[1]) if hermitian else (result.U, result.S, result.Vh.conj().T)
    error = np.max(np.abs(np.asarray(ours[1]) - SPECTRA[spectrum](n)[:k]))
    assert error <= 100 * np.finfo(dtype).eps, error
    assert bool(info.converged), info
    times = alternating([lambda: jax.block_until_ready(run(on_device)), host], repeats)
    row = (n, spectrum, k, *times, times[0] / times[1], residual(a, *ours), residual(a, *host()))
    return dict(zip(COLUMNS, (*row, int(info.products), compile_time), strict=True))


def plot(rows, file):
    import matplotlib.pyplot as plt

    kinds = sorted({(r["spectrum"], r["k"]) for r in rows})
    figure, axes = plt.subplots(1, len(kinds), figsize=(4 * len(kinds), 3.5), squeeze=False, sharey=True)
    for axis, kind in zip(axes[0], kinds, strict=True):
        chosen = [r for r in rows if (r["spectrum"], r["k"]) == kind]
        for name in ("ours, ms", "host, ms"):
            axis.loglog([r["n"] for r in chosen], [r[name] for r in chosen], "o-", label=name)
        axis.set(title=f"{kind[0]}, k = {kind[1]}", xlabel="n")
        axis.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--ranks", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--hermitian", action="store_true", help="eigenpairs, against ARPACK")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--plot", help="write a plot to this file (needs matplotlib)")
    options = parser.parse_args()
    host = "ARPACK" if options.hermitian else "PROPACK"
    print(
        f"{platform.machine()}, {jax.devices()[0].device_kind}, jax {jax.__version__}, {options.dtype}; host: {host}\n"
    )
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    rows = []
    with jax.enable_x64(True):
        for n in options.sizes:
            for spectrum in SPECTRA:
                for k in options.ranks:
                    row = measure(n, spectrum, k, options.dtype, options.hermitian, options.repeats)
                    rows.append(row)
                    print(
                        "| " + " | ".join(f"{x:.3g}" if isinstance(x, float) else str(x) for x in row.values()) + " |"
                    )
    if options.json:
        with open(options.json, "w") as f:
            json.dump(rows, f, indent=1)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
