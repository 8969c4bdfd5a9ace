"""Symbols of texts: every text survives the way to tokens and back."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec import RNN, CharModel
from fastrec.text.vocabulary import Vocabulary, split

ANY = st.text(st.characters(), max_size=80)  # lone surrogates and U+0000 among them
FEW = st.text("ab \n.,é\U0001f600\ud800", max_size=60)


@given(ANY | FEW, st.sampled_from(["character", "word"]))
def test_round_trip(text: str, unit: str) -> None:
    if not text:
        with pytest.raises(ValueError, match="text is empty and has no symbols"):
            Vocabulary.of(text, unit)
        return
    vocabulary = Vocabulary.of(text, unit)
    tokens = vocabulary.encode(text)
    assert tokens.dtype == np.int32 and tokens.ndim == 1 and vocabulary.unknown is None
    assert list(vocabulary.symbols) == sorted(set(text) if unit == "character" else set(split(text)))
    assert vocabulary.decode(tokens) == text
    assert [vocabulary.symbols[token] for token in tokens] == (
        list(text) if unit == "character" else split(text)
    )
    assert vocabulary.encode("").shape == (0,) and vocabulary.decode([]) == ""


@given(ANY | FEW)
def test_pieces_are_the_text(text: str) -> None:
    pieces = split(text, "plain")
    assert "".join(pieces) == text == "".join(split(text))
    assert all(
        len(piece) == 1 or piece.isidentifier() or piece.replace("_", "a").isalnum() for piece in pieces
    )


@pytest.mark.parametrize(
    "text",
    [
        ["हिन्दी", " ", "भाषा"],
        ["e\u0301te\u0301", ",", " ", "été"],
        ["don't", " ", " ", "3.14", "\n", "\n", "snake_case", "!"],
        ["안녕하세요", " ", "привет", " ", "עברית", " ", "北", "京"],
        ["👩\u200d❤️\u200d👩", "👍🏽", "🇩🇪"],
    ],
)
def test_words_are_those_of_unicode(text: list[str]) -> None:
    assert split("".join(text)) == text
    assert set(Vocabulary.of("".join(text), "word").symbols) == set(text)


def test_old_vocabularies_split_as_they_did() -> None:
    old = Vocabulary(["don", "'", "t"], "word", words="plain")
    assert old.encode("don't").tolist() == [0, 1, 2] and 'words="plain"' in repr(old)
    assert pickle.loads(pickle.dumps(old)) == old
    assert Vocabulary(["don't"], "word").encode("don't").tolist() == [0]
    assert Vocabulary("ab", words="plain") == Vocabulary("ab")
    before = object.__new__(Vocabulary)  # as a pickle of version 0.1.0 makes it
    before.__setstate__({"symbols": ("don", "'", "t"), "unit": "word", "unknown": None})
    assert before == old
    with pytest.raises(ValueError, match="words is 'icu'"):
        Vocabulary("ab", words="icu")  # type: ignore[arg-type]


def test_models_say_how_they_split(tmp_path: Path) -> None:
    model = CharModel(4, unit="word", seed=1)
    model.fit("I don't. You don't! " * 20, epochs=0.5, progress=False)
    model.save(tmp_path / "a.npz")
    loaded = CharModel.load(tmp_path / "a.npz")
    assert loaded.vocabulary == model.vocabulary and "don't" in loaded.vocabulary.symbols
    old = Vocabulary(("don", "'", "t"), "word", words="plain")
    model.vocabulary, model.rnn = old, RNN(3, 4, 3, "gru", seed=1)
    model.save(tmp_path / "b.npz")
    assert CharModel.load(tmp_path / "b.npz").vocabulary == old


@given(FEW, FEW, st.sampled_from(["character", "word"]), st.integers(1, 12))
def test_size_keeps_the_most_frequent(text: str, other: str, unit: str, size: int) -> None:
    vocabulary = Vocabulary.of(text, unit, size)
    counts = Counter(text if unit == "character" else split(text))
    order = sorted(counts, key=lambda piece: (-counts[piece], piece))
    kept = {symbol for j, symbol in enumerate(vocabulary.symbols) if j != vocabulary.unknown}
    assert kept == set(order[: size - 1]) and len(vocabulary) == len(kept) + 1 <= size
    pieces = other if unit == "character" else split(other)
    expected = [piece if piece in kept else vocabulary.symbols[-1] for piece in pieces]
    assert vocabulary.decode(vocabulary.encode(other)) == "".join(expected)


def test_unknown_symbols() -> None:
    assert Vocabulary("abc", unknown=1).encode("axc\U0010ffff").tolist() == [0, 1, 2, 1]
    assert Vocabulary(["a", "?"], "word", 1).encode("a bc a").tolist() == [0, 1, 1, 1, 0]
    text = "a\N{REPLACEMENT CHARACTER}" * 9
    assert Vocabulary.of(text, size=5).symbols == ("a", "\N{REPLACEMENT CHARACTER}")
    with pytest.raises(ValueError, match=r"text holds 'x', not in this vocabulary of 3 symbols"):
        Vocabulary("abc").encode("axa")
    with pytest.raises(ValueError, match=r"text holds '0', '1', '2', '3', '4' and 5 more, not in"):
        Vocabulary("abc").encode("a9876543210")
    with pytest.raises(ValueError, match=r"text holds '\\ud800', not in"):
        Vocabulary(["a"], "word").encode("a\ud800")


def test_values() -> None:
    one, same, other = Vocabulary("ab"), Vocabulary(("a", "b")), Vocabulary("ba")
    one.encode("ab")
    assert one == same and hash(one) == hash(same) and one != other and one != Vocabulary("ab", unknown=0)
    assert pickle.loads(pickle.dumps(one)) == one and len(one) == 2
    assert repr(one) == "Vocabulary('ab', unit=\"character\", size=2)"
    assert "..., unit" not in repr(Vocabulary("abcdefgh", "word"))
    assert "'h', ...], unit=\"word\", unknown=8, size=9)" in repr(
        Vocabulary("abcdefghi", "word", np.int64(8))
    )
    with pytest.raises(AttributeError):
        one.unit = "word"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "symbols is ''; give at least one"),
        ((None,), "symbols is None"),
        (("aba",), "symbols holds 'a' more than once"),
        ((["a", "bc"],), "symbols holds 'bc'; with unit=\"character\" each must be one character"),
        (([1],), "symbols holds 1"),
        (([""], "word"), "symbols holds ''.*not empty"),
        (("ab", "letter"), 'unit is \'letter\'; it must be "character" or "word"'),
        (("ab", "word", 2), "unknown is 2; it must be an integer from 0 to 1"),
        (("ab", "word", True), "unknown is True"),
    ],
)
def test_refuses(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary(*arguments)


def test_refuses_texts_and_tokens() -> None:
    vocabulary = Vocabulary("ab")
    for tokens, message in (
        ([0, 2], r"tokens holds 2 at \[1\]; it must be from 0 to 1"),
        ([-1], r"tokens holds -1 at \[0\]"),
        ([0.0], "dtype float64; give integers"),
        ([[0]], r"shape \(1, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            vocabulary.decode(tokens)
    with pytest.raises(ValueError, match="text is a bytes; give a str"):
        vocabulary.encode(b"ab")
    with pytest.raises(ValueError, match="size is 0"):
        Vocabulary.of("ab", size=0)
    with pytest.raises(ValueError, match="unit is 'letter'"):
        Vocabulary.of("ab", "letter")


def test_long_texts_are_fast() -> None:
    text = "To be, or not to be, that is the question:\n" * 50_000
    vocabulary = Vocabulary.of(text)
    begin = time.perf_counter()
    tokens = vocabulary.encode(text)
    assert time.perf_counter() - begin < 1  # a loop over characters takes longer
    assert vocabulary.decode(tokens) == text
