"""Recall: sweeps of updates until a row stops."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .packing import pack, spins
from .products import couplings
from .random import random_order


def descend(
    w: np.ndarray,
    s: np.ndarray,
    key: int,
    network: int,
    step: int,
    order: np.ndarray,
    limit: int,
    first_sweep: int = 0,
) -> Iterator[int]:
    """Asynchronous sweeps over s (n,) in place; yields the flips of each, ends after the last allowed."""
    sweep_order = np.empty(len(s), dtype=np.int32)
    for sweep in range(first_sweep, first_sweep + limit):
        if len(order):
            sweep_order = order[sweep % len(order)]
        else:
            random_order(key, network, step, sweep, sweep_order)
        flips = 0
        for i in sweep_order:
            field = w[i] @ s
            if field * s[i] < 0:
                s[i] = -s[i]
                flips += 1
        yield flips


def recall_async_weights(
    key: int,
    order: np.ndarray,
    first_sweep: int,
    weights: np.ndarray,
    max_sweeps: int,
    states: np.ndarray,
    converged: np.ndarray,
    sweeps: np.ndarray,
    flips: np.ndarray,
    forms: np.ndarray,
) -> None:
    """Asynchronous recall, states (k, b, w) in place, with couplings weights (k, n, n).

    The sweeps are numbered from first_sweep.  order (r, n) int32 holds their orders, sweep t has row t mod r;
    with r = 0 each sweep draws a random one, the same for all rows and networks.  A row stops after a sweep
    without a flip: converged (k, b) bool, sweeps (k, b) int32 with that last one, flips (k, b) int64.  forms
    (k, b, max_sweeps + 1) int64 gets s'W s at the start and after each sweep, up to the stop; its last axis
    may be 0: none recorded.
    """
    k, b, _ = states.shape
    n = weights.shape[1]
    converged[:], sweeps[:], flips[:] = False, 0, 0
    for network in range(k):
        w = weights[network].astype(np.int64)
        for row in range(b):
            s = spins(states[network, row], n)
            record = forms[network, row]
            record[:1] = s @ w @ s
            for flipped in descend(w, s, key, 0, 0, order, max_sweeps, first_sweep):
                sweeps[network, row] += 1
                flips[network, row] += flipped
                record[sweeps[network, row] : sweeps[network, row] + 1] = s @ w @ s
                if flipped == 0:
                    converged[network, row] = True
                    break
            pack(s[None], states[network, row][None])


def recall_sync_weights(
    weights: np.ndarray,
    max_sweeps: int,
    states: np.ndarray,
    period: np.ndarray,
    sweeps: np.ndarray,
    flips: np.ndarray,
    forms: np.ndarray,
) -> None:
    """Synchronous recall, states (k, b, w) in place, with couplings weights (k, n, n).

    period (k, b) int32 is 1 at a fixed point, 2 when the state equals the one two steps before (symmetric
    couplings allow no longer cycle: Bruck 1990), 0 when max_sweeps ended it; the others as in
    `recall_async_weights`, a sweep being one step of all units.
    """
    k, b, _ = states.shape
    n = weights.shape[1]
    period[:], sweeps[:], flips[:] = 0, 0, 0
    for network in range(k):
        w = weights[network].astype(np.int64)
        for row in range(b):
            s, before = spins(states[network, row], n), None
            record = forms[network, row]
            record[:1] = s @ w @ s
            while sweeps[network, row] < max_sweeps and not period[network, row]:
                new = np.where(w @ s == 0, s, np.sign(w @ s))
                if (new == s).all():
                    period[network, row] = 1
                elif before is not None and (new == before).all():
                    period[network, row] = 2
                sweeps[network, row] += 1
                flips[network, row] += (new != s).sum()
                s, before = new, s
                record[sweeps[network, row] : sweeps[network, row] + 1] = s @ w @ s
            pack(s[None], states[network, row][None])


def recall_async(
    key: int,
    order: np.ndarray,
    first_sweep: int,
    packed: np.ndarray,
    units: np.ndarray,
    self_coupling: bool,
    max_sweeps: int,
    states: np.ndarray,
    converged: np.ndarray,
    sweeps: np.ndarray,
    flips: np.ndarray,
    forms: np.ndarray,
) -> None:
    """`recall_async_weights` from packed (k, p, w) and units (k, n, u), without couplings in memory."""
    k, n, _ = units.shape
    weights = np.empty((k, n, n), dtype=np.int64)
    couplings(units, packed.shape[1], self_coupling, weights)
    recall_async_weights(
        key, order, first_sweep, weights, max_sweeps, states, converged, sweeps, flips, forms
    )


def recall_sync(
    packed: np.ndarray,
    units: np.ndarray,
    self_coupling: bool,
    max_sweeps: int,
    states: np.ndarray,
    period: np.ndarray,
    sweeps: np.ndarray,
    flips: np.ndarray,
    forms: np.ndarray,
) -> None:
    """`recall_sync_weights` from packed (k, p, w) and units (k, n, u), without couplings in memory."""
    k, n, _ = units.shape
    weights = np.empty((k, n, n), dtype=np.int64)
    couplings(units, packed.shape[1], self_coupling, weights)
    recall_sync_weights(weights, max_sweeps, states, period, sweeps, flips, forms)
