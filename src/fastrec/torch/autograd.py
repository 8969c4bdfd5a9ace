"""A pass as a function that autograd differentiates, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..rnn.validation import Purpose
from . import arrays
from .passes import Inputs, Pass, Plan

TWICE = (
    "fastrec.torch has no second derivatives; where they are needed, as for penalties on gradients, "
    "use the module of torch.nn"
)


def run(plan: Plan, inputs: Inputs, weights: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Outputs and the parts of the last states."""
    tensors = (inputs.x, *inputs.states, *weights)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return Differentiable.apply(plan, inputs.sizes, inputs.key, 1 + len(inputs.states), *tensors)
    with arrays.in_order(inputs.x):
        done = Pass(plan, inputs, weights, Purpose.OUTPUTS).run()
        return tuple(map(arrays.tensor_of, (done.outputs, *done.states)))


class Differentiable(torch.autograd.Function):
    """`run`, with what its gradients need."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: Plan,
        sizes: torch.Tensor | None,
        key: torch.Tensor | None,
        n: int,
        *tensors: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        x, *states = tensors[:n]
        with arrays.in_order(x):
            done = Pass(plan, Inputs(x, sizes, key, states), tensors[n:], Purpose.TRACE).run()
            whole, *kept = map(arrays.tensor_of, (done.whole, *done.kept))
            outputs = whole if sizes is None else arrays.tensor_of(done.outputs)
            last = map(arrays.tensor_of, done.states)
        ctx.set_materialize_grads(False)
        # What PyTorch frees after the pass back, and refuses to use once it has been changed in place.
        ctx.save_for_backward(*tensors[:n], whole, *kept)
        # Copies of the weights, which may change.
        ctx.others = plan, sizes, key, n, done.batch.weights
        return outputs, *last

    @staticmethod
    def backward(ctx: Any, *d: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        plan, sizes, key, n, weights = ctx.others
        x, *states, whole, kept = *(saved := ctx.saved_tensors)[: n + 1], saved[n + 1 :]
        with torch.no_grad(), arrays.in_order(x):
            done = Pass(plan, Inputs(x, sizes, key, states), weights, Purpose.TRACE).restore(whole, kept)
            gradients = done.back(d[0], d[1:], n, ctx.needs_input_grad[4:])
        if torch.is_grad_enabled():
            refusing = iter(Once.apply(*[g.requires_grad_() for g in gradients if g is not None]))
            gradients = [None if g is None else next(refusing) for g in gradients]
        return None, None, None, None, *gradients


class Once(torch.autograd.Function):
    """Gradients that cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(gradient.view_as(gradient) for gradient in gradients)

    @staticmethod
    def backward(ctx: Any, *d: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raise NotImplementedError(TWICE)
