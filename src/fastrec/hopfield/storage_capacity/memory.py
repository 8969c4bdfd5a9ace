"""Memory that a scan for the capacity needs, and what fits into the memory of a device."""

from __future__ import annotations

from collections.abc import Callable

from ...backend import device
from ...kernels import words
from ...validation import available_memory, require_memory
from .. import theory
from ..states import MAX_UNITS

MAX_TRIALS = 2**32 - 1  # a trial is one word of the random streams' counter
MOST_AT_ONCE = 4096  # trials of one call on the gpu, all in memory at once
# Blocks of the scan for each multiprocessor that keep a gpu busy: it holds 2 to 4 at once, and their ends are
# a small part of so many.  A block has 32 memories and 128 units, as in kernels/gpu/capacity.py.
BUSY, MEMORIES, UNITS = 64, 32, 128


def require_scan_memory(n: int, limit: int, lanes: int, backend: str, cure: str = "") -> None:
    """Raise ValueError if `scan_bytes` do not fit where the backend computes."""
    require_memory(f"capacity of n = {n}", scan_bytes(n, limit, lanes, backend), cure, backend)


def require_search_memory(n: int, limit: int, dense: bool, backend: str) -> None:
    """Raise ValueError if `search_bytes` do not fit where the backend computes."""
    require_memory(f"capacity of n = {n} up to p = {limit}", search_bytes(n, limit, dense), backend=backend)


def search_bytes(n: int, limit: int, dense: bool) -> int:
    """Memory of one trial of a search by definition up to a load of `limit`.

    Couplings while they are learnt and their transpose, patterns and strengths, overlaps, and states and
    fields of the memories that are recalled.  Dense memories have patterns, flipped units and distances.
    """
    if dense:
        return 24 * n * limit
    return 24 * n * n + 40 * n * limit + 8 * limit**2


def scan_bytes(n: int, limit: int, lanes: int, backend: str) -> int:
    """Minimum memory of a scan up to a load of `limit`: of one trial on the gpu, else of `lanes` trials."""
    if backend == "gpu":
        return one_trial_bytes(n, limit, device().multiprocessors)
    if backend == "reference":
        return 8 * n * (n + limit)
    p = 64 * words(limit)
    # As in kernels/cpu/capacity.py: patterns, their transpose, and of a block of memories the overlaps, their
    # digits, and a center for each step of 8 patterns or more.
    return lanes * (n * p // 4 + 11 * min(p, 504) * p // 2 + 2**22)


def trial_bytes(n: int, limit: int) -> int:
    """Memory of one trial on the gpu.

    Patterns and, twice, their transpose; overlaps in 32 and in 8 bits, sums of 8 of them and bounds for every
    16, and a bit for each memory and load in doubt; some words a load.
    """
    n, p = 64 * words(n), 64 * words(limit)
    return 3 * n * p // 8 + 57 * p**2 // 8 + 24 * p


def rows_bytes(n: int, limit: int, multiprocessors: int) -> int:
    """Memory of the recalls in progress on the gpu, two for each multiprocessor, where they are large."""
    return 2 * multiprocessors * (19 * n + 4 * 64 * words(limit))


def one_trial_bytes(n: int, limit: int, multiprocessors: int) -> int:
    """Free memory of the gpu that a scan of one trial needs; a fifth is left to fragments."""
    return (trial_bytes(n, limit) + rows_bytes(n, limit, multiprocessors)) * 5 // 4


def trials_at_once(n: int, limit: int, backend: str, lanes: int = 1) -> tuple[int, int]:
    """Fewest and most trials of one kernel call: what keeps all busy, what fits; lanes: threads of a CPU."""
    if backend != "gpu":
        return lanes, MAX_TRIALS
    free = available_memory(backend)
    assert free is not None
    multiprocessors = device().multiprocessors
    fit = (free * 4 // 5 - rows_bytes(n, limit, multiprocessors)) // trial_bytes(n, limit)
    most = min(MOST_AT_ONCE, max(1, fit))
    blocks = 64 * words(limit) // MEMORIES * -(-n // UNITS)
    return min(-(-BUSY * multiprocessors // blocks), most), most


def largest(fits: Callable[[int], bool]) -> int:
    """The largest number of units that fits, to a thousandth, where all smaller ones fit too; 0 if none."""
    low, high = 0, 1
    while high < MAX_UNITS and fits(high):
        low, high = high, 2 * high
    while high - low > max(1, low // 1000):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def largest_that_fits(free: int, multiprocessors: int) -> tuple[int, int]:
    """The largest n of a trial of `capacity`, and of recall, in `free` bytes of a gpu, to a thousandth.

    Recall is async, from patterns at load 0.1: they and their transpose take n p / 4 bytes.
    """

    def scan_fits(n: int) -> bool:
        limit = theory.capacity_bound(n)
        return one_trial_bytes(n, limit, multiprocessors) <= free

    return largest(scan_fits), largest(lambda n: n * max(1, n // 10) // 4 <= free)
