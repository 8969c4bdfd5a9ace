"""Passes as custom operators, which torch.compile does not look into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..rnn.validation import Purpose
from . import arrays
from .passes import Pass, Plan, configuration

# As for `Pass`; rows: b, which sizes do not tell the compiler.
GIVEN = (
    "Tensor x, Tensor? sizes, Tensor? key, Tensor[] states, Tensor[] weights, "
    "str mode, int hidden_size, int layers, bool bidirectional, int threshold, int rows"
)
KNOWN = "Tensor whole, Tensor[] kept, Tensor? d_outputs, Tensor?[] d_states, bool[] wanted"


@torch.library.custom_op("fastrec::forward", mutates_args=(), schema=f"({GIVEN}, bool keep) -> Tensor[]")
def forward(
    x: Tensor, sizes: Tensor | None, key: Tensor | None, states: Any, weights: Any, *rest: Any
) -> Any:
    """Outputs and the parts of the last states; to keep: the outputs (b, t, h) of packed x, and `kept`."""
    *plan, _, keep = rest
    with arrays.where_torch_computes(x):
        purpose = Purpose.TRACE if keep else Purpose.OUTPUTS
        done = Pass(Plan(*plan), x, sizes, key, states, weights, purpose)
        made = done.run()
        whole = made.outputs[0]
        found = [done.packed(whole), *done.last(made)]
        if keep:
            found += [whole] * (sizes is not None) + done.kept(made)
        return [arrays.tensor_of(array) for array in found]


@forward.register_fake
def _(x: Tensor, sizes: Tensor | None, key: Tensor | None, states: Any, weights: Any, *rest: Any) -> Any:
    *plan, rows, keep = rest
    c = configuration(Plan(*plan), int(x.shape[-1]), x.dtype)
    steps = x.shape[1] if sizes is None else sizes.shape[0]
    shapes: list[Sequence[int]] = [(*x.shape[:-1], c.hidden_width)]
    shapes += [(c.num_layers * c.nets, rows, c.hidden_size)] * len(c.state_parts)
    if keep:
        if sizes is not None:
            shapes.append((rows, steps, c.hidden_width))
        widths = list(c.saved) * c.num_layers
        if c.directions == 1:
            del widths[-len(c.saved)]
        if c.directions == 2 or key is not None:
            widths += [c.hidden_width] * (c.num_layers - 1)
        shapes += [(c.nets, rows, steps, width) for width in widths]
    return [x.new_empty(shape) for shape in shapes]


@torch.library.custom_op("fastrec::backward", mutates_args=(), schema=f"({GIVEN}, {KNOWN}) -> Tensor[]")
def backward(
    x: Tensor, sizes: Tensor | None, key: Tensor | None, states: Any, weights: Any, *rest: Any
) -> Any:
    """Gradients of x, the states and the weights; for those that are not wanted an empty tensor."""
    *plan, _, whole, kept, d_outputs, d_states, wanted = rest
    with arrays.where_torch_computes(x):
        done = Pass(Plan(*plan), x, sizes, key, states, weights, Purpose.TRACE)
        made = done.restore(x, states, whole, kept)
        gradients = done.back(made, d_outputs, d_states, 1 + len(states), wanted)
    return [x.new_empty(0) if gradient is None else gradient for gradient in gradients]


@backward.register_fake
def _(x: Tensor, sizes: Tensor | None, key: Tensor | None, states: Any, weights: Any, *rest: Any) -> Any:
    tensors = (x, *states, *weights)
    return [x.new_empty(tensor.shape if want else 0) for tensor, want in zip(tensors, rest[-1], strict=True)]


def keep_inputs(ctx: Any, inputs: Any, output: Any) -> None:
    x, sizes, key, states, weights, *others, _ = inputs
    parts = Plan(*others[:-1]).parts
    first = 1 + parts if sizes is not None else 0  # the outputs (b, t, h)
    ctx.save_for_backward(x, *states, *weights, output[first], *output[max(first, parts) + 1 :])
    ctx.set_materialize_grads(False)
    ctx.others, ctx.sizes, ctx.key, ctx.n, ctx.m = others, sizes, key, len(states), len(weights)


def differentiate(ctx: Any, d: Any) -> Any:
    saved, n, m = ctx.saved_tensors, ctx.n, ctx.m
    x, states, weights, (whole, *kept) = saved[0], saved[1 : n + 1], saved[n + 1 :][:m], saved[n + m + 1 :]
    of_x, _, _, of_states, of_weights, *rest = ctx.needs_input_grad
    wanted = [of_x, *(of_states or ()), *of_weights]
    parts = Plan(*ctx.others[:-1]).parts
    given = (x, ctx.sizes, ctx.key, states, weights, *ctx.others)
    found = backward(*given, whole, kept, d[0], list(d[1 : parts + 1]), wanted)
    found = [gradient if want else None for gradient, want in zip(found, wanted, strict=True)]
    return found[0], None, None, found[1 : n + 1], found[n + 1 :], *(None for _ in rest)


forward.register_autograd(differentiate, setup_context=keep_inputs)
