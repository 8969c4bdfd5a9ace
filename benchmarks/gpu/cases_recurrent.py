"""All kernels of recurrent networks at awkward sizes, compared with the reference in the same precision.

Every way of sharing the work of a step is forced: one block, a cluster, a team of blocks that communicate
through global memory, with weights kept in shared memory or streamed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import product as pairs
from typing import Any
from unittest.mock import patch

import numpy as np

import fastrec
from fastrec.backend import device, move
from fastrec.kernels.gpu import generation, recurrent
from fastrec.kernels.gpu.module import CLUSTERED, LINKED, ROWS, text_rows
from fastrec.kernels.gpu.recurrent import CLUSTER, PRODUCTS, Card, Plan
from fastrec.rnn.cells import CELLS
from fastrec.rnn.device import compute_device
from fastrec.rnn.randomness import normal_table

from .cases_hopfield import Cases
from .measure import close

PRECISION = {"Float": "float32", "Double": "float32", "Tf32": "tf32", "Bf16": "bf16"}
# Of the largest magnitude in an array.  A sum that differs in its last bit may be rounded to another number
# of bf16 or tf32, by 2^-8 or 2^-11 of it, when it becomes a factor.
TOLERANCE = {"Float": 2e-5, "Double": 1e-12, "Tf32": 2e-3, "Bf16": 2e-2}
# Blocks of a team, whether they are a cluster, parts of a step's inputs, whether weights stay in the block.
ALONE = ((1, False, 1, True), (1, False, 1, False))
CLUSTERS = ((CLUSTER, True, 1, True), (CLUSTER, True, 1, False))
TEAMS = ((3, False, 1, True), (2, False, 1, False), (2, False, 2, False))
# Blocks of a team, matrices that stay in shared memory, whether logits are in global memory.
TEXT_ALONE = ((1, 9, False), (1, 0, True))
TEXT_TEAMS = ((2, 1, False), (3, 0, True), (3, 9, False))
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": partial(fastrec.SGD, 0.1, momentum=0.9, nesterov=True, clip=0.5),
    "Adam": partial(fastrec.Adam, 0.01, weight_decay=0.1, clip=0.5),
    "RMSprop": partial(fastrec.RMSprop, 0.01, momentum=0.9, weight_decay=0.1, clip=0.5, clip_value=0.1),
}


def pair(product: str, *sizes: Any, **options: Any) -> tuple[fastrec.RNN, fastrec.RNN]:
    """Return equal networks on the device and on the reference."""
    dtype = np.float64 if product == "Double" else np.float32
    options |= {"dtype": dtype, "initial": "uniform", "seed": 1}
    ours, theirs = (
        fastrec.RNN(*sizes, backend=backend, precision=PRECISION[product], **options)
        for backend in ("gpu", "reference")
    )
    return ours, theirs


def both_ways(
    product: str, cell: str, size: tuple[int, ...], tokens: bool = False, flow: bool = True, **options: Any
) -> None:
    """Compare all results of forward and backward for sequences of different lengths; size is (k, b, t, i,
    h, o)."""
    k, b, t, i, h, o = size
    rng, rnns = np.random.default_rng(size), pair(product, i, h, o, cell, models=k, **options)
    lengths = np.array([t, 0, *rng.integers(t + 1, size=b)][:b])
    x = rng.integers(i, size=(b, t)) if tokens else rng.standard_normal((b, t, i))
    trace = rnns[1].forward(x)
    gradients = [rng.standard_normal(made.shape) for made in (trace.outputs, trace.hidden, trace.state)]

    def run(rnn: fastrec.RNN, backend: str) -> dict[str, Any]:
        cast = [a.astype(rnn.parameters["b"].dtype) for a in gradients]
        numbers = x if tokens else x.astype(cast[0].dtype)
        trace = rnn.forward(move(numbers, backend), lengths=move(lengths, backend))
        made = rnn.backward(trace, *(move(a, backend) for a in cast), flow=flow)
        return {"outputs": trace.outputs, "hidden": trace.hidden, "state": trace.state, **made}

    close(run(rnns[0], "gpu"), run(rnns[1], "cpu"), TOLERANCE[product])


def fixed_plan(
    rows: int, members: int, clustered: bool, times: int, resident: bool, turn: int = 0
) -> Callable[..., Plan]:
    """Return a replacement of `recurrent.plan` that gives all launches one plan; `turn` chooses the parts."""

    def plan(cell: str, kind: str, k: int, b: int, h: int, backward: bool, card: Card) -> Plan:
        product = PRODUCTS[kind]
        part = recurrent.work(cell, product, h, members, times, backward)
        several = recurrent.parts_for(product, part.inputs, part.columns)
        chosen = Plan(rows, members, clustered, times, several[turn % len(several)], resident, 0)
        return chosen._replace(shared=recurrent.shared_bytes(cell, product, h, chosen, backward))

    return plan


def planned(
    product: str, cell: str, kind: tuple[int, bool, int, bool], multiprocessors: int | None = None
) -> None:
    """`both_ways` by a plan, for each number of rows that a team has.  multiprocessors: so few that teams run
    one after the other."""
    count = multiprocessors or recurrent.multiprocessors()
    for turn, rows in enumerate(ROWS[product]):
        for i, (k, b, h) in enumerate(((2, 2 * rows + 1, 13), (1, min(rows, 3), 33))):
            with (
                patch.object(recurrent, "plan", fixed_plan(rows, *kind, turn + i + 1)),
                patch.object(recurrent, "multiprocessors", lambda: count),
            ):
                both_ways(product, cell, (k, b, 3, 3, h, 5))


def updates(product: str, optimizer: Callable[[], Any], loss: str, o: int) -> None:
    """Compare losses and parameters after a few updates with weights, dropout and clipping."""
    rng = np.random.default_rng(o)
    x = rng.standard_normal((6, 5, 4)).astype(np.float64 if product == "Double" else np.float32)
    targets = rng.integers(o, size=(6, 5)) if loss == "cross_entropy" else rng.random((6, 5, o))
    weights = {"steps": rng.integers(3, size=(6, 5)), "classes": rng.uniform(0.5, 2, o)}
    made = []
    for rnn, backend in zip(pair(product, 4, 9, o), ("gpu", "cpu"), strict=True):
        data = move(x, backend), move(targets, backend), None, loss, optimizer()
        options = {"weights": weights, "dropout": 0.3, "seed": 2, "progress": False}
        history = fastrec.fit(rnn, *data, epochs=2, batch_size=3, **options)
        made.append({"losses": history.train, **rnn.parameters})
    close(*made, 10 * TOLERANCE[product])


def noise(dtype: type) -> None:
    """Compare normal numbers, which are equal to the last bit."""
    made = []
    for backend in ("gpu", "cpu"):
        values = move(np.empty((2, 3, 5, 17), dtype), backend)
        table = move(normal_table(np.dtype(dtype)), backend)
        compute_device(backend).kernels.normal_noise(np.uint64(2**63 + 1), 1, table, 0.3, values)
        made.append({"noise": values})
    close(*made, 0)


def labelling(dtype: type, b: int, t: int, u: int, o: int) -> None:
    """Compare losses and gradients of CTC, with labels that have no alignment, and searches for labels."""
    rng = np.random.default_rng((b, t, u, o))
    y, labels = rng.standard_normal((b, t, o)).astype(dtype), rng.integers(1, o, (b, u))
    lengths, counts = (rng.integers(most // 2, most + 1, b) for most in (t, u))
    made = []
    for backend in ("gpu", "reference"):
        losses, d_outputs = fastrec.ctc(y, labels, lengths, counts, backend=backend)
        scores = fastrec.ctc_decode(y, lengths, width=7, n_best=7, backend=backend)[2]
        possible = np.isfinite(losses)
        assert not d_outputs[~possible].any(), "labels without alignments have a gradient"
        made.append({"losses": losses[possible], "d_outputs": d_outputs, "scores": scores})
    close(*made, 1e-10 if dtype == np.float64 else 1e-6)


def fixed_text_plan(
    rows: int, members: int, resident: int, spilled: bool, turn: int = 0
) -> Callable[..., generation.Plan]:
    """Return a replacement of `generation.plan` that gives all launches one plan; `turn` chooses the
    parts."""

    def plan(net: generation.Net, kind: str, b: int, card: generation.Card) -> generation.Plan:
        product = PRODUCTS[kind]
        several = sorted(generation.partings(net, product, members))
        parts = several[turn % len(several)]
        for kept in reversed(range(min(resident, 2 * net.layers) + 1)):
            chosen = generation.Plan(rows, members, *parts, kept, spilled, 0)
            chosen = chosen._replace(shared=generation.shared_bytes(net, product, chosen))
            if chosen.shared <= card.shared:
                break
        return chosen

    return plan


def text(product: str, cell: str, kind: tuple[int, int, bool], multiprocessors: int | None = None) -> None:
    """Compare tokens drawn with a plan, for each number of rows of a team, with few and with many tokens."""
    count = multiprocessors or generation.multiprocessors()
    struct = import_module(f"fastrec.kernels.gpu.{cell}").CELL
    for turn, rows in enumerate(text_rows(struct, product)):
        with (
            patch.object(generation, "plan", fixed_text_plan(rows, *kind, turn)),
            patch.object(generation, "multiprocessors", lambda: count),
        ):
            drawn(product, cell, 1 if CELLS[cell].feeds_back_output else 3, max(rows + 1, 9), 7, 13)
            drawn(product, cell, 1, 9, 330, 2)


def drawn(product: str, cell: str, layers: int, b: int, i: int, h: int, n: int = 3) -> None:
    """Likeliest tokens, of which each must have an output about as large as any after those before it; and
    tokens drawn at random, where rounding may decide few."""
    ours, theirs = pair(product, i, h, i, cell, num_layers=layers)
    rng = np.random.default_rng((b, i, h))
    prompt, lengths = rng.integers(i, size=(b, 4)).astype(np.int32), rng.integers(1, 5, size=b)
    tokens, state = ours.generate(prompt, n, 0)
    trace = theirs.forward(np.concatenate([prompt, tokens], axis=1))
    outputs = trace.outputs[:, 3 : 3 + n]
    off = (outputs.max(axis=2) - np.take_along_axis(outputs, tokens[..., None], 2)[..., 0]).max()
    largest = np.abs(outputs).max()
    assert off <= 2 * TOLERANCE[product] * largest, (
        f"a token has an output {off / largest:.1e} below the largest"
    )
    close({"state": state}, {"state": trace.state_at(3 + n)}, TOLERANCE[product])
    how: dict[str, Any] = {"temperature": 1.3, "top_k": 20, "top_p": 0.9, "seed": 3, "lengths": lengths}
    same = (ours.generate(prompt, n, **how)[0] == theirs.generate(prompt, n, **how)[0]).all(axis=1)
    least = 1 if PRECISION[product] == "float32" else 0.7
    assert same.mean() >= least, f"{same.mean():.0%} of the texts are those of the reference"


def forecast(product: str, cell: str, b: int) -> None:
    """Compare single steps, of numbers and of tokens, and outputs that are read."""
    layers = 1 if CELLS[cell].feeds_back_output else 2
    ours, theirs = pair(product, 35, 17, 35, cell, num_layers=layers)
    rng = np.random.default_rng(b)
    x = rng.standard_normal((b, 4, 35)).astype(ours.dtype)
    made = []
    for rnn in (ours, theirs):
        outputs, state = rnn.extend(x, 5)
        tokens = rnn.stepper(b, state, tokens=True)
        made.append({"outputs": outputs, "state": state, "step": tokens(np.arange(b) % 35)})
    close(*made, TOLERANCE[product])


def echo_states(dtype: Any, topology: Any, h: int) -> None:
    """Compare states, sums of products, and outputs that are fed back and read."""
    rng, lengths = np.random.default_rng(h), np.array([40, 0, 23])
    x, targets = rng.uniform(-1, 1, (2, 3, 40, 2)).astype(dtype)
    made = []
    for backend in ("gpu", "reference"):
        options: dict[str, Any] = {"models": 2, "leak": 0.5, "feedback_scaling": 0.1, "topology": topology}
        esn = fastrec.EchoState(2, h, 2, dtype=dtype, seed=1, backend=backend, **options)
        states, _ = esn.states(x, lengths=lengths, targets=targets)
        products, last, _ = esn._products(x, targets, 3, lengths)
        esn.readout = np.full((2, 3 + h, 2), 0.5 / h, dtype)
        outputs, _ = esn.extend(x, 5)
        made.append({"states": states, "products": products, "state": last, "outputs": outputs})
    close(*made, 1e-12 if dtype == np.float64 else 2e-5)


def attending(dtype: Any, kind: Any, b: int, t: int, h: int) -> None:
    """Compare weights, losses and gradients of pairs of different lengths, with dropout."""
    rng, made = np.random.default_rng((b, t, h)), []
    x, y = rng.integers(7, size=(b, t)), rng.integers(5, size=(b, t // 2 + 1))
    counts = [np.array([most, 0, *rng.integers(most + 1, size=b)][:b]) for most in (t, t // 2 + 1)]
    for backend in ("gpu", "reference"):
        options: dict[str, Any] = {"attention": kind, "bidirectional": True, "dtype": dtype, "seed": 1}
        model = fastrec.EncoderDecoder(7, 5, h, backend=backend, **options)
        weights = model.attention(x, y, *counts)
        loss, gradients, _ = model.loss_and_gradients(x, y, *counts, dropout=0.2, dropout_seed=1)
        made.append({"weights": weights, "loss": np.array(loss)} | gradients)
    close(*made, 1e-12 if dtype == np.float64 else 2e-5)


def searching(dtype: Any, cell: Any, width: int) -> None:
    """Compare scores of beams, and what is drawn, of sources of different lengths."""
    attention: Any = None if CELLS[cell].feeds_back_output else "additive" if width > 1 else "dot"
    sources, lengths = np.random.default_rng(width).integers(7, size=(3, 9)), np.array([9, 0, 4])
    found: list[dict[str, Any]] = []
    options: dict[str, Any] = {"attention": attention, "dtype": dtype, "seed": 1}
    for backend in ("gpu", "reference"):
        model = fastrec.EncoderDecoder(7, 70, 33, cell, backend=backend, **options)
        made = model.beam_search(sources, 6, lengths, width=width, n_best=4)
        found.append({"scores": np.maximum(made.scores, -1e9)})
        if dtype == np.float64:
            drawn, _ = model.generate(np.ones((11, 4), int), 6, temperature=1, top_k=9, seed=1)
            found[-1] |= {"symbols": made.symbols, "drawn": drawn}
    close(*found, 1e-12 if dtype == np.float64 else 2e-5)


def sharings(kinds: tuple[Any, ...], products: tuple[str, ...], turns: int | None = None) -> Cases:
    for cell, product, kind in pairs([cell for cell in CELLS if cell not in LINKED], products, kinds):
        members, clustered, times, resident = kind
        where = "a cluster" if clustered else f"{members} blocks" if members > 1 else "a block"
        weights = "kept" if resident else "streamed" if times == 1 else f"streamed in {times} parts"
        name = f"{cell}, {product}, {where}, weights {weights}{', in turns' if turns else ''}"
        yield name, partial(planned, product, cell, kind, turns)


def texts(kinds: tuple[Any, ...], turns: int | None = None) -> Cases:
    for cell, product, kind in pairs(CELLS, PRODUCTS, kinds):
        name = f"text, {cell}, {product}, blocks {kind[0]}, matrices kept {kind[1]}, logits spilled {kind[2]}"
        yield f"{name}{', in turns' if turns else ''}", partial(text, product, cell, kind, turns)


def cases() -> Cases:
    """Return the cases in which blocks wait for each other only inside a cluster."""
    for product, tokens, i in pairs(PRODUCTS, (False, True), (1, 65, 300)):
        case: Callable[[], None] = partial(both_ways, product, "elman", (3, 5, 7, i, 17, 33), tokens)
        yield f"{'tokens' if tokens else 'numbers'} of {i} inputs, {product}", case
    for cell in CELLS:
        layers = 1 if CELLS[cell].feeds_back_output else 2
        both = {"bidirectional": True, "num_layers": layers}
        yield f"{cell} in both directions", partial(both_ways, "Float", cell, (2, 5, 7, 3, 17, 3), **both)
    yield "a long batch of tokens", partial(both_ways, "Float", "gru", (1, 40, 90, 300, 5, 3), True)
    for product, o, loss in pairs(PRODUCTS, (1, 17, 65, 2100), ("cross_entropy", "mse", "bce")):
        for optimizer, make in OPTIMIZERS.items():
            case = partial(updates, product, make, loss, o)
            yield f"{optimizer}, {loss} of {o} outputs, {product}", case
    for dtype in (np.float32, np.float64):
        yield f"noise, {np.dtype(dtype)}", partial(noise, dtype)
    for dtype, sizes in pairs((np.float32, np.float64), ((3, 9, 4, 5), (5, 12, 5, 300), (2, 300, 140, 3))):
        b, t, u, o = sizes
        case = partial(labelling, dtype, *sizes)
        yield f"CTC, B = {b}, T = {t}, {u} labels of {o - 1}, {np.dtype(dtype)}", case
    for cell, product, b in pairs(LINKED, PRODUCTS, (1, 300)):  # few rows, and many, which share blocks
        yield f"{cell}, {product}, B = {b}", partial(both_ways, product, cell, (1, b, 3, 3, 17, 5))
    normalisable = [name for name, cell in CELLS.items() if cell.normalisable]
    for cell, product, b in pairs(normalisable, PRODUCTS, (1, 300)):
        case = partial(both_ways, product, cell, (1, b, 3, 3, 17, 5), layer_norm=True)
        yield f"{cell}, layer_norm, {product}, B = {b}", case
    for cell, product, b in pairs(CELLS, PRODUCTS, (3, 300)):
        yield f"steps, {cell}, {product}, B = {b}", partial(forecast, product, cell, b)
    for dtype, topology, h in pairs((np.float32, np.float64), ("sparse", "dense", "cycle"), (33, 300)):
        case = partial(echo_states, dtype, topology, h)
        yield f"echo states, {topology}, H = {h}, {np.dtype(dtype)}", case
    for dtype, kind, (b, t, h) in pairs(
        (np.float32, np.float64), ("dot", "additive"), ((1, 1, 2), (5, 23, 34), (3, 130, 300))
    ):
        case = partial(attending, dtype, kind, b, t, h)
        yield f"attention, {kind}, T = {t}, H = {h}, {np.dtype(dtype)}", case
    for dtype, cell, width in pairs((np.float32, np.float64), CELLS, (1, 11)):
        case = partial(searching, dtype, cell, width)
        yield f"beams, {cell}, width {width}, {np.dtype(dtype)}", case
    yield from sharings(ALONE, tuple(PRODUCTS))
    yield from texts(TEXT_ALONE)
    if int(device().capability.partition(".")[0]) >= 9:
        yield from sharings(CLUSTERS, CLUSTERED)


def cases_of_teams() -> Cases:
    """Return the cases in which blocks wait for each other in global memory; those of the planner come
    last."""
    yield from sharings(TEAMS, tuple(PRODUCTS))
    yield from sharings(TEAMS[:1], tuple(PRODUCTS), 3)
    yield from texts(TEXT_TEAMS)
    yield from texts(TEXT_TEAMS[:1], 2)
    for cell, product, b, h in (
        *(("elman", "Float", 16, 512), ("elman", "Bf16", 16, 1000), ("gru", "Tf32", 5, 385)),
        *(("lstm", "Bf16", 16, 300), ("lstm", "Double", 3, 257), ("jordan", "Float", 17, 130)),
    ):
        yield (
            f"{cell}, {product}, B = {b}, H = {h}, as planned",
            partial(both_ways, product, cell, (1, b, 5, 3, h, 2)),
        )
    for cell, product, b, h in (("gru", "Float", 1, 512), ("lstm", "Bf16", 64, 257)):
        yield (
            f"text, {cell}, {product}, B = {b}, H = {h}, as planned",
            partial(drawn, product, cell, 1, b, 101, h),
        )
