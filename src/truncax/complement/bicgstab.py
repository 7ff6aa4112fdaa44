"""BiCGStab(2) for a system whose columns are coupled: the whole block of columns counts as one vector.

Two steps of the biconjugate gradient method, then the combination of both residuals that is least: the method stands
eigenvalues far from the real axis, where one step alone stagnates.

Source: Sleijpen and Fokkema, Electron. Trans. Numer. Anal. 1 (1993).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..numerics.devices import varying_with
from ..numerics.products import times
from ..numerics.tolerances import negligible, unsolved


class Solution(NamedTuple):
    """``x``; ``converged``; the ``residual_norm`` relative to b; ``steps``, each a product with the block."""

    x: Array
    converged: Array
    residual_norm: Array
    steps: Array


class _State(NamedTuple):
    x: Array
    r: Array
    u: Array
    shadow: Array
    rho: Array
    alpha: Array
    omega: Array
    steps: Array
    fresh: Array
    best: Array
    since: Array
    gain: Array
    done: Array
    broken: Array


# Products without a smaller residual after which it begins anew, and beginnings after which it gives up.
_PATIENCE, _BEGINNINGS = 400, 12


def bicgstab(matvec: Callable[[Array], Array], b: Array, *, tol: Array, max_steps: int) -> Solution:
    """Solve ``matvec(x) = b`` for a block ``b`` (n, k), to ``||b - matvec(x)|| <= tol ||b||`` in the Frobenius norm.

    Or to the rounding error of ``matvec(x)``, 32 eps of what its norm is seen to be times that of x, which is above the
    tolerance where the matrix is far from normal; but above ``sqrt(eps) ||b||`` nothing is a solution: where the matrix
    is singular x grows until any residual looks like its rounding.

    The residual that the recurrence carries drifts from the true one, so that what converges is measured, and goes on
    from there if it has not. A breakdown (a shadow residual orthogonal to all that follows) begins anew with another
    shadow. A ``tol`` of NaN, a b that is not finite, or no convergence in ``max_steps`` is a failure; b = 0 is solved.
    """
    largest = jnp.max(jnp.abs(b), initial=0)
    wanted = ~(largest == 0)
    b = times(b, jnp.where(wanted, 1 / jnp.where(wanted, largest, 1), 0))
    norm = _norm(b)
    unit = jnp.where(wanted, norm, 1)
    b = times(b, 1 / unit)

    def residual(x: Array) -> Array:
        return b - matvec(x)

    def again(s: _State) -> _State:
        """Two steps, from a fresh beginning where one is due."""
        r = s.r
        # At first the residual itself; later another one, since that one led to a breakdown.
        weights = jnp.cos(s.broken.astype(norm.dtype) * jnp.arange(b.shape[0], dtype=norm.dtype))
        shadow = jnp.where(s.fresh, times(r.T, weights).T, s.shadow)
        u = jnp.where(s.fresh, 0, s.u)
        alpha, omega, rho = (
            jnp.where(s.fresh, one, z) for one, z in zip((0, 1, 1), (s.alpha, s.omega, s.rho), strict=True)
        )
        rho = -omega * rho
        # First step.
        rho1 = _inner(shadow, r)
        beta = _over(alpha * rho1, rho)
        u = r - beta * u
        v = matvec(u)
        gain = jnp.maximum(s.gain, _over(_norm(v), _norm(u)))
        alpha = _over(rho1, _inner(shadow, v))
        r, x = r - alpha * v, s.x + alpha * u
        t = matvec(r)
        # Second step.
        rho2 = _inner(shadow, t)
        beta = _over(alpha * rho2, rho1)
        u, v = r - beta * u, t - beta * v
        w = matvec(v)
        alpha = _over(rho2, _inner(shadow, w))
        x, r, t = x + alpha * u, r - alpha * v, t - alpha * w
        q = matvec(t)
        # The least residual over the plane of both.
        tt, tq, qq, tr, qr = _inner(t, t).real, _inner(t, q), _inner(q, q).real, _inner(t, r), _inner(q, r)
        # q is taken beside t.
        along = _over(tq, tt)
        two = _over(qr - jnp.conj(along) * tr, qq - jnp.abs(tq) ** 2 / jnp.where(tt > 0, tt, 1))
        one = _over(tr, tt) - along * two
        x, r, u = x + one * r + two * t, r - one * t - two * q, u - one * v - two * w
        steps = s.steps + 4
        size = _norm(r)
        usable = jnp.isfinite(size) & jnp.isfinite(jnp.abs(alpha)) & jnp.isfinite(_norm(u))
        # What the recurrence calls converged, and what it has lost, is measured.
        better = usable & (size < 0.5 * s.best)
        since = jnp.where(better, 0, s.since + 4)
        lost = ~usable | (since > _PATIENCE) | (jnp.abs(two) == 0)
        look = lost | (size <= tol)
        x = jnp.where(usable, x, s.x)
        r = lax.cond(look, lambda: residual(x), lambda: r)
        steps, size = steps + look.astype(jnp.int32), jnp.where(look, _norm(r), size)
        gain = jnp.where(usable, gain, s.gain)
        rounding = jnp.minimum(negligible(b.dtype) * gain * _norm(x), unsolved(b.dtype))
        done = look & (size <= jnp.maximum(tol, rounding))
        return _State(
            x=x,
            r=r,
            u=u,
            shadow=shadow,
            rho=rho2,
            alpha=alpha,
            omega=two,
            steps=steps,
            fresh=look,
            best=jnp.where(look | better, size, s.best),
            since=jnp.where(look, 0, since),
            gain=gain,
            done=done,
            broken=s.broken + (look & ~done).astype(jnp.int32),
        )

    zero, one = jnp.zeros((), b.dtype), jnp.ones((), b.dtype)
    start = _State(
        x=jnp.zeros_like(b),
        r=b,
        u=jnp.zeros_like(b),
        shadow=b,
        rho=one,
        alpha=zero,
        omega=one,
        steps=jnp.int32(0),
        fresh=jnp.ones((), bool),
        best=jnp.ones_like(norm),
        since=jnp.int32(0),
        gain=jnp.zeros_like(norm),
        done=~wanted,
        broken=jnp.where(jnp.isfinite(norm) & ~jnp.isnan(tol), 0, _BEGINNINGS).astype(jnp.int32),
    )

    def running(s: _State) -> Array:
        return ~s.done & (s.broken < _BEGINNINGS) & (s.steps < max_steps)

    end = lax.while_loop(running, again, varying_with(start, b, tol))
    return Solution(times(times(end.x, unit), largest), end.done, _norm(end.r), end.steps)


def _inner(x: Array, y: Array) -> Array:
    return jnp.sum(jnp.conj(x) * y)


def _norm(x: Array) -> Array:
    return jnp.sqrt(_inner(x, x).real)


def _over(x: Array, y: Array) -> Array:
    """``x / y``, zero where y is: nothing is left in that direction."""
    return jnp.where(y == 0, 0, x / jnp.where(y == 0, 1, y).astype(x.dtype))
