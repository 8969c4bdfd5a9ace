"""Recall of many probes in all modes, checked by backend cpu, which compiles its kernels first."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .measure import Counts, equal, host, measure, network, run_all
from .report import Report

HOT = {"temperature": 0.5, "max_sweeps": 20, "average": 10}


def recall(report: Report) -> None:
    n, p, b = report.size((10_000, 1000, 100), (200, 20, 5))
    many = report.size(1000, 5)
    tiny_n, tiny_p, tiny_b, k = report.size((100, 10, 10, 4096), (40, 3, 2, 5))
    cases: list[tuple[str, tuple[int, int, int], Callable[[int, int], Counts], str, dict[str, Any]]] = [
        (
            # Fields of the start, n^2 multiply-adds a probe and the couplings (int16, beyond the caches) read
            # once; then a row of them read and added for each flip.
            "async recall from weights",
            (p, n, b),
            lambda sweeps, flips: (2 * n * n + 2 * n * flips, 2 * b * n * n + n * flips),
            "int32",
            {"representation": "weights"},
        ),
        (
            # Overlaps of the start and the fields of a sweep: n p multiply-adds each; overlaps again for each
            # flip.
            "async recall from patterns",
            (p, n, b),
            lambda sweeps, flips: (0, 2 * n * p * (b + sweeps) + 2 * p * flips),
            "b1",
            {"representation": "patterns"},
        ),
        (
            "async recall",
            (tiny_p, tiny_n, tiny_b),
            lambda sweeps, flips: (
                k * tiny_n * (tiny_p + tiny_b) / 4,
                2 * k * tiny_b * tiny_n**2 + tiny_n * flips,
            ),
            "int32",
            {"networks": k},
        ),
        (
            # As recall: updates are few operations beside the couplings of units that flip.
            "Glauber dynamics from weights, 20 sweeps",
            (p, n, b),
            lambda sweeps, flips: (2 * n * n + 2 * n * flips, 2 * b * n * n + n * flips),
            "int32",
            {"representation": "weights", **HOT},
        ),
        (
            # Overlaps and fields in each step.
            "parallel Glauber dynamics from patterns, 20 steps",
            (p, n, many),
            partial(step_products, 4 * n * p),
            "b1",
            {"representation": "patterns", "update": "sync", **HOT},
        ),
    ]
    for kept, each, unit in (("weights", 2 * n * n, "int8"), ("patterns", 4 * n * p, "b1")):
        count: Callable[[int, int], Counts] = partial(step_products, each)
        how = {"representation": kept, "update": "sync"}
        cases.append((f"sync recall from {kept}", (p, n, many), count, unit, how))
    run_all(report, [(case[0], partial(beside_cpu, report, *case)) for case in cases])


def step_products(each: float, sweeps: int, flips: int) -> Counts:
    """Return the count of a recall, where `each` is the number of operations of a step of a probe."""
    return 0, each * sweeps


def beside_cpu(
    report: Report,
    name: str,
    sizes: tuple[int, int, int],
    count: Callable[[int, int], Counts],
    unit: str,
    how: dict[str, Any],
) -> None:
    (p, n, b), networks = sizes, how.get("networks")
    options = {name: how[name] for name in ("networks", "representation") if name in how}
    how = {"seed": 0, **{name: value for name, value in how.items() if name not in options}}
    net, probes = network("gpu", p, n, b, **options)

    def check(result: Any) -> None:
        other, same_probes = network("cpu", p, n, b, **options)
        equal(result, other.recall(same_probes, **how))

    which = f"{networks} networks of " if networks else ""
    measure(
        report,
        f"{name}, {which}n = {n}, p = {p}, {b} probes with 10 % flipped",
        lambda: net.recall(probes, **how),
        check,
        lambda r: count(int(host(r.sweeps).sum()), int(host(r.flips).sum())),
        unit,
    )
