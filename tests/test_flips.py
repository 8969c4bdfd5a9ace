"""`flips`, the one word for noise: an int counts units and a float is a share of them, in every study."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrec
from fastrec import CapacityResult, ScalingResult
from fastrec.hopfield.storage_capacity import CapacityDefinition
from fastrec.hopfield.storage_capacity.result import SCHEMA
from fastrec.jobs.export import export

STUDIES: dict[str, Callable[..., Any]] = {
    "capacity": lambda **how: fastrec.capacity(30, 4, **how).counts.tolist(),
    "capacity_scaling": lambda **how: fastrec.capacity_scaling([30], 4, **how)[0].counts.tolist(),
    "retrieval_curve": lambda **how: fastrec.retrieval_curve(30, [0.2], 2, 3, **how).outcomes,
    "retrieval_scaling": lambda **how: fastrec.retrieval_scaling([30], [0.2], 2, 3, **how).outcomes,
}


@pytest.mark.parametrize("name", STUDIES)
def test_numbers_and_shares(name: str) -> None:
    study, default = STUDIES[name], 1 if name.startswith("capacity") else 0
    assert study() == study(flips=default)
    assert study(flips=0.1) == study(flips=3) == study(flips=np.int64(3)) != study()
    assert study(flips=0.0) == study(flips=0)
    assert study(flips=1.0) == study(flips=30) != study(flips=1)
    for flips in (-1, 31, 1.5, float("nan"), True, "1"):
        with pytest.raises(ValueError, match="flips is "):
            study(flips=flips)


@pytest.mark.parametrize("name", STUDIES)
def test_old_names_keep_their_meaning(name: str) -> None:
    study = STUDIES[name]
    capacity = name.startswith("capacity")
    old = "corruption" if capacity else "noise"
    for value, flips in ((3, 3), (1, 1)) if capacity else ((0.1, 3), (1, 30), (0, 0)):
        with pytest.warns(DeprecationWarning, match=f"{old}= is called flips= now") as caught:
            found = study(**{old: value})
        assert found == study(flips=flips) and len(caught) == 1 and caught[0].filename == __file__
    with pytest.raises(ValueError, match=f"{old} is 1.* and flips 2; give flips alone"):
        study(**{old: 1, "flips": 2})
    with pytest.raises(ValueError, match=f"{old} is "):
        study(**{old: 0.1 if capacity else 1.5})


def test_a_share_is_one_definition_of_all_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    scaling = fastrec.capacity_scaling([20, 40], 5, path, flips=0.1)
    for result, flips in zip(scaling, (2, 4), strict=True):
        assert result.definition.share == 0.1 and result.definition.flips(result.n) == flips
        assert np.array_equal(result.counts, fastrec.capacity(result.n, 5, flips=flips).counts)
    assert "probed with 10 % of the bits flipped" in scaling.table() and "theory" not in scaling.table()
    scaling.save(tmp_path / "a.csv")
    assert ScalingResult.load(tmp_path / "a.csv") == scaling
    for loaded, result in zip(ScalingResult.load(path), scaling, strict=True):
        assert loaded.definition == result.definition and np.array_equal(loaded.counts, result.counts)
    with pytest.raises(
        ValueError, match=r"corruption is 0 in the file, 2 is asked; share is 0\.1 in the file"
    ):
        fastrec.capacity_scaling([20], 5, path, flips=2)


def test_definitions_of_shares() -> None:
    options: Any = ("all", "largest", 1, "async", 100, 50, 0)
    for share in (-0.1, 1.1, 0.1):  # the last beside a number
        with pytest.raises(ValueError, match="share must be a number from 0 to 1, and 0 where"):
            CapacityDefinition(*options, share=share)


def test_seconds_are_totals_in_results_and_those_of_a_trial_in_exports(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    result = fastrec.capacity_scaling([20], 3, path)[0]
    export(path, tmp_path / "run.csv")
    result.save(tmp_path / "a.csv")
    trials, totals = (
        list(csv.DictReader((tmp_path / name).read_text().splitlines()[1:-1]))
        for name in ("run.csv", "a.csv")
    )
    assert sum(float(trial["seconds"]) for trial in trials) == pytest.approx(result.seconds)
    assert {float(total["total_seconds"]) for total in totals} == {result.seconds}
    head, columns, *rows = (tmp_path / "a.csv").read_text().splitlines()
    cells, names = [row.split(",") for row in (columns.replace("total_seconds", "seconds"), *rows[:-1])], []
    for at in reversed(range(len(cells[0]))):  # as version 0.1.0 wrote it
        if cells[0][at] in SCHEMA.added:
            names += [row.pop(at) for row in cells][:1]
    assert sorted(names) == sorted(SCHEMA.added)
    lines = [head.replace("capacity 5", "capacity 1"), *map(",".join, cells), rows[-1], ""]
    (tmp_path / "old.csv").write_text("\n".join(lines))
    assert CapacityResult.load(tmp_path / "old.csv") == CapacityResult.load(tmp_path / "a.csv") == result


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fastrec.capacity_scaling(5, 1),
            r"sizes is 5; give a sequence of numbers of units, as \[5\]",
        ),
        (lambda: fastrec.retrieval_scaling(5, [0.1]), r"sizes is 5; give a sequence"),
        (
            lambda: fastrec.capacity_scaling([8], 1, executor=5),
            "executor is 5; it must be a concurrent.futures",
        ),
        (lambda: fastrec.basin_map(8, [1], [1], executor="a"), "executor is 'a'; it must be"),
        (lambda: fastrec.capacity(8, 1, progress="yes"), "progress is 'yes'; it must be True or False"),
    ],
)
def test_arguments(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
