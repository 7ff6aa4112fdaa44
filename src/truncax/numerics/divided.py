"""Divided differences of a function on the eigenvalues of a small Hermitian matrix, at any distance between them.

    f[a, b]    = (f(a) - f(b)) / (a - b)              = int_0^1 f'(a + t (b - a)) dt
    f[a, b, c] = (f[a, b] - f[b, c]) / (a - c)        = the mean of f'' over the triangle of a, b, c, halved

The quotients lose digits where the values are close, the integrals need a function that is smooth between them. Both
are computed; the integral is taken where the values are close or where it agrees with the quotient to the rounding
error of that one.

Source: Higham, Functions of Matrices, SIAM 2008, section 3.2 (the derivative) and B.16 (the formula of Hermite and
Genocchi).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .tolerances import epsilon, negligible, tie_width


def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss and Legendre on [0, 1]."""
    x, weights = np.polynomial.legendre.leggauss(count)
    return (x + 1) / 2, weights / 2


# Where an integral over a triangle is taken the function is smooth, and half the nodes serve each axis.
_LINE, _SIDE = _legendre(12), _legendre(6)

Function = Callable[[Array], Array]


class Differences(NamedTuple):
    """Divided differences and a bound of their rounding error."""

    values: Array
    error: Array


def derivative_of(f: Function) -> Function:
    """``f'`` for a function that acts on each entry."""
    return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


def first_differences(f: Function, values: Array) -> Differences:
    """``f[values_i, values_j]`` (k, k)."""
    a, b = values[:, None], values[None, :]
    at, slope = f(values), derivative_of(f)
    nodes = jnp.asarray(_LINE[0], values.dtype)[:, None, None]
    inner = slope(a[None] * (1 - nodes) + b[None] * nodes)
    integral = jnp.tensordot(jnp.asarray(_LINE[1], inner.dtype), inner, 1, precision=lax.Precision.HIGHEST)
    size = jnp.abs(at) + jnp.abs(values) * jnp.abs(slope(values))
    noise = epsilon(values.dtype) * (size[:, None] + size[None, :])
    return _chosen(integral, at[:, None] - at[None, :], a - b, noise, _close(a, b, values))


def second_differences(f: Function, values: Array) -> Array:
    """``f[values_i, values_j, values_l]`` (k, k, k), for ascending ``values``."""
    first, index = first_differences(f, values), jnp.arange(values.shape[0])
    low, middle, high = _sorted(index[:, None, None], index[None, :, None], index[None, None, :])
    a, b, c = values[low], values[middle], values[high]
    curvature = derivative_of(derivative_of(f))

    def add(total: Array, node: tuple[Array, ...]) -> tuple[Array, None]:
        s, t, weight = node
        return total + weight.astype(total.dtype) * curvature(a * (1 - s) + (b * (1 - t) + c * t) * s), None

    (x, w), like = _SIDE, jax.eval_shape(curvature, a)
    s, t, weights = np.repeat(x, x.size), np.tile(x, x.size), np.outer(x * w, w).ravel()
    nodes = tuple(jnp.asarray(column, values.dtype) for column in (s, t, weights))
    integral, _ = lax.scan(add, jnp.zeros(like.shape, like.dtype), nodes)
    noise = first.error[low, middle] + first.error[middle, high]
    difference = first.values[low, middle] - first.values[middle, high]
    return _chosen(integral, difference, a - c, noise, _close(a, c, values)).values


def _chosen(integral: Array, numerator: Array, denominator: Array, noise: Array, close: Array) -> Differences:
    apart = denominator != 0
    safe = jnp.where(apart, denominator, 1)
    quotient = numerator / safe.astype(numerator.dtype)
    error = noise / jnp.abs(safe)
    agrees = jnp.abs(integral - quotient) <= negligible(noise.dtype) / epsilon(noise.dtype) * error
    smooth = close | agrees | ~apart
    own = epsilon(noise.dtype) * jnp.abs(integral)
    return Differences(jnp.where(smooth, integral, quotient), jnp.where(smooth, own, error))


def _close(a: Array, b: Array, values: Array) -> Array:
    """Equal up to the rounding of an eigenvalue, or so close that no quotient is of use."""
    dtype = values.dtype
    local = tie_width(dtype) * jnp.maximum(jnp.abs(a), jnp.abs(b))
    return jnp.abs(a - b) <= jnp.maximum(local, negligible(dtype) * jnp.max(jnp.abs(values)))


def _sorted(i: Array, j: Array, m: Array) -> tuple[Array, Array, Array]:
    low, high = jnp.minimum(jnp.minimum(i, j), m), jnp.maximum(jnp.maximum(i, j), m)
    return low, i + j + m - low - high, high
