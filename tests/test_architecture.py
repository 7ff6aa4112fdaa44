"""The three laws of the house, read from the source."""

import ast
import inspect
from pathlib import Path

import pytest

import truncax

ROOT = Path(truncax.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
IDS = [str(p.relative_to(ROOT)) for p in SOURCES]

# A module may import from layers below its own, and from its own folder; solvers and complement are siblings.
LAYERS = {
    "results": 0,
    "numerics": 0,
    "options": 1,
    "operators": 1,
    "solvers": 2,
    "complement": 2,
    "preconditioners": 2,
    "rules": 3,
    "arguments": 4,
    "failure": 4,
    "pipeline": 5,
    "entry": 6,
    "decompositions": 7,
    "general": 7,
    "functions": 8,
    "gauge": 8,
    "linalg": 8,
    "multiplets": 8,
    "testing": 9,
    "__init__": 10,
    "command": 11,
    "__main__": 12,
}
WITH_RULES = {"rules/attach.py", "numerics/derivative.py"}
FORBIDDEN = {("rules", "solvers"), ("solvers", "rules"), ("solvers", "complement"), ("complement", "solvers")}
SIBLINGS = ("functions", "gauge", "linalg", "multiplets")
FORBIDDEN |= {(one, other) for one in SIBLINGS for other in SIBLINGS if one != other}


def layer_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """The modules that a file imports: absolute names, relative ones resolved."""
    package = ("truncax", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def own_layers(path):
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "truncax":
            yield "__init__" if len(parts) == 1 or parts[1] not in LAYERS else parts[1]


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_imports_point_down(path):
    layer = layer_of(path)
    for target in own_layers(path):
        if target == "__init__" and layer not in ("command", "__main__"):
            relative = [n for n in imports(path) if n == "truncax" or n.startswith("truncax.")]
            assert all(n == "truncax" or n.split(".")[1] in LAYERS for n in relative), relative
            continue
        assert LAYERS[target] < LAYERS[layer] or target == layer, f"{layer} imports {target}"
        assert (layer, target) not in FORBIDDEN


def test_every_layer_is_named_and_there():
    assert {layer_of(p) for p in SOURCES} == set(LAYERS)


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_only_two_files_define_rules(path):
    text = path.read_text()
    if str(path.relative_to(ROOT)) in WITH_RULES:
        assert "custom_jvp" in text
    else:
        assert "custom_jvp" not in text
        assert "custom_vjp" not in text


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_no_private_jax(path):
    for name in imports(path):
        assert not name.startswith(("jax._src", "jax.core", "jax.interpreters", "jaxlib"))
    assert "._src" not in path.read_text()


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_no_file_is_long(path):
    assert len(path.read_text().splitlines()) <= 400


DECOMPOSITIONS = (
    truncax.tsvd,
    truncax.teigh,
    truncax.teig,
    truncax.singular_subspaces,
    truncax.invariant_subspace,
    truncax.low_rank_approximation,
    truncax.spectral_projector,
)
OTHERS = (
    truncax.linear_operator,
    truncax.as_operator,
    truncax.matrix_function,
    truncax.discarded_weight,
    truncax.gauge_defect,
    truncax.fix_gauge,
    truncax.complete_multiplet,
    truncax.mask_multiplet,
    truncax.show_progress,
    truncax.linalg.svd,
    truncax.linalg.svdvals,
    truncax.linalg.eigh,
    truncax.linalg.eigvalsh,
)


def test_every_public_name_is_documented():
    assert truncax.__all__ == sorted(truncax.__all__, key=lambda name: (not name.isupper(), name))
    public = {n for n in vars(truncax) if not n.startswith("_") and not inspect.ismodule(getattr(truncax, n))}
    assert public == set(truncax.__all__)
    for name in truncax.__all__:
        assert inspect.getdoc(getattr(truncax, name)), name
    for function in (*DECOMPOSITIONS, *OTHERS):
        text = inspect.getdoc(function)
        for section in ("Args:", "Returns:", "Raises:", "Derivative:", "Example:", "Source:", ">>> "):
            assert section in text, (function.__name__, section)
        for parameter in inspect.signature(function).parameters.values():
            name = str(parameter).split(":")[0] if parameter.kind is parameter.VAR_KEYWORD else parameter.name
            assert f"\n    {name}: " in text, (function.__name__, name)


def test_only_a_and_k_are_positional():
    for function in DECOMPOSITIONS:
        parameters = list(inspect.signature(function).parameters.values())
        assert [p.name for p in parameters[:2]] == ["a", "k"]
        assert all(p.kind is p.KEYWORD_ONLY for p in parameters[2:])


HELPERS = (truncax.testing.check_derivatives, truncax.testing.matrix_of_spectrum, truncax.testing.subspace_distance)


@pytest.mark.parametrize("function", [*DECOMPOSITIONS, *OTHERS, *HELPERS])
def test_docstring_examples(function):
    import doctest

    import jax

    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
        for example in finder.find(function, function.__name__):
            assert example.examples
            runner.run(example)
    assert runner.summarize().failed == 0
