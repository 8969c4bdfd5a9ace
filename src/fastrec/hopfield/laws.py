"""The classical laws of storage capacity beside exact measurement: at which sizes, and how measured."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..backend import BackendChoice
from ..display import Column, Displayed, Table, tabulate
from ..messages import shown
from ..streams import Seed, read_seed
from ..tables import write_table
from ..validation import as_bool, as_choice, as_path
from . import theory
from .retrieval import retrieval_curve
from .storage_capacity import capacity_scaling

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..jobs.run import WorkerCount

HALF = 0.5
COLUMNS = ("law", "n", "networks", "measured", "low", "high", "expected", "asymptotic")


class LawPoint(NamedTuple):
    """A measured capacity beside a law.

    Attributes
    ----------
    law : str
        Name of the law.
    n : int
        Number of units.
    networks : int
        Number of independent networks.
    measured, low, high : float
        Memories: the median of the networks and the 10 % and 90 % quantiles; or the load at which half of the
        recalls succeed, by linear interpolation, and the loads at which the 95 % intervals of that share do.
    expected : float
        Memories by a theory for this n, nan where there is none.
    asymptotic : float
        Memories by the law, for n to infinity.
    """

    law: str
    n: int
    networks: int
    measured: float
    low: float
    high: float
    expected: float
    asymptotic: float


@dataclass(frozen=True)
class Law:
    """A law of storage capacity, and the study that measures it.

    Parameters
    ----------
    name : str
        Its name, in tables and of its files.
    title : str
        Which networks, and what is counted.
    formula : str
        The law as text.
    asymptotic : callable
        Memories by the law as a function of n.
    sizes, quick : mapping of int to int
        Sizes and the number of networks of each, of a long and of a short run.
    options : mapping
        Arguments of the study.
    expected : callable, optional
        Memories by a theory for finite n.
    loads : tuple of float
        Where the study is retrieval, the shares of `expected`, or else of the law, at which it is measured.
    success : str
        Where the study is retrieval, which recalls succeed: a field of its outcomes.
    """

    name: str
    title: str
    formula: str
    asymptotic: Callable[[int], float]
    sizes: Mapping[int, int]
    quick: Mapping[int, int]
    options: Mapping[str, Any] = field(default_factory=dict)
    expected: Callable[[int], float] | None = None
    loads: tuple[float, ...] = ()
    success: str = "exact"

    def __repr__(self) -> str:
        return f'Law("{self.name}", {self.formula})'

    def guess(self, n: int) -> float:
        """Memories by the theory for this n, or by the law."""
        return float((self.expected or self.asymptotic)(n))

    def studies(self, networks: Mapping[int, int]) -> dict[str, Callable[..., list[LawPoint]]]:
        """The studies that measure the law, by the name of the file that each can keep."""
        if not self.loads:
            by_trials: dict[int, list[int]] = {}
            for n, trials in networks.items():
                by_trials.setdefault(trials, []).append(n)
            return {
                f"{self.name}-{sizes[0]}": partial(self._capacities, sizes, trials)
                for trials, sizes in by_trials.items()
            }
        return {f"{self.name}-{n}": partial(self._crossing, n, trials) for n, trials in networks.items()}

    def _capacities(self, sizes: list[int], trials: int, **execution: Any) -> list[LawPoint]:
        result = capacity_scaling(sizes, trials, **self.options, **execution)
        return [self._point(r.n, r.trials, r.median, r.low, r.high) for r in result]

    def _crossing(self, n: int, trials: int, **execution: Any) -> list[LawPoint]:
        loads = np.array(self.loads) * self.guess(n) / n
        result = retrieval_curve(n, loads, trials, **self.options, **execution)
        points = result.points
        p = np.array([point.p for point in points], dtype=np.float64)
        share = [point.share(self.success) for point in points]
        low, high = zip(*(point.share_interval(self.success) for point in points), strict=True)
        return [self._point(n, trials, crossing(p, share), crossing(p, low), crossing(p, high))]

    def _point(self, n: int, networks: int, measured: float, low: float, high: float) -> LawPoint:
        expected = math.nan if self.expected is None else float(self.expected(n))
        return LawPoint(self.name, n, networks, measured, low, high, expected, float(self.asymptotic(n)))


def crossing(p: Iterable[float], share: Iterable[float]) -> float:
    """Where a share that falls first passes through 1/2, by linear interpolation; nan if it does not."""
    p, share = list(p), list(share)
    for i in range(1, len(p)):
        if share[i - 1] >= HALF > share[i]:
            return p[i - 1] + (p[i] - p[i - 1]) * (share[i - 1] - HALF) / (share[i - 1] - share[i])
    return math.nan


def separable_quantile(n: int) -> float:
    """Patterns at which all n units of a perceptron network can still learn theirs with probability 1/2.

    By Cover's count of dichotomies in n - 1 dimensions, the units taken as independent.
    """
    p = np.arange(1, 3 * n)
    return float(p[theory.cover_probability(p, n - 1) ** n >= HALF].max(initial=0))


SPARSE = 0.1  # activity of the sparse patterns
STEPS = tuple(np.round(np.linspace(0.8, 1.2, 9), 3).tolist())
WIDE = tuple(np.round(np.linspace(0.7, 1.5, 17), 3).tolist())

LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        Law(
            "hebb-all",
            "Hebb: every memory, before the first failure",
            "n / (4 ln n)",
            lambda n: float(theory.mceliece_all(n)),
            {20: 400, 50: 400, 100: 400, 200: 200, 500: 200, 1000: 100, 2000: 60, 5000: 20, 10_000: 10},
            {20: 100, 100: 50, 500: 20},
            expected=theory.capacity_quantile,
        ),
        Law(
            "hebb-largest",
            "Hebb: every memory, the largest number that passes",
            "n / (4 ln n)",
            lambda n: float(theory.mceliece_all(n)),
            {20: 400, 50: 400, 100: 400, 200: 200, 500: 100, 1000: 50, 2000: 20},
            {20: 100, 100: 50},
            {"stop": "largest"},
            expected=theory.capacity_quantile,
        ),
        Law(
            "hebb-newest",
            "Hebb: the newest memory, before the first failure",
            "n / (2 ln n)",
            lambda n: float(theory.mceliece_most(n)),
            {20: 400, 50: 400, 100: 400, 200: 200, 500: 200, 1000: 100, 2000: 60, 5000: 20},
            {20: 100, 100: 50, 500: 20},
            {"criterion": "newest"},
            expected=lambda n: theory.capacity_quantile(n, criterion="newest"),
        ),
        Law(
            "hebb-each",
            "Hebb: half of the memories exact",
            "n / (2 ln n)",
            lambda n: float(theory.mceliece_most(n)),
            {100: 40, 300: 20, 1000: 10, 3000: 6, 10_000: 4},
            {100: 20, 1000: 3},
            {"update": "sync", "max_sweeps": 1},
            expected=theory.each_pattern_load,
            loads=STEPS,
        ),
        Law(
            "hebb-errors",
            "Hebb: recall within 5 % errors from the memory",
            "0.138 n",
            lambda n: theory.ALPHA_C * n,
            {300: 20, 1000: 10, 3000: 6, 10_000: 3},
            {300: 10, 1000: 3},
            {"tolerance": 0.05, "probes": 50},
            loads=WIDE,
            success="within",
        ),
        Law(
            "storkey",
            "Storkey: every memory, before the first failure",
            "n / sqrt(2 ln n)",
            lambda n: float(theory.storkey_capacity(n)),
            {20: 100, 50: 100, 100: 50, 200: 20, 400: 10},
            {20: 40, 50: 20, 100: 6},
            {"rule": "storkey"},
        ),
        Law(
            "projection",
            "projection: every memory a fixed point",
            "n",
            float,
            {20: 40, 50: 40, 100: 20, 200: 10},
            {20: 20, 50: 10},
            {"rule": "projection", "flips": 0},
        ),
        Law(
            "perceptron",
            "perceptron: every memory a fixed point",
            "2 n",
            lambda n: float(theory.gardner_load() * n),
            {10: 100, 20: 100, 40: 50, 80: 10},
            {10: 20, 20: 10},
            {"rule": "perceptron", "flips": 0, "max_passes": 10_000},
            expected=separable_quantile,
        ),
        Law(
            "dense-3",
            "dense, degree 3: every memory, before the first failure",
            "n^2 / (18 ln n)",
            lambda n: float(theory.dense_all(n, 3)),
            {20: 100, 30: 100, 50: 40, 80: 20, 120: 10},
            {20: 20, 30: 20, 50: 6},
            {"degree": 3},
            expected=lambda n: theory.capacity_quantile(n, degree=3),
        ),
        Law(
            "exponential",
            "dense, exponential: every memory a fixed point",
            "2^(n/2)",
            lambda n: float(theory.exponential_load(n)),
            {8: 100, 12: 100, 16: 50, 20: 20, 24: 5},
            {8: 40, 12: 20, 16: 6},
            {"degree": "exponential", "flips": 0},
            expected=lambda n: theory.capacity_quantile(n, degree="exponential"),
        ),
        Law(
            "sequence",
            "sequence: 50 steps on, within 25 % errors",
            "0.269 n",
            lambda n: float(theory.sequence_load() * n),
            {300: 20, 1000: 10, 3000: 4, 10_000: 2},
            {300: 6, 1000: 2},
            {"rule": "sequence", "update": "sync", "max_sweeps": 50, "tolerance": 0.25, "probes": 20},
            loads=STEPS,
            success="within",
        ),
        Law(
            "sparse",
            f"covariance, activity {SPARSE}: recall within 5 % errors from the memory",
            "0.325 n",
            lambda n: float(theory.covariance_load(SPARSE, 0.5 - SPARSE)[0] * n),
            {300: 10, 1000: 6, 3000: 2},
            {300: 4, 1000: 1},
            {"rule": "covariance", "activity": SPARSE, "tolerance": 0.05, "probes": 20},
            loads=tuple(np.round(np.linspace(0.5, 1.6, 23), 3).tolist()),
            success="within",
        ),
    )
}


@dataclass(frozen=True, repr=False)
class LawsResult(Displayed):
    """Capacities measured by `capacity_laws`, beside the laws.

    Parameters
    ----------
    points : tuple of LawPoint
        In the order of `LAWS`, and of n.
    seed : int
        The seed of all studies.

    Examples
    --------
    >>> import fastrec
    >>> result = fastrec.capacity_laws(["projection"], quick=True, seed=1, backend="reference")
    >>> result
    LawsResult(laws=1, points=2)
    """

    points: tuple[LawPoint, ...]
    seed: int

    @property
    def laws(self) -> tuple[Law, ...]:
        """The laws that were measured."""
        return tuple(LAWS[name] for name in dict.fromkeys(point.law for point in self.points))

    def of(self, law: str) -> tuple[LawPoint, ...]:
        """Return the points of a law.

        Parameters
        ----------
        law : str
            Its name.

        Returns
        -------
        tuple of LawPoint
            A point for each n.
        """
        return tuple(point for point in self.points if point.law == law)

    def _summary(self) -> dict[str, Any]:
        return {"laws": len(self.laws), "points": len(self.points)}

    def _columns(self) -> list[Column]:
        points, numbers = self.points, {"low": "from", "high": "to", "asymptotic": "law at n"}
        return [
            Column("law", [q.law for q in points], lambda law: f"{law}: {LAWS[law].formula}"),
            Column("n", [q.n for q in points]),
            Column("networks", [q.networks for q in points]),
            *(
                Column(name, [getattr(q, name) for q in points], ".1f", numbers.get(name))
                for name in ("measured", "low", "high", "expected", "asymptotic")
            ),
            Column("ratio", [q.measured / q.asymptotic for q in points], ".3f", "measured/law"),
        ]

    def _table(self) -> Table:
        spare = ("networks", "law at n", "from", "to", "measured/law")
        return tabulate("storage capacities in memories, measured and by their laws", self._columns(), spare)

    def table(self) -> str:
        """Return the table as text: a row for each law and size, capacities in memories.

        Returns
        -------
        str
            Several lines.
        """
        return self._table().text()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the points to a CSV file, replacing path in one step.

        Parameters
        ----------
        path : path-like
            Name of the file.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        write_table(path, "laws", "1", COLUMNS, self.points)

    def _figure(self) -> Figure:
        from fastrec import plot

        return plot.laws_figure(self)

    def plot(self, path: str | os.PathLike[str] | None = None, ax: Axes | None = None) -> Axes:
        """Draw capacities against n, as `plot.draw_laws`, and save the figure if there is a path.

        Parameters
        ----------
        path : path-like, optional
            A figure file to write.
        ax : matplotlib.axes.Axes, optional
            Axes to draw into, in place of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.
        """
        from fastrec import plot
        from fastrec.plot.figures import draw_and_save

        return draw_and_save(path, ax, self._figure, lambda axes: plot.draw_laws(axes, self))


def capacity_laws(
    laws: Iterable[str] | None = None,
    *,
    quick: bool = False,
    seed: Seed = 0,
    backend: BackendChoice | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: bool = True,
    workers: WorkerCount = None,
) -> LawsResult:
    """Measure storage capacities beside the classical laws, of rules, dense memories and sequences.

    Parameters
    ----------
    laws : iterable of str, optional
        Names of `fastrec.hopfield.laws.LAWS`; by default all.
    quick : bool, default False
        Small sizes and few networks: about a minute on two cores in place of most of an hour.
    seed : int, numpy.random.Generator or None, default 0
        Seed of all studies, 0 to 2^64 - 1; a generator to draw it from, or None for a fresh one.
    backend : str, optional
        "cpu", "gpu", "reference" or "auto"; by default the one in force.
    folder : path-like, optional
        An existing folder for run files, one for each study.  Trials are committed to them as they finish,
        and only missing ones are run.
    progress : bool, default True
        Whether to show a bar with the time left for each study.
    workers : int or "all", optional
        Worker processes, as of `capacity_scaling`.

    Returns
    -------
    LawsResult
        The same numbers on every backend.

    Raises
    ------
    ValueError
        For invalid arguments, before any work.
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import fastrec
    >>> result = fastrec.capacity_laws(["projection"], quick=True, seed=1, backend="reference")
    >>> [(point.n, point.measured) for point in result.points]
    [(20, 20.0), (50, 50.0)]
    """
    if isinstance(laws, str) or not isinstance(laws, Iterable | None):
        raise ValueError(f"laws is {shown(laws)}; give a list of names")
    asked = set(LAWS) if laws is None else {as_choice("laws", name, tuple(LAWS)) for name in laws}
    if not asked:
        raise ValueError(f"laws is empty; name some of {', '.join(LAWS)}")
    as_bool("quick", quick)
    seed = read_seed(seed)
    if folder is not None and (not as_path("folder", folder) or not Path(folder).is_dir()):
        raise FileNotFoundError(f"folder is {shown(folder)}; it must be an existing folder")
    points: list[LawPoint] = []
    for law in (law for name, law in LAWS.items() if name in asked):
        for name, study in law.studies(law.quick if quick else law.sizes).items():
            out = None if folder is None else Path(folder) / f"{name}{'-quick' * quick}.db"
            points += study(seed=seed, backend=backend, out=out, progress=progress, workers=workers)
    return LawsResult(tuple(points), seed)
