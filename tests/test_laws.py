"""The laws of storage capacity, and how they are measured."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import fastrec
from fastrec.hopfield.laws import LAWS, LawPoint, LawsResult, crossing, separable_quantile


def test_crossing() -> None:
    assert crossing([10, 20, 30], [1, 0.6, 0.2]) == 22.5
    assert crossing([10, 20, 30], [1, 0.5, 0.2]) == 20
    assert math.isnan(crossing([10, 20], [0.4, 0.2])) and math.isnan(crossing([10, 20], [0.9, 0.8]))


def test_separable_quantile() -> None:
    """All of 2^p dichotomies can be learnt in as many dimensions; the law is 2 n."""
    assert separable_quantile(2) == 1  # one pattern, by one weight
    assert 0.8 < separable_quantile(400) / 800 < 1


@pytest.mark.parametrize("name", LAWS)
def test_every_law_can_be_measured(name: str, tmp_path: Path) -> None:
    law = LAWS[name]
    n = min(law.quick)
    assert all(law.asymptotic(2 * size) > law.asymptotic(size) > 0 for size in law.sizes)
    for file, study in law.studies({n: 2}).items():
        run = tmp_path / f"{file}.db"
        (point,) = study(seed=3, out=run, progress=False)
        assert (point.law, point.n, point.networks) == (name, n, 2)
        assert 0.2 < point.measured / law.asymptotic(n) < 3
        assert run.exists() and repr(study(seed=3, out=run, progress=False)) == repr([point])


@pytest.mark.parametrize(
    "name", ["hebb-all", *(pytest.param(name, marks=pytest.mark.slow) for name in ("storkey", "projection"))]
)
def test_backends_agree(backend: str, name: str) -> None:
    """To the last pattern."""
    (study,) = LAWS[name].studies({20: 3}).values()
    assert study(seed=5, backend=backend, progress=False) == study(seed=5, backend="cpu", progress=False)


def test_order_and_files(tmp_path: Path) -> None:
    folder = tmp_path / "laws"
    with pytest.raises(FileNotFoundError, match="folder is"):
        fastrec.capacity_laws(["projection"], quick=True, folder=folder)
    folder.mkdir()
    result = fastrec.capacity_laws(["projection", "storkey"], quick=True, seed=5, folder=folder)
    assert [law.name for law in result.laws] == ["storkey", "projection"]
    assert len(list(folder.iterdir())) == 5
    assert result == fastrec.capacity_laws(["storkey", "projection"], quick=True, seed=5, folder=folder)


def test_results(tmp_path: Path) -> None:
    points = (
        LawPoint("hebb-all", 100, 50, 10, 8, 13, 10, 5.4),
        LawPoint("hebb-errors", 300, 10, 55.7, math.nan, 58, math.nan, 41.4),
    )
    result = LawsResult(points, 3)
    assert result.of("hebb-all") == points[:1] and repr(result) == "LawsResult(laws=2, points=2)"
    table = result.table().splitlines()
    assert len(table) == 4 and table[2].split()[-1] == "1.852" and "hebb-errors: 0.138 n" in table[3]
    result.save(tmp_path / "laws.csv")
    lines = (tmp_path / "laws.csv").read_text().splitlines()
    assert lines[1] == "law,n,networks,measured,low,high,expected,asymptotic" and len(lines) == 5
    axes = result.plot(tmp_path / "laws.png")
    assert axes.get_ylabel() == "capacity p (memories)" and (tmp_path / "laws.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"laws": ["hebb"]}, "laws is 'hebb'"),
        ({"laws": []}, "laws is empty"),
        ({"laws": "hebb-all"}, "laws is .hebb-all.; give a list"),
        ({"laws": 5}, "laws is 5; give a list"),
        ({"folder": 3}, "folder is 3; it must be the path"),
        ({"quick": 1}, "quick is 1"),
    ],
)
def test_wrong_arguments(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastrec.capacity_laws(**options)  # type: ignore[arg-type]
