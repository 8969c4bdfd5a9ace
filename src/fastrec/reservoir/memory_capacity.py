"""How many inputs of the past a reservoir remembers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..display import Column, Displayed, by_index
from ..rnn.config import MAX_SIZE
from ..streams import generator
from ..validation import as_int, require_memory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOUBLINGS = 64


@dataclass(frozen=True, eq=False, repr=False)
class MemoryCapacity(Displayed):
    """Result of `EchoState.memory_capacity`.

    Attributes
    ----------
    delays : ndarray of shape (d,)
        1, 2, ... in steps.
    capacities : ndarray of shape (d,)
        The share of the variance of the input so many steps ago that a readout explains, for k networks
        (k, d).  Corrected for the bias, so that it may be a little below 0.
    uncorrected : ndarray of shape (d,)
        The same before it is corrected.
    bias : float or ndarray of shape (k,)
        What `uncorrected` would be on average where nothing is remembered; 0 where capacities are exact.

    Examples
    --------
    >>> result = fastrec.EchoState(1, 30, seed=0).memory_capacity(60)
    >>> 4 < result.total < 31
    True
    """

    delays: NDArray[np.int64]
    capacities: NDArray[np.float64]
    uncorrected: NDArray[np.float64]
    bias: float | Any

    @property
    def total(self) -> float | Any:
        """The sum of the capacities of all delays, a float, or (k,)."""
        total = self.capacities.sum(axis=-1)
        return float(total) if self.capacities.ndim == 1 else total

    def _summary(self) -> dict[str, Any]:
        return {"total": self.total, "delays": f"1..{len(self.delays)}", "bias": self.bias}

    def _columns(self) -> list[Column]:
        axes = (*["network"] * (self.capacities.ndim - 1), "delay")
        columns = by_index(axes, capacity=self.capacities, uncorrected=self.uncorrected)
        delays = np.broadcast_to(self.delays, self.capacities.shape).ravel()
        return [Column("delay", delays) if column.name == "delay" else column for column in columns]

    def _figure(self) -> Figure:
        from .. import plot

        return plot.memory_capacity_figure({"": self})

    def plot(self, path: str | os.PathLike[str] | None = None, ax: Axes | None = None) -> Axes:
        """Draw the capacities against the delay.

        Parameters
        ----------
        path : path, optional
            File to write the figure to, in the format of its suffix.
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; the default is a new figure, as of `History.plot`.

        Returns
        -------
        matplotlib.axes.Axes
            The axes drawn into.

        Raises
        ------
        ValueError
            If the suffix names no format.
        OSError
            If the file cannot be written.
        """
        from ..plot import figures, reservoir

        draw = reservoir.draw_memory_capacity
        return figures.draw_and_save(path, ax, self._figure, lambda axes: draw(axes, {"": self}))


def linear_capacity(A: NDArray[np.float64], B: NDArray[np.float64], max_delay: int) -> NDArray[np.float64]:
    """The capacities (max_delay,) of h' = A h + B u, from the covariance C of h for independent inputs.

    That of delay d is (A^d B)' C^-1 A^d B.  C is the sum of A^j B B' A^j' = S S', of which S, not its square,
    is doubled: [S, A^n S] holds twice as many terms, and is made h columns wide again by a triangular factor.
    """
    if np.abs(np.linalg.eigvals(A)).max() >= 1:
        raise ValueError("the linear network has no stationary state; give a spectral_radius below 1")
    h = len(B)
    S, power = B[:, None], A
    for _ in range(DOUBLINGS):
        more = power @ S
        S = np.hstack([S, more])
        if S.shape[1] > h:
            S = np.asarray(np.linalg.qr(S.T, mode="r")).T
        if np.abs(more).max() <= np.finfo(np.float64).eps ** 2 * np.abs(S).max():
            break
        power = power @ power
    U, scales, _ = np.linalg.svd(S)
    known = scales > h * np.finfo(np.float64).eps * scales[0]
    whitened = U[:, : len(scales)][:, known].T / scales[known, None]
    capacities = np.empty(max_delay)
    for d in range(max_delay):
        B = A @ B
        capacities[d] = np.square(whitened @ B).sum()
    return capacities


def measured_capacity(
    products: Callable[..., NDArray[np.float64]], options: tuple[Any, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The capacities (k, max_delay) corrected and not, and the bias (k,), from a run on random inputs.

    products(x, targets, washout): the sums over the steps after the washout of v v' of v = [1, x, h, target].
    options: 1 + i + h, max_delay, steps, washout, seed.
    """
    f, max_delay, steps, washout, seed = options
    steps = as_int("steps", steps, 1, MAX_SIZE)
    washout = max(as_int("washout", washout, 0, MAX_SIZE), max_delay)
    counted = steps - washout
    if counted <= 2 * f:
        raise ValueError(f"steps is {steps}; with {f - 2} units give at least {washout + 2 * f + 1}")
    require_memory("the delayed inputs", 8 * steps * max_delay)
    rng = generator(seed)
    u = rng.uniform(-1, 1, steps)
    past = np.lib.stride_tricks.sliding_window_view(np.concatenate([np.zeros(max_delay), u[:-1]]), max_delay)
    sums = products(u[:, None], past[:, ::-1], washout)
    centred = sums[:, 1:, 1:] - sums[:, 1:, :1] * sums[:, :1, 1:] / counted
    units, inputs = slice(1, f - 1), slice(f - 1, None)  # without x itself, which has no past
    covariance, shared = centred[:, units, units], centred[:, units, inputs]
    values, vectors = np.linalg.eigh(covariance)
    known = values > (f - 2) * np.finfo(np.float64).eps * values[:, -1:]
    whitened = vectors.swapaxes(1, 2) @ shared / np.sqrt(np.where(known, values, np.inf))[..., None]
    variances = np.diagonal(centred[:, inputs, inputs], axis1=1, axis2=2)
    uncorrected, bias = np.square(whitened).sum(axis=1) / variances, known.sum(axis=1) / (counted - 1)
    return (uncorrected - bias[:, None]) / (1 - bias[:, None]), uncorrected, bias
