"""Tasks on executors: in this process, in processes of this machine, on a Dask cluster."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, Protocol, TypeVar

from ..kernels.cpu.threads import set_threads
from ..validation import as_int


class Costed(Protocol):
    """A task that says how long it takes, in any unit."""

    @property
    def cost(self) -> float: ...


T = TypeVar("T", bound=Costed)
R = TypeVar("R")
P = ParamSpec("P")


def run_tasks(
    function: Callable[[T], R], tasks: Iterable[T], executor: Executor | None, done: Callable[[T, R], None]
) -> None:
    """Call function(task) for all tasks, and done(task, result) in this process as each finishes.

    executor: any with the `submit` of `concurrent.futures`, such as a Dask client's `get_executor()`, which
    begins with the largest cost (`Workers` after the least one); None calls them here, in their order.
    On an exception or Ctrl-C tasks that have not begun are cancelled (`Workers` end with their pool), those
    that finished are handed over, and it is raised again; a worker that died is a ChildProcessError.
    """
    if executor is None:
        for task in tasks:
            done(task, function(task))
        return
    if isinstance(executor, Workers) and (todo := list(tasks)):
        # The first is done here, where what it compiles is said, and read by the workers then.
        first = todo.pop(min(range(len(todo)), key=lambda i: todo[i].cost))
        done(first, function(first))
        tasks = todo
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
            raise ChildProcessError(
                "a worker process died, perhaps for want of memory; use fewer workers"
            ) from None
        raise


def as_workers(workers: int | None, executor: Executor | None) -> int | None:
    """The checked number of processes to start, if any."""
    if workers is None:
        return None
    if executor is not None:
        raise ValueError(f"workers is {workers} and executor {executor!r}; give one of them")
    return as_int("workers", workers, 1, 2**16)


class Workers(ProcessPoolExecutor):
    """Processes that never hear Ctrl-C or SIGTERM: the one that started them ends them."""

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        if not hasattr(signal, "pthread_sigmask"):
            return super().submit(function, *args, **kwargs)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            return super().submit(function, *args, **kwargs)  # starts one more process, until there are all
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def process_pool(workers: int) -> Iterator[Executor]:
    """Processes of this machine with one thread each; they end at once if the body raises or this one dies.

    They are spawned: a script needs `if __name__ == "__main__":`.
    """
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    with writer, reader:
        pool = Workers(workers, context, initializer=prepare, initargs=(reader,))
        try:
            for _ in range(workers):  # all begin to start at once, while the first task is done here
                pool.submit(int)
            yield pool
        except BaseException:
            writer.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def prepare(reader: Connection) -> None:
    """Set up a worker: one thread, nothing said, and an end with that of the pipe."""
    set_threads(1)
    os.environ["FASTREC_QUIET"] = "1"
    logging.getLogger("fastrec").setLevel(logging.ERROR)  # or each would say that it cannot keep kernels

    def watch() -> None:
        reader.poll(None)  # nothing is ever sent: this is the end of the pipe, closed or without its process
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """The workers of a Dask cluster whose scheduler is at an address such as tcp://host:8786."""
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            'a Dask cluster needs distributed, which is not installed: pip install "fastrec[dask]"'
        ) from None
    try:
        client: Any = Client(address)
    except (OSError, ValueError) as error:
        raise OSError(f"no Dask scheduler at {address}: {' '.join(str(error).split())}") from None
    with client:
        yield client.get_executor()
