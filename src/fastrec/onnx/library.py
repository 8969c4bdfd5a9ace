"""The package onnx, imported where it is needed."""

from __future__ import annotations

from types import ModuleType

from ..messages import install_command


def import_onnx() -> ModuleType:
    """Return the package onnx; ImportError that says how to install it."""
    try:
        import onnx
        import onnx.checker
        import onnx.inliner
        import onnx.numpy_helper
        import onnx.reference
    except ImportError:
        raise ImportError(f"ONNX is not installed: {install_command('onnx')}") from None
    return onnx
