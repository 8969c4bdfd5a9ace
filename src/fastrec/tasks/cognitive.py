"""Two tasks of cognitive neuroscience: trials of noisy evidence to add up, and of a stimulus to remember."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..display import Column, Displayed, by_index
from ..rnn.config import MAX_SIZE
from ..rnn.randomness import MOST_NOISE
from ..rnn.validation import as_array, as_numbers
from ..streams import Seed, generator
from ..validation import as_int, number, require_memory

COHERENCES = (-0.512, -0.256, -0.128, -0.064, -0.032, 0.032, 0.064, 0.128, 0.256, 0.512)
FREQUENCIES = (
    (18, 10),
    (22, 14),
    (26, 18),
    (30, 22),
    (34, 26),
    (10, 18),
    (14, 22),
    (18, 26),
    (22, 30),
    (26, 34),
)
LEAST, MOST = 10.0, 34.0  # hertz, what inputs from 0 to 1 stand for


@dataclass(frozen=True, eq=False, repr=False)
class Trials(Displayed):
    """Trials of a task with two choices.

    Attributes
    ----------
    x : ndarray
        (n, t, i) float32: the stimuli, and last a cue that is 1 until the choice may be told.
    targets : ndarray
        (n, t, 2) float32: 1 for the right choice from then on, otherwise 0.
    mask : ndarray
        (n, t) bool, which steps count for the loss: those before the first stimulus, and those of the choice.
    choices : ndarray
        (n,) int64, the right choice, 0 or 1.
    conditions : ndarray
        (n, ...) float64, what each trial shows.
    periods : dict of str to slice
        The steps of each part of a trial, by its name, in the order of time.

    Examples
    --------
    >>> trials = fastrec.perceptual_decision(4, seed=0)
    >>> trials.x.shape, trials.targets.shape
    ((4, 65, 3), (4, 65, 2))
    """

    x: NDArray[np.float32]
    targets: NDArray[np.float32]
    mask: NDArray[np.bool_]
    choices: NDArray[np.int64]
    conditions: NDArray[np.float64]
    periods: dict[str, slice]

    def _summary(self) -> dict[str, Any]:
        n, t, i = self.x.shape
        return {"trials": n, "steps": t, "inputs": i, "periods": ", ".join(self.periods)}

    def _columns(self) -> list[Column]:
        return by_index(("trial",), choice=self.choices, condition=self.conditions)

    def chosen(self, outputs: ArrayLike) -> NDArray[np.int64]:
        """Return the choices that outputs make: the larger one on average while the choice may be told.

        Parameters
        ----------
        outputs : array_like
            (n, t, 2), of a network.

        Returns
        -------
        ndarray
            (n,) int64, 0 or 1.

        Raises
        ------
        ValueError
            If the outputs have another shape, or are not finite.

        Examples
        --------
        >>> trials = fastrec.perceptual_decision(100, seed=0)
        >>> bool((trials.chosen(trials.targets) == trials.choices).all())
        True
        """
        array = as_numbers("outputs", outputs, self.targets.shape)
        if not np.isfinite(array).all():
            raise ValueError("outputs is not finite everywhere; the network that made them has diverged")
        return array[:, self.periods["choice"]].mean(axis=1).argmax(axis=1)


def perceptual_decision(
    trials: int,
    coherences: Sequence[float] = COHERENCES,
    noise: float = 0.5,
    stimulus: int = 40,
    seed: Seed = None,
) -> Trials:
    """Make trials of noisy motion to judge, after Roitman & Shadlen (J. Neurosci. 22, 9475, 2002).

    Two inputs show (1 + c) / 2 and (1 - c) / 2 with noise of their own at each step; choice 0 is right if the
    coherence c is positive. A step stands for 20 ms: 10 steps of fixation, the stimulus, 15 steps of choice.

    Parameters
    ----------
    trials : int
        Number n of trials.
    coherences : sequence of float, optional
        Values from -1 to 1, not 0, of which each trial takes one at random; `conditions` (n,) says which.
    noise : float, default 0.5
        Standard deviation of the noise of an input at one step.
    stimulus : int, default 40
        Steps of the stimulus.
    seed : int, numpy.random.Generator or None
        Of the trials; None takes a fresh one.

    Returns
    -------
    Trials
        With three inputs.

    Raises
    ------
    ValueError
        For invalid arguments.

    Examples
    --------
    >>> trials = fastrec.perceptual_decision(4, seed=0)
    >>> {name: (steps.start, steps.stop) for name, steps in trials.periods.items()}
    {'fixation': (0, 10), 'stimulus': (10, 50), 'choice': (50, 65)}
    """
    several = coherences if np.iterable(coherences) else ()
    values = np.array(
        [number(f"coherences[{j}]", c, -1, 1 + 1e-9, closed=True) for j, c in enumerate(several)]
    )
    if not values.size or not values.all():
        raise ValueError("coherences must be numbers from -1 to 1, and not 0, which has no right choice")
    steps = {"fixation": 10, "stimulus": as_int("stimulus", stimulus, 1, MAX_SIZE), "choice": 15}
    rng, made = begin(trials, steps, 2, noise, seed)
    c = rng.choice(values, len(made.x))
    shown = made.periods["stimulus"]
    made.x[:, shown, :2] = (1 + c[:, None] * [1, -1])[:, None] / 2
    return complete(rng, made, c, c < 0, (shown,), noise)


def delayed_comparison(
    trials: int,
    frequencies: Sequence[Sequence[float]] = FREQUENCIES,
    noise: float = 0.05,
    delay: int = 60,
    seed: Seed = None,
) -> Trials:
    """Make trials of two vibrations to compare over a delay, after Romo et al. (Nature 399, 470, 1999).

    The frequencies f1 and f2, from 10 to 34 Hz, are shown one after the other, as 0 to 1 in one input and 1
    to 0 in another, with noise. Choice 0 is right if f1 > f2. A step stands for 20 ms: 10 steps of fixation,
    15 of f1, the delay, 15 of f2, and 15 of choice.

    Parameters
    ----------
    trials : int
        Number n of trials.
    frequencies : sequence of pairs of float, optional
        Pairs (f1, f2) of different frequencies, of which each trial takes one at random; `conditions` (n, 2)
        says which. By default those of the experiment.
    noise : float, default 0.05
        Standard deviation of the noise of an input at one step.
    delay : int, default 60
        Steps between the stimuli.
    seed : int, numpy.random.Generator or None
        Of the trials; None takes a fresh one.

    Returns
    -------
    Trials
        With three inputs.

    Raises
    ------
    ValueError
        For invalid arguments.

    Examples
    --------
    >>> trials = fastrec.delayed_comparison(4, delay=20, seed=0)
    >>> list(trials.periods), trials.conditions.shape
    (['fixation', 'first', 'delay', 'second', 'choice'], (4, 2))
    """
    given = as_array("frequencies", frequencies)
    pairs = given.astype(np.float64) if given.dtype.kind in "fiu" else np.zeros(0)
    fine = pairs.ndim == 2 and pairs.shape[1:] == (2,) and len(pairs) and (pairs[:, 0] != pairs[:, 1]).all()
    if not (fine and (pairs >= LEAST).all() and (pairs <= MOST).all()):
        raise ValueError(f"frequencies must be pairs of different numbers from {LEAST:g} to {MOST:g}")
    steps = {
        "fixation": 10,
        "first": 15,
        "delay": as_int("delay", delay, 1, MAX_SIZE),
        "second": 15,
        "choice": 15,
    }
    rng, made = begin(trials, steps, 2, noise, seed)
    shown = pairs[rng.integers(len(pairs), size=len(made.x))]
    parts = made.periods["first"], made.periods["second"]
    for part, frequency in zip(parts, shown.T, strict=True):
        height = (frequency - LEAST) / (MOST - LEAST)
        made.x[:, part, :2] = np.stack([height, 1 - height], axis=1)[:, None]
    return complete(rng, made, shown, shown[:, 0] < shown[:, 1], parts, noise)


def begin(
    trials: int, steps: dict[str, int], stimuli: int, noise: float, seed: Seed
) -> tuple[np.random.Generator, Trials]:
    """A generator of random numbers, and trials without stimuli."""
    n, t = as_int("trials", trials, 1, MAX_SIZE), sum(steps.values())
    number("noise", noise, 0, MOST_NOISE, closed=True)
    require_memory("the trials", 4 * n * t * (stimuli + 4))
    ends = np.cumsum(list(steps.values()))
    starts = [0, *ends[:-1]]
    periods = {name: slice(int(a), int(b)) for name, a, b in zip(steps, starts, ends, strict=True)}
    x = np.zeros((n, t, stimuli + 1), np.float32)
    x[:, : periods["choice"].start, -1] = 1
    mask = np.zeros((n, t), np.bool_)
    for name in ("fixation", "choice"):
        mask[:, periods[name]] = True
    targets, nothing = np.zeros((n, t, 2), np.float32), np.zeros(n, np.int64)
    rng = generator(seed)
    return rng, Trials(x, targets, mask, nothing, np.zeros(n), periods)


def complete(
    rng: np.random.Generator,
    made: Trials,
    conditions: NDArray[np.float64],
    second: NDArray[np.bool_],
    parts: Sequence[slice],
    noise: float,
) -> Trials:
    """The trials with noise where stimuli are shown, and with targets: the second choice where told so."""
    for part in parts:
        stimuli = made.x[:, part, :-1]
        stimuli += noise * rng.standard_normal(stimuli.shape, np.float32)
    choices = second.astype(np.int64)
    made.targets[np.arange(len(choices)), made.periods["choice"], choices] = 1
    return Trials(made.x, made.targets, made.mask, choices, conditions, made.periods)
