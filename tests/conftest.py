"""The suite runs in 64 bits and under JAX's strict modes; caches are dropped between modules."""

import gc
import os

from xla_flags import FLAGS

# Not as users have it; the main job, which CI runs too, is.
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))
# Where an operation was written costs a twelfth of the time, and nothing here reads it.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

import jax
import pytest
from hypothesis import HealthCheck, Phase, settings
from profiles import HYPOTHESIS_LONG, LONG, name_in_file, spare_tests

from truncax.complement import solve
from truncax.complement.cg import block_cg

# Tracing makes many objects that live on; to look at all of them again and again takes a quarter of the time.
gc.set_threshold(200_000, 50, 100)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

settings.register_profile(
    "ci", deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "long",
    settings.get_profile("ci"),
    derandomize=False,
    database=None,
    max_examples=440,
    print_blob=True,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile("long" if HYPOTHESIS_LONG else "ci")


# The files that take longest go first, so that the workers end together.
LONGEST = """
    general solvers sharding reverse pencil properties linalg degeneracy docs derivatives function sparse rules
    multiplets lobpcg implicit mass_operator algebra failure cut transforms dense sixty_digits closed_forms
    pencil_forms matrix preconditioners host mutations kept_part deflation functions command architecture
"""


def pytest_collection_modifyitems(config, items):
    if not LONG and not any("::" in argument for argument in config.args):
        spare = spare_tests()
        left_out = [item for item in items if spare & {name_in_file(item), name_in_file(item).split("[")[0]}]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    first = [f"test_{name}" for name in LONGEST.split()]
    items.sort(key=lambda item: first.index(item.path.stem) if item.path.stem in first else len(first))


@pytest.fixture(autouse=True, scope="module")
def _drop_compiled_code():
    yield
    jax.clear_caches()
    gc.collect()


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
