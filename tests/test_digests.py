"""Results on "cpu" are those of 0.1.0, with the same bits for any number of threads.

Whole numbers, states and quotients of these are those of 0.1.0 bit by bit, floats but for rounding.
tests/digests.py wrote tests/data/digests-0.1.0.json with results of 0.1.0 (9e3d370), which were the same with
1, 2 and 5 threads.  A result that changes on purpose gets a new digest, and a line in the changelog.
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
LONG = ("generation", "large_networks")  # several seconds each
each_kind = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in KINDS]
)


TOLERANCE = 5e-5  # of a sketch; what rounding in another order changes is up to 6e-6


@functools.cache
def of_one_thread(name: str) -> dict[str, tuple[str, tuple[str, float]]]:
    """The digest and the sketch of each result of a case."""
    digests.set_threads(1)
    try:
        return digests.found(lambda value: (digests.digest(value), digests.sketch(value)), KINDS[name], name)
    finally:
        digests.set_threads(None)


@each_kind
def test_results_are_those_of_0_1_0(name: str) -> None:
    found, stored = of_one_thread(name), STORED[KINDS[name]][name]
    assert found.keys() == stored.keys()
    if KINDS[name] == "exact":
        different = [label for label, (digest, _) in found.items() if digest != stored[label]]
    else:
        different = [
            f"{label}: {number} and in 0.1.0 {stored[label][1]}"
            for label, (_, (rest, number)) in found.items()
            if rest != stored[label][0] or abs(number - stored[label][1]) > TOLERANCE
        ]
    assert not different, f"{len(different)} of {len(found)} results differ: {'; '.join(different[:9])}"


@pytest.mark.each_value
@pytest.mark.parametrize("number", [2, 5])
@each_kind
def test_threads_change_no_bit(name: str, number: int, threads: Callable[[int], int]) -> None:
    of_one = of_one_thread(name)
    threads(number)
    found = digests.found(digests.digest, KINDS[name], name)
    different = [label for label in found if found[label] != of_one[label][0]]
    assert not different, f"{len(different)} of {len(found)} results differ: {'; '.join(different[:9])}"
