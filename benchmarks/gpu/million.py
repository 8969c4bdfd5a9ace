"""Networks of a million units: few patterns, compared by digest, then as many as fit on the card."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np

from fastrec.backend import device_memory
from fastrec.validation import available_memory

from .measure import Counts, digest, equal, free_memory, host, measure, network, run_all, stored
from .report import Report, Skipped

# Patterns and units of the recalls that are stored: so many patterns that a few bits come back wrong, and as
# many units as there are.
FEW, SMALL = ((10_000, 100_000), (10_000, 1_000_000)), ((60, 400),)
BYTES = 0.4  # of memory for each bit of a pattern, at most


def recalled(backend: str, p: int, n: int) -> Any:
    """Return the recall, from patterns, of the first of p patterns with 10 % flipped bits."""
    net, probe = network(backend, p, n, 1, representation="patterns")
    return net.recall(probe, seed=0)


def recall_digest(backend: str, p: int, n: int) -> str:
    return digest(recalled(backend, p, n))


def swept(p: int, n: int, result: Any) -> Counts:
    """Patterns read once for the overlaps of the start, the transpose in every sweep, a multiply-add for each
    bit; overlaps again for each flip."""
    sweeps, flips = int(host(result.sweeps).sum()), int(host(result.flips).sum())
    return n * p / 8 * (1 + sweeps), 2 * n * p * (1 + sweeps) + 2 * p * flips


def first_overlaps(backend: str, n: int, p: int = 16) -> list[float]:
    """Return the overlaps of the first pattern with 10 % flipped bits."""
    net, probe = network(backend, p, n, 1)
    return host(net.overlaps(probe))[0].tolist()


def million(report: Report) -> None:
    def few(p: int, n: int) -> None:
        net, probe = network("gpu", p, n, 1, representation="patterns")

        def check(result: Any) -> None:
            assert digest(result) == stored(f"recall, n = {n}, p = {p}"), "not what backend cpu gets"

        name = f"async recall of one probe with 10 % flipped, n = {n}, p = {p}"
        measure(report, name, lambda: net.recall(probe, seed=0), check, partial(swept, p, n), "b1")

    cases = [(f"n = {n}, p = {p}", partial(few, p, n)) for p, n in report.size(FEW, SMALL)]
    run_all(report, [*cases, ("many patterns", partial(many, report))])


def many(report: Report) -> None:
    """Generate 100 000 patterns, or as many as fit, sweep once, and recall twice with equal bits."""
    free_memory()
    n = report.size(1_000_000, 400)
    p = report.size(min(100_000, int(device_memory()[0] / BYTES / n) // 64 * 64), 20)
    made: list[Any] = []

    def make() -> None:
        made.append(network("gpu", p, n, 1, representation="patterns"))
        made[0][0].is_stable(made[0][1])  # recall works on the transpose, which is made when first needed

    def check_made(_: None) -> None:
        expected = np.array(stored(f"overlaps, n = {n}"))
        equal(made[0][0].overlaps(made[0][1])[0, : len(expected)], expected)

    measure(
        report,
        f"patterns made and stored, n = {n}, p = {p}",
        make,
        check_made,
        # Patterns written, read for the transpose, which is written.
        lambda _: (3 * n * p / 8, 60 * n * p / 128),
        "int32",
        repeat=False,
        seconds=30,
    )
    net, probe = made[0]
    digests: list[str] = []

    def check_sweep(result: Any) -> None:
        assert int(host(result.sweeps)[0]) == 1 and int(host(result.flips)[0]) > 0, "nothing turned"

    def check_recall(result: Any) -> None:
        assert host(result.converged).all() and host(net.is_stable(result.states)).all(), "no fixed point"
        overlap = float(host(net.overlaps(result.states))[0, 0])
        assert overlap > 0.9, f"the overlap with the pattern is {overlap}"
        digests.extend(digest(each) for each in (result, net.recall(probe, seed=0)))
        assert len(set(digests)) == 1, "another result the second time"

    measure(
        report,
        f"one async sweep of one probe, n = {n}, p = {p}",
        lambda: net.recall(probe, max_sweeps=1, seed=0),
        check_sweep,
        partial(swept, p, n),
        "b1",
        seconds=1,
    )
    measure(
        report,
        f"async recall of one probe with 10 % flipped to the fixed point, n = {n}, p = {p}",
        lambda: net.recall(probe, seed=0),
        check_recall,
        partial(swept, p, n),
        "b1",
        repeat=False,
        seconds=10,
        memory=40e9,
    )
    report.row(f"result of the recall, n = {n}, p = {p}", checked=True, sha256=digests[0])


def on_cpu(report: Report) -> None:
    """Compare the whole result with backend cpu, which takes minutes and 50 GB; not a default step."""
    p, n = report.size((100_000, 1_000_000), (20, 400))
    needed, free = n * p // 2, available_memory() or 0  # patterns and their transpose, twice for the making
    if free < needed:
        raise Skipped(f"backend cpu needs {needed / 1e9:.3g} GB of memory, {free / 1e9:.3g} are free")
    results = []
    for backend in ("gpu", "cpu"):
        begin = time.perf_counter()
        results.append(recalled(backend, p, n))
        report.note(f"n = {n}, p = {p} on {backend}: {time.perf_counter() - begin:.3g} s")
        free_memory()
    equal(*results)
    report.row(f"recall as on backend cpu, n = {n}, p = {p}", checked=True, sha256=digest(results[0]))
