"""How kernels are compiled: one policy, a disk cache that notices source changes, a word on first use."""

from __future__ import annotations

import hashlib
import logging
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core import event
from numba.core.caching import FunctionCache, IndexDataCacheFile

log = logging.getLogger("fastrec")

# Numba's cache looks only at the file of the function; kernels are built from intrinsics in others.
SOURCES = hashlib.sha256(
    b"".join(f.read_bytes() for f in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()


def jit(function: Callable[..., Any] | None = None, *, parallel: bool = False) -> Any:
    """Compile a kernel on its first call: cached on disk, without the GIL, IEEE arithmetic in order."""
    if function is None:
        return lambda f: jit(f, parallel=parallel)
    kernel = numba.njit(nogil=True, error_model="numpy", parallel=parallel)(function)
    try:
        kernel._cache = Cache(function)
    except RuntimeError:  # "no locator available": of a folder that can be written to
        not_kept("no folder for them can be written to")
    return kernel


class CacheFile(IndexDataCacheFile):
    """Numba's pickles, each with its checksum behind it, as damaged machine code would be run."""

    def _dump(self, obj):
        data = super()._dump(obj)
        return data + hashlib.sha256(data).digest()

    def _load_index(self):
        try:
            return super()._load_index()
        except OSError:
            raise
        except Exception:  # there is hardly one that unpickling other bytes does not raise
            return {}

    def _load_data(self, name):
        data = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(data[:-32]).digest() != data[-32:]:
            return None
        return pickle.loads(data)


class Cache(FunctionCache):
    """Numba's cache of a kernel, which is compiled where that cannot be read or written."""

    said = False

    def __init__(self, function):
        super().__init__(function)
        self._cache_file = CacheFile(self.cache_path, self._impl.filename_base, SOURCES)

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except OSError:  # `save_overload` says so
            return None

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except OSError as error:
            not_kept(f"{error.filename or self.cache_path}: {error.strerror}")


def not_kept(why: str) -> None:
    """Say once that kernels cannot be cached."""
    if not Cache.said:
        Cache.said = True
        log.warning("compiled kernels are not kept: %s; set NUMBA_CACHE_DIR to a folder for them", why)


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
        "cache": str(overlaps._cache.cache_path or "none"),
    }
