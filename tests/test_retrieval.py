import math
import pickle
import re
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import fastrec
from fastrec.hopfield import theory
from fastrec.hopfield.retrieval import (
    Outcome,
    RetrievalDefinition,
    RetrievalResult,
    student_t,
    trial_seed,
    wilson,
)
from fastrec.hopfield.retrieval import run as retrieval
from fastrec.hopfield.retrieval.census import ENDS, count_ends
from fastrec.hopfield.retrieval.result import SCHEMA
from fastrec.hopfield.retrieval.run import Task, retrieve
from fastrec.hopfield.states import PackedStates
from fastrec.jobs.export import export

DEFINITION = RetrievalDefinition(6, 0.1, "async", 100, 3)


def end_of(state, memory, patterns):
    """Where one recall ended, by the words of `Outcome` and loops over everything."""
    n = len(state)
    m = [int(x @ state) for x in patterns]
    if 10 * m[memory] >= 9 * n:
        return "memory"
    if any(10 * v >= 9 * n for v in m):
        return "another"
    if any(-10 * v >= 9 * n for v in m):
        return "inverse"
    if len(m) >= 3:
        largest = sorted(range(len(m)), key=lambda mu: -abs(m[mu]))[:3]
        majority = np.sign(sum(patterns[mu] * (1 if m[mu] >= 0 else -1) for mu in largest))
        if 10 * int(majority @ state) >= 9 * n:
            return "mixture"
    return "glass"


def by_hand(n, p, flips, trial, d, patterns=None, **network):
    seed = trial_seed(d.seed, n, p, trial)
    if patterns is None:
        patterns = fastrec.random_patterns(p, n, seed, backend="reference")
    patterns, b = patterns.astype(int), min(d.probes, p)
    dense = "degree" in network
    net = (fastrec.DenseMemory if dense else fastrec.HopfieldNetwork)(n, backend="reference", **network)
    net.store(patterns)
    probes = fastrec.corrupt(patterns, flips, seed, backend="reference")[:b]
    assert (probes != patterns[:b]).sum() == b * flips
    heat = {} if dense else {"temperature": d.temperature}
    found = net.recall(probes, d.update, max_sweeps=d.max_sweeps, seed=seed, **heat)
    m = [int(x @ s) for x, s in zip(patterns, found.states.astype(int), strict=False)]
    kinds = [end_of(s.astype(int), mu, patterns) for mu, s in enumerate(found.states)]
    return Outcome(
        *(n, p, flips, trial, b, sum(m), sum(v * v for v in m), m.count(n)),
        sum((n - v) // 2 <= round(d.tolerance * n) for v in m),
        int(found.converged.sum()),
        int(found.sweeps.sum()),
        *map(kinds.count, ENDS),
    )


@pytest.mark.parametrize("update", ["async", "sync"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 63, 64, 65, 130])
def test_outcomes_are_those_of_the_definition(n, update, backend):
    for p, flips, probes in (
        (1, 0, 1),
        (2, 1, 5),
        (3, n // 3, 6),
        (9, n // 2, 4),
        (max(1, n // 5), n // 4, 99),
    ):
        for temperature in (0.0, 0.4):
            d = replace(DEFINITION, update=update, probes=probes, max_sweeps=5, temperature=temperature)
            outcome = retrieve(Task(n, p, flips, 2, d, backend))
            assert outcome == by_hand(n, p, flips, 2, d)
            assert not temperature or (outcome.converged, outcome.sweeps) == (0, 5 * outcome.probed)


def test_census_of_all_states_of_tiny_networks():
    seen = set()
    for n, p in ((3, 1), (5, 2), (7, 3), (9, 5)):
        patterns = np.random.default_rng(n).choice([-1, 1], (p, n))
        packed = fastrec.pack(patterns.astype(np.int8))
        every = np.array(list(product([-1, 1], repeat=n)))
        for begin in range(0, len(every) - p + 1, p):  # row r counts as recall of memory r
            states = every[begin : begin + p]
            found = count_ends(states @ patterns.T, packed, fastrec.pack(states))
            kinds = [end_of(s, mu, patterns) for mu, s in enumerate(states)]
            assert found == tuple(map(kinds.count, ENDS))
            seen |= set(kinds)
    assert seen == set(ENDS)


@pytest.mark.parametrize("n", [101, 128, 1001])
def test_census_knows_each_kind_of_end(n):
    rng = np.random.default_rng(n)
    x = rng.choice([-1, 1], (5, n))

    def census(*states):
        return count_ends(np.array(states) @ x.T, fastrec.pack(x), fastrec.pack(np.array(states)))

    def nudged(state, share):
        state = state.copy()
        state[rng.permutation(n)[: int(share * n)]] *= -1
        return state

    mixtures = [np.sign(a * x[1] + b * x[2] - c * x[4]) for a, b, c in product([-1, 1], repeat=3)]
    assert census(x[0], x[2], -x[2], mixtures[0], rng.choice([-1, 1], n)) == (1, 1, 1, 1, 1)
    assert census(nudged(x[0], 0.04), nudged(x[1], 0.04), nudged(x[2], 0.06)) == (2, 0, 0, 0, 1)
    assert all(census(nudged(state, 0.04)) == (0, 0, 0, 1, 0) for state in mixtures)
    assert census(np.sign(x.sum(0))) == (0, 0, 0, 0, 1)  # of five
    same = np.repeat(x[:1], 5, axis=0)  # what is stored twice is its own mixture, but a memory first
    assert count_ends(same @ same.T, fastrec.pack(same), fastrec.pack(same)) == (5, 0, 0, 0, 0)


def test_results_are_the_same_on_every_backend():
    arguments = ([1, 33, 65], [0.001, 0.06, 0.2, 0.5])
    given = {"trials": 2, "probes": 7, "flips": 0.1, "tolerance": 0.05, "seed": 2**64 - 1}
    one, other = (fastrec.retrieval_scaling(*arguments, **given, backend=b) for b in ("cpu", "reference"))
    assert one.outcomes == other.outcomes
    assert (one.backend, other.backend) == ("cpu", "reference")
    for update in ("async", "sync"):
        found = [
            fastrec.basin_map(40, [0.05, 0.3], [-0.4, 0.3, 1], 2, 5, update, backend=b, max_sweeps=3)
            for b in ("cpu", "reference")
        ]
        assert found[0].outcomes == found[1].outcomes


class Backwards(Executor):
    """Runs the tasks when all are there, the last first."""

    def __init__(self):
        self.waiting = []

    def submit(self, function, /, *args):
        future = Future()
        self.waiting.append((future, function, pickle.loads(pickle.dumps(args))))
        if len(self.waiting) == 12:
            for other, call, given in reversed(self.waiting):
                other.set_result(call(*given))
        return future


def test_results_depend_on_no_order_and_no_neighbours():
    alphas = [0.03, 0.09, 0.15, 0.2]
    whole = fastrec.retrieval_curve(150, alphas, 3, 20, flips=0.15, seed=5)
    for executor in (Backwards(), ThreadPoolExecutor(2)):
        with executor:
            assert fastrec.retrieval_curve(
                150, alphas, 3, 20, flips=0.15, seed=5, executor=executor
            ).outcomes == (whole.outcomes)
    assert (
        fastrec.retrieval_curve(150, alphas[::-1] * 2, 3, 20, flips=0.15, seed=5).outcomes == whole.outcomes
    )
    part = fastrec.retrieval_curve(150, 0.09, 2, 20, flips=0.15, seed=5)
    assert set(part.outcomes) < set(whole.outcomes) and len(part.outcomes) == 2
    assert fastrec.retrieval_curve(150, alphas, 3, 20, flips=0.15, seed=6).outcomes != whole.outcomes
    sizes = fastrec.retrieval_scaling([80, 150], alphas, 3, 20, flips=0.15, seed=5)
    assert sizes.outcomes[-12:] == whole.outcomes
    assert len(sizes.curves) == 2


def test_a_map_is_curves_from_several_starts_in_the_same_networks():
    basins = fastrec.basin_map(120, [0.05, 0.1], [0.2, 0.8, 1.0], 2, 9)
    curves = [fastrec.retrieval_curve(120, [0.05, 0.1], 2, 9, flips=flips) for flips in (0.4, 0.1, 0)]
    assert basins.outcomes == tuple(sorted(o for curve in curves for o in curve.outcomes))
    assert [n for n, _ in basins.curves] == [120] * 3
    assert [start for _, start in basins.curves] == pytest.approx([1.0, 0.8, 0.2])


def test_overlaps_are_those_of_ags():
    result = fastrec.retrieval_curve(2000, [0.05, 0.10, 0.12], 12, 100)
    for point in result.points:
        # 1/n is one unit in half of the states: what is left of the size here.
        reach = point.interval[1] - point.overlap + 1 / point.n
        assert abs(point.overlap - theory.ags_overlap(point.alpha)) < reach
        assert reach < 0.0015
        assert point.share("memory") > 0.997
    beyond = fastrec.retrieval_curve(2000, [0.2], 2, 50).points[0]
    assert beyond.overlap < 0.6 and beyond.share("glass") > 0.95


@pytest.mark.slow
def test_overlaps_at_a_temperature_are_those_of_ags():
    result = fastrec.retrieval_curve(2000, [0.02, 0.05], 8, 40, temperature=0.4)
    for point in result.points:
        m = theory.ags_overlap(point.alpha, 0.4)
        assert abs(point.overlap - m) < point.interval[1] - point.overlap + 0.001 < 0.006
        assert f"{m:.5f}" in result.table()
    assert "m (AGS)" in result.table() and "temperature 0.4, 100 sweeps)" in result.table()
    lost = fastrec.retrieval_curve(2000, [0.05], 2, 40, temperature=0.7).points[0]
    assert lost.overlap < 0.3


def test_theory_is_that_of_the_definition():
    cold, hot = DEFINITION, replace(DEFINITION, temperature=0.4)
    assert cold.is_cold and cold.theory_load == theory.ALPHA_C and not hot.is_cold
    assert hot.theory_load == theory.ags_load(0.4) and np.isnan(hot.theory_overlap(0.1))
    together, rule = replace(hot, update="sync"), replace(cold, rule="storkey")
    assert not (together.has_theory or rule.has_theory) and replace(together, temperature=0.0).has_theory
    sequence = replace(together, rule="sequence")
    assert sequence.theory_overlap(0.1) == theory.sequence_overlap(0.1, 0.4)
    assert sequence.theory_load == theory.sequence_load(0.4)
    assert sequence.has_theory and not replace(sequence, activity=0.3).has_theory


def test_exact_recall_of_memories_is_their_stability():
    for point in fastrec.retrieval_curve(100, [0.1, 0.15, 0.2], 60, 20).points:
        low, high = point.share_interval("exact")
        stable = math.exp(-point.n * theory.unstable_bit_probability(point.n, point.p))
        assert low - 0.05 < stable < high  # bits fail together a little


def test_statistics_of_a_point():
    one = Outcome(10, 2, 1, 0, 2, 18, 164, 1, 2, 2, 4, 1, 0, 0, 0, 1)
    two = Outcome(10, 2, 1, 1, 2, 20, 200, 2, 2, 1, 5, 2, 0, 0, 0, 0)
    (point,) = RetrievalResult(replace(DEFINITION, probes=2), (two, one), "cpu", 0.0).points
    assert (point.n, point.p, point.alpha, point.flips, point.start) == (10, 2, 0.2, 1, 0.8)
    assert (point.trials, point.probed, point.overlap) == (2, 4, 0.95)
    assert point.interval == pytest.approx((0.95 - 12.7062 * 0.05, 0.95 + 12.7062 * 0.05), rel=1e-5)
    assert point.deviation == pytest.approx(np.std([1, 0.8, 1, 1]))
    assert point.share("exact") == 0.75
    assert point.share_interval("exact") == wilson(3, 4)
    single = RetrievalResult(replace(DEFINITION, probes=2), (one,), "cpu", 0.0).points[0]
    assert math.isnan(single.interval[0]) and math.isnan(single.interval[1])


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17, 857 (1998), table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_has_the_published_values(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=5e-5)
    assert wilson(n, n)[1] == 1 and wilson(0, n)[0] == 0


def test_student_has_the_published_values():
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 10: 2.228, 30: 2.042, 120: 1.980}
    for freedom, t in table.items():
        assert student_t(0.95, freedom) == pytest.approx(t, abs=5e-4)
    assert student_t(0.99, 5) == pytest.approx(4.032, abs=5e-4)
    assert student_t(0.5, 1) == pytest.approx(1)


def test_files_and_tables(tmp_path):
    result = fastrec.retrieval_scaling([30, 41], [0.1, 0.2], 2, 3, flips=0.1, tolerance=0.05, seed=2**64 - 1)
    result.save(tmp_path / "r.csv")
    assert RetrievalResult.load(tmp_path / "r.csv") == result
    first, head, *rows, end = (tmp_path / "r.csv").read_text().splitlines()
    assert (first, head, end) == ("# fastrec retrieval 4", ",".join(SCHEMA.columns), "# end 8")
    assert rows[0].startswith("30,3,3,0,3,")
    lines = result.table().splitlines()
    assert lines[0] == f"retrieval: {result.definition}"
    assert str(result.definition) == (
        "recall of at most 3 memories a network within 0.05 n wrong units (async updates, at most 100 sweeps)"
    )
    assert len(lines) == 6 and len({len(line) for line in lines[1:]}) == 1
    assert "within" in lines[1]
    exact = fastrec.retrieval_curve(30, 0.1, trials=1)
    assert "within" not in exact.table() and exact.table().split()[-7] == "100.0"
    with pytest.raises(ValueError, match="suffix"):
        result.save(tmp_path / "r.txt")


def test_run_files_resume(tmp_path, monkeypatch):
    """A run that ended in the middle goes on, in processes, and ends as one without a break."""
    given, flips = ([20, 31], [0.1, 0.2], 3, 2), {"flips": 0.1}
    expected = fastrec.retrieval_scaling(*given, **flips)
    path, ran, retrieve_one = tmp_path / "r.db", [], retrieval.retrieve

    def interrupted(task):
        ran.append(task)
        if len(ran) == 5:
            raise KeyboardInterrupt
        return retrieve_one(task)

    monkeypatch.setattr(retrieval, "retrieve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fastrec.retrieval_scaling(*given, **flips, out=path)
    part = RetrievalResult.load(path)
    assert part.outcomes == expected.outcomes[:4]
    monkeypatch.setattr(retrieval, "retrieve", retrieve_one)
    with ThreadPoolExecutor(2) as threads:
        whole = fastrec.retrieval_scaling(*given, **flips, out=path, executor=threads)
    assert whole.outcomes == RetrievalResult.load(path).outcomes == expected.outcomes
    assert export(path, tmp_path / "r.csv") == 12
    assert RetrievalResult.load(tmp_path / "r.csv").outcomes == expected.outcomes
    monkeypatch.setattr(retrieval, "retrieve", lambda task: pytest.fail("known already"))
    assert fastrec.retrieval_scaling(*given, **flips, out=path).outcomes == expected.outcomes
    with pytest.raises(ValueError, match="probes is 2 in the file, 4 is asked"):
        fastrec.retrieval_scaling(*given[:3], 4, out=path)
    with pytest.raises(ValueError, match="a run of retrieval, not of capacity"):
        fastrec.capacity_scaling([10], 1, path)


def test_unwritable_out_is_refused_before_work(tmp_path, monkeypatch):
    monkeypatch.setattr(retrieval, "retrieve", lambda task: pytest.fail("work started"))
    for out, fault in ((tmp_path / "r.txt", ValueError), (tmp_path / "none" / "r.csv", OSError)):
        with pytest.raises(fault):
            fastrec.retrieval_curve(20, 0.1, out=out)
    with pytest.raises(ValueError, match="workers is 2 and executor"), ThreadPoolExecutor() as threads:
        fastrec.retrieval_curve(20, 0.1, executor=threads, workers=2)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "r.csv"
    fastrec.retrieval_curve(30, [0.1, 0.2], 1, 2).save(path)
    whole = path.read_bytes()
    for cut in range(len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"r\.csv: "):
            RetrievalResult.load(path)
    for old, new, word in (
        (b"retrieval 4", b"retrieval 5", "format '5', but this fastrec reads format 1 or 2 or 3 or 4"),
        (b"retrieval 4", b"capacity 4", "not a fastrec retrieval file"),
        (b"probed", b"asked", "line 2 should name the columns"),
        (b",cpu,", b",cpu,cpu,", "line 3 has"),
        (b",async,", b",never,", "trials disagree on update, 'never' and 'async'"),
        (b"\n30,3,0,0,2,", b"\n30,3,0,x,2,", "line 3 has 'x' for trial"),
        (b"\n30,3,0,0,2,", b"\n30,3,0,1,2,", "hold the trials 1"),
        (b"\n30,3,0,0,2,", b"\n30,3,0,0,1,", "cannot be together"),
        (b"end 2", b"end 3", "the end line counts 3 rows but there are 2"),
    ):
        path.write_bytes(whole.replace(old, new, 1))
        with pytest.raises(ValueError, match=re.escape(word)):
            RetrievalResult.load(path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"outcomes": ()}, "outcomes is empty"),
        ({"backend": "a,b"}, "backend"),
        ({"seconds": -1.0}, "seconds"),
    ],
)
def test_impossible_results_are_refused(change, word):
    with pytest.raises(ValueError, match=word):
        replace(fastrec.retrieval_curve(20, 0.1, 1), **change)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"temperature": -0.1}, r"temperature is -0\.1; it must be a number at least 0"),
        ({"temperature": 0.1, "degree": 3}, r"temperature is 0\.1; dense memories, of degree 3, are at 0"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"temperature": [0.1, 0.2]}, r"temperature is \[0\.1, 0\.2\]"),
        ({"n": 0}, "n is 0"),
        ({"n": 2.0}, r"n is 2\.0"),
        ({"alphas": []}, "alphas has shape"),
        ({"alphas": -0.1}, r"alphas is -0\.1"),
        ({"alphas": [0.1, math.nan]}, "alphas is nan"),
        ({"alphas": "a"}, "alphas is 'a'"),
        ({"alphas": 1e9}, "alphas is 1000000000"),
        ({"trials": 0}, "trials is 0"),
        ({"probes": 0}, "probes is 0"),
        ({"flips": 1.01}, r"flips is 1\.01; a float is a fraction from 0 to 1"),
        ({"flips": "some"}, "flips is 'some'"),
        ({"update": "both"}, "update is 'both'"),
        ({"tolerance": -0.1}, "tolerance is"),
        ({"max_sweeps": 0}, "max_sweeps is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"n": 10**6, "alphas": 9}, "memory"),
    ],
)
def test_bad_arguments_are_named(given, word):
    with pytest.raises(ValueError, match=word):
        fastrec.retrieval_curve(**({"n": 50, "alphas": [0.1]} | given))


def test_bad_arguments_of_the_others_are_named():
    with pytest.raises(ValueError, match="sizes is empty"):
        fastrec.retrieval_scaling([], 0.1)
    with pytest.raises(ValueError, match=r"overlaps is 1\.5"):
        fastrec.basin_map(10, 0.1, [0, 1.5])
    with pytest.raises(fastrec.BackendError, match="backend is 'tpu'"):
        fastrec.retrieval_curve(10, 0.1, backend="tpu")


def test_one_of_everything_and_more_patterns_than_units():
    one = fastrec.retrieval_curve(1, 1, 1, 1)
    assert one.outcomes == (Outcome(1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0),)
    flipped = fastrec.retrieval_curve(1, 1, 1, 1, flips=1.0)  # without couplings it stays where it is
    assert flipped.points[0].overlap == -1 and flipped.points[0].share("inverse") == 1
    many = fastrec.retrieval_curve(9, 5, 2, 45, flips=0.3).points[0]
    assert (many.p, many.probed) == (45, 90)
    assert fastrec.retrieval_curve(70, 0.0, 1).points[0].p == 1


def test_packed_states_of_all_words_are_looked_at():
    words = np.array([[2**64 - 1, 1]], np.uint64)
    state = PackedStates(words, 65)
    assert count_ends(np.array([[65, 1, 1]]), PackedStates(np.zeros((3, 2), np.uint64), 65), state)[0] == 1


def test_progress_and_pictures():
    result = fastrec.retrieval_curve(60, [0.05, 0.1], 2, 4, progress=True)
    assert result.plot().get_ylabel().startswith("overlap m")
    basins = fastrec.basin_map(60, [0.05, 0.1], [0.5, 0.9], 2, 4)
    assert basins.plot().get_ylabel().startswith("overlap m$_0$")
