"""The cells of recurrent networks, a file for each.  A new cell is registered by a line of `CellName`."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Literal, get_args

from ...messages import shown
from ...validation import as_bool, as_choice, listed
from .cell import Cell

CellName = Literal[
    "elman",
    "jordan",
    "gru",
    "gru_before",
    "lstm",
    "lstm_peepholes",
    "leaky",
]

CELLS: dict[str, Cell] = {name: import_module(f".{name}", __name__).CELL for name in get_args(CellName)}
# The cells of networks that can have several layers and an output layer after them.
STACKABLE = tuple(name for name, cell in CELLS.items() if not cell.feeds_back_output)

LayerNorm = Literal[False, True, "recurrent"]


@functools.cache
def describe(name: CellName, layer_norm: LayerNorm) -> Cell:
    """Return the description of a cell, with layer normalisation as the argument of `fastrec.RNN` says."""
    cell = CELLS[name]
    return cell.normalised(layer_norm is True) if layer_norm else cell


def choose(name: str, **options: object) -> str:
    """Return the name of a cell, or of the variant of it that options choose; None leaves an option open.

    Raises ValueError for an unknown name, and for options that the cell does not have.
    """
    cell = CELLS[as_choice("cell", name, tuple(CELLS))]
    given = {option: value for option, value in options.items() if value is not None}
    relatives = [other for other in CELLS.values() if name in (other.name, other.family)]
    for option, value in given.items():
        if option not in cell.options:
            having = listed([f'"{other}"' for other in CELLS if option in CELLS[other].options])
            raise ValueError(f'{option} is {shown(value)}; cell="{name}" has no such choice, only {having}')
        choices = [other.options[option] for other in relatives]
        if isinstance(choices[0], bool):
            given[option] = as_bool(option, value)
        elif value not in choices:
            known = listed([repr(choice) for choice in choices])
            raise ValueError(f'{option} is {shown(value)}; for cell="{name}" it is {known}')
    chosen: Cell = next(other for other in relatives if given.items() <= other.options.items())
    return chosen.name
