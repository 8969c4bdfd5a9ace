"""Ends of a command: signals, closed and full streams, one-line error messages."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

from ..messages import printable, visible
from ..progress import on_terminal
from ..terminal import terminal_width, wrapped
from .resuming import advice

ENDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def fail(message: str, status: int = 1) -> NoReturn:
    leave(said(message), status)


def leave(text: str, status: int) -> NoReturn:
    """Print a text to standard error, and exit."""
    if sys.stderr is not None:
        try:
            print(text, file=sys.stderr)
        except OSError:  # the reader has exited, and Python would try again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.exit(status)


def said(message: str) -> str:
    """Return a message as it is printed: names of files may contain any character."""
    return wrapped(f"fastrec: {printable(message)}", terminal_width(sys.stderr))


def ended(number: int) -> str:
    """Return what is said when a signal has ended the work, and the command that goes on, on its own line."""
    kept, command = advice()
    lines = [said(f"{ENDS[signal.Signals(number)]}; {kept}" if kept else ENDS[signal.Signals(number)])]
    return "\n".join([*lines, f"  {printable(command)}"] if command else lines)


class Visible(logging.Formatter):
    """Messages without what a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        return wrapped(visible(super().format(record)), terminal_width(sys.stderr))


class Interrupted(BaseException):
    """Ctrl-C, or the SIGTERM of a batch system, as an exception that typer does not convert to an exit code.

    Attributes
    ----------
    number : int
        Number of the signal, or 0 before it arrives.
    lost : bool
        Whether it was raised inside a callback, through which no exception propagates.
    told : bool
        Whether the user has been told.
    """

    number, lost, told = 0, False, False


def hear_interrupts() -> None:
    """Make Ctrl-C and SIGTERM end the process within about a second, even during a long kernel call.

    Python runs signal handlers between bytecodes, so never during a kernel. The wakeup socket, however, is
    written at once. A thread waits for it, and ends the process if it has not started to end by itself
    after one second, or has not finished after ten more.
    """

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        for each in ENDS:  # a second signal would interrupt the cleanup after the first
            signal.signal(each, signal.SIG_IGN)
        Interrupted.number = number
        raise Interrupted

    def tell(lost: sys.UnraisableHookArgs) -> None:
        # No exception propagates through callbacks of the compiler: the thread below ends the process.
        if issubclass(lost.exc_type, Interrupted):
            Interrupted.lost = True
        else:
            told_before(lost)

    def watch() -> None:
        while (number := receiver.recv(1)[0]) not in ENDS:
            pass
        time.sleep(1)
        if Interrupted.number and not Interrupted.lost:
            time.sleep(10)  # time to close files and end workers, which takes long on a busy machine
        if sys.stderr is not None and not Interrupted.told:
            end = "\r\x1b[K\x1b[?25h" if on_terminal() else ""  # clear the bar, show the cursor
            with suppress(OSError):
                os.write(2, f"{end}{ended(number)}\n".encode())
        os._exit(128 + number)

    told_before, sys.unraisablehook = sys.unraisablehook, tell
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    for each in ENDS:
        signal.signal(each, interrupt)
    signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()


def flush_output() -> None:
    """Flush standard output; if that fails, discard it, or Python would retry at exit, and raise OSError."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise type(error)(f"standard output: {error.strerror}") from None


def prepare_streams() -> None:
    """Keep output, warnings and files apart, whichever streams the command was started with."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file opened would take its number, and receive the output
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    show_what_can_be()
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Visible("fastrec: %(message)s"))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home folder that is not writable


def show_what_can_be() -> None:
    """Print "?" for characters of a text or of a file name that the terminal cannot show."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
