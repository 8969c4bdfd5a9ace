"""The sizes of an encoder with a decoder, and the shapes that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..rnn.cells import CELLS, CellName
from ..rnn.config import MAX_SIZE, Activation, Config
from ..validation import as_choice, as_int

Sources = Literal["sequences", "contexts"]


@dataclass(frozen=True)
class Sizes:
    """The checked arguments of `EncoderDecoder` that stay fixed."""

    source_size: int
    target_size: int
    hidden_size: int
    cell: CellName
    activation: Activation
    num_layers: int
    sources: Sources
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        for name, high in (("source_size", MAX_SIZE), ("target_size", MAX_SIZE - 1)):
            object.__setattr__(self, name, as_int(name, getattr(self, name), 1, high))
        as_choice("sources", self.sources, get_args(Sources))
        for name in ("hidden_size", "cell", "activation", "num_layers", "dtype"):
            object.__setattr__(self, name, getattr(self.decoder, name))

    def config(self, input_size: int, output_size: int | None) -> Config:
        sizes = (input_size, self.hidden_size, output_size)
        return Config(*sizes, self.cell, self.activation, self.num_layers, None, self.dtype)

    @property
    def decoder(self) -> Config:
        return self.config(self.target_size + 1, self.target_size + 1)

    @property
    def encoder(self) -> Config:
        """That of an encoder without output layer, unless its state is the output."""
        feeds_back = CELLS[self.cell].feeds_back_output
        return self.config(self.source_size, self.target_size + 1 if feeds_back else None)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter."""
        width = self.num_layers * self.decoder.state
        first = {"W": (self.source_size, width), "b": (width,)}
        if self.sources == "sequences":
            first = dict(self.encoder.shapes)
        name = "encoder" if self.sources == "sequences" else "context"
        return {f"{name}.{key}": shape for key, shape in first.items()} | {
            f"decoder.{key}": shape for key, shape in self.decoder.shapes.items()
        }
