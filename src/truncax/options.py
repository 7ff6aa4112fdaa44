"""The options of the solvers and of the derivative: frozen dataclasses, pytrees, checked when made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax


def _static(default: Any = None) -> Any:
    return dataclasses.field(default=default, metadata={"static": True})


def _check_callback(value: Any) -> None:
    if value is not None and not callable(value):
        raise TypeError(f"callback must be None or a function (iteration, converged, residuals), got {value!r}")


def _check_count(name: str, value: Any, minimum: int = 1) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < minimum):
        raise ValueError(f"{name} must be None or an int of at least {minimum}, got {value!r}")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dense:
    """The full decomposition of LAPACK (cuSOLVER on a GPU), cut after k.

    The derivative is that of the kept part, the same as with any other solver: it is finite where the
    derivative of the full decomposition is NaN. Fast for small matrices and for k above about a tenth of
    the size; needs the matrix itself.
    """


@dataclass(frozen=True)
class Krylov:
    """What the Krylov solvers share."""

    ncv: int | None = _static()
    block_size: int | None = _static()
    max_restarts: int | None = _static()
    callback: Any = dataclasses.field(default=None, metadata={"static": True})

    # Vectors that may have to be kept beside the k wanted ones.
    _more = 0

    def __post_init__(self) -> None:
        _check_count("ncv", self.ncv)
        _check_count("block_size", self.block_size)
        _check_count("max_restarts", self.max_restarts)
        _check_callback(self.callback)

    def block(self, k: int, size: int) -> int:
        """The number of vectors that are multiplied at once, for k wanted pairs of a problem of this size."""
        if self.block_size is not None:
            return min(self.block_size, size)
        return 4 if size >= 1536 or (k >= 32 and size >= 1024) else 1

    def basis_size(self, k: int, size: int) -> int:
        """The number of basis vectors for k wanted pairs of a problem of this size, in whole blocks."""
        block = self.block(k, size)
        if self.ncv is None:
            wanted = max(2 * k, k + (24 if block == 1 else 48))
        else:
            beyond = 2 * block + self._more
            wanted, least = self.ncv, min(k + beyond, size)
            if wanted < least:
                raise ValueError(
                    f"ncv must leave room for at least {beyond} vectors beyond k: got ncv={wanted} with k={k} "
                    f"and blocks of {block}; use ncv >= {least} or leave it out"
                )
        return -(-min(wanted, size) // block) * block

    @property
    def restart_limit(self) -> int:
        """The number of restart cycles after which the solver gives up."""
        return 1000 if self.max_restarts is None else self.max_restarts


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GolubKahan(Krylov):
    """Thick-restart Golub-Kahan-Lanczos bidiagonalisation, for ``tsvd`` and ``singular_subspaces``.

    - ``ncv``: the number of basis vectors on each side, at least k + 2 ``block_size``; rounded up to whole
      blocks, and to the whole smaller side where less than another block is left of it. By default
      ``max(2 k, k + 24)`` for single vectors and ``max(2 k, k + 48)`` for blocks.
    - ``block_size``: how many vectors are multiplied at once. By default 1 below a size of 1536 (1024 for k >= 32),
      where the matrix sits in the cache, and 4 above, where a block product costs little more than one vector.
    - ``max_restarts``: the number of restart cycles before it gives up; default 1000.
    - ``callback``: what ``callback=`` of the functions sets.

    Source: Baglama and Reichel, SIAM J. Sci. Comput. 27 (2005).
    """


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Lanczos(Krylov):
    """Thick-restart Lanczos, for ``teigh`` and ``invariant_subspace``.

    - ``ncv``, ``block_size``: as for ``GolubKahan``.
    - ``max_restarts``: the number of restart cycles before it gives up; default 1000.
    - ``callback``: what ``callback=`` of the functions sets.

    Source: Wu and Simon, SIAM J. Matrix Anal. Appl. 22 (2000).
    """


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Arnoldi(Krylov):
    """Thick-restart Arnoldi (Krylov-Schur), for ``teig`` and ``invariant_subspace(hermitian=False)``.

    Also for ``teigh`` and ``invariant_subspace`` beside a ``b`` that only multiplies.

    - ``ncv``: the number of basis vectors, at least k + 2 ``block_size`` + 1, since a conjugate pair stays together;
      by default ``max(2 k, k + 24)``, for blocks ``max(2 k, k + 48)``.
    - ``block_size``: how many vectors are multiplied at once, by default 1.
    - ``max_restarts``: the number of restart cycles before it gives up; default 1000.
    - ``callback``: what ``callback=`` of the functions sets.

    Source: Stewart, SIAM J. Matrix Anal. Appl. 23 (2002).
    """

    _more = 1

    def block(self, k: int, size: int) -> int:
        """The number of vectors that are multiplied at once."""
        return min(self.block_size or 1, size)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LOBPCG:
    """Preconditioned block Davidson, the family of LOBPCG, for ``teigh`` and ``invariant_subspace``.

    For the smallest (``which="SA"``) or the largest pairs (``"LA"``), with ``b`` or without; the preconditioner takes
    the place of a shift. It serves the derivative as well, unless ``Implicit`` has one of its own.

    - ``preconditioner``: an approximate inverse, Hermitian and positive definite, of ``a - s b`` for ``"SA"``, of
      ``s b - a`` for ``"LA"``, with s next to the wanted end. What ``truncax.preconditioners`` makes, a square array,
      or a function of a block of columns (n, p) that returns one. It decides how many steps are needed, not the
      result, and has no derivative. A function that uses arrays of yours is best given as
      ``jax.tree_util.Partial(f, arrays)``: a new lambda each time compiles each time. None: the identity.
    - ``block_size``: how many vectors are multiplied and preconditioned at once; default 4 for arrays, 2 for operators,
      whose products with more cost as much for each. More vectors take fewer steps and more products.
    - ``max_iterations``: the number of block steps before it gives up; default 5000.
    - ``callback``: what ``callback=`` of the functions sets.

    Example:
        >>> import jax.numpy as jnp, truncax
        >>> a = jnp.diag(jnp.arange(1.0, 101)) + 0.1
        >>> solver = truncax.LOBPCG(preconditioner=truncax.preconditioners.jacobi(a))
        >>> [f"{l:.1f}" for l in truncax.teigh(a, 2, which="SA", solver=solver).eigenvalues]
        ['1.1', '2.1']

    Source: Knyazev, SIAM J. Sci. Comput. 23 (2001); Stathopoulos and McCombs, SIAM J. Sci. Comput. 29 (2007).

    """

    preconditioner: Any = None
    block_size: int | None = _static()
    max_iterations: int | None = _static()
    callback: Any = dataclasses.field(default=None, metadata={"static": True})

    def __post_init__(self) -> None:
        _check_count("block_size", self.block_size)
        _check_count("max_iterations", self.max_iterations)
        _check_callback(self.callback)

    def block(self, k: int, size: int) -> int:
        """The number of vectors of a step, for k wanted pairs of a problem of this size."""
        return min(4 if self.block_size is None else self.block_size, size)

    def basis_size(self, k: int, size: int) -> int:
        """The number of basis vectors: room for a dozen steps, but never more than fill the space."""
        block = self.block(k, size)
        return min(max(2 * k + 4 * block, k + 12 * block), size + block)

    @property
    def step_limit(self) -> int:
        """The number of block steps after which the solver gives up."""
        return 5000 if self.max_iterations is None else self.max_iterations


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Arpack:
    """ARPACK by SciPy, on the host, for all four functions: arrays only, on a CPU.

    Its result is checked by the native solver, which completes what it missed (members of multiplets).

    - ``ncv``: the number of Lanczos vectors; default SciPy's, ``max(2 k + 1, 20)``.
    - ``max_iterations``: restarts before it gives up, and the result counts as not converged. By default SciPy's
      limit, ten times the size, after which the native solver goes on.

    Source: Lehoucq, Sorensen and Yang, ARPACK Users' Guide, 1998; ``scipy.sparse.linalg.eigsh`` and ``svds``.
    """

    ncv: int | None = _static()
    max_iterations: int | None = _static()

    def __post_init__(self) -> None:
        _check_count("ncv", self.ncv)
        _check_count("max_iterations", self.max_iterations)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Propack:
    """PROPACK by SciPy, on the host, for ``tsvd`` and ``singular_subspaces``: arrays only, on a CPU.

    Its result is checked by the native solver, which completes what it missed (members of multiplets).

    - ``max_iterations``: the dimension of the Krylov space at which it gives up, and the result counts as not
      converged. By default the lesser of the shorter side and ``max(10 k, 400)``, after which the native solver goes
      on.

    Source: Larsen, PROPACK, 1998; ``scipy.sparse.linalg.svds``.
    """

    max_iterations: int | None = _static()

    def __post_init__(self) -> None:
        _check_count("max_iterations", self.max_iterations)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Implicit:
    """How the derivative is computed: by implicit differentiation, with one block solve in the complement.

    - ``tol``: relative residual of that solve, per column, below 1; by default the residual of the forward pass, at
      least ``16 eps`` and at most 0.1: both errors reach the derivative divided by the same cut gap. May be traced.
    - ``max_steps``: conjugate gradient steps before it gives up and the derivative is NaN; default ten times
      the smaller side of the matrix.
    - ``preconditioner``: an approximate inverse of the operator of the solve, Hermitian and positive definite: of
      ``+-(A - l I)`` for eigenpairs (plus for "SA", minus for "LA", each its sign for the others), of
      ``I - A A^H / s_k^2`` on the shorter side for singular triplets; beside ``b`` of ``+-(A - l b)``;
      what it does to the kept vectors does not matter. A square array, or a function of a block of columns (n, k)
      that returns one. It decides how many steps are needed, not the result, and has no derivative.
      A function that uses arrays of yours is best given as
      ``jax.tree_util.Partial(f, arrays)``: a new lambda each time compiles each time.
    - ``polish``: Newton steps on the result of the solver before the derivative is attached, each with one solve of
      the same system. One makes the error of the vectors quadratically smaller, so that a solver with a loose
      ``tol`` gives an accurate gradient; ``tol`` decides how accurately it is solved.
    - ``degeneracy_rtol``: kept values that differ by less than this times the largest seen count as equal
      in the derivative of single vectors (``tsvd``, ``teigh``); default ``eps^(3/4)``. The subspace functions
      need no such threshold. May be traced.
    - ``mode``: ``"all"``, one rule for forward and reverse mode and every order; or ``"reverse"``, a rule of its own
      for reverse mode, also reverse over reverse, which asks reverse mode only of the operator's product. Forward
      mode (``jvp``, ``jacfwd``, ``hessian``) is then refused by JAX with a TypeError.
    """

    tol: Any = None
    max_steps: int | None = _static()
    preconditioner: Any = None
    polish: int = _static(0)
    degeneracy_rtol: Any = None
    mode: str = _static("all")

    def __post_init__(self) -> None:
        _check_count("max_steps", self.max_steps)
        _check_count("polish", self.polish, minimum=0)
        if self.mode not in ("all", "reverse"):
            raise ValueError(f"mode must be 'all' or 'reverse', got {self.mode!r}")
