"""What a short run leaves out, and what a run says at its end."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
from choice import pairwise, short
from devices import each_argument
from hypothesis import given
from hypothesis import strategies as st
from summary import Summary

CASES = st.lists(st.tuples(*[st.integers(0, 3)] * 4), max_size=40)


@given(CASES, st.integers(1, 4))
def test_every_pair_is_chosen_and_no_case_without_reason(cases: list[tuple[int, ...]], strength: int) -> None:
    def parts(chosen: Any) -> set[Any]:
        return {part for case in chosen for part in combinations(enumerate(case), strength)}

    chosen = [cases[i] for i in pairwise(cases, strength)]
    assert parts(chosen) == parts(cases)
    assert len(chosen) == len(set(chosen)) <= len(set(cases))


def test_few_cases_are_enough() -> None:
    cases = [(a, b, c, d) for a in range(9) for b in range(8) for c in range(2) for d in range(2)]
    assert len(pairwise(cases)) == 72
    assert len(pairwise(cases, 1)) == 9
    assert pairwise([()]) == [0] and pairwise([(1,), (2,), (1,)]) == [0, 1] and pairwise([]) == []


@pytest.mark.parametrize(("a", "b"), [(1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize("c", [5, 6])
@pytest.mark.parametrize("d", "xy")
def test_parameters(request: pytest.FixtureRequest, a: int, b: int, c: int, d: str) -> None:
    """What is given together is one parameter, of which each value has each value of another one."""
    test = request.node.nodeid.partition("[")[0]
    cases = [item for item in request.session.items if item.nodeid.partition("[")[0] == test]
    if len(cases) == 12:
        kept, left_out = short(cases)
        assert len(kept) == len(left_out) == 6
    else:
        assert len(cases) == 6


@pytest.mark.each_value("d")
@pytest.mark.parametrize("a", [1, 2, 3])
@pytest.mark.parametrize("b", [5, 6])
@pytest.mark.parametrize("d", "xy")
def test_each_value_apart(request: pytest.FixtureRequest, a: int, b: int, d: str) -> None:
    """Each value of one parameter has each value of the others."""
    test = request.node.nodeid.partition("[")[0]
    cases = [item for item in request.session.items if item.nodeid.partition("[")[0] == test]
    if len(cases) == 12:
        cases, left_out = short(cases)
        assert len(left_out) == 6
    chosen = [item.callspec.params for item in cases]
    for name, values in (("a", {1, 2, 3}), ("b", {5, 6})):
        assert all({case[name] for case in chosen if case["d"] == d} == values for d in "xy")


def test_each_argument_of_a_template() -> None:
    assert each_argument({"cells.cu row<Float, 1>", "cells.cu row<Double, 1>", "cpu rnn.sgd"}) == {
        *(
            "cells.cu row, argument 0: Float",
            "cells.cu row, argument 0: Double",
            "cells.cu row, argument 1: 1",
        ),
        "cpu rnn.sgd",
    }


def summary(*reasons: str, **options: Any) -> Summary:
    """That of a run in which tests were skipped for these reasons."""
    reports = [SimpleNamespace(nodeid=x, longrepr=("", 0, f"Skipped: {x}")) for x in reasons]
    reporter = SimpleNamespace(stats={"skipped": [*reports, *reports]})
    given = {"torch": False, "all": False, "keyword": "", "markexpr": "", "lf": False, "deselect": None}
    given |= {"ignore": None, "ignore_glob": None, "stepwise": False, "collectonly": False}
    config: Any = SimpleNamespace(
        option=SimpleNamespace(**(given | options)),
        args_source=pytest.Config.ArgsSource.TESTPATHS,
        pluginmanager=SimpleNamespace(get_plugin=lambda name: reporter),
    )
    return Summary(config, ("reference",))


def finish(summary: Summary) -> int:
    """The exit status of such a run."""
    session: Any = SimpleNamespace(exitstatus=pytest.ExitCode.OK)
    summary.pytest_sessionfinish(session, session.exitstatus)
    return int(session.exitstatus)


def test_skips_that_are_not_listed_fail_a_complete_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.kernels_to_run", lambda backends: set())
    torch = "could not import 'torch': No module named 'torch'"
    assert finish(summary()) == finish(summary(torch)) == 0
    assert summary(torch, "a whim").reasons() == {torch: 1, "a whim": 1}
    assert finish(summary(torch, torch=True)) == finish(summary("a whim")) == 1
    assert finish(summary("a whim", keyword="test_one")) == 0


def test_kernels_that_did_not_run_fail_a_complete_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.kernels_that_ran", lambda: {"reference rnn.sgd"})
    lazy = summary()
    assert finish(lazy) == 1
    assert (
        "no test ran reference rnn.adam" in lazy.faults and "no test ran reference rnn.sgd" not in lazy.faults
    )
    assert len(lazy.faults) > 30
