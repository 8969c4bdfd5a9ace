"""The figure of a `fastrec bench` report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .figures import MEASURED, THEORY, log_scale, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..bench.report import Report


CHARACTERS = 44  # that fit on a line between the left axes


def bench_figure(report: Report) -> Figure:
    """Draw how much faster than its baseline each job of a report is, and how close to its limit.

    Parameters
    ----------
    report : fastrec.bench.report.Report
        Result of `fastrec.bench.report.run`, or a file of ``fastrec bench --out``, read by ``Report.load``.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels: ratios of times on the left, percentages of the limiting rate on the right.

    Examples
    --------
    >>> from fastrec.bench.report import Report, Row
    >>> row = Row("overlaps", 0.01, 0.14, 14.0, "NumPy SGEMM", "bit products", 0.8, {"overlaps": 0.01})
    >>> report = Report("a machine", "0.1.0", "2026-11-21", 2, {"SGEMM": 1e11}, [row])
    >>> figure = fastrec.plot.bench_figure(report)
    >>> [ax.get_xlabel() for ax in figure.axes]
    ['times faster than the baseline', '% of the rate that limits it']
    """
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
    log_scale(left, "x")
    left.set_xlim(begin, end)
    left.set_yticks(places, [row.name for row in report.rows], fontsize=8)
    left.set_xlabel("times faster than the baseline")
    right.barh(places, [100 * row.share for row in report.rows], color=MEASURED, height=0.6)
    right.axvline(100, color=THEORY, linewidth=0.8)
    right.set_xlim(0, max(110, *(120 * row.share for row in report.rows)))
    right.set_xlabel("% of the rate that limits it")
    figure.suptitle(report.machine, fontsize=10)
    return figure
