"""What the rules for given factors ask of their arguments: checked at once, naming what was given."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.sparse import issparse

from ..numerics.tolerances import computing_dtype
from ..operators.convert import given_matrix
from ..operators.operator import LinearOperator
from ..operators.preconditioning import as_preconditioner
from ..options import Implicit


def one_matrix(a: Any) -> Array | LinearOperator:
    """``a`` as a JAX array of two dimensions and of inexact dtype, or as an operator."""
    if issparse(a):
        raise TypeError(
            f"a must be of JAX here, to have a tangent and a cotangent, got {type(a).__name__}: pass "
            "jax.experimental.sparse.BCOO.from_scipy_sparse(a)"
        )
    a = given_matrix(a)
    if len(a.shape) != 2:
        raise ValueError(f"a must be one matrix (m, n), got shape {a.shape}; map a batch with jax.vmap")
    return a


def given_tangent(da: Any, a: Array | LinearOperator) -> Any:
    """``da`` in the shape and dtype of ``a``: an array, or an operator of the same structure."""
    if not isinstance(a, LinearOperator):
        return given_array("da", da, a.shape, a.dtype)
    structure: Any = jax.tree.structure(a)
    given_structure: Any = jax.tree.structure(da)
    shapes, given_shapes = ([jnp.shape(x) for x in jax.tree.leaves(tree)] for tree in (a, da))
    if structure != given_structure or shapes != given_shapes:
        raise ValueError(
            f"da must have the structure of a, {structure} with leaves of shapes {shapes}; "
            f"got {given_structure} with {given_shapes}"
        )
    return da


def given_array(name: str, x: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """``x`` as an array of exactly this shape, in this dtype."""
    array = _array(name, x)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if jnp.iscomplexobj(array) and not jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, got dtype {array.dtype}")
    return array.astype(dtype)


def given_tuple(
    names: Sequence[str], given: Any, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any], *, zeros: bool
) -> tuple[Array, ...]:
    """Factors or cotangents of these shapes and dtypes; None counts as zero if ``zeros``."""
    return tuple(
        jnp.zeros(shape, dtype) if zeros and x is None else given_array(name, x, shape, dtype)
        for name, x, shape, dtype in zip(names, _parts(names, given), shapes, dtypes, strict=True)
    )


def given_rank(names: Sequence[str], factors: Any, shape: tuple[int, int], vectors: int) -> int:
    """The number k of kept vectors: the columns of the factor at the position ``vectors``."""
    found, limit = np.shape(_parts(names, factors)[vectors]), min(shape)
    if len(found) != 2 or found[0] != shape[0] or not 1 <= found[1] <= limit:
        raise ValueError(
            f"{names[vectors]} must have shape ({shape[0]}, k) with 1 <= k <= {limit} for a of shape {shape}, "
            f"got {found}"
        )
    return found[1]


def _parts(names: Sequence[str], given: Any) -> Sequence[Any]:
    if isinstance(given, tuple | list) and len(given) == len(names):
        return given
    size = f" of length {len(given)}" if isinstance(given, tuple | list) else ""
    raise TypeError(f"expected the tuple ({', '.join(names)}), got {type(given).__name__}{size}")


def given_which(which: Any, allowed: tuple[str, ...]) -> str:
    """``which`` as one of the allowed names."""
    if not isinstance(which, str) or which not in allowed:
        raise ValueError(f"which must be one of {', '.join(map(repr, allowed))}, got {which!r}")
    return which


def given_derivative(derivative: Any, a: Array | LinearOperator, *, vectors: bool, forward: bool) -> Implicit:
    """The options of the derivative, where they have a use."""
    if derivative is None:
        return Implicit()
    if not isinstance(derivative, Implicit):
        raise TypeError(f"derivative must be None or truncax.Implicit(...), got {derivative!r}")
    if not vectors and derivative.degeneracy_rtol is not None:
        raise ValueError("derivative: degeneracy_rtol has no use for subspaces: leave it out")
    if derivative.polish:
        raise ValueError("derivative: the given factors are used as they are, got polish: leave it out")
    if forward and derivative.mode == "reverse":
        raise ValueError("derivative: a tangent needs forward mode, got Implicit(mode='reverse'): leave mode out")
    inverse = as_preconditioner(derivative.preconditioner, min(a.shape), computing_dtype(a.dtype))
    return dataclasses.replace(derivative, preconditioner=inverse)


def _array(name: str, x: Any) -> Array:
    if not isinstance(x, jax.Array | np.ndarray | np.generic) or not (
        jnp.issubdtype(x.dtype, jnp.number) or x.dtype == bool
    ):
        what = f"{type(x).__name__} of dtype {x.dtype}" if hasattr(x, "dtype") else type(x).__name__
        raise TypeError(f"{name} must be a numeric NumPy or JAX array; got {what}")
    return jnp.asarray(x)
