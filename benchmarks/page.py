"""The page in the docs: what stands above the mark is written by hand, all below it by this."""

from pathlib import Path

from .plots import CAPTIONS
from .report import markdown

MARK = "<!-- Written by `python -m benchmarks --docs`; what stands above this line is kept. -->"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
FIGURES = PAGE.with_suffix("")
FRONT = PAGE.parent / "_static" / "full_against_truncated.svg"


def write_page(results, figures):
    """Replace all below the mark by the tables of ``results`` and the ``figures`` that are in FIGURES."""
    before = PAGE.read_text().split(MARK)[0] if PAGE.exists() else "# Benchmarks\n\n"
    images = "\n\n".join(f"![{CAPTIONS[name]}]({FIGURES.name}/{name}.svg)" for name in figures)
    plots = f"## Plots\n\n{images}\n\n" if figures else ""
    tables = markdown(results)
    head, rest = tables.split("## The gap", 1)
    PAGE.write_text(f"{before}{MARK}\n\n{head}{plots}## The gap{rest}")
