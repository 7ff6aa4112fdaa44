# %% [markdown]
# # Positional encodings of a graph
#
# The lowest eigenvectors of the normalised Laplacian $L = I - D^{-1/2} W D^{-1/2}$ place the nodes of a graph: spectral
# clustering and the positional encodings of graph transformers start from them. Here the weights $W$ are to be learned,
# so that the encodings must be differentiated with respect to every edge.
#
# Signs of single vectors are free, and so is the basis where eigenvalues meet. The loss therefore uses the projector
# $QQ^T$ on their span, by `truncax.invariant_subspace`, whose derivative is exact there. The gradient is one number for
# each edge; no n x n array is made.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
from jax.experimental.sparse import BCOO

import truncax

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# Four communities of 100 nodes, with a few edges between them.

# %%
graph = nx.planted_partition_graph(4, 100, p_in=0.08, p_out=0.004, seed=0)
nodes, communities = graph.number_of_nodes(), np.arange(400) // 100
edges = np.array(graph.edges)
weights = jnp.asarray(np.random.default_rng(0).uniform(0.5, 1.5, len(edges)))
i, j = edges.T
indices = jnp.asarray(np.concatenate([edges, edges[:, ::-1], np.stack([np.arange(nodes)] * 2, axis=1)]))


def laplacian(weights):
    degree = jnp.zeros(nodes).at[i].add(weights).at[j].add(weights)
    scaled = weights / jnp.sqrt(degree[i] * degree[j])
    return BCOO((jnp.concatenate([-scaled, -scaled, jnp.ones(nodes)]), indices), shape=(nodes, nodes))


def separation_of(Q):
    """How much of the projector on four vectors lies inside the communities; 4 at most."""
    inside = jnp.zeros((4, 4, 4)).at[communities].add(Q[:, :, None] * Q[:, None, :])
    return jnp.sum(inside**2)


@jax.jit
@jax.value_and_grad
def separation(weights):
    Q, _ = truncax.invariant_subspace(laplacian(weights), 4, which="SA")
    return separation_of(Q)


value, gradient = separation(weights)
within = communities[i] == communities[j]
print(f"{nodes} nodes, {len(edges)} edges, separation {value:.4f}")
print(f"mean gradient within {gradient[within].mean():+.1e}, between {gradient[~within].mean():+.1e}")

# %% [markdown]
# A step uphill makes edges inside of a community heavier and those between lighter, as it should be. Sixty steps, with
# the weights kept above zero:

# %%
learned, history = weights, []
for _ in range(60):
    current, step = separation(learned)
    history.append(current)
    learned = jnp.clip(learned + 3.0 * step / jnp.max(jnp.abs(step)) * 0.02, 0.05)
print(f"separation after 60 steps: {separation(learned)[0]:.4f}")

# %% [markdown]
# Left, how far the four vectors are inside of the communities; right, the nodes at the second and the third
# eigenvector, before (pale) and after. The communities have drawn together.

# %%
before, after = (np.asarray(truncax.teigh(laplacian(w), 4, which="SA").eigenvectors) for w in (weights, learned))
u, _, vh = np.linalg.svd(after.T @ before)  # the basis is free: the one nearest to that before
figure, (left, right) = plt.subplots(1, 2)
left.plot(history)
left.set(xlabel="step", ylabel="separation (4 is complete)")
for community in range(4):
    own = communities == community
    for alpha, Q in ((0.25, before), (1.0, after @ u @ vh)):
        label = f"community {community + 1}" if alpha == 1 else None
        right.scatter(Q[own, 1], Q[own, 2], s=7, alpha=alpha, color=f"C{community}", linewidths=0, label=label)
right.set(xlabel="second eigenvector", ylabel="third eigenvector", xticks=[-0.05, 0, 0.05])
right.legend(fontsize="small", markerscale=2)
plt.show()

# %% [markdown]
# The gradient against that of the full decomposition, which a graph of this size still allows:

# %%
expected = jax.grad(lambda w: separation_of(jnp.linalg.eigh(laplacian(w).todense())[1][:, :4]))(weights)
error = jnp.linalg.norm(gradient - expected) / jnp.linalg.norm(expected)
print(f"gradient against the full decomposition: {error:.1e}")
assert error < 1e-9
assert gradient[within].mean() > 0 > gradient[~within].mean()
assert separation(learned)[0] > value
