"""A pass over a batch of tensors and the pass back, which autograd and custom operators are made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
import torch

from ..rnn import directions, passes
from ..rnn.cells import CELLS, CellName
from ..rnn.config import Activation, Array, Config, Direction
from ..rnn.device import compute_device
from ..rnn.passes import Activations
from ..rnn.randomness import NOTHING, Drawn, Dropout
from ..rnn.torch_weights import each_direction, take_biases
from ..rnn.validation import Purpose, make_batch
from . import arrays

CELL_NAMES = {cell.torch: cell.name for cell in CELLS.values()}
STATE_PARTS = {cell.torch: len(cell.initial) for cell in CELLS.values()}


class Plan(NamedTuple):
    """What a pass takes besides tensors.

    mode: that of torch.nn.RNNBase.  threshold: as in `Dropout`, 0 for none.
    """

    mode: str
    hidden_size: int
    layers: int
    bidirectional: bool
    threshold: int

    @property
    def parts(self) -> int:
        """Number of parts of a state: h, or h and c."""
        return STATE_PARTS[self.mode.partition("_")[0]]


@lru_cache
def configuration(plan: Plan, input_size: int, dtype: torch.dtype) -> Config:
    """The configuration of a network without output layer."""
    name, _, activation = plan.mode.partition("_")
    cell = cast(CellName, CELL_NAMES[name])
    f = cast(Activation, activation.lower() or "tanh")
    of_numpy = np.dtype(str(dtype).removeprefix("torch."))
    direction: Direction = "bidirectional" if plan.bidirectional else "forward"
    return Config(input_size, plan.hidden_size, None, cell, f, plan.layers, None, of_numpy, None, direction)


class Pass:
    """A pass over a batch of tensors, which have been checked and are C-contiguous.

    x: (b, t, i), or packed (n, i) with the sizes (t,) of its steps.  key: of dropout.  states: the parts of
    the first states, each (layers * directions, b, h), or none for zeros.  weights: as PyTorch has them, of
    each direction of each layer "weight_ih" (g h, i), "weight_hh" (g h, h) and, if there are biases,
    "bias_ih" and "bias_hh" (g h).
    """

    def __init__(
        self,
        plan: Plan,
        x: torch.Tensor,
        sizes: torch.Tensor | None,
        key: torch.Tensor | None,
        states: Sequence[torch.Tensor],
        weights: Sequence[torch.Tensor],
        purpose: Purpose,
    ) -> None:
        device = self.device = compute_device(arrays.backend_for(x))
        c = self.config = configuration(plan, x.shape[-1], x.dtype)
        self.steps = valid = lengths = None  # (t, b) bool of a packed batch: those before the end of each row
        if sizes is not None:
            self.steps = device.xp.arange(int(sizes[0])) < device.take(sizes.numpy())[:, None]
            valid, lengths = self.steps.T, self.steps.sum(axis=0)
        values, start = self.read(x, states)
        drawn = NOTHING if key is None else Drawn(Dropout(plan.threshold, np.uint64(int(key))))
        own = self.read_weights(weights)
        self.batch = make_batch(c, device, own, values, lengths, start, purpose, drawn, valid)

    def read(self, x: torch.Tensor, states: Sequence[torch.Tensor]) -> tuple[Array, Array]:
        """`Batch.x` and `Batch.start`."""
        values = self.unpacked(self.array(x))
        return values[None], self.whole_state(len(values), [self.array(state) for state in states])

    def run(self) -> Activations:
        """The forward pass."""
        return passes.forward(self.config, self.batch)

    def forget(self) -> None:
        """Let go of what `restore` is given."""
        self.batch = self.batch._replace(x=self.device.no_tokens, start=self.device.no_tokens)

    def restore(
        self,
        x: torch.Tensor,
        states: Sequence[torch.Tensor],
        whole: torch.Tensor,
        kept: Sequence[torch.Tensor],
    ) -> Activations:
        """The forward pass that was given x and states, and whose outputs and `kept` are known."""
        c, (values, start) = self.config, self.read(x, states)
        batch = self.batch._replace(x=values, start=start)
        outputs, parts, found = self.array(whole)[None], len(c.saved), [self.array(tensor) for tensor in kept]
        if c.directions == 1:
            found.insert((c.num_layers - 1) * parts, outputs)
        saved = [tuple(found[layer * parts : (layer + 1) * parts]) for layer in range(c.num_layers)]
        above = found[c.num_layers * parts :] or [of_layer[0] for of_layer in saved[:-1]]
        read = [(x, self.device.no_tokens) for x in (directions.each_way(c, batch, values), *above)]
        return Activations(c, batch, outputs, tuple(saved), tuple(read), outputs)

    def kept(self, made: Activations) -> list[Array]:
        """What the pass back reads besides outputs, inputs and weights."""
        saved = [array for of_layer in made.saved for array in of_layer if array is not made.outputs]
        above = zip(made.read[1:], made.saved[:-1], strict=True)
        return saved + [x for (x, _), of_layer in above if x is not of_layer[0]]

    def last(self, made: Activations) -> list[Array]:
        """The parts of the last states."""
        return self.parts(passes.state_after(made, self.batch.x.shape[2]))

    def back(
        self,
        made: Activations,
        d_outputs: torch.Tensor | None,
        d_states: Sequence[torch.Tensor | None],
        n: int,
        wanted: Sequence[bool],
    ) -> list[torch.Tensor | None]:
        """Gradients of x and the states, n tensors, and of the weights: those that are wanted."""
        c, b, d_hidden = self.config, made.batch.x.shape[1], None
        if d_outputs is not None:
            d_hidden = self.unpacked(self.array(d_outputs.contiguous()))[None]
            if self.steps is None and not c.kind.overwrites_saved:
                d_hidden = d_hidden.copy()  # the kernel writes over it
        zeros = self.device.xp.zeros((c.num_layers * c.directions, b, c.hidden_size), c.dtype)
        d_last = self.whole_state(b, [zeros if d is None else self.array(d.contiguous()) for d in d_states])
        of_x = ("x",) * wanted[0]
        gradients = passes.backward(made, None, d_hidden, d_last, of_x)
        found = [self.packed(gradients["x"][0]) if of_x else None, *self.parts(gradients["state"])[: n - 1]]
        found += self.torch_weights(gradients, (len(wanted) - n) // (c.num_layers * c.directions))
        pairs = zip(found, wanted, strict=True)
        return [None if g is None or not want else arrays.tensor_of(g) for g, want in pairs]

    def array(self, tensor: torch.Tensor) -> Array:
        """A tensor as an array in the same memory."""
        return arrays.array_of(tensor, self.device.backend)

    def read_weights(self, tensors: Sequence[torch.Tensor]) -> dict[str, Array]:
        """`Batch.weights`, copies."""
        c, given = self.config, [self.array(tensor) for tensor in tensors]
        weights = {key: self.device.empty(shape, c.dtype) for key, shape in c.shapes.items()}
        each = len(given) // (c.num_layers * c.directions)
        for i, own in enumerate(each_direction(c, weights)):
            weight_ih, weight_hh, *biases = given[i * each : (i + 1) * each]
            self.device.kernels.transpose_matrices(weight_ih[None], own["W_in"][None])
            self.device.kernels.transpose_matrices(weight_hh[None], own["W_rec"][None])
            take_biases(c.kind, own, *biases)
        return {key: weights[key].reshape(shape) for key, shape in c.kernel_shapes.items()}

    def torch_weights(self, gradients: dict[str, Array], each: int) -> list[Array]:
        """Gradients of the weights, so many of each direction of each layer; no two share memory."""
        c, found = self.config, []
        for own in each_direction(c, {key: gradients[key].reshape(shape) for key, shape in c.shapes.items()}):
            matrices = []
            for name in ("W_in", "W_rec"):
                matrices.append(self.device.empty(own[name].shape[::-1], c.dtype))
                self.device.kernels.transpose_matrices(own[name][None], matrices[-1][None])
            recurrent = own["b"].copy()
            if c.kind.recurrent_bias:
                recurrent[-c.hidden_size :] = own[c.kind.recurrent_bias]
            found += [*matrices, own["b"], recurrent][:each]
        return found

    def unpacked(self, values: Array) -> Array:
        """(b, t, ...) of packed values (n, ...), 0 after the end of a row; others as they are."""
        if self.steps is None:
            return values
        t, b = self.steps.shape
        padded = self.device.xp.zeros((b, t, values.shape[1]), values.dtype)
        padded.swapaxes(0, 1)[self.steps] = values
        return padded

    def packed(self, values: Array) -> Array:
        """The inverse of `unpacked`."""
        return values if self.steps is None else values.swapaxes(0, 1)[self.steps]

    def whole_state(self, b: int, parts: Sequence[Array]) -> Array:
        """States (layers, nets, b, s) of their parts, or zeros."""
        c, xp = self.config, self.device.xp
        shape = (c.num_layers, c.nets, b, c.state)
        if not parts:
            return xp.zeros(shape, c.dtype)
        return (parts[0] if len(parts) == 1 else xp.concatenate(parts, axis=2)).reshape(shape)

    def parts(self, state: Array) -> list[Array]:
        """The inverse of `whole_state`, C-contiguous."""
        c = self.config
        split = [state] if len(c.state_parts) == 1 else [state[..., part].copy() for part in c.state_parts]
        return [part.reshape(c.num_layers * c.nets, *part.shape[2:]) for part in split]
