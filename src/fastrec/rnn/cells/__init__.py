"""The cells of recurrent networks, a file for each.  A new cell is registered by a line of `CellName`."""

from __future__ import annotations

from importlib import import_module
from typing import Literal, get_args

from .cell import Cell

CellName = Literal[
    "elman",
    "jordan",
    "gru",
    "lstm",
]

CELLS: dict[str, Cell] = {name: import_module(f".{name}", __name__).CELL for name in get_args(CellName)}
# The cells of networks that can have several layers and an output layer after them.
STACKABLE = tuple(name for name, cell in CELLS.items() if not cell.feeds_back_output)
