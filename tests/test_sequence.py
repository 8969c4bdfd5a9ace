"""Sequences of patterns against the couplings written out, and against what is known of their length."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devices import emulated

import fastrec
from fastrec import HopfieldNetwork, SequenceMemory
from fastrec.hopfield import sequence
from fastrec.hopfield.stored import StoredPatterns


def spins(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), shape)


def stored(x: np.ndarray, **options: Any) -> SequenceMemory:
    memory = SequenceMemory(x.shape[-1], **options)
    memory.store(x)
    return memory


def couplings(x: np.ndarray, cyclic: bool, self_coupling: bool) -> np.ndarray:
    """W (n, n) of patterns x (p, n), one pair of patterns after the other."""
    p, n = x.shape
    w = np.zeros((n, n), dtype=int)
    for mu in range(p if cyclic else p - 1):
        w += np.outer(x[(mu + 1) % p], x[mu])
    return w if self_coupling else w * ~np.eye(n, dtype=bool)


def by_loop(w: np.ndarray, s: np.ndarray, steps: int) -> np.ndarray:
    """States (b, steps + 1, n) from s (b, n)."""
    trail = [s.astype(int)]
    for _ in range(steps):
        h = trail[-1] @ w.T
        trail.append(np.where(h == 0, trail[-1], np.sign(h)))
    return np.stack(trail, axis=1)


@pytest.mark.parametrize("cyclic", [True, False])
@pytest.mark.parametrize("self_coupling", [True, False])
@pytest.mark.parametrize(("n", "p"), [(1, 1), (2, 3), (63, 1), (65, 2), (64, 65), (130, 17), (1000, 70)])
def test_steps_are_those_of_the_couplings(
    backend: str, n: int, p: int, cyclic: bool, self_coupling: bool
) -> None:
    x, steps = spins(n, p, n), 5
    probes = np.concatenate([x[:2], spins(1, 3, n)])
    memory = stored(x, cyclic=cyclic, self_coupling=self_coupling, backend=backend)
    w = couplings(x, cyclic, self_coupling)
    assert np.array_equal(memory.network.couplings(), w)
    assert memory.network.symmetric == np.array_equal(w, w.T)
    expected = by_loop(w, probes, steps)
    result = memory.recall(probes, steps)
    assert np.array_equal(result.trajectory, expected)
    assert np.array_equal(result.states, expected[:, -1]) and result.states.dtype == np.int8
    assert np.array_equal(result.overlaps, expected @ x.T / n)
    assert np.array_equal(result.nearest, (expected @ x.T).argmax(axis=-1))
    course = memory.network.recall(probes, "sync", max_sweeps=steps, record="states")
    assert np.array_equal(course.trajectory[:, 1], expected[:, 1])


def test_networks_and_forms_of_states(backend: str) -> None:
    """k networks are k single ones; packed, read-only or strided states and pictures are the same."""
    x, probes = spins(0, 3, 4, 35), spins(1, 3, 2, 35)
    memory = stored(x, backend=backend)
    result = memory.recall(probes)
    assert result.overlaps.shape == (3, 2, 5, 4)
    for t in range(3):
        single = stored(x[t], backend=backend).recall(probes[t])
        for name in ("states", "trajectory", "overlaps", "nearest"):
            assert np.array_equal(getattr(single, name), getattr(result, name)[t])
    assert np.array_equal(memory.recall(probes[0]).states[0], result.states[0])
    packed = memory.recall(fastrec.pack(probes))
    assert np.array_equal(packed.states.unpack(), result.states)
    assert np.array_equal(packed.trajectory.unpack(), result.trajectory)
    strided = np.repeat(probes, 2, axis=-1)[..., ::2]
    strided.flags.writeable = False
    assert np.array_equal(memory.recall(strided).trajectory, result.trajectory)
    pictures = stored((x[0] + 1) // 2, backend=backend, coding="01", shape=(5, 7))
    found = pictures.recall((probes[0].reshape(2, 5, 7) + 1) // 2)
    assert found.states.shape == (2, 5, 7) and found.trajectory.shape == (2, 5, 5, 7)
    assert np.array_equal(2 * found.trajectory - 1, result.trajectory[0].reshape(2, 5, 5, 7))
    one = memory.network.patterns[0, 0]
    assert stored(x[0], backend=backend).recall(one).states.shape == (35,)


def test_a_cycle_is_found(backend: str) -> None:
    """The period of recall is the length of the sequence; an open one ends in a state that stays."""
    x = spins(0, 7, 200)
    probe = fastrec.corrupt(x[2], 20, seed=1)
    memory = stored(x, backend=backend)
    assert memory.network.recall(probe, "sync").period == 7
    assert memory.recall(probe, 9).nearest.tolist() == [2, 3, 4, 5, 6, 0, 1, 2, 3, 4]
    assert stored(x, cyclic=False, backend=backend).recall(x[2], 4).nearest.tolist() == [2, 3, 4, 5, 6]
    for cyclic in (True, False):  # of one pattern: it calls up itself, or nothing does anything
        alone = stored(x[2:3], cyclic=cyclic, backend=backend)
        assert np.array_equal(alone.recall(probe).states, x[2] if cyclic else probe)


@pytest.mark.slow
def test_the_longest_sequence(compiled: str) -> None:
    """0.269 n for n to infinity."""
    n, held = 1000, {}
    for load in (0.22, 0.32):
        x = fastrec.random_patterns(round(load * n), n, seed=1, networks=1 if emulated(compiled) else 3)
        memory = stored(x, backend=compiled)
        held[load] = np.abs(memory.recall(x[:, :1]).overlaps[:, 0, -1, 0])
    assert (held[0.22] > 0.9).all() and (held[0.32] < 0.5).all()


def test_many_steps_are_made_in_parts(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that Ctrl-C is heard between them."""
    memory, probes = stored(x := spins(0, 2, 7, 65), backend=backend), spins(1, 2, 3, 65)
    whole = memory.recall(probes, 10)
    monkeypatch.setattr(sequence, "BREATH", 3 * x.shape[0] * 3 * 65 * 10.7)
    parts = memory.recall(probes, 10)
    assert np.array_equal(parts.trajectory, whole.trajectory) and np.array_equal(parts.states, whole.states)


def test_large_networks_need_no_couplings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(StoredPatterns, "couplings")
    x = fastrec.random_patterns(30, 50_000, seed=1, packed=True)
    memory = SequenceMemory(50_000)
    memory.store(x)
    result = memory.recall(fastrec.corrupt(x, 0.2, seed=2))
    assert np.array_equal(result.states.words, x.words)


def test_files_and_pickles(tmp_path: Path) -> None:
    x = spins(0, 5, 35)
    memory = stored(x, cyclic=False, self_coupling=True, shape=(5, 7))
    memory.save(tmp_path / "a.npz")
    for again in (SequenceMemory.load(tmp_path / "a.npz"), pickle.loads(pickle.dumps(memory))):
        assert repr(again).partition(", memory")[0] == repr(memory).partition(", memory")[0]
        assert (again.n, again.n_patterns, again.cyclic) == (35, 5, False)
        assert again.backend == memory.backend and np.array_equal(again.patterns, memory.patterns)
        assert np.array_equal(again.recall(x).trajectory, memory.recall(x).trajectory)
    network = HopfieldNetwork(35)
    network.store(x)
    network.save(tmp_path / "b.npz")
    with pytest.raises(ValueError, match=r'b\.npz holds a network of the rule "hebb"; read it by'):
        SequenceMemory.load(tmp_path / "b.npz")
    network = HopfieldNetwork(35, rule="sequence", thresholds=np.full(35, 2.0))
    network.store(x)
    network.save(tmp_path / "c.npz")
    with pytest.raises(ValueError, match=r"c\.npz holds a network with thresholds; read it by"):
        SequenceMemory.load(tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cyclic": 2}, "^cyclic is 2; "),
        ({"self_coupling": "no"}, "^self_coupling is 'no'; "),
        ({"coding": "10"}, "^coding is '10'; "),
        ({"shape": (2, 3)}, r"^shape is \(2, 3\), 6 units; the network has n = 5"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceMemory(5, **options)
    with pytest.raises(
        ValueError, match=r'^cyclic is True; it is of rule="sequence", and the rule is "hebb"$'
    ):
        HopfieldNetwork(5, cyclic=True)


def test_wrong_calls_change_nothing() -> None:
    memory = SequenceMemory(5)
    with pytest.raises(ValueError, match=r"^the network holds no patterns"):
        memory.recall(np.ones(5))
    memory.store(np.ones(5))
    for wrong, message in ((np.zeros(5), "^patterns holds 0"), (np.ones(6), "^patterns has shape")):
        with pytest.raises(ValueError, match=message):
            memory.store(wrong)
    for steps in (0, 1.5, 2**31):
        with pytest.raises(ValueError, match=r"^steps is "):
            memory.recall(np.ones(5), steps)
    with pytest.raises(ValueError, match=r"^recall of 1 states in 2147483646 steps needs"):
        memory.recall(np.ones(5), 2**31 - 2)
    assert memory.n_patterns == 1
