"""Derivatives of functions of eigenvectors by central differences in 60 digits."""

import mpmath
import numpy as np


def sorted_eig(a, key, k):
    """The first k eigenpairs by ascending ``key`` of a 60-digit matrix, unit columns."""
    values, vectors = mpmath.eig(a)
    order = sorted(range(len(values)), key=lambda i: key(values[i]))[:k]
    columns = mpmath.matrix(a.rows, k)
    for j, i in enumerate(order):
        column = vectors[:, i]
        columns[:, j] = column / mpmath.norm(column)
    return [values[i] for i in order], columns


def sorted_pencil(both, key, k):
    """The same of ``a x = l b x``, b standing below a in one matrix; columns orthonormal under b."""
    a, b = both[: both.cols, :], both[both.cols :, :]
    values, columns = sorted_eig(b**-1 * a, key, k)
    for j in range(k):
        column = columns[:, j]
        columns[:, j] = column / mpmath.sqrt((column.H * b * column)[0].real)
    return values, columns


def differences(function, a, directions, step="1e-12"):
    """The first derivative of ``function`` at ``a`` along the first direction, the second along both."""
    with mpmath.workdps(60):
        a, h = mpmath.matrix(a.tolist()), mpmath.mpf(step)
        d, e = (mpmath.matrix(x.tolist()) for x in directions)
        first = (function(a + h * d) - function(a - h * d)) / (2 * h)
        second = sum(i * j * function(a + h * (i * d + j * e)) for i in (1, -1) for j in (1, -1)) / (4 * h * h)
        return np.array([complex(first), complex(second)])
