"""Vectors that are pytrees: their structure, and the way to plain vectors and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..numerics.tolerances import computing_dtype


@dataclass(frozen=True)
class Structure:
    """A pytree of arrays of these shapes and dtypes; its vectors are their entries one after the other."""

    treedef: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]

    @classmethod
    def of(cls, tree: Any, name: str) -> Structure:
        """The structure of a pytree of floating-point or of complex arrays (or of their shapes and dtypes)."""
        leaves, treedef = jax.tree.flatten(tree)
        if not leaves:
            raise ValueError(f"{name} must be a pytree with arrays in it, got {tree!r}")
        leaves = [leaf if hasattr(leaf, "dtype") and hasattr(leaf, "shape") else jnp.asarray(leaf) for leaf in leaves]
        for leaf in leaves:
            if not jnp.issubdtype(leaf.dtype, jnp.inexact):
                raise TypeError(
                    f"{name} must hold floating-point or complex arrays only, got a leaf of dtype {leaf.dtype}; "
                    "keep integers out of the vectors, in the arguments of the function"
                )
        if len({jnp.issubdtype(leaf.dtype, jnp.complexfloating) for leaf in leaves}) > 1:
            found = [leaf.dtype.name for leaf in leaves]
            raise TypeError(f"{name} must be all real or all complex, got dtypes {found}")
        dtypes = tuple(jax.dtypes.canonicalize_dtype(leaf.dtype) for leaf in leaves)
        return cls(treedef, tuple(leaf.shape for leaf in leaves), dtypes)

    @classmethod
    def plain(cls, size: int, dtype: Any) -> Structure:
        """The structure of a vector (size,)."""
        return cls(jax.tree.structure(0), ((size,),), (jnp.dtype(dtype),))

    @property
    def is_plain(self) -> bool:
        """Whether its vectors are arrays (size,)."""
        return self.treedef == jax.tree.structure(0) and self.shapes == ((self.size,),)

    @property
    def size(self) -> int:
        """The number of entries."""
        return sum(_size(shape) for shape in self.shapes)

    @property
    def dtype(self) -> Any:
        """The dtype that plain vectors of it are computed in."""
        return computing_dtype(common_dtype(self.dtypes))

    def ravel(self, tree: Any) -> Array:
        """The plain vector (size,) of a pytree."""
        return jnp.concatenate([jnp.reshape(x, -1).astype(self.dtype) for x in jax.tree.leaves(tree)])

    def ravel_columns(self, tree: Any) -> Array:
        """The block of columns (size, p) of a pytree with leaves ``shape + (p,)``."""
        leaves = jax.tree.leaves(tree)
        return jnp.concatenate([jnp.reshape(x, (-1, x.shape[-1])).astype(self.dtype) for x in leaves])

    def fits(self, tree: Any, *more: int) -> bool:
        """Whether ``tree`` has this structure, each leaf with the axes ``more`` at its end."""
        shapes = tuple(jnp.shape(leaf) for leaf in jax.tree.leaves(tree))
        same: Any = jax.tree.structure(tree) == self.treedef
        return same and shapes == tuple((*shape, *more) for shape in self.shapes)

    def __str__(self) -> str:
        if self.treedef == jax.tree.structure(0):
            return f"an array of shape {self.shapes[0]}"
        return f"{self.treedef} with leaves of shapes {list(self.shapes)}"

    def unravel(self, x: Array) -> Any:
        """The pytree of a plain vector (size,), or of a block of columns (size, p), leaf by leaf ``shape + (p,)``."""
        leaves, start = [], 0
        for shape, dtype in zip(self.shapes, self.dtypes, strict=True):
            leaves.append(x[start : start + _size(shape)].reshape(*shape, *x.shape[1:]).astype(dtype))
            start += _size(shape)
        return jax.tree.unflatten(self.treedef, leaves)

    def unravel_rows(self, x: Array) -> Any:
        """The pytree of a block of rows (p, size), leaf by leaf ``(p,) + shape``."""
        columns = self.unravel(x.T)
        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), columns)


def common_dtype(dtypes: Sequence[Any]) -> Any:
    """What these dtypes promote to, also where the user has made promotion strict."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*map(jax.dtypes.canonicalize_dtype, dtypes))


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
