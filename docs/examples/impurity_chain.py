# %% [markdown]
# # A chain of a million sites
#
# A hopping chain of a million sites with four impurities, $(Hx)_i = x_{i-1} + x_{i+1} + \varepsilon_i x_i$. It is a
# function, no matrix: an array of that size would take 8 TB. Each impurity binds one state, at
# $\lambda = \sqrt{\varepsilon^2 + 4}$, whose derivative is $d\lambda/d\varepsilon = \varepsilon/\lambda$, the weight of
# the state on its impurity. `truncax.teigh` is exact for eigenvalues and separated states; the gradient goes to the
# four numbers that the function takes.
#
# Without impurities the largest eigenvalues of such a chain lie within 6e-11 of each other, relative to the width of
# the spectrum: no method that only multiplies by the matrix reaches them, with or without a derivative.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import truncax

jax.config.update("jax_enable_x64", True)

SITES = 1_000_000
impurities = jnp.array([200_000, 400_000, 600_000, 800_000])
eps = jnp.array([2.0, 1.6, 1.3, 1.0])


def chain(x, eps):
    hopping = jnp.zeros_like(x).at[1:].add(x[:-1]).at[:-1].add(x[1:])
    return hopping.at[impurities].add(eps * x[impurities])


@jax.jit
def states(eps):
    operator = truncax.linear_operator(chain, eps, shape=SITES, hermitian=True)
    return truncax.teigh(operator, 4, which="LA")


weights = jnp.array([1.0, 2.0, 3.0, 4.0])
values, vectors = states(eps)
gradient = jax.grad(lambda eps: weights @ states(eps).eigenvalues)(eps)

# %% [markdown]
# Levels and gradient against the exact ones:

# %%
exact = jnp.sqrt(eps**2 + 4)
errors = jnp.max(jnp.abs(values - exact)), jnp.max(jnp.abs(gradient - weights * eps / exact))
print(f"levels {values}, error {errors[0]:.1e}")
print(f"gradient {gradient}, error {errors[1]:.1e}")

# %% [markdown]
# Left, the bound states around their impurities: they fall as $e^{-\kappa |i|}$ with $2 \sinh \kappa = \varepsilon$.
# Right, the levels above the band, which ends at 2, and what a stronger impurity does to each.

# %%
figure, (left, right) = plt.subplots(1, 2)
distance = np.arange(-12, 13)
for n, site in enumerate(np.asarray(impurities)):
    near = np.abs(np.asarray(vectors[site + distance, n]))
    left.semilogy(distance, near, "o", color=f"C{n}", markersize=4, label=rf"$\varepsilon = {eps[n]:.1f}$")
    kappa = np.arcsinh(float(eps[n]) / 2)
    left.semilogy(distance, np.sqrt(np.tanh(kappa)) * np.exp(-kappa * np.abs(distance)), color=f"C{n}", linewidth=1)
left.set(xlabel="site, from the impurity", ylabel=r"$|x_i|$")
left.legend(title="found; lines: exact", fontsize="small")
line = np.linspace(0, 2.4, 100)
right.plot(line, np.sqrt(line**2 + 4), color="grey", label="exact")
right.axhspan(1.9, 2, color="lightgrey", label="the band")
right.plot(eps, values, "o", label="found")
for x, y, slope in zip(eps, values, gradient / weights, strict=True):
    right.plot([x - 0.15, x + 0.15], [y - 0.15 * slope, y + 0.15 * slope], color="C3", linewidth=2.5)
right.plot([], [], color="C3", label="slope from the gradient")
right.set(xlabel=r"strength of the impurity $\varepsilon$ (hopping = 1)", ylabel=r"energy $\lambda$")
right.legend(fontsize="small")
plt.show()

# %%
assert max(errors) < 1e-9
