"""Records of benchmarks: a file for each machine, and tables in which every one has its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import compare
import pytest
import records


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("AMD EPYC, 2 cores", "amd-epyc"),
        ("AMD EPYC (znver4), 2 cores", "amd-epyc-znver4"),
        ("Intel(R) Xeon(R) Processor, 2 cores", "intel-xeon"),
        ("AMD EPYC 9R14 96-Core Processor, 4 cores", "amd-epyc-9r14"),
        ("Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz, 12 cores", "intel-core-i7-8700"),
        ("arm, 8 cores", "arm"),
    ],
)
def test_machine_name(machine: str, name: str) -> None:
    assert records.machine_name(machine) == name


def test_pages_have_the_records() -> None:
    for path, names in ((records.README, ("ratios", "jobs", "scan")), (records.FRONT_PAGE, ("speed",))):
        page = path.read_text(encoding="utf-8")
        assert all(page.count(f"<!-- {name} -->") == 1 for name in names)
        assert page == records.with_tables(page, records.records()), "run python benchmarks/records.py"


def run_of(version: str, **seconds: float) -> records.Run:
    """A run of trials of so many units, n100=..."""
    head = {"machine": "Some CPU, 2 cores", "date": "2026-01-01", "numpy": "2", "numba": "0.60"}
    rows: list[dict[str, Any]] = [
        {
            "name": f"first-failure trial, n = {name[1:]}",
            "ours_s": s,
            "baseline_s": 2 * s,
            "ratio": 2.0,
            "goal": None,
            "against": "NumPy incremental scan",
            "first_call_s": 1.0,
            "share": None,
            "operations": {"patterns added": 3e6, "bit products": 1.5e6},
            "shares": {"patterns added": 0.321, "bit products": 0.045},
            "bytes": 2.9e4,
        }
        for name, s in seconds.items()
    ]
    return head | {"version": version, "commit": "c" + version, "rows": rows}


def test_a_run_replaces_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    records.add(run_of("1", n100=1, n200=4))
    path = records.add(run_of("2", n100=0.5))
    assert path == tmp_path / "some.json"
    assert [(run["version"], len(run["rows"])) for run in records.runs_of(path)] == [("1", 1), ("2", 1)]
    (earlier,) = tmp_path.glob("history/*-c1-*")
    assert len(records.rows_of(earlier)) == 2
    records.add(run_of("3", n100=0.5, n200=2))
    assert [run["version"] for run in records.runs_of(path)] == ["3"]
    assert "2.00" in compare.table(records.rows_of(earlier), records.rows_of(path))


def test_scan_table_has_a_column_for_each_machine() -> None:
    other = run_of("2", n200=0.25)
    del other["rows"][0]["operations"], other["rows"][0]["shares"], other["rows"][0]["bytes"]
    other["machine"] = "Other CPU, 4 cores"
    head, _, *rows = records.scan_table([[run_of("1", n1000=0.004, n200=1)], [other]])
    assert "| Some CPU, 2 cores; fastrec 1 (c1), 2026-01-01 | Other CPU, 4 cores; fastrec 2 (c2)" in head
    counts = "3 M | 1.5 M | 29 kB"
    assert rows == [
        f"| 200 | {counts} | 1 s (32%, 4.5%), **2** x NumPy | 250 ms, **2** x NumPy |",
        f"| 1000 | {counts} | 4 ms (32%, 4.5%), **2** x NumPy |  |",
    ]


def test_front_page_has_a_row_for_each_headline() -> None:
    one, other = run_of("1", n1000=0.004), run_of("2", n100=1)
    other["machine"] = "Other CPU, 4 cores"
    head, _, trial, *empty = records.front_table([[one], [other]])
    assert head == "| job | beside | Some CPU, 2 cores | Other CPU, 4 cores |"
    assert trial == "| one trial of capacity, n = 1000 | NumPy | 4 ms, **2** x |  |"
    assert len(empty) == len(records.HEADLINES) - 1 and all(line.endswith("|  |  |  |") for line in empty)
    runs = [run for machine in records.records() for run in machine]
    assert all(records.headline(runs, name) for name in records.HEADLINES.values())


def test_ratios_have_a_column_for_each_machine() -> None:
    one, other = run_of("1", n100=1), run_of("2", n100=0.25)
    for run, name in ((one, "a"), (other, "b")):
        run["rows"] = [row | {"name": name, "against": "it"} for row in run["rows"]] + [
            row | {"name": "both", "ratio": 3.0} for row in run["rows"]
        ]
    other["machine"] = "Other CPU, 4 cores"
    head, _, *lines = records.ratio_table([[one], [other]])
    assert head == "| job | Some CPU, 2 cores | Other CPU, 4 cores |"
    assert lines == [
        "| a | **2** x it |  |",
        "| both | **3** x NumPy incremental scan | **3** x NumPy incremental scan |",
        "| b |  | **2** x it |",
    ]
