"""Threads of the CPU kernels: how many, any number of callers, forks, errors, Ctrl-C, the process's end."""

from __future__ import annotations

import concurrent.futures
import functools
import linecache
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrec
from fastrec.kernels.cpu import hopfield, parallel, threads
from fastrec.kernels.cpu.arrays import empty
from fastrec.kernels.cpu.parallel import tasks

VARIABLES = ("FASTREC_NUM_THREADS", "NUMBA_NUM_THREADS")
Threads = Callable[[int | None], int]


@tasks(lambda values: (len(values), 1e9))
def count_up(task, values):
    """Add 1 to a value, after some work that takes longer the higher its number is."""
    total = 0
    for i in range(100 * task):
        total += i & task
    values[task] += 1 + (total < 0)


@tasks(lambda done, rounds: (len(done), 1e12))
def work_long(task, done, rounds):
    """Work for so many rounds, then set a number."""
    total = 1.0
    for i in range(rounds):
        total = math.sqrt(total + i)
    done[task] = total


@tasks(lambda n: (8, 1e9))
def ask_for_memory(task, n):
    """Ask for more memory than there is, in one of the tasks."""
    if task == 3:
        empty((n, n), np.float64)


@pytest.fixture(autouse=True)
def chosen(monkeypatch: pytest.MonkeyPatch) -> Threads:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    fastrec.set_threads(None)
    yield fastrec.set_threads
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    fastrec.set_threads(None)


@pytest.mark.parametrize("number", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 100, 1001])
def test_each_task_is_done_once(number: int, size: int, threads: Threads) -> None:
    threads(number)
    values = np.zeros(size, np.int64)
    for _ in range(3):
        count_up(values)
    assert (values == 3).all()


@pytest.mark.parametrize("cost", [0, 1, 1e5, 1e8, 1e15])
def test_a_wrong_estimate_of_the_cost_changes_nothing(cost: float, chosen: Threads) -> None:
    chosen(3)
    values = np.zeros(77, np.int64)
    count_up.deal(len(values), cost, values)
    assert (values == 1).all()


def test_small_jobs_run_on_the_caller(chosen: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen(4)
    offered = []
    monkeypatch.setattr(threads.pool, "offer", lambda job, helpers: offered.append(helpers))
    values = np.zeros(50, np.int64)
    count_up.deal(50, threads.SMALL - 1, values)
    assert not offered
    for cost, helpers in ((threads.SMALL, 1), (2 * threads.SMALL, 2), (1e9, 3)):
        count_up.deal(50, cost, values)
        assert offered.pop() == helpers
    chosen(1)
    count_up.deal(50, 1e9, values)
    assert not offered and (values == 5).all()


def test_fields_of_few_patterns_are_shared(chosen: Threads) -> None:
    units, m = np.zeros((1, 1000, 1), np.uint64), np.zeros((1, 100, 1), np.int32)
    for kernel in (hopfield.local_fields, hopfield.is_stable):
        count, nanoseconds = kernel.work(units, None, m, False, None)
        assert count == 100 and nanoseconds > 2 * threads.SMALL


def test_the_number_is_set_by_call_environment_and_cores(
    chosen: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = threads.usable_cores()
    assert fastrec.get_threads() == cores <= os.cpu_count()
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert chosen(None) == fastrec.get_threads() == 1
    monkeypatch.setenv("FASTREC_NUM_THREADS", "1000000")
    assert chosen(None) == os.cpu_count()
    assert chosen(7) == fastrec.get_threads() == 7
    with threads.limit_threads(3):
        assert fastrec.get_threads() == 3
        with threads.limit_threads(5):
            assert fastrec.get_threads() == 3
    assert fastrec.get_threads() == 7
    assert chosen(np.int64(2)) == 2


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", True, 1025, 2**70, np.nan])
def test_numbers_that_are_none_are_refused(n: object, chosen: Threads) -> None:
    chosen(2)
    with pytest.raises((ValueError, TypeError), match=r"^n "):
        fastrec.set_threads(n)  # type: ignore[arg-type]
    assert fastrec.get_threads() == 2


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", " ", "²"])
@pytest.mark.parametrize("name", VARIABLES)
def test_an_environment_that_is_no_number(
    name: str, value: str, chosen: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        chosen(None)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, math.inf),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "50000 100000\n",
            },
            0.5,
        ),
        # Inside of a container the name is that of the host.
        ({"proc/self/cgroup": "0::/docker/x\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        (
            {
                "proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/c\n0::/\n",
                "sys/fs/cgroup/cpu/c/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/c/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/c\n",
                "sys/fs/cgroup/cpu/c/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/c/cpu.cfs_period_us": "100000\n",
            },
            math.inf,
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "damaged\n"}, math.inf),
    ],
)
def test_quotas_of_control_groups(files: dict[str, str], cores: float, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.quota(tmp_path) == cores


def test_many_callers_at_once(threads: Threads) -> None:
    threads(3)
    net = fastrec.HopfieldNetwork(100, backend="cpu")
    net.store(fastrec.random_patterns(8, 100, seed=1))
    probes = fastrec.random_patterns(30, 100, seed=2)
    expected = net.recall(probes, seed=0).states

    def recall(_: int) -> bool:
        values = np.zeros(101, np.int64)
        count_up(values)
        return bool((values == 1).all() and np.array_equal(net.recall(probes, seed=0).states, expected))

    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        assert all(executor.map(recall, range(60)))


def test_an_executor_of_threads(chosen: Threads) -> None:
    expected = fastrec.capacity_scaling([20, 150], trials=40, seed=5, backend="cpu")
    chosen(2)
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        found = fastrec.capacity_scaling([20, 150], trials=40, seed=5, backend="cpu", executor=executor)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.array_equal(ours.counts, theirs.counts)
    assert fastrec.get_threads() == 2


def test_an_error_of_a_task_reaches_the_caller(threads: Threads) -> None:
    for number in (1, 2, 5):
        threads(number)
        for _ in range(3):
            with pytest.raises(MemoryError):
                ask_for_memory(2**24)
    values = np.zeros(33, np.int64)
    count_up(values)  # and the pool is as it was
    assert (values == 1).all()


def test_a_pool_without_more_threads_does_all_the_same(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(parallel.threads, "pool", parallel.threads.Pool())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads(4)
    values = np.zeros(50, np.int64)
    count_up(values)
    assert (values == 1).all()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timers that send signals")
def test_ctrl_c_is_heard_between_tasks(chosen: Threads) -> None:
    chosen(2)
    done, rounds = np.zeros(4000), 2_000_000  # some 10 s
    work_long(done[:2], 10)

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            work_long(done, rounds)
    finally:
        signal.signal(signal.SIGALRM, before)
    ended = np.count_nonzero(done)
    assert ended < len(done)
    time.sleep(0.05)
    assert np.count_nonzero(done) == ended  # nobody works on
    work_long(done[:10], 10)


class Interrupted:
    """Raises KeyboardInterrupt before a line of the module of threads, counted as they are run."""

    def __init__(self, line: int) -> None:
        self.left = line

    def __call__(self, frame: Any, event: str, argument: object) -> Any:
        if frame.f_code.co_filename != threads.__file__:
            return None
        # No signal is heard at these: a with block sets its lock free before.
        line = linecache.getline(threads.__file__, frame.f_lineno).lstrip()
        self.left -= event == "line" and not line.startswith(("with ", "try:", "pass"))
        if event == "line" and self.left == 0:
            self.left = -1
            raise KeyboardInterrupt
        return self


@pytest.mark.parametrize("line", range(2, 32))
def test_ctrl_c_at_any_line_leaves_no_thread_at_work(line: int) -> None:
    left, working, lock, before = [12], [0], threading.Lock(), sys.gettrace()

    def take() -> bool:
        with lock:
            left[0] -= 1
            working[0] += 1
        time.sleep(0.0002)
        with lock:
            working[0] -= 1
        return left[0] > 0

    job = threads.Job(take, functools.partial(left.__setitem__, 0, 0))
    try:
        sys.settrace(Interrupted(line))
        job.run(2)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    assert not job.open and not job.helpers and working[0] == 0 and left[0] <= 0


def test_a_busy_pool_keeps_no_jobs_that_have_ended() -> None:
    pool, ended = threads.Pool(), threads.Job(lambda: False, lambda: None)
    pool.closed, ended.open = True, False  # no thread takes any
    waiting = threads.Job(lambda: False, lambda: None)
    for _ in range(5000):
        pool.offer(waiting, 1)
        pool.offer(ended, 3)
    offered = [pool.jobs.get() for _ in range(pool.jobs.qsize())]
    assert offered.count(waiting) == 5000 and offered.count(ended) < 20_000 - 5000
    pool.most = threads.WAITING
    for _ in range(5000):
        pool.offer(ended, 3)
    assert pool.jobs.qsize() < threads.WAITING + 4


def recalled(net: fastrec.HopfieldNetwork, probes: np.ndarray, queue: object) -> None:
    queue.put(net.recall(probes, seed=0).states)  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is one of the tools of Linux")
def test_a_thread_of_the_pool_keeps_from_the_core_of_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    before, kept = os.sched_getaffinity(0), set()
    assert threads.core_of_thread() in before
    core = min(before)
    monkeypatch.setattr(threads, "core_of_thread", lambda: core)

    def work() -> None:
        threads.leave_core(core)
        kept.update(os.sched_getaffinity(0) ^ before if len(before) > 1 else {core})
        assert kept == {core}
        threads.leave_core(-1)

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        executor.submit(work).result()
    assert len(kept) == 1 and os.sched_getaffinity(0) == before


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_children_compute(method: str, threads: Threads) -> None:
    threads(2)
    net = fastrec.HopfieldNetwork(70, backend="cpu")
    net.store(fastrec.random_patterns(5, 70, seed=1))
    probes = fastrec.random_patterns(9, 70, seed=2)
    expected = net.recall(probes, seed=0).states  # after kernels have run on the threads
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    for _ in range(2):
        child = context.Process(target=recalled, args=(net, probes, queue))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert np.array_equal(queue.get(), expected)


ENDS = """
import threading, time
import fastrec
from fastrec.kernels.cpu import threads
threads.SMALL = threads.SHARE = 1
fastrec.set_threads(3)
def recall():
    while True:
        fastrec.random_patterns(50, 100, seed=1, backend="cpu")
recall_once = fastrec.random_patterns(50, 100, seed=1, backend="cpu")
{}
print("end", flush=True)
"""


@pytest.mark.parametrize(
    "rest",
    [
        "",
        pytest.param(
            "threading.Thread(target=recall, daemon=True).start(); time.sleep(0.2)", marks=pytest.mark.slow
        ),
        pytest.param(
            "import atexit; atexit.register(lambda: fastrec.random_patterns(50, 100, backend='cpu'))",
            marks=pytest.mark.slow,
        ),
        "import os; pid = os.fork(); os._exit(0) if pid == 0 else os.waitpid(pid, 0)",
        pytest.param("raise SystemExit(print('end', flush=True))", marks=pytest.mark.slow),
    ],
)
def test_the_interpreter_ends_quietly(rest: str) -> None:
    if "fork" in rest and not hasattr(os, "fork"):
        pytest.skip("Windows has no fork")
    for _ in range(3):
        command = [sys.executable, "-W", "ignore", "-c", ENDS.format(rest)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_the_choice_needs_neither_numba_nor_numpy() -> None:
    program = (
        "import sys, fastrec; fastrec.set_threads(2); print(fastrec.get_threads(), 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("2 False\n", "")


def test_no_threading_layer_of_numba_is_loaded() -> None:
    """They spin while they wait, end the process where two threads call, or are missing."""
    program = "import sys, fastrec; fastrec.capacity(20, 2, backend='cpu'); print([*sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "numba.np.ufunc" in done.stdout
    assert not [layer for layer in ("omppool", "tbbpool", "workqueue") if layer in done.stdout]
