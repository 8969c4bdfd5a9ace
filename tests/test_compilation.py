"""What compilation says, what it compiles, and that it is not counted as work."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import fastrec
from fastrec import compilation, progress
from fastrec.compilation import Announcement, clock
from fastrec.kernels.compilation import Compilation, listeners, not_timed
from fastrec.kernels.cpu.cache import location
from fastrec.warming import PARTS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[io.StringIO, float, int], str]]:
    """What is said on a stream while so many kernels are compiled, each for so many seconds."""
    monkeypatch.setattr("fastrec.kernels.compilation.listeners", [made := Announcement()])
    for name, seconds in (("PATIENCE", 0.2), ("REFRESH", 0.02), ("PAUSE", 0.1)):
        monkeypatch.setattr(compilation, name, seconds)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FASTREC_QUIET", raising=False)

    def compile_kernels(stream: io.StringIO, seconds: float, kernels: int = 1) -> str:
        monkeypatch.setattr(sys, "stderr", stream)
        for number in range(kernels):
            with Compilation(f"part {number}", "kernel", 7) as current:
                for function in range(7):
                    current.begun.add(function)
                    time.sleep(seconds / 7)
        while made.watching:
            time.sleep(0.01)
        return stream.getvalue()

    return compile_kernels


def test_a_log_has_a_line_at_the_start_and_one_at_the_end(said: Callable[..., str]) -> None:
    first, last = said(io.StringIO(), 0.5).splitlines()
    assert first.startswith("fastrec: compiling part 0")
    assert last == "fastrec: compiled 1 kernel of part 0 in 1 s" or last.endswith("in 0 s")


def test_short_compilations_are_said_together(said: Callable[..., str]) -> None:
    lines = said(io.StringIO(), 0.1, 5).splitlines()
    assert len(lines) == 2 and lines[1].startswith("fastrec: compiled 5 kernels of part 0, part 1, part 2")


def test_a_short_one_is_not_said(said: Callable[..., str]) -> None:
    assert said(io.StringIO(), 0.05, 2) == said(Terminal(), 0.05, 2) == ""


def test_a_terminal_has_one_line_that_goes_away(said: Callable[..., str]) -> None:
    text = said(Terminal(), 0.6)
    assert "\n" not in text and "compiling part 0, 7 of 7 functions, " in text
    assert text.endswith("\r\x1b[K")


def test_it_is_said_on_a_bar_where_there_is_one(
    said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0)
    monkeypatch.setattr(progress, "REFRESH", 0)
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.progress_bar("working", 4):
        said(stream, 0.6)
    assert "compiling part 0, 7 of 7 functions" in stream.getvalue() and "fastrec:" not in stream.getvalue()
    assert not progress.describe("over")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_quiet(said: Callable[..., str], stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTREC_QUIET", "1")
    assert said(stream, 0.4) == ""


def test_loggers_get_every_kernel(said: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fastrec"):
        said(io.StringIO(), 0.0, 2)
    assert [record.message for record in caplog.records] == [
        "compiled kernel of part 0 in 0.0 s",
        "compiled kernel of part 1 in 0.0 s",
    ]


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise ValueError("I/O operation on closed file")


def test_a_closed_standard_error_is_no_error(said: Callable[..., str]) -> None:
    assert said(Closed(), 0.4) == ""


def test_an_error_ends_a_compilation(said: Callable[..., str]) -> None:
    with pytest.raises(ZeroDivisionError), Compilation("part", "kernel", 1):
        raise ZeroDivisionError
    assert isinstance(announcement := listeners[0], Announcement) and announcement.current is None


def test_seconds_do_not_count_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = clock()
    with not_timed():
        time.sleep(0.3)
    assert 0 <= clock() - begin < 0.25
    from fastrec.kernels.cpu import capacity as kernels

    scan = kernels.capacity_scan

    def compiling(*arguments: object) -> None:
        with not_timed():
            time.sleep(0.5)
        scan(*arguments)

    fastrec.capacity(20, 2, backend="cpu")
    monkeypatch.setattr(kernels, "capacity_scan", compiling)
    assert fastrec.capacity(20, 2, backend="cpu").seconds < 0.5


ALLOWED = {"ol_min.<locals>.impl", "ol_max.<locals>.impl", "_ol_array_allocate.<locals>.impl"}
ALLOWED |= {"ol_compatible_view.<locals>.impl"}
FIRST_CALLS = """
import sys
from numba.core import compiler
compile_extra = compiler.compile_extra
def noted(typing, target, function, *rest, **options):
    if not function.__module__.startswith("fastrec."):
        print(function.__qualname__)
    return compile_extra(typing, target, function, *rest, **options)
compiler.compile_extra = noted
from fastrec.warming import PARTS
for part in sys.argv[1:]:
    PARTS[part]("cpu")
"""


@pytest.mark.slow
@pytest.mark.parametrize("parts", [["capacity"], [*PARTS]], ids=["capacity", "all"])
def test_a_first_call_compiles_no_helpers_of_numba(parts: list[str], tmp_path: Path) -> None:
    """Those of slice assignment, of reductions and of messages take longer than the kernels themselves."""
    environment = {**os.environ, "FASTREC_CACHE_DIR": str(tmp_path), "FASTREC_QUIET": "1"}
    command = [sys.executable, "-c", FIRST_CALLS, *parts]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split("\n")) - {""} <= ALLOWED


@pytest.mark.slow
def test_what_is_warmed_is_what_jobs_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `fastrec compile` usual jobs compile nothing and read nothing."""
    for warm in PARTS.values():
        warm("cpu")
    from fastrec.kernels.cpu import jit

    loaded: list[str] = []
    monkeypatch.setattr(jit.Kernel, "compile", lambda self, sig: loaded.append(f"{self.cache.name}{sig}"))
    with pytest.raises(Exception):  # noqa: B017, PT011 - Numba's, for want of an entry point
        jit.Kernel(lambda x: x)(1)
    assert len(loaded) == 1
    fastrec.capacity_scaling([10, 30], trials=5, backend="cpu")
    net = fastrec.HopfieldNetwork(100, backend="cpu")
    net.store(fastrec.random_patterns(9, 100, seed=1))
    net.recall(fastrec.corrupt(fastrec.random_patterns(9, 100, seed=1), 0.1, seed=0), seed=0)
    net.recall(fastrec.random_patterns(9, 100, seed=2), update="sync")
    for cell in ("elman", "jordan", "gru", "lstm"):
        rnn = fastrec.RNN(4, 7, 5, cell, backend="cpu", seed=0)
        x, targets = np.ones((6, 5, 4), np.float32), np.zeros((6, 5), np.int64)
        rnn.loss_and_gradients(x, targets)
        fastrec.fit(rnn, x, targets, epochs=1, progress=False, seed=0)
        fastrec.fit(
            fastrec.RNN(5, 7, 5, cell, backend="cpu", seed=0),
            targets,
            targets,
            epochs=1,
            progress=False,
            seed=0,
        )
    fastrec.fit(rnn, x, targets[:, :2] + 1, loss="ctc", epochs=1, progress=False, seed=0)
    fastrec.ctc_decode(rnn.predict(x)[0], width=3, backend="cpu")
    fastrec.CharModel(8, backend="cpu", seed=0).fit("some text " * 30, epochs=1, progress=False)
    assert loaded == loaded[:1]


@pytest.mark.slow
def test_the_command_names_what_it_did() -> None:
    environment = {**os.environ, "FASTREC_BACKEND": "cpu"}
    command = [sys.executable, "-c", "from fastrec.cli import main; main()", "compile", "capacity"]
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        first, second = done.stdout.splitlines()
        assert first.startswith("compiled capacity in ") and second.startswith(f"kept in {location()}, ")
    assert done.stderr == ""
    done = subprocess.run([*command[:-1], "nothing"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "nothing" in done.stderr
