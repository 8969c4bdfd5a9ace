"""The passes over the layers of a network: forward, loss and backward."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

from . import directions
from .config import Array, Config
from .losses import LossSpec
from .randomness import normal_table
from .validation import Batch, Purpose, embed_back


class Activations(NamedTuple):
    """What a forward pass computed of a batch."""

    config: Config
    batch: Batch
    outputs: Array  # (k, b, t, o)
    saved: tuple[tuple[Array, ...], ...]  # the arrays that the kernel of each layer filled
    read: tuple[tuple[Array, Array], ...]  # what the kernel of each layer read, numbers and tokens
    hidden: Array  # (k, b, t, directions * h), hidden units of the top layer, after dropout


def kernel_of(c: Config, batch: Batch, way: str) -> Callable[..., None]:
    """The kernel of the cell that goes one way, "forward" or "backward"."""
    if c.kind.gains:
        return partial(getattr(batch.device.kernels, f"normalised_{way}"), c.cell)
    return getattr(batch.device.kernels, f"{c.cell}_{way}")


def forward(c: Config, batch: Batch) -> Activations:
    """Run all layers and the output layer."""
    made = run_layers(c, batch)
    return made._replace(outputs=read_out(made, made.hidden)) if c.has_output_layer else made


def run_layers(c: Config, batch: Batch) -> Activations:
    """Run all layers; steps that only gradients need are kept unless outputs are all that is wanted.

    Outputs are the hidden units, unless the cell has computed others.
    """
    device, weights, lengths = batch.device, batch.weights, batch.lengths
    x, tokens, kernels, empty, cell = batch.x, batch.tokens, device.kernels, device.empty, c.kind
    _, b, t, _ = x.shape
    kernel, nothing = kernel_of(c, batch, "forward"), empty((c.nets, 0), c.dtype)
    kept = t if batch.purpose is not Purpose.OUTPUTS or cell.feeds_back_output else 1
    saved, read = [], []
    for layer, keys in enumerate(c.layers):
        x = directions.each_way(c, batch, x)
        tokens = tokens if tokens is device.no_tokens else directions.each_way(c, batch, tokens)
        arrays = [
            empty((c.nets, b, kept if part else t, width), c.dtype) for part, width in enumerate(c.saved)
        ]
        parameters = [weights.get(key, nothing) for key in keys]
        if t:
            noise = [make_noise(c, batch, layer)] if cell.takes_noise or cell.gains else []
            inputs = (x, tokens, lengths, batch.start[layer])
            kernel(*inputs, *parameters, *c.activation_code, *noise, *arrays)
        saved.append(tuple(arrays))
        read.append((x, tokens))
        x, tokens = directions.side_by_side(c, batch, arrays[0]), device.no_tokens
        if batch.drawn.dropout is not None and (c.has_output_layer or layer + 1 < c.num_layers):
            x = x.copy() if c.direction == "forward" else x
            kernels.dropout(batch.drawn.dropout.key, layer, batch.drawn.dropout.threshold, x)
    outputs = directions.added(c, batch, saved[0][1]) if cell.feeds_back_output else x
    return Activations(c, batch, outputs, tuple(saved), tuple(read), x)


def read_out(made: Activations, hidden: Array) -> Array:
    """What the output layer makes (k, b, t, o) of hidden units (k, b, t, h), or of what takes their place."""
    c, batch, *_ = made
    outputs = batch.device.empty((*hidden.shape[:3], c.outputs_width), c.dtype)
    if hidden.shape[2]:
        weights = (batch.weights["W_out"], batch.weights["b_out"])
        batch.device.kernels.affine_forward(hidden, batch.lengths, *weights, outputs)
    return outputs


def make_noise(c: Config, batch: Batch, layer: int) -> Array:
    """What is added to the arguments of f in a layer, (nets, b, t, h), or of width 0 for nothing."""
    device, noise = batch.device, batch.drawn.noise
    made = device.empty((c.nets, *batch.x.shape[1:3], c.hidden_size if noise else 0), c.dtype)
    if noise:
        table = device.take(normal_table(c.dtype))
        device.kernels.normal_noise(noise.key, layer, table, noise.deviation, made)
    return made


def state_after(made: Activations, t: int) -> Array:
    """The states (layers, nets, b, s) after t steps, of shorter rows after their last."""
    c, batch, _, saved, *_ = made
    xp, parts = batch.device.xp, c.kind.state
    first, *others = saved[0][parts]
    if t == 0:
        return batch.start.copy()
    if batch.valid is None and not others and len(saved) == 1:  # without a loop: a step may be short
        return first[None, :, :, min(t, first.shape[2]) - 1].copy()
    state = xp.empty_like(batch.start)
    steps = None if batch.valid is None else xp.minimum(batch.lengths, t)
    rows = slice(None) if steps is None else xp.arange(len(steps))
    for layer, arrays in enumerate(saved):
        for array, part in zip(arrays[parts], c.state_parts, strict=True):
            held = array.shape[2]  # an array of a single step holds the last
            last = min(t, held) - 1 if steps is None else xp.minimum(steps, held) - 1
            state[layer, :, :, part] = array[:, rows, last]
    if steps is not None:
        xp.copyto(state, batch.start, where=(steps == 0)[:, None])
    return state


def take_loss(batch: Batch, goal: LossSpec, outputs: Array, d_outputs: Array) -> Array:
    """Losses (k,) float64 of outputs (k, b, t, o); their gradient fills d_outputs unless that has width 0."""
    losses = batch.device.xp.empty(outputs.shape[:2])
    goal.kernel(outputs, goal.targets, *goal.weights, goal.scale, losses, d_outputs)
    return losses.sum(axis=1) * goal.scale


def backward(
    made: Activations,
    d_outputs: Array | None,
    d_hidden: Array | None,
    d_last: Array,
    wanted: Collection[str],
) -> dict[str, Array]:
    """Gradients of the parameters, in `kernel_shapes`, and of "state" (layers, nets, b, s).

    d_outputs (k, b, t, o), d_hidden (k, b, t, directions * h), d_last (layers, nets, b, s): the first two may
    be overwritten, and `made` is if gradients are the purpose of the batch.
    wanted: of "x" (unless x is tokens) and "flow" (layers, nets, b, t) those to compute too.
    """
    c, batch, *_ = made
    xp, empty, kernels = batch.device.xp, batch.device.empty, batch.device.kernels
    b, t = made.hidden.shape[1:3]
    if not t:
        return nothing_read(made, d_last, wanted)
    gradients = {key: batch.device.empty_like(weight) for key, weight in batch.weights.items()}
    incoming = output_gradient(made, d_outputs, d_hidden, gradients)
    del d_outputs, d_hidden  # so that `incoming` alone holds them, and each layer's are freed after it
    d_state = xp.empty_like(batch.start)
    flow = xp.empty((c.num_layers, c.nets, b, t if "flow" in wanted else 0))
    nothing = empty((c.nets, 0), c.dtype)
    for layer in reversed(range(c.num_layers)):
        width = made.read[layer][0].shape[3] if layer or "x" in wanted else 0
        d_x = empty((c.nets, b, t, width), c.dtype)
        keys, saved = c.layers[layer], made.saved[layer]
        work = incoming
        if c.kind.overwrites_saved:
            work = list(saved[-c.kind.overwrites_saved :])
            if batch.purpose is not Purpose.GRADIENTS:
                work = [batch.device.empty_like(array) for array in work]
        kernel_of(c, batch, "backward")(
            *(*made.read[layer], batch.lengths, batch.start[layer], *saved),
            *[batch.weights.get(key, nothing) for key in keys if c.kind.takes_back(key)],
            *(*c.activation_code, *incoming, d_last[layer], *work, d_x, d_state[layer]),
            *[gradients.get(key, nothing) for key in keys],
            flow[layer],
        )
        d_initial = d_state[layer].sum(axis=1)
        for key, part in zip(c.initial[layer], c.state_parts, strict=True):
            gradients[key][...] = d_initial[:, part] if batch.learned else 0
        d_x = directions.added(c, batch, d_x)
        if layer and batch.drawn.dropout is not None:
            kernels.dropout(batch.drawn.dropout.key, layer - 1, batch.drawn.dropout.threshold, d_x)
        incoming = [directions.apart(c, batch, d_x) if layer else d_x]
        del work, d_x
    if batch.embedded is not None:
        embed_back(c, batch, gradients)
    if "x" in wanted and batch.tokens is batch.device.no_tokens:
        gradients["x"] = incoming[0]
    if "flow" in wanted:
        gradients["flow"] = xp.stack([directions.in_order(c, batch, squares) for squares in flow])
    return gradients | {"state": d_state}


def nothing_read(made: Activations, d_last: Array, wanted: Collection[str]) -> dict[str, Array]:
    """What `backward` returns after no steps: the state that a batch began with is its last."""
    c, batch, *_ = made
    xp = batch.device.xp
    gradients = {key: xp.zeros_like(weight) for key, weight in batch.weights.items()}
    if batch.embedded is not None:
        gradients["W_in"] = xp.zeros_like(batch.embedded)
    for layer, keys in enumerate(c.initial):
        for key, part in zip(keys, c.state_parts, strict=True):
            gradients[key][...] = d_last[layer, :, :, part].sum(axis=1) if batch.learned else 0
    if "x" in wanted and batch.tokens is batch.device.no_tokens:
        gradients["x"] = xp.zeros((c.k, *batch.x.shape[1:]), c.dtype)
    if "flow" in wanted:
        gradients["flow"] = xp.zeros((c.num_layers, c.nets, batch.x.shape[1], 0))
    return gradients | {"state": d_last.copy()}


def output_gradient(
    made: Activations,
    d_outputs: Array | None,
    d_hidden: Array | None,
    gradients: dict[str, Array],
) -> list[Array]:
    """Go back through the output layer; return what the kernel of the top layer takes.

    That is the whole d_hidden, and for a cell that feeds its output back d_outputs.
    """
    c, batch, *_ = made
    xp, hidden = batch.device.xp, made.hidden
    if c.has_output_layer and d_outputs is None:
        gradients["W_out"][...], gradients["b_out"][...] = 0, 0
    if c.has_output_layer and d_outputs is not None:
        d_top = read_out_back(made, hidden, d_outputs, gradients)
        if batch.drawn.dropout is not None:
            batch.device.kernels.dropout(
                batch.drawn.dropout.key, c.num_layers - 1, batch.drawn.dropout.threshold, d_top
            )
        if d_hidden is not None:
            d_top += d_hidden
        d_hidden = d_top
    incoming = [directions.apart(c, batch, xp.zeros_like(hidden) if d_hidden is None else d_hidden)]
    if c.kind.feeds_back_output:
        d_each = xp.zeros_like(made.outputs) if d_outputs is None else d_outputs
        incoming.append(directions.each_way(c, batch, d_each))
    return incoming


def read_out_back(made: Activations, hidden: Array, d_outputs: Array, gradients: dict[str, Array]) -> Array:
    """Go back through `read_out`: fill the gradients of its parameters, and return that of what it read."""
    batch, d_hidden = made.batch, made.batch.device.empty_like(hidden)
    inputs = (hidden, batch.lengths, batch.weights["W_out"], d_outputs)
    batch.device.kernels.affine_backward(*inputs, d_hidden, gradients["W_out"], gradients["b_out"])
    return d_hidden
