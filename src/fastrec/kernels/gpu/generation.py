"""Tokens that a recurrent network draws on the GPU, each its next input: a whole text in one launch.

A team of `members` blocks takes up to `rows` rows of the batch; teams that do not fit the card at once take
turns.  `plan` chooses the cheapest by the clocks that a step is reckoned to take, as recurrent.py does.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

import cupy
import numpy as np

from . import recurrent
from .module import CELLS, launch, multiprocessors, pieces_a_launch, shared_limit, text_rows
from .recurrent import PRODUCTS, THREADS, Layout, Product, Work, kind_of, layout, pack, parts_for, split_work

__all__ = ["generate"]

logger = logging.getLogger("fastrec")

MOST_PARTS = 32  # of a product: more are dearer to add than they save
LOGIT = 200  # clocks that a warp takes for 32 logits of a token that is drawn


class Net(NamedTuple):
    """A network: the struct of its cell, whether it feeds back outputs, layers, hidden units and tokens."""

    cell: str
    feeds_back: bool
    layers: int
    h: int
    i: int


class Plan(NamedTuple):
    """rows: of a team.  members: its blocks.  parts, out_parts: that the inputs of the products with hidden
    units and with W_out are summed in.  resident: how many of the matrices stay in shared memory, of `shared`
    bytes, the rest being streamed.  spilled: whether the logits are in global memory."""

    rows: int
    members: int
    parts: int
    out_parts: int
    resident: int
    spilled: bool
    shared: int


class Card(NamedTuple):
    """multiprocessors; shared: bytes of it that a block can have."""

    multiprocessors: int
    shared: int


def works(net: Net, product: Product, members: int) -> tuple[Work, Work]:
    """A member's part of a product with what is fed back, and of that with W_out."""
    back = net.i if net.feeds_back else net.h
    return (
        split_work(product, back, net.h, CELLS[net.cell].gates, members, 1, False),
        split_work(product, net.h, net.i, 1, members, 1, False),
    )


def layouts(net: Net, product: Product, plan: Plan) -> tuple[Layout, Layout]:
    """The layouts of these products."""
    step, out = works(net, product, plan.members)
    return (
        layout(product, step.inputs, step.columns, plan.parts),
        layout(product, out.inputs, out.columns, plan.out_parts),
    )


def matrix_bytes(product: Product, placed: Layout) -> int:
    """Bytes of a matrix of a member."""
    return placed.depth * placed.jobs * product.entry


def shared_bytes(net: Net, product: Product, plan: Plan) -> int:
    """Shared memory of a block as cuda/generation.cu lays it out; what plan.shared says does not matter."""
    rows, last, late = plan.rows, 2 * net.layers - 1, CELLS[net.cell].late
    step_work, out_work = works(net, product, plan.members)
    step, out = layouts(net, product, plan)
    sums, out_sums = plan.parts * step.width, plan.out_parts * out.width
    states = out_work.share if net.feeds_back else net.layers * CELLS[net.cell].states * step_work.share
    pieces = (
        rows * net.layers * out.pitch * product.operand,
        rows * step.pitch * product.operand * net.feeds_back,
        rows * out_work.run * product.operand,
        rows * out_work.share * product.real,
        rows * out.pitch * product.operand * late,
        min(plan.resident, last) * matrix_bytes(product, step)
        + (plan.resident > last) * matrix_bytes(product, out),
        rows * ((1 + late) * sums + max(sums * (net.layers > 1), out_sums)) * product.real,
        rows * states * product.real,
        rows * plan.members * out_work.share * product.real * (not plan.spilled),
    )
    return sum(-(-piece // 16) * 16 for piece in pieces)


def step_clocks(net: Net, product: Product, plan: Plan, teams: int, card: Card) -> float:
    """Clocks that a step of all teams is estimated to take."""
    step_work, out_work = works(net, product, plan.members)
    step, out = layouts(net, product, plan)
    rows, last, late = plan.rows, 2 * net.layers - 1, CELLS[net.cell].late
    teams_at_once = min(teams, card.multiprocessors // plan.members)
    at_once, clocks, streamed = teams_at_once * plan.members, 0.0, 0
    for matrix in range(last + 1):
        placed, parts = (step, plan.parts) if matrix < last else (out, plan.out_parts)
        weights, times = matrix_bytes(product, placed), 1 + late * (matrix < net.layers)
        streamed += times * weights * (matrix >= plan.resident)
        moved = weights * (1 + (matrix >= plan.resident)) + 2 * parts * rows * placed.width * product.real
        clocks += times * recurrent.product_clocks(product, rows, placed.depth, placed.jobs, moved)
    clocks = max(clocks, recurrent.l2_clocks(streamed, at_once))
    function = recurrent.element_clocks(CELLS[net.cell], rows, step_work.share, plan.parts, False)
    clocks += (1 + late) * net.layers * function + ((3 + 3 * late) * net.layers + 4) * recurrent.BARRIER
    if plan.members > 1:
        for handed in (
            *(1 + late) * net.layers * (out_work.run * product.operand,),
            out_work.share * product.real,
        ):
            clocks += recurrent.message_clocks(rows, plan.members, handed, at_once)
    clocks += LOGIT * min(rows * (-(-net.i // THREADS) + 8), -(-rows // 8) * -(-net.i // 32))
    return clocks * -(-teams // teams_at_once)


@functools.lru_cache(maxsize=1024)
def plan(net: Net, kind: str, b: int, card: Card) -> Plan:
    """The cheapest plan for b rows, and a product of PRODUCTS.

    Raises ValueError if what a block must hold does not fit its shared memory, however many share the work.
    """
    plans: list[tuple[float, Plan]] = []
    product = PRODUCTS[kind]
    sizes = {size * 2**i for i in range(card.multiprocessors.bit_length()) for size in (1, 3)}
    most = min(max(net.h, net.i), card.multiprocessors)
    for rows in text_rows(net.cell, kind):
        for members in sorted(size for size in sizes if size <= most):
            for chosen in fitting(net, product, rows, members, card):
                plans.append((step_clocks(net, product, chosen, -(-b // rows), card), chosen))
        if rows >= b:
            break
    if not plans:
        raise ValueError(
            f"hidden_size is {net.h}, with {net.i} tokens; a step does not fit the shared memory of a block"
        )
    return min(plans, key=lambda each: each[0])[1]


def fitting(net: Net, product: Product, rows: int, members: int, card: Card) -> Iterator[Plan]:
    """Plans for each way to part the inputs, each with the most that fits shared memory, logits first."""
    logits = works(net, product, members)[1].share * product.real
    if members > 1 and members * (recurrent.mail_pieces(1, 1, logits) // 2) ** 2 >= 2**31:
        return  # cuda/mail.cuh could not tell the members of so many pieces
    for parts, out_parts in partings(net, product, members):
        for spilled, resident in itertools.product((False, True), reversed(range(2 * net.layers + 1))):
            chosen = Plan(rows, members, parts, out_parts, resident, spilled, 0)
            shared = shared_bytes(net, product, chosen)
            if shared <= card.shared:
                yield chosen._replace(shared=shared)
                break


def partings(net: Net, product: Product, members: int) -> Iterator[tuple[int, int]]:
    """The parts and out_parts that come into question, of one pitch where both products read the same."""
    step, out = works(net, product, members)
    for parts in parts_for(product, step.inputs, step.columns):
        parts = min(parts, MOST_PARTS)
        pitch = layout(product, step.inputs, step.columns, parts).pitch
        several = parts_for(product, out.inputs, out.columns)
        if not product.by_tensor_cores:
            several = tuple(range(1, min(several[0], MOST_PARTS) + 1))
        same = [
            each
            for each in {*several, parts}
            if net.feeds_back or layout(product, out.inputs, out.columns, each).pitch == pitch
        ]
        for out_parts in {min(same), max(same)}:
            yield parts, out_parts


def generate(
    cell: str,
    tokens: Any,
    lengths: Any,
    state: Any,
    layers: tuple[tuple[Any, ...], ...],
    W_out: Any,
    b_out: Any,
    activation: int,
    feeds_back: bool,
    temperature: float,
    top_k: int,
    top_p: int,
    stop: int,
    key: int,
    first: int,
    drawn: Any,
    last: Any,
    *,
    precision: str = "float32",
) -> None:
    """Read prompts, tokens (b, t) with lengths (b), and go on with them: fill drawn (b, n) and last."""
    (b, t), (_, h, i) = tokens.shape, W_out.shape
    if not b:
        return
    struct, kind = import_module(f".{cell}", __package__).CELL, kind_of(W_out, precision)
    net = Net(struct, feeds_back, len(layers), h, i)
    # Static shared memory of the kernel is below 1 KiB.
    card = Card(multiprocessors(), shared_limit(cupy.cuda.runtime.getDevice()) - 1024)
    chosen = plan(net, kind, b, card)
    logger.debug("generate, %s, b = %d, n = %d, %s: %s", precision, *drawn.shape, net, chosen)
    product, gates = PRODUCTS[kind], CELLS[struct].gates
    rows, members = chosen.rows, chosen.members
    matrices = [layer[1] for layer in layers] + [layer[0] for layer in layers[1:]]
    packed = [pack(W, kind, gates, members, chosen.parts, 1, False) for W in matrices]
    packed.append(pack(W_out, kind, 1, members, chosen.out_parts, 1, False))
    biases = cupy.concatenate([layer[2] for layer in layers])
    of_units = cupy.concatenate([layer[3] for layer in layers]) if len(layers[0]) == 4 else None
    network = (tokens, lengths, state, layers[0][0], biases, of_units, cupy.concatenate(packed), b_out)

    # The first largest is the only one that top_k = 1 keeps.
    inverse = float(W_out.dtype.type(1 / temperature)) if temperature else 1.0
    top_k = top_k if temperature else 1
    teams = -(-b // rows)
    at_once = min(teams, card.multiprocessors // members)
    clocks = step_clocks(net, product, chosen, at_once, card) * (t + drawn.shape[1])
    pieces_a_launch(f"a text of {drawn.shape[1]} tokens", clocks)
    out_work = works(net, product, members)[1]
    handed = (
        *(1 + CELLS[struct].late) * net.layers * (out_work.run * product.operand,),
        out_work.share * product.real,
    )
    pieces = sum(recurrent.mail_pieces(rows, members, nbytes) for nbytes in handed) * (members > 1)
    posted = cupy.zeros((at_once * pieces, 4), dtype=np.uint32)
    room = (at_once * members, rows, members * out_work.share)
    scratch = cupy.empty(room, W_out.dtype) if chosen.spilled else None
    for begin in range(0, teams, at_once):
        if begin:
            posted.fill(0)
        launch(
            *(
                "generation",
                f"generate<{kind}, {struct}, {rows}>",
                min(at_once, teams - begin) * members,
                THREADS,
            ),
            *(*network, b, t, drawn.shape[1], h, i, len(layers), feeds_back, activation),
            *(members, begin, chosen.parts, chosen.out_parts, chosen.resident),
            *(inverse, top_k, np.uint64(top_p), stop, np.uint64(key), first, posted, scratch, drawn, last),
            shared=chosen.shared,
            together=members > 1,
        )
