"""Sentences as words, and pairs of them in files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..files import require_file
from ..messages import shown
from .vocabulary import split

JOINER = "\N{HALFWIDTH BLACK SQUARE}"  # on the side of a piece where no space is, as in OpenNMT
LETTER = re.compile(r"[^\W\d_]")


def split_sentence(sentence: str) -> list[str]:
    """Return the words and punctuation marks of a sentence, which starts in lower case unless "AS HERE"."""
    words: list[str] = []
    begun = joined = False
    for piece in split(sentence.replace(JOINER, "")):
        if piece.isspace():
            joined = False
            continue
        if not begun and piece[0].isalnum():
            begun, piece = True, piece.lower() if piece == piece.capitalize() else piece
        if joined and piece[0].isalnum() and not words[-1][-1].isalnum():
            words[-1] += JOINER
        elif joined:
            piece = JOINER + piece
        words.append(piece)
        joined = True
    return words


def join_words(words: Sequence[str], capital: bool) -> str:
    """Return the sentence of such words, which starts with a capital letter if it should."""
    sentence = re.sub(f" ?{JOINER} ?", "", " ".join(words))
    return LETTER.sub(lambda letter: letter[0].upper(), sentence, count=1) if capital else sentence


def starts_with_capital(sentence: str) -> bool:
    """Return whether the first letter of a sentence is a capital one."""
    letter = LETTER.search(sentence)
    return letter is not None and letter[0].isupper()


def read_sentence_pairs(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Read pairs of sentences from a file of lines with a tab between a sentence and its translation.

    Parameters
    ----------
    path : path
        UTF-8 text; a byte order mark is left out.

    Returns
    -------
    list of tuple of str
        (sentence, translation) of each line, without spaces around them.

    Raises
    ------
    ValueError
        If the file is empty or not UTF-8, or a line does not have two sentences; the message names the line.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("pairs.tsv").write_text("the house\\tla casa\\nthe cat\\tel gato\\n")
    >>> fastrec.read_sentence_pairs("pairs.tsv")
    [('the house', 'la casa'), ('the cat', 'el gato')]
    """
    require_file(path)
    lines = decode_lines(Path(path).read_bytes(), path)
    if not any(map(str.strip, lines)):
        raise ValueError(f"{path}: the file is empty; give lines of a sentence, a tab and its translation")
    pairs = []
    for number, line in enumerate(lines, 1):
        sides = [side.strip() for side in line.split("\t")]
        if len(sides) != 2 or not all(sides):
            found = f"has {len(sides)} columns" if len(sides) != 2 else "has an empty column"
            raise ValueError(
                f"{path}: line {number}, {shown(line)}, {found}; give a sentence, a tab and its translation"
            )
        pairs.append((sides[0], sides[1]))
    return pairs


def decode_lines(data: bytes, name: object) -> list[str]:
    """Return the lines of UTF-8 text without their ends; ValueError names the first that is not UTF-8."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"{name}: line {line} is not UTF-8 text; convert it") from None
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
