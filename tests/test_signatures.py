"""Whoever calls fastrec as version 0.1.0 was called can go on to.

fixtures.py wrote tests/data/0.1.0/signatures.json with 0.1.0.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fixtures import DATA
from signatures import parameters, properties

import fastrec
import fastrec.plot

STORED = json.loads((DATA / "signatures.json").read_text())
CHANGELOG = (Path(__file__).parents[1] / "CHANGELOG.md").read_text()
# Names whose signature has changed on purpose, and why; the changelog names each of them as well.
FRESH = "seeds are fresh by default"
CHANGED: dict[str, str] = {
    "CharModel": FRESH,
    "CharModel.sample": FRESH,
    "CharModel.stream": FRESH,
    "EncoderDecoder": FRESH,
    "EncoderDecoder.fit": FRESH,
    "EncoderDecoder.generate": FRESH,
    "RNN": FRESH,
    "RNN.generate": FRESH,
    "RNN.loss_and_gradients": FRESH,
    "fit": FRESH,
    **dict.fromkeys(("random_patterns", "corrupt", "HopfieldNetwork.recall"), FRESH),
    **dict.fromkeys(("capacity", "capacity_scaling"), "corruption is called flips"),
    **dict.fromkeys(("retrieval_curve", "retrieval_scaling"), "noise is called flips"),
    "basin_map": "a bar is shown by default",
}
PROPERTIES = {"HopfieldNetwork.patterns"}  # which can still be called: tests/test_dynamics.py


def find(name: str) -> Any:
    """What a name stands for, None for one of the fields of a dataclass."""
    value: Any = fastrec
    for part in name.split("."):
        if isinstance(value, type) and part in properties(value):
            return None
        value = getattr(value, part)
    return value


def differences(wanted: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[str]:
    """Calls that were right with the parameters wanted, and are not with those found, in words.

    Both are by position or name, and by name alone, as `parameters` gives them.
    """
    (places, names), both = wanted, found[0] | found[1]
    now = list(found[0])
    texts = [f"{key} is no longer number {i}" for i, key in enumerate(places) if now[i : i + 1] != [key]]
    for key, default in (places | names).items():
        if key not in both:
            texts.append(f"{key} is gone")
        elif default is not None and both[key] != default:
            texts.append(f"the default of {key} is {both[key]}, and was {default}")
    new = [key for key in both if key not in places | names and not key.startswith("*")]
    return texts + [f"{key} is new and has no default" for key in new if both[key] is None]


@pytest.mark.parametrize("name", STORED)
def test_what_could_be_called_can_be_called(name: str) -> None:
    value = find(name)  # raises AttributeError for a name that is gone
    if name not in CHANGED and name not in PROPERTIES and STORED[name] is not None:
        assert not differences(STORED[name], parameters(value))


def test_changes_are_in_the_changelog() -> None:
    for name, reason in CHANGED.items():
        assert reason and name in CHANGELOG and differences(STORED[name], parameters(find(name)))


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([{"a": None, "b": "1"}, {"c": "2"}], None),
        ([{"a": "0", "b": "1", "c": "2", "d": "3"}, {"e": "4"}], None),
        ([{"b": "1", "a": None}, {"c": "2"}], "a is no longer number 0"),
        ([{"a": None, "d": "3", "b": "1"}, {"c": "2"}], "b is no longer number 1"),
        ([{"a": None}, {"b": "1", "c": "2"}], "b is no longer number 1"),
        ([{"a": None, "b": "1"}, {}], "c is gone"),
        ([{"a/": None, "b": "1"}, {"c": "2"}], "a is gone"),
        ([{"a": None, "b": "5"}, {"c": "2"}], "the default of b is 5, and was 1"),
        ([{"a": None, "b": None}, {"c": "2"}], "the default of b is None, and was 1"),
        ([{"a": None, "b": "1"}, {"c": "2", "d": None}], "d is new and has no default"),
    ],
)
def test_differences(found: list[dict[str, Any]], text: str | None) -> None:
    texts = differences([{"a": None, "b": "1"}, {"c": "2"}], found)
    assert text in texts if text else not texts
