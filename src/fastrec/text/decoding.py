"""What a decoder writes: arguments, results, and the kernel calls."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..backend import kernels, move
from ..display import Column, Displayed, by_index
from ..rnn.config import MAX_SIZE, Array, Config
from ..rnn.generation import Sampling
from ..rnn.stepping import NOT_FINITE, kernel_network
from ..rnn.validation import Batch
from ..validation import as_int, number, require_memory


class Beams(NamedTuple):
    """The fields of `BeamResult`, which its docstring describes."""

    symbols: NDArray[np.int32]
    lengths: NDArray[np.int64]
    scores: NDArray[np.float64]


class BeamResult(Displayed, Beams):
    """The n_best sequences that `EncoderDecoder.beam_search` found for each of n sources, the best first.

    Parameters
    ----------
    symbols : ndarray of shape (n, n_best, steps)
        int32, each sequence followed by target_size.
    lengths : ndarray of shape (n, n_best)
        Symbols of each sequence, int64; 0 where fewer than n_best were found.
    scores : ndarray of shape (n, n_best)
        float64, log probabilities divided by the length penalty; -inf where fewer than n_best were found.

    Examples
    --------
    >>> model = fastrec.EncoderDecoder(3, 3, 8, seed=1)
    >>> found = model.beam_search([[0, 1]], steps=2, n_best=4)
    >>> found.symbols.shape, found.lengths.shape, found.scores.shape
    ((1, 4, 2), (1, 4), (1, 4))
    """

    def _summary(self) -> dict[str, Any]:
        sources, n_best, steps = self.symbols.shape
        return {"sources": sources, "n_best": n_best, "steps": steps}

    def _columns(self) -> list[Column]:
        return by_index(("source", "rank"), length=self.lengths, score=self.scores, symbol=self.symbols)


class Search(NamedTuple):
    """The checked arguments of a beam search."""

    penalties: NDArray[np.float64]  # (steps,)
    width: int
    n_best: int


def read_search(steps: Any, width: Any, length_penalty: Any, n_best: Any) -> Search:
    """Check the arguments of `EncoderDecoder.beam_search`."""
    steps, width, n_best = (
        as_int(name, value, 1, MAX_SIZE)
        for name, value in (("steps", steps), ("width", width), ("n_best", n_best))
    )
    power = number("length_penalty", length_penalty, 0, closed=True)
    require_memory("a table of length penalties", 16 * steps)
    with np.errstate(over="ignore"):
        penalties = ((5 + np.arange(1, steps + 1)) / 6) ** power
    if not np.isfinite(penalties[-1]):
        raise ValueError(f"length_penalty is {power:g}, too large for {steps} steps; usual are 0 to 1")
    return Search(penalties, width, n_best)


def beam_search(c: Config, batch: Batch, attended: tuple[Array, ...], search: Search) -> BeamResult:
    """Search for what a decoder writes in the states of a batch.

    attended: what `attention.as_decoded` returns.
    """
    device, (penalties, width, n_best), n = batch.device, search, batch.start.shape[2]
    shape = (n, n_best, len(penalties))
    beam = (c.outputs_width + 2 * c.num_layers * c.state) * c.dtype.itemsize + 8 * len(penalties) + 40
    require_memory("the beam search", n * width * beam + 4 * prod(shape), backend=device.backend)
    made = [
        device.xp.empty(shape[:axes], dtype)
        for axes, dtype in ((3, np.int32), (2, np.int64), (2, np.float64))
    ]
    network = (c.cell, batch.start, *kernel_network(c, batch.weights, device.xp), *attended)
    kernels("decoding", device.backend).beam_search(*network, width, device.take(penalties), *made)
    symbols, lengths, scores = (move(array, "cpu") for array in made)
    if lengths.min() < 0:
        raise FloatingPointError(NOT_FINITE)
    return BeamResult(symbols, lengths, scores)


def draw(
    c: Config, batch: Batch, attended: tuple[Array, ...], steps: int, sampling: Sampling, seed: int
) -> NDArray[np.int32]:
    """Draw symbols (n, steps) as `beam_search` finds them."""
    device, n = batch.device, batch.start.shape[2]
    require_memory("the symbols", 4 * n * steps, backend=device.backend)
    drawn = device.xp.empty((n, steps), np.int32)
    network = (c.cell, batch.start, *kernel_network(c, batch.weights, device.xp), *attended)
    kernels("decoding", device.backend).generate_attending(*network, *sampling, seed, drawn)
    if int(drawn.min()) < 0:
        raise FloatingPointError(NOT_FINITE)
    return move(drawn, "cpu")
