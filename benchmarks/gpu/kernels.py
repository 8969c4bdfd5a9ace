"""Run every kernel once at awkward sizes and compare it with the reference in NumPy, one row per case.

Kernels in which blocks wait for each other can hang, and therefore come last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any
from unittest.mock import patch

import fastrec.kernels.gpu.module as cuda
from fastrec.backend import device

from . import cases_hopfield, cases_recurrent
from .cases_hopfield import Cases
from .formatting import error_line
from .measure import run_all
from .report import Report

FILES = {  # of which a step launches every kernel
    "hopfield": ("random", "packing", "product", "fields", "recall", "glauber", "dense", "capacity"),
    "recurrent": (
        *("cells", "jordan", "gru_before", "normalised", "generation", "reservoir", "stepping"),
        *("attention", "ctc", "decoding", "time_loop", "training"),
    ),
    "teams": ("sweep", "learning"),
}


def instances(files: tuple[str, ...] = tuple(cuda.KERNELS)) -> list[tuple[str, str]]:
    """Return file and name of all kernels that the current device can run; clusters need 9.0 or later."""
    clusters = int(device().capability.partition(".")[0]) >= 9
    names = [(file, name) for file in files for name in cuda.KERNELS[file]]
    return [(file, name) for file, name in names if clusters or not name.startswith("cluster_")]


@contextmanager
def noted() -> Iterator[set[tuple[str, str]]]:
    """Yield the files and names of the kernels launched in the `with` block."""
    launched: set[tuple[str, str]] = set()
    kernel = cuda.kernel

    def note(file: str, name: str, *rest: Any) -> Any:
        launched.add((file, name))
        return kernel(file, name, *rest)

    with patch.object(cuda, "kernel", note):
        yield launched


def run(report: Report, files: tuple[str, ...], *cases: Cases) -> None:
    """Run each case with its row, marked as not checked until the case ends; a last row has the kernels
    that no case launched."""

    def tried(name: str, case: Callable[[], object]) -> None:
        report.row(name)
        begin = time.perf_counter()
        try:
            case()
        except Exception as error:
            report.row(name, error=error_line(error), first_s=time.perf_counter() - begin)
            raise
        report.row(name, checked=True, first_s=time.perf_counter() - begin)

    def all_launched() -> None:
        missing = [f"{name} of {file}.cu" for file, name in instances(files) if (file, name) not in launched]
        assert not missing, f"no case has launched {', '.join(missing)}"

    with noted() as launched:
        every = chain(*cases, [(f"every kernel of {', '.join(files)} was launched", all_launched)])
        run_all(report, ((name, partial(tried, name, case)) for name, case in every))


def hopfield(report: Report) -> None:
    run(report, FILES["hopfield"], cases_hopfield.cases())


def recurrent(report: Report) -> None:
    run(report, FILES["recurrent"], cases_recurrent.cases())


def teams(report: Report) -> None:
    run(report, FILES["teams"], cases_hopfield.cases_of_the_grid(), cases_recurrent.cases_of_teams())
