"""Small dense algebra and the Hermitian product, each with the derivative that its use needs.

Source: theory of the truncated decompositions after Naumann, arXiv:2511.14651; the thresholds of
the coefficients follow the policy stated in the documentation of ``truncax.tsvd``.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero

from .divided import first_differences, second_differences
from .linear import product_with_adjoint, self_adjoint_product
from .products import adjoint, matmul, promoted, times
from .schur import triangular_eigenvectors
from .tolerances import negligible


@jax.custom_jvp
def hermitian_product(a: Any, x: Array) -> Array:
    """``A x`` for a Hermitian operator ``a``, a pytree; its tangent is ``(dA + dA^H) x / 2 + A dx``.

    The two triangles of an array are independent entries to JAX. Symmetrising the tangent here, in the
    product, makes every rule that multiplies with ``a`` right at every order, without an n x n temporary.
    """
    return a.apply(x)


def _hermitian_product_jvp(primals, tangents):
    (a, x), (da, dx) = primals, tangents
    value = hermitian_product(a, x)
    tangent = jnp.zeros_like(value)
    if _moves(da):
        da = jax.tree.map(_instantiated, da)
        _, along = jax.jvp(lambda a: a.apply(x), (a,), (da,))
        _, adjoint_along = jax.jvp(lambda a: a.apply_adjoint(x), (a,), (da,))
        tangent = tangent + (along + adjoint_along) / 2
    if not isinstance(dx, SymbolicZero):
        # JAX transposes the product of a tangent, and would take the rule above away from it.
        tangent = tangent + self_adjoint_product(partial(hermitian_product, a), dx)
    return value, tangent


def _moves(tangents: Any) -> bool:
    return not all(isinstance(d, SymbolicZero) for d in jax.tree.leaves(tangents))


def _instantiated(d: Any) -> Any:
    """The tangent of a leaf as an array; that of an integer has JAX's own dtype for it, which NumPy makes."""
    if not isinstance(d, SymbolicZero):
        return d
    return np.zeros(d.shape, d.dtype) if d.dtype == jax.dtypes.float0 else jnp.zeros(d.shape, d.dtype)


hermitian_product.defjvp(_hermitian_product_jvp, symbolic_zeros=True)


class Side(enum.Enum):
    """Which product with a root F of ``B = F F^H``: of its inverse or not, of the adjoint of that or not."""

    ROOT = False, False
    ADJOINT = False, True
    INVERSE = True, False
    INVERSE_ADJOINT = True, True

    @property
    def adjoint(self) -> Side:
        """The side of the adjoint product."""
        inverted, turned = self.value
        return Side((inverted, not turned))

    @property
    def inverse(self) -> Side:
        """The side of the inverse product."""
        inverted, turned = self.value
        return Side((not inverted, turned))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def root_product(side: Side, b: Any, factor: Any, x: Array) -> Array:
    """The product with a root F of a positive definite operator ``b``, which ``factor`` knows, on this ``side``.

    A root is defined up to a unitary matrix only. It is moved with b by ``dF = dB F^-H / 2``, so that ``dF F^H + F dF^H
    = dB``; what does not depend on the choice of the root is then right at every order. With ``y`` the product,

        F x: dB F^-H x / 2    F^H x: F^-1 dB x / 2    F^-1 x: -F^-1 dB F^-H y / 2    F^-H x: -F^-H F^-1 dB y / 2
    """
    return factor.product(side, x)


def _root_product_jvp(side, primals, tangents):
    (b, factor, x), (db, _, dx) = primals, tangents
    y = root_product(side, b, factor, x)
    dy = jnp.zeros_like(y)

    def of_tangent(side: Side, x: Array) -> Array:
        """JAX transposes the product of a tangent, and would take this rule away from it."""
        product, adjoint_product = (partial(root_product, s, b, factor) for s in (side, side.adjoint))
        return product_with_adjoint(product, adjoint_product, x)

    if _moves(db):
        db = jax.tree.map(_instantiated, db)

        def moved(x: Array) -> Array:
            return jax.jvp(lambda b: b.apply(x), (b,), (db,))[1] / 2

        if side is Side.ROOT:
            dy = dy + moved(root_product(Side.INVERSE_ADJOINT, b, factor, x))
        elif side is Side.ADJOINT:
            dy = dy + of_tangent(Side.INVERSE, moved(x))
        elif side is Side.INVERSE:
            dy = dy - of_tangent(Side.INVERSE, moved(root_product(Side.INVERSE_ADJOINT, b, factor, y)))
        else:
            dy = dy - of_tangent(Side.INVERSE_ADJOINT, of_tangent(Side.INVERSE, moved(y)))
    if not isinstance(dx, SymbolicZero):
        dy = dy + of_tangent(side, dx)
    return y, dy


root_product.defjvp(_root_product_jvp, symbolic_zeros=True)


def difference_quotients(values: Array, threshold: Array) -> Array:
    """``G_ij = 1 / (values_j - values_i)``, zero on the diagonal and for ``|difference| <= threshold``."""
    difference = values[None, :] - values[:, None]
    apart = jnp.abs(difference) > threshold
    return jnp.where(apart, 1 / jnp.where(apart, difference, 1), 0)


def sum_quotients(values: Array) -> Array:
    """``G_ij = 1 / (values_j + values_i)``, zero where the sum is zero up to ``32 eps`` of the largest value."""
    total = values[None, :] + values[:, None]
    nonzero = total > negligible(values.dtype) * jnp.max(values)
    return jnp.where(nonzero, 1 / jnp.where(nonzero, total, 1), 0)


def singular_rotations(s: Array, m: Array, threshold: Array) -> tuple[Array, Array]:
    """The antihermitian ``(Om_u, Om_v)`` with ``du = u Om_u``, ``dv = v Om_v`` for ``m = u^H dC v``.

    ``Om_u = (Gm o (m + m^H) + Gp o (m - m^H)) / 2`` and ``Om_v`` with the second sign reversed. The
    diagonal of the second term is the phase of a complex pair: the gauge ``u^H du + v^H dv = 0``.
    """
    even = times(m + adjoint(m), difference_quotients(s, threshold))
    odd = times(m - adjoint(m), sum_quotients(s))
    return (even + odd) / 2, (even - odd) / 2


def _identity_like(c: Array) -> Array:
    """The identity, but an output that depends on ``c``.

    A constant output of a custom rule stays without a batch axis under vmap while its tangent has one, and
    jax (0.8.1 to 0.12) then fails in grad(vmap(jit)).
    """
    return jnp.eye(c.shape[0], dtype=c.dtype) + (c - c)


@jax.custom_jvp
def diagonal_svd(c: Array, threshold: Array) -> tuple[Array, Array, Array]:
    """``(u, s, v)`` with ``c = u diag(s) v^H`` for a matrix whose *value* is ``diag(s)``, s descending.

    The value is trivial (u = v = 1); the tangents are those of the singular value decomposition, with
    differences of values up to ``threshold`` treated as zero.
    """
    one = _identity_like(c)
    return one, jnp.diagonal(c).real, one


@diagonal_svd.defjvp
def _diagonal_svd_jvp(primals, tangents):
    (c, threshold), (dc, _) = primals, tangents
    u, s, v = diagonal_svd(c, threshold)
    m = matmul(adjoint(u), matmul(dc, v))
    om_u, om_v = singular_rotations(s, m, threshold)
    return (u, s, v), (matmul(u, om_u), jnp.diagonal(m).real, matmul(v, om_v))


@jax.custom_jvp
def diagonal_eigh(h: Array, threshold: Array) -> tuple[Array, Array]:
    """``(l, u)`` with ``h = u diag(l) u^H`` for a Hermitian matrix whose *value* is ``diag(l)``.

    Tangents: ``dl = Re diag(u^H dh u)``, ``du = u (F o u^H dh u)``, ``F_ij = 1 / (l_j - l_i)``, zero for
    differences up to ``threshold``.
    """
    return jnp.diagonal(h).real, _identity_like(h)


@diagonal_eigh.defjvp
def _diagonal_eigh_jvp(primals, tangents):
    (h, threshold), (dh, _) = primals, tangents
    values, u = diagonal_eigh(h, threshold)
    m = matmul(adjoint(u), matmul(dh, u))
    rotation = times(m, difference_quotients(values, threshold))
    return (values, u), (jnp.diagonal(m).real, matmul(u, rotation))


@jax.custom_jvp
def triangular_eig(t: Array, threshold: Array) -> tuple[Array, Array]:
    """``(l, w)`` with ``t w = w diag(l)`` and unit columns w, for a matrix whose *value* is upper triangular.

    Tangents: ``N = w^-1 dt w``, ``dl = diag N``, ``dw = w (F o N)``, ``F_ij = 1 / (l_j - l_i)``, zero for differences
    up to ``threshold``, less what each column has along itself: ``w_j^H dw_j = 0``. NaN where t has fewer eigenvectors
    than values, so that w has no inverse to rounding.
    """
    return jnp.diagonal(t), triangular_eigenvectors(t)


def independent(w: Array) -> Array:
    """Whether the columns of ``w`` (k, k) are linearly independent beyond rounding."""
    s = jnp.linalg.svd(jax.lax.stop_gradient(w), compute_uv=False)
    return s[-1] > negligible(w.dtype) * s[0]


@triangular_eig.defjvp
def _triangular_eig_jvp(primals, tangents):
    (t, threshold), (dt, _) = primals, tangents
    values, w = triangular_eig(t, threshold)
    n = times(jnp.linalg.solve(w, matmul(dt, w)), jnp.where(independent(w), 1, jnp.nan))
    dw = matmul(w, n * difference_quotients(values, threshold))
    along = jnp.sum(jnp.conj(w) * dw, axis=0)
    return (values, w), (jnp.diagonal(n), dw - w * along[None, :])


@jax.custom_jvp
def with_tangent_of(value: Array, other: Array) -> Array:
    """``value``, with the derivative of ``other``, which is the same but for errors and may be NaN."""
    return value


@with_tangent_of.defjvp
def _with_tangent_of_jvp(primals, tangents):
    return with_tangent_of(*primals), tangents[1]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def value_by(cheap: Callable[[Any], Any], function: Callable[[Any], Any], x: Any) -> Any:
    """``function(x)``, for which ``cheap(x)`` stands where no derivative is asked for."""
    return cheap(x)


@value_by.defjvp
def _value_by_jvp(cheap, function, primals, tangents):
    return jax.jvp(function, primals, tangents)


def spectral_function(f: Any, h: Array) -> Array:
    """``f(h)`` of a Hermitian matrix, with its first and second derivative; the third raises.

    ``f``, a pytree, maps arrays of real numbers entry by entry. The expansion around ``h0 = u diag(l) u^H``, the value
    of h without its derivative,

        u (diag f(l) + f[l_i, l_j] z_ij + sum_m f[l_i, l_m, l_j] z_im z_mj) u^H,    z = u^H (h - h0) u

    The eigenvectors are never differentiated: their derivative would divide by differences of values again.
    """
    (values, u), z = _decomposed(h)
    first, z, second = promoted(first_differences(f, values).values, z, _second_term(f, h))
    u, core = promoted(u, jnp.diag(f(values)).astype(z.dtype) + first * z + second)
    return matmul(u, matmul(core, adjoint(u)))


def _decomposed(h: Array) -> tuple[tuple[Array, Array], Array]:
    frozen = jax.lax.stop_gradient(h)
    values, u = jnp.linalg.eigh(frozen)
    return (values, u), matmul(adjoint(u), matmul(_displacement(h), u))


def _left_and_right(quotients: Array, z: Array) -> tuple[Array, Array]:
    """``f[l_i, l_m, l_j] z_im`` and ``f[l_i, l_m, l_j] z_mj``, (k, k, k)."""
    quotients, z = promoted(quotients, z)
    return quotients * z[:, :, None], quotients * z[None, :, :]


def _coefficient_dtype(f: Any, h: Array) -> Any:
    return h.dtype if jnp.iscomplexobj(h) else jax.eval_shape(f, jnp.diagonal(h)).dtype


@jax.custom_jvp
def _second_term(f: Any, h: Array) -> Array:
    """``sum_m f[l_i, l_m, l_j] z_im z_mj``: zero, and so is its derivative; neither computes the k^3 differences."""
    return (h - h).astype(_coefficient_dtype(f, h))


@jax.custom_jvp
def _second_coefficients(f: Any, h: Array) -> tuple[Array, Array]:
    """``_left_and_right`` of the second differences and of z: zero, but for the derivative."""
    zero = (h - h).astype(_coefficient_dtype(f, h))
    zeros = zero[:, :, None] + zero[None, :, :]
    return zeros, zeros


def _second_term_jvp(primals, tangents):
    (f, h), (df, dh) = primals, tangents
    value = _second_term(f, h)
    (values, u), z = _decomposed(h)
    tangent = jnp.zeros_like(value)
    if not isinstance(dh, SymbolicZero):
        left, right, e = promoted(*_second_coefficients(f, h), matmul(adjoint(u), matmul(dh, u)))
        tangent = tangent + jnp.sum(left * e[None, :, :] + right * e[:, :, None], axis=1)
    if _moves(df):
        left, z = promoted(_left_and_right(_along(f, df, values), z)[0], z)
        tangent = tangent + jnp.sum(left * z[None, :, :], axis=1)
    return value, tangent


def _second_coefficients_jvp(primals, tangents):
    (f, h), (df, dh) = primals, tangents
    value = _second_coefficients(f, h)
    (values, u), z = _decomposed(h)
    tangent = jax.tree.map(jnp.zeros_like, value)
    if not isinstance(dh, SymbolicZero):
        terms = _left_and_right(second_differences(f, values), matmul(adjoint(u), matmul(dh, u)))
        tangent = jax.tree.map(jnp.add, tangent, terms)
    if _moves(df):
        tangent = jax.tree.map(jnp.add, tangent, _left_and_right(_along(f, df, values), z))
    return value, tangent


def _along(f: Any, df: Any, values: Array) -> Array:
    """The derivative of the second differences with respect to the arrays of f."""
    return jax.jvp(lambda f: second_differences(f, values), (f,), (jax.tree.map(_instantiated, df),))[1]


_second_term.defjvp(_second_term_jvp, symbolic_zeros=True)
_second_coefficients.defjvp(_second_coefficients_jvp, symbolic_zeros=True)


@jax.custom_jvp
def _displacement(h: Array) -> Array:
    """``h`` less its value. Linear, but a third derivative raises: that of the expansion would be a silent zero."""
    return h - jax.lax.stop_gradient(h)


@_displacement.defjvp
def _displacement_jvp(primals, tangents):
    (h,), (dh,) = primals, tangents
    return _displacement(h), dh * _differentiable(1, h)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _differentiable(times_more: int, h: Array) -> Array:
    """One, that can be differentiated so many times more; an output that depends on ``h``, as ``_identity_like``."""
    return 1 + 0 * h[0, 0]


@_differentiable.defjvp
def _differentiable_jvp(times_more, primals, tangents):
    (h,), (dh,) = primals, tangents
    if times_more == 0:
        raise NotImplementedError(
            "matrix_function has no third derivative with respect to H: it has first and second ones, exact at any "
            "distance of the eigenvalues. Write a polynomial with matrix products, the exponential as "
            "jax.scipy.linalg.expm: JAX differentiates those to any order"
        )
    return _differentiable(times_more, h), 0 * jnp.sum(dh) * _differentiable(times_more - 1, h)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def stationary(function: Callable[[Any, Any], Array], x: Any, y: Any) -> Array:
    """``function(x, y)`` at a y where its derivative with respect to y vanishes, and is left out.

    The second derivative knows that y moves with x.
    """
    return function(x, y)


def _stationary_jvp(function, primals, tangents):
    (x, y), (dx, _) = primals, tangents
    if not _moves(dx):
        value = stationary(function, x, y)
        return value, jnp.zeros_like(value)
    dx = jax.tree.map(_instantiated, dx)
    return stationary(function, x, y), jax.jvp(lambda x: function(x, y), (x,), (dx,))[1]


stationary.defjvp(_stationary_jvp, symbolic_zeros=True)
