"""All kernels of Hopfield networks at awkward sizes, compared with the reference to the bit.

Code paths of large networks are forced: 64-bit fields, rows in global memory, sweeps by the whole grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from itertools import product
from typing import Any
from unittest.mock import patch

import numpy as np

from fastrec.backend import kernels, move
from fastrec.hopfield.interaction import Interaction
from fastrec.hopfield.temperature import chances, heat_levels
from fastrec.kernels import words
from fastrec.kernels.gpu import capacity, dense, glauber, hopfield, products
from fastrec.kernels.gpu import fields as field_kernels
from fastrec.kernels.gpu import recall as recall_kernels
from fastrec.kernels.gpu.module import PLANES

from .measure import equal

Cases = Iterator[tuple[str, Callable[[], object]]]

KEY = np.uint64(0x9E3779B97F4A7C15)
INTEGERS = (np.int8, np.int16, np.int32, np.int64)
RECALLS = ((1, 1, 1, 1), (2, 3, 65, 64), (1, 5, 130, 33), (3, 1, 63, 70))  # k, b, n, p


def compare(domain: str, kernel: str, *arguments: Any) -> None:
    """Run a kernel and its reference on copies of the arguments, and compare all arrays afterwards."""
    theirs = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    ours = [move(a, "gpu") if isinstance(a, np.ndarray) else a for a in arguments]
    getattr(kernels(domain, "gpu"), kernel)(*ours)
    getattr(kernels(domain, "reference"), kernel)(*theirs)
    for array, expected in zip(ours, theirs, strict=True):
        if isinstance(expected, np.ndarray):
            equal(array, expected, f"the reference's {kernel}")


def unset(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Return an array filled with a value that no kernel writes."""
    return np.full(shape, 0x5A, np.uint8 if dtype is bool else dtype).astype(dtype)


def signs(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((*shape, seed)).choice(np.array([-1, 1], np.int8), shape)


def packed(x: np.ndarray) -> np.ndarray:
    """Return signs (.., n) as bits (.., words(n))."""
    n = x.shape[-1]
    out = np.zeros((*x.shape[:-1], words(n)), np.uint64)
    kernels("hopfield", "reference").pack(x.reshape(-1, n), out.reshape(-1, words(n)))
    return out


class Network:
    """Patterns of k networks, and probes (k, b, n) that equal a pattern in all or in every other unit."""

    def __init__(self, k: int, b: int, n: int, p: int, every: int = 2) -> None:
        x, s = signs(k, p, n), signs(k, b, n, seed=1)
        s[..., ::every] = x[:, np.arange(b) % p, ::every]
        s[..., : n // 20] *= -1
        self.n, self.x, self.s = n, x, s
        self.packed, self.units, self.probes = packed(x), packed(x.swapaxes(1, 2).copy()), packed(s)
        self.overlaps = np.einsum("kbn,kpn->kbp", s, x, dtype=np.int32)

    def couplings(self, self_coupling: bool) -> np.ndarray:
        w = np.einsum("kpi,kpj->kij", *2 * (self.x.astype(np.int64),))
        return w if self_coupling else w * ~np.eye(self.n, dtype=bool)


network = cache(Network)


def recall(
    shape: tuple[int, ...], self_coupling: bool, orders: int | None, max_sweeps: int, record: bool = True
) -> None:
    """Compare recall from patterns; `orders` None is sync and 0 random."""
    net = network(*shape)
    (k, b, _), n = net.probes.shape, net.n
    results = (unset((k, b), np.int32 if orders is None else bool), unset((k, b), np.int32))
    results += (unset((k, b), np.int64), unset((k, b, (max_sweeps + 1) * record), np.int64))
    inputs = (*order_of(n, orders), net.packed, net.units, self_coupling, max_sweeps, net.probes)
    compare("hopfield", f"recall_{'sync' if orders is None else 'async'}", *inputs, *results)


def order_of(n: int, orders: int | None) -> tuple[Any, ...]:
    orders_of_all = np.array([np.arange(n), np.arange(n)[::-1]], np.int32)
    return () if orders is None else (KEY, orders_of_all[:orders], 7)


WAYS = ((0, 40, True), (2, 3, False), (None, 40, True), (None, 2, False))  # orders, sweeps, record


def recall_every_way(shape: tuple[int, ...], self_coupling: bool) -> None:
    for orders, sweeps, record in WAYS:
        recall(shape, self_coupling, orders, sweeps, record)
    net = network(*shape)
    (k, b, w), n = net.probes.shape, net.n
    own = np.random.default_rng(n).integers(-9, 10, (k, n), dtype=np.int32)
    inputs = (net.packed, net.units, self_coupling, own, 3, net.probes)
    compare("hopfield", "recall_sequence", *inputs, unset((k, b, 4, w), np.uint64))


def given_inputs(
    shape: tuple[int, ...], symmetric: bool, weights: type, thresholds: type
) -> tuple[np.ndarray, ...]:
    """Return couplings of a dtype, their transpose, thresholds, and which units are held."""
    net, rng = network(*shape), np.random.default_rng(shape)
    (k, b, _), n = net.probes.shape, net.n
    given = net.couplings(True) if symmetric else rng.integers(-9, 10, (k, n, n))
    given = given.astype(weights)
    columns = given if symmetric else np.ascontiguousarray(given.swapaxes(1, 2))
    limits = rng.integers(-5, 6, (k, n)).astype(thresholds)
    held = packed(signs(k, b, n)) & packed(signs(k, b, n, seed=1)) & packed(signs(k, b, n, seed=2))
    return given, columns, limits, held


def recall_weights(shape: tuple[int, ...], symmetric: bool, weights: type, thresholds: type) -> None:
    """Compare recall from couplings of a dtype every way, some with thresholds and units that are held."""
    net = network(*shape)
    (k, b, w), n = net.probes.shape, net.n
    given, columns, limits, held = given_inputs(shape, symmetric, weights, thresholds)
    for orders, sweeps, record in WAYS:
        times = (sweeps + 1) * record
        results = [unset((k, b), np.int32 if orders is None else bool), unset((k, b), np.int32)]
        results += [
            unset((k, b), np.int64),
            unset((k, b, times), np.int64),
            unset((k, b, times, w), np.uint64),
        ]
        if orders is not None:
            results.append(unset((k, b, n * record, 2), np.int32))
        inputs = (given, columns, limits, held[..., : w * record].copy(), sweeps, net.probes)
        name = f"recall_{'sync' if orders is None else 'async'}_weights"
        compare("hopfield", name, *order_of(n, orders), *inputs, *results)
    compare("hopfield", "local_fields_weights", given, net.probes, unset((k, b, n), thresholds))


def glauber_sweeps(
    shape: tuple[int, ...], symmetric: bool = True, weights: type | None = None, thresholds: type = np.int32
) -> None:
    """Compare sweeps at falling temperatures, with averages and units that are held, and without.

    From patterns, or couplings of a dtype.
    """
    net = network(*shape)
    (k, b, w), n = net.probes.shape, net.n
    levels = heat_levels(np.array([1e9, 2, 0.5, 1e-9, 0, 1]), n, 1)
    for orders, record in ((0, True), (2, False), (None, True), (None, False)):
        times, name = (len(levels) + 1) * record, f"glauber_{'sync' if orders is None else 'async'}"
        results = [unset((k, b), np.int64), unset((k, b, times), np.int64)]
        if weights is None:
            inputs: tuple[Any, ...] = (net.packed, net.units, n == 65)
        else:
            *inputs, held = given_inputs(shape, symmetric, weights, thresholds)
            name, inputs = f"{name}_weights", (*inputs, held[..., : w * record].copy())
            results.append(unset((k, b, times, w), np.uint64))
            results += [unset((k, b, n * record, 2), np.int32)] * (orders is not None)
        results += [unset((k, b, n * record), np.int32), unset((k, b), np.int64)]
        head = (KEY, 7) if orders is None else order_of(n, orders)
        compare("hopfield", name, *head, *inputs, levels, chances(), 4 * record, net.probes, *results)


def dense_memory(shape: tuple[int, ...]) -> None:
    """Compare recall of dense memories every way, with the transpose of the patterns and without."""
    net = network(*shape)
    (k, b, w), n, p = net.probes.shape, net.n, shape[3]
    for degree, (orders, sweeps, record) in product((2, 3, "exponential"), WAYS):
        results = [unset((k, b), np.int32 if orders is None else bool), unset((k, b), np.int32)]
        results += [unset((k, b), np.int64), unset((k, b, (sweeps + 1) * record, w), np.uint64)]
        head: tuple[Any, ...] = (net.packed, n)
        if orders is not None:
            head = (*order_of(n, orders), net.packed, net.units[..., : words(p) * record].copy())
        how = Interaction(n, degree).table(p), degree == "exponential", sweeps
        compare(
            "hopfield", f"dense_{'sync' if orders is None else 'async'}", *head, *how, net.probes, *results
        )


def learning(k: int, n: int, p: int, max_passes: int) -> None:
    net, rng = network(k, 1, n, p), np.random.default_rng(n)
    gram = np.einsum("kpn,kqn->kpq", net.x, net.x, dtype=np.int32)
    amplitudes, limits = rng.integers(2**20, 2**24, p), rng.integers(-2, 3, (k, n))
    compare("hopfield", "storkey", net.packed, net.units, gram, amplitudes, unset((k, p, n), np.int64))
    results = unset((k, n, p), np.int32), unset((k, n), np.int32), unset((k, n), np.float64)
    compare("hopfield", "perceptron", net.units, gram, limits, 0.3, n % 2 == 0, max_passes, *results)


def patched(case: Callable[..., None], *arguments: Any, **replaced: Any) -> None:
    """Run a case while names of kernel modules are replaced."""
    with ExitStack() as stack:
        for module, name in product(
            (field_kernels, recall_kernels, glauber, dense, capacity, products), replaced
        ):
            if hasattr(module, name):
                stack.enter_context(patch.object(module, name, replaced[name]))
        case(*arguments)


def streams(n: int) -> None:
    counters = np.random.default_rng(n).integers(2**32, size=(n, 4), dtype=np.uint32)
    compare("hopfield", "philox", KEY, counters, unset((n, 4), np.uint32))
    compare("hopfield", "random_patterns", KEY, 7, n, unset((3, 5, words(n)), np.uint64))
    compare("hopfield", "biased_patterns", KEY, 7, n, 2**62, unset((3, 5, words(n)), np.uint64))
    compare("hopfield", "corrupt", KEY, 3, (n + 1) // 2, n, packed(signs(2, 3, n)))
    compare("hopfield", "corrupt_states", KEY, 3, (n + 1) // 2, signs(2, 3, n))
    compare("hopfield", "random_order", KEY, 2, 3, 5, unset((n,), np.int32))


def packing(k: int, p: int, n: int) -> None:
    x = signs(k, p, n)
    compare("hopfield", "pack", x[0], unset((p, words(n)), np.uint64))
    compare("hopfield", "unpack", packed(x[0]), unset((p, n), np.int8))
    compare("hopfield", "transpose", packed(x), unset((k, n, words(p)), np.uint64))


def overlaps(k: int, b: int, n: int, p: int) -> None:
    """Compare overlaps of probes, and those among patterns, where half of a symmetric matrix is mirrored."""
    x, s = packed(signs(k, p, n)), packed(signs(k, b, n))
    compare("hopfield", "overlaps", x, s, n, unset((k, b, p), np.int32))
    gram, on_card = unset((k, p, p), np.int32), move(x, "gpu")
    ours = move(gram, "gpu")
    kernels("hopfield", "reference").overlaps(x, x, n, gram)
    hopfield.overlaps(on_card, on_card, n, ours)
    equal(ours, gram, "the reference's overlaps")


def couplings(k: int, n: int, p: int) -> None:
    units = packed(signs(k, n, p))
    for dtype, self_coupling in product(INTEGERS[p > 127 :], (False, True)):
        compare("hopfield", "couplings", units, p, self_coupling, unset((k, n, n), dtype))


def fields(groups: int, *shape: int) -> None:
    """Compare fields; more bit planes than the overlaps need must not matter."""
    net, self_coupling = network(*shape), groups % 2 == 0
    (k, b, _), n = net.probes.shape, net.n
    inputs = (net.units, net.probes, net.overlaps, self_coupling)
    for dtype in (np.int32, np.int64):
        compare("hopfield", "local_fields", *inputs, unset((k, b, n), dtype))
        compare("hopfield", "signed_sums", net.units, net.overlaps, n, unset((k, b, n), dtype))
    compare("hopfield", "is_stable", *inputs, unset((k, b), bool))
    compare("hopfield", "quadratic_form", net.overlaps, n, self_coupling, unset((k, b), np.int64))


def wide_fields(*arguments: Any) -> Any:
    return NARROW_FIELDS(*arguments).astype(np.int64)


NARROW_FIELDS = field_kernels.fields_from_patterns
IN_GLOBAL_MEMORY = {"shared_limit": lambda device: 2048}


def scan(n: int, trials: int, corrupted: int, limit: int, flags: tuple[bool, bool, bool]) -> None:
    newest, largest, synchronous = flags
    how = (newest, largest, corrupted, synchronous, 20, limit)
    counts, censored = unset((trials,), np.int64), unset((trials,), bool)
    compare("capacity", "capacity_scan", KEY, n, np.arange(trials) + 2, *how, counts, censored)


def scans(n: int, trials: int, corrupted: int, limit: int) -> None:
    for flags in product((False, True), repeat=3):
        scan(n, trials, corrupted, limit, flags)


def wide_scan(trials: int, groups: int) -> None:
    memory = capacity.row_memory
    wide = {"INTEGERS": {4: "long long"}, "row_memory": lambda n, _, *rest: memory(n, 8, *rest)}
    wide["plane_groups"] = lambda n: groups
    patched(scan, 63, trials, 9, 12, (False, True, False), **wide)
    with patch.object(recall_kernels, "shared_limit", IN_GLOBAL_MEMORY["shared_limit"]):
        patched(scan, 63, trials, 9, 12, (False, True, True), **wide)


def cases() -> Cases:
    """Return the cases without a barrier of the grid."""
    for n in (1, 63, 65, 130, 1500):
        yield f"random streams, n = {n}", partial(streams, n)
    for k, p, n in ((1, 1, 1), (2, 65, 63), (1, 130, 65), (1, 3, 1030), (3, 63, 300)):
        yield f"pack, unpack, transpose, {k} x {p} x {n}", partial(packing, k, p, n)
    for tiles, long in (("narrow", 256), ("wide", 1)):
        for shape in ((1, 1, 1, 1), (2, 3, 65, 130), (1, 130, 63, 1), (1, 2, 3300, 3), (1, 5, 700, 300)):
            yield (
                f"overlaps in {tiles} tiles, (k, b, n, p) = {shape}",
                partial(patched, overlaps, *shape, LONG=long),
            )
        for shape in ((1, 1, 1), (2, 63, 65), (2, 130, 3), (1, 260, 3300), (1, 390, 1)):
            yield (
                f"couplings in {tiles} tiles, (k, n, p) = {shape}",
                partial(patched, couplings, *shape, LONG=long),
            )
    for groups, shape in product(PLANES, ((1, 1, 1, 1), (2, 3, 63, 65), (1, 5, 65, 1), (2, 1, 127, 300))):
        planes = {"plane_groups": lambda n, groups=groups: groups}
        yield (
            f"fields, {8 * groups} bit planes, (k, b, n, p) = {shape}",
            partial(patched, fields, groups, *shape, **planes),
        )
    for shape in RECALLS:
        yield (
            f"recall from patterns, (k, b, n, p) = {shape}",
            partial(recall_every_way, shape, shape[2] == 65),
        )
        wide = {"fields_from_patterns": wide_fields}
        for name, more in (("", {}), (", in global memory", IN_GLOBAL_MEMORY)):
            yield (
                f"recall from patterns with wide fields{name}, (k, b, n, p) = {shape}",
                partial(patched, recall_every_way, shape, shape[2] == 130, **wide, **more),
            )
        yield f"dense memories, (k, b, n, p) = {shape}", partial(dense_memory, shape)
        forced = {"DRAWN": 3 * shape[2], "BATCH": 2**6 * shape[3], **IN_GLOBAL_MEMORY}
        yield (
            f"dense memories in global memory, in parts, (k, b, n, p) = {shape}",
            partial(patched, dense_memory, shape, **forced),
        )
        yield f"Glauber dynamics from patterns, (k, b, n, p) = {shape}", partial(glauber_sweeps, shape)
        wide = {"field_type": lambda n, p: np.int64, "DRAWN": 3 * shape[2], **IN_GLOBAL_MEMORY}
        yield (
            f"Glauber dynamics from patterns with wide fields in global memory, (k, b, n, p) = {shape}",
            partial(patched, glauber_sweeps, shape, **wide),
        )
        for dtype in INTEGERS:
            name = f"recall from weights, {dtype.__name__}, (k, b, n, p) = {shape}"
            yield name, partial(recall_weights, shape, True, dtype, np.int32)
            yield (
                f"{name}, not symmetric, wide fields in global memory",
                partial(patched, recall_weights, shape, False, dtype, np.int64, **IN_GLOBAL_MEMORY),
            )
            name = f"Glauber dynamics, {dtype.__name__}, (k, b, n, p) = {shape}"
            yield name, partial(glauber_sweeps, shape, True, dtype, np.int32)
            parts = {"DRAWN": 3 * shape[2], "BATCH": 2**7 * shape[2]}
            yield (
                f"{name}, not symmetric, wide fields in global memory, in parts",
                partial(patched, glauber_sweeps, shape, False, dtype, np.int64, **parts, **IN_GLOBAL_MEMORY),
            )
    looks = (0, 0, 0, 0), (0, 0, 0, 64), (0, 0, 64, 64), (128, 128, 128, 128)
    sizes = (65, 0, 12), (65, 1, 12), (130, 5, 36), (1, 1, 3)
    for shift, (ends, (n, corrupted, limit)) in enumerate(zip(looks, sizes, strict=True)):
        more = {"digit_shift": lambda n, shift=shift: shift, "looks_of": lambda *_, ends=ends: ends}
        more["plane_groups"] = lambda n, shift=shift: shift + 1
        yield (
            f"capacity, digits shifted by {shift}, n = {n}",
            partial(patched, scans, n, 2, corrupted, limit, **more),
        )
    yield "capacity over several steps of patterns", partial(scan, 130, 4, 1, 36, (False, False, False))
    for groups in PLANES:
        yield f"capacity with wide fields, {8 * groups} bit planes", partial(wide_scan, 3, groups)


def cases_of_the_grid() -> Cases:
    """Return the cases of sweeps by blocks that meet at a barrier of the grid."""
    for groups, shape in product(PLANES, RECALLS):
        forced = {"SMALL": 0, "plane_groups": lambda n, groups=groups: groups}
        yield (
            f"recall by the grid, {8 * groups} bit planes, (k, b, n, p) = {shape}",
            partial(patched, recall_every_way, shape, shape[2] == 65, **forced),
        )
    large = 1, 1, recall_kernels.BLOCK + 85, 5, 1
    for orders in (0, 2, None):
        way = "sync" if orders is None else "async" if not orders else "async in fixed orders"
        case = partial(patched, recall, large, False, orders, 2, SMALL=0)
        yield f"recall by the grid in blocks of units, {way}", case
    for near, shape in ((0, (1, 3, 65, 1100)), (0, (1, 3, 300, 40)), (9, (1, 3, 300, 40))):
        case = partial(patched, recall_every_way, shape, False, SMALL=0, NEAR=near)
        yield f"recall by the grid, units near {near} expected to turn, (k, b, n, p) = {shape}", case
    long = partial(patched, recall, (1, 4, 63, 40), False, 0, 200, False, SMALL=0)
    yield "long recall by the grid", long
    yield (
        "recall of many rows by the grid",
        partial(patched, recall_every_way, (1, 35, 33, 6), False, SMALL=0),
    )
    for shape in ((1, 1, 1), (3, 63, 5), (1, 65, 66), (2, 130, 9), (200, 64, 4), (1, 1500, 70)):
        yield f"learning, (k, n, p) = {shape}", partial(learning, *shape, 20)
    case = partial(patched, learning, 2, 63, 2, 2**27, **IN_GLOBAL_MEMORY)
    yield "learning with wide fields in global memory", case
