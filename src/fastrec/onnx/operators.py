"""The recurrent operators of ONNX: which cell each is, and its weights as the parameters of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import numpy as np

from ..backend import BackendChoice
from ..messages import shown
from ..rnn.cells import CELLS, CellName
from ..rnn.cells.cell import Cell
from ..rnn.config import Activation, Array, Config, Direction
from ..rnn.device import Precision
from ..rnn.network import RNN
from ..rnn.torch_weights import each_direction, take_biases
from ..validation import listed

NAMES: dict[Activation, str] = {"tanh": "Tanh", "relu": "Relu", "logistic": "Sigmoid", "softplus": "Softplus"}
# The cells that each operator may be.
OPERATORS = {
    name: [cell for cell in CELLS.values() if cell.onnx and cell.onnx.name == name]
    for name in dict.fromkeys(cell.onnx.name for cell in CELLS.values() if cell.onnx)
}
WAYS: dict[str, tuple[Direction, ...]] = {
    "forward": ("forward",),
    "reverse": ("reverse",),
    "bidirectional": ("forward", "reverse"),
}


@dataclass(frozen=True)
class Operator:
    """What a recurrent node computes; ValueError for attributes that no network here has.

    where: the node, in messages.  ways: the direction and the activation of each part of the weights.
    """

    where: str
    name: str
    attributes: Mapping[str, int]
    ways: tuple[tuple[Direction, Activation], ...]
    batch_first: bool

    @classmethod
    def read(cls, where: str, name: str, attributes: Mapping[str, Any]) -> Operator:
        """Read the attributes of a node of an operator of that name."""

        def refuse(attribute: str, needed: str) -> None:
            value = attributes[attribute]
            value = value.item() if isinstance(value, np.generic) else value
            raise ValueError(f"{where} has {attribute}={shown(value)}; fastrec has {needed}")

        if attributes.get("clip") is not None:
            refuse("clip", "no bound of the sums of gates")
        if attributes.get("input_forget"):
            refuse("input_forget", "input and forget gates of their own")
        direction = text(attributes.get("direction") or "forward")
        if direction not in WAYS:
            refuse("direction", listed(list(WAYS)))
        ways, (kind, *_) = WAYS[direction], OPERATORS[name]
        assert kind.onnx is not None
        functions = kind.onnx.functions or ("Tanh",)
        count = len(functions) * len(ways)
        given = [text(value) for value in attributes.get("activations") or functions * len(ways)]
        if len(given) < count:
            refuse("activations", f"{len(functions)} for each direction")
        # The default of RNN is that of two directions.
        functions_of, known = (
            [value.lower() for value in given[:count]],
            {v.lower(): k for k, v in NAMES.items()},
        )
        activations: list[Activation] = ["tanh"] * len(ways)
        if kind.has_activation:
            for value in functions_of:
                if value not in known:
                    having = listed(list(NAMES.values()))
                    raise ValueError(f"{where} has the activation {value}; fastrec has {having}")
            activations = [known[value] for value in functions_of]
        elif functions_of != [value.lower() for value in functions] * len(ways):
            refuse("activations", f"{', '.join(functions)} in each direction")
        pairs = tuple(zip(ways, activations, strict=True))
        special = {key: int(attributes.get(key) or 0) for key in kind.onnx.attributes}
        return cls(where, name, special, pairs, bool(attributes.get("layout")))

    def cell(self, peepholes: bool) -> Cell:
        """The cell with these equations."""
        for cell in OPERATORS[self.name]:
            onnx = cell.onnx
            if onnx and onnx.attributes == self.attributes and bool(onnx.peepholes) == peepholes:
                return cell
        raise ValueError(f"{self.where} is no operator that fastrec has")

    def networks(
        self, weights: Sequence[Array | None], backend: BackendChoice | None, precision: Precision
    ) -> list[RNN]:
        """Networks with copies of ONNX's W, R, B and P, one of all directions unless activations differ."""
        arrays = {key: array for key, array in zip("WRBP", weights, strict=True) if array is not None}
        if not {"W", "R"} <= arrays.keys():
            raise ValueError(f"{self.where} has no weights W or R")
        cell = self.cell("P" in arrays)
        onnx = cell.onnx
        assert onnx is not None
        W, R, ways, gates = arrays["W"], arrays["R"], len(self.ways), cell.gates
        h, i = (array.shape[-1] if array.ndim else 0 for array in (R, W))
        shapes = {"W": (gates * h, i), "R": (gates * h, h), "B": (2 * gates * h,), "P": (3 * h,)}
        for key, array in arrays.items():
            shape = (ways, *shapes[key])
            if array.shape != shape or array.dtype not in (np.float32, np.float64):
                raise ValueError(
                    f"{self.where} has {key} of shape {array.shape} and dtype {array.dtype}; it must be "
                    f"float32 or float64 {shape}"
                )
        made, first = [], 0
        for activation, group in groupby(self.ways, lambda way: way[1]):
            directions = [direction for direction, _ in group]
            direction = directions[0] if len(directions) == 1 else "bidirectional"
            rest = (cast(CellName, cell.name), activation, 1, None, R.dtype, None, direction)
            config = Config(i, h, None, *rest)
            parameters = {key: np.zeros(shape, config.dtype) for key, shape in config.shapes.items()}
            for way, own in enumerate(each_direction(config, parameters), first):
                own["W_in"][...] = in_order(W[way], onnx.gates).T
                own["W_rec"][...] = in_order(R[way], onnx.gates).T
                if "B" in arrays:
                    halves = np.split(arrays["B"][way], 2)
                    take_biases(cell, own, *(in_order(half, onnx.gates) for half in halves))
                if "P" in arrays:
                    own["p"][...] = in_order(arrays["P"][way], onnx.peepholes)
            made.append(RNN._of(config, parameters, None, backend, precision)._sent())
            first += len(directions)
        return made

    def compute(
        self, networks: list[RNN], X: Array, lengths: Array | None, initial: Sequence[Array | None]
    ) -> tuple[Array, ...]:
        """ONNX's Y, Y_h and perhaps Y_c of X, sequence_lens, and initial_h and initial_c."""
        if X.ndim != 3:
            raise ValueError(f"{self.where} has X of shape {X.shape}; it must have three axes")
        x = X if self.batch_first else X.swapaxes(0, 1)
        parts, ways = len(OPERATORS[self.name][0].initial), len(self.ways)
        (b, t), h = x.shape[:2], networks[0].hidden_size
        state = np.zeros((parts, ways, b, h), x.dtype)
        for name, part, given in zip(("initial_h", "initial_c"), state, initial, strict=False):
            if given is not None:
                shape = (b, ways, h) if self.batch_first else (ways, b, h)
                if given.shape != shape:
                    raise ValueError(f"{self.where} has {name} of shape {given.shape}; it must be {shape}")
                part[...] = given.swapaxes(0, 1) if self.batch_first else given
        outputs, last = np.empty((b, t, ways, h), x.dtype), np.empty_like(state)
        first = 0
        for network in networks:
            own = slice(first, first := first + network.parameters["h0"].size // h)
            start = tuple(state[:, own]) if parts == 2 else state[0, own]
            made, end = network.predict(x, start, lengths, tokens=False)
            outputs[:, :, own], last[:, own] = made.reshape(b, t, first - own.start, h), end
        if self.batch_first:
            return outputs, *last.swapaxes(1, 2)
        return outputs.transpose(1, 2, 0, 3), *last


def in_order(array: Array, order: Sequence[int]) -> Array:
    """The blocks of rows of ONNX as blocks here, where `order` holds the place of each."""
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[order.index(block)] for block in range(len(order))])


def in_onnx_order(array: Array, order: Sequence[int]) -> Array:
    """The inverse of `in_order`."""
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[block] for block in order])


def text(value: str | bytes) -> str:
    """An attribute that is text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
