"""How many cases a test goes through: by default every value of every axis, under ``TRUNCAX_LONG=1`` their product."""

import os
import random
from itertools import combinations, product
from pathlib import Path

import pytest

LONG = "TRUNCAX_LONG" in os.environ
HYPOTHESIS_LONG = os.environ.get("TRUNCAX_HYPOTHESIS") == "long"


def few(cases, rest):
    """``cases``, and under ``TRUNCAX_LONG=1`` the rest of them."""
    return [*cases, *rest] if LONG else cases


LONG_ONLY = pytest.mark.skipif(not LONG, reason="of the long profile, TRUNCAX_LONG=1")


def name_in_file(item):
    """The name of a collected test as ``spare.txt`` and the mutants write it."""
    return f"{item.path.name}::{item.nodeid.partition('::')[2]}"


def spare_tests():
    """The names in ``spare.txt``: a test, or one of its cases, of the long profile only."""
    lines = Path(__file__).with_name("spare.txt").read_text().splitlines()
    return {line for line in lines if not line.startswith("#")}


def selected(*axes, rows=0):
    """As many cases as the longest axis has values, or ``rows``: always the one with most that is new.

    What counts are first its values, then its pairs of values.
    """
    if LONG:
        return list(product(*axes))
    places, seen, chosen = list(product(*(range(len(axis)) for axis in axes))), set(), []

    def parts(place, size):
        return set(combinations(enumerate(place), size))

    for _ in range(max(rows, *map(len, axes))):
        best = max(places, key=lambda place: [len(parts(place, size) - seen) for size in (1, 2)])
        seen |= parts(best, 1) | parts(best, 2)
        chosen.append(tuple(axis[i] for axis, i in zip(axes, best, strict=True)))
    return chosen


def crossed(names, *axes, rows=0):
    """``pytest.mark.parametrize`` over what is ``selected``."""
    return pytest.mark.parametrize(names, selected(*map(list, axes), rows=rows), ids=name_of_tuple)


def name_of_tuple(value):
    return str(value) if isinstance(value, tuple) else None


def covering(axes, allowed, rows=0, seed=0, tries=300):
    """Cells, as dictionaries, that hold every pair of values that is ``allowed``, or the best ``rows`` of them.

    ``axes`` maps names to values; a cell is a value of each axis. Of some random cells the one with most new pairs is
    taken. Under ``TRUNCAX_LONG=1`` all pairs are met whatever ``rows`` says.
    """
    rng, names = random.Random(seed), list(axes)
    draws = ({name: rng.choice(axes[name]) for name in names} for _ in range(200_000))
    pool = [cell for cell in draws if allowed(cell)]
    left = {pair for cell in pool for pair in _pairs(cell)}
    chosen = []
    while left and (LONG or not rows or len(chosen) < rows):
        best = max(rng.sample(pool, tries), key=lambda cell: len(_pairs(cell) & left))
        if not _pairs(best) & left:
            best = next(cell for cell in pool if _pairs(cell) & left)
        chosen.append(best)
        left -= _pairs(best)
    return chosen


def _pairs(cell):
    return set(combinations(cell.items(), 2))
