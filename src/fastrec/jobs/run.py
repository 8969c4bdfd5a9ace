"""A long job from its start to its result: resume, compute here or elsewhere, commit, show progress, save."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from ..backend import Backend, BackendChoice, BackendError, is_device_error, resolve, visible_devices
from ..compilation import clock
from ..files import require_suffix, require_writable
from ..kernels.cpu.threads import get_threads, limit_threads
from ..kernels.interruption import heard, uninterrupted
from ..messages import shown
from ..progress import progress_bar
from ..validation import as_bool, as_int
from .executors import process_pool, run_tasks
from .keeping import KEEPER, LateRunFile, TrialFile
from .schema import Origin, Schema, origin
from .store import SUFFIXES, RunFile

WorkerCount = int | Literal["all"] | None
"""Number of worker processes: "all" is one for each core, or on "gpu" one for each device."""

Advance = Callable[[float, str], object]


class Part(NamedTuple):
    """Trials that ended together.

    Attributes
    ----------
    columns : tuple of sequences
        What was found: the values of all trials for each field of the schema's record.
    origin : Origin
        Of each trial; its seconds are those of one.
    work : float
        Work that the progress bar has not shown yet, in the unit of `Task.cost`.
    """

    columns: tuple[Any, ...]
    origin: Origin
    work: float


def measured(task: Any, measure: Callable[[Any], tuple[Any, ...]]) -> Iterator[Part]:
    """The one part of a task that has one outcome, measure(task)."""
    begin = clock()
    outcome = measure(task)
    yield Part(tuple([value] for value in outcome), origin(task.backend, clock() - begin), task.cost)


class Task(Protocol):
    """Some trials of networks of one size, which can be computed anywhere."""

    @property
    def n(self) -> int:
        """Number of units, the first field of the key."""

    @property
    def definition(self) -> Any:
        """Definition of the job."""

    @property
    def backend(self) -> Backend:
        """Where it runs."""

    @property
    def cost(self) -> float:
        """Work, in any unit that is proportional to time."""

    @property
    def label(self) -> str:
        """What the progress bar says."""

    def run(self, file: TrialFile | None = None, advance: Advance | None = None) -> Iterable[Part]:
        """Compute on all threads; a file may keep the progress of a long trial, `advance` may be told it."""


class Job(Protocol):
    """What differs between kinds of jobs."""

    schema: Schema
    tasks: list[Any]  # for all trials, those too that are in a run file

    def is_asked(self, key: Sequence[int]) -> bool:
        """Whether a trial in a run file belongs to the job."""

    def take(self, columns: Sequence[Sequence[Any]], backends: Iterable[str], seconds: float) -> None:
        """Take in finished trials of one result: columns as of `Part`, and their seconds in total."""

    def missing(self) -> list[Any]:
        """Tasks for the trials that were not taken in, in the order in which they run in this process."""

    def split(self, tasks: list[Any], cost: float) -> list[Any]:
        """Tasks of this total cost as smaller ones for an executor."""

    def result(self) -> Any:
        """The result, when nothing is missing."""


@dataclass(frozen=True)
class Execution:
    """How a job runs.

    Parameters
    ----------
    out : path-like or None
        A run file, which is resumed and gets every trial as it finishes, or a CSV file for the result.
    progress : bool
        Whether to show a bar.
    executor, workers : Executor, int, "all" or None
        Where the tasks run: on an executor, on that number of new processes, or else in this process.

    Raises
    ------
    ValueError
        If both executor and workers are given, workers is no valid number, or out has another suffix.
    OSError
        If out cannot be written.
    """

    out: str | os.PathLike[str] | None
    progress: bool
    executor: Executor | None
    workers: WorkerCount

    def __post_init__(self) -> None:
        as_bool("progress", self.progress)
        if self.executor is not None and not callable(getattr(self.executor, "submit", None)):
            raise ValueError(
                f"executor is {shown(self.executor)}; it must be a concurrent.futures.Executor, or have "
                "its submit"
            )
        if self.workers is not None:
            if self.executor is not None:
                both = f"workers is {self.workers} and executor {shown(self.executor)}"
                raise ValueError(f"{both}; give one of them")
            if self.workers != "all":
                as_int("workers", self.workers, 1, 2**16)
        if self.out is not None:
            require_suffix(self.out, ".csv", *SUFFIXES)
            require_writable(self.out)

    def resolve(self, backend: BackendChoice | None, domain: str) -> Backend:
        """The backend of the tasks; an executor may have devices where this process has none.

        Raises BackendError if it cannot run here, ValueError if there are more workers than devices.
        """
        if self.executor is not None and backend == "gpu":
            return backend
        name = resolve(backend, domain=domain)
        if name == "gpu" and self.workers is not None and self.workers != "all":
            most = len(visible_devices())
            if self.workers > most:
                found = "1 device" if most == 1 else f"{most} devices"
                raise ValueError(
                    f'workers is {self.workers}, and backend "gpu" finds {found}; give at most one for each, '
                    'or backend="cpu"'
                )
        return name

    def processes(self, backend: str) -> int | None:
        """Number of worker processes, None if there are none."""
        if self.workers == "all":
            return len(visible_devices()) if backend == "gpu" else get_threads()
        return self.workers

    def run(self, job: Job) -> Any:
        """Compute what is missing of a job, and return its result.

        Raises ValueError, before any work, if `out` is a run of another definition; OSError if it cannot be
        written, with the result as its attribute `result` if that was complete.
        """
        schema, executor, keeper = job.schema, self.executor, KEEPER.get()
        with ExitStack() as stack:
            file: TrialFile | None = None
            late: LateRunFile | None = None
            if self.out is not None and Path(self.out).suffix.lower() in SUFFIXES:
                file = stack.enter_context(RunFile(self.out, schema))
            elif keeper is not None:
                file = late = stack.enter_context(keeper.file_of(schema, job.tasks))
            if file is not None:
                for n, definition in dict.fromkeys((task.n, task.definition) for task in job.tasks):
                    file.require({schema.keys[0]: n, **asdict(definition)})
                resume(job, file.rows())
            tasks = job.missing()
            total, left = (sum(task.cost for task in some) for some in (job.tasks, tasks))
            what = schema.name if self.out is None else f"{schema.name}, to {self.out}"
            bar = progress_bar(what, total, self.progress, total - left)
            with uninterrupted() as block, bar as move, heard(block):

                def advance(work: float, label: str) -> None:
                    move(work, label)
                    if late is not None:
                        late.note(work, left)

                def finish(task: Task, parts: Sequence[Part]) -> None:
                    if file is not None:
                        file.add(
                            row
                            for columns, origin, _ in parts
                            for row in schema.rows(zip(*columns, strict=True), task.definition, *origin)
                        )
                    for columns, origin, work in parts:
                        job.take(columns, [origin.backend], origin.seconds * len(columns[0]))
                        advance(work, task.label)

                if executor is None and self.workers is None:
                    for task in tasks:
                        for part in task.run(file, advance):
                            finish(task, [part])
                elif tasks:
                    if executor is None:
                        backend = tasks[0].backend
                        number = self.processes(backend) or 1
                        devices = visible_devices()[:number] if backend == "gpu" else ()
                        executor = stack.enter_context(process_pool(number, devices))
                    run_tasks(run_elsewhere, job.split(tasks, left), executor, finish)
        result = job.result()
        if self.out is not None and file is late:
            try:
                result.save(self.out)
            except OSError as error:  # no work is lost
                error.result = result  # type: ignore[attr-defined]
                raise
        return result


def resume(job: Job, rows: Iterable[Sequence[Any]]) -> None:
    """Let a job take in those rows of a run file that belong to it."""
    schema = job.schema
    asked = (row for row in rows if job.is_asked(row[: schema.key]))
    for _, group in groupby(asked, key=lambda row: row[: schema.shared_key]):
        columns = dict(zip(schema.run_columns, zip(*group, strict=True), strict=True))
        records = [columns[name] for name in schema.record._fields]
        job.take(records, columns["backend"], sum(columns["seconds"]))


def run_elsewhere(task: Task) -> list[Part]:
    """Run a task of an executor: on one thread, as it has enough workers for all cores.

    Raises BackendError, naming the device, for errors of CuPy's, which the caller may not have.
    """
    try:
        with limit_threads(1):
            return list(task.run())
    except Exception as error:
        if not is_device_error(error):
            raise
        number = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
        raise BackendError(
            f"device {number} of {platform.node()} failed: {' '.join(str(error).split())}"
        ) from None
