"""The table of ``mutants.py`` is not stale: each mutant changes one place, and the default suite has its tests."""

import ast
from collections import Counter
from functools import cache

import pytest
from mutants import MUTANTS, SOURCE, TESTS, mutated
from profiles import spare_tests


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


def test_every_mutant_has_a_name_of_its_own():
    assert Counter(m.name for m in MUTANTS).most_common(1)[0][1] == 1


def test_what_the_default_suite_leaves_out_is_there():
    for test in spare_tests():
        file, _, name = test.partition("::")
        assert name.partition("[")[0] in functions_of(file), test
