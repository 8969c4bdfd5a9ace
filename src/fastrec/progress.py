"""A progress bar with the time left, in a terminal or a notebook, for work of more than a second."""

from __future__ import annotations

import io
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from .kernels.compilation import compiling_seconds

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE = 1.0  # seconds of work before a bar appears
LOGGED = 5.0  # seconds of work after which a log is told of it
REFRESH = 0.25  # seconds between two states of a bar in a notebook: each is a message to the browser

_bars: list[Callable[[float, str], None]] = []


def on_terminal() -> bool:
    """Whether standard error is a terminal that moves its cursor."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows what IPython displays."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    if ipython is None or multiprocessing.parent_process() is not None:  # forked workers cannot display
        return False
    return getattr(ipython.get_ipython(), "kernel", None) is not None


def is_quiet() -> bool:
    """Whether the environment variable FASTREC_QUIET asks for no bars and no notices."""
    return bool(os.environ.get("FASTREC_QUIET"))


def describe(work: str) -> bool:
    """Show on the current progress bar what is being done; returns whether there is a bar."""
    for advance in _bars[-1:]:
        advance(0, work)
    return bool(_bars)


@contextmanager
def progress_bar(
    description: str, total: float, shown: bool = True, done: float = 0
) -> Iterator[Callable[[float, str], None]]:
    """A ``with`` block with a progress bar, which gets a function advance(amount, description) to move it.

    In a terminal the bar goes to standard error and leaves no trace, in a notebook its last state stays.
    Elsewhere, work of more than a few seconds writes a line to standard error when it has begun and one when
    it is done.  In the block of another bar, the description is shown on that.

    total, done and amounts: in any unit of which equal amounts take equal time.  done: the part of the total
    that was done before; the time left is estimated from the rest.  Nothing is shown unless `shown` is true,
    and nothing if `is_quiet`.
    """
    if not shown or is_quiet():
        yield lambda amount, description: None
    elif _bars:
        yield lambda amount, description: _bars[-1](0, description)
    elif on_terminal() or in_notebook():
        with live_bar(description, total, done) as advance:
            yield advance
    else:
        with lines_of_log(description, total - done) as advance:
            yield advance


@contextmanager
def live_bar(description: str, total: float, done: float) -> Iterator[Callable[[float, str], None]]:
    """The bar of a terminal or of a notebook."""
    terminal = on_terminal()
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    if terminal:
        console = Console(stderr=True)
    else:  # text, because the bars that Rich has for notebooks need ipywidgets
        console = Console(file=io.StringIO(), width=80, force_terminal=False, force_jupyter=False)
    elapsed = [TimeElapsedColumn()] * (console.width >= 70)
    width = min(40, max(8, console.width - 60))
    room = console.width - width - len(" 100% ") - 8 * (1 + len(elapsed)) - 1
    bar = Progress(
        *("{task.description}", BarColumn(width), "{task.percentage:>3.0f}%"),
        *(*elapsed, TimeRemainingColumn()),
        console=console,
        transient=True,
        speed_estimate_period=3600,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )
    task = bar.add_task(fitting(description, room), total=total, completed=int(done))
    show = bar.start if terminal else notebook_output(bar)
    begin = time.monotonic()
    due = begin + PATIENCE

    def advance(amount: float, description: str) -> None:
        nonlocal due
        bar.update(task, advance=amount, description=fitting(description, room))
        if time.monotonic() >= due:
            due = time.monotonic() + REFRESH
            show()

    _bars.append(advance)
    try:
        yield advance
    finally:
        _bars.remove(advance)
        bar.stop()
        if not terminal and due > begin + PATIENCE:
            show()


def fitting(text: str, width: int) -> str:
    """Return a text as part of a line, cut where it is longer; Rich takes nothing of it for a style."""
    return (text if len(text) <= width else f"{text[: width - 1]}…").replace("[", r"\[")


@contextmanager
def lines_of_log(description: str, left: float) -> Iterator[Callable[[float, str], None]]:
    """What is written where no bar can be shown, if the work takes long."""
    begin, done, told = time.monotonic(), 0.0, False
    compiled = compiling_seconds()

    def advance(amount: float, _: str) -> None:
        nonlocal done, told
        done += amount
        seconds = time.monotonic() - begin - (compiling_seconds() - compiled)  # the rest compiles no more
        if not told and done and seconds > LOGGED:
            told = True
            write(f"fastrec: {description}, about {duration(seconds / done * (left - done))} left\n")

    yield advance
    if told:
        write(f"fastrec: {description}, done in {duration(time.monotonic() - begin)}\n")


def duration(seconds: float) -> str:
    """Return a time in words."""
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def write(text: str) -> None:
    """Write to standard error, also if it is missing or closed."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text)
        sys.stderr.flush()


def notebook_output(bar: Progress) -> Callable[[], None]:
    """A function that shows the bar in the output of the running cell, replacing its last state."""
    from IPython.display import DisplayHandle

    handle = DisplayHandle()
    write = handle.display

    def show() -> None:
        nonlocal write
        with bar.console.capture() as text:
            bar.console.print(bar)
        write({"text/plain": text.get().rstrip()}, raw=True)
        write = handle.update

    return show
