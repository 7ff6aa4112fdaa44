# %% [markdown]
# # Protein motion: which springs make a protein close
#
# Adenylate kinase closes over its ligands: two lids move by up to 20 Å. An elastic network, springs between nearby
# $C_\alpha$ atoms of the *open* structure, tells in advance how: its few lowest modes contain most of the way to
# the *closed* one. How much they contain depends on the law of the springs, which is fitted here by gradient.
#
# With the modes $Q$ and the displacement $d$, $|d| = 1$, the loss is the part of $d$ that the modes hold,
# $|Q^T d|^2 = d^T Q Q^T d$. It depends on the projector alone, so that `truncax.invariant_subspace` differentiates it
# exactly, although the first six eigenvalues are all zero: an elastic network moves and turns freely. Nine modes out
# of 642 are computed.
#
# The network is the ANM of Atilgan et al., Biophys. J. 80 (2001) 505; the overlap of modes with an observed change is
# that of Tama and Sanejouand, Protein Eng. 14 (2001) 1. Models that design ligands for a pocket that moves, such as
# Apo2Mol ([arXiv:2511.14559](https://arxiv.org/abs/2511.14559)), are a reason to want such motions with a gradient.

# %%
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from scipy.spatial.transform import Rotation

import truncax

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## Two structures
#
# The $C_\alpha$ atoms of the entries 4AKE (open) and 1AKE (closed) of the Protein Data Bank. The other structure is
# superposed on the one whose network is built. What is left after the best superposition has no part in translations
# and rotations, so that the six zero modes may stay in $Q$.

# %%
here = Path(__file__).parent if "__file__" in globals() else Path()
table = np.genfromtxt(here / "data" / "adenylate_kinase.csv", delimiter=",", usecols=range(2, 8))
opened, closed = (x - x.mean(axis=0) for x in (table[:, :3], table[:, 3:]))
atoms, modes = len(table), 3


def network(start, end, cutoff=15.0):
    """The springs of ``start``, and where ``end`` lies from there."""
    rotation, _ = Rotation.align_vectors(start, end)
    i, j = np.nonzero(np.triu(np.linalg.norm(start[:, None] - start, axis=-1) < cutoff, k=1))
    bond = start[i] - start[j]
    length = np.linalg.norm(bond, axis=1)
    return {"i": i, "j": j, "unit": bond / length[:, None], "length": length, "change": rotation.apply(end) - start}


from_open, from_closed = network(opened, closed), network(closed, opened)
rmsd = np.sqrt(np.mean(np.sum(from_open["change"] ** 2, axis=1)))
print(f"{atoms} atoms, {len(from_open['i'])} springs, RMSD between the structures {rmsd:.2f} Å")

# %% [markdown]
# ## The network and its modes
#
# The standard ANM has equal springs up to 15 Å. The law that is fitted has two parameters: springs fall off with an
# exponent $p$, and those between residues at most four apart along the chain, which hold the backbone and its helices,
# are $e^w$ times as strong. At $p = w = 0$ it is the standard ANM.


# %%
def springs(law, net):
    exponent, backbone = law
    return jnp.exp(backbone * (net["j"] - net["i"] <= 4)) * (net["length"] / 8.0) ** -exponent


def hessian(springs, net):
    block = -springs[:, None, None] * net["unit"][:, :, None] * net["unit"][:, None, :]
    i, j, diagonal = net["i"], net["j"], np.arange(atoms)
    blocks = jnp.zeros((atoms, atoms, 3, 3)).at[i, j].set(block).at[j, i].set(block)
    blocks = blocks.at[diagonal, diagonal].set(-blocks.sum(axis=1))
    return blocks.transpose(0, 2, 1, 3).reshape(3 * atoms, 3 * atoms)


def overlap(springs, net):
    """The part of the change of structure that lies in the lowest modes: 1 if they contain it."""
    d = jnp.ravel(net["change"]) / jnp.linalg.norm(net["change"])
    Q, _ = truncax.invariant_subspace(hessian(springs, net), 6 + modes, sigma=-0.01)
    return jnp.sum((Q.T @ d) ** 2)


@jax.jit
def low_modes(law):
    return truncax.teigh(hessian(springs(law, from_open), from_open), 6 + modes, sigma=-0.01)


standard = jnp.zeros(2)
values, vectors = low_modes(standard)
change = from_open["change"].ravel()
parts = np.abs(vectors.T @ change) / np.linalg.norm(change)
print(f"six zero modes: largest {jnp.max(jnp.abs(values[:6])):.0e}, part of the change in them {parts[:6].max():.0e}")
print("lowest modes:", values[6:], "overlaps:", parts[6:])

# ProDy 2.6.1, ANM with cutoff 15 of the same coordinates.
prody_values = [0.030609495372, 0.077170563076, 0.163352027994]
prody_parts = [0.798601380647, 0.276042555763, 0.106748814407]
assert np.max(np.abs(values[:6])) < 1e-11 < 1e-2 < values[6]
assert np.max(parts[:6]) < 1e-8
np.testing.assert_allclose(values[6:], prody_values, rtol=1e-9)
np.testing.assert_allclose(parts[6:], prody_parts, atol=1e-8)

# %% [markdown]
# ## The gradient
#
# One reverse pass gives the derivative with respect to each of the 4515 springs. It is checked with the full
# decomposition of all 642 modes, and along the change of the law with a finite difference.

# %%
one = jnp.ones(len(from_open["i"]))
gradient = jax.jit(jax.grad(overlap))(one, from_open)


def full(springs, net):
    d = jnp.ravel(net["change"]) / jnp.linalg.norm(net["change"])
    Q = jnp.linalg.eigh(hessian(springs, net))[1][:, : 6 + modes]
    return jnp.sum((Q.T @ d) ** 2)


exact = jax.jit(jax.grad(full))(one, from_open)
error = jnp.linalg.norm(gradient - exact) / jnp.linalg.norm(exact)
print(f"gradient against the full decomposition: {error:.0e}")
assert error < 1e-9

# %% [markdown]
# ## The fit
#
# Adam, from the standard ANM. Only the motion from open to closed is fitted; the motion back, from the network of the
# closed structure, is left to test whether the law has learned more than one displacement.


# %%
@jax.jit
def quality(law):
    return overlap(springs(law, from_open), from_open)


@jax.jit
def held_out(law):
    return overlap(springs(law, from_closed), from_closed)


optimizer = optax.adam(0.2)


@jax.jit
def step(law, state):
    value, slope = jax.value_and_grad(quality)(law)
    updates, state = optimizer.update(-slope, state)
    return optax.apply_updates(law, updates), state, value


law, state, history = standard, optimizer.init(standard), []
for _ in range(40):
    law, state, value = step(law, state)
    history.append(float(value))

h = 1e-4
slope, direction = jax.jit(jax.grad(quality))(standard), jnp.array([1.0, 0.0])
difference = (quality(standard + h * direction) - quality(standard - h * direction)) / (2 * h)
print(f"d overlap / d p at the start: {slope[0]:.8f}, by difference {difference:.8f}")
before, after = quality(standard), quality(law)
test_before, test_after = held_out(standard), held_out(law)
print(f"fitted law: exponent {law[0]:.1f}, backbone {jnp.exp(law[1]):.0f} times as strong")
print(f"overlap, open to closed (fitted):   {before:.3f} -> {after:.3f}")
print(f"overlap, closed to open (not used): {test_before:.3f} -> {test_after:.3f}")
assert abs(slope[0] - difference) < 1e-6
assert abs(before - np.sum(np.square(prody_parts))) < 1e-8
assert after > 0.88
assert test_after > 0.6

# %% [markdown]
# ## What the modes see
#
# Left, the chain of the open structure, seen along its thinnest direction, with the observed change and the part of it
# that the three lowest modes of the fitted network hold. Right, the length of both for each residue. The two lids, the
# AMP-binding domain (residues 30 to 59) and the LID (122 to 159), close over the core.

# %%
size = np.linalg.norm(change)


def within_modes(law):
    Q = low_modes(law).eigenvectors
    return np.asarray(Q @ (Q.T @ change)).reshape(atoms, 3)


standard_motion, fitted_motion = within_modes(standard), within_modes(law)
plane = np.linalg.svd(opened, full_matrices=False)[2][:2].T
residue = np.arange(1, atoms + 1)
lids = {"AMP-binding": (30, 59, "tab:green"), "LID": (122, 159, "tab:purple")}

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), width_ratios=[1, 1.25], layout="constrained")
x, y = (opened @ plane).T
left.plot(x, y, color="0.75", lw=2, zorder=0)
for name, (first, last, color) in lids.items():
    left.plot(x[first - 1 : last], y[first - 1 : last], color=color, lw=3, alpha=0.5, label=name, zorder=0)
    right.axvspan(first, last, color=color, alpha=0.12, lw=0)
arrows = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.004}
for motion, color, label in ((change.reshape(-1, 3), "0.2", "observed"), (fitted_motion, "tab:orange", "in the modes")):
    u, v = (motion @ plane).T
    left.quiver(x[::3], y[::3], u[::3], v[::3], color=color, label=label, **arrows)
left.set(aspect="equal", xlabel="first principal axis (Å)", ylabel="second principal axis (Å)", title="open to closed")
left.legend(frameon=False, fontsize=8)
right.plot(residue, np.linalg.norm(change.reshape(-1, 3), axis=1), color="0.2", label="observed")
right.plot(residue, np.linalg.norm(standard_motion, axis=1), color="tab:blue", label="standard network")
right.plot(residue, np.linalg.norm(fitted_motion, axis=1), color="tab:orange", label="fitted network")
right.set(xlabel="residue", ylabel="displacement (Å)", title="part in the three lowest modes", xlim=(1, atoms))
right.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# Left, the overlap before and after the fit. Right, the gradient at the standard network, summed over the springs of
# each residue: where stronger springs (above zero) or weaker ones (below) would bring the modes closer to the change.

# %%
by_residue = np.zeros(atoms)
np.add.at(by_residue, from_open["i"], gradient)
np.add.at(by_residue, from_open["j"], gradient)

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4), width_ratios=[1, 1.9], layout="constrained")
places = np.arange(2)
for shift, color, label, heights in (
    (-0.18, "tab:blue", "standard", (before, test_before)),
    (0.18, "tab:orange", "fitted", (after, test_after)),
):
    left.bar_label(left.bar(places + shift, heights, 0.34, color=color, label=label), fmt="%.2f", fontsize=8)
left.set_xticks(places, ["open to closed\n(fitted)", "closed to open\n(held out)"])
left.set(ylim=(0, 1.12), ylabel="overlap of three modes")
left.legend(frameon=False, fontsize=8)
for first, last, color in lids.values():
    right.axvspan(first, last, color=color, alpha=0.12, lw=0)
right.axhline(0, color="0.7", lw=0.8)
right.plot(residue, 1000 * by_residue, color="0.2", lw=1.2)
right.set(xlabel="residue", ylabel="d overlap / d ln spring (1/1000)", xlim=(1, atoms))
plt.show()
