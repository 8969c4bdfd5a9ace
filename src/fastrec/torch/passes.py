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
from ..rnn.torch_weights import each_direction, gradients_of_weights, take_weights
from ..rnn.validation import Dropout, Purpose, make_batch
from . import arrays

CELL_NAMES = {cell.torch: cell.name for cell in CELLS.values()}


class Plan(NamedTuple):
    """What a pass takes besides tensors.

    mode: that of torch.nn.RNNBase.  threshold: as in `Dropout`, 0 for none.
    """

    mode: str
    hidden_size: int
    layers: int
    bidirectional: bool
    threshold: int


class Inputs(NamedTuple):
    """Tensors that a pass takes; they have been checked and are C-contiguous.

    x: (b, t, i), or packed (n, i) with the sizes (t,) of its steps.  key: of dropout.  states: the parts of the
    first states, each (layers * directions, b, h), or none for zeros.
    """

    x: torch.Tensor
    sizes: torch.Tensor | None
    key: torch.Tensor | None
    states: Sequence[torch.Tensor]


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
    """A forward pass over a batch; before `run` or `restore` it is still to be made.

    weights: in the order of PyTorch, for each direction of each layer "weight_ih" (g h, i), "weight_hh" (g h, h) and,
    if the module has biases, "bias_ih" and "bias_hh" (g h); or `Batch.weights` made of them.
    """

    made: Activations

    def __init__(
        self, plan: Plan, inputs: Inputs, weights: Sequence[torch.Tensor] | dict[str, Array], purpose: Purpose
    ) -> None:
        x, sizes, key, states = inputs
        backend = arrays.backend_for(x)
        self.device = device = compute_device(backend)
        self.config = c = configuration(plan, x.shape[-1], x.dtype)
        values = arrays.array_of(x, backend)
        self.steps = valid = lengths = None  # (t, b) bool of a packed batch: those before the end of each row
        if sizes is not None:
            self.steps = device.xp.arange(int(sizes[0])) < device.take(sizes.numpy())[:, None]
            valid, lengths = self.steps.T, self.steps.sum(axis=0)
            values = self.unpacked(values)
        if not isinstance(weights, dict):
            weights = self.read_weights(weights)
        start = self.whole_state(values.shape[0], [arrays.array_of(state, backend) for state in states])
        dropout = None if key is None else Dropout(plan.threshold, np.uint64(int(key)))
        self.batch = make_batch(c, device, weights, values[None], lengths, start, purpose, dropout, valid)

    def run(self) -> Pass:
        """Make the pass."""
        self.made = passes.forward(self.config, self.batch)
        return self

    def restore(self, whole: torch.Tensor, kept: Sequence[torch.Tensor]) -> Pass:
        """Make the pass of what it gave as `whole` and `kept`."""
        c, batch = self.config, self.batch
        outputs, *found = (arrays.array_of(tensor, self.device.backend) for tensor in (whole, *kept))
        outputs, parts = outputs[None], len(c.saved)
        if c.directions == 1:
            found.insert((c.num_layers - 1) * parts, outputs)
        saved = [tuple(found[layer * parts : (layer + 1) * parts]) for layer in range(c.num_layers)]
        above = found[c.num_layers * parts :] or [of_layer[0] for of_layer in saved[:-1]]
        read = [(x, self.device.no_tokens) for x in (directions.each_way(c, batch, batch.x), *above)]
        self.made = Activations(c, batch, outputs, tuple(saved), tuple(read), outputs)
        return self

    @property
    def whole(self) -> Array:
        """The outputs (b, t, directions * h)."""
        return self.made.outputs[0]

    @property
    def outputs(self) -> Array:
        """The outputs, packed if x was."""
        return self.packed(self.whole)

    @property
    def states(self) -> list[Array]:
        """The parts of the last states."""
        return self.parts(passes.state_after(self.made, self.batch.x.shape[2]))

    @property
    def kept(self) -> list[Array]:
        """What the pass back reads besides `whole`, the inputs and the weights."""
        made = self.made
        saved = [array for of_layer in made.saved for array in of_layer if array is not made.outputs]
        above = zip(made.read[1:], made.saved[:-1], strict=True)
        return saved + [x for (x, _), of_layer in above if x is not of_layer[0]]

    def back(
        self,
        d_outputs: torch.Tensor | None,
        d_states: Sequence[torch.Tensor | None],
        n: int,
        wanted: Sequence[bool],
    ) -> list[torch.Tensor | None]:
        """Gradients of x and the states given, n tensors, and of the weights: those that are wanted."""
        c, xp, backend = self.config, self.device.xp, self.device.backend
        b = self.batch.x.shape[1]
        d_hidden = None
        if d_outputs is not None:
            d_hidden = arrays.array_of(d_outputs.contiguous(), backend)
            if self.steps is not None:
                d_hidden = self.unpacked(d_hidden)
            elif not c.kind.overwrites_saved:
                d_hidden = d_hidden.copy()  # the kernel writes over it
            d_hidden = d_hidden[None]
        zeros = xp.zeros((c.num_layers * c.directions, b, c.hidden_size), c.dtype)
        d_last = [zeros if d is None else arrays.array_of(d.contiguous(), backend) for d in d_states]
        of_x = ("x",) * wanted[0]
        gradients = passes.backward(self.made, None, d_hidden, self.whole_state(b, d_last), of_x)
        found = [self.packed(gradients["x"][0]) if of_x else None]
        found += self.parts(gradients["state"])[: n - 1]
        each = (len(wanted) - n) // (c.num_layers * c.directions)
        public = {key: gradients[key].reshape(shape) for key, shape in c.shapes.items()}
        for own in each_direction(c, public):
            found += gradients_of_weights(c.kind, own)[:each]
        return [arrays.tensor_of(g) if want else None for g, want in zip(found, wanted, strict=True)]

    def read_weights(self, tensors: Sequence[torch.Tensor]) -> dict[str, Array]:
        """`Batch.weights` of those of PyTorch, copies."""
        c = self.config
        weights = {key: self.device.empty(shape, c.dtype) for key, shape in c.shapes.items()}
        given = [arrays.array_of(tensor, self.device.backend) for tensor in tensors]
        each = len(given) // (c.num_layers * c.directions)
        for i, own in enumerate(each_direction(c, weights)):
            take_weights(c.kind, own, *given[i * each : (i + 1) * each])
        return {key: weights[key].reshape(shape) for key, shape in c.kernel_shapes.items()}

    def unpacked(self, values: Array) -> Array:
        """(b, t, ...) of packed values (n, ...), 0 after the end of a row."""
        t, b = self.steps.shape
        padded = self.device.xp.zeros((b, t, values.shape[1]), values.dtype)
        padded.swapaxes(0, 1)[self.steps] = values
        return padded

    def packed(self, values: Array) -> Array:
        """(n, ...) of values (b, t, ...) if x was packed, else the values."""
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
