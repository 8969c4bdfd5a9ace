"""Hopfield networks in plain NumPy, the specification of every other backend.

The letters of the shapes, the packing and the random streams are told in `fastrec.kernels`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .random import corrupt, philox, random_order, random_patterns

__all__ = [
    "corrupt",
    "couplings",
    "is_stable",
    "local_fields",
    "overlaps",
    "pack",
    "philox",
    "quadratic_form",
    "random_order",
    "random_patterns",
    "recall_async",
    "recall_async_weights",
    "recall_sync",
    "recall_sync_weights",
    "transpose",
    "unpack",
]


def bits(packed: np.ndarray, n: int) -> np.ndarray:
    """The first n bits of each row as 0 or 1."""
    octets = np.ascontiguousarray(packed).astype("<u8").view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=n, bitorder="little")


def spins(packed: np.ndarray, n: int) -> np.ndarray:
    """The first n bits of each row as +1 or -1, int64."""
    return 2 * bits(packed, n).astype(np.int64) - 1


def pack(states: np.ndarray, packed: np.ndarray) -> None:
    """Pack states (r, n) int8 into packed (r, w)."""
    octets = np.zeros((len(packed), 8 * packed.shape[1]), dtype=np.uint8)
    filled = np.packbits(states > 0, axis=1, bitorder="little")
    octets[:, : filled.shape[1]] = filled
    packed[:] = octets.view("<u8")


def unpack(packed: np.ndarray, states: np.ndarray) -> None:
    """Unpack packed (r, w) into states (r, n) int8."""
    states[:] = spins(packed, states.shape[1])


def transpose(packed: np.ndarray, units: np.ndarray) -> None:
    """Fill units (k, n, u) from packed (k, p, w)."""
    k, n, _ = units.shape
    for network in range(k):
        pack(spins(packed[network], n).T, units[network])


def overlaps(packed: np.ndarray, probes: np.ndarray, n: int, m: np.ndarray) -> None:
    """Fill m (k, b, p) int32 with the overlaps of probes (k, b, w) with packed (k, p, w).

    m = sum_i x_i s_i, from -n to n.  With probes = packed it is the Gram matrix.
    """
    m[:] = spins(probes, n) @ spins(packed, n).swapaxes(1, 2)


def couplings(units: np.ndarray, p: int, self_coupling: bool, weights: np.ndarray) -> None:
    """Fill weights (k, n, n), any signed integer dtype, with W = sum of outer products of the p patterns."""
    x = spins(units, p)
    weights[:] = x @ x.swapaxes(1, 2)
    if not self_coupling:
        weights[:, range(weights.shape[1]), range(weights.shape[1])] = 0


def local_fields(
    units: np.ndarray, states: np.ndarray, m: np.ndarray, self_coupling: bool, fields: np.ndarray
) -> None:
    """Fill fields (k, b, n) int32 or int64 with W s from units (k, n, u) and overlaps m (k, b, p).

    h = X'(X s), less p s where a unit does not couple to itself.
    """
    p, n = m.shape[2], units.shape[1]
    fields[:] = m.astype(np.int64) @ spins(units, p).swapaxes(1, 2)
    if not self_coupling:
        fields -= (p * spins(states, n)).astype(fields.dtype)


def quadratic_form(m: np.ndarray, n: int, self_coupling: bool, form: np.ndarray) -> None:
    """Fill form (k, b) int64 with s'W s = sum of squared overlaps m (k, b, p), less p n without diagonal."""
    form[:] = (m.astype(np.int64) ** 2).sum(axis=2) - (0 if self_coupling else m.shape[2] * n)


def is_stable(
    units: np.ndarray, states: np.ndarray, m: np.ndarray, self_coupling: bool, stable: np.ndarray
) -> None:
    """Fill stable (k, b) bool: no unit has a field against it (a zero field keeps the state)."""
    fields = np.empty((*m.shape[:2], units.shape[1]), dtype=np.int64)
    local_fields(units, states, m, self_coupling, fields)
    stable[:] = (fields * spins(states, units.shape[1]) >= 0).all(axis=2)


def descend(
    w: np.ndarray, s: np.ndarray, key: int, network: int, step: int, order: np.ndarray, limit: int
) -> Iterator[int]:
    """Asynchronous sweeps over s (n,) in place; yields the flips of each, ends after the last allowed."""
    sweep_order = np.empty(len(s), dtype=np.int32)
    for sweep in range(limit):
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
    weights: np.ndarray,
    max_sweeps: int,
    states: np.ndarray,
    converged: np.ndarray,
    sweeps: np.ndarray,
    flips: np.ndarray,
    forms: np.ndarray,
) -> None:
    """Asynchronous recall, states (k, b, w) in place, with couplings weights (k, n, n).

    order (r, n) int32 holds the orders of the sweeps, used in turn; with r = 0 each sweep draws a random
    one, the same for all rows and networks.  A row stops after a sweep without a flip: converged (k, b)
    bool, sweeps (k, b) int32 with that last one, flips (k, b) int64.  forms (k, b, max_sweeps + 1) int64
    gets s'W s at the start and after each sweep, up to the stop; its last axis may be 0: none recorded.
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
            for flipped in descend(w, s, key, 0, 0, order, max_sweeps):
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
    recall_async_weights(key, order, weights, max_sweeps, states, converged, sweeps, flips, forms)


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
