"""Models of text: training on streams, checkpoints, files, samples, scores, and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrec
from fastrec import CharModel, Vocabulary
from fastrec.text.language_model import PIECE
from fastrec.text.training import TextReader

TEXT = "in the beginning was the word, and the word was short. " * 30


def fitted(**given: Any) -> CharModel:
    """A small model that has seen TEXT for a moment."""
    options = {"epochs": 2, "batch_size": 4, "steps": 10, "progress": False} | given.pop("fit", {})
    model = CharModel(**({"hidden_size": 12, "seed": 3} | given))
    model.fit(TEXT, **options)
    return model


def parameters(model: CharModel) -> dict[str, Any]:
    assert model.rnn is not None
    return model.rnn.parameters


@pytest.mark.slow
def test_learns_what_repeats(backend: str, quick: None) -> None:
    model = CharModel(32, seed=1, backend=backend)
    curves = model.fit(TEXT, 0.1, epochs=40, batch_size=4, steps=20, learning_rate=0.01, progress=False)
    assert curves.held_out is not None
    assert curves.held_out[0] > 1 > 0.2 > curves.held_out[-1]
    assert model.score(TEXT[-200:]) < 0.3
    assert model.sample("the word was sh", 6, 0) == "ort. i"


def test_example_text() -> None:
    text = fastrec.example_text()
    assert text.startswith("SAMPSON:\nGregory") and text.endswith("Juliet and her Romeo.\n")
    assert len(text) == len(text.encode()) == 133465 and len(set(text)) == 61 and "\r" not in text
    assert str(len(text)) in (fastrec.example_text.__doc__ or "")


@pytest.mark.parametrize("n", [2, 3, 11, 100])
@pytest.mark.parametrize(("rows", "steps"), [(1, 1), (3, 4), (5, 100)])
def test_reader_goes_round_the_whole_text(n: int, rows: int, steps: int) -> None:
    reader = TextReader.fitting(np.arange(n, dtype=np.int32), rows, steps)
    parts = [reader.window(update) for update in range(2 * n)]
    x = np.concatenate([part.x[0] for part in parts], axis=1)
    assert all((part.targets == part.x + 1).all() for part in parts)
    assert x.shape[0] == reader.rows <= rows
    assert ((x[:, 1:] - x[:, :-1] == 1) | (x[:, :-1] == n - 2)).all()  # each place reads on
    assert set(x.ravel()) == set(range(n - 1))
    once = x[
        :, : -(-(n - 1) // reader.rows)
    ]  # a pass, in which no place reads what another one has begun with
    assert set(once.ravel()) == set(range(n - 1))


def test_state_is_carried_from_update_to_update() -> None:
    model = fitted(fit={"epochs": 0.05})
    assert model.rnn is not None
    assert model.vocabulary is not None
    tokens = model.vocabulary.encode(TEXT)[: -int(0.1 * len(TEXT))]
    reader = TextReader.fitting(tokens, 4, 10)
    first = CharModel(12, seed=3)
    first.vocabulary, first.rnn = model.vocabulary, first._network(model.vocabulary, 3)
    optimizer, state, losses = fastrec.Adam(2e-3, clip=1.0), None, []
    total = max(1, round(0.05 * reader.updates_per_pass))
    falls = round(0.4 * total)
    for update in range(total):
        part = reader.window(update)
        optimizer.learning_rate = 2e-3 * (1 if update < falls else (total - update) / (total - falls))
        loss, gradients, state = first.rnn.loss_and_gradients(part.x[0], part.targets[0], state=state)
        optimizer.step(first.rnn.parameters, gradients)
        losses.append(loss)
    for key, array in first.rnn.parameters.items():
        np.testing.assert_array_equal(array, parameters(model)[key], key)


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
@pytest.mark.parametrize("unit", ["character", "word"])
def test_file_returns_an_equal_model(cell: str, unit: str, tmp_path: Path) -> None:
    model = fitted(cell=cell, unit=unit, num_layers=2, embedding_size=5)
    model.save(tmp_path / "m.npz")
    loaded = CharModel.load(tmp_path / "m.npz")
    assert loaded.vocabulary == model.vocabulary
    assert loaded.sample("the", 30, seed=5) == model.sample("the", 30, seed=5)
    assert loaded.score(TEXT) == model.score(TEXT)
    network = fastrec.RNN.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(network.parameters["W_rec"], parameters(model)["W_rec"])
    assert repr(loaded).startswith("CharModel(symbols=")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    model = fitted()
    model.save(path)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 97):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"m\.npz"):
            CharModel.load(path)
    fastrec.RNN(3, 2, 3, seed=0).save(path)
    with pytest.raises(ValueError, match="not a fastrec text model"):
        CharModel.load(path)
    with pytest.raises(ValueError, match="suffix"):
        model.save(tmp_path / "m.txt")
    with pytest.raises(FileNotFoundError):
        CharModel.load(tmp_path / "none.npz")


class Stop(Exception):
    """What interrupts a training."""


@pytest.mark.parametrize("at", [1, 2, 5])
def test_resumes_to_the_same_bits(at: int, tmp_path: Path) -> None:
    options = {"epochs": 6, "batch_size": 4, "steps": 17, "dropout": 0.3, "progress": False}
    path, calls = tmp_path / "c.npz", []

    def interrupt(model: CharModel, curves: Any) -> None:
        calls.append(curves)
        if len(calls) == at:
            raise Stop

    whole = CharModel(10, "lstm", seed=2)
    expected = whole.fit(TEXT, **options)
    assert len(expected.train) > 5
    with pytest.raises(Stop):
        CharModel(10, "lstm", seed=2).fit(TEXT, **options, checkpoint=path, callback=interrupt)
    resumed = CharModel(10, "lstm", seed=2)
    found = resumed.fit(TEXT, **options, checkpoint=path)
    for name in ("symbols", "passes", "train", "held_out", "gradient_norm"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    for key, array in parameters(whole).items():
        np.testing.assert_array_equal(parameters(resumed)[key], array, key)
    again = CharModel(10, "lstm", seed=2)
    again.fit(TEXT, **options, checkpoint=path)  # which is finished
    np.testing.assert_array_equal(parameters(again)["W_rec"], parameters(whole)["W_rec"])
    with pytest.raises(ValueError, match=r"c\.npz.*another training: dropout"):
        CharModel(10, "lstm", seed=2).fit(TEXT, **(options | {"dropout": 0.2}), checkpoint=path)
    with pytest.raises(ValueError, match=r"another training: held out"):
        CharModel(10, "lstm", seed=2).fit(TEXT[::-1], **options, checkpoint=path)


@pytest.mark.parametrize("unit", ["character", "word"])
def test_checkpoints_are_models(unit: str, tmp_path: Path) -> None:
    path, options = tmp_path / "c.npz", {"batch_size": 4, "steps": 17, "progress": False}

    def stop(model: CharModel, curves: Any) -> None:
        if len(curves.train) == 3:
            raise Stop

    model = CharModel(10, unit=unit, seed=2)
    with pytest.raises(Stop):
        model.fit(TEXT, **options, checkpoint=path, callback=stop)
    loaded = CharModel.load(path)
    assert loaded.vocabulary == model.vocabulary and loaded.seed == 2
    for key, array in parameters(model).items():  # those of the best evaluation
        np.testing.assert_array_equal(parameters(loaded)[key], array, key)
        np.testing.assert_array_equal(fastrec.RNN.load(path).parameters[key], array, key)
    assert loaded.sample("the", 20, seed=3) == model.sample("the", 20, seed=3)
    loaded.fit(TEXT + " the word", 0, epochs=0.5, **options)
    fastrec.fit(
        fastrec.RNN(2, 3, 2, seed=0), [[0, 1]], [[1, 0]], checkpoint=tmp_path / "d.npz", progress=False
    )
    with pytest.raises(ValueError, match="not a fastrec text model"):
        CharModel.load(tmp_path / "d.npz")
    with pytest.raises(ValueError, match=r"0\.1\.0 does not hold the symbols; RNN\.load reads"):
        CharModel.load(Path(__file__).parent / "data/0.1.0/fit_text.npz")
    assert fastrec.RNN.load(Path(__file__).parent / "data/0.1.0/fit_text.npz").seed is None


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"epochs": 6}, "epochs"),
        ({"learning_rate": 1e-3, "clip": 0.5}, "optimizer"),
        ({"dropout": 0.1, "epochs": 5, "decay": 0.2}, ["dropout", "epochs", "decay"]),
        ({"epochs": None, "minutes": 0.01}, ["epochs", "minutes"]),
    ],
)
def test_goes_on_with_other_settings(change: dict[str, Any], changed: Any, tmp_path: Path) -> None:
    options = {"epochs": 4, "batch_size": 4, "steps": 17, "progress": False, "checkpoint": tmp_path / "c.npz"}
    first = CharModel(10, seed=2).fit(TEXT, **options)
    options |= change
    with pytest.raises(ValueError, match=r"c\.npz: .* of another training: .*; use the same, changed="):
        CharModel(10, seed=2).fit(TEXT, **options)
    curves = CharModel(10, seed=2).fit(TEXT, **options, changed=changed)
    shared = len(curves.train) if "epochs" not in change else len(first.train) - 1
    np.testing.assert_array_equal(curves.train[:shared], first.train[:shared])
    if change.get("epochs"):
        assert curves.passes[-1] == pytest.approx(change["epochs"], rel=0.1) and len(curves.train) > shared
    with pytest.raises(ValueError, match="changed is 'text'"):
        CharModel(10, seed=2).fit(TEXT, **options, changed="text")


def test_best_parameters_are_kept() -> None:
    held = {}

    def note(model: CharModel, curves: Any) -> None:
        held[len(curves.train) - 1] = parameters(model)["W_out"].copy()

    model = CharModel(24, seed=1)
    options = {
        "epochs": 60,
        "batch_size": 2,
        "steps": 10,
        "learning_rate": 0.03,
        "decay": 0,
        "progress": False,
    }
    random = np.random.default_rng(0)
    text, other = ("".join(random.choice(["ab", "bc", "ca", "cb"], n)) for n in (60, 200))
    curves = model.fit(text, other, **options, callback=note)
    assert 0 <= curves.best < len(curves.train) - 1  # it overfits
    np.testing.assert_array_equal(parameters(model)["W_out"], held[curves.best])


def test_the_network_before_is_a_candidate() -> None:
    """Of another language than the text: the held-out loss only grows, while the text is learnt."""
    model, first = CharModel(24, seed=1), []
    model.fit("abc", 0, epochs=1, learning_rate=1e-9, progress=False)
    first.append(parameters(model)["W_out"].copy())
    options = {"epochs": 20, "batch_size": 2, "steps": 10, "learning_rate": 0.03, "progress": False}
    curves = model.fit("abcabcacb" * 12, "acbbca" * 9, **options)
    assert curves.best == -1 and curves.untrained < curves.held_out.min() and curves.train[-1] < 0.5
    np.testing.assert_array_equal(parameters(model)["W_out"], first[0])
    assert "best=-1" in repr(curves)
    assert list(curves.to_frame()) == ["symbols", "passes", "train", "held_out", "gradient_norm", "seconds"]


@pytest.mark.parametrize("held_out", [0, 0.1])
def test_a_training_that_only_does_harm_is_no_success(held_out: float) -> None:
    model = CharModel(16, seed=0)
    # So high a rate that no evaluation can be better by chance, as some are with 10.
    options = {"epochs": 2, "batch_size": 4, "steps": 10, "learning_rate": 1000, "progress": False}
    with pytest.raises(
        FloatingPointError, match=r"diverged: .* nats per symbol.*; the parameters are those bef"
    ):
        model.fit("abcdefgh " * 200, held_out, **options)
    assert model.score("abcdefgh " * 200) < 2.3  # ln 9 is 2.197


def test_what_ends_a_training_leaves_the_best() -> None:
    best, random = CharModel(24, seed=1), np.random.default_rng(0)
    options = {"epochs": 60, "batch_size": 2, "steps": 10, "learning_rate": 0.03, "progress": False}
    text, other = ("".join(random.choice(["ab", "bc", "ca", "cb"], n)) for n in (60, 200))
    kept: dict[str, Any] = {}

    def stop(model: CharModel, curves: Any) -> None:
        if curves.best == len(curves.train) - 1:
            kept.update({key: array.copy() for key, array in parameters(model).items()})
        elif len(curves.train) > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        best.fit(text, other, **options, callback=stop)
    assert kept and all(np.array_equal(kept[key], array) for key, array in parameters(best).items())


def test_patience_and_functions_end_a_training() -> None:
    random = np.random.default_rng(0)
    text, other = ("".join(random.choice(["ab", "bc", "ca", "cb"], n)) for n in (60, 200))
    options = {"epochs": 60, "batch_size": 2, "steps": 10, "learning_rate": 0.03, "progress": False}
    curves = CharModel(24, seed=1).fit(text, other, **options, patience=2)
    assert len(curves.train) == curves.held_out.argmin() + 3 < 10
    updates: list[Any] = []

    def stop(update: Any) -> bool:
        updates.append((update.number, update.epoch, float(update.learning_rate)))
        return update.number == 25

    curves = CharModel(24, seed=1).fit(text, other, **options, on_update=stop)
    assert len(curves.train) == 2 and updates == [(i, i // 20, 0.03) for i in range(40)]  # to the evaluation
    curves = CharModel(24, seed=1).fit(text, other, **options, callback=lambda model, curves: True)
    assert len(curves.train) == 1


def test_minutes_end_in_time_and_let_the_rate_fall() -> None:
    model, rates = CharModel(8, seed=0), []

    def note(model: CharModel, curves: Any) -> None:
        rates.append(curves.seconds[-1])

    curves = model.fit(TEXT, minutes=0.03, batch_size=4, steps=10, progress=False, callback=note)
    assert 0.5 < curves.seconds[-1] < 20  # 1.8 s, but for compilation and a busy machine
    assert curves.symbols[-1] > 100


def test_stream_and_samples_are_the_same_text(backend: str, quick: None) -> None:
    model = fitted(backend=backend)
    length = 2 * PIECE + 5
    given = ("the word", length, 0.9, 5, 0.9)
    text = model.sample(*given, seed=4)
    assert len(text) == length
    assert "".join(model.stream(*given, seed=4)) == text
    several = model.sample(*given, seed=4, samples=3)
    assert several[0] == text
    assert len(set(several)) == 3
    assert (
        model.sample(length=5, seed=0) == model.sample(" ", 5, seed=0) if model.vocabulary is None else True
    )


def test_score_is_the_mean_cross_entropy() -> None:
    model = fitted()
    assert model.rnn is not None
    assert model.vocabulary is not None
    tokens = model.vocabulary.encode(TEXT[:700])
    loss, _ = model.rnn.loss(tokens[None, :-1], tokens[None, 1:])
    assert model.score(TEXT[:700]) == pytest.approx(loss, rel=1e-5)


def test_score_of_a_network_that_overflows() -> None:
    model = fitted()
    parameters(model)["W_out"][...] = np.float32(3e38)
    with (
        pytest.raises(FloatingPointError, match="the outputs of the network are not finite"),
        np.errstate(all="ignore"),
    ):
        model.score(TEXT[:700])


def test_the_name_of_a_file_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "shakespeare.txt"
    path.write_text(TEXT)
    for arguments in ((str(path),), (TEXT, str(path))):
        with pytest.raises(
            ValueError,
            match=r"is '.*shakespeare\.txt', the name of a file; for what it holds, give pathlib.Path",
        ):
            CharModel(8, seed=0).fit(*arguments)
    CharModel(8, seed=0).fit(path.read_text(), epochs=0.1, progress=False)
    CharModel(8, seed=0).fit("no\0file " * 20, 0, epochs=0.1, progress=False)


def test_unknown_words_have_a_symbol() -> None:
    model = fitted(unit="word", vocabulary_size=6)
    assert model.vocabulary is not None
    assert len(model.vocabulary) == 6
    assert model.score("a word nobody knows") > 0


def test_second_fit_goes_on() -> None:
    model = fitted()
    before = parameters(model)["W_rec"].copy()
    symbols = model.vocabulary
    model.fit("the word and the beginning " * 20, 0, epochs=1, progress=False)
    assert model.vocabulary is symbols
    assert (parameters(model)["W_rec"] != before).any()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda m: CharModel(cell="jordan", seed=0), "cell is 'jordan'; a model of text has \"elman\""),
        (lambda m: CharModel(0, seed=0), "hidden_size is 0"),
        (lambda m: CharModel(unit="line", seed=0), "unit is 'line'"),
        (lambda m: CharModel(vocabulary_size=1, seed=0), "vocabulary_size is 1"),
        (lambda m: CharModel(seed=-1), "seed is -1"),
        (lambda m: CharModel(seed=0).sample(), "has not seen a text yet; call fit"),
        (lambda m: CharModel(seed=0).fit(""), "text is empty"),
        (lambda m: CharModel(seed=0).fit("a"), "text leaves 1 symbols to train on"),
        (lambda m: CharModel(seed=0).fit(TEXT, 1.0), "held_out is 1.0"),
        (lambda m: CharModel(seed=0).fit(TEXT, epochs=1, minutes=1), "epochs and minutes are both given"),
        (lambda m: CharModel(seed=0).fit(TEXT, epochs=0), "epochs is 0"),
        (lambda m: CharModel(seed=0).fit(TEXT, dropout=1), "dropout is 1"),
        (lambda m: CharModel(seed=0).fit(TEXT, decay=1.5), "decay is 1.5"),
        (lambda m: CharModel(seed=0).fit(TEXT, learning_rate=[1, 2]), "learning_rate is"),
        (lambda m: CharModel(seed=0).fit(TEXT, checkpoint="a.txt"), "suffix"),
        (lambda m: CharModel(seed=0).fit(TEXT, callback=3), "callback is 3"),
        (lambda m: CharModel(seed=0).fit(TEXT, on_update=3), "on_update is 3"),
        (lambda m: CharModel(seed=0).fit(TEXT, patience=0), "patience is 0"),
        (lambda m: m.fit("Ünknown"), "text holds 'k', 'Ü'"),
        (lambda m: m.sample("Z", seed=0), "prompt holds 'Z'"),
        (lambda m: m.sample("", seed=0), "prompt is empty"),
        (lambda m: m.sample(length=0, seed=0), "length is 0"),
        (lambda m: m.stream(length=0, seed=0), "length is 0"),
        (lambda m: m.stream("Z", seed=0), "prompt holds"),
        (lambda m: m.sample(samples=0, seed=0), "samples is 0"),
        (lambda m: m.sample(temperature=-1, seed=0), "temperature is -1"),
        (lambda m: m.sample(top_k=0, seed=0), "top_k is 0"),
        (lambda m: m.sample(top_p=0, seed=0), "top_p is 0"),
        (lambda m: m.score("t"), "text has 1 symbols"),
    ],
)
def test_errors_name_the_argument(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call(fitted())


def test_history_has_a_table_and_a_picture(tmp_path: Path) -> None:
    model = CharModel(8, seed=0)
    curves = model.fit(TEXT, epochs=5, batch_size=4, steps=10, progress=False)
    curves.save(tmp_path / "c.csv")
    lines = (tmp_path / "c.csv").read_text().splitlines()
    assert lines[0] == "# fastrec text 1"
    assert lines[1] == "symbols,passes,train,held_out,gradient_norm,seconds"
    assert len(lines) == len(curves.train) + 3
    ax = curves.plot(tmp_path / "c.png", baselines={"3-gram": 1.2})
    assert ax.get_xlabel() == "passes through the text"
    assert (tmp_path / "c.png").stat().st_size > 10_000


PLANS = ([0, 0, 2**62], [0, 2**62, 2**62], [-1, 5, 10], [10**6, 5, 10], [3, 5, 10], [-(2**62), 0, 1])


@pytest.mark.parametrize("budget", [{"epochs": 6}, {"minutes": 1}])
def test_plans_that_would_never_end_are_refused(budget: dict[str, float], tmp_path: Path) -> None:
    path, options = tmp_path / "c.npz", {"batch_size": 4, "steps": 17, "progress": False} | budget

    def interrupt(model: CharModel, curves: Any) -> None:
        raise Stop

    with pytest.raises(Stop):
        CharModel(5, seed=2).fit(TEXT, **options, checkpoint=path, callback=interrupt)
    arrays = dict(np.load(path))
    changes = [{"plan": np.array(plan)} for plan in (*PLANS, [arrays["plan"][0], 1, 2**31 - 3])]
    changes += [{"history.seconds": arrays["history.seconds"] * factor} for factor in (-1, np.inf, np.nan)]
    for change in changes:
        np.savez(path, **(arrays | change))
        model = CharModel(5, seed=2)
        with pytest.raises(ValueError, match=r"c\.npz: damaged, what is left to do does not go with"):
            model.fit(TEXT, **options, checkpoint=path, callback=interrupt)
        assert model.rnn is None
    np.savez(path, **arrays)
    with pytest.raises(Stop):
        CharModel(5, seed=2).fit(TEXT, **options, checkpoint=path, callback=interrupt)


def test_vocabulary_is_kept() -> None:
    model = fitted()
    assert model.vocabulary == Vocabulary.of(TEXT)


def test_device_trains_as_the_host(gpu: str, tmp_path: Path) -> None:
    options = {"epochs": 1, "batch_size": 3, "steps": 7, "dropout": 0.2, "progress": False}
    host, device = (CharModel(9, num_layers=2, seed=2, backend=name) for name in ("cpu", gpu))
    expected = host.fit(TEXT[:200], **options)
    found = device.fit(TEXT[:200], **options, checkpoint=tmp_path / "c.npz")
    np.testing.assert_allclose(found.train, expected.train, rtol=1e-4)
    np.testing.assert_allclose(found.held_out, expected.held_out, rtol=1e-4)
    device.save(tmp_path / "m.npz")
    loaded = CharModel.load(tmp_path / "m.npz", "cpu")
    assert loaded.score(TEXT[:100]) == pytest.approx(host.score(TEXT[:100]), rel=1e-4)
    assert len(device.sample("the", 3, seed=0)) == 3


def test_callbacks_that_raise_lose_nothing(tmp_path: Path) -> None:
    path, seen = tmp_path / "c.npz", []

    def fail(model: CharModel, curves: Any) -> None:
        seen.append(len(curves.train))
        raise Stop

    for _ in range(2):
        with pytest.raises(Stop):
            CharModel(5, seed=0).fit(
                TEXT, epochs=3, batch_size=4, steps=10, progress=False, checkpoint=path, callback=fail
            )
    assert seen == [1, 2]


def test_models_of_other_kinds_are_no_text_models(tmp_path: Path) -> None:
    from fastrec.rnn import serialization as files

    model, path = fitted(), tmp_path / "m.npz"
    assert model.vocabulary is not None
    assert model.rnn is not None
    size = len(model.vocabulary)
    for network in (
        fastrec.RNN(size, 3, size, models=2, seed=0),
        fastrec.RNN(size, 3, size, "jordan", seed=0),
        fastrec.RNN(2, 3, 2, seed=0),
    ):
        model.rnn = network
        model.save(path)
        with pytest.raises(ValueError, match=r"m\.npz: "):
            CharModel.load(path)
    files.save(path, network._config, network._on_host(), **{files.EXTRA_TEXT: {"symbols": ["a", "b"]}})
    with pytest.raises(ValueError, match=r"m\.npz: not a fastrec text model"):
        CharModel.load(path)


def test_curves_go_to_csv_files(tmp_path: Path) -> None:
    curves = CharModel(5, seed=0).fit(TEXT, epochs=1, progress=False)
    with pytest.raises(ValueError, match="suffix"):
        curves.save(tmp_path / "c.txt")
    with pytest.raises(OSError, match="none"):
        curves.save(tmp_path / "none" / "c.csv")


def test_texts_are_read_from_paths(tmp_path):
    file = tmp_path / "poem.txt"
    file.write_bytes(b"\xef\xbb\xbf" + b"tick tock\r\n" * 40)
    models = [CharModel(4, seed=1, backend="reference") for _ in range(2)]
    for model, text in zip(models, (file, "tick tock\n" * 40), strict=True):
        model.fit(text, epochs=0.5, batch_size=2, steps=10, progress=False)
    assert models[0].vocabulary == models[1].vocabulary == Vocabulary.of(file)
    assert models[0].score(file) == models[1].score("tick tock\n" * 40)
    models[0].fit(file, file, epochs=0.1, batch_size=2, steps=10, progress=False)
    for name, content in (("empty", b""), ("bytes", b"ab\xff")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.*(is empty|byte 2 cannot be read)"):
            models[0].fit(tmp_path / name)
    with pytest.raises(OSError, match="none"):
        models[0].fit(tmp_path / "none")
    with pytest.raises(ValueError, match="the name of a file"):
        models[0].fit(str(file))
    with pytest.raises(ValueError, match="text is 3; give a str, or"):
        models[0].fit(3)


@pytest.mark.parametrize(
    ("prompt", "cure"),
    [("Zoë", 'give prompt="Zoe"'), ("ZOE!", 'give prompt="ZoE"'), ("日本", "give another")],
)
def test_a_prompt_of_unknown_symbols_says_what_to_do(prompt, cure):
    model = CharModel(4, seed=1, backend="reference")
    model.fit("ZoEe " * 40, epochs=0.1, batch_size=2, steps=10, progress=False)
    with pytest.raises(ValueError, match=f"not among the 5 symbols of this model; {cure}"):
        model.sample(prompt, 3)
    words = Vocabulary.of("the end", "word")
    assert words._nearest("The end of thé") == "the end  the"
