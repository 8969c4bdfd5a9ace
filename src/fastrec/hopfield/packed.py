"""Patterns packed to bits, as memories hold them."""

from __future__ import annotations

import copy
import math
from typing import Any, Self

import numpy as np

from ..backend import array_module, backend_of, kernels, on_device
from ..kernels import words
from ..validation import move_checked, require_memory


class PackedPatterns:
    """The patterns of a memory at one time.

    The patterns never change, so threads may share an object: whoever reads it is not disturbed by one who
    stores others, for which the memory makes another object.  What follows from the patterns is made when it
    is first needed; two threads that need it at once make equal arrays, of which one is kept.

    buffer: words (k, capacity, w) where a backend computes, of which the first p rows of each network are the
    patterns, and the others are spare.  lead: () for one network, (k,) for k, None before the first pattern.
    """

    def __init__(self, n: int, buffer: Any, p: int, lead: tuple[int, ...] | None) -> None:
        self.n = n
        self.buffer: Any = buffer
        self.p = p
        self.lead = lead
        self.unit_words: Any = None

    def joined(self, packed: Any, backend: str) -> Any:
        """A buffer of these patterns and more, packed (k, q, w): the same one if its spare rows suffice.

        Patterns that are on this backend are not copied if they are the first.  No two threads may extend the
        same patterns at once.
        """
        if not self.p:
            return packed
        (k, q, w), buffer = packed.shape, self.buffer
        p = self.p + q
        if p > buffer.shape[1]:  # by half at a time: storing one by one stays linear
            capacity = max(p, self.p + self.p // 2)
            require_memory(f"storing p = {p} patterns", 8 * k * capacity * w, backend=backend)
            buffer = array_module(backend).empty((k, capacity, w), dtype=np.uint64)
            buffer[:, : self.p] = self.buffer[:, : self.p]
        buffer[:, self.p : p] = packed
        return buffer

    def is_on(self, backend: str) -> bool:
        """Whether the patterns are where a backend computes."""
        return on_device(self.buffer) == (backend == "gpu")

    def moved(self, backend: str) -> Self:
        """The same patterns where a backend computes, without what follows from them."""
        moved = copy.copy(self)
        moved.buffer = move_checked("the stored patterns", self.buffer, backend)
        moved.unit_words = None
        return moved

    def packed(self) -> Any:
        """The patterns (k, p, w), contiguous: spare rows between networks are given up."""
        packed = self.buffer[:, : self.p]
        if not packed.flags.c_contiguous:
            packed = self.buffer = array_module(backend_of(packed)).ascontiguousarray(packed)
        return packed

    def units(self, backend: str) -> Any:
        """The transpose (k, n, u) of the patterns."""
        units = self.unit_words
        if units is None:
            packed = self.packed()
            shape = (len(packed), self.n, words(self.p))
            require_memory("the transposed patterns", 8 * math.prod(shape), backend=backend)
            units = array_module(backend).empty(shape, dtype=np.uint64)
            kernels("hopfield", backend).transpose(packed, units)
            self.unit_words = units
        return units

    def overlaps(self, backend: str, s: Any, dtype: type = np.int32) -> Any:
        """Sums of products of packed states s (k, c, w) with the patterns, int32 (k, c, p), or float64 and
        divided by n."""
        m = array_module(backend).empty((*s.shape[:2], self.p), dtype=dtype)
        kernels("hopfield", backend).overlaps(self.packed(), s, self.n, m)
        return m

    @property
    def nbytes(self) -> int:
        """Bytes of the patterns and of what has been derived from them."""
        return sum(array.nbytes for array in (self.buffer, self.unit_words) if array is not None)
