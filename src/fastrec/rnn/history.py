"""What `fastrec.fit` returns: losses and gradient norms over the epochs of a training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ..display import Displayed, Table, import_pandas
from ..files import require_suffix, require_writable
from ..tables import write_table
from .config import Array
from .validation import Loss

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class History(Displayed):
    """Curves of a training, a value an epoch; those of k networks have a second axis k.  Epochs count from 0.

    loss: "cross_entropy" (nats) or "mse" (half the sum of squares), here the means over the steps that count.
    train: (epochs,) float64, over the batches of an epoch, each before the update that it led to.
    validation: (epochs,) float64 after the epoch, or None.
    gradient_norm: (epochs,) float64, mean over the updates, before clipping.
    seconds: (epochs,) float64 wall time, of all networks together.
    diverged: None, or for k networks (k,) int64 the epoch in which each diverged, -1 for those that did not.
        From then on a network has been left as it was, and its curves are nan.
    """

    loss: Loss
    train: Array
    validation: Array | None
    gradient_norm: Array
    seconds: Array
    diverged: Array | None

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return len(self.train)

    @property
    def best_epoch(self) -> Any:
        """The epoch with the least validation loss, without one training loss; the first of several.

        An int, for k networks (k,) int64; -1 if there was no finite loss.
        """
        curve = self.train if self.validation is None else self.validation
        finite = np.isfinite(curve)
        best = np.where(finite.any(axis=0), np.where(finite, curve, np.inf).argmin(axis=0), -1)
        return best if curve.ndim == 2 else int(best)

    def _summary(self) -> dict[str, Any]:
        if self.diverged is None:
            last = {name: float(curve[-1]) for name, curve in self._losses().items() if len(curve)}
            return {"epochs": self.epochs} | last | {"best_epoch": self.best_epoch}
        diverged = int((self.diverged >= 0).sum())
        return {"epochs": self.epochs, "networks": len(self.diverged), "diverged": diverged}

    def _losses(self) -> dict[str, Array]:
        curves = {"train": self.train, "validation": self.validation}
        return {name: curve for name, curve in curves.items() if curve is not None}

    def _table(self) -> Table:
        curves = self._losses() | {"gradient norm": self.gradient_norm}
        several = ""
        if self.diverged is not None:
            several = f"; medians of {len(self.diverged)} networks, without those that diverged"
            curves = {name: median_of_finite(curve) for name, curve in curves.items()}
        rows = [
            [str(epoch), *(f"{curve[epoch]:#.4g}" for curve in curves.values()), f"{seconds:.2f}"]
            for epoch, seconds in enumerate(self.seconds)
        ]
        return Table(f"{self.loss} per step{several}", ["epoch", *curves, "seconds"], rows)

    def _figure(self) -> Figure:
        from .. import plot

        return plot.learning_curve_figure(self)

    def to_frame(self) -> DataFrame:
        """A pandas DataFrame with a row an epoch, of k networks a row for each epoch and network.

        Its columns are epoch, network (of k networks), train, validation (if any), gradient_norm and seconds.
        Raises ImportError where pandas is not installed.
        """
        curves = self._losses() | {"gradient_norm": self.gradient_norm}
        seconds = np.broadcast_to(self.seconds.reshape(-1, *[1] * (self.train.ndim - 1)), self.train.shape)
        indices = dict(zip(("epoch", "network"), np.indices(self.train.shape), strict=False))
        columns = indices | curves | {"seconds": seconds}
        return import_pandas().DataFrame({name: values.ravel() for name, values in columns.items()})

    def plot(self, path: str | os.PathLike[str] | None = None, ax: Axes | None = None) -> Axes:
        """Draw the learning curve into ax, or into a new figure, and return the axes.

        path: also write the figure, in the format of the suffix.  A new figure is `.figure` of the axes; it
        needs no display and is no pyplot state, and a notebook shows it where the axes are the value of a
        cell.  Raises as `fastrec.plot.save_figure`.
        """
        from .. import plot

        if path is not None:
            plot.require_format(path)
        drawn = self._figure().axes[0] if ax is None else plot.draw_learning_curve(ax, self)
        if path is not None:
            plot.save_figure(drawn.figure.figure, path)
        return drawn


@dataclass(frozen=True, eq=False, repr=False)
class TextHistory(Displayed):
    """Curves of a training of `fastrec.CharModel`, a value an evaluation, float64; losses in nats a symbol.

    symbols: how many were read until then; passes: the same in passes through the text; seconds: wall time.
    train: mean over the updates since the last evaluation, each before its update, dropout included.
    held_out: of the held-out text in up to 64 pieces side by side, each read from the initial state, or None.
    gradient_norm: mean over those updates, before clipping.
    """

    symbols: Array
    passes: Array
    train: Array
    held_out: Array | None
    gradient_norm: Array
    seconds: Array

    @property
    def best(self) -> int:
        """The evaluation with the least held-out loss, without one training loss; the first of several."""
        return int((self.train if self.held_out is None else self.held_out).argmin())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file with a row an evaluation, replacing path in one step.

        Raises ValueError unless path ends in .csv, OSError if it cannot be written.
        """
        require_suffix(path, ".csv")
        require_writable(path)
        columns = {name: curve.tolist() for name, curve in self._curves().items()}
        write_table(path, "text", "1", columns, zip(*columns.values(), strict=True))

    def to_frame(self) -> DataFrame:
        """A pandas DataFrame with a row an evaluation, in the columns that `save` writes.

        Raises ImportError where pandas is not installed.
        """
        return import_pandas().DataFrame(self._curves())

    def _curves(self) -> dict[str, Array]:
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: curve for name, curve in columns.items() if curve is not None}

    def _summary(self) -> dict[str, Any]:
        best = {name: float(curve[self.best]) for name, curve in self._curves().items()}
        return {"evaluations": len(self.passes), "best": self.best} | best

    def _table(self) -> Table:
        curves = self._curves()
        formats = {"symbols": ",.0f", "passes": ".2f", "seconds": ".1f"}
        rows = [
            [format(value, formats.get(name, ".4f")) for name, value in zip(curves, row, strict=True)]
            for row in zip(*curves.values(), strict=True)
        ]
        return Table("cross entropy in nats per symbol", [name.replace("_", " ") for name in curves], rows)

    def _figure(self) -> Figure:
        from .. import plot

        return plot.text_curve_figure(self, {})

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        ax: Axes | None = None,
        baselines: Mapping[str, float] | None = None,
    ) -> Axes:
        """Draw the losses against the passes, with losses of other models as lines; as `History.plot`."""
        from .. import plot

        if path is not None:
            plot.require_format(path)
        if ax is None:
            drawn = plot.text_curve_figure(self, baselines or {}).axes[0]
        else:
            drawn = plot.draw_text_curve(ax, self, baselines or {})
        if path is not None:
            plot.save_figure(drawn.figure.figure, path)
        return drawn


def median_of_finite(curve: Array) -> Array:
    """Medians over k networks (epochs, k) whose values are finite, nan where there is none."""
    return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in curve])
