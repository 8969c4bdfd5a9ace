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
    interrupted, and there a block does nothing. Keep blocks short, or put what takes long into `heard`: a
    kernel that is compiled outside of it, or a callback that is called, cannot be stopped.

    Examples
    --------
    >>> from fastrec.kernels.interruption import uninterrupted
    >>> with uninterrupted():
    ...     total, count = 1.0, 1
    """

    __slots__ = ("arguments", "handler", "listening")

    def __init__(self) -> None:
        self.handler: Any = None  # the one to put back, None where nothing is held back
        self.arguments: tuple[int, FrameType | None] | None = None  # of the interrupt that is held back
        self.listening = False

    def hold(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT inside of the block."""
        if self.listening:
            self.listening = False  # what follows on an exception is not interrupted again
            self.handler(number, frame)
            self.listening = True
        else:
            self.arguments = number, frame

    def __enter__(self) -> uninterrupted:
        if threading.get_ident() == threading.main_thread().ident:
            handler = _signal.getsignal(SIGINT)
            if callable(handler):  # else SIGINT is ignored, or ends the process
                self.handler = handler
                _signal.signal(SIGINT, self.hold)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.handler is not None:
            if _signal.getsignal(SIGINT) == self.hold:  # else somebody has set another one for good
                _signal.signal(SIGINT, self.handler)  # runs `hold` first if a signal has just come
            if self.arguments is not None:
                arguments, self.arguments = self.arguments, None  # they hold the frame that holds this
                self.handler(*arguments)


class heard:
    """A part of an `uninterrupted` block that Ctrl-C does reach: what is around it is still not interrupted.

    Once an interrupt has raised an exception, further ones wait for the end of the whole block.

    Examples
    --------
    >>> from fastrec.kernels.interruption import heard, uninterrupted
    >>> with uninterrupted() as block:
    ...     try:
    ...         with heard(block):
    ...             total = sum(range(1000))
    ...     finally:
    ...         done = True
    """

    __slots__ = ("block",)

    def __init__(self, block: uninterrupted) -> None:
        self.block = block

    def __enter__(self) -> None:
        self.block.listening = True
        if self.block.arguments is not None:
            arguments, self.block.arguments = self.block.arguments, None
            self.block.hold(*arguments)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.block.listening = False
