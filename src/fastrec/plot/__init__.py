"""Figures of capacities, retrieval and recalls, of learning curves and gradients.

The functions build `matplotlib.figure.Figure` objects directly and never touch pyplot: no display is needed,
no figure stays open behind the caller's back, and rcParams stay the caller's. matplotlib is imported inside
the functions, so that importing fastrec does not load it. A notebook shows a figure that is the value of a
cell, without `%matplotlib inline`; `save_figure` writes it. Of capacities and recalls, blue is measured, grey
is theory, orange is wrong; curves of one kind differ in colour and in dashes.
"""

from .bench import bench_figure
from .capacity import capacity_figure, capacity_scaling_figure, draw_capacity, draw_capacity_scaling
from .figures import require_format, save_figure
from .recall import (
    draw_energy,
    draw_oscillation,
    energy_figure,
    glyphs,
    oscillation_figure,
    recall_figure,
)
from .retrieval import (
    basin_figure,
    draw_basins,
    draw_retrieval,
    draw_success,
    retrieval_figure,
    success_figure,
)
from .training import (
    draw_gradient_flow,
    draw_learning_curve,
    draw_text_curve,
    gradient_flow_figure,
    learning_curve_figure,
    text_curve_figure,
)

__all__ = [
    "basin_figure",
    "bench_figure",
    "capacity_figure",
    "capacity_scaling_figure",
    "draw_basins",
    "draw_capacity",
    "draw_capacity_scaling",
    "draw_energy",
    "draw_gradient_flow",
    "draw_learning_curve",
    "draw_oscillation",
    "draw_retrieval",
    "draw_success",
    "draw_text_curve",
    "energy_figure",
    "glyphs",
    "gradient_flow_figure",
    "learning_curve_figure",
    "oscillation_figure",
    "recall_figure",
    "require_format",
    "retrieval_figure",
    "save_figure",
    "success_figure",
    "text_curve_figure",
]
