"""The loss that the command differentiates, by Truncax and by the full SVD.

    L(A) = Re <W, U_k g(S_k) V_k^H>,   g(s) = s / (1 + s^2),   W fixed and random

It is a smooth function of A wherever s_k > s_{k+1}, whatever ties there are inside the kept or the discarded
values. It needs vectors and values on both sides, so that no part of a derivative can be wrong unseen.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..decompositions import singular_subspaces
from ..numerics.products import adjoint, matmul, times


def random_weights(shape: tuple[int, int], dtype: Any, seed: int) -> np.ndarray:
    """``W``: standard normal entries, complex where ``dtype`` is."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        w = w + 1j * rng.standard_normal(shape)
    return w.astype(dtype)


def paired(w: Array, left: Array, right_h: Array) -> Array:
    """``Re <W, left @ right_h>`` for ``left`` (m, k) and ``right_h`` (k, n), without an m x n temporary."""
    return jnp.sum((matmul(adjoint(left), w) * jnp.conj(right_h)).real)


def truncated_loss(a: Array, w: Array, k: int) -> Array:
    """The loss by ``truncax.singular_subspaces``.

    ``U C (I + C^H C)^-1 V^H`` equals ``U g(S) V^H`` and never splits a multiplet, so that its derivative is
    exact at any tie inside the kept values.
    """
    U, C, Vh = singular_subspaces(a, k)
    one = jnp.eye(k, dtype=C.dtype)
    G = adjoint(jnp.linalg.solve(one + matmul(adjoint(C), C), adjoint(C)))
    return paired(w, matmul(U, G), Vh)


def full_loss(a: Array, w: Array, k: int) -> Array:
    """The loss by ``jnp.linalg.svd``, cut after k."""
    return full_loss_and_factors(a, w, k)[0]


def full_loss_and_factors(a: Array, w: Array, k: int) -> tuple[Array, tuple[Array, Array, Array]]:
    """``full_loss`` and ``(U_k, s, V_k^H)``, with all the singular values."""
    U, s, Vh = jnp.linalg.svd(a, full_matrices=False)
    g = s[:k] / (1 + s[:k] ** 2)
    return paired(w, times(U[:, :k], g), Vh[:k]), (U[:, :k], s, Vh[:k])
