"""Local fields of many states, checked by backend cpu, which compiles its kernels first."""

from __future__ import annotations

from typing import Any

from .measure import equal, measure, network
from .report import Report


def fields(report: Report) -> None:
    p, n, b = report.size((3000, 32768, 1024), (70, 300, 5))
    net, probes = network("gpu", p, n, b)

    def check(result: Any) -> None:
        other, same_probes = network("cpu", p, n, b)
        equal(result, other.local_fields(same_probes))

    measure(
        report,
        f"local fields, p = {p}, n = {n}, {b} states",
        lambda: net.local_fields(probes),
        check,
        # Patterns and their transpose read; overlaps written and read, fields written.  A multiply-add for
        # each unit of each pattern and state to the overlaps, and as many to the fields.
        lambda _: (n * p / 4 + 8 * b * p + 4 * b * n, 4 * b * n * p),
        "b1",
    )
