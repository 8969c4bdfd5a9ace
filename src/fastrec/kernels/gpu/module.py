"""Sources, compilation and launches of the CUDA kernels: the one place that meets CuPy's RawModule.

A kernel is compiled with its whole .cu file the first time one of the file is used, the headers joined in:
CuPy's cache on disk knows sources and options, not included files.  Integers are passed as 64 bits (``long
long`` in the kernels), keys as ``unsigned long long``; arrays must be C-contiguous and on the device.
"""

from __future__ import annotations

import functools
import re
from importlib.resources import files
from typing import Any

import cupy

OPTIONS = ("-std=c++17",)

# The kernels of each file of cuda/, template instances by name: what is compiled, shipped and tested.
PLANES = range(1, 5)
FIELDS = ("int", "long long")
WEIGHTS = ("signed char", "short", "int", "long long")
WEIGHT_TYPES = [f"int, {w}" for w in WEIGHTS[:2]] + [f"long long, {w}" for w in WEIGHTS]
KERNELS: dict[str, tuple[str, ...]] = {
    "random": ("philox", "random_patterns", "corrupt", "scatter_order", "sort_order"),
    "packing": ("pack", "unpack", "transpose"),
    "product": ("count_ones", *(f"sign_product<{w}>" for w in WEIGHTS)),
    "fields": (
        *(f"bit_planes<{planes}>" for planes in PLANES),
        *(f"local_fields<{planes}, {field}>" for planes in PLANES for field in FIELDS),
        *(f"find_unstable<{planes}>" for planes in PLANES),
        "quadratic_form",
    ),
    "recall": (
        "rank_units",
        *(f"weight_fields<{types}>" for types in WEIGHT_TYPES),
        *(f"recall_{update}<{field}>" for update in ("async", "sync") for field in FIELDS),
        *(f"recall_{update}_weights<{types}>" for update in ("async", "sync") for types in WEIGHT_TYPES),
    ),
    "sweep": tuple(f"sweep_{update}<{planes}>" for update in ("async", "sync") for planes in PLANES),
    "capacity": (
        *(f"{kernel}<{digits}>" for kernel in ("split_overlaps", "scan") for digits in (2, 3, 4)),
        *(f"resolve<{field}>" for field in FIELDS),
        "count_loads",
    ),
}

COOPERATIVE = ("sweep",)  # files whose kernels meet at a barrier of the whole grid


def source(file: str) -> str:
    """The text of cuda/<file>.cu, each header it includes joined in once."""
    seen: set[str] = set()

    def text(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        body = (files(__package__) / "cuda" / name).read_text(encoding="utf-8").replace("#pragma once\n", "")
        return re.sub(r'#include "(\w+\.cuh)"\n', lambda match: text(match[1]), body)

    return text(f"{file}.cu")


@functools.cache
def module(file: str) -> Any:
    """The compiled cuda/<file>.cu."""
    return cupy.RawModule(
        code=source(file),
        options=OPTIONS,
        name_expressions=KERNELS[file],
        enable_cooperative_groups=file in COOPERATIVE,
    )


@functools.cache
def kernel(file: str, name: str, device: int) -> Any:
    """A kernel of cuda/<file>.cu on a device, allowed all the shared memory that a block can have."""
    function = module(file).get_function(name)
    function.max_dynamic_shared_size_bytes = shared_limit(device) - function.shared_size_bytes
    return function


def launch(file: str, name: str, blocks: int, threads: int, *arguments: Any, shared: int = 0) -> None:
    """Launch a kernel on the current device and stream; nothing if there are no blocks."""
    if blocks:
        converted = tuple(int(a) if isinstance(a, bool) else a for a in arguments)
        kernel(file, name, cupy.cuda.runtime.getDevice())((blocks,), (threads,), converted, shared_mem=shared)


@functools.cache
def attribute(name: str, device: int) -> int:
    """An attribute of a device, by CUDA's name."""
    return int(cupy.cuda.Device(device).attributes[name])


def shared_limit(device: int) -> int:
    """Bytes of shared memory that one block can have."""
    return attribute("MaxSharedMemoryPerBlockOptin", device)


def multiprocessors() -> int:
    """Multiprocessors of the current device."""
    return attribute("MultiProcessorCount", cupy.cuda.runtime.getDevice())
