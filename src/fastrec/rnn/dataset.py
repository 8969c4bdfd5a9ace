"""A data set of sequences: checked once, then divided into batches and stretches of time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..backend import backend_of, move, on_device
from ..validation import require_memory
from .config import Array, Config
from .device import ComputeDevice
from .validation import (
    Batch,
    Dropout,
    Loss,
    Purpose,
    as_inputs,
    check_targets,
    contiguous,
    make_batch,
    read_floats,
    read_integers,
    read_lengths,
    require_batch_memory,
    steps_before,
    with_k,
)


class Sequences(NamedTuple):
    """n sequences with their targets; m = 1 for arrays that k networks share.

    x and targets are on the device if they were given there; counted and lengths are on the host.
    """

    x: Array  # (m, n, t, i), or int32 tokens (m, n, t)
    targets: Array  # (m, n, t) int32, or (m, n, t, o)
    counted: Array  # (n, t) bool, the steps whose loss counts
    lengths: Array | None  # (n,) int64, None if all are t

    def rows(self, rows: Array) -> Sequences:
        """Select sequences, of which the longest decides t."""
        stop = None if self.lengths is None else max(1, int(self.lengths[rows].max()))
        there = {"cpu": rows}
        if on_device(self.x) or on_device(self.targets):
            there["gpu"] = move(rows, "gpu")
        x, targets = (a[:, :, :stop].take(there[backend_of(a)], axis=1) for a in (self.x, self.targets))
        return Sequences(
            x, targets, self.counted[rows, :stop], None if self.lengths is None else self.lengths[rows]
        )

    def stretch(self, begin: int, end: int) -> Sequences:
        """Select the steps [begin, end) of each sequence."""
        lengths = None if self.lengths is None else np.clip(self.lengths - begin, 0, end - begin)
        x, targets = self.x[:, :, begin:end], self.targets[:, :, begin:end]
        return Sequences(x, targets, self.counted[:, begin:end], lengths)


def checked_batch(
    c: Config,
    device: ComputeDevice,
    weights: dict[str, Array],
    x: Array,
    lengths: Array | None,
    start: Array | None,
    purpose: Purpose,
    dropout: Dropout | None = None,
) -> Batch:
    """Turn checked inputs, numbers (m, b, t, i) or int32 tokens (m, b, t), into what kernels take."""
    x, (b, t) = contiguous(x, x.dtype), x.shape[1:3]
    require_batch_memory(c, device, x, b, t, purpose, dropout)
    valid = None if lengths is None else steps_before(lengths, t)
    return make_batch(c, device, weights, x, lengths, valid, start, purpose, dropout)


def read_sequences(
    c: Config,
    device: ComputeDevice,
    x: ArrayLike,
    targets: ArrayLike,
    loss: Loss,
    lengths: ArrayLike | None,
    mask: ArrayLike | None,
) -> Sequences:
    """Check the arguments of `fastrec.RNN.loss_and_gradients`, without requiring the memory of a trace."""
    array, are_tokens, has_k = as_inputs(c, x, "n", "sequence")
    n, t = array.shape[has_k : has_k + 2]
    dtype = np.dtype(np.int32) if are_tokens else c.dtype
    require_memory(
        "x", array.size * dtype.itemsize * (are_tokens or array.dtype != dtype), backend=backend_of(array)
    )
    ends = None if lengths is None else move(read_lengths(lengths, n, t), "cpu")
    valid = None if ends is None else steps_before(ends, t)
    if are_tokens:
        checked = read_integers("x", array, c.input_size, valid)
    else:
        checked = read_floats("x", array, c.dtype, valid, device)
    checked_targets, counted, _ = check_targets(c, device, (n, t), valid, targets, loss, mask)
    counted = np.ones((n, t), np.bool_) if counted is None else move(counted, "cpu")
    return Sequences(with_k(checked, has_k), checked_targets, counted, ends)
