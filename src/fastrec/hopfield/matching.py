"""Finding patterns among stored ones, which the host compares word by word."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels.interruption import uninterrupted


def match_rows(
    stored: NDArray[np.uint64], wanted: NDArray[np.uint64]
) -> tuple[NDArray[np.bool_], int | None]:
    """Stored rows (k, p, w) that equal the wanted rows (k, q, w), each as often as it is wanted.

    Of equal stored rows the last are taken.  Returns the mask (k, p) of the rows, and the number, in
    0..k q - 1, of the first wanted row that is not stored (often enough), or None.
    """
    k, q, w = wanted.shape
    # Equal rows have equal hashes; only stored rows whose hash is among the wanted ones are compared.
    with uninterrupted():  # or NumPy may leave its warnings switched off
        factors = np.random.default_rng(w).integers(0, 2**64, w, dtype=np.uint64) | np.uint64(1)
    network, row = np.nonzero(np.isin(stored @ factors, wanted @ factors))
    rows = np.empty((len(row) + k * q, w + 1), dtype=np.uint64)
    rows[:, 0] = np.concatenate([network, np.repeat(np.arange(k), q)])
    rows[: len(row), 1:] = stored[network, row]
    rows[len(row) :, 1:] = wanted.reshape(k * q, w)
    kinds = np.unique(rows.view(f"V{8 * w + 8}")[:, 0], return_inverse=True)[1]
    have, want = kinds[: len(row)], kinds[len(row) :]
    number = int(kinds.max()) + 1
    missing = count_earlier(want) >= np.bincount(have, minlength=number)[want]
    removed = count_earlier(have[::-1])[::-1] < np.bincount(want, minlength=number)[have]
    mask = np.zeros(stored.shape[:2], dtype=bool)
    mask[network[removed], row[removed]] = True
    return mask, int(missing.argmax()) if missing.any() else None


def count_earlier(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many earlier values equal each value, (m,) for (m,)."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    start = np.flatnonzero(np.diff(ranked, prepend=-1))
    result = np.empty(len(values), dtype=np.int64)
    result[order] = np.arange(len(values)) - np.repeat(start, np.diff(np.r_[start, len(values)]))
    return result
