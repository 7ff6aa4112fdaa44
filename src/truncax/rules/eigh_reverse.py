"""Cotangent of the k kept eigenpairs of a Hermitian operator in their subspace form.

The adjoint of ``rules.eigh``, written from the equations. For
``dL = Re tr(Qbar^H dQ) + Re tr(Hbar^H dH) = Re tr(Abar^H dA)`` and P = I - Q Q^H,

    Abar = herm((Q Hbar + Z) Q^H)
    P A Z - Z H = -P Qbar

The operator symmetrises its own tangent, and with it its cotangent, so ``herm`` is not taken here. JAX's
cotangents are the complex conjugates of these; ``rules.attach`` conjugates on the way in and out.

Source: after Naumann, arXiv:2511.14651, and Kasim, arXiv:2011.04366.
"""

import jax.numpy as jnp
from jax import Array, lax

from ..complement.solve import SolveOptions, solve_self_adjoint
from ..numerics.products import matmul, project_out, times
from ..numerics.tolerances import negligible
from ..operators.operator import Operator
from .eigh import definite_sign, discarded_part


def invariant_cotangent(
    operator: Operator, Q: Array, H: Array, Qbar: Array, Hbar: Array, *, size: Array, which: str, options: SolveOptions
) -> Array:
    """``left = Q Hbar + Z`` (n, k), for which ``Abar = herm(left Q^H)``; ``size`` is the order of the norm of A.

    The system gets ``D size`` on span(Q), with D the signs of ``definite_sign``: it is then definite on the whole
    space, and its solution stays in the complement. A zero pair of "LM" (or of A = 0) has only zeros beside it; its
    column of Z is zero.
    """
    PAP = discarded_part(operator, Q)
    values = lax.stop_gradient(jnp.diagonal(H).real)
    sign = definite_sign(values, which)
    regular = (size > 0) & (jnp.abs(values) > negligible(H.dtype) * size)
    kept = (regular if which == "LM" else jnp.broadcast_to(size > 0, values.shape)).astype(values.dtype)
    shift = sign * jnp.where(size > 0, size, 1)

    def complement(z: Array) -> Array:
        y = times(project_out(Q, z), kept)
        return times(PAP(y) - matmul(y, H), kept) + times(z - y, shift)

    b = -times(project_out(Q, Qbar), kept)
    Z = project_out(Q, solve_self_adjoint(complement, b, sign=sign, options=options))
    return matmul(Q, Hbar) + Z
