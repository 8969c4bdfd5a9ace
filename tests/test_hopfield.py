"""The public Hopfield network: arguments, errors, and what must hold whatever the patterns are."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastrec
from fastrec import HopfieldNetwork, PackedStates
from fastrec import validation as arguments
from fastrec.backend import kernels, move
from fastrec.hopfield import memory as memory_module
from fastrec.hopfield import network as network_module
from fastrec.hopfield import packed as packed_module
from fastrec.hopfield import recall as recall_module
from fastrec.hopfield import states as patterns_module
from fastrec.hopfield.matching import count_earlier
from fastrec.hopfield.recall import RecallResult, choose_representation
from fastrec.hopfield.rules import HEBB
from fastrec.hopfield.states import check_states, unpack_states
from fastrec.kernels import DERIVE
from fastrec.kernels.reference.random import philox
from fastrec.streams import stream_key

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own


def spins(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), shape)


def stored(patterns: np.ndarray | PackedStates, **options: object) -> HopfieldNetwork:
    network = HopfieldNetwork(patterns.shape[-1], **options)
    network.store(patterns)
    return network


def same(a: RecallResult, b: RecallResult, rows: object = ...) -> None:
    """All results equal; rows picks from those of `a`."""
    for name in ("states", "converged", "period", "sweeps", "flips"):
        assert np.array_equal(getattr(a, name)[rows], getattr(b, name)), name
    if b.energies is not None:
        assert a.energies is not None
        energies = a.energies[rows]
        assert np.array_equal(energies[..., : b.energies.shape[-1]], b.energies, equal_nan=True)
        assert np.isnan(energies[..., b.energies.shape[-1] :]).all()


# Networks around the load where memories are lost, where the dynamics does most.
cases = st.tuples(st.integers(1, 90), st.integers(1, 30), st.integers(1, 6), st.integers(0, 2**32 - 1))


class TestStates:
    @pytest.mark.parametrize(
        "dtype", [np.int8, np.int16, np.int64, np.float16, np.float32, np.float64, ">i4", ">f8"]
    )
    def test_dtypes(self, dtype: str) -> None:
        x = spins(0, 3, 70)
        assert np.array_equal(check_states("x", x.astype(dtype)), x)
        assert check_states("x", x.astype(dtype)).dtype == np.int8
        assert np.array_equal(check_states("x", x > 0), x)
        assert np.array_equal(check_states("x", x.tolist()), x)

    def test_objects(self) -> None:
        x = spins(0, 3, 70)
        for numbers in (x, x.astype(float), x > 0):
            assert np.array_equal(check_states("x", numbers.astype(object)), x)
            assert np.array_equal(check_states("x", np.array(numbers.tolist(), object)), x)

    @pytest.mark.parametrize("dtype", ["Int64", "Int8", "UInt8", "Float32", "boolean"])
    def test_nullable_columns(self, dtype: str) -> None:
        pandas = pytest.importorskip("pandas")
        x = spins(1, 5, 8)
        bits = pandas.DataFrame((x > 0).astype(int)).astype(dtype)
        coding = "+-1" if dtype == "boolean" else "01"
        assert np.array_equal(check_states("x", bits, coding=coding), x)
        assert np.array_equal(check_states("x", bits[0], coding=coding), x[:, 0])
        assert np.array_equal(check_states("x", bits.astype(object), coding=coding), x)
        bits.iloc[2, 3] = pandas.NA
        for holed, at in ((bits, r"\[2, 3\]"), (bits[3], r"\[2\]"), (bits.astype(object), r"\[2, 3\]")):
            with pytest.raises(ValueError, match=rf"x holds (nan|<NA>) at {at}, where a value is missing"):
                check_states("x", holed, coding=coding)

    @pytest.mark.parametrize(
        "dtype", [bool, np.int8, np.uint8, np.int64, np.float16, np.float64, ">i4", object]
    )
    def test_zeros_and_ones(self, backend: str, dtype: str) -> None:
        x = spins(0, 3, 70)
        bits = (x > 0).astype(dtype)
        before = bits.copy()
        assert np.array_equal(check_states("x", bits, coding="01"), x)
        packed = fastrec.pack(bits, backend=backend, coding="01")
        assert np.array_equal(packed.words, fastrec.pack(x).words)
        flipped = fastrec.corrupt(bits, 9, seed=1, backend=backend, coding="01")
        assert flipped.dtype == np.int8
        assert np.array_equal(2 * flipped - 1, fastrec.corrupt(x, 9, seed=1, backend="reference"))
        assert np.array_equal(fastrec.overlaps(bits, packed, backend, coding="01"), fastrec.overlaps(x, x))
        assert np.array_equal(packed.unpack("01"), x > 0)
        assert packed.unpack("01").dtype == np.int8
        assert np.array_equal(bits, before)
        for some in ({}, {"networks": 2}):
            drawn = fastrec.random_patterns(3, 70, seed=1, backend=backend, coding="01", **some)
            assert drawn.dtype == np.int8
            assert np.array_equal(2 * drawn - 1, fastrec.random_patterns(3, 70, seed=1, **some))
        words = fastrec.random_patterns(3, 70, seed=1, packed=True, coding="01").words
        assert np.array_equal(words, fastrec.random_patterns(3, 70, seed=1, packed=True).words)
        again = fastrec.corrupt(packed, 9, seed=1, coding="01")
        assert np.array_equal(again.words, fastrec.pack(flipped, coding="01").words)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (
                [1, -1],
                r"at \[1\]; states are 0 and 1 \(or bool\) with coding=\"01\": give coding=\"\+-1\" for",
            ),
            ([[0, 1], [2, -1]], r"holds 2 at \[1, 0\]; states are 0 and 1 \(or bool\) with coding=\"01\"$"),
            ([0.0, 0.5], r"holds 0.5 at \[1\]"),
            ([-0.25, 0.0], r"holds -0.25 at \[0\]"),
            ([1.0, np.nan], r"holds nan at \[1\], where a value is missing"),
            ([0, np.inf], r"holds inf at \[1\]"),
            (np.array([1, 255], np.uint8), r"holds 255 at \[1\]"),
            (["0", "1"], "has dtype <U1; states are 0 and 1"),
        ],
    )
    def test_other_than_zeros_and_ones(self, value: object, message: str) -> None:
        for call in (
            lambda: fastrec.pack(value, coding="01"),
            lambda: fastrec.corrupt(value, 1, coding="01"),
            lambda: fastrec.overlaps(value, [1, 0], coding="01"),
        ):
            with pytest.raises(ValueError, match=f"^(states|a) {message}" if "dtype" in message else message):
                call()

    def test_codings(self) -> None:
        packed = fastrec.pack([1, -1])
        for call in (
            lambda: fastrec.pack([1, -1], coding="0/1"),
            lambda: fastrec.corrupt(packed, 1, coding="0/1"),
            lambda: fastrec.overlaps(packed, packed, coding="0/1"),
            lambda: fastrec.random_patterns(1, 2, packed=True, coding="0/1"),
            lambda: packed.unpack("0/1"),
        ):
            with pytest.raises(ValueError, match=r"^coding is '0/1'; it must be \"\+-1\" or \"01\"$"):
                call()

    def test_int8_is_not_copied(self) -> None:
        x = spins(0, 3, 70)
        assert np.shares_memory(check_states("x", x[:, ::2]), x)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (
                [[1, 0, 1]],
                r"probes holds 0 at \[0, 1\]; states are \+1 and -1 \(or bool\): give coding=\"01\" for",
            ),
            ([[1, 0, -1]], r"probes holds 0 at \[0, 1\]; .*: recall\(\.\.\., unknown=0\) takes"),
            ([1, 0, 2], r"probes holds 0 at \[1\]; states are \+1 and -1 \(or bool\)$"),
            ([1, 2, 1], r"probes holds 2 at \[1\]"),
            ([1.0, np.nan, -1], r"probes holds nan at \[1\], where a value is missing; fill it, as .fillna"),
            ([1.0, -1, -np.inf], r"probes holds -inf at \[2\]"),
            ([1.0, 0.5, -1], r"probes holds 0.5 at \[1\]"),
            (np.array([1, 255, 1], dtype=np.uint8), r"probes holds 255 at \[1\]"),
            (np.array([1, -128, 1], dtype=np.int8), r"probes holds -128 at \[1\]"),
            ([1, -1], r"probes has shape \(2,\), 2 units a state; the network has n = 3"),
            (1, "probes is the single value 1"),
            (np.empty((0, 3)), r"probes is empty, shape \(0, 3\)"),
            (["a", "b", "c"], "probes has dtype <U1; states are"),
            ([1, None, True], r"probes holds None at \[1\], where a value is missing"),
            ([[1, -1, 1], [1, -1, object]], r"probes holds <class 'object'> at \[1, 2\], which is no number"),
            (
                np.array([True, 1, 0], object),
                r"probes holds 1 at \[1\] and True before; give bool or numbers",
            ),
            (np.array([1, -1, True], object), r"probes holds True at \[2\] and 1 before"),
            (np.array([1, 0.0, 1], object), r"probes holds 0.0 at \[1\]; .*: give coding=\"01\""),
            (np.array([1, np.nan, 1], object), r"probes holds nan at \[1\], where"),
            (np.array([1, 10**400, 1], object), r"probes holds an integer beyond 1e308"),
            (
                np.ma.array([1, -1, 1], mask=[0, 1, 0]),
                r"probes has 1 masked entries; .* probes.filled\(1\) does",
            ),
            ([1j, 1, 1], "probes has dtype complex128; states are"),
            ([[1, 1, 1], [1]], "probes is not an array of states: .*inhomogeneous"),
        ],
    )
    def test_errors(self, backend: str, value: object, message: str) -> None:
        network = stored(spins(0, 2, 3), backend=backend)
        with pytest.raises(ValueError, match=message):
            network.recall(value, seed=0)
        for method in (network.store, network.forget, network.energy, network.overlaps, network.is_stable):
            with pytest.raises(ValueError, match=message.replace("probes", "(states|patterns)")):
                method(value)
        assert network.n_patterns == 2
        if "network" not in message:
            with pytest.raises(ValueError, match=message.replace("probes", "states")):
                fastrec.pack(value, backend=backend)

    @pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, "0"])
    def test_seeds(self, seed: object) -> None:
        text = r"seed is .*; it must be an integer( from 0 to 2\^64-1$|, a numpy.random.Generator or None$)"
        with pytest.raises(ValueError, match=text):
            fastrec.random_patterns(1, 1, seed=seed)
        with pytest.raises(ValueError, match="seed is"):
            stored(spins(0, 1, 1)).recall([1], seed=seed)
        with pytest.raises(ValueError, match="seed is"):
            fastrec.corrupt([1], 1, seed=seed)

    def test_stream_key(self) -> None:
        block = np.empty((1, 4), dtype=np.uint32)
        philox(2**64 - 1, np.array([[1000, 0, 0, DERIVE]], dtype=np.uint32), block)
        assert stream_key(np.uint64(2**64 - 1), 1000) == int(block[0, 0]) + (int(block[0, 1]) << 32)
        assert len({int(stream_key(seed, n)) for seed in range(20) for n in range(1, 20)}) == 380


class TestPatterns:
    def test_random(self, backend: str) -> None:
        x = fastrec.random_patterns(5, 130, seed=3, networks=4, backend=backend)
        assert (x.shape, x.dtype) == ((4, 5, 130), np.int8)
        assert set(np.unique(x)) == {-1, 1}
        assert np.array_equal(x, fastrec.random_patterns(5, 130, 3, 4, backend="reference"))
        assert np.array_equal(fastrec.random_patterns(3, 130, 3, 2, backend=backend), x[:2, :3])
        assert np.array_equal(fastrec.random_patterns(5, 130, 3, backend=backend), x[0])
        assert not np.array_equal(fastrec.random_patterns(5, 130, 4, 4, backend=backend), x)
        packed = fastrec.random_patterns(5, 130, 3, 4, backend, packed=True)
        assert np.array_equal(move(packed.unpack(), "cpu"), x)

    def test_random_bits_are_fair(self, backend: str) -> None:
        x = fastrec.random_patterns(100, 1000, backend=backend, seed=0).astype(int)
        sigma = np.sqrt(x.size)
        assert abs(x.sum()) < 4 * sigma
        assert abs((x[:, 1:] * x[:, :-1]).sum()) < 4 * sigma
        assert abs((x[1:] * x[:-1]).sum()) < 4 * sigma
        assert (
            x[:, :64] != fastrec.random_patterns(100, 64, backend=backend, seed=0)
        ).mean() > 0.4  # sizes are independent

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((0, 5), "p is 0; it must be an integer from 1 to"),
            ((5, 0), "n is 0"),
            ((5, 2**31), "n is 2147483648"),
            ((5, 5.0), "n is 5.0"),
            ((True, 5), "p is True"),
            ((5, 5, 0, 0), "networks is 0"),
            ((2**31 - 1, 2**31 - 1), "random_patterns needs .* of memory, .* are available"),
        ],
    )
    def test_random_errors(self, arguments: tuple[object, ...], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            fastrec.random_patterns(*arguments)

    @pytest.mark.parametrize(
        ("flips", "count"),
        [
            (0, 0),
            (1, 1),
            (7, 7),
            (101, 101),
            (0.0, 0),
            (1.0, 101),
            (0.1, 10),
            (np.int32(3), 3),
            (np.float32(0.5), 50),
        ],
    )
    def test_corrupt(self, backend: str, flips: float, count: int) -> None:
        x = spins(0, 3, 4, 101)
        before = x.copy()
        y = fastrec.corrupt(x, flips, seed=5, backend=backend)
        assert y.dtype == np.int8
        assert ((y != x).sum(axis=2) == count).all()
        assert np.array_equal(x, before)
        assert not np.shares_memory(x, y)
        assert np.array_equal(y, fastrec.corrupt(x, flips, seed=5, backend="reference"))
        assert np.array_equal(y[0], fastrec.corrupt(x[0], flips, seed=5, backend=backend))
        assert np.array_equal(y[0, 0], fastrec.corrupt(x[0, 0].astype(float), flips, seed=5, backend=backend))
        assert np.array_equal(fastrec.corrupt(fastrec.pack(x), flips, seed=5, backend=backend).unpack(), y)
        if 1 < count < 101:
            assert len(np.unique(y * x, axis=1).reshape(-1, 101)) > 1  # rows differ
            assert not np.array_equal(y, fastrec.corrupt(x, flips, seed=6, backend=backend))

    @pytest.mark.parametrize(
        ("flips", "message"),
        [
            (-1, "flips is -1"),
            (6, "from 0 to 5"),
            (1.5, "a fraction from 0 to 1"),
            (np.nan, "flips is nan"),
            (True, "True"),
        ],
    )
    def test_corrupt_errors(self, flips: float, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            fastrec.corrupt(np.ones(5), flips, seed=0)
        with pytest.raises(ValueError, match="packed is 'no'; it must be True or False"):
            fastrec.random_patterns(1, 5, packed="no")
        with pytest.raises(ValueError, match=r"corrupt takes"):
            fastrec.corrupt(np.ones((1, 1, 1, 5)), 1, seed=0)

    def test_corrupted_units_are_uniform(self, backend: str) -> None:
        y = fastrec.corrupt(np.ones((5000, 20), dtype=np.int8), 3, backend=backend, seed=0)
        counts = (y < 0).sum(axis=0)
        assert abs(counts - 750).max() < 4.5 * np.sqrt(750 * 0.85)


class TestOverlaps:
    @pytest.mark.parametrize(
        ("first", "second"),
        [((), ()), ((), (3,)), ((4,), ()), ((4,), (3,)), ((2, 4), (2, 3)), ((1, 1), (1, 1))],
    )
    @pytest.mark.parametrize("n", [1, 65, 300])
    def test_every_pair(self, backend: str, first: tuple[int, ...], second: tuple[int, ...], n: int) -> None:
        a, b = spins(0, *first, n), spins(1, *second, n)
        lead = max(first[:-1], second[:-1])
        wide = (np.reshape(x, (*lead, -1, n)).astype(int) for x in (a, b))
        expected = np.einsum("...qi,...pi->...qp", *wide).reshape((*first, *second[-1:])) / n
        for packed in (False, True):
            x, y = (fastrec.pack(s) if packed else s for s in (a, b))
            found = fastrec.overlaps(x, y, backend=backend)
            assert np.array_equal(found, expected) and found.dtype == np.float64
        assert np.array_equal(fastrec.overlaps(a > 0, y, backend=backend), expected)

    def test_equals_those_of_a_network(self, backend: str) -> None:
        x, s = spins(0, 2, 5, 70), spins(1, 2, 3, 70)
        assert np.array_equal(fastrec.overlaps(s, x, backend), stored(x, backend=backend).overlaps(s))

    @pytest.mark.parametrize(
        ("a", "b", "message"),
        [
            (np.ones((2, 3)), np.ones((2, 4)), r"a has shape \(2, 3\) and b \(2, 4\); give"),
            (np.ones((2, 2, 3)), np.ones((2, 3)), r"a has shape \(2, 2, 3\) and b \(2, 3\)"),
            (np.ones((2, 2, 3)), np.ones((3, 2, 3)), "or both"),
            (np.ones((1, 2, 2, 3)), np.ones((1, 2, 2, 3)), "or both"),
            (np.ones(3), [1, 0, 1], r"b holds 0 at \[1\]"),
            (np.ones((0, 3)), [1, 1, 1], "a is empty"),
        ],
    )
    def test_errors(self, a: np.ndarray, b: np.ndarray, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            fastrec.overlaps(a, b)


class TestPacked:
    @given(shape=st.lists(st.integers(1, 5), max_size=3), n=st.integers(1, 200), seed=st.integers(0, 99))
    def test_round_trip(self, backend: str, shape: list[int], n: int, seed: int) -> None:
        x = spins(seed, *shape, n)
        packed = fastrec.pack(x, backend=backend)
        assert packed.shape == x.shape
        assert np.array_equal(unpack_states(packed.words, n, backend), x)

    def test_views_and_chunks(self, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(patterns_module, "rows_at_once", lambda n, backend: max(1, 300 // n))
        x = spins(0, 14, 140)
        expected = fastrec.pack(x.copy(), backend="reference").words
        x.flags.writeable = False
        assert np.array_equal(fastrec.pack(x, backend=backend).words, expected)
        assert np.array_equal(fastrec.pack(x[::-1], backend=backend).words, expected[::-1])
        assert np.array_equal(fastrec.pack(np.asfortranarray(x), backend=backend).words, expected)
        assert np.array_equal(fastrec.pack(x.T, backend=backend).unpack(), x.T)
        assert np.array_equal(unpack_states(expected[::-2], 140, backend), x[::-2])

    def test_words_are_read_only(self) -> None:
        packed = fastrec.pack(spins(0, 2, 5))
        with pytest.raises(ValueError, match="read-only"):
            packed.words[0] = 0
        with pytest.raises(AttributeError):
            packed.n = 6

    @pytest.mark.parametrize(
        ("words", "n", "message"),
        [
            (np.zeros((2, 1), dtype=np.int64), 5, "C-contiguous uint64"),
            (np.zeros((2, 4), dtype=np.uint64)[:, ::2], 128, "C-contiguous uint64"),
            ([[0]], 5, "C-contiguous uint64"),
            (
                np.zeros((2, 1), dtype=np.uint64),
                65,
                r"words has shape \(2, 1\); states of 65 units take \(..., 2\)",
            ),
            (np.zeros((0, 1), dtype=np.uint64), 5, "at least one"),
            (np.full((2, 1), 32, dtype=np.uint64), 5, "bits set past unit 5"),
            (np.zeros((2, 1), dtype=np.uint64), 0, "n is 0"),
        ],
    )
    def test_errors(self, words: object, n: int, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            PackedStates(words, n)

    def test_accepted_everywhere(self, backend: str) -> None:
        x, probes = spins(0, 9, 100), spins(1, 6, 100)
        plain, packed = stored(x, backend=backend), stored(fastrec.pack(x), backend=backend)
        assert np.array_equal(packed.patterns, x)
        before = fastrec.pack(probes)
        for update in ("async", "sync"):
            result = packed.recall(before, update=update, seed=0)
            assert isinstance(result.states, PackedStates)
            expected = plain.recall(probes, update=update, seed=0)
            assert np.array_equal(result.states.unpack(), expected.states)
            assert np.array_equal(result.flips, expected.flips)
        assert np.array_equal(before.unpack(), probes)
        for method in ("energy", "overlaps", "local_fields", "is_stable"):
            assert np.array_equal(getattr(packed, method)(before), getattr(plain, method)(probes))
        packed.forget(fastrec.pack(x[:4]))
        assert np.array_equal(packed.patterns, x[4:])
        with pytest.raises(ValueError, match="n = 99 units a state; the network has n = 100"):
            packed.recall(fastrec.pack(probes[:, :99]), seed=0)

    def test_stored_words_are_shared_but_never_written(self, backend: str) -> None:
        packed = fastrec.pack(spins(0, 9, 100))
        before = packed.words.copy()
        a, b = stored(packed, backend=backend), stored(packed, backend=backend)
        assert backend == "gpu" or np.shares_memory(a._stored.buffer, packed.words)
        for network in (a, b):
            network.store(spins(1, 3, 100))
            network.recall(spins(2, 3, 100), seed=0)
            network.forget(packed)
            network.store(packed)
        assert np.array_equal(packed.words, before)
        frozen = np.frombuffer(before.tobytes(), dtype=np.uint64).reshape(before.shape)
        same(
            a.recall(packed.unpack(), seed=0),
            stored(a.patterns).recall(PackedStates(frozen, 100).unpack(), seed=0),
        )
        assert stored(PackedStates(frozen, 100), backend=backend).n_patterns == 9

    def test_words_cannot_be_written_to(self) -> None:
        words = fastrec.pack(spins(0, 3, 100)).words.copy()
        packed = PackedStates(words, 100)
        words[...] = 0
        assert packed.words.all()
        for states in (packed, copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
            assert not states.words.flags.writeable and np.array_equal(states.words, packed.words)


class TestStore:
    def test_couplings(self, backend: str) -> None:
        x = spins(0, 40, 70)
        w = x.astype(int).T @ x
        assert np.array_equal(stored(x, backend=backend, self_coupling=True).couplings(), w)
        np.fill_diagonal(w, 0)
        network = stored(x, backend=backend)
        assert np.array_equal(network.couplings(), w)
        network.couplings()[:] = 9
        assert np.array_equal(network.couplings(), w)

    @pytest.mark.parametrize(
        ("p", "dtype"), [(127, np.int8), (128, np.int16), (32767, np.int16), (32768, np.int32)]
    )
    def test_couplings_take_the_narrowest_dtype(self, p: int, dtype: type) -> None:
        w = stored(
            np.ones((p, 2), dtype=np.int8) * np.array([1, -1], dtype=np.int8), self_coupling=True
        ).couplings()
        assert w.dtype == dtype
        assert w.tolist() == [[p, -p], [-p, p]]

    @pytest.mark.parametrize("k", [None, 3])
    def test_additive(self, backend: str, k: int | None) -> None:
        x = spins(0, *([k] if k else []), 30, 70)
        once, steps = stored(x, backend=backend), HopfieldNetwork(70, backend=backend)
        for part in (slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 10), slice(10, 11), slice(11, 30)):
            steps.store(x[..., part, :])
            steps.energy(x)  # makes what is derived, which the next call must drop
        assert steps.n_patterns == 30
        assert steps.n_networks == k
        assert np.array_equal(steps.patterns, x)
        assert np.array_equal(steps.couplings(), once.couplings())
        same(steps.recall(x, update="sync"), once.recall(x, update="sync"))

    def test_one_at_a_time_is_amortised(self) -> None:
        network, buffers = HopfieldNetwork(10, backend="reference"), set()
        for row in spins(0, 500, 10):
            network.store(row)
            buffers.add(network._stored.buffer.shape[1])
        assert network.n_patterns == 500
        assert len(buffers) < 20
        assert np.array_equal(network.patterns, spins(0, 500, 10))

    def test_k_is_fixed_by_the_first(self, backend: str) -> None:
        network, x = HopfieldNetwork(5, backend=backend), spins(0, 3, 2, 5)
        network.store(x)
        for bad in (x[0], x[0, 0], x[:2], x[None]):
            for method in (network.store, network.forget, network.recall, network.energy):
                if bad.ndim > 2 or method in (network.store, network.forget):
                    with pytest.raises(ValueError, match=r"this network takes \(3, rows, 5\)"):
                        method(bad)
        assert np.array_equal(network.patterns, x)
        with pytest.raises(ValueError, match=r"takes \(5,\) or \(rows, 5\) or \(k, rows, 5\)"):
            HopfieldNetwork(5).store(x[None])

    @given(case=cases, k=st.sampled_from([None, 1, 3]), extra=st.integers(1, 5))
    def test_forget_undoes_store(
        self, backend: str, case: tuple[int, ...], k: int | None, extra: int
    ) -> None:
        n, p, b, seed = case
        lead = [k] if k else []
        x, y, probes = (
            spins(seed, *lead, p, n),
            spins(seed + 1, *lead, extra, n),
            spins(seed + 2, *lead, b, n),
        )
        network = stored(x, backend=backend)
        before = network.recall(probes, record_energy=True, seed=0)
        network.store(y)
        assert network.n_patterns == p + extra
        network.recall(probes, seed=0)
        network.forget(y[..., ::-1, :])
        assert np.array_equal(network.patterns, x)
        same(network.recall(probes, record_energy=True, seed=0), before)

    def test_forget_counts_duplicates(self, backend: str) -> None:
        a, b, c = spins(0, 3, 100)
        network = stored(np.array([a, b, a, c, a]), backend=backend)
        for wrong, name in (
            (np.array([b, b]), r"patterns\[1\]"),
            (-a, "patterns is"),
            (np.array([c, a, a, a, a]), r"patterns\[4\]"),
        ):
            with pytest.raises(ValueError, match=f"{name}.* not stored, or not as often"):
                network.forget(wrong)
            assert np.array_equal(network.patterns, [a, b, a, c, a])
        network.forget(np.array([a, c, a]))
        assert np.array_equal(network.patterns, [a, b])
        network.forget(a)
        assert np.array_equal(network.patterns, [b])
        network.forget(b)
        assert network.n_patterns == 0
        assert network.patterns.shape == (0, 100)
        assert not network.couplings().any()
        with pytest.raises(ValueError, match="holds no patterns"):
            network.forget(b)
        network.store(c)
        assert np.array_equal(network.patterns, [c])

    def test_forget_in_k_networks(self, backend: str) -> None:
        x = spins(0, 3, 4, 70)
        network = stored(x, backend=backend)
        gone = np.stack([x[0, [0, 3]], x[1, [2, 1]], x[2, [3, 0]]])
        wrong = gone.copy()
        wrong[1, 1] = x[0, 0]  # stored, but in another network
        with pytest.raises(ValueError, match=r"patterns\[1, 1\] is not stored"):
            network.forget(wrong)
        network.forget(gone)
        assert np.array_equal(network.patterns, [x[0, [1, 2]], x[1, [0, 3]], x[2, [1, 2]]])
        network.forget(network.patterns)
        assert network.patterns.shape == (3, 0, 70)
        assert network.couplings().shape == (3, 70, 70)

    @given(values=st.lists(st.integers(0, 5), max_size=30))
    def test_count_earlier(self, values: list[int]) -> None:
        expected = [values[:i].count(value) for i, value in enumerate(values)]
        assert count_earlier(np.array(values, dtype=np.int64)).tolist() == expected

    def test_failures_change_nothing(self, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
        x = spins(0, 4, 50)
        network = stored(x, backend=backend)
        state = network.__dict__.copy()
        with pytest.raises(ValueError, match=r"holds 0\.0 at"):
            network.store(np.zeros((2, 50)))
        with pytest.raises(ValueError, match="not stored"):
            network.forget(-x[:1])

        def refuse(*_: object, **__: object) -> None:
            raise ValueError("memory")

        with monkeypatch.context() as patch:
            patch.setattr(packed_module, "require_memory", refuse)
            with pytest.raises(ValueError, match="memory"):
                network.store(x)
        assert all(network.__dict__[name] is value for name, value in state.items())
        assert np.array_equal(network.patterns, x)

    def test_overflow_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        network = HopfieldNetwork(2**31 - 1)
        one = np.broadcast_to(np.uint64(0), (1, 1, 2**25))
        network._stored.p = 2
        monkeypatch.setattr(network, "_read", lambda *_: (one, (1, 2**31 - 1)))
        with pytest.raises(ValueError, match=r"p n\^2 must stay below 2\^63"):
            network.store(None)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"n": 0}, "n is 0"),
            ({"n": 2.0}, "n is 2.0"),
            ({"n": 2**31}, "n is 2147483648"),
            ({"n": 5, "self_coupling": 1}, "self_coupling is 1"),
            ({"n": 5, "representation": "dense"}, "representation is 'dense'"),
        ],
    )
    def test_arguments(self, arguments: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            HopfieldNetwork(**arguments)

    def test_repr_and_pickle(self, backend: str) -> None:
        network = stored(spins(0, 3, 5, 1000), backend=backend)
        assert (network.n, network.backend) == (1000, backend)
        assert repr(network) == (
            f'HopfieldNetwork(n=1000, p=5, k=3, load=0.005, backend="{backend}", memory=1.92 kB)'
        )
        again = pickle.loads(pickle.dumps(network))
        assert np.array_equal(again.patterns, network.patterns)
        assert repr(HopfieldNetwork(7, backend=backend)).startswith("HopfieldNetwork(n=7, p=0, load=0, ")


class TestFunctionsOfStates:
    @given(case=cases, self_coupling=st.booleans())
    def test_values(self, backend: str, case: tuple[int, ...], self_coupling: bool) -> None:
        n, p, b, seed = case
        x, s = spins(seed, p, n), spins(seed + 1, b, n)
        network = stored(x, backend=backend, self_coupling=self_coupling)
        w = x.astype(int).T @ x
        if not self_coupling:
            np.fill_diagonal(w, 0)
        fields = network.local_fields(s)
        assert fields.dtype == np.int32
        assert np.array_equal(fields, s @ w)
        assert np.array_equal(network.energy(s), -(s @ w * s).sum(axis=1) / (2 * n) + 0.0)
        assert np.array_equal(network.overlaps(s), s.astype(int) @ x.T / n)
        assert np.array_equal(network.is_stable(s), (s @ w * s >= 0).all(axis=1))
        assert np.array_equal(network.local_fields(s[0]), s[0] @ w)
        assert network.energy(s[0]) == network.energy(s)[0]
        assert isinstance(network.energy(s[0]), float)
        assert network.is_stable(s[0]).shape == ()
        assert network.overlaps(s[0]).shape == (p,)

    def test_k_networks_in_blocks(self, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
        x, s = spins(0, 3, 20, 70), spins(1, 3, 11, 70)
        network = stored(x, backend=backend)
        whole = [getattr(network, f)(s) for f in ("local_fields", "energy", "overlaps", "is_stable")]
        assert [a.shape for a in whole] == [(3, 11, 70), (3, 11), (3, 11, 20), (3, 11)]
        monkeypatch.setattr(memory_module, "BLOCK_OVERLAPS", 240)  # four rows
        for f, expected in zip(("local_fields", "energy", "overlaps", "is_stable"), whole, strict=True):
            assert np.array_equal(getattr(network, f)(s), expected)
            single = [getattr(stored(x[i], backend=backend), f)(s[i]) for i in range(3)]
            assert np.array_equal(single, expected)

    @given(case=cases, self_coupling=st.booleans())
    def test_inverse_of_stable_is_stable(
        self, backend: str, case: tuple[int, ...], self_coupling: bool
    ) -> None:
        n, p, b, seed = case
        network = stored(spins(seed, p, n), backend=backend, self_coupling=self_coupling)
        s = np.concatenate([spins(seed + 1, b, n), network.patterns])
        assert np.array_equal(network.is_stable(s), network.is_stable(-s))

    def test_need_patterns(self, backend: str) -> None:
        network = HopfieldNetwork(5, backend=backend)
        for method in (
            network.recall,
            network.energy,
            network.overlaps,
            network.local_fields,
            network.is_stable,
        ):
            with pytest.raises(
                ValueError, match=r"the network holds no patterns; call store\(patterns\) first"
            ):
                method(np.ones(5))


class TestRecall:
    def test_memories_come_back(self, backend: str) -> None:
        x = fastrec.random_patterns(10, 500, backend=backend, seed=0)
        network = stored(x, backend=backend)
        probes = fastrec.corrupt(x, 0.1, backend=backend, seed=0)
        kept = probes.copy()
        for update in ("async", "sync"):
            result = network.recall(probes, update=update, record_energy=True, seed=0)
            assert np.array_equal(result.states, x)
            assert result.states.dtype == np.int8
            assert (result.converged & (result.period == 1) & (result.flips == 50)).all()
            assert (result.sweeps == 2).all()
            assert [a.dtype for a in (result.converged, result.period, result.sweeps, result.flips)] == [
                bool,
                np.int32,
                np.int32,
                np.int64,
            ]
            assert result.energies is not None
            assert np.array_equal(result.energies[:, 0], network.energy(probes))
            assert np.array_equal(result.energies[:, -1], network.energy(x))
        assert np.array_equal(probes, kept)
        assert network.recall(probes, seed=0).energies is None

    def test_single_probe(self, backend: str) -> None:
        x = spins(0, 3, 90)
        network = stored(x, backend=backend)
        for update in ("async", "sync"):
            one, row = (network.recall(p, update=update, record_energy=True, seed=0) for p in (x[0], x[:1]))
            assert one.states.shape == (90,)
            assert one.converged.shape == one.period.shape == one.sweeps.shape == one.flips.shape == ()
            assert one.energies.shape == row.energies.shape[1:]
            same(row, one, 0)

    @given(case=cases, self_coupling=st.booleans(), order_seed=st.integers(0, 99), sweeps=st.integers(1, 4))
    def test_given_order_is_the_textbook_loop(
        self, backend: str, case: tuple[int, ...], self_coupling: bool, order_seed: int, sweeps: int
    ) -> None:
        n, p, b, seed = case
        x, probes = spins(seed, p, n), spins(seed + 1, b, n)
        order = np.random.default_rng(order_seed).permuted(np.tile(np.arange(n), (sweeps, 1)), axis=1)
        network = stored(x, backend=backend, self_coupling=self_coupling)
        w, expected = network.couplings().astype(int), probes.copy()
        for i in order.ravel():
            h = expected @ w[i]
            expected[:, i] = np.where(h == 0, expected[:, i], np.sign(h))
        result = network.recall(probes, order=order)
        assert np.array_equal(result.states, expected)
        assert (result.sweeps <= sweeps).all()
        same(network.recall(probes, order=order.astype(np.uint16)), result)
        if sweeps == 1:
            same(
                network.recall(probes, order=np.arange(n)[None]),
                network.recall(probes, order="sequential", max_sweeps=1),
            )

    @given(case=cases, self_coupling=st.booleans(), seed=st.integers(0, 2**64 - 1))
    def test_energy_never_rises(
        self, backend: str, case: tuple[int, ...], self_coupling: bool, seed: int
    ) -> None:
        n, p, b, start = case
        network = stored(spins(start, p, n), backend=backend, self_coupling=self_coupling)
        result = network.recall(spins(start + 1, b, n), seed=seed, record_energy=True)
        assert result.converged.all()
        assert network.is_stable(result.states).all()
        assert result.energies.shape == (b, result.sweeps.max() + 1)
        for energies, sweeps in zip(result.energies, result.sweeps, strict=True):
            assert (np.diff(energies[: sweeps + 1]) <= 0).all()
            assert np.isnan(energies[sweeps + 1 :]).all()

    @given(case=cases, self_coupling=st.booleans())
    def test_sync_ends_in_a_fixed_point_or_two_cycle(
        self, backend: str, case: tuple[int, ...], self_coupling: bool
    ) -> None:
        n, p, b, seed = case
        network = stored(spins(seed, p, n), backend=backend, self_coupling=self_coupling)
        result = network.recall(spins(seed + 1, b, n), update="sync", max_sweeps=10_000)
        assert set(result.period.tolist()) <= {1, 2}
        assert np.array_equal(result.converged, result.period == 1)
        step = network.recall(result.states, update="sync", max_sweeps=1).states
        assert np.array_equal((step == result.states).all(axis=1), result.converged)
        assert np.array_equal(network.recall(step, update="sync", max_sweeps=1).states, result.states)

    @given(case=cases, update=st.sampled_from(["async", "sync"]))
    def test_rows_do_not_depend_on_the_batch(self, backend: str, case: tuple[int, ...], update: str) -> None:
        n, p, b, seed = case
        x, probes = spins(seed, p, n), spins(seed + 1, b + 1, n)
        network = stored(x, backend=backend)
        whole = network.recall(probes, update=update, record_energy=True, seed=0)
        for rows in (slice(0, 1), slice(1, None), slice(None, None, -1)):
            same(whole, network.recall(probes[rows], update=update, record_energy=True, seed=0), rows)

    @given(case=cases, update=st.sampled_from(["async", "sync"]))
    def test_k_networks_are_k_networks(self, backend: str, case: tuple[int, ...], update: str) -> None:
        n, p, b, seed = case
        x, probes = spins(seed, 3, p, n), spins(seed + 1, 3, b, n)
        together = stored(x, backend=backend).recall(probes, update=update, record_energy=True, seed=0)
        for i in range(3):
            single = stored(x[i], backend=backend)
            same(together, single.recall(probes[i], update=update, record_energy=True, seed=0), i)

    @given(case=cases, self_coupling=st.booleans(), update=st.sampled_from(["async", "sync"]))
    def test_representations_give_equal_bits(
        self, backend: str, case: tuple[int, ...], self_coupling: bool, update: str
    ) -> None:
        n, p, b, seed = case
        x, probes = spins(seed, p, n), spins(seed + 1, b, n)
        results = [
            stored(x, backend=backend, self_coupling=self_coupling, representation=representation).recall(
                probes, update=update, seed=seed, record_energy=True
            )
            for representation in ("patterns", "weights", "auto")
        ]
        same(results[0], results[1])
        same(results[0], results[2])

    @given(case=cases, update=st.sampled_from(["async", "sync"]), seed=st.integers(0, 2**64 - 1))
    def test_backends_give_equal_bits(
        self, compiled: str, case: tuple[int, ...], update: str, seed: int
    ) -> None:
        n, p, b, _ = case
        results = []
        for name in (compiled, "reference"):
            with fastrec.use_backend(name):
                network = stored(fastrec.random_patterns(p, n, seed))
                probes = fastrec.random_patterns(b, n, seed // 2)
                results.append(network.recall(probes, update=update, seed=seed, record_energy=True))
        same(*results)

    @pytest.mark.parametrize("update", ["async", "sync"])
    def test_threads_do_not_matter(self, threads: Callable[[int], int], update: str) -> None:
        x, probes, results = spins(0, 3, 40, 200), spins(1, 3, 11, 200), []
        for number in (1, 2, 5):
            threads(number)
            for representation in ("patterns", "weights"):
                network = stored(x, backend="cpu", representation=representation)
                results.append(network.recall(probes, update=update, record_energy=True, seed=0))
        for other in results[1:]:
            same(results[0], other)

    def test_seeds_and_limits(self, backend: str) -> None:
        x, probes = spins(0, 60, 150), spins(1, 8, 150)
        network = stored(x, backend=backend)
        same(network.recall(probes, seed=5), network.recall(probes, seed=np.int64(5)))
        assert not np.array_equal(
            network.recall(probes, seed=5).states, network.recall(probes, seed=6).states
        )
        short = network.recall(probes, max_sweeps=1, record_energy=True, seed=0)
        assert not short.converged.any()
        assert set(short.period.tolist()) == {0}
        assert set(short.sweeps.tolist()) == {1}
        assert short.energies.shape == (8, 2)
        assert np.array_equal((short.states != probes).sum(axis=1), short.flips)
        order = np.tile(np.arange(150), (3, 1))
        same(network.recall(probes, order=order), network.recall(probes, order="sequential", max_sweeps=3))
        assert network.recall(probes, order=order, max_sweeps=2).sweeps.max() == 2

    def test_odd_inputs(self, backend: str) -> None:
        x, probes = spins(0, 6, 130), spins(1, 8, 130)
        network = stored(x, backend=backend)
        expected = network.recall(probes, seed=0)
        frozen = probes.copy()
        frozen.flags.writeable = False
        for given_as in (
            frozen,
            probes > 0,
            probes.tolist(),
            np.asfortranarray(probes),
            probes.astype(">f4"),
        ):
            same(network.recall(given_as, seed=0), expected)
        same(network.recall(np.repeat(probes, 2, axis=1)[:, ::2], seed=0), expected)
        same(stored(np.repeat(x, 2, axis=0)[::2], backend=backend).recall(probes, seed=0), expected)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"update": "both"}, "update is 'both'"),
            ({"order": "shuffled"}, "order is 'shuffled'"),
            ({"order": [0, 1, 2]}, r"order has shape \(3,\)"),
            ({"order": [[0, 1]]}, r"it must be integers \(sweeps, 3\)"),
            ({"order": [[0.0, 1, 2]]}, "dtype float64"),
            ({"order": np.empty((0, 3), dtype=int)}, r"order has shape \(0, 3\)"),
            ({"order": [[0, 1, 2], [0, 1, 1]]}, r"order\[1\] is not a permutation of 0..2"),
            ({"order": [[1, 2, 3]]}, r"order\[0\] is not a permutation"),
            ({"order": [[1, 2, 3], [1]]}, "order is not an array"),
            ({"order": None}, "order has shape"),
            ({"order": "sequential", "update": "sync"}, "order is of async updates"),
            ({"order": [[0, 1, 2]], "update": "sync"}, "order is of async updates"),
            ({"max_sweeps": 0}, r"max_sweeps is 0; it must be an integer from 1 to 2\^31-1"),
            ({"max_sweeps": 1.5}, "max_sweeps is 1.5"),
            ({"max_sweeps": 2**31}, "max_sweeps is 2147483648"),
        ],
    )
    def test_arguments(self, backend: str, options: dict[str, object], message: str) -> None:
        network = stored(spins(0, 2, 3), backend=backend)
        with pytest.raises(ValueError, match=message):
            network.recall([1, 1, 1], **options)

    def test_too_big(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(arguments, "available_memory", lambda backend: 2 * 10**7)
        network = stored(spins(0, 2, 9000), representation="weights")
        expected = (
            r'representation="weights" needs 81 MB of memory, 20 MB are available; representation="patterns"'
        )
        with pytest.raises(ValueError, match=expected):
            network.recall(spins(1, 9000), seed=0)
        with pytest.raises(ValueError, match=r"couplings\(\) needs 81 MB"):
            network.couplings()
        network = stored(spins(0, 2, 9000))
        with pytest.raises(ValueError, match="recall of 9000 states needs 81 MB"):
            network.recall(spins(1, 9000), repeats=9000)


def results(network: HopfieldNetwork, probes: np.ndarray) -> list[np.ndarray]:
    """All that a network computes from probes."""
    names = ("local_fields", "energy", "overlaps", "is_stable")
    recalls = [
        network.recall(probes, update=update, record_energy=True, seed=0) for update in ("async", "sync")
    ]
    return [
        network.couplings(),
        *(getattr(network, name)(probes) for name in names),
        *(
            value
            for result in recalls
            for name, value in vars(result).items()
            if name != "seed" and value is not None
        ),
    ]


@pytest.mark.parametrize("self_coupling", [False, True])
@pytest.mark.parametrize(("n", "p", "k"), [(1, 1, None), (65, 9, 3), (130, 140, None)])
def test_a_rule_that_has_only_couplings(
    backend: str, n: int, p: int, k: int | None, self_coupling: bool
) -> None:
    """The Hebbian couplings, as a rule whose fields the patterns do not give."""
    lead = (k,) if k else ()
    x, probes = spins(0, *lead, p, n), spins(1, *lead, 5, n)
    network = stored(x, backend=backend, self_coupling=self_coupling)
    expected = results(network, probes)
    network = stored(x, backend=backend, self_coupling=self_coupling)
    network._stored.rule = replace(HEBB, name="another", pattern_space=False)
    for ours, theirs in zip(results(network, probes), expected, strict=True):
        assert np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f")
    assert network._stored.unit_words is not None  # the kernel of the rule asks for it, nothing else does


@pytest.fixture
def conversions(backend: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels that convert between bytes and bits, as they are called."""
    module, called = kernels("hopfield", backend), []

    def counted(name: str, kernel: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            called.append(name)
            kernel(*arguments)

        return call

    for name in ("pack", "unpack"):
        monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    return called


def test_states_are_converted_as_rarely_as_can_be(backend: str, conversions: list[str]) -> None:
    """Patterns and probes are packed on the way in, and results unpacked, once each."""
    x = fastrec.random_patterns(10, 500, seed=1, backend=backend)
    assert conversions == ["unpack"]
    network = stored(x, backend=backend)
    probes = fastrec.corrupt(x, 0.1, seed=2, backend=backend)
    assert conversions == ["unpack", "pack"]
    network.recall(probes, seed=0)
    assert conversions == ["unpack", "pack", "pack", "unpack"]
    network.energy(probes)
    assert conversions[4:] == ["pack"]
    packed = fastrec.random_patterns(10, 500, seed=1, backend=backend, packed=True)
    stored(packed, backend=backend).recall(fastrec.corrupt(packed, 0.1, seed=2, backend=backend), seed=0)
    assert len(conversions) == 5


def test_choice_of_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_representation(1, 100, 1000, 50, "async", False) == "patterns"
    assert choose_representation(1, 100, 1000, 1000, "async", False) == "weights"
    assert choose_representation(1, 1, 1000, 1000, "async", False) == "patterns"
    assert choose_representation(1, 1, 1000, 1000, "async", True) == "weights"
    assert choose_representation(1, 100, 1000, 1000, "sync", False) == "patterns"
    monkeypatch.setattr(recall_module, "available_memory", lambda backend: 10**6)
    assert choose_representation(1, 100, 1000, 1000, "async", False) == "patterns"
    monkeypatch.setattr(recall_module, "available_memory", lambda backend: None)
    assert choose_representation(1, 100, 1000, 1000, "async", False) == "weights"


def test_choice_of_representation_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"gpu": 2 * (1000**2 + 9 * 1000), "cpu": 0}
    monkeypatch.setattr(recall_module, "available_memory", free.__getitem__)
    assert choose_representation(1, 1, 1000, 50, "async", False, "gpu") == "weights"
    assert choose_representation(1, 2, 1000, 50, "async", False, "gpu") == "patterns"
    assert choose_representation(1, 1, 1000, 128, "async", False, "gpu") == "patterns"  # of 16 bits
    assert choose_representation(2, 1, 1000, 50, "async", False, "gpu") == "patterns"
    assert choose_representation(2, 1, 1000, 50, "async", True, "gpu") == "weights"
    assert choose_representation(1, 1, 1000, 50, "sync", True, "gpu") == "patterns"


@pytest.mark.parametrize(("n", "p"), [(2, 1), (10, 3), (65, 20), (100, 100)])
def test_find_oscillation(backend: str, n: int, p: int) -> None:
    found = fastrec.find_oscillation(n, p, seed=4, backend=backend)
    assert (found.network.n, found.network.n_patterns) == (n, p)
    assert (found.sync.period, found.async_.period) == (2, 1)
    assert found.async_.converged
    assert not found.sync.converged
    assert np.array_equal(found.cycle[0], found.sync.states)
    assert not np.array_equal(found.cycle[0], found.cycle[1])
    step = found.network.recall(found.cycle, update="sync", max_sweeps=1).states
    assert np.array_equal(step, found.cycle[::-1])
    same(found.network.recall(found.start, update="sync", record_energy=True), found.sync)
    same(found.network.recall(found.start, seed=4, record_energy=True), found.async_)
    assert found.sync.energies.shape == (found.sync.sweeps + 1,)
    assert found.async_.energies.shape == (found.async_.sweeps + 1,)
    again = fastrec.find_oscillation(n, p, seed=4, backend="reference")
    assert np.array_equal(again.network.patterns, found.network.patterns)
    assert np.array_equal(again.start, found.start)


def test_names_are_found_where_version_0_1_0_had_them() -> None:
    for name in ("HopfieldNetwork", "OscillationResult", "RecallResult", "find_oscillation"):
        assert getattr(network_module, name) is getattr(fastrec, name)
    with pytest.raises(AttributeError, match=r"module 'fastrec.hopfield.network' has no attribute 'nothing'"):
        _ = network_module.nothing


def test_find_oscillation_errors(backend: str) -> None:
    for n, p in ((1, 1), (3, 1)):
        with pytest.raises(ValueError, match=f"none of 4096 starts oscillates with n = {n}, p = {p}"):
            fastrec.find_oscillation(n, p, seed=0, backend=backend)
    with pytest.raises(ValueError, match="p is 0"):
        fastrec.find_oscillation(5, 0, seed=0)
