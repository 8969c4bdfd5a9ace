"""Long short-term memory."""

from .cell import Cell, OnnxOperator

CELL = Cell(
    name="lstm",
    description=(
        "i, f, o = logistic(x_t W_in + h_{t-1} W_rec + b), g = tanh(x_t W_in + h_{t-1} W_rec + b), "
        "c_t = f c_{t-1} + i g, h_t = o tanh(c_t) "
        "(Hochreiter & Schmidhuber, Neural Computation 9, 1735, 1997)."
    ),
    gates=4,  # i, f, g, o
    parameters={"W_in": ("i", "4h"), "W_rec": ("h", "4h"), "b": ("4h",)},
    saved=("h", "h", "4h"),
    state=slice(0, 2),
    initial=("h0", "c0"),
    overwrites_saved=1,
    inputs_in=2,
    forget_gate=1,
    torch="LSTM",
    onnx=OnnxOperator("LSTM", (0, 3, 1, 2), ("Sigmoid", "Tanh", "Tanh")),
    options={"peepholes": False},
)
