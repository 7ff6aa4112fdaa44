# %% [markdown]
# # A crystal whose atoms may fade: which ones are missing?
#
# A periodic sheet of graphene in the tight-binding model. Each atom $i$ has an existence weight $w_i$ between 0 and 1.
# It couples to its neighbours by $-w_i w_j$ and is pushed out of the band by $4 (1 - w_i)$ as it fades, so that the set
# of atoms is something to differentiate by (an idea of [arXiv:2511.14426](https://arxiv.org/abs/2511.14426)). We see
# the electron density of a sheet with vacancies, and search for them by gradient.
#
# The density is the diagonal of $Q f(Q^T H Q) Q^T$, where $Q$ spans the lowest states and $f$ is the Fermi function.
# The search starts from the perfect sheet, where most states have partners of the same energy. The density does not
# depend on a basis of such a multiplet: `truncax.invariant_subspace` with `truncax.matrix_function` differentiates it
# exactly there. A rule that divides by differences of energies gives NaN.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import truncax

jax.config.update("jax_enable_x64", True)

CELLS = 8
cell = np.stack(np.meshgrid(np.arange(CELLS), np.arange(CELLS), indexing="ij"), -1).reshape(-1, 2)
number = {tuple(c): i for i, c in enumerate(cell)}
# Atom A of each cell has three neighbours B: in its own cell and in two next to it.
bonds = [
    (i, len(cell) + number[tuple((c + shift) % CELLS)])
    for i, c in enumerate(cell)
    for shift in ((0, 0), (-1, 0), (0, -1))
]
one, other = np.transpose(bonds)
atoms = 2 * len(cell)


def hamiltonian(w):
    hop = jnp.zeros((atoms, atoms)).at[one, other].set(-w[one] * w[other])
    return hop + hop.T + jnp.diag(4 * (1 - w))


# %% [markdown]
# ## The perfect sheet
#
# Its energies are $\pm |1 + e^{i p} + e^{i q}|$, $p$ and $q$ multiples of $2 \pi / 8$. The cut must not split a
# multiplet: `complete_multiplet` finds a number of states that does not.

# %%
perfect = jnp.ones(atoms)
k = int(truncax.complete_multiplet(hamiltonian(perfect), 15, which="SA", hermitian=True))
energies = truncax.teigh(hamiltonian(perfect), k, which="SA").eigenvalues
p, q = 2 * np.pi * cell.T / CELLS
closed_form = np.sort(-np.abs(1 + np.exp(1j * p) + np.exp(1j * q)))
print(f"{atoms} atoms, {k} states:", np.round(energies, 4))
assert np.max(np.abs(energies - closed_form[:k])) < 1e-12

# %% [markdown]
# ## The density, and its gradient at the perfect sheet

# %%
fermi_level, temperature = float(energies[0]) + 0.25, 0.06


def fermi(x):
    return jax.nn.sigmoid((fermi_level - x) / temperature)


def density(w):
    Q, H = truncax.invariant_subspace(hamiltonian(w), k, which="SA")
    return jnp.sum((Q @ truncax.matrix_function(fermi, H)) * Q, axis=1)


def density_by_eigh(w):
    values, vectors = jnp.linalg.eigh(hamiltonian(w))
    return jnp.sum(vectors[:, :k] ** 2 * fermi(values[:k]), axis=1)


missing = np.array([9, 30, 77, 100])
target = density(perfect.at[missing].set(0.0))


def loss(w, density=density):
    return jnp.sum((density(w) - target) ** 2) / jnp.sum(target**2)


direction = jax.random.normal(jax.random.key(0), (atoms,))
near = {step: float(loss(perfect + step * direction)) for step in (-2e-4, -1e-4, 1e-4, 2e-4)}
difference = (8 * (near[1e-4] - near[-1e-4]) - near[2e-4] + near[-2e-4]) / 12e-4
slopes = {
    name: float(jnp.vdot(jax.grad(loss)(perfect, f), direction))
    for name, f in {"invariant_subspace": density, "jnp.linalg.eigh": density_by_eigh}.items()
}
print(f"slope by difference of fourth order {difference:.8f}", slopes)
assert abs(slopes["invariant_subspace"] / difference - 1) < 1e-6
assert np.isnan(slopes["jnp.linalg.eigh"])

# %% [markdown]
# ## The search
#
# L-BFGS on the logarithm of $w / (1 - w)$, all atoms alike at the start, $w = 0.95$.

# %%
optimizer = optax.lbfgs()


def of_logits(x):
    return loss(jax.nn.sigmoid(x))


@jax.jit
def update(x, state):
    value, gradient = optax.value_and_grad_from_state(of_logits)(x, state=state)
    change, state = optimizer.update(gradient, state, x, value=value, grad=gradient, value_fn=of_logits)
    return optax.apply_updates(x, change), state, value


x = jnp.full(atoms, 3.0)
state, history = optimizer.init(x), []
for _ in range(150):
    x, state, value = update(x, state)
    history.append(float(value))
    if value < 1e-20:
        break
w = jax.nn.sigmoid(x)
found = np.flatnonzero(w < 0.5)
print(f"{len(history)} steps, loss {history[0]:.2e} -> {history[-1]:.2e}; missing {missing}, found {found}")
print("weights of the missing:", np.round(w[missing], 3), "smallest other:", float(jnp.min(jnp.delete(w, missing))))
rounded = truncax.teigh(hamiltonian(jnp.round(w)), k, which="SA").eigenvalues
hidden = truncax.teigh(hamiltonian(perfect.at[missing].set(0.0)), k, which="SA").eigenvalues
assert np.all(np.isfinite(history))
assert np.array_equal(found, missing)
assert np.max(np.abs(rounded - hidden)) < 1e-12

# %% [markdown]
# Left, the density that is given: it is low around the vacancies (crosses). Middle, the weights that are found. Right,
# the lowest energies: multiplets in the perfect sheet, split by the vacancies.

# %%
a, b = np.array([1.5, np.sqrt(3) / 2]), np.array([1.5, -np.sqrt(3) / 2])
place = np.concatenate([cell @ np.stack([a, b]), cell @ np.stack([a, b]) + [1, 0]])
figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), width_ratios=[1.2, 1.2, 1], layout="constrained")
for ax, colours, name in ((axes[0], target, "density (electrons)"), (axes[1], w, "existence weight")):
    dots = ax.scatter(*place.T, c=colours, s=26, cmap="viridis", edgecolors="0.7", linewidths=0.3)
    ax.plot(*place[missing].T, "x", color="C3", markersize=8)
    ax.set(aspect="equal", xlabel="x (bond lengths)", ylabel="y (bond lengths)")
    figure.colorbar(dots, ax=ax, label=name, shrink=0.8)
axes[2].plot(range(1, k + 1), energies, "o", label="perfect")
axes[2].plot(range(1, k + 1), hidden, "_", markersize=10, mew=2, label="with vacancies")
axes[2].plot(range(1, k + 1), rounded, ".", markersize=4, label="found")
axes[2].set(xlabel="state", ylabel="energy (hopping)")
axes[2].legend(frameon=False)
plt.show()
