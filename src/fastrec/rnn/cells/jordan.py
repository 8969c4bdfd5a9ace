"""Jordan's network, which reads its last output."""

from .cell import Cell

CELL = Cell(
    name="jordan",
    description=(
        "h_t = f(x_t W_in + y_{t-1} W_rec + b) with the outputs y_t = h_t W_out + b_out "
        "(Jordan, ICS report 8604, 1986)."
    ),
    gates=1,
    parameters={"W_in": ("i", "h"), "W_rec": ("o", "h"), "b": ("h",)},
    saved=("h", "o"),
    state=slice(1, 2),
    has_activation=True,
    feeds_back_output=True,
    normalisable=False,
)
