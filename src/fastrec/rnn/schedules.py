"""Schedules of learning rate and momentum: functions of the number of the update, so that resuming changes
nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, log2, pi

from ..messages import shown
from ..validation import as_int, as_number, number
from .config import MAX_SIZE

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class CosineDecay:
    """Factors of the learning rate that fall along half a cosine, perhaps after a linear warm-up.

    Update u, from 0, has (u + 1) / warmup below warmup, then 1, falling to least at u = updates, and least
    from there on (Loshchilov & Hutter, ICLR 2017, without restarts).

    Parameters
    ----------
    updates : int
        Number of updates of the whole training, more than warmup. An epoch of `fit` has one for each batch.
    warmup : int, default 0
        Number of updates in which the factor rises.
    least : float, default 0.0
        Last factor, from 0 to 1.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> schedule = fastrec.CosineDecay(updates=100, warmup=4)
    >>> schedule(0), schedule(4), round(schedule(52), 6)
    (0.25, 1.0, 0.5)
    """

    updates: int
    warmup: int = 0
    least: float = 0.0

    def __post_init__(self) -> None:
        as_int("warmup", self.warmup, 0, MAX_SIZE - 1)
        as_int("updates", self.updates, self.warmup + 1, MAX_SIZE)
        as_number("least", self.least, 0, 1)

    def __call__(self, update: int) -> float:
        """Return the factor of an update."""
        if update < self.warmup:
            return (update + 1) / self.warmup
        share = min(1.0, (update - self.warmup) / (self.updates - self.warmup))
        return self.least + (1 - self.least) * (1 + cos(pi * share)) / 2


@dataclass(frozen=True)
class StepDecay:
    """Factors of the learning rate that fall in steps: factor^(u // every) for update u, from 0.

    Parameters
    ----------
    every : int
        Number of updates of a step, as of the epochs in PyTorch's StepLR.
    factor : float, default 0.1
        Above 0, at most 1.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> schedule = fastrec.StepDecay(every=100, factor=0.5)
    >>> schedule(99), schedule(100), schedule(250)
    (1.0, 0.5, 0.25)
    """

    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        as_int("every", self.every, 1, MAX_SIZE)
        if number("factor", self.factor, 0) > 1:
            raise ValueError(f"factor is {shown(self.factor)}; it must be at most 1")

    def __call__(self, update: int) -> float:
        """Return the factor of an update."""
        return float(self.factor ** (update // self.every))


@dataclass(frozen=True)
class MomentumSchedule:
    """Momentum of `SGD` that rises in steps, 1/2, 3/4, 5/6 and so on (Sutskever et al., ICML 2013).

    Update u, from 0, has min(1 - 2^(-1 - log2(u // every + 1)), most).

    Parameters
    ----------
    most : float, default 0.99
        From 0 to below 1.
    every : int, default 250
        Number of updates of a step.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> momentum = fastrec.MomentumSchedule(most=0.9)
    >>> momentum(0), momentum(250), momentum(5000)
    (0.5, 0.75, 0.9)
    >>> optimizer = fastrec.SGD(1e-3, momentum, nesterov=True)
    """

    most: float = 0.99
    every: int = 250

    def __post_init__(self) -> None:
        number("most", self.most, 0, 1, closed=True)
        as_int("every", self.every, 1, MAX_SIZE)

    def __call__(self, update: int) -> float:
        """Return the momentum of an update."""
        return min(1 - 2 ** (-1 - log2(update // self.every + 1)), self.most)


def read_factor(schedule: Schedule, update: int) -> float:
    """Return the factor that a schedule gives an update; ValueError unless it is a number from 0."""
    return number(f"schedule({update})", schedule(update), 0, closed=True)


def read_momentum(momentum: float | Schedule, update: int) -> float:
    """Return the momentum of an update; ValueError unless it is a number from 0 to below 1."""
    if not callable(momentum):
        return number("momentum", momentum, 0, 1, closed=True)
    return number(f"momentum({update})", momentum(update), 0, 1, closed=True)
