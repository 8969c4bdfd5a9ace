"""Models of text: a recurrent network that has read a text, scores others, and writes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..files import require_suffix, require_writable
from ..rnn import serialization as files
from ..rnn.cells import STACKABLE, CellName
from ..rnn.checkpoint import Checkpoint, checksum, shorten
from ..rnn.config import MAX_SIZE, Config, one_of
from ..rnn.device import Precision, choose
from ..rnn.history import TextHistory
from ..rnn.loop import train
from ..rnn.network import RNN
from ..rnn.optimizers import Adam
from ..rnn.validation import read_dropout
from ..streams import MAX_SEED
from ..validation import as_int, number
from .training import TextLearner, TextReader, hold_out, score
from .vocabulary import Unit, Vocabulary

FIRST_PIECE, PIECE = 8, 256  # symbols of the first and of the other pieces that `stream` yields
LONGEST = 2**28  # bytes that a vocabulary in a file may have


class CharModel:
    """A recurrent network that predicts the next character of a text, or its next word.

    hidden_size, cell, num_layers, embedding_size, dtype, seed, backend, precision: as in `RNN`.
    unit, vocabulary_size: what a text is cut into, and how many symbols are kept at most: see `Vocabulary`.

    vocabulary, rnn: the symbols and the network, None before `fit` has seen a text.
    Raises ValueError for arguments that cannot be, as all methods do; nothing is changed then.
    """

    vocabulary: Vocabulary | None
    rnn: RNN | None

    def __init__(
        self,
        hidden_size: int = 512,
        cell: CellName = "gru",
        num_layers: int = 1,
        embedding_size: int | None = None,
        unit: Unit = "character",
        vocabulary_size: int | None = None,
        dtype: DTypeLike = np.float32,
        seed: int = 0,
        backend: str | None = None,
        precision: Precision = "float32",
    ) -> None:
        if cell not in STACKABLE:
            raise ValueError(f"cell is {cell!r}; a model of text has {one_of(STACKABLE)}")
        config = Config(1, hidden_size, 1, cell, "tanh", num_layers, None, dtype, embedding_size)  # type: ignore[arg-type]
        choose(backend, precision, config.dtype)
        if vocabulary_size is not None:
            vocabulary_size = as_int("vocabulary_size", vocabulary_size, 2, MAX_SIZE)
        Vocabulary(("?",), unit)
        self._config, self._unit, self._size = config, unit, vocabulary_size
        self._seed = as_int("seed", seed, 0, MAX_SEED)
        self._backend, self._precision = backend, precision
        self.vocabulary, self.rnn = None, None

    def __repr__(self) -> str:
        if self.rnn is None:
            return (
                f"CharModel(hidden_size={self._config.hidden_size}, cell={self._config.cell!r}, not fitted)"
            )
        return f"CharModel({self.vocabulary!r}, {self.rnn!r})"

    def fit(
        self,
        text: str,
        held_out: float | str = 0.1,
        *,
        epochs: float | None = None,
        minutes: float | None = None,
        batch_size: int = 32,
        steps: int = 100,
        learning_rate: float = 2e-3,
        decay: float = 0.6,
        clip: float = 1.0,
        dropout: float = 0.0,
        weight_decay: float = 0.0,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool = True,
        callback: Callable[[CharModel, TextHistory], object] | None = None,
    ) -> TextHistory:
        """Train on a text by truncated backpropagation through time, with `Adam`.

        held_out: the share of the text, at its end, that is not trained on, or another text; 0 for none.
        epochs: passes through the text, also parts of one; minutes: train for so long instead.  20 epochs if
            neither is given.
        batch_size, steps: so many places of the text are read side by side, and so many symbols of each
            before an update; states are carried on, and reading goes on where it was, through all passes.
        learning_rate: falls linearly to 0 during the last part `decay` of the training.  clip: of the
            gradient norm.  dropout: as in `RNN.loss_and_gradients`.  weight_decay: as in `Adam`.
        checkpoint: a .npz file, replaced after every evaluation.  If it is there, training goes on from it,
            to the same bits as without the interruption (with minutes: once the learning rate falls; how many
            updates that takes follows from the time until then).
        callback: called after every evaluation, a pass through the text or 250 updates, with the model and
            the curves so far.

        A second call goes on with the network and the vocabulary of the first.  In the end the network has
        the parameters of the evaluation with the least held-out loss (or training loss).  Raises
        FloatingPointError if the training diverges, OSError if the checkpoint cannot be written.
        """
        vocabulary = self.vocabulary or Vocabulary.of(text, self._unit, self._size)
        tokens = vocabulary.encode(text)
        if isinstance(held_out, str):
            held = vocabulary.encode(held_out)
        else:
            tokens, held = hold_out(tokens, number("held_out", held_out, 0, 1, closed=True))
        if len(tokens) < 2:
            raise ValueError(f"text leaves {len(tokens)} symbols to train on; give at least two")
        if epochs is not None and minutes is not None:
            raise ValueError("epochs and minutes are both given; give one of them")
        total = None if minutes is not None else number("epochs", 20 if epochs is None else epochs, 0)
        budget = None if minutes is None else 60 * number("minutes", minutes, 0)
        reader = TextReader.fitting(
            tokens, as_int("batch_size", batch_size, 1, MAX_SIZE), as_int("steps", steps, 1, MAX_SIZE)
        )
        rate = number("learning_rate", learning_rate, 0)
        optimizer = Adam(rate, weight_decay=weight_decay, clip=clip)
        if number("decay", decay, 0, closed=True) > 1:
            raise ValueError(f"decay is {decay!r}; it must be at most 1")
        if checkpoint is not None:
            require_suffix(checkpoint, ".npz")
            require_writable(checkpoint)
        if callback is not None and not callable(callback):
            raise ValueError(f"callback is {callback!r}; it must be a function of a model and a TextHistory")
        rnn = self.rnn or self._network(len(vocabulary))
        read_dropout(rnn._config, dropout, 0)
        notify = None if callback is None else partial(callback, self)
        validation = held if len(held) > 1 else None
        shared = (rnn._place(), None, "cross_entropy", optimizer, validation)
        rest = (self._seed, dropout, decay, total, budget, notify)
        learner = TextLearner(*shared, rnn, reader, *rest)  # type: ignore[arg-type]
        file = None
        if checkpoint is not None:
            settings = asdict(rnn._config) | {
                "vocabulary": vocabulary,
                "optimizer": optimizer,
                "epochs": total,
                "minutes": minutes,
                "batch_size, steps": reader.tokens.shape + (reader.rows, reader.steps),
                "decay": decay,
                "dropout": dropout,
                "seed": self._seed,
                "text": checksum(tokens),
                "held out": checksum(held),
            }
            file = Checkpoint(checkpoint, shorten(settings))
            file.resume(learner.state())
        self.vocabulary, self.rnn = vocabulary, rnn
        train(learner, file, progress)
        learner.restore_best()
        return learner.history()

    def _network(self, size: int) -> RNN:
        c = self._config
        return RNN(
            *(size, c.hidden_size, size, c.cell, c.activation, c.num_layers),
            dtype=c.dtype,
            seed=self._seed,
            backend=self._backend,
            precision=self._precision,
            embedding_size=c.embedding_size,
        )

    def _fitted(self) -> tuple[Vocabulary, RNN]:
        if self.vocabulary is None or self.rnn is None:
            raise ValueError("this model has not seen a text yet; call fit, or load one")
        return self.vocabulary, self.rnn

    def sample(
        self,
        prompt: str | None = None,
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        samples: int | None = None,
    ) -> Any:
        """Go on with a prompt for `length` symbols; returns the text without the prompt.

        prompt: None is a line break, if the model knows it.
        temperature, top_k, top_p, seed: as in `RNN.generate`.
        samples: None for one text, a str; else a list of so many.
        """
        vocabulary, rnn = self._fitted()
        length = as_int("length", length, 1, MAX_SIZE)
        rows = 1 if samples is None else as_int("samples", samples, 1, MAX_SIZE)
        start = read_prompt(vocabulary, prompt)
        tokens = np.broadcast_to(start, (rows, len(start)))
        drawn, _ = rnn.generate(tokens, length, temperature, top_k, top_p, seed)
        texts = [vocabulary.decode(row) for row in drawn]
        return texts[0] if samples is None else texts

    def stream(
        self,
        prompt: str | None = None,
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[str]:
        """The text of `sample` in pieces, each given out as soon as it is drawn."""
        vocabulary, rnn = self._fitted()
        start, length = read_prompt(vocabulary, prompt)[None], as_int("length", length, 1, MAX_SIZE)

        def pieces() -> Iterator[str]:
            tokens, state, done = start, None, 0
            while done < length:
                steps = min(PIECE if done else FIRST_PIECE, length - done)
                options = (tokens, steps, temperature, top_k, top_p, seed)
                tokens, state = rnn.generate(*options, state=state, first=done)
                yield vocabulary.decode(tokens[0])
                tokens, done = tokens[:, -1:], done + steps

        return pieces()

    def score(self, text: str) -> float:
        """The mean cross entropy of a text, nats a symbol (divide by ln 2 for bits): of each symbol but the
        first, given all before it."""
        vocabulary, rnn = self._fitted()
        tokens = vocabulary.encode(text)
        if len(tokens) < 2:
            raise ValueError(f"text has {len(tokens)} symbols; give at least two")
        return score(rnn, tokens, 1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a NumPy .npz file with vocabulary and network, replacing path in one step; `RNN.load` reads
        the network alone.

        Raises ValueError unless path ends in .npz, OSError if it cannot be written.
        """
        vocabulary, rnn = self._fitted()
        rnn._check()
        text = json.dumps({"format": files.FORMAT, **asdict(vocabulary), "seed": self._seed})
        files.save(path, rnn._config, rnn._on_host(), text)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], backend: str | None = None, precision: Precision = "float32"
    ) -> CharModel:
        """Read what `save` wrote; nothing in the file is executed.

        Raises ValueError naming the file and what is wrong for one that is foreign, truncated or damaged.
        """
        with files.open_archive(path, "text model") as archive:
            settings = files.read_text(archive, files.BESIDE, "text model", LONGEST)
            vocabulary = Vocabulary(tuple(settings["symbols"]), settings["unit"], settings["unknown"])
            config, parameters = files.read(archive)
            if config.models or not config.input_size == config.output_size == len(vocabulary):
                raise ValueError(f"damaged, its network does not go with {len(vocabulary)} symbols")
            sizes = (config.hidden_size, config.cell, config.num_layers, config.embedding_size)
            rest = (config.dtype, settings["seed"], backend, precision)
            model = cls(*sizes, vocabulary.unit, None, *rest)
        model.vocabulary, model.rnn = vocabulary, RNN._of(config, parameters, backend, precision)
        return model


def read_prompt(vocabulary: Vocabulary, prompt: str | None) -> NDArray[np.int32]:
    """The tokens of a prompt, as `CharModel.sample` takes it; ValueError if it is none."""
    if prompt is None:
        prompt = "\n" if "\n" in vocabulary.symbols else vocabulary.symbols[0]
    try:
        tokens = vocabulary.encode(prompt)
    except ValueError as error:
        raise ValueError(f"prompt: {error}") from None
    if not tokens.size:
        raise ValueError("prompt is empty; give at least one symbol, or leave it out")
    return tokens


def example_text() -> str:
    """A text to try models on: Shakespeare's Romeo and Juliet, 133465 characters of 61 kinds.

    It ships with fastrec, and is in the public domain.
    """
    return (resources.files(__package__) / "data" / "romeo_and_juliet.txt").read_text(encoding="utf-8")
