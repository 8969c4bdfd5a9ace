"""Passes as custom operators, which torch.compile and the transforms of torch.func do not look into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..rnn.validation import Purpose
from . import arrays
from .passes import Pass, Plan, configuration

PLAN = "str mode, int hidden_size, int layers, bool bidirectional, int threshold"
GIVEN = f"Tensor x, Tensor? key, Tensor[] states, Tensor[] weights, {PLAN}"


@torch.library.custom_op("fastrec::forward", mutates_args=(), schema=f"({GIVEN}, bool keep) -> Tensor[]")
def forward(x, key, states, weights, *rest):
    """Outputs, the parts of the last states and, if they are to be kept, `Pass.kept`."""
    *plan, keep = rest
    with arrays.in_order(x):
        done = Pass(Plan(*plan), x, None, key, states, weights, Purpose.TRACE if keep else Purpose.OUTPUTS)
        made = done.run()
        found = [made.outputs[0], *done.last(made), *(done.kept(made) if keep else ())]
        return [arrays.tensor_of(array) for array in found]


@forward.register_fake
def _(x, key, states, weights, *rest):
    *plan, keep = rest
    c = configuration(Plan(*plan), int(x.shape[2]), x.dtype)
    b, t, _ = x.shape
    shapes = [(b, t, c.hidden_width)] + [(c.num_layers * c.nets, b, c.hidden_size)] * len(c.state_parts)
    if keep:
        kept = [(c.nets, b, t, width) for width in c.saved] * c.num_layers
        if c.directions == 1:
            del kept[-len(c.saved)]
        if c.directions == 2 or key is not None:
            kept += [(c.nets, b, t, c.hidden_width)] * (c.num_layers - 1)
        shapes += kept
    return [x.new_empty(shape) for shape in shapes]


@torch.library.custom_op(
    "fastrec::backward",
    mutates_args=(),
    schema=f"({GIVEN}, Tensor whole, Tensor[] kept, Tensor? d_outputs, Tensor?[] d_states, bool[] wanted) -> Tensor[]",
)
def backward(x, key, states, weights, *rest):
    """Gradients of x, the states and the weights; of those that are not wanted an empty tensor."""
    *plan, whole, kept, d_outputs, d_states, wanted = rest
    with arrays.in_order(x):
        done = Pass(Plan(*plan), x, None, key, states, weights, Purpose.TRACE)
        made = done.restore(x, states, whole, kept)
        gradients = done.back(made, d_outputs, d_states, 1 + len(states), wanted)
    return [x.new_empty(0) if gradient is None else gradient for gradient in gradients]


@backward.register_fake
def _(x, key, states, weights, *rest):
    tensors = (x, *states, *weights)
    return [x.new_empty(tensor.shape if want else 0) for tensor, want in zip(tensors, rest[-1], strict=True)]


def setup_context(ctx, inputs, output):
    x, key, states, weights, *plan, _ = inputs
    ctx.save_for_backward(x, *states, *weights, *output)
    ctx.set_materialize_grads(False)
    ctx.others = key, len(states), len(weights), plan


def differentiate(ctx, d):
    key, n, m, plan = ctx.others
    x, *saved = ctx.saved_tensors
    states, weights, (whole, *rest) = saved[:n], saved[n : n + m], saved[n + m :]
    parts = 2 if plan[0] == "LSTM" else 1
    needs = ctx.needs_input_grad
    wanted = [needs[0], *(needs[2] if n else ()), *needs[3]]
    gradients = backward(
        x, key, states, weights, *plan, whole, rest[parts:], d[0], list(d[1 : 1 + parts]), wanted
    )
    found = [gradient if want else None for gradient, want in zip(gradients, wanted)]
    return found[0], None, found[1 : n + 1], found[n + 1 :], None, None, None, None, None, None


forward.register_autograd(differentiate, setup_context=setup_context)
