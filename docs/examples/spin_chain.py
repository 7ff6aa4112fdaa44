"""The transverse-field Ising chain of 14 spins, matrix-free: dE0/dg and the fidelity susceptibility.

    H(g) = -sum_i X_i X_{i+1} - g sum_i Z_i,    periodic, in the sector of even parity (8192 states)

Free fermions give both exactly, with the momenta k = pi/N, 3 pi/N, ... below pi and tan theta_k = sin k / (g - cos k):

    E0(g) = -2 sum_k sqrt(1 + g^2 - 2 g cos k),    chi_F(g) = 1/4 sum_k (d theta_k / d g)^2
"""

import jax
import jax.numpy as jnp
import numpy as np

import truncax

jax.config.update("jax_enable_x64", True)

N = 14
# The last spin is what the parity of the others says: flipping it costs nothing to write down.
states = np.arange(2 ** (N - 1))
bits = (states[:, None] >> np.arange(N - 1)) & 1
down = bits.sum(axis=1) + bits.sum(axis=1) % 2
field = jnp.asarray(N - 2.0 * down)
masks = [3 << i for i in range(N - 2)] + [1 << (N - 2), 1]
flipped = jnp.asarray(np.stack([states ^ mask for mask in masks]))


def hamiltonian(x, g, field, flipped):
    return -g * field * x - jnp.sum(x[flipped], axis=0)


def operator(g):
    return truncax.linear_operator(hamiltonian, g, field, flipped, shape=len(states), hermitian=True)


@jax.jit
def energy(g):
    return truncax.teigh(operator(g), 1, which="SA").eigenvalues[0]


@jax.jit
def fidelity_susceptibility(g):
    """``-d^2/dh^2 log |<psi(g)|psi(h)>|`` at h = g: free of the sign of psi."""
    ground = jax.lax.stop_gradient(truncax.teigh(operator(g), 1, which="SA").eigenvectors[:, 0])

    def minus_log_fidelity(h):
        psi = truncax.teigh(operator(h), 1, which="SA").eigenvectors[:, 0]
        return -jnp.log(jnp.abs(ground @ psi))

    return jax.grad(jax.grad(minus_log_fidelity))(g)


momenta = np.pi * np.arange(1, N, 2) / N
for g in (0.7, 1.2):
    square = 1 + g**2 - 2 * g * np.cos(momenta)
    exact = -2 * np.sum((g - np.cos(momenta)) / np.sqrt(square)), np.sum((np.sin(momenta) / square) ** 2) / 4
    found = jax.grad(energy)(g), fidelity_susceptibility(g)
    errors = [abs(float(x) - y) for x, y in zip(found, exact, strict=True)]
    print(f"g = {g}: dE0/dg = {found[0]:.10f} (error {errors[0]:.0e}), chi_F = {found[1]:.10f} (error {errors[1]:.0e})")
    assert max(errors) < 1e-8
