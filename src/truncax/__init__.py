"""The k singular triplets or eigenpairs that you need, and their exact derivative, in JAX."""

from importlib.metadata import version as _version

from . import linalg as linalg
from . import preconditioners as preconditioners
from . import rules as rules
from . import testing as testing
from .decompositions import invariant_subspace, singular_subspaces, teigh, tsvd
from .functions import discarded_weight, low_rank_approximation, matrix_function, spectral_projector
from .gauge import fix_gauge, gauge_defect
from .general import teig
from .multiplets import complete_multiplet, mask_multiplet
from .operators.convert import as_operator
from .operators.function import linear_operator
from .operators.operator import LinearOperator
from .options import LOBPCG, Arnoldi, Arpack, Dense, GolubKahan, Implicit, Lanczos, Propack
from .results import (
    ConvergenceError,
    DerivativeInfo,
    InvariantSubspace,
    SingularSubspaces,
    SolveInfo,
    Status,
    TEighResult,
    TEigLeftResult,
    TEigResult,
    TSVDResult,
)
from .rules import derivative_info
from .solvers.progress import show_progress

__version__ = _version("truncax")

__all__ = [
    "LOBPCG",
    "Arnoldi",
    "Arpack",
    "ConvergenceError",
    "Dense",
    "DerivativeInfo",
    "GolubKahan",
    "Implicit",
    "InvariantSubspace",
    "Lanczos",
    "LinearOperator",
    "Propack",
    "SingularSubspaces",
    "SolveInfo",
    "Status",
    "TEigLeftResult",
    "TEigResult",
    "TEighResult",
    "TSVDResult",
    "as_operator",
    "complete_multiplet",
    "derivative_info",
    "discarded_weight",
    "fix_gauge",
    "gauge_defect",
    "invariant_subspace",
    "linear_operator",
    "low_rank_approximation",
    "mask_multiplet",
    "matrix_function",
    "show_progress",
    "singular_subspaces",
    "spectral_projector",
    "teig",
    "teigh",
    "tsvd",
]
