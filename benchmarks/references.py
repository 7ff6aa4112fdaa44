"""Gradients from SciPy and NumPy alone, to compare with: they share no code and no method with what is measured."""

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator, cg, eigsh, splu, svds


def singular(a, k, X, Y):
    """The k values, the gap, and the gradient of ``sum_j g(s_j) (u_j^T X) (Y^T v_j)`` at the entries of a CSR ``a``.

    With ``B = [[0, A], [A^T, 0]]`` and ``x = (u; v)``: ``dx_j = (s_j - B)^+ dB x_j``. On the kept pairs of B the
    inverse is known, on their complement ``s_j - B`` is positive definite: conjugate gradients, column by column.
    """
    m, n = a.shape
    U, s, Vh = svds(a, k + 1, tol=0, solver="arpack", rng=np.random.default_rng(0))
    order = np.argsort(s)[::-1]
    U, s, V = U[:, order], s[order], Vh[order].T
    known = np.vstack([np.hstack([U, U]), np.hstack([V, -V])]) / np.sqrt(2)
    roots = np.concatenate([s, -s])
    adjoint = a.T.tocsr()
    rows, columns = a.tocoo().coords
    gradient = np.zeros(a.nnz)

    def outside(x):
        return x - known @ (known.T @ x)

    for j in range(k):
        u, v, g = U[:, j], V[:, j], s[j] / (1 + s[j] ** 2)
        right = np.concatenate([g * X @ (Y.T @ v), g * Y @ (X.T @ u)])
        along = known.T @ right
        weights = np.delete(roots, j)
        z = np.delete(known, j, axis=1) @ (np.delete(along, j) / (s[j] - weights))

        def product(x, value=s[j]):
            x = outside(x)
            return outside(value * x - np.concatenate([a @ x[m:], adjoint @ x[:m]]))

        rest, _ = cg(LinearOperator((m + n, m + n), product, dtype=a.dtype), outside(right), rtol=1e-13, maxiter=5000)
        z += rest
        slope = (1 - s[j] ** 2) / (1 + s[j] ** 2) ** 2 * ((X.T @ u) @ (Y.T @ v))
        gradient += z[:m][rows] * v[columns] + u[rows] * (z[m:] + slope * v)[columns]
    return s[:k], (s[k - 1] - s[k]) / s[0], gradient


def hermitian(a, k, sigma, w, c):
    """``values``, the gap, the vectors q and z of each pair: the gradient is ``sum_j sym(z_j q_j^T) + w_j q_j q_j^T``.

    ``z_j = (l_j - A)^+ (2 w_j c q_j)`` by a sparse LU of ``[[l_j - A, q_j], [q_j^T, 0]]``, which is not singular.
    """
    n = a.shape[0]
    values, q = eigsh(a, k + 1, sigma=sigma, which="LM", tol=0, rng=np.random.default_rng(0))
    order = np.argsort(np.abs(values - sigma))
    values, q = values[order], q[:, order]
    z = np.empty((n, k))
    for j in range(k):
        column = scipy.sparse.csc_array(q[:, [j]])
        shifted = values[j] * scipy.sparse.eye_array(n) - a
        bordered = scipy.sparse.block_array([[shifted, column], [column.T, None]], format="csc")
        right = np.append(2 * w[j] * c * q[:, j], 0)
        z[:, j] = splu(bordered).solve(right)[:n]
    gap = abs(values[k] - values[k - 1]) / np.max(np.abs(values[:k]))
    return values[:k], gap, q[:, :k], z
