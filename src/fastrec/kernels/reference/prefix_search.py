"""The likeliest labels of sequences in plain NumPy, by prefix beam search."""

from __future__ import annotations

import numpy as np


def ctc_prefix_search(
    width: int,
    blank: int,
    outputs: np.ndarray,
    lengths: np.ndarray,
    labels: np.ndarray,
    counts: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Fill labels (b, n, t) int32 with n <= width likely labels of each row, best first, and -1 after them.

    counts (b, n) int64 gets how many they are, scores (b, n) float64 the logarithm of their probability, by
    the alignments that the search has seen; 0 and -inf where there are no more labels.

    After each step the `width` likeliest prefixes of labels are kept (Hannun et al., arXiv:1408.2873), with
    the chances of their alignments that end in blank and of those that end in the last label.  outputs
    (b, t, o), lengths (b,) and blank are those of `ctc`.  Of equal scores those of prefixes that were kept
    before come first, in their order, then longer ones in the order of what they begin with, then of their
    last labels.
    """
    for row, t in enumerate(lengths):
        beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}
        for y in outputs[row, :t].astype(np.float64):
            logs = y - y.max()
            beam = step(width, blank, logs - np.log(np.exp(logs).sum()), beam)
        labels[row], counts[row], scores[row] = -1, 0, -np.inf
        for place, (prefix, ends) in enumerate(list(beam.items())[: labels.shape[1]]):
            labels[row, place, : len(prefix)] = prefix
            counts[row, place], scores[row, place] = len(prefix), np.logaddexp(*ends)


def step(
    width: int, blank: int, logs: np.ndarray, beam: dict[tuple[int, ...], tuple[float, float]]
) -> dict[tuple[int, ...], tuple[float, float]]:
    """The prefixes after a step with the logarithms of chances logs (o,), the best first."""
    after = {}
    for prefix, (in_blank, in_label) in beam.items():
        again = in_label + logs[prefix[-1]] if prefix else -np.inf
        after[prefix] = (np.logaddexp(in_blank, in_label) + logs[blank], again)
    for prefix, (in_blank, in_label) in beam.items():
        both = np.logaddexp(in_blank, in_label)
        for label in range(len(logs)):
            if label != blank:
                # A label that follows itself needs a blank between.
                chance = (in_blank if prefix[-1:] == (label,) else both) + logs[label]
                longer = (*prefix, label)
                of_blank, of_label = after.get(longer, (-np.inf, -np.inf))
                after[longer] = (of_blank, np.logaddexp(of_label, chance))
    best = sorted(after, key=lambda prefix: -np.logaddexp(*after[prefix]))[:width]
    return {prefix: after[prefix] for prefix in best if np.logaddexp(*after[prefix]) > -np.inf}
