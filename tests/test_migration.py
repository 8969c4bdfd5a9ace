"""The code of docs/migration.md: old calls work and warn, and new ones give the same without a warning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrec

PAGE = (Path(__file__).parents[1] / "docs/migration.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([^`]+)`[^|]*\| `([^`]+)`[^|]*\|$", re.MULTILINE)
DEPRECATED, CHANGED = (ROW.findall(PAGE.partition(f"## {title}\n")[2]) for title in ("Deprecated", "Changed"))
DEPRECATED = [row for row in DEPRECATED if row not in CHANGED]


@pytest.fixture
def names() -> dict[str, Any]:
    """What the code on the page takes for granted."""
    net = fastrec.HopfieldNetwork(30)
    net.store(patterns := fastrec.random_patterns(3, 30, seed=1))
    symbols = np.array([[0, 1, 2]])
    return {
        "fastrec": fastrec,
        "net": net,
        "patterns": patterns,
        "model": fastrec.EncoderDecoder(3, 3, 4, seed=1),
        "sources": symbols,
        "targets": symbols,
        "networks": fastrec.RNN(2, 4, 2, models=2, seed=1),
        "tokens": np.ones((2, 3, 2), np.int32),
        "text": "it's a word",
    }


@pytest.mark.parametrize(("old", "new"), DEPRECATED)
def test_deprecated_calls_work(old: str, new: str, names: dict[str, Any]) -> None:
    with pytest.warns(DeprecationWarning, match="flips|property"):
        before = eval(old, names)
    after = eval(new, names)
    if isinstance(after, np.ndarray):
        np.testing.assert_array_equal(before, after)
    else:
        assert re.sub(r"[\d.]+ s\b", "", repr(before)) == re.sub(r"[\d.]+ s\b", "", repr(after))


@pytest.mark.parametrize("new", [new for _, new in CHANGED if "(" in new and "addition" not in new])
def test_new_forms_work(new: str, names: dict[str, Any]) -> None:
    exec(new, names)


def test_the_page_names_every_deprecation() -> None:
    changes = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
    section = changes.partition("### Deprecated\n")[2].partition("\n### ")[0]
    old = " ".join(old for old, _ in DEPRECATED)
    named = re.findall(r"`(?:HopfieldNetwork\.)?(\w+)=?`", section.replace("flips=", ""))
    assert named and all(name in old for name in named), named
