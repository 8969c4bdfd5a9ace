"""Every Hopfield kernel on every backend against loops written here and the reference, bit for bit."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from devices import DOMAINS, all_kernels, host_kernels
from hypothesis import given
from hypothesis import strategies as st

from fastrec.backend import kernels, unavailable_reason
from fastrec.kernels import CORRUPT, ORDER, PATTERN, words

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
        self.w = outer_products(self.x, self_coupling)
        self.fields = np.einsum("kij,kbj->kbi", self.w, self.s.astype(np.int64))


both = pytest.mark.parametrize("self_coupling", [False, True])
shapes = pytest.mark.parametrize(("k", "b", "n", "p"), SHAPES)


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


def recall_by_loop(case: Case, orders: list[list[int]] | None, max_sweeps: int) -> tuple[np.ndarray, ...]:
    """states, stop (period, or converged as 1), sweeps, flips, forms (-1 past the stop), row by row."""
    k, b, _ = case.s.shape
    states, stop, sweeps, flips = case.s.astype(np.int64), *np.zeros((3, k, b), dtype=np.int64)
    forms = np.full((k, b, max_sweeps + 1), -1)
    for network, row in np.ndindex(k, b):
        w, s, before = case.w[network], states[network, row], None
        forms[network, row, 0] = s @ w @ s
        while sweeps[network, row] < max_sweeps and not stop[network, row]:
            old = s.copy()
            if orders is None:
                h = w @ old
                s[h != 0] = np.sign(h[h != 0])
            else:
                h = w @ s
                for i in orders[sweeps[network, row] % len(orders)]:
                    if h[i] * s[i] < 0:
                        h -= 2 * s[i] * w[:, i]
                        s[i] *= -1
                        flips[network, row] += 1
            if orders is None:
                flips[network, row] += (s != old).sum()
            sweeps[network, row] += 1
            forms[network, row, sweeps[network, row]] = s @ w @ s
            stop[network, row] = (
                1 if (s == old).all() else 2 * (orders is None and before is not None and (s == before).all())
            )
            before = old
    return states, stop, sweeps, flips, forms


def check_recall(
    module: Any,
    case: Case,
    self_coupling: bool,
    order: np.ndarray | None,
    max_sweeps: int,
    dtype: type | None,
    first_sweep: int = 0,
) -> None:
    """Run one recall kernel (from weights if a dtype is given, sync if order is None) against the loop."""
    k, b, n = case.s.shape
    if order is not None and not len(order):
        orders = [
            sorted(range(n), key=draws(first_sweep + sweep, 0, ORDER, 0, n).__getitem__)
            for sweep in range(max_sweeps)
        ]
    else:
        orders = None if order is None else np.roll(order, -first_sweep, axis=0).tolist()
    expected = recall_by_loop(case, orders, max_sweeps)
    inputs: tuple[Any, ...] = (case.packed, case.units, self_coupling)
    more: tuple[Any, ...] = ()
    if dtype is not None:
        weights = case.w.astype(dtype)
        thresholds = np.zeros((k, n), np.int64 if np.dtype(dtype).itemsize > 4 else np.int32)
        inputs = (weights, weights, thresholds, np.empty((k, b, 0), np.uint64))
        more = (np.empty((k, b, 0, words(n)), np.uint64), np.empty((k, b, 0, 2), np.int32))
        more = more[: 1 if order is None else 2]
    name = ("recall_sync" if order is None else "recall_async") + ("" if dtype is None else "_weights")
    for recorded in (max_sweeps + 1, 0):
        states, stop = to_words(case.s), garbage((k, b), np.int32 if order is None else bool)
        sweeps, flips, forms = (
            garbage((k, b), np.int32),
            garbage((k, b), np.int64),
            garbage((k, b, recorded), np.int64),
        )
        start = () if order is None else (KEY, order, first_sweep)
        getattr(module, name)(*start, *inputs, max_sweeps, states, stop, sweeps, flips, forms, *more)
        assert np.array_equal(states, to_words(expected[0]))
        assert np.array_equal(stop, expected[1])
        assert np.array_equal(sweeps, expected[2])
        assert np.array_equal(flips, expected[3])
        done = np.arange(recorded) <= sweeps[..., None]
        assert np.array_equal(forms[done], expected[4][:, :, :recorded][done])


@both
@shapes
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
@shapes
@pytest.mark.parametrize("dtype", [None, np.int16])
def test_recall_sync(
    module: Any, k: int, b: int, n: int, p: int, self_coupling: bool, dtype: type | None
) -> None:
    case = Case(k, b, n, p, self_coupling)
    check_recall(module, case, self_coupling, None, 50, dtype)
    check_recall(module, case, self_coupling, None, 2, dtype)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
def test_recall_from_other_weights(module: Any, dtype: type) -> None:
    case = Case(1, 17, 65, 64)
    check_recall(module, case, False, np.empty((0, 65), dtype=np.int32), 30, dtype)
    check_recall(module, case, False, None, 30, dtype)


def test_sync_finds_both_ends() -> None:
    """The cases above do meet fixed points, two-cycles and the limit."""
    stops = recall_by_loop(Case(1, 17, 64, 63), None, 50)[1]
    assert {1, 2} <= set(stops.ravel())
    assert (recall_by_loop(Case(1, 17, 64, 63), None, 2)[1] == 0).any()


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
