"""The curves of a training that is running."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .config import Array
from .history import History
from .validation import Loss


class TrainingLog:
    """The curves of a running training; all have the axis k, also those of a single network.

    models: k, or None for a single network.  validated: whether there is a validation loss.
    """

    def __init__(self, models: int | None, loss: Loss, validated: bool) -> None:
        names = ("train", "gradient_norm", *["validation"] * validated)
        self.models, self.loss, k = models, loss, models or 1
        self.curves = {name: np.empty((0, k)) for name in names}
        self.seconds = np.empty(0)
        self.diverged = np.full(k, -1)
        self.highest = np.zeros(k)  # loss of a batch of epoch 0

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
        for name, values in curves.items():
            self.curves[name] = np.vstack([self.curves[name], np.where(self.active, values, np.nan)])
        self.seconds = np.append(self.seconds, seconds)

    def resize(self, epochs: int) -> None:
        """Give the curves a length; their values are to be filled in."""
        self.curves = {name: np.empty((epochs, curve.shape[1])) for name, curve in self.curves.items()}
        self.seconds = np.empty(epochs)

    def history(self) -> History:
        """Copy the curves into what the user gets."""
        single = self.models is None
        curves = {name: curve[:, 0 if single else ...].copy() for name, curve in self.curves.items()}
        diverged = None if single else self.diverged.copy()
        validation = curves.pop("validation", None)
        return History(
            loss=self.loss, validation=validation, seconds=self.seconds.copy(), diverged=diverged, **curves
        )

    def epochs_since_best(self) -> int:
        """Number of epochs since any network that has not diverged was at its best."""
        if not self.epochs:
            return 0
        best = np.atleast_1d(self.history().best_epoch)
        return self.epochs - 1 - int(best[self.active].max())
