"""Language models: a recurrent network that has read a text, scores others, and writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..archives import open_archive, read_text
from ..backend import BackendChoice
from ..files import require_suffix, require_writable
from ..kernels.interruption import heard, uninterrupted
from ..messages import shown
from ..rnn import serialization as files
from ..rnn.cells import STACKABLE, CellName
from ..rnn.checkpoint import Checkpoint, checksum, read_changes, shorten, stored_seed
from ..rnn.config import MAX_SIZE, Config
from ..rnn.device import Precision, choose_backend
from ..rnn.fitting import Trainable, check_on_update, describe_trained, read_trainable
from ..rnn.history import TextHistory
from ..rnn.initialization import read_embedding
from ..rnn.loop import TrainingUpdate, train
from ..rnn.network import RNN
from ..rnn.optimizers import Adam
from ..rnn.randomness import read_dropout
from ..rnn.stepping import NOT_FINITE
from ..streams import Seed, derive, read_seed
from ..validation import as_bool, as_choice, as_int, as_path, number, one_of
from .reading import Text, text_of
from .training import TextLearner, TextReader, hold_out, score
from .vocabulary import UNITS, Unit, Vocabulary, require_vectors

CHANGEABLE = ("optimizer", "epochs", "minutes", "decay", "dropout")  # settings, as those of `fastrec.fit`
FIRST_PIECE, PIECE = 8, 256  # symbols of the first and of the other pieces that `stream` yields


class CharModel:
    """A recurrent network that predicts the next character of a text, or its next word.

    Parameters
    ----------
    hidden_size : int, default 512
        Hidden units of each layer.
    cell : str, default "gru"
        As in `RNN`, but not "jordan".
    num_layers : int, default 1
        Number of layers.
    embedding_size : int, optional
        As in `RNN`.
    unit : {"character", "word"}, default "character"
        What a text is split into, as in `Vocabulary`.
    vocabulary_size : int, optional
        Largest number of symbols to keep, as in `Vocabulary.of`.
    dtype : dtype, default np.float32
        np.float32 or np.float64.
    seed : int, numpy.random.Generator or None
        As in `RNN`, for the first weights and for dropout.
    backend : str, optional
        As in `RNN`.
    precision : {"float32", "tf32", "bf16"}, default "float32"
        As in `RNN`.
    embedding : mapping of str to array_like of shape (e,), optional
        First vectors of symbols in an embedding, whose size is theirs, as in `Vocabulary.embedding`: those of
        words, perhaps, that were learnt from more text. Symbols that have none get random ones.

    Attributes
    ----------
    vocabulary : Vocabulary or None
        The symbols, None before `fit` has seen a text.
    rnn : RNN or None
        The network, None before `fit` has seen a text.

    Raises
    ------
    ValueError
        For invalid arguments. Methods raise it too, and change nothing then.

    Examples
    --------
    >>> model = fastrec.CharModel(16, seed=1)
    >>> history = model.fit("tick tock " * 60, epochs=30, batch_size=4, steps=10, learning_rate=0.02)
    >>> model.sample("tick to", 8, temperature=0)
    'ck tick '
    """

    vocabulary: Vocabulary | None
    rnn: RNN | None
    _seed_given = True  # also to pickles of version 0.1.0, and so the next
    _embedding: Any = None

    def __init__(
        self,
        hidden_size: int = 512,
        cell: CellName = "gru",
        num_layers: int = 1,
        embedding_size: int | None = None,
        unit: Unit = "character",
        vocabulary_size: int | None = None,
        dtype: DTypeLike = np.float32,
        seed: Seed = None,
        backend: BackendChoice | None = None,
        precision: Precision = "float32",
        *,
        embedding: Any = None,
    ) -> None:
        if cell not in STACKABLE:
            raise ValueError(f"cell is {shown(cell)}; a model of text has {one_of(STACKABLE)}")
        config = Config(1, hidden_size, 1, cell, "tanh", num_layers, None, dtype, embedding_size)  # type: ignore[arg-type]
        choose_backend(backend, precision, config.dtype)
        if vocabulary_size is not None:
            vocabulary_size = as_int("vocabulary_size", vocabulary_size, 2, MAX_SIZE)
        as_choice("unit", unit, UNITS)
        if embedding is not None:
            require_vectors("embedding", embedding)
        self._config, self._unit, self._size = config, unit, vocabulary_size
        self._seed, self._seed_given = read_seed(seed), seed is not None
        self._backend, self._precision = backend, precision
        self.vocabulary, self.rnn, self._embedding = None, None, embedding

    @property
    def seed(self) -> int:
        """The seed of the first weights and of dropout."""
        return self._seed

    def __repr__(self) -> str:
        if self.rnn is None or self.vocabulary is None:
            return f'CharModel({self._config.hidden_size}, "{self._config.cell}", not fitted)'
        return f"CharModel(symbols={len(self.vocabulary)}, {self.rnn!r})"

    def fit(
        self,
        text: Text,
        held_out: float | Text = 0.1,
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
        changed: str | Sequence[str] = (),
        trainable: Trainable | None = None,
        patience: int | None = None,
        on_update: Callable[[TrainingUpdate], object] | None = None,
    ) -> TextHistory:
        """Train on a text by truncated backpropagation through time, with `Adam`.

        Afterwards the network has the parameters of the evaluation with the least held-out loss, or training
        loss if nothing was held out; those that it had before the training if no evaluation was better
        (`TextHistory.best` is -1 then). So it has when the training diverges, or Ctrl-C or the callback ends
        it. A second call continues with the network and the vocabulary of the first.

        Parameters
        ----------
        text : str or pathlib.Path
            The text to learn from, or the path of a file that holds it, in UTF-8. A str is never a path.
        held_out : float, str or pathlib.Path, default 0.1
            Share of the text, at its end, that is held out of training; or another text. 0 holds out nothing.
        epochs : float, optional
            Passes through the text, also fractions; 20 if minutes is not given either.
        minutes : float, optional
            Train for this long instead.
        batch_size : int, default 32
            Places of the text that are read side by side. The states are carried on from update to update,
            and each place reads on where it was, through all passes.
        steps : int, default 100
            Symbols of each place per update.
        learning_rate : float, default 2e-3
            Step size, which falls linearly to 0 at the end.
        decay : float, default 0.6
            Last part of the training in which the learning rate falls, from 0 to 1.
        clip : float, default 1.0
            Largest norm of the gradient.
        dropout : float, default 0.0
            As in `RNN.loss_and_gradients`.
        weight_decay : float, default 0.0
            As in `Adam`.
        checkpoint : path, optional
            A .npz file, replaced after every evaluation. If it exists, training resumes from it, and ends
            with the same bits as an uninterrupted one. With minutes this holds once the learning rate has
            begun to fall: how many updates that takes follows from the time until then. A model that was
            made without a seed takes that of the file.
        progress : bool, default True
            Show a bar with the time left, in a terminal or a notebook.
        callback : callable, optional
            Called after every evaluation and its checkpoint, with the model and the curves so far. There is
            an evaluation after each pass through the text, but at least 20 and at most 250 updates apart. If
            it returns True, training ends.
        changed : str or sequence of str, default ()
            Settings that may differ from those of the training in the checkpoint, which goes on with the new
            ones: "optimizer" (learning_rate, clip and weight_decay), "epochs", "minutes", "decay", "dropout".
            For another text, load the checkpoint as a model, and train that.
        trainable : mapping of str to bool or array_like of bool, optional
            As in `fastrec.fit`; ``{"E": False}`` keeps the embedding as it is.
        patience : int, optional
            Stop after this many evaluations without a better one.
        on_update : callable, optional
            As in `fastrec.fit`, with evaluations for epochs; the learning rate follows `decay` whatever it
            sets.

        Returns
        -------
        TextHistory
            The learning curves.

        Raises
        ------
        ValueError
            For invalid arguments, and for a checkpoint that is damaged or belongs to another training.
        FloatingPointError
            If the training diverges, as `fit` says, or if it only makes the network worse: all evaluations
            are worse than before, and by more than 10 nats unless no training loss is below that of a uniform
            distribution.
        OSError
            If the checkpoint cannot be written.
        """
        changes = read_changes(changed, CHANGEABLE, checkpoint)
        text = text_of("text", text)
        vocabulary = self.vocabulary or Vocabulary.of(text, self._unit, self._size)
        tokens = vocabulary.encode(text)
        if isinstance(held_out, (str, os.PathLike)):
            held = vocabulary.encode(text_of("held_out", held_out))
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
        if total is not None and total * reader.updates_per_pass > MAX_SIZE:
            most = MAX_SIZE / reader.updates_per_pass
            raise ValueError(f"epochs is {shown(epochs)}; it must be at most {most:.3g} for this text")
        rate = number("learning_rate", learning_rate, 0)
        optimizer = Adam(rate, weight_decay=weight_decay, clip=clip)
        if number("decay", decay, 0, closed=True) > 1:
            raise ValueError(f"decay is {shown(decay)}; it must be at most 1")
        as_bool("progress", progress)
        if checkpoint is not None:
            as_path("checkpoint", checkpoint)
            require_suffix(checkpoint, ".npz")
            require_writable(checkpoint)
        if callback is not None and not callable(callback):
            raise ValueError(
                f"callback is {shown(callback)}; it must be a function of a model and a TextHistory"
            )
        check_on_update(on_update)
        stored = None if checkpoint is None or self._seed_given else stored_seed(checkpoint)
        seed = self._seed if stored is None else stored
        rnn = self.rnn or self._network(vocabulary, seed)
        read_dropout(rnn._config, dropout, 0)
        keys, masks = read_trainable(rnn._config, rnn._device(), trainable)
        notify = None if callback is None else partial(callback, self)
        validation = held if len(held) > 1 else None
        learner = TextLearner(
            *(rnn._device(), rnn, None, "cross_entropy", optimizer, validation, reader),
            *(seed, dropout, decay, total, budget, notify),
            bool(changes & {"epochs", "minutes", "decay"}),
            keys=keys,
            masks=masks,
            patience=None if patience is None else as_int("patience", patience, 1, MAX_SIZE),
            on_update=on_update,
        )
        file = None
        if checkpoint is not None:
            sizes = rnn._config.settings | {"embedding_size": rnn._config.embedding_size}
            settings = sizes | {
                "vocabulary": vocabulary,
                "optimizer": optimizer,
                "epochs": total,
                "minutes": minutes,
                "batch_size, steps": reader.tokens.shape + (reader.rows, reader.steps),
                "decay": decay,
                "dropout": dropout,
                "seed": seed,
                "text": checksum(tokens),
                "held out": checksum(held),
            }
            settings |= describe_trained(rnn._config, keys, masks)
            beside = asdict(vocabulary) | {"seed": seed}
            file = Checkpoint(checkpoint, shorten(settings), changed=changes, known=CHANGEABLE, beside=beside)
        with uninterrupted() as block:
            try:
                with heard(block):
                    if file is not None:
                        planned = learner.plan.copy()
                        file.resume(learner.state())
                        if learner.replans:
                            learner.plan[1:] = planned[1:]
                        file.beside["seed"] = seed  # also where a file of version 0.1.0 does not say it
                    # The network last, which other threads look for.
                    self._seed, self.vocabulary, self.rnn = seed, vocabulary, rnn
                    train(learner, file, progress)
            finally:
                learner.restore(learner.log.active)
        learner.require_success()
        return learner.history()

    def _network(self, vocabulary: Vocabulary, seed: int) -> RNN:
        size, e, vectors = len(vocabulary), self._config.embedding_size, None
        if self._embedding is not None:
            vectors = read_embedding(vocabulary.embedding(self._embedding, int(derive(seed, 0))), e)
            e = vectors.shape[1]
        config = replace(self._config, input_size=size, output_size=size, embedding_size=e)
        return RNN._drawn(config, seed, self._backend, self._precision, vectors)

    def _fitted(self) -> tuple[Vocabulary, RNN]:
        rnn = self.rnn  # before the vocabulary, as `fit` sets it last
        if rnn is None or self.vocabulary is None:
            raise ValueError("this model has not seen a text yet; call fit, or load one")
        return self.vocabulary, rnn

    def sample(
        self,
        prompt: str | None = None,
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: Seed = None,
        samples: int | None = None,
    ) -> str | Any:
        """Continue a prompt by drawing symbols one after the other.

        Parameters
        ----------
        prompt : str, optional
            What the text begins with; the default is a line break if the model knows it, else its first
            symbol.
        length : int, default 1000
            Number of symbols to draw.
        temperature, top_k, top_p, seed : optional
            As in `RNN.generate`.
        samples : int, optional
            Number of texts.

        Returns
        -------
        str or list of str
            The text without the prompt, a list if samples is given.

        Raises
        ------
        ValueError
            For invalid arguments, and before `fit`.
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
        seed: Seed = None,
    ) -> Iterator[str]:
        """Yield the text of `sample` in pieces, each as soon as it is drawn.

        Parameters
        ----------
        prompt, length, temperature, top_k, top_p, seed : optional
            As in `sample`.

        Returns
        -------
        iterator of str
            The pieces.

        Raises
        ------
        ValueError
            For invalid arguments, and before `fit`.
        """
        vocabulary, rnn = self._fitted()
        start, length = read_prompt(vocabulary, prompt)[None], as_int("length", length, 1, MAX_SIZE)
        seed = read_seed(seed)  # one for all pieces

        def pieces() -> Iterator[str]:
            tokens, state, done = start, None, 0
            while done < length:
                steps = min(PIECE if done else FIRST_PIECE, length - done)
                options = (tokens, steps, temperature, top_k, top_p, seed)
                tokens, state = rnn.generate(*options, state=state, first=done)
                yield vocabulary.decode(tokens[0])
                tokens, done = tokens[:, -1:], done + steps

        return pieces()

    def score(self, text: Text) -> float:
        """Return the mean cross entropy of a text: of each symbol but the first, given all before it.

        Parameters
        ----------
        text : str or pathlib.Path
            At least two symbols, or the path of a file that holds them.

        Returns
        -------
        float
            Nats per symbol; divide by ln 2 for bits.

        Raises
        ------
        ValueError
            If the text is too short or has unknown symbols, and before `fit`.
        FloatingPointError
            If the outputs of the network are not finite.
        """
        vocabulary, rnn = self._fitted()
        tokens = vocabulary.encode(text_of("text", text))
        if len(tokens) < 2:
            raise ValueError(f"text has {len(tokens)} symbols; give at least two")
        loss = score(rnn, tokens, 1)
        if not np.isfinite(loss):
            raise FloatingPointError(NOT_FINITE)
        return loss

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write vocabulary and network to a NumPy .npz file, replacing it in one step.

        `RNN.load` reads the network alone.

        Parameters
        ----------
        path : path
            A name that ends in .npz.

        Raises
        ------
        ValueError
            If the suffix is another one, and before `fit`.
        OSError
            If the file cannot be written.
        """
        vocabulary, rnn = self._fitted()
        rnn._check()
        text = asdict(vocabulary) | {"seed": self._seed}
        files.save(path, rnn._config, rnn._on_host(), **{files.EXTRA_TEXT: text})

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        backend: BackendChoice | None = None,
        precision: Precision = "float32",
    ) -> CharModel:
        """Read a file that `save` wrote, or a checkpoint. Nothing in the file is executed.

        Of a checkpoint the model has the best parameters so far, as if the training had ended there.

        Parameters
        ----------
        path : path
            The file.
        backend, precision : str, optional
            As in `RNN`; files do not hold them.

        Returns
        -------
        CharModel
            An equal model.

        Raises
        ------
        ValueError
            If the file is foreign, truncated or damaged; the message names it.
        OSError
            If it cannot be read.
        """
        with open_archive(path, "text model") as archive:
            if files.TRAINING_TEXT in archive.members and files.EXTRA_TEXT not in archive.members:
                raise ValueError(
                    "this checkpoint of version 0.1.0 does not hold the symbols; RNN.load reads its network"
                )
            settings = read_text(archive, files.EXTRA_TEXT, "text model", files.LONGEST_BESIDE)
            words = settings.get("words", "plain")  # files of version 0.1.0 do not say it
            vocabulary = Vocabulary(tuple(settings["symbols"]), settings["unit"], settings["unknown"], words)
            config, parameters = files.read(archive)
            one_way = config.models is None and config.direction == "forward"
            if not one_way or not config.input_size == config.output_size == len(vocabulary):
                raise ValueError(f"damaged, its network does not go with {len(vocabulary)} symbols")
            sizes = (config.hidden_size, config.cell, config.num_layers, config.embedding_size)
            rest = (config.dtype, settings["seed"], backend, precision)
            model = cls(*sizes, vocabulary.unit, None, *rest)
        model.vocabulary, model.rnn = vocabulary, RNN._of(config, parameters, model.seed, backend, precision)
        return model


def read_prompt(vocabulary: Vocabulary, prompt: str | None) -> NDArray[np.int32]:
    """Return the tokens of a prompt as `CharModel.sample` takes it; ValueError if it is invalid."""
    if prompt is None:
        prompt = "\n" if "\n" in vocabulary.symbols else vocabulary.symbols[0]
    if isinstance(prompt, str) and (unknown := vocabulary._unknown_in(prompt)):
        nearest = vocabulary._nearest(prompt)
        cure = f'give prompt="{nearest}"' if nearest.strip() else "give another"
        raise ValueError(
            f"prompt holds {unknown}, not among the {len(vocabulary)} symbols of this model; {cure}"
        )
    try:
        tokens = vocabulary.encode(prompt)
    except ValueError as error:
        raise ValueError(f"prompt: {error}") from None
    if not tokens.size:
        raise ValueError("prompt is empty; give at least one symbol, or leave it out")
    return tokens
