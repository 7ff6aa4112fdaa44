"""Principal components of a sparse matrix, centred without making it dense: A - 1 mean^T.

The centred matrix is an operator, the difference of a sparse one and one of rank 1. The gradient with respect to the
entries runs through the mean as well and has the pattern of the matrix.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental.sparse import BCOO

import truncax
from truncax.operators import as_operator, low_rank

jax.config.update("jax_enable_x64", True)

samples, features = 5000, 800
counts = scipy.sparse.random_array((samples, features), density=0.01, rng=np.random.default_rng(0)).tocoo()
# Two topics that some of the samples share.
topic = np.outer(np.arange(samples) % 3 == 0, np.arange(features) % 7 == 0) + 0.5 * np.outer(
    np.arange(samples) % 5 == 0, np.arange(features) % 11 == 0
)
data = jnp.asarray(counts.data * (1 + 3 * topic[counts.row, counts.col]))
indices = jnp.asarray(np.stack([counts.row, counts.col], axis=1))


def centred(data):
    mean = jnp.zeros(features).at[indices[:, 1]].add(data) / samples
    sparse = BCOO((data, indices), shape=(samples, features))
    return as_operator(sparse) - low_rank(jnp.ones(samples), mean)


def explained_variance(data):
    return jnp.sum(truncax.tsvd(centred(data), 2).S ** 2) / (samples - 1)


scores, S, components = truncax.tsvd(centred(data), 2)
value, gradient = jax.value_and_grad(explained_variance)(data)
print("variance of the first two components:", S**2 / (samples - 1), " their sum:", value)
print("entries of the gradient:", gradient.shape, " entries of the dense matrix:", samples * features)

dense = np.zeros((samples, features))
dense[counts.row, counts.col] = data
dense -= dense.mean(axis=0)
u, s, vh = np.linalg.svd(dense, full_matrices=False)
expected = 2 / (samples - 1) * (u[:, :2] * s[:2] @ vh[:2])
expected = (expected - expected.mean(axis=0))[counts.row, counts.col]
errors = np.max(np.abs(S - s[:2])) / s[0], np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
print(f"against the dense decomposition: values {errors[0]:.1e}, gradient {errors[1]:.1e}")
assert max(errors) < 1e-10
