"""Figures and axes that a notebook shows by themselves, without pyplot and without a magic command."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..display import png


class NotebookAxes(Axes):
    """Axes that a notebook shows as the figure that they are in."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        figure = self.get_figure()
        return png(figure.figure) if figure is not None else None  # None once they are removed from it


class NotebookFigure(Figure):
    """A figure that a notebook shows, and whose axes it shows."""

    def add_subplot(self, *args: Any, **options: Any) -> Axes:
        if not options.keys() & {"axes_class", "projection", "polar"}:
            options["axes_class"] = NotebookAxes
        return super().add_subplot(*args, **options)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return png(self)
