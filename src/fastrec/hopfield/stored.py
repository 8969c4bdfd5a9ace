"""The patterns that a network holds, packed, and what follows from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..backend import array_module, kernels, move, on_device
from ..validation import move_checked, require_memory
from .packed import PackedPatterns
from .recall import narrowest
from .rules.rule import Learnt, Rule
from .states import DEVICE_CHUNK, unpack_states

CHUNK = 2**16  # couplings whose sizes are summed at once


@dataclass(frozen=True, eq=False)
class Setting:
    """What a network is before it stores anything.

    thresholds: float64 (n,), in units of couplings divided by their scale, or None for those of the rule.
    """

    n: int
    rule: Rule
    self_coupling: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    thresholds: NDArray[np.float64] | None = None

    def whole_thresholds(self, scale: float) -> NDArray[np.int64]:
        """The thresholds (n,) in units of couplings of a scale, rounded; 0 where the network has none."""
        own = 0.0 if self.thresholds is None else self.thresholds
        return np.broadcast_to(np.rint(own * np.float64(scale)), self.n).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Couplings:
    """Couplings as the kernels take them, where a backend computes.

    weights (k, n, n) of the narrowest dtype; columns, their transpose, the same array if they are symmetric;
    thresholds (k, n) int32 or int64, of the dtype that holds fields.  No field exceeds `bound`.
    """

    weights: Any
    columns: Any
    thresholds: Any
    scale: float
    bound: int

    @property
    def symmetric(self) -> bool:
        """Whether W_ij = W_ji."""
        return self.columns is self.weights

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return int(self.weights.nbytes) * (1 if self.symmetric else 2) + int(self.thresholds.nbytes)

    def moved(self, backend: str) -> Couplings:
        """The same couplings where a backend computes."""
        weights = move_checked("the couplings", self.weights, backend)
        columns = weights if self.symmetric else move_checked("the couplings", self.columns, backend)
        return replace(self, weights=weights, columns=columns, thresholds=move(self.thresholds, backend))


def complete(setting: Setting, learnt: Learnt, backend: str) -> Couplings:
    """Couplings of what a rule gives."""
    xp, weights, bound = array_module(backend), learnt.weights, learnt.bound
    k, n, _ = weights.shape
    if bound is None:
        largest, bound = sizes(weights)
        weights = weights.astype(narrowest(largest), copy=False)
    if setting.thresholds is None and learnt.thresholds is not None:
        thresholds = learnt.thresholds
    else:
        thresholds = xp.broadcast_to(xp.asarray(setting.whole_thresholds(learnt.scale)), (k, n))
    bound += int(abs(thresholds).max())
    if bound * n >= 2**62:
        raise ValueError(f"the couplings have sums of {bound}; n = {n} times that must stay below 2^62")
    columns = weights
    if not setting.rule.symmetric and not (weights == weights.swapaxes(1, 2)).all():
        columns = xp.ascontiguousarray(weights.swapaxes(1, 2))
    # A copy: kernels are compiled for arrays that are not read-only.
    thresholds = xp.array(thresholds, dtype=np.int32 if bound < 2**30 else np.int64, order="C")
    return Couplings(weights, columns, thresholds, learnt.scale, bound)


def sizes(weights: Any) -> tuple[int, int]:
    """The largest |W_ij| of weights (k, n, n) and the largest sum of a row, or more if that is huge."""
    rows = weights.reshape(-1, weights.shape[2])
    largest = max(int(rows.max()), -int(rows.min()))
    if largest * rows.shape[1] >= 2**62:
        return largest, largest * rows.shape[1]
    total, step = 0, max(1, (CHUNK if isinstance(rows, np.ndarray) else DEVICE_CHUNK) // rows.shape[1])
    for i in range(0, len(rows), step):
        total = max(total, int(abs(rows[i : i + step].astype(np.int64)).sum(axis=1).max()))
    return largest, total


class StoredPatterns(PackedPatterns):
    """The patterns of a network with couplings, which are made when they are first needed.

    memory_weights: int64 (p,) on the host, or None if all are 1.  A network of given couplings has no
    patterns, but `learnt` from the beginning.
    """

    def __init__(
        self,
        setting: Setting,
        buffer: Any,
        p: int,
        lead: tuple[int, ...] | None,
        memory_weights: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__(setting.n, buffer, p, lead)
        self.setting = setting
        self.rule: Rule = setting.rule
        self.memory_weights = memory_weights
        self.learnt: Couplings | None = None

    @property
    def pattern_space(self) -> bool:
        """Whether fields and recall can be computed from the patterns alone."""
        return self.rule.pattern_space and self.memory_weights is None and self.setting.thresholds is None

    @property
    def counts(self) -> NDArray[np.int64]:
        """The weights (p,) of the memories."""
        return np.ones(self.p, dtype=np.int64) if self.memory_weights is None else self.memory_weights

    def replaced(
        self, buffer: Any, p: int, lead: tuple[int, ...] | None, memory_weights: NDArray[np.int64] | None
    ) -> StoredPatterns:
        """Other patterns of the same network."""
        if memory_weights is not None and (memory_weights == 1).all():
            memory_weights = None
        return StoredPatterns(self.setting, buffer, p, lead, memory_weights)

    def extended(
        self, packed: Any, counts: NDArray[np.int64], lead: tuple[int, ...], backend: str
    ) -> StoredPatterns:
        """These patterns and more, packed (k, q, w) of weights (q,), `joined`."""
        p = total = self.p + packed.shape[1]
        weights = None
        if self.memory_weights is not None or (counts != 1).any():
            weights = np.concatenate([self.counts, counts])
            total = int(abs(weights).sum())
        if self.rule.bound(self.setting, total) * self.n**2 >= 2**63 or p >= 2**31:
            what = f"p = {p}" if total == p else f"weights of {total} in all"
            raise ValueError(
                f"patterns would make {what} of n = {self.n}: p n^2 must stay below 2^63, p below 2^31"
            )
        return self.replaced(self.joined(packed, backend), p, lead, weights)

    def is_on(self, backend: str) -> bool:
        """Whether the patterns are where a backend computes."""
        if self.p or self.learnt is None:
            return super().is_on(backend)
        return on_device(self.learnt.weights) == (backend == "gpu")

    def moved(self, backend: str) -> Self:
        """The same patterns where a backend computes, with couplings that do not follow quickly from them."""
        moved = super().moved(backend)
        if self.learnt is not None:
            moved.learnt = None if self.rule.pattern_space else self.learnt.moved(backend)
        return moved

    def couplings(self, what: str, backend: str, keep: bool = True) -> Couplings:
        """The couplings, kept for later calls or computed for this one only."""
        couplings = self.learnt
        if couplings is None:
            shape = (self.buffer.shape[0], self.n, self.n)
            dtype = narrowest(self.rule.bound(self.setting, int(abs(self.counts).sum())))
            cure = '; representation="patterns" needs no weights' if self.pattern_space else ""
            require_memory(what, math.prod(shape) * dtype.itemsize, cure, backend)
            couplings, failed = self.learn(backend)
            if failed:  # of patterns that nobody stored, as in a file that was changed
                raise ValueError(next(iter(failed.values())))
            if keep:
                self.learnt = couplings
        return couplings

    def learn(self, backend: str) -> tuple[Couplings, dict[int, str]]:
        """The couplings by the rule, and why networks could not learn theirs, by number."""
        learnt = self.rule.learn(self, backend)
        return complete(self.setting, learnt, backend), learnt.failed or {}

    def outer_products(self, backend: str, self_coupling: bool) -> Any:
        """The sums (k, n, n) of the outer products of the patterns, times their weights."""
        xp, units, (k, n) = array_module(backend), self.units(backend), (self.buffer.shape[0], self.n)
        if self.memory_weights is not None:
            values = unpack_states(units, self.p, backend, backend) * xp.asarray(self.counts, dtype=np.int32)
            weights = self.embedded(backend, values)
            if not self_coupling:
                weights[:, xp.arange(n), xp.arange(n)] = 0
            return weights.astype(narrowest(int(abs(self.counts).sum())), copy=False)
        weights = xp.empty((k, n, n), dtype=narrowest(self.p))
        kernels("hopfield", backend).couplings(units, self.p, self_coupling, weights)
        return weights

    def unit_sums(self, backend: str) -> Any:
        """The sums (k, n) of the patterns, times their weights."""
        xp, k = array_module(backend), self.buffer.shape[0]
        values = xp.broadcast_to(xp.asarray(self.counts), (k, 1, self.p))
        return self.embedded(backend, values)[:, 0]

    def embedded(self, backend: str, values: Any) -> Any:
        """sum_mu v_mu x_mu for values (k, rows, p): int32 or int64 (k, rows, n)."""
        xp, largest = array_module(backend), int(abs(values).max())
        if largest >= 2**29:
            raise ValueError(f"the rule has strengths of {largest}; they must stay below 2^29")
        values = xp.ascontiguousarray(values, dtype=np.int32)
        total = sizes(values)[1]
        sums = xp.empty((*values.shape[:2], self.n), dtype=np.int32 if total < 2**31 else np.int64)
        require_memory("the couplings", sums.nbytes, backend=backend)
        kernels("hopfield", backend).signed_sums(self.units(backend), values, max(1, largest), sums)
        return sums

    def sums_with(self, backend: str, values: Any, largest: int) -> Any:
        """sum_i v_i x_mu_i for values (k, rows, n) int32 from -largest to largest: int64 (k, rows, p)."""
        sums = array_module(backend).empty((*values.shape[:2], self.p), dtype=np.int64)
        kernels("hopfield", backend).signed_sums(self.packed(), values, largest, sums)
        return sums

    def step(self, what: str, backend: str, s: Any, steps: int, forms: Any) -> Any:
        """Periods (k, c) of packed states s (k, c, w) after some synchronous steps with the couplings.

        forms (k, c, steps + 1 or 0) is filled with s'W s - 2 thresholds's before and after each step.
        """
        xp, (k, c, w), given = array_module(backend), s.shape, self.couplings(what, backend)
        period, sweeps = xp.empty((2, k, c), dtype=np.int32)
        clamped, trail = xp.empty((k, c, 0), dtype=np.uint64), xp.empty((k, c, 0, w), dtype=np.uint64)
        results = (period, sweeps, xp.empty((k, c), dtype=np.int64), forms, trail)
        inputs = (given.weights, given.columns, given.thresholds, clamped, steps, s.copy())
        kernels("hopfield", backend).recall_sync_weights(*inputs, *results)
        return period

    def forms(self, what: str, backend: str, s: Any) -> Any:
        """s'W s - 2 thresholds's, int64 (k, c), of packed states s (k, c, w)."""
        forms = array_module(backend).empty((*s.shape[:2], 1), dtype=np.int64)
        if self.pattern_space:
            m, self_coupling = self.overlaps(backend, s), self.setting.self_coupling
            kernels("hopfield", backend).quadratic_form(m, self.n, self_coupling, forms[..., 0])
        else:
            self.step(what, backend, s, 0, forms)
        return forms[..., 0]

    def fields(self, what: str, backend: str, s: Any) -> Any:
        """W s, int32 or int64 (k, c, n), of packed states s (k, c, w); thresholds are not taken off."""
        xp, module, shape = array_module(backend), kernels("hopfield", backend), (*s.shape[:2], self.n)
        if self.pattern_space:
            fields = xp.empty(shape, dtype=np.int32 if self.n * self.p < 2**31 else np.int64)
            m, self_coupling = self.overlaps(backend, s), self.setting.self_coupling
            module.local_fields(self.units(backend), s, m, self_coupling, fields)
        else:
            given = self.couplings(what, backend)
            fields = xp.empty(shape, dtype=given.thresholds.dtype)
            module.local_fields_weights(given.weights, s, fields)
        return fields

    @property
    def nbytes(self) -> int:
        """Bytes of the patterns and of what has been derived from them."""
        return super().nbytes + (0 if self.learnt is None else self.learnt.nbytes)
