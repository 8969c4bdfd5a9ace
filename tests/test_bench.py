"""`fastrec bench`: what it says of a job is what was measured, and reports come back from files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastrec import RNN, capacity, cli, random_patterns
from fastrec.backend import kernels
from fastrec.bench import jobs, peers, report, timing

cpu = kernels("hopfield", "cpu")


class Clock:
    """A clock that stands still but for what is asked of it."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        pass

    def tick(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time passes in jobs only: one that takes 2 s, of which a kernel 1.5, and its baseline that takes 20."""
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    names = ("bit products (popcount)", "overlaps added", "patterns added", "multiply-adds")
    rates = dict.fromkeys(names, 1e12)
    monkeypatch.setattr("fastrec.bench.peak_rates.limits", lambda: rates)
    monkeypatch.setattr(report, "best", lambda task: 1.0)
    monkeypatch.setattr(cpu, "overlaps", lambda *arrays: clock.tick(1.5))

    def ours() -> None:
        cpu.overlaps()
        clock.tick(0.5)

    def small() -> Iterator[jobs.Job]:
        yield jobs.Job("small", ours, lambda: clock.tick(20), "a slow one", (2, 4), {jobs.BITS: 2e11})

    monkeypatch.setitem(jobs.JOBS, "overlaps", small)
    return clock


def test_report_says_what_was_measured(tmp_path: Path) -> None:
    told: list[str] = []
    found = report.run(["overlaps"], 5, told.append)
    (row,) = found.rows
    assert (row.seconds, row.baseline_seconds, row.times, row.share) == (1, 5, 5, 0.2)
    assert row.spent == {"overlaps": 1.5, "outside of kernels": 0.5}
    assert "SGEMM" in told[0] and "bit products (popcount)" in told[0]
    assert "1 s    5.0 x a slow one\n    20% of bit products (popcount): 200 G; overlaps 75%" in told[1]
    found.save(tmp_path / "a.json")
    assert report.Report.load(tmp_path / "a.json") == found
    slower = replace(found, rows=[replace(row, seconds=2)])
    assert "; 2.00 x earlier" in found.table(slower) and "earlier" not in found.table()


def test_kernels_are_put_back() -> None:
    before = cpu.random_patterns

    def fail() -> None:
        with timing.kernel_times("cpu") as spent:
            assert cpu.random_patterns is not before
            random_patterns(3, 70, backend="cpu", seed=0)
            assert "random_patterns" in spent
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert cpu.random_patterns is before


@pytest.mark.parametrize(("n", "sample"), [(60, 2), (70, 0)])
def test_capacity_job(monkeypatch: pytest.MonkeyPatch, n: int, sample: int) -> None:
    monkeypatch.setitem(jobs.SCANS, n, (3, sample, 1))
    job = jobs.scan(n)
    counts = capacity(n, 3, backend="cpu").counts
    added = n * (counts**2).mean()
    assert job.operations == pytest.approx({"patterns added": added, jobs.BITS: added / 2})
    assert job.bytes == pytest.approx((n * counts / 4 + 5 * counts**2).mean())
    other = SimpleNamespace(counts=counts + 1)
    assert job.each == (3, sample or 3) and np.array_equal(job.ours().counts, counts)
    assert job.against == ("NumPy incremental scan" if sample else "one thread")
    job.baseline()
    monkeypatch.setattr(jobs, "capacity" if sample == 0 else "numpy_trial", lambda *_, **__: other)
    with pytest.raises(ArithmeticError, match="capacity"):
        job.baseline()


def test_kernels_of_one_large_network_are_timed() -> None:
    with timing.kernel_times("cpu") as spent:
        capacity(2000, 1, backend="cpu", max_patterns=400)
    assert {"scan_panels", "overlap_blocks"} <= spent.keys()


ROW = {"name": "a", "seconds": 2, "baseline_seconds": 1, "times": 1, "against": "b", "limit": "SGEMM"}
REPORT = {"kind": report.KIND, "machine": "m", "version": "1", "date": "d", "threads": 1}


def content_with(**values: Any) -> str:
    """A report with a row, and other values in it."""
    row = ROW | {"share": 1, "spent": {"a": 1}} | values
    return json.dumps(REPORT | {"limits": {"SGEMM": 1}, "rows": [row]})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"kind": "fastrec bench 1"}',
        "\x80",
        "[" * 10**5,
        content_with(seconds="x"),
        content_with(seconds=0),
        content_with(seconds=10**400),
        content_with(times=float("inf")),
        content_with(bytes=True),
        content_with(name=3),
        content_with(against="\x1b[31m"),
        content_with(spent={"a": "b"}),
        content_with(spent=[1]),
        content_with(operations={"a": 1}),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=r"a\.json: not a report of fastrec bench"):
        report.Report.load(path)
    path.write_text(content_with(), encoding="utf-8")
    assert report.Report.load(path).rows[0].seconds == 2


def test_a_report_is_loaded_as_it_was_saved_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(content_with(), encoding="utf-8")
    saved = report.Report.load(path)
    saved.save(path)
    assert report.Report.load(path) == saved
    path.write_text(path.read_text().replace('"seconds": 2', '"seconds": 3'))
    with pytest.raises(ValueError, match=r"a\.json: not a report .*damaged"):
        report.Report.load(path)


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_peers_compute_the_same(cell: str) -> None:
    net = RNN(3, 5, cell=cell, initial="uniform", backend="cpu", seed=0)
    rng = np.random.default_rng(0)
    x, d = (rng.standard_normal((2, 7, width)).astype(np.float32) for width in (3, 5))
    for rival in [peers.Reference(net, x, d), *peers.peers(net, x, d)]:
        np.testing.assert_allclose(rival.forward(), net.predict(x)[0], atol=1e-5)
        expected = net.backward(net.forward(x), d_hidden=d)["x"]
        np.testing.assert_allclose(rival.both(), expected, atol=1e-5)


def test_command(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "hear_interrupts", lambda: None)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["fastrec", "bench", "--rounds", "1", *arguments])
        with pytest.raises(SystemExit):
            cli.main()
        return "".join(capsys.readouterr())

    assert "written to a.json and a.svg" in run("--only", "overlaps", "--out", "a.json", "--plot", "a.svg")
    assert json.loads(Path("a.json").read_text())["rows"] and Path("a.svg").read_text().startswith("<?xml")
    assert "x earlier" in run("--only", "overlaps", "--against", "a.json")
    assert "'nonsense'" in run("--only", "nonsense")


def test_a_wrong_result_is_not_timed() -> None:
    with pytest.raises(ArithmeticError, match="disagree"):
        jobs.check(False, "recall")
