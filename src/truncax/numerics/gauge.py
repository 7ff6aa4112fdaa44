"""What a loss may not depend on: phases of vectors, and the basis inside a multiplet or a subspace.

A turn ``U -> U exp(K)`` with K antihermitian changes a loss by ``Re tr(Ubar^H U K)``, so that it sees no turn where the
antihermitian part of ``U^H Ubar`` vanishes. Cotangents are such that ``dL = Re tr(Ubar^H dU)``.

Source: Francuz, Schuch and Vanhecke, arXiv:2311.11894 (the condition on the cotangents).
"""

import jax.numpy as jnp
from jax import Array

from .products import adjoint, matmul


def antihermitian(m: Array) -> Array:
    """``(m - m^H) / 2``."""
    return (m - adjoint(m)) / 2


def turned_vectors(values: Array, values_bar: Array, *sides: tuple[Array, Array], width: Array) -> Array:
    """How a loss of vectors and values changes under turns of the vectors that leave the decomposition as it is.

    ``sides`` holds each kind of vectors with its cotangent, which turn together. The entries of the antihermitian part
    of ``U^H Ubar + V^H Vbar`` between values that differ by ``width`` at most (and on the diagonal: phases), and
    the distance of the cotangents of such values from their mean: it alone sees ``U f(S) U^H`` at a tie, whose vectors
    do not turn while their values are equal.
    """
    m = jnp.sum(jnp.stack([matmul(adjoint(u), u_bar) for u, u_bar in sides]), axis=0)
    tied = jnp.abs(values[:, None] - values[None, :]) <= width
    difference = jnp.abs(values_bar[:, None] - values_bar[None, :]) * jnp.max(jnp.abs(values))
    spread = difference**2 / (2 * jnp.sum(tied, axis=1, dtype=difference.dtype)[:, None])
    return jnp.sqrt(jnp.sum(jnp.where(tied, jnp.abs(antihermitian(m)) ** 2 + spread, 0)))


def turned_singular_subspaces(C: Array, C_bar: Array, left: tuple[Array, Array], right: tuple[Array, Array]) -> Array:
    """The same under ``U -> U R1``, ``V -> V R2``, ``C -> R1^H C R2`` for any unitary R1 and R2."""
    one = matmul(adjoint(left[0]), left[1]) - matmul(C_bar, adjoint(C))
    two = matmul(adjoint(right[0]), right[1]) + matmul(adjoint(C), C_bar)
    return jnp.sqrt(jnp.sum(jnp.abs(antihermitian(one)) ** 2) + jnp.sum(jnp.abs(antihermitian(two)) ** 2))


def turned_invariant_subspace(H: Array, H_bar: Array, Q: Array, Q_bar: Array) -> Array:
    """The same under ``Q -> Q R``, ``H -> R^H H R`` for any unitary R.

    Of a Hermitian H only the Hermitian part of ``H_bar`` counts: the other one gives what is Hermitian.
    """
    m = matmul(adjoint(Q), Q_bar) + matmul(adjoint(H), H_bar) - matmul(H_bar, adjoint(H))
    return jnp.sqrt(jnp.sum(jnp.abs(antihermitian(m)) ** 2))


def phases(U: Array) -> Array:
    """For each column the unit number that makes its largest entry real and positive; the first of equal ones."""
    largest = jnp.take_along_axis(U, jnp.argmax(jnp.abs(U), axis=0)[None, :], axis=0)[0]
    size = jnp.abs(largest)
    present = size > 0
    return jnp.where(present, jnp.conj(largest) / jnp.where(present, size, 1).astype(U.dtype), 1)
