# %% [markdown]
# # Principal components of a sparse matrix
#
# Centring makes a sparse matrix dense: $A - 1 \mu^T$ has no zeros left. As an operator it is the difference of a sparse
# matrix and one of rank 1, so that products cost what the entries of $A$ cost. `truncax.tsvd` gives the components; a
# function of the singular values such as the explained variance has an exact gradient from it. The gradient with respect
# to the entries runs through the mean as well, and has the pattern of the matrix.

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
# Counts of 800 words in 5000 texts, one entry in a hundred not zero, with two topics that some texts share.

# %%
samples, features = 5000, 800
counts = scipy.sparse.random_array((samples, features), density=0.01, rng=np.random.default_rng(0)).tocoo()
first = np.outer(np.arange(samples) % 3 == 0, np.arange(features) % 7 == 0)
second = np.outer(np.arange(samples) % 5 == 0, np.arange(features) % 11 == 0)
data = jnp.asarray(counts.data * (1 + 3 * (first + 0.5 * second)[counts.row, counts.col]))
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
# The two components of the texts (left), and the gradient of the explained variance by kind of word (right): more weight
# on words of the first topic, in texts that have it, would explain more.

# %%
kinds = {
    "no topic": ~(first | second),
    "second topic": second & ~first,
    "first topic": first,
}
figure, (left, right) = plt.subplots(1, 2)
rows = np.arange(samples)
for name, own in (
    ("no topic", (rows % 3 > 0) & (rows % 5 > 0)),
    ("second topic", (rows % 5 == 0) & (rows % 3 > 0)),
    ("first topic", rows % 3 == 0),
):
    left.scatter(*(U[own] * S).T, s=4, alpha=0.5, linewidths=0, label=name)
left.set(xlabel="first component", ylabel="second component")
left.legend(markerscale=3, fontsize="small", title="text has")
for name, mask in kinds.items():
    own = mask[counts.row, counts.col]
    right.hist(1e3 * np.asarray(gradient)[own], bins=60, histtype="step", linewidth=1.6, density=True, label=name)
right.set(xlabel="gradient, in thousandths", ylabel="density of the entries", yscale="log")
right.legend(fontsize="small", title="word, in a text, of")
plt.show()

# %% [markdown]
# Against the dense decomposition; the gradient of $\sum s^2$ is $2 U S V^T$, with the mean taken from each column.

# %%
dense = np.zeros((samples, features))
dense[counts.row, counts.col] = data
dense -= dense.mean(axis=0)
u, s, vh = np.linalg.svd(dense, full_matrices=False)
expected = 2 / (samples - 1) * (u[:, :2] * s[:2] @ vh[:2])
expected = (expected - expected.mean(axis=0))[counts.row, counts.col]
errors = np.max(np.abs(S - s[:2])) / s[0], np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
print(f"against the dense decomposition: values {errors[0]:.1e}, gradient {errors[1]:.1e}")
assert max(errors) < 1e-10
