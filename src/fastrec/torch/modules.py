"""torch.nn.RNN, GRU and LSTM with the kernels of fastrec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..messages import shown
from ..rnn.torch_weights import import_torch

if TYPE_CHECKING:
    import torch
else:
    torch = import_torch()
from torch.nn.utils.rnn import PackedSequence

from . import autograd
from .passes import Plan

FEWEST = 4  # steps that are worth a call of a kernel: fewer are left to PyTorch
DTYPES = (torch.float32, torch.float64)


class Fused(torch.nn.RNNBase):
    """The forward pass of a subclass of torch.nn.RNN, GRU or LSTM."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.proj_size:
            raise ValueError(f"proj_size is {self.proj_size}; fastrec has no projections, use torch.nn.LSTM")

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run the layers over sequences, as the module of PyTorch does.

        Parameters
        ----------
        input : torch.Tensor or torch.nn.utils.rnn.PackedSequence
            (t, b, i), with batch_first (b, t, i), of a single sequence (t, i).
        hx : torch.Tensor or pair of them, optional
            First states, (layers * directions, b, h), of a single sequence (layers * directions, h); for LSTM
            the pair of h and c.  Zeros by default.

        Returns
        -------
        output : torch.Tensor or PackedSequence
            Hidden units of the last layer, in the form of the input.
        hx : torch.Tensor or pair of them
            The last states.

        Raises
        ------
        ValueError
            If shapes do not fit or a dtype or device has no kernels.
        """
        if transformed():
            return super().forward(input, hx)
        x, sizes, steps_first = input, None, not self.batch_first
        if isinstance(input, PackedSequence):
            x, sizes = input.data, input.batch_sizes
        elif not isinstance(input, torch.Tensor):
            raise ValueError(f"input is {shown(input)}; it must be a torch.Tensor or a PackedSequence")
        single = sizes is None and x.dim() == 2
        states: Sequence[Any] = () if hx is None else tuple(hx) if self.mode == "LSTM" else (hx,)
        weights = [getattr(self, name).contiguous() for name in self._flat_weights_names]
        x, states = checked(self, x, sizes, states, weights)
        t = len(sizes) if sizes is not None else x.shape[0 if single or steps_first else 1]
        if t < FEWEST or not x.numel() or self.dropout == 1:
            return super().forward(input, hx)
        if single:
            x, states = x[None], [state[:, None] for state in states]
        elif sizes is None:
            x = x.transpose(0, 1) if steps_first else x
        elif input.sorted_indices is not None:
            states = [state.index_select(1, input.sorted_indices) for state in states]
        dropout = self.dropout if self.training and self.num_layers > 1 else 0
        threshold = min(round(dropout * 2**16), 2**16 - 1)
        plan = Plan(self.mode, self.hidden_size, self.num_layers, self.bidirectional, threshold)
        # Drawn here, so that torch.manual_seed fixes it, and a checkpoint of PyTorch draws the same again.
        key = torch.randint(2**63 - 1, (), device="cpu") if dropout else None
        states = [state.contiguous() for state in states]
        output, *last = autograd.run(plan, x.contiguous(), sizes, key, states, weights)
        if single:
            output, last = output[0], [state[:, 0] for state in last]
        elif sizes is None:
            output = output.transpose(0, 1) if steps_first else output
        else:
            output = PackedSequence(output, sizes, input.sorted_indices, input.unsorted_indices)
            if input.unsorted_indices is not None:
                last = [state.index_select(1, input.unsorted_indices) for state in last]
        return output, tuple(last) if self.mode == "LSTM" else last[0]


def transformed() -> bool:
    """Whether PyTorch records what is computed, or transforms it in ways that kernels do not know."""
    functions = torch._C._are_functorch_transforms_active()
    return functions or torch.jit.is_tracing() or torch.compiler.is_exporting()


def checked(
    module: torch.nn.RNNBase,
    x: torch.Tensor,
    sizes: torch.Tensor | None,
    states: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
    """x and the states, in the dtype of the weights under autocast; ValueError if something does not fit."""
    i, dtype, device = module.input_size, weights[0].dtype, weights[0].device
    if x.dim() not in ((2, 3) if sizes is None else (2,)) or x.shape[-1] != i:
        batch = f"(b, t, {i})" if module.batch_first else f"(t, b, {i})"
        raise ValueError(f"input has shape {tuple(x.shape)}; it must be {batch}, or (t, {i}) of one sequence")
    if dtype not in DTYPES:
        raise ValueError(f"the weights have dtype {dtype}; make them torch.float32 or torch.float64")
    shape = [module.num_layers * (1 + module.bidirectional), module.hidden_size]
    if sizes is not None or x.dim() == 3:
        shape.insert(1, x.shape[not module.batch_first] if sizes is None else int(sizes[0]))
    names = ("hx[0]", "hx[1]") if module.mode == "LSTM" else ("hx",)
    if len(states) not in (0, len(names)):
        raise ValueError(f"hx has {len(states)} parts; it must be a tuple of h and c")
    for name, state in zip(names, states, strict=False):
        if not isinstance(state, torch.Tensor) or list(state.shape) != shape:
            form = (
                f"has shape {tuple(state.shape)}" if isinstance(state, torch.Tensor) else f"is {shown(state)}"
            )
            raise ValueError(f"{name} {form}; it must be a tensor {tuple(shape)}")
    if any(tensor.dtype != dtype for tensor in (x, *states)) and torch.is_autocast_enabled(device.type):
        x, states = x.to(dtype), [state.to(dtype) for state in states]
    named = [("input", x), *zip(names, states, strict=False), *(("a weight", weight) for weight in weights)]
    for name, tensor in named:
        if tensor.dtype != dtype or tensor.device != device:
            have = f"{name} is {tensor.dtype} on {tensor.device}"
            raise ValueError(f"{have}, the first weight {dtype} on {device}; make them one")
    return x, states


class RNN(Fused, torch.nn.RNN):
    """torch.nn.RNN, Elman's network, with the kernels of fastrec.

    Parameters
    ----------
    *args, **options
        Those of torch.nn.RNN: input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, dropout,
        bidirectional, device, dtype.

    Raises
    ------
    ValueError
        For arguments that torch.nn.RNN refuses.

    Examples
    --------
    >>> import torch
    >>> import fastrec
    >>> rnn = fastrec.torch.RNN(3, 8, nonlinearity="relu", batch_first=True)
    >>> output, last = rnn(torch.zeros(4, 10, 3))
    >>> output.shape, last.shape
    (torch.Size([4, 10, 8]), torch.Size([1, 4, 8]))
    """


class GRU(Fused, torch.nn.GRU):
    """torch.nn.GRU with the kernels of fastrec.

    Parameters
    ----------
    *args, **options
        Those of torch.nn.GRU: input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
        device, dtype.

    Raises
    ------
    ValueError
        For arguments that torch.nn.GRU refuses.

    Examples
    --------
    >>> import torch
    >>> import fastrec
    >>> gru = fastrec.torch.GRU(3, 8, num_layers=2, bidirectional=True)
    >>> output, last = gru(torch.zeros(10, 4, 3))
    >>> output.shape, last.shape
    (torch.Size([10, 4, 16]), torch.Size([4, 4, 8]))
    """


class LSTM(Fused, torch.nn.LSTM):
    """torch.nn.LSTM with the kernels of fastrec.

    Parameters
    ----------
    *args, **options
        Those of torch.nn.LSTM: input_size, hidden_size, num_layers, bias, batch_first, dropout,
        bidirectional, proj_size (which must be 0), device, dtype.

    Raises
    ------
    ValueError
        For arguments that torch.nn.LSTM refuses, and for projections.

    Examples
    --------
    >>> import torch
    >>> import fastrec
    >>> lstm = fastrec.torch.LSTM(3, 8)
    >>> output, (h, c) = lstm(torch.zeros(10, 4, 3))
    >>> output.shape, c.shape
    (torch.Size([10, 4, 8]), torch.Size([1, 4, 8]))
    """
