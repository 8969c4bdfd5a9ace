"""Dense associative memories against the published rule: all states of small sizes, every backend."""

from __future__ import annotations

import math
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devices import host_kernels

import fastrec
from fastrec import DenseMemory, HopfieldNetwork
from fastrec.files import DamagedFile
from fastrec.kernels import words

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own

DEGREES = (2, 3, 4, 5, "exponential")


def spins(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), shape)


def all_states(n: int) -> np.ndarray:
    bits = np.arange(2**n)[:, None] >> np.arange(n)
    return (2 * (bits & 1) - 1).astype(np.int8)


def filled(x: np.ndarray, degree: Any, backend: str, **options: Any) -> DenseMemory:
    memory = DenseMemory(x.shape[-1], degree, backend=backend, **options)
    memory.store(x)
    return memory


def pulls(x: np.ndarray, s: np.ndarray, degree: Any) -> np.ndarray:
    """sum_mu [F(rest + x_i) - F(rest - x_i)] (rows, n), the published rule, its sign exact; 0 is 0."""
    x, s = x.astype(np.int64), s.astype(np.int64)
    rest = (s @ x.T)[:, :, None] - s[:, None, :] * x
    if degree != "exponential":
        return ((rest + x) ** degree - (rest - x) ** degree).sum(axis=1)
    # Powers of e are rationally independent: a sum of them is 0 where the coefficient of each is.
    sums = np.zeros((len(s), x.shape[1]))
    zero = np.ones(sums.shape, bool)
    for m in range(-x.shape[1], x.shape[1] + 1):
        count = (rest + x == m).sum(axis=1) - (rest - x == m).sum(axis=1)
        sums, zero = sums + count * math.exp(m), zero & (count == 0)
    return np.where(zero, 0, sums)


def energies(x: np.ndarray, s: np.ndarray, degree: Any) -> np.ndarray:
    m = s.astype(np.int64) @ x.T.astype(np.int64)
    if degree == "exponential":
        most = m.max(axis=-1)
        return -(most + np.log(np.exp(m - most[..., None]).sum(axis=-1)))
    return -(m**degree).sum(axis=-1) / x.shape[-1] ** (degree - 1)


class TestPublishedRule:
    @pytest.mark.parametrize("degree", DEGREES)
    @pytest.mark.parametrize(
        ("n", "p"),
        [
            (1, 1),
            (2, 3),
            (7, 4),
            (9, 70),
            (10, 30),
            *(pytest.param(12, p, marks=pytest.mark.slow) for p in (5, 100)),
        ],
    )
    def test_all_states(self, backend: str, n: int, p: int, degree: Any) -> None:
        x, s = spins(n + p, p, n), all_states(n)
        s = s if backend != "gpu" else s[:: max(1, len(s) // 64)]
        memory, pull = filled(x, degree, backend), pulls(x, s, degree)
        expected = np.where(pull == 0, s, np.sign(pull))
        found = memory.recall(s, update="sync", max_sweeps=1)
        assert np.array_equal(found.states, expected)
        assert np.array_equal(memory.is_stable(s), (expected == s).all(axis=1))
        assert np.array_equal(found.flips, (expected != s).sum(axis=1))
        assert np.allclose(memory.energy(s), energies(x, s, degree), rtol=1e-12)

    @pytest.mark.parametrize("degree", DEGREES)
    def test_asynchronously(self, backend: str, degree: Any) -> None:
        x, s = spins(0, 20, 11), spins(1, 6, 11)
        order = fastrec.random_orders(11, 30, seed=5, backend="reference")
        found = filled(x, degree, backend).recall(s, seed=5, max_sweeps=30, record=("states", "energy"))
        for row, start in enumerate(s):
            state, flips = start.copy(), 0
            for sweep in range(found.sweeps[row]):
                for i in order[sweep]:
                    if pulls(x, state[None], degree)[0, i] * state[i] < 0:
                        state[i] *= -1
                        flips += 1
                assert np.array_equal(found.trajectory[row, sweep + 1], state)
            assert found.converged[row] and found.flips[row] == flips
            assert np.array_equal(found.states[row], state)
            assert np.isnan(found.energies[row, found.sweeps[row] + 1 :]).all()
            course = found.energies[row, : found.sweeps[row] + 1]
            assert (np.diff(course) <= 0).all() and course[-1] == filled(x, degree, backend).energy(state)

    @pytest.mark.parametrize("update", ["async", "sync"])
    @pytest.mark.parametrize(("n", "p"), [(1, 2), (63, 9), (65, 130), (200, 40)])
    def test_degree_two_is_hebb(self, backend: str, n: int, p: int, update: Any) -> None:
        x, s = spins(n, p, n), spins(n + 1, 5, n)
        net = HopfieldNetwork(n, backend=backend)
        net.store(x)
        found, expected = (
            memory.recall(s, update=update, seed=1, max_sweeps=20) for memory in (filled(x, 2, backend), net)
        )
        for name in ("states", "converged", "period", "sweeps", "flips"):
            assert np.array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("degree", [3, 4, "exponential"])
@pytest.mark.parametrize("update", ["async", "sync"])
@pytest.mark.parametrize(("k", "n", "p", "b"), [(2, 63, 70, 3), (1, 65, 33, 9), (3, 64, 129, 2)])
def test_every_backend_is_the_reference(
    backend: str, k: int, n: int, p: int, b: int, update: Any, degree: Any
) -> None:
    x = spins(0, k, p, n)
    s = fastrec.corrupt(x[:, :b], 0.3, seed=1, backend="reference")
    order = fastrec.random_orders(n, 2, seed=3, backend="reference")
    for options in ({}, {"order": order, "first_sweep": 1}) if update == "async" else ({},):
        found, expected = (
            filled(x, degree, name).recall(
                s, update=update, seed=2, max_sweeps=4, record=("states", "overlap", "energy"), **options
            )
            for name in (backend, "reference")
        )
        for name in ("states", "period", "sweeps", "flips", "trajectory", "overlaps", "energies"):
            assert np.array_equal(getattr(found, name), getattr(expected, name), equal_nan=True), name
        assert found.seed == expected.seed


class TestManyPatterns:
    """Sizes at which the kernels of the CPU take other paths than for few patterns."""

    @pytest.mark.parametrize("degree", [3, "exponential"])
    @pytest.mark.parametrize(("n", "p"), [(24, 4500), (130, 4500), (1000, 4200)])
    def test_against_the_rule(self, degree: Any, n: int, p: int) -> None:
        x, s = spins(0, p, n), spins(1, 3, n)
        s[1:] = fastrec.corrupt(x[:2], 0.2, seed=1)
        memory = filled(x, degree, "cpu")
        sync = memory.recall(s, update="sync", max_sweeps=1).states
        random = memory.recall(s, max_sweeps=1, seed=4, record="states")
        order = fastrec.random_orders(n, 1, seed=4)[0]
        m = s.astype(np.int64) @ x.T.astype(np.int64)
        for row in range(len(s)):
            for states, units in ((s[row].copy(), None), (s[row].copy(), order)):
                overlap = m[row].copy()
                flipped = []
                for i in range(n) if units is None else units:
                    if gain(overlap, x[:, i], states[i], degree) > 0:
                        flipped.append(i)
                        if units is not None:
                            overlap -= 2 * x[:, i] * states[i].astype(np.int64)
                            states[i] *= -1
                if units is None:
                    states[flipped] *= -1
                assert np.array_equal((sync if units is None else random.states)[row], states)

    def test_the_transpose_is_not_needed(self) -> None:
        memory = filled(spins(0, 500, 200), "exponential", "cpu")
        memory.recall(spins(1, 2, 200), seed=0)
        assert memory._stored.unit_words is None


def gain(overlap: np.ndarray, x: np.ndarray, s: int, degree: Any) -> float:
    """What sum_mu F gains by a flip, by overlaps (p,); 0 is 0 if whole numbers say so."""
    later = overlap - 2 * x.astype(np.int64) * int(s)
    if degree != "exponential":
        return int((later**degree).sum() - (overlap**degree).sum())
    if np.array_equal(np.sort(later), np.sort(overlap)):
        return 0
    most = overlap.max()
    return float(np.exp(later - most).sum() - np.exp(overlap - most).sum())


class TestCapacity:
    def test_two_to_the_power_of_half_the_units(self) -> None:
        memory = DenseMemory(24, "exponential")
        memory.store(x := fastrec.random_patterns(4096, 24, seed=1))
        assert memory.is_stable(x[::20]).all()

    def test_degree_three(self) -> None:
        stable = []
        for seed in range(20):
            x = spins(seed, 40, 30)
            p = next(p for p in range(1, 40) if not filled(x[:p], 3, "cpu").is_stable(x[:p]).all()) - 1
            stable.append(p)
        assert 16 <= np.mean(stable) <= 27


class TestAttention:
    @pytest.mark.parametrize("beta", [None, 0.3, 8.0])
    def test_against_the_formula(self, backend: str, beta: float | None) -> None:
        x, probes = spins(0, 30, 20), np.random.default_rng(1).normal(size=(4, 20))
        found = filled(x, "exponential", backend).recall(probes, update="attention", beta=beta, max_sweeps=3)
        xi = probes
        for _ in range(3):
            scores = (1.0 if beta is None else beta) * xi @ x.T
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            xi = weights / weights.sum(axis=1, keepdims=True) @ x
        assert found.states.dtype == np.float64
        assert np.allclose(found.states, xi, atol=1e-8)

    def test_stops_at_a_fixed_point(self, backend: str) -> None:
        x = spins(0, 2, 3, 50)
        memory = filled(x, "exponential", backend)
        probes = fastrec.corrupt(x, 5, seed=1)
        found = memory.recall(probes, update="attention")
        assert found.converged.all() and (found.period == 1).all() and found.sweeps.max() < 10
        assert np.allclose(found.states, x) and (found.flips == 5).all()
        assert np.array_equal(memory.recall(fastrec.pack(probes), update="attention").states, found.states)
        alone = filled(x[1], "exponential", backend).recall(probes[1, 0], update="attention")
        assert np.array_equal(alone.states, found.states[1, 0])
        assert not memory.recall(probes, update="attention", max_sweeps=1).converged.any()

    def test_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from fastrec.hopfield import attention

        memory = filled(spins(0, 50, 9), "exponential", "cpu")
        probes = np.random.default_rng(0).normal(size=(5, 9))
        whole = memory.recall(probes, update="attention", beta=0.2).states
        monkeypatch.setattr(attention, "BLOCK_BYTES", 8 * 9 * 7)
        assert np.allclose(memory.recall(probes, update="attention", beta=0.2).states, whole, atol=1e-12)

    def test_memory_does_not_grow_with_patterns_and_rows(self) -> None:
        memory = filled(spins(0, 20_000, 20), "exponential", "cpu")
        probes = spins(1, 3000, 20) * 0.5
        tracemalloc.start()
        found = memory.recall(probes, update="attention", beta=0.4, max_sweeps=1).states
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**26
        for row in (0, 2047, 2048, 2999):
            alone = memory.recall(probes[row], update="attention", beta=0.4, max_sweeps=1).states
            assert np.allclose(found[row], alone, atol=1e-12)

    def test_codings_and_pictures(self) -> None:
        x = spins(0, 3, 12)
        memory = filled((x + 1) // 2, "exponential", "cpu", coding="01", shape=(3, 4))
        found = memory.recall(((x + 1) / 2).reshape(3, 3, 4), update="attention").states
        assert found.shape == (3, 3, 4) and np.allclose(found.reshape(3, 12), (x + 1) / 2, atol=1e-3)
        assert np.array_equal(memory.recall(x > 0, update="attention").states, found.reshape(3, 12))


class TestArguments:
    def test_shapes_and_kinds(self, backend: str) -> None:
        x = spins(0, 5, 70)
        memory = filled(x, 4, backend)
        assert memory.recall(x[0], seed=0).states.shape == (70,)
        assert memory.recall(np.broadcast_to(x[0], (2, 3, 70)), seed=0).states.shape == (2, 3, 70)
        frozen = np.asfortranarray(np.tile(x, 2))[:, ::2][:, :70]
        frozen.flags.writeable = False
        assert np.array_equal(
            memory.recall(frozen, seed=0).states, memory.recall(frozen.copy(), seed=0).states
        )
        packed = memory.recall(fastrec.pack(x), seed=0, record="states")
        assert isinstance(packed.states, fastrec.PackedStates) and packed.trajectory.shape[0] == 5
        assert np.array_equal(memory.patterns, x) and memory.n_patterns == 5 and memory.degree == 4
        assert memory.identify(-x[2]).kind == "inverse"
        assert np.array_equal(memory.overlaps(x), x.astype(int) @ x.T / 70)

    def test_storing_in_parts_is_storing_at_once(self, backend: str) -> None:
        x, s = spins(0, 40, 30), spins(1, 6, 30)
        memory = DenseMemory(30, "exponential", backend=backend)
        for part in np.split(x, 8):
            memory.store(part)
        found, expected = (each.recall(s, seed=1) for each in (memory, filled(x, "exponential", backend)))
        assert np.array_equal(found.states, expected.states)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((0,), "n is 0"),
            ((10, 1), "degree is 1"),
            ((10, 2.0), "degree is 2.0"),
            ((10, True), "degree is True"),
            ((10, 63), "degree is 63"),
            ((10, "cubic"), "degree is 'cubic'; it must be an integer from 2, or \"exponential\""),
            ((1000, 7), "degree is 7; sums over p = 1 patterns of n = 1000 units would pass 2"),
        ],
    )
    def test_of_the_memory(self, arguments: tuple[Any, ...], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            DenseMemory(*arguments)

    def test_overflow(self, backend: str) -> None:
        n, degree = 1000, 6  # 10^18 a pattern
        x = spins(0, 10, n)
        memory = filled(x[:9], degree, backend)
        assert np.array_equal(memory.recall(x[:9], update="sync").states, x[:9])
        assert np.array_equal(
            memory.energy(x[:2]), [-sum(int(m) ** 6 for m in x[:9].astype(int) @ s) / 10**15 for s in x[:2]]
        )
        with pytest.raises(ValueError, match=r"degree is 6; sums over p = 10 patterns of n = 1000"):
            memory.store(x[9])
        assert memory.n_patterns == 9

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"update": "parallel"}, "update is 'parallel'"),
            ({"update": "sync", "order": "sequential"}, "order and first_sweep are of async updates"),
            ({"update": "sync", "first_sweep": 1}, "order and first_sweep are of async updates"),
            ({"update": "attention", "order": "sequential"}, "order and first_sweep are of async updates"),
            ({"max_sweeps": 0}, "max_sweeps is 0"),
            ({"order": "backward"}, "order is 'backward'"),
            ({"order": [[0, 1]], "first_sweep": 0}, "order has shape"),
            ({"order": np.arange(9)[None], "first_sweep": 1}, "first_sweep is 1; order holds sweeps 0 to 0"),
            ({"seed": -1}, "seed is -1"),
            ({"beta": 1.0}, 'beta is 1.0; it is of update="attention"'),
            ({"update": "attention", "beta": 0}, "beta is 0"),
            ({"update": "attention", "record": "energy"}, "record is 'energy'"),
            (
                {"update": "attention", "probes": np.full(9, np.nan)},
                "probes holds numbers that are not finite",
            ),
            ({"update": "attention", "probes": np.full(9, 1e300)}, r"or beyond 1e\+290; give each unit"),
            ({"update": "attention", "beta": 1e308}, r"beta is 1e\+308; times overlaps of up to 9 it passes"),
            ({"update": "attention", "beta": 10**400}, "beta is 1000"),
            ({"update": "attention", "seed": -1}, "seed is -1"),
            ({"update": "attention", "probes": np.ones(8)}, "probes has shape"),
            (
                {"update": "attention", "probes": fastrec.pack(np.ones((2, 18)), backend="reference")},
                "probes has n = 18 units a state; the network has n = 9",
            ),
            ({"record": "turns"}, "record is 'turns'"),
            ({"probes": np.ones((3, 4, 5, 8))}, "probes has shape"),
            ({"probes": np.zeros(9)}, "probes holds 0.0"),
        ],
    )
    def test_of_recall(self, arguments: dict[str, Any], message: str) -> None:
        memory = filled(spins(0, 3, 9), "exponential", "cpu")
        with pytest.raises(ValueError, match=message):
            memory.recall(**{"probes": np.ones(9), **arguments})

    def test_large_numbers(self) -> None:
        memory = filled(x := spins(0, 3, 9), "exponential", "cpu")
        found = memory.recall(1e280 * x, update="attention", beta=1e20, record=[])
        assert np.array_equal(found.states, x)
        with pytest.raises(ValueError, match="probes holds numbers that are not finite"):
            memory.recall(np.full(9, np.longdouble("1e4000")), update="attention")

    def test_attention_is_of_the_exponential(self) -> None:
        with pytest.raises(ValueError, match='of degree="exponential", not 3'):
            filled(spins(0, 3, 9), 3, "cpu").recall(np.ones(9), update="attention")

    def test_patterns_are_needed(self) -> None:
        memory = DenseMemory(9)
        for method in (memory.recall, memory.energy, memory.is_stable, memory.overlaps, memory.identify):
            with pytest.raises(ValueError, match=r"call store\(patterns\) first"):
                method(np.ones(9))


class TestFiles:
    @pytest.mark.parametrize("degree", [4, "exponential"])
    @pytest.mark.parametrize("lead", [(), (2,)])
    def test_there_and_back(self, backend: str, tmp_path: Path, degree: Any, lead: tuple[int, ...]) -> None:
        x = spins(0, *lead, 5, 70)
        memory = filled((x + 1) // 2, degree, backend, coding="01", shape=(7, 10))
        memory.save(tmp_path / "memory.npz")
        copies = [DenseMemory.load(tmp_path / "memory.npz", backend), pickle.loads(pickle.dumps(memory))]
        assert repr(copies[0]) == repr(copies[1]) == repr(memory)
        for again in copies:
            assert again.degree == degree and np.array_equal(again.patterns, memory.patterns)
            assert np.array_equal(again.recall(x > 0, seed=1).states, memory.recall(x > 0, seed=1).states)
            again.store(again.patterns)
            assert again.n_patterns == 10 and memory.n_patterns == 5

    def test_without_patterns(self, tmp_path: Path) -> None:
        DenseMemory(70, 5).save(tmp_path / "memory.npz")
        again = DenseMemory.load(tmp_path / "memory.npz")
        assert (again.n, again.n_patterns, again.degree) == (70, 0, 5)
        again.store(np.ones(70))

    def test_kinds_are_not_confused(self, tmp_path: Path) -> None:
        net, memory = HopfieldNetwork(9), DenseMemory(9)
        net.save(tmp_path / "net.npz")
        memory.save(tmp_path / "memory.npz")
        with pytest.raises(DamagedFile, match="not a fastrec file of a dense memory"):
            DenseMemory.load(tmp_path / "net.npz")
        with pytest.raises(DamagedFile, match="not a fastrec Hopfield network file"):
            HopfieldNetwork.load(tmp_path / "memory.npz")


SHORT = ([5], [1000, 7, 3, 1], [2, 0, 5], [5, -8, -6])


def results(
    module: Any, update: str, x: Any, n: int, table: Any, s: Any, units: Any, order: Any, first_sweep: int
) -> Any:
    """States, stops, sweeps, flips and trail of at most 12 sweeps of a kernel."""
    (k, b, w), relative = s.shape, len(table) <= n
    states, trail = s.copy(), np.zeros((k, b, 13, w), np.uint64)
    stop, sweeps = np.empty((k, b), bool if update == "async" else np.int32), np.empty((k, b), np.int32)
    out = (table, relative, 12, states, stop, sweeps, flips := np.empty((k, b), np.int64), trail)
    if update == "async":
        module.dense_async(np.uint64(9), order, first_sweep, x.copy(), units, *out)
    else:
        module.dense_sync(x.copy(), n, *out)
    trail[np.arange(13) > sweeps[..., None]] = 0
    return states, stop, sweeps, flips, trail


@pytest.mark.parametrize("update", ["async", "sync"])
@pytest.mark.parametrize(
    ("k", "b", "n", "p"),
    [(1, 1, 1, 1), (1, 20, 7, 4), (2, 3, 40, 90), (1, 3, 65, 30), (1, 3, 30, 1000), (1, 2, 40, 2300)],
)
def test_kernels_with_any_table(compiled: str, update: str, k: int, b: int, n: int, p: int) -> None:
    """Tables that no memory has, so that all that may be left out at their ends counts."""
    module, reference = (host_kernels("hopfield", name) for name in (compiled, "reference"))
    patterns = spins(0, k, p, n)
    patterns[:, 1500:] = 1  # more of a kind than eight bits count
    x = fastrec.pack(patterns).words
    s = fastrec.pack(spins(1, k, b, n) if n < 40 else fastrec.corrupt(patterns[:, :b], 0.3, seed=1)).words
    units, periods = np.empty((k, n, words(p)), np.uint64), set()
    reference.transpose(x.copy(), units)
    for table in (*SHORT, np.random.default_rng(3).integers(-(2**40), 2**40, n + 1)):
        table = np.array(table, np.int64)
        for some in [(np.empty((0, n), np.int32), 5), (fastrec.random_orders(n, 2, seed=3), 1)]:
            expected = results(reference, update, x, n, table, s, units, *some)
            periods |= {*expected[1].flat}
            for transposed in (units, units[..., :0].copy()) if update == "async" else (units,):
                found = results(module, update, x, n, table, s, transposed, *some)
                assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))
    assert n != 7 or update == "async" or 4 in periods
