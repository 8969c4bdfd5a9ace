"""Random patterns, checked by backend cpu, which compiles its kernels first."""

from __future__ import annotations

import fastrec
from fastrec.kernels import words

from .measure import equal, measure
from .report import Report


def patterns(report: Report) -> None:
    p, n = report.size((2**15, 2**20), (33, 1000))
    some = min(p, 256)
    measure(
        report,
        f"random patterns, p = {p}, n = {n}",
        lambda: fastrec.random_patterns(p, n, backend="gpu", packed=True, seed=0),
        lambda x: equal(x.words[:some], fastrec.random_patterns(some, n, backend="cpu", packed=True, seed=0)),
        # A block of 128 bits: 10 rounds of 2 multiplications, 2 three-input xors and 2 additions.
        lambda x: (8 * p * words(n), 60 * p * words(n) / 2),
        "int32",
    )
