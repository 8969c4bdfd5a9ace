"""Tensors of PyTorch as arrays of the backend that computes where they are, in the same memory, and back."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch

from ..backend import array_module, get_backend, on_device, resolve
from ..kernels.cpu.threads import borrow_team
from ..rnn.config import Array
from .team import team


def backend_for(tensor: torch.Tensor) -> str:
    """The backend that computes where a tensor is; ValueError where none does."""
    kind = tensor.device.type
    if kind == "cuda":
        return resolve("gpu", domain="rnn")
    if kind != "cpu":
        raise ValueError(f'input is on device "{tensor.device}"; move it to "cpu" or "cuda"')
    return "reference" if get_backend() == "reference" else "cpu"


def array_of(tensor: torch.Tensor, backend: str) -> Array:
    """A tensor as an array."""
    tensor = tensor.detach()
    return array_module("gpu").from_dlpack(tensor) if backend == "gpu" else tensor.numpy()


def tensor_of(array: Array) -> torch.Tensor:
    """An array as a tensor."""
    return torch.from_dlpack(array) if on_device(array) else torch.from_numpy(array)


def where_torch_computes(tensor: torch.Tensor) -> AbstractContextManager[Any]:
    """A ``with`` block whose kernels run in PyTorch's threads, or in its queue for the device of a tensor."""
    if not tensor.is_cuda:
        return borrow_team(team())
    cuda, number = array_module("gpu").cuda, tensor.device.index
    both = ExitStack()
    both.enter_context(cuda.Device(number))
    both.enter_context(cuda.ExternalStream(torch.cuda.current_stream(number).cuda_stream, number))
    return both
