"""Recall: given couplings, thresholds, clamped and unknown units, what is recorded, codings and shapes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastrec
from fastrec import HopfieldNetwork, PackedStates

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own


def spins(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), shape)


def couplings(seed: int, n: int, symmetric: bool, size: int = 5) -> np.ndarray:
    w = np.random.default_rng(seed).integers(-size, size + 1, (n, n))
    return w + w.T if symmetric else w


def by_hand(
    w: np.ndarray, theta: np.ndarray, s: np.ndarray, orders: np.ndarray | None, sweeps: int, held: np.ndarray
) -> tuple[list[np.ndarray], list[tuple[int, int]], int]:
    """States after each sweep, flips as (sweep, unit), and the period (1 where async recall converged)."""
    s, states, turns = s.astype(int), [s.astype(int)], []
    for t in range(sweeps):
        before = s.copy()
        if orders is None:
            h = w @ s - theta
            s = np.where((h == 0) | held, s, np.sign(h))
        else:
            s = s.copy()
            for i in orders[t]:
                if (w[i] @ s - theta[i]) * s[i] < 0 and not held[i]:
                    s[i] *= -1
                    turns.append((t, int(i)))
        states.append(s)
        if (s == before).all():
            return states, turns, 1
        if orders is None and t and (s == states[-3]).all():
            return states, turns, 2
        # Brent: compared with the states after 1, 2, 4, ... steps
        kept = 1 << (t.bit_length() - 1) if t else 0
        if orders is None and kept and (s == states[kept]).all():
            return states, turns, t + 1 - kept
    return states, turns, 0


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("update", ["async", "sync"])
@pytest.mark.parametrize(("n", "seed"), [(1, 0), (2, 1), (5, 2), (64, 3), (67, 4), (130, 5)])
def test_given_couplings(backend: str, n: int, seed: int, update: Any, symmetric: bool) -> None:
    """All that recall does, against NumPy."""
    rng = np.random.default_rng(seed)
    w, theta, held = couplings(seed, n, symmetric), rng.integers(-4, 5, n), rng.random((4, n)) < 0.2
    probes, sweeps = spins(seed, 4, n), 9 if update == "async" else 60
    net = HopfieldNetwork.from_couplings(w, theta, backend=backend)
    assert net.scale == 1 and net.exact_rule and net.rule == "given"
    assert net.symmetric == (w == w.T).all()
    assert np.array_equal(net.couplings(), w) and np.array_equal(net.thresholds, theta)
    assert np.array_equal(net.local_fields(probes), probes @ w.T)
    orders = np.stack([rng.permutation(n) for _ in range(sweeps)])
    options: dict[str, Any] = {"order": orders} if update == "async" else {"update": "sync"}
    record: Any = ("energy", "states")
    result = net.recall(probes, max_sweeps=sweeps, record=record, clamp=held, **options)
    for row in range(4):
        expected = by_hand(w, theta, probes[row], orders if update == "async" else None, sweeps, held[row])
        states, turns, period = expected
        assert result.sweeps[row] == len(states) - 1
        assert result.period[row] == period
        assert np.array_equal(result.states[row], states[-1])
        assert np.array_equal(result.trajectory[row][: len(states)], states)
        assert (result.trajectory[row][len(states) :] == states[-1]).all()
        energies = [(-(s @ w @ s) / 2 + theta @ s) / n for s in states]
        assert np.allclose(result.energies[row][: len(states)], energies, atol=1e-12)
        assert np.isnan(result.energies[row][len(states) :]).all()
        assert np.allclose(net.energy(states), energies, atol=1e-12)
        if update == "async":
            assert result.flips[row] == len(turns)
    if update == "async":
        again = net.recall(probes, max_sweeps=sweeps, record=record, by="update", clamp=held, **options)
        for row in range(4):
            turns = by_hand(w, theta, probes[row], orders, sweeps, held[row])[1]
            s, seen = probes[row].astype(int), [probes[row].astype(int)]
            for _, unit in turns:
                s = s.copy()
                s[unit] *= -1
                seen.append(s)
            assert np.array_equal(again.trajectory[row][: len(seen)], seen)
            assert again.turns[row][: len(turns)].tolist() == [list(turn) for turn in turns]
            assert (again.turns[row][len(turns) :] == -1).all()
            energies = [(-(s @ w @ s) / 2 + theta @ s) / n for s in seen]
            assert np.allclose(again.energies[row][: len(seen)], energies, atol=1e-12)
            assert np.isnan(again.energies[row][len(seen) :]).all()


def test_long_cycles_are_found(backend: str) -> None:
    """A ring of units of which each copies the one before: the period is that of the pattern on it."""
    for n in (1, 2, 3, 7, 64, 100):
        net = HopfieldNetwork.from_couplings(np.roll(np.eye(n, dtype=int), 1, axis=1), backend=backend)
        result = net.recall(np.where(np.arange(n) == 0, 1, -1), update="sync", max_sweeps=4 * n + 8)
        assert result.period == n
        if n > 2:
            assert net.recall(np.where(np.arange(n) == 0, 1, -1), update="sync", max_sweeps=n).period == 0
    # No promise of a fixed point either: one unit follows, the other flees.
    net = HopfieldNetwork.from_couplings([[0, 1], [-1, 0]], backend=backend)
    assert net.recall([1, 1], update="sync").period == 4
    result = net.recall([1, 1], max_sweeps=50, seed=1)
    assert not result.converged and result.period == 0 and result.sweeps == 50


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 8))
def test_asynchronous_ends_are_all_the_minima(seed: int, n: int) -> None:
    """Symmetric couplings without diagonal: recall ends at states that no single flip betters."""
    w = couplings(seed, n, True)
    np.fill_diagonal(w, 0)
    theta = np.random.default_rng(seed).integers(-3, 4, n)
    net = HopfieldNetwork.from_couplings(w, theta)
    every = 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1) - 1
    energies = net.energy(every)
    flipped = energies[np.arange(2**n)[:, None] ^ 1 << np.arange(n)]
    minima = (flipped >= energies[:, None] - 1e-12).all(axis=1)
    assert np.array_equal(net.is_stable(every), minima)
    result = net.recall(every, seed=seed, max_sweeps=2**n + 1)
    assert result.converged.all() and net.is_stable(result.states).all()


def test_numbers_are_rounded_as_stated(backend: str) -> None:
    rng = np.random.default_rng(0)
    w, theta = rng.normal(size=(3, 50, 50)), rng.normal(size=50)
    net = HopfieldNetwork.from_couplings(w, theta, backend=backend)
    bound = (np.abs(w).sum(axis=2) + np.abs(theta)).max()
    assert net.scale == 2.0 ** np.floor(np.log2(2**30 / bound))
    assert np.array_equal(net.couplings(), np.rint(w * net.scale))
    assert np.array_equal(net.thresholds, np.broadcast_to(np.rint(theta * net.scale), (3, 50)))
    s = spins(0, 3, 4, 50)
    energies = [[(-(x @ w[t] @ x) / 2 + theta @ x) / 50 for x in s[t]] for t in range(3)]
    assert np.abs(net.energy(s) - energies).max() < 1e-5
    coarse = HopfieldNetwork.from_couplings(w, scale=10, backend=backend)
    assert coarse.couplings().dtype == np.int8 and np.array_equal(coarse.couplings(), np.rint(w * 10))
    assert HopfieldNetwork.from_couplings(w.astype(np.float32)).scale == net.scale
    halves = HopfieldNetwork.from_couplings([[0, 2.5], [3.5, 0]], scale=1)
    assert halves.couplings().tolist() == [[0, 2], [4, 0]]


def test_large_numbers(backend: str) -> None:
    """Couplings and fields that take 64 bits."""
    w = couplings(0, 9, False, 2**40)
    net = HopfieldNetwork.from_couplings(w, 2**30, backend=backend)
    assert net.couplings().dtype == np.int64 and np.array_equal(net.couplings(), w)
    s = spins(1, 5, 9)
    assert np.array_equal(net.local_fields(s), s @ w.T)
    states, _, period = by_hand(w, np.full(9, 2**30), s[0], None, 40, np.zeros(9, bool))
    result = net.recall(s[0], update="sync", max_sweeps=40)
    assert np.array_equal(result.states, states[-1]) and result.period == period


def test_given_couplings_and_learnt_ones_are_one(backend: str) -> None:
    x, probes = spins(0, 9, 65), spins(1, 5, 65)
    net = HopfieldNetwork(65, backend=backend)
    net.store(x)
    given = HopfieldNetwork.from_couplings(net.couplings(), backend=backend)
    for update in ("async", "sync"):
        a, b = (each.recall(probes, update=update, seed=1, record_energy=True) for each in (net, given))
        assert np.array_equal(a.states, b.states) and np.array_equal(a.period, b.period)
        assert np.array_equal(a.energies, b.energies, equal_nan=True)
    assert np.array_equal(net.is_stable(probes), given.is_stable(probes))


@pytest.mark.parametrize(
    ("w", "options", "message"),
    [
        (np.ones(3), {}, r"^couplings has shape \(3,\); give \(n, n\), or"),
        (np.ones((2, 3)), {}, r"^couplings has shape \(2, 3\)"),
        (np.ones((0, 0)), {}, r"^couplings has shape \(0, 0\)"),
        ([[0, np.nan], [0, 0]], {}, r"^couplings holds nan at \[0, 1\]; it must hold finite numbers"),
        ([[0, 2.0**60], [0, 0]], {}, r"^couplings holds 1.152.*e\+18 at \[0, 1\]; .* below 2\^53"),
        (np.ones((2, 2), complex), {}, "^couplings has dtype complex128"),
        (np.ma.masked_equal([[0, 1], [1, 0]], 1), {}, "^couplings has 2 masked entries"),
        (np.eye(2), {"thresholds": [1, 2, 3]}, r"^thresholds has shape \(3,\)"),
        (np.eye(2), {"thresholds": [1, np.nan]}, r"^thresholds holds nan at \[1\]"),
        (np.eye(2), {"scale": 0}, "^scale is 0; it must be a number above 0"),
        (np.full((2, 2), 2**52), {"scale": 2.0**20}, "must stay below 2"),
    ],
)
def test_couplings_that_are_refused(w: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HopfieldNetwork.from_couplings(w, **options)


def test_nothing_is_stored_in_given_couplings() -> None:
    net = HopfieldNetwork.from_couplings(np.eye(4))
    for job in (lambda: net.store(np.ones(4)), lambda: net.forget(np.ones(4))):
        with pytest.raises(
            ValueError, match="needs a learning rule; the couplings of this network were given"
        ):
            job()
    for job in (lambda: net.overlaps(np.ones(4)), lambda: net.identify(np.ones(4))):
        with pytest.raises(ValueError, match="were given"):
            job()
    assert net.patterns.shape == (0, 4)


def test_files_of_given_couplings(backend: str, tmp_path: Path) -> None:
    for w in (couplings(0, 9, False), np.random.default_rng(0).normal(size=(2, 9, 9))):
        net = HopfieldNetwork.from_couplings(w, np.arange(9), backend=backend)
        net.save(tmp_path / "a.npz")
        again = HopfieldNetwork.load(tmp_path / "a.npz", backend=backend)
        assert again.scale == net.scale and np.array_equal(again.couplings(), net.couplings())
        assert np.array_equal(again.thresholds, net.thresholds) and again.rule == "given"


def network(backend: str, n: int = 60, p: int = 5, **options: Any) -> HopfieldNetwork:
    net = HopfieldNetwork(n, backend=backend, **options)
    net.store(spins(0, p, n))
    return net


def test_thresholds(backend: str) -> None:
    theta = np.random.default_rng(1).integers(-9, 10, 60)
    net, w = network(backend, thresholds=theta), network(backend).couplings().astype(int)
    s = spins(2, 6, 60)
    assert np.allclose(net.energy(s), (-np.einsum("bi,ij,bj->b", s, w, s) / 2 + s @ theta) / 60)
    assert np.array_equal(net.is_stable(s), ((s @ w - theta) * s >= 0).all(axis=1))
    ends = net.recall(s, seed=1)
    assert ((ends.states @ w - theta) * ends.states >= 0).all()
    assert np.array_equal(net.thresholds, theta)
    everywhere = network(backend, thresholds=3)
    assert np.array_equal(everywhere.thresholds, np.full(60, 3))


@pytest.mark.parametrize("lead", [(), (3,)])
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_recorded(backend: str, lead: tuple[int, ...], packed: bool) -> None:
    """The course by sweeps is that of recalls cut short; by updates one unit flips at a time."""
    net = HopfieldNetwork(70, backend=backend)
    net.store(x := spins(0, *lead, 6, 70))
    s: Any = spins(1, *lead, 4, 70)
    probes = fastrec.pack(s) if packed else s
    everything: Any = ("energy", "overlap", "states")
    result = net.recall(probes, seed=3, record=everything)
    trajectory = result.trajectory.unpack() if packed else result.trajectory
    times = int(result.sweeps.max()) + 1
    assert trajectory.shape == (*lead, 4, times, 70)
    assert isinstance(result.trajectory, PackedStates) == packed
    for t in range(times):
        cut = net.recall(s, seed=3, max_sweeps=t).states if t else s
        assert np.array_equal(trajectory[..., t, :], cut)
    past = np.arange(times) > result.sweeps[..., None]
    m = np.einsum("...pi,...bti->...btp", x.astype(int), trajectory.astype(int)) / 70
    assert np.allclose(result.overlaps[~past], m[~past]) and np.isnan(result.overlaps[past]).all()
    again = net.recall(probes, seed=3, record_energy=True)
    assert np.array_equal(again.energies, result.energies, equal_nan=True)
    assert np.isnan(result.energies[past]).all() and not np.isnan(result.energies[~past]).any()

    updates = net.recall(probes, seed=3, record=everything, by="update")
    steps = updates.trajectory.unpack() if packed else updates.trajectory
    flips = int(updates.flips.max())
    assert steps.shape == (*lead, 4, flips + 1, 70) and updates.turns.shape == (*lead, 4, flips, 2)
    changed = (np.diff(steps, axis=-2) != 0).sum(axis=-1)
    assert np.array_equal(changed, np.arange(flips) < updates.flips[..., None])
    assert np.array_equal(steps[..., -1, :], updates.states.unpack() if packed else updates.states)
    falling = np.diff(updates.energies, axis=-1)
    assert (falling[~np.isnan(falling)] < 1e-12).all()

    several = net.recall(probes, seed=3, repeats=2, record=everything, by="update")
    assert several.energies.shape[: len(lead) + 2] == (2, *lead, 4)
    first = several.energies[0][..., : flips + 1]
    assert np.array_equal(first, updates.energies, equal_nan=True)


def test_nothing_happens_and_is_recorded(backend: str) -> None:
    net = network(backend)
    result = net.recall(spins(0, 5, 60)[0], record=("overlap", "states"), by="update", repeats=3, seed=1)
    assert result.trajectory.shape == (3, 1, 60) and result.turns.shape == (3, 0, 2)
    assert np.allclose(result.overlaps[:, 0, 0], 1)


def test_clamped_units_stay(backend: str) -> None:
    net, probes = network(backend, p=12), spins(1, 7, 60)
    held = np.random.default_rng(0).random((7, 60)) < 0.5
    for update in ("async", "sync"):
        for mask in (held, held[0]):
            result = net.recall(probes, update=update, clamp=mask, seed=1)
            mask = np.broadcast_to(mask, held.shape)
            assert np.array_equal(result.states[mask], probes[mask])
            stopped = result.period == 1
            free = (net.local_fields(result.states) * result.states >= 0) | mask
            assert free[stopped].all()
    everything = net.recall(probes, clamp=np.ones(60, bool))
    assert np.array_equal(everything.states, probes) and (everything.flips == 0).all()
    nothing = net.recall(probes, clamp=np.zeros(60, bool), seed=1)
    assert np.array_equal(nothing.states, net.recall(probes, seed=1).states)


@pytest.mark.parametrize("options", [{}, {"thresholds": 2}, {"rule": "storkey"}])
def test_unknown_units_start_by_their_fields(backend: str, options: dict[str, Any]) -> None:
    net, probes = network(backend, **options), spins(1, 7, 60).astype(float)
    hidden = np.random.default_rng(0).random((7, 60)) < 0.4
    known = np.where(hidden, 0, probes)
    fields = known @ net.couplings().astype(float).T - net.thresholds
    start = np.where(hidden, np.where(fields >= 0, 1, -1), probes)
    expected = net.recall(start, seed=1)
    missing = np.where(hidden, np.nan, probes)
    for found in (
        net.recall(known, unknown=0, seed=1),
        net.recall(missing, unknown=np.nan, seed=1),
        net.recall(probes, unknown=hidden, seed=1),
        net.recall(np.where(hidden, 7, probes).astype(int), unknown=7, seed=1),
    ):
        assert np.array_equal(found.states, expected.states)
    packed = net.recall(fastrec.pack(probes), unknown=hidden, seed=1)
    assert np.array_equal(packed.states.unpack(), expected.states)
    first = net.recall(known, unknown=0, seed=1, record="states").trajectory[:, 0]
    assert np.array_equal(first, start)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"record": "spins"}, "^record is 'spins'; it must be"),
        ({"record": ("energy", 3)}, "^record is 3"),
        ({"by": "flip"}, "^by is 'flip'"),
        ({"record": "energy", "by": "update", "update": "sync"}, '^by is "update"; update="sync" changes'),
        ({"clamp": [1, 0, 1]}, r"^clamp has shape \(3,\), dtype int64; it must be bool, \(60,\) or"),
        ({"clamp": np.ones(59, bool)}, r"^clamp has shape \(59,\)"),
        (
            {"clamp": np.ones((3, 60), bool)},
            r"^clamp has shape \(3, 60\), which does not go with probes \(2, 60",
        ),
        ({"unknown": np.ones((2, 59), bool)}, r"^unknown has shape \(2, 59\)"),
        ({"unknown": "?"}, "^unknown has shape"),
        ({"unknown": np.ma.masked_array(np.ones(60, bool), np.ones(60, bool))}, "^unknown has 60 masked"),
    ],
)
def test_arguments_of_recall(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network("cpu").recall(spins(1, 2, 60), **options)


def test_packed_probes_have_no_unknown_value() -> None:
    with pytest.raises(ValueError, match=r"^unknown is 0; packed probes hold \+1 and -1 alone, give a mask$"):
        network("cpu").recall(fastrec.pack(spins(1, 60)), unknown=0)


def test_codings_and_shapes(backend: str) -> None:
    """The same network however its states are written."""
    x, probes = spins(0, 4, 60), spins(1, 2, 3, 60)
    plain = HopfieldNetwork(60, backend=backend)
    plain.store(x)
    expected = plain.recall(probes, seed=1, record=("states", "overlap"))
    net = HopfieldNetwork(60, backend=backend, coding="01", shape=(5, 12))
    net.store((x.reshape(4, 5, 12) + 1) // 2)
    assert net.patterns.shape == (4, 5, 12) and np.array_equal(net.patterns.reshape(4, 60) * 2 - 1, x)
    pictures = (probes.reshape(2, 3, 5, 12) + 1) // 2
    found = net.recall(pictures, seed=1, record=("states", "overlap"), clamp=np.zeros((5, 12), bool))
    assert found.states.shape == (2, 3, 5, 12) and found.sweeps.shape == (2, 3)
    assert np.array_equal(found.states.reshape(2, 3, 60) * 2 - 1, expected.states)
    assert np.array_equal(found.trajectory.reshape(expected.trajectory.shape) * 2 - 1, expected.trajectory)
    assert np.array_equal(found.overlaps, expected.overlaps, equal_nan=True)
    assert net.local_fields(pictures).shape == (2, 3, 5, 12)
    assert np.array_equal(net.energy(pictures), plain.energy(probes))
    flat = net.recall(pictures.reshape(2, 3, 60), seed=1)
    assert flat.states.shape == (2, 3, 60)
    with pytest.raises(ValueError, match=r'^probes holds -1 at \[3\]; states are 0 and 1 .*coding="01"'):
        net.recall(x[0])
    kinds = plain.identify(x[2] * -1)
    assert (str(kinds.kind), int(kinds.index), int(kinds.sign)) == ("inverse", 2, -1)
    assert np.array_equal(net.identify(found.states).index, plain.identify(expected.states).index)


def test_patterns_can_still_be_called() -> None:
    net = network("cpu")
    with pytest.warns(DeprecationWarning, match="patterns is a property now"):
        called = net.patterns()
    assert type(called) is np.ndarray and np.array_equal(called, net.patterns)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.patterns[0] = 1  # a copy
        assert type(net.patterns * 2) is np.ndarray
    assert np.array_equal(net.patterns, spins(0, 5, 60))


def test_threads_do_not_matter(threads: Any) -> None:
    w, theta = couplings(0, 150, False), np.arange(150) % 5
    net = HopfieldNetwork.from_couplings(w, theta, backend="cpu")
    probes, found = spins(1, 13, 150), []
    for number in (1, 2, 5):
        threads(number)
        a = net.recall(probes, seed=1, record=("energy", "states"), by="update", max_sweeps=12)
        b = net.recall(probes, update="sync", max_sweeps=200)
        found.append((a.energies, a.trajectory, a.turns, b.states, b.period))
    for other in found[1:]:
        for x, y in zip(found[0], other, strict=True):
            assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
