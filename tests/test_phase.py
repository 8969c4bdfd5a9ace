"""The plane of load and temperature: outcomes by the definition, statistics, files, figure, command."""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import fastrec
from fastrec import cli, plot
from fastrec.hopfield.phase import PhaseDefinition, PhaseOutcome, PhaseResult
from fastrec.hopfield.phase.run import Task, hold
from fastrec.hopfield.retrieval import trial_seed
from fastrec.jobs.export import export

PLANE: dict[str, Any] = {"trials": 3, "probes": 4, "sweeps": 6, "burn_in": 3, "seed": 5}


def by_hand(n: int, p: int, temperature: float, trial: int, d: PhaseDefinition) -> PhaseOutcome:
    """One sweep after the other."""
    seed, b = trial_seed(d.seed, n, p, trial), min(d.probes, p)
    patterns = fastrec.random_patterns(p, n, seed, backend="reference")
    net = fastrec.HopfieldNetwork(n, backend="reference")
    net.store(patterns)
    states, sums, overlap = patterns[:b], np.zeros((b, n), dtype=int), 0
    for sweep in range(d.burn_in + d.sweeps):
        states = net.recall(
            states, max_sweeps=1, seed=seed, temperature=temperature, first_sweep=sweep
        ).states
        if sweep >= d.burn_in:
            sums += states
            overlap += sum(int(x @ s) for x, s in zip(patterns.astype(int), states, strict=False))
    return PhaseOutcome(n, p, temperature, trial, b, overlap, int((sums**2).sum()))


@pytest.mark.parametrize("n", [1, 2, 63, 65])
def test_outcomes_are_those_of_the_definition(n: int, backend: str) -> None:
    for p, temperature, probes, burn_in in ((1, 0.3, 1, 0), (2, 1.0, 5, 1), (max(1, n // 5), 0.6, 3, 2)):
        d = PhaseDefinition(probes, 4, burn_in, 9)
        assert hold(Task(n, p, temperature, 2, d, backend)) == by_hand(n, p, temperature, 2, d)


def test_at_temperature_0_the_last_state_is_counted(backend: str) -> None:
    d = PhaseDefinition(6, 5, 3, 1)
    found = hold(Task(65, 12, 0.0, 0, d, backend))
    seed = trial_seed(1, 65, 12, 0)
    net = fastrec.HopfieldNetwork(65, backend="reference")
    net.store(patterns := fastrec.random_patterns(12, 65, seed, backend="reference"))
    final = net.recall(patterns[:6], max_sweeps=8, seed=seed)
    assert final.flips.any()
    assert found[4:] == (6, 5 * int((final.states * patterns[:6]).sum(dtype=int)), 25 * 6 * 65)


def test_results_depend_on_no_order_and_no_executor() -> None:
    whole = fastrec.phase_diagram(65, [0.05, 0.2], [0.0, 0.7], **PLANE, backend="cpu")
    with ThreadPoolExecutor(2) as threads:
        for options in ({"backend": "cpu", "executor": threads}, {"backend": "reference"}):
            other = fastrec.phase_diagram(65, [0.2, 0.05], [0.7, -0.0, 0.7], **PLANE, **options)
            assert other.outcomes == whole.outcomes and other.backend == options["backend"]
    part = fastrec.phase_diagram(65, 0.2, 0.7, **PLANE | {"trials": 2})
    assert part.outcomes == whole.outcomes[-3:-1]


@pytest.mark.slow
def test_overlaps_are_those_of_theory() -> None:
    """Where memories are stable; above T_M they are lost, and above T_g units have no mean."""
    found = fastrec.phase_diagram(2000, [0.02, 0.05], [0.2, 0.4, 0.8, 1.5], trials=8, sweeps=100, burn_in=50)
    points = {(point.alpha, point.temperature): point for point in found.points}
    for alpha, temperature in ((0.02, 0.2), (0.02, 0.4), (0.05, 0.2), (0.05, 0.4)):
        point = points[alpha, temperature]
        assert point.expected == fastrec.theory.ags_overlap(alpha, temperature)
        assert abs(point.difference) < 4 and point.error < 1e-3
    assert points[0.05, 0.8].overlap < 0.2 < 0.3 < points[0.05, 0.8].edwards_anderson
    assert abs(points[0.05, 1.5].overlap) < 0.02 > points[0.05, 1.5].edwards_anderson - 0.01
    assert math.isnan(points[0.05, 0.8].difference)


def test_statistics() -> None:
    one, two = (PhaseOutcome(10, 2, 0.5, trial, 2, overlap, 1200) for trial, overlap in ((0, 100), (1, 120)))
    d = PhaseDefinition(5, 8, 0, 0)
    (point,) = PhaseResult(d, (two, one), "cpu", 0.0).points
    assert point.overlap == 220 / 320 and point.edwards_anderson == 2400 / (320 * 8)
    assert np.isclose(point.error, (20 / 160) / 2)  # half the difference of two means
    assert (point.n, point.p, point.alpha, point.temperature, point.trials) == (10, 2, 0.2, 0.5, 2)
    (single,) = PhaseResult(d, (one,), "cpu", 0.0).points
    assert math.isnan(single.error) and math.isnan(single.difference)
    head, row = PhaseResult(d, (one,), "cpu", 0.0).table().splitlines()[1:]
    assert head.split()[:7] == ["n", "p", "p/n", "T", "trials", "m", "s.e."]
    assert row.split() == ["10", "2", "0.2000", "0.5", "1", "0.62500", "-", "-", "-", "0.9375"]


def test_runs_are_resumed_and_read(tmp_path: Path) -> None:
    run, given = tmp_path / "run.db", (40, [0.05, 0.2], [0, 0.5])
    fastrec.phase_diagram(*given, **PLANE | {"trials": 1}, out=run)
    expected = fastrec.phase_diagram(*given, **PLANE)
    found = fastrec.phase_diagram(*given, **PLANE, out=run)
    assert found.outcomes == expected.outcomes == PhaseResult.load(run).outcomes
    found.save(tmp_path / "a.csv")
    assert PhaseResult.load(tmp_path / "a.csv") == found
    assert export(run, tmp_path / "b.csv") == 12
    assert PhaseResult.load(tmp_path / "b.csv").outcomes == found.outcomes
    with pytest.raises(ValueError, match="sweeps is 6 in the file, 7 is asked"):
        fastrec.phase_diagram(*given, **PLANE | {"sweeps": 7}, out=run)
    with pytest.raises(ValueError, match=r"a run of phase, not of retrieval"):
        fastrec.RetrievalResult.load(run)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"n": 0}, "n is 0"),
        ({"alphas": -1}, "alphas is -1"),
        ({"temperatures": [0.1, -0.1]}, r"temperatures is -0\.1"),
        ({"temperatures": math.inf}, "temperatures is inf"),
        ({"temperatures": 10**400}, "it must hold numbers"),
        ({"temperatures": []}, "temperatures has shape"),
        ({"trials": 0}, "trials is 0"),
        ({"probes": 0}, "probes is 0"),
        ({"sweeps": 0}, "sweeps is 0"),
        ({"sweeps": 2**28, "n": 10**4}, "sums over so many of 5 x 10000 units would pass"),
        ({"burn_in": -1}, "burn_in is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"n": 10**6, "alphas": 9}, "memory"),
    ],
)
def test_wrong_arguments_are_named(given: dict[str, Any], word: str, tmp_path: Path) -> None:
    out = tmp_path / "run.db"
    with pytest.raises(ValueError, match=word):
        fastrec.phase_diagram(**{"n": 50, "alphas": [0.1], "temperatures": 0.5, "out": out} | given)
    assert not out.exists()


def test_impossible_outcomes_are_refused() -> None:
    result = fastrec.phase_diagram(20, 0.1, 0.5, **PLANE)
    first, *others = result.outcomes
    for change in ({"overlap": first.overlap * 9}, {"squares": 10**6}, {"temperature": -0.5}, {"probed": 1}):
        with pytest.raises(ValueError, match="cannot be together"):
            replace(result, outcomes=(first._replace(**change), *others))
    with pytest.raises(
        ValueError, match=r"n = 20, p = 2, temperature = 0\.5 hold the trials 1, 2; they must"
    ):
        replace(result, outcomes=others)


@pytest.mark.slow
def test_the_map_shows_what_was_measured() -> None:
    result = fastrec.phase_diagram(40, [0.1, 0.05, 0.2], [0.2, 0.9], **PLANE)
    top, bottom, _ = plot.phase_figure(result).axes
    (mesh,) = top.collections
    expected = [[p.overlap for p in result.points if p.temperature == heat] for heat in (0.2, 0.9)]
    np.testing.assert_array_equal(mesh.get_array(), expected)
    names = [text.get_text() for text in top.get_legend().get_texts()]
    assert [name[:5] for name in names] == ["T$_g$", "T$_M$", "T$_c$"]
    for line, law in zip(
        top.lines, ("spin_glass_temperature", "ags_temperature", "ags_global_temperature"), strict=True
    ):
        loads, heats = line.get_data()
        np.testing.assert_array_equal(heats, getattr(fastrec.theory, law)(loads))
    assert len({line.get_linestyle() for line in top.lines}) == 3
    assert "Phases of n = 40" in top.get_title(loc="left").replace("\n", " ")
    assert [text.get_text() for text in bottom.get_legend().get_texts()][:3] == [
        "AGS, n → ∞",
        "α = 0.05",
        "α = 0.1",
    ]
    several = replace(
        result, outcomes=result.outcomes + fastrec.phase_diagram(20, 0.1, 0.5, **PLANE).outcomes
    )
    with pytest.raises(ValueError, match="several n"):
        plot.draw_phase(Figure().subplots(), several)
    one = fastrec.phase_diagram(20, 0.1, 0.5, **PLANE | {"trials": 1})
    plot.phase_figure(one).canvas.draw()


@pytest.mark.slow
def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--n", "40", "--sweeps", "4", "--burn-in", "1"]
    cli.app(["phase", "--quick", *small, "--trials", "2", "--out", "run.db"], standalone_mode=False)
    found = PhaseResult.load("run.db")
    assert len(found.points) == len({p.p for p in found.points}) * 14 and {
        p.trials for p in found.points
    } == {2}
    out = capsys.readouterr().out
    assert out.startswith("phases: 4 sweeps after 1") and "written to run.db and phase.png" in out
    cli.app(["plot", "run.db", "--out", "again.svg"], standalone_mode=False)
    assert capsys.readouterr().out.splitlines()[:-1] == out.splitlines()[:-1]
    assert Path("again.svg").exists() and Path("phase.png").exists()
    given = ["--loads", "0.1", "--temperatures", "0.2:0.4:lin3", "--trials", "1", "--out", "b.csv"]
    cli.app(["phase", *small, *given], standalone_mode=False)
    assert re.findall(r"0\.1000 +(\S+)", capsys.readouterr().out) == ["0.2", "0.3", "0.4"]
