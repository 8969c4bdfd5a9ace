"""Arrays of the device: CuPy in gives CuPy out, nothing crosses to the host unasked, patterns can move."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from devices import crossing

import fastrec
from fastrec import BackendError, HopfieldNetwork, PackedStates
from fastrec.backend import backend_of, device, device_memory, move, on_device
from fastrec.cli import hopfield, machine
from fastrec.hopfield import memory as memory_module
from fastrec.hopfield import states as patterns_module
from fastrec.hopfield.recall import RecallResult
from fastrec.hopfield.states import check_states
from fastrec.hopfield.storage_capacity import memory
from fastrec.kernels import words

METHODS = ("local_fields", "energy", "overlaps", "is_stable")


def spins(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), shape)


def stored(patterns: Any, **options: Any) -> HopfieldNetwork:
    network = HopfieldNetwork(patterns.shape[-1], **options)
    network.store(patterns)
    return network


def arrays(result: RecallResult) -> list[Any]:
    states = result.states.words if isinstance(result.states, PackedStates) else result.states
    found = [states, result.converged, result.period, result.sweeps, result.flips]
    return found + ([] if result.energies is None else [result.energies])


def same(ours: list[Any], expected: list[Any]) -> None:
    """CuPy arrays that equal NumPy arrays, with dtype and shape."""
    for a, b in zip(ours, expected, strict=True):
        assert on_device(a)
        assert (a.dtype, a.shape) == (np.asarray(b).dtype, np.shape(b))
        assert np.array_equal(move(a, "cpu"), b, equal_nan=np.asarray(b).dtype.kind == "f")


class TestStates:
    @pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "f2", "f4", "f8"])
    def test_dtypes(self, cp: Any, dtype: str) -> None:
        x = spins(0, 3, 70)
        given = cp.asarray(x.astype(dtype))
        with crossing(waits=1):
            states = check_states("x", given)
        same([states], [x])
        assert (states is given) == (dtype == "i1")

    def test_bool_needs_no_look(self, cp: Any) -> None:
        x = spins(0, 3, 70)
        given = cp.asarray(x > 0)
        with crossing():
            states = check_states("x", given)
        same([states], [x])

    def test_unsigned(self, cp: Any) -> None:
        same([check_states("x", cp.ones((2, 3), dtype=np.uint8))], [np.ones((2, 3), dtype=np.int8)])

    @pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i8", "f2", "f8"])
    def test_zeros_and_ones(self, cp: Any, gpu: str, dtype: str) -> None:
        x = spins(0, 3, 70)
        given = cp.asarray((x > 0).astype(dtype))
        with crossing(waits=dtype != "?"):
            states = check_states("x", given, coding="01")
        same([states], [x])
        packed = fastrec.pack(given, backend=gpu, coding="01")
        flipped = fastrec.corrupt(given, 9, seed=1, backend=gpu, coding="01")
        same([2 * flipped - 1], [fastrec.corrupt(x, 9, seed=1)])
        same([given, packed.unpack("01")], [(x > 0).astype(dtype), (x > 0).astype(np.int8)])
        for value in ([1, -1], [2, 0], [0, 0.5], [0, np.nan]):
            with pytest.raises(ValueError, match=r"^x holds ") as expected:
                check_states("x", np.array(value), coding="01")
            with pytest.raises(ValueError, match=r"^x holds ") as found:
                check_states("x", cp.array(value), coding="01")
            assert str(found.value) == str(expected.value)

    @pytest.mark.parametrize(
        "value",
        [
            np.array([[1, 0, 1]]),
            np.array([1, 2, 1]),
            np.array([1, -128, 1], dtype=np.int8),
            np.array([1, 255, 1], dtype=np.uint8),
            np.array([1, 0, 1], dtype=np.uint32),
            np.array([1, np.nan, -1]),
            np.array([1, -1, -np.inf], dtype=np.float16),
            np.array([[1, 1, 1], [1, 0.1, -1]], dtype=np.float32),
            np.array([[1, 1, 1], [1, 0, -1]]),
            np.array([1j, 1, 1]),
            np.array(1),
            np.empty((0, 7)),
            np.ones(2),
        ],
    )
    def test_errors_are_those_of_numpy(self, cp: Any, gpu: str, value: np.ndarray) -> None:
        network = stored(spins(0, 2, 3), backend=gpu)
        for method in (network.store, network.forget, network.recall, network.energy, network.is_stable):
            with pytest.raises(ValueError, match=r"(states|patterns|probes) ") as expected:
                method(value)
            with pytest.raises(ValueError, match=r"(states|patterns|probes) ") as found:
                method(cp.asarray(value))
            assert str(found.value) == str(expected.value)
        assert network.n_patterns == 2

    def test_a_list_of_arrays_is_no_array(self, cp: Any, gpu: str) -> None:
        with pytest.raises(ValueError, match="states is not an array of states: Implicit conversion"):
            fastrec.pack([cp.ones(3), cp.ones(3)], backend=gpu)

    def test_pack_and_unpack(self, cp: Any, gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(patterns_module, "rows_at_once", lambda n, backend: max(1, 300 // n))
        x = spins(0, 2, 7, 140)
        expected = fastrec.pack(x).words
        for given, packed_words in (
            (cp.asarray(x), expected),
            (cp.asarray(x)[:, ::-1], expected[:, ::-1]),
            (cp.asarray(x.swapaxes(0, 1).copy()).swapaxes(0, 1), expected),
            (cp.asarray(x)[1, 2], expected[1, 2]),
        ):
            with crossing(waits=1):
                packed = fastrec.pack(given, backend=gpu)
            same([packed.words], [packed_words])
            with crossing():
                states = packed.unpack()
            same([states], [move(given, "cpu")])
        assert not on_device(fastrec.pack(x, backend=gpu).words)

    def test_random_patterns(self, cp: Any, gpu: str) -> None:
        x = fastrec.random_patterns(5, 130, 3, 4)
        with crossing():
            packed = fastrec.random_patterns(5, 130, 3, 4, gpu, packed=True)
        same([packed.words], [fastrec.pack(x).words])
        assert isinstance(fastrec.random_patterns(5, 130, 3, 4, gpu), np.ndarray)

    @pytest.mark.parametrize("shape", [(101,), (4, 101), (3, 4, 101)])
    def test_corrupt(self, cp: Any, gpu: str, shape: tuple[int, ...]) -> None:
        x = spins(0, *shape)
        expected = fastrec.corrupt(x, 7, seed=5)
        given = cp.asarray(x)
        with crossing(waits=1):
            found = fastrec.corrupt(given, 7, seed=5, backend=gpu)
        packed = fastrec.pack(given, backend=gpu)
        with crossing():
            words = fastrec.corrupt(packed, 7, seed=5, backend=gpu).words
        same([found, words, given, packed.unpack()], [expected, fastrec.pack(expected).words, x, x])


class TestPacked:
    def test_shapes_and_errors(self, cp: Any) -> None:
        words = cp.zeros((2, 3, 2), dtype=np.uint64)
        with crossing():
            packed = PackedStates(words, 128)
        assert packed.shape == (2, 3, 128)
        assert packed.words.data.ptr != words.data.ptr
        for bad, n, message in (
            (words[:, :, ::2], 64, "C-contiguous uint64"),
            (words.astype(np.int64), 128, "C-contiguous uint64"),
            (words, 129, r"words has shape \(2, 3, 2\); states of 129 units take \(..., 3\)"),
            (cp.zeros((0, 1), dtype=np.uint64), 5, "at least one"),
        ):
            with pytest.raises(ValueError, match=message):
                PackedStates(bad, n)

    @pytest.mark.parametrize("name", ["cpu", "reference"])
    def test_stay_on_the_gpu(self, gpu: str, name: str) -> None:
        packed = fastrec.random_patterns(3, 100, backend=gpu, packed=True, seed=0)
        network = stored(spins(0, 3, 100), backend=name)
        for method in (network.store, network.forget, network.recall, network.energy, network.is_stable):
            with pytest.raises(BackendError, match=f'a CuPy array was given to backend "{name}"'):
                method(packed)
        with pytest.raises(BackendError, match="a CuPy array was given"):
            fastrec.corrupt(packed, 1, backend=name, seed=0)
        with fastrec.use_backend(name):
            assert on_device(packed.unpack())  # no backend is asked for


def test_overlaps_of_states_there_and_here(cp: Any, gpu: str) -> None:
    a, b = spins(0, 2, 5, 70), spins(1, 2, 3, 70)
    expected = fastrec.overlaps(a, b, backend="cpu")
    there, packed = cp.asarray(a), fastrec.pack(cp.asarray(b), backend=gpu)
    for second in (cp.asarray(b), packed):
        found = fastrec.overlaps(there, second, backend=gpu)
        assert isinstance(found, cp.ndarray) and np.array_equal(cp.asnumpy(found), expected)
    assert np.array_equal(fastrec.overlaps(a, b, backend=gpu), expected)
    with pytest.raises(BackendError, match="a CuPy array was given"):
        fastrec.overlaps(there, b, backend="cpu")


@pytest.mark.parametrize("k", [None, 3])
class TestNetwork:
    def pair(self, gpu: str, k: int | None, p: int = 20, n: int = 70) -> tuple[Any, ...]:
        """Networks of the gpu and of the CPU with the same patterns, and probes."""
        lead = (k,) if k else ()
        x, probes = spins(0, *lead, p, n), spins(1, *lead, 11, n)
        return stored(x, backend=gpu), stored(x, backend="cpu"), probes

    @pytest.mark.parametrize("update", ["async", "sync"])
    @pytest.mark.parametrize("representation", ["patterns", "weights"])
    def test_recall(self, cp: Any, gpu: str, k: int | None, update: str, representation: str) -> None:
        network, host, probes = self.pair(gpu, k)
        network._representation = representation
        given = cp.asarray(probes)
        packed = fastrec.pack(given, backend=gpu)
        network.recall(given, update=update, seed=0)  # makes what recall derives from the patterns
        for energy in (False, True):
            options = {"update": update, "record_energy": energy, "seed": 0}
            expected = host.recall(probes, **options)
            with crossing(waits=1 + energy):
                found = network.recall(given, **options)
            same(arrays(found), arrays(expected))
            with crossing(waits=energy):
                found = network.recall(packed, **options)
            assert isinstance(found.states, PackedStates)
            same(arrays(found), [fastrec.pack(expected.states).words, *arrays(expected)[1:]])
            again = network.recall(probes, **options)
            assert all(isinstance(a, np.ndarray) for a in arrays(again))
            assert all(
                np.array_equal(a, b, equal_nan=True)
                for a, b in zip(arrays(again), arrays(expected), strict=True)
            )
        same([given, packed.unpack()], [probes, probes])

    def test_orders(self, cp: Any, gpu: str, k: int | None) -> None:
        network, host, probes = self.pair(gpu, k)
        packed = fastrec.pack(cp.asarray(probes), backend=gpu)
        network.recall(packed, seed=0)
        order = np.array([np.arange(70), np.arange(70)[::-1]])
        expected = arrays(host.recall(probes, order=order))[1:]
        on_card = cp.asarray(order.astype(np.uint16))
        with crossing(waits=1):
            found = network.recall(packed, order=on_card)
        same(arrays(found)[1:], expected)
        with crossing(to_device=1):
            found = network.recall(packed, order=order)
        same(arrays(found)[1:], expected)
        with crossing():
            network.recall(packed, order="sequential")
        with pytest.raises(ValueError, match=r"order\[1\] is not a permutation of 0..69"):
            network.recall(packed, order=cp.asarray(order // np.array([[1], [2]])))
        with pytest.raises(BackendError, match="CuPy"):
            host.recall(probes, order=on_card)

    def test_functions_of_states(
        self, cp: Any, gpu: str, k: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        network, host, probes = self.pair(gpu, k)
        given = cp.asarray(probes)
        packed = fastrec.pack(given, backend=gpu)
        network.is_stable(packed)
        for blocks in (2**26, 80 * (k or 1)):
            monkeypatch.setattr(memory_module, "BLOCK_OVERLAPS", blocks)
            for method in METHODS:
                expected = getattr(host, method)(probes)
                with crossing():
                    found = getattr(network, method)(packed)
                same([found], [expected])
                with crossing(waits=1):
                    found = getattr(network, method)(given)
                same([found], [expected])
                host_found = getattr(network, method)(probes)
                assert isinstance(host_found, np.ndarray)
                assert np.array_equal(host_found, expected)

    def test_store_and_forget(self, cp: Any, gpu: str, k: int | None) -> None:
        network, host, more = self.pair(gpu, k)
        packed = fastrec.pack(cp.asarray(more), backend=gpu)
        with crossing():
            network.store(packed)
        host.store(more)
        for patterns in (cp.asarray(more[..., :5, :]), more[..., 5:6, :]):
            network.forget(patterns)
            host.forget(move(patterns, "cpu"))
        assert backend_of(network._stored.buffer) == "gpu"
        assert np.array_equal(network.patterns, host.patterns)
        assert np.array_equal(network.couplings(), host.couplings())
        with pytest.raises(ValueError, match="is not stored"):
            network.forget(cp.asarray(more[..., :1, :]))
        if not k:
            first = HopfieldNetwork(70, backend=gpu)
            first.store(packed)
            assert first._stored.buffer.data.ptr == packed.words.data.ptr

    def test_patterns_move_with_the_backend(self, gpu: str, k: int | None) -> None:
        x, probes = self.pair(gpu, k)[1].patterns, self.pair(gpu, k)[2]
        network = HopfieldNetwork(70, representation="weights")
        expected = stored(x, backend="cpu").recall(probes, seed=0).states
        for turn, name in enumerate((gpu, "cpu", gpu, "reference", gpu)):
            with fastrec.use_backend(name):
                network.store(x[..., 4 * turn : 4 * turn + 4, :])
                network.recall(probes, seed=0)
                assert (
                    backend_of(network._stored.buffer)
                    == backend_of(network._stored.unit_words)
                    == backend_of(network._stored.learnt.weights)
                )
                assert on_device(network._stored.buffer) == (name == gpu)
                assert np.array_equal(network.patterns, x[..., : 4 * turn + 4, :])
                assert isinstance(network.couplings(), np.ndarray)
        assert np.array_equal(network.recall(probes, seed=0).states, expected)

    def test_pickle_is_of_the_host(self, gpu: str, k: int | None) -> None:
        network, host, probes = self.pair(gpu, k)
        network.recall(probes, seed=0)
        again = pickle.loads(pickle.dumps(network))
        assert not on_device(again._stored.buffer)
        assert on_device(network._stored.buffer)
        assert np.array_equal(again.recall(probes, seed=0).states, host.recall(probes, seed=0).states)


def test_single_probe(cp: Any, gpu: str) -> None:
    x = spins(0, 3, 90)
    network, host = stored(x, backend=gpu), stored(x, backend="cpu")
    result = network.recall(cp.asarray(x[0]), record_energy=True, seed=0)
    same(arrays(result), arrays(host.recall(x[0], record_energy=True, seed=0)))
    for method in METHODS:
        same([getattr(network, method)(cp.asarray(x[0]))], [getattr(host, method)(x[0])])
    assert isinstance(network.energy(x[0]), float)


def test_auto_takes_the_gpu_for_its_arrays(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = spins(0, 3, 90)
    monkeypatch.delenv("FASTREC_BACKEND")
    assert on_device(fastrec.pack(cp.asarray(x)).words)
    assert on_device(HopfieldNetwork(90)._stored.buffer) is False
    network = stored(cp.asarray(x))
    assert network.backend == "gpu"
    assert on_device(network.energy(cp.asarray(x)))
    assert isinstance(network.energy(x), np.ndarray)
    monkeypatch.setenv("FASTREC_BACKEND", "cpu")
    with pytest.raises(BackendError, match="CuPy"):
        network.energy(cp.asarray(x))
    assert np.array_equal(network.energy(x), stored(x).energy(x))


class TestMemory:
    """Refused before anything is allocated or changed, by the memory of the device."""

    def test_patterns(self, gpu: str, free: Any) -> None:
        free(10**8)
        with pytest.raises(
            ValueError, match=r"random_patterns needs 125 MB of memory of the device, 100 MB are available"
        ):
            fastrec.random_patterns(10**3, 10**6, backend=gpu, packed=True, seed=0)
        with pytest.raises(ValueError, match="memory of the device"):
            fastrec.random_patterns(10**3, 10**6, backend=gpu, seed=0)
        with pytest.raises(ValueError, match="find_oscillation needs 208 MB of memory of the device"):
            fastrec.find_oscillation(10**6, 1600, backend=gpu)

    @pytest.mark.slow
    def test_network(self, cp: Any, gpu: str, free: Any) -> None:
        n = 9000
        network = stored(spins(0, 2, n), backend=gpu, representation="weights")
        state = network.__dict__.copy()
        free(8 * 10**7)
        for method in (lambda: network.recall(spins(1, n), seed=0), network.couplings):
            with pytest.raises(ValueError, match="81 MB of memory of the device, 80 MB are available; rep"):
                method()
        free(10**6)
        zeros = cp.broadcast_to(cp.zeros(words(n), dtype=np.uint64), (1, 10**4, words(n)))
        many = PackedStates.__new__(PackedStates)  # of which only the shape is looked at
        object.__setattr__(many, "words", zeros)
        object.__setattr__(many, "n", n)
        with pytest.raises(ValueError, match=r"local_fields .* needs 720 MB of memory of the device"):
            HopfieldNetwork.local_fields(stored(spins(0, 1, 2, n), backend=gpu), many)
        assert network.__dict__ == state
        free(8 * 10**7)
        network._representation = "auto"
        assert network.recall(spins(1, n), max_sweeps=10**7, record_energy=True, seed=0).energies.size < 10

    def test_moves(self, gpu: str, free: Any) -> None:
        network = HopfieldNetwork(2**20)
        network.store(fastrec.random_patterns(600, 2**20, packed=True, seed=0))
        free(10**6)
        with fastrec.use_backend(gpu), pytest.raises(ValueError, match=r"the stored patterns needs 78\.6 MB"):
            _ = network.patterns
        assert not on_device(network._stored.buffer)

    def test_capacity(self, gpu: str, free: Any) -> None:
        free(10**8)
        with pytest.raises(ValueError, match=r"needs .* of memory of the device, 100 MB are available$"):
            fastrec.capacity(100_000, trials=1, backend=gpu)

    def test_device(self, gpu: str) -> None:
        available, total = device_memory()
        assert 0 < available <= total
        found = device()
        assert found.multiprocessors > 0
        assert [int(part) >= 0 for part in found.capability.split(".")] == [True, True]


class TestCapacity:
    def test_chunks_change_nothing(self, gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = fastrec.capacity(20, trials=50, max_patterns=5, backend="reference")
        for most in (4096, 1, 7):
            monkeypatch.setattr(memory, "MOST_AT_ONCE", most)
            found = fastrec.capacity(20, trials=50, max_patterns=5, backend=gpu)
            assert np.array_equal(found.counts, expected.counts)
            assert np.array_equal(found.censored, expected.censored)
            assert found.backend == gpu

    def test_trials_at_once(self, gpu: str, free: Any) -> None:
        one = memory.trial_bytes(1000, 90)
        assert one == 3 * 1024 * 128 // 8 + 57 * 128**2 // 8 + 24 * 128
        lanes = device().multiprocessors
        rows = memory.rows_bytes(1000, 90, lanes)
        for room, expected in ((8 * one + rows, 8), (one, 1), (2**40, 4096)):
            free(room * 5 // 4 + 1)
            assert memory.trials_at_once(1000, 90, gpu) == (min(2 * lanes, expected), expected)

    def test_largest_that_fits(self) -> None:
        scan, recall = memory.largest_that_fits(10**9, 3)

        def scan_bytes(n: int) -> int:
            return memory.one_trial_bytes(n, fastrec.theory.capacity_bound(n), 3)

        for n, needed in (
            (scan, scan_bytes),
            (recall, lambda n: n * (n // 10) // 4),
        ):
            assert needed(n) <= 10**9 < needed(n * 101 // 100)
        assert memory.largest_that_fits(1, 3) == (0, 7)

    def test_command(
        self, gpu: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
    ) -> None:
        monkeypatch.chdir(tmp_path)
        machine.info()
        name = device().name
        out = capsys.readouterr().out
        assert f"device     {name}, compute capability " in out
        assert "of memory free\nroom       for a capacity trial with n = " in out
        hopfield.capacity(sizes="10", trials=2, backend="gpu", out=None, plot=None)
        assert capsys.readouterr().out.startswith(f"on {name}, compute capability ")
