"""States between bytes and bits, and from rows to columns of bits, on the GPU."""

from __future__ import annotations

from typing import Any

from .module import launch
from .random import THREADS, blocks


def pack(states: Any, packed: Any) -> None:
    """Pack states (r, n) int8 into packed (r, w)."""
    r, w = packed.shape
    launch("packing", "pack", blocks(32 * r * w), THREADS, states, r, states.shape[1], w, packed)


def unpack(packed: Any, states: Any) -> None:
    """Unpack packed (r, w) into states (r, n) int8."""
    r, n = states.shape
    launch("packing", "unpack", blocks(-(-r * n // 8)), THREADS, packed, r, n, packed.shape[1], states)


def transpose(packed: Any, units: Any) -> None:
    """Fill units (k, n, u) from packed (k, p, w)."""
    (k, p, w), (_, n, u) = packed.shape, units.shape
    launch("packing", "transpose", k * -(-w // 4) * -(-u // 4), 512, packed, p, n, w, u, units)
