"""Recall: sweeps of updates until a row stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

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
    thresholds: np.ndarray | int = 0,
    held: np.ndarray | bool = False,
) -> Iterator[list[int]]:
    """Asynchronous sweeps over s (n,) in place, of which units held (n,) keep their states.

    Yields the units that flip in each sweep, and ends after the last allowed.
    """
    thresholds, held = np.broadcast_to(thresholds, s.shape), np.broadcast_to(held, s.shape)
    sweep_order = np.empty(len(s), dtype=np.int32)
    for sweep in range(first_sweep, first_sweep + limit):
        if len(order):
            sweep_order = order[sweep % len(order)]
        else:
            random_order(key, network, step, sweep, sweep_order)
        flipped = []
        for i in sweep_order:
            if (w[i] @ s - thresholds[i]) * s[i] < 0 and not held[i]:
                s[i] = -s[i]
                flipped.append(int(i))
        yield flipped


def form(w: np.ndarray, thresholds: np.ndarray, s: np.ndarray) -> int:
    """s'W s - 2 thresholds's, of which the energy is -1/2n."""
    return int(s @ w @ s - 2 * thresholds @ s)


def recall_async_weights(
    key: int,
    order: np.ndarray,
    first_sweep: int,
    weights: np.ndarray,
    columns: np.ndarray,
    thresholds: np.ndarray,
    clamped: np.ndarray,
    max_sweeps: int,
    states: np.ndarray,
    converged: np.ndarray,
    sweeps: np.ndarray,
    flips: np.ndarray,
    forms: np.ndarray,
    trail: np.ndarray,
    turns: np.ndarray,
) -> None:
    """Asynchronous recall, states (k, b, w) in place, with couplings weights (k, n, n) of any symmetry.

    columns (k, n, n) is the transpose of weights, the same array where they are symmetric.  A unit takes the
    sign of its field less its threshold; thresholds (k, n) are int32 or int64, of which the caller chooses
    one that holds twice the sum of |W_ij| over j and of the threshold.  Units with a 1 in clamped (k, b, w)
    are not updated; its last axis may be 0: none are.

    The sweeps are numbered from first_sweep.  order (r, n) int32 holds their orders, sweep t has row t mod r;
    with r = 0 each sweep draws a random one, the same for all rows and networks.  A row stops after a sweep
    without a flip: converged (k, b) bool, sweeps (k, b) int32 with that last one, flips (k, b) int64.

    Recorded is what has room; up to the stop, the rest is left as it is.  forms (k, b, max_sweeps + 1 or 0)
    int64 gets s'W s - 2 thresholds's at the start and after each sweep, trail (k, b, max_sweeps + 1 or 0, w)
    the states, and turns (k, b, f, 2) int32 of the first f flips the sweep, from 0 on, and the unit.
    """
    k, b, _ = states.shape
    n = weights.shape[1]
    converged[:], sweeps[:], flips[:] = False, 0, 0
    for network in range(k):
        w, t = weights[network].astype(np.int64), thresholds[network].astype(np.int64)
        for row in range(b):
            s = spins(states[network, row], n)
            held = clamped.shape[2] > 0 and spins(clamped[network, row], n) > 0
            record(w, t, s, 0, forms[network, row], trail[network, row])
            for flipped in descend(w, s, key, 0, 0, order, max_sweeps, first_sweep, t, held):
                room = turns[network, row, flips[network, row] :][: len(flipped)]
                room[:, 0], room[:, 1] = sweeps[network, row], flipped[: len(room)]
                sweeps[network, row] += 1
                flips[network, row] += len(flipped)
                record(w, t, s, sweeps[network, row], forms[network, row], trail[network, row])
                if not flipped:
                    converged[network, row] = True
                    break
            pack(s[None], states[network, row][None])


def record(
    w: np.ndarray, thresholds: np.ndarray, s: np.ndarray, sweep: int, forms: np.ndarray, trail: np.ndarray
) -> None:
    """Put the form and the states s (n,) after so many sweeps into forms (r,) and trail (r, w)."""
    forms[sweep : sweep + 1] = form(w, thresholds, s)
    if len(trail):
        pack(s[None], trail[sweep][None])


def steps_together(
    s: np.ndarray, step: Callable[[np.ndarray], np.ndarray], limit: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Steps of all units from s (n,): the states after each, and the number of steps back to the same ones.

    That is 0 until states come back: those one step before, two steps before, or kept for Brent's search,
    those after 1, 2, 4, ... steps.  There it ends, or after `limit` steps.
    """
    before, kept, kept_at = None, None, 0
    for number in range(1, limit + 1):
        new = step(s)
        back = 0
        if (new == s).all():
            back = 1
        elif before is not None and (new == before).all():
            back = 2
        elif kept is not None and (new == kept).all():
            back = number - kept_at
        if number & (number - 1) == 0:
            kept, kept_at = new, number
        s, before = new, s
        yield s, back
        if back:
            return


def recall_sync_weights(
    weights: np.ndarray,
    columns: np.ndarray,
    thresholds: np.ndarray,
    clamped: np.ndarray,
    max_sweeps: int,
    states: np.ndarray,
    period: np.ndarray,
    sweeps: np.ndarray,
    flips: np.ndarray,
    forms: np.ndarray,
    trail: np.ndarray,
) -> None:
    """Synchronous recall, states (k, b, w) in place, with couplings weights (k, n, n) of any symmetry.

    A sweep is one step of all units.  A row stops when its state equals the one before, the one two steps
    before, or, for longer cycles, which symmetric couplings do not have (Bruck 1990), the one kept for
    Brent's search: that after 1, 2, 4, ... steps, the last of them.  period (k, b) int32 is the number of
    steps back to it, 0 when max_sweeps ended the row; the others as in `recall_async_weights`.

    R. P. Brent, An improved Monte Carlo factorization algorithm, BIT 20, 176 (1980).
    """
    k, b, _ = states.shape
    n = weights.shape[1]
    period[:], sweeps[:], flips[:] = 0, 0, 0
    for network in range(k):
        w, t = weights[network].astype(np.int64), thresholds[network].astype(np.int64)
        for row in range(b):
            s = spins(states[network, row], n)
            held = clamped.shape[2] > 0 and spins(clamped[network, row], n) > 0
            record(w, t, s, 0, forms[network, row], trail[network, row])

            def step(s: np.ndarray, w: np.ndarray = w, t: np.ndarray = t, held: Any = held) -> np.ndarray:
                return np.where((w @ s == t) | held, s, np.sign(w @ s - t))

            for new, back in steps_together(s, step, max_sweeps):
                sweeps[network, row] += 1
                flips[network, row] += (new != s).sum()
                s, period[network, row] = new, back
                record(w, t, s, sweeps[network, row], forms[network, row], trail[network, row])
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
    weights = outer_products(units, packed.shape[1], self_coupling)
    given = (weights, weights, *nothing_more(weights, states))
    turns = np.empty((*states.shape[:2], 0, 2), dtype=np.int32)
    recorded = (forms, states[:, :, None][:, :, :0], turns)
    recall_async_weights(
        key, order, first_sweep, *given, max_sweeps, states, converged, sweeps, flips, *recorded
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
    weights = outer_products(units, packed.shape[1], self_coupling)
    given = (weights, weights, *nothing_more(weights, states))
    recall_sync_weights(
        *given, max_sweeps, states, period, sweeps, flips, forms, states[:, :, None][:, :, :0]
    )


def outer_products(units: np.ndarray, p: int, self_coupling: bool) -> np.ndarray:
    """The couplings (k, n, n) int64 by Hebb's rule."""
    k, n, _ = units.shape
    weights = np.empty((k, n, n), dtype=np.int64)
    couplings(units, p, self_coupling, weights)
    return weights


def recall_sequence(
    packed: np.ndarray,
    units: np.ndarray,
    cyclic: bool,
    diagonal: np.ndarray,
    steps: int,
    states: np.ndarray,
    trail: np.ndarray,
) -> None:
    """Exactly so many synchronous steps, states (k, b, w) in place, through the patterns in their order.

    W = sum_mu x^(mu+1)_i x^mu_j, less diagonal (k, n) int32 where i = j; the first of the patterns packed
    (k, p, w), units (k, n, u), follows the last if they are cyclic.  There are no couplings in memory: the
    field of a unit is sum_mu x^(mu+1)_i m_mu - diagonal_i s_i.  trail (k, b, steps + 1 or 0, w) gets the
    states at the start and after each step.
    """
    n, p = units.shape[1], packed.shape[1]
    x = spins(packed, n)
    following = np.roll(x, -1, axis=1)
    if not cyclic:
        following[:, p - 1] = 0
    weights = following.swapaxes(1, 2) @ x
    weights[:, range(n), range(n)] -= diagonal
    for network, row in np.ndindex(states.shape[:2]):
        s, shown = spins(states[network, row], n), trail[network, row]
        for step in range(steps + 1):
            if step:
                h = weights[network] @ s
                s = np.where(h == 0, s, np.sign(h))
            if len(shown):
                pack(s[None], shown[step][None])
        pack(s[None], states[network, row][None])


def nothing_more(weights: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds of 0 and no clamped units."""
    return np.zeros(weights.shape[:2], dtype=np.int64), states[:, :, :0]
