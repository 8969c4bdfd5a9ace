"""The recurrences of all steps in one launch, and how rows and hidden units are dealt to blocks for it.

A team of `members` blocks takes up to `rows` rows of one network.  One block alone hands on hidden units in
shared memory and needs no barrier; a team shares the weights and meets once a step.  `plan` chooses the
cheapest by the clocks that a step is reckoned to take.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy
import numpy as np

from .module import launch, multiprocessors, shared_limit
from .random import blocks

THREADS = 256  # as in cuda/recurrent.cuh
TYPES = {4: "float", 8: "double"}
ROWS = {4: (1, 4, 16), 8: (1, 4)}  # rows of a team that kernels are compiled for
CELLS = {"Elman": (1, 1), "Gru": (3, 1), "Lstm": (4, 2)}  # gates of the recurrent product, states

# Of a Hopper card, in a clock: multiply-adds of float32 of a multiprocessor, bytes from L2 of all of them; in
# clocks: a barrier of a team, and what every step costs besides.
MULTIPLY_ADDS, L2_BYTES, BARRIER, STEP = 128, 2500, 2500, 500


class Plan(NamedTuple):
    """rows: of a team.  members: its blocks.  resident: weights stay in shared memory, of `shared` bytes."""

    rows: int
    members: int
    resident: bool
    shared: int


def shared_bytes(
    cell: str, h: int, rows: int, members: int, itemsize: int, backward: bool
) -> tuple[int, int]:
    """Shared memory of a block without and with its recurrent weights, as cuda/cells.cu lays it out."""
    gates, states = CELLS[cell]
    share = -(-h // members)
    if backward:
        held = gates * h + max(THREADS, share) + (1 + states) * share
    else:
        held = h + max(THREADS, gates * share) + (2 * gates + states - 1) * share
    values = rows * held
    return itemsize * values, itemsize * (values + gates * h * share)


def step_clocks(
    cell: str, h: int, plan: Plan, teams: int, itemsize: int, backward: bool, processors: int
) -> float:
    """Clocks that a step of all teams is reckoned to take."""
    gates, share = CELLS[cell][0], -(-h // plan.members)
    inputs, columns = (gates * h, share) if backward else (h, gates * share)
    pairs, at_once = inputs * columns, min(teams * plan.members, processors)
    adds = plan.rows * pairs * (itemsize // 4) / MULTIPLY_ADDS
    # A warp reads 32 weights, at half the rate where they are not in shared memory, and its rows of values
    # 16 bytes at a time.
    loads = pairs / 32 * (itemsize // 4 * (1 if plan.resident else 2) + plan.rows * itemsize / 16)
    clocks = max(adds, loads) + STEP
    if not plan.resident:
        clocks = max(clocks, pairs * itemsize * at_once / L2_BYTES + STEP)
    if plan.members > 1:
        clocks += BARRIER + plan.rows * inputs * itemsize * at_once / L2_BYTES
    return clocks * -(-teams * plan.members // processors)


def plan(
    cell: str, k: int, b: int, h: int, itemsize: int, backward: bool, processors: int, limit: int
) -> Plan:
    """The cheapest plan for k networks of b rows and h hidden units on so many multiprocessors.

    limit: bytes of shared memory of a block.  Raises ValueError if not even one row fits.
    """
    found: list[tuple[float, Plan]] = []
    for rows in ROWS[itemsize]:
        teams = k * -(-b // rows)
        for members in (2**i for i in range(processors.bit_length())):
            if members > 1 and (members > h or teams * members > processors):
                break
            for resident, size in enumerate(shared_bytes(cell, h, rows, members, itemsize, backward)):
                if size <= limit:
                    candidate = Plan(rows, members, bool(resident), size)
                    clocks = step_clocks(cell, h, candidate, teams, itemsize, backward, processors)
                    found.append((clocks, candidate))
        if rows >= b:
            break
    if not found:
        raise ValueError(
            f"hidden_size is {h}; the state of one row of it does not fit the card's shared memory"
        )
    return min(found)[1]


def dealt(cell: str, k: int, b: int, h: int, itemsize: int, backward: bool) -> tuple[Plan, int, Any]:
    """The plan on the current device, its number of blocks, and the counters of its barriers."""
    # Static shared memory of these kernels is below 1 KiB.
    limit = shared_limit(cupy.cuda.runtime.getDevice()) - 1024
    chosen = plan(cell, k, b, h, itemsize, backward, multiprocessors(), limit)
    teams = k * -(-b // chosen.rows)
    return chosen, teams * chosen.members, cupy.zeros(teams, dtype=np.uint32)


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
    k, b, t, h = hidden.shape
    chosen, size, arrived = dealt(cell, k, b, h, hidden.itemsize, backward=False)
    steps = t if kept is None else kept.shape[2]
    launch(
        "cells",
        f"cell_forward<{TYPES[hidden.itemsize]}, {cell}, {chosen.rows}>",
        size,
        THREADS,
        *(
            z,
            lengths,
            state,
            W_rec,
            b_n,
            b,
            t,
            h,
            chosen.members,
            chosen.resident,
            activation,
            steps,
            arrived,
        ),
        *(hidden, cells, kept),
        shared=chosen.shared,
        together=chosen.members > 1,
    )


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
    k, b, t, h = hidden.shape
    chosen, size, arrived = dealt(cell, k, b, h, hidden.itemsize, backward=True)
    d_total = cupy.empty_like(hidden) if flow.shape[2] else None
    launch(
        "cells",
        f"cell_backward<{TYPES[hidden.itemsize]}, {cell}, {chosen.rows}>",
        size,
        THREADS,
        *(lengths, state, hidden, cells, kept, W_rec, d_hidden, d_last, b, t, h, chosen.members),
        *(chosen.resident, activation, arrived, d_kept, d_state, d_total),
        shared=chosen.shared,
        together=chosen.members > 1,
    )
    norms(d_total, flow)


def norms(d_total: Any, flow: Any) -> None:
    """Fill flow (k, b, t) float64 with the squared norms of d_total (k, b, t, h), if it is wanted."""
    if flow.shape[2]:
        name = f"row_norms<{TYPES[d_total.itemsize]}>"
        launch("cells", name, blocks(32 * flow.size), THREADS, d_total, flow.size, d_total.shape[3], flow)
