"""Training on the device: losses as on backend cpu, equal bits after a checkpoint, a repeatable text."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastrec
from fastrec.backend import move

from .measure import close, host, run_all, stored
from .report import Report

# How far losses may be from those of backend cpu, as a part of the largest; less than this between the two
# largest outputs may be another order of sums.
LOSSES, NEAR_TIE = 2e-3, 0.1


def fitted(backend: str, epochs: int, checkpoint: Path | None = None) -> tuple[Any, dict[str, Any]]:
    """Return the curves and parameters of a GRU of two layers that learns to classify random sequences."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 7, 5)).astype(np.float32)
    targets, lengths = rng.integers(4, size=(40, 7)), rng.integers(1, 8, size=40)
    rnn = fastrec.RNN(5, 33, 4, "gru", num_layers=2, seed=1, backend=backend)
    history = fastrec.fit(
        rnn,
        move(x, backend),
        move(targets, backend),
        optimizer=fastrec.Adam(1e-2, clip=1.0),
        epochs=epochs,
        batch_size=16,
        lengths=lengths,
        dropout=0.1,
        checkpoint=checkpoint,
        progress=False,
        seed=0,
    )
    return history, {name: host(array) for name, array in rnn.parameters.items()}


def fit_losses(backend: str) -> list[float]:
    return [float(f"{loss:.6g}") for loss in fitted(backend, 6)[0].train]


def resumed(report: Report) -> None:
    """Check that stopping after half of the epochs and resuming from the checkpoint gives the same bits."""
    whole, parameters = fitted("gpu", 6)
    close({"loss": whole.train}, {"loss": np.array(stored("losses of fit"))}, LOSSES, "backend cpu")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.npz"
        fitted("gpu", 3, path)
        again, others = fitted("gpu", 6, path)
    assert np.array_equal(again.train, whole.train), "losses differ after a checkpoint"
    for name, array in parameters.items():
        assert np.array_equal(array, others[name]), f"{name} differs after a checkpoint"
    report.row("fit, stopped and resumed", checked=True, losses=whole.train.tolist())


def text() -> str:
    """Return sentences of few words."""
    rng = np.random.default_rng(0)
    nouns, verbs = ("dog", "cat", "old man", "child"), ("sees", "hears", "likes")
    sentence = "the {} {} the {}.\n".format
    return "".join(sentence(*map(rng.choice, (nouns, verbs, nouns))) for _ in range(100))


def model(backend: str) -> tuple[fastrec.CharModel, Any]:
    """Return a model of the text and its curves."""
    made = fastrec.CharModel(32, "gru", seed=1, backend=backend)
    return made, made.fit(text(), epochs=4, batch_size=16, steps=20, learning_rate=2e-2, progress=False)


def text_and_losses(backend: str) -> dict[str, Any]:
    made, history = model(backend)
    losses = [float(f"{loss:.6g}") for loss in history.train]
    return {"losses": losses, "text": made.sample("the ", 40, temperature=0)}


def written(report: Report) -> None:
    """Check that a trained model generates the same text twice, and that of backend cpu unless a tie is
    near."""
    expected = stored("text")
    made, history = model("gpu")
    close({"loss": history.train}, {"loss": np.array(expected["losses"])}, LOSSES, "backend cpu")
    sample = partial(made.sample, "the ", 40, seed=0)
    assert sample() == sample() == "".join(made.stream("the ", 40, seed=0)), "another text the second time"
    tokens = made.vocabulary.encode("the " + expected["text"])
    outputs = host(made.rnn.forward(tokens[None, :-1]).outputs)[0, 3:]
    second, first = np.sort(outputs, axis=1)[:, -2:].T
    clear = first - second > NEAR_TIE
    assert clear.sum() > 20, f"only {clear.sum()} characters of {len(clear)} are clear"
    assert np.array_equal(outputs.argmax(axis=1)[clear], tokens[4:][clear]), "not the text of backend cpu"
    report.row("a model of text, trained and asked", checked=True, text=sample(temperature=0))


def training(report: Report) -> None:
    run_all(report, [("fit", partial(resumed, report)), ("text", partial(written, report))])
