# %% [markdown]
# # Principal components of a sparse matrix
#
# Centring makes a sparse matrix dense: $A - 1 \mu^T$ has no zeros left. As an operator it is the difference of a sparse
# matrix and one of rank 1, so that products cost what the entries of $A$ cost. `truncax.tsvd` gives the components; a
# function of the singular values such as the explained variance has an exact gradient from it. The gradient with
# respect to the entries runs through the mean as well, and has the pattern of the matrix.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse
from jax.experimental.sparse import BCOO

import truncax
from truncax.operators import as_operator, low_rank

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# Counts of 800 words in 5000 texts, two entries in a hundred not zero. A third of the texts have a first topic, a fifth
# a second one, whose words they use more often.

# %%
samples, features = 5000, 800
rows, columns = np.arange(samples), np.arange(features)
one, two = rows % 3 == 0, rows % 5 == 0
texts = {"no topic": ~one & ~two, "first topic": one & ~two, "second topic": two & ~one, "both topics": one & two}
words = {
    "no topic": columns % 7 * (columns % 11) > 0,
    "first topic": columns % 7 == 0,
    "second topic": columns % 11 == 0,
}
chance = 0.01 + 0.12 * np.outer(one, words["first topic"]) + 0.1 * np.outer(two, words["second topic"])
counts = scipy.sparse.coo_array(np.random.default_rng(0).poisson(chance))
data = jnp.asarray(counts.data, jnp.float64)
indices = jnp.asarray(np.stack([counts.row, counts.col], axis=1))


def centred(data):
    mean = jnp.zeros(features).at[indices[:, 1]].add(data) / samples
    sparse = BCOO((data, indices), shape=(samples, features))
    return as_operator(sparse) - low_rank(jnp.ones(samples), mean)


def explained_variance(data):
    return jnp.sum(truncax.tsvd(centred(data), 2).S ** 2) / (samples - 1)


U, S, Vh = truncax.tsvd(centred(data), 2)
value, gradient = jax.value_and_grad(explained_variance)(data)
print(f"variance of the two components {S**2 / (samples - 1)}, together {value:.4f}")
print(f"numbers in the gradient {gradient.size}, in the dense matrix {samples * features}")

# %% [markdown]
# The two components of the texts (left), and the mean gradient of the explained variance by kind of text and of word
# (right): one more word of a topic in a text that has it would explain more, in a text without any topic less.

# %%
figure, (left, right) = plt.subplots(1, 2)
for name, own in texts.items():
    left.scatter(*(U[own] * S).T, s=4, alpha=0.4, linewidths=0, label=name)
left.set(xlabel="first component", ylabel="second component")
left.legend(markerscale=3, fontsize="small", title="text has")
means = [[1e6 * np.mean(gradient[texts[t][counts.row] & words[w][counts.col]]) for w in words] for t in texts]
largest = np.max(np.abs(means))
right.imshow(means, cmap="RdBu_r", vmin=-2 * largest, vmax=2 * largest)
for (row, column), mean in np.ndenumerate(means):
    right.text(column, row, f"{mean:+.0f}", ha="center", va="center")
right.set_xticks(range(3), words)
right.set_yticks(range(4), texts)
right.set(xlabel="word of", title="mean gradient, in millionths", aspect="auto")
right.grid(visible=False)
plt.show()

# %% [markdown]
# Against the dense decomposition; the gradient of $\sum s^2$ is $2 U S V^T$, with the mean taken from each column.

# %%
dense = np.zeros((samples, features))
dense[counts.row, counts.col] = counts.data
dense -= dense.mean(axis=0)
u, s, vh = np.linalg.svd(dense, full_matrices=False)
expected = 2 / (samples - 1) * (u[:, :2] * s[:2] @ vh[:2])
expected = (expected - expected.mean(axis=0))[counts.row, counts.col]
errors = np.max(np.abs(S - s[:2])) / s[0], np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
print(f"against the dense decomposition: values {errors[0]:.1e}, gradient {errors[1]:.1e}")
assert max(errors) < 1e-10
