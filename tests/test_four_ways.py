"""Four ways to learn: what is asked and how answers are judged, runs that go on, files, the figure."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrec
from fastrec.tasks import learners

module = import_module("fastrec.tasks.four_ways")
METHODS, TASKS = module.METHODS, module.TASKS


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few updates, of few and short sequences."""
    for name, task in TASKS.items():
        monkeypatch.setitem(TASKS, name, replace(task, quick=14))
    for name, value in {"TESTED": 100, "VALIDATED": 50, "FITTED": 100, "ROUND": 20}.items():
        monkeypatch.setattr(learners, name, value)
    for name, method in METHODS.items():
        if isinstance(method, learners.Descent):
            small = replace(method, quick=6, every=3, batch=10)
            monkeypatch.setitem(METHODS, name, small)


@pytest.mark.parametrize("name", TASKS)
def test_sequences(name: str) -> None:
    """The right answers are judged right, and nothing is lost when sequences end together."""
    drawn = TASKS[name].draw(7, 20, 3, 0)
    rows, steps = drawn.asked
    assert drawn.mask[rows, steps].all() and drawn.right.shape == (7, drawn.answers)
    classes = 1 if drawn.are_numbers else drawn.targets.max() + 1
    answers = drawn.right if drawn.are_numbers else 99.0 * (drawn.right[..., None] == np.arange(classes))
    answers = answers.reshape(1, *drawn.right.shape, classes)
    assert [values.tolist() for values in drawn.judge(answers)] == [[0], [0], [pytest.approx(0, abs=1e-30)]]
    x, targets = drawn.ending_together()
    for row, length in enumerate(drawn.lengths):
        assert np.array_equal(x[row, -length:], drawn.x[row, :length]) and not x[row, :-length].any()
    together = targets[:, -drawn.answers :]
    assert np.array_equal(together[..., 0] if drawn.are_numbers else together.argmax(axis=2), drawn.right)
    centred = drawn.centred(drawn.mean)
    assert abs(centred.sum(axis=(0, 1))).max() < 1e-3 and not centred[~drawn.within[..., 0]].any()
    other = TASKS[name].draw(7, 20, 3, 0, part=1)
    assert not np.array_equal(other.x, drawn.x)
    assert np.array_equal(TASKS[name].draw(7, 20, 3, 0).x, drawn.x)


def test_judgements() -> None:
    drawn = TASKS["addition-80"].draw(4, 20, 3, 0)
    answers = drawn.right + np.array([[0.01], [-0.035], [0.05], [-0.07]], np.float32)
    judged = drawn.judge(np.stack([answers, drawn.right])[..., None])
    assert judged.wrong.tolist() == [0.5, 0] and judged.doubtful.tolist() == [0.75, 0]
    assert judged.loss == pytest.approx([0.00218125, 0], abs=1e-6)
    drawn = TASKS["order-2"].draw(4, 20, 3, 0)
    judged = drawn.judge(np.zeros((2, 4, 1, 4), np.float32))
    assert judged.loss == pytest.approx(np.log([4, 4])) and np.array_equal(
        judged.wrong, np.full(2, np.mean(drawn.right != 0))
    )


def test_lengths_grow() -> None:
    assert learners.lengths_up_to(80) == [10, 14, 20, 28, 40, 57, 80]
    assert learners.lengths_up_to(400)[::2] == [12, 25, 50, 100, 200, 400]
    assert learners.lengths_up_to(13) == [13]


@pytest.mark.usefixtures("tiny", "quick")
@pytest.mark.slow
def test_a_run_goes_on(tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the results of one that was not interrupted, but for the seconds."""
    options = {"quick": True, "networks": 2, "seed": 5, "backend": backend}
    asked = (["memory-5", "addition-80"], ["momentum", "lstm", "constant", "hessian-free", "echo-state"])
    unbroken = fastrec.four_ways(*asked, **options)
    assert len(unbroken.points) == 20 and unbroken.tasks == ("addition-80", "memory-5")
    assert unbroken.methods == tuple(METHODS)
    out, learn = tmp_path / "run.csv", learners.Descent.learn

    def interrupt(self: learners.Descent, task: learners.Task, *rest: Any) -> Any:
        if task.name == "memory-5" and self.every == METHODS["momentum"].every and self.decays:
            raise KeyboardInterrupt
        return learn(self, task, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(learners.Descent, "learn", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fastrec.four_ways(*asked, **options, out=out)
    begun = fastrec.FourWaysResult.load(out)
    assert len(begun.points) == 12
    resumed = fastrec.four_ways(*asked, **options, out=out)
    assert resumed.points[:12] == begun.points and fastrec.FourWaysResult.load(out) == resumed
    for one, other in zip(resumed.points, unbroken.points, strict=True):
        assert repr(one._replace(seconds=0)) == repr(other._replace(seconds=0))
    part = fastrec.four_ways(["memory-5"], ["lstm"], **options, out=out)
    assert part.points == resumed.of("memory-5", "lstm")
    assert fastrec.four_ways(["memory-5"], ["lstm"], **options | {"seed": None}, out=out) == part
    for change in ({"seed": 6}, {"networks": 3}, {"quick": False}):
        with pytest.raises(ValueError, match=f"is of a run with {next(iter(change))}="):
            fastrec.four_ways(["memory-5"], ["lstm"], **options | change, out=out)


@pytest.mark.usefixtures("tiny")
def test_networks_have_their_own_seeds(backend: str) -> None:
    def points(networks: int, seed: int) -> Any:
        result = fastrec.four_ways(
            ["order-2"], ["lstm"], quick=True, networks=networks, seed=seed, backend=backend
        )
        return [(point.wrong, point.loss, point.updates) for point in result.points]

    two = points(2, 1)
    assert two[0] != two[1] and two == points(2, 1) and two != points(2, 2)


@pytest.mark.slow
def test_lstms_learn_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that wrong gradients, lengths or targets would be seen."""
    monkeypatch.setattr(learners, "TESTED", 1000)
    monkeypatch.setitem(TASKS, "addition-80", replace(TASKS["addition-80"], quick=10))
    result = fastrec.four_ways(["addition-80"], ["constant", "lstm"], quick=True, seed=1)
    assert result.wrong("addition-80", "lstm") < 0.05 < 0.8 < result.wrong("addition-80", "constant")
    assert result.of("addition-80", "lstm")[0].loss < 1e-3


@pytest.mark.slow
def test_every_task_has_echoes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reservoirs do all but multiply."""
    monkeypatch.setattr(learners, "TESTED", 1000)
    result = fastrec.four_ways(methods=["constant", "echo-state"], quick=True)
    for task in TASKS:
        least = 0.3 if task == "multiplication-80" else 0
        assert least <= result.wrong(task, "echo-state") < least + 0.3 < result.wrong(task, "constant"), task


def made() -> fastrec.FourWaysResult:
    points = [
        module.FourWaysPoint(task, method, j, wrong, 0.25, 7, 80.0)
        for task in ("addition-80", "order-3")
        for method, shares in (("lstm", (0.0, 0.001)), ("momentum", (1.0, 0.5)))
        for j, wrong in enumerate(shares)
    ]
    return fastrec.FourWaysResult(tuple(points[:-2]), 3, False)


def test_results(tmp_path: Path) -> None:
    result = made()
    assert repr(result) == "FourWaysResult(tasks=2, methods=2, points=6)"
    assert result.wrong("addition-80", "momentum") == 0.75 and np.isnan(result.wrong("order-3", "momentum"))
    assert result.table().splitlines()[2].split() == [
        *("addition-80", "80", "lstm", "0", "0.00", "%", "0.25", "7", "80.0")
    ]
    result.save(tmp_path / "a.csv")
    assert fastrec.FourWaysResult.load(tmp_path / "a.csv") == result
    axes = result.figure().axes[0]
    assert [text.get_text() for text in axes.texts] == [
        *("0.05 %", "80 s", "75 %", "80 s", "0.05 %", "80 s", "–")
    ]
    assert {text.get_text(): text.get_color() for text in axes.texts}["75 %"] == "white"
    assert "<img" in result._repr_html_()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a fastrec four-ways file"),
        ("# fastrec four-ways 1\na\n# end 0\n", "damaged, line 2"),
        ("ROWS:lstm:1:0", "damaged, the rows are not those of one run"),
        ("ROWS:none:0:0", "damaged, or of a later version"),
        ("ROWS:lstm,1,7:0:0", "damaged, line 4"),
        ("WRONG", "damaged, with numbers that no run has"),
        ("ROWS:lstm:0:5", "damaged, the rows are not those of one run"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.csv"
    if text.startswith("ROWS"):
        _, method, seed, quick = text.split(":")
        rows = [f"order-2,lstm,0,0.5,1.0,3,1.0,0,{quick}", f"order-2,{method},1,0.5,1.0,3,1.0,{seed},{quick}"]
        text = "\n".join(["# fastrec four-ways 1", ",".join(module.COLUMNS), *rows, "# end 2", ""])
    if text == "WRONG":
        module.FourWaysResult((module.FourWaysPoint("order-2", "lstm", 0, 1.5, 1, 3, 1),), 0, True).save(path)
    else:
        path.write_text(text)
    with pytest.raises(ValueError, match=f"^{path}: {message}"):
        fastrec.FourWaysResult.load(path)
    with pytest.raises(ValueError, match=f"^{path}: {message}"):
        fastrec.four_ways(["order-2"], ["constant"], quick=True, out=path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["adding"]}, "^tasks is 'adding'; it must be"),
        ({"tasks": []}, "^tasks is empty"),
        ({"methods": "lstm"}, "^methods is .lstm.; give a list"),
        ({"methods": 5}, "^methods is 5; give a list"),
        ({"networks": 0}, "^networks is 0"),
        ({"quick": 1}, "^quick is 1"),
        ({"seed": -1}, "^seed is -1"),
        ({"out": "run.txt"}, "suffix must be .csv"),
        ({"out": 3}, "^out is 3; it must be the path"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastrec.four_ways(**{"tasks": ["order-2"], "methods": ["constant"]} | options)


def test_unknown_backends_are_refused_before_any_work() -> None:
    with pytest.raises(fastrec.BackendError, match=r"^backend is 'tpu'"):
        fastrec.four_ways(["order-2"], ["constant"], quick=True, backend="tpu")
