"""Results on "cpu" are those of 0.1.0, bit by bit, with any number of threads.

tests/digests.py wrote tests/data/digests-0.1.0.json from a checkout of 0.1.0 (9e3d370), whose results were
the same with 1, 2 and 5 threads.  A result that changes on purpose gets a new digest, and a line in
the changelog.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import digests
import pytest

# 0.1.0 had these names alone.
pytestmark = pytest.mark.filterwarnings("ignore:(corruption|noise)= is called flips=:DeprecationWarning")
STORED = json.loads((Path(__file__).parent / "data/digests-0.1.0.json").read_text())
KINDS = {name: kind for kind, names in digests.CASES.items() for name in names}


@functools.cache
def expected(name: str) -> dict[str, str]:
    """The digests of a case in 0.1.0; where none of floats are stored for such a CPU, those of one thread."""
    if KINDS[name] == "exact":
        return STORED["exact"][name]
    if digests.arithmetic() in STORED["floats"]:
        return STORED["floats"][digests.arithmetic()][name]
    digests.set_threads(1)
    return digests.digests("floats", name)


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("name", KINDS)
def test_results_are_those_of_0_1_0(name: str, number: int, threads: Callable[[int], int]) -> None:
    if KINDS[name] == "floats" and digests.arithmetic() not in STORED["floats"] and number == 1:
        pytest.skip(f"no digests of 0.1.0 for a CPU of this kind: {digests.arithmetic()}")
    wanted = expected(name)
    threads(number)
    found = digests.digests(KINDS[name], name)
    assert found.keys() == wanted.keys()
    different = [label for label in found if found[label] != wanted[label]]
    assert not different, f"{len(different)} of {len(found)} results differ: {'; '.join(different[:9])}"
