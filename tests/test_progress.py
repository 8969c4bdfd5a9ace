"""Bars of progress: where they appear, and where they do not."""

from __future__ import annotations

import io
import re
import sys
import time
from types import SimpleNamespace

import pytest

from fastrec import progress


class Terminal(io.StringIO):
    """A terminal, which keeps what is written to it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars appear at once, whatever the environment says."""
    monkeypatch.setattr(progress, "PATIENCE", 0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FASTREC_QUIET", raising=False)


def written(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, shown: bool = True) -> str:
    """What some work writes to standard error."""
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.progress_bar("working", 4, shown) as advance:
        for i in range(4):
            advance(1, f"step {i}")
    return stream.getvalue()


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    text = written(monkeypatch, Terminal())
    assert "step 3" in text and "100%" in text


def test_a_file_has_none_but_lines_of_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not written(monkeypatch, io.StringIO()) and not progress.in_notebook()
    times = iter([0.0, 2.0, 4.0, 6.0, 300.0, 400.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    lines = "fastrec: working, about 2 s left\nfastrec: working, done in 7 minutes\n"
    assert written(monkeypatch, io.StringIO()) == lines


def test_lines_of_long_work_leave_compilation_out(monkeypatch: pytest.MonkeyPatch) -> None:
    times, compiling = iter([0.0, 102.0, 104.0, 106.0, 108.0, 109.0]), iter([7.0, *[107.0] * 4])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(progress, "compiling_seconds", lambda: next(compiling))
    lines = "fastrec: working, about 2 s left\nfastrec: working, done in 109 s\n"
    assert written(monkeypatch, io.StringIO()) == lines


def test_work_that_fails_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "LOGGED", 0)

    def fail() -> None:
        with progress.progress_bar("working", 4) as advance:
            advance(1, "a step")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert stream.getvalue().count("\n") == 1 and "left" in stream.getvalue()


def test_a_bar_in_the_block_of_another_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    with progress.progress_bar("outer", 4) as advance:
        advance(1, "outer")
        with progress.progress_bar("inner", 9) as inner:
            inner(9, "inner [part]")
            time.sleep(0.3)  # until the bar is drawn again
        advance(1, "outer")
    text = stream.getvalue()
    assert "inner [part]" in text and "50%" in text and "100%" not in text


@pytest.mark.parametrize("width", [50, 80, 120])
def test_a_bar_takes_one_line(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    with progress.progress_bar("working", 4) as advance:
        for _ in range(3):
            advance(1, "a step with a rather long description of what is being done, and for whom")
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[\d;?]*\w", "", stream.getvalue()))
    assert any("a step with" in line and "0:00:0" in line for line in lines)
    assert max(map(len, lines)) <= width


def test_durations() -> None:
    assert [progress.duration(s) for s in (0, 119, 120, 7199, 7200)] == [
        "0 s",
        "119 s",
        "2 minutes",
        "120 minutes",
        "2 hours",
    ]


@pytest.mark.parametrize("quiet", ["1", "no"])
def test_fastrec_quiet(monkeypatch: pytest.MonkeyPatch, quiet: str) -> None:
    monkeypatch.setenv("FASTREC_QUIET", quiet)
    assert not written(monkeypatch, Terminal())


def test_an_empty_fastrec_quiet_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTREC_QUIET", "")
    assert written(monkeypatch, Terminal())


def test_none_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not written(monkeypatch, Terminal(), shown=False)


def test_short_work_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 1e9)
    assert not written(monkeypatch, Terminal()).strip()


def test_there_is_no_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert not progress.on_terminal()
