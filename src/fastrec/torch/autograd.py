"""A pass as a function that autograd differentiates, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..rnn.validation import Purpose
from . import arrays, ops
from .passes import Pass, Plan

TWICE = (
    "fastrec.torch has no second derivatives; where they are needed, as for penalties on gradients, "
    "use the module of torch.nn"
)


def run(
    plan: Plan,
    x: torch.Tensor,
    sizes: torch.Tensor | None,
    key: torch.Tensor | None,
    states: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
) -> Sequence[torch.Tensor]:
    """Outputs and the parts of the last states of a `Pass`."""
    tensors = (x, *states, *weights)
    differentiable = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if torch.compiler.is_compiling():
        rows = len(x) if sizes is None else int(sizes[0])
        return ops.forward(x, sizes, key, states, weights, *plan, rows, differentiable)[: 1 + plan.parts]
    if differentiable:
        return Differentiable.apply(plan, sizes, key, 1 + len(states), *tensors)
    with arrays.where_torch_computes(x):
        done = Pass(plan, x, sizes, key, states, weights, Purpose.OUTPUTS)
        made = done.run()
        return [arrays.tensor_of(array) for array in (done.packed(made.outputs[0]), *done.last(made))]


class Differentiable(torch.autograd.Function):
    """`run`, with what its gradients need.  The first n tensors are x and states, the others weights."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: Plan,
        sizes: torch.Tensor | None,
        key: torch.Tensor | None,
        n: int,
        *tensors: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        x = tensors[0]
        with arrays.where_torch_computes(x):
            done = Pass(plan, x, sizes, key, tensors[1:n], tensors[n:], Purpose.TRACE)
            made = done.run()
            whole, *kept = [arrays.tensor_of(array) for array in (made.outputs[0], *done.kept(made))]
            outputs = whole if sizes is None else arrays.tensor_of(done.packed(made.outputs[0]))
            last = [arrays.tensor_of(array) for array in done.last(made)]
        ctx.set_materialize_grads(False)
        # What PyTorch frees after the pass back, and refuses to use once it has been changed in place.
        ctx.save_for_backward(*tensors[:n], whole, *kept)
        done.forget()
        ctx.done, ctx.n, ctx.weights = done, n, tensors[n:]
        return outputs, *last

    @staticmethod
    def backward(ctx: Any, *d: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        done, n, saved = ctx.done, ctx.n, ctx.saved_tensors
        with torch.no_grad(), arrays.where_torch_computes(saved[0]):
            made = done.restore(saved[0], saved[1:n], saved[n], saved[n + 1 :])
            gradients = done.back(made, d[0], d[1:], n, ctx.needs_input_grad[4:])
        if torch.is_grad_enabled():
            known = [tensor for tensor in (*saved[:n], *ctx.weights, *d) if tensor is not None]
            once = iter(Once.apply(len(known), *known, *[g for g in gradients if g is not None]))
            gradients = [None if g is None else next(once) for g in gradients]
        return None, None, None, None, *gradients


class Once(torch.autograd.Function):
    """Gradients, as functions of n tensors that cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, n: int, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(gradient.view_as(gradient) for gradient in tensors[n:])

    @staticmethod
    def backward(ctx: Any, *d: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raise NotImplementedError(TWICE)
