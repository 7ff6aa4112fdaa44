"""Calls of NumPy functions on the host, with every bit.

Under ``jax.enable_x64`` as a context the thread that calls back does not know of it, and JAX hands 64-bit numbers over
in 32 bits. So they travel as 32-bit words.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .devices import varying_with


def call_on_host(function: Callable[..., Any], result: Any, *operands: Any) -> Any:
    """``function(*operands)``, a pytree of arrays like the ``jax.ShapeDtypeStruct`` of ``result``.

    The operands are pytrees, and NumPy arrays to the function. One after the other under vmap. No derivative.
    """
    dtypes = jax.tree.map(lambda x: x.dtype, operands)

    def call(*words: Any) -> Any:
        found = function(*jax.tree.map(_host_numbers, words, dtypes))
        return jax.tree.map(lambda x, like: _host_words(np.asarray(x, like.dtype)), found, result)

    like = jax.eval_shape(lambda: jax.tree.map(lambda x: _words(jnp.zeros(x.shape, x.dtype)), result))
    words = jax.pure_callback(call, like, *jax.tree.map(_words, operands), vmap_method="sequential")
    return varying_with(jax.tree.map(lambda x, like: _numbers(x, like.dtype), words, result), operands)


def _words(x: Array) -> Array:
    if jnp.iscomplexobj(x):
        x = jnp.stack([x.real, x.imag], axis=-1)
    return lax.bitcast_convert_type(x, jnp.uint32) if x.dtype.itemsize == 8 else x


def _numbers(words: Array, dtype: Any) -> Array:
    real = jnp.finfo(dtype).dtype if jnp.issubdtype(dtype, jnp.inexact) else dtype
    x = lax.bitcast_convert_type(words, real) if jnp.dtype(real).itemsize == 8 else words
    return lax.complex(x[..., 0], x[..., 1]) if jnp.issubdtype(dtype, jnp.complexfloating) else x


def _host_words(x: np.ndarray) -> np.ndarray:
    x = np.ascontiguousarray(x).reshape(x.shape)
    if np.iscomplexobj(x):
        x = np.stack([x.real, x.imag], axis=-1)
    return x[..., None].view(np.uint32) if x.dtype.itemsize == 8 else x


def _host_numbers(words: Any, dtype: Any) -> np.ndarray:
    """The numbers of contiguous words, without a copy."""
    words = np.asarray(words)
    x = np.ascontiguousarray(words).reshape(words.shape)
    real = np.finfo(dtype).dtype if np.issubdtype(dtype, np.inexact) else np.dtype(dtype)
    x = x.view(real)[..., 0] if real.itemsize == 8 else x
    return x.view(dtype)[..., 0] if np.issubdtype(dtype, np.complexfloating) else x
