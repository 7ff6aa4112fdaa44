"""The ten largest Hessian eigenvalues of a small network, and the gradient of a sharpness penalty.

The Hessian is never formed: its products are jvp-of-grad, its eigenvectors come as trees of parameters, and the
gradient of the penalty is a tree of parameters as well.
"""

import jax
import jax.flatten_util
import jax.numpy as jnp

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


values, vectors = truncax.teigh(hessian(params), 10, which="LA")
print("largest eigenvalues of the Hessian:", values.round(4))
print("an eigenvector is a tree of parameters:", jax.tree.map(jnp.shape, vectors))


def penalty(params):
    """The sum of the three largest eigenvalues: where they meet, their sum still has a derivative."""
    return jnp.sum(truncax.teigh(hessian(params), 3, which="LA").eigenvalues)


value, gradient = jax.value_and_grad(penalty)(params)
print("penalty:", value.round(4), " norm of its gradient:", jnp.linalg.norm(jax.flatten_util.ravel_pytree(gradient)[0]))

# Against the full Hessian, which a network of this size still allows.
flat, unravel = jax.flatten_util.ravel_pytree(params)
full = lambda v: jax.hessian(lambda v: loss(unravel(v), x, y))(v)  # noqa: E731
expected = jnp.linalg.eigvalsh(full(flat))[::-1]
assert jnp.max(jnp.abs(values - expected[:10])) < 1e-12 * expected[0]
expected = jax.grad(lambda v: jnp.sum(jnp.linalg.eigvalsh(full(v))[-3:]))(flat)
error = jnp.linalg.norm(jax.flatten_util.ravel_pytree(gradient)[0] - expected) / jnp.linalg.norm(expected)
print(f"gradient against the full Hessian: {error:.1e}")
assert error < 1e-10
