"""Output of the steps, on the terminal and in a file."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
from pathlib import Path

KEPT = 1 << 22  # bytes of earlier runs
HEAD = 1 << 19  # characters of a step that are written at once
TAIL = 1 << 17  # characters of the end of a step that prints more


class Log:
    """A log that is written at once; it keeps the beginning and the end of a step with too much output."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and path.stat().st_size > KEPT:
            path.write_bytes(path.read_bytes()[-KEPT // 2 :])
        self.at_line_start = True
        self.begin()

    def begin(self) -> None:
        """Begin a step."""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.room, self.left_out, self.tail = HEAD, 0, ""

    def write(self, data: bytes) -> None:
        """Write output of a step."""
        text = self.decoder.decode(data)
        self.say(text[: self.room], end="")
        tail = self.tail + text[self.room :]
        self.room -= min(self.room, len(text))
        self.tail = tail[-TAIL:]
        self.left_out += len(tail) - len(self.tail)

    def end(self) -> None:
        """Write the end of the output of a step."""
        if self.left_out:
            self.say(f"\n[{self.left_out} characters left out]")
        self.say(self.tail, end="")
        if not self.at_line_start:
            self.say("")
        self.begin()

    def say(self, text: str, end: str = "\n") -> None:
        """Write text; a full disk or a closed terminal does not end the run."""
        if text := text + end:
            self.at_line_start = text.endswith("\n")
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with contextlib.suppress(OSError), self.path.open("a", encoding="utf-8") as file:
            file.write(text)
