# %% [markdown]
# # The Ising model by corner transfer matrices
#
# Spins $\sigma = \pm 1$ on the square lattice, neighbours coupled by $K = J / k_B T$. All of its thermodynamics is in
# one function, the logarithm of the partition function per site:
#
# $$u = -\frac{d \ln\kappa}{dK}, \qquad c = K^2 \, \frac{d^2 \ln\kappa}{dK^2}$$
#
# the energy per site in units of J and the specific heat in units of $k_B$. The corner transfer matrix
# renormalization group (CTMRG) computes $\kappa$ of the infinite lattice: a quarter of the plane is a symmetric matrix,
# the corner, which grows by one row and one column in each step and is cut back to its $\chi$ largest eigenvalues. Here
# the derivatives go through all these steps and their truncations.
#
# The corner has the eigenvalues $e^{-n\varepsilon}$, up to a factor, each as often as n is a sum of distinct integers
# (below the critical temperature; of distinct odd integers above): multiplets, in every step. $\kappa$ depends on the
# kept subspace and not on a basis inside it, which is what `truncax.invariant_subspace` differentiates: its derivative
# holds no difference of kept values, so that multiplets do no harm to it, and one step is as good as the next.
#
# Sources: T. Nishino and K. Okunishi, J. Phys. Soc. Jpn. 65 (1996) 891, for the method; R. Baxter, *Exactly Solved
# Models in Statistical Mechanics*, 1982, for $\kappa$ of corners and for their eigenvalues; L. Onsager, Phys. Rev. 65
# (1944) 117, for the exact $\kappa$, u and c.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import quad
from scipy.special import ellipe, ellipk

import truncax

jax.config.update("jax_enable_x64", True)


def site(K):
    """A spin with half of each of its four bonds."""
    p, q = jnp.sqrt(jnp.cosh(K) / 2), jnp.sqrt(jnp.sinh(K) / 2)
    half = jnp.array([[p + q, p - q], [p - q, p + q]])
    return jnp.einsum("xi,xj,xk,xl->ijkl", half, half, half, half)


def grown(corner, edge, a):
    """The corner with a row and a column more, the edge with a site more."""
    size = 2 * len(corner)
    corner = jnp.einsum("ij,isk,jtl,stuv->kulv", corner, edge, edge, a).reshape(size, size)
    return corner, jnp.einsum("isj,stuv->itujv", edge, a).reshape(size, 2, size)


def renormalized(corner, edge, chi, subspace):
    if len(corner) > chi:
        Q, corner = subspace(corner, chi)
        edge = jnp.einsum("ia,isj,jb->asb", Q, edge, Q)
    return [x / jnp.linalg.norm(x) for x in (corner, edge)]


def environment(K, chi, steps, subspace=truncax.invariant_subspace):
    a = site(K)

    def step(_, x):
        return renormalized(*grown(*x, a), chi, subspace)

    x = [a[0, 0], a[0]]  # outside of the lattice, spins up
    while len(x[0]) < chi:
        x = step(0, x)
    return jax.lax.fori_loop(0, steps, step, x)


def ln_kappa(K, chi, steps, subspace=truncax.invariant_subspace):
    """One site, and what three other arrangements of corners and edges have too much or too little of."""
    C, T = environment(K, chi, steps, subspace)
    CT = jnp.einsum("ij,jsk->isk", C, T)
    CTC = jnp.einsum("isj,jk->isk", CT, C)
    full = jnp.einsum("isj,jtk,kul,lvi,stuv->", CT, CT, CT, CT, site(K))
    return jnp.log(full * jnp.sum((C @ C) ** 2) / jnp.einsum("isj,jsi->", CTC, CTC) ** 2)


# %% [markdown]
# The cut must not split a multiplet: 14 values end one below the critical temperature, 15 above it.
# `complete_multiplet` confirms it for converged corners.

# %%
critical = np.log(1 + np.sqrt(2)) / 2  # K at T_c
for ratio, chi in ((0.9, 14), (1.1, 15)):
    K = critical / ratio
    corner, _ = grown(*environment(K, chi, 150), site(K))
    print(f"T = {ratio} T_c, chi = {chi}: cut at {truncax.complete_multiplet(corner, chi, hermitian=True)}")
    assert truncax.complete_multiplet(corner, chi, hermitian=True) == chi


# %% [markdown]
# Energy and specific heat: one parameter asks for forward mode, which stores no step. The number of steps follows the
# correlation length, which grows as $1 / |T - T_c|$.


# %%
@partial(jax.jit, static_argnums=1)
def thermodynamics(K, chi, steps):
    def slope(K):
        return jax.jvp(lambda K: ln_kappa(K, chi, steps), (K,), (1.0,))

    (value, first), (_, second) = jax.jvp(slope, (K,), (1.0,))
    return value, -first, K**2 * second


def onsager(K):
    k, tanh = 2 * np.sinh(2 * K) / np.cosh(2 * K) ** 2, np.tanh(2 * K)
    first, second, other = ellipk(k**2), ellipe(k**2), 2 * tanh**2 - 1
    integral, _ = quad(lambda x: np.log((1 + np.sqrt(1 - (k * np.sin(x)) ** 2)) / 2), 0, np.pi / 2, epsabs=1e-14)
    heat = 2 * (first - second) - (1 - other) * (np.pi / 2 + other * first)
    return (
        np.log(2 * np.cosh(2 * K)) + integral / np.pi,
        -(1 + 2 / np.pi * other * first) / tanh,
        2 / np.pi * (K / tanh) ** 2 * heat,
    )


ratios = np.array([0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98, 0.99, 1.01, 1.02, 1.04, 1.07, 1.1, 1.15, 1.2, 1.3, 1.4])
found = np.array([thermodynamics(critical / r, 14 if r < 1 else 15, int(12 / abs(r - 1))) for r in ratios])
exact = np.array([onsager(critical / r) for r in ratios])
errors = np.abs(found - exact)
away = np.abs(ratios - 1) > 0.099
worst = dict(zip(("ln kappa", "energy", "specific heat"), errors[away].max(axis=0), strict=True))
print("largest error 10 % and more away from T_c:", {name: f"{error:.0e}" for name, error in worst.items()})
assert worst["ln kappa"] < 1e-12
assert worst["energy"] < 1e-9
assert worst["specific heat"] < 1e-8

# %% [markdown]
# Energy and specific heat against Onsager, with the errors below. The error grows towards $T_c$, where the corner's
# eigenvalues fall slowly, so that 14 or 15 of them say less, and where the steps would have to be more.

# %%
figure, axes = plt.subplots(2, 2, figsize=(7.2, 5), sharex=True, height_ratios=[3, 2], layout="constrained")
line = np.concatenate([np.linspace(0.68, 0.9995, 150), np.linspace(1.0005, 1.42, 150)])
curves = np.array([onsager(critical / r) for r in line])
for n, (top, bottom) in enumerate(axes.T, 1):
    top.plot(line, curves[:, n], color="grey", label="Onsager")
    top.plot(ratios, found[:, n], "o", markersize=5, label="CTMRG")
    bottom.semilogy(ratios, errors[:, n], "o", markersize=5, color="C3", label="error")
    bottom.set(xlabel=r"temperature $T / T_c$", ylabel="error")
axes[0, 0].set(ylabel=r"energy per site $u / J$")
axes[0, 1].set(ylabel=r"specific heat $c / k_B$")
axes[0, 0].legend(frameon=False)
plt.show()
