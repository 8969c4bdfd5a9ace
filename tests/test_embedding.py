"""Vectors that were learnt elsewhere, as the embedding of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrec
from fastrec import RNN, Vocabulary

TEXT = "the cat saw a dog and the dog saw a cat, and so on. " * 12
VECTORS = {"cat": [1.0, 0.5, -0.25], "dog": [1.0, 0.25, -0.5], "fish": [0.0, 0.0, 9.0]}


def frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("models", [None, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_the_first_value_of_E(models: int | None, dtype: Any, backend: str) -> None:
    options = {"cell": "gru", "models": models, "dtype": dtype, "seed": 3, "backend": backend}
    vectors = frozen(np.random.default_rng(0).standard_normal((3, 7)).T)  # neither contiguous nor writable
    rnn, drawn = RNN(7, 5, 4, embedding=vectors, **options), RNN(7, 5, 4, embedding_size=3, **options)
    drawn.parameters["E"][...] = fastrec.backend.move(vectors.astype(dtype), backend)
    assert "embedding_size=3" in repr(rnn)
    tokens = np.array([[6, 0, 0, 2], [1, 5, 6, 6]])
    for name, found in rnn.loss_and_gradients(tokens, tokens % 4)[1].items():
        expected = drawn.loss_and_gradients(tokens, tokens % 4)[1][name]
        np.testing.assert_array_equal(found, expected, name)


def test_each_network_can_have_its_own() -> None:
    vectors = np.arange(24, dtype=np.float16).reshape(2, 4, 3)
    rnn = RNN(4, 5, models=2, embedding=vectors, seed=0)
    np.testing.assert_array_equal(rnn.parameters["E"], vectors)
    assert rnn.parameters["E"].dtype == np.float32


@pytest.mark.parametrize("trained", [False, True])
def test_is_trained_unless_told_otherwise(trained: bool, backend: str) -> None:
    vectors = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    rnn = RNN(4, 5, 4, embedding=vectors, seed=0, backend=backend)
    tokens = np.arange(40).reshape(4, 10) % 4
    options = {"epochs": 2, "seed": 0, "progress": False, "trainable": {"E": trained}}
    fastrec.fit(rnn, tokens, np.roll(tokens, 1, axis=1), **options)
    assert (fastrec.backend.move(rnn.parameters["E"], "cpu") == vectors).all() != trained


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"embedding": np.zeros(4)}, r"embedding has shape \(4,\) .*; give an array of numbers \(i, e\)"),
        ({"embedding": np.zeros((4, 2), bool)}, "dtype bool; give an array of numbers"),
        (
            {"embedding": np.zeros((5, 2))},
            r"embedding has shape \(5, 2\); give \(4, 2\), a row for each input$",
        ),
        ({"embedding": np.zeros((1, 4, 2))}, r"embedding has shape \(1, 4, 2\); give \(4, 2\), a row"),
        ({"embedding": np.zeros((4, 0))}, "embedding_size is 0"),
        (
            {"embedding": np.zeros((4, 2)), "embedding_size": 3},
            "vectors of 2 numbers, and embedding_size is 3",
        ),
        ({"embedding": [[1.0, np.nan]] * 4}, "embedding holds numbers that are not finite"),
        ({"embedding": [[1.0, 1e300]] * 4}, "embedding holds numbers that are not finite, or not in float32"),
        ({"embedding": {"cat": [1]}}, "embedding has Python objects"),
    ],
)
def test_says_what_is_wrong(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RNN(4, 3, **given)


def test_vectors_of_the_symbols() -> None:
    vocabulary = Vocabulary(("a", "cat", "dog", "saw"), "word")
    found = vocabulary.embedding(VECTORS, seed=1)
    np.testing.assert_array_equal(found[1:3], [VECTORS["cat"], VECTORS["dog"]])
    assert found.shape == (4, 3) and found.dtype == np.float64
    np.testing.assert_array_equal(found, vocabulary.embedding(VECTORS, seed=1))
    assert (found[[0, 3]] != vocabulary.embedding(VECTORS, seed=2)[[0, 3]]).all()
    many = Vocabulary(tuple(map(str, range(4000))), "word").embedding({"7": [2.0, -2.0]}, seed=1)
    assert np.sqrt(np.mean(many**2)) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({}, "vectors has none of the 2 symbols"),
        ({"fish": [1.0]}, "vectors has none of the 2 symbols"),
        (
            {"cat": [1.0], "dog": [1.0, 2.0]},
            r"vectors\['dog'\] is \[1.0, 2.0\]; all vectors must be of the same",
        ),
        ({"cat": [], "dog": []}, r"vectors\['cat'\] is \[\]"),
        ({"cat": 1.0}, r"vectors\['cat'\] is 1.0"),
        ({"cat": [1e300]}, r"vectors\['cat'\] is \[1e\+300\]; .* their numbers finite in float32"),
        ({"cat": [np.inf]}, r"vectors\['cat'\] is \[inf\]; .* their numbers finite"),
        ({"cat": ["x"]}, r"vectors\['cat'\] is \['x'\]"),
        (np.zeros((2, 3)), "vectors is .*; give a mapping of symbols to vectors, such as a dict"),
        (["cat"], "give a mapping"),
        ("cat", "give a mapping"),
        (3, "vectors is 3; give a mapping"),
    ],
)
def test_says_which_vectors_are_wrong(vectors: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary(("cat", "dog"), "word").embedding(vectors)


def language_model(embedding: Any = VECTORS, **given: Any) -> fastrec.CharModel:
    return fastrec.CharModel(6, unit="word", seed=2, embedding=embedding, **given)


OPTIONS = {"epochs": 2, "batch_size": 4, "steps": 10, "progress": False}


@pytest.mark.parametrize("trained", [False, True])
def test_text_models_begin_with_vectors(trained: bool, backend: str, tmp_path: Path) -> None:
    model = language_model(backend=backend)
    model.fit(TEXT, **OPTIONS, trainable={"E": trained}, checkpoint=tmp_path / "c.npz")
    assert model.rnn is not None and model.vocabulary is not None
    first = model._network(model.vocabulary, 2)
    found, drawn = (fastrec.backend.move(rnn.parameters["E"], "cpu") for rnn in (model.rnn, first))
    at = [model.vocabulary.symbols.index(word) for word in ("cat", "dog")]
    np.testing.assert_array_equal(drawn[at], [VECTORS["cat"], VECTORS["dog"]])
    assert (found == drawn).all() != trained
    assert (fastrec.backend.move(model.rnn.parameters["W_in"] != first.parameters["W_in"], "cpu")).any()
    model.save(tmp_path / "m.npz")
    for name in ("m.npz", "c.npz"):
        loaded = fastrec.CharModel.load(tmp_path / name, backend)
        assert loaded.score(TEXT) == model.score(TEXT)
    with pytest.raises(ValueError, match="another training: trained is"):
        language_model(backend=backend).fit(
            TEXT, **OPTIONS, trainable={"E": not trained}, checkpoint=tmp_path / "c.npz"
        )


def test_text_models_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"embedding is .*; give a mapping of symbols to vectors"):
        language_model([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"vectors has none of the \d+ symbols"):
        language_model({"fish": [1.0]}).fit(TEXT, **OPTIONS)
    model = language_model(embedding_size=2)
    with pytest.raises(ValueError, match="vectors of 3 numbers, and embedding_size is 2; leave it out"):
        model.fit(TEXT, **OPTIONS)
    assert model.rnn is None and model.vocabulary is None
    with pytest.raises(ValueError, match=r"trainable is .*; give a dict with keys of E, W_in"):
        language_model().fit(TEXT, **OPTIONS, trainable={"W": False})
