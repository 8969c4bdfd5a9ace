"""Capacity by its definition, for networks that the incremental scan does not know.

At each load p = 1, 2, ... the networks of all trials that have not ended learn their first p memories afresh,
side by side.  The flipped bits and the orders of updates are those of the scan.  As the orders differ between
trials, asynchronous recall takes one network at a time, with all its probes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...backend import Backend, array_module, kernels, move
from ...kernels import CORRUPT, ORDER
from ...streams import stream_key
from ..arguments import read_setting
from ..dense import DenseMemory
from ..dynamics import Dynamics
from ..ensemble import Given
from ..packed import PackedPatterns
from ..sequence import run_steps
from ..states import pack_states
from ..stored import StoredPatterns
from .definition import CapacityDefinition

FEWEST_SWEEPS, MOST_SWEEPS = 4, 32  # whose orders are drawn at once: recall most often ends soon


def search(
    n: int, trials: NDArray[np.int64], d: CapacityDefinition, given: Given, backend: Backend
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Counts (T,) of the trials (T,) of networks of n units, and whether they are censored.

    As the kernel `capacity_scan` counts, whose reference is the specification, for networks of any kind.
    """
    setting, xp = read_setting(n, **d.arguments(given)), array_module(backend)
    judge: Callable[..., NDArray[np.bool_]] = follows if d.is_sequence else passes
    packed = xp.stack([d.memories(given, d.seed, n, t, d.max_patterns, backend) for t in trials.tolist()])
    counts, left = np.zeros(len(trials), dtype=np.int64), np.arange(len(trials))
    for p in range(1, d.max_patterns + 1):
        some, lead = packed[xp.asarray(left), :p].copy(), (len(left),)
        stored = PackedPatterns(n, some, p, lead) if d.is_dense else StoredPatterns(setting, some, p, lead)
        passed = judge(stored, trials[left], d, backend)
        counts[left[passed]] = p
        if d.stop == "first_failure":
            left = left[passed]
        if not len(left):
            break
    return counts, counts == d.max_patterns


def passes(
    stored: PackedPatterns, trials: NDArray[np.int64], d: CapacityDefinition, backend: Backend
) -> NDArray[np.bool_]:
    """Whether the networks of trials (k,) learn what is stored, and recall it as the definition asks."""
    n, p, xp = stored.n, stored.p, array_module(backend)
    passed = np.ones(len(trials), dtype=np.bool_)
    if isinstance(stored, StoredPatterns):
        stored.learnt, failed = stored.learn(backend)
        passed[list(failed)] = False
    rows = np.arange(p - 1 if d.criterion == "newest" else 0, p)
    states, key, allowed = probes(stored, rows, trials, d, backend), stream_key(d.seed, n), d.allowed(n)
    known = move(stored.packed(), "cpu")[:, rows]

    def wrong(final: Any, networks: Any) -> NDArray[np.bool_]:
        """Which rows of these networks differ too much from their memory."""
        return np.bitwise_count(move(final, "cpu") ^ known[networks]).sum(axis=2) > allowed

    if d.update == "sync":
        final, stopped = run(stored, d, backend, states, None, d.max_sweeps)
        return passed & ((move(stopped, "cpu") == 1) & ~wrong(final, slice(None))).all(axis=1)
    left, sweep, count = np.flatnonzero(passed), 0, FEWEST_SWEEPS
    passed[:] = False
    while len(left) and sweep < d.max_sweeps:
        count = min(count, d.max_sweeps - sweep)
        orders = move(random_orders(key, trials[left], p, sweep, count, n), backend)
        ended = np.empty((len(left), len(rows)), dtype=np.bool_)
        for t, order, row in zip(left.tolist(), orders, ended, strict=True):
            final, stopped = run(one_of(stored, t), d, backend, states[t : t + 1], order, count)
            states[t], row[:] = final[0], move(stopped[0], "cpu")
        lost = (ended & wrong(states[xp.asarray(left)], left)).any(axis=1)
        passed[left] = ended.all(axis=1) & ~lost
        left = left[~(lost | passed[left])]
        sweep, count = sweep + count, min(2 * count, MOST_SWEEPS)
    return passed


def run(
    stored: PackedPatterns, d: CapacityDefinition, backend: Backend, states: Any, order: Any, count: int
) -> tuple[Any, Any]:
    """States (k, b, w) after at most `count` sweeps, and how they stopped; without an order (count, n) all
    units are updated at once."""
    if isinstance(stored, StoredPatterns):
        outcome = Dynamics(stored, backend, d.update, order, 0, count, True).run(states, 0, count)
        return outcome.states, outcome.stopped
    memory, key = DenseMemory(stored.n, d.power, backend=backend), (np.uint64(0), order, 0)
    final, stopped, *_ = memory._run(stored, backend, states, count, None if order is None else key)
    return final, stopped


def follows(
    stored: StoredPatterns, trials: NDArray[np.int64], d: CapacityDefinition, backend: str
) -> NDArray[np.bool_]:
    """`passes` of sequences: whether networks of trials (k,) reach the memories due."""
    n, p, xp = stored.n, stored.p, array_module(backend)
    rows = np.arange(p - 1 if d.criterion == "newest" else 0, p)
    states, known = probes(stored, rows, trials, d, backend), move(stored.packed(), "cpu")
    passed, left = np.zeros(len(trials), dtype=np.bool_), np.arange(len(trials))
    next_of_each = move(run_steps(stored, backend, stored.packed(), 1)[0], "cpu")
    leads = (next_of_each == np.roll(known, -1, axis=1)).all(axis=(1, 2))  # so that what is right stays right
    done, count = 0, FEWEST_SWEEPS
    while len(left) and done < d.max_sweeps:
        count = min(count, d.max_sweeps - done)
        some = StoredPatterns(stored.setting, stored.packed()[xp.asarray(left)], p, (len(left),))
        states, _ = run_steps(some, backend, states, count)
        done += count
        due = known[left][:, (rows + done) % p]
        wrong = np.bitwise_count(move(states, "cpu") ^ due).sum(axis=2).max(axis=1)
        settled = (wrong == 0) & leads[left] | (done == d.max_sweeps)
        passed[left[settled]] = wrong[settled] <= d.allowed(n)
        states, left, count = states[xp.asarray(~settled)], left[~settled], min(2 * count, MOST_SWEEPS)
    return passed


def probes(
    stored: PackedPatterns,
    rows: NDArray[np.int64],
    trials: NDArray[np.int64],
    d: CapacityDefinition,
    backend: str,
) -> Any:
    """The last memories, of numbers rows (b,), of trials (k,) with flipped bits, words (k, b, w)."""
    key, n = stream_key(d.seed, stored.n), stored.n
    flipped = flipped_units(key, rows, trials, stored.p, d.flips(n), n)
    return stored.packed()[:, rows[0] :] ^ pack_states(np.where(flipped, np.int8(1), np.int8(-1)), backend)


def one_of(stored: PackedPatterns, t: int) -> PackedPatterns:
    """Network t of several, which have learnt."""
    buffer = stored.buffer[t : t + 1]
    if not isinstance(stored, StoredPatterns):
        return PackedPatterns(stored.n, buffer, stored.p, (1,))
    one, learnt = StoredPatterns(stored.setting, buffer, stored.p, (1,)), stored.learnt
    assert learnt is not None
    arrays = {name: getattr(learnt, name)[t : t + 1] for name in ("weights", "columns", "thresholds")}
    one.learnt = replace(learnt, **arrays)
    return one


def flipped_units(
    key: np.uint64, rows: NDArray[np.int64], networks: NDArray[np.int64], step: int, flips: int, n: int
) -> NDArray[np.bool_]:
    """Which units are flipped (k, b, n), `flips` of each row: `corruption` of the reference, of many rows."""
    flipped = np.zeros((len(networks), len(rows), n), dtype=np.bool_)
    drawn = draws(key, flips, rows, networks, CORRUPT | step << 8)
    for i, last in enumerate(range(n - flips, n)):  # Floyd's sampling: one unit of all rows at a time
        high, low = drawn[..., i] >> np.uint64(32), drawn[..., i] & np.uint64(2**32 - 1)
        bound = np.uint64(last + 1)
        unit = (high * bound + (low * bound >> np.uint64(32)) >> np.uint64(32)).astype(np.int64)[..., None]
        unit = np.where(np.take_along_axis(flipped, unit, axis=2), last, unit)
        np.put_along_axis(flipped, unit, True, axis=2)
    return flipped


def random_orders(
    key: np.uint64, networks: NDArray[np.int64], step: int, first: int, count: int, n: int
) -> NDArray[np.int32]:
    """Orders (k, count, n) of the sweeps from `first` on: `random_order` of many networks and sweeps."""
    drawn = draws(key, n, np.arange(first, first + count), networks, ORDER | step << 8)
    return np.argsort(drawn, axis=2, kind="stable").astype(np.int32)


def draws(
    key: np.uint64, count: int, rows: NDArray[np.int64], networks: NDArray[np.int64], tag: int
) -> NDArray[np.uint64]:
    """The first draws (k, r, count) of the streams of rows (r,) of networks (k,)."""
    counters = np.empty((len(networks), len(rows), -(-count // 2), 4), dtype=np.uint32)
    counters[..., 0] = np.arange(counters.shape[2])
    counters[..., 1], counters[..., 2], counters[..., 3] = rows[:, None], networks[:, None, None], tag
    words = np.empty_like(counters)
    kernels("random", "reference").philox(key, counters.reshape(-1, 4), words.reshape(-1, 4))
    pairs = words[..., 0::2].astype(np.uint64) | words[..., 1::2].astype(np.uint64) << np.uint64(32)
    return pairs.reshape(*counters.shape[:2], -1)[..., :count]
