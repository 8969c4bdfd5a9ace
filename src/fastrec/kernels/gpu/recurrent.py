"""The recurrences of all steps in one launch, and how rows and hidden units are dealt to blocks for it.

A team of `members` blocks takes up to `rows` rows of one network.  One block alone hands on hidden units in
its shared memory, a cluster in those of its members, a larger team through global memory.  `plan` chooses the
cheapest by the clocks that a step is reckoned to take.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, NamedTuple

import cupy
import numpy as np

from .module import (
    BLOCK_ROWS,
    CELLS,
    CLUSTERED,
    Cell,
    has_clusters,
    has_watchdog,
    launch,
    multiprocessors,
    pieces_a_launch,
    shared_limit,
)
from .random import blocks
from .time_loop import float_type, sums

logger = logging.getLogger("fastrec")

THREADS = 256  # as in cuda/products.cuh
CLUSTER = 8  # blocks of a cluster, as in cuda/recurrent.cuh
PIECE = 3  # words, of four, that a piece of a message brings, as in cuda/mail.cuh

# What a multiprocessor of a Hopper card does in a clock.  [CUDA]: CUDA C++ Programming Guide; [L24], [L25]:
# Luo et al., arXiv:2402.13499 and 2501.12084; [B24]: Burtchell and Burtscher, IISWC 2024; [SASS]: counted in
# machine code for 9.0.  `gpu-check --only plans` compares the estimates with a card's times.
MULTIPLY_ADDS = 128  # of float32 [CUDA]
SHARED_BYTES = 128  # 32 banks of four bytes [CUDA]
ISSUED = 4  # instructions of a warp each [CUDA]
L2_BYTES = 64  # for one (assumed)
L2_BYTES_OF_ALL = 5000  # for all together (5120 on an A100: its whitepaper)
REMOTE_BYTES = 16  # to the shared memory of a cluster: 3.27 TB/s over 114 multiprocessors [L24, fig. 8]

# Clocks.
MMA = 1.6  # of one product of 2048 multiply-adds, at the 63 % of the peak that mma.sync reaches [L25, 6.2]
SHARED_LOAD = 29  # [L25, table 3]
BARRIER = 37  # of a block of 8 warps [B24, on an A100]
LOAD = 336  # from L2, between 258 near and 414 far [L25, table 4]
HANDOFF = 620  # from a store to a look by another: 283 (161 ns, Chips and Cheese 2023) to 956 [L25, v1, 7.1]
REMOTE = 200  # to the shared memory of another block of a cluster, 184 to 213 [L25, 7.1]
CHAIN = 150  # dependent instructions of a cell's function [SASS]

# Instructions [SASS]: of an element of a step forward, for itself and a gate; back, for itself and a value
# that is read ahead; to add up four parts of a sum; of a piece of a message that is received.
FORWARD, GATE, BACKWARD, AHEAD, FOUR_PARTS, RECEIVED = 25, 54, 58, 20, 36, 26


class Product(NamedTuple):
    """As in cuda/products.cuh: bytes of a state or sum, of an operand and of an entry of weights; how many
    entries a thread keeps in registers, by the rows of a team."""

    real: int
    operand: int
    entry: int
    held: dict[int, int]

    @property
    def by_tensor_cores(self) -> bool:
        """Whether it rounds its factors."""
        return self.entry > self.real


PRODUCTS = {
    "Float": Product(4, 4, 4, {1: 96, 4: 96, 16: 0}),
    "Double": Product(8, 8, 8, {1: 40, 4: 40}),
    "Tf32": Product(4, 4, 16, {8: 32}),
    "Bf16": Product(4, 2, 16, {8: 32, 16: 28}),
}


def kind_of(array: Any, precision: str) -> str:
    """The product for arrays like this one, whose factors are rounded as the precision says."""
    if precision == "float32":
        return "Float" if array.dtype.itemsize == 4 else "Double"
    return precision.capitalize()


class Layout(NamedTuple):
    """How a product of `inputs` with `columns` is laid out: see cuda/products.cuh."""

    depth: int
    jobs: int
    pitch: int
    width: int


def layout(product: Product, inputs: int, columns: int, parts: int) -> Layout:
    """The layout with the inputs summed in so many parts."""
    if product.by_tensor_cores:
        chunk, pairs = 64 // product.operand, -(-columns // (32 * 8 // parts))
        chunks = -(-inputs // (chunk * parts))
        return Layout(4 * pairs * chunks, THREADS, (parts * chunks | 1) * chunk, 8 // parts * pairs * 32 + 4)
    depth = -(-inputs // (4 * parts)) * 4
    return Layout(depth, parts * columns, parts * depth, columns)


def parts_for(product: Product, inputs: int, columns: int) -> tuple[int, ...]:
    """The numbers of parts that come into question."""
    return (1, 2, 4, 8) if product.by_tensor_cores else (max(1, min(THREADS // columns, -(-inputs // 4))),)


def whole_pieces(count: int, itemsize: int) -> int:
    """The least number of values from `count` on that fills pieces of 16 bytes."""
    return -(-count * itemsize // 16) * 16 // itemsize


def pack(W: Any, product: str, gates: int, members: int, parts: int, times: int, back: bool) -> Any:
    """Weights (k, n, gates u) as (k, members, times, depth, jobs), for products from n to gates u or back."""
    (k, n, width), kind = W.shape, PRODUCTS[product]
    u = width // gates
    part = split_work(kind, n, u, gates, members, times, back)
    placed = layout(kind, part.inputs, part.columns, parts)
    entries = k * members * times * placed.depth * placed.jobs
    packed = cupy.empty(entries * kind.entry // kind.real, W.dtype)
    sizes = (k, n, u, gates, members, parts, times, back)
    launch("cells", f"pack_weights<{product}>", blocks(entries), THREADS, W, *sizes, packed)
    return packed


class Plan(NamedTuple):
    """rows: of a team.  members: its blocks, clustered or meeting in global memory.  times: that a step takes
    its inputs in, of as many members each.  parts: of these inputs, summed apart.  resident: weights that are
    not in registers stay in shared memory, of `shared` bytes."""

    rows: int
    members: int
    clustered: bool
    times: int
    parts: int
    resident: bool
    shared: int


def rows_of_block(kind: str, rows: int, row: int, h: int) -> int:
    """How many of so many rows a block without a team takes, of which each takes `row` bytes of its shared
    memory.

    Raises ValueError if they do not fit.
    """
    limit = this_card().shared
    few, many = BLOCK_ROWS[kind][0], BLOCK_ROWS[kind][-1]
    each = many if rows > 256 and many * row <= limit else few
    if each * row > limit:
        raise ValueError(f"hidden_size is {h}; {each} of its rows do not fit the shared memory of a block")
    return each


class Card(NamedTuple):
    """multiprocessors; shared: bytes of it that a block can have; clusters: whether blocks can form them."""

    multiprocessors: int
    shared: int
    clusters: bool


class Work(NamedTuple):
    """A block's part of a step: `run` values handed on of each row, from `share` units, and at each time so
    many inputs for its columns."""

    share: int
    run: int
    inputs: int
    columns: int


def split_work(product: Product, n: int, u: int, gates: int, members: int, times: int, back: bool) -> Work:
    """The work of one of so many members in a product from n to gates u units, or back."""
    share_in, share_out = -(-n // members), -(-u // members)
    handed, columns = (gates * share_out, share_in) if back else (share_in, gates * share_out)
    run = whole_pieces(handed, product.operand)
    return Work(share_out, run, members // times * run, columns)


def work(cell: str, product: Product, h: int, members: int, times: int, backward: bool) -> Work:
    """The work of one of so many members in the recurrence of a cell."""
    return split_work(product, h, h, CELLS[cell].gates, members, times, backward)


def shared_bytes(cell: str, product: Product, h: int, plan: Plan, backward: bool) -> int:
    """Shared memory of a block as cuda/cells.cu lays it out; what plan.shared says does not matter."""
    part = work(cell, product, h, plan.members, plan.times, backward)
    placed = layout(product, part.inputs, part.columns, plan.parts)
    struct = CELLS[cell]
    own = struct.own_back if backward else struct.own
    kept = 1 + struct.states + own if backward else int(struct.before or struct.states == 2)
    values = plan.parts * placed.width + (2 * values_ahead(struct, backward) + kept) * part.share
    handed = (1 + plan.clustered) * placed.pitch + part.run * (plan.members > 1)
    weights = in_memory(product, plan, placed) if plan.resident else 0
    once = 16 * plan.clustered + own * part.share * product.real  # arrivals, parameters of single units
    return once + plan.rows * (handed * product.operand + values * product.real) + weights


def values_ahead(cell: Cell, backward: bool) -> int:
    """Values of a unit that a step reads from global memory while the one before it is computed."""
    if not backward:
        return cell.gates
    return 1 + cell.hidden + cell.before + 2 * (cell.states == 2) + cell.kept * (not cell.hidden)


def in_memory(product: Product, plan: Plan, placed: Layout) -> int:
    """Bytes of the weights of a block that are not in registers."""
    held = product.held[plan.rows] if placed.jobs <= THREADS and plan.times == 1 else 0
    return max(0, plan.times * placed.depth - held) * placed.jobs * product.entry


def mail_pieces(rows: int, members: int, handed: int) -> int:
    """Pieces of 16 bytes for messages of so many bytes of each row and member: see cuda/mail.cuh."""
    return 2 * rows * members * -(-handed // (4 * PIECE))


def product_clocks(product: Product, rows: int, depth: int, jobs: int, moved: int) -> float:
    """Estimated clocks of a step's product with weights (depth, jobs) in one block.

    moved: bytes of weights and sums that pass through shared memory.
    """
    if product.by_tensor_cores:
        steps = 2 * depth * (rows // 8)
        work, moved = 4 * steps * MMA, moved + 512 * steps
    else:
        work = rows * depth * jobs * (product.real // 4) / MULTIPLY_ADDS
        moved += depth * jobs * rows * product.real // 16 * SHARED_BYTES // 32
    return max(work, moved / SHARED_BYTES) + 2 * SHARED_LOAD


def element_clocks(cell: Cell, rows: int, units: int, parts: int, backward: bool) -> float:
    """Estimated clocks of a step's function of so many units of each row, their sums in `parts`, in one
    block."""
    sums = FOUR_PARTS * -(-parts // 4)
    if backward:
        instructions = BACKWARD + AHEAD * values_ahead(cell, True) + sums
    else:
        instructions = FORWARD + cell.gates * (GATE + sums)
    lanes = 1 << (units - 1).bit_length()  # of a row, up to a block's
    warps = rows * -(-units // 32) if lanes >= 32 else -(-rows * lanes // 32)
    return warps * instructions / ISSUED + CHAIN


def l2_clocks(nbytes: int, at_once: int) -> float:
    """Estimated clocks in which so many blocks at once get as many bytes each from L2."""
    return nbytes / min(L2_BYTES, L2_BYTES_OF_ALL / at_once)


def message_clocks(rows: int, members: int, handed: int, at_once: int) -> float:
    """Estimated clocks to hand so many bytes of each row and member to a team through global memory,
    `at_once` blocks doing so."""
    pieces = mail_pieces(rows, members, handed) // 2
    received = max(l2_clocks(16 * pieces, at_once), pieces * RECEIVED / (32 * ISSUED))
    return HANDOFF + LOAD + received + BARRIER


def step_clocks(
    cell: str, product: Product, h: int, plan: Plan, teams: int, backward: bool, card: Card
) -> float:
    """Clocks that a step of all teams is estimated to take."""
    part = work(cell, product, h, plan.members, plan.times, backward)
    placed, rows = layout(product, part.inputs, part.columns, plan.parts), plan.rows
    processors = card.multiprocessors // CLUSTER * CLUSTER if plan.clustered else card.multiprocessors
    teams_at_once = max(1, min(teams, processors // plan.members))
    at_once = teams_at_once * plan.members
    weights = in_memory(product, plan, placed)
    # Weights that are not in shared memory come at half its rate; a warp reads the rows' values in pieces of
    # 16 bytes, all lanes the same one or each its own.
    moved = (
        weights * (1 if plan.resident else 2)
        + 2 * plan.times * plan.parts * rows * placed.width * product.real
    )
    clocks = product_clocks(product, rows, plan.times * placed.depth, placed.jobs, moved)
    if not plan.resident:
        clocks = max(clocks, l2_clocks(weights, at_once))
    clocks += element_clocks(CELLS[cell], rows, part.share, plan.parts, backward) + 2 * BARRIER
    handed = part.run * product.operand
    if plan.clustered:
        clocks += REMOTE + SHARED_LOAD + rows * handed * CLUSTER / REMOTE_BYTES
    elif plan.members > 1:
        clocks += message_clocks(rows, plan.members, handed, at_once)
    return clocks * -(-teams // teams_at_once)


def candidates(
    cell: str, kind: str, k: int, b: int, h: int, backward: bool, card: Card
) -> list[tuple[float, Plan]]:
    """Plans for k networks of b rows and h hidden units, and a product of PRODUCTS, each with the clocks that
    a step is estimated to take."""
    plans: list[tuple[float, Plan]] = []
    product = PRODUCTS[kind]
    sizes = {size * 2**i for i in range(card.multiprocessors.bit_length()) for size in (1, 3)}
    teams_of = [(members, False) for members in sorted(sizes) if members <= min(h, card.multiprocessors)]
    if card.clusters and kind in CLUSTERED and min(h, card.multiprocessors) >= CLUSTER:
        teams_of.append((CLUSTER, True))
    for rows in product.held:
        teams = k * -(-b // rows)
        for members, clustered in teams_of:
            # Inputs are taken a part at a time where they do not fit at once, weights then streamed.
            fitting: list[Plan] = []
            for times in range(1, 2 if clustered else members + 1):
                if fitting or members % times:
                    continue
                part = work(cell, product, h, members, times, backward)
                for parts in parts_for(product, part.inputs, part.columns):
                    for resident in (True, False)[times > 1 :]:
                        candidate = Plan(rows, members, clustered, times, parts, resident, 0)
                        shared = shared_bytes(cell, product, h, candidate, backward)
                        if shared <= card.shared:
                            fitting.append(candidate._replace(shared=shared))
            plans += [(step_clocks(cell, product, h, each, teams, backward, card), each) for each in fitting]
        if rows >= b:
            break
    return plans


@functools.lru_cache(maxsize=1024)
def plan(cell: str, kind: str, k: int, b: int, h: int, backward: bool, card: Card) -> Plan:
    """The cheapest of the candidates.

    Raises ValueError if what a block must hold does not fit its shared memory, however many share the work.
    """
    plans = candidates(cell, kind, k, b, h, backward, card)
    if not plans:
        raise ValueError(f"hidden_size is {h}; a step does not fit the shared memory of the card's blocks")
    return min(plans, key=lambda each: each[0])[1]


def this_card() -> Card:
    device = cupy.cuda.runtime.getDevice()
    # Static shared memory of these kernels is below 1 KiB.
    return Card(multiprocessors(), shared_limit(device) - 1024, has_clusters(device))


def planned(way: str, cell: str, like: Any, precision: str) -> tuple[Plan, Card, int]:
    """The plan for rows as `like` (k, b, t, h) has, the card, and the number of teams."""
    k, b, _, h = like.shape
    card = this_card()
    chosen = plan(cell, kind_of(like, precision), k, b, h, way == "backward", card)
    return chosen, card, k * -(-b // chosen.rows)


def launch_cells(
    way: str,
    cell: str,
    like: Any,
    W_rec: Any,
    precision: str,
    before: tuple[Any, ...],
    between: tuple[Any, ...],
    settings: tuple[int, ...],
    after: tuple[Any, ...],
) -> None:
    """Launch a kernel of cells.cu on rows as `like` (k, b, t, h) has: its arguments before and between the
    packed weights and the sizes, its settings, and its arguments after the pieces of messages."""
    k, b, t, h = like.shape
    if not k * b:
        return
    kind, back = kind_of(like, precision), way == "backward"
    chosen, card, teams = planned(way, cell, like, precision)
    logger.debug("%s %s, %s, k = %d, b = %d, t = %d, h = %d: %s", cell, way, precision, k, b, t, h, chosen)
    packed = pack(W_rec, kind, CELLS[cell].gates, chosen.members, chosen.parts, chosen.times, back)
    together = chosen.members > 1 and not chosen.clustered
    # Blocks that wait for each other must all run: as many teams as the card takes, then the next.
    at_once = min(teams, card.multiprocessors // chosen.members) if together else teams
    pieces = 0
    if together:
        run = work(cell, PRODUCTS[kind], h, chosen.members, 1, back).run
        pieces = mail_pieces(chosen.rows, chosen.members, run * PRODUCTS[kind].operand)
    posted = cupy.zeros((at_once * pieces, 4), dtype=np.uint32)
    name = f"{'cluster' if chosen.clustered else 'cell'}_{way}<{kind}, {cell}, {chosen.rows}>"
    for first in range(0, teams, at_once):
        if first:
            posted.fill(0)
        sizes = (b, t, h, chosen.members, first, chosen.parts, chosen.times, chosen.resident)
        launch(
            *("cells", name, min(at_once, teams - first) * chosen.members, THREADS),
            *(*before, packed, *between, *sizes, *settings, posted, *after),
            shared=chosen.shared,
            together=together,
        )


class Segment(NamedTuple):
    """The steps begin..end - 1 of a recurrence, all of them if `whole`, which one launch takes."""

    begin: int
    end: int
    whole: bool

    def of(self, x: Any) -> Any:
        """The segment of x (k, b, t, ...), C-contiguous; x itself if that is whole, None if x is None."""
        return x if self.whole or x is None else cupy.ascontiguousarray(x[:, :, self.begin : self.end])

    def put(self, part: Any, x: Any) -> None:
        """Write what `of` gave of x, and a launch has filled, back to it."""
        if part is not x:
            x[:, :, self.begin : self.end] = part

    def lengths(self, lengths: Any) -> Any:
        """How many steps of each row lie in the segment, of rows with these lengths."""
        if self.whole:
            return lengths
        return cupy.minimum(cupy.maximum(lengths - self.begin, 0), self.end - self.begin)

    def state(self, state: Any, hidden: Any, cells: Any) -> Any:
        """The states (k, b, states h) before the segment of the rows that last into it."""
        if self.begin == 0:
            return state
        parts = [x[:, :, min(self.begin, x.shape[2]) - 1] for x in (hidden, cells) if x is not None]
        return cupy.concatenate(parts, axis=2)


def segments(way: str, cell: str, like: Any, precision: str) -> list[Segment]:
    """The segments that the steps of `like` (k, b, t, h) are launched in: one where there is no watchdog."""
    k, b, t, h = like.shape
    if not has_watchdog() or not k * b * t:
        return [Segment(0, t, True)]
    chosen, card, teams = planned(way, cell, like, precision)
    product = PRODUCTS[kind_of(like, precision)]
    clocks = step_clocks(cell, product, h, chosen, teams, way == "backward", card)
    steps = min(t, pieces_a_launch(f"a step of cell {CELLS[cell].name!r}", clocks))
    return [Segment(begin, min(begin + steps, t), steps == t) for begin in range(0, t, steps)]


def forward(
    cell: str,
    z: Any,
    lengths: Any,
    state: Any,
    W_rec: Any,
    of_units: Any,
    activation: int,
    hidden: Any,
    cells: Any,
    kept: Any,
    precision: str,
) -> None:
    """Fill hidden (k, b, t, h), and cells and kept where the cell has them (else None).

    z (k, b, t, g h) = x W_in + b may be hidden, or kept if that holds all steps.  of_units (k, n h): the
    parameters that each unit has for itself, None if it has none.
    """
    keeps_all = kept is None or kept.shape[2] == hidden.shape[2]  # else the last step alone
    for segment in segments("forward", cell, hidden, precision):
        inputs = (segment.of(z), segment.lengths(lengths), segment.state(state, hidden, cells))
        outputs = [segment.of(hidden), *(segment.of(x) if keeps_all else x for x in (cells, kept))]
        kept_steps = outputs[0].shape[2] if keeps_all else 1
        launch_cells(
            *("forward", cell, outputs[0], W_rec, precision),
            *(inputs, (of_units,), (activation, kept_steps), tuple(outputs)),
        )
        for part, whole in zip(outputs, (hidden, cells, kept), strict=True):
            segment.put(part, whole)


def backward(
    cell: str,
    lengths: Any,
    state: Any,
    hidden: Any,
    cells: Any,
    kept: Any,
    W_rec: Any,
    of_units: Any,
    activation: int,
    d_hidden: Any,
    d_last: Any,
    d_kept: Any,
    d_state: Any,
    d_of_units: Any,
    flow: Any,
    precision: str,
) -> None:
    """Fill d_kept, the gradients of the arguments of the gates, d_state, and flow: see reference/rnn.py.

    of_units (k, n h): the parameters of single units that the way back reads, whose gradients are d_of_units;
    both are None if there are none.
    """
    k, b = hidden.shape[:2]
    d_total = cupy.empty_like(hidden) if flow.shape[2] else None
    d_rows = None if of_units is None else cupy.zeros((k, b, 1, of_units.shape[1]), hidden.dtype)
    for segment in reversed(segments("backward", cell, hidden, precision)):
        trace = (segment.state(state, hidden, cells), *map(segment.of, (hidden, cells, kept)))
        d_part, total_part = map(segment.of, (d_kept, d_total))
        launch_cells(
            *("backward", cell, trace[1], W_rec, precision),
            *((segment.lengths(lengths), *trace), (of_units, segment.of(d_hidden), d_last)),
            *((activation,), (d_part, d_state, d_rows, total_part)),
        )
        segment.put(d_part, d_kept)
        segment.put(total_part, d_total)
        if segment.begin:
            d_last = d_state.copy()  # what the segment before this one ends with
    if d_rows is not None:
        sums(d_rows, d_of_units)
    norms(d_total, flow)


def norms(d_total: Any, flow: Any) -> None:
    """Fill flow (k, b, t) float64 with the squared norms of d_total (k, b, t, h), if it is wanted."""
    if flow.shape[2]:
        name = f"row_norms<{float_type(d_total)}>"
        launch("cells", name, blocks(32 * flow.size), THREADS, d_total, flow.size, d_total.shape[3], flow)
