"""Attention of the steps of one network over those of another in plain NumPy."""

from __future__ import annotations

import numpy as np

from .time_loop import valid


def attention_forward(
    queries: np.ndarray,
    steps: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    lengths: np.ndarray,
    v: np.ndarray,
    weights: np.ndarray,
    contexts: np.ndarray,
) -> None:
    """Fill weights (b, u, t) and contexts (b, u, h), the sums of the values that they weigh.

    queries (b, u, d), of which steps (b,) int64 count in each row; keys (b, t, d) and values (b, t, h), of
    which lengths (b,) int64 do.  Weights are the softmax over the keys of query . key (Luong, Pham & Manning,
    EMNLP 2015), or with v (d,) in place of (0,) of v . tanh(query + key) (Bahdanau, Cho & Bengio, ICLR 2015).
    Both are 0 at queries that do not count, and in a row of length 0.
    """
    on, among = valid(steps, queries.shape[1]), valid(lengths, keys.shape[1])
    q, k = np.where(on, queries, 0), np.where(among, keys, 0)
    scores = np.tanh(q[:, :, None] + k[:, None]) @ v if v.size else q @ k.swapaxes(1, 2)
    both = on & among.swapaxes(1, 2)
    top = np.where(both, scores, -np.inf).max(axis=2, keepdims=True, initial=np.finfo(v.dtype).min)
    e = np.where(both, np.exp(np.where(both, scores - top, 0)), 0)
    weights[:] = e / np.where(both.any(axis=2, keepdims=True), e.sum(axis=2, keepdims=True), 1)
    contexts[:] = weights @ np.where(among, values, 0)


def attention_backward(
    queries: np.ndarray,
    steps: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    lengths: np.ndarray,
    v: np.ndarray,
    weights: np.ndarray,
    d_contexts: np.ndarray,
    d_queries: np.ndarray,
    d_keys: np.ndarray,
    d_values: np.ndarray,
    d_v: np.ndarray,
) -> None:
    """Gradients of `attention_forward` from d_contexts (b, u, h); d_v (b, d) or (b, 0) are those of rows."""
    on, among = valid(steps, queries.shape[1]), valid(lengths, keys.shape[1])
    q, k, s = np.where(on, queries, 0), np.where(among, keys, 0), np.where(among, values, 0)
    d = np.where(on, d_contexts, 0)
    d_weights = d @ s.swapaxes(1, 2)
    d_scores = weights * (d_weights - (weights * d_weights).sum(axis=2, keepdims=True))
    d_values[:] = weights.swapaxes(1, 2) @ d
    if v.size:
        z = np.tanh(q[:, :, None] + k[:, None])
        d_sums = d_scores[..., None] * v * (1 - z * z)
        d_queries[:], d_keys[:] = d_sums.sum(axis=2), d_sums.sum(axis=1)
        d_v[:] = (d_scores[..., None] * z).sum(axis=(1, 2))
    else:
        d_queries[:], d_keys[:] = d_scores @ k, d_scores.swapaxes(1, 2) @ q


def tanh_forward(values: np.ndarray) -> None:
    """Put tanh(z) in place of values z of any shape."""
    np.tanh(values, out=values)


def tanh_backward(values: np.ndarray, d_values: np.ndarray) -> None:
    """Turn the gradient of values = tanh(z) into that of z, in place."""
    d_values *= 1 - values * values
