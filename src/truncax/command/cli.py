"""The command line: arguments in, an exit code out."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import jax
import numpy as np

from ..results import ConvergenceError
from . import ising
from .alive import alive
from .compare import compare
from .matrices import DTYPES, Loaded, MatrixError, computing_dtype, read_matrix, scaled
from .record import as_json
from .table import Subject, table

PROGRAM = "truncax"
DEFAULT_RANK = 16


class _UsageError(Exception):
    pass


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(message)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, not negative, got {text!r}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The arguments of ``python -m truncax``."""
    p = _Parser(
        prog=PROGRAM,
        description="Compare the truncated SVD of Truncax with jnp.linalg.svd on a matrix: time of the value, time of "
        "value and gradient, memory, residuals, and both gradients against a closed form.",
        epilog="Without FILE it takes the transfer matrix of the 2D Ising model on a ring of 10 spins, whose answer is "
        "known. Exit codes: 0 done, 1 no convergence or no memory, 2 a wrong argument or matrix.",
    )
    p.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        help=".npy, .npz (also SciPy sparse, which is made dense to be compared), .mtx or .mtx.gz",
    )
    p.add_argument(
        "--rank",
        metavar="K",
        type=_natural,
        help=f"how many triplets to keep (default: {DEFAULT_RANK}, or all of fewer; {ising.RANK} without FILE)",
    )
    p.add_argument("--dtype", metavar="D", choices=DTYPES, help=f"{', '.join(DTYPES)} (default: that of the file)")
    p.add_argument(
        "--seed", metavar="N", type=_natural, default=0, help="of the random weights in the loss (default: 0)"
    )
    p.add_argument("--no-full", action="store_true", help="compute no full SVD: only the truncated side")
    p.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    p.add_argument("--version", action="version", version=f"{PROGRAM} {version(PROGRAM)}")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1 for no convergence or too little memory, 2 for a wrong argument or matrix."""
    try:
        return _run(parser().parse_args(argv))
    except (_UsageError, MatrixError) as problem:
        return _fail(str(problem), 2)
    except ConvergenceError as problem:
        return _fail(str(problem), 1)
    except MemoryError:
        return _fail("not enough memory for this matrix", 1)
    except jax.errors.JaxRuntimeError as problem:
        return _fail(str(problem).splitlines()[0], 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def _fail(message: str, code: int) -> int:
    print(f"{PROGRAM}: error: {message}", file=sys.stderr)
    return code


def _run(options: argparse.Namespace) -> int:
    loaded, title, rank = _built_in(options) if options.file is None else _from_file(options)
    limit = min(loaded.array.shape)
    if not 1 <= rank <= limit:
        shape = " x ".join(map(str, loaded.array.shape))
        raise _UsageError(f"--rank must be between 1 and min(m, n) = {limit} for a matrix of {shape}, got {rank}")
    dtype = computing_dtype(loaded.array, options.dtype)
    matrix, exponent = scaled(loaded.array, dtype)
    with jax.enable_x64(_is_double(dtype)):
        outcome = compare(matrix, rank, seed=options.seed, full=not options.no_full, step=alive)
        check = None
        if options.file is None:
            with alive("truncax: d ln(lambda_max) / d beta"):
                check = ising.check_against_kaufman(dtype=matrix.real.dtype)
        subject = Subject(title, loaded.notes, exponent, options.seed, check)
    print(as_json(outcome, subject, version(PROGRAM)) if options.json else table(outcome, subject), flush=True)
    return 0


def _is_double(dtype: np.dtype) -> bool:
    return dtype.name in ("float64", "complex128")


def _built_in(options: argparse.Namespace) -> tuple[Loaded, str, int]:
    dtype = np.dtype(options.dtype or "float64")
    real = np.finfo(dtype).dtype
    with jax.enable_x64(_is_double(dtype)):
        matrix = np.asarray(ising.transfer_matrix(jax.numpy.asarray(ising.BETA, real)))
    notes = ["built in, since no FILE was given"]
    if options.rank is None:
        notes.append(f"rank {ising.RANK}, which falls into a gap of the spectrum; give --rank K for another")
    title = f"2D Ising transfer matrix, ring of {ising.SPINS} spins, beta = {ising.BETA}"
    return Loaded(matrix.astype(dtype), tuple(notes)), title, ising.RANK if options.rank is None else options.rank


def _from_file(options: argparse.Namespace) -> tuple[Loaded, str, int]:
    with alive(f"reading {options.file}", announce=False):
        loaded = read_matrix(options.file)
    rank, notes = options.rank, loaded.notes
    if rank is None:
        rank = min(DEFAULT_RANK, *loaded.array.shape)
        notes = (*notes, f"rank {rank} by default; give --rank K for another")
    return Loaded(loaded.array, notes), str(options.file), rank
