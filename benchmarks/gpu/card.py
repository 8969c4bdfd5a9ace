"""The card: whether backend "gpu" can run on it, its attributes, and its rates of copies and products."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cupy
import numpy as np

from fastrec.backend import device, resolve

from .measure import run_all, timed
from .report import Report

SOURCE = Path(__file__).parents[1] / "limits.cu"
# Operations of an instruction of a warp, a multiplication and its addition being two: an mma, 16 x 8 by 256
# bits, 32 bytes or 16 numbers, or a popcount of 32 bits in each lane.
ISSUED = {"b1": 2 * 16 * 8 * 256, "int8": 2 * 16 * 8 * 32, "bf16": 2 * 16 * 8 * 16, "popcount": 2 * 32 * 32}
# Operations in a clock of a multiprocessor, as published.
COUNTED = {"int32": 64, "float32": 256}


def card(report: Report) -> None:
    resolve("gpu")
    attributes = {name: int(value) for name, value in cupy.cuda.Device().attributes.items()}
    report.row("attributes", checked=True, device=device()._asdict(), attributes=attributes)
    clock = attributes.get("ClockRate", 0) * 1e3 * device().multiprocessors
    limits = {unit: each * clock for unit, each in COUNTED.items() if clock}

    def limit(unit: str, rate: Callable[[Report], float]) -> None:
        limits[unit] = rate(report)
        if unit == "bf16":
            limits["tf32"] = limits[unit] / 2
        report.row("limits", checked=True, limits=limits)
        report.note(f"{unit}: {limits[unit]:.3g} a second")

    units = [("copy", copied), *((unit, partial(issued, unit)) for unit in ISSUED)]
    run_all(report, [(unit, partial(limit, unit, rate)) for unit, rate in units])


def copied(report: Report) -> float:
    """Return the bytes read and written per second by a copy on the device."""
    size = report.size(4 * 10**9, 10**6)
    a, b = cupy.zeros(size, dtype=np.uint8), cupy.empty(size, dtype=np.uint8)
    return 2 * size / timed(lambda: cupy.copyto(b, a))[1]


def issued(unit: str, report: Report) -> float:
    """Return the operations per second of independent instructions with operands in registers."""
    blocks, rounds = 8 * device().multiprocessors, report.size(2000, 10)
    out = cupy.empty(blocks * 256, dtype=np.int32)
    name = f"issue_{unit}"
    kernel: Any = cupy.RawModule(code=SOURCE.read_text(), options=("-std=c++17",)).get_function(name)
    seconds = timed(lambda: kernel((blocks,), (256,), (np.int32(rounds), out)))[1]
    return blocks * 8 * 8 * rounds * ISSUED[unit] / seconds  # 8 warps a block, 8 instructions a round
