"""Published figures: the Ising model in two dimensions, the transverse-field chain, the anharmonic oscillator."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import level_derivatives, tolerance
from scipy.special import ellipk

import truncax
from truncax.command import ising


def close(x, exact, gap, scale=None):
    scale = abs(exact) if scale is None else scale
    assert abs(float(x) - exact) <= tolerance(gap, factor=100) * scale


# --- the Ising model on a ring of rows, its transfer matrix by products -----------------------------------------------

SPINS = 8


def spins(n):
    return 1.0 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)


def transfer(x, beta):
    """``ising.transfer_matrix`` as a product: between the rows spin by spin, so that each half of a row goes alone."""
    rows, half = spins(SPINS), spins(SPINS // 2)
    inside = jnp.exp(beta / 2 * np.sum(rows * np.roll(rows, -1, axis=1), axis=1))
    between = jnp.exp(beta * (half @ half.T))
    y = (inside * x).reshape(between.shape)
    return inside * jnp.linalg.multi_dot([between, y, between], precision="highest").reshape(-1)


@jax.jit
def log_largest(beta):
    """``ln lambda_max``, its first and its second derivative."""

    def f(beta):
        operator = truncax.linear_operator(transfer, beta, shape=2**SPINS, hermitian=True)
        return jnp.log(truncax.teigh(operator, 1, which="LA", solver=truncax.Lanczos()).eigenvalues[0])

    (value, first), (_, second) = jax.jvp(jax.value_and_grad(f), (beta,), (jnp.ones_like(beta),))
    return value, first, second


def kaufman_second(beta, n):
    """The derivative of the second number of ``ising.kaufman``, with the same gamma_r.

    From ``cosh gamma_r = g``: ``gamma'' = (g'' - g gamma'^2) / sinh gamma``.
    """
    s, c = math.sinh(2 * beta), math.cosh(2 * beta)
    excess = (1 - s) ** 2 / s + 2 * np.sin(np.pi * np.arange(1, 2 * n, 2) / (2 * n)) ** 2
    sinh = np.sqrt(excess * (excess + 2))
    d_gamma = 2 * c * (1 - 1 / s**2) / sinh
    bend = 4 * s - 4 / s + 8 * c**2 / s**3
    return -2 * n / s**2 + np.sum((bend - (1 + excess) * d_gamma**2) / sinh) / 2


def relative_gap(beta, n):
    values = np.linalg.eigvalsh(ising.transfer_matrix(jnp.asarray(beta), n))
    return 1 - values[-2] / values[-1]


@pytest.mark.parametrize("beta", [0.25, ising.BETA, 0.5])
def test_free_energy_energy_and_specific_heat_of_a_ring(beta):
    """Kaufman's exact solution at finite width, and its derivatives.

    Source: Kaufman, Phys. Rev. 76 (1949) 1232.
    """
    value, first, second = log_largest(jnp.asarray(beta))
    exact = (*ising.kaufman(beta, SPINS), kaufman_second(beta, SPINS))
    gap = relative_gap(beta, SPINS)
    close(value, exact[0], gap=1)
    close(first, exact[1], gap=1)
    # Each of the two terms of which the second derivative is the difference is of the size of the first, squared.
    close(second, exact[2], gap, scale=exact[1] ** 2)


def onsager_energy(beta):
    """Of a site, in units of the coupling.

    Source: Onsager, Phys. Rev. 65 (1944) 117; K is the complete elliptic integral of modulus k1.
    """
    k1 = 2 * math.sinh(2 * beta) / math.cosh(2 * beta) ** 2
    middle = 2 * math.tanh(2 * beta) ** 2 - 1
    return -(1 + 2 / math.pi * middle * float(ellipk(k1**2))) / math.tanh(2 * beta)


def test_energy_in_the_limit():
    """Onsager's energy of the infinite lattice; a ring of n is off by ``exp(-n / xi)``, and at the critical point not.

    At high temperature ``1/xi = -ln tanh(beta) - 2 beta``: the sum over r in Kaufman's solution is a trapezoidal rule.
    Source: Onsager 1944; ``-sqrt 2`` at ``beta = ln(1 + sqrt 2) / 2``.
    """
    beta = 0.25
    decay = math.exp(-SPINS * (-math.log(math.tanh(beta)) - 2 * beta))
    off = float(-log_largest(jnp.asarray(beta))[1]) / SPINS - onsager_energy(beta)
    assert 0.1 * decay <= abs(off) <= 10 * decay
    critical = math.log1p(math.sqrt(2)) / 2
    value, first, _ = log_largest(jnp.asarray(critical))
    close(-first / SPINS, -math.sqrt(2), gap=1)
    # The amplitude of 1/n^2 is pi c / 6 with the central charge c = 1/2; the next term is smaller by 1/n^2.
    # Source: Bloete, Cardy and Nightingale, Phys. Rev. Lett. 56 (1986) 742; Affleck, ibid. 746; Catalan's constant.
    catalan = 0.915965594177219015
    excess = float(value) / SPINS - (math.log(2) / 2 + 2 * catalan / math.pi)
    assert abs(excess * SPINS**2 / (math.pi / 12) - 1) <= 1 / SPINS**2


# --- the transverse-field Ising chain ---------------------------------------------------------------------------------

SITES = 10
STATES = np.arange(2 ** (SITES - 1))


def chain(x, g, field, flipped):
    """``-sum X_i X_{i+1} - g sum Z_i`` on a ring, in the even states, as in docs/examples/spin_chain.py."""
    return -g * field * x - jnp.sum(x[flipped], axis=0)


@jax.jit
def chain_derivatives(g):
    """Two levels, their first and second derivatives, and the fidelity susceptibility of the ground state."""
    bits = (STATES[:, None] >> np.arange(SITES - 1)) & 1
    down = bits.sum(axis=1) + bits.sum(axis=1) % 2
    masks = [3 << i for i in range(SITES - 2)] + [1 << (SITES - 2), 1]
    field, flipped = jnp.asarray(SITES - 2.0 * down), jnp.asarray(np.stack([STATES ^ mask for mask in masks]))

    def pairs(g):
        operator = truncax.linear_operator(chain, g, field, flipped, shape=len(STATES), hermitian=True)
        return tuple(truncax.teigh(operator, 2, which="SA", solver=truncax.Lanczos()))

    one = jnp.ones_like(g)
    ((values, _), (slopes, moved)), (_, (bent, _)) = jax.jvp(lambda g: jax.jvp(pairs, (g,), (one,)), (g,), (one,))
    return values, slopes, bent, jnp.sum(moved[:, 0] ** 2)


@pytest.mark.parametrize("g", [0.5, 1.0, 1.5])
def test_transverse_field_chain(g):
    """Free fermions: ``E0 = -2 sum_k e_k`` over the momenta pi/N, 3 pi/N, .. below pi, ``E1 = E0 + 4 e_{pi/N}``.

    With ``e_k = sqrt(1 + g^2 - 2 g cos k)`` and ``chi_F = 1/4 sum_k (sin k / e_k^2)^2``. At g = 1,
    ``E0 = -2 / sin(pi/2N)``.
    Source: Pfeuty, Ann. Phys. 57 (1970) 79; Zanardi and Paunkovic, Phys. Rev. E 74 (2006) 031123;
    Gu, Int. J. Mod. Phys. B 24 (2010) 4371.
    """
    k = np.pi * np.arange(1, SITES, 2) / SITES
    e = np.sqrt(1 + g**2 - 2 * g * np.cos(k))
    terms = np.stack([e, (g - np.cos(k)) / e, np.sin(k) ** 2 / e**3])
    ground = -2 * terms.sum(axis=1)
    exact = np.stack([ground, ground + 4 * terms[:, 0]], axis=1)
    *levels, susceptibility = chain_derivatives(jnp.asarray(g))
    if g == 1:
        close(levels[0][0], -2 / math.sin(math.pi / (2 * SITES)), gap=1)
    # Of the width of the spectrum, 2 |E0|; the second level is 4 (e_{3 pi/N} - e_{pi/N}) below the third.
    width = 2 * abs(ground[0])
    gap = 4 * min(e[0], e[1] - e[0]) / width
    for order, (found, expected) in enumerate(zip(levels, exact, strict=True)):
        for x, y in zip(found, expected, strict=True):
            close(x, y, gap if order else 1, scale=SITES**order if order else width)
    close(susceptibility, np.sum((np.sin(k) / e**2) ** 2) / 4, gap, scale=SITES)


# --- perturbation theory to third order -------------------------------------------------------------------------------

BASIS = 16


@jax.jit
def three_derivatives(a, v):
    """Of the lowest level of ``a + t v`` at t = 0, with its value."""

    def level(t):
        return truncax.teigh(a + t * v, 1, which="SA", solver=truncax.Dense()).eigenvalues[0]

    def along(f):
        return lambda t: jax.jvp(f, (t,), (jnp.ones_like(t),))

    first = along(level)
    second = along(lambda t: first(t)[1])
    third = along(lambda t: second(t)[1])
    zero = jnp.zeros(())
    return first(zero)[0], *second(zero), third(zero)[1]


def test_anharmonic_oscillator():
    """``(p^2 + x^2)/2 + t x^4``: ``E = 1/2 + 3/4 t - 21/8 t^2 + 333/16 t^3``, to third order exact in 16 states.

    Source: Bender and Wu, Phys. Rev. 184 (1969) 1231, for ``p^2 + x^2/4 + t x^4/4``: the same numbers.
    """
    ladder = np.sqrt(np.arange(1, BASIS + 4) / 2)
    x = np.diag(ladder, 1) + np.diag(ladder, -1)
    quartic = np.linalg.matrix_power(x, 4)[:BASIS, :BASIS]
    found = three_derivatives(np.diag(np.arange(BASIS) + 0.5), quartic)
    # To third order the path leads from state 0 over 2 and 4, and back.
    size, gap = np.linalg.norm(quartic[:5, :5], 2), 2.0
    for order, (got, exact) in enumerate(zip(found, [1 / 2, 3 / 4, -21 / 4, 333 * 6 / 16], strict=True)):
        close(got, exact, gap / BASIS, scale=size**order / gap ** max(order - 1, 0))


@pytest.mark.parametrize("gap", [1.0, 0.01])
def test_sums_over_states(gap):
    """A random perturbation, the first level ``gap`` below the next."""
    rng = np.random.default_rng(1)
    values = np.r_[-gap, np.arange(BASIS - 1.0)]
    q = np.linalg.qr(rng.normal(size=(BASIS, BASIS)))[0]
    v = rng.normal(size=(BASIS, BASIS))
    v = (v + v.T) / np.linalg.norm(v + v.T, 2)
    value, *found = three_derivatives((q * values) @ q.T, v)
    close(value, values[0], gap=1, scale=BASIS)
    for order, (got, exact) in enumerate(zip(found, level_derivatives(values, q, 0, v), strict=True)):
        close(got, exact, gap / BASIS, scale=max(abs(exact), 1 / gap**order))
