"""Figures and axes that a notebook displays by itself, without pyplot or a magic command."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..display import png


class NotebookAxes(Axes):
    """Axes that a notebook displays as the figure to which they belong."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        figure = self.get_figure()
        return png(figure.figure) if figure is not None else None  # None once removed from their figure


class NotebookFigure(Figure):
    """A figure that a notebook displays, and so do its axes."""

    def add_subplot(self, *args: Any, **options: Any) -> Axes:
        if not options.keys() & {"axes_class", "projection", "polar"}:
            options["axes_class"] = NotebookAxes
        return super().add_subplot(*args, **options)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return png(self)
