"""The incremental capacity scan on the CPU.

Adding pattern nu to a network changes the field of every stored memory mu by a rank-one term, so one pass
over n p^2 (unit, memory, addition) triples follows all fields up to load p.  They are signed by the memory's
own bits and have the self-coupling in: g_i(p) = n + x_mu_i sum_{nu < p, nu != mu} m_mu_nu x_nu_i, with
overlaps m.  A memory is stable while g_i >= p for all i.  Flipping the units C changes a field by
2 sum_{j in C} W_ij x_i x_j, at most 2 |C| p: only units below (1 + 2 |C|) p are looked at again.

The sums are followed by bounds (`byte_products.advance`).  An overlap is a digit of 8 bits times a power of
two and a small rest; sums of digits times bits are what CPUs add fastest.  Patterns are added in steps, at
whose ends a, b the sums are looked at: in between a field cannot fall below (g(a) + g(b) - spread) / 2,
where spread is the sum of the step's |m|, and no field is off by more than the sum of its rests.  Only where
that is not above what could matter the unit's field is summed exactly, load by load (`look_closer`).

Where a unit could really turn the wrong way, the recall is followed on the units with small fields and C
alone, which is all of it as long as no other can turn (`harmless`); else it is run on all units.  Nothing is
approximated: bounds only say what cannot have happened.

Memories are followed in blocks, each through all loads before the next, so that no more than the patterns,
their transpose and a block's overlaps are held.  What has failed so far ends the search of what comes later.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from .. import words
from ..certification import SAFE, certified_loads, digit_shift
from .arrays import borrow, clear, empty, keep, zeros
from .atomic import fetch_add, look
from .bounds import CHUNK, overlap_block, scan_panel, scratch_of_panel, split_overlaps
from .byte_products import MOST, ROWS, UNITS
from .jit import kernel
from .loads import last_open, step_of
from .packing import transpose, transpose_words
from .parallel import parallel, tasks
from .probes import DOUBTS, LOWS, resolve, returns, settle
from .products import COLUMNS
from .random import random_pattern, random_patterns
from .threads import get_threads

__all__ = ["capacity_scan"]

BLOCK = 504  # memories of a block at most, whole tiles of `advance`
FEWEST_NOTES, NOTES = 4096, 1 << 16  # units and loads to look at again that are kept of a block of memories
MOST_PATTERNS = 1 << 21
# Of a task on one network: columns of overlaps (threads that write to one line hold each other up), and
# panels.
TOGETHER, PANELS_TOGETHER = 8 * COLUMNS, 8


def capacity_scan(
    key, n, trials, newest, largest, corrupted, synchronous, max_sweeps, max_patterns, counts, censored
):
    """Capacity of the networks numbered trials (T,) int64, zero diagonal, into counts (T,) int64.

    Patterns of network t are added one at a time.  At each load p every stored memory (newest: only the
    last) is probed with `corrupted` of its bits flipped and recalled; the load passes if all come to rest
    at the memory itself.  The count is the load before the first that fails, or (largest) the largest load
    up to max_patterns that passes; censored (T,) bool says that no load up to max_patterns failed or
    (largest) that max_patterns itself passes.
    """
    if max_patterns > MOST_PATTERNS:
        raise OverflowError(f"sums of the overlaps of {max_patterns} patterns do not fit 32 bits")
    options = (newest, largest, corrupted, synchronous, max_sweeps, max_patterns)
    if one_by_one(n, max_patterns, len(trials)):
        for slot, trial in enumerate(trials):
            scan = NetworkScan(key, n, int(trial), *options)
            for _ in scan:
                pass
            counts[slot], censored[slot] = scan.end, scan.end == max_patterns
        return
    certain = certified_loads(n, corrupted, max_sweeps, max_patterns)
    ends = step_ends(n, corrupted, certain, max_patterns, newest)
    window = max_patterns if newest or largest else min(max_patterns, likely_load(n))
    scan_trials(key, n, trials, *options, certain, digit_shift(n), ends, window, counts, censored)


def one_by_one(n, max_patterns, trials):
    """Whether networks are so large, or so few, that all threads work on one at a time."""
    work = n * float(max_patterns) ** 2
    return work > 1e10 or (trials < get_threads() and work > 3e8)


@functools.lru_cache
def step_ends(n, corrupted, certain, max_patterns, newest):
    """Numbers of patterns at which sums are looked at: (steps,) int64, the last max_patterns or more.

    A longer step is cheaper, and its bound wider: it is taken where few units would be looked at again.  All
    are multiples of 8, and of `CHUNK` all are among them.
    """
    ends, end = [], 0
    while end < max_patterns:
        size = 64 if newest else MOST
        while size > 8 and size * n >= 1 << 31:  # sums of the overlaps of a step have 32 bits
            size //= 2
        while size > 8 and not newest:
            last = end + size
            reach = (1 + 2 * corrupted * (end < certain)) * last
            if n - reach - 0.4 * size * math.sqrt(n) > SAFE * math.sqrt(n * last):
                break
            size //= 2
        end = min(end + size, end - end % CHUNK + CHUNK, -(-max_patterns // 8) * 8)
        ends.append(end)
    return np.array(ends)


@functools.lru_cache
def likely_load(n):
    """A load at which most networks have failed: three unstable units are expected."""
    low, high = 1, n + 8
    while high - low > 1:
        p = (low + high) // 2
        tail = math.erfc((n - p) / math.sqrt(2 * n * p)) / 2
        low, high = (p, high) if n * p * tail < 3 else (low, p)
    return high + 2


@tasks(lambda key, n, trials, *rest: (len(trials), len(trials) * n * (float(rest[5]) ** 2 / 200 + 20)))
def scan_trials(
    slot,
    key,
    n,
    trials,
    newest,
    largest,
    corrupted,
    synchronous,
    max_sweeps,
    max_patterns,
    certain,
    shift,
    ends,
    window,
    counts,
    censored,
):
    """`capacity_scan` of one network, in steps that end at `ends`; first up to a load of `window` only."""
    trial, w, top = trials[slot], -(-n // 64), ends[-1]
    rows, p = min(BLOCK, -(-top // ROWS) * ROWS), -(-top // 64) * 64
    room = min(NOTES, max(FEWEST_NOTES, 32 * p))
    scratch = (
        empty((p + ROWS, w), np.uint64),  # a tile of memories may go beyond the last
        empty((64 * w, p // 64), np.uint64),
        empty((rows, p), np.int32),
        empty((rows // ROWS, p // 4, ROWS), np.int32),
        empty((len(ends) + 1, rows), np.int32),
        empty((len(ends) + 1, rows // ROWS), np.int32),
        empty((1,), np.int64),
        empty((max_patterns + 1,), np.bool_),
        empty((room, 3), np.int32),
        empty((room,), np.int64),
        zeros((2,), np.int64),
    )
    x, units, gram, digits, centers, widths, failing, failed, lows, doubts, noted = borrow(scratch)
    options = (newest, largest, synchronous, max_sweeps, corrupted, certain)
    network = (key, trial, n, x, units)
    tables = (gram, digits, centers, widths)
    notes = (failing, failed, lows, doubts, noted)
    drawn, count, most = 0, 0, window
    owned = scratch_of_panel(rows, corrupted)
    panels = borrow(owned)
    while True:
        stored = ends[step_of(most - 1, ends)]
        for mu in range(drawn, stored):
            random_pattern(key, mu, trial, n, x[mu])
        drawn = max(drawn, stored)
        for column in range(w):
            transpose_words(x, 0, drawn, column, units)
        failing[0] = most + 1
        clear(failed, 0, len(failed))
        for first in range(0, most, rows):
            end = last_open(most, largest, failing, failed)
            if first >= end:
                break
            size = min(rows, drawn - first)
            until = ends[step_of((min(end, first + size) if newest else end) - 1, ends)]
            for begin in range(0, until, COLUMNS):
                overlap_block(x, first, size, begin, min(begin + COLUMNS, until), n, until <= rows, gram)
            memories = (first, size, most, ends)
            for tile in range(0, size, ROWS):
                split_overlaps(tile, until, shift, n, memories, options, tables)
            noted[LOWS] = noted[DOUBTS] = 0
            for panel in range(-(-n // UNITS)):
                scan_panel(panel, network, memories, options, tables, notes, panels)
            resolve(network, memories, options, gram, notes)
        settle(network, most, options, notes)
        count = last_open(most, largest, failing, failed)
        if count < most or most == max_patterns:
            break
        most = max_patterns
    counts[slot], censored[slot] = count, count == max_patterns
    keep(owned)
    keep(scratch)


class NetworkScan:
    """The scan of one network on all threads: memories in blocks, each through all loads before the next.

    Iterate to run it: each turn gives the share that is done, and `progress` then tells how far it is; a scan
    that is given it goes on from there, to the same count.  Afterwards `end` is the count.
    """

    def __init__(
        self, key, n, trial, newest, largest, corrupted, synchronous, max_sweeps, max_patterns, progress=None
    ):
        self.n, self.most = n, max_patterns
        certain = certified_loads(n, corrupted, max_sweeps, max_patterns)
        self.options = (newest, largest, synchronous, max_sweeps, corrupted, certain)
        self.ends = step_ends(n, corrupted, certain, max_patterns, newest)
        top = int(self.ends[-1])
        w, p, self.rows = words(n), 64 * words(top), min(BLOCK, -(-top // ROWS) * ROWS)
        x, units = np.zeros((p + ROWS, w), np.uint64), np.empty((64 * w, p // 64), np.uint64)
        random_patterns(key, trial, n, x[None, :top])
        transpose(x[None, :p], units[None])
        self.network = (key, trial, n, x, units)
        tiles, steps = self.rows // ROWS, len(self.ends) + 1
        self.tables = (
            np.empty((self.rows, p), np.int32),
            np.empty((tiles, p // 4, ROWS), np.int32),
            np.empty((steps, self.rows), np.int32),
            np.empty((steps, tiles), np.int32),
        )
        self.failing, self.failed = np.array([max_patterns + 1]), np.zeros(max_patterns + 1, np.bool_)
        self.notes = (
            *(self.failing, self.failed),
            *(np.empty((NOTES, 3), np.int32), np.empty(NOTES, np.int64), np.zeros(2, np.int64)),
        )
        self.memories = self.loads = 0
        if progress is not None:
            error = f"what is kept of trial {trial} of n = {n} cannot be"
            if len(progress) != len(self.progress):
                raise ValueError(error)
            self.memories, self.loads, self.failing[0] = np.frombuffer(progress[:24], "<i8").tolist()
            failed = np.frombuffer(progress[24:], np.uint8)
            self.failed[:] = np.unpackbits(failed, count=max_patterns + 1)
            if self.memories < 0 or not 1 <= self.failing[0] <= max_patterns + 1 or self.failed[0]:
                raise ValueError(error)

    @property
    def progress(self):
        """Memories that are done, uncertified loads that are, and what has failed, as bytes."""
        done = np.array([self.memories, self.loads, self.failing[0]], "<i8")
        return done.tobytes() + np.packbits(self.failed).tobytes()

    @property
    def end(self):
        """The last load that may still be the count."""
        if not self.options[1]:
            return int(self.failing[0]) - 1
        return int(np.flatnonzero(~self.failed)[-1])  # load 0 never fails

    def __iter__(self):
        newest, largest, *_, certain = self.options
        while self.memories < self.end:
            self.follow_block(newest)
            self.memories += self.rows
            yield min(1.0, self.memories / max(1, self.end))
        while certain < self.end:
            load = self.end if largest else max(self.loads, certain) + 1
            if load > self.end:
                break
            lost = np.zeros(1, np.int64)
            first = load - 1 if newest else 0
            work = 10.0 * self.n * load * (load - first)
            recall_memories.deal(load - first, work, first, load, self.network, self.options, lost)
            if lost[0]:
                self.failed[load] = True
                self.failing[0] = min(self.failing[0], load)
            self.loads = load
            if bool(lost[0]) != largest:
                break
            yield 1.0

    def follow_block(self, newest):
        """Follow the fields of a block of memories, and recall what is in doubt."""
        first, (_, _, _, x, _) = self.memories, self.network
        gram, _, _, _ = self.tables
        size = min(self.rows, int(self.ends[-1]) - first)
        last = min(self.end, first + size) if newest else self.end
        until = int(self.ends[np.searchsorted(self.ends, last)])
        memories = (first, size, self.most, self.ends)
        tasks = -(-until // TOGETHER)
        overlap_blocks.deal(tasks, size * until * (self.n / 20_000 + 1), first, size, until, self.n, x, gram)
        shift = digit_shift(self.n)
        inputs = (until, shift, self.n, memories, self.options, self.tables)
        split_tiles.deal(-(-size // ROWS), size * until / 2, *inputs)
        self.notes[-1][:] = 0
        panels = -(-self.n // (UNITS * PANELS_TOGETHER))
        work = size * until * self.n / 300
        scan_panels.deal(panels, work, self.network, memories, self.options, self.tables, self.notes)
        resolve_block(self.network, memories, self.options, gram, self.notes)


@parallel
def overlap_blocks(task, first, size, until, n, x, gram):
    """`overlap_block` of so many columns."""
    for begin in range(task * TOGETHER, min((task + 1) * TOGETHER, until), COLUMNS):
        overlap_block(x, first, size, begin, min(begin + COLUMNS, until), n, False, gram)


@parallel
def split_tiles(task, until, shift, n, memories, options, tables):
    """`split_overlaps` of a tile."""
    split_overlaps(task * ROWS, until, shift, n, memories, options, tables)


@parallel
def scan_panels(task, network, memories, options, tables, notes):
    """`scan_panel` of some panels."""
    _, _, n, _, _ = network
    owned = scratch_of_panel(len(tables[0]), options[4])
    scratch = borrow(owned)
    for panel in range(task * PANELS_TOGETHER, min((task + 1) * PANELS_TOGETHER, -(-n // UNITS))):
        scan_panel(panel, network, memories, options, tables, notes, scratch)
    keep(owned)


@kernel
def resolve_block(network, memories, options, gram, notes):
    """`resolve`, for calls from Python."""
    resolve(borrow(network), borrow(memories), options, borrow(gram), borrow(notes))


@parallel
def recall_memories(task, first, load, network, options, lost):
    """Note in lost (1,) if a memory, of those from `first` on, does not come back at a load."""
    if not look(lost, 0):
        owned = empty((options[4],), np.int64)
        if not returns(network, options, first + task, load, borrow(owned)):
            fetch_add(lost, 0, 1)
        keep(owned)
