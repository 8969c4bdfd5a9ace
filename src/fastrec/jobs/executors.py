"""Tasks on executors: processes of this machine, which may have a device each, a Dask cluster."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
)
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from typing import Any, ParamSpec, Protocol, TypeVar

from ..backend import array_module
from ..messages import install_command
from ..threads import set_threads


class Costed(Protocol):
    """A task with a cost, which is proportional to its time in any unit."""

    @property
    def cost(self) -> float: ...


T = TypeVar("T", bound=Costed)
R = TypeVar("R")
P = ParamSpec("P")


def run_tasks(
    function: Callable[[T], R], tasks: Iterable[T], executor: Executor, done: Callable[[T, R], None]
) -> None:
    """Call function(task) for all tasks on an executor, and done(task, result) here as each finishes.

    On an exception or Ctrl-C tasks that have not begun are cancelled (`Workers` end with their pool), those
    that finished are handed over, and the exception is raised again.

    Parameters
    ----------
    function : callable
        Called with a task, on the executor.
    tasks : iterable
        The most expensive ones begin first (on `Workers` of the CPU after the cheapest one).
    executor : Executor
        Any object with the `submit` of `concurrent.futures`, such as a Dask client's `get_executor()`.
    done : callable
        Called with a task and its result, in this process.

    Raises
    ------
    ChildProcessError
        If a worker died.
    ConnectionError
        If the scheduler of a cluster has ended.
    """
    if isinstance(executor, Workers) and not executor.devices and (remaining := list(tasks)):
        # The cheapest task runs here: its compilation is announced, and the workers then load the result.
        # Not on devices: those may belong to the workers alone, and the others would wait meanwhile.
        cheapest = remaining.pop(min(range(len(remaining)), key=lambda i: remaining[i].cost))
        done(cheapest, function(cheapest))
        tasks = remaining
    waiting: dict[Future[R], T] = {}
    try:
        for task in sorted(tasks, key=lambda task: task.cost, reverse=True):
            waiting[executor.submit(function, task)] = task
        for future in as_completed(list(waiting)):
            result = future.result()
            done(waiting.pop(future), result)
    except BaseException as error:
        if not isinstance(error, BrokenExecutor) and not isinstance(executor, Workers):
            for future in waiting:  # else they fail with the pool, in Python 3.11 loudly if cancelled
                future.cancel()
        for future, task in waiting.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                done(task, future.result())
        if isinstance(error, BrokenExecutor):
            cure = "perhaps for want of memory; use fewer workers"
            if isinstance(executor, Workers) and executor.devices:
                cure = "perhaps with its device; the trials that finished before are in the run file, if any"
            raise ChildProcessError(f"a worker process died, {cure}") from None
        name = type(error).__name__
        if isinstance(error, CancelledError) or type(error).__module__.partition(".")[0] == "distributed":
            raise ConnectionError(
                f"the executor has given up ({name}), as it does when its scheduler has ended; the trials "
                "that finished before are kept"
            ) from None
        raise


class Workers(ProcessPoolExecutor):
    """Processes that ignore Ctrl-C and SIGTERM; the process that started them ends them.

    Attributes
    ----------
    devices : sequence of str
        CUDA_VISIBLE_DEVICES of each, if they have devices.
    """

    devices: Sequence[str] = ()

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        if not hasattr(signal, "pthread_sigmask"):
            return super().submit(function, *args, **kwargs)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            return super().submit(function, *args, **kwargs)  # starts a process, until all have started
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def process_pool(workers: int, devices: Sequence[str] = ()) -> Iterator[Executor]:
    """Processes of this machine with one thread each, which end at once if the body raises or this one dies.

    They are spawned, so that a script needs ``if __name__ == "__main__":``.  If there are devices, each
    process sees one of them.
    """
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    shares = context.SimpleQueue()
    for share in enumerate(devices):
        shares.put(share)
    with writer, reader, closing(shares):
        pool = Workers(workers, context, initializer=prepare, initargs=(reader, shares if devices else None))
        pool.devices = devices
        try:
            for _ in range(workers):  # all start at once, while the first task runs here
                pool.submit(int)
            yield pool
        except BaseException:
            writer.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def prepare(reader: Connection, shares: SimpleQueue[tuple[int, str]] | None) -> None:
    """Set up a worker: an end when the pipe closes, a device of its own, one thread, no notices."""

    def watch() -> None:
        reader.poll(None)  # nothing is ever sent: the pipe was closed, or its process died
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if shares is not None:
        take_device(*shares.get())
    set_threads(1)
    os.environ["FASTREC_QUIET"] = "1"
    logging.getLogger("fastrec").setLevel(logging.ERROR)  # or each warns if it cannot save kernels


def take_device(number: int, name: str) -> None:
    """See one device alone: of those of the process that started this one its number, and its name."""
    os.environ["CUDA_VISIBLE_DEVICES"] = name
    runtime = array_module("gpu").cuda.runtime
    if runtime.getDeviceCount() > 1:  # the user's script, which is imported before, has begun CUDA
        runtime.setDevice(number)


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """The workers of a Dask cluster whose scheduler is at an address such as tcp://host:8786."""
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            f"a Dask cluster needs distributed, which is not installed: {install_command('distributed')}"
        ) from None
    logging.getLogger("distributed").setLevel(
        logging.CRITICAL
    )  # what it reports ends the run, and is told then
    try:
        client: Any = Client(address)
    except (OSError, ValueError) as error:
        raise OSError(f"no Dask scheduler at {address}: {' '.join(str(error).split())}") from None
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":  # which reports, in tracebacks, what ends the run
            logging.getLogger(name).setLevel(logging.CRITICAL)
    with client:
        yield client.get_executor()
