"""A chain of a million sites with four impurities, by function: the bound states and what moves them.

Each impurity binds one state, at lambda = sqrt(eps^2 + 4), so that d lambda / d eps = eps / lambda. (Without impurities
the largest eigenvalues of such a chain lie within 6e-11 of each other, relative to the width of the spectrum: no method
that only multiplies by the matrix reaches them, with or without a derivative.)
"""

import jax
import jax.numpy as jnp

import truncax

jax.config.update("jax_enable_x64", True)

SITES = 1_000_000
impurities = jnp.array([200_000, 400_000, 600_000, 800_000])
eps = jnp.array([2.0, 1.6, 1.3, 1.0])


def chain(x, eps):
    hopping = jnp.zeros_like(x).at[1:].add(x[:-1]).at[:-1].add(x[1:])
    return hopping.at[impurities].add(eps * x[impurities])


@jax.jit
def levels(eps):
    operator = truncax.linear_operator(chain, eps, shape=SITES, hermitian=True)
    return truncax.teigh(operator, 4, which="LA").eigenvalues


weights = jnp.array([1.0, 2.0, 3.0, 4.0])
values, gradient = levels(eps), jax.grad(lambda eps: weights @ levels(eps))(eps)
exact = jnp.sqrt(eps**2 + 4)
print("levels:", values, " error:", jnp.max(jnp.abs(values - exact)))
print("gradient:", gradient, " error:", jnp.max(jnp.abs(gradient - weights * eps / exact)))
assert jnp.max(jnp.abs(values - exact)) < 1e-9
assert jnp.max(jnp.abs(gradient - weights * eps / exact)) < 1e-9
