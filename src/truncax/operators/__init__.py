"""What ``a`` may be: everything that multiplies a block of vectors, as a JAX pytree."""
