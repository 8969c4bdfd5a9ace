"""Learners that draw shuffled batches of a data set, and their options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..streams import MAX_SEED
from ..validation import as_int
from .config import MAX_SIZE
from .history import History
from .loop import Learner
from .optimizers import Optimizer

Callback = Callable[[int, History], object]


def read_options(
    epochs: int, batch_size: int, seed: int, patience: int | None, callback: Callback | None
) -> dict[str, Any]:
    """Check the arguments of `fastrec.fit` that are fields of a `BatchLearner`."""
    if callback is not None and not callable(callback):
        raise ValueError(f"callback is {callback!r}; it must be a function of an epoch and a History")
    return {
        "epochs": as_int("epochs", epochs, 1, MAX_SIZE),
        "batch_size": as_int("batch_size", batch_size, 1, MAX_SIZE),
        "seed": as_int("seed", seed, 0, MAX_SEED),
        "patience": None if patience is None else as_int("patience", patience, 1, MAX_SIZE),
        "callback": callback,
    }


def check_optimizer(optimizer: Any) -> Optimizer:
    """Return the optimiser; ValueError if it is none."""
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer is {optimizer!r}; it must be an SGD or an Adam")
    return optimizer


@dataclass
class BatchLearner(Learner):
    """A learner whose epochs are passes through n examples, in batches of a new order each."""

    n: int
    epochs: int
    batch_size: int
    seed: int
    patience: int | None
    callback: Callback | None

    def work(self) -> tuple[float, float]:
        return self.n * (self.epochs - self.log.epochs), 0

    def is_finished(self) -> bool:
        out_of_patience = self.patience is not None and self.log.epochs_since_best() >= self.patience
        return self.log.epochs >= self.epochs or out_of_patience

    def batches(self, shuffle: bool = True) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Number and examples of each batch of the next epoch."""
        draw = np.random.Generator(np.random.Philox(key=np.array([self.seed, self.log.epochs], np.uint64)))
        yield from enumerate(self.split(draw.permutation(self.n) if shuffle else np.arange(self.n)))

    def split(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """The rows in batches, of which the last may be smaller."""
        return (rows[first : first + self.batch_size] for first in range(0, len(rows), self.batch_size))

    def end_epoch(self) -> None:
        if self.callback is not None:
            self.callback(self.log.epochs - 1, self.log.history())
