"""Connectionist temporal classification: losses and gradients against sums over all alignments."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from devices import host_kernels, to_host
from hypothesis import given
from hypothesis import strategies as st

import fastrec
from fastrec.backend import move


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def ctc(*args: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    losses, d_outputs = fastrec.ctc(*args, **options)
    return move(losses, "cpu"), move(d_outputs, "cpu")


def collapse(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    """The labels of an alignment."""
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


def all_alignments(
    outputs: np.ndarray, blank: int = 0
) -> tuple[dict[tuple[int, ...], float], dict[tuple[int, ...], np.ndarray]]:
    """The probability of all labels of a row (t, o), and sums over their alignments of one-hot classes."""
    t, o = outputs.shape
    chances = np.exp(outputs - np.logaddexp.reduce(outputs, axis=1, keepdims=True))
    total: dict[tuple[int, ...], float] = {}
    classes: dict[tuple[int, ...], np.ndarray] = {}
    for path in itertools.product(range(o), repeat=t):
        labels, chance = collapse(path, blank), math.prod(chances[range(t), path])
        total[labels] = total.get(labels, 0.0) + chance
        classes[labels] = classes.get(labels, 0.0) + chance * np.eye(o)[list(path)].reshape(t, o)
    return total, classes


def pad(rows: Any) -> np.ndarray:
    return fastrec.pad_sequences(list(rows), -1)[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shared", [False, True])
def test_kernels_equal_reference(compiled: str, dtype: type, shared: bool) -> None:
    """Two networks, and labels that they share or not; results go into arrays that were full of NaN."""
    k, b, t, u, o, blank = 2, 4, 9, 4, 5, 3
    y, rng = random(3, k, b, t, o).astype(dtype), np.random.default_rng(4)
    labels = rng.choice([0, 1, 2, 4], (1 if shared else k, b, u)).astype(np.int32)
    labels[:, 1, 2:] = labels[:, 3] = -1
    lengths, weights = np.array([9, 6, 0, 3]), np.array([1.0, 0.5, 0.0, 2.0])
    for row, length in enumerate(lengths):
        y[:, row, length:] = np.nan
    scale = np.array([1.0, 0.3])
    searched = np.where(np.isnan(y[0]), 0, y[0])

    def run(backend: str, width: int) -> list[np.ndarray]:
        module, losses = host_kernels("rnn", backend), np.full((k, b), np.nan)
        d = np.full((k, b, t, width), np.nan, dtype)
        module.ctc(blank, y, labels, lengths, weights, scale, losses, d)
        read = [np.full((b, 2, t), 9, np.int32), np.full((b, 2), -9), np.full((b, 2), np.nan)]
        module.ctc_prefix_search(3, blank, searched, lengths, *read)
        return [losses, d, *read]

    tolerance = 1e-6 if dtype is np.float32 else 1e-12
    for width in (0, o):
        for found, expected in zip(run(compiled, width), run("reference", width), strict=True):
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("blank", [0, 2])
def test_all_alignments(backend: str, blank: int) -> None:
    """Every sequence of labels of four steps, the empty one and those with repeats among them."""
    y = random(1, 4, 3)
    total, classes = all_alignments(y, blank)
    losses, d = ctc(np.tile(y, (len(total), 1, 1)), pad(total), blank=blank, backend=backend)
    np.testing.assert_allclose(losses, -np.log(list(total.values())), rtol=1e-12, atol=1e-12)
    softmax = np.exp(y - np.logaddexp.reduce(y, axis=1, keepdims=True))
    for labels, gradient in zip(total, d, strict=True):
        np.testing.assert_allclose(gradient, softmax - classes[labels] / total[labels], atol=1e-12)


@pytest.mark.parametrize(("t", "u", "o"), [(1, 0, 1), (1, 1, 2), (9, 9, 20), (40, 11, 30), (121, 60, 62)])
def test_closed_form(backend: str, t: int, u: int, o: int) -> None:
    """Labels without repeats have C(t + u, 2u) alignments."""
    losses, _ = ctc(np.zeros((1, t, o)), np.arange(1, u + 1)[None], backend=backend)
    assert losses[0] == pytest.approx(t * math.log(o) - math.log(math.comb(t + u, 2 * u)), rel=1e-12)


def test_ten_thousand_steps() -> None:
    """Uniform outputs, and some whose chances differ by more than any format of floats holds."""
    t, u = 10_000, 30
    labels = 1 + np.arange(u)[None] % 2
    losses, _ = ctc(np.zeros((1, t, 3), np.float32), labels, backend="cpu")
    assert losses[0] == pytest.approx(t * math.log(3) - math.log(math.comb(t + u, 2 * u)), rel=1e-12)
    losses, d = ctc(1e4 * random(0, 1, t, 3), labels, backend="cpu")
    assert 1e6 < losses[0] < 1e8
    assert np.isfinite(d).all()
    np.testing.assert_allclose(d.sum(axis=2), 0, atol=1e-9)


def test_gradients_are_finite_differences(backend: str) -> None:
    y, labels, lengths = random(2, 2, 6, 4), [[3, 3, 1], [2, -1, -1]], [6, 4]
    y[1, 4:] = np.nan
    _, d = ctc(y, labels, lengths, backend=backend)
    for row, step, j in np.ndindex(2, 4, 4):
        sides = []
        for change in (1e-5, -1e-5):
            other = y.copy()
            other[row, step, j] += change
            sides.append(ctc(other, labels, lengths, backend=backend)[0].sum())
        assert d[row, step, j] == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-6, abs=1e-9)
    assert not d[1, 4:].any()


@given(
    seed=st.integers(0, 2**32 - 1),
    b=st.integers(1, 4),
    t=st.integers(0, 20),
    o=st.integers(1, 9),
    u=st.integers(0, 9),
    spread=st.sampled_from([1.0, 100.0, 1e4]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_backends_agree(
    compiled: str, seed: int, b: int, t: int, o: int, u: int, spread: float, dtype: Any
) -> None:
    """Losses with and without gradients, ragged, with labels that are impossible, and NaN in the padding."""
    rng = np.random.default_rng(seed)
    blank = int(rng.integers(o))
    y = (spread * rng.standard_normal((b, t, o))).astype(dtype)
    lengths, counts = rng.integers(0, t + 1, b), rng.integers(0, u + 1, b) * (o > 1)
    y[np.arange(t) >= lengths[:, None]] = np.nan
    labels = (blank + 1 + rng.integers(0, max(o - 1, 1), (b, u))) % o
    labels[np.arange(u) >= counts[:, None]] = 99
    made = [ctc(y, labels, lengths, counts, blank=blank, backend=name) for name in ("reference", compiled)]
    (expected, wanted), (losses, d) = made
    assert losses.dtype == np.float64 and d.dtype == dtype and d.shape == y.shape
    np.testing.assert_allclose(losses, expected, rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(d, wanted, rtol=0, atol=1e-11 * spread if dtype == np.float64 else 1e-6)
    assert not d[~np.isfinite(losses)].any() and not d[np.arange(t) >= lengths[:, None]].any()


def test_the_same_bits_in_any_batch(backend: str, threads: Callable[[int], int]) -> None:
    y, labels = random(3, 5, 30, 7).astype(np.float32), np.random.default_rng(1).integers(1, 7, (5, 11))
    lengths = np.array([30, 25, 3, 0, 29])
    threads(1)
    expected = ctc(y, labels, lengths, backend=backend)
    for number in (1, 2):
        threads(number)
        for found, wanted in zip(ctc(y, labels, lengths, backend=backend), expected, strict=True):
            assert np.array_equal(found, wanted)
        for row in range(5):
            part = slice(row, row + 1)
            losses, d = ctc(y[part, : lengths[row]], labels[part], backend=backend)
            assert losses[0] == expected[0][row]
            assert np.array_equal(d[0], expected[1][row, : lengths[row]])


def test_labels_without_alignments(backend: str) -> None:
    """Their loss is infinite and their gradient 0; that of an empty sequence without steps is 0."""
    labels = [[1, 2, 3], [1, 1, -1], [2, -1, -1], [-1, -1, -1], [1, 1, -1]]
    losses, d = ctc(random(4, 5, 3, 4), labels, [2, 2, 0, 0, 3], backend=backend)
    assert losses[:4].tolist() == [np.inf, np.inf, np.inf, 0]
    assert np.isfinite(losses[4])
    assert not d[:4].any() and d[4].any()
    losses, d = ctc(np.empty((2, 0, 4)), [[1], [-1]], backend=backend)
    assert losses.tolist() == [np.inf, 0] and d.shape == (2, 0, 4)


@pytest.mark.parametrize("spread", [1e20, 1e38, 1e200])
def test_outputs_far_apart(backend: str, spread: float) -> None:
    """The loss is finite where float64 holds it, and the gradient is, even where chances are beyond it."""
    losses, d = ctc(spread * random(5, 3, 4, 3), [[1], [2], [-1]], backend=backend)
    assert np.isfinite(losses).all() and (losses >= 0).all() and np.isfinite(d).all()
    exact = ctc(np.array([[[0.0, -spread], [0.0, -spread]]]), [[1]], backend=backend)[0]
    assert exact[0] == pytest.approx(spread, rel=1e-12)


def test_any_array(backend: str) -> None:
    y = random(6, 4, 6, 5)
    expected = ctc(y[::2, ::-1], [[1, 2], [3, -1]], backend=backend)
    frozen = y.copy()
    frozen.flags.writeable = False
    narrow = np.array([[1, 2], [3, -1]], np.int8)
    for found, wanted in zip(ctc(frozen[::2, ::-1], narrow, backend=backend), expected, strict=True):
        assert np.array_equal(found, wanted)
    assert np.array_equal(ctc(np.round(y).astype(int), [[]] * 4, backend=backend)[0] > 0, [True] * 4)


def test_unsigned_labels(backend: str) -> None:
    y, labels = random(6, 2, 6, 5), np.array([[1, 200], [3, 2]], np.uint8)
    expected = ctc(y, [[1, -1], [3, 2]], backend=backend)
    for found, wanted in zip(ctc(y, labels, None, [1, 2], backend=backend), expected, strict=True):
        assert np.array_equal(found, wanted)


def test_torch_agrees(backend: str) -> None:
    torch = pytest.importorskip("torch")
    y, lengths, counts = random(7, 4, 25, 8), [25, 20, 13, 25], [7, 7, 0, 3]
    labels = np.random.default_rng(2).integers(1, 8, (4, 7))
    tensor = torch.tensor(y, requires_grad=True)
    made = torch.nn.functional.ctc_loss(
        tensor.log_softmax(2).transpose(0, 1),
        torch.tensor(labels),
        torch.tensor(lengths),
        torch.tensor(counts),
        reduction="none",
    )
    made.sum().backward()
    losses, d = ctc(y, labels, lengths, counts, backend=backend)
    np.testing.assert_allclose(losses, made.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(d, tensor.grad.numpy(), atol=1e-12)


def decode(*args: Any, **options: Any) -> tuple[np.ndarray, ...]:
    return tuple(move(array, "cpu") for array in fastrec.ctc_decode(*args, **options))


@pytest.mark.parametrize("blank", [0, 2])
def test_search_that_keeps_all(backend: str, blank: int) -> None:
    """All labels of five steps come in the order of their probability, which is that of all alignments."""
    y = random(10, 1, 5, 3)
    total, _ = all_alignments(y[0], blank)
    ranked = sorted(total, key=lambda labels: -total[labels])
    n = len(ranked) + 3
    labels, lengths, scores = decode(y, width=n, n_best=n, blank=blank, backend=backend)
    assert [tuple(row[:length]) for row, length in zip(labels[0], lengths[0], strict=True)] == ranked + 3 * [
        ()
    ]
    assert (labels[0][np.arange(labels.shape[2]) >= lengths[0][:, None]] == -1).all()
    np.testing.assert_allclose(np.exp(scores[0]), [total[labels] for labels in ranked] + [0] * 3, rtol=1e-12)
    best, length, score = decode(y, width=n, blank=blank, backend=backend)
    assert tuple(best[0]) == ranked[0] and length[0] == len(ranked[0]) and score[0] == scores[0, 0]


@given(
    seed=st.integers(0, 2**32 - 1),
    b=st.integers(1, 3),
    t=st.integers(0, 12),
    o=st.integers(1, 6),
    width=st.integers(2, 9),
    spread=st.sampled_from([1.0, 30.0, 1e4]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_searches_agree(
    compiled: str, seed: int, b: int, t: int, o: int, width: int, spread: float, dtype: Any
) -> None:
    rng = np.random.default_rng(seed)
    y, lengths = (spread * rng.standard_normal((b, t, o))).astype(dtype), rng.integers(0, t + 1, b)
    y[np.arange(t) >= lengths[:, None]] = np.nan
    options = {"width": width, "n_best": width, "blank": int(rng.integers(o))}
    expected = decode(y, lengths, **options, backend="reference")
    found = decode(y, lengths, **options, backend=compiled)
    for ours, theirs in zip(found[:2], expected[:2], strict=True):
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-11, atol=1e-11)
    for place in range(width):  # a part of the alignments is never likelier than all
        losses, _ = ctc(
            y, found[0][:, place], lengths, found[1][:, place], blank=options["blank"], backend="cpu"
        )
        assert (found[2][:, place] <= -losses + 1e-8 * (1 + abs(losses)) * np.isfinite(losses)).all()


def test_equal_scores_come_in_the_order_of_prefixes(backend: str) -> None:
    """Blank and both labels are as likely in the one step there is: first the prefix stays, then it grows."""
    labels, _, scores = decode(np.zeros((1, 1, 3)), width=3, n_best=3, backend=backend)
    assert labels.tolist() == [[[-1], [1], [2]]]
    assert np.array_equal(scores, np.full((1, 3), scores[0, 0]))
    assert decode(np.zeros((1, 1, 3)), width=2, n_best=2, backend=backend)[0].tolist() == [[[-1], [1]]]


def test_best_path(backend: str) -> None:
    """Runs of the likeliest classes become one, and blanks are left out; the score is that of the path."""
    classes = np.array([[1, 1, 0, 1, 2, 2, 0], [0, 3, 3, 3, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]])
    y = 9.0 * (np.arange(4) == classes[..., None])
    y[1, 4:] = np.nan
    labels, lengths, scores = decode(y, [7, 4, 7], backend=backend)
    assert labels.dtype == np.int32 and lengths.dtype == np.int64
    assert labels.tolist() == [[1, 1, 2], [3, -1, -1], [-1, -1, -1]] and lengths.tolist() == [3, 1, 0]
    each = -math.log1p(3 * math.exp(-9))
    np.testing.assert_allclose(scores, each * np.array([7, 4, 7]), rtol=1e-12)
    labels, lengths, scores = decode(np.zeros((2, 0, 4)), backend=backend, n_best=1)
    assert labels.tolist() == [[[-1]]] * 2
    assert lengths.tolist() == scores.tolist() == [[0]] * 2


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("shared", [True, False])
def test_any_schedule(gpu: str, monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    """With more states and outputs than a block has threads, and memory of a block that is not shared."""
    from fastrec.kernels.gpu import ctc as launcher
    from fastrec.kernels.gpu import recall

    if not shared:
        monkeypatch.setattr(recall, "shared_limit", lambda device: 0)
        monkeypatch.setattr(launcher, "PIECE", 1)
    rng, dtype = np.random.default_rng(4), np.float32 if shared else np.float64
    for t, u, o in ((5, 3, 4), (3, 2, 300)) if shared else ((4, 3, 4), (135, 131, 3)):
        y, labels = rng.standard_normal((2, t, o)).astype(dtype), rng.integers(1, o, (2, u))
        labels[:, 1:] = np.where(labels[:, 1:] == labels[:, :-1], 3 - labels[:, :-1], labels[:, 1:]) % o
        labels[labels == 0] = 1
        made = [ctc(y, labels, [t, t - 1], backend=backend) for backend in (gpu, "reference")]
        for ours, theirs in zip(*made, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-7 if shared else 1e-11)
        found, expected = (
            decode(y[:, :6], [min(t, 6), 3], width=5, n_best=5, backend=backend)
            for backend in (gpu, "reference")
        )
        assert np.array_equal(found[0], expected[0])


def test_arrays_of_the_device(cp: Any, gpu: str) -> None:
    """CuPy in gives CuPy out."""
    y, labels, lengths = random(11, 2, 6, 4), np.array([[1, 2], [3, -1]]), np.array([6, 4])
    given = cp.asarray(y), cp.asarray(labels), cp.asarray(lengths)
    found = fastrec.ctc_decode(given[0], given[2], width=3, backend=gpu)
    made = [*fastrec.ctc(*given, cp.asarray(np.array([2, 1])), backend=gpu), *found]
    expected = [*ctc(y, labels, lengths), *decode(y, lengths, width=3)]
    for ours, theirs in zip(made, expected, strict=True):
        assert type(ours) is cp.ndarray
        np.testing.assert_allclose(move(ours, "cpu"), theirs, rtol=1e-12, atol=1e-14)
    rnn, x = network("gpu"), random(12, 2, 6, 2)
    value = rnn.loss(x, labels, "ctc", lengths=lengths)[0]
    assert rnn.loss(cp.asarray(x), given[1], "ctc", lengths=given[2])[0] == value
    history = fastrec.fit(rnn, cp.asarray(x), given[1], loss="ctc", lengths=given[2], epochs=1, seed=0)
    assert history.train[0] == pytest.approx(value, rel=1e-12)


def test_memory_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastrec import validation

    monkeypatch.setattr(validation, "available_memory", lambda backend: 10**6)
    rnn, x, labels = network("cpu"), random(13, 1, 4000, 2), np.ones((1, 900), int)
    for call in (
        lambda: fastrec.ctc(random(13, 1, 4000, 4), labels),
        lambda: rnn.loss(x, labels, "ctc"),
    ):
        with pytest.raises(ValueError, match="the alignment of labels needs 173 MB of memory, 1 MB are"):
            call()
    for t, width in ((4000, 900), (0, 2_000_000)):
        with pytest.raises(ValueError, match="the search needs"):
            fastrec.ctc_decode(random(13, 1, t, 4), width=width)


LENGTHS = [7, 3, 5]
LABELS = np.array([[1, 1, 2], [3, -1, -1], [-1, -1, -1]])


def network(backend: str, **options: Any) -> fastrec.RNN:
    return fastrec.RNN(2, 4, 4, dtype=np.float64, backend=backend, seed=0, **options)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"models": 2}])
def test_losses_of_networks(backend: str, options: dict[str, Any]) -> None:
    """Means and sums over rows of what `ctc` says of the outputs, with weights of rows, and gradients."""
    rnn, x = network(backend, **options), random(8, 3, 7, 2)
    outputs = move(rnn.predict(x, lengths=LENGTHS)[0], "cpu").reshape(-1, 3, 7, 4)
    each = np.array([ctc(y, LABELS, LENGTHS, backend=backend)[0] for y in outputs])
    weights = np.array([2.0, 0.0, 0.5])
    for reduction, w, expected in (
        ("mean", None, each.mean(axis=1)),
        ("sum", None, each.sum(axis=1)),
        ("mean", {"rows": weights}, each @ weights / 2.5),
        ("sum", {"rows": weights}, each @ weights),
    ):
        args = (x, LABELS, "ctc", reduction, LENGTHS)
        value, gradients, _ = rnn.loss_and_gradients(*args, weights=w)
        assert np.array_equal(value, rnn.loss(*args, weights=w)[0])
        np.testing.assert_allclose(np.atleast_1d(value), expected, rtol=1e-12)
        sides = []
        for step in (1e-5, -1e-5):
            other = rnn.copy()
            other.parameters["W_out"][..., 1, 2] += step
            sides.append(np.atleast_1d(other.loss(*args, weights=w)[0]))
        found = to_host(gradients)["W_out"][..., 1, 2].reshape(-1)
        np.testing.assert_allclose(found, (sides[0] - sides[1]) / 2e-5, rtol=1e-6, atol=1e-9)


def test_networks_with_labels_of_their_own(backend: str) -> None:
    rnn, x = network(backend, models=2), random(8, 3, 7, 2)
    labels = np.stack([LABELS, LABELS[::-1]])
    losses = rnn.loss(x, labels, "ctc")[0]
    assert losses[1] == rnn.loss(x, labels[1], "ctc")[0][1] != rnn.loss(x, labels[0], "ctc")[0][1]


def test_fit(backend: str) -> None:
    """Batches weigh as many as their rows, and one learns to tell where an input is held for a while."""
    x = random(9, 5, 7, 2)
    data = (x, np.vstack([LABELS, LABELS[:2]]))
    rnn = network(backend)
    options = {"loss": "ctc", "lengths": [*LENGTHS, 6, 7], "seed": 0, "epochs": 1, "batch_size": 2}
    held = data[0][:3], data[1][:3], LENGTHS
    history = fastrec.fit(rnn, *data, held, optimizer=fastrec.SGD(1e-300), **options)
    assert history.train[0] == pytest.approx(rnn.loss(*data, "ctc", lengths=options["lengths"])[0], rel=1e-12)
    assert history.validation[0] == pytest.approx(rnn.loss(*held[:2], "ctc", lengths=LENGTHS)[0], rel=1e-12)
    wide = np.pad(data[1], ((0, 0), (0, 4)), constant_values=-1)  # as many columns as steps
    again = fastrec.fit(rnn, x, wide, optimizer=fastrec.SGD(1e-300), **options)
    assert again.train[0] == history.train[0]
    history = fastrec.fit(rnn, *data, optimizer=fastrec.Adam(0.05), **(options | {"epochs": 40}))
    assert history.train[-1] < 0.5 * history.train[0]
    flow = fastrec.gradient_flow(rnn, *held[:2], loss="ctc", lengths=LENGTHS).norms
    assert (flow[:, 0] > 0).all()


Y = np.zeros((2, 3, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fastrec.ctc(Y[0], [[1]]),
            "outputs has shape (3, 4) and dtype float64; give numbers (b, t, o)",
        ),
        (lambda: fastrec.ctc(Y + np.nan, [[1], [1]]), "outputs holds nan at [0, 0, 0]; it must be finite"),
        (lambda: fastrec.ctc(Y, [1, 2]), "labels has shape (2,) and dtype int64; give integers (2, u)"),
        (lambda: fastrec.ctc(Y, [[1.0], [2.0]]), "labels has shape (2, 1) and dtype float64"),
        (lambda: fastrec.ctc(Y, [[1], [4]]), "labels holds 4 at [1, 0]; labels are from 0 to 3, but not the"),
        (lambda: fastrec.ctc(Y, [[1], [3]], blank=3), "labels holds 3 at [1, 0]"),
        (lambda: fastrec.ctc(Y, [[1], [-1]], label_lengths=[1, 1]), "labels holds -1 at [1, 0]"),
        (
            lambda: fastrec.ctc(Y, [[1], [2]], label_lengths=[1, 2]),
            "label_lengths[1] is 2; it must be from 0",
        ),
        (lambda: fastrec.ctc(Y, [[1], [2]], [1, 4]), "lengths[1] is 4; it must be from 0 to t = 3"),
        (lambda: fastrec.ctc_decode(Y, width=0), "width is 0; it must be an integer from 1"),
        (lambda: fastrec.ctc_decode(Y, width=2, n_best=3), "n_best is 3; it must be an integer from 1 to 2"),
        (lambda: fastrec.ctc(Y, [[1], [2]], blank=4), "blank is 4; it must be an integer from 0 to 3"),
    ],
)
def test_errors(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"lengths": [7, 3, 5], "targets": [[1, 1, 2], [3, 3, 3], [2, -1, -1]]},
            "targets has 3 labels in row 1, 2 of them equal to the one before, which takes 5 steps, and the",
        ),
        (
            {"targets": [[1], [0], [1]]},
            "targets holds 0 at [1, 0]; labels are from 0 to 3, but not the blank 0",
        ),
        ({"targets": [1, 2, 3]}, "targets has shape (3,) and dtype int64; labels are integers (3, u)"),
        ({"targets": [[1.0]] * 3}, "targets has shape (3, 1) and dtype float64; labels are integers (3, u)"),
        (
            {"mask": np.ones((3, 7), bool)},
            'mask is given, and loss="ctc" takes all steps; say lengths instead',
        ),
        ({"weights": {"steps": np.ones((3, 7))}}, 'give a dict with "rows"'),
        ({"weights": {"rows": np.zeros(3)}}, "weights leave no row that counts; let at least one count"),
    ],
)
def test_errors_of_networks(change: dict[str, Any], message: str) -> None:
    rnn, data = network("cpu"), {"x": random(8, 3, 7, 2), "targets": LABELS, "loss": "ctc"} | change
    before = {key: array.copy() for key, array in rnn.parameters.items()}
    calls: list[Callable[..., Any]] = [
        rnn.loss,
        rnn.loss_and_gradients,
        lambda **more: fastrec.fit(rnn, **more),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=re.escape(message)):
            call(**data)
    assert all(np.array_equal(rnn.parameters[key], array) for key, array in before.items())


def test_windows_are_refused() -> None:
    rnn, data = network("cpu"), (random(8, 3, 7, 2), LABELS)
    message = re.escape('k1 is 3, and loss="ctc" takes whole sequences, of up to 7 steps; leave k1 out')
    with pytest.raises(ValueError, match=message):
        fastrec.fit(rnn, *data, loss="ctc", k1=3)
    with pytest.raises(ValueError, match=message):
        fastrec.truncated_bptt(rnn, *data, k1=3, loss="ctc")
