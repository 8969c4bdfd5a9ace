"""Figures of attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..rnn.validation import as_array
from .figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 100  # steps of a source or a target that can still be read


def attention(
    weights: ArrayLike, source: Sequence[Any], target: Sequence[Any], ax: Axes | None = None
) -> Axes:
    """Draw which steps of its source each symbol of a target attends to: the darker, the more.

    Parameters
    ----------
    weights : array_like
        (u, t), those of one pair of what `EncoderDecoder.attention` returns: a row for each symbol of the
        target, a column for each step of the source. Further rows and columns are not drawn.
    source, target : sequence
        Words, characters or symbols, at most t and u. Give the target a last one for its end to see that too.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If there are no symbols, or more than weights or than 100, or if weights are not from 0 to 1.

    Examples
    --------
    >>> weights = [[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.0, 0.1, 0.9]]
    >>> ax = fastrec.plot.attention(weights, ["the", "blue", "house"], ["azul", "la", "casa"])
    >>> ax.get_xlabel()
    'source'
    """
    shares, n, m = as_array("weights", weights), len(source), len(target)
    if shares.ndim != 2 or shares.dtype.kind not in "fiu" or not ((shares >= 0) & (shares <= 1 + 1e-5)).all():
        form = f"shape {shares.shape} and dtype {shares.dtype}"
        raise ValueError(f"weights has {form}; it must be numbers (u, t) from 0 to 1")
    for name, count, most in (("source", n, shares.shape[1]), ("target", m, shares.shape[0])):
        if not 1 <= count <= min(most, MOST):
            raise ValueError(f"{name} has {count} symbols; give from 1 to {min(most, MOST)} of them")
    if ax is None:
        widest = max(len(str(symbol)) for symbol in target)
        ax = new_figure(1.2 + 0.3 * n + 0.08 * widest, 1.2 + 0.25 * m).subplots()
    ax.imshow(shares[:m, :n], cmap="gray_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    ax.set_xticks(np.arange(n), [str(symbol) for symbol in source], parse_math=False)
    ax.set_yticks(np.arange(m), [str(symbol) for symbol in target], parse_math=False)
    if max(len(str(symbol)) for symbol in source) > 2:
        ax.tick_params(axis="x", labelrotation=60)
    ax.set_xlabel("source")
    ax.set_ylabel("target")
    return ax
