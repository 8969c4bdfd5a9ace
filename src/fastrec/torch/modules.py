"""torch.nn.RNN, GRU and LSTM with the kernels of fastrec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..rnn.torch import import_torch

if TYPE_CHECKING:
    import torch
else:
    torch = import_torch()
from torch.nn.utils.rnn import PackedSequence

from . import autograd
from .passes import Plan

FEWEST = 2  # steps of a row that are worth a call of a kernel: PyTorch is left to do fewer


class Fused:
    """The forward pass that RNN, GRU and LSTM share; their other base class is that of torch.nn."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.proj_size:
            raise ValueError(
                f"proj_size is {self.proj_size}; fastrec has no projections, leave it out or use torch.nn.LSTM"
            )

    def forward(self, input: Any, hx: Any = None) -> Any:
        is_packed = isinstance(input, PackedSequence)
        x, sizes = (input.data, input.batch_sizes) if is_packed else (input, None)
        two = self.mode == "LSTM"
        states = () if hx is None else tuple(hx) if two else (hx,)
        weights = [getattr(self, name) for name in self._flat_weights_names]
        is_single = not is_packed and x.dim() == 2
        if is_packed:
            if input.sorted_indices is not None:
                states = [state.index_select(1, input.sorted_indices) for state in states]
        elif is_single:
            x, states = x[None], [state[:, None] for state in states]
        elif not self.batch_first:
            x = x.transpose(0, 1)
        threshold = 0
        if self.training and self.num_layers > 1:
            threshold = min(round(self.dropout * 2**16), 2**16 - 1)
        plan = Plan(self.mode, self.hidden_size, self.num_layers, self.bidirectional, threshold)
        outputs, *last = autograd.run(plan, x, sizes, states, weights)
        if is_packed:
            outputs = input._replace(data=outputs)
            if input.unsorted_indices is not None:
                last = [state.index_select(1, input.unsorted_indices) for state in last]
        elif is_single:
            outputs, last = outputs[0], [state[:, 0] for state in last]
        elif not self.batch_first:
            outputs = outputs.transpose(0, 1)
        return outputs, tuple(last) if two else last[0]


class RNN(Fused, torch.nn.RNN):
    pass


class GRU(Fused, torch.nn.GRU):
    pass


class LSTM(Fused, torch.nn.LSTM):
    pass
