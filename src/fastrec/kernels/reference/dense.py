"""Dense associative memories: recall by sums, over the patterns, of a function of their distance."""

from __future__ import annotations

import numpy as np

from .packing import pack, spins
from .random import random_order
from .recall import steps_together


def gains(x: np.ndarray, s: np.ndarray, table: np.ndarray, relative: bool) -> np.ndarray:
    """What sum_mu F(d_mu) gains by a flip of each unit of s (n,), int64 (n,), from patterns x (p, n).

    d_mu is the number of units in which pattern mu differs from s.  F(d) is table[d]; if relative it is
    table[d - nearest + 1], with the least distance of all patterns, and 0 past the end of the table.
    """
    differ = x != s
    d = differ.sum(axis=1)
    first = d.min() - 1 if relative else 0

    def values(d: np.ndarray) -> np.ndarray:
        at = d - first
        return np.where(at < len(table), table[np.clip(at, 0, len(table) - 1)], 0)

    nearer, farther = (values(d + change) - values(d) for change in (-1, 1))
    return np.where(differ, nearer[:, None], farther[:, None]).sum(axis=0)


def dense_async(
    key: int,
    order: np.ndarray,
    first_sweep: int,
    packed: np.ndarray,
    units: np.ndarray,
    table: np.ndarray,
    relative: bool,
    max_sweeps: int,
    states: np.ndarray,
    converged: np.ndarray,
    sweeps: np.ndarray,
    flips: np.ndarray,
    trail: np.ndarray,
) -> None:
    """Asynchronous recall of dense memories, states (k, b, w) in place, from patterns packed (k, p, w).

    A unit flips if that raises sum_mu F(d_mu), with F from the table, int64, as in `gains`; no sum of p
    differences of two entries next to each other, or of those of two such differences, passes 2^63.
    units (k, n, u) is the transpose of packed; its last axis may be 0, and the patterns then suffice.

    order (r, n), first_sweep, converged, sweeps, flips (k, b) and trail (k, b, max_sweeps + 1 or 0, w) are
    those of `recall_async_weights`.
    """
    (k, b, _), n = states.shape, order.shape[1]
    converged[:], sweeps[:], flips[:] = False, 0, 0
    chosen = np.empty(n, dtype=np.int32)
    for network in range(k):
        x = spins(packed[network], n)
        for row in range(b):
            s = spins(states[network, row], n)
            record(s, 0, trail[network, row])
            while sweeps[network, row] < max_sweeps and not converged[network, row]:
                sweep = first_sweep + sweeps[network, row]
                if len(order):
                    chosen = order[sweep % len(order)]
                else:
                    random_order(key, 0, 0, sweep, chosen)
                before = flips[network, row]
                for i in chosen:
                    if gains(x, s, table, relative)[i] > 0:
                        s[i] = -s[i]
                        flips[network, row] += 1
                converged[network, row] = flips[network, row] == before
                sweeps[network, row] += 1
                record(s, sweeps[network, row], trail[network, row])
            pack(s[None], states[network, row][None])


def dense_sync(
    packed: np.ndarray,
    n: int,
    table: np.ndarray,
    relative: bool,
    max_sweeps: int,
    states: np.ndarray,
    period: np.ndarray,
    sweeps: np.ndarray,
    flips: np.ndarray,
    trail: np.ndarray,
) -> None:
    """Synchronous recall of dense memories of n units, states (k, b, w) in place: see `dense_async`.

    All units for which `gains` is above 0 flip at once.  period, sweeps and flips (k, b), the stop at a cycle
    and trail (k, b, max_sweeps + 1 or 0, w) are those of `recall_sync_weights`.
    """
    k, b, _ = states.shape
    period[:], sweeps[:], flips[:] = 0, 0, 0
    for network in range(k):
        x = spins(packed[network], n)
        for row in range(b):
            s = spins(states[network, row], n)
            record(s, 0, trail[network, row])

            def step(s: np.ndarray, x: np.ndarray = x) -> np.ndarray:
                return np.where(gains(x, s, table, relative) > 0, -s, s)

            for new, back in steps_together(s, step, max_sweeps):
                sweeps[network, row] += 1
                flips[network, row] += (new != s).sum()
                s, period[network, row] = new, back
                record(s, sweeps[network, row], trail[network, row])
            pack(s[None], states[network, row][None])


def record(s: np.ndarray, sweep: int, trail: np.ndarray) -> None:
    """Put the states s (n,) after so many sweeps into trail (r, w), if it has room."""
    if len(trail):
        pack(s[None], trail[sweep][None])
