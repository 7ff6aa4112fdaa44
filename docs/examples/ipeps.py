# %% [markdown]
# # The Heisenberg antiferromagnet by a tensor network
#
# Spins 1/2 on the infinite square lattice, $H = \sum_{\langle ij \rangle} \mathbf S_i \cdot \mathbf S_j$. The ansatz is
# an infinite projected entangled-pair state (iPEPS): one tensor $A$ with bonds of dimension $D = 2$, the same on every
# site after a turn of the spins of one sublattice. Its energy needs the surroundings of two sites, which the corner
# transfer matrix renormalization group builds: the corner grows by a row and a column in each step and is cut back to
# its $\chi$ largest eigenvalues. The gradient of the energy goes through every one of these truncations.
#
# What follows from a corner depends on the kept subspace and not on a basis inside it. That is what
# `truncax.invariant_subspace` differentiates, exactly at the multiplets $\pm\lambda$, $\lambda, \lambda$ of a corner
# too.
#
# Sources: H. Liao, J. Liu, L. Wang, T. Xiang, *Phys. Rev. X* 9, 031041 (2019), for iPEPS by automatic differentiation;
# T. Nishino and K. Okunishi, *J. Phys. Soc. Jpn.* 65, 891 (1996), for the corners; A. Sandvik, *Phys. Rev. B* 56, 11678
# (1997), for the exact energy by quantum Monte Carlo, $-0.669437(5)$; J. Hasik's published states of the J1-J2 model
# (single site, $C_{4v}$, [j1j2_ipeps_states](https://github.com/jurajHasik/j1j2_ipeps_states)) for the best energy of
# this ansatz, $-0.660231$.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import truncax

jax.config.update("jax_enable_x64", True)

D, CHI, STEPS = 2, 19, 24  # 19 values of the optimised corner end a multiplet, 16 or 20 would split one
MONTE_CARLO, PUBLISHED = -0.669437, -0.660231

sx, sz = np.array([[0, 0.5], [0.5, 0]]), np.diag([0.5, -0.5])
sy_sy = -np.kron([[0, 0.5], [-0.5, 0]], [[0, 0.5], [-0.5, 0]])
# S.S with one of its two spins turned about the y axis.
bond = (sy_sy - np.kron(sx, sx) - np.kron(sz, sz)).reshape(2, 2, 2, 2)


def symmetric(A):
    """``A[s, u, l, d, r]`` averaged over turns and reflections of the lattice."""
    A = A + A.transpose(0, 1, 4, 3, 2)
    A = A + A.transpose(0, 3, 4, 1, 2)
    A = A + A.transpose(0, 2, 3, 4, 1)
    return A / jnp.linalg.norm(A)


def double_layer(A):
    a = jnp.einsum("suldr,tULDR->stuUlLdDrR", A, A)
    return a.reshape(2, 2, D * D, D * D, D * D, D * D)


def enlarge(C, T, a):
    n = len(C) * D * D
    corner = jnp.einsum("ab,beu,afl,uldr->fder", C, T, T, a, optimize=True)
    edge = jnp.einsum("beu,uldr->blerd", T, a)
    return corner.reshape(n, n), edge.reshape(n, n, D * D)


def step(C, T, a, chi):
    corner, edge = enlarge(C, T, a)
    Q, C = truncax.invariant_subspace(corner, min(chi, len(corner)))
    T = jnp.einsum("xi,xyv,yj->ijv", Q, edge, Q, optimize=True)
    return C / jnp.linalg.norm(C), T / jnp.linalg.norm(T)


def environment(a, chi):
    trace = jnp.eye(D).reshape(-1)
    C, T = jnp.einsum("uldr,u,l->dr", a, trace, trace), jnp.einsum("uldr,u->lrd", a, trace)
    while len(C) < chi:
        C, T = step(C, T, a, chi)
    body = jax.checkpoint(lambda environment, _: (step(*environment, a, chi), None))
    return jax.lax.scan(body, (C, T), length=STEPS)[0]


def density_matrix(A, chi=CHI):
    """Of two neighbours, in the middle of the lattice."""
    A = double_layer(symmetric(A))
    C, T = environment(jnp.einsum("ssuldr->uldr", A), chi)
    half = jnp.einsum("ab,beu,afl,fg,ghd,stuldr->ehrst", C, T, T, C, T, A, optimize=True)
    rho = jnp.einsum("ehrst,ehrxy->sxty", half, half)
    return rho / jnp.einsum("sxsx->", rho)


def energy(A, chi=CHI):
    return 2 * jnp.sum(bond * density_matrix(A, chi))


def magnetisation(A):
    rho = jnp.einsum("sxtx->st", density_matrix(A))
    return jnp.hypot(jnp.sum(rho * sx), jnp.sum(rho * sz))


# %% [markdown]
# ## The gradient
#
# At a random tensor near the state with all (turned) spins up, against a difference of fourth order.

# %%
up = jnp.zeros((2, D, D, D, D)).at[0, 0, 0, 0, 0].set(1.0)
A = symmetric(up + 0.3 * jax.random.normal(jax.random.key(0), up.shape))
direction = jax.random.normal(jax.random.key(9), A.shape)
value, gradient = jax.jit(jax.value_and_grad(energy))(A)
E, h = jax.jit(energy), 1e-3
difference = (
    8 * (E(A + h * direction) - E(A - h * direction)) - E(A + 2 * h * direction) + E(A - 2 * h * direction)
) / 12
slope_error = abs(float(jnp.vdot(gradient, direction) / (difference / h) - 1))
print(f"slope against the difference: {slope_error:.0e}")
assert slope_error < 1e-7

# %% [markdown]
# ## The ground state
#
# L-BFGS with its line search, from there.

# %%
optimizer = optax.lbfgs()


@jax.jit
def update(A, state):
    value, gradient = optax.value_and_grad_from_state(energy)(A, state=state)
    change, state = optimizer.update(gradient, state, A, value=value, grad=gradient, value_fn=energy)
    return optax.apply_updates(A, change), state, value, jnp.linalg.norm(gradient)


state, history = optimizer.init(A), []
for _ in range(40):
    A, state, *found = update(A, state)
    history.append([float(x) for x in found])
    if history[-1][1] < 1e-6:
        break
value, norm = history[-1]
larger = float(jax.jit(energy, static_argnums=1)(A, 24))
print(f"{len(history)} steps: energy {value:.7f}, gradient {norm:.0e}, magnetisation {magnetisation(A):.4f}")
print(f"the same tensor at chi = 24: {larger:.7f}; Monte Carlo {MONTE_CARLO}")
assert abs(value - PUBLISHED) < 1e-6
assert larger > MONTE_CARLO
assert abs(larger - value) < 1e-5

# %% [markdown]
# Left, the energy above the exact one: what remains is the price of $D = 2$. Right, the size of the eigenvalues of the
# corner of the last tensor: they come in multiplets, and the cut is at the end of one.

# %%
a = jnp.einsum("ssuldr->uldr", double_layer(symmetric(A)))
spectrum = np.abs(np.linalg.eigvalsh(enlarge(*environment(a, CHI), a)[0]))
spectrum = np.sort(spectrum)[::-1][:40] / spectrum.max()
assert spectrum[CHI] < 0.5 * spectrum[CHI - 1]

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
left.semilogy(np.array(history)[:, 0] - MONTE_CARLO, "o-", markersize=4, label="iPEPS, D = 2")
left.axhline(PUBLISHED - MONTE_CARLO, color="grey", ls="--", label="published, D = 2")
left.set(xlabel="step of L-BFGS", ylabel="energy per site above the exact one")
left.legend(frameon=False)
index = np.arange(1, 41)
right.semilogy(index[:CHI], spectrum[:CHI], "o", markersize=5, label="kept")
right.semilogy(index[CHI:], spectrum[CHI:], "o", markersize=5, color="0.7", label="discarded")
right.set(xlabel="number", ylabel="eigenvalue of the corner / largest")
right.legend(frameon=False)
plt.show()
