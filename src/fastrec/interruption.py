"""Ctrl-C held back while something is half changed."""

from __future__ import annotations

# What signal.signal calls, which takes ten times as long.
import _signal  # type: ignore[import-not-found]
import threading
from types import FrameType, TracebackType
from typing import Any

SIGINT = 2  # on all systems


class uninterrupted:
    """A ``with`` block that Ctrl-C reaches before it begins or after it has ended, never inside.

    What SIGINT does in Python (`KeyboardInterrupt`, or a handler of the user's) then happens once, after the
    block. Blocks may be nested: it happens after the outermost. Threads other than the main one are never
    interrupted, and there a block does nothing. Keep blocks short: a kernel that is compiled in one, or a
    callback that is called, cannot be stopped.

    Examples
    --------
    >>> from fastrec.interruption import uninterrupted
    >>> with uninterrupted():
    ...     total, count = 1.0, 1
    """

    __slots__ = ("arguments", "handler")

    def __init__(self) -> None:
        self.handler: Any = None  # the one to put back, None where nothing is held back
        self.arguments: tuple[int, FrameType | None] | None = None  # of the interrupt that is held back

    def hold(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT inside of the block."""
        self.arguments = number, frame

    def __enter__(self) -> None:
        if threading.get_ident() == threading.main_thread().ident:
            handler = _signal.getsignal(SIGINT)
            if callable(handler):  # else SIGINT is ignored, or ends the process
                self.handler = handler
                _signal.signal(SIGINT, self.hold)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.handler is not None:
            _signal.signal(SIGINT, self.handler)  # runs `hold` first if a signal has just come
            if self.arguments is not None:
                arguments, self.arguments = self.arguments, None  # they hold the frame that holds this
                self.handler(*arguments)
