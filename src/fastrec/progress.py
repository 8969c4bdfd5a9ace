"""A progress bar with the time left, in a terminal or a notebook, for work of more than a second."""

from __future__ import annotations

import io
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE = 1.0  # seconds of work before a bar appears
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

    total, done and amounts: in any unit of which equal amounts take equal time.  done: the part of the total
    that was done before; the time left is estimated from the rest.  Nothing is shown unless `shown` is true
    and there is a terminal or a notebook, and nothing if `is_quiet`.
    """
    terminal = on_terminal()
    if not shown or is_quiet() or not (terminal or in_notebook()):
        yield lambda amount, description: None
        return
    from rich.console import Console
    from rich.progress import Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:-1], TimeElapsedColumn(), TimeRemainingColumn())
    if terminal:
        console = Console(stderr=True)
    else:  # text, because the bars that Rich has for notebooks need ipywidgets
        console = Console(file=io.StringIO(), width=80, force_terminal=False, force_jupyter=False)
    bar = Progress(*columns, console=console, transient=True, speed_estimate_period=3600)
    task = bar.add_task(description, total=total, completed=int(done))
    show = bar.start if terminal else notebook_output(bar)
    begin = time.monotonic()
    due = begin + PATIENCE

    def advance(amount: float, description: str) -> None:
        nonlocal due
        bar.update(task, advance=amount, description=description)
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
