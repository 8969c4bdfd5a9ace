"""Bars of progress: where they appear, and where they do not."""

from __future__ import annotations

import io
import sys

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


def test_a_file_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not written(monkeypatch, io.StringIO()) and not progress.in_notebook()


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
