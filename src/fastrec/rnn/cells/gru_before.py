"""The gated recurrent unit, with the reset gate before the recurrent product."""

from .cell import Cell, OnnxOperator

CELL = Cell(
    name="gru_before",
    description=(
        "r, z = logistic(x_t W_in + h_{t-1} W_rec + b), n = tanh(x_t W_in + b + (r h_{t-1}) W_rec), "
        "h_t = (1 - z) n + z h_{t-1} (Cho et al., EMNLP 2014, eqs. 5 to 8)."
    ),
    gates=3,  # r, z, n
    parameters={"W_in": ("i", "3h"), "W_rec": ("h", "3h"), "b": ("3h",)},
    saved=("h", "h", "3h"),
    state=slice(0, 1),
    overwrites_saved=1,
    inputs_in=2,
    onnx=OnnxOperator("GRU", (1, 0, 2), ("Sigmoid", "Tanh"), {"linear_before_reset": 0}),
    family="gru",
    options={"reset": "before"},
    normalisable=False,
)
