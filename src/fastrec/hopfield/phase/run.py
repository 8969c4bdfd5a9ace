"""The job that measures the plane of load and temperature."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...backend import Backend, BackendChoice, array_module
from ...jobs.keeping import TrialFile
from ...jobs.outcomes import OutcomesJob
from ...jobs.run import Advance, Execution, Part, WorkerCount, measured
from ...streams import Seed, read_seed
from ...validation import as_int, require_memory
from ..network import HopfieldNetwork
from ..recall import narrowest
from ..retrieval.run import as_numbers, read_loads, trial_seed
from ..states import MAX_UNITS, PackedStates, random_patterns
from .definition import PhaseDefinition
from .result import PhaseOutcome, PhaseResult


def phase_diagram(
    n: int,
    alphas: ArrayLike,
    temperatures: ArrayLike,
    trials: int = 10,
    probes: int = 5,
    sweeps: int = 200,
    burn_in: int = 100,
    seed: Seed = 0,
    backend: BackendChoice | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
    executor: Executor | None = None,
    workers: WorkerCount = None,
) -> PhaseResult:
    """How much of a memory a network holds at each load and temperature: the plane of Amit and others.

    Networks of Hebb's rule and unbiased random patterns start at a memory.  The overlap with it, averaged
    over sweeps of Glauber's dynamics in random order, stays near `theory.ags_overlap` below the temperature
    `theory.ags_temperature`, and is lost above it, soon or slowly.

    Parameters
    ----------
    n : int
        Number of units.
    alphas : array_like of float
        Loads; at each, p = round(alpha n) patterns are stored, at least 1.  Loads of equal p count once.
    temperatures : array_like of float
        Temperatures, at least 0, in units of the energy of `HopfieldNetwork.energy`.
    trials : int
        Number of independent networks at each load, those of `retrieval_curve`; they and the seed of
        their draws are the same at all temperatures.
    probes : int
        Memories of each network from which it starts, the first ones; all, if there are fewer.
    sweeps : int
        Sweeps after which states are counted, the last ones.  At temperature 0, where recall stops, the state
        at the end stands for those of all.
    burn_in : int
        Sweeps before these.
    seed : int, numpy.random.Generator or None, default 0
        Seed of all random numbers, 0 to 2^64 - 1, which the definition holds; a generator to draw it from, or
        None for a fresh one.
    backend : str, optional
        "cpu", "gpu" or "reference"; by default the one in force (`get_backend`).
    out, progress, executor, workers
        As of `retrieval_curve`; each network at one temperature is a task.

    Returns
    -------
    PhaseResult
        The same numbers on every backend and executor, and for any number of threads.

    Raises
    ------
    ValueError
        Before any work, if an argument is out of range or a network does not fit in memory.

    References
    ----------
    D. J. Amit, H. Gutfreund, H. Sompolinsky, Storing infinite numbers of patterns in a spin-glass model of
    neural networks, Phys. Rev. Lett. 55, 1530 (1985).

    Examples
    --------
    >>> import fastrec
    >>> result = fastrec.phase_diagram(500, 0.02, [0.2, 0.5], trials=4, sweeps=50)
    >>> for point in result.points:
    ...     print(f"{point.temperature} {point.overlap:.3f} {point.expected:.3f}")
    0.2 1.000 1.000
    0.5 0.946 0.945
    """
    n, definition = as_int("n", n, 1, MAX_UNITS), PhaseDefinition(probes, sweeps, burn_in, read_seed(seed))
    loads = dict.fromkeys(read_loads(n, alphas))
    heats = as_numbers("temperatures", temperatures, 0, np.finfo(np.float64).max)
    heats = [heat + 0.0 for heat in dict.fromkeys(heats)]  # no -0.0, which a run file would not keep
    execution = Execution(out, progress, executor, workers)
    name = execution.resolve(backend, domain="hopfield")
    trials = as_int("trials", trials, 1, 2**32 - 1)
    here = (executor is None and workers is None) or name != "gpu"
    for p in loads:
        b = min(probes, p)
        if n * b * sweeps**2 >= 2**63:
            raise ValueError(f"sweeps is {sweeps}; sums over so many of {b} x {n} units would pass 2^63")
        if here:
            nbytes = n * p // 4 + 24 * n * b + 8 * b * p
            nbytes += n * n * narrowest(p).itemsize * (name == "gpu")  # which recalls from couplings
            require_memory(f"phase_diagram with n = {n}, p = {p}", nbytes, backend=name)
    cases = [(n, p, heat, trial) for p in loads for heat in heats for trial in range(trials)]
    result: PhaseResult = execution.run(
        OutcomesJob([Task(*case, definition, name) for case in cases], PhaseResult)
    )
    return result


class Task(NamedTuple):
    """One network at one temperature.

    Attributes
    ----------
    n, p, temperature, trial : int, float
        As of `PhaseOutcome`.
    definition : PhaseDefinition
        How it is measured.
    backend : str
        Where it runs.
    """

    n: int
    p: int
    temperature: float
    trial: int
    definition: PhaseDefinition
    backend: Backend

    @property
    def cost(self) -> float:
        """Work, in any unit: an update takes about as long as p + 400 additions, next to none at 0."""
        d = self.definition
        work = self.n * min(d.probes, self.p) * (self.p + 400.0)
        return work * (d.sweeps + d.burn_in if self.temperature else 2)

    @property
    def label(self) -> str:
        """What the progress bar says."""
        return f"p = {self.p}, T = {self.temperature:.4g}"

    def run(self, file: TrialFile | None = None, advance: Advance | None = None) -> Iterator[Part]:
        """Recall on all threads."""
        return measured(self, hold)


def hold(task: Task) -> PhaseOutcome:
    """Run a task, and count what is held of the memories."""
    n, p, temperature, trial, d, backend = task
    xp, b, seed = array_module(backend), min(d.probes, p), trial_seed(d.seed, n, p, trial)
    memories = random_patterns(p, n, seed, backend=backend, packed=True)
    network = HopfieldNetwork(n, backend=backend)
    network.store(memories)
    starts = PackedStates._of(memories.words[:b], n).unpack()
    options: dict[str, Any] = {"temperature": temperature, "average": d.sweeps} if temperature else {}
    found = network.recall(starts, max_sweeps=d.burn_in + d.sweeps, seed=seed, **options)
    means = found.states if found.averages is None else found.averages.states
    totals = xp.rint(means * float(d.sweeps)).astype(np.int64)
    return PhaseOutcome(n, p, temperature, trial, b, int((starts * totals).sum()), int((totals**2).sum()))
