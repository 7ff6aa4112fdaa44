"""A problem: a matrix made from a parameter, a loss of its k triplets or pairs, and the answers to compare with.

Every way of solving it is asked for the same: the k best triplets (pairs), and the gradient of the loss with respect to
the parameter: all entries of a dense matrix, the stored ones of a sparse one, a potential, weights of edges.

    triplets: L = Re <W, U g(S) V^H>, g(s) = s / (1 + s^2), W fixed: random, or X Y^H of rank 4 for a sparse matrix
    pairs:    L = sum_j w_j (l_j + sum_i c_i q_ij^2), w and c fixed and random
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental.sparse import BCOO


class Missing(Exception):
    """A package that an input comes from is not there."""


@dataclass(frozen=True)
class Problem:
    """``values`` and ``gradient`` are those of ``reference``; ``gap`` is relative to the largest value.

    ``weights`` are (W,), (X, Y) or (w, c). A sparse matrix has ``indices`` (count, 2) and ``entries(parameter)``.
    ``depth`` is the number of products that matfree is given, ``left_out`` says which ways are not tried and why.
    """

    title: str
    k: int
    parameter: np.ndarray
    weights: tuple
    values: np.ndarray
    gradient: np.ndarray
    reference: str
    gap: float
    which: str | None = None
    shape: tuple = ()
    indices: np.ndarray | None = None
    entries: Callable[[Any], Any] | None = None
    sigma: float | None = None
    depth: int = 96
    left_out: dict = field(default_factory=dict)

    def __post_init__(self):
        # A pattern that is known outside of jit is sorted once; one made inside of it, in every call.
        places = None if self.indices is None else jnp.asarray(self.indices)
        object.__setattr__(self, "places", places)

    @property
    def hermitian(self):
        return self.which is not None

    @property
    def batched(self):
        return self.indices is None and self.parameter.ndim > 2

    def matrix(self, parameter):
        """The matrix as JAX has it: an array or a ``BCOO``."""
        if self.indices is None:
            return parameter
        return BCOO((self.entries(parameter), self.places), shape=self.shape)

    def dense(self, parameter):
        """The matrix as a JAX array."""
        if self.indices is None:
            return parameter
        rows, columns = self.places.T
        return jnp.zeros(self.shape, parameter.dtype).at[rows, columns].add(self.entries(parameter))

    def host(self):
        """The matrix for NumPy and SciPy."""
        if self.indices is None:
            return self.parameter
        data = np.asarray(self.entries(jnp.asarray(self.parameter)))
        return scipy.sparse.coo_array((data, tuple(self.indices.T)), shape=self.shape).tocsr()

    def loss(self, factors, weights):
        """The loss from ``(U, S, Vh)``, or from ``(values, vectors)``; leading axes are summed over."""
        if self.hermitian:
            values, vectors = factors
            w, c = weights
            return jnp.sum(w * (values + c @ vectors**2))
        U, S, Vh = factors
        left = U * (S / (1 + S**2)).astype(U.dtype)[..., None, :]
        if len(weights) == 2:
            X, Y = weights
            return jnp.sum((X.T @ left) * (Vh @ Y).T)
        (W,) = weights
        return jnp.sum((jnp.conj(jnp.swapaxes(left, -1, -2)) @ W * jnp.conj(Vh)).real)
