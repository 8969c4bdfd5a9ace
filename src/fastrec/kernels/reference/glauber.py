"""Glauber dynamics: sweeps in which a unit takes a random state, with the odds that its field gives it."""

from __future__ import annotations

import numpy as np

from .. import GLAUBER
from .packing import pack, spins
from .random import draws, random_order
from .recall import form, nothing_more, outer_products, record

FRACTION = 12  # bits of the fixed-point arguments of `chances` between two of its entries


def chance(size: int, heat: np.ndarray, chances: np.ndarray) -> int:
    """2^64 times the probability that a unit is set against a field of this size, below the cutoff."""
    _, drop, factor, shift = (int(number) for number in heat)
    entry, part = divmod((size >> drop) * factor >> shift, 1 << FRACTION)
    here, there = int(chances[entry]), int(chances[entry + 1])
    return here - ((here - there) * part >> FRACTION)


def next_state(field: int, state: int, draw: int, heat: np.ndarray, chances: np.ndarray) -> int:
    """The state +-1 of a unit after its update with a 64-bit draw."""
    if abs(field) >= heat[0]:
        return int(np.sign(field)) or state
    against = draw < chance(abs(field), heat, chances)
    return 1 if (field >= 0) != against else -1


def glauber_async_weights(
    key: int,
    order: np.ndarray,
    first_sweep: int,
    weights: np.ndarray,
    columns: np.ndarray,
    thresholds: np.ndarray,
    clamped: np.ndarray,
    heat: np.ndarray,
    chances: np.ndarray,
    averaged: int,
    states: np.ndarray,
    flips: np.ndarray,
    forms: np.ndarray,
    trail: np.ndarray,
    turns: np.ndarray,
    totals: np.ndarray,
    form_totals: np.ndarray,
) -> None:
    """Asynchronous sweeps at a temperature each, states (k, b, w) in place: see `recall_async_weights`.

    heat (sweeps, 4) int64 gives for each sweep the size of a field less threshold from which on it is obeyed
    for certain (a field of 0 leaves the unit as it is), and how a smaller size h is turned into an argument
    of the table: ((h >> heat[1]) heat[2]) >> heat[3], with `FRACTION` bits after the point.  chances (c,)
    uint64, which falls, holds 2^64 times the probability to be set against the field at each whole argument;
    between them it is interpolated.  A unit is set against its field if the draw is less.

    The draws of row b of network k in sweep t are those of the stream GLAUBER with row t, network b and step
    k, in the order of the updates.

    totals (k, b, n or 0) int32 gets the sums of the states after each of the last `averaged` sweeps, and
    form_totals (k, b) int64 those of s'W s - 2 thresholds's.
    """
    k, b, _ = states.shape
    n = weights.shape[1]
    flips[:], totals[:], form_totals[:] = 0, 0, 0
    chosen = np.empty(n, dtype=np.int32)
    for network in range(k):
        w, own = weights[network].astype(np.int64), thresholds[network].astype(np.int64)
        for row in range(b):
            s = spins(states[network, row], n)
            held = clamped.shape[2] > 0 and spins(clamped[network, row], n) > 0
            held = np.broadcast_to(held, n)
            record(w, own, s, 0, forms[network, row], trail[network, row])
            for t, level in enumerate(heat):
                sweep = first_sweep + t
                if len(order):
                    chosen = order[sweep % len(order)]
                else:
                    random_order(key, 0, 0, sweep, chosen)
                drawn = draws(key, n, sweep, row, GLAUBER, network)
                for i, draw in zip(chosen, drawn, strict=True):
                    new = next_state(int(w[i] @ s - own[i]), int(s[i]), int(draw), level, chances)
                    if new != s[i] and not held[i]:
                        turns[network, row, flips[network, row] :][:1] = t, i
                        flips[network, row] += 1
                        s[i] = new
                record(w, own, s, t + 1, forms[network, row], trail[network, row])
                if t >= len(heat) - averaged:
                    totals[network, row] += s[: totals.shape[2]].astype(np.int32)
                    form_totals[network, row] += form(w, own, s)
            pack(s[None], states[network, row][None])


def glauber_sync_weights(
    key: int,
    first_sweep: int,
    weights: np.ndarray,
    columns: np.ndarray,
    thresholds: np.ndarray,
    clamped: np.ndarray,
    heat: np.ndarray,
    chances: np.ndarray,
    averaged: int,
    states: np.ndarray,
    flips: np.ndarray,
    forms: np.ndarray,
    trail: np.ndarray,
    totals: np.ndarray,
    form_totals: np.ndarray,
) -> None:
    """Synchronous steps at a temperature each, states (k, b, w) in place: see `glauber_async_weights`.

    All units are updated at once, from the fields before the step, and the draws come in the order of the
    units.
    """
    k, b, _ = states.shape
    n = weights.shape[1]
    flips[:], totals[:], form_totals[:] = 0, 0, 0
    for network in range(k):
        w, own = weights[network].astype(np.int64), thresholds[network].astype(np.int64)
        for row in range(b):
            s = spins(states[network, row], n)
            held = clamped.shape[2] > 0 and spins(clamped[network, row], n) > 0
            record(w, own, s, 0, forms[network, row], trail[network, row])
            for t, level in enumerate(heat):
                drawn, fields = draws(key, n, first_sweep + t, row, GLAUBER, network), w @ s - own
                updated = [
                    next_state(int(field), int(state), int(draw), level, chances)
                    for field, state, draw in zip(fields, s, drawn, strict=True)
                ]
                new = np.where(held, s, updated)
                flips[network, row] += (new != s).sum()
                s = new
                record(w, own, s, t + 1, forms[network, row], trail[network, row])
                if t >= len(heat) - averaged:
                    totals[network, row] += s[: totals.shape[2]].astype(np.int32)
                    form_totals[network, row] += form(w, own, s)
            pack(s[None], states[network, row][None])


def glauber_async(
    key: int,
    order: np.ndarray,
    first_sweep: int,
    packed: np.ndarray,
    units: np.ndarray,
    self_coupling: bool,
    heat: np.ndarray,
    chances: np.ndarray,
    averaged: int,
    states: np.ndarray,
    flips: np.ndarray,
    forms: np.ndarray,
    totals: np.ndarray,
    form_totals: np.ndarray,
) -> None:
    """`glauber_async_weights` from packed (k, p, w) and units (k, n, u), without couplings in memory."""
    weights = outer_products(units, packed.shape[1], self_coupling)
    given = (weights, weights, *nothing_more(weights, states), heat, chances, averaged)
    turns, trail = np.empty((*states.shape[:2], 0, 2), dtype=np.int32), states[:, :, None][:, :, :0]
    glauber_async_weights(
        key, order, first_sweep, *given, states, flips, forms, trail, turns, totals, form_totals
    )


def glauber_sync(
    key: int,
    first_sweep: int,
    packed: np.ndarray,
    units: np.ndarray,
    self_coupling: bool,
    heat: np.ndarray,
    chances: np.ndarray,
    averaged: int,
    states: np.ndarray,
    flips: np.ndarray,
    forms: np.ndarray,
    totals: np.ndarray,
    form_totals: np.ndarray,
) -> None:
    """`glauber_sync_weights` from packed (k, p, w) and units (k, n, u), without couplings in memory."""
    weights = outer_products(units, packed.shape[1], self_coupling)
    given = (weights, weights, *nothing_more(weights, states), heat, chances, averaged)
    trail = states[:, :, None][:, :, :0]
    glauber_sync_weights(key, first_sweep, *given, states, flips, forms, trail, totals, form_totals)
