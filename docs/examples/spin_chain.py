# %% [markdown]
# # The transverse-field Ising chain
#
# The ground state of a chain of 14 spins at a field $g$, periodic, in the sector of even parity (8192 states):
#
# $$H(g) = -\sum_i X_i X_{i+1} - g \sum_i Z_i$$
#
# Two derivatives of it are measured quantities: $dE_0/dg$, the magnetisation, and the fidelity susceptibility
# $\chi_F = -\partial_h^2 \log |\langle \psi(g) | \psi(h) \rangle|$ at $h = g$, which peaks where the phase changes. The
# ground state is one separated eigenpair, so that `truncax.teigh` is exact, to second order as well, and the fidelity
# does not depend on the sign of $\psi$. The Hamiltonian is a function, by bit operations.
#
# Free fermions give both exactly, with the momenta $k = \pi/N, 3\pi/N, \dots$ below $\pi$ and
# $\tan \theta_k = \sin k / (g - \cos k)$:
#
# $$E_0(g) = -2 \sum_k \sqrt{1 + g^2 - 2 g \cos k}, \qquad \chi_F(g) = \frac14 \sum_k
#   \left( \frac{d\theta_k}{dg} \right)^2$$

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
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
    ground = jax.lax.stop_gradient(truncax.teigh(operator(g), 1, which="SA").eigenvectors[:, 0])

    def minus_log_fidelity(h):
        psi = truncax.teigh(operator(h), 1, which="SA").eigenvectors[:, 0]
        return -jnp.log(jnp.abs(ground @ psi))

    return jax.grad(jax.grad(minus_log_fidelity))(g)


# %% [markdown]
# Both over a range of fields:

# %%
momenta = np.pi * np.arange(1, N, 2) / N


def exact(g):
    square = 1 + g**2 - 2 * g * np.cos(momenta)
    return -2 * np.sum((g - np.cos(momenta)) / np.sqrt(square)), np.sum((np.sin(momenta) / square) ** 2) / 4


fields = np.linspace(0.5, 1.5, 11)
found = np.array([(jax.grad(energy)(g), fidelity_susceptibility(g)) for g in fields])
expected = np.array([exact(g) for g in fields])
errors = np.abs(found - expected).max(axis=0)
for g, (slope, chi) in list(zip(fields, found, strict=True))[::5]:
    print(f"g = {g:.1f}: dE0/dg = {slope:.10f}, chi_F = {chi:.10f}")
print(f"largest error of dE0/dg {errors[0]:.0e}, of chi_F {errors[1]:.0e}")

# %% [markdown]
# Dots are the derivatives by Truncax, lines the exact ones. The susceptibility peaks next to $g = 1$, where an infinite
# chain changes from ordered to disordered.

# %%
line = np.linspace(0.5, 1.5, 200)
curves = np.array([exact(g) for g in line])
figure, axes = plt.subplots(1, 2)
for axis, n, sign, label in ((axes[0], 0, -1, r"magnetisation $-dE_0/dg\,/\,N$"), (axes[1], 1, 1, r"$\chi_F\,/\,N$")):
    axis.plot(line, sign * curves[:, n] / N, color="grey", label="free fermions")
    axis.plot(fields, sign * found[:, n] / N, "o", label="Truncax")
    axis.set(xlabel="field g (coupling = 1)", ylabel=label)
axes[0].legend()
plt.show()

# %%
assert max(errors) < 1e-8
