"""Timing of jobs, in alternation with their baselines, and of the kernels inside them."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..backend import kernels

Task = Callable[[], Any]
DOMAINS = ("hopfield", "capacity", "rnn", "generation", "stepping", "reservoir")


def seconds(task: Task) -> float:
    time.sleep(0.2)  # threads of BLAS and OpenMP spin for a while after the previous job
    begin = time.perf_counter()
    task()
    return time.perf_counter() - begin


def best(task: Task, rounds: int = 5) -> float:
    """Return the minimum time of several calls, after a first one that is not counted."""
    task()
    times = []
    for _ in range(rounds):
        time.sleep(0.1)
        begin = time.perf_counter()
        task()
        times.append(time.perf_counter() - begin)
    return min(times)


def repeated(task: Task, least: float = 0.1) -> tuple[Task, int]:
    """Return a task repeated to take `least` seconds, so that waking threads is negligible, and the count."""
    times = 1
    while True:

        def many(times: int = times) -> None:
            for _ in range(times):
                task()

        if best(many, 2) >= least:
            return many, times
        times *= 2


class Compared(NamedTuple):
    """Medians of a number of rounds in which a job and its baseline were timed one after the other.

    Attributes
    ----------
    ours, baseline : float
        Seconds for one unit of work.
    ratio : float
        How many times faster than the baseline the job is.
    noise : float
        Half of the range of the middle half of the ratios, relative to their median.
    rounds : int
        Number of rounds.
    """

    ours: float
    baseline: float
    ratio: float
    noise: float
    rounds: int


def in_turn(ours: Task, baseline: Task, each: tuple[int, int] = (1, 1), rounds: int = 5) -> Compared:
    """Time both alternately; `each` is the number of units of work that a call of either does."""
    times = [(seconds(ours) / each[0], seconds(baseline) / each[1]) for _ in range(rounds)]
    mine, theirs = zip(*times, strict=True)
    ratios = [b / a for a, b in times]
    ratio, noise = statistics.median(ratios), 0.0
    if rounds > 1:
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        noise = (high - low) / 2 / ratio
    return Compared(statistics.median(mine), statistics.median(theirs), ratio, noise, rounds)


@contextmanager
def kernel_times(backend: str) -> Iterator[dict[str, float]]:
    """Yield the seconds spent in each kernel during the `with` block, excluding nested kernel calls."""
    from ..kernels.cpu.parallel import Parallel

    spent: dict[str, float] = defaultdict(float)
    original = Parallel.deal
    replaced: list[tuple[Any, str, Callable[..., Any]]] = [(Parallel, "deal", original)]

    def timed(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **keywords: Any) -> Any:
            begin, before = time.perf_counter(), sum(spent.values())
            try:
                return kernel(*arguments, **keywords)
            finally:
                spent[name] += time.perf_counter() - begin - (sum(spent.values()) - before)

        return run

    def deal(self: Parallel, tasks: int, nanoseconds: float, *args: Any) -> None:
        timed(self.kernel.__name__, original)(self, tasks, nanoseconds, *args)

    try:
        Parallel.deal = deal  # type: ignore[method-assign]
        for module in (kernels(domain, backend) for domain in DOMAINS):
            for name in module.__all__:
                kernel = getattr(module, name)
                replaced.append((module, name, kernel))
                setattr(module, name, timed(name, kernel))
        yield spent
    finally:
        for module, name, kernel in replaced:
            setattr(module, name, kernel)


def processor_kind() -> str:
    """Return the name that LLVM has for this kind of processor, which models do not always tell, or ""."""
    import llvmlite.binding

    name = str(llvmlite.binding.get_host_cpu_name())
    return "" if name == "generic" else name


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists() and (
        model := re.search(r"model name\s*: (.*)", info.read_text())
    ):
        cpu = model[1]
    if kind := processor_kind():
        cpu = f"{cpu} ({kind})"
    affinity = getattr(os, "sched_getaffinity", None)
    return f"{cpu}, {len(affinity(0)) if affinity else os.cpu_count()} cores"


def format_seconds(s: float) -> str:
    return f"{s:.3g} s" if s >= 1 else f"{s * 1e3:.3g} ms" if s >= 1e-3 else f"{s * 1e6:.3g} µs"


def format_share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def format_count(number: float) -> str:
    """Return a number of operations as text, such as "1.43 G"."""
    for size, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"
