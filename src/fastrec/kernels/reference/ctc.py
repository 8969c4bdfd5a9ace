"""Connectionist temporal classification in plain NumPy, in logarithms."""

from __future__ import annotations

import numpy as np


def ctc(
    blank: int,
    outputs: np.ndarray,
    labels: np.ndarray,
    lengths: np.ndarray,
    weights: np.ndarray,
    scale: np.ndarray,
    losses: np.ndarray,
    d_outputs: np.ndarray,
) -> None:
    """Fill losses (k, b) float64 with weights (b,) times -log of the probability of the labels of each row.

    That is the sum over all alignments: a class a step, which leave the labels when runs of equal classes
    become one and then blanks are left out (Graves et al., ICML 2006).  The chances of a step are the softmax
    of outputs (k, b, t, o), lengths (b,) int64 says how many steps there are; labels (m, b, u) int32 of a row
    end before the first that is negative.  Without an alignment the loss is infinite and the gradient 0.
    d_outputs (k, b, t, o) gets the gradient of the losses times scale (k,) float64, 0 after the end of a row,
    and may be outputs itself or (k, b, t, 0): not wanted.  Rows of weight 0 have a loss of 0 and may hold
    anything.  All is computed in float64.
    """
    wanted = d_outputs.shape[3] > 0
    for net, row in np.ndindex(*losses.shape):
        t = lengths[row]
        y = outputs[net, row, :t].astype(np.float64)
        losses[net, row] = 0
        if wanted:
            d_outputs[net, row] = 0
        if weights[row]:
            given = labels[min(net, len(labels) - 1), row]
            ended = np.flatnonzero(given < 0)
            loss, d = align(blank, y, given[: ended[0]] if len(ended) else given)
            losses[net, row] = weights[row] * loss
            if wanted:
                d_outputs[net, row, :t] = scale[net] * weights[row] * d


def align(blank: int, y: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """The loss of a row and its gradient with respect to y (t, o)."""
    top = y.max(axis=1, keepdims=True)
    logs = y - top - np.log(np.exp(y - top).sum(axis=1, keepdims=True))
    states = np.full(2 * len(labels) + 1, blank)  # blanks before, between and after the labels
    states[1::2] = labels
    each = logs[:, states]
    ahead = log_chances(states, each)
    likelihood = np.logaddexp.reduce(ahead[-1, -2:]) if len(y) else -np.inf if len(labels) else 0.0
    if np.isneginf(likelihood):
        return np.inf, np.zeros_like(y)
    back = log_chances(states[::-1], each[::-1, ::-1])[::-1, ::-1]
    # Shares of the alignments that are at a state; rounding may take them above 1, far if outputs are huge.
    shares = np.exp(np.minimum(ahead + back - each - likelihood, 0))
    return -likelihood, np.exp(logs) - shares @ (states[:, None] == np.arange(y.shape[1]))


def log_chances(states: np.ndarray, each: np.ndarray) -> np.ndarray:
    """Logarithms (t, s) of the chances to be at each of the states after each step; each (t, s): of a step.

    One begins in one of the first two states, and stays, or goes on by one, or by two from a label to another
    class.
    """
    chances = np.full_like(each, -np.inf)
    if not len(each):
        return chances
    chances[0, :2] = each[0, :2]
    skips = np.zeros(len(states), np.bool_)
    skips[2:] = states[2:] != states[:-2]  # all blanks are equal
    for t in range(1, len(each)):
        before = chances[t - 1]
        one, two = np.full((2, len(states)), -np.inf)
        one[1:], two[2:] = before[:-1], before[:-2]
        two[~skips] = -np.inf
        chances[t] = np.logaddexp(np.logaddexp(before, one), two) + each[t]
    return chances
