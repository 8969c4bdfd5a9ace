"""CUDA without a card: the project's own CUDA sources run on the CPU behind a stand-in for CuPy."""

from __future__ import annotations

import platform
import re
import shutil
import sys


def unavailable_reason() -> str | None:
    """What keeps the emulator from running here, a sentence, or None."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "CUDA is emulated on x86-64 Linux only"
    return None if shutil.which("g++") else "emulating CUDA needs g++"


def install() -> None:
    """Let ``import cupy`` give the stand-in, from now on in this process.

    What may have been imported of the real CuPy is forgotten: whoever looks through `sys.modules`, as
    Hypothesis does, would else load more of it on top of the stand-in.
    """
    from . import cupy

    for name in list(sys.modules):
        if name.partition(".")[0] in ("cupy", "cupyx", "cupy_backends"):
            del sys.modules[name]
    sys.modules["cupy"] = cupy


def compile_together() -> None:
    """Let g++, which takes half a second to begin with, compile all instances of a file at once.

    Of the many instances for cells it compiles those of one cell and product.
    """
    from fastrec.kernels.gpu import module

    def structs(name: str) -> list[str]:
        return re.findall(r"[A-Z]\w+", name)

    module.compiled_with = lambda file, name: tuple(
        other for other in module.KERNELS[file] if structs(other) == structs(name)
    )
