"""The table of ``mutants.py`` is not stale: each mutant changes one place, and the default suite has its tests."""

import ast
from collections import Counter
from functools import cache

import pytest
from mutants import MUTANTS, SOURCE, TESTS, mutated
from profiles import name_in_file, spare_tests


@cache
def functions_of(file):
    return {node.name for node in ast.parse((TESTS / file).read_text()).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_no_mutant_is_stale(mutant):
    text = (SOURCE / "truncax" / mutant.file).read_text()
    ast.parse(mutated(mutant, text))
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert name.partition("[")[0] in functions_of(file), test
        assert not {test, test.partition("[")[0]} & spare_tests(), "the default suite must see every mutant"


def test_the_cases_that_catch_the_mutants_are_run(request):
    if request.config.option.keyword or any("::" in argument for argument in request.config.args):
        pytest.skip("only some tests were asked for")
    run = {name_in_file(item) for item in request.session.items}
    files, functions = ({name.partition(mark)[0] for name in run} for mark in ("::", "["))
    wanted = {test for mutant in MUTANTS for test in mutant.tests if test.partition("::")[0] in files}
    assert wanted <= run | functions


def test_every_mutant_has_a_name_of_its_own():
    assert Counter(m.name for m in MUTANTS).most_common(1)[0][1] == 1


def test_what_the_default_suite_leaves_out_is_there():
    for test in spare_tests():
        file, _, name = test.partition("::")
        assert name.partition("[")[0] in functions_of(file), test
