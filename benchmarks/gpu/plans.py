"""Steps of recurrent networks by the cheapest plan of each kind: what the planner's estimates are worth.

A team hands on its hidden units within a block, in a cluster, or through global memory, as
kernels/gpu/recurrent.py decides by estimates.  The rows show the estimate of each kind beside its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import cupy

from fastrec.kernels.gpu import recurrent as planner
from fastrec.kernels.gpu.recurrent import Plan

from .measure import close, measure, run_all
from .recurrent import NETWORKS, SMALL, arrays, both, network, product_of, products, tolerance
from .report import Report


def plans(report: Report) -> None:
    run_all(report, [case for each in report.size(NETWORKS, SMALL) for case in networks(report, *each[:4])])


def networks(report: Report, cell: str, b: int, h: int, precisions: tuple[str, ...]) -> Iterator[Any]:
    precision = precisions[0]
    for backward in (False, True):
        for clocks, plan in best_of_each_kind(cell, b, h, precision, backward):
            way = "backward" if backward else "forward"
            name = f"{cell}, B = {b}, H = {h}, {precision}, {way} by {kind(plan)}"
            yield name, partial(row, report, name, cell, b, h, precision, backward, clocks, plan)


def kind(plan: Plan) -> str:
    """How a team hands on its hidden units, in words."""
    how = "a cluster" if plan.clustered else "global memory" if plan.members > 1 else "one block"
    return f"{how}, {plan.members} members, {plan.rows} rows"


def best_of_each_kind(cell: str, b: int, h: int, precision: str, backward: bool) -> list[tuple[float, Plan]]:
    """The cheapest plan with one block, with a cluster, and with each number of members, if it takes at most
    twice the time of the cheapest of all."""
    card, product = planner.this_card(), product_of(precision)
    found = sorted(planner.candidates(cell.capitalize(), product, 1, b, h, backward, card))
    best: dict[tuple[bool, int], tuple[float, Plan]] = {}
    for clocks, plan in found:
        best.setdefault((plan.clustered, plan.members), (clocks, plan))
    return [each for each in best.values() if each[0] <= 2 * found[0][0]]


def row(
    report: Report,
    name: str,
    cell: str,
    b: int,
    h: int,
    precision: str,
    backward: bool,
    clocks: float,
    plan: Plan,
) -> None:
    t = report.size(1024, 4)
    rnn, (x, d) = network("gpu", cell, h, precision), map(cupy.asarray, arrays(b, t, h))

    def run() -> dict[str, Any]:
        return both(rnn, x, d) if backward else {"hidden": rnn.forward(x).hidden}

    expected, chosen = run(), planner.plan

    def forced(*case: Any) -> Plan:
        return plan if case[5] == backward else chosen(*case)

    with patch.object(planner, "plan", forced):
        measure(
            report,
            name,
            run,
            lambda result: close(result, {k: v.get() for k, v in expected.items()}, 4 * tolerance(precision)),
            lambda _: (0, products(cell, b, t, h, backward)),
            precision,
            steps=t,
        )
    report.row(f"estimate: {name}", checked=True, clocks=clocks)
