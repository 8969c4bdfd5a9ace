"""Compile all kernels that the card can run into CuPy's cache on disk, for use by later steps."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import fastrec.kernels.gpu.module as cuda

from .formatting import error_line
from .kernels import instances
from .machine import cpus
from .report import Report

MOST_PROCESSES = 32  # each holds a context of the card, half a gigabyte


def compiled(file: str, name: str) -> float:
    """Return the seconds until a kernel can be launched."""
    begin = time.perf_counter()
    cuda.kernel(file, name, 0, False)
    return time.perf_counter() - begin


def compile_all(report: Report) -> None:
    """Compile as launches do, the longest sources first; an error at the end names what failed.

    Whether the blocks of a launch meet at a barrier does not affect what CuPy keeps.
    """
    begin = time.perf_counter()
    seconds, failed = defaultdict[str, list[float]](list), []
    size = {file: len(cuda.source(file)) for file in cuda.KERNELS}
    kernels = sorted(instances(), key=lambda each: -size[each[0]])
    total = Counter(file for file, _ in kernels)
    processes = min(cpus() or 1, MOST_PROCESSES)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        tasks = {pool.submit(compiled, *kernel): kernel for kernel in kernels}
        for task in as_completed(tasks):
            file, name = tasks[task]
            try:
                seconds[file].append(task.result())
            except Exception as error:
                failed.append(f"{name} of {file}.cu")
                report.row(failed[-1], error=error_line(error))
                report.note(f"{failed[-1]}: {error}")
                continue
            each = seconds[file]
            row = {"kernels": len(each), "seconds": sum(each), "longest": max(each)}
            report.row(f"{file}.cu", checked=len(each) == total[file], **row)
    wall, spent = time.perf_counter() - begin, sum(map(sum, seconds.values()))
    report.row("all kernels", checked=not failed, wall_s=wall, seconds=spent, processes=processes)
    assert not failed, f"not compiled: {', '.join(failed)}"
