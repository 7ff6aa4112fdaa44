"""Sparse matrices: products, value and gradient, beside SciPy's products, PROPACK and ARPACK.

    python benchmarks/sparse.py products | svd | laplacian [--side 200] [--sigma 0] [--preconditioner sparse_lu]
        [--repeats 3] [--json FILE]

``svd``: 100 000 x 20 000 with 10 random normal entries a row, k = 10: a flat spectrum. ``laplacian``: the grid of side
L with a random potential, the 6 lowest states. The loss depends on values and vectors; its gradient is the one with
respect to the entries, or to the potential, checked against a difference quotient along a random direction. Times
are medians in one process; compiling is apart. ``peak``: the largest resident memory of the process above what it held
once the matrix was made, in the first call, which compiles, and in those that follow.
"""

import argparse
import json
import platform
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental.sparse import BCOO
from scipy.sparse.linalg import eigsh, svds
from shared import alternating

import truncax
from truncax.operators.convert import given_matrix

TOL = np.finfo(np.float64).eps ** (5 / 6)


class Peak:
    """The largest resident memory while it runs, above that at its start, in MB."""

    def __enter__(self):
        self.start, self.most, self.running = self.now(), 0.0, True
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while self.running:
            self.most = max(self.most, self.now() - self.start)
            time.sleep(0.005)

    def __exit__(self, *_):
        self.running = False
        self.thread.join()

    @staticmethod
    def now():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * 4096 / 1e6


def random_matrix(m, n, each):
    rng = np.random.default_rng(0)
    indices = np.stack([np.repeat(np.arange(m), each), rng.integers(0, n, m * each)], axis=1).astype(np.int32)
    return jnp.asarray(rng.normal(size=m * each)), jnp.asarray(indices)


def host(data, indices, shape):
    return scipy.sparse.coo_array((np.asarray(data), tuple(np.asarray(indices).T)), shape=shape).tocsr()


def grid(side):
    """The 5-point Laplacian, its places, and those of the potential behind them."""
    n = side * side
    site = np.arange(n).reshape(side, side)
    across, down = ((site[:, 1:], site[:, :-1]), (site[1:], site[:-1]))
    pairs = np.concatenate([np.stack([x.ravel(), y.ravel()], 1) for x, y in (across, down)])
    diagonal = np.stack([np.arange(n)] * 2, 1)
    indices = np.concatenate([pairs, pairs[:, ::-1], diagonal]).astype(np.int32)
    return jnp.full(2 * len(pairs), -1.0), jnp.asarray(indices)


def checked(run, x, along):
    """The gradient, and its relative error against a central difference along a direction."""
    h = 1e-5
    gradient = run(x)[1]
    slope = (run(x + h * along)[0] - run(x - h * along)[0]) / (2 * h)
    return float(abs(jnp.vdot(gradient, along) - slope) / abs(slope))


def decomposition(name, loss, x, host_run, repeats):
    along = jnp.asarray(np.random.default_rng(1).normal(size=x.shape))
    along = along / jnp.linalg.norm(along) * jnp.linalg.norm(x) / x.size**0.5
    value, both = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
    jax.block_until_ready(value(x))
    with Peak() as first:
        start = time.perf_counter()
        jax.block_until_ready(both(x))
        compile_time = time.perf_counter() - start
    with Peak() as later:
        jax.block_until_ready(both(x))
    error = checked(both, x, along)
    assert error < 1e-4, error
    eager = jax.value_and_grad(loss)
    functions = [lambda f=f: jax.block_until_ready(f(x)) for f in (value, both, eager)]
    times = alternating([*functions, host_run], repeats)
    temporary = both.lower(x).compile().memory_analysis().temp_size_in_bytes / 1e6
    return {
        "case": name,
        "value, ms": times[0],
        "value and gradient, ms": times[1],
        "the same, not compiled as a whole, ms": times[2],
        "host, ms": times[3],
        "ratio": times[1] / times[3],
        "peak of the first call, MB": first.most,
        "peak later, MB": later.most,
        "arrays of the program, MB": temporary,
        "gradient error": error,
        "compile and first call, s": compile_time,
    }


def svd(options):
    shape, k = (100_000, 20_000), 10
    data, indices = random_matrix(*shape, 10)
    a = host(data, indices, shape)
    w = jnp.asarray(np.random.default_rng(2).normal(size=k))

    def loss(data):
        U, S, Vh = truncax.tsvd(BCOO((data, indices), shape=shape), k)
        return jnp.sum(w * S) + jnp.sum(w * jnp.sum(U[:1000], axis=0) * jnp.sum(Vh[:, :1000], axis=1))

    def propack():
        return svds(a, k, solver="propack", tol=TOL, maxiter=1000, rng=np.random.default_rng(0))

    S = truncax.tsvd(BCOO((data, indices), shape=shape), k).S
    assert np.max(np.abs(np.sort(propack()[1])[::-1] - np.asarray(S))) < 1e-10
    return [decomposition("random 1e5 x 2e4", loss, data, propack, options.repeats)]


def laplacian(options):
    side, k = options.side, 6
    n = side * side
    ours = {"which": "SA"} if options.sigma is None else {"sigma": options.sigma}
    # Beside a preconditioner, a shift is the reference's.
    theirs = ours | ({} if options.sigma is None else {"which": "LM"})
    fixed, indices = grid(side)
    potential = jnp.asarray(np.random.default_rng(3).uniform(0, 1, n))
    a = host(jnp.append(fixed, 4 + potential), indices, (n, n))
    w = jnp.asarray(np.random.default_rng(2).normal(size=k))

    def loss(potential):
        matrix = BCOO((jnp.append(fixed, 4 + potential), indices), shape=(n, n))
        values, vectors = truncax.teigh(matrix, k, **chosen(matrix))
        return jnp.sum(w * values) + jnp.sum(w * jnp.sum(vectors[::2] ** 2, axis=0))

    def arpack():
        return eigsh(a, k, tol=TOL, rng=np.random.default_rng(0), **theirs)

    def chosen(matrix):
        if options.preconditioner is None:
            return ours
        inverse = None
        if options.preconditioner != "none":
            given = {} if options.shift is None else {"shift": options.shift}
            given |= {} if options.degree is None else {"degree": options.degree}
            inverse = getattr(truncax.preconditioners, options.preconditioner)(matrix, **given)
        return {"which": "SA", "solver": truncax.LOBPCG(inverse, block_size=options.block)}

    values = jnp.sort(truncax.teigh(a, k, **chosen(a)).eigenvalues)
    assert np.max(np.abs(np.sort(arpack()[0]) - np.asarray(values))) < 1e-10
    shift = "" if options.sigma is None else f", sigma = {options.sigma}"
    if options.preconditioner is not None:
        shift += f", preconditioner {options.preconditioner}, shift {options.shift}"
    return [decomposition(f"grid of side {side}{shift}", loss, potential, arpack, options.repeats)]


def products(options):
    """One vector and a block of 10, by rows and by columns, SciPy's and the BCOO's."""
    shape = (100_000, 20_000)
    data, indices = random_matrix(*shape, 10)
    a, bcoo = host(data, indices, shape), BCOO((data, indices), shape=shape)
    operator, adjoint = given_matrix(bcoo), a.T.tocsr()

    def measure(p):
        x, y = (np.random.default_rng(1).normal(size=(size, p)) for size in shape[::-1])
        dx, dy = jnp.asarray(x), jnp.asarray(y)
        apply, back = jax.jit(lambda o: o.apply(dx)), jax.jit(lambda o: o.apply_adjoint(dy))
        assert np.max(np.abs(apply(operator) - a @ x)) < 1e-12
        assert np.max(np.abs(back(operator) - adjoint @ y)) < 1e-12
        pull = jax.jit(lambda o: jax.vjp(lambda o: o.apply(dx), o)[1](dy)[0].rows.values)
        theirs = jax.jit(lambda b: b @ dx)
        functions = {
            "A X": lambda: apply(operator),
            "A^H Y": lambda: back(operator),
            "SciPy A X": lambda: a @ x,
            "SciPy A^H Y": lambda: adjoint @ y,
            "BCOO A X": lambda: theirs(bcoo),
            "cotangent of the entries": lambda: pull(operator),
        }
        times = alternating([lambda f=f: jax.block_until_ready(f()) for f in functions.values()], options.repeats)
        return {"columns": p, **{f"{name}, ms": t for name, t in zip(functions, times, strict=True)}}

    return [measure(1), measure(10)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["products", "svd", "laplacian"])
    parser.add_argument("--side", type=int, default=200)
    parser.add_argument("--sigma", type=float, help="a shift for the grid; the same for both")
    parser.add_argument(
        "--preconditioner", help="for the grid: LOBPCG with this one of truncax.preconditioners, or none"
    )
    parser.add_argument("--shift", type=float, help="of the preconditioner")
    parser.add_argument("--degree", type=int, help="of the polynomial")
    parser.add_argument("--block", type=int, help="block size of LOBPCG")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", help="write the rows to this file")
    options = parser.parse_args()
    print(f"{platform.machine()}, {jax.devices()[0].device_kind}, jax {jax.__version__}, float64\n")
    with jax.enable_x64(True):
        rows = {"products": products, "svd": svd, "laplacian": laplacian}[options.what](options)
    for row in rows:
        print("\n".join(f"{name}: {x:.3g}" if isinstance(x, float) else f"{name}: {x}" for name, x in row.items()))
    if options.json:
        with open(options.json, "w") as f:
            json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
