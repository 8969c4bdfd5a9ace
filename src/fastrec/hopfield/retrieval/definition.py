"""How retrieval with errors is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...validation import as_choice, as_int, as_number, number
from .. import theory
from ..ensemble import EnsembleDefinition
from ..recall import Update
from ..rules import HEBB


@dataclass(frozen=True, repr=False)
class RetrievalDefinition(EnsembleDefinition):
    """How retrieval is measured: part of every result.

    Networks are probed with their first memories, of which some units are flipped, and recalled in random
    order until they stop, or at a temperature for so many sweeps.

    Parameters
    ----------
    probes : int
        Memories of each network that are probed; all, if it has fewer.
    tolerance : float
        Share of the units, round(tolerance n), that may be wrong where recall succeeds "within" it.
    update : {"async", "sync"}
        How recall updates the units.
    max_sweeps : int
        Most sweeps of a recall; all are made at a temperature above 0, and in sequences.
    seed : int
        Fixes patterns, flipped units, orders of updates and draws at a temperature.
    temperature : float, default 0.0
        Temperature of Glauber's dynamics, as of `HopfieldNetwork.recall`; the states after the last sweep are
        counted.
    **networks
        As of `EnsembleDefinition`.

    Raises
    ------
    ValueError
        For any other value.

    Examples
    --------
    >>> from fastrec.hopfield.retrieval import RetrievalDefinition
    >>> print(RetrievalDefinition(100, 0.05, "async", 100, seed=0))
    recall of at most 100 memories a network within 0.05 n wrong units (async updates, at most 100 sweeps)
    """

    probes: int
    tolerance: float
    update: Update
    max_sweeps: int
    seed: int
    temperature: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        as_int("probes", self.probes, 1, 2**31 - 1)
        as_number("tolerance", self.tolerance, 0, 1)
        as_choice("update", self.update, get_args(Update))
        as_int("max_sweeps", self.max_sweeps, 1, 2**31 - 1)
        as_int("seed", self.seed, 0, 2**64 - 1)
        number("temperature", self.temperature, 0, closed=True)
        self.require_update(self.update)
        if self.temperature and self.is_dense:
            raise ValueError(
                f"temperature is {self.temperature:g}; dense memories, of degree {self.power}, are at 0"
            )

    @property
    def is_cold(self) -> bool:
        """Whether the laws of plain networks at temperature 0 describe it."""
        return self.is_plain and not self.temperature

    @property
    def has_theory(self) -> bool:
        """Whether there is a law of its overlaps, `theory_overlap`, for n to infinity.

        It is that of AGS for plain networks, whose synchronous updates have another at temperatures above 0,
        or that of cyclic sequences of unbiased random patterns.
        """
        if self.is_sequence:
            return replace(self, rule=HEBB.name).is_plain
        return self.is_plain and (self.update == "async" or not self.temperature)

    def theory_overlap(self, alpha: ArrayLike) -> NDArray[np.float64]:
        """Overlaps at loads by `theory.ags_overlap`, or `theory.sequence_overlap` for sequences.

        Parameters
        ----------
        alpha : array_like of float
            Loads p/n, any shape.

        Returns
        -------
        ndarray of float64
            Of the same shape; nan above `theory_load`.
        """
        law = theory.sequence_overlap if self.is_sequence else theory.ags_overlap
        return law(alpha, self.temperature)

    @property
    def theory_load(self) -> float:
        """The load where `theory_overlap` ends."""
        return float((theory.sequence_load if self.is_sequence else theory.ags_load)(self.temperature))

    def __str__(self) -> str:
        """The definition as a phrase, without seed."""
        wrong = f" within {self.tolerance:.3g} n wrong units" if self.tolerance else ""
        return (
            f"recall of at most {self.probes} memories a network{wrong} "
            f"({self.sweeps(self.update, self.max_sweeps, self.temperature)}){self.networks}"
        )
