"""The suite runs in 64 bits and under JAX's strict modes; caches are dropped between modules."""

import os

# Nine tenths of the suite's time is XLA's compiler; without its optimisations it takes a third less. The main job,
# which CI runs too, is compiled as users have it.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax
import pytest
from hypothesis import HealthCheck, settings

from truncax.complement import solve
from truncax.complement.cg import block_cg

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

settings.register_profile(
    "ci", deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci")


@pytest.fixture(autouse=True, scope="module")
def _drop_compiled_code():
    yield
    jax.clear_caches()


@pytest.fixture
def mutate(monkeypatch):
    """Replaces a name in a module, in compiled code as well."""

    def apply(module, name, value):
        monkeypatch.setattr(module, name, value)
        jax.clear_caches()

    yield apply
    jax.clear_caches()


@pytest.fixture
def steps(mutate):
    """The steps of the complement solves that ran since the list was cleared."""
    taken = []

    def counting(*args, **options):
        found = block_cg(*args, **options)
        jax.debug.callback(lambda steps: taken.append(int(steps)), found.steps)
        return found

    mutate(solve, "block_cg", counting)
    return taken
