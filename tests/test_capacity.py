"""Capacity: the scan against the definition, against a simulation that shares no code, and against theory."""

from __future__ import annotations

import concurrent.futures

import numpy as np
import pytest
from devices import emulated, host_kernels
from hypothesis import given
from hypothesis import strategies as st

import fastrec
from fastrec.hopfield import theory
from fastrec.kernels.cpu import capacity as cpu

KEY = np.uint64(0x9E3779B97F4A7C15)


def scan(backend, n, trials, *definition):
    counts, censored = np.full(len(trials), -9), np.ones(len(trials), dtype=bool)
    host_kernels("capacity", backend).capacity_scan(KEY, n, np.asarray(trials), *definition, counts, censored)
    return counts.tolist(), censored.tolist()


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("synchronous", [False, True])
@pytest.mark.parametrize(
    ("n", "corrupted", "limit"),
    [
        (1, 0, 3),
        (1, 1, 9),
        (2, 1, 4),
        (3, 2, 9),
        (20, 1, 12),
        (20, 0, 17),
        (63, 16, 12),
        (65, 5, 12),
        (130, 1, 24),
    ],
)
def test_scan_equals_definition(compiled, n, corrupted, limit, newest, largest, synchronous):
    arguments = (n, [0, 1, 5, 70000], newest, largest, corrupted, synchronous, 20, limit)
    assert scan(compiled, *arguments) == scan("reference", *arguments)


@pytest.mark.parametrize(
    ("n", "trials", "newest", "corrupted", "synchronous"),
    [
        (300, 2, False, 1, False),
        pytest.param(100, 100, False, 1, False, marks=pytest.mark.slow),
        (100, 60, False, 1, True),
        (130, 40, True, 2, False),
        pytest.param(40, 600, False, 1, False, marks=pytest.mark.slow),
    ],
)
def test_scan_equals_definition_where_it_certifies(compiled, n, trials, newest, corrupted, synchronous):
    """Enough trials that the flipped bits, not the memory's own stability, end some of them."""
    slow = emulated(compiled)
    trials //= 10 if slow and trials >= 40 else 1
    arguments = (n, np.arange(trials), newest, False, corrupted, synchronous, 100, 36)
    found = scan(compiled, *arguments)
    assert found == scan("reference", *arguments)
    assert (
        slow
        or n > 100
        or found != scan(compiled, n, np.arange(trials), newest, False, 0, synchronous, 100, 36)
    )


DEFINITIONS = [
    (130, False, False, 1, False, 100, 36),
    (130, True, False, 2, True, 100, 36),
    (100, False, True, 1, False, 100, 40),
    (65, True, True, 3, False, 100, 30),
    (70, False, False, 9, False, 100, 30),  # the last loads are not certified
    (64, False, True, 20, True, 100, 27),  # no load is
    (40, False, False, 2, False, 1, 25),
]


@pytest.mark.parametrize(
    ("n", "newest", "largest", "corrupted", "synchronous", "max_sweeps", "limit"), DEFINITIONS
)
def test_a_network_on_all_threads_goes_on_where_it_was(
    threads, monkeypatch, n, newest, largest, corrupted, synchronous, max_sweeps, limit
):
    """Blocks of few memories: killed after each of them, the count is that of the definition."""
    monkeypatch.setattr(cpu, "BLOCK", cpu.ROWS)
    options = (newest, largest, corrupted, synchronous, max_sweeps, limit)
    trials = [0, 3, 70_000]
    expected = scan("reference", n, trials, *options)
    turns = 0
    for trial, count, censored in zip(trials, *expected, strict=True):
        progress = None
        while True:
            network = cpu.NetworkScan(KEY, n, trial, *options, progress)
            share = next(iter(network), None)
            if share is None:
                break
            assert 0 <= share <= 1
            progress, turns = network.progress, turns + 1
        assert (network.end, network.end == limit) == (count, censored)
    assert turns > len(trials) or n < 100


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("shift", [0, 3, 5])
@pytest.mark.parametrize("safe", [-9.0, 9.0])
@pytest.mark.each_value
def test_bounds_of_any_width_miss_nothing(threads, monkeypatch, newest, largest, shift, safe):
    """Coarse digits leave large rests, and long steps a large spread: more is looked at, and nothing else."""
    monkeypatch.setattr(cpu, "digit_shift", lambda n: shift)
    monkeypatch.setattr(cpu, "SAFE", safe)
    cpu.step_ends.cache_clear()
    options = (newest, largest, 1, False, 100, 50)
    trials = range(100, 106)
    found = []
    for trial in trials:
        network = cpu.NetworkScan(KEY, 150, trial, *options)
        list(network)
        found.append(network.end)
    cpu.step_ends.cache_clear()
    assert found == scan("reference", 150, trials, *options)[0]


@pytest.mark.parametrize(
    ("n", "newest", "largest", "trials"), [(200, False, False, range(4)), (60, True, True, range(20))]
)
def test_notes_that_do_not_fit_are_done_without(threads, monkeypatch, n, newest, largest, trials):
    """A list that is full leaves more to be recalled, and nothing else."""
    options = (newest, largest, 3 - 2 * newest, False, 100, 60)
    expected = scan("reference", n, trials, *options)
    for notes in (1, 2, 5):
        monkeypatch.setattr(cpu, "NOTES", notes)
        for trial, count in enumerate(expected[0]):
            network = cpu.NetworkScan(KEY, n, trial, *options)
            list(network)
            assert network.end == count


def test_too_many_patterns_for_32_bits_are_refused():
    with pytest.raises(OverflowError, match="2097153 patterns do not fit 32 bits"):
        scan("cpu", 2, [0], False, False, 0, False, 1, 2**21 + 1)


@pytest.mark.parametrize(
    ("n", "newest", "synchronous"), [(33, False, False), (64, True, True), (100, False, False)]
)
def test_one_sweep_is_not_enough(compiled, n, newest, synchronous):
    """It corrects a flipped unit, and only the next one shows that the row is at rest."""
    for corrupted in (0, 1, 2):
        arguments = (n, [0, 1], newest, False, corrupted, synchronous, 1, 12)
        assert scan(compiled, *arguments) == scan("reference", *arguments)


@given(
    st.integers(1, 90),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(1, 20),
    st.integers(0, 2**32 - 8),
    st.data(),
)
def test_any_scan_equals_definition(compiled, n, newest, largest, synchronous, limit, first, data):
    corrupted = data.draw(st.integers(0, min(n, 3)))
    arguments = (n, [first, first + 7], newest, largest, corrupted, synchronous, 9, limit)
    assert scan(compiled, *arguments) == scan("reference", *arguments)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("n", [14_000, 16_391])
def test_wide_fields_where_narrow_ones_could_overflow(compiled, n):
    # At n = 14000 the sums of overlaps pass 16 bits long before the first failure near p = 510; from 2^14 on
    # fields have 32 bits, and a memory gets several groups of patterns at once.
    fields = fastrec.capacity(n, trials=1, flips=0, backend=compiled)
    p = int(fields.counts[0])
    patterns = fastrec.random_patterns(p + 1, n, backend=compiled, seed=0)
    net = fastrec.HopfieldNetwork(n, backend=compiled)
    net.store(patterns[:p])
    assert net.is_stable(patterns[:p]).all()
    net.store(patterns[p])
    assert not net.is_stable(patterns).all()


@pytest.mark.parametrize("n", [9001, 16_391])
@pytest.mark.usefixtures("quick")
@pytest.mark.slow
def test_largest_is_the_last_stable_load(compiled, n):
    first = int(fastrec.capacity(n, trials=1, flips=0, backend=compiled).counts[0])
    limit = first + 45
    largest = fastrec.capacity(n, trials=1, flips=0, stop="largest", max_patterns=limit, backend=compiled)
    patterns = fastrec.random_patterns(limit, n, backend=compiled, seed=0)
    net, stable = fastrec.HopfieldNetwork(n, backend=compiled), []
    net.store(patterns[:first])
    for p in range(first, limit + 1):
        if net.is_stable(patterns[:p]).all():
            stable.append(p)
        if p < limit:
            net.store(patterns[p])
    assert stable[0] == first and largest.counts[0] == stable[-1]


def brute_force(n, rng):
    """Capacity of one network by the definition, with NumPy's random numbers, one bit flipped."""
    x = np.empty((0, n))
    while True:
        x = np.vstack([x, rng.choice([-1.0, 1.0], n)])
        w = x.T @ x
        np.fill_diagonal(w, 0)
        for memory in x:
            s = memory.copy()
            s[rng.integers(n)] *= -1
            while True:
                before = s.copy()
                for i in rng.permutation(n):
                    field = w[i] @ s
                    s[i] = s[i] if field == 0 else np.sign(field)
                if (s == before).all():
                    break
            if (s != memory).any():
                return len(x) - 1


@pytest.mark.parametrize(("n", "trials"), [(50, 300), pytest.param(100, 60, marks=pytest.mark.slow)])
def test_distribution_equals_brute_force(n, trials):
    rng = np.random.default_rng(n)
    simulated = np.array([brute_force(n, rng) for _ in range(trials)])
    exact = fastrec.capacity(n, trials=20_000, backend="cpu").counts
    error = exact.std() / trials**0.5
    assert abs(simulated.mean() - exact.mean()) < 3.5 * error
    assert 0.75 < simulated.std() / exact.std() < 1.3


@pytest.mark.parametrize(
    ("n", "networks", "slack"),
    [(100, 2000, 0.11), (1000, 400, 0.03), pytest.param(10_000, 60, 0.0, marks=pytest.mark.slow)],
)
def test_stable_share_at_the_binomial_median(n, networks, slack):
    # slack: the Poisson curve takes bits as independent; measured, it is low by that much at small n.
    p = theory.capacity_quantile(n)
    net = fastrec.HopfieldNetwork(n, backend="cpu")
    patterns = fastrec.random_patterns(p, n, networks=networks, packed=True, seed=0)
    net.store(patterns)
    share = net.is_stable(patterns).all(axis=1).mean()
    expected = float(theory.all_stable_probability(n, p))
    error = (expected * (1 - expected) / networks) ** 0.5
    assert -3.5 * error < share - expected < 3.5 * error + slack


@pytest.mark.parametrize(("n", "trials"), [(100, 2000), (1000, 400), (10_000, 30)])
def test_stops_enclose_the_binomial_median(n, trials):
    first = fastrec.capacity(n, trials, flips=0, backend="cpu")
    largest = fastrec.capacity(n, trials, flips=0, stop="largest", backend="cpu")
    assert (first.counts <= largest.counts).all()
    assert (first.counts < largest.counts).any()
    median = theory.capacity_quantile(n)
    # The curve crosses 1/2 between the median, a whole number, and the next.
    assert first.mean - 4 * first.standard_error < median + 1
    assert median < largest.mean + 4 * largest.standard_error
    # 14 % of the trials differ at n = 100.
    if n == 100:
        assert 0.11 < (first.counts != largest.counts).mean() < 0.175


def test_first_synchronous_step():
    n, alpha, m0, b = 10_000, 0.2, 0.5, 100
    p = int(alpha * n)
    patterns = fastrec.random_patterns(p, n, packed=True, seed=0)
    net = fastrec.HopfieldNetwork(n, backend="cpu")
    net.store(patterns)
    memories = fastrec.PackedStates(patterns.words[:b].copy(), n)
    step = net.recall(fastrec.corrupt(memories, (1 - m0) / 2, seed=0), update="sync", max_sweeps=1)
    m1 = np.diagonal(net.overlaps(step.states))
    # The load of the other p - 1 patterns; 4 standard errors of the mean and the 1/n of finite size.
    expected = float(theory.first_step_overlap(m0, (p - 1) / n))
    assert abs(m1.mean() - expected) < 4 * m1.std() / b**0.5 + 1 / n


@pytest.mark.parametrize(("alpha", "b"), [(0.05, 100), (0.10, 40)])
def test_retrieval_overlap_is_that_of_ags(alpha, b):
    n = 10_000
    patterns = fastrec.random_patterns(int(alpha * n), n, packed=True, seed=1)
    net = fastrec.HopfieldNetwork(n, backend="cpu")
    net.store(patterns)
    result = net.recall(fastrec.PackedStates(patterns.words[:b].copy(), n), seed=0)
    m = np.diagonal(net.overlaps(result.states))
    assert result.converged.all()
    assert abs(m.mean() - float(theory.ags_overlap(alpha))) < 4 * m.std() / b**0.5 + 1 / n


def test_threads_and_chunks_change_nothing(threads):
    results = []
    for number in (1, 2, 5):
        threads(number)
        results.append(fastrec.capacity_scaling([10, 200, 500], trials=37, seed=3, backend="cpu"))
    alone = fastrec.capacity(200, trials=5, seed=3, backend="cpu")
    for scaling in results:
        for ours, expected in zip(scaling, results[0], strict=True):
            assert np.array_equal(ours.counts, expected.counts)
        assert np.array_equal(scaling[1].counts[:5], alone.counts)


def test_at_once_from_several_python_threads():
    expected = fastrec.capacity(150, trials=20, backend="cpu").counts
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(fastrec.capacity, 150, trials=20, backend="cpu") for _ in range(8)]
    assert all(np.array_equal(f.result().counts, expected) for f in futures)


def test_backends_agree_through_the_public_call(compiled):
    ours, expected = (
        fastrec.capacity_scaling([1, 7, 40], trials=4, seed=2**64 - 1, backend=name)
        for name in (compiled, "reference")
    )
    for a, b in zip(ours, expected, strict=True):
        assert np.array_equal(a.counts, b.counts)
        assert a.definition == b.definition
        assert (a.backend, b.backend) == (compiled, "reference")


def test_censored_trials_are_marked():
    result = fastrec.capacity(100, trials=50, max_patterns=9, backend="cpu")
    assert np.array_equal(result.censored, result.counts == 9)
    assert 0 < result.censored.sum() < 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"n": 2.5}, "n is 2.5"),
        ({"trials": 0}, "trials is 0"),
        ({"criterion": "most"}, "criterion must be"),
        ({"stop": "first-failure"}, "stop must be"),
        ({"corruption": 11}, "corruption is 11"),
        ({"corruption": -1}, "corruption is -1"),
        ({"update": "parallel"}, "update must be"),
        ({"seed": -1}, "seed is -1"),
        ({"max_sweeps": 0}, "max_sweeps is 0"),
        ({"max_patterns": 0}, "max_patterns is 0"),
        ({"n": 10_000_000}, "needs .* of memory"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        fastrec.capacity(**{"n": 10, "backend": "cpu", **arguments})


def test_large_networks_need_their_memory_once_or_in_each_process(monkeypatch):
    monkeypatch.setattr("fastrec.validation.available_memory", lambda _: 10**9)
    monkeypatch.setattr("fastrec.hopfield.storage_capacity.run.get_threads", lambda: 64)
    monkeypatch.setattr("fastrec.hopfield.storage_capacity.run.scan", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fastrec.capacity(100_000, 64, backend="cpu")
    with pytest.raises(ValueError, match=r"needs 6\.64 GB of memory, .*; use fewer workers"):
        fastrec.capacity_scaling([100_000], 64, backend="cpu", workers=64)
    with pytest.raises(ValueError, match=r"needs 6\.9\d* GB of memory, 1 GB are available$"):
        fastrec.capacity(1_000_000, 64, backend="cpu")


def test_bad_scalings(tmp_path):
    with pytest.raises(ValueError, match="sizes is empty"):
        fastrec.capacity_scaling([])
    with pytest.raises(ValueError, match="sizes holds 5 more than once"):
        fastrec.capacity_scaling([5, 6, 5])
    with pytest.raises(ValueError, match=r"\.csv"):
        fastrec.capacity_scaling([5], out=tmp_path / "a.txt")


def test_unwritable_out_is_refused_before_work(tmp_path, monkeypatch):
    monkeypatch.setattr("fastrec.hopfield.storage_capacity.run.scan", lambda *_: pytest.fail("work started"))
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        fastrec.capacity_scaling([5], out=tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        fastrec.capacity_scaling([5], out=tmp_path / "none" / "b.csv")
