"""From sequences, or contexts, to sequences: a network reads, another one writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..archives import Archive, open_archive, read_text, settings_of, sizes_of, write_archive
from ..backend import Backend, BackendChoice, backend_of, move
from ..files import require_suffix
from ..rnn import passes
from ..rnn.cells import CellName
from ..rnn.checkpoint import Checkpoint, describe, read_changes, shorten
from ..rnn.config import MAX_SIZE, Activation, Array, Config
from ..rnn.device import ComputeDevice, compute_device
from ..rnn.fitting import (
    begin_checkpoint,
    check_on_update,
    check_optimizer,
    check_schedule,
    describe_options,
    read_options,
    read_validation,
    update_draws,
)
from ..rnn.generation import read_sampling
from ..rnn.history import History
from ..rnn.loop import Keep, TrainingUpdate, train
from ..rnn.losses import LossSpec, Reduction, divisor, make_loss_spec
from ..rnn.network import RNN
from ..rnn.optimizers import Adam, Optimizer
from ..rnn.randomness import NOTHING, Drawn, Dropout, read_dropout
from ..rnn.schedules import Schedule
from ..rnn.serialization import (
    EXTRA_TEXT,
    TRAINING_TEXT,
    read_checkpoint,
    read_parameters,
    read_stored_seed,
)
from ..rnn.trace import Trace
from ..rnn.validation import Batch, Purpose
from ..streams import MAX_SEED, Seed, derive, read_seed
from ..validation import as_bool, as_int
from .attention import Attended, as_decoded, attend, attend_back, draw_attention
from .context import context_gradients, context_states, draw_context
from .decoding import BeamResult, beam_search, draw, read_search
from .pairs import PairLearner, Pairs, read_pairs, read_sources
from .sizes import Attention, Sizes, Sources
from .states import parted, side_by_side

ENCODER = 1  # where `derive` makes keys for it
CHANGEABLE = ("optimizer", "batch_size", "seed", "dropout", "data", "validation", "schedule")
TEXT = "fastrec_encoder_decoder"  # the array of a file that holds the sizes


class EncoderDecoder:
    """A network that writes a sequence of symbols, given another sequence or a context vector.

    The decoder starts in the last state of the encoder, a network of the same cell, size and layers
    (Sutskever, Vinyals & Le, NIPS 2014), or in the state c W + b of a context c. It reads the symbol before,
    and predicts the next one. Both ends of a target are marked by one more symbol, target_size: the decoder
    reads it first and writes it last. Targets given and sequences returned do not contain it.

    With attention the output layer reads, in place of the hidden units h_t of the decoder, tanh([c_t, h_t]
    W_combine) with the context c_t = sum_j a_j s_j of the hidden units s_j of the encoder (Luong, Pham &
    Manning, EMNLP 2015, without input feeding). The weights a are the softmax, over the steps of the source,
    of h_t . s_j ("dot"), h_t . (s_j W_key) ("general"), or v . tanh(h_t W_query + s_j W_key) ("additive":
    Bahdanau, Cho & Bengio, ICLR 2015). The context of a source of no steps is 0.

    Parameters
    ----------
    source_size : int
        Inputs of the encoder, as of `RNN` (symbols, or numbers per step), or numbers in a context.
    target_size : int
        Number of symbols of the targets, which are the integers 0..target_size-1.
    hidden_size : int
        Hidden units of each layer of both networks.
    cell, activation : str
        As in `RNN`; by default "gru" and "tanh".
    num_layers : int, default 1
        Layers of both networks.
    sources : {"sequences", "contexts"}, default "sequences"
        What sources are.
    dtype : dtype, default np.float32
        np.float32 or np.float64.
    seed : int, numpy.random.Generator or None
        As in `RNN`, at most 2^64 - 2. It seeds the weights of the decoder, and seed + 1 those before it.
    backend : str, optional
        As in `RNN`.
    attention : {"dot", "general", "additive"}, optional
        Scores of the steps of a source, if the decoder attends to them; not for contexts and "jordan".
    bidirectional : bool, default False
        Whether the encoder reads sources in both directions, with hidden_size / 2 units for each. The decoder
        starts in both states side by side. Not for contexts and "jordan".
    embedding_size : int, optional
        As in `RNN`, of both networks.

    Attributes
    ----------
    decoder : RNN
        Its own "h0" (and "c0") is not used.
    encoder : RNN or None
        None if sources are contexts.
    context : dict of str to array
        "W" (c, layers s) and "b" (layers s,), with s the width of a state; empty if sources are sequences.

    Raises
    ------
    ValueError
        For invalid arguments. Methods raise it too, and change nothing then.

    Examples
    --------
    >>> model = fastrec.EncoderDecoder(3, 3, 16, seed=1)
    >>> sources = np.array([[0, 1], [1, 2], [2, 0]])
    >>> options = {"optimizer": fastrec.Adam(0.05), "epochs": 60, "seed": 1, "progress": False}
    >>> history = model.fit(sources, sources[:, ::-1], **options)
    >>> symbols, lengths = model.generate(sources, steps=2)
    >>> symbols
    array([[1, 0],
           [2, 1],
           [0, 2]], dtype=int32)
    """

    _seed: int | None = None  # also of pickles of version 0.1.0, and so the next
    _attention: dict[str, Array] = {}  # noqa: RUF012

    def __init__(
        self,
        source_size: int,
        target_size: int,
        hidden_size: int,
        cell: CellName = "gru",
        activation: Activation = "tanh",
        num_layers: int = 1,
        sources: Sources = "sequences",
        dtype: DTypeLike = np.float32,
        seed: Seed = None,
        backend: BackendChoice | None = None,
        *,
        attention: Attention | None = None,
        bidirectional: bool = False,
        embedding_size: int | None = None,
    ) -> None:
        arguments = (source_size, target_size, hidden_size, cell, activation, num_layers, sources, dtype)
        options = (attention, bidirectional, embedding_size)
        self._sizes = sizes = Sizes(*arguments, *options)  # type: ignore[arg-type]
        self._seed = seed = read_seed(seed, most=MAX_SEED - 1)
        self.decoder: RNN = RNN._drawn(sizes.decoder, seed, backend)
        self.encoder: RNN | None = None
        self.context: dict[str, Array] = {}
        if sizes.sources == "sequences":
            self.encoder = RNN._drawn(sizes.encoder, seed + 1, backend)
        else:
            self.context = draw_context(sizes, seed + 1)
        self._attention = draw_attention(sizes, seed)

    @property
    def source_size(self) -> int:
        """Number of inputs of the encoder, or of numbers in a context."""
        return self._sizes.source_size

    @property
    def target_size(self) -> int:
        """Number of symbols of the targets; also the symbol that stands for their ends."""
        return self._sizes.target_size

    @property
    def parameters(self) -> dict[str, Array]:
        """All parameters by name, such as "encoder.W_in", "context.W" and "decoder.W_in", for an optimiser.

        Those of the attention are "attention.W_key" (h, h), of "additive" also "attention.W_query" (h, h) and
        "attention.v" (h,), and "attention.W_combine" (2h, h).

        The dict is new; its arrays are those that the model computes with.
        """
        before = ("encoder", self.encoder.parameters) if self.encoder else ("context", self.context)
        parts = (before, ("decoder", self.decoder.parameters), ("attention", self._attention))
        return {f"{name}.{key}": array for name, arrays in parts for key, array in arrays.items()}

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return sum(map(prod, self._sizes.shapes.values()))

    @property
    def seed(self) -> int | None:
        """The seed of the first weights; files of version 0.1.0 do not say it, and give None."""
        return self._seed

    @property
    def backend(self) -> Backend:
        """Name of the backend that the next call runs on."""
        return self.decoder.backend

    def __repr__(self) -> str:
        s = self._sizes
        return f"EncoderDecoder({s.source_size}, {s.target_size}, {self._line()})"

    def _line(self) -> str:
        """What matters of both networks, as a part of a line."""
        s = self._sizes
        parts = [f'{s.hidden_size}, "{s.cell}"']
        parts += [f"num_layers={s.num_layers}"] * (s.num_layers > 1)
        parts += [f'attention="{s.attention}"'] * (s.attention is not None)
        return ", ".join([*parts, f'backend="{self.backend}"', f"n_parameters={self.n_parameters}"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write sizes, parameters and seed to a NumPy .npz file, replacing it in one step.

        Parameters
        ----------
        path : path
            A name that ends in .npz.

        Raises
        ------
        ValueError
            If the suffix is another one.
        OSError
            If the file cannot be written.
        """
        self._save(path, {})

    def _save(self, path: str | os.PathLike[str], beside: dict[str, Any]) -> None:
        """Write the file of `save`, and settings of an object that holds this one."""
        require_suffix(path, ".npz")
        texts = {TEXT: settings_of(self._sizes) | {"dtype": self._sizes.dtype.name}}
        beside = beside | ({} if self._seed is None else {"seed": self._seed})
        texts |= {EXTRA_TEXT: beside} if beside else {}
        write_archive(path, texts, {key: move(a, "cpu") for key, a in self.parameters.items()})

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: BackendChoice | None = None) -> EncoderDecoder:
        """Read a file that `save` wrote, or a checkpoint of `fit`. Nothing in the file is executed.

        Parameters
        ----------
        path : path
            The file.
        backend : str, optional
            As in `RNN`.

        Returns
        -------
        EncoderDecoder
            An equal model.

        Raises
        ------
        ValueError
            If the file is foreign, truncated or damaged; the message names it.
        OSError
            If it cannot be read.
        """
        with open_archive(path, "encoder-decoder") as archive:
            return cls._read(archive, backend)

    @classmethod
    def _read(cls, archive: Archive, backend: BackendChoice | None) -> EncoderDecoder:
        """Read the model in an archive."""
        if TRAINING_TEXT in archive.members:
            sizes, stored = read_checkpoint(archive, Sizes)
        else:
            sizes = sizes_of(Sizes, read_text(archive, TEXT, "encoder-decoder file"))
            stored = read_parameters(archive, TEXT, sizes.shapes, sizes.dtype)
        seed: Any = read_stored_seed(archive, None)
        arguments = {field.name: getattr(sizes, field.name) for field in fields(sizes)}
        model = cls(**arguments, seed=0, backend=backend)
        model._seed = seed
        for key, array in model.parameters.items():
            array[...] = move(stored[key], backend_of(array))
        return model

    def encode(self, sources: ArrayLike, lengths: ArrayLike | None = None) -> Array:
        """Return the states in which the decoder starts.

        Parameters
        ----------
        sources : array_like
            Tokens (n, t) or numbers (n, t, i) as `RNN.forward` takes them, or contexts (n, c).
        lengths : array_like of shape (n,), optional
            Steps of each sequence; contexts have none.

        Returns
        -------
        ndarray of shape (layers, n, s)
            The states.
        """
        at = compute_device(self.backend)
        checked = read_sources(self._sizes, at, sources, lengths)
        return move(self._encode(at, *checked, Purpose.OUTPUTS)[0][:, 0], "cpu")

    def loss(
        self,
        sources: ArrayLike,
        targets: ArrayLike,
        lengths: ArrayLike | None = None,
        target_lengths: ArrayLike | None = None,
        reduction: Reduction = "mean",
    ) -> tuple[float, Array]:
        """Return the loss of `loss_and_gradients`, without gradients.

        Parameters
        ----------
        sources, targets, lengths, target_lengths, reduction
            As in `loss_and_gradients`.

        Returns
        -------
        loss : float
            In nats.
        state : ndarray of shape (layers, n, s)
            The state of the decoder after it has read the last symbol of each target.

        Raises
        ------
        FloatingPointError
            If the state of the encoder is not finite.
        """
        at = compute_device(self.backend)
        pairs = read_pairs(self._sizes, at, sources, targets, lengths, target_lengths)
        losses, trace = self._evaluate(at, pairs, reduction)
        return self.decoder._public_loss(losses), move(trace.state, "cpu")

    def loss_and_gradients(
        self,
        sources: ArrayLike,
        targets: ArrayLike,
        lengths: ArrayLike | None = None,
        target_lengths: ArrayLike | None = None,
        reduction: Reduction = "mean",
        *,
        dropout: float = 0.0,
        dropout_seed: Seed = None,
    ) -> tuple[float, dict[str, Array], Array]:
        """Return the cross entropy of the targets and its gradients.

        The decoder reads the targets, not what it would have written (teacher forcing: Williams & Zipser,
        Neural Computation 1, 270, 1989).

        Parameters
        ----------
        sources : array_like
            As in `encode`.
        targets : array_like of shape (n, u)
            Integers from 0 to target_size - 1.
        lengths : array_like of shape (n,), optional
            As in `encode`.
        target_lengths : array_like of shape (n,), optional
            Symbols of each target, from 0 to u; the default is all u.
        reduction : {"mean", "sum"}, default "mean"
            Mean over the symbols of all targets and their ends, one for each, or the sum.
        dropout : float
            As in `RNN.loss_and_gradients`, in both networks. With attention it also acts on what the output
            layer reads.
        dropout_seed : int, numpy.random.Generator or None
            As in `RNN.loss_and_gradients`.

        Returns
        -------
        loss : float
            In nats.
        gradients : dict of str to ndarray
            Gradients with the keys of `parameters`.
        state : ndarray of shape (layers, n, s)
            As `loss` returns it.

        Raises
        ------
        FloatingPointError
            If the state of the encoder or its gradient is not finite.
        """
        left_out = read_dropout(self.decoder._config, dropout, read_seed(dropout_seed, "dropout_seed"))
        at = compute_device(self.backend)
        pairs = read_pairs(self._sizes, at, sources, targets, lengths, target_lengths)
        losses, gradients, trace = self._learn(at, pairs, reduction, left_out)
        on_host = {key: move(a, "cpu") for key, a in gradients.items()}
        return self.decoder._public_loss(losses), on_host, move(trace.state, "cpu")

    def attention(
        self,
        sources: ArrayLike,
        targets: ArrayLike,
        lengths: ArrayLike | None = None,
        target_lengths: ArrayLike | None = None,
    ) -> Array:
        """Return which steps of its source each symbol of a target attends to.

        Parameters
        ----------
        sources, targets, lengths, target_lengths
            As in `loss_and_gradients`.

        Returns
        -------
        ndarray of shape (n, u + 1, t)
            Weights a, of the dtype of the model: row j of a pair is that of symbol j of the target, and the
            last one that of its end. They add up to 1; those past a target or a source are 0.

        Raises
        ------
        ValueError
            For invalid arguments, and if the model has no attention.
        FloatingPointError
            If the state of the encoder is not finite.

        Examples
        --------
        >>> model = fastrec.EncoderDecoder(3, 3, 16, attention="general", seed=1)
        >>> model.attention([[0, 1, 2]], [[2, 1]]).shape
        (1, 3, 3)
        """
        if self._sizes.attention is None:
            raise ValueError(
                'the model has no attention; make it with attention="dot", "general" or "additive"'
            )
        at = compute_device(self.backend)
        pairs = read_pairs(self._sizes, at, sources, targets, lengths, target_lengths)
        state, source = self._encode(at, pairs.sources, pairs.lengths, Purpose.OUTPUTS)
        batch, _ = self._decoder_batch(at, pairs, state, "mean", Purpose.OUTPUTS)
        assert source is not None  # contexts have no attention
        return move(self._attend(at, batch, source)[1].weights, "cpu")

    def generate(
        self,
        sources: ArrayLike,
        steps: int,
        lengths: ArrayLike | None = None,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: Seed = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Write a sequence for each source, symbol by symbol: the most probable ones, or random ones.

        Parameters
        ----------
        sources : array_like
            As in `encode`.
        steps : int
            Largest number of symbols of a sequence.
        lengths : array_like of shape (n,), optional
            As in `encode`.
        temperature, top_k, top_p, seed : optional
            As in `RNN.generate`, but the most probable symbols are taken by default.

        Returns
        -------
        symbols : ndarray of shape (n, steps)
            int32, each row followed by target_size.
        lengths : ndarray of shape (n,)
            Symbols of each row, int64, as `unpad` takes them; `steps` for rows that did not end.

        Raises
        ------
        FloatingPointError
            If outputs are not finite.
        """
        stop = self.target_size
        if self._sizes.attention is None:
            state = self.encode(sources, lengths)
            start = np.full((state.shape[1], 1), stop, np.int32)
            drawn, _ = self.decoder.generate(
                start, steps, temperature, top_k, top_p, seed, state=state, stop=stop
            )
        else:
            steps, used = as_int("steps", steps, 1, MAX_SIZE), read_seed(seed)
            sampling = read_sampling(stop + 1, temperature, top_k, top_p)
            drawn = draw(*self._decoded(sources, lengths), steps, sampling, used)
        ended = drawn == stop
        return drawn, np.where(ended.any(axis=1), ended.argmax(axis=1), drawn.shape[1])

    def beam_search(
        self,
        sources: ArrayLike,
        steps: int,
        lengths: ArrayLike | None = None,
        *,
        width: int = 5,
        length_penalty: float = 0.0,
        n_best: int = 1,
    ) -> BeamResult:
        """Search for the most probable sequences for each source, a few of them side by side.

        In each step every sequence that goes on, at first the empty one, is extended by each symbol. Of these
        candidates the most probable ones are taken, equal ones by sequence and then symbol, until `width` of
        them go on; those among them that have ended are found. A sequence of `steps` symbols is found as it
        is. The score of a sequence is its log probability divided by ((5 + L) / 6)^length_penalty, where L
        counts its symbols and the one that ends it (Wu et al. 2016, arXiv:1609.08144). The search is over
        when no sequence that goes on can still have a higher score than the last of the n_best found.

        With width=1 and length_penalty=0 the sequence found is that of `generate` with temperature=0.

        Parameters
        ----------
        sources : array_like
            As in `encode`.
        steps : int
            Largest number of symbols of a sequence.
        lengths : array_like of shape (n,), optional
            As in `encode`.
        width : int, default 5
            Number of sequences that go on, at most.
        length_penalty : float, default 0.0
            0 or more; the larger, the longer are the sequences that win. 0 compares log probabilities.
        n_best : int, default 1
            Number of sequences to return of each source.

        Returns
        -------
        BeamResult
            Symbols (n, n_best, steps), lengths (n, n_best) and scores (n, n_best), best first.

        Raises
        ------
        ValueError
            For invalid arguments, before any work.
        FloatingPointError
            If outputs are not finite.

        Examples
        --------
        >>> model = fastrec.EncoderDecoder(3, 3, 16, seed=1)
        >>> sources = np.array([[0, 1], [1, 2], [2, 0]])
        >>> options = {"optimizer": fastrec.Adam(0.05), "epochs": 60, "seed": 1, "progress": False}
        >>> history = model.fit(sources, sources[:, ::-1], **options)
        >>> symbols, lengths, scores = model.beam_search(sources, steps=2, n_best=2)
        >>> symbols[:, 0]
        array([[1, 0],
               [2, 1],
               [0, 2]], dtype=int32)
        >>> bool((scores[:, 0] > scores[:, 1]).all())
        True
        """
        search = read_search(steps, width, length_penalty, n_best)
        return beam_search(*self._decoded(sources, lengths), search)

    def fit(
        self,
        sources: ArrayLike,
        targets: ArrayLike,
        validation: Sequence[ArrayLike | None] | None = None,
        optimizer: Optimizer | None = None,
        epochs: int = 10,
        batch_size: int = 32,
        lengths: ArrayLike | None = None,
        target_lengths: ArrayLike | None = None,
        seed: Seed = None,
        patience: int | None = None,
        progress: bool = True,
        callback: Callable[[int, History], object] | None = None,
        *,
        dropout: float = 0.0,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
        schedule: Schedule | None = None,
        keep: Keep = "last",
        on_update: Callable[[TrainingUpdate], object] | None = None,
        similar_lengths: bool = False,
        changed: str | Sequence[str] = (),
    ) -> History:
        """Train in place on n pairs of a source and a target, in shuffled batches.

        Parameters
        ----------
        sources, targets : array_like
            As in `loss_and_gradients`.
        validation : tuple, optional
            (sources, targets), perhaps with lengths and target_lengths, to take the loss of.
        optimizer : SGD, RMSprop, Adam or AdamW, optional
            The default is a new `Adam` with clip=1.
        epochs, batch_size : int, optional
            10 passes over the pairs by default, and 32 pairs per update.
        lengths, target_lengths : array_like of shape (n,), optional
            As in `loss_and_gradients`.
        seed, patience, progress, callback : optional
            As in `fastrec.fit`.
        dropout : float, default 0.0
            As in `loss_and_gradients`, with other units in each update.
        checkpoint, checkpoint_every : optional
            As in `fastrec.fit`. `EncoderDecoder.load` reads the model of the last epoch from the file.
        schedule, keep, on_update : optional
            As in `fastrec.fit`.
        similar_lengths : bool, default False
            Sort the pairs of every 50 batches by length before they are divided into batches, which then come
            in random order: less time goes to what is behind the ends of short ones.
        changed : str or sequence of str, default ()
            As in `fastrec.fit`: of "optimizer", "batch_size", "seed", "dropout", "data", "validation" and
            "schedule".

        Returns
        -------
        History
            Losses and gradient norms of all epochs.

        Raises
        ------
        ValueError
            For invalid arguments, before any work, and for a checkpoint that is damaged or belongs to another
            training, which the message names.
        FloatingPointError
            If the training diverges, as `fastrec.fit` says.
        OSError
            If the checkpoint cannot be written.
        """
        as_bool("progress", progress)
        similar_lengths = as_bool("similar_lengths", similar_lengths)
        changes = read_changes(changed, CHANGEABLE, checkpoint)
        seed = begin_checkpoint(checkpoint, seed)
        options = read_options(epochs, batch_size, seed, patience, callback, keep)
        every = as_int("checkpoint_every", checkpoint_every, 1, MAX_SIZE)
        optimizer = check_optimizer(Adam(clip=1.0) if optimizer is None else optimizer)
        check_schedule(schedule, optimizer)
        check_on_update(on_update)
        read_dropout(self.decoder._config, dropout, 0)
        at = compute_device(self.backend)
        data = read_pairs(self._sizes, at, sources, targets, lengths, target_lengths)
        validation_data = None
        if validation is not None:
            names = "sources, targets, and perhaps lengths, target_lengths"
            validation_data = read_validation(validation, names, partial(read_pairs, self._sizes, at))
        constants = self.decoder._config.constants
        draw = update_draws(self.decoder._config, options["seed"], optimizer, dropout)

        def learn(batch: Pairs) -> list[tuple[Array, dict[str, Array], int]]:
            losses, gradients, _ = self._learn(at, batch, "mean", draw().dropout)
            return [(losses, gradients, int(batch.counted.sum()))]

        learner = PairLearner(
            *(at, self, None, "cross_entropy", optimizer, validation_data, data),
            learn=learn,
            summed_loss=lambda batch: self._evaluate(at, batch, "sum")[0],
            schedule=schedule,
            on_update=on_update,
            similar_lengths=similar_lengths,
            keys=tuple(key for key in self.parameters if key.partition(".")[2] not in constants),
            **options,
        )
        file = None
        if checkpoint is not None:
            settings = (
                settings_of(self._sizes)
                | describe_options(optimizer, options, dropout, schedule)
                | {"data": describe(data.arrays)}
                | ({"similar_lengths": True} if similar_lengths else {})
                | {"validation": describe(None if validation_data is None else validation_data.arrays)}
            )
            about = (changes, CHANGEABLE, {"seed": self.seed})
            file = Checkpoint(checkpoint, shorten(settings), every, options["epochs"], *about)
            file.resume(learner.state())
            self._seed = file.beside["seed"]
        train(learner, file, progress)
        return learner.history()

    def _encode(
        self,
        at: ComputeDevice,
        sources: Array,
        lengths: Array | None,
        purpose: Purpose,
        dropout: Dropout | None = None,
    ) -> tuple[Array, Trace | None]:
        """Return the states (layers, 1, n, s) of checked sources, and the trace of an encoder.

        dropout: of the decoder, beside which the encoder leaves out other units.
        """
        if self.encoder is not None:
            drawn = NOTHING
            if dropout is not None:
                drawn = Drawn(dropout._replace(key=derive(int(dropout.key), ENCODER)))
            trace = self.encoder._forward(self.encoder._batch(at, sources, lengths, None, purpose, drawn))
            return side_by_side(self.encoder._config, trace.state)[:, None], trace
        return context_states(self._sizes, at, self.context, sources), None

    def _decoder_batch(
        self,
        at: ComputeDevice,
        pairs: Pairs,
        state: Array,
        reduction: Reduction,
        purpose: Purpose,
        dropout: Dropout | None = None,
    ) -> tuple[Batch, LossSpec]:
        """Return what the decoder reads when it starts in such states, and its loss."""
        self._require_finite(at, "the state of the encoder", state)
        config, targets = self.decoder._config, pairs.targets
        batch = self.decoder._batch(at, targets.x, targets.lengths, state, purpose, Drawn(dropout))
        total = targets.counted.sum()
        parts = divisor(config, "cross_entropy", reduction, total)
        goal = targets.goal(targets.counted, total)
        return batch, make_loss_spec(config, at, goal, "cross_entropy", parts)

    def _attend(self, at: ComputeDevice, batch: Batch, source: Trace) -> tuple[passes.Activations, Attended]:
        """Run the layers of the decoder, and attend from its hidden units to those of the encoder."""
        made = passes.run_layers(self.decoder._config, batch)
        rest = (source._made.hidden, source._batch.lengths, batch.drawn.dropout)
        return made, attend(self._sizes, at, self._attention, made.hidden, batch.lengths, *rest)

    def _decoded(
        self, sources: ArrayLike, lengths: ArrayLike | None
    ) -> tuple[Config, Batch, tuple[Array, ...]]:
        """Return the decoder, a batch in whose states it starts, and what it attends to, for sources."""
        at = compute_device(self.backend)
        state, source = self._encode(at, *read_sources(self._sizes, at, sources, lengths), Purpose.OUTPUTS)
        config, n = self.decoder._config, state.shape[2]
        nothing = at.xp.empty((1, n, 0), np.int32)
        batch = self.decoder._batch(at, nothing, None, state, Purpose.OUTPUTS)
        values, ends = at.empty((1, n, 0, config.hidden_size), config.dtype), batch.lengths
        if self._sizes.attention is not None and source is not None:
            values, ends = source._made.hidden, source._batch.lengths
        return config, batch, as_decoded(self._sizes, at, self._attention, values, ends)

    def _evaluate(self, at: ComputeDevice, pairs: Pairs, reduction: Reduction) -> tuple[Array, Trace]:
        """Return the loss (1,) and the trace of the decoder, as `RNN._evaluate`."""
        state, source = self._encode(at, pairs.sources, pairs.lengths, Purpose.OUTPUTS)
        batch, spec = self._decoder_batch(at, pairs, state, reduction, Purpose.OUTPUTS)
        if self._sizes.attention is None or source is None:
            return self.decoder._evaluate(batch, spec)
        made, attended = self._attend(at, batch, source)
        outputs = passes.read_out(made, attended.read)
        unwanted = at.empty((*outputs.shape[:3], 0), outputs.dtype)
        losses = passes.take_loss(batch, spec, outputs, unwanted)
        return losses, Trace._of(self.decoder, made)

    def _learn(
        self, at: ComputeDevice, pairs: Pairs, reduction: Reduction, dropout: Dropout | None
    ) -> tuple[Array, dict[str, Array], Trace]:
        """Return the loss (1,), the gradients and the trace of the decoder, as `RNN._learn`."""
        state, source = self._encode(at, pairs.sources, pairs.lengths, Purpose.TRACE, dropout)
        batch, spec = self._decoder_batch(at, pairs, state, reduction, Purpose.GRADIENTS, dropout)
        d_hidden, attention = None, dict[str, Array]()
        if self._sizes.attention is None or source is None:
            losses, decoder, decoded = self.decoder._learn(batch, spec)
        else:
            losses, decoder, decoded, d_hidden, attention = self._learn_attending(at, batch, spec, source)
        d_state = decoder["state"]
        self._require_finite(at, "the gradient of the state of the encoder", d_state)
        gradients = {f"decoder.{key}": decoder[key] for key in self.decoder.parameters}
        gradients |= {f"attention.{key}": array for key, array in attention.items()}
        if self.encoder is not None and source is not None:
            encoder = self.encoder._gradients(
                source, d_hidden=d_hidden, d_state=parted(self.encoder._config, d_state)
            )
            gradients |= {f"encoder.{key}": encoder[key] for key in self.encoder.parameters}
            return losses, gradients, decoded
        context = context_gradients(self._sizes, at, self.context, pairs.sources, d_state)
        return losses, gradients | {f"context.{key}": array for key, array in context.items()}, decoded

    def _learn_attending(
        self, at: ComputeDevice, batch: Batch, spec: LossSpec, source: Trace
    ) -> tuple[Array, dict[str, Array], Trace, Array, dict[str, Array]]:
        """`RNN._learn` of the decoder with attention; also the gradients of the hidden units (n, t, h) of the
        encoder and of the parameters of the attention."""
        made, attended = self._attend(at, batch, source)
        decoded, outputs = Trace._of(self.decoder, made), passes.read_out(made, attended.read)
        losses = passes.take_loss(batch, spec, outputs, outputs)
        read_out = {key: at.empty_like(batch.weights[key]) for key in ("W_out", "b_out")}
        d_read, dropout = passes.read_out_back(made, attended.read, outputs, read_out), batch.drawn.dropout
        d_hidden, d_values, attention = attend_back(self._sizes, at, attended, dropout, d_read)
        if dropout is not None:
            at.kernels.dropout(dropout.key, self._sizes.num_layers - 1, dropout.threshold, d_hidden)
        self._require_finite(at, "the gradient of the hidden units of the encoder", d_values)
        d_last = at.xp.zeros_like(batch.start)
        decoder = passes.backward(made, None, d_hidden, d_last, ()) | read_out
        return losses, self.decoder._public_gradients(decoder), decoded, d_values[0], attention

    def _check(self) -> None:
        """Raise ValueError unless the parameters are arrays as at the beginning."""
        for network in (self.encoder, self.decoder):
            if network is not None:
                network._check()

    def _require_finite(self, at: ComputeDevice, what: str, array: Array) -> None:
        if not at.all_finite(at.xp.ascontiguousarray(array)):
            raise FloatingPointError(f"{what} is not finite; use a smaller learning_rate or clip")
