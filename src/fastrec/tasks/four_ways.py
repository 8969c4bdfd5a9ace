"""Four ways to learn with recurrent networks, on the same sequences of the pathological tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

import numpy as np

from ..backend import BackendChoice, resolve
from ..compilation import clock
from ..display import Column, Displayed, Table, tabulate
from ..files import require_file, require_suffix, require_writable
from ..messages import shown
from ..progress import progress_bar
from ..rnn.config import MAX_SIZE
from ..rnn.hessian_free import HessianFree
from ..rnn.network import RNN
from ..rnn.optimizers import SGD, Adam
from ..streams import MAX_SEED, Seed, read_seed
from ..tables import read_table, write_table
from ..validation import as_bool, as_choice, as_int, as_path
from .learners import Constant, Descent, Echoes, Task
from .pathological import (
    adding_problem,
    multiplication_problem,
    noiseless_memory,
    random_permutation,
    temporal_order,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NETWORKS = 100
SLOWEST = 1e-5  # leak of units that add up what they see
RIDGES = (1e-4, 1e-2, 1.0, 100.0)  # of which validation data choose
FORGET_BIAS = 3.0  # with which an LSTM keeps what it has for some twenty steps


def lstm(inputs: int, outputs: int, **options: Any) -> RNN:
    """Return LSTMs of 32 cells."""
    return RNN(inputs, 32, outputs, "lstm", forget_bias=FORGET_BIAS, **options)


def orthogonal(inputs: int, outputs: int, **options: Any) -> RNN:
    """Return Elman networks of 50 units with orthogonal first weights, in the precision of Newton steps."""
    return RNN(inputs, 50, outputs, dtype=np.float64, **options)


def sparse(inputs: int, outputs: int, **options: Any) -> RNN:
    """Return Elman networks of 100 units with the initialisation of Sutskever et al. (ICML 2013)."""
    return RNN(inputs, 100, outputs, initial="sparse", **options)


def coupled(steps: int) -> dict[str, Any]:
    """Return arguments of a reservoir as they are usual."""
    return {"hidden_size": 100, "spectral_radius": 0.95, "bias_scaling": 0.5, "ridge": RIDGES}


def uncoupled(steps: int) -> dict[str, Any]:
    """Return arguments of units that forget at once, hardly at all, and all that is between."""
    leak = np.geomspace(SLOWEST, 1, 100)
    small = tuple(SLOWEST * ridge for ridge in RIDGES)  # as the states of slow units
    return {"hidden_size": 100, "spectral_radius": 0.0, "leak": leak, "bias_scaling": 1.0, "ridge": small}


def delay_line(steps: int) -> dict[str, Any]:
    """Return arguments of a linear reservoir that holds whole sequences."""
    linear = {"topology": "cycle", "activation": "linear", "spectral_radius": 1.0}
    return linear | {"hidden_size": steps + 100, "ridge": RIDGES}


def momentum(update: int) -> float:
    """Return the momentum of an update: less while the first gradients are large."""
    return 0.9 if update < 1000 else 0.995


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("addition-80", "addition", adding_problem, 80, 20),
        Task("addition-400", "addition", adding_problem, 400, 40),
        Task("multiplication-80", "multiplication", multiplication_problem, 80, 20),
        Task("order-2", "order of 2 symbols", partial(temporal_order, symbols=2), 100, 20),
        Task("order-3", "order of 3 symbols", partial(temporal_order, symbols=3), 100, 30),
        Task("permutation", "random permutation", random_permutation, 100, 20),
        Task("memory-5", "memory of 5 bits", partial(noiseless_memory, bits=5), 200, 20, 5),
        Task(
            "memory-20",
            "memory of 20 bits",
            partial(noiseless_memory, bits=10, values=5),
            *(80, 10, 10),
        ),
    )
}

METHODS: dict[str, Constant | Descent | Echoes] = {
    "constant": Constant("constant answer"),
    "lstm": Descent("LSTM", lstm, lambda: Adam(0.01, clip=1.0), 8000, 2500, 50, 50),
    "hessian-free": Descent(
        "Hessian-free", orthogonal, lambda: HessianFree(0.1, 0, 0.25, 50), 150, 80, 1000, 1, False
    ),
    "echo-state": Echoes("echo states", (coupled, uncoupled, delay_line)),
    "momentum": Descent(
        "sparse weights, momentum",
        sparse,
        lambda: SGD(0.005, momentum, nesterov=True, clip=1.0),
        *(20_000, 6000, 100, 100),
    ),
}


class FourWaysPoint(NamedTuple):
    """What one network has learnt of a task.

    Attributes
    ----------
    task, method : str
        Their names.
    network : int
        Its number, from 0.
    wrong : float
        Share of the answers to 5000 unseen sequences that are wrong: numbers more than 0.04 off, or other
        classes.
    loss : float
        Mean squared error of numbers, cross entropy in nats of classes; of reservoirs it means little.
    updates : int
        Number of updates of the weights, 0 for methods without them.
    seconds : float
        Time to learn, without compilation, divided by the number of networks that learnt at once.
    """

    task: str
    method: str
    network: int
    wrong: float
    loss: float
    updates: int
    seconds: float


COLUMNS = get_type_hints(FourWaysPoint) | {"seed": int, "quick": int}


@dataclass(frozen=True, repr=False)
class FourWaysResult(Displayed):
    """The table that `four_ways` makes.

    Parameters
    ----------
    points : tuple of FourWaysPoint
        One for each task, method and network.
    seed : int
        Of sequences and networks.
    quick : bool
        Whether the run was short.

    Examples
    --------
    >>> result = fastrec.four_ways(["addition-80"], ["constant", "echo-state"], quick=True)
    >>> [round(result.wrong("addition-80", method), 1) for method in result.methods]
    [0.9, 0.0]
    """

    points: tuple[FourWaysPoint, ...]
    seed: int
    quick: bool

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the table."""
        return tuple(name for name in TASKS if any(point.task == name for point in self.points))

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in the order of the table."""
        return tuple(name for name in METHODS if any(point.method == name for point in self.points))

    def of(self, task: str, method: str) -> tuple[FourWaysPoint, ...]:
        """Return the points of a task and a method.

        Parameters
        ----------
        task, method : str
            Their names.

        Returns
        -------
        tuple of FourWaysPoint
            One for each network.
        """
        return tuple(point for point in self.points if (point.task, point.method) == (task, method))

    def wrong(self, task: str, method: str) -> float:
        """Return the share of wrong answers, the median of the networks.

        Parameters
        ----------
        task, method : str
            Their names.

        Returns
        -------
        float
            From 0 to 1; nan for what was not run.
        """
        return float(np.median([point.wrong for point in self.of(task, method)] or [np.nan]))

    def steps(self, task: str) -> int:
        """Return the length, or the delay, of a task.

        Parameters
        ----------
        task : str
            Its name.

        Returns
        -------
        int
            In steps.
        """
        return TASKS[task].quick if self.quick else TASKS[task].steps

    def title(self, name: str) -> str:
        """Return what figures call a task or a method.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        str
            For a task with the number of steps.
        """
        return METHODS[name].title if name in METHODS else f"{TASKS[name].title}, T = {self.steps(name)}"

    def _summary(self) -> dict[str, Any]:
        return {"tasks": len(self.tasks), "methods": len(self.methods), "points": len(self.points)}

    def _columns(self) -> list[Column]:
        points = self.points
        return [
            Column("task", [q.task for q in points]),
            Column("steps", [self.steps(q.task) for q in points], head="T"),
            Column("method", [q.method for q in points]),
            Column("network", [q.network for q in points]),
            Column("wrong", [q.wrong for q in points], lambda share: f"{100 * share:.2f} %"),
            Column("loss", [q.loss for q in points], ".2g"),
            Column("updates", [q.updates for q in points]),
            Column("seconds", [q.seconds for q in points], ".1f"),
        ]

    def _table(self) -> Table:
        spare = ("loss", "updates", "network", "seconds", "T")
        return tabulate("wrong answers to unseen sequences", self._columns(), spare)

    def table(self) -> str:
        """Return the table as text, a row for each task, method and network.

        Returns
        -------
        str
            Several lines.
        """
        return self._table().text()

    def figure(self) -> Figure:
        """Draw the table: tasks by methods, dark where answers are wrong.

        Returns
        -------
        matplotlib.figure.Figure
            As `fastrec.plot.four_ways_figure` makes it.
        """
        from ..plot import four_ways_figure

        return four_ways_figure(self)

    def _figure(self) -> Figure:
        return self.figure()

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
        rows = [(*point, self.seed, int(self.quick)) for point in self.points]
        write_table(path, "four-ways", "1", COLUMNS, rows)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FourWaysResult:
        """Read what `save` has written, or what a run has written so far.

        Parameters
        ----------
        path : path-like
            Name of the file.

        Returns
        -------
        FourWaysResult
            The result.

        Raises
        ------
        ValueError
            If the file is damaged or no such file.
        OSError
            If the file cannot be read.
        """
        require_file(path)
        try:
            _, rows = read_table(Path(path).read_bytes(), "four-ways", {"1": COLUMNS})
            points = tuple(FourWaysPoint(*row[:-2]) for row in rows)
            if not rows or len({(*row[-2:],) for row in rows}) > 1 or rows[0][-1] not in (0, 1):
                raise ValueError("damaged, the rows are not those of one run")
            if not all(point.task in TASKS and point.method in METHODS for point in points):
                raise ValueError("damaged, or of a later version, which has other tasks or methods")
            if not all(map(possible, points)) or len({point[:3] for point in points}) < len(points):
                raise ValueError("damaged, with numbers that no run has")
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return cls(points, rows[0][-2], bool(rows[0][-1]))


def four_ways(
    tasks: Iterable[str] | None = None,
    methods: Iterable[str] | None = None,
    *,
    quick: bool = False,
    networks: int = 1,
    seed: Seed = 0,
    backend: BackendChoice | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> FourWaysResult:
    """Let networks learn the pathological tasks in four ways, all from the same sequences.

    "lstm": 32 cells with a forget bias of 3, and `Adam`. "hessian-free": 50 units with orthogonal
    first weights, and `HessianFree`. "echo-state": `EchoState`, of which validation data choose one for
    each task: a sparse reservoir, units that are not coupled and leak from fast to hardly at all, or a linear
    cycle longer than the sequences. "momentum": 100 units from `initial="sparse"`, and `SGD` with Nesterov's
    momentum. "constant" is the best answer that does not look at the inputs.

    What follows gradients learns from sequences that no update sees twice. Their length grows by sqrt(2),
    from ten on, each time that at most a tenth of the answers is wrong, or half of the updates left are made.
    Learning rates fall along half a cosine over all updates. Learning ends when all answers to 1000
    validation sequences are right, numbers to 0.03, and the weights with the least loss on these are tested.

    Parameters
    ----------
    tasks, methods : iterable of str, optional
        Names of `fastrec.tasks.four_ways.TASKS` and `METHODS`; by default all.
    quick : bool, default False
        Shorter sequences and fewer updates.
    networks : int, default 1
        Networks of each method, which learn at once from the same sequences; their first weights differ.
    seed : int, numpy.random.Generator or None, default 0
        Of sequences and networks; network j has the seed seed + j. A run that goes on takes for None the seed
        of its file.
    backend : str, optional
        As in `RNN`.
    out : path-like, optional
        A .csv file, replaced in one step when a method has learnt a task. If it exists, only what is missing
        is run, with the same results.
    progress : bool, default True
        Show a bar with the time left.

    Returns
    -------
    FourWaysResult
        Shares of wrong answers, losses and times, with a table and a figure.

    Raises
    ------
    ValueError
        For invalid arguments, and for a file of a run with other ones.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> result = fastrec.four_ways(["order-2"], ["echo-state"], quick=True)
    >>> result
    FourWaysResult(tasks=1, methods=1, points=1)
    """
    pairs = [
        (task, method)
        for task in chosen("tasks", tasks, TASKS)
        for method in chosen("methods", methods, METHODS)
    ]
    quick, progress = as_bool("quick", quick), as_bool("progress", progress)
    networks = as_int("networks", networks, 1, MOST_NETWORKS)
    is_fresh, seed = seed is None, read_seed(seed, most=MAX_SEED + 1 - networks)
    resolve(backend, domain="rnn")
    done = FourWaysResult((), seed, quick)
    if out is not None:
        as_path("out", out)
        require_suffix(out, ".csv")
        require_writable(out)
        if Path(out).exists():
            done = read_run(out, None if is_fresh else seed, quick, networks)
            seed = done.seed
    left = [pair for pair in pairs if not done.of(*pair)]
    total, rest = (sum(METHODS[method].cost for _, method in some) for some in (pairs, left))
    with progress_bar("four ways", total, progress, total - rest) as advance:
        for task, method in left:
            points = learn(task, method, quick, networks, seed, backend, advance)
            done = FourWaysResult(done.points + points, seed, quick)
            if out is not None:
                done.save(out)
    return FourWaysResult(tuple(point for pair in pairs for point in done.of(*pair)), seed, quick)


def possible(point: FourWaysPoint) -> bool:
    """Whether numbers are such as a run gives them; the loss of a network that has failed may be none."""
    counts = 0 <= point.network < MOST_NETWORKS and 0 <= point.updates <= MAX_SIZE
    return counts and 0 <= point.wrong <= 1 and 0 <= point.seconds < np.inf


def learn(
    task: str,
    method: str,
    quick: bool,
    networks: int,
    seed: int,
    backend: BackendChoice | None,
    advance: Callable[[float, str], None],
) -> tuple[FourWaysPoint, ...]:
    """What k networks learn of a task by a method; advance moves the progress bar."""

    def tell(share: float) -> None:
        advance(share * METHODS[method].cost, f"{task}, {method}")

    begin = clock()
    learned = METHODS[method].learn(TASKS[task], quick, networks, seed, backend, tell)
    seconds = (clock() - begin) / networks
    judged = zip(learned.judgement.wrong.tolist(), learned.judgement.loss.tolist(), strict=True)
    return tuple(
        FourWaysPoint(task, method, j, wrong, loss, learned.updates, seconds)
        for j, (wrong, loss) in enumerate(judged)
    )


def chosen(name: str, names: Iterable[str] | None, known: dict[str, Any]) -> list[str]:
    """The names among those known, in their order."""
    if names is None:
        return list(known)
    if isinstance(names, str) or not np.iterable(names):
        raise ValueError(f"{name} is {shown(names)}; give a list of names")
    asked = {as_choice(name, each, tuple(known)) for each in names}
    if not asked:
        raise ValueError(f"{name} is empty; name some of {', '.join(known)}")
    return [each for each in known if each in asked]


def read_run(path: str | os.PathLike[str], seed: int | None, quick: bool, networks: int) -> FourWaysResult:
    """What a run has written to a file; ValueError if it is one with other arguments.  seed: None for any."""
    found = FourWaysResult.load(path)
    there = (found.seed, found.quick, max(point.network for point in found.points) + 1)
    for name, other, here in zip(("seed", "quick", "networks"), there, (seed, quick, networks), strict=True):
        if here not in (other, None):
            raise ValueError(
                f"{path} is of a run with {name}={other}, and {name} is {here}; use the same, or another file"
            )
    return found
