"""Losses and gradient norms over the epochs of a training: what `fastrec.fit` returns, and as they grow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..display import Column, Displayed, Table, by_index, tabulate
from ..files import require_suffix, require_writable
from ..tables import write_table
from .config import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MUCH = 0.1  # nats per symbol by which the losses of different batches of a text do not differ by chance


@dataclass(frozen=True, eq=False, repr=False)
class History(Displayed):
    """Learning curves of `fit` and `EncoderDecoder.fit`, with one value per epoch.

    Curves of k networks have a second axis k. Epochs are numbered from 0.

    Attributes
    ----------
    loss : str
        What the curves show, as means over the steps that count: the name of a loss of `fit`, or the module
        and name of a function.
    train : ndarray of shape (epochs,)
        Mean of the losses of the batches of an epoch, each before the update it leads to, float64.
    validation : ndarray of shape (epochs,) or None
        Loss after the epoch, float64.
    gradient_norm : ndarray of shape (epochs,)
        Mean over the updates of an epoch, before clipping, float64.
    seconds : ndarray of shape (epochs,)
        Wall time, of all networks together, float64.
    diverged : ndarray of shape (k,) or None
        For k networks the epoch in which each diverged, -1 for those that did not, int64. From then on a
        network has the parameters that it had before its epoch with the least training loss, and its curves
        are nan.
    seed : int or None
        Of the order of the sequences, and of dropout.

    Examples
    --------
    >>> tokens = np.arange(400).reshape(20, 20) % 3
    >>> rnn = fastrec.RNN(3, 8, 3, seed=1)
    >>> options = {"optimizer": fastrec.Adam(0.03), "epochs": 5, "seed": 1}
    >>> history = fastrec.fit(rnn, tokens[:, :-1], tokens[:, 1:], **options)
    >>> history.epochs, history.best_epoch
    (5, 4)
    >>> history.train.shape
    (5,)
    """

    loss: str
    train: Array
    validation: Array | None
    gradient_norm: Array
    seconds: Array
    diverged: Array | None
    seed: int | None = None

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return len(self.train)

    @property
    def best_epoch(self) -> int | Any:
        """The epoch with the least validation loss, or training loss if there is none; the first of several.

        An int, or int64 of shape (k,) for k networks; -1 if no loss was finite.
        """
        curve = self.train if self.validation is None else self.validation
        finite, best = np.isfinite(curve), np.full(curve.shape[1:], -1)
        if len(curve):
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

    def _columns(self) -> list[Column]:
        seconds = np.broadcast_to(self.seconds.reshape(-1, *[1] * (self.train.ndim - 1)), self.train.shape)
        curves = self._losses() | {"gradient_norm": self.gradient_norm, "seconds": seconds}
        return by_index(("epoch", "network")[: self.train.ndim], **curves)

    def plot(self, path: str | os.PathLike[str] | None = None, ax: Axes | None = None) -> Axes:
        """Draw the learning curve.

        A new figure is the `figure` of the axes returned. It needs no display and no pyplot, and a notebook
        shows it when the axes are the value of a cell.

        Parameters
        ----------
        path : path, optional
            File to write the figure to, in the format of its suffix.
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; the default is a new figure.

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
        from ..plot import figures, training

        draw = training.draw_learning_curve
        return figures.draw_and_save(path, ax, self._figure, lambda axes: draw(axes, self))


class TrainingLog:
    """The curves of a running training; all have the axis k, also those of a single network.

    models: k, or None for a single network.  validated: whether there is a validation loss.
    """

    def __init__(self, models: int | None, loss: str, validated: bool) -> None:
        names = ("train", "gradient_norm", *["validation"] * validated)
        k = models or 1
        self.models = models
        self.loss = loss
        self.curves: dict[str, NDArray[np.float64]] = {name: np.empty((0, k)) for name in names}
        self.seconds: NDArray[np.float64] = np.empty(0)
        self.diverged: NDArray[np.int64] = np.full(k, -1)
        self.highest: NDArray[np.float64] = np.zeros(k)  # loss of a batch of epoch 0

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return len(self.seconds)

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which networks (k,) have not diverged."""
        return self.diverged < 0

    def append(self, curves: dict[str, Array], seconds: float) -> None:
        """Add the values (k,) of one more epoch, nan for networks that have diverged."""
        longer = {
            name: np.vstack([self.curves[name], np.where(self.active, values, np.nan)])
            for name, values in curves.items()
        }
        self.curves, self.seconds = longer, np.append(self.seconds, seconds)  # all or none is longer

    def resize(self, epochs: int) -> None:
        """Give the curves a length; their values are to be filled in."""
        self.curves = {name: np.empty((epochs, curve.shape[1])) for name, curve in self.curves.items()}
        self.seconds = np.empty(epochs)

    def history(self) -> History:
        """Copy the curves into what the user gets."""
        single = self.models is None
        curves = {name: curve[:, 0 if single else ...].copy() for name, curve in self.curves.items()}
        diverged = None if single else self.diverged.copy()
        columns = (curves["train"], curves.get("validation"), curves["gradient_norm"])
        return History(self.loss, *columns, self.seconds.copy(), diverged)

    def epochs_since_best(self) -> int:
        """Number of epochs since any network that has not diverged was at its best."""
        if not self.epochs:
            return 0
        best = np.atleast_1d(self.history().best_epoch)
        return self.epochs - 1 - int(best[self.active].max())


@dataclass(frozen=True, eq=False, repr=False)
class TextHistory(Displayed):
    """Learning curves of `CharModel.fit`, with one value per evaluation, float64; losses in nats per symbol.

    Attributes
    ----------
    symbols : ndarray of shape (evaluations,)
        Number of symbols read so far.
    passes : ndarray of shape (evaluations,)
        The same in passes through the text.
    train : ndarray of shape (evaluations,)
        Mean loss of the updates since the last evaluation, each before its update, with dropout.
    held_out : ndarray of shape (evaluations,) or None
        Loss of the held-out text, in up to 64 pieces, each read from the initial state.
    gradient_norm : ndarray of shape (evaluations,)
        Mean over those updates, before clipping.
    seconds : ndarray of shape (evaluations,)
        Wall time so far.
    seed : int or None
        Of the model, also for dropout.
    untrained : float or None
        Loss before the training: the held-out one, or that of the first update. Checkpoints of version 0.1.0
        do not say it.

    Examples
    --------
    >>> model = fastrec.CharModel(8, seed=1)
    >>> curves = model.fit("tick tock " * 60, epochs=2, batch_size=4, steps=10, progress=False)
    >>> curves.symbols
    array([ 800, 1080])
    """

    symbols: Array
    passes: Array
    train: Array
    held_out: Array | None
    gradient_norm: Array
    seconds: Array
    seed: int | None = None
    untrained: float | None = None

    @property
    def best(self) -> int:
        """The evaluation with the least held-out loss (or training loss), the first of several.

        It is -1 if none is less than that before the training; training losses, which are those of different
        batches, may be a tenth of a nat above it.
        """
        curve = self.train if self.held_out is None else self.held_out
        before = np.inf if self.untrained is None else self.untrained + (self.held_out is None) * MUCH
        finite = np.where(np.isfinite(curve), curve, np.inf)
        return int(finite.argmin()) if finite.min(initial=np.inf) < before else -1

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file with a row for each evaluation, replacing it in one step.

        Parameters
        ----------
        path : path
            A name that ends in .csv.

        Raises
        ------
        ValueError
            If the suffix is another one.
        OSError
            If the file cannot be written.
        """
        require_suffix(path, ".csv")
        require_writable(path)
        columns = {name: curve.tolist() for name, curve in self._curves().items()}
        write_table(path, "text", "1", columns, zip(*columns.values(), strict=True))

    def _curves(self) -> dict[str, Array]:
        names = [field.name for field in fields(self) if field.name not in ("seed", "untrained")]
        columns = {name: getattr(self, name) for name in names}
        return {name: curve for name, curve in columns.items() if curve is not None}

    def _summary(self) -> dict[str, Any]:
        best = {name: float(curve[self.best]) for name, curve in self._curves().items() if self.best >= 0}
        return {"evaluations": len(self.passes), "best": self.best} | best

    def _columns(self) -> list[Column]:
        forms = {"symbols": ",.0f", "passes": ".2f", "seconds": ".1f"}
        return [Column(name, curve, forms.get(name, ".4f")) for name, curve in self._curves().items()]

    def _table(self) -> Table:
        return tabulate("cross entropy in nats per symbol", self._columns())

    def _figure(self) -> Figure:
        from .. import plot

        return plot.text_curve_figure(self, {})

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        ax: Axes | None = None,
        baselines: Mapping[str, float] | None = None,
    ) -> Axes:
        """Draw the losses against the passes through the text, as `History.plot` does.

        Parameters
        ----------
        path : path, optional
            File to write the figure to, in the format of its suffix.
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; the default is a new figure.
        baselines : mapping of str to float, optional
            Losses of other models by name, drawn as lines.

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
        from ..plot import figures, training

        return figures.draw_and_save(
            path,
            ax,
            lambda: training.text_curve_figure(self, baselines or {}),
            lambda axes: training.draw_text_curve(axes, self, baselines or {}),
        )


def median_of_finite(curve: Array) -> Array:
    """Return medians (epochs,) of the finite values of k networks (epochs, k), nan where there is none."""
    return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in curve])
