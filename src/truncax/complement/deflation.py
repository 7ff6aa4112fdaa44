"""Deflation of a complement system by the leftover Ritz vectors of the solver, whatever their accuracy.

The operator of column j is ``K_j = alpha_j I + beta_j C`` on the complement of the kept vectors, with one Hermitian C
for all columns. From vectors W there, rotated so that ``W^H C W = diag(theta)``, and ``E_j = alpha_j + beta_j theta``:

    Q_j = W E_j^-1 W^H,     x_0 = Q_j b,     z = (I - Q_j K_j) M (I - K_j Q_j) r + Q_j r

is the balancing preconditioner (BNN). It moves the eigenvalues that W knows to one and changes the solution by nothing:
W only decides how many steps are needed. A-DEF2 is the same without the factor on the right, which is the identity
in exact arithmetic; with rounding and poor W it takes up to six times the steps.

All that a step needs of W and C W are the products of a vector with them and their own Gram matrix: they are read
twice a step, once for the coefficients and once for the combination.

Source: Tang, Nabben, Vuik and Erlangga, J. Sci. Comput. 39 (2009).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.products import adjoint, materialised, matmul, times
from ..numerics.tolerances import singular_curvature


class Spectral(NamedTuple):
    """The coefficients ``alpha`` (k,) and ``beta`` (k,) of ``K_j = alpha_j I + beta_j C`` on the complement of the kept
    vectors; on their span K is ``size``, of the order of its norm.
    """

    alpha: Array
    beta: Array
    size: Array


class Deflation(NamedTuple):
    """``basis`` (2p, n), the rows of W and of C W, their Gram matrix ``gram`` (2p, 2p), and ``theta`` (p,) with
    ``W^H C W = diag(theta)``.
    """

    basis: Array
    gram: Array
    theta: Array


def deflation(C: Callable[[Array], Array], W: Array) -> Deflation:
    """Rayleigh-Ritz of C on orthonormal columns ``W`` (n, p), by one product with p vectors."""
    CW = C(W)
    theta, y = jnp.linalg.eigh(matmul(adjoint(W), CW))
    basis = jnp.concatenate([matmul(y.T, W.T), matmul(y.T, CW.T)])
    return Deflation(*lax.stop_gradient((basis, matmul(basis, adjoint(basis)), theta)))


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
    basis, gram, theta = given
    p = theta.shape[0]
    alpha, beta, size = spectral
    e = alpha[:, None] + beta[:, None] * theta[None, :]
    known = e > singular_curvature(theta.dtype) * size
    inverse = jnp.where(known, 1 / jnp.where(known, e, 1), 0)

    def along(r: Array) -> Array:
        """The products with W and with C W."""
        return materialised(adjoint(matmul(basis, adjoint(r))))

    def applied(y: Array) -> Array:
        """What K makes of ``y @ W``, as coefficients of W and of C W."""
        return jnp.concatenate([times(y, alpha[:, None]), times(y, beta[:, None])], axis=1)

    def coarse(products: Array) -> Array:
        """``y`` with ``Q K z = y @ W``, from the ``products`` of z with W and C W."""
        Kz = times(products[:, :p], alpha[:, None]) + times(products[:, p:], beta[:, None])
        return times(Kz, inverse)

    def start(b: Array) -> tuple[Array, Array]:
        """``Q b`` and ``(I - K Q) b``."""
        y = times(along(b)[:, :p], inverse)
        return matmul(y, basis[:p]), b - matmul(applied(y), basis)

    def apply(r: Array) -> Array:
        products = along(r)
        y = times(products[:, :p], inverse)
        Ky = applied(y)
        if inner is None:
            y = y - coarse(times(products - matmul(Ky, gram), 1 / size))
            both = jnp.concatenate([y, jnp.zeros_like(y)], axis=1) - times(Ky, 1 / size)
            return times(r, 1 / size) + matmul(both, basis)
        z = inner(r - matmul(Ky, basis))
        return z + matmul(y - coarse(along(z)), basis[:p])

    return Preconditioner(start, apply)
