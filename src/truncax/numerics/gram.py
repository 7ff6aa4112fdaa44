"""A basis that is orthonormal but for small products that are known.

Rounding makes the vectors of a Krylov sequence lose their orthogonality slowly. To remove what is lost takes a read
of the whole basis for each vector; to measure it takes another, and the small matrix ``G = Q^H Q`` then says all:
``Q G^(-1/2)`` is orthonormal, and whoever rotates the basis anyway does that at no cost. Where nothing is filled yet G
is the identity.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from .orthonormal import Block
from .products import adjoint, matmul


def with_block(gram: Array, block: Block, at: Array) -> Array:
    """``G`` once the rows of ``block`` stand in the basis from row ``at``."""
    products = lax.dynamic_update_slice_in_dim(block.products, block.among, at, axis=1)
    gram = lax.dynamic_update_slice_in_dim(gram, products.T, at, axis=1)
    return lax.dynamic_update_slice_in_dim(gram, jnp.conj(products), at, axis=0)


def inverse_root(gram: Array, count: Array) -> Array:
    """``G^(-1/2)`` of the first ``count`` vectors, the identity on what follows; for G close to the identity.

    Three terms of the series and one Newton step.
    """
    one = jnp.eye(gram.shape[0], dtype=gram.dtype)
    live = jnp.arange(gram.shape[0], dtype=jnp.int32) < count
    off = jnp.where(live[:, None] & live[None, :], gram - one, 0)
    square = matmul(off, off)
    root = one - off / 2 + 3 * square / 8
    defect = one - matmul(root, matmul(one + off, root))
    return root + matmul(root, defect + adjoint(defect)) / 4


class Outside(NamedTuple):
    """What is left of vectors q outside the span of a basis Q: ``q - Q @ coefficients``, with this ``gram`` matrix.

    It is not the identity: vectors that wait behind each other know each other as loosely as they know the basis.
    """

    coefficients: Array
    gram: Array


def without(gram: Array, count: Array, size: int) -> Outside:
    """For the ``size`` vectors that follow the first ``count``; the basis is as many as G has beside them."""
    basis = gram.shape[0] - size
    beside = lax.dynamic_slice_in_dim(gram, count, size, axis=1)
    inside = jnp.where((jnp.arange(basis, dtype=jnp.int32) < count)[:, None], beside[:basis], 0)
    root = inverse_root(gram[:basis, :basis], count)
    coefficients = matmul(root, matmul(root, inside))
    return Outside(coefficients, lax.dynamic_slice_in_dim(beside, count, size) - matmul(adjoint(inside), coefficients))
