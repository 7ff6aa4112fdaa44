"""Spectral positional encodings of a graph, differentiated with respect to its edge weights.

The lowest eigenvectors of the normalised Laplacian I - D^-1/2 W D^-1/2 place the nodes of a graph. They are used here
through the projector on their span, which does not depend on the signs of the vectors, nor on the basis where
eigenvalues meet. The gradient is one number for each edge; no n x n array is made.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO

import truncax

jax.config.update("jax_enable_x64", True)

# Four communities of 100 nodes, a few edges between them.
rng = np.random.default_rng(0)
nodes, communities = 400, np.arange(400) // 100
same = communities[:, None] == communities[None, :]
edges = np.argwhere(np.triu(rng.random((nodes, nodes)) < np.where(same, 0.08, 0.004), 1))
weights = jnp.asarray(rng.uniform(0.5, 1.5, len(edges)))
i, j = edges.T
indices = jnp.asarray(np.concatenate([edges, edges[:, ::-1], np.stack([np.arange(nodes)] * 2, axis=1)]))


def laplacian(weights):
    degree = jnp.zeros(nodes).at[i].add(weights).at[j].add(weights)
    scaled = weights / jnp.sqrt(degree[i] * degree[j])
    return BCOO((jnp.concatenate([-scaled, -scaled, jnp.ones(nodes)]), indices), shape=(nodes, nodes))


def separation(weights):
    """How much of the projector on the four lowest vectors lies inside the communities; 4 at most."""
    Q, _ = truncax.invariant_subspace(laplacian(weights), 4, which="SA")
    inside = jnp.zeros((4, 4, 4)).at[communities].add(Q[:, :, None] * Q[:, None, :])
    return jnp.sum(inside**2)


value, gradient = jax.jit(jax.value_and_grad(separation))(weights)
within = communities[i] == communities[j]
print(f"separation {value:.4f}")
print(f"mean gradient within {gradient[within].mean():+.1e}, between {gradient[~within].mean():+.1e}")


def full(weights):
    Q = jnp.linalg.eigh(laplacian(weights).todense())[1][:, :4]
    inside = jnp.zeros((4, 4, 4)).at[communities].add(Q[:, :, None] * Q[:, None, :])
    return jnp.sum(inside**2)


expected = jax.grad(full)(weights)
error = jnp.linalg.norm(gradient - expected) / jnp.linalg.norm(expected)
print(f"gradient against the full decomposition: {error:.1e}")
assert error < 1e-9
assert gradient[within].mean() > 0 > gradient[~within].mean()
