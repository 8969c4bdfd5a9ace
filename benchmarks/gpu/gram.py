"""Products of all patterns with each other, checked by backend cpu, which compiles its kernels first."""

from __future__ import annotations

from unittest.mock import patch

import cupy
import numpy as np

import fastrec
from fastrec.backend import kernels
from fastrec.kernels import words
from fastrec.kernels.gpu import products

from .measure import equal, host, measure
from .report import Report


def gram(report: Report) -> None:
    gpu, cpu = kernels("hopfield", "gpu"), kernels("hopfield", "cpu")
    p, n = report.size((8192, 65536), (130, 700))
    x = fastrec.random_patterns(p, n, backend="gpu", packed=True, seed=0).words[None]
    m, expected = cupy.empty((1, p, p), dtype=np.int32), np.empty((1, p, p), dtype=np.int32)
    signs = cupy.empty((p, n), dtype=np.int8)
    gpu.unpack(x[0], signs)
    floats = signs.astype(np.float32)

    def check(_: None) -> None:
        cpu.overlaps(host(x), host(x), n, expected)
        equal(m, expected)
        equal((floats @ floats.T).astype(np.int32), expected[0])  # float32 is exact up to 2^24

    baseline = "CuPy float32 X @ X.T", lambda: lambda: floats @ floats.T
    for tiles, long, rival in (("128 x 256", 0, baseline), ("128 x 128", 2**31, None)):
        with patch.object(products, "LONG", long):
            measure(
                report,
                f"Gram matrix of bits, p = {p}, n = {n}, tiles of {tiles}",
                lambda: gpu.overlaps(x, x, n, m),
                check,
                # Half of the products, with those of a pattern and itself: the matrix is symmetric.
                lambda _: (8 * p * words(n) + 4 * p * p, p * (p + 1) * n),
                "b1",
                baseline=rival,
                share=0.65,
                ratio=5,
            )
