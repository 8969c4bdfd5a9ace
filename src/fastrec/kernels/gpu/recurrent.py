"""The recurrences of all steps in one launch, and how rows and hidden units are dealt to blocks for it.

A team of `members` blocks takes up to `rows` rows of one network.  One block alone hands on hidden units in
its shared memory, a cluster in those of its members, a larger team in global memory, meeting once a step.
`plan` chooses the cheapest by the clocks that a step is reckoned to take.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import cupy
import numpy as np

from .module import ROWS, attribute, launch, multiprocessors, shared_limit
from .random import blocks
from .sequences import float_type

logger = logging.getLogger("fastrec")

THREADS = 256  # as in cuda/recurrent.cuh
CELLS = {"Elman": (1, 1), "Gru": (3, 1), "Lstm": (4, 2)}  # gates of the recurrent product, states
CLUSTER = 8  # blocks of a cluster, as in cuda/recurrent.cuh

# Of a Hopper card, in a clock: multiply-adds of float32 of a multiprocessor, bytes from L2 of all of them; in
# clocks: a barrier of a team in global memory and of a cluster, and what every step costs besides.
MULTIPLY_ADDS, L2_BYTES, BARRIER, CLUSTER_BARRIER, STEP = 128, 2500, 2500, 600, 500


class Plan(NamedTuple):
    """rows: of a team.  members: its blocks, clustered or meeting in global memory.  resident: weights stay
    in shared memory, of `shared` bytes."""

    rows: int
    members: int
    clustered: bool
    resident: bool
    shared: int


class Card(NamedTuple):
    """multiprocessors; shared: bytes of it that a block can have; clusters: whether blocks can form them."""

    multiprocessors: int
    shared: int
    clusters: bool


def shared_bytes(
    cell: str, h: int, rows: int, members: int, clustered: bool, itemsize: int, backward: bool
) -> tuple[int, int]:
    """Shared memory of a block without and with its recurrent weights, as cuda/cells.cu lays it out."""
    gates, states = CELLS[cell]
    share = -(-h // members)
    inputs = gates * h if backward else h
    held = max(THREADS, share if backward else gates * share)
    held += (1 + states if backward else 2 * gates + states - 1) * share
    exchanged = -(-itemsize * inputs * rows // 16) * 16 * (2 if clustered else 1)
    return exchanged + itemsize * rows * held, exchanged + itemsize * (rows * held + gates * h * share)


def step_clocks(
    cell: str, h: int, plan: Plan, teams: int, itemsize: int, backward: bool, card: Card
) -> float:
    """Clocks that a step of all teams is reckoned to take."""
    gates, share = CELLS[cell][0], -(-h // plan.members)
    inputs, columns = (gates * h, share) if backward else (h, gates * share)
    processors = card.multiprocessors // CLUSTER * CLUSTER if plan.clustered else card.multiprocessors
    teams_at_once = min(teams, processors // plan.members)
    pairs, at_once = inputs * columns, teams_at_once * plan.members
    adds = plan.rows * pairs * (itemsize // 4) / MULTIPLY_ADDS
    # A warp reads 32 weights, at half the rate where they are not in shared memory, and its rows of values
    # 16 bytes at a time.
    loads = pairs / 32 * (itemsize // 4 * (1 if plan.resident else 2) + plan.rows * itemsize / 16)
    clocks = max(adds, loads) + STEP
    if not plan.resident:
        clocks = max(clocks, pairs * itemsize * at_once / L2_BYTES + STEP)
    if plan.clustered:
        clocks += CLUSTER_BARRIER + plan.rows * inputs / 32
    elif plan.members > 1:
        clocks += BARRIER + plan.rows * inputs * itemsize * at_once / L2_BYTES
    return clocks * -(-teams // teams_at_once)


def plan(cell: str, k: int, b: int, h: int, itemsize: int, backward: bool, card: Card) -> Plan:
    """The cheapest plan for k networks of b rows and h hidden units.

    Raises ValueError if what a block must hold of one row does not fit its shared memory.
    """
    found: list[tuple[float, Plan]] = []
    kinds = [(2**i, False) for i in range(card.multiprocessors.bit_length())]
    kinds += [(CLUSTER, True)] * (card.clusters and card.multiprocessors >= CLUSTER)
    for rows in ROWS[itemsize]:
        teams = k * -(-b // rows)
        for members, clustered in kinds:
            if members > h:
                continue
            sizes = shared_bytes(cell, h, rows, members, clustered, itemsize, backward)
            for resident, size in enumerate(sizes):
                if size <= card.shared:
                    candidate = Plan(rows, members, clustered, bool(resident), size)
                    clocks = step_clocks(cell, h, candidate, teams, itemsize, backward, card)
                    found.append((clocks, candidate))
        if rows >= b:
            break
    if not found:
        raise ValueError(f"hidden_size is {h}; the gates of one row do not fit the shared memory of a block")
    return min(found)[1]


def launch_cells(
    way: str, cell: str, like: Any, before: tuple[Any, ...], between: tuple[Any, ...], after: tuple[Any, ...]
) -> None:
    """Launch a kernel of cells.cu on rows as `like` (k, b, t, h) has: its arguments before, between and after
    the sizes with members and resident, and the counters of barriers."""
    k, b, t, h = like.shape
    device = cupy.cuda.runtime.getDevice()
    # Static shared memory of these kernels is below 1 KiB.
    card = Card(
        multiprocessors(), shared_limit(device) - 1024, attribute("ComputeCapabilityMajor", device) >= 9
    )
    chosen = plan(cell, k, b, h, like.itemsize, way == "backward", card)
    logger.debug("%s %s, k = %d, b = %d, t = %d, h = %d: %s", cell, way, k, b, t, h, chosen)
    teams = k * -(-b // chosen.rows)
    arrived = cupy.zeros(teams, dtype=np.uint32)
    together = chosen.members > 1 and not chosen.clustered
    # Blocks that wait for each other must all run: as many teams as the card takes, then the next.
    at_once = card.multiprocessors // chosen.members if together else teams
    for first in range(0, teams, at_once):
        launch(
            "cells",
            f"{'cluster' if chosen.clustered else 'cell'}_{way}<{float_type(like)}, {cell}, {chosen.rows}>",
            min(at_once, teams - first) * chosen.members,
            THREADS,
            *(*before, b, t, h, chosen.members, first, chosen.resident, *between, arrived, *after),
            shared=chosen.shared,
            together=together,
        )


def forward(
    cell: str,
    z: Any,
    lengths: Any,
    state: Any,
    W_rec: Any,
    b_n: Any,
    activation: int,
    hidden: Any,
    cells: Any,
    kept: Any,
) -> None:
    """Fill hidden (k, b, t, h), and cells and kept where the cell has them (else None).

    z (k, b, t, g h) = x W_in + b may be hidden, or kept if that holds all steps.
    """
    steps = hidden.shape[2] if kept is None else kept.shape[2]
    given = (z, lengths, state, W_rec, b_n)
    launch_cells("forward", cell, hidden, given, (activation, steps), (hidden, cells, kept))


def backward(
    cell: str,
    lengths: Any,
    state: Any,
    hidden: Any,
    cells: Any,
    kept: Any,
    W_rec: Any,
    activation: int,
    d_hidden: Any,
    d_last: Any,
    d_kept: Any,
    d_state: Any,
    flow: Any,
) -> None:
    """Fill d_kept, the gradients of the arguments of the gates, d_state, and flow: see reference/rnn.py."""
    d_total = cupy.empty_like(hidden) if flow.shape[2] else None
    given = (lengths, state, hidden, cells, kept, W_rec, d_hidden, d_last)
    launch_cells("backward", cell, hidden, given, (activation,), (d_kept, d_state, d_total))
    norms(d_total, flow)


def norms(d_total: Any, flow: Any) -> None:
    """Fill flow (k, b, t) float64 with the squared norms of d_total (k, b, t, h), if it is wanted."""
    if flow.shape[2]:
        name = f"row_norms<{float_type(d_total)}>"
        launch("cells", name, blocks(32 * flow.size), THREADS, d_total, flow.size, d_total.shape[3], flow)
