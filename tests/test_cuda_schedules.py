"""Every CUDA kernel of Hopfield networks under every schedule, with races looked for, against the reference.

The sizes are odd, and paths that only large networks take are forced.  On a card the schedules are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Any
from unittest.mock import patch

import devices
import numpy as np
import pytest
from emulator.raw import EmulationError, checked, schedule
from test_kernels_hopfield import (
    DENSE,
    KEY,
    LEARNT,
    Case,
    Given,
    dense_arguments,
    dense_tables,
    garbage,
    given_inputs,
    going_round,
    spins,
    to_words,
)

from fastrec.backend import kernels, move
from fastrec.hopfield.temperature import chances, heat_levels
from fastrec.kernels import words
from fastrec.kernels.reference import packing, random

cuda = pytest.importorskip("fastrec.kernels.gpu.module", reason="needs CuPy, or the emulator's")
from fastrec.kernels.gpu import capacity, dense, fields, glauber, learning, products, recall  # noqa: E402

FILES = (
    "random",
    "packing",
    "product",
    "fields",
    "recall",
    "glauber",
    "dense",
    "sweep",
    "learning",
    "capacity",
)
LAUNCHED: set[tuple[str, str]] = set()  # file and kernel
NARROW = (120, 180, 207, 219)  # networks of 40 neurons that fail between the ends of a step
TIED = (402, 705, 837)  # of 13, where a flipped unit meets no field

KERNEL = cuda.kernel
RUN: set[str] = set()  # tests

pytestmark = [pytest.mark.usefixtures("gpu"), pytest.mark.each_value]


@pytest.fixture(autouse=True)
def record(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Notes what is launched."""
    devices.note_launches(monkeypatch, LAUNCHED)
    RUN.add(request.node.originalname)


def force(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    """Let names of the modules of networks stand for something else."""
    for module, name in product((dense, fields, glauber, recall), values):
        monkeypatch.setattr(module, name, values[name], raising=False)


def compare(domain: str, kernel: str, *arguments: Any) -> list[Any]:
    """Run a kernel and its reference on copies of the arguments, of which all must be equal; the copies."""
    ours, theirs = ([np.copy(a) if isinstance(a, np.ndarray) else a for a in arguments] for _ in range(2))
    getattr(devices.host_kernels(domain, "gpu"), kernel)(*ours)
    getattr(kernels(domain, "reference"), kernel)(*theirs)
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        assert np.array_equal(our, their), f"{kernel}, argument {number}"
    return ours


def compare_recall(
    case: Case | Given,
    self_coupling: bool,
    order: np.ndarray | None,
    max_sweeps: int,
    weights: type | None = None,
    recorded: bool = True,
    first_sweep: int = 0,
    threshold: type = np.int32,
) -> list[Any]:
    """`compare` recall, sync if order is None, from patterns, or weights and thresholds of these dtypes."""
    (k, b, n), times = case.s.shape, (max_sweeps + 1) * recorded
    name = "recall_sync" if order is None else "recall_async"
    outputs = (
        garbage((k, b), np.int32 if order is None else bool),
        garbage((k, b), np.int32),
        garbage((k, b), np.int64),
        garbage((k, b, times), np.int64),
    )
    if weights is None:
        inputs: tuple[Any, ...] = (case.packed, case.units, self_coupling)
    else:
        name, inputs = f"{name}_weights", given_inputs(case, weights, threshold)
        outputs += (garbage((k, b, times, words(n)), np.uint64),)
        outputs += () if order is None else (garbage((k, b, times * n // 9, 2), np.int32),)
    start = () if order is None else (KEY, order, first_sweep)
    return compare("hopfield", name, *start, *inputs, max_sweeps, to_words(case.s), *outputs)


def random_orders(n: int) -> np.ndarray:
    return np.empty((0, n), dtype=np.int32)


def given_orders(n: int) -> np.ndarray:
    return np.array([np.arange(n), np.random.default_rng(n).permutation(n)], dtype=np.int32)


@pytest.mark.parametrize("n", [1, 63, 65, 130, 1500])
@pytest.mark.usefixtures("mode")
@pytest.mark.slow
def test_streams(n: int) -> None:
    rng = np.random.default_rng(n)
    compare(
        "hopfield",
        "philox",
        KEY,
        rng.integers(2**32, size=(n, 4), dtype=np.uint32),
        garbage((n, 4), np.uint32),
    )
    compare("hopfield", "random_patterns", KEY, 7, n, garbage((3, 5, words(n)), np.uint64))
    compare("hopfield", "biased_patterns", KEY, 7, n, 2**62, garbage((3, 5, words(n)), np.uint64))
    compare("hopfield", "corrupt", KEY, 3, (n + 1) // 2, n, to_words(spins(rng, 2, 3, n)))
    compare("hopfield", "corrupt_states", KEY, 3, (n + 1) // 2, spins(rng, 2, 3, n))
    compare("hopfield", "random_order", KEY, 2, 3, 5, garbage((n,), np.int32))


@pytest.mark.parametrize(("k", "p", "n"), [(1, 1, 1), (2, 65, 63), (1, 130, 65), (1, 3, 1030), (3, 63, 300)])
@pytest.mark.usefixtures("mode")
@pytest.mark.slow
def test_packing(k: int, p: int, n: int) -> None:
    states = spins(np.random.default_rng(n), k, p, n)
    compare("hopfield", "pack", states[0], garbage((p, words(n)), np.uint64))
    compare("hopfield", "unpack", to_words(states[0]), garbage((p, n), np.int8))
    compare("hopfield", "transpose", to_words(states), garbage((k, n, words(p)), np.uint64))


tiles = pytest.mark.parametrize("long", [1, 256], ids=["wide tiles", "narrow tiles"])


@tiles
@pytest.mark.parametrize(
    ("k", "b", "n", "p"), [(1, 1, 1, 1), (2, 3, 65, 130), (1, 130, 63, 260), (1, 2, 3300, 3)]
)
@pytest.mark.usefixtures("mode")
def test_products_of_states(
    monkeypatch: pytest.MonkeyPatch, long: int, k: int, b: int, n: int, p: int
) -> None:
    """Up to 52 words: every stage of the pipeline of copies is filled again."""
    monkeypatch.setattr(products, "LONG", long)
    rng = np.random.default_rng(n)
    packed, probes = (to_words(spins(rng, k, rows, n)) for rows in (p, b))
    compare("hopfield", "overlaps", packed, probes, n, garbage((k, b, p), np.int32))


@tiles
@pytest.mark.parametrize(("k", "n", "p"), [(1, 1, 1), (2, 63, 65), (2, 130, 3), (1, 260, 3300), (1, 390, 1)])
@pytest.mark.usefixtures("mode")
def test_products_of_units(monkeypatch: pytest.MonkeyPatch, long: int, k: int, n: int, p: int) -> None:
    monkeypatch.setattr(products, "LONG", long)
    units = to_words(spins(np.random.default_rng(p), k, n, p))
    for dtype in [np.int8] * (p < 128) + [np.int16] + [np.int32, np.int64] * (p < 128):
        for self_coupling in (False, True):
            compare("hopfield", "couplings", units, p, self_coupling, garbage((k, n, n), dtype))


@pytest.mark.parametrize(
    ("k", "b", "n", "p"), [(1, 1, 1, 1), (2, 3, 63, 65), (1, 5, 65, 1), (2, 1, 127, 300)]
)
@pytest.mark.parametrize("groups", cuda.PLANES)
@pytest.mark.usefixtures("mode")
def test_fields(monkeypatch: pytest.MonkeyPatch, groups: int, k: int, b: int, n: int, p: int) -> None:
    """More bit planes than the overlaps need change nothing."""
    force(monkeypatch, plane_groups=lambda n: groups)
    case, self_coupling = Case(k, b, n, p), groups % 2 == 0
    inputs = (case.units, to_words(case.s), case.m.astype(np.int32), self_coupling)
    for dtype in (np.int32, np.int64):
        compare("hopfield", "local_fields", *inputs, garbage((k, b, n), dtype))
        compare("hopfield", "signed_sums", case.units, inputs[2], n, garbage((k, b, n), dtype))
    compare("hopfield", "is_stable", *inputs, garbage((k, b), bool))
    compare("hopfield", "quadratic_form", inputs[2], n, self_coupling, garbage((k, b), np.int64))


parts = pytest.mark.parametrize("rows", [2, pytest.param(11, marks=pytest.mark.slow)])
recalls = pytest.mark.parametrize(
    ("k", "b", "n", "p"), [(1, 1, 1, 1), (2, 3, 65, 64), (1, 5, 130, 33), (3, 1, 63, 70)]
)


def recall_every_way(
    case: Case | Given, self_coupling: bool, weights: type | None = None, threshold: type = np.int32
) -> None:
    n = case.s.shape[2]
    for order, sweeps, recorded, first in (
        (random_orders(n), 40 if isinstance(case, Case) else 9, True, 7),
        (given_orders(n), 3, False, 1),
        (None, 40, True, 0),
        (None, 2, False, 0),
    ):
        compare_recall(case, self_coupling, order, sweeps, weights, recorded, first, threshold)


@recalls
@pytest.mark.usefixtures("mode")
def test_recall_by_blocks(monkeypatch: pytest.MonkeyPatch, k: int, b: int, n: int, p: int) -> None:
    force(monkeypatch, plane_groups=lambda n: 1 + (n in (65, 130)))
    recall_every_way(Case(k, b, n, p, n == 65), n == 65)


@recalls
@pytest.mark.usefixtures("mode")
@pytest.mark.slow
def test_recall_of_sequences(monkeypatch: pytest.MonkeyPatch, k: int, b: int, n: int, p: int) -> None:
    """All rows at once, and each of them alone."""
    case, own = Case(k, b, n, p), np.random.default_rng(n).integers(-9, 10, (k, n), dtype=np.int32)
    trail = garbage((k, b, 5, words(n)), np.uint64)
    for cyclic in (True, False):
        compare(
            "hopfield", "recall_sequence", case.packed, case.units, cyclic, own, 4, to_words(case.s), trail
        )
        force(monkeypatch, BATCH=1)


@pytest.mark.usefixtures("mode")
def test_recall_by_blocks_with_wide_fields_in_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for networks whose rows or fields are too large."""
    narrow = fields.fields_from_patterns
    force(monkeypatch, fields_from_patterns=lambda *a: narrow(*a).astype(np.int64))
    recall_every_way(Case(2, 3, 65, 64), False)
    force(monkeypatch, shared_limit=lambda device: 2048, plane_groups=lambda n: 2)
    recall_every_way(Case(2, 3, 63, 65, True), True)


@pytest.mark.parametrize("weights", [np.int8, np.int16, np.int32, np.int64])
@pytest.mark.usefixtures("mode")
def test_recall_from_weights(monkeypatch: pytest.MonkeyPatch, weights: type) -> None:
    """Of every width, with fields of each width, in shared memory and in scratch; cycles of every length."""
    recall_every_way(Case(2, 3, 65, 64), False, weights)
    recall_every_way(Case(1, 1, 1, 1, True), True, weights, np.int64)
    recall_every_way(Given(2, 3, 65), True, weights)
    recall_every_way(Given(2, 3, 9, 0).shifted(), True, weights)
    force(monkeypatch, shared_limit=lambda device: 2048)
    recall_every_way(Given(1, 10, 130), True, weights, np.int64)


def compare_glauber(
    case: Case | Given, order: np.ndarray | None, weights: type | None = None, threshold: type = np.int32
) -> None:
    """`compare` sweeps at falling temperatures, with averages and what is recorded, and without.

    From patterns, or weights and thresholds of these dtypes; sync if order is None.
    """
    (k, b, n), name = case.s.shape, "glauber_sync" if order is None else "glauber_async"
    levels = heat_levels(np.array([1e9, 2, 0.5, 1e-9, 0, 1]), n, 0.5)
    if weights is None:
        inputs: tuple[Any, ...] = (case.packed, case.units, n == 65)
    else:
        name, inputs = f"{name}_weights", given_inputs(case, weights, threshold)
    head = (KEY, 7) if order is None else (KEY, order, 7)
    for recorded in (True, False):
        times = (len(levels) + 1) * recorded
        outputs = [garbage((k, b), np.int64), garbage((k, b, times), np.int64)]
        if weights is not None:
            outputs.append(garbage((k, b, times, words(n)), np.uint64))
            outputs += [garbage((k, b, n * recorded, 2), np.int32)] * (order is not None)
        outputs += garbage((k, b, n * recorded), np.int32), garbage((k, b), np.int64)
        compare("hopfield", name, *head, *inputs, levels, chances(), 4 * recorded, to_words(case.s), *outputs)


def glauber_every_way(case: Case | Given, weights: type | None = None, threshold: type = np.int32) -> None:
    n = case.s.shape[2]
    for order in (random_orders(n), given_orders(n), None):
        compare_glauber(case, order, weights, threshold)


@recalls
@pytest.mark.usefixtures("mode")
def test_glauber_from_patterns(monkeypatch: pytest.MonkeyPatch, k: int, b: int, n: int, p: int) -> None:
    """With fields of each width, in shared memory and in scratch, in one launch and more."""
    glauber_every_way(Case(k, b, n, p, n == 65))
    force(monkeypatch, field_type=lambda n, p: np.int64, shared_limit=lambda device: 2048, DRAWN=4 * n)
    glauber_every_way(Case(k, b, n, p, n == 65))


@pytest.mark.parametrize("weights", [np.int8, np.int16, np.int32, np.int64])
@pytest.mark.usefixtures("mode")
def test_glauber(monkeypatch: pytest.MonkeyPatch, weights: type) -> None:
    """With couplings and fields of every width, in shared memory and in scratch, in one launch and more."""
    glauber_every_way(Given(2, 3, 65), weights)
    glauber_every_way(Given(1, 1, 1, 0), weights, np.int64)
    force(monkeypatch, shared_limit=lambda device: 2048, DRAWN=4 * 130)
    glauber_every_way(Given(1, 4, 130), weights, np.int64)


@parts
@pytest.mark.slow
def test_glauber_in_parts(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Of rows or networks, which keep their numbers and so their draws."""
    case = Given(3, 5, 65)
    force(monkeypatch, BATCH=rows * 34 * 65, DRAWN=2 * 65)
    glauber_every_way(case, np.int16)
    force(monkeypatch, BATCH=rows * (recall.pattern_bytes(65, 9) + 8 * 65))
    glauber_every_way(Case(3, 5, 65, 9, True))


def compare_dense(*arguments: Any) -> None:
    name, arguments_of = dense_arguments(*arguments)
    compare("hopfield", name, *arguments_of)


def dense_every_way(k: int, b: int, n: int, p: int) -> None:
    """Where all patterns count, and few."""
    case = Case(k, b, n, p)
    for table, relative in dense_tables(n, p)[1:]:
        for order in (random_orders(n), given_orders(n), None):
            compare_dense(case, order, table, relative, 4, True)
            compare_dense(case, order, table, relative, 2, False)


@pytest.mark.parametrize(("k", "b", "n", "p"), [*DENSE[:2], (1, 3, 65, 9)])
@pytest.mark.usefixtures("mode")
@pytest.mark.slow
def test_dense(monkeypatch: pytest.MonkeyPatch, k: int, b: int, n: int, p: int) -> None:
    """In shared memory and in scratch, in one launch and more, by few threads and many."""
    dense_every_way(k, b, n, p)
    force(monkeypatch, shared_limit=lambda device: 2048, DRAWN=n, row_threads=lambda n: 96)
    dense_every_way(k, b, n, p)


@pytest.mark.usefixtures("mode")
@pytest.mark.slow
def test_dense_goes_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one launch and in one for each step."""
    for pieces in (100, 1):
        monkeypatch.setattr(dense, "pieces_a_launch", lambda work, clocks, pieces=pieces: pieces)
        compare_dense(Case(2, 5, 9, 12), None, going_round(9), False, 60, True)


@parts
@pytest.mark.slow
def test_dense_in_parts(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    force(monkeypatch, BATCH=rows * (16 * 40 + 65 // 4))
    dense_every_way(3, 5, 65, 40)


@pytest.mark.parametrize(
    ("groups", "k", "b", "n", "p"),
    [(1, 1, 1, 1, 1), (1, 2, 3, 65, 64), (2, 1, 5, 130, 33), (3, 3, 1, 63, 70), (4, 2, 3, 65, 64)],
)
@pytest.mark.usefixtures("mode")
def test_recall_by_the_grid(
    monkeypatch: pytest.MonkeyPatch, groups: int, k: int, b: int, n: int, p: int
) -> None:
    force(monkeypatch, SMALL=0)
    force(monkeypatch, plane_groups=lambda n: groups)
    recall_every_way(Case(k, b, n, p, n == 65), n == 65)


@pytest.mark.parametrize(("near", "n", "p"), [(0, 300, 40), (0, 65, 1100), (9, 300, 40)])
@pytest.mark.usefixtures("mode")
def test_couplings_inside_a_block(monkeypatch: pytest.MonkeyPatch, near: int, n: int, p: int) -> None:
    """In parts of the patterns; of more units than a tile has rows; again, where unexpected units turn."""
    force(monkeypatch, SMALL=0)
    force(monkeypatch, NEAR=near)
    recall_every_way(Case(1, 3, n, p, n == 65), n == 65)


@pytest.mark.slow
def test_few_small_rows_by_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Synchronous recall alone, as where n is large and rows are few."""
    force(monkeypatch, faster_by_grid=lambda *_: True)
    recall_every_way(Case(2, 3, 65, 64, True), True)


@pytest.mark.usefixtures("mode")
@pytest.mark.slow
def test_long_recall_by_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunk after chunk of sweeps, rows that stop at the first or never, an end long after the last row's."""
    force(monkeypatch, SMALL=0)
    case = Case(1, 4, 63, 40)
    sweeps = compare_recall(case, False, random_orders(63), 200, recorded=False)[-3]
    assert sweeps.max() > 4
    compare_recall(case, False, None, 200, recorded=False)


@pytest.mark.usefixtures("mode")
@pytest.mark.slow
def test_recall_of_many_rows_by_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than a block of threads sums at once."""
    force(monkeypatch, SMALL=0)
    recall_every_way(Case(1, 35, 33, 6), False)


@pytest.mark.parametrize("rows", [2, 11])
@pytest.mark.parametrize("small", [99, 0])
@pytest.mark.slow
def test_recall_in_parts(monkeypatch: pytest.MonkeyPatch, rows: int, small: int) -> None:
    """Of rows or networks, where the scratch of all would be large; orders drawn two sweeps at a time."""
    k, b, n, p = 3, 5, 65, 40
    force(monkeypatch, SMALL=small)
    force(monkeypatch, BATCH=rows * recall.pattern_bytes(n, p))
    force(monkeypatch, DRAWN=2 * n)
    recall_every_way(Case(k, b, n, p), False)
    force(monkeypatch, BATCH=rows * 26 * n)
    recall_every_way(Given(k, b, n), True, np.int16)


@pytest.mark.slow
@pytest.mark.parametrize("pieces", [1, 2])
def test_work_in_parts_for_a_display(monkeypatch: pytest.MonkeyPatch, pieces: int) -> None:
    """Few sweeps, rows, blocks and recalls in doubt a launch, as where a watchdog ends long ones."""
    for module in (recall, glauber, dense, learning, capacity):
        monkeypatch.setattr(module, "pieces_a_launch", lambda work, clocks: pieces)
    for small in (0, 99):
        force(monkeypatch, SMALL=small)
        recall_every_way(Case(2, 3, 65, 40), False)
    recall_every_way(Given(2, 3, 65), True, np.int8)
    glauber_every_way(Given(2, 3, 65), np.int8)
    glauber_every_way(Case(2, 3, 63, 40))
    dense_every_way(2, 3, 65, 9)
    learn_by_storkey(2, 65, 7)
    learn_by_perceptron(2, 65, 7, 9)
    for flags in product((False, True), repeat=2):
        compare_scan(65, range(3), 9, 40, *flags, False)
        compare_scan(130, range(2), 1, 40, *flags, True)


@pytest.mark.usefixtures("mode")
@pytest.mark.slow
def test_recall_in_blocks_of_units_by_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch, SMALL=0)
    case = Case(1, 1, recall.BLOCK + 85, 5, far=False)
    n = case.s.shape[2]
    for order, sweeps in ((random_orders(n), 2), (given_orders(n), 1), (None, 2)):
        flips = compare_recall(case, False, order, sweeps)[-2]
        assert (flips > n // 30).all()


@pytest.mark.parametrize(("k", "n", "p"), LEARNT)
@pytest.mark.usefixtures("mode")
@pytest.mark.slow
def test_learning(monkeypatch: pytest.MonkeyPatch, k: int, n: int, p: int) -> None:
    """By several blocks a network, or networks in turn; fields of each width, in shared memory and not."""
    monkeypatch.setattr(learning, "THREADS", 32)
    monkeypatch.setattr(learning, "multiprocessors", lambda: 7 if k == 1 else 4)
    learn_by_storkey(k, n, p)
    learn_by_perceptron(k, n, p, 20)
    force(monkeypatch, shared_limit=lambda device: 2048)
    learn_by_perceptron(k, n, p, 20)
    if n > 1:
        learn_by_perceptron(k, n, 2, 2**27)


def learn_by_storkey(k: int, n: int, p: int) -> None:
    case = Case(k, p, n, p)
    gram = np.einsum("kpn,kqn->kpq", case.x.astype(np.int32), case.x.astype(np.int32))
    amplitudes = np.random.default_rng(p).integers(2**20, 2**24, p)
    compare("hopfield", "storkey", case.packed, case.units, gram, amplitudes, garbage((k, p, n), np.int64))


def learn_by_perceptron(k: int, n: int, p: int, max_passes: int) -> None:
    case = Case(k, p, n, p)
    gram = np.einsum("kpn,kqn->kpq", case.x.astype(np.int32), case.x.astype(np.int32))
    thresholds = np.random.default_rng(n).integers(-2, 3, (k, n))
    outputs = garbage((k, n, p), np.int32), garbage((k, n), np.int32), garbage((k, n), np.float64)
    rule = (0.3, n % 2 == 0, max_passes)
    compare("hopfield", "perceptron", case.units, gram, thresholds, *rule, *outputs)


@cache
def scan(backend: str, n: int, trials: Sequence[int], corrupted: int, limit: int, *flags: bool) -> Any:
    """Counts and censored of capacity_scan; flags newest, largest, synchronous."""
    counts, censored = np.full(len(trials), -9), np.ones(len(trials), dtype=bool)
    newest, largest, synchronous = flags
    definition = (newest, largest, corrupted, synchronous, 20, limit)
    module = devices.host_kernels("capacity", backend)
    module.capacity_scan(KEY, n, np.array(trials), *definition, counts, censored)
    return counts.tolist(), censored.tolist()


def compare_scan(*arguments: Any) -> None:
    assert scan.__wrapped__("gpu", *arguments) == scan("reference", *arguments), arguments


@pytest.mark.parametrize(
    ("shift", "groups", "n", "corrupted", "limit"),
    [(0, 1, 65, 0, 12), (1, 2, 65, 1, 12), (3, 3, 250, 5, 12), (0, 4, 40, 9, 12), (2, 1, 1, 1, 3)],
)
@pytest.mark.usefixtures("mode")
def test_capacity(
    monkeypatch: pytest.MonkeyPatch, shift: int, groups: int, n: int, corrupted: int, limit: int
) -> None:
    """Certified and not; digits that are off by more, or more bit planes than needed, change nothing."""
    monkeypatch.setattr(capacity, "digit_shift", lambda n: shift)
    monkeypatch.setattr(capacity, "plane_groups", lambda n: groups)
    for flags in product((False, True), repeat=3):
        compare_scan(n, range(2, 7, 4), corrupted, limit, *flags)


@pytest.mark.usefixtures("mode")
@pytest.mark.slow
def test_capacity_of_many_networks() -> None:
    """Over several steps of 32 patterns, some certified; and what only careful bounds and ties find."""
    compare_scan(130, range(6), 1, 36, False, False, False)
    compare_scan(130, range(2), 1, 70, True, True, False)
    compare_scan(40, NARROW, 0, 9, False, False, False)
    compare_scan(13, TIED, 1, 3, False, False, False)


def scan_by_definition(
    n: int, trial: int, corrupted: int, limit: int, newest: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Loads that fail without flips, and (load, memory) that flips could turn away, if all is certified."""
    packed = np.empty((1, limit, words(n)), dtype=np.uint64)
    random.random_patterns(KEY, trial, n, packed)
    x = packing.spins(packed[0], n).astype(int)
    m = x @ x.T
    np.fill_diagonal(m, 0)
    failed, doubtful = np.zeros(limit, dtype=bool), np.zeros((limit, limit), dtype=bool)
    for mu in range(limit):
        margins = n + x[mu] * np.cumsum(m[mu][:, None] * x, axis=0) - np.arange(1, limit + 1)[:, None]
        for p in range(mu + 1, mu + 2 if newest else limit + 1):
            flipped, margin = random.corruption(KEY, mu, trial, p, corrupted, n), margins[p - 1]
            changes = x[:p].T @ x[:p, flipped] * np.outer(x[mu], x[mu, flipped])
            changes[flipped, range(corrupted)] = 0
            change = np.maximum(0, changes).sum(axis=1)
            turns = margin < 2 * change
            turns[flipped] |= margin[flipped] <= 2 * change[flipped]
            failed[p - 1] |= (margin < 0).any()
            doubtful[p - 1, mu] = (turns & (margin >= 0)).any()
    return failed, doubtful


def launched_with(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: Any) -> list[Any]:
    """Arguments of a kernel, as they are when it is launched by `capacity_scan` of one network."""
    found: list[Any] = []

    def launch(file: str, kernel: str, blocks: int, threads: int, *rest: Any, **options: Any) -> None:
        if kernel.startswith(name):
            found[:] = [a if a is None or np.isscalar(a) else move(a, "cpu").copy() for a in rest]
        real(file, kernel, blocks, threads, *rest, **options)

    with monkeypatch.context() as patch:
        real = capacity.launch
        patch.setattr(capacity, "launch", launch)
        scan.__wrapped__("gpu", *arguments)
    return found


LOOKS = {
    "as chosen": None,
    "every 16": (0, 0, 0, 1024),
    "every 32": (0, 0, 1024, 1024),
    "every 64": (0, 0, 0, 0),
    "closer and closer": (0, 0, 32, 64),
}


@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize(
    ("n", "trial", "corrupted", "limit", "newest", "shift"),
    [
        *((300, 0, 1, 40, False, shift) for shift in (None, 2, 9)),
        (300, 0, 2, 36, True, None),
        (65, 3, 1, 16, False, None),
        (900, 0, 1, 64, False, None),
        (1000, 0, 0, 64, False, None),
        pytest.param(3001, 0, 1, 150, False, None, marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_scan_notes_what_fails_and_what_is_in_doubt(
    monkeypatch: pytest.MonkeyPatch,
    n: int,
    trial: int,
    corrupted: int,
    limit: int,
    newest: bool,
    shift: int | None,
    looks: str,
) -> None:
    """All of it and nothing else, however far apart looks are and however much digits are off."""
    if LOOKS[looks] is not None:
        monkeypatch.setattr(capacity, "looks_of", lambda *_: LOOKS[looks])
    if shift is not None:
        monkeypatch.setattr(capacity, "digit_shift", lambda n: shift)
    given = launched_with(monkeypatch, "resolve", n, (trial,), corrupted, limit, newest, True, False)
    expected = scan_by_definition(n, trial, corrupted, limit, newest)
    for words_of, wanted in zip((given[-2][0], given[-1][0, :limit]), expected, strict=True):
        bits = np.unpackbits(words_of.view(np.uint8), axis=-1, bitorder="little")[..., :limit]
        assert np.array_equal(bits, wanted)


@pytest.mark.slow
def test_a_scan_goes_on_up_to_what_is_known_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """To load 25, the first after a look, if another block finds that 26 fails before it is scanned."""
    monkeypatch.setattr(capacity, "looks_of", lambda *_: LOOKS["every 16"])
    real = capacity.launch

    def launch(file: str, kernel: str, *rest: Any, **options: Any) -> None:
        if kernel == "scan":
            rest[-3][...] = 26
        real(file, kernel, *rest, **options)

    monkeypatch.setattr(capacity, "launch", launch)
    assert scan.__wrapped__("gpu", 300, (7,), 0, 40, False, False, False) == ([24], [False])


@pytest.mark.parametrize(
    ("n", "corrupted", "limit", "newest"), [(1400, 5, 70, False), (900, 1, 100, True), (300, 0, 40, False)]
)
@pytest.mark.parametrize("looks", [(0, 0, 0, 64), (0, 64, 64, 64)])
@pytest.mark.slow
def test_bounds_of_a_scan(
    monkeypatch: pytest.MonkeyPatch, n: int, corrupted: int, limit: int, newest: bool, looks: tuple[int, ...]
) -> None:
    """A unit may be passed over only if its field is large at all loads that a look speaks for."""
    monkeypatch.setattr(capacity, "looks_of", lambda *_: looks)
    given = launched_with(monkeypatch, "scan", n, (0,), corrupted, limit, newest, False, False)
    _, _, _, _, bounds, _, gram = given[:7]
    m, shift, certain = (
        gram[0].astype(int),
        capacity.digit_shift(n),
        min(limit, (n - 1) // (4 * corrupted or 1)),
    )
    np.fill_diagonal(m, 0)
    digits = np.clip((m + (1 << shift >> 1)) >> shift, -127, 127)
    at = until = 0
    while until < limit:
        apart = next((size for size, end in zip((128, 64, 32, 16), looks, strict=True) if at < end), 64)
        begin, until = until, min(at + apart // 2, limit)
        for mu in range(limit):
            center, width = bounds[0, at // 16, mu].reshape(1).view(np.int32).astype(int)
            if not (begin <= mu < until if newest else mu < until):
                assert (center, width) == (2**30, 2**31 - 1)
                continue
            sizes = abs(m[mu])
            rests = abs(m[mu, :at] - (digits[mu, :at] << shift)).sum()
            # Ends of the windows are multiples of 8, but for the last load.
            reaches = [
                sizes[first : first + size].sum() + max(p, (1 + 2 * corrupted) * min(p, certain))
                for first, size, p in ((begin, at - begin, at), (at, -(-(until - at) // 8) * 8, until))
            ]
            height, total = (max(reaches) + rests - n) >> shift, digits[mu, :at].sum()
            if center == -(2**30):
                assert height >= 0
            else:
                up = -center - 1
                down = up + 1 + width
                # x (2 A - D) <= height for a sum A, the memory's unit being up or down.
                assert 2 * up - total <= height < 2 * (up + 1) - total
                assert total - 2 * down <= height < total - 2 * (down - 1)
        at += apart


@pytest.mark.usefixtures("mode")
def test_capacity_with_wide_fields_in_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "INTEGERS", {4: "long long"})
    memory = capacity.row_memory
    monkeypatch.setattr(capacity, "row_memory", lambda n, _, *rest: memory(n, 8, *rest))
    compare_scan(63, range(3), 9, 12, False, True, False)
    force(monkeypatch, shared_limit=lambda device: 2048)
    for groups in cuda.PLANES[1:]:
        monkeypatch.setattr(capacity, "plane_groups", lambda n, groups=groups: groups)
        compare_scan(63, range(3), 9, 12, False, True, groups % 2 == 0)
    compare_scan(130, range(2), 1, 12, False, False, False)


def sort() -> None:
    compare("hopfield", "random_order", KEY, 2, 3, 5, garbage((130,), np.int32))


def draw_biased() -> None:
    compare("hopfield", "biased_patterns", KEY, 7, 65, 2**62, garbage((3, 5, 2), np.uint64))


def sum_values() -> None:
    case = Case(1, 3, 65, 9)
    compare("hopfield", "signed_sums", case.units, case.m.astype(np.int32), 65, garbage((1, 3, 65), np.int32))


def multiply() -> None:
    packed = to_words(spins(np.random.default_rng(0), 1, 9, 4200))
    compare("hopfield", "overlaps", packed, packed, 4200, garbage((1, 9, 9), np.int32))


def sweep() -> None:
    compare_recall(Case(1, 4, 63, 40), False, random_orders(63), 12)


def unexpected_sweep() -> None:
    """In which units turn that did not want to."""
    with patch.object(recall, "NEAR", 0):
        sweep()


def recall_given() -> None:
    """Many units that would turn back, some that are held."""
    case = Given(1, 3, 65)
    case.w[:, np.arange(65), np.arange(65)] = case.columns[:, np.arange(65), np.arange(65)] = -50
    compare_recall(case, True, random_orders(65), 9, np.int16)


def cycle() -> None:
    compare_recall(Given(1, 3, 9, 0).shifted(), True, None, 40, np.int16)


def heat_up() -> None:
    compare_glauber(Given(2, 3, 65), random_orders(65), np.int16, np.int32)


def heat_up_for_long() -> None:
    """Until draws fall between two entries of the table."""
    case = Given(2, 20, 65)
    levels, totals = heat_levels(np.full(40, 2.0), 65, 0.5), garbage((2, 20, 65), np.int32)
    inputs = (KEY, 7, *given_inputs(case, np.int16, np.int32), levels, chances(), 40)
    recorded = garbage((2, 20, 0), np.int64), garbage((2, 20, 0, 2), np.uint64)
    outputs = garbage((2, 20), np.int64), *recorded, totals, garbage((2, 20), np.int64)
    compare("hopfield", "glauber_sync_weights", *inputs, to_words(case.s), *outputs)


def heat_up_from_patterns() -> None:
    compare_glauber(Case(2, 3, 65, 9, True), None)


def heat_up_in_parts() -> None:
    """Of a row, and two sweeps."""
    with patch.object(recall, "BATCH", 1), patch.object(glauber, "DRAWN", 130):
        heat_up()
        compare_glauber(Given(2, 3, 65), None, np.int16, np.int32)


def heat_up_at_once() -> None:
    """All units, some of which meet no field."""
    case = Given(1, 3, 65)
    case.w[:, :9], case.columns[:, :, :9], case.thresholds[:, :9] = 0, 0, 0
    compare_glauber(case, None, np.int16, np.int32)


def recall_dense() -> None:
    """With more flips than a list of patterns holds for, also away from patterns to others."""
    compare_dense(Case(1, 3, 65, 90), given_orders(65), *dense_tables(65, 90)[2], 3, True)
    case = Case(1, 3, 130, 40, far=False)
    compare_dense(case, given_orders(130), np.array([-9, -5, -3]), True, 3, True)
    compare_dense(case, given_orders(130), *dense_tables(130, 40)[1], 3, True)


def recall_dense_at_once() -> None:
    compare_dense(Case(1, 3, 65, 40), None, *dense_tables(65, 40)[2], 4, True)
    compare_dense(Case(2, 5, 9, 12), None, going_round(9), False, 60, True)


def learn_together() -> None:
    """By two blocks."""
    learn_by_storkey(1, 300, 9)


def learn() -> None:
    learn_by_perceptron(1, 65, 66, 9)


GIVEN = ("weight_fields<int, short>", "recall_async_weights<int, short>", "recall_sync_weights<int, short>")
HEATED = (*(f"glauber_{way}_weights<int, short>" for way in ("async", "sync")), "glauber_step<int>")
DENSE_KERNELS = tuple(cuda.KERNELS["dense"])
LEARNING = tuple(cuda.KERNELS["learning"])
CAPACITY = tuple(name for name in cuda.KERNELS["capacity"] if "resolve" not in name) + ("resolve<int, 1>",)
BUGS = {  # file, kernels, what is replaced, what by, who notices, what is reported
    "sort without a barrier": (
        "random",
        ("scatter_order", "sort_order"),
        "      __syncthreads();\n      int i = 2 *",
        "      int i = 2 *",
        sort,
        "never stored to",
    ),
    "units of the other sign": (
        "random",
        ("biased_patterns",),
        "draws[j] < threshold",
        "draws[j] >= threshold",
        draw_biased,
        "assert",
    ),
    "sums without their total": (
        "fields",
        ("bit_planes<1>", "local_fields<1, int>"),
        " - i64(totals[row])",
        " + i64(totals[row])",
        sum_values,
        "assert",
    ),
    "product without a barrier": (
        "product",
        ("count_ones", "sign_product<int, 2>"),
        "copy_wait<STAGES - 2>();\n      __syncthreads();",
        "copy_wait<STAGES - 2>();",
        multiply,
        "race",
    ),
    "product without a row of ones": (
        "product",
        ("count_ones", "sign_product<int, 2>"),
        "column_ones = both[c];",
        "column_ones = 0;",
        multiply,
        "assert",
    ),
    "wrong half of a word": (
        "product",
        ("count_ones", "sign_product<int, 2>"),
        "{y[2 * half], y[2 * half + 1]}",
        "{y[2 * half + 1], y[2 * half]}",
        multiply,
        "assert",
    ),
    "grid without a barrier": (
        "sweep",
        ("sweep_async<1>",),
        "int(u), gram);\n          barrier.wait();",
        "int(u), gram);",
        sweep,
        "race",
    ),
    "couplings not computed anew": (
        "sweep",
        ("sweep_async<1>",),
        "known < count && __ldcg(want + 1)",
        "false",
        unexpected_sweep,
        "assert",
    ),
    "couplings left over": (
        "sweep",
        ("sweep_async<1>",),
        "gram[i] = 0;",
        "gram[i] += 0;",
        sweep,
        "assert",
    ),
    "wrong sign of a turn": (
        "sweep",
        ("sweep_async<1>",),
        "sign = first & 1 ? 1 : -1;",
        "sign = first & 1 ? -1 : 1;",
        sweep,
        "assert",
    ),
    "wrong sign of a threshold": (
        "recall",
        GIVEN,
        "sum - thresholds[unit]",
        "sum + thresholds[unit]",
        recall_given,
        "assert",
    ),
    "held units that turn": ("recall", GIVEN, "held && bit(held, i) ? 0 :", "", recall_given, "assert"),
    "a unit that turns twice": ("recall", GIVEN, "turn.unit |= 1;", "", recall_given, "assert"),
    "sweeps noted from 1": (
        "recall",
        GIVEN,
        "= int(sweep);\n  given",
        "= int(sweep + 1);\n  given",
        recall_given,
        "assert",
    ),
    "rows for columns": ("recall", GIVEN, "columns[j * n + i]", "columns[i * n + j]", recall_given, "assert"),
    "cycles not looked for": (
        "recall",
        GIVEN,
        "bool same = kept_at > 0",
        "bool same = false",
        cycle,
        "assert",
    ),
    "a chance of the other side": (
        "glauber",
        HEATED,
        "draw < here - (",
        "draw > here - (",
        heat_up_at_once,
        "assert",
    ),
    "chances of whole arguments": (
        "glauber",
        HEATED,
        "* part >> FRACTION",
        "* 0",
        heat_up_for_long,
        "assert",
    ),
    "a limit too low": (
        "glauber",
        HEATED,
        "low = middle + 1;",
        "low = middle + 1, high--;",
        heat_up,
        "assert",
    ),
    "no field that flips when it is cold": (
        "glauber",
        HEATED,
        "cutoff == 0 || s == 0",
        "s == 0",
        heat_up_at_once,
        "assert",
    ),
    "draws of units for those of updates": (
        "glauber",
        HEATED,
        "bath.drawn(sweep, places[i])",
        "bath.drawn(sweep, i)",
        heat_up,
        "assert",
    ),
    "rows of a part numbered from 0": (
        "glauber",
        HEATED,
        " row(first_row + blockIdx.x % b)",
        " row(blockIdx.x % b)",
        heat_up_in_parts,
        "assert",
    ),
    "states before a step averaged": (
        "glauber",
        HEATED,
        "+= flip ? -s : s;",
        "+= s;",
        heat_up_from_patterns,
        "assert",
    ),
    "half of a word that never turns": (
        "glauber",
        HEATED,
        "half < 64; half += WARP",
        "half < 32; half += WARP",
        heat_up_from_patterns,
        "assert",
    ),
    "states averaged twice": (
        "glauber",
        HEATED,
        "sweep > given.unaveraged",
        "sweep >= given.unaveraged",
        heat_up_in_parts,
        "assert",
    ),
    "turns of a launch over others": (
        "glauber",
        HEATED,
        "i64 noted = flips[blockIdx.x];",
        "i64 noted = 0;",
        heat_up_in_parts,
        "assert",
    ),
    "a list for too few flips": (
        "dense",
        DENSE_KERNELS,
        "m.entries - 1 + 2 * flips",
        "m.entries - 3 + 0 * flips",
        recall_dense,
        "assert",
    ),
    "a list never made anew": ("dense", DENSE_KERNELS, "++since == SLACK", "false", recall_dense, "assert"),
    "patterns that come nearer go farther": (
        "dense",
        DENSE_KERNELS,
        "unit, s) ? -1 : 1;",
        "unit, s) ? 1 : -1;",
        recall_dense,
        "assert",
    ),
    "ties that flip": (
        "dense",
        DENSE_KERNELS,
        "block_sum(gain, partial[turn])) <= 0",
        "block_sum(gain, partial[turn])) < 0",
        recall_dense,
        "assert",
    ),
    "half of a word for the other": (
        "dense",
        DENSE_KERNELS,
        "(lane + WARP) & 1) high",
        "lane & 1) high",
        recall_dense_at_once,
        "assert",
    ),
    "steps of a cycle": (
        "dense",
        DENSE_KERNELS,
        "step - kept_at)",
        "step - 1)",
        recall_dense_at_once,
        "assert",
    ),
    "blocks that do not meet": ("learning", LEARNING, "barrier.wait();", "", learn_together, "race"),
    "sums left over": ("learning", LEARNING, "next[nu] = 0;", "next[nu] += 0;", learn_together, "assert"),
    "wrong sign of a strength": (
        "learning",
        LEARNING,
        "(overlaps[nu] - 2",
        "(overlaps[nu] + 2",
        learn_together,
        "assert",
    ),
    "learning without a barrier": (
        "learning",
        LEARNING,
        "next = none;\n    __syncthreads();",
        "next = none;",
        learn,
        "race",
    ),
    "a pass too many": ("learning", LEARNING, "pass > max_passes) break", "false) break", learn, "assert"),
    "wrong sign": (
        "capacity",
        CAPACITY,
        "overlaps[nu] : -overlaps[nu]",
        "-overlaps[nu] : overlaps[nu]",
        lambda: compare_scan(40, range(3), 0, 12, False, True, False),
        "assert",
    ),
    "narrow bound": (
        "capacity",
        CAPACITY,
        "add_until(until) + reach(until)",
        "0 * add_until(until) + reach(until)",
        lambda: compare_scan(40, NARROW, 0, 9, False, False, False),
        "assert",
    ),
    "forgotten tie": (
        "capacity",
        CAPACITY,
        "(flipped && margin <= 2 * change)",
        "false",
        lambda: compare_scan(13, TIED, 1, 3, False, False, False),
        "assert",
    ),
}


FIRST = {message: bug for bug, (*_, message) in reversed(BUGS.items())}.values()  # that is reported so


@pytest.mark.parametrize(
    "bug", [pytest.param(bug, marks=[] if bug in FIRST else pytest.mark.slow) for bug in BUGS]
)
def test_a_bug_shows(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """In what is reported and, without checks, in the result."""
    if not devices.emulated("gpu"):
        pytest.skip("a card might hang")
    file, kernels, before, after, run, message = BUGS[bug]
    right = cuda.source(file)
    assert right.count(before) == 1
    force(monkeypatch, SMALL=0)
    run()
    options = {"options": cuda.OPTIONS, "enable_cooperative_groups": file in ("sweep", "learning")}
    wrong = cuda.cupy.RawModule(code=right.replace(before, after), name_expressions=kernels, **options)

    def planted(name: str, kernel: str, device: int, together: bool) -> Any:
        if name != file:
            return KERNEL(name, kernel, device, together)
        function = wrong.get_function(kernel)
        function.max_dynamic_shared_size_bytes = cuda.shared_limit(device) - function.shared_size_bytes
        return function

    monkeypatch.setattr(cuda, "kernel", planted)
    with checked(), pytest.raises((EmulationError, AssertionError), match=message):
        run()
    with schedule("random", 1), pytest.raises(AssertionError):
        run()


def test_every_kernel_was_launched() -> None:
    if missing := {name for name in globals() if name.startswith("test_")} - RUN:
        pytest.skip(f"without {', '.join(sorted(missing))}")
    assert {(file, kernel) for file in FILES for kernel in cuda.KERNELS[file]} == LAUNCHED
