"""From sequences and contexts to sequences: gradients, padding, files, and that it learns to reverse."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastrec
from fastrec.backend import backend_of, move
from fastrec.rnn.padding import pad_sequences, unpad
from fastrec.text.encoder_decoder import EncoderDecoder

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own

KINDS = [("elman", 1), ("jordan", 1), ("gru", 2), ("lstm", 2)]
SOURCES = ("tokens", "numbers", "contexts")
LENGTHS, ENDS = np.array([5, 1, 0, 3]), np.array([2, 3, 0, 1])


def model_and_data(
    cell: str, layers: int, kind: str, backend: str | None = None
) -> tuple[EncoderDecoder, tuple[object, ...]]:
    """No parameter is 0; sources, targets, and their lengths."""
    random = np.random.default_rng(0)
    sources = "contexts" if kind == "contexts" else "sequences"
    model = EncoderDecoder(
        4, 3, 5, cell, num_layers=layers, sources=sources, dtype=np.float64, seed=1, backend=backend
    )
    optimizer = fastrec.SGD(1.0)
    optimizer.step(
        model.parameters,
        {key: 0.1 * random.standard_normal(array.shape) for key, array in on_host(model).items()},
        backend=backend,
    )
    x = {
        "tokens": random.integers(0, 4, (4, 5)),
        "numbers": random.standard_normal((4, 5, 4)),
        "contexts": random.standard_normal((4, 4)),
    }[kind]
    return model, (x, random.integers(0, 3, (4, 3)), None if kind == "contexts" else LENGTHS, ENDS)


def on_host(model: EncoderDecoder) -> dict[str, np.ndarray]:
    return {
        key: array if isinstance(array, np.ndarray) else array.get()
        for key, array in model.parameters.items()
    }


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize(("cell", "layers"), KINDS)
def test_gradients(backend: str, cell: str, layers: int, kind: str) -> None:
    """Of all parameters, along a random direction of each, by central differences."""
    model, data = model_and_data(cell, layers, kind, backend)
    random = np.random.default_rng(2)
    value, gradients, _ = model.loss_and_gradients(*data, reduction="sum")
    assert gradients.keys() == model.parameters.keys()
    assert np.isclose(value, model.loss(*data, reduction="sum")[0], rtol=1e-12)
    assert np.isclose(value / (ENDS + 1).sum(), model.loss(*data)[0], rtol=1e-12)
    for key, gradient in gradients.items():
        array = model.parameters[key]
        direction = random.standard_normal(array.shape)
        step = move(1e-5 * direction, backend_of(array))
        array += step
        above = model.loss(*data, reduction="sum")[0]
        array -= 2 * step
        below = model.loss(*data, reduction="sum")[0]
        array += step
        assert abs((above - below) / 2e-5 - (gradient * direction).sum()) < 1e-6, key
        assert bool(gradient.any()) == (not key.startswith(("decoder.h0", "decoder.c0"))), key


@pytest.mark.parametrize("kind", SOURCES)
def test_loss_is_that_of_the_networks(backend: str, kind: str) -> None:
    """Each pair alone, put together by hand: the start symbol, the targets, the stop symbol."""
    model, (x, targets, lengths, ends) = model_and_data("gru", 2, kind, backend)
    total, reached = 0.0, model.loss(x, targets, lengths, ends)[1]
    assert np.array_equal(model.loss_and_gradients(x, targets, lengths, ends)[2], reached)
    for j in range(4):
        if kind == "contexts":
            parameters = on_host(model)
            state = (x[j] @ parameters["context.W"] + parameters["context.b"]).reshape(2, 1, 5)
        else:
            _, state = model.encoder.predict(x[j : j + 1], lengths=lengths[j : j + 1])
        np.testing.assert_allclose(model.encode(x, lengths)[:, j], state[:, 0], atol=1e-12)
        tokens = targets[j, : ends[j]]
        written, wanted = np.append(3, tokens)[None], np.append(tokens, 3)[None]
        loss, last = model.decoder.loss(written, wanted, state=state, reduction="sum")
        total += loss
        np.testing.assert_allclose(reached[:, j], last[:, 0], atol=1e-12)
    assert np.isclose(model.loss(x, targets, lengths, ends, "sum")[0], total, rtol=1e-12)


def test_padding_may_hold_anything(backend: str) -> None:
    model, (x, targets, lengths, ends) = model_and_data("lstm", 1, "tokens", backend)
    value, gradients, _ = model.loss_and_gradients(x, targets, lengths, ends)
    odd_x, odd_targets = x.copy(), targets.copy()
    odd_x[np.arange(5) >= lengths[:, None]] = -99
    odd_targets[np.arange(3) >= ends[:, None]] = 99
    other, others, _ = model.loss_and_gradients(odd_x, odd_targets, lengths, ends)
    assert value == other and all(np.array_equal(gradients[key], others[key]) for key in gradients)


def pairs(n: int, lengths: tuple[int, ...], seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    random = np.random.default_rng(seed)
    sources = [random.integers(0, 3, length) for length in random.choice(lengths, n)]
    return sources, [source[::-1] for source in sources]


def test_learns_to_reverse(compiled: str, quick: None) -> None:
    model = EncoderDecoder(3, 3, 24, "gru", seed=1, backend=compiled)
    (x, lengths), (y, ends) = map(pad_sequences, pairs(800, (0, 1, 2, 3), 0))
    held, mirrored = pairs(60, (0, 1, 2, 3), 1)
    (u, held_lengths), (v, held_ends) = map(pad_sequences, (held, mirrored))
    history = model.fit(
        x,
        y,
        (u, v, held_lengths, held_ends),
        optimizer=fastrec.Adam(0.01, clip=1.0),
        epochs=12,
        seed=0,
        lengths=lengths,
        target_lengths=ends,
        progress=False,
    )
    assert history.train.shape == history.validation.shape == history.seconds.shape == (12,)
    assert history.diverged is None and history.train[-1] < 0.05 < history.train[0]
    assert np.isclose(history.validation[-1], model.loss(u, v, held_lengths, held_ends)[0], rtol=1e-5)
    written = unpad(*model.generate(u, 5, held_lengths, seed=0))
    assert [row.tolist() for row in written] == [row.tolist() for row in mirrored]
    drawn = unpad(*model.generate(u, 5, held_lengths, temperature=0.1, seed=3))
    assert sum(np.array_equal(a, b) for a, b in zip(drawn, mirrored, strict=True)) > 55


@pytest.mark.slow
def test_learns_from_contexts(backend: str, quick: None) -> None:
    """Count in unary; rows that do not end have all the steps."""
    model = EncoderDecoder(4, 1, 8, "gru", sources="contexts", seed=1, backend=backend)
    x, ends = np.tile(np.eye(4), (8, 1)), np.tile(np.arange(4), 8)
    optimizer = fastrec.Adam(0.05)
    history = model.fit(
        x,
        np.zeros((32, 3), int),
        None,
        optimizer,
        25,
        8,
        target_lengths=ends,
        seed=0,
        progress=False,
        patience=25,
    )
    assert history.validation is None and history.epochs <= 25
    tokens, lengths = model.generate(np.eye(4), 3, seed=0)
    assert tokens.tolist() == [[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]] and lengths.tolist() == [
        0,
        1,
        2,
        3,
    ]
    assert tokens.dtype == np.int32 and lengths.dtype == np.int64


def test_fit_repeats_and_calls_back() -> None:
    (x, lengths), (y, ends) = map(pad_sequences, pairs(20, (1, 2), 0))
    seen: list[int] = []

    def train(seed: int) -> EncoderDecoder:
        model = EncoderDecoder(3, 3, 4, seed=1)
        model.fit(
            x,
            y,
            epochs=2,
            lengths=lengths,
            target_lengths=ends,
            seed=seed,
            progress=False,
            batch_size=7,
            callback=lambda epoch, history: seen.append(history.epochs - epoch),
        )
        return model

    one, same, other = train(0).parameters, train(0).parameters, train(1).parameters
    assert all(np.array_equal(one[key], same[key]) for key in one) and seen == [1] * 6
    assert any(not np.array_equal(one[key], other[key]) for key in one)


def test_fit_of_bad_gradients() -> None:
    model = EncoderDecoder(3, 3, 4, "elman", "relu", seed=1)
    for key in ("W_in", "W_rec"):
        model.decoder.parameters[key][...] = 1e30
    with (
        pytest.raises(FloatingPointError, match=r"gradient of .* is not finite; "),
        np.errstate(all="ignore"),
    ):
        model.fit([[0, 1]], [[1, 0]], epochs=3, progress=False)


def test_fit_that_diverges_leaves_good_parameters(backend: str) -> None:
    """As `fastrec.fit`: a loss far above those of epoch 0 gives back the parameters of the best epoch."""
    model = EncoderDecoder(3, 3, 4, seed=1, backend=backend)
    x, y = np.zeros((6, 2), int), np.ones((6, 2), int)

    def spoil(epoch: int, history: fastrec.History) -> None:
        model.decoder.parameters["b_out"] *= 1e6

    first = {key: array.copy() for key, array in on_host(model).items()}
    with pytest.raises(FloatingPointError, match=r"diverged in epoch \d, batch 0: the loss is .*; the param"):
        model.fit(x, 1 - y, epochs=3, optimizer=fastrec.SGD(0.1), seed=0, progress=False, callback=spoil)
    assert all(np.array_equal(first[key], array) for key, array in on_host(model).items())


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize(("cell", "layers"), KINDS)
def test_files(tmp_path: Path, backend: str, cell: str, layers: int, kind: str) -> None:
    model, data = model_and_data(cell, layers, kind, backend)
    path = tmp_path / "model.npz"
    model.save(path)
    other = EncoderDecoder.load(path, backend)
    assert repr(other) == repr(model) and other.loss(*data)[0] == model.loss(*data)[0]
    assert sum(array.size for array in other.parameters.values()) == other.n_parameters
    assert pickle.loads(pickle.dumps(model)).loss(*data)[0] == model.loss(*data)[0]


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    EncoderDecoder(3, 3, 4, seed=0).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"model\.npz: not a fastrec encoder-decoder, or truncated"):
        EncoderDecoder.load(path)
    path.write_bytes(whole)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.npy", b"")
    with pytest.raises(ValueError, match=r"model\.npz: damaged, its arrays should be"):
        EncoderDecoder.load(path)
    fastrec.RNN(3, 4, seed=0).save(path)
    with pytest.raises(ValueError, match=r"model\.npz: not a fastrec encoder-decoder file"):
        EncoderDecoder.load(path)
    with pytest.raises(ValueError, match=r"suffix must be \.npz"):
        EncoderDecoder(3, 3, 4, seed=0).save(tmp_path / "model.txt")


def test_attributes() -> None:
    model = EncoderDecoder(3, 7, 4, "lstm", num_layers=2, sources="contexts", backend="reference", seed=0)
    assert (model.source_size, model.target_size, model.backend, model.encoder) == (3, 7, "reference", None)
    assert model.parameters["context.W"].shape == (3, 16) and model.parameters["context.W"].any()
    assert model.decoder.input_size == model.decoder.output_size == 8
    assert repr(model).startswith(
        'EncoderDecoder(3, 7, 4, "lstm", num_layers=2, backend="reference", n_parameters='
    )
    seeds = [EncoderDecoder(3, 7, 4, seed=seed).parameters["encoder.W_in"] for seed in (0, 0, 1)]
    assert np.array_equal(seeds[0], seeds[1]) and not np.array_equal(seeds[0], seeds[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source_size": 0}, "source_size is 0"),
        ({"target_size": 2.0}, "target_size is 2.0"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"cell": "rnn"}, "cell is 'rnn'"),
        ({"cell": "jordan", "num_layers": 2}, "num_layers is 2"),
        ({"sources": "context"}, 'sources is \'context\'; it must be "sequences" or "contexts"'),
        ({"dtype": np.int32}, "dtype is .*int32"),
        ({"seed": 2**64 - 1}, "seed is 18446744073709551615"),
    ],
)
def test_refuses(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderDecoder(**{"source_size": 3, "target_size": 3, "hidden_size": 4} | options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[3]], [[0]]), r"sources: x holds 3 at \[0, 0\]; it must be from 0 to 2"),
        (([[0]], [[3]]), r"targets holds 3 at \[0, 0\]; it must be from 0 to 2"),
        (([[0]], [[0.5]]), r"targets has shape \(1, 1\) and dtype float64"),
        (([[0]], [[0], [1]]), r"targets has shape \(2, 1\).* for the 1 sources"),
        (([[0]], np.zeros((1, 0), int)), "with u from 1"),
        (([[0]], [[0]], [2]), r"sources: lengths\[0\] is 2"),
        (([[0]], [[0]], None, [2]), r"target_lengths\[0\] is 2"),
        (([[[np.nan] * 3]], [[0]]), "sources: x holds nan"),
    ],
)
def test_refuses_data(arguments: tuple[object, ...], message: str) -> None:
    model = EncoderDecoder(3, 3, 4, seed=0)
    for call in (model.loss, model.loss_and_gradients):
        with pytest.raises(ValueError, match=message):
            call(*arguments)
    with pytest.raises(ValueError, match=f"validation: .*{message}"):
        model.fit([[0]], [[0]], arguments, progress=False)


def test_refuses_contexts_and_options() -> None:
    model = EncoderDecoder(3, 3, 4, sources="contexts", seed=0)
    with pytest.raises(ValueError, match="lengths is given, and contexts have none"):
        model.encode(np.zeros((1, 3)), [1])
    with pytest.raises(ValueError, match=r"sources has shape \(1, 2\)"):
        model.encode(np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"sources has shape \(3,\)"):
        model.encode(np.zeros(3))
    with pytest.raises(ValueError, match="sources holds inf"):
        model.encode(np.full((1, 3), np.inf))
    model.context["W"] = np.zeros((3, 5), np.float32)
    with pytest.raises(ValueError, match=r'context\["W"\] must be an array \(3, 4\), float32'):
        model.encode(np.zeros((1, 3)))
    model = EncoderDecoder(3, 3, 4, seed=0)
    for options, message in (
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"optimizer": "adam"}, "optimizer is 'adam'; it must be an SGD, RMSprop, Adam or AdamW"),
        ({"validation": 3}, "validation is 3; give a tuple of sources, targets"),
        ({"callback": 3}, "callback is 3; it must be a function"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit([[0]], [[0]], progress=False, **options)


def test_checkpoints_of_another_model_are_named(tmp_path: Path) -> None:
    path, options = tmp_path / "c.npz", {"epochs": 1, "seed": 0, "progress": False}
    EncoderDecoder(2, 2, 3, seed=0).fit([[0, 1]], [[1, 0]], **options, checkpoint=path)
    with pytest.raises(
        ValueError, match=r"c\.npz: this is a checkpoint of another .*; EncoderDecoder\.load reads"
    ):
        fastrec.RNN.load(path)
    path.unlink()
    fastrec.fit(fastrec.RNN(2, 3, 2, seed=0), [[0, 1]], [[1, 0]], **options, checkpoint=path)
    with pytest.raises(ValueError, match=r"c\.npz: this is a checkpoint of another .*; RNN\.load reads it"):
        EncoderDecoder.load(path)
