"""Batches of small matrices: value and gradient, beside ``eigh(A^T A)`` and ``jnp.linalg.svd`` sliced by JAX.

    python benchmarks/batches.py [--batch 256] [--size 64] [--k 4] [--repeats 9] [--dtype float64]

The loss depends on U, S and Vh. Values and gradients are compared before anything is timed; the three run in turn in
one process. Medians of the wall clock and of the processor time, which other work on the machine disturbs less.
"""

import argparse
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np

import truncax


def losses(k, w):
    def weighed(U, S, Vh):
        return jnp.sum(w * ((U * jnp.exp(-S / S[..., :1])[..., None, :]) @ Vh))

    def by_eigh(a):
        squares, V = jnp.linalg.eigh(jnp.swapaxes(a, -1, -2) @ a)
        V, S = V[..., ::-1][..., :k], jnp.sqrt(squares[..., ::-1][..., :k])
        return weighed((a @ V) / S[..., None, :], S, jnp.swapaxes(V, -1, -2))

    def by_svd(a):
        U, S, Vh = jnp.linalg.svd(a, full_matrices=False)
        return weighed(U[..., :k], S[..., :k], Vh[..., :k, :])

    return {"truncax": lambda a: weighed(*truncax.tsvd(a, k)), "eigh(A^T A)": by_eigh, "jnp.linalg.svd": by_svd}


def timed(functions, a, repeats):
    clocks = {name: [] for name in functions}
    for _ in range(repeats):
        for name, f in functions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            jax.block_until_ready(f(a))
            clocks[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: 1e3 * np.median(c, axis=0) for name, c in clocks.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", options.dtype == "float64")
    rng = np.random.default_rng(0)
    shape = options.batch, options.size, options.size
    a, w = (jnp.asarray(rng.normal(size=s), options.dtype) for s in (shape, shape[1:]))
    values = {name: jax.jit(f) for name, f in losses(options.k, w).items()}
    both = {name: jax.jit(jax.value_and_grad(f)) for name, f in losses(options.k, w).items()}
    found = {name: (values[name](a), *both[name](a)) for name in both}
    # A full gradient has a factor 1 / (s_i - s_j) for all pairs, whose smallest among so many is some 1e-5.
    bound = 1e8 * float(jnp.finfo(options.dtype).eps)
    gradient = found["truncax"][2]
    for name, (_, value, other) in found.items():
        error = float(jnp.linalg.norm(gradient - other) / jnp.linalg.norm(gradient))
        assert error <= bound, (name, error)
        assert abs(float(value - found["truncax"][1])) <= bound * abs(float(value)), name
    print(f"{platform.machine()}, {jax.default_backend()} ({jax.devices()[0].device_kind}), jax {jax.__version__}")
    print(f"{options.batch} x {options.size} x {options.size}, k = {options.k}, {options.dtype}, ms: wall / processor")
    print("| | value | value and gradient | ratio |")
    print("|---|---|---|---|")
    alone, whole = (timed(functions, a, options.repeats) for functions in (values, both))
    for name in both:
        ratio = whole["truncax"] / whole[name]
        columns = (f"{x[0]:.0f} / {x[1]:.0f}" for x in (alone[name], whole[name]))
        print(f"| {name} | {' | '.join(columns)} | {ratio[0]:.2f} / {ratio[1]:.2f} |")


if __name__ == "__main__":
    main()
