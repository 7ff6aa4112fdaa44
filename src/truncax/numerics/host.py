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


def call_on_host(function: Callable[..., np.ndarray], shape: tuple[int, ...], dtype: Any, *operands: Array) -> Array:
    """``function(*operands)``, an array of this shape and dtype; one after the other under vmap. No derivative."""
    dtypes, words = [x.dtype for x in operands], [_words(x) for x in operands]

    def call(*words: Any) -> np.ndarray:
        arrays = [_host_numbers(np.asarray(x), dtype) for x, dtype in zip(words, dtypes, strict=True)]
        return _host_words(np.asarray(function(*arrays), dtype))

    like = jax.eval_shape(lambda: _words(jnp.zeros(shape, dtype)))
    return _numbers(jax.pure_callback(call, like, *words, vmap_method="sequential"), dtype)


def _words(x: Array) -> Array:
    if jnp.iscomplexobj(x):
        x = jnp.stack([x.real, x.imag], axis=-1)
    return lax.bitcast_convert_type(x, jnp.uint32) if x.dtype.itemsize == 8 else x


def _numbers(words: Array, dtype: Any) -> Array:
    real = jnp.finfo(dtype).dtype if jnp.issubdtype(dtype, jnp.inexact) else dtype
    x = lax.bitcast_convert_type(words, real) if jnp.dtype(real).itemsize == 8 else words
    return lax.complex(x[..., 0], x[..., 1]) if jnp.issubdtype(dtype, jnp.complexfloating) else x


def _host_words(x: np.ndarray) -> np.ndarray:
    x = np.ascontiguousarray(x)
    if np.iscomplexobj(x):
        x = np.stack([x.real, x.imag], axis=-1)
    return x.view(np.uint32).reshape(*x.shape, 2) if x.dtype.itemsize == 8 else x


def _host_numbers(words: np.ndarray, dtype: Any) -> np.ndarray:
    real = np.finfo(dtype).dtype if np.issubdtype(dtype, np.inexact) else np.dtype(dtype)
    x = np.ascontiguousarray(words)
    x = x.view(real)[..., 0] if real.itemsize == 8 else x
    return x[..., 0] + 1j * x[..., 1] if np.issubdtype(dtype, np.complexfloating) else x
