"""Running a command that may hang, print endlessly, leave children behind or die, without harm to the
caller."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

GRACE = 5.0  # seconds from SIGTERM to SIGKILL, and from there until a process is given up


class Ended(NamedTuple):
    """End of a command: its exit status, minus the signal number, or None if it could not be killed."""

    exit: int | None
    timed_out: bool
    seconds: float


def run_limited(
    command: Sequence[str], limit: float, write: Callable[[bytes], None], keep: Sequence[int] = ()
) -> Ended:
    """Run a command in its own process group, which is killed after `limit` seconds.

    `write` is called with the output of the command, and `keep` lists file descriptors that it inherits. When
    the command ends, all processes of its group are killed.
    """
    begin = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=keep,
    )
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    os.set_blocking(pipe, False)
    timed_out = False
    try:
        with process.stdout:
            for end, number in ((limit, signal.SIGTERM), (limit + GRACE, signal.SIGKILL)):
                if not pump(process, pipe, begin + end, write):
                    timed_out = True
                    send(process, number)
            # A driver that hangs keeps even a killed process.
            pump(process, pipe, begin + limit + 2 * GRACE, write)
    except BaseException:
        send(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        raise
    finally:
        send(process, signal.SIGKILL)
    return Ended(process.poll(), timed_out, time.monotonic() - begin)


def pump(process: subprocess.Popen[bytes], pipe: int, until: float, write: Callable[[bytes], None]) -> bool:
    """Pass on the output of a process; return True when it ends, or False at the deadline."""
    is_open = True
    while process.poll() is None and (left := until - time.monotonic()) > 0:
        if not is_open:
            time.sleep(min(left, 0.02))
        elif select.select([pipe], [], [], min(left, 0.05))[0]:
            data = os.read(pipe, 1 << 16)
            write(data)
            is_open = bool(data)
    if process.poll() is None:
        return False
    # What is left in the pipe, but no more: a child that outlives the process may still print.
    with contextlib.suppress(BlockingIOError):
        for _ in range(16):
            if not (data := os.read(pipe, 1 << 16)):
                break
            write(data)
    return True


def send(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to the group of a process, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
