"""Numbers written out: hand-written ones, what holds for all, and a digest of another library's."""

from __future__ import annotations

from hashlib import sha256

import pytest

import fastrec

SPANISH = {
    0: "cero",
    16: "dieciséis",
    21: "veintiuno",
    22: "veintidós",
    30: "treinta",
    31: "treinta y uno",
    100: "cien",
    101: "ciento uno",
    116: "ciento dieciséis",
    500: "quinientos",
    700: "setecientos",
    999: "novecientos noventa y nueve",
    1000: "mil",
    1001: "mil uno",
    2100: "dos mil cien",
    21_021: "veintiún mil veintiuno",
    31_031: "treinta y un mil treinta y uno",
    100_000: "cien mil",
    101_000: "ciento un mil",
    121_000: "ciento veintiún mil",
    500_115: "quinientos mil ciento quince",
    999_999: "novecientos noventa y nueve mil novecientos noventa y nueve",
}
ENGLISH = {
    0: "zero",
    13: "thirteen",
    40: "forty",
    99: "ninety-nine",
    100: "one hundred",
    108: "one hundred and eight",
    1000: "one thousand",
    1080: "one thousand and eighty",
    1800: "one thousand eight hundred",
    101_001: "one hundred and one thousand and one",
    999_999: "nine hundred and ninety-nine thousand nine hundred and ninety-nine",
}


def test_number_words() -> None:
    assert {n: fastrec.number_words(n, "es") for n in SPANISH} == SPANISH
    assert {n: fastrec.number_words(n) for n in ENGLISH} == ENGLISH


@pytest.mark.parametrize(
    ("language", "digest"),
    [("en", "84beff8b3e533e84"), ("es", "94998af8f1adc8c5")],
)
def test_numbers_are_those_of_num2words(language: str, digest: str) -> None:
    """Version 0.5.14 writes all 1 000 000 so, without commas, but for "uno mil" and "veintiuno mil"."""
    words = [fastrec.number_words(n, language) for n in range(0, 10**6, 7)]  # type: ignore[arg-type]
    assert len({*words}) == len(words)
    assert sha256("\n".join(words).encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), r"n is -1; it must be an integer from 0 to 999999"),
        ((10**6,), r"n is 1000000"),
        ((1.0,), r"n is 1\.0"),
        ((1, "fr"), r'language is \'fr\'; it must be "en" or "es"'),
    ],
)
def test_numbers_that_have_no_words(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastrec.number_words(*arguments)  # type: ignore[arg-type]
