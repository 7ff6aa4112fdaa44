"""Weak and strong scaling over the devices that jax has, and what one iteration sends; the answer is checked first.

    python benchmarks/sharded.py [--quick] [--repeats N] [--dtype float64] [--json FILE]
    python benchmarks/sharded.py --estimate [--shape M N] [--devices 64] [--k 16] [--dtype float32]

A CPU counts as 8 devices, which share its cores: the times then show what splitting costs, not what it gains. Strong:
one matrix on 1, 2, 4 ... devices; weak: rows grow with the devices. A is split by rows, by columns, or both on a grid.
Every value is compared with the spectrum that A was made from, every gradient (``U Vh``, of the sum of S) with the
factors that it was made of. Times are medians of two rounds in turn.

``--estimate`` runs nothing: it compiles value and gradient for that many devices and prints, for each loop of the
program, the products that it sums and their bytes for one pass, and the memory of each device. Collectives inside a
nested loop are counted for one pass of it.
"""

import argparse
import collections
import json
import platform
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from shared import alternating

import truncax

COLUMNS = ("scaling", "m", "n", "split", "devices", "value, ms", "value and gradient, ms", "ratio", "products", "error")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small matrix, devices 1 and 4")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="float64", choices=("float32", "float64"))
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--estimate", action="store_true")
    parser.add_argument("--shape", type=int, nargs=2, default=(1_000_000, 100_000))
    parser.add_argument("--devices", type=int, default=64)
    parser.add_argument("--k", type=int, default=16)
    return parser.parse_args()


def layouts(devices):
    chosen = np.array(jax.devices()[:devices])
    grid = 2 ** (int(np.log2(devices)) // 2)
    line, square = Mesh(chosen, ("x",)), Mesh(chosen.reshape(-1, grid), ("x", "y"))
    return {
        "rows": NamedSharding(line, P("x", None)),
        "columns": NamedSharding(line, P(None, "x")),
        "both": NamedSharding(square, P("x", "y")),
    }


def spectrum(n):
    return np.exp(-20 * np.arange(n) / n)


def matrix(m, n, dtype):
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((size, n)))[0] for size in (m, n))
    return u, v, np.ascontiguousarray((u * spectrum(n)) @ v.T).astype(dtype)


def nuclear(a, k):
    return jnp.sum(truncax.tsvd(a, k).S)


def measure(kind, m, n, k, counts, dtype, repeats):
    u, v, host = matrix(m, n, dtype)
    expected, gradient = np.sum(spectrum(n)[:k]), u[:, :k] @ v[:, :k].T
    value = jax.jit(lambda a: nuclear(a, k))
    both = jax.jit(jax.value_and_grad(lambda a: nuclear(a, k)))
    info = jax.jit(lambda a: truncax.tsvd(a, k, return_info=True)[1])
    names, runs, errors, products = [], [], [], []
    for devices in counts:
        for name, sharding in layouts(devices).items():
            if devices == 1 and name != "rows":
                continue
            a = jax.device_put(host, sharding)
            found, cotangent = both(a)
            assert cotangent.sharding.is_equivalent_to(sharding, 2), cotangent.sharding
            error = max(
                abs(float(found) - expected) / expected,
                np.linalg.norm(np.asarray(cotangent) - gradient) / np.linalg.norm(gradient),
            )
            assert error <= 1e5 * np.finfo(dtype).eps, error
            names.append((name if devices > 1 else "whole", devices))
            errors.append(float(error))
            products.append(int(info(a).products))
            runs += [lambda a=a: jax.block_until_ready(value(a)), lambda a=a: jax.block_until_ready(both(a))]
    times = alternating(runs, repeats)
    for (name, devices), of_value, of_both, count, error in zip(
        names, times[::2], times[1::2], products, errors, strict=True
    ):
        row = (kind, m, n, name, devices, of_value, of_both, of_both / times[1], count, error)
        yield dict(zip(COLUMNS, row, strict=True))


COLLECTIVE = re.compile(r"= (.*?) (all-gather|all-to-all|collective-permute|all-reduce|reduce-scatter)(?:-start)?\(")
BYTES = {"f64": 8, "f32": 4, "s32": 4, "u32": 4, "pred": 1}


def sent(program):
    """For each computation of a compiled program that sends anything: how often, and the bytes of the results."""
    computation, found = "", collections.defaultdict(collections.Counter)
    for line in program.as_text().splitlines():
        if line and not line[0].isspace():
            computation = line.split()[0]
        match = COLLECTIVE.search(line)
        if match:
            for dtype, shape in re.findall(r"(\w+)\[([\d,]*)\]", match[1]):
                size = int(np.prod([int(x) for x in shape.split(",") if x], dtype=int))
                found[computation][match[2], f"{dtype}[{shape}]", size * BYTES[dtype]] += 1
    return found


def estimate(m, n, k, devices, dtype):
    print(f"{m} x {n}, k = {k}, {dtype}, {devices} devices: {m * n * np.dtype(dtype).itemsize / 1e9:.0f} GB")
    for name, sharding in layouts(devices).items():
        sizes = [sharding.mesh.shape[axis] if axis else 1 for axis in sharding.spec]
        if m % sizes[0] or n % sizes[1]:
            print(f"\n{name}: {m} x {n} cannot be split evenly into {sizes[0]} x {sizes[1]} parts")
            continue
        a = jax.ShapeDtypeStruct((m, n), dtype, sharding=sharding)
        program = jax.jit(jax.value_and_grad(lambda a: nuclear_and_vectors(a, k))).lower(a).compile()
        of = program.memory_analysis()
        parts = ("argument", of.argument_size_in_bytes), ("result", of.output_size_in_bytes)
        print(f"\n{name}: a device holds", ", ".join(f"{what} {x / 1e9:.2f} GB" for what, x in parts), end=", ")
        print(f"temporaries {of.temp_size_in_bytes / 1e9:.2f} GB")
        for computation, counts in sent(program).items():
            total = sum(x[2] * count for x, count in counts.items())
            print(f"  {computation}: {sum(counts.values())} messages, {total / 1e6:.3f} MB")
            for (what, shape, size), count in sorted(counts.items(), key=lambda x: -x[0][2]):
                print(f"    {count} {what} {shape} {size / 1e6:.3f} MB")


def nuclear_and_vectors(a, k):
    U, S, Vh = truncax.tsvd(a, k, solver=truncax.GolubKahan())
    return jnp.sum(S) + jnp.sum(U[:2] ** 2) + jnp.sum(Vh[:, :2] ** 2)


def main():
    options = arguments()
    # Other platforms do not look at it.
    jax.config.update("jax_num_cpu_devices", options.devices if options.estimate else 8)
    with jax.enable_x64(options.dtype == "float64"):
        if options.estimate:
            estimate(*options.shape, options.k, options.devices, options.dtype)
        else:
            scaling(options)


def scaling(options):
    most, k = len(jax.devices()), 8
    counts = [x for x in ((1, 4) if options.quick else (1, 2, 4, 8, 16, 32, 64)) if x <= most]
    m, n = (512, 256) if options.quick else (4096, 1024)
    print(f"{platform.machine()}, {most} x {jax.devices()[0].device_kind}, jax {jax.__version__}, {options.dtype}\n")
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    rows = []
    cases = [("strong", m, counts), *(("weak", n * count, [count]) for count in counts)]
    for kind, rows_of, devices in cases:
        for row in measure(kind, rows_of, n, k, devices, options.dtype, options.repeats):
            rows.append(row)
            cells = (f"{x:.3g}" if isinstance(x, float) else str(x) for x in row.values())
            print("| " + " | ".join(cells) + " |", flush=True)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
