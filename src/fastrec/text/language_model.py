"""Models of text: a recurrent network that has read a text, scores others, and writes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..backend import move
from ..compilation import clock
from ..files import require_suffix, require_writable
from ..progress import progress_bar
from ..rnn import checkpoint as checkpoints
from ..rnn import serialization as files
from ..rnn.cells import STACKABLE, CellName
from ..rnn.config import MAX_SIZE, Array, Config, one_of
from ..rnn.dataset import Sequences
from ..rnn.device import Precision, choose
from ..rnn.history import Log, TextHistory
from ..rnn.loop import Run
from ..rnn.network import RNN
from ..rnn.optimizers import Adam
from ..rnn.validation import read_dropout
from ..streams import MAX_SEED
from ..validation import as_int, number
from .vocabulary import Unit, Vocabulary

OFTEN, SELDOM = 20, 250  # updates between evaluations: a pass through the text, within these bounds
STRETCH = 256  # steps of a text that are scored at a time
JUDGED = 4  # symbols learnt from for each that is scored, at least
PIECES = 64  # that the held-out text is cut into at most, to be scored side by side
LONGEST = 2**28  # bytes that a vocabulary in a file may have
FIRST, PIECE = 8, 256  # tokens of the first and the other pieces that `stream` gives out


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
        reader = Reader.of(
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
        settings = checkpoints.shortened(
            asdict(rnn._config)
            | {
                "vocabulary": vocabulary,
                "optimizer": optimizer,
                "epochs": total,
                "minutes": minutes,
                "batch_size, steps": reader.tokens.shape + (reader.rows, reader.steps),
                "decay": decay,
                "dropout": dropout,
                "seed": self._seed,
                "text": checkpoints.checksum(tokens),
                "held out": checkpoints.checksum(held),
            }
        )
        training = Training(self, rnn, reader, held, optimizer, dropout, decay, total, budget)
        if checkpoint is not None:
            training.keep(checkpoint, settings)
        self.vocabulary, self.rnn = vocabulary, rnn
        training.go(progress, callback)
        return training.history()

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
                piece = min(PIECE if done else FIRST, length - done)
                given = (tokens, piece, temperature, top_k, top_p, seed)
                tokens, state = rnn.generate(*given, state=state, first=done)
                yield vocabulary.decode(tokens[0])
                tokens, done = tokens[:, -1:], done + piece

        return pieces()

    def score(self, text: str) -> float:
        """The mean cross entropy of a text, nats a symbol (divide by ln 2 for bits): of each symbol but the
        first, given all before it."""
        vocabulary, _ = self._fitted()
        tokens = vocabulary.encode(text)
        if len(tokens) < 2:
            raise ValueError(f"text has {len(tokens)} symbols; give at least two")
        return self._score(tokens, 1)

    def _score(self, tokens: NDArray[np.int32], pieces: int) -> float:
        """The loss of tokens, cut into pieces side by side; what remains at the end is left out."""
        _, rnn = self._fitted()
        rows = max(1, min(pieces, len(tokens) // STRETCH))
        steps = (len(tokens) - 1) // rows
        x, targets = (tokens[i : i + rows * steps].reshape(rows, steps) for i in (0, 1))
        total, state = 0.0, None
        for begin in range(0, steps, STRETCH):
            part = slice(begin, begin + STRETCH)
            loss, state = rnn.loss(x[:, part], targets[:, part], reduction="sum", state=state)
            total += loss
        return total / (rows * steps)

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


def hold_out(tokens: NDArray[np.int32], share: float) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """What a model is trained on, and a share at the end that it is not."""
    end = len(tokens) - int(share * len(tokens))
    return tokens[:end], tokens[end:]


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


@dataclass(frozen=True)
class Reader:
    """Reads a text (n,) int32 at `rows` places side by side, round and round, `steps` symbols at a time."""

    tokens: NDArray[np.int32]
    rows: int
    steps: int

    @classmethod
    def of(cls, tokens: NDArray[np.int32], rows: int, steps: int) -> Reader:
        """With fewer places or steps where a text is too short for them."""
        steps = min(steps, len(tokens) - 1)
        return cls(tokens, min(rows, (len(tokens) - 1) // steps), steps)

    @property
    def updates(self) -> float:
        """Of a pass through the text."""
        return (len(self.tokens) - 1) / (self.rows * self.steps)

    def part(self, update: int) -> Sequences:
        """What an update learns from."""
        n = len(self.tokens) - 1
        begin = np.arange(self.rows)[:, None] * (n // self.rows) + update * self.steps
        at = (begin + np.arange(self.steps)) % n
        counted = np.ones(at.shape, np.bool_)
        return Sequences(self.tokens[at][None], self.tokens[at + 1][None], counted, None)


class Training:
    """A training of `CharModel.fit`, from where a checkpoint left it."""

    def __init__(
        self,
        model: CharModel,
        rnn: RNN,
        reader: Reader,
        held: NDArray[np.int32],
        optimizer: Adam,
        dropout: float,
        decay: float,
        epochs: float | None,
        budget: float | None,
    ) -> None:
        at = rnn._place()
        log = Log(rnn._config, "cross_entropy", len(held) > 1)
        self.model, self.reader, self.held, self.decay, self.budget = model, reader, held, decay, budget
        self.run = Run(rnn, at, "cross_entropy", optimizer, log, dropout, model._seed)
        self.rate = float(optimizer.learning_rate)
        self.every = int(min(max(ceil(reader.updates), OFTEN), SELDOM))
        self.path: str | os.PathLike[str] | None = None
        # What the updates to come depend on besides parameters, optimiser and curves, for checkpoints.
        c = rnn._config
        last = MAX_SIZE if epochs is None else max(1, round(epochs * reader.updates))
        falls = MAX_SIZE if epochs is None else round((1 - decay) * last)
        self.plan = np.array([0, falls, last])  # updates made, those after which the rate falls, and in all
        self.timed: tuple[int, float] | None = None  # updates and clock after the first, which may compile
        self.state = np.zeros((c.num_layers, reader.rows, c.state), c.dtype)
        self.best = {key: move(array, "cpu").copy() for key, array in rnn.parameters.items()}
        self.least = np.array(np.inf)

    @property
    def beside(self) -> Mapping[str, Array]:
        best = {f"best.{key}": array for key, array in self.best.items()}
        return {"plan": self.plan, "state": self.state, "least": self.least, **best}

    def keep(self, path: str | os.PathLike[str], settings: dict[str, str]) -> None:
        """Go on from a checkpoint if it is there, and write it from now on."""
        self.path, self.settings = path, settings
        run = self.run
        if Path(path).exists():
            checkpoints.read(path, settings, MAX_SIZE, run.rnn, run.optimizer, run.log, self.beside)
        else:
            self.write()

    def write(self) -> None:
        if self.path is not None:
            run = self.run
            checkpoints.write(self.path, self.settings, run.rnn, run.optimizer, run.log, self.beside)

    def go(self, progress: bool, callback: Callable[[CharModel, TextHistory], object] | None) -> None:
        """Train to the end, and give the network the best parameters."""
        log, parameters = self.run.log, self.run.rnn.parameters
        total = self.plan[2] if self.budget is None else self.budget
        done = self.plan[0] if self.budget is None else log.seconds.sum()
        with progress_bar("training", float(total), progress, float(done)) as advance:
            while self.plan[0] < self.plan[2]:
                self.period(advance)
                self.write()  # first: what a callback raises must lose nothing
                if callback is not None:
                    callback(self.model, self.history())
        for key, array in self.best.items():
            parameters[key][...] = move(array, "gpu") if self.run.at.backend == "gpu" else array

    def period(self, advance: Callable[[float, str], None]) -> None:
        """Updates up to the next evaluation, and that."""
        start, log, plan, run = clock(), self.run.log, self.plan, self.run
        spent, lap = float(log.seconds.sum()), start
        losses, norms, first = np.zeros(1), np.zeros(1), int(plan[0])
        while plan[0] < min(plan[2], (first // self.every + 1) * self.every):
            made, falls, last = map(int, plan)
            left = 1.0 if made < falls else (last - made) / (last - falls)
            run.optimizer.learning_rate = max(self.rate * left, np.finfo(float).tiny)
            part, window = self.reader.part(made), (self.reader.steps, self.reader.steps)
            state = run.at.take(self.state)[:, None] if made else None
            with np.errstate(over="ignore", invalid="ignore"):
                for loss, norm, _, reached in run.learn(log.epochs, made - first, part, window, state):
                    losses, norms = losses + loss, norms + norm
                    self.state[...] = move(reached, "cpu")
            plan[0] += 1
            now = clock()
            if self.timed is None:
                self.timed = (made + 1, now)
            elif self.budget is not None and last == MAX_SIZE:
                self.settle(spent + now - start, now)
            speed = self.reader.rows * self.reader.steps * (plan[0] - first) / (now - start)
            told = f"{speed:,.0f} symbols/s, loss {losses[0] / (plan[0] - first):.3f}"
            advance(1 if self.budget is None else now - lap, told)
            lap = now
        made = int(plan[0]) - first
        curves = {"train": losses / made, "gradient_norm": norms / made}
        if len(self.held) > 1:
            # A long text would take longer to judge than to learn from.
            judged = self.held[: max(STRETCH, self.every * self.reader.rows * self.reader.steps // JUDGED)]
            curves["validation"] = np.array([self.model._score(judged, PIECES)])
        log.append(curves, clock() - start)
        lowest = float(curves.get("validation", curves["train"])[0])
        if lowest < self.least:
            self.least[...] = lowest
            for key, array in self.best.items():
                array[...] = move(run.rnn.parameters[key], "cpu")

    def settle(self, spent: float, now: float) -> None:
        """Once the time before the learning rate falls is over, settle how many updates the rest takes."""
        assert self.budget is not None
        assert self.timed is not None
        if spent >= (1 - self.decay) * self.budget:
            made, (before, clock) = int(self.plan[0]), self.timed
            left = (self.budget - spent) * (made - before) / (now - clock)
            self.plan[1:] = made, made + max(1, round(left))

    def history(self) -> TextHistory:
        curves = self.run.log.history()
        made = np.minimum(np.arange(1, curves.epochs + 1) * self.every, self.plan[0])
        read = made * self.reader.rows * self.reader.steps
        return TextHistory(
            read,
            read / (len(self.reader.tokens) - 1),
            curves.train,
            curves.validation,
            curves.gradient_norm,
            curves.seconds.cumsum(),
        )
