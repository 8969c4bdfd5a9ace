"""Numbers written out in words, in English and in Spanish."""

from __future__ import annotations

import re
from typing import Literal, get_args

from ..validation import as_choice, as_int

Language = Literal["en", "es"]

MOST = 999_999
WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen",
    "twenty thirty forty fifty sixty seventy eighty ninety",
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis "
    "diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro veinticinco "
    "veintiséis veintisiete veintiocho veintinueve",
    "treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    "ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos novecientos",
)
ENGLISH, ENGLISH_TENS, SPANISH, SPANISH_TENS, SPANISH_HUNDREDS = map(str.split, WORDS)


def number_words(n: int, language: Language = "en") -> str:
    """Write a number out in words.

    English is British: "and" stands before the tens and units ("one hundred and seven"), no commas between
    thousands and hundreds. In Spanish "uno" is shortened before "mil" ("veintiún mil"), and the numbers up
    to 29 are one word.

    Parameters
    ----------
    n : int
        From 0 to 999 999.
    language : {"en", "es"}, default "en"
        English or Spanish.

    Returns
    -------
    str
        The words, in lower case.

    Raises
    ------
    ValueError
        For invalid arguments.

    Examples
    --------
    >>> fastrec.number_words(31_016)
    'thirty-one thousand and sixteen'
    >>> fastrec.number_words(31_016, "es")
    'treinta y un mil dieciséis'
    """
    n = as_int("n", n, 0, MOST)
    as_choice("language", language, get_args(Language))
    return english(n) if language == "en" else spanish(n)


def english(n: int) -> str:
    """Return the English words of a number below a million."""
    if n < 20:
        return ENGLISH[n]
    if n < 100:
        return ENGLISH_TENS[n // 10 - 2] + (f"-{ENGLISH[n % 10]}" if n % 10 else "")
    unit, name = (1000, "thousand") if n >= 1000 else (100, "hundred")
    head, rest = f"{english(n // unit)} {name}", n % unit
    return f"{head}{' and' * (rest < 100)} {english(rest)}" if rest else head


def spanish(n: int) -> str:
    """Return the Spanish words of a number below a million."""
    if n < 30:
        return SPANISH[n]
    if n < 100:
        return SPANISH_TENS[n // 10 - 3] + (f" y {SPANISH[n % 10]}" if n % 10 else "")
    if n < 1000:
        head, rest = "cien" if n == 100 else SPANISH_HUNDREDS[n // 100 - 1], n % 100
    else:
        thousands, rest = spanish(n // 1000).replace("veintiuno", "veintiún"), n % 1000
        head = "mil" if n < 2000 else re.sub("uno$", "un", thousands) + " mil"
    return f"{head} {spanish(rest)}" if rest else head
