"""What all cells share on the GPU against the reference, under every schedule, with races looked for.

That is products and sums over steps, tokens, the readout, losses and optimisers.  The sizes are odd, and what
only large arrays need is forced.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import devices
import numpy as np
import pytest
from devices import called_on_host, note_launches
from emulator.raw import checked, schedule
from test_kernels_rnn import TOLERANCE, Case, check, close, optimised, reference, some_weights, spoil

from fastrec.backend import array_module, move
from fastrec.kernels import TANH
from fastrec.kernels.reference import time_loop as specified
from fastrec.rnn.randomness import normal_table

cuda = pytest.importorskip("fastrec.kernels.gpu.module", reason="needs CuPy, or the emulator's")
from fastrec.kernels.gpu import (  # noqa: E402
    affine,
    time_loop,
    training,
)

KERNEL, SOURCE = cuda.kernel, cuda.source
LAUNCHED: set[tuple[str, str]] = set()  # file and kernel
RUN: set[str] = set()  # tests

pytestmark = pytest.mark.usefixtures("gpu")
dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE))
in_every_mode = pytest.mark.usefixtures("mode")


@pytest.fixture(autouse=True)
def record(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Notes what is launched."""
    note_launches(monkeypatch, LAUNCHED)
    RUN.add(request.node.originalname)


KERNELS = {
    name: called_on_host(getattr(file, name))
    for file in (affine, training)
    for name in reference.__all__
    if getattr(getattr(file, name, None), "__module__", "") == file.__name__
}
MODULE: Any = SimpleNamespace(**KERNELS)


def same(ours: np.ndarray, expected: np.ndarray) -> None:
    close(ours, expected, ours.dtype.type)


def steps_of(size: tuple[int, ...], dtype: type, tokens: bool = False, gates: int = 1) -> Any:
    """The arguments of `project` and `input_gradients`, what the padding holds being no number, or no token.

    d has columns more than there are gradients of the inputs' product.
    """
    k, m, b, t, i, h = size
    rng = np.random.default_rng(size)
    lengths = np.array([t, 0, *rng.integers(t + 1, size=b)][:b])
    on = np.arange(t) < lengths[:, None]
    x = rng.normal(size=(m, b, t, 0 if tokens else i)).astype(dtype)
    named = rng.choice([0, i // 2, i - 1, *rng.integers(i, size=5)], size=(m, b, t)).astype(np.int32)
    spoil(x, on)
    d = rng.normal(size=(k, b, t, gates * h + 3)).astype(dtype)
    d[:, ~on] = 0
    return SimpleNamespace(
        on=on[..., None],
        lengths=lengths,
        x=x,
        tokens=np.where(on, named, -7).astype(np.int32) if tokens else np.zeros((1, 0, 0), np.int32),
        W_in=rng.normal(size=(k, i, gates * h)).astype(dtype),
        b=rng.normal(size=(k, gates * h)).astype(dtype),
        d=d,
        width=gates * h,
    )


SIZES = [
    (1, 1, 1, 1, 1, 1),
    (3, 1, 3, 5, 17, 33),
    (2, 2, 5, 7, 3, 130),
    (1, 1, 9, 31, 2, 1),
    (2, 1, 40, 60, 300, 3),
]


@dtypes
@pytest.mark.parametrize("tokens", [False, True], ids=["x", "tokens"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@in_every_mode
def test_project(size: tuple[int, ...], tokens: bool, dtype: type) -> None:
    """0 in the padding."""
    a = steps_of(size, dtype, tokens, gates=3)
    out = np.full((*a.d.shape[:3], a.width), np.nan, dtype)
    called_on_host(time_loop.project)(a.x, a.tokens, a.lengths, a.W_in, a.b, out)
    same(out, np.where(a.on, specified.project(a.x, a.tokens, a.on, a.W_in) + a.b[:, None, None], 0))


@dtypes
@pytest.mark.parametrize("want_x", [False, True])
@pytest.mark.parametrize("tokens", [False, True], ids=["x", "tokens"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@in_every_mode
def test_input_gradients(size: tuple[int, ...], tokens: bool, want_x: bool, dtype: type) -> None:
    a = steps_of(size, dtype, tokens)
    made = []
    kernel = called_on_host(time_loop.input_gradients)
    for run, d, lengths in ((specified.input_gradients, a.d[..., : a.width], a.on), (kernel, a.d, a.lengths)):
        d_x = np.full((*a.d.shape[:3], a.x.shape[3] * want_x), np.nan, dtype)
        d_W_in = np.full(a.W_in.shape, np.nan, dtype)
        run(a.x, a.tokens, lengths, a.W_in, d, d_x, d_W_in, "float32")
        made.append((d_x, d_W_in))
    for ours, expected in zip(made[1], made[0], strict=True):
        same(ours, expected)


@dtypes
@pytest.mark.parametrize("runs", [1, 2, 3, 1024])
@in_every_mode
def test_runs_of_a_token_over_several_parts(monkeypatch: pytest.MonkeyPatch, runs: int, dtype: type) -> None:
    """Runs that fill parts, begin and end with them or go through them; the sums are exact."""
    monkeypatch.setattr(time_loop, "RUNS", runs)
    for counts in ([128, 128, 128], [1, 300, 2, 0, 200], [256, 0, 255, 1], [0, 0, 700], [127, 2, 127]):
        n, rng = sum(counts), np.random.default_rng(counts)
        tokens = rng.permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32).reshape(1, 1, n)
        d = rng.integers(-9, 9, size=(2, 1, n, 131)).astype(dtype)
        found = np.full((2, len(counts), 129), np.nan, dtype)
        called_on_host(time_loop.token_gradient)(tokens, np.array([n]), d, found)
        expected = [
            [own[tokens[0, 0] == token, :129].sum(axis=0) for token in range(len(counts))] for own in d[:, 0]
        ]
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("i", [1, 2, 255, 256, 70_000])
@in_every_mode
def test_tokens_are_sorted(i: int) -> None:
    """By token, then in order, the padding last; over several tiles, with one to three digits."""
    rng = np.random.default_rng(i)
    tokens = rng.integers(i, size=(2, 3, 701), dtype=np.int32)
    lengths = np.array([701, 0, 650])
    keys = np.where(np.arange(701) < lengths[:, None], tokens, i).reshape(2, -1)
    tokens[:, np.arange(701) >= lengths[:, None]] = -7
    steps = time_loop.sort_tokens(move(tokens, "gpu"), move(lengths, "gpu"), i)
    assert np.array_equal(move(steps, "cpu"), np.argsort(keys, axis=1, kind="stable"))


@pytest.mark.parametrize(
    "size", [(1, 1, 1, 1, 1), (3, 5, 7, 17, 33), (2, 1, 3, 4, 5), (2, 3, 1, 4, 5), (1, 0, 3, 2, 2)]
)
@pytest.mark.parametrize(
    ("dtype", "precision"),
    [(np.float64, "float32"), *((np.float32, precision) for precision in ("float32", "tf32", "bf16"))],
)
@in_every_mode
def test_products_of_what_steps_start_from(size: tuple[int, ...], dtype: type, precision: str) -> None:
    """Also of part of a state and of gradients, into part of an array; d is as it was."""
    k, b, t, s, h = size
    rng = np.random.default_rng(size)
    state, hidden, d = (
        rng.normal(size=shape).astype(dtype) for shape in ((k, b, 2 * s), (k, b, t, s), (k, b, t, 2 * h))
    )
    given = [move(array, "gpu") for array in (state, hidden, d)]
    out = move(np.full((k, s, 3 * h), 7, dtype), "gpu")
    time_loop.recurrent_products(
        given[0][..., :s], given[1], given[2][..., h:], out[..., h : 2 * h], precision
    )
    found, before = move(out, "cpu"), specified.before(state[..., :s], hidden)
    same(found[..., h : 2 * h], specified.products(before, d[..., h:], precision))
    assert (found[..., :h] == 7).all() and (found[..., 2 * h :] == 7).all()
    assert np.array_equal(move(given[2], "cpu"), d)


@dtypes
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (3, 5, 7, 33), (2, 130, 5, 3), (1, 37, 41, 65), (2, 0, 3, 2)])
@in_every_mode
def test_sums(monkeypatch: pytest.MonkeyPatch, size: tuple[int, ...], dtype: type) -> None:
    """Of all steps, in few parts and in many, and of those that are no padding."""
    k, b, t, h = size
    rng = np.random.default_rng(size)
    d, lengths = rng.normal(size=size).astype(dtype), rng.integers(t + 1, size=b)
    on = np.arange(t) < lengths[:, None]
    for part in (512, 11):
        monkeypatch.setattr(time_loop, "PART", part)
        out, clean = np.full((k, h), np.nan, dtype), np.full(size, np.nan, dtype)
        called_on_host(time_loop.sums)(d, out)
        same(out, d.sum(axis=(1, 2)))
        broken = d.copy()
        spoil(broken, on)
        called_on_host(time_loop.sums)(broken, out, lengths, clean)
        assert np.array_equal(clean, np.where(on[..., None], d, 0))
        same(out, clean.sum(axis=(1, 2)))


@dtypes
@pytest.mark.parametrize(
    "size", [(1, 1, 1, 1, 1, 1, 1), (3, 1, 5, 7, 3, 17, 33), (1, 1, 33, 3, 65, 130, 3)], ids=str
)
@in_every_mode
def test_affine(size: tuple[int, ...], dtype: type) -> None:
    check(MODULE, Case("affine", TANH, size, dtype))
    check(MODULE, Case("affine", TANH, size, dtype, lengths=[0] * size[2]))


LOSSES = [(1, 1, 1, 1, 1), (3, 1, 5, 7, 17), (3, 3, 7, 3, 65), (2, 1, 1, 3, 2100), (1, 1, 2, 1050, 4)]


@dtypes
@pytest.mark.parametrize("size", LOSSES, ids=str)
@in_every_mode
def test_losses(size: tuple[int, ...], dtype: type) -> None:
    """With gradients, without, and in place of the outputs."""
    k, m, b, t, o = size
    rng = np.random.default_rng(size)
    y, weights, scale = (
        (3 * rng.normal(size=(k, b, t, o))).astype(dtype),
        some_weights(rng, b, t),
        rng.random(k),
    )
    classes = rng.integers(o, size=(m, b, t), dtype=np.int32)
    goals, of_outputs = rng.random((m, b, t, o)).astype(dtype), rng.uniform(0, 2, o)
    classes[:, weights == 0] = -7
    for array in (y, goals):
        spoil(array, weights != 0)
    kernels = {"cross_entropy": (classes, weights)}
    kernels |= dict.fromkeys(("squared_error", "binary_cross_entropy"), (goals, weights, of_outputs))
    for name, given in kernels.items():
        expected, d_expected = np.empty((k, b)), np.empty_like(y)
        getattr(reference, name)(y, *given, scale, expected, d_expected)
        for way in range(3):
            outputs, losses = y.copy(), np.full((k, b), np.nan)
            d = (np.full_like(y, np.nan), y[..., :0].copy(), outputs)[way]
            getattr(MODULE, name)(outputs, *given, scale, losses, d)
            close(losses, expected, dtype)
            if d.size:
                same(d, d_expected)


@dtypes
@pytest.mark.parametrize(("k", "n"), [(1, 1), (3, 17), (2, 1025), (1, 5000)])
@in_every_mode
def test_optimisers(monkeypatch: pytest.MonkeyPatch, k: int, n: int, dtype: type) -> None:
    (p, v, s, g, *_), _, (scale, rate) = optimised(k, n, dtype, signed=[True, False])
    ways = [
        ("sgd", (v,), (momentum, nesterov))
        for momentum, nesterov in ((0.0, False), (0.9, False), (0.9, True))
    ]
    ways += [("rmsprop", (s, v), (0.9, 1e-3, momentum)) for momentum in (0.0, 0.9)]
    ways += [("adam", (v, s), (0.9, 0.999, 1e-3, decay, step)) for decay, step in ((0.0, 1), (0.1, 1000))]
    for name, states, numbers in ways:
        ours, theirs = ([p.copy(), g.copy(), *(state.copy() for state in states)] for _ in range(2))
        for module, arrays in ((MODULE, ours), (reference, theirs)):
            getattr(module, name)(*arrays, scale, rate, *numbers)
        for our, their in zip(ours, theirs, strict=True):
            close(our, their, dtype, name, 0.1)
    for limit, decay in ((0.3, 0.1), (np.inf, 0.1)):
        outs = [np.full_like(p, np.nan) for _ in range(2)]
        for module, out in zip((MODULE, reference), outs, strict=True):
            module.adjust_gradient(p, g, scale, limit, decay, out)
        close(*outs, dtype, "gradient", 0.1)
    monkeypatch.setattr(training, "PART", 100)
    norms = np.full(k, 1e60)
    MODULE.squared_norms(dtype(1e30) * g, norms)
    assert np.allclose(norms, 1e60 + (1e60 * g.astype(float) ** 2).sum(axis=1), rtol=1e-6, atol=0)
    for place in (0, n // 2, n - 1):
        for fault in (np.nan, np.inf, -np.inf, np.finfo(dtype).max):
            values = v[0].copy()
            values[place] = fault
            assert MODULE.all_finite(values) is bool(np.isfinite(fault))


@dtypes
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 5, 17), (1, 3, 40, 130)], ids=str)
@in_every_mode
def test_dropout(shape: tuple[int, ...], dtype: type) -> None:
    ours = np.random.default_rng(shape).normal(size=shape).astype(dtype)
    expected = ours.copy()
    for layer, threshold in enumerate((13107, 1)):
        MODULE.dropout(2**63 + 5, layer, threshold, ours)
        reference.dropout(2**63 + 5, layer, threshold, expected)
        assert np.array_equal(ours, expected)


@dtypes
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 5, 17)], ids=str)
@in_every_mode
def test_normal_noise(shape: tuple[int, ...], dtype: type) -> None:
    table, made = normal_table(np.dtype(dtype)), []
    for module in (MODULE, reference):
        made.append(np.full(shape, np.nan, dtype))
        module.normal_noise(2**63 + 5, 3, table, 0.3, made[-1])
    assert np.array_equal(*made)


def some_of_everything() -> list[np.ndarray]:
    """What most kernels make of one problem."""
    a = steps_of((2, 1, 9, 31, 17, 33), np.float32, tokens=True, gates=3)
    y, weights, scale = a.d[..., : a.width].copy(), 1.0 * a.on[..., 0], np.array([0.5, 2])
    made = [
        np.empty_like(a.W_in),
        np.empty_like(a.b),
        np.empty((2, 9)),
        np.empty((2, 9)),
        np.empty_like(y),
        np.zeros(2),
    ]
    d_W_in, d_b, entropies, errors, d, norms = made
    called_on_host(time_loop.input_gradients)(
        a.x, a.tokens, a.lengths, a.W_in, a.d, a.d[..., :0].copy(), d_W_in
    )
    called_on_host(time_loop.sums)(y, d_b)
    MODULE.cross_entropy(y, np.maximum(a.tokens, 0), weights, scale, entropies, d)
    ones = np.ones(y.shape[-1])
    MODULE.squared_error(y, y[:1] ** 2, weights, ones, scale, errors, d[..., :0].copy())
    MODULE.squared_norms(y.reshape(2, -1), norms)
    return made


@pytest.mark.slow
def test_the_same_bits_under_every_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_loop, "PART", 64)
    monkeypatch.setattr(training, "PART", 64)
    for report in (False, True):  # which also decides how floats are rounded
        with checked(report):
            first = some_of_everything()
            for _, order, seed in devices.MODES.values():
                with schedule(order, seed):
                    for found, wanted in zip(some_of_everything(), first, strict=True):
                        assert np.array_equal(found, wanted)


def test_nothing_is_waited_for() -> None:
    """But the answer of all_finite."""
    if not devices.emulated("gpu"):
        pytest.skip("a card does not count")
    cupy = array_module("gpu")
    a = steps_of((2, 1, 3, 5, 7, 9), np.float32, tokens=True)
    given = {name: move(value, "gpu") for name, value in vars(a).items() if isinstance(value, np.ndarray)}
    a = SimpleNamespace(**given)
    out = cupy.empty_like(a.W_in)
    cupy.traffic.reset()
    time_loop.input_gradients(a.x, a.tokens, a.lengths, a.W_in, a.d, a.d[..., :0], out)
    time_loop.recurrent_products(a.d[:, :, 0], a.d, a.d, cupy.empty((2, 12, 12), np.float32))
    training.squared_norms(a.d.reshape(2, -1), cupy.zeros(2))
    assert (cupy.traffic.waits, cupy.traffic.to_host, cupy.traffic.to_device) == (0, 0, 0)
    assert training.all_finite(a.d)
    assert cupy.traffic.waits == 1


BUGS = {  # file, what is replaced, what by, the test that notices
    "a run that is thought to begin in its part": (
        *("time_loop", "token == before", "false"),
        lambda m: test_runs_of_a_token_over_several_parts(m, 3, np.float32),
    ),
    "an unstable sort": (
        *("time_loop", "equal & ((1u << lane) - 1)", "equal & ~((2u << lane) - 1)"),
        lambda m: test_tokens_are_sorted(255),
    ),
    "padding that is read": (
        *("time_loop", "on ? x[first + j] : T(0)", "x[first + j]"),
        lambda m: test_input_gradients(SIZES[1], False, False, np.float64),
    ),
    "a wrong sign": (
        *("training", "- T(j == target)", "+ T(j == target)"),
        lambda m: test_losses(LOSSES[1], np.float32),
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_shows(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    if not devices.emulated("gpu"):
        pytest.skip("the sources are compiled once")
    file, before, after, run = BUGS[bug]
    assert SOURCE(file).count(before) == 1
    run(monkeypatch)
    monkeypatch.setattr(cuda, "source", lambda name: SOURCE(name).replace(before, after))
    module, kernel = cuda.module.__wrapped__, KERNEL.__wrapped__
    compiled: dict[Any, Any] = {}

    def planted(*key: Any) -> Any:
        return compiled.setdefault(key, module(*key))

    monkeypatch.setattr(cuda, "module", planted)
    monkeypatch.setattr(cuda, "kernel", kernel)
    with pytest.raises(AssertionError):
        run(monkeypatch)


def test_every_kernel_was_launched() -> None:
    if missing := {name for name in globals() if name.startswith("test_")} - RUN:
        pytest.skip(f"without {', '.join(sorted(missing))}")
    files = ("time_loop", "training")
    assert {(file, kernel) for file in files for kernel in cuda.KERNELS[file]} == LAUNCHED
