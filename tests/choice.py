"""Which tests and cases a run without ``--all`` leaves out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import Any

import pytest


def pairwise(cases: Sequence[Sequence[Hashable]], strength: int = 2) -> list[int]:
    """Numbers of a few cases that have every pair of values of two parameters that is in any of them.

    A case is its values, one of each parameter.  strength: 1 for every value, 3 for every triple.  The next
    case is always the first of those with most that is new: the same cases always give the same answer.
    """
    wanted = [set(combinations(enumerate(case), min(strength, len(case)))) for case in cases]
    chosen = []
    while new := max(map(len, wanted), default=0):
        chosen.append(next(i for i, parts in enumerate(wanted) if len(parts) == new))
        covered = set(wanted[chosen[-1]])
        for parts in wanted:
            parts -= covered
    return sorted(chosen)


def values_of(item: pytest.Item) -> dict[str, Any]:
    """The parameters of a case by their names."""
    return item.callspec.params if hasattr(item, "callspec") else {}


def parameters(item: pytest.Item) -> tuple[tuple[int, ...], ...]:
    """What stands for the value of each parameter of a test: what is given together is one parameter."""
    values = values_of(item)
    names = [mark.args[0] for mark in item.iter_markers("parametrize")]
    groups = [name.replace(",", " ").split() if isinstance(name, str) else name for name in names]
    of_fixtures = sorted(values.keys() - {name for group in groups for name in group})
    groups += [[name] for name in of_fixtures]
    return tuple(tuple(id(values[name]) for name in group) for group in groups)


def short(items: Sequence[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """The tests that a short run has, and those that it leaves out, in their order.

    It leaves out what is marked slow, and of the other cases of a test those with no new pair of values of
    its parameters; if the test is marked ``each_value``, those with no new value.  Parameters that the mark
    names are set apart: each of their values has every value of the others.
    """
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        if not item.get_closest_marker("slow"):
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = set()
    for cases in tests.values():
        mark = cases[0].get_closest_marker("each_value")
        apart: dict[tuple[Hashable, ...], list[pytest.Item]] = {}
        for case in cases:
            key = tuple(values_of(case).get(name) for name in (mark.args if mark else ()))
            apart.setdefault(key, []).append(case)
        for some in apart.values():
            kept.update(some[i] for i in pairwise(list(map(parameters, some)), 1 if mark else 2))
    return [item for item in items if item in kept], [item for item in items if item not in kept]
