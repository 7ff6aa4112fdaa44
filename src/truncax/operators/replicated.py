"""An operator inside ``jax.shard_map`` that is in parts on the devices, while its vectors are the same on all of them.

JAX gives a linear solve the type of all that it closes over, and its vectors that of the parts. Then each device would
have a cotangent of its own part, and a solve would mix them up. So the vectors are declared equal at each product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
from jax import Array, lax

from ..numerics.devices import varying_axes, varying_over
from .operator import LinearOperator, Wrapped


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Replicated(Wrapped):
    """``inner`` on vectors whose type varies over ``axes``, though they are equal: their mean says so, to JAX."""

    axes: tuple[str, ...] = field(metadata={"static": True})

    def apply(self, x: Array) -> Array:
        return varying_over(self.axes, self.inner.apply(lax.pmean(x, self.axes)))

    def apply_adjoint(self, y: Array) -> Array:
        return varying_over(self.axes, self.inner.apply_adjoint(lax.pmean(y, self.axes)))


def on_every_device(rule: Callable[..., Any], like: Any, operator: LinearOperator, *others: Any) -> Any:
    """``rule(operator, *others)``, the same on all devices where ``like`` is."""
    axes = tuple(sorted(varying_axes((operator, others)) - varying_axes(like)))
    if not axes:
        return rule(operator, *others)
    found = rule(Replicated(operator, axes), *varying_over(axes, others))
    return lax.pmean(varying_over(axes, found), axes)
