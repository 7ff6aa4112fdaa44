"""A branch that a batch takes only if one of its members needs it."""

from collections.abc import Callable
from typing import TypeVar

from jax import Array, lax

from .devices import varying_with

Value = TypeVar("Value")
Argument = TypeVar("Argument")


def replaced_unless(good: Array, value: Value, function: Callable[[Argument], Value], argument: Argument) -> Value:
    """``value`` if it is ``good``, else ``function(argument)``, which runs only then.

    A loop that runs once or not at all: under ``vmap`` both branches of a ``lax.cond`` run for every member.
    """

    def body(state: tuple[Array, Value]) -> tuple[Array, Value]:
        # What depends on the argument alone XLA would compute before the loop, always.
        tied, good = lax.optimization_barrier((argument, state[0]))
        return ~good, function(tied)

    return lax.while_loop(lambda state: ~state[0], body, varying_with((good, value), argument, good))[1]
