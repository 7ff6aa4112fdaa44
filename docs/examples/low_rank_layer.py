# %% [markdown]
# # A low-rank layer: training through the truncation
#
# A layer whose matrix $W$ has rank $r$ needs $r (m + n)$ numbers instead of $m n$. The usual way is to train $W$ and to
# truncate it afterwards, $W_r = U_r S_r V_r^T$. If the loss is a function of $W_r$ from the start, training knows what
# will be discarded. The gradient with respect to $W$ then passes through the truncation, and the kept vectors turn
# towards discarded ones, as in the compression of language models
# ([arXiv:2502.02723](https://arxiv.org/abs/2502.02723), for activations).
#
# `truncax.low_rank_approximation(W, r)` is $W_r$, differentiable. The task is to recognise the handwritten digits that
# scikit-learn ships.

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

images, labels = load_digits(return_X_y=True)
images = images / 16 - 0.3
seen, unseen = (images[:1200], labels[:1200]), (images[1200:], labels[1200:])
width = 64


def initial_parameters(key):
    keys = jax.random.split(key, 3)
    shapes = ((64, width), (width, width), (width, 10))
    return [jax.random.normal(key, shape) / np.sqrt(shape[0]) for key, shape in zip(keys, shapes, strict=True)]


def truncated(W, r):
    return truncax.low_rank_approximation(W, r)


def truncated_in_place(W, r):
    """The same value; in the derivative the singular vectors stay where they are."""
    U, _, Vh = jax.lax.stop_gradient(truncax.tsvd(W, r))
    return U @ (U.T @ W @ Vh.T) @ Vh


def logits(parameters, x, middle):
    first, W, last = parameters
    return jnp.tanh(jnp.tanh(x @ first) @ middle(W)) @ last


def loss(parameters, data, middle):
    x, y = data
    return optax.softmax_cross_entropy_with_integer_labels(logits(parameters, x, middle), y).mean()


def accuracy(parameters, middle, data=unseen):
    x, y = data
    return float(jnp.mean(jnp.argmax(logits(parameters, x, middle), axis=1) == y))


# %% [markdown]
# Full batches, Adam; first without a truncation.


# %%
@partial(jax.jit, static_argnames=("middle", "steps"))
def train(parameters, middle, steps=200):
    optimizer = optax.adam(3e-3)

    def step(carry, _):
        parameters, state = carry
        value, gradient = jax.value_and_grad(loss)(parameters, seen, middle)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(parameters, updates), state), value

    (parameters, _), values = jax.lax.scan(step, (parameters, optimizer.init(parameters)), length=steps)
    return parameters, values


start = initial_parameters(jax.random.key(0))
ranks = (1, 2, 4)
full, _ = train(start, lambda W: W)
best = accuracy(full, lambda W: W)
ways = {"truncated afterwards": [], "vectors held fixed": [], "trained through": []}
for r in ranks:
    through, in_place = partial(truncated, r=r), partial(truncated_in_place, r=r)
    ways["truncated afterwards"].append(accuracy(full, through))
    ways["trained through"].append(accuracy(train(start, through)[0], through))
    ways["vectors held fixed"].append(accuracy(train(start, in_place)[0], in_place))
    print(f"rank {r}:", ", ".join(f"{way} {found[-1]:.3f}" for way, found in ways.items()))
print(f"full rank: {best:.3f}")
for way in ("truncated afterwards", "vectors held fixed"):
    assert sum(ways["trained through"]) > sum(ways[way])

# %% [markdown]
# The layer that was trained through its truncation is far better than the one that was truncated afterwards. Where the
# singular vectors are held fixed in the derivative, which then only sees what is kept, it is far worse at rank 1, and
# about as good from rank 2 on: with a wider layer, 128, held-fixed vectors were ahead by up to 2 per cent at ranks 4
# and 6.
# The gradient is that of the full decomposition, which computes all 64 triplets.


# %%
def truncated_by_jnp(W):
    U, S, Vh = jnp.linalg.svd(W)
    return (U[:, :4] * S[:4]) @ Vh[:4]


def gradient(middle):
    return jax.jit(jax.grad(lambda W: loss([start[0], W, start[2]], seen, middle)))(start[1])


exact = gradient(truncated_by_jnp)
for name, middle in (("truncax", partial(truncated, r=4)), ("vectors held fixed", partial(truncated_in_place, r=4))):
    error = jnp.linalg.norm(gradient(middle) - exact) / jnp.linalg.norm(exact)
    print(f"{name}: relative error of the gradient {error:.1e}")
    assert (error < 1e-11) == (name == "truncax")

# %%
figure, axis = plt.subplots()
for (way, found), style in zip(ways.items(), ("o:", "s--", "D-"), strict=True):
    axis.plot(ranks, found, style, label=way)
axis.axhline(best, color="0.5", linewidth=1, label="full rank, 64")
axis.set(xlabel="rank of the layer", ylabel="part recognised of 597 unseen digits", xticks=ranks, ylim=(0, 1))
axis.legend(loc="lower right")
plt.show()
