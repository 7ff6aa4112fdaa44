"""The pages: their code runs, their links lead somewhere, and the reference has every public name."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import jax
import pytest

import truncax

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
# A block under the line `<!-- not run -->` is left out.
BLOCK = re.compile(r"^( *)(<!-- not run -->\n+ *)?```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def blocks(path):
    """The Python blocks of a page that are to run, with as many empty lines before as make errors name their line."""
    text = path.read_text()
    for block in BLOCK.finditer(text):
        if not block[2]:
            code = "\n".join(line.removeprefix(block[1]) for line in block[3].splitlines())
            yield "\n" * text[: block.start(3)].count("\n") + code


def doctests(path):
    return doctest.DocTestParser().get_doctest(path.read_text(), {}, path.name, str(path), 0)


RUN = [path for path in (ROOT / "README.md", *PAGES) if next(blocks(path), None) or doctests(path).examples]


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_code_of_a_page_runs(path):
    double = '"jax_enable_x64", True' in path.read_text()
    with jax.enable_x64(double), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        names = {"__name__": path.stem}
        for block in blocks(path):
            exec(compile(block, str(path), "exec"), names)
        assert doctest.DocTestRunner().run(doctests(path)).failed == 0


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *PAGES, ROOT / "docs/examples/index.md"], ids=lambda path: path.stem
)
def test_links_lead_to_files(path):
    for target, _ in LINK.findall(path.read_text()):
        if not re.match(r"https?:|mailto:", target):
            assert (path.parent / target).exists(), target


def public(module):
    """The public names of a module: its ``__all__``, or the functions and classes that are its own."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }


MODULES = [
    truncax,
    *(
        importlib.import_module(f"truncax.{name}")
        for name in ("linalg", "operators", "preconditioners", "rules", "testing")
    ),
]
REFERENCE = {
    name
    for path in (ROOT / "docs/api").glob("*.md")
    for name in re.findall(r"^\.\. auto\w+:: (\S+)$", path.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_reference_has_every_public_name(module):
    for name in public(module):
        # What two modules have is documented once, under truncax.
        assert {f"{module.__name__}.{name}", f"truncax.{name}"} & REFERENCE, name


def resolved(name):
    *path, last = name.split(".")
    for n in range(len(path), 0, -1):
        try:
            value = importlib.import_module(".".join(path[:n]))
        except ModuleNotFoundError:
            continue
        for attribute in (*path[n:], last):
            value = getattr(value, attribute)
        return value
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_what_the_reference_names_has_a_docstring(name):
    value = resolved(name)
    text = inspect.getdoc(value)
    assert text, name
    if inspect.isfunction(value) and not name.startswith("truncax.solvers"):
        assert ">>> " in text, f"{name} has no example"


def test_every_example_has_a_line_in_the_gallery():
    lines = re.findall(r"^(\w+): ", (ROOT / "docs/examples/index.md").read_text(), re.MULTILINE)
    assert len(lines) == len(set(lines))
    assert {path.stem for path in (ROOT / "docs/examples").glob("*.py")} <= set(lines)
