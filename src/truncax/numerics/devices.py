"""Arrays on several devices: what the compiler cannot see by itself, and the types that ``jax.shard_map`` asks for."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax


def several_devices() -> bool:
    """Whether an array may be spread over devices: a traced one does not say."""
    return jax.device_count() > 1


def is_split(a: Any) -> bool:
    """Whether the rows or columns of an array are known to lie on several devices: inside ``jax.jit`` they are not."""
    sharding = getattr(lax.stop_gradient(a), "sharding", None)
    return sharding is not None and sharding.shard_shape(a.shape)[-2:] != a.shape[-2:]


def explicit_axes(a: Any) -> tuple[str, ...]:
    """The explicit axes of a mesh that the type of ``a`` names: those over which it is split."""
    spec = jax.typeof(a).sharding.spec
    return tuple(name for axes in spec if axes for name in ((axes,) if isinstance(axes, str) else axes))


def with_own_layout(a: Array) -> Array:
    """``a``, whose cotangent lies on the devices as ``a`` does.

    A sum of products of few columns can be computed in any layout, and the compiler may choose another one, or none. It
    keeps operands of an operation entry by entry together.
    """
    if not several_devices():
        return a
    here = lax.stop_gradient(a)

    def beside(cotangent: Array) -> Array:
        return cotangent * jnp.where(here == here, 1, jnp.nan).astype(cotangent.dtype)

    return lax.custom_linear_solve(lambda x: x, a, lambda _, b: b, lambda _, b: beside(b))


def manual() -> bool:
    """Whether this runs inside ``jax.shard_map``, where types say over which axes of the mesh an array varies."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)


def varying_with(tree: Any, *others: Any) -> Any:
    """``tree``, its constants too, of the type that a loop or a branch over the ``others`` gives it.

    A choice between two equal arrays has the type of both and of the condition; it compiles to nothing.
    """
    if not manual():
        return tree
    conditions = [jnp.any(x == x) for x in jax.tree.leaves(others)]
    return _chosen(jnp.stack(conditions).any(), tree) if conditions else tree


def varying_axes(tree: Any) -> frozenset[str]:
    """The axes of the mesh over which the types of arrays vary; the name changed after jax 0.8."""
    types = map(jax.typeof, jax.tree.leaves(tree)) if manual() else ()
    return frozenset().union(*(x.mat.varying if hasattr(x, "mat") else x.vma for x in types))


def varying_over(axes: tuple[str, ...], tree: Any) -> Any:
    """``tree`` of a type that varies over ``axes``."""
    return _chosen(lax.axis_index(axes) >= 0, tree)


def _chosen(condition: Array, tree: Any) -> Any:
    return jax.tree.map(lambda x: lax.select(jnp.broadcast_to(condition, x.shape), x, x), tree)
