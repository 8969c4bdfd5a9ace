"""Learning rules whose couplings are not simply sums over the patterns, on the GPU."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .module import INTEGERS, launch, multiprocessors, pieces_a_launch
from .random import THREADS
from .recall import BATCH, block_memory, row_threads


def storkey(packed: Any, units: Any, gram: Any, amplitudes: Any, strengths: Any) -> None:
    """Storkey's rule: strengths (k, p, n) int64 of packed (k, p, w), units (k, n, u) and their overlaps gram
    (k, p, p): see the reference."""
    (k, p, w), (_, n, u), size = packed.shape, units.shape, multiprocessors()
    parts = max(1, min(-(-n // THREADS), size // k))
    groups = min(k, size // parts)
    # Each strength before is read twice, in about 20 instructions.
    at_once = pieces_a_launch("Storkey's rule for a pattern", k * p * n * 20 / 128 / size)
    for first in range(0, p, at_once):
        sizes = (first, min(p, first + at_once), k, n, p, w, u, parts)
        meeting = cupy.zeros(groups, dtype=np.uint32), cupy.zeros((groups, 3, p), dtype=np.uint64)
        arguments = (packed, units, gram, amplitudes, *sizes, *meeting, strengths)
        launch("learning", "storkey", groups * parts, THREADS, *arguments, together=True)


def perceptron(
    units: Any,
    gram: Any,
    thresholds: Any,
    margin: float,
    self_coupling: bool,
    max_passes: int,
    strengths: Any,
    passes: Any,
    stability: Any,
) -> None:
    """The perceptron rule: strengths (k, n, p) int32 of units (k, n, u) with overlaps gram (k, p, p), passes
    (k, n) int32 and stability (k, n) float64: see the reference."""
    (k, n, u), p = units.shape, gram.shape[1]
    itemsize = 4 if max_passes * p * n < 2**31 else 8
    # Half of the patterns in each pass, where it does not succeed; a multiprocessor has four blocks at once.
    clocks = max_passes * p / 2 * (100 + p / 8) / multiprocessors()
    most = min(
        pieces_a_launch("the perceptron rule for a unit", clocks), max(1, BATCH // (itemsize * p)), k * n
    )
    scratch, nbytes = block_memory(itemsize * p, most)
    rule = (float(margin), 0 if self_coupling else 1, max_passes)
    for first in range(0, k * n, most):
        launch(
            *("learning", f"perceptron<{INTEGERS[itemsize]}>", min(most, k * n - first), row_threads(p)),
            *(units, gram, thresholds, *rule, first, n, p, u, scratch, nbytes, strengths, passes, stability),
            shared=0 if scratch is not None else nbytes,
        )
