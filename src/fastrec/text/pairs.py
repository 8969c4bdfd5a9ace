"""Pairs of a source and a target: what an encoder reads and a decoder writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import move
from ..rnn.config import Array
from ..rnn.dataset import Sequences
from ..rnn.device import ComputeDevice
from ..rnn.loop import BatchLearner
from ..rnn.validation import (
    as_array,
    as_inputs,
    as_numbers,
    read_floats,
    read_integers,
    read_lengths,
    read_steps,
    steps_before,
)
from .sizes import Sizes

POOL = 50


class Pairs(NamedTuple):
    """n checked pairs of a source and a target, on the host."""

    sources: Array  # (1, n, t) int32, (1, n, t, i) or, contexts, (1, n, c)
    lengths: Array | None  # (n,) int64, of the sources; None if all are t
    targets: Sequences  # the start symbol before each target, and the stop symbol after it

    @property
    def counted(self) -> Array:
        """The steps of the targets (n, u + 1) whose loss counts, bool."""
        return self.targets.counted

    @property
    def arrays(self) -> tuple[Array | None, ...]:
        """All arrays."""
        return (self.sources, self.lengths, *self.targets)

    def rows(self, rows: Array) -> Pairs:
        """Select pairs, of which the longest decide the numbers of steps."""
        sources, lengths = self.sources[:, rows], self.lengths
        if lengths is not None:
            lengths = lengths[rows]
            sources = sources[:, :, : max(1, int(lengths.max()))]
        return Pairs(sources, lengths, self.targets.rows(rows))


def read_pairs(
    sizes: Sizes,
    at: ComputeDevice,
    sources: ArrayLike,
    targets: ArrayLike,
    lengths: ArrayLike | None,
    target_lengths: ArrayLike | None,
) -> Pairs:
    """Check the arguments of `EncoderDecoder.loss_and_gradients`."""
    checked, ends = read_sources(sizes, at, sources, lengths)
    n, stop = checked.shape[1], sizes.target_size
    array = move(as_array("targets", targets), "cpu")
    if array.ndim != 2 or array.dtype.kind not in "iu" or len(array) != n or not array.shape[1]:
        raise ValueError(
            f"targets has shape {array.shape} and dtype {array.dtype}; "
            f"it must be integers (n, u) for the {n} sources, with u from 1"
        )
    u = array.shape[1]
    given = np.full(n, u) if target_lengths is None else target_lengths
    until = move(read_lengths(given, n, u, "target_lengths"), "cpu")
    tokens = read_integers("targets", array, stop, steps_before(until, u))
    edge = np.full((n, 1), stop, np.int32)
    written = np.hstack([edge, tokens])
    wanted = np.where(steps_before(until, u + 1), np.hstack([tokens, edge]), stop)
    counted = steps_before(until + 1, u + 1)
    return Pairs(checked, ends, Sequences(written[None], wanted[None], counted, until + 1))


def read_sources(
    sizes: Sizes, at: ComputeDevice, sources: ArrayLike, lengths: ArrayLike | None
) -> tuple[Array, Array | None]:
    """Check the arguments of `EncoderDecoder.encode`; they are returned as `Pairs` holds them."""
    array, size = move(as_array("sources", sources), "cpu"), sizes.source_size
    if sizes.sources == "contexts":
        if lengths is not None:
            raise ValueError("lengths is given, and contexts have none; leave it out")
        if array.ndim != 2 or not len(array):
            raise ValueError(f"sources has shape {array.shape}; give contexts (n, {size})")
        array = as_numbers("sources", array, (len(array), size))
        return read_floats("sources", array, sizes.dtype, None, at)[None], None
    try:
        array, are_tokens, _ = as_inputs(sizes.encoder, array, "n", "sequence")
        ends = None if lengths is None else move(read_lengths(lengths, *array.shape[:2]), "cpu")
        valid = None if ends is None else steps_before(ends, array.shape[1])
        return read_steps(sizes.encoder, at, array, are_tokens, valid)[None], ends
    except ValueError as error:
        raise ValueError(f"sources: {error}") from None


@dataclass
class PairLearner(BatchLearner):
    """The learner of `EncoderDecoder.fit`.

    similar_lengths: whether the pairs of a batch have similar lengths, of POOL batches that are drawn.
    """

    similar_lengths: bool = False

    def batches(self, draw: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        if not self.similar_lengths:
            return super().batches(draw)
        ends = self.data.targets.lengths
        by_length = np.lexsort((ends,) if self.data.lengths is None else (self.data.lengths, ends))
        places, pool = draw.permutation(len(ends)), POOL * self.batch_size
        pools = [np.sort(places[first : first + pool]) for first in range(0, len(ends), pool)]
        batches = list(self.split(by_length[np.concatenate(pools)]))
        return (batches[j] for j in draw.permutation(len(batches)))

    def mean_norm(self, norms: list[Array]) -> Array:
        # NumPy sums pairwise, to other bits than one by one: those of version 0.1.0.
        return np.mean(np.concatenate(norms), keepdims=True)
