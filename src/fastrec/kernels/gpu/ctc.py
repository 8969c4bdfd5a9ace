"""Connectionist temporal classification on the GPU: a block takes the steps of a row."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .module import launch
from .random import THREADS
from .recall import block_memory
from .time_loop import float_type
from .training import wanted

PIECE = 2**30  # bytes of chances at a time


def ctc(
    blank: int,
    outputs: Any,
    labels: Any,
    lengths: Any,
    weights: Any,
    scale: Any,
    losses: Any,
    d_outputs: Any,
) -> None:
    """Losses and gradients of rows from chances of their states, from the first step on and from the last."""
    k, b, t, o = outputs.shape
    m, _, u = labels.shape
    d, states = wanted(d_outputs), 2 * u + 1
    held = 2 if d is None else t + 1
    at_once = min(k * b, max(1, PIECE // (16 * (held * states + t))))
    lattice = cupy.empty((at_once, held, states, 2), np.float64)
    norms = cupy.empty((at_once, t, 2), np.float64)
    scratch, nbytes = block_memory(8 * (5 * states + o + u), at_once)
    for first in range(0, k * b, max(at_once, 1)):
        launch(
            *("ctc", f"ctc<{float_type(outputs)}>", min(at_once, k * b - first), THREADS),
            *(outputs, labels, lengths, weights, scale, first, m, b, t, u, o, blank, held),
            *(lattice, norms, scratch, nbytes, losses, d),
            shared=0 if scratch is not None else nbytes,
        )
