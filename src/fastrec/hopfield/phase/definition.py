"""How the plane of load and temperature is measured."""

from __future__ import annotations

from dataclasses import dataclass

from ...validation import as_int
from ..temperature import MOST_AVERAGED


@dataclass(frozen=True)
class PhaseDefinition:
    """How the phases of networks are measured: part of every result.

    Networks of Hebb's rule and unbiased random patterns start at their first memories; Glauber's dynamics
    updates their units in random order.

    Parameters
    ----------
    probes : int
        Memories of each network from which it starts; all, if it has fewer.
    sweeps : int
        Sweeps after which the states are counted, the last ones.
    burn_in : int
        Sweeps before these.
    seed : int
        Fixes patterns, orders of updates and draws.

    Raises
    ------
    ValueError
        For any other value.

    Examples
    --------
    >>> from fastrec.hopfield.phase import PhaseDefinition
    >>> print(PhaseDefinition(5, 200, 100, seed=0))
    200 sweeps after 100 from each of at most 5 memories a network
    """

    probes: int
    sweeps: int
    burn_in: int
    seed: int

    def __post_init__(self) -> None:
        as_int("probes", self.probes, 1, 2**31 - 1)
        as_int("sweeps", self.sweeps, 1, MOST_AVERAGED)
        as_int("burn_in", self.burn_in, 0, 2**30)
        as_int("seed", self.seed, 0, 2**64 - 1)

    def __str__(self) -> str:
        """The definition as a phrase, without seed."""
        starts = f"each of at most {self.probes} memories a network"
        return f"{self.sweeps} sweeps after {self.burn_in} from {starts}"
