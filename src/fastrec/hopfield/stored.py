"""The patterns that a network holds, packed, and what follows from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import array_module, backend_of, kernels, on_device
from ..kernels import words
from ..validation import move_checked, require_memory
from .recall import narrowest
from .rules import Rule


class StoredPatterns:
    """The patterns of a network at one time.

    The patterns never change, so threads may share an object: whoever reads it is not disturbed by one who
    stores others, for which the network makes another object.  The transpose and the couplings are made when
    they are first needed; two threads that need them at once make equal arrays, of which one is kept.

    n, rule, self_coupling: as of the network.  buffer: words (k, capacity, w) where a backend computes, of
    which the first p rows of each network are the patterns, and the others are spare.  lead: () for one
    network, (k,) for k, None before the first pattern.
    """

    def __init__(
        self, n: int, rule: Rule, self_coupling: bool, buffer: Any, p: int, lead: tuple[int, ...] | None
    ) -> None:
        self.n, self.rule, self.self_coupling = n, rule, self_coupling
        self.buffer, self.p, self.lead = buffer, p, lead
        self.unit_words: Any = None
        self.weights: Any = None

    def replaced(self, buffer: Any, p: int, lead: tuple[int, ...] | None) -> StoredPatterns:
        """Other patterns of the same network."""
        return StoredPatterns(self.n, self.rule, self.self_coupling, buffer, p, lead)

    def extended(self, packed: Any, lead: tuple[int, ...], backend: str) -> StoredPatterns:
        """These patterns and more, packed (k, q, w), in the spare rows if they suffice.

        Patterns that are on this backend are not copied if they are the first.  No two threads may extend the
        same patterns at once.
        """
        k, q, w = packed.shape
        p = self.p + q
        if self.rule.bound(self.n, p) * self.n**2 >= 2**63 or p >= 2**31:
            raise ValueError(
                f"patterns would make p = {p} of n = {self.n}: p n^2 must stay below 2^63, p below 2^31"
            )
        if not self.p:
            return self.replaced(packed, p, lead)
        buffer = self.buffer
        if p > buffer.shape[1]:  # by half at a time: storing one by one stays linear
            capacity = max(p, self.p + self.p // 2)
            require_memory(f"storing p = {p} patterns", 8 * k * capacity * w, backend=backend)
            buffer = array_module(backend).empty((k, capacity, w), dtype=np.uint64)
            buffer[:, : self.p] = self.buffer[:, : self.p]
        buffer[:, self.p : p] = packed
        return self.replaced(buffer, p, lead)

    def is_on(self, backend: str) -> bool:
        """Whether the patterns are where a backend computes."""
        return on_device(self.buffer) == (backend == "gpu")

    def moved(self, backend: str) -> StoredPatterns:
        """The same patterns where a backend computes."""
        return self.replaced(move_checked("the stored patterns", self.buffer, backend), self.p, self.lead)

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

    def couplings(self, what: str, backend: str, keep: bool = True) -> Any:
        """The couplings (k, n, n), kept for later calls or computed for this one only."""
        if self.weights is not None:
            return self.weights
        shape = (self.buffer.shape[0], self.n, self.n)
        dtype = narrowest(self.rule.bound(self.n, self.p))
        cure = '; representation="patterns" needs no weights' if self.rule.pattern_space else ""
        require_memory(what, math.prod(shape) * dtype.itemsize, cure, backend)
        packed, units = self.packed(), self.units(backend)
        weights = array_module(backend).empty(shape, dtype=dtype)
        self.rule.couplings(kernels("hopfield", backend), packed, units, self.self_coupling, weights)
        if keep:
            self.weights = weights
        return weights

    def overlaps(self, backend: str, s: Any, dtype: type = np.int32) -> Any:
        """Sums of products of packed states s (k, c, w) with the patterns, int32 (k, c, p), or float64 and
        divided by n."""
        m = array_module(backend).empty((*s.shape[:2], self.p), dtype=dtype)
        kernels("hopfield", backend).overlaps(self.packed(), s, self.n, m)
        return m

    @property
    def nbytes(self) -> int:
        """Bytes of the patterns and of what has been derived from them."""
        arrays = (self.buffer, self.unit_words, self.weights)
        return sum(array.nbytes for array in arrays if array is not None)
