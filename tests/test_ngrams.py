"""Kneser-Ney smoothing against counting with dictionaries, and that chances are chances."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec.text.ngrams import NGramModel, ngram_table

TEXT = st.lists(st.integers(0, 3), min_size=1, max_size=60)


def by_hand(text: list[int], order: int, size: int, context: list[int], symbol: int) -> float:
    """Chen & Goodman's formulas, as they are written."""

    @cache
    def counts(m: int) -> dict[tuple[int, ...], int]:
        grams = [tuple(text[j : j + m]) for j in range(len(text) - m + 1)]
        if m == order:
            return Counter(grams)
        before = defaultdict(set)
        for j in range(1, len(text) - m + 1):
            before[tuple(text[j : j + m])].add(text[j - 1])
        return {gram: len(before[gram]) for gram in grams}

    @cache
    def discounts(m: int) -> tuple[float, ...]:
        n = Counter(counts(m).values())
        if n[1] and n[2] and n[3]:
            y = n[1] / (n[1] + 2 * n[2])
            found = tuple(j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3))
            if min(found) > 0:
                return (0, *found)
        return 0, 0.5, 1, 1.5

    def chance(m: int, before: tuple[int, ...]) -> float:
        if m == 0:
            return 1 / size
        lower = chance(m - 1, before[1:])
        after = {gram[-1]: count for gram, count in counts(m).items() if gram[:-1] == before}
        if not (total := sum(after.values())):
            return lower
        d = discounts(m)
        kept = after.get(symbol, 0) - d[min(after.get(symbol, 0), 3)]
        return (kept + sum(d[min(count, 3)] for count in after.values()) * lower) / total

    longest = min(order - 1, len(context))
    return chance(longest + 1, tuple(context[len(context) - longest :]))


@given(TEXT, st.integers(1, 4), st.lists(st.integers(0, 4), max_size=5))
def test_is_the_formula(text: list[int], order: int, context: list[int]) -> None:
    model = NGramModel(order, 5).fit(text)
    expected = [by_hand(text, order, 5, context, symbol) for symbol in range(5)]
    np.testing.assert_allclose(model.predict(context), expected, rtol=1e-12)


@given(TEXT, st.integers(1, 7), st.lists(st.integers(0, 4), max_size=8))
def test_chances_sum_to_1(text: list[int], order: int, context: list[int]) -> None:
    chances = NGramModel(order, 5).fit(text).predict(context)
    assert chances.shape == (5,) and abs(chances.sum() - 1) < 1e-12
    assert (chances > 0).all()  # also of 4, which no text here holds


def test_chances_of_a_long_text() -> None:
    text = np.random.default_rng(0).geometric(0.2, 20_000).clip(max=40)
    model = NGramModel(4, 50).fit(text)
    assert all(abs(model.predict(text[j : j + 3]).sum() - 1) < 1e-12 for j in range(0, 2000, 50))
    assert repr(model).startswith("NGramModel(order=4, size=50, grams=[39, 567, ")


@given(TEXT, st.lists(st.integers(0, 4), min_size=1, max_size=20), st.integers(1, 5))
def test_score_is_the_mean_of_predictions(text: list[int], held: list[int], order: int) -> None:
    model = NGramModel(order, 5).fit(text)
    chances = [model.predict(held[:j])[symbol] for j, symbol in enumerate(held)]
    np.testing.assert_allclose(model.log_chances(held), np.log(chances), rtol=1e-12)
    assert np.isclose(model.score(held), -np.log(chances).mean(), rtol=1e-12)


def test_memory_pays() -> None:
    """A symbol that repeats that of two steps before is known to trigrams, not to bigrams."""
    random = np.random.default_rng(0)
    first = random.integers(0, 4, 8000)
    text = np.where(np.arange(8000) % 2, np.roll(first, 1), first)
    table = ngram_table(text[:7000], text[7000:], 4)
    assert list(table) == [1, 2, 3, 4, 5, 6]
    assert abs(table[1] - np.log(4)) < 0.01 and table[1] > table[2] > table[4]


def test_many_symbols() -> None:
    """Grams whose numbers, as digits of base `size`, do not fit 64 bits."""
    text = np.random.default_rng(0).integers(0, 2**31 - 2, 50)
    model = NGramModel(5, 2**31 - 1).fit(np.tile(text, 20))
    assert model.score(text[10:30]) < 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NGramModel(0, 3), "order is 0; it must be an integer from 1"),
        (lambda: NGramModel(2, 0), "size is 0"),
        (lambda: NGramModel(2, 3).fit([]), "tokens is empty; give a text to count"),
        (lambda: NGramModel(2, 3).fit([0, 3]), r"tokens holds 3 at \[1\]; it must be from 0 to 2"),
        (lambda: NGramModel(2, 3).fit([[0]]), r"tokens has shape \(1, 1\)"),
        (lambda: NGramModel(2, 3).fit([0.5]), "tokens has .*float64; it must be integers"),
        (lambda: NGramModel(2, 3).score([0]), "nothing has been counted; call fit first"),
        (lambda: NGramModel(2, 3).fit([0]).score([]), "tokens is empty; give a text to score"),
    ],
)
def test_refuses(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
