"""Products of rounded factors: the rounding itself, where it happens, and networks that ask for it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from devices import called_on_host, to_host
from hypothesis import example, given
from hypothesis import strategies as st
from test_kernels_generation import Text
from test_kernels_rnn import CELLS, IDS, UNSET, Arrays, Case, assert_equal, reference

import fastrec
from fastrec import RNN
from fastrec.kernels import RELU, TANH
from fastrec.kernels.cpu import bfloat16
from fastrec.kernels.precision import rounded
from fastrec.rnn.device import compute_device, unavailable_on_cpu

DIGITS = {"bf16": 8, "tf32": 11}  # significant bits
ROUNDED = tuple(DIGITS)
NAMES = ("elman", "jordan", "gru", "gru_before", "lstm", "lstm_peepholes", "leaky")
LARGEST = 4095  # an integer of 12 bits, which neither has

all_rounded = pytest.mark.parametrize("precision", ROUNDED)
all_names = pytest.mark.parametrize("cell", NAMES)
pytestmark = pytest.mark.each_value("rounding", "compared")


def rounds(request: pytest.FixtureRequest, backend: str) -> str:
    """The name of a backend that has the precision of a test; the cpu has "bf16" alone, on some CPUs."""
    given = getattr(request.node, "callspec", None)
    precision = given.params.get("precision", "bf16") if given else "bf16"
    if backend == "cpu" and (missing := unavailable_on_cpu(precision)):
        pytest.skip(f"no {precision} on cpu: {missing}")
    return request.getfixturevalue("gpu") if backend == "gpu" else backend


@pytest.fixture(params=["reference", "cpu", "gpu"])
def rounding(request: pytest.FixtureRequest) -> str:
    """The name of each backend that rounds factors."""
    return rounds(request, request.param)


@pytest.fixture(params=["cpu", "gpu"])
def compared(request: pytest.FixtureRequest) -> str:
    """The name of each such backend but the reference."""
    return rounds(request, request.param)


def bound(backend: str, precision: str) -> Any:
    """The kernels of a precision, to be called with NumPy arrays."""
    kernels = {name: getattr(compute_device(backend, precision).kernels, name) for name in reference.__all__}
    if backend == "gpu":
        kernels = {name: called_on_host(kernel) for name, kernel in kernels.items()}
    return SimpleNamespace(**kernels)


def nearest(a: np.ndarray, precision: str) -> np.ndarray:
    """What `rounded` should give: multiples of the spacing of numbers with that many bits."""
    finite = np.isfinite(a)
    exact = np.where(finite, a, 0).astype(float)
    spacing = np.ldexp(1.0, np.maximum(np.frexp(exact)[1], -125) - DIGITS[precision])
    parts = exact / spacing
    whole = np.rint(parts) if precision == "bf16" else np.trunc(parts + np.copysign(0.5, parts))
    with np.errstate(over="ignore"):
        return np.where(finite, (whole * spacing).astype(np.float32), a)


def edges() -> Iterator[int]:
    """Bits of what is special, of ties and their neighbours, in all binades there are and at their ends."""
    yield from (0, 1, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF)
    for exponent in (0, 1, 2, 127, 128, 253, 254):
        for dropped in (16, 13):
            for kept in (0, 1, 2, (1 << 23 - dropped) - 1):
                tie = exponent << 23 | kept << dropped | 1 << dropped - 1
                yield from (tie - 1, tie, tie + 1)


EDGES = [bits | sign for bits in edges() for sign in (0, 1 << 31)]


@all_rounded
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1))
@example(EDGES)
def test_rounded_is_the_nearest(precision: str, bits: list[int]) -> None:
    a = np.array(bits, np.uint32).view(np.float32)
    found, expected = rounded(a, precision), nearest(a, precision)
    assert found.dtype == np.float32
    number = ~np.isnan(a)
    assert np.array_equal(found[number].view(np.uint32), expected[number].view(np.uint32))
    assert np.isnan(found[~number]).all()


@all_rounded
def test_rounded_takes_any_strides_and_keeps_its_argument(precision: str) -> None:
    a = np.random.default_rng(1).standard_normal((3, 4, 5)).astype(np.float32)
    kept = a.copy()
    for view in (a.swapaxes(1, 2), a[:, ::-2, 1:], np.broadcast_to(a[:1], a.shape)):
        assert np.array_equal(rounded(view, precision), nearest(view, precision))
    assert np.array_equal(a, kept)
    assert rounded(a, "float32") is a


# Arrays that are factors, and the cells of which no step makes a fraction of integers.
FACTORS = ("a", "x", "state", "W", "W_in", "W_rec", "W_out", "d_hidden", "d_outputs", "d_out", "d_last")
WHOLE = [
    (cell, name)
    for cell in ("elman", "jordan", "affine")
    for name in FACTORS
    if name in Case(cell, RELU, (1, 1, 1, 1, 1, 1, 1)).arrays
]


def whole(cell: str, large: str) -> Case:
    """Integers, small but in one array, with sums that float32 holds whatever their order.

    Weights have one number in each row and column, so that nothing grows with the sizes; one step where
    weights are large, so that they are multiplied by themselves at most once.
    """
    t = 1 if large.startswith("W") else 3
    case = Case(cell, RELU, (2, 1, 19, t, 35, 67, 21), np.float32)
    rng = np.random.default_rng(5)
    for name, array in case.arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            continue
        if name == large:
            new = rng.integers(-LARGEST, LARGEST, array.shape, endpoint=True)
        elif name.startswith("W"):
            new, n = np.zeros(array.shape), min(array.shape[1:])
            for j in range(len(new)):
                rows, columns = rng.permutation(array.shape[1])[:n], rng.permutation(array.shape[2])[:n]
                new[j, rows, columns] = rng.choice([-1, 1], n)
        else:
            new = rng.integers(-2, 3, array.shape)
        array[...] = np.where(np.isfinite(array), new, array)
    return case


@all_rounded
@pytest.mark.parametrize(("cell", "large"), WHOLE)
def test_the_same_is_rounded_as_in_the_reference(
    compared: str, cell: str, large: str, precision: str
) -> None:
    """Integers whose products and sums are exact: the same factors must have been rounded, the same way."""
    case = whole(cell, large)
    # Of absolute values all sums are larger, and so are the partial ones; rounding adds less than a half.
    sizes = copy.copy(case)
    sizes.arrays = {
        name: np.abs(array) if isinstance(array, np.ndarray) and array.dtype == np.float32 else array
        for name, array in case.arrays.items()
    }
    with np.errstate(invalid="ignore"):
        made = sizes.run_both(reference)
    assert all(np.abs(array).max() < 2**23 for name, array in made.items() if name != "flow")
    expected = case.run_both(bound("reference", precision))
    plain = case.run_both(reference)
    assert any(not np.array_equal(expected[name], plain[name]) for name in expected)
    assert_equal(case.run_both(bound(compared, precision)), expected)


@all_rounded
@pytest.mark.parametrize(("cell", "activation"), CELLS, ids=IDS)
def test_first_step_is_that_of_the_reference(
    compared: str, cell: str, activation: int, precision: str
) -> None:
    """Factors are given, so that both round the same bits, and float32 sums are all that can differ."""
    case = Case(cell, activation, (2, 1, 19, 1, 35, 67, 21), np.float32)
    ours, expected = (case.run(bound(backend, precision), "forward") for backend in (compared, "reference"))
    if cell == "jordan":  # y' = h' W_out has a factor that was computed
        del ours["outputs"], expected["outputs"]
    case.compare(ours, expected)


@all_rounded
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_backward_step_is_that_of_the_reference(compared: str, cell: str, precision: str) -> None:
    """Gates and gradients of few bits, of which elementwise work makes numbers that float32 holds, more than
    the precision does: as above, float32 sums are all that can differ."""
    case = Case(cell, TANH, (2, 1, 19, 1, 35, 67, 21), np.float32)
    rng = np.random.default_rng(3)
    for name in ("d_hidden", "d_last"):
        array = case.arrays[name]
        array[...] = np.where(np.isfinite(array), rng.integers(-16, 17, array.shape) / 8, array)
    case.arrays["state"][...] = rng.integers(-8, 9, case.shapes["state"]) / 8
    kept = case.run(reference, "forward")
    sign = np.repeat([1, 1, rng.choice([-1, 1]), 1], case.shapes["hidden"][3])
    kept["gates"][...] = sign * rng.integers(1, 4, kept["gates"].shape) / 4
    if cell == "lstm":
        kept["cells"][...] = rng.choice([-20, 0, 20], kept["cells"].shape)  # tanh is -1, 0 and 1
    ours, expected = (
        case.run(bound(backend, precision), "backward", copy.deepcopy(kept))
        for backend in (compared, "reference")
    )
    d = expected["d_gates"][:, case.on]
    assert not np.array_equal(rounded(d, precision), d)
    case.compare(ours, expected)


@all_rounded
@pytest.mark.parametrize(("cell", "activation"), CELLS, ids=IDS)
def test_steps_follow_the_reference(compared: str, cell: str, activation: int, precision: str) -> None:
    """Over several steps, from random numbers.

    An error of float32 now and then takes a factor over a tie, and its row of the batch goes on from there,
    so that single numbers can differ by as much as rounding changes them.  That is rare: the norm of the
    difference must be below half that of what rounding changes.  It would be about 1.4 times that with other
    roundings and 0.7 times with one factor of each product not rounded.
    """
    case = Case(cell, activation, (2, 1, 19, 6, 35, 35, 21), np.float32)
    modules = [bound(compared, precision), bound("reference", precision), reference]
    kept = [case.run(module, "forward") for module in modules]
    back = [case.run(module, "backward", copy.deepcopy(kept[1])) for module in modules]
    for found in (kept, back):
        for name in found[1]:
            ours, expected, plain = (array[name] for array in found)
            if name in UNSET:
                ours, expected, plain = (array[:, case.on] for array in (ours, expected, plain))
            change = np.linalg.norm(expected - plain)
            room = change / 2 + 2e-5 * np.linalg.norm(expected)
            assert np.linalg.norm(ours - expected) <= room, name


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("size", [(2, 3, 37, 65), (1, 9, 6, 7), (1, 1, 40, 300)])
@pytest.mark.parametrize("cell", [*NAMES[:3], *(pytest.param(x, marks=pytest.mark.slow) for x in NAMES[3:])])
def test_texts_follow_the_reference(compared: str, cell: str, size: tuple[int, ...], exact: bool) -> None:
    """Exact networks do so to the bit; in others a factor may be rounded to the other side of a tie."""
    if compared == "gpu":
        size = (size[0], min(size[1], 2), *(min(n, 20) for n in size[2:]))
    error = None if exact else 2.0 ** -DIGITS["bf16"]
    Text(cell, TANH, size, np.float32, exact=exact).agree(compared, error, precision="bf16")


def integers(backend: str, cell: str, layers: int, models: int | None, **more: Any) -> RNN:
    """A network of integers, with one weight in each row and column, so that nothing grows fast."""
    rnn = RNN(4, 6, 4, cell, "relu", layers, models, backend=backend, seed=0, **more)
    rng = np.random.default_rng(2)
    for key, array in rnn.parameters.items():
        new, shape = rng.integers(-1, 2, array.shape).astype(array.dtype), array.shape[-2:]
        if key.startswith("W"):
            new *= (
                np.eye(max(shape), dtype=array.dtype)[rng.permutation(max(shape))][: shape[0], : shape[1]]
                != 0
            )
        rnn.parameters[key] = new
    return rnn


@pytest.mark.parametrize(("cell", "layers"), [("elman", 1), ("elman", 2), ("jordan", 1)])
@pytest.mark.parametrize("models", [None, 2])
def test_small_integers_are_the_same_in_every_precision(
    rounding: str, cell: str, layers: int, models: int | None
) -> None:
    rng = np.random.default_rng(1)
    x, d = rng.integers(-3, 4, (5, 4, 4)).astype(float), rng.integers(-2, 3, (5, 4, 4)).astype(float)
    d = d if models is None else np.stack([d, -d])

    def found(backend: str, **more: Any) -> Arrays:
        rnn = integers(backend, cell, layers, models, **more)
        trace = rnn.forward(x.astype(rnn.dtype))
        assert 0 < abs(trace.hidden).max() <= 256 >= abs(trace.outputs).max()
        grads = rnn.backward(trace, d.astype(rnn.dtype), flow=True)
        return {"outputs": trace.outputs, "hidden": trace.hidden, "end": trace.state, **grads}

    expected = found("reference", dtype=np.float64)
    for precision in ("float32", *(("bf16",) if rounding == "cpu" else ROUNDED)):
        ours = found(rounding, precision=precision)
        assert all(array.dtype == np.float32 for name, array in ours.items() if name != "flow")
        assert_equal(ours, expected)


def results(rnn: RNN) -> Arrays:
    """Outputs and gradients of one sum of random weights."""
    rng, lead = np.random.default_rng(4), () if rnn.models is None else (rnn.models,)
    x, d = (rng.standard_normal((*lead, 9, 5, n)).astype(rnn.dtype) for n in (6, 3))
    trace = rnn.forward(x)
    return {"outputs": trace.outputs, "end": trace.state, **rnn.backward(trace, d)}


def real(cell: str, backend: str, dtype: type = np.float32, precision: Any = "float32") -> RNN:
    """A network without zeros."""
    layers = 1 if cell == "jordan" else 2
    rnn = RNN(6, 20, 3, cell, num_layers=layers, dtype=dtype, backend=backend, precision=precision, seed=0)
    rng = np.random.default_rng(7)
    for key, array in to_host(rnn.parameters).items():
        change = rng.standard_normal(array.shape, np.float32) / 10
        rnn.parameters[key] = array.astype(np.float32).astype(dtype) + change.astype(dtype)
    return rnn


@all_names
@all_rounded
def test_errors_are_those_of_the_precision(rounding: str, cell: str, precision: str) -> None:
    """Against float64: unlike float32, and within a few roundings of each factor.

    A number goes through some ten products, forward and back, each with two factors that err by at most half
    a spacing, 2^-digits; signs vary, so the norm of it all stays within a few of these.
    """
    exact = results(real(cell, "reference", np.float64))
    plain = results(real(cell, rounding))
    found = results(real(cell, rounding, precision=precision))
    for name, wanted in exact.items():
        size, error = np.linalg.norm(wanted), np.linalg.norm(found[name] - wanted)
        if name == "b_out" and cell != "jordan":  # a sum of what was given
            assert np.array_equal(found[name], plain[name])
            continue
        assert error <= 10 * 2.0 ** -DIGITS[precision] * size, name
        assert error > 100 * np.linalg.norm(plain[name] - wanted), name


@all_rounded
def test_rows_of_tokens_are_not_rounded(rounding: str, precision: str) -> None:
    """With W_rec = 0 hidden units are rows of W_in, and the gradient of W_in is a sum of integers."""
    rnn = RNN(5, 7, activation="relu", backend=rounding, precision=precision, seed=0)
    rng = np.random.default_rng(6)
    rows = rng.uniform(1, 2, (5, 7)).astype(np.float32)
    rnn.parameters |= {"W_in": rows, "W_rec": np.zeros((7, 7), np.float32)}
    tokens, d = rng.integers(5, size=(4, 3)), rng.integers(-LARGEST, LARGEST, (4, 3, 7))
    trace = rnn.forward(tokens)
    assert np.array_equal(trace.outputs, rows[tokens])
    expected = np.zeros((5, 7))
    np.add.at(expected, tokens, d)
    gradients = rnn.backward(trace, d.astype(np.float32))
    assert np.array_equal(gradients["W_in"], expected)
    assert np.array_equal(gradients["b"], d.sum(axis=(0, 1)))


@pytest.mark.parametrize("bad", ["fp16", "float64", "", None, 16, ["bf16"]])
def test_unknown_names(bad: Any, tmp_path: Path) -> None:
    message = 'precision is .*; it must be "float32", "tf32" or "bf16"'
    with pytest.raises(ValueError, match=message):
        RNN(2, 3, backend="reference", precision=bad, seed=0)
    RNN(2, 3, seed=0).save(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=message):
        RNN.load(tmp_path / "a.npz", "reference", precision=bad)


@all_rounded
def test_float64_has_no_other_precision(precision: Any, tmp_path: Path) -> None:
    message = f'precision is "{precision}", which is for float32, and dtype is float64; leave precision out'
    with pytest.raises(ValueError, match=message):
        RNN(2, 3, dtype=np.float64, backend="reference", precision=precision, seed=0)
    RNN(2, 3, dtype=np.float64, seed=0).save(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=message):
        RNN.load(tmp_path / "a.npz", "reference", precision)


ON_CPU = 'precision is "{}", and the cpu multiplies in float32; use backend="gpu" or "reference"'


@pytest.mark.parametrize("reason", [None, "this CPU does it 0.5 times as fast as float32"])
def test_the_cpu_refuses_to_make_networks(
    reason: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With "tf32" always, with "bf16" where that would not be faster."""
    precision: Any = "tf32" if reason is None else "bf16"
    monkeypatch.setattr(bfloat16, "fault", lambda: reason)
    why = reason or "the cpu multiplies in float32"
    message = f'precision is "{precision}", and {why}; use backend="gpu" or "reference"'
    with pytest.raises(ValueError, match=message):
        RNN(2, 3, backend="cpu", precision=precision, seed=0)
    with fastrec.use_backend("cpu"), pytest.raises(ValueError, match=message):
        RNN(2, 3, precision=precision, seed=0)
    RNN(2, 3, seed=0).save(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=message):
        RNN.load(tmp_path / "a.npz", "cpu", precision)


def test_what_the_cpu_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfloat16, "AVAILABLE", False)
    assert bfloat16.fault() == "this CPU has no instruction for it"
    monkeypatch.setattr(bfloat16, "AVAILABLE", True)
    monkeypatch.setattr(bfloat16, "gain_over_float32", lambda: 0.512)
    assert bfloat16.fault() == "this CPU does it 0.5 times as fast as float32"
    monkeypatch.setattr(bfloat16, "gain_over_float32", lambda: 1.9)
    assert bfloat16.fault() is None


X, TARGETS = np.ones((2, 4, 2), np.float32), np.zeros((2, 4), int)
CALLS: dict[str, Callable[[RNN], object]] = {
    "forward": lambda rnn: rnn.forward(X),
    "predict": lambda rnn: rnn.predict(X),
    "loss": lambda rnn: rnn.loss(X, TARGETS),
    "loss_and_gradients": lambda rnn: rnn.loss_and_gradients(X, TARGETS),
    "fit": lambda rnn: fastrec.fit(rnn, X, TARGETS, epochs=1, progress=False, seed=0),
    "truncated_bptt": lambda rnn: next(fastrec.truncated_bptt(rnn, X, TARGETS, 2)),
    "gradient_flow": lambda rnn: fastrec.gradient_flow(rnn, X, TARGETS),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_cpu_refuses_calls(call: str) -> None:
    """Of a network that follows the default; nothing is changed, and elsewhere it computes."""
    with fastrec.use_backend("reference"):
        rnn = RNN(2, 3, 2, precision="tf32", seed=0)
    before = pickle.dumps(rnn.parameters)
    with fastrec.use_backend("cpu"), pytest.raises(ValueError, match=ON_CPU.format("tf32")):
        CALLS[call](rnn)
    assert pickle.dumps(rnn.parameters) == before
    with fastrec.use_backend("reference"):
        CALLS[call](rnn)


def test_repr() -> None:
    assert 'backend="reference", precision="tf32", n_' in repr(
        RNN(2, 3, backend="reference", precision="tf32", seed=0)
    )
    assert "precision" not in repr(RNN(2, 3, backend="reference", precision="float32", seed=0))


@all_rounded
def test_copies_keep_it(rounding: str, precision: Any) -> None:
    rnn = RNN(6, 20, 3, models=2, backend=rounding, precision=precision, seed=0)
    expected = results(rnn)
    for other in (rnn.copy(), copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn))):
        assert other.precision == precision and repr(other) == repr(rnn)
        assert_equal(results(other), expected)
    assert rnn.copy(model=1).precision == precision


@all_rounded
def test_files_do_not_hold_it(rounding: str, precision: Any, tmp_path: Path) -> None:
    rnn = real("gru", rounding, precision=precision)
    rnn.save(tmp_path / "a.npz")
    plain, same = (RNN.load(tmp_path / "a.npz", rounding, *given) for given in ((), (precision,)))
    assert plain.precision == "float32" and same.precision == precision
    assert_equal(results(same), results(rnn))
    assert not np.array_equal(plain.predict(X.repeat(3, 2))[0], rnn.predict(X.repeat(3, 2))[0])


def test_from_torch() -> None:
    module = pytest.importorskip("torch").nn.GRU(6, 20)
    assert RNN.from_torch(module, backend="reference", precision="tf32").precision == "tf32"
    with pytest.raises(ValueError, match=ON_CPU.format("tf32")):
        RNN.from_torch(module, backend="cpu", precision="tf32")


def test_training_goes_on_in_any_precision(rounding: str, tmp_path: Path) -> None:
    """Checkpoints ask for no more than they do of the backend: the same bits in the same precision."""
    x, targets, mask = fastrec.addition_task(12, 3, seed=1)

    def trained(epochs: int, precision: Any, checkpoint: Path | None) -> RNN:
        rnn = RNN(2, 8, 2, "elman", backend=rounding, precision=precision, seed=0)
        options: dict[str, Any] = {"mask": mask, "epochs": epochs, "progress": False}
        fastrec.fit(rnn, x, targets, checkpoint=checkpoint, seed=0, **options)
        return rnn

    expected = to_host(trained(2, "bf16", None).parameters)
    trained(1, "bf16", tmp_path / "a.npz")
    assert_equal(to_host(trained(2, "bf16", tmp_path / "a.npz").parameters), expected)
    plain = to_host(trained(3, "float32", tmp_path / "a.npz").parameters)
    assert not np.array_equal(plain["W_rec"], expected["W_rec"])
