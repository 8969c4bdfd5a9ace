"""The recurrences on the GPU by every plan and precision: a block, a cluster, the grid."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from emulator.raw import checked, schedule
from test_kernels_rnn import Case, check, reference

import fastrec
from fastrec.kernels import RELU, TANH

cuda = pytest.importorskip("fastrec.kernels.gpu.module", reason="needs CuPy, or the emulator's")
from devices import called_on_host, note_launches  # noqa: E402
from gpu.cases_recurrent import PRECISION, fixed_plan  # noqa: E402

from fastrec.kernels.gpu import (  # noqa: E402
    elman,
    gru,
    gru_before,
    jordan,
    leaky,
    lstm,
    lstm_peepholes,
    normalised,
    recurrent,
    time_loop,
)
from fastrec.kernels.gpu.module import CLUSTERED, ROWS  # noqa: E402
from fastrec.kernels.gpu.recurrent import CELLS, CLUSTER, PRODUCTS, Card, Plan  # noqa: E402

KERNEL, SOURCE = cuda.kernel, cuda.source
# Of the largest magnitude in an array.  A sum that differs in its last bit may be rounded to another number
# of bf16 or tf32, by 2^-8 or 2^-11 of it, when it becomes a factor.
TOLERANCE = {"Float": 2e-5, "Double": 1e-12, "Tf32": 2e-3, "Bf16": 2e-2}
LAUNCHED: set[tuple[str, str]] = set()  # file and kernel
H200 = Card(132, 231424, clusters=True)
A100 = Card(108, 165888, clusters=False)
# members, clustered, times, resident
KINDS = [
    (1, False, 1, True),
    (1, False, 1, False),
    (3, False, 1, True),
    (2, False, 1, False),
    (2, False, 2, False),
]

pytestmark = pytest.mark.usefixtures("gpu")
cells = pytest.mark.parametrize("cell", [cell for cell in CELLS if not CELLS[cell].late])
products = pytest.mark.parametrize("product", PRODUCTS)
units = pytest.mark.parametrize("h", [33, 13])


def dtype_of(product: str) -> type:
    return np.float64 if product == "Double" else np.float32


def kernels_of(product: str, *modules: Any) -> SimpleNamespace:
    """The kernels of modules, or of the reference, in the precision of a product, for arrays of the host."""
    bound = {}
    for module in modules or (reference,):
        for name in (name for name in reference.__all__ if hasattr(module, name)):
            kernel = getattr(module, name)
            if name.endswith(("_forward", "_backward")):
                kernel = functools.partial(kernel, precision=PRECISION[product])
            bound[name] = called_on_host(kernel) if modules else kernel
    return SimpleNamespace(**bound)


TWINS = {
    product: kernels_of(product, elman, gru, gru_before, jordan, leaky, lstm, lstm_peepholes, normalised)
    for product in PRODUCTS
}
SPECIFIED = {product: kernels_of(product) for product in PRODUCTS}


def agree(product: str, *case: Any, **options: Any) -> None:
    check(TWINS[product], Case(*case, dtype_of(product), **options), SPECIFIED[product], TOLERANCE[product])


@pytest.fixture(autouse=True)
def record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes what is launched."""
    note_launches(monkeypatch, LAUNCHED)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """planned(rows, members, clustered, times, resident, turn): all launches; turn chooses the parts."""

    return lambda *how: monkeypatch.setattr(recurrent, "plan", fixed_plan(*how))


@pytest.mark.each_value
@cells
@products
@units
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_plan_equals_reference(
    planned: Callable[..., None], cell: str, product: str, kind: tuple[int, bool, int, bool], h: int
) -> None:
    """The emulated card has three multiprocessors: teams of two or three blocks run one after the other."""
    compare(planned, cell, product, kind, h)


@pytest.mark.each_value
@cells
@units
@pytest.mark.parametrize("product", CLUSTERED)
@pytest.mark.parametrize("resident", [True, False])
def test_clusters_equal_reference(
    planned: Callable[..., None], cell: str, product: str, resident: bool, h: int
) -> None:
    compare(planned, cell, product, (CLUSTER, True, 1, resident), h)


@pytest.mark.each_value
@pytest.mark.parametrize("order", ["forward", "backward", "random"])
@pytest.mark.parametrize("kind", [(CLUSTER, True, 1, True), (3, False, 1, True)])
def test_messages_in_every_order(
    planned: Callable[..., None], kind: tuple[int, bool, int, bool], order: str
) -> None:
    """Without checks, so that stores land as late as the order of threads lets them."""
    for seed, (product, cell) in enumerate([("Bf16", "lstm"), ("Float", "gru")]):
        planned(ROWS[product][-1], *kind, seed)
        with checked(False), schedule(order, seed):
            agree(product, cell, TANH, (1, 1, 2 * ROWS[product][-1] + 1, 7, 3, 37, 2))


def compare(
    planned: Callable[..., None], cell: str, product: str, kind: tuple[int, bool, int, bool], h: int
) -> None:
    """Every number of rows of a team, in an order that is shuffled, with checks; several teams, or one."""
    for turn, rows in enumerate(ROWS[product]):
        planned(rows, *kind, turn + (1 if h == 13 else 2))
        size = (2, 1, 2 * rows + 1, 3, 3, h, 2) if h == 13 else (1, 1, min(rows, 3), 3, 3, h, 2)
        with checked(True), schedule("random", 1):
            agree(product, CELLS[cell].name, TANH, size)


@pytest.mark.parametrize("product", ["Tf32", "Bf16"])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("turn", range(4))
def test_small_integers_are_exact(
    planned: Callable[..., None], product: str, members: int, turn: int
) -> None:
    """Sums of products of integers of 8 bits, more of them than registers hold, to the last bit."""
    planned(8, members, False, members, members == 1, turn)
    case = Case("elman", RELU, (1, 1, 5, 3, 4, 160, 2), np.float32)
    rng = np.random.default_rng(turn)
    for array in case.arrays.values():
        if isinstance(array, np.ndarray) and array.dtype == np.float32:
            array[...] = rng.integers(-1, 2, size=array.shape) * (rng.random(array.shape) < 0.02)
    check(TWINS[product], case, kernels_of("Float"), 0)


@cells
@pytest.mark.parametrize("kept", [True, False])
def test_steps_in_several_launches_give_the_same_bits(
    planned: Callable[..., None], monkeypatch: pytest.MonkeyPatch, gpu: str, cell: str, kept: bool
) -> None:
    """As on a device that drives a display: rows that end before a segment, with it, and in its midst."""
    planned(4, 3, False, 1, True)
    rng = np.random.default_rng(0)
    x, d = (rng.standard_normal((5, 7, width)).astype(np.float32) for width in (3, 13))
    lengths = np.array([7, 1, 3, 6, 4])
    rnn = fastrec.RNN(3, 13, cell=CELLS[cell].name, backend=gpu, seed=1)
    found = []
    monkeypatch.setattr(recurrent, "has_watchdog", lambda: True)
    for steps in (100, 3, 1):
        monkeypatch.setattr(recurrent, "pieces_a_launch", lambda work, clocks, steps=steps: steps)
        if kept:
            trace = rnn.forward(x, lengths=lengths)
            gradients = rnn.backward(trace, d_hidden=d)
            found.append({"hidden": trace.hidden, "state": trace.state, **gradients})
        else:
            outputs, state = rnn.predict(x, lengths=lengths)
            found.append({"outputs": outputs, "state": state})
    for other in found[1:]:
        for key, value in found[0].items():
            assert np.array_equal(value, other[key]), key


@products
@pytest.mark.parametrize("b", [1, 300])
@pytest.mark.parametrize("cell", cuda.LINKED)
def test_cells_of_two_products_equal_the_reference(product: str, b: int, cell: str) -> None:
    with checked(b == 1):
        agree(product, cell, TANH, (1, 1, b, 2, 3, 17, 5))


@pytest.mark.each_value
@cells
@products
@pytest.mark.parametrize("b", [1, 300])
def test_normal_products_equal_the_reference(product: str, b: int, cell: str) -> None:
    size = (1, 1, b, 2, 3, 17, 5)
    with checked(b == 1):
        agree(product, "normalised", TANH, size, of=CELLS[cell].name, inputs=cell != "Elman")


def test_sums_of_many_gates_take_fewer_parts() -> None:
    """In eight parts, 8 rows of them would not fit the shared memory of a block."""
    agree("Bf16", "normalised", TANH, (1, 1, 1, 2, 3, 256, 1), of="lstm")


@pytest.mark.slow
def test_every_kernel_was_launched() -> None:
    if len(LAUNCHED) < 20:
        pytest.skip("not all tests of this file have run")
    expected = {(file, name) for file in ("cells", "normalised", *cuda.LINKED) for name in cuda.KERNELS[file]}
    assert expected <= LAUNCHED


BUGS = {
    "no wait for the stores of a cluster": (
        "      wait_for_bytes(arrivals + number % 2, (number - 1) / 2 % 2);\n",
        "",
        (CLUSTER, True, 1, True),
    ),
    "the phase before is waited for": (
        "(number - 1) / 2 % 2)",
        "(number / 2 + 1) % 2)",
        (CLUSTER, True, 1, True),
    ),
    "inputs overwritten while they are read": (
        "next = CLUSTERED ? take(ROWS * pitch) : in;",
        "next = in;",
        (CLUSTER, True, 1, True),
    ),
    "too few bytes expected": (
        "u32(members * rows * run",
        "u32((members - 1) * rows * run",
        (CLUSTER, True, 1, True),
    ),
    "no wait for a message": ("while (got[i].w != number) {", "while (false) {", (3, False, 1, True)),
    "a place used again too early": ("number % 2 * ROWS + row", "row", (3, False, 1, True)),
    "a word too many": ("!last || missing < 1", "true", (3, False, 1, True)),
    "no wait for the sums of inputs": ("    copy_wait<1>();\n", "", (1, False, 1, True)),
    "a wrong sign": ("+ direct[e]", "- direct[e]", (1, False, 1, True)),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_shows(planned: Callable[..., None], monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    right, wrong, kind = BUGS[bug]
    source = SOURCE("cells")
    assert right in source
    monkeypatch.setattr(cuda, "source", lambda name: source.replace(right, wrong))
    monkeypatch.setattr(cuda, "compiled_with", lambda file, name: (name,))
    for cache in (cuda.module, KERNEL):
        cache.cache_clear()
    planned(4, *kind)
    try:
        with pytest.raises((AssertionError, RuntimeError)), checked():
            agree("Float", "gru", TANH, (1, 1, 4, 4, 3, 13, 2))
    finally:
        for cache in (cuda.module, KERNEL):
            cache.cache_clear()


@cells
@products
@pytest.mark.parametrize(
    ("card", "largest"),
    [(H200, 10_000), (A100, 10_000), (Card(16, 100 * 1024, True), 1024), (Card(3, 231424, True), 512)],
)
def test_plans_fit_the_card(cell: str, product: str, card: Card, largest: int) -> None:
    for k, b, h in (
        (1, 1, 1),
        (1, 1, 128),
        (1, 16, 512),
        (3, 16, 1024),
        (1, 4096, 64),
        (2000, 3, 5),
        (1, 7, 2000),
        (1, 40, 10_000),
    ):
        if h > largest:
            continue
        for backward in (False, True):
            plan = recurrent.plan(cell, product, k, b, h, backward, card)
            assert plan.shared <= card.shared
            assert plan.shared == recurrent.shared_bytes(cell, PRODUCTS[product], h, plan, backward)
            assert plan.rows in ROWS[product] and 1 <= plan.members <= min(h, card.multiprocessors)
            assert not plan.clustered or (card.clusters and plan.members == CLUSTER)


def test_plans_are_as_counted() -> None:
    def plan(cell: str, b: int, h: int, product: str = "Float", card: Card = H200) -> Plan:
        return recurrent.plan(cell, product, 1, b, h, False, card)

    for h in (64, 128):
        assert plan("Elman", 1, h).members == 1
    assert plan("Elman", 16, 512).clustered
    without = plan("Elman", 16, 512, card=A100)
    assert without.members > 1 and not without.clustered and without.resident
    large = plan("Elman", 16, 1024)
    assert large.members >= 16 and not large.clustered and large.resident
    # In a cluster each block would store 16 kB, at 16 bytes a clock.
    assert plan("Elman", 64, 1024, "Bf16").members == 16 and not plan("Elman", 64, 1024, "Bf16").clustered
    assert plan("Lstm", 64, 128).clustered
    assert plan("Elman", 4096, 64).members == 1
    assert not plan("Lstm", 1, 2000).resident  # 64 MB of weights
    with pytest.raises(ValueError, match="hidden_size is 10000000"):
        plan("Elman", 1, 10_000_000)


@pytest.mark.parametrize(
    ("b", "h", "product", "backward", "card"),
    [(64, 1536, "Double", False, A100), (64, 3072, "Float", False, A100), (1024, 2048, "Float", True, H200)],
)
def test_large_networks_have_a_plan(b: int, h: int, product: str, backward: bool, card: Card) -> None:
    """Teams that do not run all at once run one after the other, and inputs that do not fit come in turn: the
    multiply-adds of a step take at least an eighth of its time."""
    plan = recurrent.plan("Lstm", product, 1, b, h, backward, card)
    kind, teams = PRODUCTS[product], -(-b // plan.rows)
    clocks = recurrent.step_clocks("Lstm", kind, h, plan, teams, backward, card)
    rate = recurrent.MULTIPLY_ADDS * card.multiprocessors * 4 / kind.real
    assert plan.shared <= card.shared and clocks < 8 * b * 4 * h * h / rate


def test_an_infinite_last_state_spoils_nothing() -> None:
    """It is a start of no step."""
    state, hidden, d = (np.ones(shape, np.float32) for shape in ((1, 2, 3), (1, 2, 4, 3), (1, 2, 4, 5)))
    hidden[:, :, -1] = np.inf
    found, before = np.empty((1, 3, 5), np.float32), (hidden.copy(), d.copy())
    called_on_host(time_loop.recurrent_products)(state, hidden, d, found, "float32")
    assert np.array_equal(found, np.full_like(found, 8))
    assert np.array_equal(hidden, before[0]) and np.array_equal(d, before[1])


def test_jordan_that_does_not_fit_is_refused() -> None:
    rnn = fastrec.RNN(1, 60_000, 1, cell="jordan", initial="uniform", backend="gpu", seed=0)
    with pytest.raises(ValueError, match="hidden_size is 60000; 1 of its rows do not fit"):
        rnn.predict(np.zeros((1, 1, 1), np.float32))


@cells
@products
def test_a_plan_costs_least(cell: str, product: str) -> None:
    """No other number of members is cheaper, whether it keeps its weights or not."""
    kind = PRODUCTS[product]
    for h in (32, 128, 512, 2048):
        plan = recurrent.plan(cell, product, 1, 4, h, False, H200)
        clocks = recurrent.step_clocks(cell, kind, h, plan, -(-4 // plan.rows), False, H200)
        for members in (1, 16, 128):
            for resident in (False, True):
                part = recurrent.work(cell, kind, h, members, 1, False)
                parts = recurrent.parts_for(kind, part.inputs, part.columns)[-1]
                other = Plan(ROWS[product][0], members, False, 1, parts, resident, 0)
                if members <= h and recurrent.shared_bytes(cell, kind, h, other, False) <= H200.shared:
                    teams = -(-4 // other.rows)
                    assert clocks <= recurrent.step_clocks(cell, kind, h, other, teams, False, H200)
