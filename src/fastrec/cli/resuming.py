"""What is kept of work that Ctrl-C ends, and how to go on with it."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..files import require_writable
from ..jobs.keeping import LONG, keep_long_jobs
from ..progress import duration, is_quiet, write
from ..terminal import terminal_width, wrapped

Advice = Callable[[], tuple[str, str]]

EPOCHS = "the training up to its last full epoch"

_advice: list[Advice] = []


def command_line(*more: str) -> str:
    """Return the command as it was typed, with more arguments."""
    name = ["python", "-m", "fastrec"] if Path(sys.argv[0]).name == "__main__.py" else ["fastrec"]
    return shlex.join([*name, *sys.argv[1:], *more])


def advice() -> tuple[str, str]:
    """Return what an interrupt leaves of the work, and a command that goes on with it; both may be empty."""
    return _advice[-1]() if _advice else ("", "")


@contextmanager
def advised(found: Advice) -> Iterator[None]:
    """A ``with`` block of work about which there is something to say when it is interrupted."""
    _advice.append(found)
    yield
    _advice.remove(found)  # after an exception it is still to be said


def notify(text: str) -> None:
    """Say something about the work, unless FASTREC_QUIET is set."""
    if not is_quiet():
        write(wrapped(f"fastrec: {text}", terminal_width(sys.stderr)) + "\n")


def kept_in(place: object, what: str = "what is done") -> tuple[str, str]:
    """Return the advice where a file has what is done, or a part of it."""
    return f"{what} is kept in {place}; go on with", command_line()


@contextmanager
def trials_kept(given: Path | None, wanted: bool, option: str = "--out run.db") -> Iterator[None]:
    """A ``with`` block of jobs whose trials are kept, in the file that is given or else in one of their own.

    given: a run file, or a folder of them.  wanted: whether jobs may make files.  option: would keep them.
    """
    if given is not None:
        with advised(lambda: kept_in(given)):
            yield
        return
    if not wanted:
        with advised(lambda: ("nothing is kept; this keeps every trial", command_line(*option.split()))):
            yield
        return
    with keep_long_jobs(notify) as keeper:

        def found() -> tuple[str, str]:
            if keeper.paths:
                return kept_in(" and ".join(map(str, keeper.paths)))
            return "nothing is kept of so short a run; this keeps every trial", command_line(*option.split())

        with advised(found):
            yield


class Training:
    """A training whose checkpoint is removed when it is done, and goes on where it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path, self.told = path, False
        self.error: OSError | None = None

    def expect(self, seconds: float) -> None:
        """Say once whether and where a training is kept that takes so long."""
        if seconds > LONG and not self.told:
            self.told = True
            notify(f"about {duration(seconds)} in all; {self.state()}")

    def fail(self, error: OSError) -> None:
        """Remember that the checkpoint cannot be written, and say so if it was said to be kept."""
        if self.told and self.error is None:
            notify(f"nothing of the training is kept any more: {error}")
        self.error = error

    def state(self) -> str:
        """Return what is kept, as a clause."""
        if self.error is not None:
            return f"nothing of the training is kept: {self.error}"
        return f"until then, the training is kept in {self.path}"

    def advice(self) -> tuple[str, str]:
        """Return the advice after an interrupt."""
        if self.error is not None:
            return f"{self.state()}; start again with", command_line()
        return kept_in(self.path, EPOCHS)


@contextmanager
def training_kept(given: Path | None, wanted: bool) -> Iterator[tuple[Path | None, Callable[[float], None]]]:
    """A ``with`` block of a training that is kept in a checkpoint, the given one or else one of its own.

    Yields its path, None if there is none, and a function to tell how many seconds the training takes in all.
    """
    if given is not None or not wanted:
        nothing = ("nothing of the training is kept; start again with", command_line())
        with advised(lambda: nothing if given is None else kept_in(given, EPOCHS)):
            yield given, lambda seconds: None
        return
    from ..rnn.checkpoint import UNWRITTEN  # not at the start of commands that train nothing

    digest = hashlib.sha256("\0".join(sys.argv[1:]).encode(errors="replace")).hexdigest()[:8]
    training = Training(Path(f"training-{digest}.npz"))
    if training.path.exists():
        notify(f"goes on with {training.path}, which an earlier start left")
    try:
        require_writable(training.path)
    except OSError as error:
        training.fail(error)
    token = UNWRITTEN.set(training.fail)
    try:
        with advised(training.advice):
            yield None if training.error else training.path, training.expect
    except (ValueError, ArithmeticError, SystemExit):
        training.path.unlink(missing_ok=True)  # another start would end in the same way
        raise
    finally:
        UNWRITTEN.reset(token)
    with suppress(OSError):
        training.path.unlink()
