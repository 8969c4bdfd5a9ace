"""Messages about compilation that takes more than two seconds, and a clock that leaves compilation out.

A terminal and a notebook show one line while kernels are compiled; other outputs get a line when compilation
has taken that long and one at its end.  The logger "fastrec" gets a record for each kernel.  Nothing is
printed for kernels that are read from disk, nor if FASTREC_QUIET is set.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from contextlib import suppress

from .kernels.compilation import Compilation, compiling_seconds
from .progress import describe, in_notebook, is_quiet, on_terminal, write
from .terminal import terminal_width

PATIENCE = 2.0  # seconds of compilation in silence
REFRESH = 0.25  # seconds between two states of the line
PAUSE = 1.0  # seconds without compilation after which it has ended


def clock() -> float:
    """Return a time in seconds that does not count what this thread spent on compiling or loading kernels.

    Only differences mean something.

    Examples
    --------
    >>> from fastrec.compilation import clock
    >>> begin = clock()
    >>> clock() - begin < 1
    True
    """
    return time.perf_counter() - compiling_seconds()


class Announcement:
    """Shows the compilations of this process, which come one at a time."""

    def __init__(self) -> None:
        self.lock: threading.Lock = threading.Lock()
        self.current: Compilation | None = None
        self.watching: bool = False
        self.forget()

    def forget(self) -> None:
        """Reset the counts."""
        self.seconds: float = 0.0
        self.kernels: int = 0
        self.ended: float = 0.0
        self.said: bool = False
        self.parts: dict[str, None] = {}

    def start(self, compilation: Compilation) -> None:
        """Note that a compilation begins, and start a thread that watches how long it takes."""
        with self.lock:
            self.parts[compilation.part] = None
            if not self.watching and not is_quiet():
                self.watching = True
                with suppress(RuntimeError):  # no more threads: nothing is shown then
                    threading.Thread(target=self.watch, name="fastrec compiling", daemon=True).start()
            self.current = compilation  # last: after an interrupt before, it would be shown for ever

    def stop(self, compilation: Compilation, seconds: float) -> None:
        """Note that a compilation has ended."""
        with self.lock:
            self.seconds += seconds
            self.kernels += 1
            self.ended = time.perf_counter()
            if self.current is compilation:
                self.current = None
            if self.said and is_live():
                write("\r\x1b[K" if on_terminal() else "\r" + " " * 79 + "\r")

    def watch(self) -> None:
        """Show the current compilation until none has run for a while."""
        while True:
            time.sleep(REFRESH)
            with self.lock:
                now = time.perf_counter()
                if self.current is not None:
                    lasted = self.seconds + now - self.current.begin
                    if lasted > PATIENCE:
                        self.say(self.current, lasted)
                elif now - self.ended > PAUSE:
                    self.end()
                    self.watching = False
                    return

    def say(self, compilation: Compilation, seconds: float) -> None:
        """Show a compilation on the progress bar, as a changing line, or as one line for a log."""
        if describe(f"compiling {compilation}, {seconds:.0f} s"):
            return
        if is_live():
            line = f"fastrec: compiling {compilation}, {seconds:.0f} s"[
                : (terminal_width(sys.stderr) or 80) - 1
            ]
            write(f"\r{line}\x1b[K" if on_terminal() else f"\r{line:<79}")
        elif not self.said:
            write(f"fastrec: compiling {compilation.part} for this CPU, once: kernels are kept on disk\n")
        self.said = True

    def end(self) -> None:
        """Write to a log how long compilation took."""
        if self.said and not is_live():
            parts = ", ".join(self.parts)
            kernels = "1 kernel" if self.kernels == 1 else f"{self.kernels} kernels"
            write(f"fastrec: compiled {kernels} of {parts} in {self.seconds:.0f} s\n")
        self.forget()


def is_live() -> bool:
    """Whether standard error can show a line that changes."""
    return on_terminal() or in_notebook()


announcement: Announcement = Announcement()
atexit.register(announcement.end)
if hasattr(os, "register_at_fork"):  # in a child nobody watches, and the lock may be held
    os.register_at_fork(after_in_child=announcement.__init__)  # type: ignore[misc]
