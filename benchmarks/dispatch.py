"""Measure the cost of sharing the tasks of a kernel between two threads, and of waking a thread.

python benchmarks/dispatch.py
"""

from __future__ import annotations

import hashlib
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable

import numpy as np

import fastrec
from fastrec.kernels.cpu import parallel

ROUNDS = 1000
PAUSE = 1e-3  # seconds after which the other thread sleeps


@parallel.parallel
def count_up(task, rounds, sums):
    """Do work that takes time in proportion to its rounds."""
    value = task
    for _ in range(rounds):
        value = value * 6364136223846793005 + 1442695040888963407
    sums[task] = value


def median_seconds(task: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        time.sleep(PAUSE)
        begin = time.perf_counter()
        task()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def hand_over() -> float:
    """Return the seconds for one Python thread to wake another: half of a round trip."""
    there, back = threading.Semaphore(0), threading.Semaphore(0)

    def answer() -> None:
        for _ in range(ROUNDS):
            there.acquire()
            back.release()

    def ask() -> None:
        there.release()
        back.acquire()

    thread = threading.Thread(target=answer)
    thread.start()
    seconds = median_seconds(ask) / 2
    thread.join()
    return seconds


def wake_up() -> float:
    """Return the seconds until a Python thread runs in parallel to the one that woke it and released the
    GIL."""
    call, work, times = threading.Semaphore(0), bytes(2**20), []

    def answer() -> None:
        for _ in range(ROUNDS):
            call.acquire()
            times.append(time.perf_counter())

    thread = threading.Thread(target=answer)
    thread.start()
    called = []
    for _ in range(ROUNDS):
        time.sleep(PAUSE)
        called.append(time.perf_counter())
        call.release()
        hashlib.sha256(work)
    thread.join()
    return statistics.median(there - here for here, there in zip(called, times, strict=True))


def measure() -> None:
    fastrec.set_threads(2)
    sums = np.zeros(2, np.int64)

    def seconds(tasks: int, nanoseconds: float, rounds: int) -> float:
        count_up.deal(tasks, nanoseconds, rounds, sums)
        return median_seconds(lambda: count_up.deal(tasks, nanoseconds, rounds, sums))

    handing, waking = hand_over(), wake_up()
    serial, shared = seconds(2, 0.0, 1), seconds(2, 1e9, 1)
    print(f"to hand over to another thread        {handing * 1e6:6.1f} µs")
    print(f"to wake one and go on                 {waking * 1e6:6.1f} µs")
    print(f"two empty tasks, done by the caller   {serial * 1e6:6.1f} µs")
    print(f"the same, shared by two threads       {shared * 1e6:6.1f} µs")
    for rounds in (100_000, 300_000, 1_000_000):
        one, both, alone = seconds(1, 0.0, rounds), seconds(2, 1e9, rounds), seconds(2, 0.0, rounds)
        print(
            f"tasks of {one * 1e6:5.0f} µs each: two take {alone * 1e6:5.0f} µs on one thread, "
            f"{both * 1e6:5.0f} on two, {(both - one) * 1e6:5.1f} more than one task"
        )
    limit = max(25e-6, 2 * waking)
    print(f"cost of sharing {(shared - serial) * 1e6:.1f} µs, asked for {limit * 1e6:.1f} µs at most")


def main() -> None:
    # Kept kernels are told apart by the sources of fastrec, not by those of this file.
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FASTREC_CACHE_DIR"] = folder
        measure()


if __name__ == "__main__":
    main()
