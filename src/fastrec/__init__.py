"""Hopfield networks and recurrent neural networks, fast and exact, on CPU and GPU.

The public names are listed in ``__init__.pyi`` and imported when they are first used, so that
``import fastrec`` loads no NumPy, Numba, CuPy or matplotlib.
"""

from .imports import accept_old_places, import_when_used

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = import_when_used(__name__, "__version__")
accept_old_places()
__all__ = [name for name in __all__ if name not in ("onnx", "torch")]  # `import *` must not hide libraries
