"""Reading the user's matrix, and making it ready: a dense array of a known dtype, scaled by a power of two."""

import math
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io
import scipy.sparse

DTYPES = ("float32", "float64", "complex64", "complex128")
DENSE_LIMIT = 8 * 2**30

_UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, KeyError, IndexError, OverflowError, NotImplementedError, StopIteration,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class MatrixError(ValueError):
    """The matrix cannot be used; one line that says why."""


class Loaded(NamedTuple):
    """A two-dimensional array of numbers, and what should be said about how it came to be."""

    array: np.ndarray
    notes: tuple[str, ...] = ()


def read_matrix(path: Path) -> Loaded:
    """The matrix of a ``.npy``, ``.npz`` (arrays, or SciPy sparse), ``.mtx`` or ``.mtx.gz`` file.

    No pickle is ever loaded. Anything that is not one finite matrix of numbers raises ``MatrixError``.
    """
    name = path.name.lower()
    if name.endswith((".npy", ".npz")):
        read, kind = _read_numpy, "NumPy"
    elif name.endswith((".mtx", ".mtx.gz")):
        read, kind = _read_matrix_market, "Matrix Market"
    else:
        raise MatrixError(f"{path}: unknown kind of file; allowed are .npy, .npz, .mtx and .mtx.gz")
    try:
        loaded = read(path)
    except MatrixError:
        raise
    except FileNotFoundError:
        raise MatrixError(f"{path}: no such file") from None
    except MemoryError:
        raise MatrixError(f"{path}: too large for the memory of this machine") from None
    except _UNREADABLE as problem:
        reason = " ".join((getattr(problem, "strerror", None) or str(problem) or type(problem).__name__).split())
        raise MatrixError(f"{path}: cannot be read as a {kind} file of numbers: {reason}") from None
    _check(loaded.array, path)
    return loaded


def _check(a: np.ndarray, path: Path) -> None:
    if a.dtype.kind not in "biufc":
        raise MatrixError(f"{path}: must hold numbers, got an array of dtype {a.dtype}")
    if a.size == 0:
        raise MatrixError(f"{path}: the array is empty, its shape is {a.shape}")
    if a.ndim != 2:
        raise MatrixError(f"{path}: must hold a matrix (two dimensions), got shape {a.shape}")
    if not np.all(np.isfinite(a)):
        raise MatrixError(f"{path}: must be finite, got {np.sum(~np.isfinite(a))} NaN or infinite entries")


def _read_numpy(path: Path) -> Loaded:
    with path.open("rb") as stream:
        content = np.load(stream, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return Loaded(content)
        if {"format", "shape"} <= set(content.files):
            stream.seek(0)
            return _densified(scipy.sparse.load_npz(stream), path)
        return _only_matrix(content, path)


def _only_matrix(content: Mapping[str, Any], path: Path) -> Loaded:
    """The only matrix among the arrays of an archive."""
    arrays: dict[str, np.ndarray] = {}
    shown = []
    for name in content:
        try:
            arrays[name] = content[name]
            shown.append(f"{name} ({arrays[name].dtype}, {' x '.join(map(str, arrays[name].shape)) or 'scalar'})")
        except ValueError:
            shown.append(f"{name} (Python objects)")
    matrices = [name for name, a in arrays.items() if a.ndim == 2 and a.dtype.kind in "biufc"]
    if len(matrices) == 1:
        note = (f"the array {matrices[0]!r} of {len(shown)} in the file",) if len(shown) > 1 else ()
        return Loaded(arrays[matrices[0]], note)
    if len(shown) == len(arrays) == 1:
        return Loaded(next(iter(arrays.values())))
    problem = "more than one matrix" if matrices else "no matrix of numbers"
    raise MatrixError(f"{path}: holds {problem}: {', '.join(shown) or 'it is empty'}; save the one that you mean alone")


def _read_matrix_market(path: Path) -> Loaded:
    rows, columns, *_, field, _ = scipy.io.mminfo(path)
    _check_dense_size((rows, columns), np.dtype("complex128" if field == "complex" else "float64"), path)
    with warnings.catch_warnings():
        # SciPy 1.18 announces another class of sparse result; either will do.
        warnings.simplefilter("ignore", DeprecationWarning)
        content = scipy.io.mmread(path)
    return _densified(content, path) if scipy.sparse.issparse(content) else Loaded(np.asarray(content))


def _densified(a: Any, path: Path) -> Loaded:
    """A sparse matrix as a dense array."""
    if a.dtype.kind not in "biufc":
        raise MatrixError(f"{path}: must hold numbers, got a sparse array of dtype {a.dtype}")
    _check_dense_size(a.shape, a.dtype, path)
    if hasattr(a, "check_format"):
        a.check_format(full_check=True)  # a damaged index would write outside of the dense array
    stored = a.nnz / max(1, math.prod(a.shape))
    return Loaded(a.toarray(), (f"sparse with {a.nnz} entries ({stored:.2g} of all); made dense for this comparison",))


def _check_dense_size(shape: tuple[int, ...], dtype: np.dtype, path: Path) -> None:
    size = math.prod(shape) * dtype.itemsize
    if size > DENSE_LIMIT:
        raise MatrixError(
            f"{path}: sparse, and {' x '.join(map(str, shape))} as a dense array would take {size / 2**30:.1f} GiB; "
            f"the limit of this command is {DENSE_LIMIT / 2**30:g} GiB"
        )


def computing_dtype(a: np.ndarray, asked: str | None) -> np.dtype:
    """The dtype to compute in: ``asked``, else the array's own, where half precision and integers become float64."""
    if asked is None:
        own = a.dtype.newbyteorder("=")
        double = "complex128" if a.dtype.kind == "c" else "float64"
        return own if own.name in DTYPES else np.dtype(double)
    if a.dtype.kind == "c" and not asked.startswith("complex"):
        raise MatrixError(f"the matrix is complex ({a.dtype}): --dtype must be complex64 or complex128, got {asked}")
    return np.dtype(asked)


def scaled(a: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, int]:
    """``(a / 2^e, e)`` in ``dtype``, with a largest singular value of about one (between 0.7 and 1.5).

    The norm comes from power iteration. A power of two leaves the digits as they are.
    """
    double = a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    largest = max(float(np.max(np.abs(double.real))), float(np.max(np.abs(double.imag))))
    first = math.frexp(largest)[1]
    double = _divided(double, first)
    x: np.ndarray = np.random.default_rng(0).standard_normal((a.shape[1],))
    norm = 0.0
    for _ in range(20):
        y = double @ (x / max(float(np.linalg.norm(x)), np.finfo(float).tiny))
        norm = float(np.linalg.norm(y))
        x = (y.conj() @ double).conj()
    second = round(math.log2(norm)) if norm > 0 else 0
    return _divided(double, second).astype(dtype), first + second


def _divided(a: np.ndarray, exponent: int) -> np.ndarray:
    """``a / 2^exponent`` in two steps, since one factor may be outside of the range of the exponent."""
    half = exponent // 2
    return (a * 2.0**-half) * 2.0 ** (half - exponent)
