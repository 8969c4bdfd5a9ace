"""The threads of PyTorch's OpenMP, which compute our kernels too.

After each of its operations PyTorch's threads wait actively for the next one, for some milliseconds.  Threads
of our own would have to share their cores with them all that time; these are awake already.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..kernels.cpu.threads import Team

FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_forked = False


def team() -> Team | None:
    """PyTorch's threads, None where they cannot be borrowed: those of GNU's library end with a fork."""
    return None if _forked else opened()


@functools.cache
def opened() -> Team | None:
    """A team of GNU's OpenMP, if PyTorch came with it."""
    root = Path(torch.__file__).parent
    for folder in (root / "lib", root.with_name("torch.libs")):
        for path in sorted(folder.glob("libgomp*.so*")):
            try:
                begin: Any = ctypes.CDLL(str(path), mode=getattr(os, "RTLD_NOLOAD", 0)).GOMP_parallel
            except (AttributeError, OSError):
                continue
            begin.argtypes, begin.restype = (FUNCTION, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
            return functools.partial(run, begin)
    return None


def run(begin: Any, function: Callable[[], None], threads: int) -> None:
    """Call a function, which must not raise, in so many threads."""
    begin(FUNCTION(lambda _: function()), None, threads, 0)


def forget() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
