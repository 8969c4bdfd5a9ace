"""Text, or any tokens, drawn by a recurrent network in plain NumPy: the specification of every other backend.

Weights of the tokens are whole numbers, so that sums of them have no order: which token is drawn depends on a
backend only where exp or a logit rounds another way.
"""

from __future__ import annotations

import numpy as np

from .. import SAMPLE
from ..interruption import uninterrupted
from .random import draws
from .stepping import step

__all__ = ["generate"]

ONE = 2.0**32  # weight of the likeliest token


def generate(
    cell: str,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    layers: tuple[tuple[np.ndarray, ...], ...],
    W_out: np.ndarray,
    b_out: np.ndarray,
    activation: int,
    feeds_back: bool,
    temperature: float,
    top_k: int,
    top_p: int,
    stop: int,
    key: int,
    first: int,
    drawn: np.ndarray,
    last: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Read prompts and go on with them: fill drawn (b, n) int32 with tokens, each the next input.

    tokens (b, t) int32 with lengths (b,) int64 from 1: the prompts.  state (layers, 1, b, s) before them;
    last (layers, 1, b, s) gets that before the last token drawn is read.  cell: name of the file with its
    step.  layers: of each the parameters as its forward kernel takes them, k = 1, without W_out (1, h, i) and
    b_out (1, i).  feeds_back: whether the outputs are the state of the next step.

    A token is drawn from its logits y as `draw` tells, by temperature, top_k and top_p and the draw number
    `first` + j of stream SAMPLE, row and key, for the token j of a row.  After `stop` (-1: none) was drawn,
    or -1 because a logit is not finite, the rest of the row is filled with it and its state stays.
    """
    b, n = drawn.shape
    network = (cell, layers, W_out, b_out, activation, feeds_back, precision)
    now, ended, no_numbers = state.copy(), np.zeros(b, np.bool_), np.empty((1, b, 0), W_out.dtype)
    for t in range(int(lengths.max()) + n - 1):
        number = t + 1 - lengths  # of the token that this step leads to
        rows = np.arange(b)
        drawn_before = np.maximum(drawn[rows, np.clip(number, 1, n) - 1], 0)
        read = np.where(number > 0, drawn_before, tokens[rows, np.minimum(t, lengths - 1)])
        moving = ~ended & (number < n)
        (y,), then = step(no_numbers, read[None], now, *network)
        now = np.where(moving[:, None], then, now)
        for row in np.flatnonzero(moving & (number >= 0)):
            random = int(draws(key, first + int(number[row]) + 1, int(row), 0, SAMPLE, 0)[-1])
            token = draw(y[row], temperature, top_k, top_p, random)
            drawn[row, number[row] :] = token
            ended[row] = token in (stop, -1)
    last[:] = now


def draw(y: np.ndarray, temperature: float, top_k: int, top_p: int, random: int) -> int:
    """The token that 64 random bits choose from logits y (i,); -1 if one is not finite.

    Its weight is floor(2^32 exp((y - max y) / temperature)); with temperature 0 the first largest is taken.
    Of the tokens by falling logit, equal ones in order, the first top_k stay, and of these the fewest that
    have more than floor(W top_p / 2^64) of their sum W (nucleus sampling: Holtzman et al., ICLR 2020).  Taken
    is the first, in the order of tokens, up to which they have more than floor(W' random / 2^64) of what is
    left, W'.
    """
    if not np.isfinite(y).all():
        return -1
    if temperature == 0:
        return int(y.argmax())
    with uninterrupted(), np.errstate(over="ignore"):
        scaled = (y - y.max()) * y.dtype.type(1 / temperature)
    weights = np.floor(np.exp(scaled) * y.dtype.type(ONE)).astype(np.uint64)
    kept = np.argsort(-y, kind="stable")[:top_k]
    sums = weights[kept].cumsum()
    enough = int(sums[-1]) * top_p >> 64
    kept = np.sort(kept[: np.count_nonzero(sums <= enough) + 1])
    sums = weights[kept].cumsum()
    return int(kept[np.count_nonzero(sums <= int(sums[-1]) * random >> 64)])
