"""What ``test_sharding.py`` runs in processes of its own: they see 4 or 8 devices, or one each and form a cluster."""

import hashlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from profiles import LONG

import truncax
from truncax import LOBPCG, Arnoldi, Implicit, Lanczos, Propack

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

K = 3
# The most vectors that any step has at once, with room for a restart: a part of A has more rows and columns.
VECTORS = 30


def matrix(m, n, dtype="float64"):
    """A matrix with singular values that fall fast, so that few products are needed."""
    rng = np.random.default_rng(0)
    x, y = (np.linalg.qr(rng.standard_normal((size, min(m, n))))[0] for size in (m, n))
    return np.asarray((x * np.exp(-np.arange(min(m, n)) / 4)) @ y.T, dtype)


def hermitian(n):
    a = matrix(n, n)
    return a + a.T


def mesh(shape, names, kind=AxisType.Auto):
    return jax.make_mesh(shape, names, axis_types=(kind,) * len(names))


def layouts(devices=None):
    devices = devices or jax.device_count()
    line = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("x",))
    grid = jax.sharding.Mesh(np.array(jax.devices()[:devices]).reshape(-1, 2), ("x", "y"))
    return {
        "rows": NamedSharding(line, P("x", None)),
        "columns": NamedSharding(line, P(None, "x")),
        "both": NamedSharding(grid, P("x", "y")),
    }


def of_triplets(U, S, Vh):
    return jnp.sum(jnp.sin(S)) + jnp.sum(((U[:3] * S[None, :]) @ Vh[:, :3]) ** 2)


def of_pairs(values, vectors):
    return jnp.sum(jnp.sin(values)) + jnp.sum(((vectors[:3] * values[None, :]) @ vectors[:5].T) ** 2)


def of_subspaces(U, C, Vh):
    return jnp.sum((U[:3] @ C @ Vh[:, :5]) ** 2)


LOSSES = {
    "tsvd": lambda a: of_triplets(*truncax.tsvd(a, K)),
    "teigh": lambda a: of_pairs(*truncax.teigh(a, K)),
    "singular_subspaces": lambda a: of_subspaces(*truncax.singular_subspaces(a, K)),
    "invariant_subspace": lambda a: (lambda Q, H: of_subspaces(Q, H, Q.T))(*truncax.invariant_subspace(a, K)),
    "low_rank_approximation": lambda a: jnp.sum(truncax.low_rank_approximation(a, K)[:, :7] ** 3),
    "discarded_weight": lambda a: truncax.discarded_weight(a, truncax.tsvd(a, K)),
}


# Each layout for at least two functions; the long profile takes every layout for all of them.
CASES = {
    "tsvd": ("rows", "columns"),
    "teigh": ("both",),
    "singular_subspaces": ("both",),
    "invariant_subspace": ("columns",),
    "low_rank_approximation": ("columns",),
    "discarded_weight": ("rows",),
}


def all_orders(f):
    """Value, gradient, tangent of the value and Hessian-vector product, in one program."""
    return lambda a, t: jax.jvp(jax.value_and_grad(f), (a,), (t,))


def close(got, expected, what):
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        error = np.max(np.abs(np.asarray(x) - np.asarray(y))) / max(np.max(np.abs(np.asarray(y))), 1e-300)
        assert error <= 1e-10, (what, error)


COLLECTIVE = re.compile(r"= (.*?) (?:all-gather|all-to-all|collective-\w+|all-reduce|reduce-scatter)(?:-start)?\(")


def moved(program):
    """The shapes of all that the devices of a compiled program send to each other."""
    lines = filter(None, map(COLLECTIVE.search, program.as_text().splitlines()))
    shapes = [re.findall(r"\w\d+\[([\d,]*)\]", line[1]) for line in lines]
    return [tuple(int(x) for x in shape.split(",") if x) for line in shapes for shape in line]


def keeps_to_vectors(program, what):
    shapes = moved(program)
    assert shapes, f"{what}: nothing is sent, so that nothing was split"
    panels = {shape for shape in shapes if len(shape) > 1 and np.prod(shape) > VECTORS * max(shape)}
    assert not panels, f"{what} sends parts of A: {panels}"


def check_layouts():
    given = {True: hermitian(256), False: matrix(512, 256)}
    for name, loss in LOSSES.items():
        a = given[name in ("teigh", "invariant_subspace")]
        t = np.random.default_rng(1).standard_normal(a.shape)
        # The Hessian-vector product takes half of the time: by default once on either side of every matrix.
        second = LONG or name in ("singular_subspaces", "invariant_subspace")
        f = jax.jit(all_orders(loss) if second else lambda a, t, loss=loss: (jax.value_and_grad(loss)(a),) * 2)
        expected = f(a, t)
        for layout, sharding in layouts().items():
            if not LONG and layout not in CASES[name]:
                continue
            x, dx = jax.device_put(a, sharding), jax.device_put(t, sharding)
            program = f.lower(x, dx).compile()
            what = f"{name} by {layout}"
            keeps_to_vectors(program, what)
            found = program(x, dx)
            close(found, expected, what)
            (_, gradient), (_, product) = found
            for derivative in (gradient, product):
                assert derivative.sharding.is_equivalent_to(sharding, 2), (what, derivative.sharding)


def check_memory():
    # So many rows that groups of 128 to 255 of them do not end where a device's part does; blocks of four vectors.
    m, n = 4104, 2048
    loss = jax.jit(jax.grad(LOSSES["tsvd"]))
    for layout in layouts():
        size = {}
        for devices in (2, 8):
            x = jax.ShapeDtypeStruct((m, n), jnp.float64, sharding=layouts(devices)[layout])
            program = loss.lower(x).compile()
            of = program.memory_analysis()
            part = m * n * 8 // devices
            assert of.argument_size_in_bytes == of.output_size_in_bytes == part, layout
            size[devices] = of.temp_size_in_bytes
            # The cotangent, before it is written, and vectors: 52 and 24 in the basis and as leftovers, on both sides.
            assert of.temp_size_in_bytes <= 1.1 * part + 8 * (m + n) * 6 * 52, (layout, devices, of.temp_size_in_bytes)
            shapes = moved(program)
            assert max(np.prod(shape, dtype=int) for shape in shapes) <= 52 * m, (layout, shapes)
        assert size[8] < size[2] / 2, (layout, size)


def check_calls():
    a, sharding = matrix(96, 72), layouts()["rows"]
    x = jax.device_put(a, sharding)
    loss = LOSSES["tsvd"]
    assert jax.grad(loss)(x).sharding.is_equivalent_to(sharding, 2)
    close(jax.grad(loss)(x), jax.grad(loss)(jnp.asarray(a)), "gradient outside of jit")
    # A k for which the full decomposition would be taken, on every device, of all of A.
    batch = jax.device_put(np.stack([a] * 8), NamedSharding(sharding.mesh, P("x")))
    for where, dense in ((x, False), (jnp.asarray(a), True), (batch, True)):
        info = truncax.tsvd(where, 8, return_info=True)[1]
        assert (np.max(info.iterations) == 0) == dense, where.sharding
    refused(lambda: truncax.tsvd(x, K, solver=Propack()), "leave solver out")
    refused(lambda: jax.grad(lambda x: truncax.tsvd(x, K, solver=Propack()).S.sum())(x), "leave solver out")

    expected = jax.jit(all_orders(loss))(a, a)
    explicit = mesh((2, 2), ("x", "y"), AxisType.Explicit)
    x = jax.device_put(a, NamedSharding(explicit, P("x", "y")))
    refused(lambda: truncax.tsvd(x, K), "auto_axes")
    with jax.set_mesh(explicit):
        refused(lambda: jax.jit(lambda x: truncax.teig(x[:72], K))(x), "auto_axes")
        auto = jax.sharding.auto_axes(loss, out_sharding=P())
        found = jax.jit(all_orders(auto))(x, x)
        close(found, expected, "explicit axes")
        assert jax.typeof(found[0][1]).sharding.spec == P("x", "y")
        results = truncax.TSVDResult(P("x", None), P(None), P(None, "y"))
        U, S, Vh = jax.sharding.auto_axes(lambda x: truncax.tsvd(x, K), out_sharding=results)(x)
        assert (U.sharding.spec, S.sharding.spec, Vh.sharding.spec) == tuple(results)


def refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def check_shard_map():
    line = mesh((4,), ("x",))
    batch = np.stack([matrix(96, 72) * (1 + i) for i in range(4)])
    square = np.stack([hermitian(72) * (1 + i) for i in range(4)])
    cases = {
        "GolubKahan": (jax.value_and_grad(LOSSES["discarded_weight"]), batch),
        "Lanczos": (jax.value_and_grad(lambda a: of_pairs(*truncax.teigh(a, K, solver=Lanczos()))), square),
        "LOBPCG": (lambda a: truncax.teigh(a, K, which="LA", solver=LOBPCG()).eigenvalues, square),
        "Arnoldi": (lambda a: jnp.abs(truncax.teig(a, K, solver=Arnoldi()).eigenvalues), square),
    }
    for name, (function, a) in cases.items():
        if name == "Lanczos" and not LONG:  # a recurrence as that of GolubKahan
            continue
        one_by_one = lambda a, function=function: lax.map(function, a)  # noqa: E731
        expected = jax.jit(one_by_one)(a)
        each = jax.shard_map(one_by_one, mesh=line, in_specs=P("x"), out_specs=P("x"))
        close(jax.jit(each)(a), expected, f"{name}, a part of the batch on each device")
    loss = LOSSES["tsvd"]
    same = jax.shard_map(loss, mesh=line, in_specs=P(), out_specs=P())
    close(jax.jit(jax.value_and_grad(same))(batch[0]), jax.jit(jax.value_and_grad(loss))(batch[0]), "the same A")


# A in parts inside shard_map: the vectors are the same on all devices, and the sum over them ends each product.
M, N, PARTS = 96, 72, 4


def own_columns(x):
    return lax.dynamic_slice_in_dim(x, lax.axis_index("x") * (N // PARTS), N // PARTS)


def by_columns(x, a):
    return lax.psum(a @ own_columns(x), "x")


def adjoint_by_columns(y, a):
    own = a.T @ y
    return lax.psum(lax.dynamic_update_slice_in_dim(jnp.zeros(N), own, lax.axis_index("x") * (N // PARTS), 0), "x")


def gram_by_rows(x, a):
    return lax.psum(a.T @ (a @ x), "x")


def check_products():
    line, a = mesh((PARTS,), ("x",)), matrix(M, N)

    def columns(mode, rmatvec):
        def loss(a):
            operator = truncax.linear_operator(by_columns, a, shape=(M, N), rmatvec=rmatvec)
            return of_triplets(*truncax.tsvd(operator, K, derivative=Implicit(mode=mode)))

        return loss

    def rows(a):
        operator = truncax.linear_operator(gram_by_rows, a, shape=N, hermitian=True)
        return of_pairs(*truncax.teigh(operator, K, which="LA"))

    svd = jax.jit(jax.value_and_grad(LOSSES["tsvd"]))(a)
    eigh = jax.jit(jax.value_and_grad(lambda a: of_pairs(*truncax.teigh(a.T @ a, K, which="LA"))))(a)
    split = P(None, "x")
    cases = [
        ("columns", columns("all", adjoint_by_columns), split, svd),
        ("columns, the adjoint by jax.vjp", columns("all", None), split, svd),
        ("columns, reverse mode", columns("reverse", adjoint_by_columns), split, svd),
        ("rows", rows, P("x", None), eigh),
    ]
    for name, loss, spec, expected in cases:
        outside = jax.value_and_grad(jax.shard_map(loss, mesh=line, in_specs=spec, out_specs=P()))
        close(jax.jit(outside)(a), expected, f"{name}, grad of shard_map")
    inside = jax.shard_map(jax.value_and_grad(rows), mesh=line, in_specs=P("x", None), out_specs=(P(), P("x", None)))
    close(jax.jit(inside)(a), eigh, "rows, grad in shard_map")


def check_cluster(address, count, index):
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, int(count), int(index))
    assert jax.process_count() == int(count)
    a = matrix(96, 72)
    sharding = NamedSharding(mesh((int(count),), ("x",)), P("x", None))
    x = jax.make_array_from_callback(a.shape, sharding, lambda part: a[part])
    whole = jax.jit(lambda x: x, out_shardings=NamedSharding(sharding.mesh, P()))
    value, gradient = jax.value_and_grad(LOSSES["tsvd"])(x)
    assert gradient.sharding.is_equivalent_to(sharding, 2), gradient.sharding
    results = [np.asarray(whole(y)) for y in (value, gradient, *truncax.tsvd(x, K))]
    close(results[:2], jax.value_and_grad(LOSSES["tsvd"])(jnp.asarray(a)), "in a cluster")
    print("bits", hashlib.sha256(b"".join(y.tobytes() for y in results)).hexdigest(), flush=True)


if __name__ == "__main__":
    globals()[f"check_{sys.argv[1]}"](*sys.argv[2:])
