"""Every RNN kernel: the reference against finite differences, each backend against the reference."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from devices import all_kernels, host_kernels
from hypothesis import given
from hypothesis import strategies as st

from fastrec.kernels import ACTIVATIONS, LOGISTIC, RELU, SOFTPLUS, TANH

# affine is no cell, but its two kernels are like those of a cell without a state.
CELLS = [(cell, activation) for cell in ("elman", "jordan") for activation in (TANH, RELU, LOGISTIC)]
CELLS += [("elman", SOFTPLUS), ("leaky", RELU)]
CELLS += [(cell, TANH) for cell in ("gru", "gru_before", "lstm", "lstm_peepholes", "affine")]
INPUTS = (
    "a",
    "x",
    "state",
    "W",
    "W_in",
    "W_rec",
    "W_out",
    "b",
    "b_n",
    "p",
    "leak",
    "own",
    "g_in",
    "g_rec",
    "b_out",
)
GIVEN = ("d_hidden", "d_outputs", "d_out", "d_last")
SAME = {"d_z": "d_hidden", "d_y": "d_outputs", "d_gates": "gates"}  # may be one array
SAME |= {"d_inward": "inward", "d_recurrent": "recurrent"}
UNSET = (
    "cells",
    "gates",
    "reset",
    "values",
    "kept",
    "scales",
    "inward",
    "recurrent",
    *SAME,
)  # not set in the padding
TIMED = ("hidden", "outputs", "out", "d_x", "d_a", "flow", *UNSET)  # (k, b, t, ...), filled by kernels
BATCHED = (*TIMED, *GIVEN, "a", "x", "noise", "tokens", "state", "d_state")
# k, m, b, t, i, h, o; a short run has most cells in the first only
SIZES = [
    (3, 3, 5, 7, 3, 17, 33),
    (1, 1, 3, 17, 17, 33, 3),
    (1, 1, 1, 1, 1, 1, 1),
    (17, 17, 1, 3, 1, 3, 1),
    (3, 1, 17, 3, 33, 65, 17),
    (1, 1, 65, 2, 130, 17, 130),
    (2, 1, 1, 33, 65, 1, 65),
    (1, 1, 33, 3, 65, 130, 33),
]
reference = all_kernels("rnn", "reference")
# Largest error, as a part of the largest magnitude in the array.
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}

Arrays = dict[str, Any]
Threads = Callable[[int], int]
IDS = [f"{cell}-{ACTIVATIONS[activation]}" for cell, activation in CELLS]
all_cells = pytest.mark.parametrize(("cell", "activation"), CELLS, ids=IDS)
all_sizes = pytest.mark.parametrize("size", SIZES, ids=str)
all_dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE))
# A short run compiles all cells in float64, in which gradients are checked; in float32 those of other tests.
double_in_short = pytest.mark.parametrize(
    "dtype", [pytest.param(np.float32, marks=pytest.mark.slow), np.float64]
)
on_each_backend = pytest.mark.each_value("backend", "compiled")
x_or_tokens = pytest.mark.parametrize("tokens", [False, True], ids=["x", "tokens"])


@pytest.fixture(scope="module")
def module(backend: str) -> ModuleType:
    return host_kernels("rnn", backend)


@pytest.fixture(scope="module")
def twin(compiled: str) -> ModuleType:
    return host_kernels("rnn", compiled)


@pytest.fixture(scope="module")
def cpu(compiled: str) -> ModuleType:
    if compiled != "cpu":
        pytest.skip("threads are the CPU's")
    return all_kernels("rnn", compiled)


def arguments(kernel: str) -> list[str]:
    """The positional arguments of a kernel."""
    parameters = inspect.signature(getattr(reference, kernel)).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY]


def spoil(array: np.ndarray, on: np.ndarray) -> None:
    """Fill an array (k, b, t, ...) off the steps on (b, t) with what must not be used."""
    array[:, ~on] = np.resize([np.nan, np.inf, -np.inf], array[:, ~on].shape)


class Case:
    """Arguments of a cell's two kernels by name: arrays (what they read, at random), shapes of all.

    on (b, t) is False in the padding, where x and gradients are not finite and tokens -7.  of: the cell whose
    products "normalised" normalises, also those of the inputs if so.
    """

    def __init__(
        self,
        cell: str,
        activation: int,
        size: tuple[int, ...],
        dtype: type = np.float64,
        tokens: bool = False,
        lengths: list[int] | None = None,
        seed: int = 0,
        of: str = "",
        inputs: bool = True,
    ) -> None:
        k, m, b, t, i, h, o = size
        rng = np.random.default_rng([*size, seed])
        lengths = [t, 0, *rng.integers(t + 1, size=b)][:b] if lengths is None else lengths
        self.of = of or cell
        self.cell, self.dtype, self.on = cell, dtype, np.arange(t) < np.array(lengths)[:, None]
        # gates, width of what is fed back, width of the state
        widths = {"jordan": (1, o, o), "gru": (3, h, h), "gru_before": (3, h, h)}
        widths |= {"lstm": (4, h, 2 * h), "lstm_peepholes": (4, h, 2 * h)}
        g, y, s = widths.get(self.of, (1, h, h))
        kept = 3 if cell == "gru_before" else 4  # of each unit and step
        shapes = {"a": (k, b, t, h), "x": (m, b, t, 0 if tokens else i), "state": (k, b, s)}
        shapes |= {"W": (k, h, o), "W_in": (k, i, g * h), "W_rec": (k, y, g * h), "W_out": (k, h, o)}
        shapes |= {"b": (k, o if cell == "affine" else g * h), "b_n": (k, h), "b_out": (k, o)}
        shapes |= {"p": (k, 3 * h), "leak": (k, h), "noise": (k, b, t, h), "values": (k, b, t, h)}
        shapes |= {"hidden": (k, b, t, h), "outputs": (k, b, t, o), "out": (k, b, t, o)}
        shapes |= {"cells": (k, b, t, h), "reset": (k, b, t, h), "gates": (k, b, t, kept * h)}
        shapes |= {"z": (k, b, t, h), "y": (k, b, t, o)}
        if of:
            own = {"gru": h, "lstm_peepholes": 3 * h, "leaky": h}.get(of, 0)
            shapes |= {
                "own": (k, own),
                "g_in": (k, inputs * g * h),
                "g_rec": (k, g * h),
                "scales": (k, b, t, 2),
            }
            shapes |= {"cells": (k, b, t, s - h), "noise": (k, b, t, h * (of == "leaky"))}
            shapes |= {"inward": (k, b, t, g * h), "recurrent": (k, b, t, g * h)}
            shapes["kept"] = (k, b, t, (4 if of == "gru" else g) * h)
        shapes |= {f"d_{name}": shape for name, shape in shapes.items()}
        self.shapes = shapes | {"d_last": (k, b, s), "d_x": (k, b, t, shapes["x"][3]), "flow": (k, b, t)}

        self.arrays: Arrays = {"lengths": np.array(lengths), "activation": activation}
        self.arrays["tokens"] = np.zeros((m, b, t) if tokens else (1, 0, 0), np.int32)
        if tokens:
            self.arrays["tokens"][:] = np.where(self.on, rng.integers(i, size=(m, b, t)), -7)
        read = {*arguments(f"{cell}_forward"), *arguments(f"{cell}_backward")}
        for name in (name for name in (*INPUTS, *GIVEN, "noise") if name in read):
            scale = self.shapes[name][1] ** -0.5 if name.startswith("W") else 1
            self.arrays[name] = (scale * rng.normal(size=self.shapes[name])).astype(dtype)
            if name == "leak" or (name == "own" and of == "leaky"):
                self.arrays[name] = np.abs(self.arrays[name]) % 1
            if name in ("x", "noise", "d_hidden", "d_outputs", "d_out"):
                spoil(self.arrays[name], self.on)

    def take(self, networks: list[int], rows: list[int]) -> Case:
        """The case of some of several networks and of some rows."""
        case = copy.copy(self)
        case.on = self.on[rows]
        case.shapes = {
            name: (len(networks), len(rows) if name in BATCHED else shape[1], *shape[2:])
            for name, shape in self.shapes.items()
        }
        case.arrays = {**self.arrays, "lengths": self.arrays["lengths"][rows]}
        for name, array in self.arrays.items():
            if np.ndim(array) > 1:
                own = array[networks] if len(array) > 1 else array
                batched = name in BATCHED and array.shape[1]
                case.arrays[name] = np.ascontiguousarray(own[:, rows]) if batched else own
        return case

    def run(self, module: ModuleType, way: str, arrays: Arrays | None = None, same: bool = False) -> Arrays:
        """What a kernel fills, which is NaN before it; with same, what it reads where the two may be one."""
        kernel, known = f"{self.cell}_{way}", {"cell": self.of, **self.arrays, **(arrays or {})}
        filled = [name for name in arguments(kernel) if name not in known]
        for name in filled:
            if same and name in SAME:
                known[name] = known[SAME[name]]
            else:
                known[name] = np.full(self.shapes[name], np.nan, float if name == "flow" else self.dtype)
        getattr(module, kernel)(*(known[name] for name in arguments(kernel)))
        return {name: known[name] for name in filled}

    def run_both(self, module: ModuleType) -> Arrays:
        """What both kernels fill, but for what they need not set."""
        kept = self.run(module, "forward")
        made = kept | self.run(module, "backward", kept)
        return {name: array[:, self.on] if name in UNSET else array for name, array in made.items()}

    def compare(self, ours: Arrays, expected: Arrays, tolerance: float | None = None) -> None:
        for name, wanted in expected.items():
            found = ours[name]
            if name in TIMED and wanted.size:
                assert name in UNSET or not found[:, ~self.on].any(), name
                found, wanted = found[:, self.on], wanted[:, self.on]
            share = 1 if tolerance is None else tolerance / TOLERANCE[self.dtype]
            close(found, wanted, self.dtype, name, share)

    def states(self, made: Arrays) -> np.ndarray:
        """The state after each step (k, b, t, s)."""
        lstm = ["hidden", "cells"]
        parts = {"jordan": ["outputs"], "lstm": lstm, "lstm_peepholes": lstm}.get(self.of, ["hidden"])
        return np.concatenate([made[name] for name in parts], axis=3)

    def after(self, step: int, made: Arrays) -> Case:
        """The case of the steps after one, started from the state there."""
        case, rest = copy.copy(self), slice(step + 1, None)
        case.on = self.on[:, rest]
        case.shapes = {
            name: (*shape[:2], case.on.shape[1], *shape[3:]) if name in TIMED else shape
            for name, shape in self.shapes.items()
        }
        timed = [name for name in ("x", "noise", "d_hidden", "d_outputs") if name in self.arrays]
        case.arrays = self.arrays | {name: self.arrays[name][:, :, rest] for name in timed}
        case.arrays["lengths"] = np.maximum(self.arrays["lengths"] - step - 1, 0)
        case.arrays["state"] = self.states(made)[:, :, step]
        return case

    def error(self) -> float:
        """The number that d_hidden, d_outputs, d_out and d_last are gradients of."""
        made, given, lengths = self.run(reference, "forward"), self.arrays, self.arrays["lengths"]
        ways = [name for name in made if f"d_{name}" in GIVEN and f"d_{name}" in given]
        total = sum((made[name][:, self.on] * given[f"d_{name}"][:, self.on]).sum() for name in ways)
        if self.cell != "affine":
            after = self.states(made)[:, range(len(lengths)), lengths - 1]
            total += (np.where(lengths[:, None] > 0, after, given["state"]) * given["d_last"]).sum()
        return float(total)


def close(ours: np.ndarray, expected: np.ndarray, dtype: type, name: str = "", share: float = 1) -> None:
    assert ours.shape == expected.shape, name
    error = np.abs(ours.astype(float) - expected).max(initial=0)
    # CuPy compiles with -ftz=true: in each term of a sum what is no normal float32 is 0 on a card.
    flushed = 100 * float(np.finfo(np.float32).tiny) if dtype == np.float32 else 0
    assert error <= share * TOLERANCE[dtype] * np.abs(expected).max(initial=0) + flushed, (name, error)


def assert_equal(ours: Arrays, expected: Arrays) -> None:
    for name, wanted in expected.items():
        assert np.array_equal(ours[name], wanted), name


def differences(f: Callable[[], float], array: np.ndarray) -> np.ndarray:
    """Central differences of f() with respect to what array holds, 0 where that is not finite."""
    gradient = np.zeros_like(array)
    for index in map(tuple, np.argwhere(np.isfinite(array))):
        kept = array[index]
        for side in (1, -1):
            array[index] = kept + side * 1e-6
            gradient[index] += side * f() / 2e-6
        array[index] = kept
    return gradient


@all_cells
@x_or_tokens
@pytest.mark.parametrize("m", [1, 2])
def test_reference_gradients_are_finite_differences(cell: str, activation: int, tokens: bool, m: int) -> None:
    """Seeds are fixed, and no argument of relu is within 1e-3 of 0."""
    case = Case(cell, activation, (2, m, 4, 3, 2, 3, 2), tokens=tokens, lengths=[3, 0, 2, 1])
    made = case.run_both(reference)
    for name in (name for name in INPUTS if name in case.arrays):
        found = made[f"d_{name}"]
        if name == "x":
            found = found.reshape(m, 2 // m, *found.shape[1:]).sum(axis=1)
        expected = differences(case.error, case.arrays[name])
        assert np.allclose(found, expected, rtol=0, atol=1e-8), name


@pytest.mark.parametrize(("cell", "activation"), CELLS[:-1], ids=IDS[:-1])
def test_reference_flow_is_what_later_steps_and_outputs_give(cell: str, activation: int) -> None:
    """Total dE/dh_t is its own gradient and that of the state with which the rest of the sequence starts."""
    case = Case(cell, activation, (2, 1, 4, 4, 2, 3, 2), lengths=[4, 0, 2, 1])
    made = case.run(reference, "forward")
    flow = case.run(reference, "backward", made)["flow"]
    for step in range(4):
        on = case.on[:, step]
        later = case.after(step, made).run_both(reference)["d_state"][:, on]
        if cell == "jordan":
            d_outputs = case.arrays["d_outputs"][:, on, step]
            later = (d_outputs + later) @ case.arrays["W_out"].swapaxes(1, 2)
        total = case.arrays["d_hidden"][:, on, step] + later[:, :, :3]
        assert np.allclose(flow[:, on, step], (total**2).sum(axis=2), rtol=1e-12, atol=0)
        assert not flow[:, ~on, step].any()


def worked(
    module: ModuleType, x: list[float], W_in: float, W_rec: float, b: float, W_out: float
) -> tuple[Case, Case, Arrays, Arrays]:
    """An Elman network of one logistic unit and its linear output: their cases and what forward fills."""
    size, t = (1, 1, 1, len(x), 1, 1, 1), len(x)
    cell = Case("elman", LOGISTIC, size, lengths=[t])
    output = Case("affine", LOGISTIC, size, lengths=[t])
    cell.arrays["x"][0, 0, :, 0] = x
    for name, value in {"W_in": W_in, "W_rec": W_rec, "b": b, "state": 0, "d_last": 0}.items():
        cell.arrays[name][:] = value
    output.arrays["W"][:], output.arrays["b"][:] = W_out, 0
    made = cell.run(module, "forward")
    output.arrays["a"] = made["hidden"]
    return cell, output, made, output.run(module, "forward")


def test_worked_forward(module: ModuleType) -> None:
    made, out = worked(module, [9, 4, -2], W_in=0.5, W_rec=-1, b=-1, W_out=-0.7)[2:]
    assert made["hidden"][0, 0, 2, 0] == pytest.approx(0.0753, abs=5e-5)
    h = 0.0
    for step, x in enumerate([9, 4, -2]):
        h = 1 / (1 + np.exp(-(0.5 * x - h - 1)))
        assert made["hidden"][0, 0, step, 0] == pytest.approx(h, abs=1e-12)
        assert out["out"][0, 0, step, 0] == pytest.approx(-0.7 * h, abs=1e-12)


def test_worked_backward(module: ModuleType) -> None:
    """dE/dz of the middle step: all of it, by its own output, by the output after it."""
    cell, output, made, out = worked(module, [18, 9, -8], W_in=-0.1, W_rec=0.5, b=0.4, W_out=0.25)
    targets, losses = np.array([0.1, -0.1, -0.2]).reshape(1, 1, 3, 1), np.empty((1, 1))
    d_out = np.full((1, 1, 3, 1), np.nan)
    module.squared_error(out["out"], targets, np.ones((1, 3)), np.ones(1), np.ones(1), losses, d_out)
    assert losses[0, 0] == pytest.approx(((out["out"] - targets) ** 2).sum() / 2, abs=1e-12)
    for steps, expected in [([0, 1, 2], 0.013934), ([1], 0.012026), ([2], 0.001908)]:
        output.arrays["d_out"] = np.zeros_like(d_out)
        output.arrays["d_out"][:, :, steps] = d_out[:, :, steps]
        cell.arrays["d_hidden"] = output.run(module, "backward")["d_a"]
        d_z = cell.run(module, "backward", made)["d_z"]
        assert d_z[0, 0, 1, 0] == pytest.approx(expected, abs=1e-6)


def check(
    module: ModuleType, case: Case, specified: ModuleType = reference, tolerance: float | None = None
) -> None:
    """A backend's forward kernel against the reference, then its backward kernel on what that kept."""
    before = copy.deepcopy(case.arrays)
    kept = case.run(specified, "forward")
    case.compare(case.run(module, "forward"), kept, tolerance)
    for name in UNSET:
        if name in kept:
            spoil(kept[name], case.on)
    expected, shapes = case.run(specified, "backward", copy.deepcopy(kept)), case.shapes
    given = copy.deepcopy(kept)
    case.compare(case.run(module, "backward", given), expected, tolerance)
    assert all(np.array_equal(given[name], kept[name], equal_nan=True) for name in kept)
    assert all(np.array_equal(case.arrays[name], before[name], equal_nan=True) for name in before)
    again = case.run(module, "backward", copy.deepcopy({**before, **kept}), same=True)
    case.compare(again, expected, tolerance)
    if case.cell != "affine":
        case.shapes = {**shapes, "d_x": (*shapes["d_x"][:3], 0), "flow": (*shapes["flow"][:2], 0)}
        made = case.run(module, "backward", copy.deepcopy({**before, **kept}), same=True)
        wanted = {name: array for name, array in expected.items() if name not in ("d_x", "flow")}
        case.compare(made, wanted, tolerance)


@on_each_backend
@all_cells
@all_sizes
@double_in_short
@x_or_tokens
def test_equals_reference(
    module: ModuleType, cell: str, activation: int, size: tuple[int, ...], dtype: type, tokens: bool
) -> None:
    """The reference too, for what may be one array."""
    check(module, Case(cell, activation, size, dtype, tokens))


@on_each_backend
@all_cells
@double_in_short
def test_rows_without_a_step(module: ModuleType, cell: str, activation: int, dtype: type) -> None:
    case = Case(cell, activation, (3, 1, 5, 2, 3, 17, 3), dtype, lengths=[0] * 5)
    check(module, case)
    if cell != "affine":
        assert np.array_equal(case.run_both(module)["d_state"], case.arrays["d_last"])


@double_in_short
@given(
    cell=st.sampled_from(CELLS),
    k=st.integers(1, 3),
    own=st.booleans(),
    t=st.integers(1, 6),
    iho=st.tuples(*[st.integers(1, 20)] * 3),
    tokens=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_any_case_equals_reference(
    twin: ModuleType,
    cell: tuple[str, int],
    k: int,
    own: bool,
    t: int,
    iho: tuple[int, int, int],
    dtype: type,
    tokens: bool,
    seed: int,
    data: st.DataObject,
) -> None:
    lengths = data.draw(st.lists(st.integers(0, t), min_size=1, max_size=9), label="lengths")
    check(twin, Case(*cell, (k, k if own else 1, len(lengths), t, *iho), dtype, tokens, lengths, seed))


@pytest.fixture
def same_plan(compiled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the gpu k and b decide how many blocks share a sum, hence its order; here one choice serves all."""
    if compiled == "gpu":
        from fastrec.kernels.gpu import recurrent

        plan = recurrent.plan
        monkeypatch.setattr(recurrent, "plan", lambda cell, kind, k, b, *rest: plan(cell, kind, 3, 17, *rest))


@on_each_backend
@all_cells
@all_dtypes
@x_or_tokens
@pytest.mark.usefixtures("same_plan")
@pytest.mark.parametrize("m", [1, 3])
def test_networks_at_once_are_those_alone(
    twin: ModuleType, cell: str, activation: int, dtype: type, tokens: bool, m: int
) -> None:
    """Bit for bit."""
    case = Case(cell, activation, (3, m, 17, 5, 33, 65, 3), dtype, tokens)
    together = case.run_both(twin)
    for network in range(3):
        alone = case.take([network], list(range(17))).run_both(twin)
        assert_equal(alone, {name: array[network : network + 1] for name, array in together.items()})


@on_each_backend
@all_cells
@all_dtypes
@x_or_tokens
@pytest.mark.usefixtures("same_plan")
def test_rows_do_not_depend_on_other_rows(
    twin: ModuleType, cell: str, activation: int, dtype: type, tokens: bool
) -> None:
    """Bit for bit, forward."""
    case = Case(cell, activation, (2, 1, 17, 5, 33, 65, 3), dtype, tokens)
    together = case.run(twin, "forward")
    for rows in ([0], [16], [5, 3, 4], list(range(17))[::-1]):
        some = case.take([0, 1], rows)
        for name, array in some.run(twin, "forward").items():
            assert np.array_equal(array[:, some.on], together[name][:, rows][:, some.on]), name


@on_each_backend
@all_cells
@all_dtypes
@x_or_tokens
@pytest.mark.parametrize("k", [1, 3])
def test_threads_change_nothing(
    cpu: ModuleType, threads: Threads, cell: str, activation: int, dtype: type, tokens: bool, k: int
) -> None:
    case = Case(cell, activation, (k, 1, 33, 5, 33, 65, 17), dtype, tokens)
    threads(1)
    expected = case.run_both(cpu)
    for number in (2, 3):
        threads(number)
        assert_equal(case.run_both(cpu), expected)


@all_dtypes
def test_threads_change_no_loss_and_no_norm(cpu: ModuleType, threads: Threads, dtype: type) -> None:
    rng = np.random.default_rng(0)
    y, weights = rng.normal(size=(1, 65, 17, 33)).astype(dtype), some_weights(rng, 65, 17)
    classes = rng.integers(33, size=(1, 65, 17), dtype=np.int32)

    def compute() -> Arrays:
        losses, d = (np.empty((3, 1, 65)), np.empty((3, *y.shape), dtype))
        made: Arrays = {"norms": np.zeros(1), "losses": losses, "d": d}
        cpu.squared_norms(y.reshape(1, -1), made["norms"])
        cpu.cross_entropy(y, classes, weights, np.ones(1), losses[0], d[0])
        for j, kernel in enumerate((cpu.squared_error, cpu.binary_cross_entropy), start=1):
            kernel(y, y[::-1] ** 2, weights, np.ones(33), np.ones(1), losses[j], d[j])
        return made

    threads(1)
    expected = compute()
    threads(3)
    assert_equal(compute(), expected)


@on_each_backend
@all_cells
@all_dtypes
def test_saturated_units(module: ModuleType, cell: str, activation: int, dtype: type) -> None:
    """Sums of 1e4 and more give no warning and no NaN."""
    case = Case(cell, activation, (1, 1, 9, 3, 5, 17, 3), dtype)
    case.arrays["b"][:] = np.resize([-1e4, 1e4, -800, 800, -90, 90], case.arrays["b"].shape)
    check(module, case)


@all_dtypes
@x_or_tokens
def test_units_that_leak_all_are_those_of_elman(module: ModuleType, dtype: type, tokens: bool) -> None:
    """Bit for bit, forward and backward, of every function f."""
    for activation in range(len(ACTIVATIONS)):
        leaky, elman = (
            Case(cell, activation, (2, 1, 5, 7, 3, 17, 1), dtype, tokens) for cell in ("leaky", "elman")
        )
        leaky.arrays |= elman.arrays | {
            "leak": np.ones((2, 17), dtype),
            "noise": np.empty((2, 5, 7, 0), dtype),
        }
        expected = elman.run_both(module)
        made = leaky.run_both(module)
        assert_equal(made, expected)
        assert np.array_equal(made["values"], made["hidden"][:, leaky.on])


LOSS_SIZES = [(1, 1, 1, 1, 1), (3, 1, 5, 7, 17), (3, 3, 17, 3, 65), (1, 1, 3, 17, 130), (2, 1, 4, 5, 1)]


def some_weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Weights (b, t) of steps, 0 for some, but not for the first."""
    weights = np.where(rng.random(shape) < 0.7, rng.uniform(0.5, 2, shape), 0)
    weights[0, 0] = 1
    return weights


@on_each_backend
@pytest.mark.parametrize("size", LOSS_SIZES, ids=str)
@all_dtypes
def test_cross_entropy(module: ModuleType, size: tuple[int, ...], dtype: type) -> None:
    k, m, b, t, o = size
    rng = np.random.default_rng(size)
    y = (3 * rng.normal(size=(k, b, t, o))).astype(dtype)
    targets, scale = rng.integers(o, size=(m, b, t), dtype=np.int32), rng.uniform(0.1, 2, k)
    weights = some_weights(rng, b, t)
    hot = np.eye(o)[np.broadcast_to(targets, (k, b, t))]
    e = np.exp(y.astype(float) - (hot * y).sum(axis=3, keepdims=True))
    steps, d = np.log(e.sum(axis=3)), e / e.sum(axis=3, keepdims=True) - hot
    targets[:, weights == 0] = -7
    check_loss(module.cross_entropy, y, (targets, weights), scale, steps, d)


@on_each_backend
@pytest.mark.parametrize("size", LOSS_SIZES, ids=str)
@all_dtypes
def test_squared_error(module: ModuleType, size: tuple[int, ...], dtype: type) -> None:
    k, m, b, t, o = size
    rng = np.random.default_rng(size)
    y, targets = (rng.normal(size=(n, b, t, o)).astype(dtype) for n in (k, m))
    weights, of_outputs, scale = some_weights(rng, b, t), rng.uniform(0, 2, o), rng.uniform(0.1, 2, k)
    d = y.astype(float) - targets
    steps = (of_outputs * d**2).sum(axis=3) / 2
    spoil(targets, weights != 0)
    check_loss(module.squared_error, y, (targets, weights, of_outputs), scale, steps, of_outputs * d)


@on_each_backend
@pytest.mark.parametrize("size", LOSS_SIZES, ids=str)
@all_dtypes
def test_binary_cross_entropy(module: ModuleType, size: tuple[int, ...], dtype: type) -> None:
    k, m, b, t, o = size
    rng = np.random.default_rng(size)
    y, targets = (3 * rng.normal(size=(k, b, t, o))).astype(dtype), rng.random((m, b, t, o)).astype(dtype)
    weights, of_outputs, scale = some_weights(rng, b, t), rng.uniform(0, 2, o), rng.uniform(0.1, 2, k)
    exact = y.astype(float)
    p = 1 / (1 + np.exp(-exact))
    each = -targets * np.log(p) - (1 - targets.astype(float)) * np.log(1 - p)
    steps, d = (of_outputs * each).sum(axis=3), of_outputs * (p - targets)
    spoil(targets, weights != 0)
    check_loss(module.binary_cross_entropy, y, (targets, weights, of_outputs), scale, steps, d)


def check_loss(
    kernel: Callable[..., None],
    y: np.ndarray,
    given: tuple[np.ndarray, ...],
    scale: np.ndarray,
    steps: np.ndarray,
    d_steps: np.ndarray,
) -> None:
    """A loss against that of each step (k, b, t) and its gradient; given: targets, weights and others."""
    weights, dtype = given[1], y.dtype.type
    on = weights != 0
    spoil(y, on)
    losses = (weights * np.where(on, steps, 0)).sum(axis=2)
    expected = (scale[:, None, None] * weights)[..., None] * np.where(on[..., None], d_steps, 0)
    for d in (np.full(y.shape, np.nan, dtype), np.empty((*y.shape[:3], 0), dtype), y):
        found = np.full(losses.shape, np.nan)
        kernel(y, *given, scale, found, d)
        close(found, losses, dtype)
        if d.size:
            close(d, expected, dtype)
            assert not d[:, ~on].any()


def test_reference_loss_gradients_are_finite_differences() -> None:
    rng, scale, losses = np.random.default_rng(0), np.array([0.5, 2]), np.empty((2, 3))
    y, weights, of_outputs = rng.normal(size=(2, 3, 4, 5)), some_weights(rng, 3, 4), rng.uniform(0, 2, 5)
    for kernel, about in (
        (reference.cross_entropy, (rng.integers(5, size=(1, 3, 4), dtype=np.int32), weights)),
        (reference.squared_error, (rng.normal(size=(1, 3, 4, 5)), weights, of_outputs)),
        (reference.binary_cross_entropy, (rng.random((1, 3, 4, 5)), weights, of_outputs)),
    ):

        def error(kernel: Callable[..., None] = kernel, about: tuple[np.ndarray, ...] = about) -> float:
            kernel(y, *about, scale, losses, y[..., :0])
            return float(scale @ losses.sum(axis=1))

        d = np.full_like(y, np.nan)
        kernel(y, *about, scale, losses, d)
        assert np.allclose(d, differences(error, y), rtol=0, atol=1e-7)


@all_dtypes
def test_binary_cross_entropy_of_large_outputs(module: ModuleType, dtype: type) -> None:
    y = np.array([[1e4, -1e4, 0, 1e4, -1e4]], dtype)[None, None]
    targets, losses, d = (
        np.array([[[[0, 1, 0.5, 1, 0]]]], dtype),
        np.full((1, 1), np.nan),
        np.full_like(y, np.nan),
    )
    module.binary_cross_entropy(y, targets, np.ones((1, 1)), np.ones(5), np.ones(1), losses, d)
    assert losses[0, 0] == pytest.approx(2e4 + np.log(2), rel=1e-6)
    assert d[0, 0, 0].tolist() == [1, -1, 0, 0, 0]


@all_dtypes
def test_cross_entropy_of_large_outputs(module: ModuleType, dtype: type) -> None:
    y = np.array([[1e4, -1e4, 9e3], [-1e4, -1e4, -1e4], [900, 0, -900]], dtype)[None, None]
    losses, d = np.full((1, 1), np.nan), np.full(y.shape, np.nan, dtype)
    module.cross_entropy(y, np.array([[[1, 2, 0]]], np.int32), np.ones((1, 3)), np.ones(1), losses, d)
    assert losses[0, 0] == pytest.approx(2e4 + np.log(3), rel=1e-6)
    assert np.allclose(d[0, 0], [[1, -1, 0], [1 / 3, 1 / 3, -2 / 3], [0, 0, 0]], rtol=0, atol=1e-6)


LENGTHS = (1, 3, 17, 130, 5000)
all_lengths = pytest.mark.parametrize(("k", "n"), [(k, n) for k in (1, 3) for n in LENGTHS])


@all_lengths
@all_dtypes
def test_squared_norms(module: ModuleType, k: int, n: int, dtype: type) -> None:
    """Added to what is there, in float64: 1e30 squared is no float32."""
    gradient = (1e30 * np.random.default_rng(n).normal(size=(k, n))).astype(dtype)
    norms = np.full(k, 1e60)
    module.squared_norms(gradient, norms)
    assert np.allclose(norms, 1e60 + (gradient.astype(float) ** 2).sum(axis=1), rtol=1e-12, atol=0)


@pytest.mark.parametrize("n", LENGTHS)
@all_dtypes
def test_all_finite(module: ModuleType, n: int, dtype: type) -> None:
    values = np.full(n, np.finfo(dtype).max, dtype)
    values[::3] *= -1
    assert module.all_finite(values)
    for place in {0, n // 2, n - 1}:
        for fault in (np.nan, np.inf, -np.inf):
            broken = values.copy()
            broken[place] = fault
            assert not module.all_finite(broken)


@pytest.mark.parametrize(("k", "m", "n"), [(1, 1, 1), (2, 3, 63), (1, 65, 17), (3, 32, 48)])
@all_dtypes
def test_transpose_matrices(module: ModuleType, k: int, m: int, n: int, dtype: type) -> None:
    a = np.random.default_rng(n).normal(size=(k, m, n)).astype(dtype)
    out = np.full((k, n, m), np.nan, dtype)
    module.transpose_matrices(a, out)
    assert np.array_equal(out, a.swapaxes(1, 2))


def optimised(k: int, n: int, dtype: type, signed: list[bool]) -> tuple[list[np.ndarray], ...]:
    """A parameter, its states and gradients of four steps, in the dtype and in float64; scale and rate.

    signed tells which states have a sign.  Signs are such that nothing cancels, and an error is seen.
    """
    rng = np.random.default_rng([k, n])
    side = rng.choice([-1, 1], size=(k, n))
    sides = [-side, *(side if sign else 1 for sign in signed), *[side] * 4]
    arrays = [(one * np.abs(rng.normal(size=(k, n)))).astype(dtype) for one in sides]
    return arrays, [array.astype(float) for array in arrays], [rng.uniform(0.1, 1, k) for _ in range(2)]


@on_each_backend
@all_lengths
@all_dtypes
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd(module: ModuleType, k: int, n: int, dtype: type, momentum: float, nesterov: bool) -> None:
    ours, expected, (scale, rate) = optimised(k, n, dtype, signed=[True])
    p, v = expected[:2]
    for gradient, exact in zip(ours[2:], expected[2:], strict=True):
        kept = gradient.copy()
        module.sgd(ours[0], gradient, ours[1], scale, rate, momentum, nesterov)
        g = scale[:, None] * exact
        v = momentum * v + g
        p = p - rate[:, None] * (g + momentum * v if nesterov else v)
        close(ours[0], p, dtype, "parameter", 0.1)
        close(ours[1], v, dtype, "velocity", 0.1)
        assert np.array_equal(gradient, kept)


@on_each_backend
@all_lengths
@all_dtypes
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rmsprop(module: ModuleType, k: int, n: int, dtype: type, momentum: float) -> None:
    ours, expected, (scale, rate) = optimised(k, n, dtype, signed=[False, True])
    (p, square, v), (alpha, epsilon) = expected[:3], (0.9, 1e-3)
    for gradient, exact in zip(ours[3:], expected[3:], strict=True):
        kept = gradient.copy()
        module.rmsprop(ours[0], gradient, *ours[1:3], scale, rate, alpha, epsilon, momentum)
        g = scale[:, None] * exact
        square = alpha * square + (1 - alpha) * g**2
        v = momentum * v + g / (np.sqrt(square) + epsilon)
        p = p - rate[:, None] * v
        for name, found, wanted in zip("psv", ours, (p, square, v), strict=False):
            close(found, wanted, dtype, name, 0.1)
        assert np.array_equal(gradient, kept)


@all_lengths
@all_dtypes
def test_adjust_gradient(module: ModuleType, k: int, n: int, dtype: type) -> None:
    (p, gradient, *_), (exact_p, exact, *_), (scale, _) = optimised(k, n, dtype, signed=[True])
    for limit, decay in ((0.3, 0.1), (np.inf, 0.1), (0.3, 0.0)):
        out = np.full_like(p, np.nan)
        module.adjust_gradient(p, gradient, scale, limit, decay, out)
        expected = np.clip(scale[:, None] * exact, -limit, limit) + decay * exact_p
        close(out, expected, dtype)


@on_each_backend
@all_lengths
@all_dtypes
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam(module: ModuleType, k: int, n: int, dtype: type, decay: float) -> None:
    """From zero moments at step 1, and from others at step 1000.

    The tolerance leaves no room for 1 - beta2 in float32.
    """
    beta1, beta2, epsilon = 0.9, 0.999, 1e-3
    for first in (1, 1000):
        ours, expected, (scale, rate) = optimised(k, n, dtype, signed=[True, False])
        if first == 1:
            for array in (*ours[1:3], *expected[1:3]):
                array[:] = 0
        p, mean, square = expected[:3]
        for step, (gradient, exact) in enumerate(zip(ours[3:], expected[3:], strict=True), start=first):
            kept = gradient.copy()
            module.adam(ours[0], gradient, *ours[1:3], scale, rate, beta1, beta2, epsilon, decay, step)
            g = scale[:, None] * exact
            mean = beta1 * mean + (1 - beta1) * g
            square = beta2 * square + (1 - beta2) * g**2
            change = mean / (1 - beta1**step) / (np.sqrt(square / (1 - beta2**step)) + epsilon)
            p = p - rate[:, None] * (change + decay * p)
            close(ours[0], p, dtype, "parameter", 0.1)
            close(ours[1], mean, dtype, "mean", 0.1)
            close(ours[2], square, dtype, "square", 0.1)
            assert np.array_equal(gradient, kept)
