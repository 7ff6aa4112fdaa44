"""What ``a`` may be: everything that multiplies a block of vectors, as a JAX pytree."""

from .convert import as_operator
from .diagonals import diagonal, identity
from .gramian import gram
from .kronecker import kron
from .lowrank import low_rank
from .operator import LinearOperator

__all__ = ["LinearOperator", "as_operator", "diagonal", "gram", "identity", "kron", "low_rank"]
