"""compute-sanitizer on small sweeps, recalls, scans and products, for accesses out of bounds and races."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from functools import partial

import cupy
import numpy as np

from . import cases_hopfield as hopfield
from .measure import run_all
from .report import Report, Skipped

PLACES = ("compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer")
TOOLS = ("memcheck", "racecheck")
SCRIPT = "from gpu.sanitizer import small; small()"


def small() -> None:
    """Run inside the sanitizer, with a separate allocation for each array so that overruns are detected."""
    cupy.cuda.set_allocator(None)
    hopfield.overlaps(1, 2, 700, 130)
    hopfield.couplings(1, 63, 65)
    hopfield.recall_every_way((1, 3, 65, 64), False)
    hopfield.recall_weights((1, 3, 65, 64), False, np.int16, np.int32)
    hopfield.learning(1, 300, 5, 9)
    hopfield.scan(65, 2, 1, 12, (False, False, False))
    hopfield.patched(hopfield.recall_every_way, (1, 3, 65, 64), False, SMALL=0)


def sanitizer(report: Report) -> None:
    program = next(filter(None, map(shutil.which, PLACES)), None)
    if program is None:
        raise Skipped("compute-sanitizer is not on PATH, nor in /usr/local/cuda/bin")

    def run(tool: str) -> None:
        left = (report.deadline - 10 - time.monotonic()) / (len(TOOLS) - TOOLS.index(tool))
        command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", SCRIPT]
        begin = time.monotonic()
        done = subprocess.run(
            command,
            timeout=left,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        report.note(done.stdout)
        summary = [line for line in done.stdout.splitlines() if "SUMMARY" in line]
        report.row(tool, checked=not done.returncode, seconds=time.monotonic() - begin, summary=summary[:1])
        assert not done.returncode, f"{tool} ended with {done.returncode}"

    run_all(report, [(tool, partial(run, tool)) for tool in TOOLS])
