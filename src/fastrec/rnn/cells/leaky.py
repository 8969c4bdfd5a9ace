"""Leaky units, which follow their input with a time constant of their own."""

from .cell import Cell

CELL = Cell(
    name="leaky",
    description=(
        "h_t = (1 - leak) h_{t-1} + leak f(x_t W_in + h_{t-1} W_rec + b + noise_t) "
        "(Jaeger et al., Neural Networks 20, 335, 2007)."
    ),
    gates=1,
    parameters={"W_in": ("i", "h"), "W_rec": ("h", "h"), "b": ("h",), "leak": ("h",)},
    saved=("h", "h"),
    state=slice(0, 1),
    read_back=("leak",),
    has_activation=True,
    takes_noise=True,
    weights=("orthogonal", "uniform", "identity", "sparse"),
    constants={"leak": 0.2},
)
