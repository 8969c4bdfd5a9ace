"""From sequences, or contexts, to sequences: a network reads, another one writes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..backend import backend_of, move
from ..compilation import clock
from ..files import new_file, require_suffix
from ..progress import progress_bar
from ..rnn.cells import CELLS, CellName
from ..rnn.config import MAX_SIZE, Activation, Array, Config, one_of
from ..rnn.device import Place, place
from ..rnn.history import History, Log
from ..rnn.network import RNN
from ..rnn.optimizers import Adam, Optimizer
from ..rnn.serialization import FORMAT, open_archive, read_parameters, read_text, sizes_of
from ..rnn.validation import (
    Reduction,
    as_array,
    as_inputs,
    as_numbers,
    read_floats,
    read_integers,
    read_lengths,
    settled,
    steps_before,
)
from ..streams import MAX_SEED
from ..validation import as_int, require_memory

Sources = Literal["sequences", "contexts"]

SOURCES = ("sequences", "contexts")
TEXT = "fastrec_encoder_decoder"  # the array of a file that holds the sizes


@dataclass(frozen=True)
class Sizes:
    """The checked arguments of `EncoderDecoder` that stay fixed."""

    source_size: int
    target_size: int
    hidden_size: int
    cell: CellName
    activation: Activation
    num_layers: int
    sources: Sources
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        for name, high in (("source_size", MAX_SIZE), ("target_size", MAX_SIZE - 1)):
            object.__setattr__(self, name, as_int(name, getattr(self, name), 1, high))
        if not (isinstance(self.sources, str) and self.sources in SOURCES):
            raise ValueError(f"sources is {self.sources!r}; it must be {one_of(SOURCES)}")
        for name in ("hidden_size", "cell", "activation", "num_layers", "dtype"):
            object.__setattr__(self, name, getattr(self.decoder, name))

    def config(self, input_size: int, output_size: int | None) -> Config:
        return Config(
            input_size=input_size,
            hidden_size=self.hidden_size,
            output_size=output_size,
            cell=self.cell,
            activation=self.activation,
            num_layers=self.num_layers,
            models=None,
            dtype=self.dtype,
        )

    @property
    def decoder(self) -> Config:
        return self.config(self.target_size + 1, self.target_size + 1)

    @property
    def encoder(self) -> Config:
        """That of an encoder without output layer, unless its state is the output."""
        feeds_back = CELLS[self.cell].feeds_back_output
        return self.config(self.source_size, self.target_size + 1 if feeds_back else None)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter."""
        width = self.num_layers * self.decoder.state
        first = {"W": (self.source_size, width), "b": (width,)}
        if self.sources == "sequences":
            first = dict(self.encoder.shapes)
        name = "encoder" if self.sources == "sequences" else "context"
        return {f"{name}.{key}": shape for key, shape in first.items()} | {
            f"decoder.{key}": shape for key, shape in self.decoder.shapes.items()
        }


class Pairs(NamedTuple):
    """n checked pairs of a source and a target."""

    sources: Array  # (n, t) int32, (n, t, i) or, contexts, (n, c)
    lengths: Array | None  # (n,) int64, of the sources; None if all are t
    written: Array  # (n, u + 1) int32: the start symbol, then the target
    wanted: Array  # (n, u + 1) int32: the target, then the stop symbol
    ends: Array  # (n,) int64: steps of the two

    def rows(self, rows: Array, backend: str) -> Pairs:
        """Some of them, of which the longest decide t and u, sent to where a backend computes."""
        sources, lengths, ends = self.sources[rows], self.lengths, self.ends[rows]
        if lengths is not None:
            lengths = lengths[rows]
            sources = sources[:, : max(1, int(lengths.max()))]
        written, wanted = (move(array[rows, : ends.max()], backend) for array in (self.written, self.wanted))
        return Pairs(move(sources, backend), lengths, written, wanted, ends)


class EncoderDecoder:
    """A network that writes a sequence of symbols, given another sequence or a context vector.

    The decoder begins in the last state of the encoder, a network of the same cell, size and layers
    (Sutskever, Vinyals & Le, NIPS 2014), or in the state c W + b of a context c; it reads the symbol that
    came before, and predicts the next one.  Both ends of a target are one more symbol, target_size: the
    decoder reads it first and writes it last, and neither what is given nor what is returned holds it.

    source_size: inputs of the encoder, as of `RNN` (symbols, or numbers a step), or numbers of a context.
    target_size: number of symbols of the targets, which are integers 0..target_size-1.
    hidden_size, cell, activation, num_layers, dtype, backend: as of `RNN`, for both networks.
    sources: "sequences" or "contexts".
    seed: 0..2^64-2; the weights of the decoder have this one, those before it the next.

    decoder: an `RNN`, whose own "h0" (and "c0") is not used.  encoder: an `RNN`, or None.
    context: the arrays "W" (c, layers s) and "b" (layers s,) with s the width of a state, or {}.

    Raises ValueError for arguments that cannot be.  So do all methods; nothing is changed then.
    """

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
        seed: int = 0,
        backend: str | None = None,
    ) -> None:
        given = (source_size, target_size, hidden_size, cell, activation, num_layers, sources, dtype)
        self._sizes = sizes = Sizes(*given)  # type: ignore[arg-type]
        seed = as_int("seed", seed, 0, MAX_SEED - 1)
        self.decoder = network(sizes.decoder, seed, backend)
        self.encoder: RNN | None = None
        self.context: dict[str, Array] = {}
        if sizes.sources == "sequences":
            self.encoder = network(sizes.encoder, seed + 1, backend)
        else:
            shapes = {key: sizes.shapes[f"context.{key}"] for key in ("W", "b")}
            require_memory("the weights of the context", prod(shapes["W"]) * (8 + sizes.dtype.itemsize))
            limit = (6 / (source_size + hidden_size)) ** 0.5  # as the other weights (Glorot & Bengio)
            draw = np.random.Generator(np.random.Philox(key=seed + 1))
            self.context["W"] = draw.uniform(-limit, limit, shapes["W"]).astype(sizes.dtype)
            self.context["b"] = np.zeros(shapes["b"], sizes.dtype)

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
        """All parameters, as "encoder.W_in" (or "context.W") and "decoder.W_in", for one `Optimizer`.

        The dict is made anew, its arrays are those of `encoder`, `context` and `decoder`.
        """
        before = ("encoder", self.encoder.parameters) if self.encoder else ("context", self.context)
        both = (before, ("decoder", self.decoder.parameters))
        return {f"{name}.{key}": array for name, arrays in both for key, array in arrays.items()}

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return sum(map(prod, self._sizes.shapes.values()))

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
        """Write a NumPy .npz file with sizes and parameters, replacing path in one step.

        Raises ValueError unless path ends in .npz, OSError if it cannot be written.
        """
        require_suffix(path, ".npz")
        text = json.dumps({"format": FORMAT, **asdict(self._sizes), "dtype": self._sizes.dtype.name})
        arrays = {key: move(array, "cpu") for key, array in self.parameters.items()}
        with new_file(path) as temporary, temporary.open("xb") as file:
            np.savez(file, **{TEXT: np.array(text)}, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str | None = None) -> EncoderDecoder:
        """Read what `save` wrote.  Nothing in the file is executed.

        Raises ValueError naming the file and what is wrong for one that is foreign, truncated or damaged.
        """
        with open_archive(path, "encoder-decoder") as archive:
            sizes = sizes_of(Sizes, read_text(archive, TEXT, "encoder-decoder file"))
            found = read_parameters(archive, TEXT, sizes.shapes, sizes.dtype)
        model = cls(**{field.name: getattr(sizes, field.name) for field in fields(sizes)}, backend=backend)
        for key, array in model.parameters.items():
            array[...] = move(found[key], backend_of(array))
        return model

    def encode(self, sources: ArrayLike, lengths: ArrayLike | None = None) -> Array:
        """The states (layers, n, s) in which the decoder begins.

        sources: tokens (n, t) or numbers (n, t, i) with lengths (n,), as `RNN.forward` takes them, or
            contexts (n, c), which have no lengths.
        """
        return self._encode(*self._read_sources(sources, lengths))

    def loss(
        self,
        sources: ArrayLike,
        targets: ArrayLike,
        lengths: ArrayLike | None = None,
        target_lengths: ArrayLike | None = None,
        reduction: Reduction = "mean",
    ) -> float:
        """The loss of `loss_and_gradients`, without gradients."""
        return self._loss(self._read(sources, targets, lengths, target_lengths), reduction)

    def loss_and_gradients(
        self,
        sources: ArrayLike,
        targets: ArrayLike,
        lengths: ArrayLike | None = None,
        target_lengths: ArrayLike | None = None,
        reduction: Reduction = "mean",
    ) -> tuple[float, dict[str, Array]]:
        """The cross entropy of the targets, and its gradients, with the keys of `parameters`.

        sources, lengths: as in `encode`.
        targets: integers (n, u); target_lengths: (n,), from 0 to u, None are all u.
        reduction: "mean" over the symbols of all targets and the ends, one for each, or their "sum", in nats.

        The decoder reads the targets, not what it would have written (teacher forcing: Williams & Zipser,
        Neural Computation 1, 270, 1989).
        """
        return self._learn(self._read(sources, targets, lengths, target_lengths), reduction)

    def generate(
        self,
        sources: ArrayLike,
        steps: int,
        lengths: ArrayLike | None = None,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Write a sequence for each source: its likeliest symbols one by one, or with a temperature draws.

        sources, lengths: as in `encode`.  steps: the most symbols of a sequence.
        temperature, top_k, top_p, seed: as in `RNN.generate`.

        Returns symbols (n, steps), each row followed by target_size, and their numbers (n,), as `unpad` takes
        them; rows that did not end have the length `steps`.
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
        seed: int = 0,
        patience: int | None = None,
        progress: bool = True,
        callback: Callable[[int, History], object] | None = None,
    ) -> History:
        """Train in place on n pairs of a source and a target.

        sources, targets, lengths, target_lengths: as in `loss_and_gradients`.
        validation: (sources, targets), perhaps with lengths and target_lengths, to take the loss of after
            each epoch.
        optimizer: None is a new `Adam` with clip=1.
        epochs, batch_size, seed, patience, progress, callback: as in `fastrec.fit`.

        Raises FloatingPointError if a gradient is not finite; the parameters are those before that batch.
        """
        data = self._read(sources, targets, lengths, target_lengths)
        held = None if validation is None else self._read_validation(validation)
        epochs = as_int("epochs", epochs, 1, MAX_SIZE)
        batch_size = as_int("batch_size", batch_size, 1, MAX_SIZE)
        seed = as_int("seed", seed, 0, MAX_SEED)
        if patience is not None:
            patience = as_int("patience", patience, 1, MAX_SIZE)
        optimizer = Adam(clip=1.0) if optimizer is None else optimizer
        if not isinstance(optimizer, Optimizer):
            raise ValueError(f"optimizer is {optimizer!r}; it must be an SGD or an Adam")
        if callback is not None and not callable(callback):
            raise ValueError(f"callback is {callback!r}; it must be a function of an epoch and a History")
        log, n = Log(self._sizes.decoder, "cross_entropy", held is not None), len(data.ends)
        with progress_bar("training", n * epochs, progress) as advance:
            while log.epochs < epochs and not (patience is not None and log.waited() >= patience):
                epoch, begin = log.epochs, clock()
                draw = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64)))
                order, losses, steps, norms = draw.permutation(n), 0.0, 0, []
                for first in range(0, n, batch_size):
                    part = data.rows(order[first : first + batch_size], self.backend)
                    value, gradients = self._learn(part, "mean")
                    norms.append(optimizer.step(self.parameters, gradients, backend=self.backend))
                    count = int(part.ends.sum())
                    losses, steps = losses + value * count, steps + count
                    advance(len(part.ends), f"epoch {epoch}, loss {losses / steps:.4g}")
                curves = {"train": losses / steps, "gradient_norm": np.mean(norms)}
                if held is not None:
                    curves["validation"] = self._validate(held, batch_size)
                log.append({key: np.array([value]) for key, value in curves.items()}, clock() - begin)
                if callback is not None:
                    callback(epoch, log.history())
        return log.history()

    def _read(
        self,
        sources: ArrayLike,
        targets: ArrayLike,
        lengths: ArrayLike | None,
        target_lengths: ArrayLike | None,
    ) -> Pairs:
        """The arguments of `loss_and_gradients`, checked, on the host."""
        given, ends = self._read_sources(sources, lengths)
        n, stop = len(given), self.target_size
        array = move(as_array("targets", targets), "cpu")
        if array.ndim != 2 or array.dtype.kind not in "iu" or len(array) != n or not array.shape[1]:
            raise ValueError(
                f"targets has shape {array.shape} and dtype {array.dtype}; "
                f"it must be integers (n, u) for the {n} sources, with u from 1"
            )
        u = array.shape[1]
        try:
            until = read_lengths(np.full(n, u) if target_lengths is None else target_lengths, n, u)
        except ValueError as error:
            raise ValueError(f"targets: {error}") from None
        valid = steps_before(until := move(until, "cpu"), u)
        tokens = read_integers("targets", array, stop, valid)
        edge = np.full((n, 1), stop, np.int32)
        wanted = np.where(np.hstack([valid, edge < 0]), np.hstack([tokens, edge]), stop)
        return Pairs(given, ends, np.hstack([edge, tokens]), wanted, until + 1)

    def _read_sources(self, sources: ArrayLike, lengths: ArrayLike | None) -> tuple[Array, Array | None]:
        """The arguments of `encode`, checked, on the host."""
        at, array = place(self.backend), move(as_array("sources", sources), "cpu")
        if self.encoder is None:
            if lengths is not None:
                raise ValueError("lengths is given, and contexts have none; leave it out")
            if array.ndim != 2 or not len(array):
                raise ValueError(f"sources has shape {array.shape}; give contexts (n, {self.source_size})")
            array = as_numbers("sources", array, (len(array), self.source_size))
            return read_floats("sources", array, self._sizes.dtype, None, at), None
        try:
            array, are_tokens, _ = as_inputs(self.encoder._config, array, "n", "sequence")
            ends = None if lengths is None else move(read_lengths(lengths, *array.shape[:2]), "cpu")
            valid = None if ends is None else steps_before(ends, array.shape[1])
            if are_tokens:
                return read_integers("x", array, self.source_size, valid), ends
            return read_floats("x", array, self._sizes.dtype, valid, at), ends
        except ValueError as error:
            raise ValueError(f"sources: {error}") from None

    def _read_validation(self, validation: Sequence[ArrayLike | None]) -> Pairs:
        parts = tuple(validation) if np.iterable(validation) else ()
        if not 2 <= len(parts) <= 4:
            raise ValueError(
                f"validation has {len(parts)} parts; "
                "give a tuple of sources, targets, and perhaps lengths, target_lengths"
            )
        try:
            return self._read(*(*parts, None, None)[:4])  # type: ignore[arg-type]
        except ValueError as error:
            raise ValueError(f"validation: {error}") from None

    def _encode(self, sources: Array, lengths: Array | None) -> Array:
        if self.encoder is not None:
            return self.encoder.predict(sources, lengths=lengths)[1]
        at, sizes = place(self.backend), self._sizes
        n, layers = len(sources), sizes.num_layers
        state = at.xp.empty((1, n, 1, layers * sizes.decoder.state), dtype=sizes.dtype)
        at.kernels.affine_forward(*self._affine(at, sources), state)
        state = at.xp.ascontiguousarray(state.reshape(n, layers, -1).swapaxes(0, 1))
        return move(state, backend_of(sources))

    def _affine(self, at: Place, sources: Array) -> tuple[Array, ...]:
        """Contexts as a step each, their lengths, and the weights, as the kernels of an output layer take
        them."""
        for key in ("W", "b"):
            array, shape = self.context.get(key), self._sizes.shapes[f"context.{key}"]
            if (
                array is None
                or array.shape != shape
                or array.dtype != self._sizes.dtype
                or not settled(array)
            ):
                raise ValueError(
                    f'context["{key}"] must be an array {shape}, {self._sizes.dtype}, C-contiguous, writable'
                )
            self.context[key] = move(array, at.backend)
        steps = at.xp.ones(len(sources), dtype=np.int64)
        return at.take(sources)[None, :, None], steps, self.context["W"][None], self.context["b"][None]

    def _loss(self, pairs: Pairs, reduction: Reduction) -> float:
        state = self._encode(pairs.sources, pairs.lengths)
        given = (pairs.written, pairs.wanted)
        return self.decoder.loss(*given, reduction=reduction, lengths=pairs.ends, state=state)[0]

    def _learn(self, pairs: Pairs, reduction: Reduction) -> tuple[float, dict[str, Array]]:
        """Loss and gradients, where the pairs are."""
        trace = None
        if self.encoder is not None:
            trace = self.encoder.forward(pairs.sources, lengths=pairs.lengths)
        state = self._encode(pairs.sources, None) if trace is None else trace.state
        self._require_finite("the state of the encoder", state)
        value, found, _ = self.decoder.loss_and_gradients(
            pairs.written, pairs.wanted, reduction=reduction, lengths=pairs.ends, state=state
        )
        self._require_finite("the gradient of the state of the encoder", found["state"])
        gradients = {f"decoder.{key}": found[key] for key in self.decoder.parameters}
        if self.encoder is not None and trace is not None:
            before = self.encoder.backward(trace, d_state=found["state"])
            gradients |= {f"encoder.{key}": before[key] for key in self.encoder.parameters}
        else:
            gradients |= self._learn_context(pairs.sources, found["state"])
        return value, gradients

    def _learn_context(self, sources: Array, d_state: Array) -> dict[str, Array]:
        at = place(self.backend)
        given = self._affine(at, sources)
        d_out = at.xp.ascontiguousarray(at.take(d_state).swapaxes(0, 1)).reshape(1, len(sources), 1, -1)
        found = [at.xp.empty_like(array) for array in (given[0], given[2], given[3])]
        at.kernels.affine_backward(*given[:3], d_out, *found)
        return {
            f"context.{key}": move(a[0], backend_of(sources)) for key, a in zip("Wb", found[1:], strict=True)
        }

    def _require_finite(self, what: str, array: Array) -> None:
        if not place(self.backend).all_finite(array):
            raise FloatingPointError(f"{what} is not finite; use a smaller learning_rate or clip")

    def _validate(self, held: Pairs, batch_size: int) -> float:
        total = 0.0
        for first in range(0, len(held.ends), batch_size):
            rows = np.arange(first, min(first + batch_size, len(held.ends)))
            total += self._loss(held.rows(rows, self.backend), "sum")
        return total / int(held.ends.sum())


def network(config: Config, seed: int, backend: str | None) -> RNN:
    """A single network of those sizes."""
    sizes = (config.input_size, config.hidden_size, config.output_size, config.cell, config.activation)
    return RNN(*sizes, config.num_layers, dtype=config.dtype, seed=seed, backend=backend)
