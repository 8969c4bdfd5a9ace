"""Capacity and retrieval of any rule and patterns: against their definition, in files, tables and words."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_retrieval import by_hand

import fastrec
from fastrec import RetrievalResult, ScalingResult
from fastrec.hopfield import theory
from fastrec.hopfield.ensemble import Given
from fastrec.hopfield.retrieval import RetrievalDefinition, trial_seed
from fastrec.hopfield.retrieval.run import Task, retrieve
from fastrec.hopfield.storage_capacity import CapacityDefinition
from fastrec.hopfield.storage_capacity.search import search
from fastrec.jobs.export import export
from fastrec.kernels.reference.capacity import capacity_scan
from fastrec.kernels.reference.random import corruption, random_order
from fastrec.streams import stream_key

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own


@pytest.mark.parametrize("criterion", ["all", "newest"])
@pytest.mark.parametrize("stop", ["first_failure", "largest"])
@pytest.mark.parametrize("update", ["async", "sync"])
@pytest.mark.parametrize(
    ("n", "flips", "sweeps", "limit"),
    [(1, 1, 5, 3), (3, 2, 20, 9), (20, 0, 20, 12), (33, 5, 3, 9), (65, 1, 20, 12), (40, 0.2, 1, 8)],
)
def test_the_search_counts_what_the_scan_counts(
    backend: str, criterion: Any, stop: Any, update: Any, n: int, flips: float, sweeps: int, limit: int
) -> None:
    """Of Hebb's networks, which both know: two sets of code, the same streams of random numbers."""
    units, share = (0, flips) if isinstance(flips, float) else (flips, 0.0)
    d = CapacityDefinition(criterion, stop, units, update, sweeps, limit, 3, share)
    trials, counts, censored = np.array([0, 1, 5, 70_000]), np.empty(4, np.int64), np.empty(4, np.bool_)
    capacity_scan(stream_key(3, n), n, trials, *d.kernel_arguments(n), counts, censored)
    found = search(n, trials, d, Given(), backend)
    assert np.array_equal(found[0], counts) and np.array_equal(found[1], censored)


def patterns_by_hand(patterns: Any, activity: Any, seed: int, n: int, trial: int, p: int) -> Any:
    """The first p patterns of a trial, as `capacity` says."""
    if patterns is None:
        return fastrec.random_patterns(p, n, seed, networks=trial + 1, activity=activity)[trial]
    if callable(patterns):
        return patterns(np.random.default_rng((seed, n, trial)), p, n)
    if patterns.ndim == 3:
        return patterns[trial, :p]
    order = np.empty(len(patterns), np.int32)
    random_order(stream_key(seed, n), trial, 0, 0, order)
    return patterns[order[:p]]


def steps_by_hand(net: fastrec.HopfieldNetwork, state: Any, steps: int) -> Any:
    """The state after so many synchronous steps, also where they go round."""
    for _ in range(steps):
        state = net.recall(state, "sync", max_sweeps=1).states
    return state


def passes_by_hand(n: int, x: Any, trial: int, d: CapacityDefinition, options: dict[str, Any]) -> bool:
    """Whether the load of all patterns x (p, n) passes."""
    net: Any = (fastrec.DenseMemory if "degree" in options else fastrec.HopfieldNetwork)(
        n, backend="reference", **options
    )
    p, key = len(x), stream_key(d.seed, n)
    try:
        net.store(x)
    except ValueError:
        return False
    order = np.empty((d.max_sweeps, n), np.int32)
    for sweep in range(d.max_sweeps):
        random_order(key, trial, p, sweep, order[sweep])
    for mu in range(p - 1 if d.criterion == "newest" else 0, p):
        probe = x[mu].copy()
        probe[corruption(key, mu, trial, p, d.flips(n), n)] *= -1
        if d.rule == "sequence":
            wrong = np.count_nonzero(steps_by_hand(net, probe, d.max_sweeps) != x[(mu + d.max_sweeps) % p])
            if wrong > round(d.tolerance * n):
                return False
            continue
        more = {"order": order} if d.update == "async" else {"max_sweeps": d.max_sweeps}
        found = net.recall(probe, d.update, **more)
        wrong = np.count_nonzero(found.states != x[mu])
        if found.period != 1 or wrong > round(d.tolerance * n):
            return False
    return True


def capacity_by_hand(n: int, d: CapacityDefinition, trial: int, **given: Any) -> int:
    """The capacity of one trial by the words of `capacity`, with public calls."""
    patterns, activity = given.pop("patterns", None), given.get("activity")
    if given.get("rule") != "covariance":
        given.pop("activity", None)
    x = patterns_by_hand(patterns, activity, d.seed, n, trial, d.max_patterns)
    count = 0
    for p in range(1, d.max_patterns + 1):
        if passes_by_hand(n, x[:p], trial, d, given):
            count = p
        elif d.stop == "first_failure":
            break
    return count


def draw(generator: np.random.Generator, p: int, n: int) -> Any:
    """Patterns in blocks of two equal units."""
    return np.repeat(generator.choice([-1, 1], (p, n // 2)), 2, axis=1)


def wrong_shape(generator: np.random.Generator, p: int, n: int) -> Any:
    return np.ones((3, n))


def wrong_states(generator: np.random.Generator, p: int, n: int) -> Any:
    return np.zeros((p, n))


ARRAY = np.random.default_rng(0).choice([-1, 1], (3, 14, 24))
STUDIES: dict[str, dict[str, Any]] = {
    "storkey": {"rule": "storkey"},
    "projection": {"rule": "projection", "flips": 0},
    "perceptron": {"rule": "perceptron", "margin": 0.5, "max_passes": 30},
    "covariance": {"rule": "covariance", "activity": 0.25, "flips": 0},
    "self_coupling": {"self_coupling": True, "flips": 3},
    "thresholds": {"thresholds": 2},
    "thresholds of each": {"thresholds": np.arange(24) % 3 - 1, "patterns": ARRAY[0]},
    "biased": {"activity": 0.3, "flips": 0},
    "array": {"patterns": ARRAY[0], "rule": "storkey"},
    "arrays": {"patterns": ARRAY},
    "function": {"patterns": draw},
    "tolerance": {"tolerance": 0.1, "flips": 0.1},
    "covariance of an array": {"rule": "covariance", "activity": 0.5, "patterns": ARRAY, "tolerance": 0.05},
    "cubic": {"degree": 3},
    "exponential": {"degree": "exponential", "patterns": draw, "flips": 4},
}
NAMES = ("rule", "patterns", "activity", "self_coupling", "thresholds", "margin", "max_passes", "degree")


@pytest.mark.parametrize("stop", ["first_failure", "largest"])
@pytest.mark.parametrize("update", ["async", "sync"])
@pytest.mark.parametrize("name", STUDIES)
def test_capacities_are_those_of_the_definition(backend: str, name: str, update: Any, stop: Any) -> None:
    options = STUDIES[name]
    criterion = "newest" if name in ("storkey", "function") and stop == "largest" else "all"
    result = fastrec.capacity(
        24, 3, criterion, stop, None, update, 5, backend, max_patterns=14, max_sweeps=9, **options
    )
    given = {key: value for key, value in options.items() if key in NAMES}
    by_definition = [capacity_by_hand(24, result.definition, trial, **given) for trial in range(3)]
    assert result.counts.tolist() == by_definition
    assert result.censored.tolist() == [count == 14 for count in by_definition]


SEQUENCES: dict[str, dict[str, Any]] = {
    "plain": {},
    "self-coupling": {"self_coupling": True, "flips": 2},
    "within": {"tolerance": 0.1, "flips": 0.1},
    "array": {"patterns": ARRAY[0]},
}


@pytest.mark.parametrize("stop", ["first_failure", "largest"])
@pytest.mark.parametrize("criterion", ["all", "newest"])
@pytest.mark.parametrize("name", SEQUENCES)
def test_lengths_of_sequences_are_those_of_the_definition(
    backend: str, name: str, criterion: Any, stop: Any
) -> None:
    options = {"rule": "sequence", **SEQUENCES[name]}
    arguments = (24, 3, criterion, stop, None, "sync", 5, backend)
    result = fastrec.capacity(*arguments, max_patterns=9, max_sweeps=7, **options)
    given = {key: value for key, value in options.items() if key in NAMES}
    by_definition = [capacity_by_hand(24, result.definition, trial, **given) for trial in range(3)]
    assert result.counts.tolist() == by_definition


@pytest.mark.parametrize("probes", [3, 9])
@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_sequences_are_compared_with_the_memory_due(backend: str, probes: int, temperature: float) -> None:
    given = {"rule": "sequence", "update": "sync", "max_sweeps": 5, "tolerance": 0.1, "flips": 3}
    result = fastrec.retrieval_curve(
        24, [0.05, 0.2, 0.4], 2, probes, seed=3, backend=backend, temperature=temperature, **given
    )
    assert {o.converged for o in result.outcomes} == {0}
    heat = " at temperature 0.3" if temperature else ""
    assert str(result.definition).endswith(
        f"within 0.1 n wrong units (sync updates{heat}, 5 sweeps, compared with the memory due then) "
        "in networks of the rule sequence"
    )
    for o in result.outcomes:
        seed = trial_seed(3, 24, o.p, o.trial)
        x = fastrec.random_patterns(o.p, 24, seed)
        net = fastrec.HopfieldNetwork(24, rule="sequence")
        net.store(x)
        states = fastrec.corrupt(x[:probes], 3, seed)
        if temperature:
            states = net.recall(states, "sync", max_sweeps=5, seed=seed, temperature=temperature).states
        else:
            states = steps_by_hand(net, states, 5)
        due = x[(np.arange(len(states)) + 5) % o.p].astype(int)
        m = (due * states).sum(axis=1)
        assert (o.probed, o.overlap, o.squares) == (len(states), m.sum(), (m**2).sum())
        assert (o.exact, o.within, o.memory) == ((m == 24).sum(), (m >= 20).sum(), (m >= 21.6).sum())
        assert o.sweeps == 5 * len(states)


@pytest.mark.parametrize(("n", "degree"), [(30, 3), (50, 3), (20, 4), (12, "exponential")])
def test_dense_memories_hold_what_theory_counts(n: int, degree: Any) -> None:
    result = fastrec.capacity(n, 40, degree=degree, flips=0)
    counts, cumulative = theory.first_failure_distribution(n, degree=degree)
    mean = (counts * np.diff(cumulative, prepend=0)).sum()
    assert abs(result.mean - mean) < 3 * result.standard_error + 0.08 * mean
    assert result.definition.max_patterns == theory.capacity_bound(n, degree=degree)
    assert not result.censored.any() and "theory" in result.table()
    assert result.definition.has_theory and not replace(result.definition, corruption=1).has_theory


def test_degree_2_is_hebbs_rule() -> None:
    """As networks with couplings compute it, which are faster."""
    plain = RetrievalDefinition(9, 0.0, "async", 100, 0)
    assert fastrec.retrieval_curve(30, [0.1], 1, degree=2).definition == replace(plain, probes=100)
    for update in ("async", "sync"):
        found = fastrec.retrieval_curve(30, [0.1, 0.3], 2, update=update, flips=3)
        for o in found.outcomes:
            dense = fastrec.DenseMemory(30, 2)
            x, seed = (
                fastrec.random_patterns(o.p, 30, trial_seed(0, 30, o.p, o.trial)),
                trial_seed(0, 30, o.p, o.trial),
            )
            dense.store(x)
            ends = dense.recall(fastrec.corrupt(x, 3, seed), update, seed=seed).states
            assert o.overlap == (ends.astype(int) * x).sum()


def test_sequences_are_held_up_to_their_load() -> None:
    """0.269 for n to infinity (During, Coolen and Sherrington)."""
    result = fastrec.retrieval_curve(1000, [0.22, 0.32], 3, 10, rule="sequence", update="sync")
    held, lost = result.points
    assert held.overlap > 0.9 and held.share("memory") == 1 and abs(lost.overlap) < 0.3


def test_capacities_are_between_nothing_and_everything() -> None:
    """So that the test above compares numbers that could differ."""
    found = [
        fastrec.capacity(24, 3, seed=5, max_patterns=14, **options).counts for options in STUDIES.values()
    ]
    assert len(set(np.concatenate(found).tolist())) > 6 and all(counts.max() > 1 for counts in found)


def textbook_storkey(n: int, rng: np.random.Generator) -> int:
    """Capacity of one network by Storkey's rule as it is printed, in floats, with one bit flipped."""
    x, w = np.empty((0, n)), np.zeros((n, n))
    while True:
        new = rng.choice([-1.0, 1.0], n)
        x = np.vstack([x, new])
        h = (w @ new)[:, None] - w * new - np.diagonal(w)[:, None] * new[:, None]  # without j and i
        np.fill_diagonal(h, 0)
        w += (np.outer(new, new) - new[:, None] * h.T - h * new) / n
        np.fill_diagonal(w, 0)
        for memory in x:
            s = memory.copy()
            s[rng.integers(n)] *= -1
            before = None
            while before is None or (s != before).any():
                before = s.copy()
                for i in rng.permutation(n):
                    s[i] = np.sign(w[i] @ s) or s[i]
            if (s != memory).any():
                return len(x) - 1


def test_storkey_holds_what_the_printed_rule_holds() -> None:
    n, trials, rng = 25, 150, np.random.default_rng(1)
    simulated = np.array([textbook_storkey(n, rng) for _ in range(trials)])
    exact = fastrec.capacity(n, trials=2000, rule="storkey").counts
    assert abs(simulated.mean() - exact.mean()) < 3.5 * exact.std() / trials**0.5
    assert exact.mean() > 1.5 * fastrec.capacity(n, trials=100).mean


@pytest.mark.parametrize("n", [50, 100])
def test_storkey_holds_about_three_tenths(n: int) -> None:
    most, least = (fastrec.capacity(n, trials=60, rule="storkey", flips=flips).mean for flips in (0, 1))
    assert 0.29 * n < least < most < 0.35 * n


def test_projection_holds_as_many_as_are_independent() -> None:
    result = fastrec.capacity(60, trials=20, rule="projection", flips=0)
    assert result.counts.min() >= 57 and result.definition.max_patterns == 60
    independent = [
        np.linalg.matrix_rank(fastrec.random_patterns(60, 60, 0, networks=20)[trial]) == 60
        for trial in range(20)
    ]
    assert result.censored.tolist() <= independent and result.censored.any()


@pytest.mark.slow
def test_perceptrons_hold_what_cover_counts() -> None:
    """Units of d = 40 inputs, taken as independent; bits instead of numbers cost a little."""
    n, d, trials = 41, 40, 40
    result = fastrec.capacity(n, trials, rule="perceptron", flips=0, max_passes=10_000)
    assert result.definition.max_patterns == math.ceil(2 * n + 5 * math.sqrt(n)) and not result.censored.any()
    loads = range(1, 3 * n)
    learnable = [sum(math.comb(p - 1, k) for k in range(d)) / 2 ** (p - 1) if p > d else 1.0 for p in loads]
    expected = sum(share**n for share in learnable)
    assert abs(result.mean - expected) < 3 * result.standard_error < 2


@pytest.mark.slow
def test_rules_hold_more_in_their_order() -> None:
    """Of the rules for patterns without a bias, and that for patterns of which few units are active."""
    means = [
        fastrec.capacity(40, 20, rule=rule, flips=0, max_passes=more).mean
        for rule, more in (("hebb", None), ("storkey", None), ("projection", None), ("perceptron", 5000))
    ]
    assert means == sorted(means) and means[0] < 8 < 11 < means[1] < 17 < 35 < means[2] < 45 < means[3]
    sparse = {"activity": 0.1, "flips": 0}
    covariance = fastrec.capacity(100, 20, rule="covariance", **sparse).mean
    assert covariance > 3 * fastrec.capacity(100, 20, **sparse).mean


def test_definitions_say_what_differs() -> None:
    plain = CapacityDefinition("all", "largest", 1, "sync", 100, 50, seed=0)
    assert "network" not in str(plain) and plain.is_plain and plain.is_scanned
    told = {
        "of the rule storkey": {"rule": "storkey"},
        "of the rule perceptron with margin 0.5 in at most 30 passes": {
            "rule": "perceptron",
            "margin": 0.5,
            "max_passes": 30,
        },
        "of the rule hebb with patterns of activity 0.1, self-coupling": {
            "activity": 0.1,
            "self_coupling": True,
        },
        "of the rule hebb with patterns drawn by here.draw, thresholds 2.0": {
            "patterns": "here.draw",
            "thresholds": "2.0",
        },
        "of the rule covariance with activity 0.1, patterns of the array with SHA-256 aaaaaaaaaaaa...": {
            "rule": "covariance",
            "activity": 0.1,
            "patterns": f"sha256:{'a' * 64}",
        },
    }
    for text, fields in told.items():
        d = CapacityDefinition("all", "largest", 1, "sync", 100, 50, seed=0, **fields)
        assert str(d) == f"{plain} in networks {text}" and not (d.is_plain or d.is_scanned or d.has_theory)
        other = RetrievalDefinition(9, 0.0, "async", 100, 0, **fields)
        assert str(other).endswith(f"100 sweeps) in networks {text}")
    for degree, kind in ((3, "dense memories of degree 3"), (0, "exponential dense memories")):
        d = CapacityDefinition("all", "largest", 1, "sync", 100, 50, 0, degree=degree)
        assert str(d) == f"{plain} in {kind}" and d.power == (degree or "exponential") and not d.is_scanned
    sequence = CapacityDefinition("all", "largest", 1, "sync", 100, 50, 0, rule="sequence", activity=0.1)
    assert str(sequence).endswith(
        "must be recalled exactly (sync updates, 100 sweeps, compared with the memory due then) "
        "in networks of the rule sequence with patterns of activity 0.1"
    )
    tolerant = CapacityDefinition("all", "first_failure", 1, "sync", 100, 50, seed=0, tolerance=0.05)
    assert "must be recalled within 0.05 n wrong bits (sync" in str(tolerant)
    assert tolerant.is_plain and not tolerant.has_theory


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rule": "magic"}, "rule is 'magic'"),
        ({"patterns": "os.system('x')"}, "patterns is "),
        ({"patterns": "sha256:12"}, "patterns is 'sha256:12'"),
        ({"activity": 1.0}, "activity is 1.0"),
        ({"self_coupling": 2}, "self_coupling is 2"),
        ({"thresholds": "high"}, "thresholds is 'high'"),
        ({"thresholds": "nan"}, "thresholds is 'nan'"),
        ({"margin": -1.0}, "margin is -1.0"),
        ({"max_passes": -1}, "max_passes is -1"),
        ({"degree": 1}, "degree is 1; it must be"),
        ({"degree": "high"}, "degree is 'high'; it must be"),
        ({"degree": 3, "rule": "storkey"}, 'degree is 3; it goes with rule="hebb" without self-coupling'),
    ],
)
def test_definitions_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RetrievalDefinition(9, 0.0, "async", 100, 0, **fields)
    with pytest.raises(ValueError, match=message):
        CapacityDefinition("all", "largest", 1, "sync", 100, 50, seed=0, **fields)


@pytest.mark.parametrize("name", STUDIES)
def test_files_keep_the_definition(name: str, tmp_path: Path) -> None:
    options, run = STUDIES[name], tmp_path / "a.db"
    given = (([24], 2, run), {"progress": False, "max_patterns": 9} | options)
    scaling = fastrec.capacity_scaling(*given[0], **given[1])
    scaling.save(tmp_path / "a.csv")
    assert ScalingResult.load(tmp_path / "a.csv") == scaling and str(scaling.definition) in scaling.table()
    assert pickle.loads(pickle.dumps(scaling)) == scaling
    again = fastrec.capacity_scaling(*given[0], **given[1])
    export(run, tmp_path / "b.csv")
    for loaded in (again, ScalingResult.load(run), ScalingResult.load(tmp_path / "b.csv")):
        assert loaded[0].definition == scaling.definition and str(loaded.definition) == str(
            scaling.definition
        )
        assert np.array_equal(loaded[0].counts, scaling[0].counts)
    differ = "|".join(f"{key} is" for key in options if key not in ("flips", "tolerance")) or "tolerance is"
    with pytest.raises(
        ValueError, match=rf"a run of another definition, .*({differ}) .* in the file, .* is asked"
    ):
        fastrec.capacity_scaling([24], 2, run, max_patterns=9, flips=options.get("flips"))


@pytest.mark.slow
def test_run_files_of_retrieval_keep_the_temperature(tmp_path: Path) -> None:
    run, given = tmp_path / "a.db", ([20, 30], [0.2, 0.4], 2)
    result = fastrec.retrieval_scaling(*given, temperature=0.3, out=run, workers=2)
    assert fastrec.retrieval_scaling(*given, temperature=0.3, out=run).outcomes == result.outcomes
    assert RetrievalResult.load(run).definition.temperature == 0.3
    result.save(tmp_path / "a.csv")
    assert RetrievalResult.load(tmp_path / "a.csv") == result
    with pytest.raises(ValueError, match=r"temperature is 0\.3 in the file, 0\.0 is asked"):
        fastrec.retrieval_scaling(*given, out=run)
    assert result.outcomes != fastrec.retrieval_scaling(*given).outcomes


def test_run_files_of_retrieval_keep_the_definition(tmp_path: Path) -> None:
    run, options = tmp_path / "a.db", {"rule": "storkey", "activity": 0.4, "patterns": None}
    result = fastrec.retrieval_curve(20, [0.2, 0.4], 2, out=run, **options)
    result.save(tmp_path / "a.csv")
    assert RetrievalResult.load(tmp_path / "a.csv") == result
    assert RetrievalResult.load(run).definition == result.definition
    assert fastrec.retrieval_curve(20, [0.2, 0.4], 2, out=run, **options).outcomes == result.outcomes
    with pytest.raises(
        ValueError, match=r"rule is storkey in the file, hebb is asked; activity is 0\.4 in the file, 0\.0 is"
    ):
        fastrec.retrieval_curve(20, [0.2, 0.4], 2, out=run)


RETRIEVALS = [name for name in STUDIES if name != "tolerance"]


@pytest.mark.parametrize("update", ["async", "sync"])
@pytest.mark.parametrize("name", RETRIEVALS)
def test_outcomes_are_those_of_the_definition(backend: str, name: str, update: Any) -> None:
    options = {key: value for key, value in STUDIES[name].items() if key in NAMES}
    result = fastrec.retrieval_curve(
        24,
        [0.1, 0.3],
        2,
        4,
        update=update,
        seed=3,
        backend=backend,
        flips=3,
        tolerance=0.1,
        max_sweeps=5,
        **options,
    )
    patterns, activity = options.pop("patterns", None), options.get("activity")
    if options.get("rule") != "covariance":
        options.pop("activity", None)
    for n, p, flips, trial, *rest in result.outcomes:
        if patterns is None:
            x = fastrec.random_patterns(p, n, trial_seed(3, n, p, trial), activity=activity)
        else:
            x = patterns_by_hand(patterns, None, 3, n, trial, p)
        assert (n, p, flips, trial, *rest) == by_hand(n, p, flips, trial, result.definition, x, **options)


@pytest.mark.slow
def test_trials_are_the_same_on_workers() -> None:
    """Arrays and functions go with the tasks, through pickles."""
    for options in (STUDIES["array"], STUDIES["function"]):
        alone = fastrec.capacity(24, 3, max_patterns=9, **options)
        there = fastrec.capacity_scaling([24], 3, max_patterns=9, workers=2, progress=False, **options)[0]
        assert np.array_equal(there.counts, alone.counts) and there.definition == alone.definition
    task = Task(24, 3, 2, 0, RetrievalDefinition(4, 0.0, "async", 9, 0), "cpu")
    assert retrieve(pickle.loads(pickle.dumps(task))) == retrieve(task)


def test_arrays_are_known_by_what_they_hold(tmp_path: Path) -> None:
    run, found = tmp_path / "a.db", ARRAY[0] > 0
    names = set()
    for same in (
        ARRAY[0],
        ARRAY[0].astype(float),
        np.asfortranarray(ARRAY[0]),
        found,
        fastrec.pack(ARRAY[0]),
    ):
        result = fastrec.capacity_scaling([24], 2, run, patterns=same, progress=False)[0]
        names.add(result.definition.patterns)
    assert len(names) == 1 and result.definition.max_patterns == 14
    with pytest.raises(ValueError, match=r"patterns is sha256:.* in the file, sha256:.* is asked"):
        fastrec.capacity_scaling([24], 2, run, patterns=-ARRAY[0], progress=False)
    apart = fastrec.capacity(24, 2, patterns=ARRAY[0].reshape(2, 7, 24), max_patterns=7)
    assert apart.definition.patterns != result.definition.patterns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "magic"}, "rule is 'magic'"),
        (
            {"patterns": ARRAY[0], "activity": 0.3},
            "activity is 0.3, that of random patterns, and patterns are given",
        ),
        ({"patterns": ARRAY[0, 0]}, r"patterns has shape \(24,\); give \(P, n\)"),
        ({"patterns": ARRAY[0, :, :20]}, r"patterns has shape \(14, 20\)"),
        ({"patterns": ARRAY[:1]}, r"patterns has shape \(1, 14, 24\); 2 networks of n = 24 units"),
        ({"patterns": ARRAY[0], "max_patterns": 15}, r"and p = 15 patterns take \(15, 24\)"),
        ({"patterns": 2 * ARRAY[0]}, "patterns holds"),
        ({"patterns": lambda generator, p, n: ARRAY[0]}, "which cannot be imported by its name"),
        ({"patterns": Given(5).require}, "which cannot be imported by its name"),
        (
            {"patterns": wrong_shape},
            r"patterns returns shape \(3, 24\) for p = 24, n = 24; it must be \(24, 24\)",
        ),
        ({"patterns": wrong_states}, "what patterns returns for p = 24, n = 24 holds 0"),
        ({"activity": 0}, "activity is 0; it must be a number above 0 and below 1"),
        ({"rule": "covariance"}, "activity is not given"),
        ({"margin": 1.0}, "margin is 1.0"),
        ({"max_passes": 3, "rule": "storkey"}, "max_passes is 3"),
        ({"rule": "storkey", "self_coupling": True}, "self_coupling is True"),
        ({"degree": 1}, "degree is 1; it must be an integer from 2"),
        ({"degree": 3, "self_coupling": True}, "degree is 3; it goes with"),
        pytest.param({"degree": 4, "n": 2**17}, "degree is 4; sums over p", marks=pytest.mark.slow),
        ({"degree": 3, "margin": 1.0}, "margin is 1.0"),
        ({"rule": "sequence"}, 'update is "async"; rule="sequence" goes from memory to memory'),
        ({"rule": "sequence", "update": "sync", "thresholds": 2}, "thresholds is '2.0'; studies of rule="),
        ({"self_coupling": 1}, "self_coupling is 1; it must be True or False"),
        ({"thresholds": 0.5}, "thresholds holds 0.5"),
        ({"thresholds": [1, 2]}, r"thresholds has shape \(2,\)"),
        ({"thresholds": "high"}, "thresholds has dtype"),
        ({"tolerance": 1.5}, "tolerance is 1.5"),
        ({"rule": "projection", "n": 10**6}, "of memory"),
    ],
)
def test_what_cannot_be_is_refused_before_work(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("storage_capacity.run.scan", "retrieval.run.retrieve"):
        monkeypatch.setattr(f"fastrec.hopfield.{module}", lambda *_: pytest.fail("work started"))
    n = options.get("n", 24)
    given = {key: value for key, value in options.items() if key != "n"}
    with pytest.raises(ValueError, match=message):
        fastrec.capacity(n, 2, **given)
    limit = given.pop("max_patterns", 24)
    with pytest.raises(ValueError, match=message):
        fastrec.retrieval_curve(n, [limit / n], 2, **given)
