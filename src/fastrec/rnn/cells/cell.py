"""What a kind of hidden unit is described by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

# A width is a letter, i inputs, h hidden units, o outputs or u for 1, with a factor before it: "h", "4h".
Width = str


def measure(width: Width, sizes: Mapping[str, int]) -> int:
    """Return the number that a width is for given sizes.

    Parameters
    ----------
    width : str
        A letter with an optional factor before it.
    sizes : mapping of str to int
        The number that each letter stands for.

    Examples
    --------
    >>> measure("4h", {"h": 10})
    40
    """
    return int(width[:-1] or 1) * sizes[width[-1]]


@dataclass(frozen=True)
class OnnxOperator:
    """The operator of ONNX that has the equations of a cell.

    gates: for each block of rows of its W, R and B the gate here.  functions: of its gates, () where there is
    the activation of the cell.  attributes: which it must have.  peepholes: for each block of its P the block
    of "p" here.
    """

    name: str
    gates: tuple[int, ...]
    functions: tuple[str, ...] = ()
    attributes: Mapping[str, int] = field(default_factory=dict)
    peepholes: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Cell:
    """The description of a cell: all that code outside its kernels needs to know.

    Kernels are found by name: ``kernels/<backend>/<name>.py`` holds ``<name>_forward`` and
    ``<name>_backward``.

    Parameters
    ----------
    name : str
        The value of the argument `cell` of `fastrec.RNN`, and the name of the kernel files.
    description : str
        One sentence with the equations and their source.
    gates : int
        Number of blocks of h columns in "W_in" and "W_rec".
    parameters : mapping of str to tuple of str
        Shape of each parameter of a layer, in the order in which the kernels take them.
    saved : tuple of str
        Widths of the arrays (k, b, t, width) that forward fills and backward reads, hidden units first.
    state : slice
        Which of the saved arrays make up the state of a step.
    initial : tuple of str
        Key of the initial value of each part of the state.
    read_back : tuple of str
        The parameters besides matrices that backward reads.
    has_activation : bool
        Whether the cell has a function f that the user chooses.
    takes_noise : bool
        Whether forward takes an array (k, b, t, h) that is added to the argument of f, of width 0 for none.
    feeds_back_output : bool
        Whether the output takes the place of the hidden units in the next step.  Such a cell computes its
        outputs itself: its kernels take "W_out" and "b_out" too, and it is a single layer.
    overwrites_saved : int
        How many of the saved arrays, the last ones, backward can write its gradients over; with 0 it writes
        them over those it is given.
    inputs_in : int or None
        Which of the saved arrays holds x W_in + b on the gpu until the step is done, None if none has room.
    recurrent_bias : str or None
        The parameter that is added to the recurrent products of the last gates only, not to the inputs.
    weights : tuple of str
        The values of `initial` of `fastrec.RNN` that suit the cell.
    forget_gate : int or None
        Which block of "b" is the bias of a forget gate.
    torch : str or None
        The class of torch.nn with the same equations and order of gates.
    onnx : OnnxOperator or None
        The operator of ONNX with the same equations.
    family : str or None
        The cell of which this is a variant.
    options : mapping of str to object
        Arguments of `fastrec.RNN` that choose among a cell and its variants, with the values for this one.
    constants : mapping of str to float
        Parameters that training leaves alone unless it is told to change them, with their first values.
    normalisable : bool
        Whether layer normalisation is for this cell: a step is one product, and kernels/<backend>/<name>.py
        has functions of single units for the reference and for the cpu, the gpu a struct.
    gains : tuple of str
        The parameters that layer normalisation adds, () without it.
    own : str or None
        With layer normalisation, the parameter that each unit has for itself, None for none.
    """

    name: str
    description: str
    gates: int
    parameters: Mapping[str, tuple[Width, ...]]
    saved: tuple[Width, ...]
    state: slice
    initial: tuple[str, ...] = ("h0",)
    read_back: tuple[str, ...] = ()
    has_activation: bool = False
    takes_noise: bool = False
    feeds_back_output: bool = False
    overwrites_saved: int = 0
    inputs_in: int | None = 0
    recurrent_bias: str | None = None
    weights: tuple[str, ...] = ("orthogonal", "uniform")
    forget_gate: int | None = None
    torch: str | None = None
    onnx: OnnxOperator | None = None
    family: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    normalisable: bool = True
    gains: tuple[str, ...] = ()
    own: str | None = None

    def __repr__(self) -> str:
        return f'Cell("{self.name}")'

    def normalised(self, inputs: bool) -> Cell:
        """Return the description of this cell with layer normalisation of its recurrent products.

        inputs: whether those with the inputs are normalised, too.
        """
        columns = self.parameters["W_in"][1]
        own = [name for name in self.parameters if name not in ("W_in", "W_rec", "b")]
        gains = ("g_in",) * inputs + ("g_rec",)
        cells = "h" if len(self.initial) > 1 else "0h"
        return replace(
            self,
            parameters={**self.parameters, **dict.fromkeys(gains, (columns,))},
            # the hidden units, c of an LSTM, what a step keeps, the factors of both normal sums, and these
            saved=("h", cells, self.saved[-1], "2u", columns, columns),
            read_back=(*own, "own", "g_in", "g_rec"),
            overwrites_saved=2,
            inputs_in=4,
            torch=None,
            onnx=None,
            gains=gains,
            own=own[0] if own else None,
        )

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the parameters that the kernels take, in their order.

        With layer normalisation they are those of one pair of kernels for all cells; the ones that this cell
        does not have are empty there.
        """
        if self.gains:
            return ("W_in", "W_rec", "b", self.own or "own", "g_in", "g_rec")
        return (*self.parameters, *(("W_out", "b_out") if self.feeds_back_output else ()))

    def takes_back(self, key: str) -> bool:
        """Whether backward reads a parameter, which may be that of any layer."""
        return key.startswith(("W", *self.read_back))
