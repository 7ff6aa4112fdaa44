"""Cotangent of the k kept singular triplets in their subspace form.

The adjoint of ``rules.svd``, written from the equations and not by transposing its code: the two share the
operator and the products with its discarded part, so that one checks the other. For

    dL = Re tr(Ubar^H dU) + Re tr(Cbar^H dC) + Re tr(Vbar^H dV) = Re tr(Abar^H dA)

the cotangent of A has rank 2k,

    Abar = (U Cbar + Z) V^H + U W^H
    Z C^H - Ap W   = P_U Ubar          Ap = P_U A P_V,  P_U = I - U U^H,  P_V = I - V V^H
    W C   - Ap^H Z = P_V Vbar

JAX's cotangents are the complex conjugates of these; ``rules.attach`` conjugates on the way in and out.

Source: after Naumann, arXiv:2511.14651; eliminated and scaled here.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..complement.solve import Solve, SolveOptions, solve_self_adjoint
from ..numerics.products import adjoint, matmul, project_out
from ..operators.operator import Adjoint, LinearOperator
from .svd import discarded_part, masked_inverse, singular_system


class SingularCotangent(NamedTuple):
    """``Abar = left right^H``, with ``left = [U Cbar + Z, U]`` (m, 2k) and ``right = [V, W]`` (n, 2k)."""

    left: Array
    right: Array


def singular_cotangent(
    operator: LinearOperator,
    U: Array,
    C: Array,
    V: Array,
    Ubar: Array,
    Cbar: Array,
    Vbar: Array,
    *,
    size: Array,
    which: str,
    options: SolveOptions,
    solve: Solve | None = None,
) -> SingularCotangent:
    """The factors of ``Abar`` from the cotangents of ``U`` (m, k), ``C`` (k, k) and ``V`` (n, k).

    Z and W come from the eliminated system on the smaller side. For m <= n, with ``Z = T C``,

        W = P_V Vbar C^-1 + Ap^H T
        T C C^H - Ap Ap^H T = b := P_U Ubar + Ap (P_V Vbar C^-1)

    Where the largest values are kept it is solved for Z, ``Z - Ap Ap^H Z (C^H C)^-1 = b C^-H``, which is positive
    definite on the whole space. Where the smallest are kept it is solved for ``-T``, with ``size^2`` on span(U). For
    m > n the roles are exchanged. Where s_j = 0, C^-1 is zero in column j, as in ``rules.svd``.
    """
    m, n = operator.shape
    if m > n:
        flipped = singular_cotangent(
            Adjoint(operator),
            V,
            adjoint(C),
            U,
            Vbar,
            adjoint(Cbar),
            Ubar,
            size=size,
            which=which,
            options=options,
            solve=solve,
        )
        return SingularCotangent(flipped.right, flipped.left)
    Ap, ApH = discarded_part(operator, U, V)
    Ci = masked_inverse(C, size)
    right = matmul(project_out(V, Vbar), Ci)
    b = project_out(U, Ubar) + Ap(right)
    system, solve = singular_system(operator, U, C, V, size, which), solve or solve_self_adjoint
    if which == "SM":
        T = -project_out(U, solve(system, b, options))
        Z = matmul(T, C)
    else:
        Z = solve(system, matmul(b, adjoint(Ci)), options)
        T = matmul(Z, Ci)
    W = right + ApH(T)
    return SingularCotangent(
        jnp.concatenate([matmul(U, Cbar) + Z, U], axis=1),
        jnp.concatenate([V, W], axis=1),
    )
