"""A pass as a function that autograd differentiates, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..rnn.validation import Purpose
from . import arrays, passes
from .passes import Plan

TWICE = (
    "fastrec.torch has no second derivatives; where you need them, as for penalties on gradients, "
    "use the module of torch.nn"
)


def run(
    plan: Plan,
    x: torch.Tensor,
    sizes: torch.Tensor | None,
    states: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
) -> tuple[torch.Tensor, ...]:
    """Outputs and the parts of the last states; arguments as for `passes.prepare`, checked."""
    # Drawn here, so that torch.manual_seed fixes it and a checkpoint of PyTorch draws the same again.
    key = torch.randint(2**63 - 1, ()) if plan.threshold else None
    tensors = [tensor.contiguous() for tensor in (x, *states, *weights)]
    n = 1 + len(states)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return Differentiable.apply(plan, sizes, key, n, *tensors)
    with arrays.in_order(x):
        done = passes.forward(plan, tensors[0], sizes, key, tensors[1:n], tensors[n:], Purpose.OUTPUTS)
        return tuple(arrays.tensor_of(array) for array in (done.outputs, *done.states))


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
        x, states, weights = tensors[0], tensors[1:n], tensors[n:]
        with arrays.in_order(x):
            done = passes.forward(plan, x, sizes, key, states, weights, Purpose.TRACE)
            whole = arrays.tensor_of(done.whole)
            outputs = whole if sizes is None else arrays.tensor_of(done.outputs)
            last = [arrays.tensor_of(array) for array in done.states]
            kept = [arrays.tensor_of(array) for array in done.kept]
        ctx.set_materialize_grads(False)
        # PyTorch frees these after the pass back, and refuses it if one has been changed in place.
        ctx.save_for_backward(x, *states, whole, *kept)
        # The copies of the weights, so that these may be changed.
        ctx.plan, ctx.sizes, ctx.key, ctx.n, ctx.weights = plan, sizes, key, n, done.made.batch.weights
        return outputs, *last

    @staticmethod
    def backward(ctx: Any, *d: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        n, saved = ctx.n, ctx.saved_tensors
        with torch.no_grad(), arrays.in_order(saved[0]):
            x, *states = saved[:n]
            prepared = (ctx.plan, x, ctx.sizes, ctx.key, states, ctx.weights, Purpose.TRACE)
            done = passes.restored(saved[n], saved[n + 1 :], *prepared)
            gradients = passes.backward(done, d[0], d[1:], n, ctx.needs_input_grad[4:])
        if torch.is_grad_enabled():
            made = iter(Once.apply(*[g.requires_grad_() for g in gradients if g is not None]))
            gradients = [None if g is None else next(made) for g in gradients]
        return None, None, None, None, *gradients


class Once(torch.autograd.Function):
    """Gradients that cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(gradient.view_as(gradient) for gradient in gradients)

    @staticmethod
    def backward(ctx: Any, *d: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raise NotImplementedError(TWICE)
