"""Does ``solver=None`` choose well? The default against ``Dense()``, the native solver and ``jnp.linalg`` on a grid.

    python benchmarks/choice.py [--sizes 32 64 ...] [--complex] [--hermitian]

Prints one line for each (n, k), and marks where the default is more than 25 % slower than the best of our solvers, or
more than 5 % and 0.1 ms slower than ``jnp.linalg.svd`` or ``eigh``. The matrices are random: a hard spectrum.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from shared import alternating

import truncax


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128, 256, 512, 1024])
    parser.add_argument("--complex", action="store_true")
    parser.add_argument("--hermitian", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    native = truncax.Lanczos() if options.hermitian else truncax.GolubKahan()
    print("| n | k | default, ms | dense, ms | native, ms | jnp, ms | |\n|---|---|---|---|---|---|---|")
    with jax.enable_x64(True):
        for n in options.sizes:
            rng = np.random.default_rng(0)
            a = rng.normal(size=(n, n)) + (1j * rng.normal(size=(n, n)) if options.complex else 0)
            a = jnp.asarray(a + a.conj().T if options.hermitian else a)
            for k in sorted({1, 4, n // 32, n // 16, n // 8, n // 4, n // 2, n} - {0}):
                compare(a, n, k, native, options)


def compare(a, n, k, native, options):
    def ours(solver):
        if options.hermitian:
            run = jax.jit(lambda a: truncax.teigh(a, k, which="LA", solver=solver, on_failure="keep"))
        else:
            run = jax.jit(lambda a: truncax.tsvd(a, k, solver=solver, on_failure="keep"))
        return lambda: jax.block_until_ready(run(a))

    full = jax.jit(jnp.linalg.eigh if options.hermitian else lambda a: jnp.linalg.svd(a, full_matrices=False))
    functions = [ours(None), ours(truncax.Dense()), ours(native), lambda: jax.block_until_ready(full(a))]
    default, dense, krylov, jnp_time = alternating(functions, options.repeats)
    marks = []
    if default > 1.25 * min(dense, krylov):
        marks.append("slower than our best")
    if default > max(1.05 * jnp_time, jnp_time + 0.1):
        marks.append("slower than jnp")
    print(
        f"| {n} | {k} | {default:.2f} | {dense:.2f} | {krylov:.2f} | {jnp_time:.2f} | {', '.join(marks)} |", flush=True
    )


if __name__ == "__main__":
    main()
