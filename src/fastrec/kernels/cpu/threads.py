"""Threads: kernels are serial functions without the GIL, whose tasks are dealt to a pool of Python threads.

A thread takes the next tasks from a counter that all share, so that uneven ones balance.  The caller works
too, and helpers that have not woken when nothing is left are not waited for.  Nothing spins; any number of
callers share the pool; a child of a fork makes one of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import functools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

from ..interruption import uninterrupted

SMALL = 150_000  # nanoseconds of work that one thread has done before two would have
SHARE = 20_000  # nanoseconds of tasks that are taken at a time, where there are enough
BREATH = 50_000_000  # nanoseconds after which the caller looks for Ctrl-C
MOST = 1024  # the largest number of threads
WAITING = 1000  # jobs in the queue of the pool before those that have ended are looked for

_chosen: int | None = None
_scoped: contextvars.ContextVar[int | None] = contextvars.ContextVar("fastrec_threads", default=None)
# Runs a function in so many threads at once, the calling one among them, and returns when all have returned.
Team = Callable[[Callable[[], None], int], None]
_team: contextvars.ContextVar[Team | None] = contextvars.ContextVar("fastrec_team", default=None)


def set_threads(n: int | None) -> int:
    """Set the number of threads of this process and return it; `fastrec.threads` has checked it."""
    global _chosen
    _chosen = n
    for cached in (chosen_outside, usable_cores):
        cached.cache_clear()
    return get_threads()


def get_threads() -> int:
    """Return the number of threads that kernels on the CPU use.

    Returns
    -------
    int
        The number that `fastrec.set_threads` set, else that of the environment, else the usable cores.

    Raises
    ------
    ValueError
        If the environment variable that gives the number does not hold a whole number.

    Examples
    --------
    >>> import fastrec
    >>> fastrec.get_threads() >= 1
    True
    """
    return _scoped.get() or _chosen or chosen_outside() or usable_cores()


@contextlib.contextmanager
def limit_threads(n: int) -> Iterator[None]:
    """Use at most n threads inside a ``with`` block, in this thread of Python or task only."""
    token = _scoped.set(min(n, get_threads()))
    try:
        yield
    finally:
        _scoped.reset(token)


@contextlib.contextmanager
def borrow_team(team: Team | None) -> Iterator[None]:
    """Let the threads of somebody else do the tasks inside a ``with`` block, None for those of the pool."""
    token = _team.set(team)
    try:
        yield
    finally:
        _team.reset(token)


@functools.cache
def chosen_outside() -> int | None:
    """The number that the environment asks for, at most the machine's cores, or None."""
    for name in ("FASTREC_NUM_THREADS", "NUMBA_NUM_THREADS"):
        if value := os.environ.get(name):
            if not (value.isascii() and value.isdigit() and int(value[:9])):
                raise ValueError(f"{name} is {value!r}; it must be a whole number, 1 or more")
            return min(int(value[:9]), os.cpu_count() or 1)
    return None


@functools.cache
def usable_cores() -> int:
    """Cores that this process may use, by its affinity and the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, quota(Path("/")))))


def quota(root: Path) -> float:
    """Cores that control groups of Linux grant this process, of both versions; infinite without a limit."""
    least = math.inf
    try:
        groups = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return least
    for _, controllers, name in groups:
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("" if not controllers else "cpu")
        # Inside of a container the name may be that outside of it: the root is then what counts.
        place = top / name.strip("/")
        for group in (place, *place.parents):
            if not group.is_relative_to(top):
                break
            with contextlib.suppress(OSError, ValueError):
                if controllers:
                    limit = (group / "cpu.cfs_quota_us").read_text()
                    period = (group / "cpu.cfs_period_us").read_text()
                else:
                    limit, period = (group / "cpu.max").read_text().split()
                if limit != "max" and int(limit) > 0:
                    least = min(least, int(limit) / int(period))
    return least


class Job:
    """The tasks of one call of a kernel: threads call `take` until it returns that nothing is left."""

    def __init__(self, take: Callable[[], bool], stop: Callable[[], object]) -> None:
        self.take, self.stop = take, stop
        self.lock, self.ended = threading.Lock(), threading.Lock()
        self.ended.acquire()
        self.open, self.helpers = True, 0
        self.core = core_of_thread()
        self.error: BaseException | None = None

    def help(self) -> None:
        """Do tasks in a thread of the pool."""
        with self.lock:
            if not self.open:
                return
            self.helpers += 1
        leave_core(self.core)
        self.do_tasks()
        with self.lock:
            self.helpers -= 1
            if not self.open and not self.helpers:
                self.ended.release()

    def do_tasks(self) -> None:
        """Do tasks in a thread that cannot raise."""
        try:
            while self.take():
                pass
        except BaseException as error:
            self.error = error
            self.stop()

    def run(self, helpers: int) -> None:
        """Do tasks in the calling thread and in helpers, which have ended when this returns.

        Only a second Ctrl-C leaves helpers behind, at the tasks that they have begun.
        """
        try:
            if (team := _team.get()) is not None:
                team(self.do_tasks, helpers + 1)
            else:
                pool.offer(self, helpers)
                while self.take():
                    pass
            self.close()
        except BaseException:
            self.stop()
            self.close()
            raise
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Let no more threads begin, and wait for those that have."""
        with self.lock:
            self.open = False
            waiting = self.helpers > 0
        if waiting:
            # An interrupt after the lock is acquired releases it, so that it can be waited for again.
            with self.ended:
                pass
        self.take = self.stop = nothing_left  # the pool may hold the job longer than its arrays should live


@functools.cache
def core_number() -> Callable[[], int] | None:
    """The function of the C library that gives the core on which a thread runs, where there is one."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    import ctypes

    try:
        return ctypes.CDLL(None).sched_getcpu
    except (AttributeError, OSError):
        return None


def core_of_thread() -> int:
    """The core on which the calling thread runs, -1 if unknown."""
    number = core_number()
    return -1 if number is None else number()


def leave_core(core: int) -> None:
    """Keep the calling thread, one of the pool, off a core if it runs there.

    After a pause Linux may wake a thread on the core of the one that woke it, and let both share that core
    for some 50 ms before it moves one of them.
    """
    with contextlib.suppress(OSError):
        if core >= 0 and core_of_thread() == core and len(cores := os.sched_getaffinity(os.getpid())) > 1:
            os.sched_setaffinity(0, cores - {core})


def nothing_left() -> bool:
    return False


class Pool:
    """Threads that wait for jobs; their number only grows."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Job | None] = SimpleQueue()
        self.threads: list[threading.Thread] = []
        self.lock = threading.Lock()
        self.closed = False
        self.most = WAITING

    def offer(self, job: Job, helpers: int) -> None:
        """Let a number of threads help with a job."""
        if len(self.threads) < helpers:
            self.grow(helpers)
        if self.jobs.qsize() > self.most:
            self.forget_ended()
        for _ in range(helpers):
            self.jobs.put(job)

    def grow(self, size: int) -> None:
        with self.lock:
            while len(self.threads) < size and not self.closed:
                thread = threading.Thread(target=work, args=(self.jobs,), name="fastrec", daemon=True)
                with uninterrupted():
                    try:
                        thread.start()
                    except RuntimeError:  # the system has no more threads, or Python is about to end
                        return
                    self.threads.append(thread)

    def forget_ended(self) -> None:
        """Drop jobs that ended while all threads were busy with those of other callers."""
        with self.lock:
            waiting: list[Job | None] = []
            with contextlib.suppress(Empty):
                while True:
                    waiting.append(self.jobs.get_nowait())
            for job in waiting:
                if job is None or job.open:
                    self.jobs.put(job)
            self.most = WAITING + 2 * self.jobs.qsize()

    def close(self) -> None:
        """End the threads, so that none runs Python code when the interpreter ends."""
        with self.lock:
            self.closed = True
            for _ in self.threads:
                self.jobs.put(None)
            latest = time.monotonic() + 1
            for thread in self.threads:
                thread.join(max(0.0, latest - time.monotonic()))
            self.threads.clear()


def work(jobs: SimpleQueue[Job | None]) -> None:
    """The life of a thread of the pool."""
    while job := jobs.get():
        job.help()
        del job  # and with it the arrays


pool = Pool()


def renew_pool() -> None:
    """Make a new pool in a child of a fork, which has none of the threads."""
    global pool
    pool = Pool()


atexit.register(lambda: pool.close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew_pool)
