"""Models in the format ONNX: recurrent operators run on the kernels of fastrec, networks become files."""

from ..imports import import_when_used

__getattr__, __dir__, __all__ = import_when_used(__name__)
