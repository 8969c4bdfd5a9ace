"""The width of terminals, and text that is wrapped to it at words."""

from __future__ import annotations

import os
import re
import textwrap
from typing import Any

HANG = re.compile(
    r" *\S(?:.*?\S)??(?: {2,})(?=\S)"
)  # what stands before the text of a line such as "cache     /home"


def terminal_width(stream: Any) -> int | None:
    """Return the number of columns of the terminal that a stream writes to, None if it is no terminal."""
    if stream is None or not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):  # a stand-in for a terminal
        return 80


def wrapped(text: str, width: int | None) -> str:
    """Return text whose lines longer than the width, None for any, are broken between words.

    What follows is indented as the line is, or as its second column, which two spaces set apart. Longer words
    stay whole.
    """
    if width is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in wrapped_line(line, width))


def wrapped_line(line: str, width: int) -> list[str]:
    """Return a line as lines of a width."""
    if len(line) <= width:
        return [line]
    first = HANG.match(line)
    indent = first.end() if first and first.end() <= width // 2 else len(line) - len(line.lstrip())
    if indent > width // 2:
        indent = 0
    rest = textwrap.wrap(line[indent:], width - indent, break_long_words=False, break_on_hyphens=False) or [
        ""
    ]
    return [line[:indent] + rest[0], *(" " * indent + part for part in rest[1:])]
