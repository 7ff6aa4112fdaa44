"""Deflation of a complement system by the leftover Ritz vectors of the solver, whatever their accuracy.

The operator of column j is ``K_j = alpha_j I + beta_j C`` on the complement of the kept vectors, with one Hermitian C
for all columns. From vectors W there, rotated so that ``W^H C W = diag(theta)``, and ``E_j = alpha_j + beta_j theta``:

    Q_j = W E_j^-1 W^H,     x_0 = Q_j b,     z = (I - Q_j K_j) M (I - K_j Q_j) r + Q_j r

is the balancing preconditioner (BNN). It moves the eigenvalues that W knows to one and changes the solution by nothing:
W only decides how many steps are needed. A-DEF2 is the same without the factor on the right, which is the identity
in exact arithmetic; with rounding and poor W it takes up to six times the steps.

With ``C W = W diag(theta) + R`` and ``W^H R = 0``, ``K_j W = W E_j + beta_j R``: all of it comes from the products of a
vector with W and R, which are read twice a step, for the coefficients and for the combination, and from ``R^H R``.
Nothing cancels there, even where E_j is as small as the gap.

Where the columns of W are eigenvectors of C to rounding, there is no R: x_0 is then, up to what W does not span, the
solution, and one product shows it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.gram import inverse_root
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
    """``basis`` (2p, n), the rows of W and of R, ``gram = R^H R`` (p, p) and ``theta`` (p,), with ``W^H C W =
    diag(theta)`` and ``C W = W diag(theta) + R``; ``basis`` (p, n) and no ``gram`` where R is rounding.
    """

    basis: Array
    gram: Array | None
    theta: Array


def deflation(C: Callable[[Array], Array], W: Array) -> Deflation:
    """Rayleigh-Ritz of C on columns ``W`` (n, p), nearly orthonormal or zero, by one product with p vectors."""
    gram = matmul(adjoint(W), W)
    none = jnp.diag((jnp.diagonal(gram).real < 0.5).astype(W.dtype))
    W = matmul(W, inverse_root(gram + none, jnp.int32(W.shape[1])))
    CW = C(W)
    theta, y = jnp.linalg.eigh(matmul(adjoint(W), CW))
    W = matmul(W, y)
    R = matmul(CW, y) - times(W, theta)
    return Deflation(*lax.stop_gradient((jnp.concatenate([W.T, R.T]), matmul(R.T, jnp.conj(R)), theta)))


def by_eigenvectors(W: Array, theta: Array) -> Deflation:
    """The deflation by rows ``W`` (p, n) that are eigenvectors of C to rounding, with the eigenvalues ``theta``."""
    return Deflation(*lax.stop_gradient((W, None, theta)))


class Preconditioner(NamedTuple):
    """``start`` gives x_0 and its residual from b, None if it is to be measured, ``apply`` gives z from r; by rows."""

    start: Callable[[Array], tuple[Array, Array | None]]
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
    if gram is None:
        return _by_eigenvectors(basis, inverse, known, size, inner)
    weight = times(inverse, beta[:, None])

    def along(r: Array) -> tuple[Array, Array]:
        """The products with W and with R."""
        products = materialised(adjoint(matmul(basis, adjoint(r))))
        return products[:, :p], products[:, p:]

    def combined(of_W: Array, of_R: Array) -> Array:
        return matmul(jnp.concatenate([of_W, of_R], axis=1), basis)

    def start(b: Array) -> tuple[Array, Array]:
        """``Q b`` and ``(I - K Q) b``."""
        c, _ = along(b)
        return matmul(times(c, inverse), basis[:p]), b - combined(jnp.where(known, c, 0), times(c, weight))

    def apply(r: Array) -> Array:
        c, d = along(r)
        c, x, y = jnp.where(known, c, 0), times(c, inverse), times(c, weight)
        if inner is None:
            again = times(d - matmul(y, gram), weight)
            return times(r, 1 / size) + combined(x - times(c + again, 1 / size), times(y, -1 / size))
        z = inner(r - combined(c, y))
        c, d = along(z)
        return z + matmul(x - jnp.where(known, c, 0) - times(d, weight), basis[:p])

    return Preconditioner(start, apply)


def _by_eigenvectors(
    W: Array, inverse: Array, known: Array, size: Array, inner: Callable[[Array], Array] | None
) -> Preconditioner:
    """The same by rows ``W`` with ``K_j W = W E_j``; ``inverse`` is ``E_j^-1``, zero where it is not ``known``."""

    def along(r: Array) -> Array:
        return materialised(adjoint(matmul(W, adjoint(r))))

    def start(b: Array) -> tuple[Array, None]:
        return matmul(times(along(b), inverse), W), None

    def apply(r: Array) -> Array:
        c = along(r)
        outside = jnp.where(known, c, 0)
        if inner is None:
            return times(r, 1 / size) + matmul(times(c, inverse) - times(outside, 1 / size), W)
        z = inner(r - matmul(outside, W))
        return z + matmul(times(c, inverse) - jnp.where(known, along(z), 0), W)

    return Preconditioner(start, apply)
