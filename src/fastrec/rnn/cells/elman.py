"""Elman's simple recurrent network."""

from .cell import Cell, OnnxOperator

CELL = Cell(
    name="elman",
    description="h_t = f(x_t W_in + h_{t-1} W_rec + b) (Elman, Cognitive Science 14, 179, 1990).",
    gates=1,
    parameters={"W_in": ("i", "h"), "W_rec": ("h", "h"), "b": ("h",)},
    saved=("h",),
    state=slice(0, 1),
    has_activation=True,
    weights=("orthogonal", "uniform", "identity", "sparse"),
    torch="RNN",
    onnx=OnnxOperator("RNN", (0,)),
)
