"""Beam search of encoder-decoders: what it returns, and that it finds what brute force finds."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from fastrec.text.encoder_decoder import EncoderDecoder

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own

OPTIONS: list[dict[str, Any]] = [
    {},
    {"attention": "dot", "bidirectional": True},
    {"attention": "general", "cell": "lstm", "num_layers": 2},
    {"attention": "additive", "embedding_size": 3},
    {"sources": "contexts", "cell": "jordan"},
]
STEPS = 3
LENGTHS = np.array([4, 1, 0])


def model_and_sources(options: dict[str, Any], backend: str) -> tuple[EncoderDecoder, np.ndarray, Any]:
    """A model of large weights, so that hypotheses differ, and sources with padding."""
    model = EncoderDecoder(4, 3, 6, dtype=np.float64, seed=1, backend=backend, **options)
    for array in model.parameters.values():
        array *= 3
    random = np.random.default_rng(0)
    if "sources" in options:
        return model, random.standard_normal((3, 4)), None
    sources = random.integers(0, 4, (3, 4))
    sources[np.arange(4) >= LENGTHS[:, None]] = 99
    return model, sources, LENGTHS


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_as_wide_as_the_space_finds_all(backend: str, options: dict[str, Any]) -> None:
    """Sequences that end have the probabilities of `loss`, and with the others a probability of 1."""
    model, sources, lengths = model_and_sources(options, backend)
    every = [written for length in range(STEPS + 1) for written in product(range(3), repeat=length)]
    found = model.beam_search(sources, STEPS, lengths, width=28, n_best=len(every))
    np.testing.assert_allclose(np.exp(found.scores).sum(axis=1), 1, rtol=1e-12)
    assert (np.diff(found.scores, axis=1) <= 0).all()
    for source in range(3):
        rows = zip(found.symbols[source], found.lengths[source], strict=True)
        sequences = [tuple(row[:length].tolist()) for row, length in rows]
        assert sorted(sequences) == sorted(every)
        for sequence, score in zip(sequences, found.scores[source], strict=True):
            if len(sequence) < STEPS:
                targets, ends = np.array([[*sequence, 9]]), None if lengths is None else lengths[[source]]
                loss, _ = model.loss(sources[[source]], targets, ends, [len(sequence)], "sum")
                assert np.isclose(score, -loss, rtol=1e-10)
    few = model.beam_search(sources, STEPS, lengths, width=28, n_best=2)
    for array, best in zip(found, few, strict=True):
        assert np.array_equal(array[:, :2], best)


def test_length_penalty(backend: str) -> None:
    """Longer sequences win, by scores that are divided as the formula says."""
    model, sources, lengths = model_and_sources({"attention": "dot"}, backend)
    every = model.beam_search(sources, STEPS, lengths, width=28, n_best=40)
    for penalty in (0.5, 3.0):
        found = model.beam_search(sources, STEPS, lengths, width=28, length_penalty=penalty, n_best=40)
        counted = np.minimum(every.lengths + 1, STEPS)
        scores = every.scores / ((5 + counted) / 6) ** penalty
        np.testing.assert_allclose(found.scores, -np.sort(-scores, axis=1), rtol=1e-12)
        best = np.take_along_axis(every.lengths, scores.argmax(axis=1)[:, None], 1)
        assert np.array_equal(found.lengths[:, :1], best)
        assert found.lengths[:, 0].sum() >= every.lengths[:, 0].sum()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_one_beam_is_generate(backend: str, options: dict[str, Any]) -> None:
    model, sources, lengths = model_and_sources(options, backend)
    symbols, ends = model.generate(sources, 6, lengths)
    found = model.beam_search(sources, 6, lengths, width=1)
    assert np.array_equal(found.symbols[:, 0], symbols) and np.array_equal(found.lengths[:, 0], ends)
    drawn, _ = model.generate(sources, 6, lengths, temperature=2.0, top_k=1, seed=3)
    assert np.array_equal(drawn, symbols)


def test_draws_with_attention_have_the_probabilities_of_the_model(backend: str) -> None:
    model, sources, lengths = model_and_sources({"attention": "general"}, backend)
    n, row = 300 if backend != "gpu" else 60, sources[:1]
    found = model.beam_search(row, 2, lengths[:1], width=9, n_best=13)
    drawn, ends = model.generate(np.repeat(row, n, axis=0), 2, np.repeat(lengths[:1], n), 1.0, seed=1)
    counts = {}
    for symbols, end in zip(drawn, ends, strict=True):
        counts[tuple(symbols[:end])] = counts.get(tuple(symbols[:end]), 0) + 1
    for symbols, length, score in zip(found.symbols[0], found.lengths[0], found.scores[0], strict=True):
        p = np.exp(score)
        assert abs(counts.get(tuple(symbols[:length]), 0) - n * p) < 5 * np.sqrt(n * p * (1 - p)) + 1
    again, _ = model.generate(np.repeat(row, n, axis=0), 2, np.repeat(lengths[:1], n), 1.0, seed=1)
    assert np.array_equal(again, drawn)


def test_fewer_sequences_than_wanted(backend: str) -> None:
    model, sources, lengths = model_and_sources({}, backend)
    found = model.beam_search(sources, 1, lengths, width=1, n_best=3)
    assert np.isneginf(found.scores[:, 2]).all() and (found.lengths[:, 2] == 0).all()
    assert (found.symbols[:, 2] == 3).all() and np.isfinite(found.scores[:, 0]).all()
    assert found.symbols.dtype == np.int32 and found.lengths.dtype == np.int64
    assert found.scores.dtype == np.float64 and found.symbols.shape == (3, 3, 1)


def test_views_and_read_only_sources(backend: str) -> None:
    model, sources, lengths = model_and_sources({"attention": "additive"}, backend)
    expected = model.beam_search(sources, 4, lengths)
    wide = np.repeat(np.repeat(sources, 2, axis=0), 2, axis=1)[::2, ::2]
    wide.flags.writeable = False
    for array, other in zip(expected, model.beam_search(wide, 4, lengths[::-1][::-1]), strict=True):
        assert np.array_equal(array, other)


@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
def test_outputs_that_are_not_finite(backend: str, options: dict[str, Any]) -> None:
    model, sources, lengths = model_and_sources(options, backend)
    bias = model.decoder.parameters["b_out"]
    bias[1] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        model.beam_search(sources, 2, lengths)
    with pytest.raises(FloatingPointError, match="not finite"):
        model.generate(sources, 2, lengths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"width": 0}, "width is 0"),
        ({"width": 1.5}, "width is 1.5"),
        ({"n_best": 0}, "n_best is 0"),
        ({"length_penalty": -1}, "length_penalty is -1"),
        ({"length_penalty": np.nan}, "length_penalty is nan"),
        ({"length_penalty": 1000, "steps": 40}, "length_penalty is 1000, too large for 40 steps"),
        ({"width": 10**9, "steps": 10**5}, "needs"),
        ({"lengths": [1, 2, 5]}, "lengths"),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    model, sources, lengths = model_and_sources({}, "reference")
    with pytest.raises((ValueError, MemoryError), match=message):
        model.beam_search(sources, **({"steps": 4, "lengths": lengths} | arguments))
