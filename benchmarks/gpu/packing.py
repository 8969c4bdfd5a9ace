"""Packing, unpacking and transposing states, checked by backend cpu, which compiles its kernels first."""

from __future__ import annotations

import cupy
import numpy as np

import fastrec
from fastrec.backend import kernels
from fastrec.kernels import words

from .measure import equal, host, measure
from .report import Report


def packing(report: Report) -> None:
    p, n = report.size((2**15, 10**5), (70, 300))
    gpu, cpu = kernels("hopfield", "gpu"), kernels("hopfield", "cpu")
    w, u = words(n), words(p)
    packed = fastrec.random_patterns(p, n, backend="gpu", packed=True, seed=0).words
    states = cupy.empty((p, n), dtype=np.int8)
    again, units = cupy.empty((p, w), dtype=np.uint64), cupy.empty((1, n, u), dtype=np.uint64)
    expected = np.empty((1, n, u), dtype=np.uint64)
    cpu.transpose(host(packed)[None], expected)
    some = min(p, 256)
    signs = fastrec.random_patterns(some, n, backend="cpu", seed=0)
    both = p * (n + 8 * w)
    for name, run, check, nbytes in (
        ("unpack", lambda: gpu.unpack(packed, states), lambda _: equal(states[:some], signs), both),
        ("pack", lambda: gpu.pack(states, again), lambda _: equal(again, packed), both),
        (
            "transpose",
            lambda: gpu.transpose(packed[None], units),
            lambda _: equal(units, expected),
            8 * (p * w + n * u),
        ),
    ):
        measure(
            report, f"{name}, p = {p}, n = {n}", run, check, lambda _, nbytes=nbytes: (nbytes, 0), "int32"
        )
