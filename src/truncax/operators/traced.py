"""A user's function as a value: traced once, with every array that it takes or closes over as a leaf.

``jax.closure_convert`` hoists floating-point tracers only; an integer one that a function closes over then breaks
``grad`` of ``jit``, ``scan`` or ``checkpoint``. So all are hoisted here, where the function is still in their scope.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

from ..numerics.devices import manual, varying_with
from .structure import Structure


class Program:
    """The traced form of a function, without its arrays; static in JAX.

    Two are equal if they are the same function on the same shapes and read the same when traced: what was compiled for
    one serves the other.
    """

    def __init__(self, identity: Any, jaxpr: Any) -> None:
        self.identity, self.jaxpr = identity, jaxpr

    @cached_property
    def text(self) -> str:
        """What was traced, without addresses in memory."""
        return re.sub(r"0x[0-9a-f]+", "", str(self.jaxpr))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Program) and self.identity == other.identity and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.identity)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Traced:
    """A function of one plain vector, with its arguments and the arrays that it closes over."""

    constants: list[Any]
    args: list[Any]
    program: Program = field(metadata={"static": True})

    def __call__(self, x: Array) -> Array:
        function = core.jaxpr_as_fun(core.ClosedJaxpr(self.program.jaxpr, self.constants))
        return function(varying_with(x, self.constants, self.args), *self.args)[0]


@dataclass(frozen=True)
class _Callable:
    """A pytree that is called (a ``jax.tree_util.Partial``, a module), without its arrays."""

    treedef: Any
    others: tuple[Any, ...]
    method: str | None

    def __call__(self, arrays: list[Any], *args: Any) -> Any:
        leaves = [array if other is None else other for array, other in zip(arrays, self.others, strict=True)]
        function = jax.tree.unflatten(self.treedef, leaves)
        return (function if self.method is None else getattr(function, self.method))(*args)


def traced(
    function: Callable[..., Any], name: str, domain: Structure, args: tuple[Any, ...], method: str | None = None
) -> tuple[Traced, Structure]:
    """``function(x, *args)``, or its ``method``, on plain vectors of ``domain``; and the structure that it returns."""
    call, arrays = _without_arrays(function, method)
    leaves, treedef = jax.tree.flatten((arrays, args))
    for leaf in leaves:
        if not _is_array(leaf):
            raise TypeError(
                f"the arguments of {name} must be arrays and numbers, got {leaf!r} of type {type(leaf).__name__}: "
                "let the function close over it"
            )
    codomain: list[Structure] = []

    def flat(x: Array, *leaves: Any) -> Array:
        arrays, args = jax.tree.unflatten(treedef, leaves)
        returned = call(arrays, domain.unravel(x), *args)
        codomain.append(Structure.of(returned, f"what {name} returns"))
        return codomain[-1].ravel(returned)

    jaxpr = jax.make_jaxpr(flat)(jax.ShapeDtypeStruct((domain.size,), domain.dtype), *leaves)
    if manual():
        # Of the type that every vector can be given: that of all the arrays inside.
        example = varying_with(jnp.zeros((domain.size,), domain.dtype), leaves, jaxpr.consts)
        jaxpr = jax.make_jaxpr(flat)(example, *leaves)
    try:
        hash(call)
        identity: Any = (call, treedef, domain)
    except TypeError:
        identity = object()
    return Traced(list(jaxpr.consts), leaves, Program(identity, jaxpr.jaxpr)), codomain[-1]


@dataclass(frozen=True)
class _Plain:
    """A function that is no pytree."""

    function: Callable[..., Any]

    def __call__(self, arrays: list[Any], *args: Any) -> Any:
        return self.function(*args)


def _without_arrays(function: Callable[..., Any], method: str | None) -> tuple[Callable[..., Any], list[Any]]:
    leaves, treedef = jax.tree.flatten(function)
    plain: Any = jax.tree.structure(0)
    if treedef == plain:
        return _Plain(function if method is None else getattr(function, method)), []
    others = tuple(None if _is_array(leaf) else leaf for leaf in leaves)
    arrays = [leaf if other is None else None for leaf, other in zip(leaves, others, strict=True)]
    return _Callable(treedef, others, method), arrays


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | bool | int | float | complex)
