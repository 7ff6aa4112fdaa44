# %% [markdown]
# # Sharpness of a network
#
# The largest eigenvalues of the Hessian of a loss say how steep its minimum is. Here they are a penalty: the sum of the
# three largest is minimised together with the loss. `truncax.teigh` is exact for it: a sum of eigenvalues has a
# derivative also where they meet, as long as the cut is in a gap.
#
# The Hessian is never formed. Its products are `jvp` of `grad`, its eigenvectors come as trees of parameters, and so
# does the gradient of the penalty, which a third derivative of the loss is part of.

# %%
import jax
import jax.flatten_util
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

import truncax

jax.config.update("jax_enable_x64", True)

keys = jax.random.split(jax.random.key(0), 6)
params = {
    "hidden": {"w": jax.random.normal(keys[0], (4, 24)), "b": jax.random.normal(keys[1], (24,))},
    "out": {"w": jax.random.normal(keys[2], (24, 2)) / 5, "b": jax.random.normal(keys[3], (2,))},
}
x, y = jax.random.normal(keys[4], (200, 4)), jax.random.normal(keys[5], (200, 2))


def loss(params, x, y):
    hidden = jnp.tanh(x @ params["hidden"]["w"] + params["hidden"]["b"])
    return jnp.mean((hidden @ params["out"]["w"] + params["out"]["b"] - y) ** 2)


def hessian_product(v, params, x, y):
    # Defined once, with its arrays as arguments: every call below uses the same compiled program.
    return jax.jvp(lambda p: jax.grad(loss)(p, x, y), (params,), (v,))[1]


def hessian(params):
    return truncax.linear_operator(hessian_product, params, x, y, like=params, hermitian=True)


def penalty(params):
    return jnp.sum(truncax.teigh(hessian(params), 3, which="LA").eigenvalues)


values, vectors = truncax.teigh(hessian(params), 10, which="LA")
value, gradient = jax.value_and_grad(penalty)(params)
print("largest eigenvalues of the Hessian:", values.round(4))
print("an eigenvector is a tree of parameters:", jax.tree.map(jnp.shape, vectors))
print(f"penalty: {value:.4f}")

# %% [markdown]
# Training with and without the penalty, by Adam, the same two hundred steps.


# %%
def train(weight, steps=200):
    optimizer = optax.adam(0.02)

    @jax.jit
    def step(params, state):
        gradient = jax.grad(lambda p: loss(p, x, y) + weight * penalty(p))(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state

    current, state, history = params, optimizer.init(params), []
    for n in range(steps):
        if n % 10 == 0:
            history.append((n, loss(current, x, y), measured(current)))
        current, state = step(current, state)
    return jnp.array(history).T


measured = jax.jit(penalty)
runs = {f"penalty x {weight}": train(weight) for weight in (0.0, 0.01, 0.05)}
for name, (_, losses, sharpness) in runs.items():
    print(f"{name}: loss {losses[-1]:.4f}, three largest eigenvalues together {sharpness[-1]:.3f}")

# %% [markdown]
# Without the penalty the sharpness grows (right). A light one costs nothing of the loss (left) and takes a third of the
# sharpness away; a heavy one is paid for.

# %%
figure, axes = plt.subplots(1, 2)
for name, (steps, losses, sharpness) in runs.items():
    axes[0].plot(steps, losses, label=name)
    axes[1].plot(steps, sharpness, label=name)
axes[0].set(xlabel="step", ylabel="mean squared error")
axes[1].set(xlabel="step", ylabel="three largest eigenvalues, sum", ylim=(0, None))
axes[0].legend()
plt.show()

# %% [markdown]
# Against the full Hessian, which a network of this size still allows:

# %%
flat, unravel = jax.flatten_util.ravel_pytree(params)


def full(v):
    return jax.hessian(lambda v: loss(unravel(v), x, y))(v)


expected = jnp.linalg.eigvalsh(full(flat))[::-1]
assert jnp.max(jnp.abs(values - expected[:10])) < 1e-12 * expected[0]
expected = jax.grad(lambda v: jnp.sum(jnp.linalg.eigvalsh(full(v))[-3:]))(flat)
error = jnp.linalg.norm(jax.flatten_util.ravel_pytree(gradient)[0] - expected) / jnp.linalg.norm(expected)
print(f"gradient against the full Hessian: {error:.1e}")
assert error < 1e-10
plain, strongest = runs["penalty x 0.0"], runs["penalty x 0.05"]
assert strongest[2, -1] < plain[2, -1] / 2
