"""Linear solves and products in a form that JAX differentiates and transposes any number of times."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax


def self_adjoint_solve(matvec: Callable[[Array], Array], b: Array, solve: Callable[[Array], Array]) -> Array:
    """``x`` with ``matvec(x) = b``, found by ``solve``, for a ``matvec`` that is self-adjoint under ``Re tr(x^H y)``.

    It runs on the pair (Re, Im). There the operator is symmetric, JAX has nothing to transpose, and the conjugates
    that a complex transpose needs cannot be forgotten. ``solve`` is never differentiated: the equation is.
    """
    is_complex = jnp.iscomplexobj(b)

    def split(z: Array) -> tuple[Array, ...]:
        return (z.real, z.imag) if is_complex else (z,)

    def merge(parts: tuple[Array, ...]) -> Array:
        return lax.complex(*parts) if is_complex else parts[0]

    def real_matvec(parts: tuple[Array, ...]) -> tuple[Array, ...]:
        return split(matvec(merge(parts)))

    def real_solve(_: Callable, parts: tuple[Array, ...]) -> tuple[Array, ...]:
        return split(solve(merge(parts)))

    return merge(lax.custom_linear_solve(real_matvec, split(b), real_solve, symmetric=True))


def with_adjoint(
    product: Callable[[Array], Array],
    adjoint_product: Callable[[Array], Array],
    inverse: Callable[[Array], Array],
    inverse_adjoint: Callable[[Array], Array],
    x: Array,
) -> Array:
    """``F x`` for a square F whose products JAX cannot transpose, from a self-adjoint system.

    [ 0     F^-H ]^-1 [ 0 ]   [ F x ]
    [ F^-1  0    ]    [ x ] = [ 0   ]
    """
    n = x.shape[0]

    def crossed(above: Callable[[Array], Array], below: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda z: jnp.concatenate([above(z[n:]), below(z[:n])])

    right = jnp.concatenate([jnp.zeros_like(x), x])
    return self_adjoint_solve(crossed(inverse_adjoint, inverse), right, crossed(product, adjoint_product))[:n]


def self_adjoint_product(product: Callable[[Array], Array], x: Array) -> Array:
    """``A x`` for a self-adjoint A whose product has a rule of its own, which JAX's transpose of it would forget.

    [ 0  1  ]^-1 [ x ]   [ A x ]
    [ 1  -A ]    [ 0 ] = [  x  ]
    """
    n = x.shape[0]

    def matvec(z: Array) -> Array:
        return jnp.concatenate([z[n:], z[:n] - product(z[n:])])

    def solve(z: Array) -> Array:
        return jnp.concatenate([z[n:] + product(z[:n]), z[:n]])

    return self_adjoint_solve(matvec, jnp.concatenate([x, jnp.zeros_like(x)]), solve)[:n]


def product_with_adjoint(
    product: Callable[[Array], Array], adjoint_product: Callable[[Array], Array], x: Array
) -> Array:
    """The same for ``F x`` with a square F: the upper half of the self-adjoint product with F and its adjoint."""
    n = x.shape[0]

    def crossed(z: Array) -> Array:
        return jnp.concatenate([product(z[n:]), adjoint_product(z[:n])])

    return self_adjoint_product(crossed, jnp.concatenate([jnp.zeros_like(x), x]))[:n]
