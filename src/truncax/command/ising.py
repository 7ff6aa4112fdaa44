"""The row-to-row transfer matrix of the two-dimensional Ising model on a ring: a real operator with a known answer.

Source: Onsager, Phys. Rev. 65 (1944) 117; Kaufman, Phys. Rev. 76 (1949) 1232.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..decompositions import tsvd
from ..numerics.products import matmul

SPINS = 10
BETA = 0.44  # the critical coupling is ln(1 + sqrt 2) / 2 = 0.440687
# The spectrum has multiplets, by translation and reflection of the ring. With ten spins 18 completes one, and
# the next value is smaller by 12 %; 16 would cut one.
RANK = 18


def transfer_matrix(beta: Any, spins: int = SPINS) -> Array:
    """The symmetric positive ``2^spins x 2^spins`` matrix, a differentiable function of the coupling ``beta``.

        T(s, s') = exp(beta/2 sum_i s_i s_{i+1} + beta sum_i s_i s'_i + beta/2 sum_i s'_i s'_{i+1})

    for the rows of spins s, s' in {-1, 1}^spins on a ring, in the dtype of ``beta``. Its largest entry is
    ``exp(2 spins beta)``.
    """
    beta = jnp.asarray(beta)
    states = 1 - 2 * ((np.arange(2**spins)[:, None] >> np.arange(spins)) & 1)
    inside = jnp.asarray((states * np.roll(states, -1, axis=1)).sum(axis=1), beta.dtype) / 2
    rows = jnp.asarray(states, beta.dtype)
    return jnp.exp(beta * (inside[:, None] + matmul(rows, rows.T) + inside[None, :]))


def kaufman(beta: float, spins: int = SPINS) -> tuple[float, float]:
    """``ln lambda_max`` of ``transfer_matrix(beta, spins)`` and its derivative by ``beta``, exactly.

        ln lambda_max = (n/2) ln(2 sinh 2 beta) + (1/2) sum_{r = 1, 3, .., 2n-1} gamma_r
        cosh gamma_r  = cosh(2 beta)^2 / sinh(2 beta) - cos(pi r / n),  gamma_r > 0

    ``cosh gamma_r - 1`` is summed from positive terms, so that nothing cancels near the critical point.
    """
    s, c = math.sinh(2 * beta), math.cosh(2 * beta)
    r = np.arange(1, 2 * spins, 2)
    excess = (1 - s) ** 2 / s + 2 * np.sin(np.pi * r / (2 * spins)) ** 2
    gamma = 2 * np.arcsinh(np.sqrt(excess / 2))
    d_gamma = 2 * c * (1 - 1 / s**2) / np.sqrt(excess * (excess + 2))
    value = spins / 2 * math.log(2 * s) + float(np.sum(gamma)) / 2
    return value, spins * c / s + float(np.sum(d_gamma)) / 2


def log_largest(beta: Any, spins: int = SPINS) -> Array:
    """``ln lambda_max`` by Truncax: the logarithm of the first of one singular value."""
    return jnp.log(tsvd(transfer_matrix(beta, spins), 1).S[0])


class KaufmanCheck(NamedTuple):
    """``ln lambda_max`` and its derivative by the coupling: ours, and exactly."""

    beta: float
    spins: int
    value: float
    value_exact: float
    derivative: float
    derivative_exact: float


def check_against_kaufman(beta: float = BETA, spins: int = SPINS, dtype: Any = np.float64) -> KaufmanCheck:
    """Compare ``log_largest`` and its derivative by ``jax.grad`` with ``kaufman``.

    float64 needs ``jax.enable_x64``.
    """
    coupling = jnp.asarray(beta, dtype)
    value, derivative = jax.value_and_grad(log_largest)(coupling, spins)
    exact = kaufman(float(coupling), spins)
    return KaufmanCheck(beta, spins, float(value), exact[0], float(derivative), exact[1])
