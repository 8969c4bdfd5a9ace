"""Models in files of ONNX, whose recurrent operators run on the kernels of fastrec."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..backend import BackendChoice
from ..messages import printable, shown
from ..rnn.config import Array
from ..rnn.device import Precision
from ..rnn.network import RNN
from ..validation import as_path
from .library import import_onnx
from .operators import OPERATORS, Operator

MOST_NODES = 10**5  # of a model that has functions


class Model:
    """A model that `fastrec.onnx.load` has read.

    Its recurrent operators run on the kernels of fastrec, and everything else in the reference implementation
    of the package onnx, which is written in NumPy.

    Attributes
    ----------
    inputs : dict of str to tuple
        Names of the inputs that `run` takes, with their shapes: a length that varies is a name or None.
    outputs : dict of str to tuple
        The same for the outputs.
    networks : dict of str to list of RNN
        By the name of each recurrent node with constant weights, or of its first output where it has no name
        or that of a node before it, the networks that compute it: one, or two where its directions have
        different activations.  They hold copies of its weights and have no output layer.  `run` computes with
        them: what they learn changes its results.

    Examples
    --------
    >>> fastrec.onnx.export(fastrec.RNN(3, 8, cell="gru", seed=0), "gru.onnx")
    >>> fastrec.onnx.load("gru.onnx").networks["Y_0"][0].cell
    'gru'
    """

    inputs: dict[str, tuple[int | str | None, ...]]
    outputs: dict[str, tuple[int | str | None, ...]]
    networks: dict[str, list[RNN]]

    def __init__(self, _evaluator: Any, _inputs: Any, _outputs: Any, _networks: dict[str, list[RNN]]) -> None:
        self._evaluator, self.inputs, self.outputs = _evaluator, shapes(_inputs), shapes(_outputs)
        self.networks = _networks

    def run(self, feeds: Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Compute the outputs of the model.

        Parameters
        ----------
        feeds : mapping of str to array_like
            The inputs by name, in ONNX's layouts: X of a recurrent operator is (t, b, i), or (b, t, i) if its
            attribute layout is 1, and sequence_lens holds b integers.

        Returns
        -------
        dict of str to ndarray
            The outputs by name, in the order of the model: Y (t, directions, b, h), 0 after the end of a
            sequence, Y_h and Y_c (directions, b, h).

        Raises
        ------
        ValueError
            If an input is missing, unknown, not finite or of a shape that does not fit.

        Examples
        --------
        >>> fastrec.onnx.export(fastrec.RNN(3, 8, 2, "gru", seed=0), "gru.onnx")
        >>> fastrec.onnx.load("gru.onnx").run({"x": np.zeros((4, 10, 3), np.float32)})["outputs"].shape
        (4, 10, 2)
        """
        if not isinstance(feeds, Mapping):
            raise ValueError(f"feeds is {shown(feeds)}; it must be a mapping of names to arrays")
        if odd := sorted(map(str, feeds.keys() ^ self.inputs.keys())):
            wanted = ", ".join(self.inputs)
            raise ValueError(f"feeds must have the keys {wanted}; check {', '.join(odd)}")
        arrays = {name: np.asarray(value) for name, value in feeds.items()}
        try:
            return dict(zip(self.outputs, self._evaluator.run(None, arrays), strict=True))
        except ValueError:
            raise
        except Exception as error:  # onnx and NumPy raise any, of a model that does not fit its inputs
            raise ValueError(
                f"the model cannot be computed with these inputs: {first_line(error)}"
            ) from error

    def __repr__(self) -> str:
        inputs, outputs = (
            ", ".join(f"{name} {shape}" for name, shape in ends.items())
            for ends in (self.inputs, self.outputs)
        )
        return f"Model(inputs: {inputs}; outputs: {outputs})"


def load(
    path: str | os.PathLike[str], backend: BackendChoice | None = None, precision: Precision = "float32"
) -> Model:
    """Read a model from a file of ONNX, to run its recurrent operators on the kernels of fastrec.

    The operators are RNN, GRU and LSTM with all of their inputs, directions and layouts, both forms of the
    GRU's reset gate, and peepholes.  Weights that are initializers are converted once.

    Parameters
    ----------
    path : path-like
        Name of the file.
    backend : str, optional
        Where the recurrent operators compute, as for `fastrec.RNN`.
    precision : {"float32", "tf32", "bf16"}
        As for `fastrec.RNN`.

    Returns
    -------
    Model
        What has the method `run`.

    Raises
    ------
    ValueError
        If the file is no model, or holds what cannot be computed, which the message names: clip,
        input_forget, other activations, operators that onnx does not implement.
    ImportError
        If onnx is not installed.

    Examples
    --------
    >>> fastrec.onnx.export(fastrec.RNN(3, 8, 2, "gru", seed=0), "gru.onnx")
    >>> fastrec.onnx.load("gru.onnx").inputs
    {'x': ('batch', 'time', 3)}
    """
    onnx = import_onnx()
    path = os.fspath(as_path("path", path))
    try:
        model = onnx.load(path)
        require_few_nodes(model)
        model = onnx.inliner.inline_local_functions(model)
    except (OSError, ImportError):
        raise
    except Exception as error:  # those of protobuf and of onnx have no base class of their own
        raise ValueError(f"{path}: is not a model of ONNX: {first_line(error)}") from None
    if not (model.graph.node and model.opset_import):
        raise ValueError(f"{path}: is not a model of ONNX: it has no nodes, or names no version of operators")
    initial = {tensor.name for tensor in model.graph.initializer}
    operators = recurrent_operators(onnx, backend, precision)
    networks: dict[str, list[RNN]] = {}
    try:
        evaluator: Any = onnx.reference.ReferenceEvaluator(model, new_ops=operators)
        for node in evaluator.rt_nodes_:
            if type(node) in operators:
                names = [(*node.input, *[""] * 8)[place] for place in (1, 2, 3, 7)]
                weights = [evaluator.rt_inits_.get(name) for name in names]
                if all(name in evaluator.rt_inits_ for name in filter(None, names)):
                    label = node.first_output if node.label in networks else node.label
                    networks[label] = node.networks = node.prepare(weights)
    except ValueError as error:
        raise ValueError(f"{path}: {first_line(error)}") from None
    except Exception as error:
        raise ValueError(f"{path}: onnx cannot compute it: {first_line(error)}") from None
    inputs = [each for each in model.graph.input if each.name not in initial]
    return Model(evaluator, inputs, model.graph.output, networks)


def require_few_nodes(model: Any) -> None:
    """Raise ValueError for functions that call each other so often that few lines of them are many nodes."""
    functions = {(each.domain, each.name): each.node for each in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def count(nodes: Any) -> int:
        total = 0
        for node in nodes:
            key = node.domain, node.op_type
            if key in functions and key not in sizes:
                sizes[key] = 0  # onnx refuses those that call themselves
                sizes[key] = count(functions[key])
            graphs = (graph for each in node.attribute for graph in (each.g, *each.graphs))
            total += 1 + sizes.get(key, 0) + sum(count(graph.node) for graph in graphs)
        return total

    if functions and (nodes := count(model.graph.node)) > MOST_NODES:
        raise ValueError(f"its functions stand for {nodes} nodes; {MOST_NODES} are the most")


def first_line(error: Exception) -> str:
    """What an error says, without what a file could make a terminal do."""
    return printable((str(error).strip() or type(error).__name__).partition("\n")[0])


def shapes(ends: Any) -> dict[str, tuple[int | str | None, ...]]:
    """The names and shapes of inputs or outputs of a graph."""
    return {
        end.name: tuple(
            axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None
            for axis in end.type.tensor_type.shape.dim
        )
        for end in ends
    }


def recurrent_operators(onnx: Any, backend: BackendChoice | None, precision: Precision) -> list[type]:
    """Classes with which onnx's evaluator computes the recurrent operators."""

    class Recurrent(onnx.reference.op_run.OpRun):  # type: ignore[misc]
        op_domain = ""

        def __init__(self, node: Any, settings: Any) -> None:
            super().__init__(node, settings)
            self.first_output = next(filter(None, node.output), node.name)
            self.label = node.name or self.first_output
            attributes = {name: getattr(self, name) for name in self.attributes_names_}
            self.operator = Operator.read(
                f'{node.op_type} "{printable(self.label)}"', node.op_type, attributes
            )
            self.networks: list[RNN] = []  # of weights that are initializers

        def prepare(self, weights: Sequence[Array | None]) -> list[RNN]:
            """The networks with W, R, B and P."""
            return self.operator.networks(weights, backend, precision)

        def _run(self, X: Array, W: Array, R: Array, *rest: Array | None, **_: Any) -> tuple[Array, ...]:
            B, lengths, h, c, P = (*rest, *[None] * 5)[:5]
            return self.operator.compute(self.networks or self.prepare((W, R, B, P)), X, lengths, (h, c))

    return [type(name, (Recurrent,), {}) for name in OPERATORS]
