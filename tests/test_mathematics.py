"""docs/mathematics.md: every file and function that it names exists, and every equation has one."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "mathematics.md").read_text()
NAMED = re.compile(r"`([\w/]+\.py): ([\w.]+)`")
TABLE, REFERENCES = PAGE.split("\n## Equation and function\n")[1].split("\n## References\n")


@cache
def defined(file):
    """The functions and classes of a module, methods as ``Class.method``."""
    tree = ast.parse((ROOT / "src" / "truncax" / file).read_text())
    kinds = ast.FunctionDef | ast.ClassDef
    outer = [node for node in tree.body if isinstance(node, kinds)]
    inner = {f"{c.name}.{f.name}" for c in outer for f in c.body if isinstance(f, ast.FunctionDef)}
    return {node.name for node in outer} | inner


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED.findall(PAGE))))
def test_what_the_page_names_exists(file, name):
    assert (ROOT / "src" / "truncax" / file).is_file()
    assert name in defined(file)


def test_every_row_of_the_table_names_a_function():
    rows = [line for line in TABLE.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    assert all(NAMED.search(row) for row in rows)


def test_every_equation_is_in_the_table():
    tags = {int(tag) for tag in re.findall(r"\\tag\{(\d+)\}", PAGE)}
    assert tags == set(range(1, max(tags) + 1))
    # (1) says what a singular triplet is, (7) what the condition is: neither is computed.
    assert tags - {int(tag) for tag in re.findall(r"\((\d+)\)", TABLE)} == {1, 7}


def test_every_reference_is_listed():
    references = {int(number) for number in re.findall(r"^(\d+)\. ", REFERENCES, re.MULTILINE)}
    cited = {int(number) for group in re.findall(r"\[(\d+(?:, \d+)*)\](?!\()", PAGE) for number in group.split(", ")}
    assert references == set(range(1, len(references) + 1))
    assert cited <= references
