"""Operators given by a function, with gradients to its arguments and to what it closes over."""

from __future__ import annotations

import operator as _operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .operator import LinearOperator
from .structure import Structure, common_dtype
from .traced import Traced, traced


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FunctionOperator(LinearOperator):
    """The products of a function; its leaves are the arrays that the function takes and closes over."""

    product: Traced
    adjoint_product: Traced | None
    block_args: tuple[Any, ...]
    block_product: Callable[..., Any] | None = field(metadata={"static": True})
    structures: tuple[Structure, Structure] = field(metadata={"static": True})
    declared_hermitian: bool = field(metadata={"static": True})

    @property
    def shape(self) -> tuple[int, int]:
        domain, codomain = self.structures
        return codomain.size, domain.size

    @property
    def dtype(self) -> jnp.dtype:
        return jnp.dtype(self.structures[0].dtype)

    @property
    def hermitian(self) -> bool:
        return self.declared_hermitian

    @property
    def blocks_pay(self) -> bool:
        return self.block_product is not None

    @property
    def domain(self) -> Structure | None:
        return self.structures[0]

    @property
    def codomain(self) -> Structure | None:
        return self.structures[1]

    def apply(self, x: Array) -> Array:
        if x.ndim == 2 and self.block_product is not None:
            domain, codomain = self.structures
            y = self.block_product(domain.unravel(x), *self.block_args)
            return codomain.ravel_columns(y).astype(self.dtype)
        return _by_columns(self._apply, x)

    def apply_adjoint(self, y: Array) -> Array:
        return self.apply(y) if self.declared_hermitian else _by_columns(self._apply_adjoint, y)

    def _apply(self, x: Array) -> Array:
        return self.product(x).astype(self.dtype)

    def _apply_adjoint(self, y: Array) -> Array:
        if self.adjoint_product is not None:
            return self.adjoint_product(y.astype(self.structures[1].dtype)).astype(self.dtype)
        # Not by a linear transpose: a rule that the user gave to a part of the function would stop it.
        _, pull = jax.vjp(self._apply, jnp.zeros((self.shape[1],), self.dtype))
        return jnp.conj(pull(jnp.conj(y))[0])


def _by_columns(product: Callable[[Array], Array], x: Array) -> Array:
    """``product`` of a vector, or of each column of a block."""
    if x.ndim == 1:
        return product(x)
    if x.shape[1] == 1:
        return product(x[:, 0])[:, None]
    return jax.vmap(product, in_axes=1, out_axes=1)(x)


def linear_operator(
    matvec: Callable[..., Any],
    *args: Any,
    shape: int | tuple[int, int] | None = None,
    dtype: Any = None,
    like: Any = None,
    rmatvec: Callable[..., Any] | None = None,
    matmat: Callable[..., Any] | None = None,
    hermitian: bool = False,
) -> LinearOperator:
    """The operator ``x -> matvec(x, *args)`` of a function written in JAX, for every function that takes a matrix.

    Its vectors are plain arrays (n,), or pytrees of arrays: give ``shape`` or ``like``. Gradients go to ``args`` and to
    every array that the functions close over, also where those are traced (inside ``grad`` of ``jit``, ``scan``,
    ``checkpoint``, ``vmap``).

    Args:
        matvec: a linear function of its first argument.
        args: pytrees of arrays, passed on to each of the functions.
        shape: ``(m, n)``, or n for a square operator: vectors are plain arrays.
        dtype: of plain vectors; by default that of ``args`` (the default float if there is no float among them), or
            what ``matvec`` makes of it. Half precision is computed in float32.
        like: an example of a vector that ``matvec`` takes (or its shapes and dtypes), in place of ``shape`` and
            ``dtype``: an array of any shape or a pytree of arrays. Results come in that structure: ``U`` and
            eigenvectors have leaves of shape ``leaf.shape + (k,)``, ``Vh`` of shape ``(k,) + leaf.shape``.
        rmatvec: ``rmatvec(y, *args)``, the product with the conjugate transpose; by default from ``jax.vjp``.
        matmat: ``matmat(X, *args)``, the product with a block of columns (n, p), leaf by leaf ``shape + (p,)``, for a
            function that does better than ``jax.vmap``; it may close over no traced array.
        hermitian: that the operator and all its tangents are Hermitian. ``teigh`` symmetrises the tangents of an
            operator without this word, by products with the adjoint.

    Returns:
        A ``LinearOperator``: a pytree, whose leaves are the arrays of ``args`` and of the closures.

    Raises:
        TypeError, ValueError: a function that does not take or return such vectors; ``shape`` or ``like`` missing;
            integer leaves in ``like``. What is not linear, or not the adjoint, or not Hermitian, is found by two
            products with random vectors when the operator is used.

    Compilation: what is compiled is found again by ``matvec`` itself and by the shapes. A function defined once, with
    its arrays passed through ``args``, compiles once; a lambda made anew for every call compiles every time, unless
    the call is inside your own ``jax.jit``.

    Derivative: with respect to ``args`` and closed-over arrays, in the mode and to the order that ``matvec`` allows.
    If it uses a function with a rule for reverse mode only, pass ``derivative=truncax.Implicit(mode="reverse")``.

    Example:
        >>> import jax, jax.numpy as jnp, truncax
        >>> def chain(x, potential):
        ...     return potential * x - jnp.roll(x, 1) - jnp.roll(x, -1)
        >>> def lowest(potential):
        ...     operator = truncax.linear_operator(chain, potential, shape=100, hermitian=True)
        ...     return truncax.teigh(operator, 1, which="SA").eigenvalues[0]
        >>> gradient = jax.grad(lowest)(jnp.linspace(0, 1, 100) ** 2)
        >>> f"{gradient.sum():.4f}"
        '1.0000'

    Source: the closures are hoisted as ``jax.closure_convert`` does it, of every dtype.

    """
    for name, function in {"matvec": matvec, "rmatvec": rmatvec, "matmat": matmat}.items():
        if not callable(function) and not (function is None and name != "matvec"):
            raise TypeError(f"{name} must be a function, got {type(function).__name__}")
    if hermitian and rmatvec is not None:
        raise ValueError("a Hermitian operator is its own adjoint: leave rmatvec out, or hermitian=True")
    product, structures = _product(matvec, args, shape, dtype, like)
    domain, codomain = structures
    if hermitian and (codomain.treedef, codomain.shapes) != (domain.treedef, domain.shapes):
        raise ValueError(f"a Hermitian operator returns what it takes: matvec takes {domain} and returns {codomain}")
    adjoint = None
    if rmatvec is not None:
        adjoint, returned = traced(rmatvec, "rmatvec", codomain, args)
        if (returned.treedef, returned.shapes) != (domain.treedef, domain.shapes):
            raise ValueError(f"rmatvec must return what matvec takes, {domain}; got {returned}")
    if matmat is not None:
        _check_block_product(matmat, domain, codomain, args)
    return FunctionOperator(product, adjoint, args if matmat is not None else (), matmat, structures, bool(hermitian))


def _product(
    matvec: Callable[..., Any], args: tuple[Any, ...], shape: Any, dtype: Any, like: Any
) -> tuple[Traced, tuple[Structure, Structure]]:
    """The traced product, and the structures of the vectors that it takes and returns."""
    if like is not None:
        if shape is not None or dtype is not None:
            raise ValueError("like= says the shape and the dtype of the vectors: leave shape and dtype out")
        domain = Structure.of(like, "like")
        product, codomain = traced(matvec, "matvec", domain, args)
    elif shape is None:
        raise ValueError(
            "give shape=(m, n) for vectors that are plain arrays, or like=x, an example of a vector that matvec takes"
        )
    else:
        m, n = _checked_shape(shape)
        domain = Structure.plain(n, _vector_dtype(dtype, (matvec, args)))
        product, codomain = traced(matvec, "matvec", domain, args)
        if dtype is None and codomain.dtype != domain.dtype:
            domain = Structure.plain(n, codomain.dtype)
            product, codomain = traced(matvec, "matvec", domain, args)
        if codomain.treedef != domain.treedef or codomain.shapes != ((m,),):
            raise ValueError(f"matvec must return an array of shape ({m},) for shape={(m, n)}, got {codomain}")
    if jnp.issubdtype(codomain.dtype, jnp.complexfloating) and not jnp.issubdtype(domain.dtype, jnp.complexfloating):
        raise TypeError(
            f"matvec makes complex vectors ({codomain.dtype}) of real ones ({domain.dtype}): the vectors must be "
            "complex, by dtype= or like="
        )
    return product, (domain, codomain)


def _checked_shape(shape: Any) -> tuple[int, int]:
    try:
        m, n = shape if isinstance(shape, tuple | list) else (shape, shape)
        m, n = _operator.index(m), _operator.index(n)
    except (TypeError, ValueError):
        raise TypeError(f"shape must be (m, n), or n for a square operator, with static ints, got {shape!r}") from None
    if min(m, n) < 1:
        raise ValueError(f"shape must be positive, got {shape!r}")
    return m, n


def _vector_dtype(dtype: Any, given_arrays: Any) -> Any:
    """The dtype that is computed in, from the one given or from those of a pytree with the arrays at hand."""
    if dtype is None:
        arrays = [x.dtype for x in jax.tree.leaves(given_arrays) if isinstance(x, jax.Array | np.ndarray)]
        floats = [x for x in arrays if jnp.issubdtype(x, jnp.inexact)]
        return Structure.plain(1, common_dtype(floats or [float])).dtype
    given = jnp.dtype(dtype)
    if not jnp.issubdtype(given, jnp.inexact):
        raise TypeError(f"dtype must be a floating-point or complex dtype, got {given}")
    if jax.dtypes.canonicalize_dtype(given) != given:
        raise TypeError(f"dtype={given} needs double precision: set jax.config.update('jax_enable_x64', True)")
    return Structure.plain(1, given).dtype


def _check_block_product(
    matmat: Callable[..., Any], domain: Structure, codomain: Structure, args: tuple[Any, ...]
) -> None:
    """The shapes of ``matmat``, and that it needs no array that is traced now and gone when it is called."""
    leaves = [jax.ShapeDtypeStruct((*s, 2), d) for s, d in zip(domain.shapes, domain.dtypes, strict=True)]
    jaxpr, returned = jax.make_jaxpr(matmat, return_shape=True)(jax.tree.unflatten(domain.treedef, leaves), *args)
    if not codomain.fits(returned, 2):
        raise ValueError(
            f"matmat must return what matvec returns, {codomain}, with the columns in a last axis of each leaf; got "
            f"{Structure.of(returned, 'what matmat returns')} for 2 columns"
        )
    for constant in jaxpr.consts:
        try:
            np.asarray(constant)
        except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
            raise ValueError("matmat closes over a traced array: pass it through args") from None
        except TypeError:
            continue


def from_products(a: Any) -> LinearOperator:
    """The operator of an object with ``mv``, ``transpose`` and ``in_structure``, as those of lineax."""
    domain = Structure.of(a.in_structure(), "in_structure() of a")
    product, codomain = traced(a, "mv of a", domain, (), "mv")
    adjoint, _ = traced(_Transposed(a), "mv of a.transpose()", codomain, ())
    return FunctionOperator(product, adjoint, (), None, (domain, codomain), False)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Transposed:
    """``y -> A^H y``, by the transpose of such an object."""

    of: Any

    def __call__(self, y: Any) -> Any:
        product = self.of.transpose().mv(jax.tree.map(jnp.conj, y))
        return jax.tree.map(jnp.conj, product)
