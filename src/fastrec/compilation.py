"""A word on what is being compiled, for compilation that takes more than two seconds, and a clock without it.

A terminal and a notebook show one line while it lasts, other outputs get a line when it has lasted that long
and one at its end.  The logger "fastrec" gets a record for each kernel.  Nothing is said of what is read from
disk, nor with FASTREC_QUIET.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from .progress import describe, in_notebook, is_quiet, on_terminal

log = logging.getLogger("fastrec")

PATIENCE = 2.0  # seconds of compilation in silence
REFRESH = 0.25  # seconds between two states of the line
PAUSE = 1.0  # seconds without compilation after which it has ended

_of_thread = threading.local()


def clock() -> float:
    """Seconds since any time, without those in which this thread compiled kernels or read them from disk."""
    return time.perf_counter() - compiling_seconds()


def compiling_seconds() -> float:
    """Seconds that this thread has spent until it had the kernels that it called."""
    return float(getattr(_of_thread, "seconds", 0.0))


class Compilation:
    """A ``with`` block in which a kernel is compiled.

    part: what it belongs to, such as "capacity".  functions: how many it consists of, if that is known; those
    of them that have begun are in `begun`.
    """

    def __init__(self, part: str, name: str, functions: int = 0) -> None:
        self.part, self.name, self.functions = part, name, functions
        self.begun: set[object] = set()

    def __enter__(self) -> Compilation:
        self.begin = time.perf_counter()
        announcement.start(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self.begin
        announcement.stop(self, seconds)
        if error is None:
            log.info("compiled %s of %s in %.1f s", self.name, self.part, seconds)

    def __str__(self) -> str:
        begun = min(len(self.begun), self.functions)
        return f"{self.part}, {begun} of {self.functions} functions" if self.functions else self.part


@contextmanager
def not_timed() -> Iterator[None]:
    """A ``with`` block whose time does not count for `clock`."""
    begin = time.perf_counter()
    try:
        yield
    finally:
        _of_thread.seconds = compiling_seconds() + time.perf_counter() - begin


class Announcement:
    """What is said of the compilations of a process, which come one at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.current: Compilation | None = None
        self.watching = False
        self.forget()

    def forget(self) -> None:
        """Begin to count anew."""
        self.seconds, self.kernels, self.ended, self.said = 0.0, 0, 0.0, False
        self.parts: dict[str, None] = {}

    def start(self, compilation: Compilation) -> None:
        """Take note of a compilation that begins, and watch how long it lasts."""
        with self.lock:
            self.parts[compilation.part] = None
            if not self.watching and not is_quiet():
                self.watching = True
                with suppress(RuntimeError):  # no more threads: nothing is said then
                    threading.Thread(target=self.watch, name="fastrec compiling", daemon=True).start()
            self.current = compilation  # last, or an interrupt before would leave it to be announced for ever

    def stop(self, compilation: Compilation, seconds: float) -> None:
        """Take note of one that has ended."""
        with self.lock:
            self.seconds += seconds
            self.kernels += 1
            self.ended = time.perf_counter()
            if self.current is compilation:
                self.current = None
            if self.said and is_live():
                write("\r\x1b[K" if on_terminal() else "\r" + " " * 79 + "\r")

    def watch(self) -> None:
        """Say what there is to say until compilation has ended."""
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
        if describe(f"compiling {compilation}, {seconds:.0f} s"):
            return
        if is_live():
            line = f"fastrec: compiling {compilation}, {seconds:.0f} s"
            write(f"\r{line}\x1b[K" if on_terminal() else f"\r{line:<79}")
        elif not self.said:
            write(f"fastrec: compiling {compilation.part} for this CPU, once: kernels are kept on disk\n")
        self.said = True

    def end(self) -> None:
        """Say how long it took."""
        if self.said and not is_live():
            parts = ", ".join(self.parts)
            kernels = "1 kernel" if self.kernels == 1 else f"{self.kernels} kernels"
            write(f"fastrec: compiled {kernels} of {parts} in {self.seconds:.0f} s\n")
        self.forget()


def is_live() -> bool:
    """Whether standard error shows one line that changes."""
    return on_terminal() or in_notebook()


def write(text: str) -> None:
    """Write to standard error, whatever has become of it."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text)
        sys.stderr.flush()


announcement = Announcement()
atexit.register(announcement.end)
if hasattr(os, "register_at_fork"):  # in a child nobody watches, and the lock may be held
    os.register_at_fork(after_in_child=announcement.__init__)  # type: ignore[misc]
