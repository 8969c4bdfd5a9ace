"""Long short-term memory whose gates see its cells."""

from .cell import Cell, OnnxOperator

CELL = Cell(
    name="lstm_peepholes",
    description=(
        "i, f = logistic(x_t W_in + h_{t-1} W_rec + b + p c_{t-1}), g = tanh(x_t W_in + h_{t-1} W_rec + b), "
        "c_t = f c_{t-1} + i g, o = logistic(x_t W_in + h_{t-1} W_rec + b + p c_t), h_t = o tanh(c_t), "
        "with a weight of each unit in p for each of i, f and o (Gers & Schmidhuber, IJCNN 2000)."
    ),
    gates=4,  # i, f, g, o
    parameters={"W_in": ("i", "4h"), "W_rec": ("h", "4h"), "b": ("4h",), "p": ("3h",)},  # i, f, o
    saved=("h", "h", "4h"),
    state=slice(0, 2),
    initial=("h0", "c0"),
    read_back=("p",),
    overwrites_saved=1,
    inputs_in=2,
    forget_gate=1,
    onnx=OnnxOperator("LSTM", (0, 3, 1, 2), ("Sigmoid", "Tanh", "Tanh"), peepholes=(0, 2, 1)),
    family="lstm",
    options={"peepholes": True},
)
