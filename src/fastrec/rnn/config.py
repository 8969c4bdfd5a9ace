"""The configuration of a recurrent network: sizes, cell, and the shapes that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..archives import settings_of
from ..kernels import ACTIVATIONS
from ..messages import shown
from ..validation import as_choice, as_int, one_of
from .cells import CELLS, CellName, LayerNorm, describe
from .cells.cell import Cell, measure

Activation = Literal["tanh", "relu", "logistic", "softplus"]
Direction = Literal["forward", "reverse", "bidirectional"]
Array = NDArray[Any]

MAX_SIZE = 2**31 - 1  # tokens and targets are int32
MAX_LAYERS = 1000


@dataclass(frozen=True)
class Config:
    """The arguments of `fastrec.RNN` that stay fixed, checked: ValueError for invalid ones."""

    input_size: int
    hidden_size: int
    output_size: int | None
    cell: CellName
    activation: Activation
    num_layers: int
    models: int | None
    dtype: np.dtype[Any]
    embedding_size: int | None = None
    direction: Direction = "forward"
    layer_norm: LayerNorm = False

    def __post_init__(self) -> None:
        optional = ("output_size", "models", "embedding_size")
        for name in ("input_size", "hidden_size", "output_size", "num_layers", "models", "embedding_size"):
            value, most = getattr(self, name), MAX_LAYERS if name == "num_layers" else MAX_SIZE
            if value is not None or name not in optional:
                object.__setattr__(self, name, as_int(name, value, 1, most))
        choices = (("cell", tuple(CELLS)), ("activation", ACTIVATIONS), ("direction", get_args(Direction)))
        for name, known in choices:
            object.__setattr__(self, name, as_choice(name, getattr(self, name), known))
        try:
            dtype = np.dtype(self.dtype).newbyteorder("=")
        except TypeError:
            dtype = None
        if self.dtype is None or dtype not in (np.float32, np.float64):  # np.dtype(None) is float64
            raise ValueError(f"dtype is {shown(self.dtype)}; it must be np.float32 or np.float64")
        object.__setattr__(self, "dtype", dtype)
        if isinstance(self.layer_norm, np.bool_):
            object.__setattr__(self, "layer_norm", bool(self.layer_norm))
        if not isinstance(self.layer_norm, (bool, str)) or self.layer_norm not in get_args(LayerNorm):
            raise ValueError(f'layer_norm is {shown(self.layer_norm)}; it must be False, True or "recurrent"')
        if self.layer_norm and not self.kind.normalisable:
            normalisable = one_of([name for name, cell in CELLS.items() if cell.normalisable])
            raise ValueError(
                f"layer_norm is {shown(self.layer_norm)}; only cell={normalisable} has it, leave it out"
            )
        if not self.kind.has_activation and self.activation != "tanh":
            raise ValueError(
                f'activation is "{self.activation}"; cell="{self.cell}" has tanh and logistic gates, leave it'
            )
        if self.kind.feeds_back_output and self.output_size is None:
            raise ValueError(f'output_size is None; cell="{self.cell}" feeds its output back, give its size')
        if self.kind.feeds_back_output and self.num_layers != 1:
            raise ValueError(f'num_layers is {self.num_layers}; cell="{self.cell}" has one layer')

    @property
    def kind(self) -> Cell:
        """The description of the cell."""
        return describe(self.cell, self.layer_norm)

    @cached_property
    def k(self) -> int:
        """Number of networks, 1 where the arrays have no axis for it."""
        return self.models or 1

    @cached_property
    def directions(self) -> int:
        """Number of times that a layer reads each sequence."""
        return 2 if self.direction == "bidirectional" else 1

    @cached_property
    def nets(self) -> int:
        """Length of the leading axis that kernels of cells see: each direction is a network to them."""
        return self.k * self.directions

    @property
    def settings(self) -> dict[str, Any]:
        """The fields as files hold them."""
        return settings_of(self)

    @property
    def lead(self) -> tuple[int, ...]:
        """Leading axis of public arrays: (k,) or nothing."""
        return () if self.models is None else (self.models,)

    @cached_property
    def outputs_width(self) -> int:
        """Width of the outputs: without output layer the hidden units are the outputs."""
        return self.output_size or self.hidden_width

    @cached_property
    def hidden_width(self) -> int:
        """Width of the hidden units that a layer hands on, of both directions."""
        return self.directions * self.hidden_size

    @cached_property
    def has_output_layer(self) -> bool:
        """Whether an output layer follows the cells; some cells compute the outputs themselves."""
        return self.output_size is not None and not self.kind.feeds_back_output

    @cached_property
    def saved(self) -> tuple[int, ...]:
        """Widths of the arrays that a layer's forward kernel writes."""
        sizes = {"h": self.hidden_size, "o": self.output_size or 0, "u": 1}
        return tuple(measure(width, sizes) for width in self.kind.saved)

    @cached_property
    def most_bytes(self) -> int:
        """An upper bound of the bytes that a step of a row takes in all networks, whatever is computed."""
        widths = (self.input_size, self.hidden_size, 2 * self.outputs_width, 2 * sum(self.saved))
        return self.nets * 3 * self.num_layers * sum(widths) * self.dtype.itemsize

    @cached_property
    def state(self) -> int:
        """Width s of a state."""
        return sum(self.saved[self.kind.state])

    @cached_property
    def state_parts(self) -> tuple[slice, ...]:
        """Where each part of a state lies in it."""
        ends = list(accumulate(self.saved[self.kind.state], initial=0))
        return tuple(map(slice, ends, ends[1:]))

    @cached_property
    def activation_code(self) -> tuple[int, ...]:
        """The activation as an argument of kernels, () for those of a cell without a choice."""
        takes = self.kind.has_activation or self.kind.gains
        return (ACTIVATIONS.index(self.activation),) if takes else ()

    @cached_property
    def layers(self) -> tuple[tuple[str, ...], ...]:
        """Keys of the parameters of each layer, in the order in which kernels take them.

        A key that is not in `shapes` stands for an array without columns.
        """
        names, layers = self.kind.arguments, range(self.num_layers)
        return tuple(tuple(name + suffix(layer) for name in names) for layer in layers)

    @cached_property
    def constants(self) -> frozenset[str]:
        """Keys of the parameters that training leaves alone unless it is told to change them."""
        layers = range(self.num_layers)
        return frozenset(name + suffix(layer) for name in self.kind.constants for layer in layers)

    @cached_property
    def initial(self) -> tuple[tuple[str, ...], ...]:
        """Keys of the initial state of each layer, one for each part of it."""
        names, layers = self.kind.initial, range(self.num_layers)
        return tuple(tuple(name + suffix(layer) for name in names) for layer in layers)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, in the order of the keys."""
        h, o, ways = self.hidden_size, self.outputs_width, (2,) * (self.directions == 2)
        sizes = {"i": self.embedding_size or self.input_size, "h": h, "o": o}
        shapes: dict[str, tuple[int, ...]] = {}
        if self.embedding_size is not None:
            shapes["E"] = (self.input_size, self.embedding_size)
        for layer in range(self.num_layers):
            for name, widths in self.kind.parameters.items():
                shapes[name + suffix(layer)] = (*ways, *(measure(width, sizes) for width in widths))
            for name, width in zip(self.initial[layer], self.saved[self.kind.state], strict=True):
                shapes[name] = (*ways, width)
            sizes["i"] = self.hidden_width
        if self.has_output_layer:
            shapes["W_out"], shapes["b_out"] = (self.hidden_width, o), (o,)
        elif self.output_size is not None:
            shapes["W_out"], shapes["b_out"] = (*ways, h, o), (*ways, o)
        return {key: (*self.lead, *shape) for key, shape in shapes.items()}

    @cached_property
    def both_ways(self) -> frozenset[str]:
        """Keys of the parameters that each direction has for itself."""
        return frozenset(key for keys in (*self.layers, *self.initial) for key in keys) & self.shapes.keys()

    @cached_property
    def kernel_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape in which kernels take every parameter: led by `nets`, or by k."""
        axes = {key: len(self.lead) + (self.directions == 2) * (key in self.both_ways) for key in self.shapes}
        lengths = {key: self.nets if key in self.both_ways else self.k for key in self.shapes}
        return {key: (lengths[key], *shape[axes[key] :]) for key, shape in self.shapes.items()}

    @property
    def n_parameters(self) -> int:
        """Number of parameters of each network."""
        return sum(map(prod, self.shapes.values())) // self.k


def suffix(layer: int) -> str:
    """Return the suffix of the keys of a layer."""
    return f"_l{layer}" if layer else ""
