"""From sequences, or contexts, to sequences: a network reads, another one writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..archives import open_archive, read_text, sizes_of, write_archive
from ..backend import backend_of, move
from ..files import require_suffix
from ..rnn.cells import CellName
from ..rnn.config import Activation, Array
from ..rnn.device import ComputeDevice, compute_device
from ..rnn.fitting import check_optimizer, read_options, read_validation
from ..rnn.history import History
from ..rnn.loop import train
from ..rnn.losses import LossSpec, Reduction, divisor, make_loss_spec
from ..rnn.network import RNN
from ..rnn.optimizers import Adam, Optimizer
from ..rnn.serialization import EXTRA_TEXT, read_parameters, read_stored_seed
from ..rnn.trace import Trace
from ..rnn.validation import Batch, Purpose
from ..streams import MAX_SEED, Seed, read_seed
from ..validation import as_bool
from .context import context_gradients, context_states, draw_context
from .pairs import PairLearner, Pairs, read_pairs, read_sources
from .sizes import Sizes, Sources

TEXT = "fastrec_encoder_decoder"  # the array of a file that holds the sizes


class EncoderDecoder:
    """A network that writes a sequence of symbols, given another sequence or a context vector.

    The decoder starts in the last state of the encoder, a network of the same cell, size and layers
    (Sutskever, Vinyals & Le, NIPS 2014), or in the state c W + b of a context c. It reads the symbol before,
    and predicts the next one. Both ends of a target are marked by one more symbol, target_size: the decoder
    reads it first and writes it last. Targets given and sequences returned do not contain it.

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

    _seed: int | None = None  # also of pickles of version 0.1.0

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
        backend: str | None = None,
    ) -> None:
        arguments = (source_size, target_size, hidden_size, cell, activation, num_layers, sources, dtype)
        self._sizes = sizes = Sizes(*arguments)  # type: ignore[arg-type]
        self._seed = seed = read_seed(seed, most=MAX_SEED - 1)
        self.decoder = RNN._drawn(sizes.decoder, seed, backend)
        self.encoder: RNN | None = None
        self.context: dict[str, Array] = {}
        if sizes.sources == "sequences":
            self.encoder = RNN._drawn(sizes.encoder, seed + 1, backend)
        else:
            self.context = draw_context(sizes, seed + 1)

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

        The dict is new; its arrays are those of `encoder`, `context` and `decoder`.
        """
        before = ("encoder", self.encoder.parameters) if self.encoder else ("context", self.context)
        both = (before, ("decoder", self.decoder.parameters))
        return {f"{name}.{key}": array for name, arrays in both for key, array in arrays.items()}

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return sum(map(prod, self._sizes.shapes.values()))

    @property
    def seed(self) -> int | None:
        """The seed of the first weights; files of version 0.1.0 do not say it, and give None."""
        return self._seed

    @property
    def backend(self) -> str:
        """Name of the backend that the next call runs on."""
        return self.decoder.backend

    def __repr__(self) -> str:
        parts = [f"{key}={value!r}" for key, value in asdict(self._sizes).items() if key != "dtype"]
        parts += [
            f"dtype={self._sizes.dtype}",
            f"backend={self.backend!r}",
            f"n_parameters={self.n_parameters}",
        ]
        return f"EncoderDecoder({', '.join(parts)})"

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
        require_suffix(path, ".npz")
        texts = {TEXT: asdict(self._sizes) | {"dtype": self._sizes.dtype.name}}
        texts |= {} if self._seed is None else {EXTRA_TEXT: {"seed": self._seed}}
        write_archive(path, texts, {key: move(a, "cpu") for key, a in self.parameters.items()})

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str | None = None) -> EncoderDecoder:
        """Read a file that `save` wrote. Nothing in the file is executed.

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
        at = compute_device(self.backend)
        pairs = read_pairs(self._sizes, at, sources, targets, lengths, target_lengths)
        losses, gradients, trace = self._learn(at, pairs, reduction)
        on_host = {key: move(a, "cpu") for key, a in gradients.items()}
        return self.decoder._public_loss(losses), on_host, move(trace.state, "cpu")

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
        state, stop = self.encode(sources, lengths), self.target_size
        start = np.full((state.shape[1], 1), stop, np.int32)
        drawn, _ = self.decoder.generate(
            start, steps, temperature, top_k, top_p, seed, state=state, stop=stop
        )
        ended = drawn == stop
        return drawn, np.where(ended.any(axis=1), ended.argmax(axis=1), drawn.shape[1])

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

        Returns
        -------
        History
            Losses and gradient norms of all epochs.

        Raises
        ------
        ValueError
            For invalid arguments, before any work.
        FloatingPointError
            If the training diverges, as `fastrec.fit` says.
        """
        as_bool("progress", progress)
        options = read_options(epochs, batch_size, seed, patience, callback)
        optimizer = check_optimizer(Adam(clip=1.0) if optimizer is None else optimizer)
        at = compute_device(self.backend)
        data = read_pairs(self._sizes, at, sources, targets, lengths, target_lengths)
        validation_data = None
        if validation is not None:
            names = "sources, targets, and perhaps lengths, target_lengths"
            validation_data = read_validation(validation, names, partial(read_pairs, self._sizes, at))
        learner = PairLearner(
            *(at, self, None, "cross_entropy", optimizer, validation_data, data),
            learn=lambda batch: [(*self._learn(at, batch, "mean")[:2], np.count_nonzero(batch.counted))],
            summed_loss=lambda batch: self._evaluate(at, batch, "sum")[0],
            **options,
        )
        train(learner, None, progress)
        return learner.history()

    def _encode(
        self, at: ComputeDevice, sources: Array, lengths: Array | None, purpose: Purpose
    ) -> tuple[Array, Trace | None]:
        """Return the states (layers, 1, n, s) of checked sources, and the trace of an encoder."""
        if self.encoder is not None:
            trace = self.encoder._forward(self.encoder._batch(at, sources, lengths, None, purpose))
            return trace.state[:, None], trace
        return context_states(self._sizes, at, self.context, sources), None

    def _decoder_batch(
        self, at: ComputeDevice, pairs: Pairs, state: Array, reduction: Reduction, purpose: Purpose
    ) -> tuple[Batch, LossSpec]:
        """Return what the decoder reads when it starts in such states, and its loss."""
        self._require_finite(at, "the state of the encoder", state)
        config, targets = self.decoder._config, pairs.targets
        batch = self.decoder._batch(at, targets.x, targets.lengths, state, purpose)
        total = targets.counted.sum()
        parts = divisor(config, "cross_entropy", reduction, total)
        goal = targets.goal(targets.counted, total)
        return batch, make_loss_spec(config, at, goal, "cross_entropy", parts)

    def _evaluate(self, at: ComputeDevice, pairs: Pairs, reduction: Reduction) -> tuple[Array, Trace]:
        """Return the loss (1,) and the trace of the decoder, as `RNN._evaluate`."""
        state, _ = self._encode(at, pairs.sources, pairs.lengths, Purpose.OUTPUTS)
        return self.decoder._evaluate(*self._decoder_batch(at, pairs, state, reduction, Purpose.OUTPUTS))

    def _learn(
        self, at: ComputeDevice, pairs: Pairs, reduction: Reduction
    ) -> tuple[Array, dict[str, Array], Trace]:
        """Return the loss (1,), the gradients and the trace of the decoder, as `RNN._learn`."""
        state, trace = self._encode(at, pairs.sources, pairs.lengths, Purpose.TRACE)
        batch, spec = self._decoder_batch(at, pairs, state, reduction, Purpose.GRADIENTS)
        losses, decoder, decoded = self.decoder._learn(batch, spec)
        d_state = decoder["state"]
        self._require_finite(at, "the gradient of the state of the encoder", d_state)
        gradients = {f"decoder.{key}": decoder[key] for key in self.decoder.parameters}
        if self.encoder is not None and trace is not None:
            encoder = self.encoder._gradients(trace, d_state=d_state)
            gradients |= {f"encoder.{key}": encoder[key] for key in self.encoder.parameters}
            return losses, gradients, decoded
        context = context_gradients(self._sizes, at, self.context, pairs.sources, d_state)
        return losses, gradients | {f"context.{key}": array for key, array in context.items()}, decoded

    def _require_finite(self, at: ComputeDevice, what: str, array: Array) -> None:
        if not at.all_finite(at.xp.ascontiguousarray(array)):
            raise FloatingPointError(f"{what} is not finite; use a smaller learning_rate or clip")
