"""Texts that are given as such, or as the path of a file."""

from __future__ import annotations

import os
from pathlib import Path

from ..files import require_file
from ..messages import shown

Text = str | os.PathLike[str]
"""A text, or the path of a file that holds one: a str is always a text."""


def text_of(name: str, text: Text) -> str:
    """Return the text of an argument, from a file if that is a path.

    Files are UTF-8; a byte order mark is left out, and line ends of all kinds become "\\n".  Raises
    ValueError for what is no text, for a file that is empty or no UTF-8, and for a str that is the name of a
    file; OSError if a file cannot be read.
    """
    if isinstance(text, os.PathLike):
        require_file(text)
        return read_file(Path(text))
    if not isinstance(text, str):
        raise ValueError(f"{name} is {shown(text)}; give a str, or the pathlib.Path of a file")
    if len(text) < 4096 and os.path.isfile(text):
        raise ValueError(
            f"{name} is {text!r}, the name of a file; for what it holds, give pathlib.Path({text!r})"
        )
    return text


def read_file(path: Path) -> str:
    """Return the text of a file, which may be a pipe."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: byte {error.start} cannot be read") from None
    if not text:
        raise ValueError(f"{path}: the text is empty; give one to learn from")
    return text
