"""Sequences that a decoder writes, symbol by symbol, in plain NumPy: by beam search, or drawn.

The last of the o symbols is read first by every sequence, and ends it.  A decoder may attend to its source:
its output layer then reads tanh([c | h] W_combine) in place of the top hidden units h, see `attend`.
"""

from __future__ import annotations

import numpy as np

from .. import SAMPLE
from ..interruption import uninterrupted
from .affine import affine_forward
from .attention import attention_forward
from .generation import draw
from .random import draws
from .stepping import step

__all__ = ["beam_search", "generate_attending"]


def beam_search(
    cell: str,
    state: np.ndarray,
    layers: tuple[tuple[np.ndarray, ...], ...],
    W_out: np.ndarray,
    b_out: np.ndarray,
    activation: int,
    feeds_back: bool,
    keys: np.ndarray,
    values: np.ndarray,
    lengths: np.ndarray,
    W_query: np.ndarray,
    v: np.ndarray,
    W_combine: np.ndarray,
    width: int,
    penalties: np.ndarray,
    symbols: np.ndarray,
    symbol_lengths: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Fill symbols (n, n_best, steps) int32, their symbol_lengths (n, n_best) int64 and scores (n, n_best)
    float64 with the best hypotheses of each source, best first.

    cell, layers, W_out (1, h, o), b_out (1, o), activation, feeds_back: the decoder, as `generate` takes it.
    state (layers, 1, n, s): before the first symbol.  keys, values, lengths, W_query, v, W_combine: see
    `attend`; W_combine (0, h) if the decoder does not attend.

    A hypothesis is a sequence that the last symbol ended, or one of `steps` symbols.  Its score is the sum of
    the log probabilities of its symbols, that end included, divided by penalties (steps,) float64 [L - 1] for
    the L of them; penalties do not fall.  In a step the beams, at first one without a symbol, are extended by
    every symbol, and these candidates taken by falling sum, equal ones by beam and then symbol, until `width`
    of them go on; those among them that have ended are hypotheses.  Of hypotheses with equal scores the first
    one stays, by step and then beam.  A source is done when no sum divided by the last penalty is above the
    score of the last of its n_best hypotheses.

    Of fewer hypotheses the rest have length 0 and score -inf.  symbols end with o - 1.  Where a logit is not
    finite all symbol_lengths of the source are -1, and the rest may hold anything.
    """
    _, n_best, steps = symbols.shape
    network, stop = (cell, layers, W_out, b_out, activation, feeds_back), W_out.shape[2] - 1
    symbols[...], symbol_lengths[...], scores[...] = stop, 0, -np.inf
    for source in range(len(symbols)):
        beams: list[tuple[int, ...]] = [()]
        finished: list[tuple[float, tuple[int, ...]]] = []
        sums, now = np.zeros(1), state[:, :, source : source + 1]
        for t in range(steps):
            attention = (keys, values, lengths, W_query, v, W_combine, np.full(len(beams), source))
            reading = np.array([beam[-1] if beam else stop for beam in beams])
            y, now = advance(reading, now, network, attention)
            if not np.isfinite(y).all():
                finished, symbol_lengths[source] = [], -1
                break
            candidates = log_softmax(y) + sums[:, None]
            taken: list[tuple[int, int]] = []
            ended: list[int] = []
            for candidate in np.argsort(-candidates, axis=None, kind="stable"):
                if len(taken) == width:
                    break
                beam, symbol = divmod(int(candidate), stop + 1)
                if symbol == stop:
                    ended.append(beam)
                else:
                    taken.append((beam, symbol))
            finished += [(candidates[beam, stop] / penalties[t], beams[beam]) for beam in sorted(ended)]
            beams, parents = [(*beams[beam], symbol) for beam, symbol in taken], [beam for beam, _ in taken]
            sums, now = (
                candidates[tuple(zip(*taken, strict=True))] if taken else np.empty(0),
                now[:, :, parents],
            )
            if t == steps - 1:
                finished += zip(sums / penalties[t], beams, strict=True)
            finished = sorted(finished, key=lambda each: -each[0])[:n_best]
            if not taken or (len(finished) == n_best and sums[0] / penalties[-1] <= finished[-1][0]):
                break
        for rank, (score, beam) in enumerate(finished):
            symbols[source, rank, : len(beam)] = beam
            symbol_lengths[source, rank], scores[source, rank] = len(beam), score


def generate_attending(
    cell: str,
    state: np.ndarray,
    layers: tuple[tuple[np.ndarray, ...], ...],
    W_out: np.ndarray,
    b_out: np.ndarray,
    activation: int,
    feeds_back: bool,
    keys: np.ndarray,
    values: np.ndarray,
    lengths: np.ndarray,
    W_query: np.ndarray,
    v: np.ndarray,
    W_combine: np.ndarray,
    temperature: float,
    top_k: int,
    top_p: int,
    key: int,
    drawn: np.ndarray,
) -> None:
    """Fill drawn (n, steps) int32 as `generate` does, for prompts of the last symbol, which is `stop`.

    The decoder and what it attends to are as in `beam_search`, the other arguments as in `generate`.
    """
    n, steps = drawn.shape
    network, stop = (cell, layers, W_out, b_out, activation, feeds_back), W_out.shape[2] - 1
    rows, reading, now = np.arange(n), np.full(n, stop), state
    for t in range(steps):
        y, now = advance(reading, now, network, (keys, values, lengths, W_query, v, W_combine, rows))
        for row, logits in zip(rows, y, strict=True):
            random = int(draws(key, t + 1, int(row), 0, SAMPLE, 0)[-1])
            drawn[row, t:] = draw(logits, temperature, top_k, top_p, random)
        going = ~np.isin(drawn[rows, t], (stop, -1))
        rows, now = rows[going], now[:, :, going]
        reading = drawn[rows, t]


def advance(
    reading: np.ndarray,
    state: np.ndarray,
    network: tuple[str, tuple[tuple[np.ndarray, ...], ...], np.ndarray, np.ndarray, int, bool],
    attention: tuple[np.ndarray, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (b, o) after reading symbols (b,), and the state (layers, 1, b, s) then."""
    cell, layers, W_out, b_out, activation, feeds_back = network
    b, attends, no_numbers = len(reading), len(attention[-2]) > 0, np.empty((1, len(reading), 0), W_out.dtype)
    outward = (W_out[:, :, :0], b_out[:, :0]) if attends else (W_out, b_out)
    with uninterrupted(), np.errstate(over="ignore", invalid="ignore"):
        (y,), after = step(
            no_numbers, reading[None], state, cell, layers, *outward, activation, feeds_back, "float32"
        )
        if attends:
            made = attend(y, *attention)
            logits = np.empty((1, b, 1, W_out.shape[2]), W_out.dtype)
            affine_forward(made[None, :, None], np.ones(b, np.int64), W_out, b_out, logits)
            y = logits[0, :, 0]
    return y, after


def attend(
    h: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    lengths: np.ndarray,
    W_query: np.ndarray,
    v: np.ndarray,
    W_combine: np.ndarray,
    sources: np.ndarray,
) -> np.ndarray:
    """tanh([c | h] W_combine) (b, h), W_combine (2 h, h), of hidden units h (b, h) of these sources (b,).

    c: contexts that `attention_forward` makes of keys (n, t, d), values (n, t, h), lengths (n,) int64 and v,
    and of queries h W_query, or, with W_query (h, 0), h.
    """
    b, t = len(h), keys.shape[1]
    queries = h @ W_query if W_query.size else h
    weights, contexts = np.empty((b, 1, t), h.dtype), np.empty((b, 1, h.shape[1]), h.dtype)
    attended = (keys[sources], values[sources], lengths[sources])
    attention_forward(queries[:, None], np.ones(b, np.int64), *attended, v, weights, contexts)
    return np.tanh(np.concatenate([contexts[:, 0], h], axis=1) @ W_combine)


def log_softmax(y: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities from logits y (b, o), in float64 but for the sum of exp."""
    top = y.max(axis=1, keepdims=True)
    with uninterrupted(), np.errstate(over="ignore", under="ignore"):
        totals = np.exp(y - top).sum(axis=1, keepdims=True)
        return y - (top.astype(np.float64) + np.log(totals.astype(np.float64)))
