"""The gated recurrent unit, with the reset gate after the recurrent product."""

from .cell import Cell, OnnxOperator

CELL = Cell(
    name="gru",
    description=(
        "r, z = logistic(x_t W_in + h_{t-1} W_rec + b), n = tanh(x_t W_in + b + r (h_{t-1} W_rec + b_n)), "
        "h_t = (1 - z) n + z h_{t-1} (Cho et al., EMNLP 2014; the form of PyTorch and cuDNN)."
    ),
    gates=3,  # r, z, n
    parameters={"W_in": ("i", "3h"), "W_rec": ("h", "3h"), "b": ("3h",), "b_n": ("h",)},
    saved=("h", "4h"),
    state=slice(0, 1),
    overwrites_saved=1,
    inputs_in=None,
    recurrent_bias="b_n",
    torch="GRU",
    onnx=OnnxOperator("GRU", (1, 0, 2), ("Sigmoid", "Tanh"), {"linear_before_reset": 1}),
    options={"reset": "after"},
)
