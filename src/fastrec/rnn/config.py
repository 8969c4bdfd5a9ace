"""What a recurrent network is made of: sizes, cell, and the shapes that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import ACTIVATIONS
from ..validation import as_int

CellName = Literal["elman", "jordan", "gru", "lstm"]
Activation = Literal["tanh", "relu", "logistic"]
Array = NDArray[Any]

MAX_SIZE = 2**31 - 1  # tokens and targets are int32
MAX_LAYERS = 1000


class Cell(NamedTuple):
    """What the kernels of a cell take, in their order.

    parameters: of a layer, as forward reads and backward returns them; backward reads those called W.
    saved: widths of the arrays (k, b, t, width) that forward writes and backward reads.
    state: which of those make the state of a step.
    """

    gates: int
    parameters: tuple[str, ...]
    saved: tuple[str, ...]
    state: slice


CELLS = {
    "elman": Cell(1, ("W_in", "W_rec", "b"), ("h",), slice(0, 1)),
    "jordan": Cell(1, ("W_in", "W_rec", "b", "W_out", "b_out"), ("h", "o"), slice(1, 2)),
    "gru": Cell(3, ("W_in", "W_rec", "b", "b_n"), ("h", "4h"), slice(0, 1)),
    "lstm": Cell(4, ("W_in", "W_rec", "b"), ("h", "h", "4h"), slice(0, 2)),
}


@dataclass(frozen=True)
class Config:
    """The checked arguments of `fastrec.RNN` that stay fixed; ValueError for those that cannot be."""

    input_size: int
    hidden_size: int
    output_size: int | None
    cell: CellName
    activation: Activation
    num_layers: int
    models: int | None
    dtype: np.dtype[Any]
    embedding_size: int | None = None

    def __post_init__(self) -> None:
        for name, high, optional in (
            ("input_size", MAX_SIZE, False),
            ("hidden_size", MAX_SIZE, False),
            ("output_size", MAX_SIZE, True),
            ("num_layers", MAX_LAYERS, False),
            ("models", MAX_SIZE, True),
            ("embedding_size", MAX_SIZE, True),
        ):
            value = getattr(self, name)
            if not (optional and value is None):
                object.__setattr__(self, name, as_int(name, value, 1, high))
        for name, known in (("cell", tuple(CELLS)), ("activation", ACTIVATIONS)):
            if not (isinstance(getattr(self, name), str) and getattr(self, name) in known):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be {one_of(known)}")
        try:
            dtype = np.dtype(self.dtype).newbyteorder("=")
        except TypeError:
            dtype = None
        if self.dtype is None or dtype not in (np.float32, np.float64):  # np.dtype(None) is float64
            raise ValueError(f"dtype is {self.dtype!r}; it must be np.float32 or np.float64")
        object.__setattr__(self, "dtype", dtype)
        if self.cell in ("gru", "lstm") and self.activation != "tanh":
            raise ValueError(
                f'activation is "{self.activation}"; cell="{self.cell}" has tanh and logistic gates, leave it'
            )
        if self.cell == "jordan" and self.output_size is None:
            raise ValueError('output_size is None; cell="jordan" feeds its output back, give its size')
        if self.cell == "jordan" and self.num_layers != 1:
            raise ValueError(f'num_layers is {self.num_layers}; cell="jordan" has one layer')

    @property
    def k(self) -> int:
        """Number of networks, also where the arrays have no such axis."""
        return self.models or 1

    @property
    def lead(self) -> tuple[int, ...]:
        """Leading axis of public arrays: (k,) or nothing."""
        return () if self.models is None else (self.models,)

    @property
    def outputs_width(self) -> int:
        """Width of the outputs: without output layer the hidden units are the outputs."""
        return self.output_size or self.hidden_size

    @property
    def has_output_layer(self) -> bool:
        """Whether outputs are computed from the hidden units afterwards: not by the cell, and at all."""
        return self.output_size is not None and self.cell != "jordan"

    @cached_property
    def saved(self) -> tuple[int, ...]:
        """Widths of the arrays that a layer's forward kernel writes."""
        widths = {"h": self.hidden_size, "4h": 4 * self.hidden_size, "o": self.outputs_width}
        return tuple(widths[width] for width in CELLS[self.cell].saved)

    @cached_property
    def state(self) -> int:
        """Width s of a state."""
        return sum(self.saved[CELLS[self.cell].state])

    @cached_property
    def activation_code(self) -> tuple[int, ...]:
        """The argument of the kernels that says which activation, for the cells that have a choice."""
        return (ACTIVATIONS.index(self.activation),) if self.cell in ("elman", "jordan") else ()

    @cached_property
    def layers(self) -> tuple[tuple[str, ...], ...]:
        """Keys of each layer's parameters, in the order of the kernels' arguments."""
        names = CELLS[self.cell].parameters
        return tuple(
            tuple(name + suffix(layer) for name in names) if layer else names
            for layer in range(self.num_layers)
        )

    @cached_property
    def initial(self) -> tuple[tuple[str, ...], ...]:
        """Keys of each layer's initial state: h0, and c0 of an LSTM, which are [h | c] side by side."""
        names = ("h0", "c0") if self.cell == "lstm" else ("h0",)
        return tuple(tuple(name + suffix(layer) for name in names) for layer in range(self.num_layers))

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, in the order of the keys."""
        h, o, columns = self.hidden_size, self.outputs_width, CELLS[self.cell].gates * self.hidden_size
        fed_back = o if self.cell == "jordan" else h
        shapes: dict[str, tuple[int, ...]] = {}
        if self.embedding_size is not None:
            shapes["E"] = (self.input_size, self.embedding_size)
        for layer in range(self.num_layers):
            end = suffix(layer)
            shapes["W_in" + end] = (h if layer else self.embedding_size or self.input_size, columns)
            shapes["W_rec" + end] = (fed_back, columns)
            shapes["b" + end] = (columns,)
            if self.cell == "gru":
                shapes["b_n" + end] = (h,)
            for name in self.initial[layer]:
                shapes[name] = (fed_back,)
        if self.output_size is not None:
            shapes["W_out"], shapes["b_out"] = (h, o), (o,)
        return {key: (*self.lead, *shape) for key, shape in shapes.items()}

    @property
    def n_parameters(self) -> int:
        """Number of parameters of each network."""
        return sum(map(prod, self.shapes.values())) // self.k


def suffix(layer: int) -> str:
    """What the keys of a layer end with."""
    return f"_l{layer}" if layer else ""


def one_of(names: tuple[str, ...]) -> str:
    """The names in quotes, as '"a", "b" or "c"'."""
    *most, last = (f'"{name}"' for name in names)
    return f"{', '.join(most)} or {last}"
