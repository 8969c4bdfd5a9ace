"""Couplings of a network, checked by backend cpu, which compiles its kernels first."""

from __future__ import annotations

import cupy
import numpy as np

import fastrec
from fastrec.backend import kernels
from fastrec.kernels import words

from .measure import equal, host, measure
from .report import Report


def couplings(report: Report) -> None:
    gpu, cpu = kernels("hopfield", "gpu"), kernels("hopfield", "cpu")
    p, n = report.size((3000, 32768), (70, 300))
    units, weights = cupy.empty((1, n, words(p)), dtype=np.uint64), cupy.empty((1, n, n), dtype=np.int16)
    gpu.transpose(fastrec.random_patterns(p, n, backend="gpu", packed=True, seed=0).words[None], units)

    def check(_: None) -> None:
        expected = np.empty((1, n, n), dtype=np.int16)
        cpu.couplings(host(units), p, False, expected)
        equal(weights, expected)

    measure(
        report,
        f"couplings, p = {p}, n = {n}",
        lambda: gpu.couplings(units, p, False, weights),
        check,
        # Symmetric too.
        lambda _: (8 * n * words(p) + 2 * n * n, n * (n + 1) * p),
        "b1",
    )
