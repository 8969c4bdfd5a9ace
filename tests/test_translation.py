"""Sentences as words and back, pairs in files, and translators that are trained, asked, saved and loaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrec
from fastrec.rnn.config import MAX_SIZE
from fastrec.rnn.device import compute_device
from fastrec.text import translation
from fastrec.text.pairs import POOL, PairLearner, read_pairs
from fastrec.text.sentences import join_words, split_sentence, starts_with_capital

PAIRS = [(fastrec.number_words(n), fastrec.number_words(n, "es")) for n in range(60)]
OPTIONS: dict[str, Any] = {
    "epochs": 30,
    "batch_size": 6,
    "learning_rate": 0.01,
    "dropout": 0.0,
    "progress": False,
}


@pytest.fixture(scope="module")
def translator() -> fastrec.Translator:
    made = fastrec.Translator(32, embedding_size=16, seed=1, backend="cpu")
    made.fit([*PAIRS, ("fifty-three .", "cincuenta y tres .")] * 2, **OPTIONS)
    return made


@pytest.mark.parametrize(
    "sentence",
    [
        'Don\'t say (50%) of it: "no"!',
        "¿Qué es esto?",
        "twenty-one",
        "3D Shadowing On/Off",
        "PDF files...",
        "=SUM(A1:E10; B2) & c_d_",
        "«Élan» — naïve",
        "a\N{COMBINING ACUTE ACCENT}b 漢字 かな",
        "I",
        "iPod is Here",
        ".,;",
    ],
)
def test_sentences_are_restored(sentence: str) -> None:
    words = split_sentence(sentence)
    assert all(word and " " not in word for word in words)
    assert join_words(words, starts_with_capital(sentence)) == sentence


def test_words_of_a_sentence() -> None:
    assert split_sentence("The  words, (50%)\tHere.") == [
        "the",
        "words",
        "￭,",
        "(￭",
        "50",
        "￭%",
        "￭)",
        "Here",
        "￭.",
    ]
    assert split_sentence("PDF and A-b") == ["PDF", "and", "A", "￭-￭", "b"]
    assert split_sentence(" \n") == [] and not starts_with_capital("¡50!")
    assert join_words(["¿￭", "qué"], capital=True) == "¿Qué"
    assert split_sentence("a ￭ b￭c") == ["a", "bc"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"the file is empty; give lines of a sentence, a tab and its translation"),
        (b"\n \n", r"the file is empty"),
        (b"a\tb\nno tab\n", r"line 2, 'no tab', has 1 columns; give a sentence, a tab and"),
        (b"a\tb\tc\n", r"line 1, 'a\\tb\\tc', has 3 columns"),
        (b"a\tb\n\nc\td\n", r"line 2, '', has 1 columns"),
        (b"a\tb\n \tb\n", r"line 2, ' \\tb', has an empty column"),
        (b"a\tb\nc\t\xff\n", r"line 2 is not UTF-8 text; convert it"),
        (b"\x1b[2J" + b"x" * 10**6, r"line 1, '\\x1b\[2Jx{60,80}\.\.\., has 1 columns"),
    ],
)
def test_files_of_pairs_that_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"pairs\.tsv: {message}") as caught:
        fastrec.read_sentence_pairs(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_files_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_bytes("\ufeffone\tuno\r\ntwo \t dos".encode())
    assert fastrec.read_sentence_pairs(path) == [("one", "uno"), ("two", "dos")]
    with pytest.raises(OSError, match=r"is a folder"):
        fastrec.read_sentence_pairs(tmp_path)


def test_translations(translator: fastrec.Translator) -> None:
    sentences = [sentence for sentence, _ in PAIRS]
    assert translator.translate(sentences) == [translation for _, translation in PAIRS]
    assert translator.translate(["Twenty-two", " ", "twenty-two"], width=1) == ["Veintidós", "", "veintidós"]
    assert translator.translate([]) == []
    before, again = (
        translator.translate(sentences[:9], width=3),
        translator.translate(sentences[8:9], width=3),
    )
    assert again == before[8:]


def test_unknown_words(translator: fastrec.Translator) -> None:
    """A rare word is unknown; where the translation has an unknown one, it is that of the largest weight."""
    pairs = [(f"{s} x{j}", f"x{j} {t}") for j, (s, t) in enumerate(PAIRS[:30])]
    made = fastrec.Translator(32, embedding_size=16, seed=1, backend="cpu")
    made.fit(pairs + PAIRS[:30], **OPTIONS | {"epochs": 60})
    assert made.source is not None and "x1" not in made.source.symbols
    right = made.translate([sentence for sentence, _ in pairs])
    assert np.mean([a == b for a, (_, b) in zip(right, pairs, strict=True)]) > 0.8
    without = fastrec.Translator(32, embedding_size=16, attention=None, seed=1, backend="cpu")
    without.fit(pairs, **OPTIONS | {"epochs": 5})
    assert not any("<unk>" in text for text in without.translate(["two x7", "y z"]))


def test_attention_of_translations(translator: fastrec.Translator) -> None:
    weights, source, target = translator.attention("Forty-two")
    assert source == ["forty", "-", "two"] and target == ["cuarenta", "y", "dos"]
    assert weights.shape == (3, 3) and np.allclose(weights.sum(axis=1), 1, atol=1e-5)
    assert weights[0].argmax() == 0 and weights[2].argmax() == 2
    given = translator.attention("Forty-two", "cuarenta y dos")
    assert given.target == target and np.allclose(given.weights, weights, atol=1e-5)


def test_files_of_translators(translator: fastrec.Translator, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    translator.save(path)
    again = fastrec.Translator.load(path, backend="cpu")
    assert (again.source, again.target, again.seed) == (translator.source, translator.target, 1)
    sentences = ["sixty-one", "thirty-four"]
    assert again.translate(sentences) == translator.translate(sentences)
    assert repr(again) == repr(translator) and again._least == 2
    history = again.fit(PAIRS, **OPTIONS | {"epochs": 1})  # goes on
    assert history.train[0] < 0.1
    networks = fastrec.EncoderDecoder.load(path)
    assert translator.model is not None
    assert all(np.array_equal(networks.parameters[k], a) for k, a in translator.model.parameters.items())
    networks.save(path)
    with pytest.raises(ValueError, match=r"model\.npz: not a fastrec translator"):
        fastrec.Translator.load(path)
    translator.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"model\.npz: "):
        fastrec.Translator.load(path)
    path.write_bytes(content)
    arrays = dict(np.load(path))
    text = str(arrays["fastrec_beside"]).replace('"doce", ', "")
    np.savez(path, **(arrays | {"fastrec_beside": np.array(text)}))
    with pytest.raises(
        ValueError, match=r"model\.npz: damaged, its networks do not go with \d+ and \d+ words"
    ):
        fastrec.Translator.load(path)
    np.savez(path, **(arrays | {"fastrec_beside": np.array(text.replace('"trece"', "[]"))}))
    with pytest.raises(ValueError, match=r"model\.npz: symbols holds \[\]"):
        fastrec.Translator.load(path)


@pytest.mark.slow
def test_every_backend_translates(backend: str) -> None:
    made = fastrec.Translator(6, "lstm", embedding_size=5, attention="dot", seed=1, backend=backend)
    history = made.fit(PAIRS[:9], PAIRS[3:5], epochs=2, batch_size=4, progress=False)
    assert np.isfinite(history.validation).all() and len(made.translate(["one two"], width=2)) == 1


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([], {}, r"pairs is \[\]; give pairs"),
        ("text", {}, r"pairs is 'text'; give pairs"),
        ([("a",)], {}, r"pairs\[0\] is \('a',\); it must be a pair"),
        ([("a", "b"), ("a", " ")], {}, r"pairs\[1\] is \('a', ' '\); both sentences must have words"),
        ([("a", 1)], {}, r"pairs holds 1, which is no str"),
        (PAIRS, {"validation": [("a", "")]}, r"validation\[0\] is \('a', ''\)"),
        (PAIRS, {"epochs": 2, "minutes": 1}, r"epochs and minutes are both given"),
        (PAIRS, {"minutes": 0}, r"minutes is 0"),
        (PAIRS, {"decay": 2}, r"decay is 2; it must be a number from 0 to 1"),
        (PAIRS, {"learning_rate": 0}, r"learning_rate is 0"),
        (PAIRS, {"dropout": 1}, r"dropout is 1"),
        (PAIRS, {"callback": 1}, r"callback is 1; it must be a function of a Translator and a History"),
    ],
)
def test_trainings_that_are_refused(pairs: Any, options: dict[str, Any], message: str) -> None:
    made = fastrec.Translator(4, seed=1)
    with pytest.raises(ValueError, match=message):
        made.fit(pairs, **options)
    assert made.model is None and made.source is None and "not fitted" in repr(made)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda made: made.translate("text"), r"sentences is 'text'; give a list of str"),
        (lambda made: made.translate(["a", None]), r"sentences holds None"),
        (lambda made: made.translate(["a"], width=0), r"width is 0"),
        (lambda made: made.translate([""], width=0), r"width is 0"),
        (lambda made: made.translate([], length_penalty=-1), r"length_penalty is -1"),
        (lambda made: fastrec.Translator(4).translate([]), r"has not seen pairs yet"),
        (lambda made: made.attention(" "), r"sentence is ' ', which has no words"),
        (lambda made: made.attention("one", ""), r"translation is '', which has no words"),
        (lambda made: fastrec.Translator(4).translate(["a"]), r"has not seen pairs yet"),
        (lambda made: fastrec.Translator(4).save("a.npz"), r"has not seen pairs yet"),
        (lambda made: fastrec.Translator(4, "jordan"), r"cell is 'jordan'"),
        (
            lambda made: fastrec.Translator(5),
            r"hidden_size is 5; bidirectional=True gives each direction half",
        ),
        (lambda made: fastrec.Translator(4, min_count=0), r"min_count is 0"),
        (lambda made: fastrec.Translator(4, vocabulary_size=1), r"vocabulary_size is 1"),
    ],
)
def test_calls_that_are_refused(translator: fastrec.Translator, call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(translator)


def test_sentences_without_attention_have_none() -> None:
    made = fastrec.Translator(4, attention=None, seed=1, backend="reference")
    made.fit(PAIRS[:4], epochs=1, dropout=0, progress=False)
    with pytest.raises(ValueError, match=r"this translator has no attention; make one with attention="):
        made.attention("one")


def test_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole epochs that end within the time; the learning rate falls to 0 at their end."""
    now = 0.0
    monkeypatch.setattr(translation, "clock", lambda: now)
    plan = translation.Plan(budget=100.0, epochs=10, per_epoch=4, decay=0.5, begin=0.0)
    assert plan.factor(0) == 1
    for updates in range(1, 16):
        now = 8.0 * updates  # so that three epochs of four updates end within 100 seconds
        assert plan.total(updates) == 3
        factors = [plan.factor(updates), plan.is_over(update_of(updates - 1))]
        assert factors == [pytest.approx(max(0.0, min(1.0, (12 - updates) / 6))), updates == 12]
    now = 1000.0
    assert plan.total(1) == 1
    assert translation.Plan(math.inf, 10, 4, 0.5, begin=0.0).total(1) == MAX_SIZE
    plan = translation.Plan(None, 2, 4, 0.0)
    assert [plan.factor(7), plan.total(7), plan.is_over(update_of(7))] == [1, 2, True]


def update_of(number: int) -> Any:
    return fastrec.TrainingUpdate(number, 0, 0.0, 0.0, np.array(0.1), {}, fastrec.Adam())


def test_trainings_for_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = fastrec.Translator(4, embedding_size=3, seed=1, backend="reference")
    seen: list[int] = []
    history = made.fit(PAIRS, minutes=1e-9, callback=lambda _, curves: seen.append(len(curves.train)))
    assert len(history.train) == 1 and seen == [1]


@pytest.mark.parametrize("ragged", [True, False])
def test_batches_of_similar_lengths(ragged: bool) -> None:
    rng = np.random.default_rng(0)
    n, size = 3 * POOL * 4 + 7, 4
    model = fastrec.EncoderDecoder(3, 3, 2, seed=1, backend="reference")
    lengths = rng.integers(0, 9, n) if ragged else None
    ends = rng.integers(0, 9, n)
    arrays = (rng.integers(0, 3, (n, 8)), rng.integers(0, 3, (n, 8)), lengths, ends)
    data = read_pairs(model._sizes, compute_device("reference"), *arrays)
    learner = PairLearner(
        *(compute_device("reference"), model, None, "cross_entropy", fastrec.Adam(), None, data),
        *(lambda batch: [], lambda batch: np.zeros(1), 1, size, 0, None, None),
        similar_lengths=True,
    )
    batches = list(learner.batches(np.random.default_rng(1)))
    assert sorted(np.concatenate(batches)) == list(range(n))
    assert sorted(map(len, batches))[:2] == [n % size, size]
    assert np.mean([np.ptp(ends[rows]) for rows in batches]) < 0.5
    means = [ends[rows].mean() for rows in batches]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.3  # in random order
    again = list(learner.batches(np.random.default_rng(1)))
    assert all(map(np.array_equal, again, batches))
