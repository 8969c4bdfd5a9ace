"""A data set of sequences: checked once, then divided into batches and stretches of time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..backend import backend_of, move, on_device
from ..validation import require_memory
from .config import Array, Config
from .device import ComputeDevice
from .losses import Loss, Targets, Weights, check_targets
from .validation import as_inputs, read_lengths, read_steps, steps_before, with_k


class Sequences(NamedTuple):
    """n sequences with their targets; m = 1 for arrays that k networks share.

    x and targets are on the device if they were given there; counted and lengths are on the host.
    """

    x: Array  # (m, n, t, i), or int32 tokens (m, n, t)
    targets: Array  # (m, n, t) or (m, n, u) int32, (m, n, t, o), or for a loss of the user (1, n, ...)
    counted: Array  # (n, t) bool, the steps whose loss counts, or float64, how much; see `Targets`
    lengths: Array | None  # (n,) int64, None if all are t
    output_weights: Array | None = None  # (o,) float64

    @property
    def timed(self) -> bool:
        """Whether the second axis of targets, as the user gives them, is time."""
        return self.targets.shape[2:3] == self.counted.shape[1:]

    def rows(self, rows: Array) -> Sequences:
        """Select sequences, of which the longest decides t."""
        stop = None if self.lengths is None else max(1, int(self.lengths[rows].max()))
        there = {"cpu": rows}
        if on_device(self.x) or on_device(self.targets):
            there["gpu"] = move(rows, "gpu")
        short = self.targets[:, :, :stop] if self.timed else self.targets
        x, targets = (a.take(there[backend_of(a)], axis=1) for a in (self.x[:, :, :stop], short))
        lengths = None if self.lengths is None else self.lengths[rows]
        return Sequences(x, targets, self.counted[rows, :stop], lengths, self.output_weights)

    def stretch(self, begin: int, end: int) -> Sequences:
        """Select the steps [begin, end) of each sequence."""
        lengths = None if self.lengths is None else np.clip(self.lengths - begin, 0, end - begin)
        targets = self.targets[:, :, begin:end] if self.timed else self.targets
        x, counted = self.x[:, :, begin:end], self.counted[:, begin:end]
        return Sequences(x, targets, counted, lengths, self.output_weights)

    def goal(self, counted: Array, total: float) -> Targets:
        """The targets of some of the steps, which are weighed by counted (n, t); total is the sum of that."""
        return Targets(self.targets, counted, total, self.output_weights, self.lengths)


def read_sequences(
    c: Config,
    device: ComputeDevice,
    x: ArrayLike,
    targets: ArrayLike,
    lengths: ArrayLike | None,
    mask: ArrayLike | None,
    loss: Loss,
    tokens: bool | None = None,
    weights: Weights | None = None,
) -> Sequences:
    """Check the arguments of `fastrec.RNN.loss_and_gradients`, without requiring the memory of a trace."""
    array, are_tokens, has_k = as_inputs(c, x, "n", "sequence", tokens)
    n, t = array.shape[has_k : has_k + 2]
    dtype = np.dtype(np.int32) if are_tokens else c.dtype
    require_memory(
        "x", array.size * dtype.itemsize * (are_tokens or array.dtype != dtype), backend=backend_of(array)
    )
    ends = None if lengths is None else move(read_lengths(lengths, n, t), "cpu")
    valid = None if ends is None else steps_before(ends, t)
    checked = read_steps(c, device, array, are_tokens, valid)
    goal = check_targets(c, device, (n, t), valid, targets, loss, mask, weights)
    counted = move(goal.counted, "cpu")
    return Sequences(with_k(checked, has_k), goal.values, counted, ends, goal.output_weights)
