"""What is kept of work that is interrupted: run files and checkpoints that commands make on their own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fastrec
from fastrec import cli
from fastrec.cli import resuming
from fastrec.cli.process import Interrupted
from fastrec.jobs import keeping
from fastrec.jobs.keeping import keep_long_jobs

JOB: dict[str, Any] = {"trials": 20, "progress": False, "seed": 3}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "hear_interrupts", lambda: None)
    return tmp_path


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job counts as long."""
    monkeypatch.setattr(keeping, "TRIAL", 0.0)
    monkeypatch.setattr(keeping, "LONG", 0.0)
    monkeypatch.setattr(resuming, "LONG", 0.0)


def stop_after(monkeypatch: pytest.MonkeyPatch, sizes: int) -> None:
    """Let jobs be stopped when they have taken in so many parts."""
    from fastrec.hopfield.storage_capacity.run import CapacityJob

    take, taken = CapacityJob.take, []

    def counted(self: Any, *args: Any) -> None:
        taken.append(args)
        if len(taken) > sizes:
            raise Interrupted
        take(self, *args)

    monkeypatch.setattr(CapacityJob, "take", counted)


def stopped_job(tell: Callable[[str], object], **more: Any) -> None:
    """Begin a job of three sizes, and stop it after two of them."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(Interrupted), keep_long_jobs(tell):
            fastrec.capacity_scaling([20, 30, 40], backend="reference", **JOB | more)


@pytest.mark.usefixtures("long")
def test_a_long_job_is_kept_and_gone_on_with(folder: Path) -> None:
    expected = fastrec.capacity_scaling([20, 30, 40], backend="reference", **JOB)
    told: list[str] = []
    stopped_job(told.append)
    (kept,) = folder.iterdir()
    assert kept.name.startswith("capacity-") and kept.suffix == ".db"
    assert len(told) == 1 and f"trials are kept in {kept.name}" in told[0]
    before = fastrec.ScalingResult.load(kept)
    assert before.sizes and len(before) < 3
    with keep_long_jobs(told.append):
        result = fastrec.capacity_scaling([20, 30, 40], backend="reference", out="all.csv", **JOB)
        assert kept.exists()
    assert told[1:] == [f"goes on with {kept.name}, which an earlier start left"]
    assert [r.counts.tolist() for r in result] == [r.counts.tolist() for r in expected]
    assert [path.name for path in folder.iterdir()] == ["all.csv"]


@pytest.mark.usefixtures("long")
def test_other_definitions_have_other_files(folder: Path) -> None:
    for more in ({}, {"stop": "largest"}, {"seed": 4}):
        stopped_job(lambda text: None, **more)
    assert len({path.name for path in folder.iterdir()}) == 3


def test_a_short_job_and_one_with_a_run_file_make_none(folder: Path, long: None, monkeypatch) -> None:
    with keep_long_jobs(lambda text: pytest.fail(text)):
        fastrec.capacity_scaling([20], backend="reference", out="run.db", **JOB)
        monkeypatch.setattr(keeping, "LONG", 60.0)
        fastrec.capacity_scaling([20], backend="reference", **JOB)
    fastrec.capacity_scaling([20], backend="reference", **JOB)
    assert [path.name for path in folder.iterdir()] == ["run.db"]


@pytest.mark.usefixtures("long")
def test_a_folder_that_cannot_be_written_stops_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any) -> None:
        raise OSError("no rights")

    monkeypatch.setattr(keeping.LateRunFile, "_open", refuse)
    told: list[str] = []
    with keep_long_jobs(told.append):
        result = fastrec.capacity_scaling([20, 30], backend="reference", **JOB)
    assert result.sizes == (20, 30) and len(told) == 1 and "no rights" in told[0]


def interrupted(monkeypatch: pytest.MonkeyPatch, capsys: Any, *arguments: str) -> str:
    """What a command says when Ctrl-C ends it."""
    monkeypatch.setattr(sys, "argv", ["fastrec", *arguments])
    monkeypatch.setattr(Interrupted, "number", signal.SIGINT)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130
    monkeypatch.setattr(Interrupted, "number", 0)
    monkeypatch.setattr(Interrupted, "told", False)
    resuming._advice.clear()
    return capsys.readouterr().err


CAPACITY = ("capacity", "--sizes", "20,30,40", "--trials", "5", "--backend", "reference")


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ((), "what is done is kept in capacity-"),
        (("--out", "run.db"), "what is done is kept in run.db; go on with"),
        (("--no-keep",), "nothing is kept; this keeps every trial"),
    ],
)
def test_an_interrupt_says_how_to_go_on(more, kept, monkeypatch, capsys) -> None:
    stop_after(monkeypatch, 1)
    err = interrupted(monkeypatch, capsys, *CAPACITY, *more)
    assert err.startswith(f"fastrec: interrupted; {kept}")
    more += ("--out", "run.db") * ("--no-keep" in more)
    assert err.splitlines()[1] == f"  fastrec {' '.join([*CAPACITY, *more])}"


ADDITION = ("addition", "--cell", "elman", "--delay", "0", "--networks", "8", "--test-columns", "9")


def test_trainings_are_gone_on_with(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from fastrec.rnn.loop import BatchLearner

    arguments = (*ADDITION, "--epochs", "12", "--backend", "reference", "--plot", "a.png")
    begin, begun = BatchLearner.begin_epoch, []

    def stop(self: Any) -> None:
        begun.append(self.log.epochs)
        if len(begun) == 2:
            raise Interrupted
        begin(self)

    monkeypatch.setattr(BatchLearner, "begin_epoch", stop)
    err = interrupted(monkeypatch, capsys, *arguments)
    (kept,) = folder.glob("training-*.npz")
    assert f"the training up to its last full epoch is kept in {kept.name}; go on with" in err
    monkeypatch.setattr(sys, "argv", ["fastrec", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code and begun[:3] == [0, 1, 1] and not kept.exists()


@pytest.mark.parametrize("late", [False, True])
def test_trainings_go_on_where_nothing_can_be_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, late: bool
) -> None:
    from fastrec.rnn import checkpoint
    from fastrec.rnn.loop import BatchLearner

    def full(*arguments: Any) -> None:
        raise OSError("training.npz: cannot be written: No space left on device")

    def refused(path: Any) -> None:
        raise PermissionError(f"{path}: cannot be written: Permission denied; give another name")

    if late:
        monkeypatch.setattr(checkpoint, "write_archive", full)
    else:
        monkeypatch.setattr(resuming, "require_writable", refused)
    arguments = (*ADDITION, "--epochs", "2", "--backend", "reference", "--plot", "a.png")
    monkeypatch.setattr(sys, "argv", ["fastrec", *arguments])
    with pytest.raises(SystemExit):
        cli.main()
    assert (folder / "a.png").exists() and not list(folder.glob("training-*.npz"))
    capsys.readouterr()

    def stop(self: Any) -> None:
        raise Interrupted

    monkeypatch.setattr(BatchLearner, "begin_epoch", stop)
    err = interrupted(monkeypatch, capsys, *arguments)
    assert f"nothing of the training is kept: {'training' if late else ''}" in err
    assert ("No space left" in err) == late and "start again with" in err


def test_translators_go_on_with_the_same_bits(folder: Path) -> None:
    pairs = [(fastrec.number_words(n), fastrec.number_words(n, "es")) for n in range(20)]

    def trained(**options: Any) -> fastrec.Translator:
        translator = fastrec.Translator(4, embedding_size=3, min_count=1, seed=1, backend="reference")
        translator.fit(pairs, epochs=3, batch_size=8, progress=False, **options)
        return translator

    def stop(translator: fastrec.Translator, history: fastrec.History) -> None:
        if len(history.train) == 2:
            raise Interrupted

    whole = trained()
    with pytest.raises(Interrupted):
        trained(checkpoint="c.npz", callback=stop)
    resumed = trained(checkpoint="c.npz")
    for name, array in whole.model.parameters.items():
        assert (array == resumed.model.parameters[name]).all()
    with pytest.raises(ValueError, match="checkpoint and minutes are both given"):
        resumed.fit(pairs, minutes=1, checkpoint="c.npz")
