"""The Schur form of a small general matrix, its eigenvalues in a given order, and its eigenvectors.

LAPACK's form is brought into order by rotations of neighbours, which are unitary to rounding whatever the matrix:
eigenvectors of a matrix that is far from normal are nearly parallel, and a basis made from them would lose the digits
that the Schur vectors have.

Source: Golub and Van Loan, Matrix Computations, 7.6 (exchange of neighbours); Bai and Demmel, Linear Algebra Appl. 186
(1993).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array, lax

from .devices import varying_with
from .host import call_on_host
from .products import adjoint, column_norms, matmul, times
from .tolerances import epsilon, negligible


class Schur(NamedTuple):
    """``H Z = Z T``: ``T`` upper triangular, ``Z`` unitary, both complex.

    ``values`` is the diagonal of T; of a real matrix in exact conjugate pairs, whose first members are marked in
    ``pairs``.
    """

    T: Array
    Z: Array
    values: Array
    pairs: Array


def schur(H: Array) -> Schur:
    """The Schur form in LAPACK's order; the pairs of a real matrix side by side, the positive imaginary part first."""
    T, Z = lax.platform_dependent(H, cpu=lambda H: tuple(lax.linalg.schur(H)), default=_schur_on_host)
    if jnp.iscomplexobj(H):
        return Schur(T, Z, jnp.diagonal(T), jnp.zeros(T.shape[0], bool))
    # LAPACK leaves the 2 x 2 block of a pair as [[a, b], [c, a]] with b c < 0: its values are a +- i sqrt(-b c).
    b, c = jnp.diagonal(T, 1), jnp.diagonal(T, -1)
    first = jnp.append(c != 0, False)
    imag = jnp.append(jnp.sqrt(jnp.abs(b)) * jnp.sqrt(jnp.abs(c)), 0)
    x, y = lax.complex(jnp.append(b, 1), jnp.zeros_like(imag)), lax.complex(jnp.zeros_like(imag), imag)
    turn = _Turn.of(x, y, first)
    T, Z = (lax.complex(M, jnp.zeros_like(M)) for M in (T, Z))
    T, Z = turn.rows(turn.columns(T)), turn.columns(Z)
    second = jnp.roll(first, 1)
    imag = jnp.where(first, imag, jnp.where(second, -jnp.roll(imag, 1), 0))
    values = lax.complex(jnp.diagonal(T).real, imag)
    return Schur(_with_diagonal(T, values), Z, values, first)


def ordered(form: Schur, key: Array) -> Schur:
    """The form with its values by ascending ``key``; a conjugate pair, whose keys must be equal, stays together."""
    index = jnp.arange(key.shape[0], dtype=jnp.int32)
    block = index - jnp.roll(form.pairs, 1).astype(jnp.int32)
    order = jnp.lexsort((index, block, key))
    rank = jnp.zeros_like(index).at[order].set(index)

    def unsorted(state: Any) -> Array:
        return jnp.any(state[0][:-1] > state[0][1:])

    def exchange(state: Any) -> Any:
        rank, values, T, Z, parity = state
        after = jnp.append(rank[1:], rank.shape[0])
        swap = (rank > after) & (index % 2 == parity)
        above = jnp.append(jnp.diagonal(T, 1), 0)
        turn = _Turn.of(above, jnp.roll(values, -1) - values, swap)
        T, Z = turn.rows(turn.columns(T)), turn.columns(Z)
        rank, values = (_exchanged(x, swap) for x in (rank, values))
        return rank, values, _with_diagonal(T, values), Z, 1 - parity

    state = (rank, form.values, form.T, form.Z, jnp.int32(0))
    _, values, T, Z, _ = lax.while_loop(unsorted, exchange, varying_with(state, form.T, key))
    return Schur(T, Z, values, form.pairs[order])


def triangular_eigenvectors(T: Array) -> Array:
    """The eigenvectors of an upper triangular matrix as unit columns of an upper triangular one.

    Back substitution: ``sum_{l=i+1..j} t_il w_lj = (t_jj - t_ii) w_ij``. Where both sides are rounding error the values
    are equal and have vectors of their own, and w_ij is zero; where the right one alone is, they have none, and the two
    vectors come out parallel to rounding.
    """
    n = T.shape[0]
    values = jnp.diagonal(T)
    size = jnp.max(jnp.abs(T))
    noise, least = negligible(T.dtype) * size, jnp.where(size > 0, epsilon(T.dtype) * size, 1)
    difference = values[None, :] - values[:, None]
    equal = jnp.abs(difference) <= noise
    difference = jnp.where(jnp.abs(difference) > least, difference, least.astype(T.dtype))
    above = jnp.triu(T, 1)

    def row(step: Array, W: Array) -> Array:
        i = n - 1 - step
        sums = matmul(above[i], W)
        entries = jnp.where(equal[i] & (jnp.abs(sums) <= noise), 0, sums / difference[i])
        ahead = jnp.arange(n, dtype=jnp.int32) > i
        W = W.at[i].set(jnp.where(ahead, entries, W[i]))
        # Columns grow where values are close: each is kept at unit size.
        size = jnp.max(jnp.abs(W), axis=0)
        return times(W, 1 / jnp.maximum(size, 1))

    W = lax.fori_loop(0, n, row, varying_with(jnp.eye(n, dtype=T.dtype), T))
    return times(W, 1 / column_norms(W))


class _Turn(NamedTuple):
    """A unitary matrix of 2 x 2 blocks on neighbours, by its three diagonals, each aligned with its columns."""

    below: Array
    diagonal: Array
    above: Array

    @classmethod
    def of(cls, x: Array, y: Array, where: Array) -> "_Turn":
        """Blocks whose first column is ``(x, y)``, up to its length, where one begins at i; no two may overlap."""
        length = jnp.sqrt(jnp.abs(x) ** 2 + jnp.abs(y) ** 2)
        some = length > 0
        x, y = (times(z, 1 / jnp.where(some, length, 1)) for z in (x, y))
        y = jnp.where(some, y, 1)
        second = jnp.roll(where, 1)
        diagonal = jnp.where(where, x, jnp.where(second, jnp.conj(jnp.roll(x, 1)), 1))
        return cls(jnp.where(where, y, 0), diagonal, jnp.where(second, -jnp.conj(jnp.roll(y, 1)), 0))

    def columns(self, M: Array) -> Array:
        """``M G``."""
        left, right = jnp.roll(M, 1, axis=1), jnp.roll(M, -1, axis=1)
        return M * self.diagonal[None, :] + left * self.above[None, :] + right * self.below[None, :]

    def rows(self, M: Array) -> Array:
        """``G^H M``."""
        return adjoint(self.columns(adjoint(M)))


def _exchanged(x: Array, swap: Array) -> Array:
    return jnp.where(swap, jnp.roll(x, -1), jnp.where(jnp.roll(swap, 1), jnp.roll(x, 1), x))


def _with_diagonal(T: Array, values: Array) -> Array:
    return jnp.triu(T, 1) + jnp.diag(values)


def _schur_on_host(H: Array) -> tuple[Array, Array]:
    """JAX has the Schur form on a CPU only."""
    like = jax.ShapeDtypeStruct(H.shape, H.dtype)
    return call_on_host(_numpy_schur, (like, like), H)


def _numpy_schur(H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not np.all(np.isfinite(H)):
        return np.full_like(H, np.nan), np.full_like(H, np.nan)
    return scipy.linalg.schur(H)
