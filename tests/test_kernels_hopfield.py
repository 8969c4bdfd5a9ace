"""Every Hopfield kernel on every backend against loops written here and the reference, bit for bit."""

from __future__ import annotations

import inspect
import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from devices import DOMAINS, all_kernels, host_kernels
from hypothesis import given
from hypothesis import strategies as st

from fastrec.backend import kernels, unavailable_reason
from fastrec.hopfield.interaction import Interaction
from fastrec.hopfield.temperature import chances, heat_levels
from fastrec.kernels import BIASED, CORRUPT, GLAUBER, ORDER, PATTERN, words

KEY = np.uint64(0x9E3779B97F4A7C15)
SIZES = (1, 2, 63, 64, 65, 127, 128, 129, 200, 1000)
# k, b, n, p
SHAPES = [
    (1, 1, 1, 1),
    (1, 5, 2, 1),
    (3, 1, 63, 2),
    (1, 17, 64, 63),
    (3, 5, 65, 64),
    (1, 5, 127, 65),
    (3, 17, 128, 2),
    (1, 1, 129, 130),
    (3, 5, 200, 65),
    (1, 17, 200, 1),
    (1, 5, 1000, 130),
]


pytestmark = pytest.mark.each_value("backend", "compiled")


@pytest.fixture(scope="module")
def module(backend: str) -> Any:
    return host_kernels("hopfield", backend)


def garbage(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An array as np.empty might hand it out at its worst."""
    return (
        np.frombuffer(b"\xa5" * (np.dtype(dtype).itemsize * int(np.prod(shape))), dtype).reshape(shape).copy()
    )


def spins(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice(np.array([-1, 1], dtype=np.int8), shape)


def to_words(states: np.ndarray) -> np.ndarray:
    """(..., n) to (..., words(n)), one bit after the other."""
    n = states.shape[-1]
    packed = np.zeros((*states.shape[:-1], words(n)), dtype=np.uint64)
    for i in range(n):
        packed[..., i // 64] |= (states[..., i] > 0).astype(np.uint64) << np.uint64(i % 64)
    return packed


def from_words(packed: np.ndarray, n: int) -> np.ndarray:
    """(..., w) to (..., n), one bit after the other."""
    shift = np.arange(n, dtype=np.uint64) % np.uint64(64)
    return np.where(packed[..., np.arange(n) // 64] >> shift & np.uint64(1), 1, -1).astype(np.int8)


def outer_products(x: np.ndarray, self_coupling: bool) -> np.ndarray:
    """W (k, n, n) of patterns (k, p, n)."""
    w = np.einsum("kpi,kpj->kij", x.astype(float), x.astype(float), optimize=True).astype(np.int64)
    return w if self_coupling else w * ~np.eye(x.shape[2], dtype=bool)


def draws(row: int, network: int, stream: int, step: int, count: int) -> list[int]:
    """64-bit draws of a stream, in Python integers."""
    drawn: list[int] = []
    for block in range(-(-count // 2)):
        c, k = [block, row, network, stream | step << 8], [int(KEY) & 0xFFFFFFFF, int(KEY) >> 32]
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        drawn += [c[0] | c[1] << 32, c[2] | c[3] << 32]
    return drawn[:count]


@pytest.mark.parametrize("domain", DOMAINS)
def test_signatures_are_those_of_the_reference(compiled: str, domain: str) -> None:
    """What a kernel is called and how must not depend on the backend."""
    if fault := unavailable_reason(compiled, domain):
        pytest.skip(fault)
    reference, module = all_kernels(domain, "reference"), all_kernels(domain, compiled)
    assert sorted(module.__all__) == sorted(reference.__all__)
    for kernel in reference.__all__:
        function = getattr(module, kernel)
        ours = signature(getattr(function, "py_func", function))
        assert ours == signature(getattr(reference, kernel)), kernel


def signature(function: Any) -> list[tuple[str, Any, Any]]:
    """Name, kind and default of each parameter."""
    parameters = inspect.signature(function).parameters.values()
    return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters]


@pytest.mark.parametrize(
    ("counter", "key", "block"),
    [
        ([0] * 4, 0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, 2**64 - 1, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            0x299F31D0A4093822,
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_known_answers(module: Any, counter: list[int], key: int, block: list[int]) -> None:
    """The vectors of Random123's kat_vectors."""
    out = garbage((2, 4), np.uint32)
    module.philox(np.uint64(key), np.array([counter, counter], dtype=np.uint32), out)
    assert out.tolist() == [block, block]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("k", "p", "first"), [(1, 1, 0), (3, 5, 7)])
def test_random_patterns(module: Any, n: int, k: int, p: int, first: int) -> None:
    packed = garbage((k, p, words(n)), np.uint64)
    module.random_patterns(KEY, first, n, packed)
    for network in range(k):
        for mu in range(p):
            drawn = draws(mu, first + network, PATTERN, 0, words(n))
            drawn[-1] &= 2 ** ((n - 1) % 64 + 1) - 1
            assert packed[network, mu].tolist() == drawn


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("k", "p", "first"), [(1, 1, 0), (3, 5, 7)])
def test_biased_patterns(module: Any, n: int, k: int, p: int, first: int) -> None:
    packed = garbage((k, p, words(n)), np.uint64)
    for threshold in (0, 2**64 // 3, 2**64 - 1):
        module.biased_patterns(KEY, first, n, np.uint64(threshold), packed)
        for network in range(k):
            for mu in range(p):
                drawn = draws(mu, first + network, BIASED, 0, n)
                units = np.array([2 * (draw < threshold) - 1 for draw in drawn])
                assert np.array_equal(packed[network, mu], to_words(units))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("network", "step", "sweep"), [(0, 0, 0), (2, 3, 5)])
def test_random_order(module: Any, n: int, network: int, step: int, sweep: int) -> None:
    order = garbage((n,), np.int32)
    module.random_order(KEY, network, step, sweep, order)
    keys = draws(sweep, network, ORDER, step, n)
    assert order.tolist() == sorted(range(n), key=keys.__getitem__)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("share", "first"), [(0, 0), (0.3, 0), (0.3, 2**32 - 2), (1, 5)])
def test_corrupt(module: Any, n: int, share: float, first: int) -> None:
    states = spins(np.random.default_rng(n), 3, 2, n)
    packed, flips = to_words(states), max(int(share > 0), round(share * n))
    module.corrupt(KEY, first, flips, n, packed)
    for network in range(3):
        for row in range(2):
            chosen: set[int] = set()
            for last, draw in enumerate(draws(first + row, network, CORRUPT, 0, flips), start=n - flips):
                unit = draw * (last + 1) >> 64
                chosen.add(last if unit in chosen else unit)
            assert len(chosen) == flips
            assert set(np.flatnonzero(from_words(packed[network, row], n) != states[network, row])) == chosen
    assert np.array_equal(packed, to_words(from_words(packed, n)))  # the bits past n stay 0
    module.corrupt_states(KEY, first, flips, states)
    assert np.array_equal(to_words(states), packed)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rows", [1, 5])
def test_pack_and_unpack(module: Any, n: int, rows: int) -> None:
    states = spins(np.random.default_rng(n), rows, n)
    packed, unpacked = garbage((rows, words(n)), np.uint64), garbage((rows, n), np.int8)
    module.pack(states, packed)
    assert np.array_equal(packed, to_words(states))
    module.unpack(packed, unpacked)
    assert np.array_equal(unpacked, states)


class Case:
    """Patterns x (k, p, n), probes s (k, b, n) near and far from them, and their overlaps and couplings."""

    def __init__(self, k: int, b: int, n: int, p: int, self_coupling: bool = False, far: bool = True) -> None:
        rng = np.random.default_rng([k, b, n, p])
        self.x, self.s = spins(rng, k, p, n), spins(rng, k, b, n)
        near = slice(None, None, 2 if far else 1)
        self.s[:, near] = self.x[:, rng.integers(p, size=b)][:, near]
        self.s[:, near, rng.integers(n, size=n // 20)] *= -1
        self.packed, self.units = to_words(self.x), to_words(self.x.swapaxes(1, 2))
        self.m = np.einsum("kbn,kpn->kbp", self.s.astype(np.int32), self.x.astype(np.int32))
        # As networks hold them: for arrays of another order, kernels are compiled again.
        self.w = self.columns = np.ascontiguousarray(outer_products(self.x, self_coupling))
        self.fields = np.einsum("kij,kbj->kbi", self.w, self.s.astype(np.int64))
        self.thresholds, self.held = np.zeros((k, n), dtype=np.int64), np.zeros((k, b, n), dtype=bool)


class Given:
    """Couplings w (k, n, n) of all units that are not symmetric, thresholds (k, n), probes s (k, b, n) and
    which of their units are held (k, b, n)."""

    def __init__(self, k: int, b: int, n: int, share: float = 0.1) -> None:
        rng = np.random.default_rng([k, b, n])
        self.w, self.s = rng.integers(-9, 10, (k, n, n)), spins(rng, k, b, n)
        self.columns = np.ascontiguousarray(self.w.swapaxes(1, 2))
        self.thresholds, self.held = rng.integers(-20, 21, (k, n)), rng.random((k, b, n)) < share

    def shifted(self) -> Given:
        """Itself, where a unit takes the state of the one before: cycles of up to n steps."""
        self.w[:] = np.roll(np.eye(self.w.shape[1], dtype=int), 1, axis=0)
        self.columns[:] = self.w.swapaxes(1, 2)
        self.thresholds[:] = 0
        return self


both = pytest.mark.parametrize("self_coupling", [False, True])
shapes = pytest.mark.parametrize(("k", "b", "n", "p"), SHAPES)
recalls = pytest.mark.parametrize(
    ("k", "b", "n", "p"), [*SHAPES[:-1], pytest.param(*SHAPES[-1], marks=pytest.mark.slow)]
)


@shapes
def test_transpose(module: Any, k: int, b: int, n: int, p: int) -> None:
    case, units = Case(k, b, n, p), garbage((k, n, words(p)), np.uint64)
    module.transpose(case.packed, units)
    assert np.array_equal(units, case.units)


@shapes
def test_overlaps(module: Any, k: int, b: int, n: int, p: int) -> None:
    case, m, gram = Case(k, b, n, p), garbage((k, b, p), np.int32), garbage((k, p, p), np.int32)
    module.overlaps(case.packed, to_words(case.s), n, m)
    assert np.array_equal(m, case.m)
    module.overlaps(case.packed, to_words(case.s), n, shares := garbage((k, b, p), np.float64))
    assert np.array_equal(shares, case.m / n)
    module.overlaps(case.packed, case.packed, n, gram)
    assert np.array_equal(gram, np.einsum("kpn,kqn->kpq", case.x.astype(int), case.x.astype(int)))


@both
@shapes
def test_couplings(module: Any, k: int, b: int, n: int, p: int, self_coupling: bool) -> None:
    case = Case(k, b, n, p, self_coupling)
    for dtype in [np.int8] * (p < 128) + [np.int16, np.int32, np.int64]:
        weights = garbage((k, n, n), dtype)
        module.couplings(case.units, p, self_coupling, weights)
        assert np.array_equal(weights, case.w)


@both
@shapes
def test_local_fields(module: Any, k: int, b: int, n: int, p: int, self_coupling: bool) -> None:
    case = Case(k, b, n, p, self_coupling)
    for dtype in (np.int32, np.int64):
        fields = garbage((k, b, n), dtype)
        module.local_fields(case.units, to_words(case.s), case.m, self_coupling, fields)
        assert np.array_equal(fields, case.fields)
        for weights in (np.int16, np.int64):
            fields = garbage((k, b, n), dtype)
            module.local_fields_weights(case.w.astype(weights), to_words(case.s), fields)
            assert np.array_equal(fields, case.fields)


@pytest.mark.usefixtures("quick")
def test_local_fields_past_int32(compiled: str) -> None:
    """n p > 2^31 with all patterns equal: no partial sum may wrap."""
    n, p = 40_000, 60_000
    units = np.full((1, n, words(p)), 2**64 - 1, dtype=np.uint64)
    units[..., -1] = 2 ** (p % 64) - 1
    states, m = to_words(np.ones((1, 1, n), dtype=np.int8)), np.full((1, 1, p), n, dtype=np.int32)
    fields, stable = garbage((1, 1, n), np.int64), garbage((1, 1), bool)
    module = host_kernels("hopfield", compiled)
    module.local_fields(units, states, m, False, fields)
    assert (fields == n * p - p).all()
    module.is_stable(units, states, m, False, stable)
    assert stable[0, 0]


@shapes
def test_signed_sums(module: Any, k: int, b: int, n: int, p: int) -> None:
    """Of values up to bounds at which another bit is needed."""
    rng, case = np.random.default_rng(n), Case(k, b, n, p)
    for bound in (1, 127, 128, 2**29 - 1):
        values = rng.integers(-bound, bound, (k, b, p), dtype=np.int32, endpoint=True)
        values[0, 0, 0], values[-1, -1, -1] = bound, -bound
        expected = np.einsum("kbp,kpn->kbn", values.astype(np.int64), case.x.astype(np.int64))
        for dtype in [np.int32] * (bound < 2**20) + [np.int64]:
            sums = garbage((k, b, n), dtype)
            module.signed_sums(case.units, values, bound, sums)
            assert np.array_equal(sums, expected)


def test_fields_of_couplings_that_are_not_symmetric(module: Any) -> None:
    for k, b, n in ((1, 1, 1), (2, 19, 65)):
        case, fields = Given(k, b, n), garbage((k, b, n), np.int32)
        module.local_fields_weights(case.w.astype(np.int16), to_words(case.s), fields)
        assert np.array_equal(fields, np.einsum("kij,kbj->kbi", case.w, case.s))


@both
@shapes
def test_quadratic_form(module: Any, k: int, b: int, n: int, p: int, self_coupling: bool) -> None:
    case, form = Case(k, b, n, p, self_coupling), garbage((k, b), np.int64)
    module.quadratic_form(case.m, n, self_coupling, form)
    assert np.array_equal(form, np.einsum("kbi,kbi->kb", case.fields, case.s))


@both
@shapes
def test_is_stable(module: Any, k: int, b: int, n: int, p: int, self_coupling: bool) -> None:
    case, stable = Case(k, b, n, p, self_coupling), garbage((k, b), bool)
    module.is_stable(case.units, to_words(case.s), case.m, self_coupling, stable)
    assert np.array_equal(stable, (case.fields * case.s >= 0).all(axis=2))


Found = dict[str, np.ndarray]


def recall_by_loop(case: Case | Given, orders: list[list[int]] | None, max_sweeps: int) -> Found:
    """What a recall finds, sync if there are no orders, row by row: states, stop (period, or converged as 1),
    sweeps, flips, and after each sweep forms and trail; turns, of as many flips as any row has.  What lies
    past the stop is garbage."""
    k, b, n = case.s.shape
    stop, sweeps, flips = np.zeros((3, k, b), dtype=np.int64)
    forms, trail = (
        garbage((k, b, max_sweeps + 1), np.int64),
        garbage((k, b, max_sweeps + 1, words(n)), np.uint64),
    )
    states, turned = case.s.astype(np.int64), {}
    for network, row in np.ndindex(k, b):
        w, theta, held, s = (
            case.w[network],
            case.thresholds[network],
            case.held[network, row],
            states[network, row],
        )
        before, turns = [s.copy()], turned.setdefault((network, row), [])
        while True:
            sweep = len(before) - 1
            forms[network, row, sweep] = s @ w @ s - 2 * theta @ s
            trail[network, row, sweep] = to_words(s)
            back = [sweep - 1]
            if orders is None:  # two steps too, and to that after 1, 2, 4, ... steps, the last of them
                back += [sweep - 2, 1 << max(sweep - 1, 1).bit_length() - 1]
            same = [sweep - at for at in back if 0 <= at < sweep and (before[at] == s).all()]
            if same or sweep == max_sweeps:
                break
            h = w @ s - theta
            for i in range(n) if orders is None else orders[sweep % len(orders)]:
                if h[i] * s[i] < 0 and not held[i]:
                    s[i] *= -1
                    turns.append((sweep, i))
                    if orders is not None:
                        h += 2 * s[i] * w[:, i]
            before.append(s.copy())
        stop[network, row], sweeps[network, row], flips[network, row] = (
            same[0] if same else 0,
            sweep,
            len(turns),
        )
    turns = garbage((k, b, flips.max(), 2), np.int32)
    for place, found in turned.items():
        turns[place][: len(found)] = np.array(found, dtype=np.int32).reshape(-1, 2)
    found = {"states": to_words(states), "stop": stop, "sweeps": sweeps, "flips": flips}
    return found | {"forms": forms, "trail": trail, "turns": turns}


def given_inputs(case: Case | Given, weights: type, thresholds: type) -> tuple[np.ndarray, ...]:
    """What recall takes of couplings and thresholds of these dtypes, and of units that are held."""
    w, clamped = case.w.astype(weights), to_words(np.where(case.held, 1, -1))
    columns = w if case.columns is case.w else case.columns.astype(weights)
    clamped = clamped if case.held.any() else clamped[..., :0].copy()
    return w, columns, case.thresholds.astype(thresholds), clamped


def check_recall(
    module: Any,
    case: Case | Given,
    self_coupling: bool,
    order: np.ndarray | None,
    max_sweeps: int,
    dtype: type | None,
    first_sweep: int = 0,
    fields: type = np.int32,
) -> Found:
    """Run one recall kernel (from weights if a dtype is given, sync if order is None) against the loop, which
    is returned."""
    k, b, n = case.s.shape
    if order is not None and not len(order):
        orders = [
            sorted(range(n), key=draws(first_sweep + sweep, 0, ORDER, 0, n).__getitem__)
            for sweep in range(max_sweeps)
        ]
    else:
        orders = None if order is None else np.roll(order, -first_sweep, axis=0).tolist()
    expected = recall_by_loop(case, orders, max_sweeps)
    name = "recall_sync" if order is None else "recall_async"
    recorded = ["forms"]
    if dtype is None:
        assert isinstance(case, Case)
        inputs: tuple[Any, ...] = (case.packed, case.units, self_coupling)
    else:
        name += "_weights"
        recorded += ["trail", "turns"][: 1 if order is None else 2]
        inputs = given_inputs(case, dtype, fields)
    for share in (1, 0.5, 0):  # of the turns that there is room for; nothing else is recorded without
        outputs = {
            "states": to_words(case.s),
            "stop": garbage((k, b), np.int32 if order is None else bool),
            "sweeps": garbage((k, b), np.int32),
            "flips": garbage((k, b), np.int64),
            **{array: garbage(expected[array].shape, expected[array].dtype) for array in recorded},
        }
        outputs = {
            key: array[:, :, : int(array.shape[2] * (share if key == "turns" else share > 0))].copy()
            if key in recorded
            else array
            for key, array in outputs.items()
        }
        start = () if order is None else (KEY, order, first_sweep)
        getattr(module, name)(*start, *inputs, max_sweeps, *outputs.values())
        for key, array in outputs.items():
            wanted = expected[key][:, :, : array.shape[2]] if key in recorded else expected[key]
            assert np.array_equal(array, wanted), key
    return expected


@both
@recalls
@pytest.mark.parametrize("dtype", [None, np.int16])
def test_recall_async(
    module: Any, k: int, b: int, n: int, p: int, self_coupling: bool, dtype: type | None
) -> None:
    """Random orders to the end, given ones used in turn and cut short, and both from a later sweep."""
    case = Case(k, b, n, p, self_coupling, far=n < 1000)
    check_recall(module, case, self_coupling, np.empty((0, n), dtype=np.int32), 30 if n < 1000 else 4, dtype)
    given_orders = np.array([np.arange(n), np.arange(n)[::-1]], dtype=np.int32)
    check_recall(module, case, self_coupling, given_orders, 3, dtype)
    check_recall(module, case, self_coupling, given_orders, 3, dtype, first_sweep=3)
    check_recall(module, case, self_coupling, np.empty((0, n), np.int32), 3, dtype, first_sweep=2**31 - 1)


@both
@recalls
@pytest.mark.parametrize("dtype", [None, np.int16])
def test_recall_sync(
    module: Any, k: int, b: int, n: int, p: int, self_coupling: bool, dtype: type | None
) -> None:
    case = Case(k, b, n, p, self_coupling)
    check_recall(module, case, self_coupling, None, 50, dtype)
    check_recall(module, case, self_coupling, None, 2, dtype)


@both
@shapes
@pytest.mark.parametrize("cyclic", [True, False])
def test_recall_sequence(
    module: Any, k: int, b: int, n: int, p: int, self_coupling: bool, cyclic: bool
) -> None:
    case, steps = Case(k, b, n, p), 4
    x, s = case.x.astype(np.int64), case.s.astype(np.int64)
    following, before = np.roll(x, -1, axis=1), x
    if not cyclic:
        following, before = x[:, 1:], x[:, :-1]
    w = np.einsum("kpi,kpj->kij", following, before)
    diagonal = w[:, range(n), range(n)].astype(np.int32)
    w[:, range(n), range(n)] *= self_coupling
    expected = [s]
    for _ in range(steps):
        h = np.einsum("kij,kbj->kbi", w, s)
        s = np.where(h == 0, s, np.sign(h))
        expected.append(s)
    for room in (steps + 1, 0):
        states, trail = to_words(case.s), garbage((k, b, room, words(n)), np.uint64)
        own = diagonal * np.int32(not self_coupling)
        module.recall_sequence(case.packed, case.units, cyclic, own, steps, states, trail)
        assert np.array_equal(states, to_words(s))
        for step in range(room):
            assert np.array_equal(trail[:, :, step], to_words(expected[step]))


@pytest.mark.parametrize(
    "dtype", [np.int8, *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in (np.int32, np.int64))]
)
def test_recall_from_other_weights(module: Any, dtype: type) -> None:
    case = Case(1, 17, 65, 64)
    fields = np.int64 if dtype == np.int64 else np.int32
    check_recall(module, case, False, np.empty((0, 65), dtype=np.int32), 30, dtype, fields=fields)
    check_recall(module, case, False, None, 30, dtype, fields=fields)


def test_sync_finds_both_ends() -> None:
    """The cases above do meet fixed points, two-cycles and the limit."""
    stops = recall_by_loop(Case(1, 17, 64, 63), None, 50)["stop"]
    assert {1, 2} <= set(stops.ravel())
    assert (recall_by_loop(Case(1, 17, 64, 63), None, 2)["stop"] == 0).any()


@pytest.mark.parametrize("share", [0, 0.1])
@pytest.mark.parametrize(
    ("dtype", "fields"),
    [
        (np.int8, np.int32),
        pytest.param(np.int16, np.int64, marks=pytest.mark.slow),
        pytest.param(np.int32, np.int32, marks=pytest.mark.slow),
        pytest.param(np.int64, np.int64, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("k", "b", "n"), [(1, 1, 1), (2, 3, 65), (1, 5, 130), (3, 1, 63), (1, 17, 64)])
def test_recall_from_couplings_of_any_symmetry(
    module: Any, k: int, b: int, n: int, dtype: type, fields: type, share: float
) -> None:
    """With thresholds, and units that are held or not."""
    case, given_orders = Given(k, b, n, share), np.array([np.arange(n), np.arange(n)[::-1]], dtype=np.int32)
    check_recall(module, case, True, np.empty((0, n), np.int32), 12, dtype, 3, fields)
    check_recall(module, case, True, given_orders, 3, dtype, 1, fields)
    check_recall(module, case, True, None, 40, dtype, fields=fields)
    check_recall(module, case, True, None, 0, dtype, fields=fields)


@pytest.mark.parametrize("n", [3, 20, pytest.param(65, marks=pytest.mark.slow)])
def test_sync_finds_long_cycles(module: Any, n: int) -> None:
    """Of every length that a shift has, and of random couplings; a unit that is held ends them."""
    case = Given(2, 5, n, 0).shifted()
    case.s[0, :2] = 1
    case.s[0, 1, 0] = -1
    case.held[1, 0, 0] = True
    stops = check_recall(module, case, True, None, 5 * n, np.int8)["stop"]
    assert {1, n} <= set(stops[0]) and stops[1, 0] == 1
    stops = check_recall(module, Given(1, 9, n, 0), True, None, 300, np.int8)["stop"]
    assert n != 20 or stops.max() > 2


def updated(h: int, s: int, draw: int, level: np.ndarray) -> int:
    """The state after an update of a unit in state s and field h, by the table of `chances`."""
    cutoff, drop, factor, shift = level.tolist()
    if abs(h) >= cutoff:
        return (h > 0) - (h < 0) or s
    entry, part = divmod((abs(h) >> drop) * factor >> shift, 4096)
    here, there = map(int, chances()[entry : entry + 2])
    return (1 if h >= 0 else -1) * (-1 if draw < here - (here - there) * part // 4096 else 1)


def glauber_by_loop(
    case: Case | Given,
    orders: list[list[int]] | None,
    levels: np.ndarray,
    first_sweep: int,
    averaged: int,
) -> Found:
    """What sweeps at a temperature each find, sync if there are no orders: as of `recall_by_loop`."""
    (k, b, n), sweeps = case.s.shape, len(levels)
    forms, trail = np.zeros((k, b, sweeps + 1), np.int64), np.zeros((k, b, sweeps + 1, words(n)), np.uint64)
    totals, form_totals = np.zeros((k, b, n), np.int32), np.zeros((k, b), np.int64)
    states, turned = case.s.astype(np.int64), {}
    for network, row in np.ndindex(k, b):
        w, theta, held = case.w[network], case.thresholds[network], case.held[network, row]
        s, turns = states[network, row], turned.setdefault((network, row), [])
        for t in range(sweeps + 1):
            forms[network, row, t] = form = s @ w @ s - 2 * theta @ s
            trail[network, row, t] = to_words(s)
            if t > max(0, sweeps - averaged):
                totals[network, row] += s.astype(np.int32)
                form_totals[network, row] += form
            if t == sweeps:
                break
            drawn, h = draws(first_sweep + t, row, GLAUBER, network, n), w @ s - theta
            for draw, i in zip(drawn, range(n) if orders is None else orders[t % len(orders)], strict=True):
                if not held[i] and updated(int(h[i]), int(s[i]), draw, levels[t]) != s[i]:
                    s[i] *= -1
                    turns.append((t, i))
                    if orders is not None:
                        h += 2 * s[i] * w[:, i]
    flips = np.array([len(turned[place]) for place in np.ndindex(k, b)]).reshape(k, b)
    turns = garbage((k, b, flips.max(), 2), np.int32)
    for place, found in turned.items():
        turns[place][: len(found)] = np.array(found, dtype=np.int32).reshape(-1, 2)
    found = {"states": to_words(states), "flips": flips, "forms": forms, "trail": trail, "turns": turns}
    return found | {"totals": totals, "form_totals": form_totals}


def check_glauber(
    module: Any,
    case: Case | Given,
    order: np.ndarray | None,
    levels: np.ndarray,
    dtype: type | None,
    fields: type = np.int32,
    first_sweep: int = 0,
    averaged: int = 0,
    self_coupling: bool = False,
) -> Found:
    """Run one kernel of Glauber dynamics against the loop, which is returned: as `check_recall`."""
    n, orders, name = case.s.shape[2], None, "glauber_sync"
    if order is not None:
        name = "glauber_async"
        random = [
            sorted(range(n), key=draws(first_sweep + t, 0, ORDER, 0, n).__getitem__)
            for t in range(len(levels))
        ]
        orders = np.roll(order, -first_sweep, axis=0).tolist() if len(order) else random
    expected = glauber_by_loop(case, orders, levels, first_sweep, averaged)
    if dtype is None:
        assert isinstance(case, Case)
        inputs: tuple[Any, ...] = (case.packed, case.units, self_coupling)
    else:
        name, inputs = f"{name}_weights", given_inputs(case, dtype, fields)
    start = (KEY, first_sweep) if order is None else (KEY, order, first_sweep)
    for share in (1, 0.5, 0):  # of the turns that there is room for; nothing else is recorded without
        rooms = {"turns": share, "forms": share > 0, "trail": share > 0, "totals": share > 0}
        wanted = {
            key: array[:, :, : int(array.shape[2] * rooms[key])] if key in rooms else array
            for key, array in expected.items()
            if not (key == "turns" and (order is None or dtype is None))
            and not (key == "trail" and dtype is None)
        }
        outputs = {key: garbage(array.shape, array.dtype.type) for key, array in wanted.items()}
        outputs["states"] = to_words(case.s)
        getattr(module, name)(*start, *inputs, levels, chances(), averaged, *outputs.values())
        for key, array in outputs.items():
            assert np.array_equal(array, wanted[key]), key
    return expected


TEMPERATURES = np.array([1e12, 2, 0.5, 1e-9, 0, 0, 1, 0.25])


@pytest.mark.parametrize("share", [0, 0.1])
@pytest.mark.parametrize(
    ("dtype", "fields", "unit"),
    [
        (np.int8, np.int32, 1),
        pytest.param(np.int16, np.int64, 1, marks=pytest.mark.slow),
        pytest.param(np.int32, np.int32, 9, marks=pytest.mark.slow),
        pytest.param(np.int64, np.int64, 2**40, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("k", "b", "n"), [(1, 1, 1), (2, 3, 65), (1, 5, 130), (3, 1, 63)])
def test_glauber(
    module: Any, k: int, b: int, n: int, dtype: type, fields: type, unit: int, share: float
) -> None:
    """Annealing in random and given orders and in parallel, with averages and without; where a network has no
    couplings, coins are tossed until the temperature is 0."""
    case, levels = Given(k, b, n, share), heat_levels(TEMPERATURES, n, unit / 2)
    case.w[1:2], case.columns[1:2], case.thresholds[1:2] = 0, 0, 0
    case.w, case.columns, case.thresholds = unit * case.w, unit * case.columns, unit * case.thresholds
    given_orders = np.array([np.arange(n), np.arange(n)[::-1]], dtype=np.int32)
    check_glauber(module, case, np.empty((0, n), np.int32), levels, dtype, fields, 2**31 - 3, 3)
    check_glauber(module, case, given_orders, levels[:5], dtype, fields, 1, 9)
    found = check_glauber(module, case, None, levels, dtype, fields, 7)
    trail = found["trail"]
    assert (trail[:, :, 3] != trail[:, :, 4]).any() or k == 1  # almost no temperature moves what has no field
    assert n == 1 or (trail[:, :, 0] != trail[:, :, 1]).any()


@both
@pytest.mark.parametrize(
    ("k", "b", "n", "p"), [(1, 1, 1, 1), (2, 3, 65, 64), (1, 5, 130, 33), (3, 1, 63, 70)]
)
def test_glauber_from_patterns(module: Any, k: int, b: int, n: int, p: int, self_coupling: bool) -> None:
    case, levels = Case(k, b, n, p, self_coupling), heat_levels(TEMPERATURES, n, 1)
    given_orders = np.array([np.arange(n), np.arange(n)[::-1]], dtype=np.int32)
    for order, averaged in ((np.empty((0, n), np.int32), 3), (given_orders, 9), (None, 2)):
        check_glauber(
            module, case, order, levels, None, first_sweep=3, averaged=averaged, self_coupling=self_coupling
        )


@pytest.mark.slow
def test_glauber_between_entries_of_the_table(module: Any) -> None:
    """One draw in some 10 000 tells whether chances are interpolated."""
    check_glauber(module, Given(1, 20, 129), None, heat_levels(np.full(40, 2), 129, 0.5), np.int8, np.int32)


@pytest.mark.parametrize("n", [1, 65])
def test_glauber_at_no_temperature_is_recall(module: Any, n: int) -> None:
    """To the bit, up to a sweep in which no unit flips."""
    case, order = Given(2, 3, n), np.empty((0, n), np.int32)
    cold = check_recall(module, case, True, order, 4, np.int8)
    warm = check_glauber(module, case, order, heat_levels(np.zeros(4), n, 1), np.int8, np.int32)
    assert np.array_equal(cold["states"], warm["states"]) and np.array_equal(cold["flips"], warm["flips"])


DENSE = [(1, 1, 1, 1), (2, 3, 63, 70), (1, 5, 65, 33), (1, 2, 130, 9), (3, 2, 64, 129)]  # k, b, n, p


def dense_tables(n: int, p: int) -> list[tuple[np.ndarray, bool]]:
    """Tables of dense memories, and whether they begin at the nearest pattern; one ends soon after it."""
    found = [(Interaction(n, degree).table(p), degree == "exponential") for degree in (2, 3, "exponential")]
    return [*found, (found[-1][0][:3].copy(), True)]


def going_round(n: int) -> np.ndarray:
    """A table of no memory: with a `Case` of 9 units some rows have a cycle of 17 synchronous steps."""
    return np.random.default_rng(0).integers(-(2**55), 2**55, n + 1)


def dense_arguments(
    case: Case, order: np.ndarray | None, table: np.ndarray, relative: bool, sweeps: int, recorded: bool
) -> tuple[str, list[Any]]:
    """A kernel of dense memories, sync if order is None, and its arguments; the transpose if recorded."""
    (k, b, n), times = case.s.shape, (sweeps + 1) * recorded
    head: list[Any] = [case.packed, n]
    if order is not None:
        head = [KEY, order, 3, case.packed, case.units if recorded else case.units[..., :0].copy()]
    outputs = [garbage((k, b), np.int32 if order is None else bool), garbage((k, b), np.int32)]
    outputs += [garbage((k, b), np.int64), np.zeros((k, b, times, words(n)), np.uint64)]
    name = f"dense_{'sync' if order is None else 'async'}"
    return name, [*head, table, relative, sweeps, to_words(case.s), *outputs]


@pytest.mark.parametrize(("k", "b", "n", "p"), [*DENSE, (2, 5, 9, 12)])
def test_dense(compiled: str, k: int, b: int, n: int, p: int) -> None:
    """Kernels of dense memories against the reference, with the transpose and without."""
    case, given_orders = Case(k, b, n, p), np.array([np.arange(n), np.arange(n)[::-1]], dtype=np.int32)
    tables = [(going_round(n), False)] if n == 9 else dense_tables(n, p)
    for (table, relative), order in product(tables, (np.empty((0, n), np.int32), given_orders, None)):
        for sweeps, recorded in ((60 if n == 9 else 5, True), (2, False), (0, True)):
            found = []
            for module in (host_kernels("hopfield", compiled), kernels("hopfield", "reference")):
                name, arguments = dense_arguments(case, order, table, relative, sweeps, recorded)
                getattr(module, name)(*arguments)
                found.append(arguments)
            for number, (ours, expected) in enumerate(zip(*found, strict=True)):
                assert np.array_equal(ours, expected), (name, number, len(table), relative, sweeps)
            assert n != 9 or order is not None or sweeps < 60 or 17 in found[1][6]


def storkey_by_matrix(x: np.ndarray, amplitudes: list[int]) -> np.ndarray:
    """The strengths of `storkey` for patterns x (p, n), with couplings written out, in Python integers."""
    p, n = x.shape
    w, strengths = np.zeros((n, n), dtype=object), np.empty((p, n), dtype=object)
    for mu in range(p):
        xi = x[mu].astype(object)
        strengths[mu] = [
            a - (2 * h + n + 2) // (2 * (n + 2)) for a, h in zip(amplitudes[mu] * xi, w @ xi, strict=True)
        ]
        w += np.outer(xi, strengths[mu]) + np.outer(strengths[mu], xi)
        np.fill_diagonal(w, 0)
    return strengths


LEARNT = [(1, 1, 1), (3, 63, 5), (1, 65, 66), (2, 130, 9), (5, 300, 4)]  # k, n, p


@pytest.mark.parametrize(("k", "n", "p"), LEARNT)
def test_storkey(module: Any, k: int, n: int, p: int) -> None:
    case, rng = Case(k, 1, n, p), np.random.default_rng(p)
    gram = np.einsum("kpn,kqn->kpq", case.x.astype(np.int32), case.x.astype(np.int32))
    amplitudes, strengths = rng.integers(2**20, 2**24, p), garbage((k, p, n), np.int64)
    module.storkey(case.packed, case.units, gram, amplitudes, strengths)
    for network in range(k):
        assert np.array_equal(strengths[network], storkey_by_matrix(case.x[network], amplitudes.tolist()))


def perceptron_by_couplings(
    x: np.ndarray, i: int, threshold: int, margin: float, self_coupling: bool, max_passes: int
) -> tuple[list[int], int, float]:
    """Strengths, passes and stability of unit i of patterns x (p, n), with its couplings written out."""
    learnt, j = [0] * len(x), np.zeros(x.shape[1], dtype=np.int64)

    def stability(mu: int) -> int:
        return int(x[mu, i] * (j @ x[mu] - threshold))

    done = passes = 0
    while not done and passes < max_passes:
        passes, before = passes + 1, list(learnt)
        for mu in range(len(x)):
            if stability(mu) <= margin * math.sqrt(j @ j):
                j += x[mu, i] * x[mu]
                j[i] *= self_coupling
                learnt[mu] += 1
        done = passes if learnt == before else 0
    least = min(map(stability, range(len(x))))
    return learnt, done, least / math.sqrt(j @ j) if j.any() else -math.inf


@both
@pytest.mark.parametrize("margin", [0.0, 0.7])
@pytest.mark.parametrize("max_passes", [0, 3, 60])
@pytest.mark.parametrize(("k", "n", "p"), LEARNT)
def test_perceptron(
    module: Any, k: int, n: int, p: int, max_passes: int, margin: float, self_coupling: bool
) -> None:
    case, rng = Case(k, 1, n, p), np.random.default_rng(n)
    x = case.x.astype(np.int64)
    thresholds = rng.integers(-9, 10, (k, n)) * rng.integers(2, size=(k, n))
    gram = np.einsum("kpn,kqn->kpq", x, x).astype(np.int32)
    strengths, passes = garbage((k, n, p), np.int32), garbage((k, n), np.int32)
    stability = garbage((k, n), np.float64)
    rule = (margin, self_coupling, max_passes)
    module.perceptron(case.units, gram, thresholds, *rule, strengths, passes, stability)
    for network, i in np.ndindex(k, n):
        learnt, done, least = perceptron_by_couplings(x[network], i, thresholds[network, i], *rule)
        assert strengths[network, i].tolist() == learnt
        assert (passes[network, i], stability[network, i]) == (done, least)


def test_perceptron_of_many_passes(module: Any) -> None:
    """Of which any pattern might be learnt in each: fields need 64 bits."""
    case, rule = Case(1, 1, 63, 2), (0.1, False, 10**8)
    x, thresholds = case.x[0].astype(np.int64), 5 - np.arange(63)
    gram, strengths = (x @ x.T)[None].astype(np.int32), garbage((1, 63, 2), np.int32)
    passes, stability = garbage((1, 63), np.int32), garbage((1, 63), np.float64)
    module.perceptron(case.units, gram, thresholds[None], *rule, strengths, passes, stability)
    for i in range(63):
        learnt, done, least = perceptron_by_couplings(x, i, int(thresholds[i]), *rule)
        assert strengths[0, i].tolist() == learnt
        assert (passes[0, i], stability[0, i]) == (done, least)


@given(
    k=st.integers(1, 3),
    b=st.integers(1, 9),
    n=st.integers(1, 150),
    p=st.integers(1, 150),
    self_coupling=st.booleans(),
    key=st.integers(0, 2**64 - 1).map(np.uint64),
)
def test_pipeline_equals_reference(
    compiled: str, k: int, b: int, n: int, p: int, self_coupling: bool, key: np.uint64
) -> None:
    """From random patterns to recall, kernel after kernel."""

    def outputs(module: Any) -> list[np.ndarray]:
        packed, units = garbage((k, p, words(n)), np.uint64), garbage((k, n, words(p)), np.uint64)
        m, fields, form, stable = (
            garbage((k, b, p), np.int32),
            garbage((k, b, n), np.int32),
            garbage((k, b), np.int64),
            garbage((k, b), bool),
        )
        module.random_patterns(key, 2, n, packed)
        module.transpose(packed, units)
        probes = np.ascontiguousarray(packed[:, np.arange(b) % p])
        module.corrupt(key, 0, n // 3, n, probes)
        module.overlaps(packed, probes, n, m)
        module.local_fields(units, probes, m, self_coupling, fields)
        module.quadratic_form(m, n, self_coupling, form)
        module.is_stable(units, probes, m, self_coupling, stable)
        found = [packed, units, probes.copy(), m, fields, form, stable]
        order, sync = np.empty((0, n), dtype=np.int32), probes.copy()
        for states, stop, kernel, start in (
            (probes, garbage((k, b), bool), module.recall_async, (key, order, 0)),
            (sync, garbage((k, b), np.int32), module.recall_sync, ()),
        ):
            sweeps, flips, forms = (
                np.zeros((k, b), np.int32),
                np.zeros((k, b), np.int64),
                np.zeros((k, b, 9), np.int64),
            )
            kernel(*start, packed, units, self_coupling, 8, states, stop, sweeps, flips, forms)
            found += [states, stop, sweeps, flips, forms]
        return found

    pairs = zip(
        outputs(host_kernels("hopfield", compiled)), outputs(kernels("hopfield", "reference")), strict=True
    )
    for number, (ours, expected) in enumerate(pairs):
        assert np.array_equal(ours, expected), number
