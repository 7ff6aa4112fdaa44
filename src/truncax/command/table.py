"""The outcome for people: a table of at most 100 columns."""

import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from .compare import NO_FULL, Comparison, Quantity, Side
from .ising import KaufmanCheck
from .verdict import milliseconds, three, verdict

WIDTH = 100
# Slowest over fastest run above which a median is not worth much, for programs that take more than NOISE seconds.
UNSTEADY = 2.0
NOISE = 2e-3


class Subject(NamedTuple):
    """What was compared: a title, remarks, and the power of two by which the matrix was divided."""

    title: str
    notes: tuple[str, ...]
    exponent: int
    seed: int
    kaufman: KaufmanCheck | None = None


def table(c: Comparison, subject: Subject) -> str:
    """Everything that was found, and in the last line one sentence that says what was gained."""
    blocks = [_head(c, subject), _columns(c), _remarks(c), _facts(c)]
    if subject.kaufman is not None:
        blocks.append(_kaufman_lines(subject.kaufman))
    blocks.append(textwrap.wrap(verdict(c), WIDTH))
    return "\n\n".join("\n".join(lines) for lines in blocks)


def _listed(rows: list[tuple[str, str]]) -> list[str]:
    """Names on the left, texts beside them, wrapped."""
    indent = 10
    lines = []
    for name, text in rows:
        lines += textwrap.wrap(f"{name:<{indent}}{text}", WIDTH, subsequent_indent=" " * indent, break_long_words=False)
    return lines


def _head(c: Comparison, subject: Subject) -> list[str]:
    m, n = c.shape
    device = jax.devices()[0]
    triplets = "largest triplet" if c.rank == 1 else f"{c.rank} largest triplets"
    return _listed(
        [
            ("matrix", f"{subject.title}, {m} x {n}, {c.dtype}"),
            *(("", note) for note in subject.notes),
            ("scaling", f"divided by 2^{subject.exponent}, the power of two next to its norm"),
            ("loss", f"Re <W, U g(S) V^H> of the {triplets}, with g(s) = s / (1 + s^2)"),
            ("", f"and random normal W (seed {subject.seed})"),
            ("device", f"{device.device_kind}, jax {jax.__version__}"),
        ]
    )


def _columns(c: Comparison) -> list[str]:
    rows = [
        _timed("time of the value", c, lambda s: s.value.median),
        _timed("time of value and gradient", c, lambda s: s.gradient.median),
        _timed("compiling the value, once", c, lambda s: s.value.compile_seconds),
        _timed("compiling value and gradient, once", c, lambda s: s.gradient.compile_seconds),
        _row("memory of value and gradient [1]", c, lambda s: s.gradient.memory, _bytes, ratio=True),
        _row("largest residual, over s_1", c, lambda s: s.residual, "{:.1e}".format),
    ]
    if c.full is not None:
        rows.append(_row("error of the value [2]", c, lambda s: s.value_error, _error))
        rows.append(_row("error of the gradient [2]", c, lambda s: s.gradient_error, _error))
    head = ("", "truncax", *(("jnp.linalg.svd", "ratio") if c.full is not None else ()))
    widths = (36, 14, 18, 10)
    lines = ["".join(f"{x:{'>' if i else '<'}{widths[i]}}" for i, x in enumerate(row)) for row in (head, *rows)]
    rule = "-" * len(lines[0])
    return [line.rstrip() for line in (lines[0], rule, *lines[1:], rule)]


def _row(name: str, c: Comparison, pick: Callable[[Side], Any], show: Callable, ratio: bool = False) -> tuple[str, ...]:
    ours = pick(c.truncated)
    if c.full is None:
        return name, show(ours)
    theirs = pick(c.full)
    quotient = theirs / ours if ratio and ours and theirs else None
    shown = "" if quotient is None else f"{quotient:.0f}" if quotient >= 10 else f"{quotient:.2g}"
    return name, show(ours), show(theirs), shown


def _timed(name: str, c: Comparison, pick: Callable[[Side], float]) -> tuple[str, ...]:
    return _row(name, c, pick, milliseconds, ratio=True)


def _bytes(x: int | None) -> str:
    if x is None:
        return "not available"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if x >= size:
            return f"{three(x / size)} {unit}"
    return f"{x} B"


def _error(q: Quantity) -> str:
    """The number, or the first words of why there is none."""
    return q.reason.split(":")[0] if q.value is None else f"{q.value:.1e}"


def _remarks(c: Comparison) -> list[str]:
    ours, theirs = c.truncated, c.full
    first = f"Times are medians of {ours.gradient.runs} runs"
    if theirs is None:
        first += f". {NO_FULL[0].upper()}{NO_FULL[1:]}: nothing to compare with."
    else:
        first += f" ({theirs.gradient.runs} for jnp.linalg.svd); ratio: jnp.linalg.svd over truncax."
    rows = [
        ("", first),
        ("[1]", "arguments, results, temporaries of the compiled program; LAPACK's own workspace is not in it"),
    ]
    if theirs is not None:
        rows.append(
            ("[2]", "relative, against the closed form by divided differences (full SVD in NumPy, double precision)")
        )
    sides = (("truncax", ours), ("jnp.linalg.svd", theirs))
    measured = [x for _, side in sides if side is not None for x in (side.value, side.gradient)]
    spread = max((x.spread for x in measured if x.median > NOISE), default=1)
    if spread > UNSTEADY:
        rows.append(
            ("", f"Unsteady: runs of the same program differ by a factor of {spread:.1f}; is the machine busy?")
        )
    for name, side in sides:
        if side is not None and side.gradient_error.reason not in ("", NO_FULL):
            rows.append(("", f"The gradient by {name}: {side.gradient_error.reason}."))
    lines = []
    for mark, text in rows:
        lines += textwrap.wrap(f"{mark} {text}".strip(), WIDTH, subsequent_indent="    ", break_long_words=False)
    return lines


def _facts(c: Comparison) -> list[str]:
    k, gap = c.rank, c.cut_gap
    if gap.value is None:
        cut = f"none: {gap.reason}"
    else:
        cut = f"s_{k} - s_{k + 1} = {gap.value:.3g} s_1"
        if c.last_value > 0:
            cut += f" = {gap.value / c.last_value:.3g} s_{k}"
        cut += "" if c.full is not None else ", estimated from Ritz values"
    work = f"{c.solver}, {c.restarts} restart cycles, {c.products} products with A or A^H"
    if c.solver == "Dense":
        work = "Dense: truncax itself takes the full decomposition at this size and rank, with the truncated derivative"
    rows = [("cut gap", cut), ("solver", work)]
    if c.gradient_difference.value is not None and not c.in_multiplet:
        rows.append(("gradients", f"truncax and jnp.linalg.svd differ by {c.gradient_difference.value:.1e} (relative)"))
    return _listed(rows)


def _kaufman_lines(check: KaufmanCheck) -> list[str]:
    rows = (
        ("ln(lambda_max)", check.value, check.value_exact),
        ("d ln(lambda_max) / d beta", check.derivative, check.derivative_exact),
    )
    head = f"{'':<26}{'truncax':>20}{'exact (Kaufman)':>20}{'difference':>12}"
    return [head] + [f"{name:<26}{x:>20.15g}{y:>20.15g}{abs(x - y) / abs(y):>12.1e}" for name, x, y in rows]
