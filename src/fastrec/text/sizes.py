"""The sizes of an encoder with a decoder, and the shapes that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..messages import shown
from ..rnn.cells import CELLS, CellName
from ..rnn.config import MAX_SIZE, Activation, Config, Direction
from ..validation import as_bool, as_choice, as_int

Sources = Literal["sequences", "contexts"]
Attention = Literal["dot", "general", "additive"]


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
    attention: Attention | None = None
    bidirectional: bool = False
    embedding_size: int | None = None

    def __post_init__(self) -> None:
        for name, high in (("source_size", MAX_SIZE), ("target_size", MAX_SIZE - 1)):
            object.__setattr__(self, name, as_int(name, getattr(self, name), 1, high))
        as_choice("sources", self.sources, get_args(Sources))
        for name in ("hidden_size", "cell", "activation", "num_layers", "dtype", "embedding_size"):
            object.__setattr__(self, name, getattr(self.decoder, name))
        object.__setattr__(self, "bidirectional", as_bool("bidirectional", self.bidirectional))
        if self.attention is not None:
            object.__setattr__(self, "attention", as_choice("attention", self.attention, get_args(Attention)))
        for name in ("attention", "bidirectional"):
            value = getattr(self, name)
            if value and self.sources == "contexts":
                raise ValueError(
                    f"{name} is {shown(value)}, and contexts have no steps to read; leave it out"
                )
            if value and CELLS[self.cell].feeds_back_output:
                raise ValueError(
                    f'{name} is {shown(value)}; cell="{self.cell}" has outputs in place of hidden units, use '
                    "another"
                )
        if self.bidirectional and self.hidden_size % 2:
            why = "bidirectional=True gives each direction half of them"
            raise ValueError(f"hidden_size is {self.hidden_size}; {why}, make it even")

    def config(
        self, input_size: int, hidden_size: int, output_size: int | None, direction: Direction = "forward"
    ) -> Config:
        sizes = (input_size, hidden_size, output_size)
        kind = (self.cell, self.activation, self.num_layers)
        return Config(*sizes, *kind, None, self.dtype, self.embedding_size, direction)

    @property
    def decoder(self) -> Config:
        return self.config(self.target_size + 1, self.hidden_size, self.target_size + 1)

    @property
    def encoder(self) -> Config:
        """That of an encoder without output layer, unless its state is the output.

        Both directions together have as many hidden units as the decoder.
        """
        output_size = self.target_size + 1 if CELLS[self.cell].feeds_back_output else None
        if self.bidirectional:
            return self.config(self.source_size, self.hidden_size // 2, output_size, "bidirectional")
        return self.config(self.source_size, self.hidden_size, output_size)

    @property
    def attention_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter of the attention, by the end of its name."""
        if self.attention is None:
            return {}
        h, shapes = self.hidden_size, dict[str, tuple[int, ...]]()
        if self.attention != "dot":
            shapes["W_key"] = (h, h)
        if self.attention == "additive":
            shapes |= {"W_query": (h, h), "v": (h,)}
        return shapes | {"W_combine": (2 * h, h)}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter."""
        width = self.num_layers * self.decoder.state
        first = {"W": (self.source_size, width), "b": (width,)}
        if self.sources == "sequences":
            first = dict(self.encoder.shapes)
        name = "encoder" if self.sources == "sequences" else "context"
        parts = {name: first, "decoder": self.decoder.shapes, "attention": self.attention_shapes}
        return {f"{part}.{key}": shape for part, shapes in parts.items() for key, shape in shapes.items()}
