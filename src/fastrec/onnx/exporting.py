"""Recurrent networks written to files of ONNX."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..files import new_file, require_suffix
from ..messages import shown
from ..rnn.config import Array, Config
from ..rnn.network import RNN, require_network
from ..rnn.torch_weights import each_direction, give_biases
from ..validation import as_bool, as_path
from .library import import_onnx
from .operators import NAMES, in_onnx_order

OPSET, FORMAT = 17, 8  # what programs of 2022 and later read


class Graph:
    """Nodes and initializers of a model, as they are added."""

    def __init__(self, onnx: Any) -> None:
        self.onnx, self.nodes, self.initializers = onnx, [], []  # type: ignore[var-annotated]

    def constant(self, name: str, array: Any) -> str:
        """Add an initializer; return its name."""
        self.initializers.append(self.onnx.numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def node(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node with one output; return the name of that, by default the operator with a number."""
        name = name or f"{operator.lower()}_{len(self.nodes)}"
        self.add(operator, list(inputs), [name], **attributes)
        return name

    def add(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """Add a node with several outputs."""
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, outputs, **attributes))


def export(
    rnn: RNN,
    path: str | os.PathLike[str],
    *,
    tokens: bool = False,
    lengths: bool = False,
    state: bool = False,
) -> None:
    """Write a network to a file of ONNX, which other programs run, such as ONNX Runtime.

    Arrays are (b, t, ...) as in `RNN.predict`; the number of sequences and of steps may vary between runs.

    Parameters
    ----------
    rnn : RNN
        A network with `cell` "elman", "gru", "gru_before", "lstm" or "lstm_peepholes".
    path : path-like
        Name of the file, ending in .onnx; it is replaced in one step.
    tokens : bool
        Whether the input "x" is int64 tokens (b, t) in place of numbers (b, t, i).
    lengths : bool
        Whether there is an input "lengths" (b,) int32, the steps of each sequence; outputs are 0 after them.
    state : bool
        Whether there are inputs "h0" (layers, b, h), and for an LSTM "c0", in place of the learned ones.

    Raises
    ------
    ValueError
        For networks that ONNX's operators cannot express, which the message names: "jordan", "leaky",
        k networks; unless path ends in .onnx.
    ImportError
        If onnx is not installed.
    OSError
        If the file cannot be written.

    Notes
    -----
    The outputs of the model are "outputs" (b, t, o), the hidden units if the network has no output layer, and
    the last state "h" (layers, b, h), and for an LSTM "c". A bidirectional network has two states a layer.

    Examples
    --------
    >>> rnn = fastrec.RNN(3, 8, 2, "lstm", bidirectional=True, seed=0)
    >>> fastrec.onnx.export(rnn, "lstm.onnx", lengths=True)
    """
    require_network(rnn)
    as_path("path", path)
    tokens, lengths, state = (
        as_bool(name, value) for name, value in (("tokens", tokens), ("lengths", lengths), ("state", state))
    )
    c = rnn._config
    if c.kind.onnx is None or c.activation not in NAMES:
        fault = f'cell="{c.cell}"' if c.kind.onnx is None else f'activation="{c.activation}"'
        fault = f"layer_norm={shown(c.layer_norm)}" if c.layer_norm else fault
        raise ValueError(f"rnn has {fault}, which the operators of ONNX cannot express")
    if c.models is not None:
        raise ValueError(
            f"rnn is {c.models} networks, and a model of ONNX is one; copy(model=j) makes one of them"
        )
    rnn._check()
    require_suffix(path, ".onnx")
    onnx = import_onnx()
    model = describe(onnx, c, rnn._on_host(), tokens, lengths, state)
    onnx.checker.check_model(model, full_check=True)
    with new_file(path) as file:
        onnx.save(model, os.fspath(file))


def describe(
    onnx: Any, c: Config, parameters: dict[str, Array], tokens: bool, lengths: bool, state: bool
) -> Any:
    """The model of a network."""
    graph, kind = Graph(onnx), c.kind
    assert kind.onnx is not None
    constant, node = graph.constant, graph.node
    element = onnx.helper.np_dtype_to_tensor_dtype(c.dtype)
    directions = c.num_layers * c.directions

    def end(name: str, dtype: int, *shape: int | str) -> Any:
        return onnx.helper.make_tensor_value_info(name, dtype, shape)

    x_shape = () if tokens else (c.input_size,)
    inputs = [end("x", onnx.TensorProto.INT64 if tokens else element, "batch", "time", *x_shape)]
    steps = node("Transpose", "x", perm=[1, 0] if tokens else [1, 0, 2])  # (t, b, ...)
    if tokens and c.embedding_size is not None:
        read = node("Gather", constant("E", parameters["E"]), steps)
    elif tokens:
        depth = constant("input_size", np.array(c.input_size, np.int64))
        read = node("OneHot", steps, depth, constant("off_on", np.array([0, 1], c.dtype)), axis=-1)
    elif c.embedding_size is not None:
        read = node("MatMul", steps, constant("E", parameters["E"]))
    else:
        read = steps
    ends = ""
    if lengths:
        ends = "lengths"
        inputs.append(end(ends, onnx.TensorProto.INT32, "batch"))
    names = [name.removesuffix("0") for name in kind.initial]  # "h", "c"
    if state:
        inputs += [end(name, element, directions, "batch", c.hidden_size) for name in kind.initial]
        starts = [[name] if c.num_layers == 1 else split(graph, name, c) for name in kind.initial]
    else:
        starts = [learned(graph, c, parameters, part) for part in range(len(names))]
    lasts: list[list[str]] = [[] for _ in names]
    flat = constant("flat", np.array([0, 0, c.hidden_width], np.int64))
    own = each_direction(c, parameters)
    options: dict[str, Any] = {
        "hidden_size": c.hidden_size,
        "direction": c.direction,
        **kind.onnx.attributes,
    }
    if kind.has_activation:
        options["activations"] = [NAMES[c.activation]] * c.directions
    for layer in range(c.num_layers):
        weights = weights_of(graph, c, own[layer * c.directions : (layer + 1) * c.directions], layer)
        before = [start[layer] if start else "" for start in starts]
        y = f"Y_{layer}"
        last = [f"{name}_{layer}" for name in names]
        inward = [read, *weights[:3], ends, *before, *weights[3:]]
        graph.add(kind.onnx.name, inward, [y, *last], **options)
        for made, name in zip(lasts, last, strict=True):
            made.append(name)
        read = node("Reshape", node("Transpose", y, perm=[0, 2, 1, 3]), flat)  # (t, b, directions h)
    outputs = node("Transpose", read, perm=[1, 0, 2], name="" if c.has_output_layer else "outputs")
    if c.has_output_layer:
        product = node("MatMul", outputs, constant("W_out", parameters["W_out"]))
        outputs = node(
            "Add", product, constant("b_out", parameters["b_out"]), name="" if lengths else "outputs"
        )
        if lengths:
            clear_padding(graph, outputs, c)
    for name, made in zip(names, lasts, strict=True):
        node("Concat", *made, name=name, axis=0)
    results = [end("outputs", element, "batch", "time", c.outputs_width)]
    results += [end(name, element, directions, "batch", c.hidden_size) for name in names]
    made_graph = onnx.helper.make_graph(graph.nodes, "fastrec", inputs, results, graph.initializers)
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    return onnx.helper.make_model(
        made_graph, opset_imports=opsets, ir_version=FORMAT, producer_name="fastrec"
    )


def weights_of(graph: Graph, c: Config, own: list[dict[str, Array]], layer: int) -> list[str]:
    """Names of W, R, B, and of P where the cell has peepholes, of a layer."""
    onnx = c.kind.onnx
    assert onnx is not None
    biases = [
        np.concatenate([in_onnx_order(b, onnx.gates) for b in give_biases(c.kind, each)]) for each in own
    ]
    arrays = {
        "W": [in_onnx_order(each["W_in"].T, onnx.gates) for each in own],
        "R": [in_onnx_order(each["W_rec"].T, onnx.gates) for each in own],
        "B": biases,
    }
    if onnx.peepholes:
        arrays["P"] = [in_onnx_order(each["p"], onnx.peepholes) for each in own]
    return [graph.constant(f"{key}_{layer}", np.stack(parts)) for key, parts in arrays.items()]


def split(graph: Graph, name: str, c: Config) -> list[str]:
    """An input state (layers * directions, b, h) as one of each layer."""
    parts = [f"{name}_{layer}" for layer in range(c.num_layers)]
    sizes = graph.constant(f"{name}_sizes", np.full(c.num_layers, c.directions, np.int64))
    graph.add("Split", [name, sizes], parts, axis=0)
    return parts


def learned(graph: Graph, c: Config, parameters: dict[str, Array], part: int) -> list[str]:
    """The learned initial state of each layer for the whole batch; nothing if all are 0."""
    names = [keys[part] for keys in c.initial]
    if not any(parameters[name].any() for name in names):
        return []
    shape = f"state_shape_{part}"
    batch = graph.node("Shape", "x", start=0, end=1)
    one, width = (
        graph.constant(f"{shape}_{at}", np.array([n], np.int64)) for at, n in ((0, 1), (2, c.hidden_size))
    )
    graph.node("Concat", one, batch, width, name=shape, axis=0)
    return [
        graph.node("Expand", graph.constant(name, parameters[name].reshape(c.directions, 1, -1)), shape)
        for name in names
    ]


def clear_padding(graph: Graph, outputs: str, c: Config) -> None:
    """Make what a model returns 0 after the end of each sequence."""
    node, zero, one = graph.node, *(graph.constant(f"int_{n}", np.array(n, np.int64)) for n in (0, 1))
    axes = [graph.constant(f"axis_{axis}", np.array([axis], np.int64)) for axis in (1, 2)]
    steps = node("Range", zero, node("Squeeze", node("Shape", "x", start=1, end=2)), one)
    ends = node("Unsqueeze", node("Cast", "lengths", to=graph.onnx.TensorProto.INT64), axes[0])
    counts = node("Unsqueeze", node("Less", steps, ends), axes[1])
    node("Where", counts, outputs, graph.constant("nothing", np.array(0, c.dtype)), name="outputs")
