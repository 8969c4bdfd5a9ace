"""What people see in terminals of several widths: tables, help, errors, bars and what follows Ctrl-C."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastrec.terminal import terminal_width, wrapped


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("short", ["short"]),
        ("some words that are long", ["some words", "that are", "long"]),
        ("  some words indented", ["  some", "  words", "  indented"]),
        ("ab  the second column", ["ab  the", "    second", "    column"]),
        ("averyveryverylongword", ["averyveryverylongword"]),
        ("a two-word", ["a two-word"]),
        ("        words far in", ["words far", "in"]),
    ],
)
def test_lines_are_broken_between_words(line: str, parts: list[str]) -> None:
    assert wrapped(line, 10).splitlines() == parts
    assert wrapped(f"{line}\n{line}", 10).splitlines() == parts * 2
    assert wrapped(line, None) == line
    assert wrapped(" " * 30, 10) == ""


def test_a_stream_that_is_no_terminal_has_no_width(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as file:
        assert terminal_width(file) is None
    assert terminal_width(None) is None


PROMPT = "ready>"


class Screen:
    """A shell in a terminal of tmux, in a folder of its own."""

    def __init__(self, folder: Path, width: int) -> None:
        self.width, self.commands = width, 0
        self.tmux = ["tmux", "-S", str(folder / "tmux"), "-f", os.devnull]
        environment = {name: value for name, value in os.environ.items() if name != "FASTREC_QUIET"}
        environment |= {"FASTREC_BACKEND": "reference", "TERM": "xterm"}
        command = f'fastrec() {{ {shlex.quote(sys.executable)} -m fastrec "$@"; }}'
        (folder / "rc").write_text(f'PS1="{PROMPT}"\nend() {{ echo "end of $1."; }}\n{command}\n')
        options = ("-x", str(width), "-y", "60", "-c", str(folder), f"bash --rcfile {folder}/rc")
        subprocess.run([*self.tmux, "new-session", "-d", *options], env=environment, check=True)

    def type(self, line: str) -> None:
        """Type a line into the shell, which waits for one."""
        self.wait_until(lambda lines: [line for line in lines if line][-1:] == [PROMPT])
        subprocess.run([*self.tmux, "send-keys", "-l", line], check=True)
        self.press("Enter")

    def press(self, key: str) -> None:
        """Press a key."""
        subprocess.run([*self.tmux, "send-keys", key], check=True)

    def lines(self) -> list[str]:
        """Return the lines of the screen, and those that have left it."""
        command = [*self.tmux, "capture-pane", "-p", "-S", "-"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    def wait(self, text: str) -> list[str]:
        """Return the lines once they have a text, which may be wrapped."""
        return self.wait_until(lambda lines: text in " ".join(" ".join(lines).split()))

    def wait_until(self, is_there: Callable[[list[str]], bool]) -> list[str]:
        """Return the lines once they are as they should be."""
        for _ in range(600):
            if is_there(lines := self.lines()):
                return lines
            time.sleep(0.2)
        return pytest.fail("the screen stays at\n" + "\n".join(self.lines()))

    def said_by(self, line: str) -> list[str]:
        """Return what a command prints."""
        self.commands += 1
        self.type(f"go() {{ {line}; }}")
        self.type(f"go; end {self.commands}")
        first, last = f"{PROMPT}go; end {self.commands}", f"end of {self.commands}."
        lines = self.wait(last)
        return lines[lines.index(first) + 1 : lines.index(last)]


@pytest.fixture(params=[50, 80, 120])
def screen(request: pytest.FixtureRequest) -> Iterator[Screen]:
    """A screen of this width."""
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux")
    with tempfile.TemporaryDirectory() as folder:  # as the path of a socket must be short
        opened = Screen(Path(folder), request.param)
        yield opened
        subprocess.run([*opened.tmux, "kill-server"], check=True)


SMALL = "fastrec capacity --sizes 20,30,40 --trials 3"


@pytest.mark.slow
def test_tables_fit_the_screen(screen: Screen) -> None:
    lines = screen.said_by(SMALL)
    assert lines[0].startswith("capacity = most memories stored before")
    (heads,) = (line.split() for line in lines if line.split()[:1] == ["n"])
    assert {"n", "mean", "s.e.", "binomial"} <= {*heads}
    assert ("median/n" in heads) == (screen.width > 70)
    without = [line for line in lines if line.startswith("without the column") and "median/n" in line]
    assert bool(without) == (screen.width < 70)
    assert max(map(len, lines)) <= screen.width
    assert len(max(screen.said_by(f"{SMALL} | cat"), key=len)) == screen.width  # the terminal breaks it
    lines = screen.said_by("fastrec recall AT")
    assert [line.split()[-1] for line in lines if line.split()[:1] in (["A"], ["T"])] == ["memory"] * 2


@pytest.mark.slow
def test_help_and_errors_fit_the_screen(screen: Screen) -> None:
    lines = screen.said_by("fastrec capacity --help")
    assert lines[0] == "Usage: fastrec capacity [OPTIONS]" or "-m fastrec" in lines[0]
    assert "How it runs:" in lines and any("--sizes TEXT" in line for line in lines)
    for line, told in (
        ("fastrec capacity --max-sweeps 0", "--max-sweeps is 0; it must be an integer from 1 to 2^31-1"),
        ("fastrec capacity --trial 3", "No such option"),
        ("fastrec capacity --sizes 20,x", "'20,x' is neither a list (200,400,800) nor a range"),
    ):
        said = " ".join(line.strip() for line in screen.said_by(line))
        assert said.startswith("fastrec: ") and told in said


@pytest.mark.slow
def test_a_bar_an_interrupt_and_the_start_after_it(screen: Screen) -> None:
    screen.type("fastrec capacity --sizes 100 --trials 100000")
    lines = screen.wait("until then, trials are kept in capacity-")
    (name,) = re.findall(r"kept in *(capacity-\w+\.db)", " ".join("\n".join(lines).split()))
    lines = screen.wait("0:")
    bar = next(line for line in lines if "━" in line)
    assert "n = 100" in bar and "%" in bar and len(bar) <= screen.width
    screen.press("C-c")
    lines = screen.wait(f"interrupted; what is done is kept in {name}; go on with")
    assert "python -m fastrec capacity --sizes 100 --trials 100000" in "".join(
        line.strip() + " " for line in lines
    )
    screen.type("clear")
    screen.press("Up")
    screen.press("Up")
    screen.press("Enter")
    screen.wait(f"goes on with {name}, which an earlier start left")
    screen.press("C-c")
    screen.wait("interrupted; what is done is kept in")
