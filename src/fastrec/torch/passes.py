"""A pass over a batch of tensors and the pass back, which autograd and custom operators are made of.

Weights come in the order of PyTorch: for each layer and direction "weight_ih" (g h, i), "weight_hh" (g h, h) and, if
the module has biases, "bias_ih" and "bias_hh" (g h).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from ..rnn import passes
from ..rnn.cells import CELLS, CellName
from ..rnn.config import Activation, Array, Config, suffix
from ..rnn.device import ComputeDevice, compute_device
from ..rnn.passes import Activations
from ..rnn.validation import Batch, Dropout, Purpose, make_batch
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


class Pass(NamedTuple):
    """A forward pass over a batch."""

    made: Activations
    steps: Array | None  # (t, b) bool of a packed batch: those before the end of each row

    @property
    def whole(self) -> Array:
        """The outputs (b, t, h)."""
        return self.made.outputs[0]

    @property
    def outputs(self) -> Array:
        """The outputs (b, t, h), or (n, h) packed."""
        return packed(self.whole, self.steps)

    @property
    def states(self) -> list[Array]:
        """The parts of the last states, each (layers, b, h)."""
        t = self.made.batch.x.shape[2]
        return parts_of(self.made.config, passes.state_after(self.made, t))

    @property
    def kept(self) -> list[Array]:
        """What the pass back reads besides `whole` and what the forward pass was given."""
        made = self.made
        between = [x for x, saved in zip(made.passed_on[:-1], made.saved, strict=False) if x is not saved[0]]
        return [array for saved in made.saved for array in saved if array is not made.outputs] + between


@lru_cache
def configuration(plan: Plan, input_size: int, dtype: torch.dtype) -> Config:
    """The configuration of a network without output layer."""
    name, _, activation = plan.mode.partition("_")
    cell = cast(CellName, CELL_NAMES[name])
    f = cast(Activation, activation.lower() or "tanh")
    of_numpy = np.dtype(str(dtype).removeprefix("torch."))
    return Config(input_size, plan.hidden_size, None, cell, f, plan.layers, None, of_numpy)


def prepare(
    plan: Plan,
    x: torch.Tensor,
    sizes: torch.Tensor | None,
    key: torch.Tensor | None,
    states: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    purpose: Purpose,
) -> Pass:
    """A pass that is still to be done, over x (b, t, i), or packed x (n, i) with the sizes (t,) of its steps.

    states: each (layers, b, h), none of them for zeros.  key: of dropout.  Tensors are checked and C-contiguous.
    """
    backend = arrays.backend_for(x)
    c, device = configuration(plan, x.shape[-1], x.dtype), compute_device(backend)
    steps = valid = lengths = None
    if sizes is not None:
        steps = device.xp.arange(int(sizes[0])) < device.take(sizes.numpy())[:, None]
        valid, lengths = steps.T, steps.sum(axis=0)
    values, start = inputs(c, device, x, states, steps)
    dropout = None if key is None else Dropout(plan.threshold, np.uint64(int(key)))
    parameters = kernel_weights(c, device, [arrays.array_of(weight, backend) for weight in weights])
    batch = make_batch(c, device, parameters, values, lengths, start, purpose, dropout, valid)
    return Pass(c, batch, steps)


def inputs(
    c: Config, device: ComputeDevice, x: torch.Tensor, states: Sequence[torch.Tensor], steps: Array | None
) -> tuple[Array, Array]:
    """`Batch.x` and `Batch.start`."""
    values = arrays.array_of(x, device.backend)
    if steps is not None:
        values = unpacked(device, values, steps)
    parts = [arrays.array_of(state, device.backend) for state in states]
    return values[None], start_of(c, device, len(values), parts)


def restored(
    done: Pass,
    x: torch.Tensor,
    states: Sequence[torch.Tensor],
    whole: torch.Tensor,
    kept: Sequence[torch.Tensor],
) -> Pass:
    """The pass with what it was given and has made."""
    c, batch, steps = done
    values, start = inputs(c, batch.device, x, states, steps)
    outputs, *found = (arrays.array_of(tensor, batch.device.backend) for tensor in (whole, *kept))
    outputs, parts = outputs[None], len(c.saved)
    if c.directions == 1:
        found.insert((c.num_layers - 1) * parts, outputs)
    saved = tuple(tuple(found[layer * parts : (layer + 1) * parts]) for layer in range(c.num_layers))
    between = found[c.num_layers * parts :] or [of_layer[0] for of_layer in saved[:-1]]
    batch = batch._replace(x=values, start=start)
    return Activations(c, batch, outputs, saved, (*between, outputs))


def backward(
    done: Pass,
    d_outputs: torch.Tensor | None,
    d_states: Sequence[torch.Tensor | None],
    n: int,
    wanted: Sequence[bool],
) -> list[torch.Tensor | None]:
    """Gradients of x and the states, n tensors, and of the weights: those that are wanted."""
    made, steps = done.made, done.steps
    c, batch = made.config, made.batch
    device, (_, b, _, _) = batch.device, batch.x.shape
    d_hidden = None
    if d_outputs is not None:
        d_hidden = arrays.array_of(d_outputs.contiguous(), device.backend)
        if steps is not None:
            d_hidden = unpacked(device, d_hidden, steps)
        elif not c.kind.overwrites_saved:
            d_hidden = d_hidden.copy()  # the kernel writes over it
        d_hidden = d_hidden[None]
    zeros = device.xp.zeros((c.num_layers * c.directions, b, c.hidden_size), c.dtype)
    d_last = [zeros if d is None else arrays.array_of(d.contiguous(), device.backend) for d in d_states]
    gradients = passes.backward(made, None, d_hidden, start_of(c, device, b, d_last), ("x",) * wanted[0])
    of_x = packed(gradients["x"][0], steps) if wanted[0] else None
    of_states = parts_of(c, gradients["state"])[: n - 1]
    of_weights = torch_weights(c, device, gradients, (len(wanted) - n) // (c.num_layers * c.directions))
    found = [of_x, *of_states, *of_weights]
    return [arrays.tensor_of(g) if want else None for g, want in zip(found, wanted, strict=True)]


def unpacked(device: ComputeDevice, values: Array, steps: Array) -> Array:
    """(b, t, ...) of packed values (n, ...), 0 after the end of a row."""
    t, b = steps.shape
    padded = device.xp.zeros((b, t, values.shape[1]), values.dtype)
    padded.swapaxes(0, 1)[steps] = values
    return padded


def packed(values: Array, steps: Array | None) -> Array:
    """The values (b, t, ...) themselves, or packed (n, ...) if steps are given."""
    return values if steps is None else values.swapaxes(0, 1)[steps]


def start_of(c: Config, device: ComputeDevice, b: int, parts: Sequence[Array]) -> Array:
    """The states (layers, nets, b, s) with the parts (layers, b, h), or zeros."""
    if not parts:
        return device.xp.zeros((c.num_layers, c.nets, b, c.state), c.dtype)
    whole = parts[0] if len(parts) == 1 else device.xp.concatenate(parts, axis=2)
    return whole.reshape(c.num_layers, c.nets, b, c.state)


def parts_of(c: Config, state: Array) -> list[Array]:
    """The parts (layers, b, h) of states (layers, nets, b, s), C-contiguous."""
    split = [state] if len(c.state_parts) == 1 else [state[..., part].copy() for part in c.state_parts]
    return [part.reshape(-1, *part.shape[2:]) for part in split]


def kernel_weights(c: Config, device: ComputeDevice, given: Sequence[Array]) -> dict[str, Array]:
    """The parameters that kernels take of weights of PyTorch, copies."""
    weights, nets, h = {}, c.nets, c.hidden_size
    each = len(given) // (c.num_layers * nets)
    apart = c.kind.recurrent_bias
    for layer in range(c.num_layers):
        end, of_layer = suffix(layer), given[layer * nets * each : (layer + 1) * nets * each]
        for name, matrices in (("W_in", of_layer[::each]), ("W_rec", of_layer[1::each])):
            W = weights[name + end] = device.empty((nets, *matrices[0].shape[::-1]), c.dtype)
            for net, matrix in enumerate(matrices):
                W[net] = matrix.T
        b = weights["b" + end] = device.xp.zeros((nets, c.kind.gates * h), c.dtype)
        if apart:
            weights[apart + end] = device.xp.zeros((nets, h), c.dtype)
        added = b.shape[1] - h * bool(apart)
        for net in range(nets if each == 4 else 0):
            inward, recurrent = of_layer[4 * net + 2 : 4 * net + 4]
            b[net] = inward
            b[net, :added] += recurrent[:added]
            if apart:
                weights[apart + end][net] = recurrent[added:]
        for key in c.initial[layer]:
            weights[key] = device.xp.zeros((nets, h), c.dtype)
    return weights


def torch_weights(c: Config, device: ComputeDevice, gradients: dict[str, Array], each: int) -> list[Array]:
    """Gradients of the weights of PyTorch, so many for each layer and direction, each in memory of its own."""
    apart, found = c.kind.recurrent_bias, []
    for layer in range(c.num_layers):
        end = suffix(layer)
        for net in range(c.nets):
            of_net = [device.xp.ascontiguousarray(gradients[name + end][net].T) for name in ("W_in", "W_rec")]
            inward = gradients["b" + end][net]
            recurrent = inward.copy()
            if apart:
                recurrent[-c.hidden_size :] = gradients[apart + end][net]
            found += [*of_net, inward, recurrent][:each]
    return found
