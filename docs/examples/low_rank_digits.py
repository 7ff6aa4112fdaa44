# %% [markdown]
# # Matrix completion: handwritten digits with missing pixels
#
# Of 1797 handwritten digits (8 x 8 pixels, shipped with scikit-learn) we see a third of the pixels, at random, and
# want the others. The classical way is the nuclear norm: with $D$ the digits, one a row, less the mean digit, find
#
# $$\min_X \tfrac12 \|P(X - D)\|_F^2 + \lambda \|X\|_*, \qquad P \text{ keeps the observed entries.}$$
#
# Let $Y$ be $D$ with its missing pixels filled in by $z$. To minimise over $X$ first leaves a smooth problem in $z$:
#
# $$g(z) = \tfrac12 \|Y\|_F^2 - \tfrac12 \sum_i \max(s_i(Y) - \lambda, 0)^2, \qquad
#   X = \sum_i \max(s_i - \lambda, 0)\, u_i v_i^T.$$
#
# Only singular values above $\lambda$ enter, so `truncax.tsvd` with enough of them is exact. Its gradient drives the
# descent, and its second derivative tells how the validation error changes with $\lambda$. Method: Mazumder, Hastie and
# Tibshirani, *JMLR* 11 (2010), whose SoftImpute is gradient descent on $g$ with step 1.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import truncax

jax.config.update("jax_enable_x64", True)

digits = load_digits().data / 16
dice = np.random.default_rng(0).random(digits.shape)
train, valid, test = dice < 0.32, (dice >= 0.32) & (dice < 0.36), dice >= 0.36
mean = np.sum(digits * train, axis=0) / train.sum(axis=0)
data = digits - mean
observed = np.where(train, data, 0)
k = 40  # at least as many as there are values above lambda: checked below


def filled(z):
    return jnp.where(train, observed, z)


def objective(z, lam):
    s = truncax.tsvd(filled(z), k).S
    return (jnp.sum(filled(z) ** 2) - jnp.sum(jax.nn.relu(s - lam) ** 2)) / 2


def validation_error(z):
    return jnp.sum(jnp.where(valid, z - data, 0) ** 2) / valid.sum()


# %% [markdown]
# Nesterov's descent with step 1 (the gradient has the Lipschitz constant 1) solves one problem. How its solution
# changes with $\lambda$ follows from the implicit function theorem, $dz/d\lambda = -g_{zz}^{-1} g_{z\lambda}$, by
# conjugate gradients with products of the Hessian.

# %%
optimizer = optax.sgd(1.0, momentum=0.85, nesterov=True)


@jax.jit
def complete(lam, z, tol):
    """The missing pixels of the nuclear-norm solution, from the start z, and the number of steps."""

    def step(carry):
        z, state, count, _ = carry
        gradient = jax.grad(objective)(z, lam)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(z, updates), state, count + 1, jnp.linalg.norm(gradient)

    def unfinished(carry):
        return (carry[3] > tol) & (carry[2] < 500)

    return jax.lax.while_loop(unfinished, step, (z, optimizer.init(z), 0, jnp.inf))[::2]


@jax.jit
def hypergradient(lam, z):
    """The derivative of the validation error of the solution with respect to lambda."""
    gradient = partial(jax.grad(objective), lam=lam)

    def hessian_product(v):  # the identity on the observed pixels, which z does not move
        return jnp.where(train, v, jax.jvp(gradient, (z,), (v,))[1])

    adjoint, _ = jax.scipy.sparse.linalg.cg(hessian_product, jax.grad(validation_error)(z), tol=1e-8)
    return -jax.jvp(lambda lam: jnp.vdot(adjoint, jax.grad(objective)(z, lam)), (lam,), (1.0,))[1]


# %% [markdown]
# $\lambda$ is found by descent along that derivative, in its logarithm, to one decimal. A finite difference checks the
# derivative there.

# %%
lam, z, path = 8.0, jnp.zeros(data.shape), []
descent = optax.adam(0.2)
state = descent.init(jnp.log(lam))
for _ in range(8):
    z, steps = complete(lam, z, 1e-4)
    path.append((lam, float(validation_error(z)), float(hypergradient(lam, z))))
    print("lambda = {:.2f}: validation error {:.5f}, slope {:+.2e},".format(*path[-1]), steps, "steps")
    update, state = descent.update(lam * path[-1][2], state)
    lam = float(lam * jnp.exp(update))
lam = round(path[-1][0], 1)
z, steps = complete(lam, z, 1e-8)
slope, h = hypergradient(lam, z), 1e-3
above, below = (validation_error(complete(lam + d, z, 1e-8)[0]) for d in (h, -h))
slope_defect = float(abs((above - below) / (2 * h) / slope - 1))
print(f"slope against the finite difference: {slope_defect:.1e}")

# %% [markdown]
# The duality gap certifies the solution: every $R$ on the observed entries with $\|R\|_2 \le \lambda$ has
# $\langle R, D \rangle - \|R\|_F^2 / 2$ below the minimum.

# %%
U, S, Vh = truncax.tsvd(filled(z), k)
assert S[-1] < lam  # no value above lambda was left out
shrunk = jax.nn.relu(S - lam)
X = U * shrunk @ Vh
R = jnp.where(train, data - X, 0)
R = R * jnp.minimum(1, lam / truncax.tsvd(R, 1).S[0])
primal = jnp.sum((X - data)[train] ** 2) / 2 + lam * jnp.sum(shrunk)
gap = float((primal - jnp.vdot(R, data) + jnp.sum(R**2) / 2) / primal)
print(f"rank {jnp.sum(shrunk > 0)}, relative duality gap {gap:.1e}")


# %% [markdown]
# Against the mean digit, and against the truncated SVD of the matrix with the mean in its missing entries, at the rank
# that is best on the validation entries.


# %%
def rms(x, where):
    return float(np.sqrt(np.mean((x - data)[where] ** 2)))


u, s, vh = np.linalg.svd(observed, full_matrices=False)
truncated = [u[:, :r] * s[:r] @ vh[:r] for r in range(1, 31)]
truncated = min(truncated, key=lambda x: rms(x, valid))
errors = {"mean": rms(0 * data, test), "truncated SVD": rms(truncated, test), "nuclear norm": rms(X, test)}
print("error of the pixels that nobody saw:", {name: round(error, 4) for name, error in errors.items()})
assert slope_defect < 1e-3
assert 0 <= gap < 1e-8
assert errors["nuclear norm"] < errors["truncated SVD"] < errors["mean"]

# %% [markdown]
# From top to bottom: the digits, the pixels seen, the truncated SVD, the nuclear norm.

# %%
seen = np.where(train, digits, np.nan)
rows = {"digit": digits, "seen": seen, "truncated SVD": mean + truncated, "nuclear norm": mean + X}
shown = range(10, 20)
figure, axes = plt.subplots(len(rows), len(shown), figsize=(8, 3.6), layout="constrained")
colours = plt.get_cmap("gray_r").with_extremes(bad="#cfe3f5")
for line, (name, images) in zip(axes, rows.items(), strict=True):
    for ax, i in zip(line, shown, strict=True):
        ax.imshow(images[i].reshape(8, 8), cmap=colours, vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()

# %% [markdown]
# The validation error along the descent in $\lambda$. The lines are the derivatives by the implicit function theorem:
# they are tangent to the curve that the points lie on.

# %%
figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for n, (x, y, derivative) in enumerate(path):
    reach = np.array([-0.35, 0.35])
    ax.plot(x + reach, y + derivative * reach, color="C1", lw=2, label=None if n else "derivative")
x, y, _ = np.transpose(path)
ax.plot(x, y, "o", color="C0", label="solution")
ax.axhline(rms(truncated, valid) ** 2, ls=":", color="gray", label="truncated SVD")
ax.set(xlabel=r"$\lambda$", ylabel="mean squared validation error")
ax.legend(frameon=False)
plt.show()
