"""States between bytes and bits, and from rows to columns of bits."""

from __future__ import annotations

import numpy as np


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
