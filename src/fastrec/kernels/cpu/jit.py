"""How kernels are compiled: one policy, a disk cache that notices source changes, a word on first use."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core import event

log = logging.getLogger("fastrec")

# Numba's cache looks only at the file of the function; kernels are built from intrinsics in others.
SOURCES = hashlib.sha256(
    b"".join(f.read_bytes() for f in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()


def jit(function: Callable[..., Any] | None = None, *, parallel: bool = False) -> Any:
    """Compile a kernel on its first call: cached on disk, without the GIL, IEEE arithmetic in order."""
    if function is None:
        return lambda f: jit(f, parallel=parallel)
    kernel = numba.njit(cache=True, nogil=True, error_model="numpy", parallel=parallel)(function)
    kernel._cache._cache_file._source_stamp = SOURCES
    return kernel


class Announcement(event.Listener):
    """Says once a process, on a terminal, that kernels are being compiled."""

    said = False

    def on_start(self, event: event.Event) -> None:
        function = event.data["dispatcher"].py_func
        if not function.__module__.startswith("fastrec."):
            return
        log.info("compiling %s", function.__qualname__)
        if not Announcement.said and sys.stderr is not None and sys.stderr.isatty():
            Announcement.said = True
            print("fastrec: compiling kernels for this CPU (once; they are kept on disk)", file=sys.stderr)

    def on_end(self, event: event.Event) -> None:
        pass


event.register("numba:compile", Announcement())


def describe() -> dict[str, str]:
    """What `fastrec info` tells of the CPU: threads, vectors, where compiled kernels are kept."""
    from .hopfield import overlaps
    from .simd import FEATURES, LANES

    vectors = [name for name in ("avx512vpopcntdq", "avx512bw", "avx2", "neon") if name in FEATURES]
    return {
        "cpu name": llvm.get_host_cpu_name(),
        "vectors": f"{64 * LANES} bits, {', '.join(vectors) or 'portable'}",
        "threads": f"{numba.get_num_threads()}",
        "cache": str(overlaps._cache.cache_path),
    }
