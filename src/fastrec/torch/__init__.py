"""Modules in place of torch.nn.RNN, GRU and LSTM that compute with the kernels of fastrec."""

from ..imports import import_when_used

__getattr__, __dir__, __all__ = import_when_used(__name__)
