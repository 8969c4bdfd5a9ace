"""Truncated backpropagation through time: the gradients of windows of long sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..validation import as_int
from .config import MAX_SIZE, Array
from .dataset import Sequences, checked_batch, read_sequences
from .device import Place
from .network import RNN, Trace, give_all_back, give_back
from .validation import Dropout, Loss, Reduction, check_reduction, read_state


def truncated_bptt(
    rnn: RNN,
    x: ArrayLike,
    targets: ArrayLike,
    k1: int,
    k2: int | None = None,
    loss: Loss = "cross_entropy",
    reduction: Reduction = "mean",
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    state: ArrayLike | None = None,
) -> Iterator[tuple[Any, dict[str, Array], Array]]:
    """Every k1 steps, backpropagate through the last k2 (Williams & Peng, Neural Computation 2, 490, 1990).

    rnn, x, targets, loss, lengths, mask, state: as in `RNN.loss_and_gradients`.
    k1, k2: at least 1, k2 at least k1; None is k1, where windows do not overlap: no step is computed twice.
    reduction: "mean" over the steps of the window whose loss counts, or their "sum".

    Yields what `RNN.loss_and_gradients` returns, for the windows [max(0, e - k2), e) with e = k1, 2 k1, ...,
    t: the loss of the steps after the last e, so that each counts once; its gradient, cut at the begin of the
    window, whose first state is taken as given; the state after step e.  Where no step of a window counts,
    loss and gradients are 0.  With k2 >= t and "sum" the gradients add up to that of the whole.

    The network may be changed between windows: each is computed with the parameters it then has, from the
    state that the one before reached at its begin.  If that state is not finite, the loss of the network is
    nan from then on.  All windows run on the backend of the call; the values of CuPy arrays are checked
    there once.  Raises ValueError as `RNN.loss_and_gradients`, before the first window.
    """
    k1, k2 = read_truncation(k1, k2)
    c, at = rnn._config, rnn._place(x, targets, lengths, mask, state)
    rnn._weights(at.backend)
    check_reduction(reduction)
    data = read_sequences(c, at, x, targets, loss, lengths, mask)
    start = None if state is None else read_state(c, "state", state, len(data.counted), at)
    return (
        (
            rnn._public_loss(losses),
            give_all_back(trace._batch, gradients),
            give_back(trace._batch, trace.state),
        )
        for losses, gradients, trace, _ in windows(rnn, at, data, k1, k2, loss, reduction, start)
    )


def read_truncation(k1: int, k2: int | None) -> tuple[int, int]:
    k1 = as_int("k1", k1, 1, MAX_SIZE)
    return k1, k1 if k2 is None else as_int("k2", k2, k1, MAX_SIZE)


def windows(
    rnn: RNN,
    at: Place,
    data: Sequences,
    k1: int,
    k2: int,
    loss: Loss,
    reduction: Reduction,
    start: Array | None,
    left_out: Callable[[], Dropout | None] = lambda: None,
) -> Iterator[tuple[Array, dict[str, Array], Trace, int]]:
    """The windows of `truncated_bptt`: losses (k,), gradients, trace, and how many steps count in each.

    All is where it was computed, and nobody has waited for it.
    """
    c, xp, steps = rnn._config, at.xp, data.counted.shape[1]
    begin, lost = 0, None  # lost (k,): the networks whose state was not finite
    for done in range(0, steps, k1):
        end = min(done + k1, steps)
        part = data.stretch(begin, end)
        mask = part.counted.copy()
        mask[:, : done - begin] = False
        count = int(np.count_nonzero(mask))
        weights = rnn._weights(at.backend)
        batch = checked_batch(c, at, weights, part.x, part.lengths, start, count > 0, True, left_out())
        if count:
            goal = part.loss_spec(c, at, mask, loss, reduction)
            value, gradients, trace = rnn._learn(batch, goal, want_x=False)
        else:
            trace, value = rnn._forward(batch), xp.zeros(c.k)
            gradients = {key: xp.zeros_like(array) for key, array in rnn.parameters.items()}
            gradients["state"] = xp.zeros_like(trace.state)
        if lost is not None:
            value = xp.where(lost, np.nan, value)
        # Where the next window begins; with k1 = k2 where this one ends, also before a shorter last one.
        after = end if k1 == k2 else max(0, min(end + k1, steps) - k2)
        if after > begin:
            reached = trace._state_at(after - begin)
            bad = ~xp.isfinite(reached).all(axis=(0, 2, 3))
            lost = bad if lost is None else lost | bad
            start = xp.where(lost[:, None, None], 0, reached)
            begin = after
        yield value, gradients, trace, count


def evaluate(
    rnn: RNN, at: Place, data: Sequences, loss: Loss, start: Array | None = None
) -> tuple[Array, Trace]:
    """The sum (k,) of the losses of some sequences, and a trace of which only `state` is good.

    start: (layers, k, b, s), None for the learned initial state.
    """
    c, weights = rnn._config, rnn._weights(at.backend)
    batch = checked_batch(c, at, weights, data.x, data.lengths, start, gradients=False, keep=False)
    return rnn._evaluate(batch, data.loss_spec(c, at, data.counted, loss, "sum"))
