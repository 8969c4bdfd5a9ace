"""Recurrent neural networks: forward over whole sequences, gradients by backpropagation through time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..backend import backend_of, move, on_device, resolve
from ..display import Displayed
from ..kernels.precision import rounded as nearest
from ..streams import MAX_SEED
from ..validation import as_int, move_checked, require_memory
from .cells import CellName
from .config import Activation, Array, Config
from .device import Place, Precision, choose, place
from .generation import generate
from .initialization import Initial, draw
from .serialization import load, save
from .torch import from_torch, to_torch
from .validation import (
    Batch,
    Dropout,
    Loss,
    LossSpec,
    Reduction,
    as_numbers,
    embed_back,
    initial_parts,
    read_batch,
    read_dropout,
    read_floats,
    read_state,
    read_targets,
    settled,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False, repr=False)
class Trace(Displayed):
    """What `RNN.forward` computed, and what `RNN.backward` reads: do not write to its arrays.

    outputs: (b, t, o), the hidden units if the network has no output layer.
    hidden: (b, t, h), of the top layer.
    state: (layers, b, s) after the last step of each row, the `state` of the sequence that follows; s is
        h, for "lstm" 2 h = [h | c], for "jordan" o.

    All are of the network's dtype, k networks have a leading axis k, and steps past a row's length are 0.
    They are CuPy arrays if x was one, else NumPy arrays.
    """

    outputs: Array
    hidden: Array
    state: Array
    _network: RNN
    _batch: Batch
    _saved: tuple[tuple[Array, ...], ...]  # of each layer, what its kernel keeps
    _passed: tuple[Array, ...]  # of each layer, its hidden units after dropout

    def _summary(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).shape for name in ("outputs", "hidden", "state")}
        return arrays | {"dtype": self.outputs.dtype, "backend": self._batch.place.backend}

    def state_at(self, t: int) -> Array:
        """The state (layers, b, s) after t steps, or after all of a row that has fewer; 0 is the start.

        Raises ValueError unless t is an integer from 0 to the number of steps.
        """
        found = self._state_at(as_int("t", t, 0, self._saved[0][0].shape[2]))
        return give_back(self._batch, self._network._public_state(found))

    def _state_at(self, t: int) -> Array:
        """The same as (layers, k, b, s), where it was computed."""
        return last_state(self._network._config, self._batch, self._saved, t)

    def _given_back(self) -> Trace:
        """The trace with what the user reads where x was given."""
        if self._batch.back is None:
            return self
        outputs = give_back(self._batch, self.outputs)
        hidden = outputs if self._network.output_size is None else give_back(self._batch, self.hidden)
        return replace(self, outputs=outputs, hidden=hidden, state=give_back(self._batch, self.state))


class RNN:
    """A recurrent neural network.

    input_size i, hidden_size h, output_size o: units; without output_size the hidden units are the outputs.
    cell: "elman", h_t = f(x_t W_in + h_{t-1} W_rec + b) (Cognitive Science 14, 179, 1990); "jordan", the same
        with the last output in place of h_{t-1} (ICS report 8604, 1986); "gru" (Cho et al., EMNLP 2014) and
        "lstm" (Hochreiter & Schmidhuber, Neural Computation 9, 1735, 1997) with PyTorch's equations.
        Outputs are y_t = h_t W_out + b_out.
    activation: f of "elman" and "jordan": "tanh", "relu" or "logistic".
    num_layers: the layers above the first read the hidden units of the one below; 1 for "jordan".
    models: k independent networks of one shape, computed in one call; all arrays then have a leading axis k,
        but inputs and targets without it are shared.
    initial: of the weights.  "orthogonal": W_rec of each gate (Saxe et al., ICLR 2014), W_in and W_out
        uniform within +-sqrt(6 / (in + out)) (Glorot & Bengio, AISTATS 2010), b 0; "uniform": all within
        +-1/sqrt(h), as PyTorch has it; "identity": W_rec, the others normal with deviation 0.001, b 0,
        for "elman" with "relu" (Le, Jaitly & Hinton, arXiv:1504.00941).  The initial state is 0.
    dtype: np.float32 or np.float64, of all arrays.
    seed: 0..2^64-1, of the weights.  Network j of several is the one that has seed + j alone, or seed[j].
    backend: "cpu", "gpu", "reference" or "auto"; None follows `fastrec.get_backend` at every call.
    forget_bias: first value of the bias of an LSTM's forget gates; 1 if not given, but with "uniform"
        drawn as the others (Jozefowicz et al., ICML 2015).
    embedding_size: e, makes W_in (e, g h) and puts a matrix "E" (i, e) before it, at first standard normal:
        x E W_in takes the place of x W_in.
    precision: what both factors of every product of matrices, forward and backward, are rounded to: "tf32",
        11 significant bits, or "bf16", 8, so that tensor cores can multiply them; "float32" is true float32.
        Everything else stays float32: sums, biases, activations, states, rows of W_in that tokens pick, and
        all arrays.  The other two are for dtype float32 on "gpu" or "reference".

    parameters: dict of arrays, which may be written to or replaced by others of the same shape and dtype.
        g is 1, for "gru" 3 (gates r, z, n) and for "lstm" 4 (i, f, g, o).  "W_in" (i, g h), "W_rec" (h, g h),
        "b" (g h,), "h0" (h,) the learned initial state; "gru" has "b_n" (h,), the recurrent bias of n, "lstm"
        "c0" (h,); layer l > 0 the same with "_l1", ... added (i is h there); "W_out" (h, o), "b_out" (o,).
        With "jordan" W_rec is (o, h) and h0 (o,).  On the gpu they are CuPy arrays; NumPy arrays put there
        are moved by the next call, and all of them are when the backend changes.

    On the gpu, NumPy x gives NumPy results, and CuPy x gives CuPy results; losses are always NumPy's.  Of
    what is given, CuPy arrays stay where they are, and NumPy arrays are sent.  The host waits for the device
    to read a loss, and once for each CuPy array of which it checks the values (x, targets, state, lengths,
    mask, d_outputs, ...).

    Raises ValueError for arguments that cannot be, or if memory does not suffice.  So do all methods for
    arguments and for parameters they cannot use; nothing is changed then.
    """

    parameters: dict[str, Array]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int | None = None,
        cell: CellName = "elman",
        activation: Activation = "tanh",
        num_layers: int = 1,
        models: int | None = None,
        initial: Initial = "orthogonal",
        dtype: DTypeLike = np.float32,
        seed: int | Sequence[int] = 0,
        backend: str | None = None,
        *,
        forget_bias: float | None = None,
        precision: Precision = "float32",
        embedding_size: int | None = None,
    ) -> None:
        sizes = (input_size, hidden_size, output_size)
        rest = (cell, activation, num_layers, models, dtype, embedding_size)
        config = Config(*sizes, *rest)  # type: ignore[arg-type]
        name = choose(backend, precision, config.dtype)
        self._set(config, draw(config, initial, seed, forget_bias), backend, precision)
        self._weights(name)

    @classmethod
    def _of(
        cls, config: Config, parameters: dict[str, Array], backend: str | None, precision: Precision
    ) -> RNN:
        """A network that takes over parameters; they must be as config says."""
        network = cls.__new__(cls)
        network._set(config, parameters, backend, precision)
        return network

    def _set(
        self, config: Config, parameters: dict[str, Array], backend: str | None, precision: Precision
    ) -> None:
        self._config, self.parameters = config, parameters
        self._backend, self._precision = backend, precision
        self._shapes = config.shapes
        self._checked: dict[str, Array] = {}
        self._led: dict[str, Array] = {}  # the checked parameters as (k, ...), none until they are asked for

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: parameters of the device as NumPy's, which any machine can read."""
        return self.__dict__ | {"parameters": self._on_host(), "_checked": {}, "_led": {}}

    @property
    def input_size(self) -> int:
        """Number of inputs i; integer tokens are 0..i-1."""
        return self._config.input_size

    @property
    def hidden_size(self) -> int:
        """Number of hidden units h, of each layer."""
        return self._config.hidden_size

    @property
    def output_size(self) -> int | None:
        """Number of outputs o, None if the hidden units are the outputs."""
        return self._config.output_size

    @property
    def cell(self) -> CellName:
        """ "elman", "jordan", "gru" or "lstm"."""
        return self._config.cell

    @property
    def activation(self) -> Activation:
        """ "tanh", "relu" or "logistic"; always "tanh" for "gru" and "lstm"."""
        return self._config.activation

    @property
    def num_layers(self) -> int:
        """Number of layers."""
        return self._config.num_layers

    @property
    def models(self) -> int | None:
        """Number k of independent networks, None for one network without that axis."""
        return self._config.models

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._config.dtype

    @property
    def n_parameters(self) -> int:
        """Number of parameters, of each network."""
        return self._config.n_parameters

    @property
    def backend(self) -> str:
        """Name of the backend that the next call runs on."""
        return resolve(self._backend, domain="rnn")

    @property
    def precision(self) -> Precision:
        """ "float32", "tf32" or "bf16": what the factors of products of matrices are rounded to."""
        return self._precision

    def __repr__(self) -> str:
        c = self._config
        parts = [f"input_size={c.input_size}", f"hidden_size={c.hidden_size}", f"output_size={c.output_size}"]
        parts.append(f'cell="{c.cell}"')
        parts += [f'activation="{c.activation}"'] * bool(c.activation_code)
        parts += [f"num_layers={c.num_layers}"] * (c.num_layers > 1)
        parts += [f"models={c.models}"] * (c.models is not None)
        parts += [f"embedding_size={c.embedding_size}"] * (c.embedding_size is not None)
        parts += [f"dtype={c.dtype}", f'backend="{self.backend}"']
        parts += [f'precision="{self.precision}"'] * (self.precision != "float32")
        parts.append(f"n_parameters={c.n_parameters}")
        return f"RNN({', '.join(parts)})"

    def copy(self, model: int | None = None) -> RNN:
        """A network with copies of the parameters; of k networks with model=j the j-th alone.

        Raises ValueError if model is not one of 0..k-1.
        """
        config, parameters = self._config, self.parameters
        self._check()
        if model is not None:
            if config.models is None:
                raise ValueError(f"model is {model!r}; this is a single network, leave it out")
            j = as_int("model", model, 0, config.models - 1)
            config, parameters = (
                replace(config, models=None),
                {key: value[j] for key, value in parameters.items()},
            )
        copies = {key: parameters[key].copy() for key in self._shapes}
        return RNN._of(config, copies, self._backend, self._precision)

    def rounded(self) -> RNN:
        """A copy whose matrices hold the nearest numbers of bfloat16, 8 significant bits, ties to even.

        All arithmetic stays float32, but `generate` on the cpu then reads half the bytes, which is what
        bounds it for few rows.  Raises ValueError unless dtype is float32.
        """
        if self.dtype != np.float32:
            raise ValueError(f"dtype is {self.dtype}; numbers of bfloat16 are those of float32 networks")
        network = self.copy()
        for key, array in network.parameters.items():
            if key.startswith(("W", "E")):
                array[...] = move(nearest(move(array, "cpu"), "bf16"), backend_of(array))
        return network

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a NumPy .npz file with sizes and parameters, replacing path in one step.

        Raises ValueError unless path ends in .npz, OSError if it cannot be written.
        """
        self._check()
        save(path, self._config, self._on_host())

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], backend: str | None = None, precision: Precision = "float32"
    ) -> RNN:
        """Read what `save` wrote: an equal network, but for backend and precision, which files do not hold.
        Nothing in the file is executed.

        Raises ValueError naming the file and what is wrong for one that is foreign, truncated or damaged.
        """
        config, parameters = load(path)
        name = choose(backend, precision, config.dtype)
        network = cls._of(config, parameters, backend, precision)
        network._weights(name)
        return network

    @classmethod
    def from_torch(
        cls,
        module: torch.nn.RNNBase,
        output: torch.nn.Linear | None = None,
        backend: str | None = None,
        precision: Precision = "float32",
    ) -> RNN:
        """The network of a torch.nn.RNN, GRU or LSTM, with a torch.nn.Linear as output layer if given.

        Arrays are (b, t, ...) here whatever batch_first is, and the initial state is 0.  Two biases that
        PyTorch only adds become their sum.  Raises ValueError for what fastrec does not have (bidirectional,
        proj_size, dropout, other modules and dtypes), ImportError if PyTorch is not installed.
        """
        config, parameters = from_torch(module, output)
        name = choose(backend, precision, config.dtype)
        network = cls._of(config, parameters, backend, precision)
        network._weights(name)
        return network

    def to_torch(self) -> torch.nn.RNNBase | tuple[torch.nn.RNNBase, torch.nn.Linear]:
        """A torch.nn.RNN, GRU or LSTM (batch_first) with copies of the weights, on the CPU; with an output
        layer the pair of that and a torch.nn.Linear.

        PyTorch has no learned initial state: give the module `Trace.state_at(0)`, for "lstm" split into its
        halves h and c.  Raises ValueError for networks that PyTorch does not have ("jordan", "logistic", k
        networks), ImportError if PyTorch is not installed.
        """
        self._check()
        return to_torch(self._config, self._on_host())

    def forward(
        self, x: ArrayLike, state: ArrayLike | None = None, lengths: ArrayLike | None = None
    ) -> Trace:
        """Run the network over b sequences of t steps.

        x: finite numbers (b, t, i), or integer tokens (b, t) from 0 to i - 1 in place of one-hot inputs; for
            k networks also (k, b, t, i) and (k, b, t), where three axes of integers beginning with k are
            tokens.  Not copied if of the network's dtype (tokens: int32), C-contiguous and writable, and
            where the network computes.
        state: (layers, b, s) before the first step, as `Trace.state` gives it; None is the learned "h0".
        lengths: (b,) integers from 0 to t, steps of each row; what x holds past them does not matter.
        """
        at = self._place(x, state, lengths)
        return self._forward(self._read(x, state, lengths, at, gradients=False))._given_back()

    def predict(
        self, x: ArrayLike, state: ArrayLike | None = None, lengths: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """The outputs (b, t, o) and last state (layers, b, s) of `forward`, keeping nothing for gradients."""
        at = self._place(x, state, lengths)
        batch = self._read(x, state, lengths, at, gradients=False, keep=False)
        trace = self._forward(batch, keep=False)
        return give_back(batch, trace.outputs), give_back(batch, trace.state)

    def generate(
        self,
        prompt: ArrayLike,
        steps: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        lengths: ArrayLike | None = None,
        state: ArrayLike | None = None,
        stop: int | None = None,
        first: int = 0,
    ) -> tuple[Array, Array]:
        """Go on with b prompts by drawing tokens, each of which is the next input, all in one kernel call.

        prompt: integer tokens (b, t) from 0 to i - 1; lengths (b,) of each row, from 1; state before them, as
            `forward` takes it.  The network has as many outputs as inputs.
        steps: tokens to draw for each row.
        temperature: tokens are drawn with probabilities in proportion to exp(y / temperature), y being the
            outputs; 0 takes the largest output, the first of several.
        top_k: only the so many likeliest tokens are drawn.  top_p: of these the fewest whose probabilities
            sum up to more than top_p (Holtzman et al., ICLR 2020).  Equal ones count in the order of tokens.
        seed: 0..2^64-1.  Draws follow from seed, row and number of the token, whatever the batch and backend;
            backends differ only where the rounding of an output decides.
        stop: after a row has drawn this token all its others are this token, and its state stays.
        first: number of the first token drawn: a second call with the last token as prompt, the state that
            the first one returned and first = steps goes on as if it were one.

        Returns the tokens (b, steps) int32 and the state (layers, b, s) before the last of them is read.
        Raises ValueError for arguments that cannot be, and FloatingPointError if outputs are not finite.
        """
        given = (temperature, top_k, top_p, seed, lengths, state, stop, first)
        batch, drawn, last = generate(self, prompt, steps, *given)
        return give_back(batch, drawn), give_back(batch, self._public_state(last))

    def backward(
        self,
        trace: Trace,
        d_outputs: ArrayLike | None = None,
        d_hidden: ArrayLike | None = None,
        d_state: ArrayLike | None = None,
        *,
        flow: bool = False,
    ) -> dict[str, Array]:
        """Gradients of a number E by backpropagation through time (Werbos, Proc. IEEE 78, 1550, 1990).

        trace: of this network, computed with the parameters it still has; it stays as it is.
        d_outputs (b, t, o), d_hidden (b, t, h; top layer), d_state (layers, b, s): gradients of E with
            respect to `outputs`, `hidden` and `state` of the trace; at least one, the others count as 0.
            What they hold past a row's length does not matter.

        Returns the keys of `parameters`, "x" (b, t, i) unless x was tokens, and "state" (layers, b, s), the
        gradient of the initial state.  "h0" (and "c0") is its sum over the batch, or 0 if forward was given a
        state.  With k networks all have the leading axis k, also "x" where they shared it.
        flow=True adds "flow" (layers, b, t), float64: the squared norm over h of the whole dE/dh_t, which
        shows how gradients vanish or explode on their way back.
        """
        if not (isinstance(trace, Trace) and trace._network is self):
            raise ValueError("trace is not one of this network; give what its forward returned")
        if d_outputs is None and d_hidden is None and d_state is None:
            raise ValueError("d_outputs, d_hidden and d_state are all missing; give at least one")
        found = self._gradients(trace, d_outputs, d_hidden, d_state, flow)
        return give_all_back(trace._batch, found)

    def _gradients(
        self,
        trace: Trace,
        d_outputs: ArrayLike | None = None,
        d_hidden: ArrayLike | None = None,
        d_state: ArrayLike | None = None,
        flow: bool = False,
    ) -> dict[str, Array]:
        """What `backward` returns, where it was computed."""
        c, batch = self._config, trace._batch
        self._check()
        resolve(batch.place.backend, d_outputs, d_hidden, d_state)
        _, b, t, h = trace._saved[0][0].shape
        width = h * min(c.num_layers, 3) + c.saved[-1] * c.kind.overwrites_saved
        width += c.outputs_width * (c.output_size is not None) + batch.x.shape[-1]
        require_memory("backward", c.k * b * t * width * c.dtype.itemsize, backend=batch.place.backend)
        outputs = self._read_gradient("d_outputs", d_outputs, (b, t, c.outputs_width), batch)
        hidden = self._read_gradient("d_hidden", d_hidden, (b, t, h), batch)
        last = read_state(c, "d_state", d_state, b, batch.place)
        if c.output_size is None and outputs is not None:
            hidden = outputs if hidden is None else hidden + outputs
        return self._backward(trace, outputs, hidden, last, own=False, want_x=True, flow=flow)

    def loss(
        self,
        x: ArrayLike,
        targets: ArrayLike,
        loss: Loss = "cross_entropy",
        reduction: Reduction = "mean",
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        state: ArrayLike | None = None,
    ) -> tuple[Any, Array]:
        """The loss and the last state of `loss_and_gradients`, without gradients."""
        at = self._place(x, state, lengths, targets, mask)
        batch = self._read(x, state, lengths, at, gradients=False, keep=False)
        goal = read_targets(self._config, batch, targets, loss, reduction, mask)
        losses, trace = self._evaluate(batch, goal)
        return self._public_loss(losses), give_back(batch, trace.state)

    def loss_and_gradients(
        self,
        x: ArrayLike,
        targets: ArrayLike,
        loss: Loss = "cross_entropy",
        reduction: Reduction = "mean",
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        state: ArrayLike | None = None,
        *,
        want_x: bool = True,
        dropout: float = 0.0,
        dropout_seed: int = 0,
    ) -> tuple[Any, dict[str, Array], Array]:
        """A loss, its gradients and the last state, in less memory than `forward` and `backward` take.

        x, lengths, state: as `forward` takes them.
        targets: "cross_entropy" takes integers (b, t) from 0 to o - 1 and is log sum exp(y) - y[target] of a
            step (softmax included), in nats; "mse" takes finite numbers (b, t, o) and is half the sum of
            squares over the outputs of a step.  For k networks also with leading axis k.
        reduction: "mean" over the steps that count, of all rows together, or their "sum".
        mask: (b, t) bool, which steps count (of those within lengths); targets of others do not matter.

        dropout: the chance of a hidden unit to count as 0 where a layer hands it on, to the next one or to
            the output layer, in steps of 2^-16; the others are divided by 1 - dropout (Zaremba, Sutskever &
            Vinyals, arXiv:1409.2329).  Which are left out follows from dropout_seed, 0..2^64-1, row, step,
            layer and unit.

        Returns the loss, a float, or NumPy float64 (k,); the gradients of `backward` (want_x=False saves the
        cost of "x"); and the state (layers, b, s) after the last step of each row.
        """
        at = self._place(x, state, lengths, targets, mask)
        left_out = read_dropout(self._config, dropout, as_int("dropout_seed", dropout_seed, 0, MAX_SEED))
        batch = self._read(x, state, lengths, at, gradients=True, dropout=left_out)
        goal = read_targets(self._config, batch, targets, loss, reduction, mask)
        losses, gradients, trace = self._learn(batch, goal, want_x)
        value = self._public_loss(losses)
        return value, give_all_back(batch, gradients), give_back(batch, trace.state)

    def _evaluate(self, batch: Batch, goal: LossSpec) -> tuple[Array, Trace]:
        """Losses (k,) and a trace of which only `state` is good, where they were computed."""
        trace = self._forward(batch, keep=False)
        outputs = self._outputs(trace)
        unwanted = batch.place.xp.empty((*outputs.shape[:3], 0), dtype=self.dtype)
        return self._losses(batch, goal, outputs, unwanted), trace

    def _learn(self, batch: Batch, goal: LossSpec, want_x: bool) -> tuple[Array, dict[str, Array], Trace]:
        """Losses (k,), gradients, and a trace of which only `state` and `state_at` are still good.

        All are where they were computed, and nobody has waited for them.
        """
        trace, c = self._forward(batch), self._config
        outputs = self._outputs(trace)
        # Nobody else reads this trace, so the gradient of the outputs replaces them, unless they are needed:
        # as hidden units, or by the cell itself.
        d_outputs = outputs if c.has_output_layer else batch.place.xp.empty_like(outputs)
        losses = self._losses(batch, goal, outputs, d_outputs)
        d_hidden = d_outputs if c.output_size is None else None
        d_last = batch.place.xp.zeros_like(batch.start)
        gradients = self._backward(trace, d_outputs, d_hidden, d_last, own=True, want_x=want_x, flow=False)
        return losses, gradients, trace

    def _forward(self, batch: Batch, keep: bool = True) -> Trace:
        c, (_, xp, module, *_), weights, lengths = self._config, batch.place, batch.weights, batch.lengths
        shape = (c.k, *batch.x.shape[1:3])
        kernel = getattr(module, f"{c.cell}_forward")
        x, tokens = batch.x, batch.tokens
        layers, passed = [], []
        for layer, keys in enumerate(c.layers):
            # What only gradients need of a step is overwritten by the next one.
            steps = (shape[2], *[shape[2] if keep or c.kind.feeds_back_output else 1] * (len(c.saved) - 1))
            saved = tuple(
                xp.empty((*shape[:2], t, width), dtype=c.dtype)
                for t, width in zip(steps, c.saved, strict=True)
            )
            given = (x, tokens, lengths, batch.start[layer], *[weights[key] for key in keys])
            kernel(*given, *c.activation_code, *saved)
            layers.append(saved)
            x, tokens = saved[0], batch.place.no_tokens
            if batch.dropout is not None and (c.has_output_layer or layer + 1 < c.num_layers):
                x = x.copy()
                module.dropout(batch.dropout.key, layer, batch.dropout.threshold, x)
            passed.append(x)
        outputs = layers[0][1] if c.kind.feeds_back_output else x
        if c.has_output_layer:
            outputs = xp.empty((*shape, c.outputs_width), dtype=c.dtype)
            module.affine_forward(x, lengths, weights["W_out"], weights["b_out"], outputs)
        state = last_state(c, batch, tuple(layers), shape[2])
        public = (self._public(outputs), self._public(layers[-1][0]), self._public_state(state))
        return Trace(*public, self, batch, tuple(layers), tuple(passed))

    def _backward(
        self,
        trace: Trace,
        d_outputs: Array | None,
        d_hidden: Array | None,
        d_last: Array,
        own: bool,
        want_x: bool,
        flow: bool,
    ) -> dict[str, Array]:
        """Gradients, where they were computed; own=True overwrites the arrays given and those of the trace.

        d_outputs (k, b, t, o) or None, d_hidden (k, b, t, h) or None, d_last (layers, k, b, s).
        """
        c, batch = self._config, trace._batch
        xp = batch.place.xp
        k, b, t, _ = trace._saved[0][0].shape
        found = {key: xp.empty_like(weight) for key, weight in batch.weights.items()}
        through = self._backward_output(trace, d_outputs, d_hidden, found)
        lent = not own and any(array is d_outputs or array is d_hidden for array in through)
        del d_outputs, d_hidden  # so that `through` alone holds them, and each layer's are freed after it
        d_state = xp.empty_like(batch.start)
        flows = xp.empty((c.num_layers, k, b, t if flow else 0))
        for layer in reversed(range(c.num_layers)):
            width = c.hidden_size if layer else batch.x.shape[3] * want_x
            d_x = xp.empty((k, b, t, width), dtype=c.dtype)
            ends = (d_last[layer], d_state[layer], flows[layer])
            self._backward_layer(trace, layer, through, d_x, *ends, found, own, lent)
            for key, d_initial in zip(c.initial[layer], initial_parts(c, d_state[layer]), strict=True):
                found[key][...] = d_initial.sum(axis=1) if batch.learned else 0
            if layer and batch.dropout is not None:
                batch.place.kernels.dropout(batch.dropout.key, layer - 1, batch.dropout.threshold, d_x)
            through, lent = [d_x], False
        if batch.embedded is not None:
            embed_back(c, batch, found)
        gradients = {key: self._public(value) for key, value in found.items()}
        if want_x and batch.tokens is batch.place.no_tokens:
            gradients["x"] = self._public(through[0])
        gradients["state"] = self._public_state(d_state)
        if flow:
            gradients["flow"] = self._public_state(flows)
        return gradients

    def _backward_output(
        self, trace: Trace, d_outputs: Array | None, d_hidden: Array | None, found: dict[str, Array]
    ) -> list[Array]:
        """What goes into the top layer: the whole d_hidden, and d_outputs of "jordan"."""
        c, batch, hidden = self._config, trace._batch, trace._saved[-1][0]
        xp = batch.place.xp
        if c.has_output_layer and d_outputs is None:
            found["W_out"][...], found["b_out"][...] = 0, 0
        elif c.has_output_layer:
            given = (trace._passed[-1], batch.lengths, batch.weights["W_out"], d_outputs)
            d_top = xp.empty_like(hidden)
            batch.place.kernels.affine_backward(*given, d_top, found["W_out"], found["b_out"])
            if batch.dropout is not None:
                batch.place.kernels.dropout(
                    batch.dropout.key, c.num_layers - 1, batch.dropout.threshold, d_top
                )
            if d_hidden is not None:
                d_top += d_hidden
            d_hidden = d_top
        through = [xp.zeros_like(hidden) if d_hidden is None else d_hidden]
        if c.kind.feeds_back_output:
            through.append(xp.zeros_like(trace._saved[0][1]) if d_outputs is None else d_outputs)
        return through

    def _backward_layer(
        self,
        trace: Trace,
        layer: int,
        through: list[Array],
        d_x: Array,
        d_last: Array,
        d_state: Array,
        flow: Array,
        found: dict[str, Array],
        own: bool,
        lent: bool,
    ) -> None:
        """A layer; overwrites `through`, of `_backward_output` or the layer above, unless it is lent."""
        c, batch, saved = self._config, trace._batch, trace._saved
        _, xp, module, _, no_tokens = batch.place
        x, tokens = (trace._passed[layer - 1], no_tokens) if layer else (batch.x, batch.tokens)
        if c.kind.overwrites_saved:
            gates = saved[layer][-1]
            work = [gates if own else xp.empty_like(gates)]
        else:
            work = [xp.empty_like(array) for array in through] if lent else through
        keys = c.layers[layer]
        read = [batch.weights[key] for key in keys if key.startswith("W")]
        given = (x, tokens, batch.lengths, batch.start[layer], *saved[layer], *read, *c.activation_code)
        into = (*work, d_x, d_state, *[found[key] for key in keys], flow)
        getattr(module, f"{c.cell}_backward")(*given, *through, d_last, *into)

    def _outputs(self, trace: Trace) -> Array:
        """The outputs (k, b, t, o) of a trace."""
        return trace.outputs if self._config.models else trace.outputs[None]

    def _losses(self, batch: Batch, goal: LossSpec, outputs: Array, d_outputs: Array) -> Array:
        """Losses (k,) float64."""
        losses = batch.place.xp.empty(outputs.shape[:2])
        goal.kernel(outputs, goal.targets, goal.mask, goal.scale, losses, d_outputs)
        return losses.sum(axis=1) * goal.scale

    def _public_loss(self, losses: Array) -> Any:
        """Losses (k,) as the user gets them, which waits for those of the device."""
        value = move(losses, "cpu")
        return value if self._config.models else float(value[0])

    def _public(self, array: Array) -> Array:
        """Without the axis k of a single network."""
        return array if self._config.models else array[0]

    def _public_state(self, array: Array) -> Array:
        """(layers, k, b, ...) as (k, layers, b, ...), or without k."""
        return array.swapaxes(0, 1) if self._config.models else array[:, 0]

    def _check(self) -> None:
        """ValueError for parameters that cannot be used: users may have replaced any."""
        parameters, checked = (
            self.parameters,
            self._checked,
        )  # what has stayed the same is not looked at again
        if parameters.keys() != self._shapes.keys():
            odd = sorted(parameters.keys() ^ self._shapes.keys())
            raise ValueError(
                f"parameters must have the keys {', '.join(self._shapes)}; check {', '.join(odd)}"
            )
        fresh = False
        for key, shape in self._shapes.items():
            array = parameters[key]
            if array is checked.get(key):
                continue
            if not (
                (isinstance(array, np.ndarray) or on_device(array))
                and array.shape == shape
                and array.dtype == self._config.dtype
                and settled(array)
            ):
                form = array.shape if on_device(array) else np.shape(array)
                raise ValueError(
                    f'parameters["{key}"] is {form}, dtype {getattr(array, "dtype", type(array).__name__)}; '
                    f"it must be {shape}, {self.dtype}, C-contiguous, writable"
                )
            fresh = True
        if fresh:
            self._checked, self._led = dict(parameters), {}

    def _weights(self, backend: str) -> dict[str, Array]:
        """The parameters as (k, ...), checked, where a backend computes; those that are not there move."""
        self._check()
        if not self._led or on_device(self._led["W_in"]) != (backend == "gpu"):
            parameters, there = self.parameters, backend == "gpu"
            away = {key: array for key, array in parameters.items() if on_device(array) != there}
            nbytes = sum(array.nbytes for array in away.values())
            require_memory("the parameters", nbytes, backend=backend)
            for key, array in away.items():
                parameters[key] = move(array, backend)
            self._checked = dict(parameters)
            several = self._config.models
            self._led = {key: parameters[key] if several else parameters[key][None] for key in self._shapes}
        return self._led

    def _on_host(self) -> dict[str, Array]:
        """The parameters as NumPy arrays."""
        return {key: move(array, "cpu") for key, array in self.parameters.items()}

    def _place(self, *arrays: object) -> Place:
        """Where the next call computes, given those arrays."""
        name = choose(self._backend, self._precision, self.dtype, *arrays)
        return place(name, self._precision)

    def _read(
        self,
        x: ArrayLike,
        state: ArrayLike | None,
        lengths: ArrayLike | None,
        at: Place,
        gradients: bool,
        keep: bool = True,
        dropout: Dropout | None = None,
    ) -> Batch:
        weights = self._weights(at.backend)
        return read_batch(self._config, at, weights, x, state, lengths, gradients, keep, dropout)

    def _read_gradient(
        self, name: str, value: ArrayLike | None, shape: tuple[int, ...], batch: Batch
    ) -> Array | None:
        """A gradient given to `backward`, (k, b, t, width), not copied where it can be read as it is."""
        if value is None:
            return None
        array = as_numbers(name, value, (*self._config.lead, *shape))
        checked = batch.place.take(read_floats(name, array, self.dtype, batch.valid, batch.place))
        return checked if self._config.models else checked[None]


def give_back(batch: Batch, array: Array) -> Array:
    """A result where x was given."""
    return array if batch.back is None else move_checked("the result", array, batch.back)


def give_all_back(batch: Batch, arrays: dict[str, Array]) -> dict[str, Array]:
    return arrays if batch.back is None else {key: give_back(batch, array) for key, array in arrays.items()}


def last_state(c: Config, batch: Batch, saved: tuple[tuple[Array, ...], ...], t: int) -> Array:
    """The states (layers, k, b, s) after t steps, of shorter rows after their last."""
    xp = batch.place.xp
    state = xp.empty_like(batch.start)
    steps = None if batch.valid is None else xp.minimum(batch.lengths, t)
    rows = slice(None) if steps is None else xp.arange(len(steps))
    begin = 0
    for part in range(*c.kind.state.indices(len(c.saved))):
        end = begin + c.saved[part]
        for layer, arrays in enumerate(saved):
            # An array of a single step holds the last.
            held = arrays[part].shape[2]
            last = min(t, held) - 1 if steps is None else xp.minimum(steps, held) - 1
            state[layer, :, :, begin:end] = arrays[part][:, rows, last]
        begin = end
    if steps is None and t == 0:
        state[...] = batch.start
    elif steps is not None:
        xp.copyto(state, batch.start, where=(steps == 0)[:, None])
    return state
