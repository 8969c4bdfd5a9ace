"""Attention: its kernels, and models from sequences to sequences that have it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from devices import host_kernels, to_host
from test_kernels_rnn import assert_equal, close, differences, double_in_short, reference, spoil

import fastrec
from fastrec import Adam, EncoderDecoder
from fastrec.backend import backend_of, move
from fastrec.rnn.cells import CELLS

# b, u, t, d, h: a block of a kernel takes up to 8 steps on the gpu, and 64 on the cpu
SIZES = [(4, 5, 6, 7, 7), (1, 1, 1, 1, 1), (3, 17, 9, 33, 65), (2, 70, 65, 5, 3)]
KINDS = ("dot", "general", "additive")
TWO = {"num_layers": 2, "embedding_size": 3}
MODELS: list[tuple[str | None, str, dict[str, Any]]] = [
    *((kind, "gru", {}) for kind in KINDS),
    *((kind, "lstm", {"bidirectional": True} | TWO) for kind in (*KINDS, None)),
    ("dot", "elman", {"bidirectional": True}),
    ("general", "leaky", {"bidirectional": True}),
    ("additive", "gru_before", {"num_layers": 2}),
    ("general", "lstm_peepholes", {"bidirectional": True}),
]
SOURCES, TARGETS = np.random.default_rng(0).integers(0, 4, (5, 4, 5)), np.array([[0, 1, 2]] * 4)
LENGTHS, ENDS = np.array([5, 1, 0, 3]), np.array([2, 3, 0, 1])
DATA = (SOURCES[0], TARGETS, LENGTHS, ENDS)
both_scores = pytest.mark.parametrize("additive", [False, True], ids=["dot", "additive"])
all_dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32])
all_sizes = pytest.mark.parametrize("size", SIZES, ids=str)
all_kinds = pytest.mark.parametrize("kind", KINDS)
Arrays = dict[str, Any]


@pytest.fixture(scope="module")
def module(backend: str) -> ModuleType:
    return host_kernels("rnn", backend)


def arguments(size: tuple[int, ...], additive: bool, dtype: type = np.float64) -> Arrays:
    """What the kernels read, by name; what does not count is not finite."""
    b, u, t, d, h = size
    random = np.random.default_rng([*size, additive])
    shapes = {"queries": (b, u, d), "keys": (b, t, d), "values": (b, t, h), "d_contexts": (b, u, h)}
    made: Arrays = {name: random.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    made["v"] = random.normal(size=d * additive).astype(dtype)
    made["steps"] = np.array([u, *random.integers(0, u + 1, b - 1)])
    made["lengths"] = np.array([t, 0, *random.integers(1, t + 1, b)])[:b]
    for name, counts in {
        "queries": "steps",
        "d_contexts": "steps",
        "keys": "lengths",
        "values": "lengths",
    }.items():
        spoil(made[name][None], np.arange(made[name].shape[1]) < made[counts][:, None])
    return made


def run(module: ModuleType, given: Arrays) -> Arrays:
    """What both kernels fill."""
    queries, steps, keys, values, lengths, v, d_contexts = (
        given[name] for name in ("queries", "steps", "keys", "values", "lengths", "v", "d_contexts")
    )
    (b, u, _), t = queries.shape, keys.shape[1]
    weights, contexts = np.full((b, u, t), np.nan, v.dtype), np.full(d_contexts.shape, np.nan, v.dtype)
    inputs = (queries, steps, keys, values, lengths, v)
    module.attention_forward(*inputs, weights, contexts)
    made = {f"d_{name}": np.full_like(given[name], np.nan) for name in ("queries", "keys", "values")}
    made["d_v"] = np.full((b, len(v)), np.nan, v.dtype)
    module.attention_backward(*inputs, weights, d_contexts, *made.values())
    return {"weights": weights, "contexts": contexts} | made


@both_scores
def test_gradients_of_the_reference_are_finite_differences(additive: bool) -> None:
    given = arguments((3, 3, 4, 2, 3), additive)
    made, on = run(reference, given), np.isfinite(given["d_contexts"])

    def error() -> float:
        return float((run(reference, given)["contexts"] * np.where(on, given["d_contexts"], 0)).sum())

    for name in ("queries", "keys", "values", "v")[: 3 + additive]:
        found = made[f"d_{name}"].sum(axis=0) if name == "v" else made[f"d_{name}"]
        assert found.any(), name
        np.testing.assert_allclose(found, differences(error, given[name]), rtol=1e-7, atol=1e-8, err_msg=name)


def test_weights_are_a_softmax() -> None:
    """Three keys of a query, by hand."""
    given = arguments((1, 1, 3, 2, 2), False) | {"lengths": np.array([2])}
    scores = given["keys"][0, :2] @ given["queries"][0, 0]
    shares = np.exp(scores) / np.exp(scores).sum()
    made = run(reference, given)
    np.testing.assert_allclose(made["weights"][0, 0], [*shares, 0], rtol=1e-14)
    np.testing.assert_allclose(made["contexts"][0, 0], shares @ given["values"][0, :2], rtol=1e-14)


@pytest.mark.each_value("backend")
@all_sizes
@both_scores
@double_in_short
def test_equals_reference(module: ModuleType, size: tuple[int, ...], additive: bool, dtype: type) -> None:
    """Beside the sums, all is 0 where queries or keys do not count."""
    given = arguments(size, additive, dtype)
    expected, made = run(reference, given), run(module, given)
    for name, wanted in expected.items():
        close(made[name], wanted, dtype, name)
        assert not made[name][wanted == 0].any(), name


@both_scores
def test_rows_do_not_depend_on_others(module: ModuleType, additive: bool) -> None:
    given = arguments((3, 17, 9, 33, 65), additive, np.float32)
    whole = run(module, given)
    for row in range(3):
        alone = {name: array if name == "v" else array[row : row + 1] for name, array in given.items()}
        assert_equal({name: array[row : row + 1] for name, array in whole.items()}, run(module, alone))


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_large_scores(module: ModuleType, scale: float) -> None:
    """The largest takes all, and nothing overflows."""
    given = arguments((1, 2, 3, 4, 4), False, np.float32)
    given["queries"] *= scale
    made = run(module, given)
    assert np.isin(made["weights"], (0, 1)).all() and np.isfinite(made["d_queries"]).all()


@both_scores
def test_threads_change_nothing(threads: Callable[[int], int], additive: bool) -> None:
    given, cpu = arguments((5, 70, 65, 33, 65), additive, np.float32), host_kernels("rnn", "cpu")
    threads(1)
    expected = run(cpu, given)
    threads(3)
    assert_equal(run(cpu, given), expected)


@pytest.mark.each_value("backend")
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 3, 5, 700)])
@all_dtypes
def test_tanh(module: ModuleType, shape: tuple[int, ...], dtype: type) -> None:
    random = np.random.default_rng(0)
    z, d = (random.normal(size=shape).astype(dtype) for _ in range(2))
    y, d_z = z.copy(), d.copy()
    module.tanh_forward(y)
    close(y, np.tanh(z), dtype)
    module.tanh_backward(y, d_z)
    close(d_z, d / np.cosh(z) ** 2, dtype)


def model_of(kind: str | None, cell: str = "gru", **options: Any) -> EncoderDecoder:
    """A model of which no parameter is 0."""
    options = {"dtype": np.float64, "seed": 1, "attention": kind} | options
    model = EncoderDecoder(4, 3, 6, cell, **options)
    random = np.random.default_rng(1)
    for array in model.parameters.values():
        array += move((0.1 * random.standard_normal(array.shape)).astype(array.dtype), backend_of(array))
    return model


def check_slopes(model: EncoderDecoder, loss: Callable[[], float], gradients: dict[str, Any]) -> None:
    """Gradients along a random direction of each parameter, by central differences."""
    random = np.random.default_rng(2)
    assert gradients.keys() == model.parameters.keys()
    for key, array in model.parameters.items():
        direction = random.standard_normal(array.shape)
        step, ends = move(1e-5 * direction, backend_of(array)), []
        for sign in (1, -2):
            array += sign * step
            ends.append(loss())
        array += step
        assert abs((ends[0] - ends[1]) / 2e-5 - (gradients[key] * direction).sum()) < 1e-6, key
        assert bool(gradients[key].any()) == (not key.startswith(("decoder.h0", "decoder.c0"))), key


@pytest.mark.each_value
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(("kind", "cell", "options"), MODELS, ids=str)
def test_gradients(
    backend: str, kind: str | None, cell: str, options: dict[str, Any], dropout: float
) -> None:
    model = model_of(kind, cell, backend=backend, **options)

    def learn() -> tuple[float, dict[str, Any]]:
        given = {"reduction": "sum", "dropout": dropout, "dropout_seed": 2}
        return model.loss_and_gradients(*DATA, **given)[:2]  # type: ignore[arg-type]

    value, gradients = learn()
    assert dropout or np.isclose(value, model.loss(*DATA, "sum")[0], rtol=1e-12)
    check_slopes(model, lambda: learn()[0], gradients)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_one_hidden_unit_for_each_direction(backend: str, cell: Any) -> None:
    options: dict[str, Any] = {"attention": "general", "bidirectional": True, "dtype": np.float64, "seed": 1}
    found, expected = (
        EncoderDecoder(4, 3, 2, cell, backend=each, **options).loss_and_gradients(*DATA)[1]
        for each in (backend, "reference")
    )
    for key, gradient in expected.items():
        np.testing.assert_allclose(found[key], gradient, rtol=1e-9, atol=1e-12, err_msg=key)


def test_numbers_as_sources(backend: str) -> None:
    model = model_of("general", bidirectional=True, backend=backend)
    x = np.random.default_rng(3).normal(size=(4, 5, 4))
    x[np.arange(5) >= LENGTHS[:, None]] = np.nan
    _, gradients, _ = model.loss_and_gradients(x, *DATA[1:], reduction="sum")
    check_slopes(model, lambda: model.loss(x, *DATA[1:], reduction="sum")[0], gradients)


@all_kinds
def test_attention_is_that_of_the_networks(kind: str) -> None:
    """Each pair alone, put together by hand from the hidden units of both networks."""
    model = model_of(kind, "lstm", bidirectional=True)
    p = {key.removeprefix("attention."): array for key, array in model.parameters.items()}
    weights, total = model.attention(*DATA), 0.0
    for j, (source, target) in enumerate(zip(SOURCES[0], TARGETS, strict=True)):
        source, target = source[: LENGTHS[j]], target[: ENDS[j]]
        state = model.encode(source[None] if len(source) else SOURCES[0][:1], [len(source)])
        h = model.decoder.forward(np.append(3, target)[None], state=state).hidden[0]
        shares = np.zeros((len(h), len(source)))
        s = model.encoder.forward(source[None]).hidden[0] if len(source) else np.zeros((0, 6))
        if len(source):
            keys = s if kind == "dot" else s @ p["W_key"]
            scores = h @ keys.T
            if kind == "additive":
                scores = np.tanh((h @ p["W_query"])[:, None] + keys) @ p["v"]
            shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(weights[j, : len(h), : len(source)], shares, atol=1e-12)
        assert not weights[j, len(h) :].any() and not weights[j, :, len(source) :].any()
        y = np.tanh(np.hstack([shares @ s, h]) @ p["W_combine"]) @ p["decoder.W_out"] + p["decoder.b_out"]
        total += (np.log(np.exp(y).sum(axis=1)) - y[np.arange(len(h)), np.append(target, 3)]).sum()
    assert np.isclose(model.loss(*DATA, "sum")[0], total, rtol=1e-12)


@pytest.mark.each_value
@all_kinds
def test_float32_and_padding(backend: str, kind: str) -> None:
    """What sources and targets hold after their ends does not matter, nor does how far they are padded."""
    model = model_of(kind, bidirectional=True, dtype=np.float32, backend=backend)
    exact = model_of(kind, bidirectional=True, backend="reference")
    for key, array in exact.parameters.items():
        model.parameters[key][...] = move(array.astype(np.float32), backend_of(model.parameters[key]))
    value, gradients, _ = model.loss_and_gradients(*DATA)
    wanted, others, _ = exact.loss_and_gradients(*DATA)
    assert value == pytest.approx(wanted, rel=1e-5)
    for key, gradient in to_host(gradients).items():
        close(gradient, others[key], np.float32, key)
    longer = (np.full((4, 9), -99), np.full((4, 7), 99))
    for padded, given, counts in zip(longer, (SOURCES[0], TARGETS), (LENGTHS, ENDS), strict=True):
        for j, count in enumerate(counts):
            padded[j, :count] = given[j, :count]
    again, same, _ = model.loss_and_gradients(longer[0][:, :5], longer[1][:, :3], LENGTHS, ENDS)
    assert again == value and all(np.array_equal(gradients[key], same[key]) for key in same)
    again, same, _ = model.loss_and_gradients(*longer, LENGTHS, ENDS)
    assert again == pytest.approx(value, rel=1e-6)
    for key, gradient in to_host(gradients).items():
        close(same[key], gradient, np.float32, key)


def test_learns_where_to_look() -> None:
    """Sequences of up to 8 symbols turned round: the state between the networks is too small for them."""
    random = np.random.default_rng(0)
    lengths = random.integers(1, 9, 500)
    x = random.integers(0, 6, (500, 8))
    y = np.zeros_like(x)
    for j, length in enumerate(lengths):
        y[j, :length] = x[j, :length][::-1]
    model = EncoderDecoder(6, 6, 16, attention="general", bidirectional=True, seed=1)
    given = {"lengths": lengths, "target_lengths": lengths, "optimizer": Adam(0.02, clip=1.0)}
    history = model.fit(x, y, epochs=12, seed=0, progress=False, **given)
    assert history.train[-1] < 0.1
    weights = model.attention(x[:1], y[:1], lengths[:1], lengths[:1])[0]
    places = weights[: lengths[0]].argmax(axis=1)
    assert np.abs(places - np.arange(lengths[0])[::-1]).max() <= 1


def options_of_fit(**others: Any) -> dict[str, Any]:
    options = {"lengths": LENGTHS, "target_lengths": ENDS, "batch_size": 2, "seed": 3, "dropout": 0.2}
    options |= {"schedule": fastrec.CosineDecay(20), "keep": "best", "progress": False}
    return options | others


def test_fit_resumes(compiled: str, tmp_path: Path) -> None:
    """A training that was interrupted ends with the bits of one that was not."""
    held_out = (SOURCES[1], TARGETS, LENGTHS, ENDS)
    settings = {
        "bidirectional": True,
        "num_layers": 2,
        "embedding_size": 3,
        "dtype": np.float32,
        "backend": compiled,
    }
    models = [model_of("additive", "lstm", seed=seed, **settings) for seed in (1, 1, 5)]
    seeds = [model.seed for model in models]
    whole, parts = tmp_path / "whole.npz", tmp_path / "parts.npz"
    for model, epochs, path in ((models[0], 4, whole), (models[1], 2, parts), (models[2], 4, parts)):
        options = options_of_fit(epochs=epochs, optimizer=Adam(0.02), checkpoint=path)
        model.fit(SOURCES[0], TARGETS, held_out, **options)
    assert seeds == [1, 1, 5] and models[2].seed == 1
    first, last = to_host(models[0].parameters), to_host(models[2].parameters)
    assert all(np.array_equal(first[key], last[key]) for key in first)
    loaded = EncoderDecoder.load(whole, backend=compiled)
    assert loaded.seed == 1 and repr(loaded) == repr(models[0])
    options = options_of_fit(epochs=4, optimizer=Adam(0.02), checkpoint=parts, dropout=0.1)
    with pytest.raises(ValueError, match=r"another training: dropout is 0\.2 there, and here it is 0\.1"):
        models[2].fit(SOURCES[0], TARGETS, held_out, **options)
    options |= {"changed": ("dropout", "seed"), "seed": 4, "epochs": 5}
    assert models[2].fit(SOURCES[0], TARGETS, held_out, **options).epochs == 5


def test_keep_best_and_schedule() -> None:
    model, rates = model_of("dot"), []
    x, y = SOURCES[0], TARGETS

    def schedule(step: int) -> float:
        rates.append(step)
        return 0.0 if step >= 4 else 1.0

    options = options_of_fit(epochs=4, optimizer=Adam(0.05), schedule=schedule, dropout=0.0)
    history = model.fit(x, y, (x, y, LENGTHS, ENDS), **options)
    assert max(rates) == 7 and history.validation[2] == history.validation[3]
    loss = model.loss(x, y, LENGTHS, ENDS)[0]
    assert loss == pytest.approx(history.validation[history.best_epoch], rel=1e-12)


def test_the_leak_is_not_trained() -> None:
    model = model_of("dot", "leaky")
    first = {key: array.copy() for key, array in model.parameters.items()}
    model.fit(*DATA[:2], **options_of_fit(epochs=1))
    same = {key for key, array in model.parameters.items() if np.array_equal(array, first[key])}
    assert same == {"encoder.leak", "decoder.leak", "decoder.h0"}


@all_kinds
def test_files_and_copies(tmp_path: Path, kind: str) -> None:
    model = model_of(kind, "lstm", bidirectional=True, embedding_size=2, dtype=np.float32)
    model.save(tmp_path / "model.npz")
    for other in (EncoderDecoder.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model))):
        assert repr(other) == repr(model) and other.seed == 1
        assert_equal(other.parameters, model.parameters)
        assert other.loss(*DATA)[0] == model.loss(*DATA)[0]


def test_parameters_of_attention() -> None:
    shapes = {
        key: array.shape
        for key, array in model_of("additive").parameters.items()
        if key.startswith("attention.")
    }
    square = {"attention.W_key": (6, 6), "attention.W_query": (6, 6), "attention.v": (6,)}
    assert shapes == square | {"attention.W_combine": (12, 6)}
    drawn = [EncoderDecoder(4, 3, 6, attention="general", seed=seed).parameters for seed in (1, 1, 2)]
    key = "attention.W_key"
    assert np.array_equal(drawn[0][key], drawn[1][key]) and not np.array_equal(drawn[0][key], drawn[2][key])
    plain = EncoderDecoder(4, 3, 6, seed=1).parameters
    assert_equal({key: drawn[0][key] for key in plain}, plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "cosine"}, 'attention is \'cosine\'; it must be "dot", "general" or "additive"'),
        ({"attention": "dot", "sources": "contexts"}, "attention is 'dot', and contexts have no steps"),
        ({"bidirectional": True, "sources": "contexts"}, "bidirectional is True, and contexts have no steps"),
        ({"attention": "dot", "cell": "jordan"}, "attention is 'dot'; cell=\"jordan\" has outputs in place"),
        ({"bidirectional": True, "cell": "jordan"}, 'bidirectional is True; cell="jordan" has outputs'),
        ({"bidirectional": True, "hidden_size": 5}, "hidden_size is 5; .* make it even"),
        ({"bidirectional": 1}, "bidirectional is 1; it must be True or False"),
        ({"embedding_size": 0}, "embedding_size is 0"),
    ],
)
def test_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderDecoder(**{"source_size": 3, "target_size": 3, "hidden_size": 4} | options)


def test_refuses_arguments() -> None:
    with pytest.raises(ValueError, match='the model has no attention; make it with attention="dot"'):
        model_of(None).attention(*DATA)
    model = model_of("general")
    with pytest.raises(ValueError, match=r"targets holds 3 at \[0, 0\]"):
        model.attention([[0]], [[3]])
    for options, message in (
        ({"dropout": 1.5}, "dropout is 1.5"),
        ({"keep": "all"}, "keep is 'all'"),
        ({"schedule": 3}, "schedule is 3; it must be a function"),
        ({"checkpoint": "file.txt"}, r"suffix must be \.npz"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0"),
        ({"changed": "seed"}, "changed is 'seed' without a checkpoint"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(*DATA[:2], **options_of_fit(**options))
    with pytest.raises(ValueError, match=r'cell="jordan" feeds its output back and has none'):
        EncoderDecoder(3, 3, 4, "jordan", seed=0).fit([[0]], [[0]], dropout=0.5, progress=False)
    model._attention["W_key"] = np.zeros((6, 5))
    with pytest.raises(
        ValueError, match=r'parameters\["attention\.W_key"\] must be an array \(6, 6\), float64'
    ):
        model.loss(*DATA)


def test_gradients_that_are_not_finite() -> None:
    model = model_of("dot", dtype=np.float32)
    model.parameters["decoder.W_out"][...] = 3e38
    with pytest.raises(FloatingPointError, match=r"gradient of .* is not finite"), np.errstate(all="ignore"):
        model.fit(*DATA[:2], **options_of_fit(epochs=1))


def test_every_cell_is_tried() -> None:
    assert {cell for _, cell, _ in MODELS} == CELLS.keys() - {"jordan"}


def test_constants_are_those_of_the_kernels(gpu: str) -> None:
    from fastrec.kernels.gpu import attention
    from fastrec.kernels.gpu.module import source

    assert f"TOGETHER = {attention.TOGETHER};" in source("attention")
    assert attention.THREADS == 32 * attention.TOGETHER
