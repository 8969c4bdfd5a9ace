"""Sources, compilation and launches of the CUDA kernels: the only file that uses CuPy's RawModule.

A kernel is compiled the first time it is used, from its .cu file with the headers joined in: CuPy's cache on
disk knows sources and options, not included files.  Integers are passed as 64 bits (``long long`` in the
kernels), keys as ``unsigned long long``; arrays must be C-contiguous and on the device.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, NamedTuple

import cupy

from ..compilation import Compilation, not_timed
from ..interruption import heard, uninterrupted

OPTIONS = ("-std=c++17",)

CLOCK = 1e9  # clocks a second, fewer than any supported device reaches
WATCHDOG_CLOCKS = 2 * CLOCK  # the shortest that watchdogs of displays are known to wait


class Cell(NamedTuple):
    """The name of a cell, and the constants of its struct in cuda/cells.cuh."""

    name: str
    gates: int
    kept: int
    states: int
    hidden: int
    before: int
    own: int
    own_back: int
    late: int


def read_cells() -> dict[str, Cell]:
    """The cells that have a struct in cuda/cells.cuh, by its name."""
    text = (files(__package__) / "cuda/cells.cuh").read_text(encoding="utf-8")
    cells = {}
    for name, body in re.findall(r"^template <class T> struct (\w+) \{\n(.*?)^\};", text, re.M | re.S):
        constants = re.findall(r"([A-Z_]+) = (\w+)", " ".join(re.findall("static constexpr .*", body)))
        cell = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        cells[name] = Cell(
            cell, **{key.lower(): int({"true": 1, "false": 0}.get(v, v)) for key, v in constants}
        )
    return cells


CELLS = read_cells()


def instances(names: str, types: Iterable[object]) -> list[str]:
    """The template instances of kernels, whose names are separated by blanks, for each of the types."""
    return [f"{name}<{type}>" for name, type in itertools.product(names.split(), types)]


def text_rows(cell: str, product: str) -> tuple[int, ...]:
    """The rows of a team that draws texts: sixteen, if a step of the cell leaves registers for their sums."""
    few = CELLS[cell].late or CELLS[cell].own > 1
    return tuple(rows for rows in TEXT_ROWS[product] if rows < 16 or not few)


# The kernels of each file of cuda/, template instances by name: what is compiled, shipped and tested.
PLANES = range(1, 5)
INTEGERS = {1: "signed char", 2: "short", 4: "int", 8: "long long"}  # by their bytes
FLOATS = {4: "float", 8: "double"}
ROWS = {"Float": (1, 4, 16), "Double": (1, 4), "Tf32": (8,), "Bf16": (8, 16)}  # of a team, by its product
CLUSTERED = ("Float", "Tf32", "Bf16")  # products that clusters are compiled for
BLOCK_ROWS = {"Float": (1, 4), "Double": (1, 4), "Tf32": (8,), "Bf16": (8,)}  # of a block without a team
TEXT_ROWS = {"Float": (1, 4, 16), "Double": (4,), "Tf32": (8,), "Bf16": (8,)}  # of a team that draws texts
DECODED_ROWS = {"Float": 8, "Double": 4}  # of a block that decodes, at a time
LINKED = ("jordan", "gru_before")  # cells whose steps are two products, each in a file of its own
FIELDS = (INTEGERS[4], INTEGERS[8])
WEIGHTS = tuple(INTEGERS.values())
WEIGHT_TYPES = [f"{field}, {weight}" for field in FIELDS for weight in WEIGHTS]
KERNELS: dict[str, tuple[str, ...]] = {
    "random": (
        *("philox", "random_patterns", "biased_patterns", "corrupt", "corrupt_states"),
        *("scatter_order", "sort_order"),
    ),
    "packing": ("pack", "unpack", "transpose"),
    "product": (
        "count_ones",
        *(f"sign_product<{weight}, {across}>" for weight in WEIGHTS for across in (2, 4)),
    ),
    "fields": (
        *instances("bit_planes", PLANES),
        *(f"local_fields<{planes}, {field}>" for planes in PLANES for field in FIELDS),
        *instances("find_unstable", PLANES),
        "quadratic_form",
    ),
    "recall": (
        "rank_units",
        *instances("weight_fields", WEIGHT_TYPES),
        *instances("recall_async", FIELDS),
        *(
            f"recall_sync<{field}, {planes}>" for field in FIELDS for planes in PLANES[:2]
        ),  # at most `SMALL` units
        *instances("recall_async_weights recall_sync_weights", WEIGHT_TYPES),
    ),
    "glauber": (
        *instances("glauber_async glauber_step", FIELDS),
        *instances("glauber_async_weights glauber_sync_weights", WEIGHT_TYPES),
    ),
    "dense": ("dense_async", "dense_sync"),
    "sweep": tuple(instances("sweep_async sweep_sync", PLANES)),
    "learning": ("storkey", *instances("perceptron", FIELDS)),
    "capacity": (
        *("split_overlaps", "arrange_units", "bound_fields", "scan", "list_doubts"),
        *(f"resolve<{field}, {planes}>" for field in FIELDS for planes in PLANES),
        "count_loads",
    ),
    "cells": (
        *(
            f"{kind}_{way}<{product}, {cell}, {rows}>"
            for kind in ("cell", "cluster")
            for way in ("forward", "backward")
            for product in (CLUSTERED if kind == "cluster" else ROWS)
            for cell in CELLS
            if not CELLS[cell].late
            for rows in ROWS[product]
        ),
        *instances("pack_weights", ROWS),
        *instances("row_norms", FLOATS.values()),
    ),
    **{
        cell: tuple(
            f"{cell}_{way}<{product}, {rows}>"
            for way in ("forward", "backward")
            for product in ROWS
            for rows in BLOCK_ROWS[product]
        )
        for cell in LINKED
    },
    "normalised": tuple(
        f"normalised_{way}<{product}, {cell}, {rows}>"
        for way in ("forward", "backward")
        for product in ROWS
        for cell in CELLS
        if not CELLS[cell].late
        for rows in BLOCK_ROWS[product]
    ),
    "generation": tuple(
        f"generate<{product}, {cell}, {rows}>"
        for product in ROWS
        for cell in CELLS
        for rows in text_rows(cell, product)
    ),
    "stepping": tuple(
        f"take_steps<{product}, {cell}, {rows}>"
        for product in ROWS
        for cell in CELLS
        for rows in BLOCK_ROWS[product]
    ),
    "attention": tuple(
        f"{name}<{dtype}, {additive}>"
        for name in ("attend", "attend_back", "attend_back_keys")
        for dtype in FLOATS.values()
        for additive in ("false", "true")
    ),
    "decoding": tuple(
        f"decode<{product}, {cell}, {rows}>" for product, rows in DECODED_ROWS.items() for cell in CELLS
    ),
    "reservoir": tuple(instances("run_reservoir", FLOATS.values())),
    "time_loop": (
        *instances("add_bias gather clear_padding sum_steps join_sums sum_runs join_runs", FLOATS.values()),
        *instances("round_factor", ("unsigned", "unsigned short")),
        *("count_digits", "scan_digits", "scatter_steps"),
    ),
    "ctc": (*instances("ctc ctc_prefix_search", FLOATS.values()),),
    "training": (
        *(f"cross_entropy<{dtype}, {width}>" for dtype in FLOATS.values() for width in (8, 32, 256)),
        *instances(
            "squared_error binary_cross_entropy sum_squares find_infinite dropout normal_noise",
            FLOATS.values(),
        ),
        *instances("adjust_gradient sgd rmsprop adam", FLOATS.values()),
        "sum_rows",
    ),
}


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


def compiled_with(file: str, name: str) -> tuple[str, ...]:
    """The instances compiled when this kernel is first used: only itself, to keep the wait short."""
    return (name,)


@functools.cache
def module(file: str, names: tuple[str, ...], together: bool) -> Any:
    """cuda/<file>.cu compiled with these kernels, for launches whose blocks all run at once if `together`."""
    return cupy.RawModule(
        code=source(file), options=OPTIONS, name_expressions=names, enable_cooperative_groups=together
    )


@functools.cache
def kernel(file: str, name: str, device: int, together: bool) -> Any:
    """A kernel of cuda/<file>.cu on a device, allowed all the shared memory that a block can have."""
    with not_timed(), uninterrupted() as block, Compilation(f"{file} for the GPU", name), heard(block):
        function = module(file, compiled_with(file, name), together).get_function(name)
    function.max_dynamic_shared_size_bytes = shared_limit(device) - function.shared_size_bytes
    return function


def launch(
    file: str, name: str, blocks: int, threads: int, *arguments: Any, shared: int = 0, together: bool = False
) -> None:
    """Launch a kernel on the current device and stream; nothing if there are no blocks.

    shared: bytes of dynamic shared memory.  together: the blocks wait for each other, so that all must run at
    once.  Raises RuntimeError, and launches nothing, if they do not fit the device so.
    """
    if not blocks:
        return
    device = cupy.cuda.runtime.getDevice()
    function = kernel(file, name, device, together)
    if together and blocks > (most := blocks_at_once(function, device, threads, shared)):
        # CuPy would only warn and launch fewer blocks, which then wait forever for the others.
        raise RuntimeError(f"{name} needs {blocks} blocks that run at once; the device has room for {most}")
    converted = tuple(int(a) if isinstance(a, bool) else a for a in arguments)
    function((blocks,), (threads,), converted, shared_mem=shared)


def blocks_at_once(function: Any, device: int, threads: int, shared: int) -> int:
    """How many blocks of a kernel run on a device at once."""
    occupancy = cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor
    return int(occupancy(function.kernel.ptr, threads, shared)) * attribute("MultiProcessorCount", device)


@functools.cache
def attribute(name: str, device: int) -> int:
    """An attribute of a device, by the name in CUDA's ``cudaDevAttr...`` that follows this prefix."""
    return int(cupy.cuda.Device(device).attributes[name])


def has_watchdog() -> bool:
    """Whether launches on the current device are ended after some seconds, as where it drives a display."""
    return bool(attribute("KernelExecTimeout", cupy.cuda.runtime.getDevice()))


def pieces_a_launch(work: str, clocks: float) -> int:
    """How many pieces of work, each estimated to take so many clocks of the device, one launch may hold.

    Any number where there is no watchdog.  Raises RuntimeError, naming the work, if a watchdog may not leave
    time for one piece.
    """
    if not has_watchdog():
        return 2**62
    if clocks > WATCHDOG_CLOCKS:
        raise RuntimeError(
            f"{work} would take about {clocks / CLOCK:.1f} s in one launch, and the watchdog of a device "
            'with a display ends launches after 2 s or more; use a device without one, or backend="cpu"'
        )
    return max(1, int(WATCHDOG_CLOCKS / 8 / max(clocks, 1)))


@functools.cache
def has_clusters(device: int) -> bool:
    """Whether blocks of a device can form clusters: from compute capability 9.0 on."""
    return int(cupy.cuda.Device(device).compute_capability) >= 90


def shared_limit(device: int) -> int:
    """Bytes of shared memory that one block can have."""
    return attribute("MaxSharedMemoryPerBlockOptin", device)


def multiprocessors() -> int:
    """Multiprocessors of the current device."""
    return attribute("MultiProcessorCount", cupy.cuda.runtime.getDevice())
