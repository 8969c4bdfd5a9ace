"""Glauber dynamics: odds, the distributions of Gibbs and Peretto, theory, annealing, averages."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastrec
from fastrec import HopfieldNetwork, validation
from fastrec.hopfield import dynamics
from fastrec.hopfield.temperature import chances, heat_levels
from fastrec.kernels.reference.glauber import chance

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own


def network(n: int, p: int, backend: str, seed: int = 1, **options: Any) -> HopfieldNetwork:
    net = HopfieldNetwork(n, backend=backend, **options)
    net.store(fastrec.random_patterns(p, n, seed=seed))
    return net


def test_the_table_of_odds() -> None:
    table = chances()
    assert table[0] == 2**63 and (np.diff(table.astype(object)) <= 0).all() and table[-3] > table[-1] == 0
    for j in (1, 1000, 20_000, 44_000):
        assert abs(int(table[j]) - 2**64 / (1 + math.exp(j / 1024))) <= 2**12 + 1


@given(
    st.integers(1, 2**31 - 1),
    st.floats(2.0**-30, 2.0**40),
    st.floats(1e-6, 1e6),
    st.floats(0, 1),
)
def test_odds_are_those_of_the_formula(n: int, scale: float, temperature: float, share: float) -> None:
    (level,) = heat_levels(np.array([temperature]), n, scale)
    size = int(share * int(level[0]))
    y = 2 * Fraction(size) / (n * Fraction(scale) * Fraction(temperature))
    exact = 1 / (1 + math.exp(y))
    assert size == level[0] or abs(chance(size, level, chances()) / 2**64 - exact) < exact * 2**-20 + 2.0**-60
    if level[0] < 2**62:  # obeyed for certain from where the odds against are 2^-64
        assert 2 * int(level[0]) / (n * scale * temperature) >= 64 * math.log(2) * (1 - 1e-6)


@pytest.mark.parametrize("temperature", [1e-300, 1e300, 5e-324])
def test_extreme_temperatures(backend: str, temperature: float) -> None:
    """A tiny temperature is 0 but for units without a field; at a huge one units are coins."""
    net, probe = network(64, 3, backend), fastrec.random_patterns(20, 64, seed=5)
    found = net.recall(probe, temperature=temperature, max_sweeps=20, seed=1)
    if temperature < 1:  # no field is 0, the sum of 63 odd numbers
        assert (found.states == net.recall(probe, max_sweeps=20, seed=1).states).all()
    else:
        assert abs((found.states * probe).mean()) < 4 / math.sqrt(20 * 64)


@given(st.integers(1, 2**31 - 1), st.sampled_from([5e-324, 1e-300, 1.0, 1e300]), st.floats(5e-324, 1.7e308))
def test_odds_of_any_scale_and_temperature(n: int, scale: float, temperature: float) -> None:
    (level,) = heat_levels(np.array([temperature]), n, scale)
    unit = 2 / (n * Fraction(scale) * Fraction(temperature))  # y of a field of 1
    certain = Fraction(64 * math.log(2)) / unit
    cutoff = int(level[0])
    assert min(certain, 2**62) * (1 - Fraction(1e-9)) <= cutoff <= certain * (1 + Fraction(1e-4)) + 1
    size = cutoff // 2
    exact = 1 / (1 + math.exp(size * unit))
    assert not size or abs(chance(size, level, chances()) / 2**64 - exact) < exact * 2**-20 + 2.0**-60


def test_tiny_couplings(backend: str) -> None:
    """Couplings and temperatures of one size, be it what it may, have the odds of 1."""
    found = []
    for size in (1.0, 2.0**-996):
        net = HopfieldNetwork.from_couplings(
            size * np.array([[0, 3, 1], [3, 0, -2], [1, -2, 0]]), backend=backend
        )
        found.append(net.recall(np.ones((20, 3)), temperature=0.5 * size, max_sweeps=9, seed=1).states)
    assert np.array_equal(*found)


def all_states(n: int) -> np.ndarray:
    return np.array(list(itertools.product([-1, 1], repeat=n)), dtype=np.int8)


def chi_square(states: np.ndarray, odds: np.ndarray) -> float:
    """Standard deviations by which the counts of states are too far from their expectation."""
    n = states.shape[1]
    numbers = (states > 0) @ (1 << np.arange(n - 1, -1, -1))
    expected = len(states) * odds
    rare = expected < 5
    counts = np.bincount(numbers, minlength=2**n)
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if expected[-1] == 0:
        observed, expected = observed[:-1], expected[:-1]
    freedom = len(expected) - 1
    return float((((observed - expected) ** 2 / expected).sum() - freedom) / math.sqrt(2 * freedom))


@pytest.mark.parametrize("kind", ["patterns", "weights", "storkey", "given"])
@pytest.mark.slow
def test_async_states_have_the_distribution_of_gibbs(quick: None, compiled: str, kind: str) -> None:
    """All 2^10 states, as often as exp(-E/T) says."""
    n, temperature, rows = 10, 0.7, 40_000
    if kind == "given":
        w = np.random.default_rng(3).normal(size=(n, n))
        net = HopfieldNetwork.from_couplings(w + w.T - 2 * np.diag(w.diagonal()), 0.3, backend=compiled)
        temperature = 0.4
    else:
        rule: Any = "storkey" if kind == "storkey" else "hebb"
        representation: Any = "auto" if kind == "storkey" else kind
        net = network(n, 3, compiled, rule=rule, representation=representation)
    start = fastrec.random_patterns(rows, n, seed=9)
    for order, first in (("random", 0), ("sequential", 100)):
        options: Any = {"order": order, "temperature": temperature, "max_sweeps": 60, "seed": 4}
        found = net.recall(start, first_sweep=first, **options)
        weights = np.exp(-net.energy(all_states(n)) / temperature)
        assert abs(chi_square(found.states, weights / weights.sum())) < 4
    wrong = np.exp(-net.energy(all_states(n)) / (1.1 * temperature))
    assert chi_square(found.states, wrong / wrong.sum()) > 8  # the test would notice 10 %


@pytest.mark.slow
def test_sync_states_have_the_distribution_of_peretto(quick: None, compiled: str) -> None:
    """Parallel updates: P(s) ~ prod_i cosh(h_i / n T) (Peretto, Biol. Cybern. 50, 51, 1984)."""
    n, temperature = 10, 0.7
    for representation in ("patterns", "weights"):
        net = network(n, 3, compiled, representation=representation)
        start = fastrec.random_patterns(40_000, n, seed=9)
        found = net.recall(start, "sync", temperature=temperature, max_sweeps=61, seed=4)
        weights = np.cosh(net.local_fields(all_states(n)) / (n * temperature)).prod(axis=1)
        assert abs(chi_square(found.states, weights / weights.sum())) < 4


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "temperature"), [(0.05, 0.4), (0.1, 0.2), (0.02, 0.5)])
def test_overlaps_are_those_of_theory(alpha: float, temperature: float) -> None:
    """Amit, Gutfreund and Sompolinsky at n = 10 000, within three standard errors of independent networks."""
    n, means = 10_000, []
    for seed in range(8):
        patterns = fastrec.random_patterns(round(alpha * n), n, seed=seed)
        net = HopfieldNetwork(n, backend="cpu")
        net.store(patterns)
        found = net.recall(patterns[:2], temperature=temperature, max_sweeps=60, average=40, seed=seed)
        assert found.averages is not None
        means.append(found.averages.overlaps[:, :2].diagonal().mean())
    error = np.std(means, ddof=1) / math.sqrt(len(means))
    assert abs(np.mean(means) - fastrec.theory.ags_overlap(alpha, temperature)) < 3 * error


def test_all_backends_and_representations_agree(backend: str) -> None:
    for n, p, b in ((1, 1, 2), (63, 4, 3), (65, 20, 2), (130, 7, 5)):
        probes = fastrec.corrupt(fastrec.random_patterns(b, n, seed=1), n // 5, seed=2)
        for update in ("async", "sync"):
            results = []
            for name, representation in (
                (backend, "patterns"),
                (backend, "weights"),
                ("reference", "weights"),
            ):
                net = network(n, p, name, representation=representation)
                options: Any = {"temperature": [0.9, 0.0, 0.3, 0.5], "average": 2, "seed": 3}
                results.append(net.recall(probes, update, record="energy", **options))
            first = results[0]
            for other in results[1:]:
                assert (first.states == other.states).all() and (first.flips == other.flips).all()
                assert (first.energies == other.energies).all()
                a, c = first.averages, other.averages
                assert (a.states == c.states).all() and (a.overlaps == c.overlaps).all()
                assert (a.energy == c.energy).all() and (a.edwards_anderson == c.edwards_anderson).all()


def test_zero_temperature_is_recall_without(backend: str) -> None:
    net, probes = network(100, 20, backend), fastrec.random_patterns(5, 100, seed=2)
    for update in ("async", "sync"):
        plain, zero, schedule = (
            net.recall(probes, update, seed=3, record_energy=True, **options)
            for options in ({}, {"temperature": 0}, {"temperature": np.zeros(100)})
        )
        for other in (zero, schedule):
            for name in ("states", "converged", "period", "sweeps", "flips"):
                assert (getattr(plain, name) == getattr(other, name)).all()
            assert np.array_equal(plain.energies, other.energies, equal_nan=True)


@pytest.mark.parametrize("by", ["sweep", "update"])
def test_annealing_ends_as_recall_from_where_the_heat_ends(backend: str, by: Any) -> None:
    net, probes = network(70, 6, backend), fastrec.random_patterns(4, 70, seed=2)
    schedule = np.r_[np.linspace(1.2, 0.1, 6), np.zeros(30)]
    whole = net.recall(probes, temperature=schedule, seed=3, record=("energy", "states", "overlap"), by=by)
    hot = net.recall(probes, temperature=schedule[:6], seed=3, record="states", by=by)
    cold = net.recall(hot.states, seed=3, first_sweep=6, max_sweeps=30, record="states", by=by)
    assert (whole.states == cold.states).all() and whole.converged.all()
    assert (whole.sweeps == 6 + cold.sweeps).all() and (whole.flips == hot.flips + cold.flips).all()
    for row, (sweeps, flips, before) in enumerate(zip(whole.sweeps, whole.flips, hot.flips, strict=True)):
        course, end = whole.trajectory[row], sweeps if by == "sweep" else flips
        middle = 6 if by == "sweep" else before
        assert (course[: middle + 1] == hot.trajectory[row][: middle + 1]).all()
        assert (course[middle : end + 1] == cold.trajectory[row][: end + 1 - middle]).all()
        assert np.allclose(whole.energies[row, : end + 1], net.energy(course[: end + 1]))
        if by == "update":
            changed = [int(np.flatnonzero(a != b)[0]) for a, b in itertools.pairwise(course[: flips + 1])]
            assert changed == whole.turns[row, :flips, 1].tolist()
            assert (np.diff(whole.turns[row, :flips, 0]) >= 0).all()
            assert whole.turns[row, flips - 1, 0] == sweeps - 2  # the last sweep flips nothing


def test_a_recall_goes_on(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several calls, or in several calls of the kernel, as in one."""
    net, probes = network(70, 6, backend), fastrec.random_patterns(4, 70, seed=2)
    for update in ("async", "sync"):
        options: Any = {"temperature": 0.6, "seed": 3}
        whole = net.recall(probes, update, max_sweeps=9, average=5, record=("energy", "states"), **options)
        half = net.recall(probes, update, max_sweeps=4, **options)
        rest = net.recall(half.states, update, max_sweeps=5, first_sweep=4, average=5, **options)
        assert (rest.states == whole.states).all()
        assert (rest.averages.states == whole.averages.states).all()
        assert (whole.averages.states == whole.trajectory[:, 5:].mean(axis=1)).all()
        assert np.allclose(whole.averages.energy, whole.energies[:, 5:].mean(axis=1))
        assert np.allclose(whole.averages.edwards_anderson, (whole.averages.states**2).mean(axis=1))
        assert np.allclose(whole.averages.overlaps, whole.averages.states @ net.patterns.T / 70)
        with monkeypatch.context() as patched:
            patched.setattr(dynamics, "LEAST_SWEEPS", 2)
            patched.setattr(dynamics, "BREATH", 0)
            pieces = net.recall(
                probes, update, max_sweeps=9, average=5, record=("energy", "states"), **options
            )
        assert (pieces.trajectory == whole.trajectory).all() and (pieces.energies == whole.energies).all()
        assert (pieces.flips == whole.flips).all()
        assert (pieces.averages.states == whole.averages.states).all()
        assert (pieces.averages.energy == whole.averages.energy).all()


def test_rows_and_repeats_draw_for_themselves(backend: str) -> None:
    net = network(100, 5, backend)
    probe = fastrec.random_patterns(1, 100, seed=2)
    rows = net.recall(np.repeat(probe, 3, axis=0), "sync", temperature=2, max_sweeps=3, seed=1).states
    assert len(np.unique(rows, axis=0)) == 3
    times = net.recall(probe, "sync", temperature=2, max_sweeps=3, seed=1, repeats=3)
    assert len(np.unique(times.states[:, 0], axis=0)) == 3 and (times.states[0, 0] == rows[0]).all()
    assert times.seed == 1
    ks = HopfieldNetwork(100, backend=backend)
    ks.store(np.stack([net.patterns] * 2))
    found = ks.recall(probe, temperature=2, max_sweeps=3, seed=1).states
    assert (found[0] != found[1]).any()


def test_clamped_units_keep_their_state(backend: str) -> None:
    net, probes = network(70, 6, backend), fastrec.random_patterns(4, 70, seed=2)
    clamp = np.arange(70) < 30
    for update in ("async", "sync"):
        found = net.recall(probes, update, temperature=3, max_sweeps=5, clamp=clamp, seed=1)
        assert (found.states[:, :30] == probes[:, :30]).all() and (found.states != probes).any()


def test_codings_shapes_and_packed_states(backend: str) -> None:
    patterns = fastrec.random_patterns(3, 60, seed=1)
    plain, picture = (
        HopfieldNetwork(60, backend=backend),
        HopfieldNetwork(60, backend=backend, coding="01", shape=(6, 10)),
    )
    plain.store(patterns)
    picture.store((patterns > 0).reshape(3, 6, 10).astype(int))
    options: Any = {"temperature": 0.5, "max_sweeps": 8, "average": 4, "seed": 2}
    a, b = (
        plain.recall(patterns, **options),
        picture.recall((patterns > 0).reshape(3, 6, 10).astype(int), **options),
    )
    assert b.averages.states.shape == (3, 6, 10)
    assert np.allclose(2 * b.averages.states.reshape(3, 60) - 1, a.averages.states)
    one = plain.recall(fastrec.pack(patterns[0]), **options)
    assert one.averages.energy.shape == () and one.averages.overlaps.shape == (3,)
    assert (one.averages.overlaps == a.averages.overlaps[0]).all()


def test_given_couplings_have_no_overlaps(backend: str) -> None:
    net = HopfieldNetwork.from_couplings([[0, 1.5], [1.5, 0]], backend=backend)
    averages = net.recall([1, -1], temperature=0.5, max_sweeps=20, average=10, seed=1).averages
    assert averages is not None and averages.overlaps is None and averages.states.shape == (2,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature is -0.1; it must be a number at least 0"),
        ({"temperature": np.nan}, "temperature is nan"),
        ({"temperature": np.inf}, "temperature is inf"),
        ({"temperature": 10**400}, "temperature is 1000"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": [0.5, -1]}, r"temperature\[1\] is -1.0; temperatures are finite"),
        ({"temperature": []}, r"temperature has shape \(0,\)"),
        ({"temperature": [[0.5]]}, r"temperature has shape \(1, 1\)"),
        (
            {"temperature": [0.5, 0.4], "max_sweeps": 3},
            "max_sweeps is 3; temperature is a schedule of 2 sweeps",
        ),
        (
            {"temperature": [0.5, 0.4], "order": [[0, 1, 2, 3]]},
            "temperature is a schedule of 2 sweeps; order holds 1",
        ),
        ({"temperature": 0.5, "average": 101}, "average is 101"),
        ({"temperature": 0.5, "average": 0}, "average is 0"),
        ({"average": 5}, "average is 5; it takes a temperature above 0 in the last sweep"),
        ({"temperature": [0.5, 0], "average": 1}, "average is 1; it takes a temperature above 0"),
    ],
)
def test_wrong_arguments(backend: str, options: dict[str, Any], message: str) -> None:
    net = network(4, 1, backend)
    with pytest.raises(ValueError, match=message):
        net.recall([1, 1, 1, 1], **options)


def test_averages_of_all_repeats_must_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(1000, 2, "cpu")
    monkeypatch.setattr(validation, "available_memory", lambda backend: 2**26)
    options: Any = {"temperature": 0.5, "average": 1, "max_sweeps": 1, "seed": 1}
    assert net.recall(net.patterns, **options, repeats=2).averages is not None
    with pytest.raises(ValueError, match="averages of 4000 states needs 80 MB of memory"):
        net.recall(net.patterns, **options, repeats=2000)


def test_energies_never_rise_at_zero_temperature(backend: str) -> None:
    net, probes = network(90, 12, backend), fastrec.random_patterns(6, 90, seed=2)
    energies = net.recall(probes, temperature=np.zeros(20), seed=1, record="energy").energies
    assert (np.diff(energies, axis=1)[~np.isnan(energies[:, 1:])] <= 0).all()
