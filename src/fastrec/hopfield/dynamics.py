"""Recall from packed states: which kernel runs, with what, and what of its course is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from ..backend import array_module, backend_of, kernels, move
from ..streams import stream_key
from ..validation import SMALL, require_memory
from .recall import Update
from .stored import StoredPatterns
from .temperature import chances, heat_levels

BREATH = 2e9  # nanoseconds of work of one core, about, after which a Ctrl-C is heard
LEAST_SWEEPS = 128  # in a call of a kernel, beside which the fields of its beginning cost little

Recordable = Literal["energy", "overlap", "states"]
"""What recall can keep of its course."""

By = Literal["sweep", "update"]
"""After what it is kept."""


class Outcome(NamedTuple):
    """Rows as a recall leaves them, arrays (k, b, ...), and what was recorded of them, or None.

    stopped: the period, or for async updates whether the row converged.  trail (k, b, r, w): the states at
    the start and after each sweep, or after each flip of turns (k, b, r - 1, 2); forms (k, b, r): s'W s
    - 2 thresholds's of them.  Past the end of a row they hold anything.  totals (k, b, n) and form_totals
    (k, b): sums of the states and forms of the last sweeps, to be averaged.
    """

    states: Any
    stopped: Any
    sweeps: Any
    flips: Any
    forms: Any = None
    trail: Any = None
    turns: Any = None
    totals: Any = None
    form_totals: Any = None


@dataclass(frozen=True)
class Dynamics:
    """The dynamics of a network on a backend; orders (r, n) are of async updates.

    temperatures (sweeps,): those of the sweeps up to the last one above 0; averaged: how many sweeps, the
    last ones, to average over.
    """

    stored: StoredPatterns
    backend: str
    update: Update
    orders: Any
    first_sweep: int
    max_sweeps: int
    from_weights: bool
    clamped: Any = None
    temperatures: Any = ()
    averaged: int = 0

    def run(
        self, states: Any, seed: int, limit: int, forms: int = 0, trail: int = 0, turns: int = 0
    ) -> Outcome:
        """At most `limit` sweeps from states (k, b, w), with room for so many forms, states and turns."""
        if not len(self.temperatures):
            return self.run_at_zero(states, seed, limit, forms, trail, turns)
        done, hot = self.run_at_temperatures(states, seed, forms, trail, turns), len(self.temperatures)
        if hot == limit:
            return done
        dynamics = replace(self, first_sweep=self.first_sweep + hot, temperatures=())
        room = (max(0, forms - hot), max(0, trail - hot), turns)
        return after(done, hot, dynamics.run(done.states, seed, limit - hot, *room))

    def run_at_zero(self, states: Any, seed: int, limit: int, forms: int, trail: int, turns: int) -> Outcome:
        """`run` at temperature 0."""
        xp, stored, (k, b, w) = array_module(self.backend), self.stored, states.shape
        sync = self.update == "sync"
        final, stopped = states.copy(), xp.empty((k, b), dtype=np.int32 if sync else bool)
        sweeps, flips = xp.empty((k, b), dtype=np.int32), xp.empty((k, b), dtype=np.int64)
        head = () if sync else (stream_key(seed, stored.n), self.orders, self.first_sweep)
        results: tuple[Any, ...] = (final, stopped, sweeps, flips, xp.empty((k, b, forms), dtype=np.int64))
        if self.from_weights:
            results += (xp.empty((k, b, trail, w), dtype=np.uint64),)
            results += () if sync else (xp.empty((k, b, turns, 2), dtype=np.int32),)
        kernel = getattr(kernels("hopfield", self.backend), f"recall_{self.kernel}")
        kernel(*head, *self.inputs(k, b), limit, *results)
        return Outcome(*results)

    @property
    def kernel(self) -> str:
        """End of the name of the kernels."""
        return f"{self.update}{'_weights' * self.from_weights}"

    def inputs(self, k: int, b: int) -> tuple[Any, ...]:
        """Couplings, thresholds and clamped units of rows (k, b), or patterns, as the kernels take them."""
        stored = self.stored
        if not self.from_weights:
            return stored.packed(), stored.units(self.backend), stored.setting.self_coupling
        given = stored.couplings('representation="weights"', self.backend)
        nobody = array_module(self.backend).empty((k, b, 0), dtype=np.uint64)
        clamped = nobody if self.clamped is None else self.clamped
        return given.weights, given.columns, given.thresholds, clamped

    def run_at_temperatures(self, states: Any, seed: int, forms: int, trail: int, turns: int) -> Outcome:
        """The sweeps at temperatures, so many in a call of the kernel that Ctrl-C is heard between calls."""
        xp, stored, (k, b, w) = array_module(self.backend), self.stored, states.shape
        n, sweeps, sync = stored.n, len(self.temperatures), self.update == "sync"
        final, stopped = states.copy(), xp.zeros((k, b), dtype=np.int32 if sync else bool)
        flips, form_totals = xp.zeros((2, k, b), dtype=np.int64)
        totals = xp.zeros((k, b, n * (self.averaged > 0)), dtype=np.int32)
        courses = [xp.empty((k, b, forms), np.int64), xp.empty((k, b, trail, w), np.uint64)]
        all_turns, inputs, scale = xp.empty((k, b, turns, 2), np.int32), self.inputs(k, b), 1.0
        if self.from_weights:
            scale = stored.couplings("temperature", self.backend).scale
        kernel = getattr(kernels("hopfield", self.backend), f"glauber_{self.kernel}")
        start = (stream_key(seed, n), *(() if sync else (self.orders,)))
        table = xp.asarray(chances())
        step = sweeps if turns else max(LEAST_SWEEPS, int(BREATH / (k * b * n * (10 + n / 400))))
        for begin in range(0, sweeps, step):
            end = min(begin + step, sweeps)
            count = min(max(0, end - (sweeps - self.averaged)), end - begin)
            levels = heat_levels(self.temperatures[begin:end], n, scale)
            sums = [xp.empty_like(array) for array in (flips, totals, form_totals)]
            some = [
                xp.empty((k, b, (end - begin + 1) * (course.shape[2] > 0), *course.shape[3:]), course.dtype)
                for course in courses
            ]
            recorded = (*some, *(() if sync else (all_turns,))) if self.from_weights else some[:1]
            heat = (xp.asarray(levels), table, count)
            kernel(*start, self.first_sweep + begin, *inputs, *heat, final, sums[0], *recorded, *sums[1:])
            for total, part in zip((flips, totals, form_totals), sums, strict=True):
                total += part
            for course, part in zip(courses, some, strict=True):
                course[:, :, begin : end + 1] = part
        swept = xp.full((k, b), sweeps, dtype=np.int32)
        all_forms, all_trail = courses
        return Outcome(final, stopped, swept, flips, all_forms, all_trail, all_turns, totals, form_totals)

    def run_recorded(self, states: Any, seed: int, record: Sequence[Recordable], by: By) -> Outcome:
        """`run` with room for all that happens, which a first run counts where it could be much."""
        limit, (k, b, w), energy = self.max_sweeps, states.shape, "energy" in record
        if not record:
            return self.run(states, seed, limit)
        only_energies = record == ("energy",) and by == "sweep"
        if not only_energies or 8 * k * b * (limit + 1) > SMALL:
            first = self.run(states, seed, limit)
            limit, most = int(first.sweeps.max()), int(first.flips.max())
            times = 1 + (limit if by == "sweep" else most)
            row_bytes = 8 if only_energies else self.stored.n + 8 * (2 * w + self.stored.p + 1)
            what = f"record_energy of {limit} sweeps" if only_energies else f"record of {times} states"
            require_memory(what, k * b * times * row_bytes, backend=self.backend)
        if by == "update":
            done = self.run(states, seed, limit, turns=max(1, most))
            trail = move(after_turns(move(states, "cpu"), move(done.turns, "cpu")), self.backend)
            forms = self.stored.forms("record", self.backend, trail.reshape(k, -1, w)) if energy else None
            return done._replace(trail=trail, forms=None if forms is None else forms.reshape(k, b, -1))
        return self.run(states, seed, limit, (limit + 1) * energy, (limit + 1) * (not only_energies))


def after(first: Outcome, sweeps: int, then: Outcome) -> Outcome:
    """A run of so many sweeps and the one that goes on from it, as one."""
    xp, turns = array_module(backend_of(first.states)), first.turns.shape[2]
    forms, trail = (
        xp.concatenate([first[i][:, :, : sweeps + 1], then[i][:, :, 1:]], axis=2) if first[i].size else None
        for i in (4, 5)
    )
    both = first.turns
    if turns:
        late = xp.arange(turns) - first.flips[..., None]
        later = xp.take_along_axis(then.turns, xp.maximum(late, 0)[..., None], axis=2)
        later += xp.asarray([sweeps, 0], dtype=np.int32)
        both = xp.where((late >= 0)[..., None], later, first.turns)
    sums = (first.sweeps + then.sweeps, first.flips + then.flips)
    return Outcome(then.states, then.stopped, *sums, forms, trail, both)


def after_turns(states: Any, turns: Any) -> Any:
    """States (k, b, f + 1, w) at the start, states (k, b, w), and after each of turns (k, b, f, 2)."""
    (k, b, w), f = states.shape, turns.shape[2]
    trail = np.zeros((k, b, f + 1, w), dtype=np.uint64)
    trail[:, :, 0] = states
    unit = turns[..., 1].astype(np.uint64)
    word = (unit >> np.uint64(6)).astype(np.int64) % w  # what lies past the end of a row is anything
    np.put_along_axis(
        trail[:, :, 1:], word[..., None], (np.uint64(1) << (unit & np.uint64(63)))[..., None], axis=3
    )
    np.bitwise_xor.accumulate(trail, axis=2, out=trail)
    return trail


def up_to_the_end(array: Any, ends: Any, times: int) -> Any:
    """The first `times` entries on axis 2 of array (k, b, r, ...); past the ends (k, b) the last."""
    xp = np if isinstance(array, np.ndarray) else array_module("gpu")
    at = xp.minimum(xp.arange(times), xp.minimum(ends, array.shape[2] - 1)[..., None])
    at = at.reshape(*at.shape, *[1] * (array.ndim - 3))
    return xp.take_along_axis(array, at, axis=2)
