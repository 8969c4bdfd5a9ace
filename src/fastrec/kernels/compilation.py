"""Compilation of kernels: the time each thread spends on it, and listeners notified of its start and end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

log = logging.getLogger("fastrec")

_of_thread = threading.local()


class Listener(Protocol):
    """An object notified of compilations, for instance to show them to the user."""

    def start(self, compilation: Compilation) -> None:
        """A compilation begins."""

    def stop(self, compilation: Compilation, seconds: float) -> None:
        """A compilation has ended, after so many seconds."""


listeners: list[Listener] = []


class Compilation:
    """A ``with`` block in which a kernel is compiled.

    part: what the kernel belongs to, such as "capacity".  functions: how many functions the kernel consists
    of, 0 if unknown; `begun` holds those whose compilation has begun.
    """

    def __init__(self, part: str, name: str, functions: int = 0) -> None:
        self.part, self.name, self.functions = part, name, functions
        self.begun: set[object] = set()

    def __enter__(self) -> Compilation:
        self.begin = time.perf_counter()
        _of_thread.current = self
        for listener in listeners:
            listener.start(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self.begin
        _of_thread.current = None
        for listener in listeners:
            listener.stop(self, seconds)
        if error is None:
            log.info("compiled %s of %s in %.1f s", self.name, self.part, seconds)

    def __str__(self) -> str:
        begun = min(len(self.begun), self.functions)
        return f"{self.part}, {begun} of {self.functions} functions" if self.functions else self.part


def note_function(function: object) -> None:
    """Record in this thread's compilation, if there is one, that the compiler begins with a function."""
    current = getattr(_of_thread, "current", None)
    if current is not None:
        current.begun.add(function)


@contextmanager
def not_timed() -> Iterator[None]:
    """A ``with`` block whose time counts as spent on compilation."""
    begin = time.perf_counter()
    try:
        yield
    finally:
        _of_thread.seconds = compiling_seconds() + time.perf_counter() - begin


def compiling_seconds() -> float:
    """Seconds this thread has spent compiling the kernels it called or reading them from disk."""
    return float(getattr(_of_thread, "seconds", 0.0))
