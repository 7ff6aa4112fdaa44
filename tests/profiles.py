"""How many cases a test goes through: by default every value of every axis, under ``TRUNCAX_LONG=1`` their product."""

import os
from itertools import combinations, product

import pytest

LONG = "TRUNCAX_LONG" in os.environ


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
