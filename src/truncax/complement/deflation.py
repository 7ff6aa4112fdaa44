"""Deflation of a complement system by the leftover Ritz vectors of the solver, whatever their accuracy.

The operator of column j is ``K_j = alpha_j I + beta_j C`` on the complement of the kept vectors, with one Hermitian C
for all columns. From vectors W there, rotated so that ``W^H C W = diag(theta)``, and ``E_j = alpha_j + beta_j theta``:

    Q_j = W E_j^-1 W^H,     x_0 = Q_j b,     z = (I - Q_j K_j) M (I - K_j Q_j) r + Q_j r

is the balancing preconditioner (BNN). It moves the eigenvalues that W knows to one and changes the solution by nothing:
W only decides how many steps are needed. A-DEF2 is the same without the factor on the right, which is the identity
in exact arithmetic; with rounding and poor W it takes up to six times the steps.

Source: Tang, Nabben, Vuik and Erlangga, J. Sci. Comput. 39 (2009).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.products import adjoint, materialised, matmul, times
from ..numerics.tolerances import singular_curvature


class Spectral(NamedTuple):
    """The coefficients ``alpha`` (k,) and ``beta`` (k,) of ``K_j = alpha_j I + beta_j C``, and the ``size`` of K."""

    alpha: Array
    beta: Array
    size: Array


class Deflation(NamedTuple):
    """``W`` (n, p), ``CW`` (n, p) and ``theta`` (p,) with ``W^H C W = diag(theta)``."""

    W: Array
    CW: Array
    theta: Array


def deflation(C: Callable[[Array], Array], W: Array) -> Deflation:
    """Rayleigh-Ritz of C on orthonormal columns ``W`` (n, p), by one product with p vectors."""
    CW = C(W)
    theta, y = jnp.linalg.eigh(matmul(adjoint(W), CW))
    return Deflation(*lax.stop_gradient((matmul(W, y), matmul(CW, y), theta)))


class Preconditioner(NamedTuple):
    """``start`` gives x_0 and its residual from b, ``apply`` gives z from r; all carried as rows."""

    start: Callable[[Array], tuple[Array, Array]]
    apply: Callable[[Array], Array]


def preconditioner(
    given: Deflation | None, spectral: Spectral, inner: Callable[[Array], Array] | None
) -> Preconditioner | None:
    """The balancing preconditioner around ``inner``, an approximate inverse of K; None where there is neither.

    A direction on which ``K_j`` is singular to working precision is not deflated for column j.
    """
    if given is None:
        return None if inner is None else Preconditioner(lambda b: (jnp.zeros_like(b), b), inner)
    W, CW, theta = given
    alpha, beta, size = spectral
    e = alpha[:, None] + beta[:, None] * theta[None, :]
    known = e > singular_curvature(theta.dtype) * size
    inverse = jnp.where(known, 1 / jnp.where(known, e, 1), 0)
    W, CW = W.T, CW.T

    def along(basis: Array, r: Array) -> Array:
        return materialised(adjoint(matmul(basis, adjoint(r))))

    def start(b: Array) -> tuple[Array, Array]:
        """``Q b`` and ``(I - K Q) b``."""
        y = times(along(W, b), inverse)
        x = matmul(y, W)
        return x, b - times(x, alpha[:, None]) - times(matmul(y, CW), beta[:, None])

    def apply(r: Array) -> Array:
        x, s = start(r)
        z = times(s, 1 / size) if inner is None else inner(s)
        KWz = times(along(W, z), alpha[:, None]) + times(along(CW, z), beta[:, None])
        return z + x - matmul(times(KWz, inverse), W)

    return Preconditioner(start, apply)
