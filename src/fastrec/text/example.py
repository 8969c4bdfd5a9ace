"""A text that ships with fastrec."""

from __future__ import annotations

from importlib import resources


def example_text() -> str:
    r"""Return a text to try models on: Shakespeare's Romeo and Juliet, 133465 characters of 61 kinds.

    It ships with fastrec and is in the public domain.

    Returns
    -------
    str
        The text, with line breaks "\n".

    Examples
    --------
    >>> fastrec.example_text()[:15]
    'SAMPSON:\nGregor'
    """
    return (resources.files(__package__) / "data" / "romeo_and_juliet.txt").read_text(encoding="utf-8")
