"""Models of ONNX: run by fastrec, and written by it, beside ONNX's own node tests and ONNX Runtime."""

from __future__ import annotations

import contextlib
import copy
import importlib
import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks import files

import fastrec
from fastrec import RNN
from fastrec.rnn.cells import CELLS
from fastrec.rnn.config import Config

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
import onnx.backend.test.case.node as node_cases  # noqa: E402

OPERATORS = ("RNN", "GRU", "LSTM")
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
EXPRESSIBLE = [name for name, cell in CELLS.items() if cell.onnx]
Arrays = dict[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


def node_model(operator: str, arrays: Arrays, outputs: list[str], given: list[str], **attributes: Any) -> Any:
    """A model of one node, whose inputs are initializers unless they are to be given in each run."""
    order = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
    names = [name if name in arrays else "" for name in order[: 6 if operator != "LSTM" else 8]]
    node = onnx.helper.make_node(operator, names, outputs, name="cell", **attributes)

    def end(name: str) -> Any:
        dtype = onnx.helper.np_dtype_to_tensor_dtype(
            arrays[name].dtype if name in arrays else arrays["X"].dtype
        )
        return onnx.helper.make_tensor_value_info(
            name, dtype, getattr(arrays.get(name), "shape", [None] * (4 if name == "Y" else 3))
        )

    fixed = [onnx.numpy_helper.from_array(arrays[name], name) for name in arrays if name not in given]
    graph = onnx.helper.make_graph([node], "one", [end(name) for name in given], [*map(end, outputs)], fixed)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def draw(rng: np.random.Generator, operator: str, dtype: type = np.float32) -> tuple[Arrays, dict[str, Any]]:
    """Inputs and attributes of a random node that ONNX Runtime has, too."""
    ways, b, t, i, h = rng.integers(1, 3), *rng.integers(1, 7, 4)
    gates = GATES[operator]
    shapes = {"X": (t, b, i), "W": (ways, gates * h, i), "R": (ways, gates * h, h)}
    optional: dict[str, tuple[int, ...]] = {"B": (ways, 2 * gates * h), "initial_h": (ways, b, h)}
    if operator == "LSTM":
        optional |= {"initial_c": (ways, b, h), "P": (ways, 3 * h)}
    shapes |= {name: shape for name, shape in optional.items() if rng.integers(2)}
    arrays = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    if rng.integers(2):
        arrays["sequence_lens"] = rng.integers(1, t + 1, b).astype(np.int32)
    attributes: dict[str, Any] = {"hidden_size": int(h)}
    attributes["direction"] = "bidirectional" if ways == 2 else str(rng.choice(["forward", "reverse"]))
    if operator == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(2))
    if operator == "RNN" and rng.integers(2):
        attributes["activations"] = [
            str(f) for f in rng.choice(["Tanh", "Relu", "Sigmoid", "Softplus"], ways)
        ]
    return arrays, attributes


def close(ours: Any, expected: Any, tolerance: float = 1e-5) -> None:
    assert len(ours) == len(expected)
    for found, wanted in zip(ours, expected, strict=True):
        assert found.shape == wanted.shape and found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * max(1, abs(wanted).max(initial=0)))


def node_tests() -> list[Any]:
    """The cases of the recurrent operators: importing their files makes them, and no others."""
    with np.errstate(all="ignore"):  # they compute what to expect, and BLAS may leave flags of what it skips
        for operator in OPERATORS:
            importlib.import_module(f"{node_cases.__name__}.{operator.lower()}")
    return [case for case in node_cases._NodeTestCases if case.model.graph.node[0].op_type in OPERATORS]


@pytest.mark.parametrize("case", node_tests(), ids=lambda case: case.name)
def test_node_tests_of_onnx(case: Any, backend: str, path: Path) -> None:
    """With their weights as initializers, and once more with all as inputs."""
    model, ((inputs, outputs),) = copy.deepcopy(case.model), case.data_sets
    names = [end.name for end in model.graph.input]
    arrays = dict(zip(names, inputs, strict=True))
    onnx.save(model, path)
    close(fastrec.onnx.load(path, backend).run(arrays).values(), outputs, case.atol + 1e-6)
    for name in set(names) & set("WRBP"):
        model.graph.initializer.append(onnx.numpy_helper.from_array(arrays.pop(name), name))
    onnx.save(model, path)
    loaded = fastrec.onnx.load(path, backend)
    assert loaded.inputs.keys() == arrays.keys() and len(loaded.networks) == 1
    close(loaded.run(arrays).values(), outputs, case.atol + 1e-6)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("seed", range(7))
def test_random_nodes_equal_onnx_runtime(operator: str, seed: int, path: Path) -> None:
    """Ten nodes of each seed."""
    rng = np.random.default_rng([seed, len(operator)])
    for _ in range(10):
        arrays, attributes = draw(rng, operator)
        given = [name for name in arrays if name not in set("WRBP")]
        outputs = ["Y", "Y_h", "Y_c"][: 3 if operator == "LSTM" else 2]
        onnx.save(node_model(operator, arrays, outputs, given, **attributes), path)
        feeds = {name: arrays[name] for name in given}
        expected = runtime.InferenceSession(path).run(None, feeds)
        close(fastrec.onnx.load(path, "cpu").run(feeds).values(), expected)


@pytest.mark.parametrize("operator", OPERATORS)
def test_layout_one_is_batch_first(operator: str, path: Path) -> None:
    rng = np.random.default_rng(5)
    arrays, attributes = draw(rng, operator, np.float64)
    outputs = ["Y", "Y_h"]
    onnx.save(node_model(operator, arrays, outputs, ["X"], **attributes), path)
    Y, Y_h = fastrec.onnx.load(path).run({"X": arrays["X"]}).values()
    turned = {name: arrays[name].swapaxes(0, 1) for name in ("X", "initial_h", "initial_c") if name in arrays}
    onnx.save(node_model(operator, arrays | turned, outputs, ["X"], layout=1, **attributes), path)
    close(
        fastrec.onnx.load(path).run({"X": turned["X"]}).values(),
        (Y.transpose(2, 0, 1, 3), Y_h.swapaxes(0, 1)),
        0,
    )


@pytest.mark.parametrize("cell", EXPRESSIBLE)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("layers", "embedding"), [(1, None), (2, None), (2, 4), (1, 4)])
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("state", [False, True])
def test_exported_networks_equal_predict(
    cell: Any,
    direction: str,
    layers: int,
    embedding: int | None,
    tokens: bool,
    lengths: bool,
    state: bool,
    path: Path,
) -> None:
    """In ONNX Runtime, and loaded again."""
    both = direction == "bidirectional"
    rnn = RNN(
        *(5, 6, 3 if lengths else None, cell, "tanh", layers),
        **{"initial": "uniform", "embedding_size": embedding, "reverse": direction == "reverse"},
        **{"bidirectional": both, "seed": 3, "backend": "cpu"},
    )
    fastrec.onnx.export(rnn, path, tokens=tokens, lengths=lengths, state=state)
    rng = np.random.default_rng(0)
    x = rng.integers(5, size=(4, 7)) if tokens else rng.normal(size=(4, 7, 5)).astype(np.float32)
    ends = np.array([7, 3, 1, 5], np.int32) if lengths else None
    start: Any = None
    if state:
        shape = (layers * (1 + both), 4, 6)
        start = tuple(rng.normal(size=shape).astype(np.float32) for _ in CELLS[cell].initial)
        start = start if len(start) > 1 else start[0]
    outputs, last = rnn.predict(x, start, ends, tokens=tokens)
    expected = (outputs, *rnn.split_state(last))
    feeds = {"x": x} | ({"lengths": ends} if lengths else {})
    feeds |= (
        dict(zip(CELLS[cell].initial, start if isinstance(start, tuple) else (start,), strict=True))
        if state
        else {}
    )
    loaded = fastrec.onnx.load(path, "cpu")
    assert loaded.inputs.keys() == feeds.keys() and "batch" in repr(loaded)
    close(runtime.InferenceSession(path).run(None, feeds), expected)
    close(loaded.run(feeds).values(), expected)


def test_activations_and_learned_states_are_exported(backend: str, path: Path) -> None:
    for activation, dtype in itertools.product(("relu", "logistic", "softplus"), (np.float32, np.float64)):
        rnn = RNN(3, 5, 2, "elman", activation, dtype=dtype, seed=1, backend=backend)
        rnn.parameters["h0"][...] = 0.5
        fastrec.onnx.export(rnn, path)
        x = np.random.default_rng(2).normal(size=(2, 4, 3)).astype(dtype)
        outputs, last = rnn.predict(x)
        close(fastrec.onnx.load(path, backend).run({"x": x}).values(), (outputs, last), 1e-6)


def test_what_a_run_is_not_given_is_named(path: Path) -> None:
    fastrec.onnx.export(RNN(3, 5, seed=0), path)
    model = fastrec.onnx.load(path)
    with pytest.raises(ValueError, match=r"^feeds must have the keys x; check X, x$"):
        model.run({"X": np.zeros((1, 2, 3), np.float32)})
    with pytest.raises(ValueError, match=r"^feeds is 3; it must be a mapping"):
        model.run(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^x (has shape|holds)|cannot be computed"):
        model.run({"x": np.zeros((1, 2, 4), np.float32)})
    with pytest.raises(ValueError, match=r"^x holds nan"):
        model.run({"x": np.full((1, 2, 3), np.nan, np.float32)})
    assert model.run({"x": np.zeros((2, 0, 3), np.float32)})["outputs"].shape == (2, 0, 5)


def gru(draw: np.random.Generator) -> Arrays:
    shapes = {"X": (4, 2, 3), "W": (1, 15, 3), "R": (1, 15, 5), "initial_h": (1, 2, 5)}
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_weights_that_are_inputs_are_read_in_each_run(backend: str, path: Path) -> None:
    arrays = gru(np.random.default_rng(0))
    onnx.save(node_model("GRU", arrays, ["Y"], [*arrays]), path)
    model = fastrec.onnx.load(path, backend)
    assert not model.networks
    before = model.run(arrays)["Y"]
    arrays["W"] *= 2
    after = model.run(arrays)["Y"]
    close([after], [fastrec.onnx.load(path, backend).run(arrays)["Y"]])
    assert not np.allclose(before, after)


def test_nodes_of_one_name_have_networks_of_their_own(path: Path) -> None:
    model = node_model("GRU", gru(np.random.default_rng(0)), ["Y"], ["X"])
    second = onnx.NodeProto()
    second.CopyFrom(model.graph.node[0])
    second.output[0] = "Y2"
    model.graph.node.append(second)
    onnx.save(model, path)
    networks = fastrec.onnx.load(path).networks
    assert [*networks] == ["cell", "Y2"] and networks["cell"][0] is not networks["Y2"][0]


def test_a_run_computes_with_the_networks(path: Path) -> None:
    arrays = gru(np.random.default_rng(0))
    onnx.save(node_model("GRU", arrays, ["Y"], ["X"]), path)
    model = fastrec.onnx.load(path)
    (network,) = model.networks["cell"]
    network.parameters["W_in"] *= 2
    network.parameters["h0"] += 1  # the model gives states of its own
    arrays["W"] *= 2
    onnx.save(node_model("GRU", arrays, ["Y"], ["X"]), path)
    feeds = {"X": arrays["X"]}
    close(model.run(feeds).values(), fastrec.onnx.load(path).run(feeds).values())


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            "initial_h",
            np.zeros((1, 1, 5), np.float32),
            r'GRU "cell" has initial_h of shape \(1, 1, 5\); it must',
        ),
        ("X", np.zeros((2, 3), np.float32), r'GRU "cell" has X of shape \(2, 3\)'),
        ("W", np.float32(1), r'GRU "cell" has W of shape \(\) and'),
        ("W", np.zeros((1, 15, 3), np.float16), r'GRU "cell" has W of shape \(1, 15, 3\) and dtype float16'),
    ],
)
def test_arrays_of_other_shapes_are_named(name: str, array: Any, message: str, path: Path) -> None:
    arrays = gru(np.random.default_rng(0))
    onnx.save(node_model("GRU", arrays, ["Y"], [*arrays]), path)
    model = fastrec.onnx.load(path)
    with pytest.raises(ValueError, match=message):
        model.run(arrays | {name: array})


def calling(*nodes: tuple[str, str, list[str]], functions: Any = (), **constants: Any) -> Any:
    """A model of a GRU and of other nodes, (domain, operator, inputs), whose outputs it does not read."""
    arrays = gru(np.random.default_rng(0))
    model = node_model("GRU", arrays, ["Y"], ["X"])
    for number, (domain, operator, inputs) in enumerate(nodes):
        model.graph.node.append(onnx.helper.make_node(operator, inputs, [f"made_{number}"], domain=domain))
    for name, value in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    model.functions.extend(functions)
    return model


@pytest.mark.parametrize(
    ("operator", "inputs", "constants"),
    [
        ("Range", ["n", "n", "n"], {"n": 0}),
        ("Gather", ["X", "n"], {"n": 99}),
        ("ConstantOfShape", ["n"], {"n": [10**14]}),
        ("Add", ["n", "made_0"], {"n": 0}),
    ],
)
def test_what_other_operators_raise_is_a_value_error(
    operator: str, inputs: list[str], constants: Arrays, path: Path
) -> None:
    onnx.save(calling(("", operator, inputs), **constants), path)
    with pytest.raises(ValueError, match=r"^the model cannot be computed with these inputs"):
        fastrec.onnx.load(path).run({"X": np.zeros((4, 2, 3), np.float32)})


def test_functions_of_models(path: Path) -> None:
    opsets = [onnx.helper.make_opsetid(*each) for each in (("", 17), ("own", 1))]

    def function(name: str, *called: str) -> Any:
        names = ["x", *(f"x_{number}" for number in range(len(called) - 1)), "y"]
        nodes = [
            onnx.helper.make_node(operator, [a], [b], domain="own" if operator[0] == "F" else "")
            for operator, (a, b) in zip(called, itertools.pairwise(names), strict=True)
        ]
        return onnx.helper.make_function("own", name, ["x"], ["y"], nodes, opsets)

    last = function("F0", "Identity")
    doubled = [last, *(function(f"F{n}", f"F{n - 1}", f"F{n - 1}") for n in range(1, 60))]
    onnx.save(calling(("own", "F5", ["X"]), functions=doubled[:6]), path)
    fastrec.onnx.load(path).run({"X": np.zeros((4, 2, 3), np.float32)})
    onnx.save(calling(("own", "F59", ["X"]), functions=doubled), path)
    with pytest.raises(ValueError, match=r"model\.onnx: .*its functions stand for \d{18,} nodes"):
        fastrec.onnx.load(path)
    onnx.save(calling(("own", "F1", ["X"]), functions=[function("F1", "F1")]), path)
    with pytest.raises(ValueError, match=r"model\.onnx: "):
        fastrec.onnx.load(path)


def test_mutants_are_refused_by_name(path: Path) -> None:
    rnn = RNN(2, 3, 2, "lstm", bidirectional=True, seed=0)
    fastrec.onnx.export(rnn, path, lengths=True)
    content, draw = path.read_bytes(), random.Random(0)
    fed = {"x": np.zeros((2, 2, 2), np.float32), "lengths": np.array([1, 2])}
    messages = []
    for _ in range(200):
        path.write_bytes(files.mutant(content, draw, content[::-1]))
        try:
            model = fastrec.onnx.load(path, "reference")
        except (ValueError, OSError) as error:
            messages.append(str(error))
        else:
            with contextlib.suppress(ValueError), np.errstate(all="ignore"):
                model.run(fed)
    assert all(str(path) in message and message.isprintable() for message in messages)
    assert 50 < len(messages) < 200


@pytest.mark.parametrize(
    ("operator", "attributes", "message"),
    [
        ("GRU", {"clip": 1.0}, r'GRU "cell" has clip=1.0; fastrec has no bound'),
        ("LSTM", {"input_forget": 1}, r'LSTM "cell" has input_forget=1; fastrec has'),
        (
            "RNN",
            {"activations": ["ThresholdedRelu"]},
            r'RNN "cell" has the activation thresholdedrelu; fastrec',
        ),
        (
            "GRU",
            {"activations": ["Sigmoid", "Relu"]},
            r'GRU "cell" has activations=.*; fastrec has Sigmoid, Tanh',
        ),
        ("LSTM", {"activations": ["HardSigmoid", "Tanh", "Tanh"]}, r'LSTM "cell" has activations='),
        ("GRU", {"direction": "\x1b[2J"}, r"GRU \"cell\" has direction='\\x1b\[2J'"),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_name(
    operator: str, attributes: dict[str, Any], message: str, path: Path
) -> None:
    n = 3 * GATES[operator]
    arrays = {"X": np.zeros((2, 1, 2)), "W": np.zeros((1, n, 2)), "R": np.zeros((1, n, 3))}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    onnx.save(node_model(operator, arrays, ["Y"], ["X"], hidden_size=3, **attributes), path)
    with pytest.raises(ValueError, match=message):
        fastrec.onnx.load(path)


@pytest.mark.parametrize(
    ("rnn", "message"),
    [
        (lambda: RNN(3, 5, 2, "jordan", seed=0), 'cell="jordan", which the operators of ONNX cannot'),
        (lambda: RNN(3, 5, 2, models=2, seed=0), r"2 networks, .*copy\(model=j\)"),
    ],
)
def test_networks_that_onnx_does_not_have_are_refused(rnn: Any, message: str, path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        fastrec.onnx.export(rnn(), path)
    assert not path.exists()


def test_files_that_are_no_models(path: Path) -> None:
    with pytest.raises(ValueError, match=r"suffix must be \.onnx"):
        fastrec.onnx.export(RNN(3, 5, seed=0), path.with_suffix(".bin"))
    with pytest.raises(FileNotFoundError):
        fastrec.onnx.load(path)
    for data in (b"", b"not a model", b"\x08\x08" * 40):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"model\.onnx: is not a model of ONNX"):
            fastrec.onnx.load(path)


def test_every_cell_that_torch_has_is_in_onnx() -> None:
    assert {name for name, cell in CELLS.items() if cell.torch} <= set(EXPRESSIBLE)
    for name in EXPRESSIBLE:
        cell = CELLS[name]
        assert cell.onnx is not None and sorted(cell.onnx.gates) == list(range(cell.gates))
        config = Config(2, 3, None, cell.name, "tanh", 1, None, np.float32)  # type: ignore[arg-type]
        assert bool(cell.onnx.peepholes) == ("p" in config.shapes)
