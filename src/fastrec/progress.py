"""A progress bar with the time left, on a terminal, for work that lasts longer than a second."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def on_terminal() -> bool:
    """Whether standard error is a terminal that moves its cursor."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def progress_bar(
    description: str, total: float, shown: bool = True, done: float = 0
) -> Iterator[Callable[[float, str], None]]:
    """Give a function advance(amount, description); the bar goes to standard error and leaves no trace.

    total, done and amounts: in any unit of work done in equal time.  done: of the total, before this began;
    the time left follows from the rest.  Nothing is shown unless `shown` and `on_terminal`.
    """
    if not shown or not on_terminal():
        yield lambda amount, description: None
        return
    from rich.console import Console
    from rich.progress import Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:-1], TimeElapsedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=3600)
    task = bar.add_task(description, total=total, completed=int(done))
    begin = time.monotonic()

    def advance(amount: float, description: str) -> None:
        bar.update(task, advance=amount, description=description)
        if time.monotonic() - begin > 1:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
