"""The configuration of an echo state network: sizes and kinds, and the shapes that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..kernels import ACTIVATIONS, LINEAR
from ..messages import shown
from ..rnn.config import MAX_SIZE
from ..validation import as_bool, as_choice, as_int

Topology = Literal["sparse", "dense", "cycle"]
Activation = Literal["tanh", "relu", "logistic", "linear"]
CODES = {name: ACTIVATIONS.index(name) for name in get_args(Activation)[:-1]} | {"linear": LINEAR}


@dataclass(frozen=True)
class ReservoirConfig:
    """The arguments of `fastrec.EchoState` that stay fixed, checked: ValueError for invalid ones.

    connections: units that each unit reads, 0 where it reads all of them in a dense matrix.
    """

    input_size: int
    hidden_size: int
    output_size: int
    topology: Topology
    connections: int
    activation: Activation
    feedback: bool
    models: int | None
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        for name in ("input_size", "hidden_size", "output_size", "models"):
            value = getattr(self, name)
            if value is not None or name != "models":
                object.__setattr__(self, name, as_int(name, value, 1, MAX_SIZE))
        for name, known in (("topology", get_args(Topology)), ("activation", tuple(CODES))):
            object.__setattr__(self, name, as_choice(name, getattr(self, name), known))
        as_int("connections", self.connections, 0, self.hidden_size)
        as_bool("feedback", self.feedback)
        try:
            dtype = np.dtype(self.dtype).newbyteorder("=")
        except TypeError:
            dtype = None
        if self.dtype is None or dtype not in (np.float32, np.float64):  # np.dtype(None) is float64
            raise ValueError(f"dtype is {shown(self.dtype)}; it must be np.float32 or np.float64")
        object.__setattr__(self, "dtype", dtype)

    @property
    def k(self) -> int:
        """Number of reservoirs, 1 where the arrays have no axis for it."""
        return self.models or 1

    @property
    def state(self) -> int:
        """Width of the state: the units, and with feedback the outputs."""
        return self.hidden_size + self.output_size * self.feedback

    @property
    def features(self) -> int:
        """Numbers that the readout sees: 1, the inputs and the units."""
        return 1 + self.input_size + self.hidden_size

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes (k, ...) of the weights of numbers, in the order in which kernels take them."""
        k, i, h = self.k, self.input_size, self.hidden_size
        fed = self.output_size * self.feedback
        return {
            "W_in": (k, i, h),
            "W_fb": (k, fed, h),
            "b": (k, h),
            "W_rec": (k, self.connections or h, h),
            "leak": (k, h),
        }
