"""The recurrences on the GPU by every plan: blocks alone, clusters, the grid, weights kept or streamed."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from emulator.raw import checked, schedule
from test_kernels_rnn import TOLERANCE, Case, check

import fastrec
from fastrec.kernels import TANH
from fastrec.kernels.reference import rnn as reference

cuda = pytest.importorskip("fastrec.kernels.gpu.module", reason="needs CuPy, or the emulator's")
from devices import called_on_host, note_launches  # noqa: E402

from fastrec.kernels.gpu import elman, gru, jordan, lstm, recurrent, sequences  # noqa: E402
from fastrec.kernels.gpu.module import ROWS  # noqa: E402
from fastrec.kernels.gpu.recurrent import CELLS, CLUSTER, Card, Plan  # noqa: E402

KERNEL, SOURCE = cuda.kernel, cuda.source
TWINS = SimpleNamespace(
    **{
        name: called_on_host(getattr(file, name))
        for file in (elman, gru, jordan, lstm)
        for name in reference.__all__
        if hasattr(file, name)
    }
)
LAUNCHED: set[tuple[str, str]] = set()  # file and kernel
H200 = Card(132, 231424, clusters=True)
A100 = Card(108, 165888, clusters=False)
# members, clustered, resident
KINDS = [
    (1, False, True),
    (1, False, False),
    (3, False, True),
    (2, False, False),
    (CLUSTER, True, True),
    (CLUSTER, True, False),
]

pytestmark = pytest.mark.usefixtures("gpu")
cells = pytest.mark.parametrize("cell", CELLS)
dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE))


@pytest.fixture(autouse=True)
def record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes what is launched."""
    note_launches(monkeypatch, LAUNCHED)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """planned(rows, members, clustered, resident): what every launch does from now on."""

    def fix(rows: int, members: int, clustered: bool, resident: bool) -> None:
        def plan(cell: str, k: int, b: int, h: int, itemsize: int, backward: bool, card: Card) -> Plan:
            sizes = recurrent.shared_bytes(cell, h, rows, members, clustered, itemsize, backward)
            return Plan(rows, members, clustered, resident, sizes[resident])

        monkeypatch.setattr(recurrent, "plan", plan)

    return fix


@cells
@dtypes
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("order", ["checked", "random"])
def test_every_plan_equals_reference(
    planned: Callable[..., None], cell: str, dtype: type, kind: tuple[int, bool, bool], order: str
) -> None:
    """The emulated card has three multiprocessors: teams of two or three blocks run one after the other."""
    members, clustered, resident = kind
    for rows in ROWS[np.dtype(dtype).itemsize]:
        planned(rows, members, clustered, resident)
        for k, b, t, h in ((2, 2 * rows + 1, 3, 13), (1, min(rows, 3), 3, 33)):
            size = (k, 1, b, t, 3, h, 2)
            with checked(order == "checked"), schedule("random" if order == "checked" else order, 1):
                check(TWINS, Case(cell.lower(), TANH, size, dtype))


@dtypes
@pytest.mark.parametrize("b", [1, 300])
def test_jordan_equals_reference(dtype: type, b: int) -> None:
    with checked(b == 1):
        check(TWINS, Case("jordan", TANH, (1, 1, b, 2, 3, 17, 5), dtype))


def test_every_kernel_was_launched() -> None:
    if len(LAUNCHED) < 20:
        pytest.skip("not all tests of this file have run")
    expected = {(file, name) for file in ("cells", "jordan") for name in cuda.KERNELS[file]}
    assert expected <= LAUNCHED


BUGS = {
    "no barrier of the cluster": ("    meet<CLUSTERED>();\n    swap", "    swap", (CLUSTER, True, True)),
    "no barrier of the team": ("      barrier.wait();\n", "", (3, False, True)),
    "no wait for the sums of inputs": ("    copy_wait<1>();\n", "", (1, False, True)),
    "a wrong sign": ("+ direct[e]", "- direct[e]", (1, False, True)),
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
            check(TWINS, Case("gru", TANH, (1, 1, 4, 4, 3, 13, 2), np.float32))
    finally:
        for cache in (cuda.module, KERNEL):
            cache.cache_clear()


@cells
@pytest.mark.parametrize("card", [H200, A100, Card(16, 100 * 1024, True), Card(3, 231424, True)])
@pytest.mark.parametrize("itemsize", [4, 8])
def test_plans_fit_the_card(cell: str, card: Card, itemsize: int) -> None:
    for k, b, h in (
        (1, 1, 1),
        (1, 1, 128),
        (1, 16, 512),
        (3, 16, 1024),
        (1, 4096, 64),
        (2000, 3, 5),
        (1, 7, 2000),
    ):
        for backward in (False, True):
            plan = recurrent.plan(cell, k, b, h, itemsize, backward, card)
            sizes = recurrent.shared_bytes(
                cell, h, plan.rows, plan.members, plan.clustered, itemsize, backward
            )
            assert plan.shared == sizes[plan.resident] <= card.shared
            assert plan.rows in ROWS[itemsize] and 1 <= plan.members <= h
            assert not plan.clustered or (card.clusters and plan.members == CLUSTER)
            assert plan.members <= card.multiprocessors


def test_plans_are_as_counted() -> None:
    def kind(cell: str, b: int, h: int, card: Card = H200) -> tuple[int, bool, bool]:
        return recurrent.plan(cell, 1, b, h, 4, False, card)[1:4]

    assert kind("Elman", 1, 64) == kind("Elman", 1, 128) == (1, False, True)
    assert kind("Elman", 16, 512) == (CLUSTER, True, True)
    members, clustered, resident = kind("Elman", 16, 512, A100)
    assert members > 1 and not clustered and resident
    members, clustered, resident = kind("Elman", 16, 1024)
    assert members >= 32 and not clustered and resident
    assert kind("Elman", 4096, 64)[0] == 1
    assert not kind("Lstm", 1, 2000)[2]  # 144 MB of weights
    with pytest.raises(ValueError, match="hidden_size is 100000"):
        kind("Elman", 1, 100_000)


@pytest.mark.parametrize(
    ("b", "h", "itemsize", "backward", "card"),
    [(64, 1536, 8, False, A100), (64, 3072, 4, False, A100), (128, 8192, 4, True, H200)],
)
def test_large_networks_have_a_plan(b: int, h: int, itemsize: int, backward: bool, card: Card) -> None:
    """Teams that do not run all at once run one after the other."""
    assert recurrent.plan("Lstm", 1, b, h, itemsize, backward, card).shared <= card.shared


def test_an_infinite_last_state_spoils_nothing() -> None:
    """It is a start of no step."""
    state, hidden, d = (np.ones(shape, np.float32) for shape in ((1, 2, 3), (1, 2, 4, 3), (1, 2, 4, 5)))
    hidden[:, :, -1] = np.inf
    found, before = np.empty((1, 3, 5), np.float32), (hidden.copy(), d.copy())
    called_on_host(sequences.recurrent_products)(state, hidden, d, found)
    assert np.array_equal(found, np.full_like(found, 8))
    assert np.array_equal(hidden, before[0]) and np.array_equal(d, before[1])


def test_jordan_that_does_not_fit_is_refused() -> None:
    rnn = fastrec.RNN(1, 60_000, 1, cell="jordan", initial="uniform", backend="gpu")
    with pytest.raises(ValueError, match="hidden_size is 60000; one row does not fit"):
        rnn.predict(np.zeros((1, 1, 1), np.float32))


@cells
def test_a_plan_costs_least(cell: str) -> None:
    """More members are cheaper for larger networks only, and keeping the weights never costs."""
    for h in (32, 128, 512, 2048):
        plan = recurrent.plan(cell, 1, 4, h, 4, False, H200)
        clocks = recurrent.step_clocks(cell, h, plan, -(-4 // plan.rows), 4, False, H200)
        for members in (1, 16, 128):
            if members <= h:
                for resident, size in enumerate(recurrent.shared_bytes(cell, h, 4, members, False, 4, False)):
                    other = Plan(4, members, False, bool(resident), size)
                    if size <= H200.shared:
                        assert clocks <= recurrent.step_clocks(cell, h, other, 1, 4, False, H200)
