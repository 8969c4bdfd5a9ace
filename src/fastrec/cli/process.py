"""How a command ends: signals, closed and full streams, one line for an error."""

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

from ..progress import on_terminal

ENDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def fail(message: str, status: int = 1) -> NoReturn:
    if sys.stderr is not None:
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)  # names of files have any
        try:
            print(f"fastrec: {line}", file=sys.stderr)
        except OSError:  # the reader left, and Python would try again as it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.exit(status)


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM, which batch systems send, under a name that typer does not turn into an exit code
    of its own.

    number: of the signal, once it came.  lost: raised where no exception can go on.  told: whether it was
    said that it came.
    """

    number, lost, told = 0, False, False


def hear_interrupts() -> None:
    """Let Ctrl-C and SIGTERM end the process, within about a second even from inside a long kernel call.

    Python runs a signal's handler between byte codes, so never during a kernel.  The wakeup socket is
    written at once, and the thread that waits for it ends a process that a second later has not begun to end
    by itself, or has not done so ten seconds later.
    """

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        for each in ENDS:  # a second one would cut the end of the first short
            signal.signal(each, signal.SIG_IGN)
        Interrupted.number = number
        raise Interrupted

    def tell(lost: sys.UnraisableHookArgs) -> None:
        # Compilation calls back into Python, where no exception can go on: the thread below ends the process.
        if issubclass(lost.exc_type, Interrupted):
            Interrupted.lost = True
        else:
            told_before(lost)

    def watch() -> None:
        while (number := receiver.recv(1)[0]) not in ENDS:
            pass
        time.sleep(1)
        if Interrupted.number and not Interrupted.lost:
            time.sleep(10)  # files are put in order and workers ended, which a busy machine takes long for
        if sys.stderr is not None and not Interrupted.told:
            end = "\r\x1b[K\x1b[?25h" if on_terminal() else ""  # clear the bar, show the cursor
            with suppress(OSError):
                os.write(2, f"{end}fastrec: {ENDS[signal.Signals(number)]}\n".encode())
        os._exit(128 + number)

    told_before, sys.unraisablehook = sys.unraisablehook, tell
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    for each in ENDS:
        signal.signal(each, interrupt)
    signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()


def flush_output() -> None:
    """Write what was printed; if that fails raise and drop it, or Python would try again as it ends."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise type(error)(f"standard output: {error.strerror}") from None


def prepare_streams() -> None:
    """Keep what is printed, warned and written apart, whatever the command was started with."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file to be opened would get its number and what is printed
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    show_what_can_be()
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(logging.Formatter("fastrec: %(message)s"))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # warns of a home that it cannot write to


def show_what_can_be() -> None:
    """Print "?" for characters of a text, or of the name of a file, that the terminal does not have."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
