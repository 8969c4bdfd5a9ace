"""Padded sequences: there and back, and that networks do not see the padding; labels of sequences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastrec
from fastrec.rnn.classification import classify, label_targets
from fastrec.rnn.padding import pad_sequences, unpad

TOKENS = st.lists(st.lists(st.integers(0, 9), max_size=7), min_size=1, max_size=6)


@given(TOKENS, st.integers(-3, 3))
def test_tokens_round_trip(sequences: list[list[int]], value: int) -> None:
    array, lengths = pad_sequences(sequences, value)
    assert array.dtype == np.int32 and lengths.dtype == np.int64
    assert array.shape == (len(sequences), max(1, max(map(len, sequences))))
    assert [row.tolist() for row in unpad(array, lengths)] == sequences
    assert (array[np.arange(array.shape[1]) >= lengths[:, None]] == value).all()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(1, 3), st.sampled_from(["f4", "f8"]))
def test_numbers_round_trip(lengths: list[int], i: int, dtype: str) -> None:
    sequences = [np.random.default_rng(t).random((t, i)).astype(dtype) for t in lengths]
    array, found = pad_sequences(sequences, np.nan)
    assert (
        array.dtype == dtype
        and array.shape == (len(lengths), max(1, *lengths), i)
        and found.tolist() == lengths
    )
    for one, other in zip(unpad(array, found), sequences, strict=True):
        assert np.array_equal(one, other)


@given(hnp.arrays(np.float64, (3, 4, 2), elements=st.floats(-1, 1)))
def test_unpad_gives_views(array: np.ndarray) -> None:
    rows = unpad(array, [4, 0, 2])
    assert [row.shape for row in rows] == [(4, 2), (0, 2), (2, 2)] and all(
        np.shares_memory(rows[0], array) for _ in "a"
    )


def test_dtypes() -> None:
    assert pad_sequences([[1], [2.5]])[0].dtype == np.float64
    assert pad_sequences([[1]], dtype=np.int64)[0].dtype == np.int64
    assert pad_sequences([[1]], dtype="f4")[0].dtype == np.float32
    assert pad_sequences([[], []])[0].tolist() == [[0], [0]]
    assert pad_sequences([[], [[1.0, 2.0]]], -1)[0].tolist() == [[[-1, -1]], [[1, 2]]]
    assert pad_sequences([np.zeros((0, 3))])[0].shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([], "sequences is empty"),
        ([1, 2], "sequences holds 1; give sequences"),
        ([[1], [[1]]], r"sequences\[1\] has shape \(1, 1\) and dtype int64; all must be numbers \(t,\)"),
        ([[[1, 2]], [[1]]], r"sequences\[1\] .* all must be numbers \(t, 2\)"),
        (["ab"], r"sequences\[0\] has shape \(\)"),
        ([[1], ["a"]], r"sequences\[1\] has .*<U1"),
        ([[2**40]], "sequences holds what int32 does not"),
    ],
)
def test_refuses(sequences: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pad_sequences(sequences)


def test_unpad_refuses() -> None:
    with pytest.raises(ValueError, match=r"array has shape \(3,\)"):
        unpad([1, 2, 3], [1])
    with pytest.raises(ValueError, match=r"lengths\[1\] is 4; it must be from 0 to t = 3"):
        unpad(np.zeros((2, 3)), [1, 4])


@pytest.mark.parametrize("cell", ["elman", "jordan", "gru", "lstm", "lstm_peepholes", "leaky"])
@pytest.mark.parametrize("tokens", [True, False])
def test_networks_do_not_see_padding(backend: str, cell: str, tokens: bool) -> None:
    """Every method, on rows together and on each alone."""
    random = np.random.default_rng(0)
    rnn = fastrec.RNN(4, 5, 3, cell, dtype=np.float64, seed=1, backend=backend)
    lengths = [3, 1, 5]
    if tokens:
        sequences = [random.integers(0, 4, t) for t in lengths]
        x, ends = pad_sequences(sequences, -7)
    else:
        sequences = [random.random((t, 4)) for t in lengths]
        x, ends = pad_sequences(sequences, np.inf)
    goals = [random.integers(0, 3, t) for t in lengths]
    targets, _ = pad_sequences(goals, 99)
    outputs, state = rnn.predict(x, lengths=ends)
    traced = unpad(rnn.forward(x, lengths=ends).outputs, ends)
    total, gradients, _ = rnn.loss_and_gradients(x, targets, reduction="sum", lengths=ends)
    assert np.isclose(total, rnn.loss(x, targets, reduction="sum", lengths=ends)[0])
    alone = [
        rnn.loss_and_gradients(one[None], goal[None], reduction="sum")
        for one, goal in zip(sequences, goals, strict=True)
    ]
    assert np.isclose(total, sum(one[0] for one in alone))
    for key in rnn.parameters:
        np.testing.assert_allclose(gradients[key], sum(one[1][key] for one in alone), atol=1e-12)
    labels, chances = classify(rnn, x, ends)
    for j, one in enumerate(sequences):
        own, own_state = rnn.predict(one[None])
        np.testing.assert_allclose(unpad(outputs, ends)[j], own[0], atol=1e-12)
        np.testing.assert_allclose(traced[j], own[0], atol=1e-12)
        np.testing.assert_allclose(state[:, j], own_state[:, 0], atol=1e-12)
        label, chance = classify(rnn, one[None])
        assert labels[j] == label[0] == own[0, -1].argmax()
        np.testing.assert_allclose(chances[j], chance[0], atol=1e-12)
        np.testing.assert_allclose(chance[0], own[0, -1] - np.log(np.exp(own[0, -1]).sum()), atol=1e-12)
    fastrec.fit(rnn, x, targets, (x, targets, ends), epochs=1, lengths=ends, progress=False, seed=0)


def test_labels_are_learnt(backend: str) -> None:
    """The loss of labels is that of the last steps, and a network learns which symbol came first."""
    random = np.random.default_rng(0)
    sequences = [random.integers(0, 3, t) for t in random.integers(1, 4, 40)]
    x, lengths = pad_sequences(sequences)
    labels = x[:, 0]
    targets, mask = label_targets(labels, lengths)
    assert targets.shape == mask.shape == x.shape and mask.sum() == 40
    rnn = fastrec.RNN(3, 6, 3, "elman", seed=1, backend=backend)
    _, chances = classify(rnn, x, lengths)
    loss, _ = rnn.loss(x, targets, lengths=lengths, mask=mask)
    assert np.isclose(loss, -chances[np.arange(40), labels].mean(), rtol=1e-5)
    optimizer = fastrec.Adam(0.05)
    fastrec.fit(
        rnn,
        x,
        targets,
        epochs=15,
        batch_size=10,
        optimizer=optimizer,
        lengths=lengths,
        mask=mask,
        progress=False,
        seed=0,
    )
    assert np.array_equal(classify(rnn, x, lengths)[0], labels)


def test_labels_of_several_networks(backend: str) -> None:
    both = fastrec.RNN(3, 4, 2, models=2, seed=1, backend=backend)
    x, lengths = pad_sequences([[0, 1, 2], [1]])
    labels, chances = classify(both, x, lengths)
    assert labels.shape == (2, 2) and chances.shape == (2, 2, 2)
    one = classify(both.copy(model=1), x, lengths)
    assert np.array_equal(labels[1], one[0]) and np.allclose(chances[1], one[1], rtol=1e-5)


def test_labels_of_numbers() -> None:
    targets, mask = label_targets([[1.0, 2.0], [3.0, 4.0]], [2, 1], 3)
    assert targets.tolist() == [[[0, 0], [1, 2], [0, 0]], [[3, 4], [0, 0], [0, 0]]]
    assert mask.tolist() == [[False, True, False], [True, False, False]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5], [1]), r"labels has shape \(1,\) and dtype float64"),
        (([0], [0]), r"lengths\[0\] is 0; a sequence without steps has no last"),
        (([0, 1], [1]), r"lengths has shape \(1,\)"),
        (([0], [4], 3), r"lengths\[0\] is 4; it must be from 0 to t = 3"),
        (([0], [1], 0), "steps is 0"),
    ],
)
def test_labels_refuse(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_targets(*arguments)


def test_classify_refuses() -> None:
    with pytest.raises(ValueError, match=r"lengths\[1\] is 0"):
        classify(fastrec.RNN(2, 2, seed=0), [[0], [1]], [1, 0])
    with pytest.raises(ValueError, match="lengths has shape"):
        classify(fastrec.RNN(2, 2, seed=0), [[0], [1]], [1])


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (([[1], [2, 3]], 0.5), "value holds what int32 does not"),
        (([[1], [2, 3]], float("nan")), "value holds what int32 does not"),
        (([[1], [2, 3]], 2**40), "value holds what int32 does not"),
        (([[300]], 0, np.int8), "sequences holds what int8 does not"),
        (([[1]], 0, "U3"), "dtype is 'U3'"),
        (([[1]], 0, "foo"), "dtype is 'foo'"),
        (([[1]], None), "value holds what int32 does not"),
    ],
)
def test_values_that_do_not_fit(given, match):
    with pytest.raises(ValueError, match=match):
        pad_sequences(*given)
