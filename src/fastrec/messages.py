"""Values and text of others in messages."""

from __future__ import annotations

import re

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what terminals obey, but for lines and tabs
LONGEST = 80  # characters of a value in a message


def shown(value: object) -> str:
    """A value of an argument in a message: in one line, of an array or a long text only the beginning."""
    return printable(" ".join(repr(value).split()), LONGEST)


def printable(text: object, most: int | None = None) -> str:
    r"""Text of a file, or its name, in one line of a message: "\x1b" for an escape character.

    most: number of characters, of a longer text only the first are shown.
    """
    shown = str(text)
    if most is not None and len(shown) > most:
        shown = f"{shown[:most]}..."
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)


def visible(text: object) -> str:
    r"""Text as a terminal may get it: "\x1b" for an escape character; lines and tabs stay."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], str(text))
