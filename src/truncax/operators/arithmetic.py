"""The signs of arithmetic for operators."""

from __future__ import annotations

from types import ModuleType
from typing import Any


class Arithmetic:
    """``A + B``, ``A - B``, ``-A``, ``c * A``, ``A * c``, ``A / c``, ``A @ B``, ``A @ x`` and ``x @ A``."""

    # NumPy's arrays and scalars then leave the sign to the operator.
    __array_ufunc__ = None

    def __add__(self, other: Any) -> Any:
        return _combined().add(self, other)

    def __radd__(self, other: Any) -> Any:
        return _combined().add(other, self)

    def __sub__(self, other: Any) -> Any:
        return _combined().subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return _combined().subtract(other, self)

    def __neg__(self) -> Any:
        return _combined().multiply(self, -1)

    def __mul__(self, factor: Any) -> Any:
        return _combined().multiply(self, factor)

    def __rmul__(self, factor: Any) -> Any:
        return _combined().multiply(self, factor)

    def __truediv__(self, factor: Any) -> Any:
        return _combined().multiply(self, factor, divide=True)

    def __matmul__(self, other: Any) -> Any:
        return _combined().matmul_right(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _combined().matmul_left(other, self)


def _combined() -> ModuleType:
    """The module of what the signs make: operators, whose base class this is, so that it cannot be imported above."""
    from . import combined

    return combined
