"""Progress of a long solve, told to a function on the host while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

# A call waits for the host, some tenths of a millisecond.
_EVERY = 4


def report(
    callback: Callable | None, iteration: Array, restarting: Array, done: Array, converged: Array, residuals: Array
) -> None:
    """Calls ``callback(iteration, converged, residuals)`` at every fourth restart and where the iteration is done."""
    if callback is None:
        return
    due = (restarting & (iteration % _EVERY == 0)) | done
    count = jnp.sum(converged, dtype=jnp.int32)
    lax.cond(due, lambda: jax.debug.callback(callback, iteration, count, residuals), lambda: None)


def show_progress(iteration: Any, converged: Any, residuals: Any) -> None:
    """The ready-made ``callback=``: one line on stderr for each report.

    Args:
        iteration: restart cycles so far.
        converged: how many of the wanted pairs have converged.
        residuals: (k,), their relative residuals as the solver estimates them, in the units of ``tol``.

    Returns:
        Nothing.

    Raises:
        Nothing.

    Derivative: none.

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> a = jnp.diag(jnp.arange(200.0))
        >>> values, _ = truncax.teigh(a, 2, which="LA", callback=truncax.show_progress)  # writes to stderr

    Source: after ``disp=True`` of SciPy's and MATLAB's solvers.

    """
    residuals = np.asarray(residuals)
    line = f"restart {int(iteration):4d}: {int(converged)} of {residuals.size} converged, largest residual "
    print(f"truncax: {line}{np.max(residuals):.1e}", file=sys.stderr, flush=True)
