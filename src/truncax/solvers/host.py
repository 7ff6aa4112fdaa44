"""ARPACK and PROPACK, by SciPy on the host. They propose a subspace; a native solver checks and completes it.

Both miss members of multiplets while they report success, so what they return is only a start: the native method
of the same problem begins with it, measures it, and looks for what was missed, as it does with its own.

The function on the host never calls JAX: a product that does can deadlock.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, eigs, eigsh, svds
from scipy.sparse.linalg import LinearOperator as HostLinearOperator

from ..numerics.host import call_on_host
from ..operators.operator import Scaled
from ..options import Arpack, Propack
from .start import start_block


def propose_right_vectors(
    operator: Scaled, k: int, solver: Arpack | Propack, tol: Array, start: Array | None, key: Array
) -> tuple[Array, Array, Array]:
    """The k vectors of the shorter side as rows (k, min(m, n)), whether all went well, and the number of products."""
    m, n = operator.shape

    def solve(a: HostLinearOperator, tol: float, v: np.ndarray) -> np.ndarray:
        if isinstance(solver, Propack):
            # SciPy's own default, 10 k, gives up on spectra that decay slowly.
            most = solver.max_iterations or min(m, n, max(10 * k, 400))
            options: dict[str, Any] = {"solver": "propack", "v0": a.matvec(v), "maxiter": most}
        else:
            options = {"solver": "arpack", "v0": v, "ncv": solver.ncv, "maxiter": solver.max_iterations}
        return svds(a, k, tol=tol, return_singular_vectors="vh", **options)[2]

    return _call(solve, operator, k, min(m, n), tol, start, key, solver.max_iterations is not None)


def propose_eigenvectors(
    operator: Scaled, k: int, which: str, solver: Arpack, tol: Array, start: Array | None, key: Array
) -> tuple[Array, Array, Array]:
    """The k eigenvectors as rows (k, n), whether all went well, and the products with A."""

    def solve(a: HostLinearOperator, tol: float, v: np.ndarray) -> np.ndarray:
        options = {"ncv": solver.ncv, "maxiter": solver.max_iterations, "tol": tol, "v0": v}
        return eigsh(a, k, which=which, **options)[1].T

    return _call(solve, operator, k, operator.shape[1], tol, start, key, solver.max_iterations is not None)


def propose_schur_vectors(
    operator: Scaled, k: int, which: str, solver: Arpack, tol: Array, start: Array | None, key: Array
) -> tuple[Array, Array, Array]:
    """Rows (k, n) that span the k eigenvectors of a general operator; whether all went well, and the products with A.

    Of a real one they are orthonormal, and (k + 1, n): conjugate pairs are complete.
    """
    n, name = operator.shape[1], {"+I": "LI", "-I": "SI"}.get(which, which)
    real = not jnp.issubdtype(operator.dtype, jnp.complexfloating)

    def solve(a: HostLinearOperator, tol: float, v: np.ndarray) -> np.ndarray:
        options = {"ncv": solver.ncv, "maxiter": solver.max_iterations, "tol": tol, "v0": v}
        vectors = eigs(a, k, which=name, **options)[1].T
        if not real:
            return vectors
        # A pair spans what its real and imaginary parts span.
        parts = np.concatenate([vectors.real, vectors.imag])
        _, s, rows = np.linalg.svd(parts, full_matrices=False)
        return rows[s > np.sqrt(np.finfo(s.dtype).eps)]

    return _call(solve, operator, min(k + real, n), n, tol, start, key, solver.max_iterations is not None)


class _HostOperator(HostLinearOperator):
    """``a / (before * after)``, or its adjoint, without a copy of ``a``; counts its products."""

    def __init__(self, a: Any, before: np.ndarray, after: np.ndarray, flip: bool) -> None:
        super().__init__(a.dtype, a.shape[::-1] if flip else a.shape)
        self.a, self.inner, self.outer, self.flip, self.products = a, 1 / before, 1 / after, flip, 0

    def _multiply(self, x: np.ndarray, by_adjoint: bool) -> np.ndarray:
        self.products += x.size // x.shape[0]
        x = (x * self.inner).astype(self.a.dtype, copy=False)
        y = (x.conj().T @ self.a).conj().T if by_adjoint else self.a @ x
        return y * self.outer

    def _matmat(self, x: np.ndarray) -> np.ndarray:
        return self._multiply(x, self.flip)

    def _rmatmat(self, x: np.ndarray) -> np.ndarray:
        return self._multiply(x, not self.flip)

    _matvec, _rmatvec = _matmat, _rmatmat


def _call(
    solve: Any, operator: Scaled, k: int, size: int, tol: Array, start: Array | None, key: Array, limited: bool
) -> Any:
    """``solve`` on the host. A failure there comes back as False, since an exception would arrive without a story.

    It counts only under a limit of the user's own: otherwise the native solver goes on with what was found.
    """
    (m, n), dtype = operator.shape, operator.dtype
    arrays, build = operator.inner.on_host()

    def on_host(arrays: Any, before: Any, after: Any, tol: Any, v: Any, finite: Any) -> Any:
        host = _HostOperator(build(*arrays), before, after, flip=m < n)
        found, ok = np.zeros((k, size), dtype), False
        if bool(finite):
            try:
                vectors, ok = solve(host, float(tol), v), True
            except ArpackNoConvergence as failure:
                vectors = failure.eigenvectors.T
            except (ArpackError, np.linalg.LinAlgError):
                vectors = found[:0]
            usable = vectors[:k][np.all(np.isfinite(vectors[:k]), axis=1)]
            found[: len(usable)] = usable
        return found, np.asarray(ok or not limited), np.asarray(host.products, np.int32)

    random = jax.random.normal(key, (1, size), dtype)
    v = random[0] if start is None else jnp.sum(start_block(start, random), axis=0)
    result = tuple(jax.ShapeDtypeStruct(*x) for x in (((k, size), dtype), ((), jnp.bool_), ((), jnp.int32)))
    finite = jnp.isfinite(operator.magnitude())
    return call_on_host(on_host, result, arrays, operator.before, operator.after, tol, v, finite)
