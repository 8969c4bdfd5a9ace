"""Figures of capacities, retrieval and recalls, of learning curves and gradients.

The functions build `matplotlib.figure.Figure` objects directly and never touch pyplot: no display is needed,
no figure stays open behind the caller's back, and rcParams stay the caller's. matplotlib is imported inside
the functions, so that importing fastrec does not load it. A notebook shows a figure that is the value of a
cell, without `%matplotlib inline`; `save_figure` writes it. Of capacities and recalls, blue is measured, grey
is theory, orange is wrong; curves of one kind differ in colour and in dashes.
"""

from ..imports import import_when_used

__getattr__, __dir__, __all__ = import_when_used(__name__)
