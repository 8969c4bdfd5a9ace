"""Truncated backpropagation through time: the gradients of windows of long sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..validation import as_int
from .config import MAX_SIZE, Array, Config
from .dataset import Sequences, read_sequences
from .device import ComputeDevice
from .losses import Loss, Reduction, check_reduction, divisor, find_loss, make_loss_spec, name_of, takes_mask
from .network import RNN, require_network
from .passes import state_after
from .randomness import NOTHING, Drawn
from .trace import Trace
from .validation import (
    Purpose,
    all_to_caller,
    as_given,
    read_state,
    require_forward,
    to_caller,
)


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
    *,
    tokens: bool | None = None,
) -> Iterator[tuple[float | Any, dict[str, Array], Array]]:
    """Backpropagate every k1 steps through the last k2 (Williams & Peng, Neural Computation 2, 490, 1990).

    The windows are [max(0, e - k2), e) for e = k1, 2 k1, ..., t. Each step counts once, in the first window
    that holds it. Gradients stop at the beginning of a window, whose first state counts as a constant. With
    k2 >= t and reduction="sum" they add up to the gradient of the whole. With k2 = k1 windows do not overlap,
    and no step is computed twice.

    The network may be changed between windows: each is computed with the parameters at the time, from the
    state that an earlier one reached where it begins. If that state is not finite, the loss of the network is
    nan from then on. Do not change the other arrays before the last window: their values are checked once, at
    the call, and all windows run on the backend of the call.

    Parameters
    ----------
    rnn : RNN
        One network, or k at once.
    x, targets : array_like
        As in `RNN.loss_and_gradients`.
    k1 : int
        Steps from one window to the next, at least 1.
    k2 : int, optional
        Steps of a window, at least k1, which is the default.
    loss : str or callable, default "cross_entropy"
        As in `RNN.loss_and_gradients`.
    reduction : {"mean", "sum"}, default "mean"
        Mean over the steps of the window that count, or their sum.
    lengths, mask, state : array_like, optional
        As in `RNN.loss_and_gradients`.
    tokens : bool, optional
        As in `RNN.forward`.

    Returns
    -------
    iterator of tuple
        For each window what `RNN.loss_and_gradients` returns: the loss of its new steps, the gradients, and
        the state after its last step. Loss and gradients are 0 where no step of a window counts.

    Raises
    ------
    ValueError
        As `RNN.loss_and_gradients`, at the call.

    Examples
    --------
    >>> rnn = fastrec.RNN(3, 8, 3, "gru", seed=1)
    >>> tokens = np.arange(101) % 3
    >>> optimizer = fastrec.Adam(0.01)
    >>> for loss, gradients, state in fastrec.truncated_bptt(rnn, tokens[None, :-1], tokens[None, 1:], k1=10):
    ...     norm = optimizer.step(rnn.parameters, gradients)
    >>> state.shape
    (1, 1, 8)
    """
    require_network(rnn)
    k1, k2 = read_truncation(k1, k2)
    c, at = rnn._config, rnn._device(x, targets, lengths, mask, state)
    rnn._weights(at.backend)
    check_reduction(reduction, loss)
    data = read_sequences(c, at, x, targets, lengths, mask, loss, tokens)
    require_windows(c, data, k1, k2, loss)
    start = None if state is None else read_state(c, "state", state, len(data.counted), at)
    return (
        (
            rnn._public_loss(losses),
            all_to_caller(trace._batch, gradients),
            as_given(c, state, to_caller(trace._batch, trace.state)),
        )
        for losses, gradients, _, trace in windows(rnn, at, data, k1, k2, loss, reduction, start)
    )


def read_truncation(k1: int, k2: int | None) -> tuple[int, int]:
    """Check the arguments k1 and k2."""
    k1 = as_int("k1", k1, 1, MAX_SIZE)
    return k1, k1 if k2 is None else as_int("k2", k2, k1, MAX_SIZE)


def require_windows(c: Config, data: Sequences, k1: int, k2: int, loss: Loss) -> None:
    """Raise ValueError where sequences are truncated, and the network or the loss needs them whole."""
    if k1 >= data.counted.shape[1]:
        return
    require_forward(c, "windows hand on what was before them")
    if not callable(loss) and find_loss(loss).labels:
        raise ValueError(
            f'k1 is {k1}, and loss="{name_of(loss)}" takes whole sequences, of up to '
            f"{data.counted.shape[1]} steps; leave k1 out"
        )
    if callable(loss) and not data.timed:
        raise ValueError(
            f"targets has shape {data.targets.shape[1:]}; with k1 its second axis must be that of "
            f"{data.counted.shape[1]} steps, of which windows take some"
        )
    if callable(loss) and k2 > k1 and not takes_mask(loss):
        raise ValueError(
            f"k2 is {k2} and k1 {k1}, so that windows overlap, and the loss {name_of(loss)} does not take a "
            "mask of the new steps; give it a parameter mask"
        )


def windows(
    rnn: RNN,
    at: ComputeDevice,
    data: Sequences,
    k1: int,
    k2: int,
    loss: Loss,
    reduction: Reduction = "mean",
    start: Array | None = None,
    draw: Callable[[], Drawn] = lambda: NOTHING,
) -> Iterator[tuple[Array, dict[str, Array], float, Trace]]:
    """Yield losses (k,), gradients, weight of the steps that count and trace of windows of `truncated_bptt`.

    All is where it was computed, and the host has not waited for it. start: (layers, nets, b, s), None for
    the learned initial state. draw: called for each window, for its dropout and noise.
    """
    c, xp, steps = rnn._config, at.xp, data.counted.shape[1]
    begin, lost = 0, None  # lost (k,): the networks whose state was not finite
    for done in range(0, steps, k1):
        end = min(done + k1, steps)
        part = data.stretch(begin, end)
        mask = part.counted.copy()
        mask[:, : done - begin] = False
        count = mask.sum()
        purpose = Purpose.GRADIENTS if count else Purpose.TRACE
        batch = rnn._batch(at, part.x, part.lengths, start, purpose, draw())
        if count:
            goal = part.goal(mask, count)
            spec = make_loss_spec(c, at, goal, loss, divisor(c, loss, reduction, count))
            value, gradients, trace = rnn._learn(batch, spec)
        else:
            trace, value = rnn._forward(batch), xp.zeros(c.k)
            gradients = {key: xp.zeros_like(array) for key, array in rnn.parameters.items()}
            gradients["state"] = xp.zeros_like(trace.state)
        if lost is not None:
            value = xp.where(lost, np.nan, value)
        # Where the next window begins; with k1 = k2 where this one ends, also before a shorter last one.
        after = end if k1 == k2 else max(0, min(end + k1, steps) - k2)
        if after > begin:
            reached = state_after(trace._made, after - begin)
            bad = ~xp.isfinite(reached).all(axis=(0, 2, 3))
            lost = bad if lost is None else lost | bad
            start = xp.where(lost[:, None, None], 0, reached)
            begin = after
        yield value, gradients, count, trace


def evaluate(
    rnn: RNN,
    at: ComputeDevice,
    data: Sequences,
    loss: Loss,
    start: Array | None = None,
    drawn: Drawn = NOTHING,
) -> tuple[Array, Trace]:
    """Return losses (k,) of sequences, means over steps times the weight of all, and a trace.

    Only `state` of the trace is valid.  start: (layers, k, b, s), None for the learned initial state.
    """
    batch = rnn._batch(at, data.x, data.lengths, start, Purpose.OUTPUTS, drawn)
    goal = data.goal(data.counted, data.counted.sum())
    return rnn._evaluate(batch, make_loss_spec(rnn._config, at, goal, loss, 1.0))
