"""Tokens drawn on the GPU by every plan and precision, under every schedule, with races looked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

import devices
import numpy as np
import pytest
from emulator.raw import checked, schedule
from test_kernels_generation import ALL, Text

from fastrec.kernels import TANH
from fastrec.rnn.cells import CELLS

cuda = pytest.importorskip("fastrec.kernels.gpu.module", reason="needs CuPy, or the emulator's")
from gpu.cases_recurrent import PRECISION, fixed_text_plan  # noqa: E402

from fastrec.kernels.gpu import generation  # noqa: E402
from fastrec.kernels.gpu.generation import Card, Net, Plan  # noqa: E402
from fastrec.kernels.gpu.module import text_rows  # noqa: E402
from fastrec.kernels.gpu.recurrent import PIECE, PRODUCTS  # noqa: E402

KERNEL, SOURCE = cuda.kernel, cuda.source
LAUNCHED: set[tuple[str, str]] = set()  # file and kernel
RUN: set[str] = set()  # tests
H200, A100 = Card(132, 231424), Card(108, 165888)
# members, matrices that stay in shared memory, whether logits are in global memory
KINDS = [(1, 9, False), (1, 0, True), (2, 1, False), (3, 0, True), (3, 9, False)]

pytestmark = pytest.mark.usefixtures("gpu")
cells = pytest.mark.parametrize("cell", CELLS)
products = pytest.mark.parametrize("product", PRODUCTS)


@pytest.fixture(autouse=True)
def record(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Notes what is launched."""
    devices.note_launches(monkeypatch, LAUNCHED)
    RUN.add(request.node.originalname)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """planned(rows, members, resident, spilled, turn): all launches; turn chooses the parts."""

    return lambda *how: monkeypatch.setattr(generation, "plan", fixed_text_plan(*how))


def text_of(product: str, *case: Any, **options: Any) -> Text:
    return Text(*case[:3], np.float64 if product == "Double" else np.float32, *case[3:], **options)


@pytest.mark.each_value
@cells
@products
@pytest.mark.parametrize(
    ("kind", "order"), [*((kind, "random") for kind in KINDS), *((kind, "checked") for kind in KINDS[1::3])]
)
def test_every_plan_equals_reference(
    planned: Callable[..., None], cell: str, product: str, kind: tuple[int, int, bool], order: str
) -> None:
    """The emulated card has three multiprocessors: teams of two or three blocks run one after the other.

    Few tokens, and many, which a block draws together; members that have no units.
    """
    struct = import_module(f"fastrec.kernels.gpu.{cell}").CELL
    for turn, rows in enumerate(text_rows(struct, product)):
        for size, way in (
            ((3, rows + 1, 7, 13), (4, 5, 2**63)),
            ((1, 1, 330, 2), (2, 200, ALL // 3)),
        ):
            planned(rows, *kind, turn)
            with checked(order == "checked"), schedule("random" if order == "checked" else order, turn):
                text_of(product, cell, TANH, size, way, n=3).agree("gpu", precision=PRECISION[product])


@pytest.mark.each_value
@cells
@pytest.mark.parametrize("product", ["Tf32", "Bf16"])
@pytest.mark.parametrize("members", [1, 3])
def test_factors_are_rounded(planned: Callable[..., None], cell: str, product: str, members: int) -> None:
    """And nothing else: states after one step, of which a sum that is rounded another way spoils few."""
    planned(8, members, 9, False)
    text = text_of(product, cell, TANH, (2, 17, 9, 33), n=1, exact=False)
    text.lengths[:] = 1
    ours, theirs, plain = (
        text.run(backend, precision=precision)[1]
        for backend, precision in (
            ("gpu", PRECISION[product]),
            ("reference", PRECISION[product]),
            ("reference", "float32"),
        )
    )
    assert (abs(ours - theirs) < 1e-6).mean() > 0.9
    assert (abs(plain - theirs) < 1e-6).mean() < 0.2


BUGS = {
    "no wait for a message": ("while (got[i].w != number) {", "while (false) {"),
    "a place used again too early": ("number % 2 * ROWS + row", "row"),
    "a message numbered as the one before": (
        "mail_of(layer).send(now + 1,",
        "mail_of(layer).send(now / 2 + 1,",
    ),
    "tokens that are equal sorted backward": ("u32(i - j)", "u32(j + 1)"),
    "a token too many": ("e * WARP + lane < top_k && before[e] <= enough;", "before[e] <= enough;"),
    "a draw that begins before all have been": (
        "    __syncthreads();\n  }\n  each_state",
        "  }\n  each_state",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_shows(planned: Callable[..., None], monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    if not devices.emulated("gpu"):
        pytest.skip("a card might hang")
    right, wrong = BUGS[bug]
    source = SOURCE("generation")
    assert source.count(right) == 1
    monkeypatch.setattr(
        cuda, "source", lambda file: source.replace(right, wrong) if file == "generation" else SOURCE(file)
    )
    monkeypatch.setattr(cuda, "compiled_with", lambda file, name: (name,))
    monkeypatch.setattr(cuda, "module", functools.cache(cuda.module.__wrapped__))
    monkeypatch.setattr(cuda, "kernel", KERNEL.__wrapped__)
    planned(4, 3, 9, False)
    text = Text("elman", TANH, (1, 4, 12, 13), np.float32, (32, 0, ALL), n=6)
    text.stop = 1
    with pytest.raises((AssertionError, RuntimeError)), checked():
        text.agree("gpu")


@cells
@products
@pytest.mark.parametrize(
    ("card", "largest"), [(H200, 6000), (A100, 4000), (Card(16, 100 * 1024), 1024), (Card(3, 231424), 512)]
)
def test_plans_fit_the_card(cell: str, product: str, card: Card, largest: int) -> None:
    struct = import_module(f"fastrec.kernels.gpu.{cell}").CELL
    largest //= 1 + cuda.CELLS[struct].late  # what a late gate reads takes as much room as the state
    for layers, b, h, i in (
        (1, 1, 1, 1),
        (3, 1, 128, 100),
        (1, 64, 512, 300),
        (2, 16, 1000, 65),
        (1, 4096, 64, 3),
        (1, 1, 33, 50_000),
        (2, 1, 512, 4000),
        (1, 1, 4000, 100),
        (1, 1, 6000, 3),
    ):
        if max(h, i) > (largest if i < 50_000 else largest * 20):
            continue
        feeds_back = CELLS[cell].feeds_back_output
        if feeds_back and i > 1000:
            continue  # it would feed back more than fits
        net = Net(struct, feeds_back, 1 if feeds_back else layers, h, i)
        plan = generation.plan(net, product, b, card)
        assert plan.shared <= card.shared
        assert plan.shared == generation.shared_bytes(net, PRODUCTS[product], plan)
        assert plan.rows in text_rows(struct, product) and 1 <= plan.members <= min(
            max(h, i), card.multiprocessors
        )
        if not feeds_back:
            step, out = generation.layouts(net, PRODUCTS[product], plan)
            assert step.pitch == out.pitch


def test_plans_are_as_counted() -> None:
    def plan(b: int, h: int, i: int = 100, product: str = "Float", layers: int = 1) -> Plan:
        return generation.plan(Net("Gru", False, layers, h, i), product, b, H200)

    assert plan(1, 33).members == 1
    one = plan(1, 1024)
    assert one.members > 64 and one.rows == 1 and one.resident == 2 and not one.spilled
    assert plan(64, 1024).rows == 16
    assert plan(1, 512, 65_536).spilled and not plan(1, 512, 4000).spilled
    assert plan(1, 2048).resident == 0  # 50 MB of weights
    with pytest.raises(ValueError, match="hidden_size is 1000000, with 100 tokens; a step does not fit"):
        plan(1, 1_000_000)


@pytest.mark.parametrize("i", [1_000_000, 1_121_728, 1_500_000])
def test_the_member_of_each_piece_of_a_message_can_be_told(i: int) -> None:
    """By the division of cuda/common.cuh, up to the last piece of the logits of a huge vocabulary."""
    members = generation.plan(Net("Gru", False, 1, 128, i), "Float", 2, H200).members
    count = -(-i // members // PIECE)
    inverse = -(-(2**31) // count)
    assert 2 * (members * count - 1) * inverse >> 32 == members - 1


@pytest.mark.slow
def test_every_kernel_was_launched() -> None:
    if missing := {name for name in globals() if name.startswith("test_")} - RUN:
        pytest.skip(f"without {', '.join(sorted(missing))}")
    assert {("generation", kernel) for kernel in cuda.KERNELS["generation"]} <= LAUNCHED
