"""The list of problems, by name, and which of them ``--quick`` takes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax

from . import inputs, made


@dataclass(frozen=True)
class Case:
    """``make()`` builds the problem; ``quick`` says whether it belongs to the short run."""

    make: Callable
    quick: bool = False
    single: bool = False

    def precision(self):
        """Under this JAX has the precision of the problem."""
        return jax.enable_x64(not self.single)


def _dense(m, n, k, kind="exp", quick=False, **options):
    single = options.get("dtype") in ("float32", "complex64")
    return Case(partial(made.dense, m, n, k, kind, **options), quick, single)


NO_FULL = {"left_out": dict.fromkeys(("jnp", "torch"), made.SAME_WORK)}

CASES = {
    "exp-256": _dense(256, 256, 16, quick=True),
    "exp-512": _dense(512, 512, 16),
    "exp-1024": _dense(1024, 1024, 16, quick=True),
    "exp-2048": _dense(2048, 2048, 16),
    "exp-4096": _dense(4096, 4096, 16),
    "alg-1024": _dense(1024, 1024, 16, "alg"),
    "alg-2048": _dense(2048, 2048, 16, "alg"),
    "alg-4096": _dense(4096, 4096, 16, "alg", **NO_FULL),
    "exp-256-k64": _dense(256, 256, 64, depth=192),
    "exp-1024-k64": _dense(1024, 1024, 64, depth=256),
    "exp-2048-k64": _dense(2048, 2048, 64, depth=256),
    "float32-1024": _dense(1024, 1024, 16, dtype="float32"),
    "float32-256": _dense(256, 256, 16, dtype="float32", quick=True),
    "complex-1024": _dense(1024, 1024, 16, dtype="complex128"),
    "tall": _dense(8192, 512, 16),
    "wide": _dense(512, 8192, 16),
    "ties": Case(partial(made.rank_deficient, 256, 32, 16), quick=True),
    "batch": Case(partial(made.batch, 256, 64, 4)),
    "laplacian-30": Case(partial(made.laplacian, 30, 6), quick=True),
    "laplacian-100": Case(partial(made.laplacian, 100, 6)),
    "laplacian-200": Case(partial(made.laplacian, 200, 6)),
    "sparse-graded": Case(partial(made.random_sparse, 100_000, 20_000, 10, graded=True)),
    "sparse-flat": Case(partial(made.random_sparse, 100_000, 20_000, 10, graded=False)),
    "image": Case(partial(inputs.image, 20)),
    "digits": Case(partial(inputs.digits, 10), quick=True),
    "text": Case(partial(inputs.text, 10)),
    "counties": Case(partial(inputs.counties, 8)),
}
TINY = {"exp-64": _dense(64, 64, 4, depth=24)}
