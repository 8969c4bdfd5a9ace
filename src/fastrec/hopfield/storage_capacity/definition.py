"""Which number is called the storage capacity, in words and as arguments of the kernels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from ...messages import shown
from ...validation import as_number
from ..ensemble import COUPLINGS, EnsembleDefinition
from ..recall import Update

Criterion = Literal["all", "newest"]
"""Which memories must come back."""

Stop = Literal["first_failure", "largest"]
"""Which load is counted."""

WORDS: dict[str, str] = {
    "all": "every stored memory",
    "newest": "the newest memory",
    "first_failure": "most memories stored before the first failure",
    "largest": "largest number of stored memories that passes",
}


@dataclass(frozen=True, repr=False)
class CapacityDefinition(EnsembleDefinition):
    """Which number is called the capacity: part of every result.  Two results compare only if it agrees.

    Memories are added one at a time.  After each, memories are probed with some random bits flipped, and must
    be recalled exactly, or within a tolerance; in sequences it is the memory due after max_sweeps steps that
    must be reached.

    Parameters
    ----------
    criterion : {"all", "newest"}
        Which memories are probed: all stored ones, or the newest only.
    stop : {"first_failure", "largest"}
        Count the most memories before the first failure, or the largest number that passes.
    corruption : int
        Random bits flipped in each probe; 0 where `share` tells them.
    update : {"async", "sync"}
        How recall updates the units.
    max_sweeps : int
        Sweeps after which a recall has failed.
    max_patterns : int
        Most memories that are stored.
    seed : int
        Fixes the patterns, the flipped bits and the orders of updates.
    share : float, default 0.0
        Share of the bits of a probe that are flipped, round(share n), in place of a number of them.
    tolerance : float, default 0.0
        Share of the bits, round(tolerance n), that may be wrong in the fixed point where a recall ends.
    **networks
        As of `EnsembleDefinition`.

    Raises
    ------
    ValueError
        For any other value.

    Examples
    --------
    >>> from fastrec.hopfield.storage_capacity import CapacityDefinition
    >>> print(CapacityDefinition("newest", "largest", 1, "sync", 100, 50, seed=0))
    largest number of stored memories that passes: the newest memory, probed with 1 bit flipped, must be \
recalled exactly (sync updates, at most 100 sweeps)
    """

    criterion: Criterion
    stop: Stop
    corruption: int
    update: Update
    max_sweeps: int
    max_patterns: int
    seed: int
    share: float = 0.0
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (("criterion", Criterion), ("stop", Stop), ("update", Update)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(
                    f"{name} must be one of {get_args(allowed)}, got {shown(getattr(self, name))}"
                )
        for name, least in (("corruption", 0), ("max_sweeps", 1), ("max_patterns", 1)):
            if not least <= getattr(self, name) < 2**63:
                raise ValueError(
                    f"{name} must be an integer of at least {least}, got {shown(getattr(self, name))}"
                )

        if not 0 <= self.share <= 1 or (self.share and self.corruption):
            raise ValueError(
                f"share must be a number from 0 to 1, and 0 where corruption is not, got {shown(self.share)}"
            )
        as_number("tolerance", self.tolerance, 0, 1)
        self.require_update(self.update)

    def __str__(self) -> str:
        """The definition as a phrase, without search limit and seed."""
        flips = {0: "unchanged", 1: "with 1 bit flipped"}.get(
            self.corruption, f"with {self.corruption} bits flipped"
        )
        if self.share:
            flips = f"with {100 * self.share:g} % of the bits flipped"
        wrong = f"within {self.tolerance:.3g} n wrong bits" if self.tolerance else "exactly"
        return (
            f"{WORDS[self.stop]}: {WORDS[self.criterion]}, probed {flips}, must be recalled {wrong} "
            f"({self.sweeps(self.update, self.max_sweeps)}){self.networks}"
        )

    def flips(self, n: int) -> int:
        """Bits flipped in each probe of n units.

        Parameters
        ----------
        n : int
            Number of units.

        Returns
        -------
        int
            `corruption`, or round(share n).
        """
        return round(self.share * n) if self.share else self.corruption

    def allowed(self, n: int) -> int:
        """Bits of n that may be wrong in the end.

        Parameters
        ----------
        n : int
            Number of units.

        Returns
        -------
        int
            round(tolerance n).
        """
        return round(self.tolerance * n)

    def kernel_arguments(self, n: int) -> tuple[bool, bool, int, bool, int, int]:
        """Arguments of the kernel `capacity_scan` for n units, from `newest` to `max_patterns`."""
        newest, largest = self.criterion == "newest", self.stop == "largest"
        return newest, largest, self.flips(n), self.update == "sync", self.max_sweeps, self.max_patterns

    @property
    def is_scanned(self) -> bool:
        """Whether the incremental scan decides it: plain networks whose memories must come back exactly."""
        return self.is_plain and not self.tolerance

    @property
    def has_theory(self) -> bool:
        """Whether `theory.capacity_quantile` describes it.

        That is exact recall up to the first failure, by plain networks from at most one flipped bit, and by
        dense memories from the memory itself.
        """
        most, plain = (0, replace(self, degree=COUPLINGS)) if self.is_dense else (1, self)
        exact = plain.is_scanned and self.stop == "first_failure"
        return exact and self.corruption <= most and not self.share

    @property
    def theory_name(self) -> str:
        """Name of `theory_mean` in tables and figures."""
        return "theory mean" if self.is_dense else "binomial mean"

    @property
    def has_limit(self) -> bool:
        """Whether the capacity goes to n / (4 ln n) for large n, by McEliece et al. (1987)."""
        return self.is_scanned and self.criterion == "all" and not self.share

    def theory_quantile(self, n: int, probability: float = 0.5) -> int | None:
        """`theory.capacity_quantile` of this definition, or None where it has no theory (also for n < 2).

        Parameters
        ----------
        n : int
            Number of units.
        probability : float
            0.5 for the median.

        Returns
        -------
        int or None
            Number of patterns.
        """
        from .. import theory  # which names the criteria of this module

        if not self.has_theory or n < 2:
            return None
        return theory.capacity_quantile(n, probability, self.criterion, degree=self.power)

    def theory_mean(self, n: int) -> float | None:
        """`theory.capacity_mean` of this definition, or None where it has no theory.

        Couplings of Hebb's rule have none below 20 units either: bits are far from independent there, and the
        flipped bit of a probe, which the theory leaves out, is a large part of them.

        Parameters
        ----------
        n : int
            Number of units.

        Returns
        -------
        float or None
            Number of patterns.
        """
        from .. import theory  # which names the criteria of this module

        if not self.has_theory or n < (2 if self.is_dense else 20):
            return None
        return theory.capacity_mean(n, self.criterion, degree=self.power)
