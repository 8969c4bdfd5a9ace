"""The figure of a report of `fastrec bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .figures import MEASURED, THEORY, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..bench.report import Report


CHARACTERS = 44  # that fit beside each other between the left axes


def bench_figure(report: Report) -> Figure:
    """How many times faster than its baseline, and how near its limit, each job of a report is."""
    figure = new_figure(8.4, 1.2 + 0.36 * len(report.rows))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.6, 1])
    places = range(len(report.rows), 0, -1)
    left.barh(places, [row.times for row in report.rows], color=MEASURED, height=0.6)
    begin, end = min(0.5, *(row.times for row in report.rows)), 10.0
    for place, row in zip(places, report.rows, strict=True):
        text, at = f" {row.times:.3g} x {row.against}", max(row.times, 1)
        left.annotate(text, (at, place), va="center", fontsize=8)
        end = max(end, begin * (at / begin) ** (CHARACTERS / max(1, CHARACTERS - len(text))))
    left.axvline(1, color=THEORY, linewidth=0.8)
    left.set_xscale("log")
    left.set_xlim(begin, end)
    left.set_yticks(places, [row.name for row in report.rows], fontsize=8)
    left.set_xlabel("times faster than what it is compared with")
    right.barh(places, [100 * row.share for row in report.rows], color=MEASURED, height=0.6)
    right.axvline(100, color=THEORY, linewidth=0.8)
    right.set_xlim(0, max(110, *(120 * row.share for row in report.rows)))
    right.set_xlabel("% of the rate that limits it")
    figure.suptitle(report.machine, fontsize=10)
    return figure
