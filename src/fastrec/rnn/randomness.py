"""What a forward pass draws at random: dropout between layers, and noise inside their units."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ..messages import shown
from ..streams import Seed, read_seed
from ..validation import number, one_of
from .cells import CELLS
from .config import Array, Config

MOST_NOISE = 1e6


class Dropout(NamedTuple):
    """Which units are left out: see `dropout` of the kernels."""

    threshold: int
    key: np.uint64  # Numba would compile kernels twice for ints, below 2^63 and above


class Noise(NamedTuple):
    """Normal numbers with that standard deviation: see `normal_noise` of the kernels."""

    deviation: float
    key: np.uint64


class Drawn(NamedTuple):
    """What a forward pass draws."""

    dropout: Dropout | None = None
    noise: Noise | None = None


NOTHING = Drawn()


def read_dropout(c: Config, dropout: float, key: int | np.uint64) -> Dropout | None:
    """The argument `dropout` of `fastrec.RNN.loss_and_gradients`, checked; None if it is 0."""
    threshold = min(round(number("dropout", dropout, 0, 1, closed=True) * 2**16), 2**16 - 1)
    if threshold and not c.has_output_layer and c.num_layers == 1:
        raise ValueError(
            f"dropout is {dropout}, which acts on what layers hand on; this network has one layer and no "
            "output layer after it, leave it out"
            if not c.kind.feeds_back_output
            else f'dropout is {dropout}; cell="{c.cell}" feeds its output back and has none, leave it out'
        )
    return Dropout(threshold, np.uint64(key)) if threshold else None


def read_noise(c: Config, noise: float, key: int | np.uint64) -> Noise | None:
    """The argument `noise` of `fastrec.RNN.forward`, checked; None if it is 0."""
    deviation = number("noise", noise, 0, MOST_NOISE, closed=True)
    if deviation and not c.kind.takes_noise:
        having = one_of([name for name, cell in CELLS.items() if cell.takes_noise])
        raise ValueError(f"noise is {shown(noise)}; only cell={having} takes it, leave it out")
    return Noise(deviation, np.uint64(key)) if deviation else None


def draw_noise(c: Config, noise: float, noise_seed: Seed) -> Drawn:
    """What `fastrec.RNN.forward` draws, given its arguments."""
    if noise == 0 and type(noise) is float and noise_seed is None:
        return NOTHING  # a step may be short
    return Drawn(noise=read_noise(c, noise, read_seed(noise_seed, "noise_seed")))


@functools.cache
def normal_table(dtype: np.dtype[Any]) -> Array:
    """Quantiles (2^16,) of the standard normal distribution at (j + 1/2) / 2^16, scaled to variance 1."""
    from statistics import NormalDist  # loaded only where there is noise

    standard = NormalDist()
    lower = np.array([standard.inv_cdf((j + 0.5) / 2**16) for j in range(2**15)])
    lower /= np.sqrt((lower * lower).mean())
    return np.concatenate([lower, -lower[::-1]]).astype(dtype)
