"""Recurrent neural networks, trained by backpropagation through time."""

from ..imports import import_when_used

__getattr__, __dir__, __all__ = import_when_used(__name__)
