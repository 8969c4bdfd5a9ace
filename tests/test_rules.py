"""Learning rules: the formulas of textbooks in float64, k networks, forgetting, what cannot be learnt."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from math import comb
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

import fastrec
from fastrec import HopfieldNetwork
from fastrec.hopfield.arguments import READERS, RuleName
from fastrec.hopfield.rules import RULES
from fastrec.kernels import words

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own

OPTIONS: dict[str, dict[str, Any]] = {
    "hebb": {},
    "storkey": {},
    "projection": {},
    "perceptron": {"margin": 0.2},
    "covariance": {"activity": 0.3},
    "sequence": {"cyclic": True},
}
each_rule = pytest.mark.parametrize("rule", OPTIONS)


def spins(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), shape)


def stored(x: np.ndarray, rule: str, **options: Any) -> HopfieldNetwork:
    network = HopfieldNetwork(x.shape[-1], rule=rule, **OPTIONS[rule] | options)  # type: ignore[arg-type]
    network.store(x)
    return network


def test_each_rule_is_named_once() -> None:
    assert tuple(RULES) == get_args(RuleName)
    assert OPTIONS.keys() == RULES.keys()
    assert {option for rule in RULES.values() for option in rule.options} == READERS.keys()


def storkey(x: np.ndarray) -> np.ndarray:
    """As published: w += (x x' - x h_ji - h_ij x) / n, h_ij = sum of w_ik x_k over k other than i and j."""
    n = x.shape[1]
    w = np.zeros((n, n))
    for xi in x.astype(float):
        h = np.array(
            [[sum(w[i, k] * xi[k] for k in range(n) if k not in (i, j)) for j in range(n)] for i in range(n)]
        )
        w += (np.outer(xi, xi) - xi[:, None] * h.T - h * xi) / n
        np.fill_diagonal(w, 0)
    return w


def projection(x: np.ndarray) -> np.ndarray:
    return np.linalg.pinv(x.astype(float)) @ x


def covariance(x: np.ndarray, activity: float) -> np.ndarray:
    v = (x + 1) / 2 - activity
    return v.T @ v / x.shape[1]


@pytest.mark.parametrize("seed", range(50))
def test_rules_are_those_of_textbooks(backend: str, seed: int) -> None:
    """Four rules, 200 cases a backend: couplings / scale are n times those of float64."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 13))
    p = int(rng.integers(1, n + 1))
    x = spins(seed, p, n)
    zero = ~np.eye(n, dtype=bool)

    network = stored(x, "storkey", backend=backend)
    error = 4 * p * (1 + 2 / n) ** p / 2**16  # a rounded strength in each pattern
    assert np.abs(network.couplings() / network.scale - n * storkey(x)).max() < error

    self_coupling = bool(seed % 2)
    if np.linalg.matrix_rank(x.astype(float)) == p:
        network = stored(x, "projection", backend=backend, self_coupling=self_coupling)
        expected = projection(x) * (1 if self_coupling else zero)
        assert np.abs(network.couplings() * network.n / network.scale / n - n * expected).max() < n / 2**22
    else:
        with pytest.raises(ValueError, match="depends linearly"):
            stored(x, "projection", backend=backend)

    activity = float(rng.integers(1, 10)) / 10
    network = stored(x, "covariance", backend=backend, activity=activity, self_coupling=self_coupling)
    expected = covariance(x, activity) * (1 if self_coupling else zero)
    assert np.abs(network.couplings() / network.scale - n * expected).max() < 1e-9
    # In units of 0 and 1: an active unit is one whose field exceeds (1/2 - a) a (1 - a) n.
    theta = (0.5 - activity) * activity * (1 - activity) * n
    doubled = network.thresholds / network.scale + network.couplings().sum(axis=1) / network.scale
    assert np.abs(doubled - 2 * theta).max() <= 0.5 / network.scale + 1e-9

    weights = rng.choice([-3, -1, 1, 2, 100], p)
    network = HopfieldNetwork(n, backend=backend, self_coupling=self_coupling)
    network.store(x, weight=weights)
    expected = np.einsum("p,pi,pj->ij", weights, x.astype(int), x.astype(int))
    assert np.array_equal(network.couplings(), expected * (1 if self_coupling else zero))


def perceptron(
    x: np.ndarray, margin: float, self_coupling: bool, thresholds: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Couplings in float64 and whether each unit has learnt."""
    p, n = x.shape
    w, learnt = np.zeros((n, n)), np.zeros(n, dtype=bool)
    for i in range(n):
        others = np.ones(n) if self_coupling else np.arange(n) != i
        for _ in range(most):
            wrong = 0
            for mu in range(p):
                if x[mu, i] * (w[i] @ x[mu] - thresholds[i]) <= margin * np.sqrt((w[i] ** 2).sum()):
                    w[i] += x[mu, i] * x[mu] * others
                    wrong += 1
            if not wrong:
                learnt[i] = True
                break
    return w, learnt


@pytest.mark.parametrize("seed", range(50))
def test_perceptron_is_that_of_textbooks(backend: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(1, 13)), int(rng.integers(1, 16))
    x, margin = spins(seed, p, n), float(rng.choice([0, 0.1, 0.5, 1, 3]))
    self_coupling = bool(rng.integers(2))
    thresholds = rng.integers(-3, 4, n) * int(rng.integers(2))
    expected, learnt = perceptron(x, margin, self_coupling, thresholds, 50)
    options = {"margin": margin, "max_passes": 50, "thresholds": thresholds, "self_coupling": self_coupling}
    if learnt.all():
        network = stored(x, "perceptron", backend=backend, **options)
        assert np.array_equal(network.couplings(), expected)
        assert network.is_stable(x).all()
        assert network.symmetric == np.array_equal(expected, expected.T)
    else:
        with pytest.raises(
            ValueError, match=rf"^{n - learnt.sum()} of {n} units have not learnt p = {p} pat"
        ):
            stored(x, "perceptron", backend=backend, **options)


def learns(x: np.ndarray, i: int) -> bool:
    """Whether there are couplings of unit i to the others with which all patterns are stable, by SciPy."""
    y = x[:, [i]] * np.delete(x, i, axis=1)
    if y.shape[1] == 0:
        return False
    found = linprog(np.zeros(y.shape[1]), -y, -np.ones(len(y)), bounds=(None, None), method="highs")
    return bool(found.status == 0)


def taught(
    x: np.ndarray, most: int, margin: float = 0.0, backend: str = "cpu"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Strengths (n, p), passes and stabilities (n,) by the kernel of the perceptron rule."""
    p, n = x.shape
    module = fastrec.backend.kernels("hopfield", backend)
    packed, units = np.zeros((1, p, words(n)), np.uint64), np.zeros((1, n, words(p)), np.uint64)
    module.pack(np.ascontiguousarray(x), packed[0])
    module.transpose(packed, units)
    gram = (x.astype(np.int32) @ x.T)[None].copy()
    strengths, passes = np.zeros((1, n, p), np.int32), np.zeros((1, n), np.int32)
    nothing, stability = np.zeros((1, n), np.int64), np.zeros((1, n))
    module.perceptron(units, gram, nothing, margin, False, most, strengths, passes, stability)
    return strengths[0], passes[0], stability[0]


def learnt_units(x: np.ndarray, most: int) -> np.ndarray:
    """Units that the perceptron rule teaches all patterns within so many passes."""
    return taught(x, most)[1] > 0


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_stabilities_are_those_of_the_couplings(name: str) -> None:
    x = spins(0, 12, 31)
    strengths, passes, stability = taught(x, 50, 0.7, name)
    w = (strengths * x.T) @ x.astype(int) * ~np.eye(31, dtype=bool)
    found = (x * (x @ w.T)).min(axis=0) / np.sqrt((w**2).sum(axis=1))
    assert np.allclose(stability, found, rtol=1e-14)
    assert (passes > 0).all() and (stability > 0.7).all()


@pytest.mark.parametrize("load", [1.2, 1.6, 2.0, pytest.param(2.4, marks=pytest.mark.slow)])
def test_the_perceptron_learns_what_can_be_learnt(load: float) -> None:
    """In every instance: linear programming finds couplings where the rule does, and nowhere else."""
    n = 21
    for seed in range(3):
        x = spins(seed, round(load * (n - 1)), n)
        assert learnt_units(x, 100_000).tolist() == [learns(x, i) for i in range(n)]


@pytest.mark.parametrize("load", [1.6, *(pytest.param(load, marks=pytest.mark.slow) for load in (2.0, 2.4))])
def test_covers_count(load: float) -> None:
    """The share of the 2^p ways to label p points in general position of d dimensions that a plane makes."""
    d, networks = 40, 12
    p, trials = round(load * d), networks * (d + 1)
    expected = sum(comb(p - 1, j) for j in range(d)) / 2 ** (p - 1)
    found = np.mean([learnt_units(spins(seed, p, d + 1), 20_000) for seed in range(networks)])
    assert abs(found - expected) < 3 * np.sqrt(expected * (1 - expected) / trials) + 0.01


@each_rule
@pytest.mark.parametrize(("n", "p", "k"), [(70, 9, 3), (33, 5, None)])
def test_networks_are_of_their_own(backend: str, rule: str, n: int, p: int, k: int | None) -> None:
    """k networks are k single ones; what is stored step by step, read-only or not contiguous, is the same."""
    x = spins(0, *((k,) if k else ()), p, n)
    network = stored(x, rule, backend=backend)
    probes = spins(1, *((k,) if k else ()), 4, n)
    found = network.recall(probes, seed=2)
    if k:
        for t in range(k):
            single = stored(x[t], rule, backend=backend)
            assert np.array_equal(single.couplings(), network.couplings()[t])
            assert np.array_equal(single.thresholds, network.thresholds[t])
            assert np.array_equal(single.recall(probes[t], seed=2).states, found.states[t])
            assert single.symmetric or not network.symmetric
        everywhere = network.recall(probes[0], seed=2)
        assert everywhere.states.shape == (k, 4, n)
        assert np.array_equal(everywhere.states[0], found.states[0])
    steps = HopfieldNetwork(n, rule=rule, backend=backend, **OPTIONS[rule])  # type: ignore[arg-type]
    for part in (slice(0, 1), slice(1, 3), slice(3, p)):
        wide = np.repeat(x[..., part, :], 2, axis=-1)
        rows = wide[..., ::2]
        rows.flags.writeable = False
        steps.store(rows)
        steps.energy(rows)
    assert np.array_equal(steps.couplings(), network.couplings())


@each_rule
def test_backends_give_equal_bits(compiled: str, rule: str) -> None:
    for n, p in ((1, 1), (65, 30), (130, 17)):
        if rule == "perceptron" and n == 1:
            continue  # nothing to learn from
        x, probes, found = spins(n, p, n), spins(1, 5, n), []
        for name in (compiled, "reference"):
            network = stored(x, rule, backend=name)
            result = network.recall(probes, seed=3, record_energy=True)
            sync = network.recall(probes, update="sync", max_sweeps=50)
            found.append(
                (network.couplings(), network.thresholds, network.local_fields(probes), result.states)
                + (result.energies, sync.states, sync.period, network.is_stable(x), network.energy(probes))
            )
        for a, b in zip(*found, strict=True):
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@each_rule
def test_forgotten_patterns_were_never_there(backend: str, rule: str) -> None:
    x = spins(0, 9, 40)
    network = stored(x, rule, backend=backend)
    network.forget(x[[2, 5]])
    assert np.array_equal(network.couplings(), stored(np.delete(x, [2, 5], 0), rule).couplings())
    network.forget(network.patterns)
    assert network.n_patterns == 0
    network.store(x)
    assert np.array_equal(network.couplings(), stored(x, rule).couplings())


def test_forgetting_keeps_the_weights_of_the_others(backend: str) -> None:
    x = spins(0, 4, 30)
    network = HopfieldNetwork(30, backend=backend)
    network.store(x, weight=[5, -2, 3, 1])
    network.forget(x[1])
    other = HopfieldNetwork(30, backend=backend)
    other.store(x[[0, 2, 3]], weight=[5, 3, 1])
    assert np.array_equal(network.couplings(), other.couplings())
    network.forget(x[[0, 2]])
    assert network.recall(x[3]).period == 1
    assert np.array_equal(network.couplings(), np.outer(x[3], x[3]) - np.eye(30))


@each_rule
def test_files_and_pickles(backend: str, rule: str, tmp_path: Path) -> None:
    x = spins(0, 2, 7, 35)
    thresholds = {"thresholds": np.arange(35) % 3} if rule in ("hebb", "storkey") else {}
    for coding, network in (
        ("+-1", stored(x[0], rule, backend=backend)),
        ("+-1", stored(x, rule, backend=backend, **thresholds)),
        ("01", stored((x + 1) // 2, rule, backend=backend, coding="01", shape=(5, 7))),
    ):
        network.save(tmp_path / "a.npz")
        for again in (
            HopfieldNetwork.load(tmp_path / "a.npz", backend=backend),
            pickle.loads(pickle.dumps(network)),
        ):
            assert repr(again).partition(", memory")[0] == repr(network).partition(", memory")[0]
            assert np.array_equal(again.couplings(), network.couplings())
            assert np.array_equal(again.thresholds, network.thresholds)
            assert again.scale == network.scale
            assert np.array_equal(again.patterns, network.patterns)
            assert (network.patterns == 0).any() == (coding == "01")
            more = (spins(9, 35) + (coding == "01")) // (1 + (coding == "01"))
            for each in (again, network):
                each.store(np.broadcast_to(more, (2, 1, 35)) if network.n_networks else more)
            assert np.array_equal(again.couplings(), network.couplings())
            network.forget(np.broadcast_to(more, (2, 1, 35)) if network.n_networks else more)


def test_files_of_empty_networks_and_of_weights(tmp_path: Path) -> None:
    network = HopfieldNetwork(5, rule="projection")
    network.save(tmp_path / "a.npz")
    again = HopfieldNetwork.load(tmp_path / "a.npz")
    again.store(spins(0, 2, 3, 5))
    assert again.n_networks == 2
    network = HopfieldNetwork(5)
    network.store(spins(0, 3, 5), weight=[1, -1, 7])
    network.save(tmp_path / "a.npz")
    assert np.array_equal(HopfieldNetwork.load(tmp_path / "a.npz").couplings(), network.couplings())


def unchanged(network: HopfieldNetwork) -> tuple[Any, ...]:
    return network.n_patterns, network.couplings().tolist(), repr(network)


@pytest.mark.parametrize(
    ("rule", "bad", "message"),
    [
        ("projection", lambda x: -x[2], "^pattern 3 of those stored, counted from 0, depends linearly on"),
        ("projection", lambda x: spins(4, 38, 40), "^pattern 4[01] of those stored"),
        ("projection", lambda x: np.stack([x[0], spins(5, 40)]), "^pattern 3 of those stored"),
        (
            "perceptron",
            lambda x: spins(4, 90, 40),
            "^40 of 40 units have not learnt p = 93 patterns with marg",
        ),
    ],
)
def test_what_cannot_be_learnt_changes_nothing(
    backend: str, rule: str, bad: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    x = spins(0, 3, 40)
    network = stored(x, rule, backend=backend, **({"max_passes": 20} if rule == "perceptron" else {}))
    before = unchanged(network)
    with pytest.raises(ValueError, match=message):
        network.store(bad(x))
    assert unchanged(network) == before


def test_a_network_that_fails_is_named() -> None:
    x = spins(0, 3, 4, 40)
    x[2, 3] = x[2, 1]
    with pytest.raises(ValueError, match=r"^network 2: pattern 3 of those stored"):
        stored(x, "projection")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "hopfield"}, r"^rule is 'hopfield'; it must be \"hebb\", \"storkey\", "),
        ({"margin": 1.0}, '^margin is 1.0; it is of rule="perceptron", and the rule is "hebb"$'),
        ({"rule": "storkey", "activity": 0.5}, '^activity is 0.5; it is of rule="covariance", and'),
        ({"rule": "storkey", "self_coupling": True}, '^self_coupling is True; rule="storkey" has no self-'),
        ({"rule": "covariance"}, "^activity is not given"),
        *(
            (
                {"rule": "covariance", "activity": value},
                "^activity is .*; it must be a number above 0 and below",
            )
            for value in (0, 1, -0.5, 1.5, np.nan, "half", True)
        ),
        ({"rule": "covariance", "activity": 1e-6}, "^activity is 1e-06; it must be at least 1/2000 from 0"),
        ({"rule": "perceptron", "margin": -1}, "^margin is -1; it must be a number at least 0"),
        ({"rule": "perceptron", "margin": np.inf}, "^margin is inf"),
        ({"rule": "perceptron", "max_passes": 0}, "^max_passes is 0; it must be an integer from 1"),
        (
            {"thresholds": [1, 2]},
            r"^thresholds has shape \(2,\); give one number, or one for each unit, \(5,\)$",
        ),
        ({"thresholds": np.nan}, "^thresholds holds nan; it must hold finite numbers"),
        ({"thresholds": [1, 2, 3, np.inf, 1]}, r"^thresholds holds inf at \[3\]"),
        ({"thresholds": 0.5}, "^thresholds holds 0.5; couplings are whole numbers here"),
        ({"thresholds": "high"}, "^thresholds has dtype"),
        ({"coding": "10"}, "^coding is '10'"),
        ({"shape": (2, 3)}, r"^shape is \(2, 3\), 6 units; the network has n = 5$"),
        ({"shape": 5}, "^shape is 5; give the sides of a picture"),
    ],
)
def test_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HopfieldNetwork(5, **options)


@pytest.mark.parametrize(
    ("rule", "weight", "message"),
    [
        ("hebb", 0, "^weight is 0; it must be from -2"),
        ("hebb", 2**29, "^weight is 536870912; it must be from"),
        ("hebb", 1.5, "^weight is 1.5; it must be an integer, or as many as there are patterns"),
        (
            "hebb",
            [1, 2],
            r"^weight is \[1, 2\]; it must be an integer, or as many as there are patterns, \(3,\)",
        ),
        ("storkey", 2, '^weight is 2; rule="storkey" learns all patterns alike$'),
        ("perceptron", [1, 1, -1], r'^weight is \[1, 1, -1\]; rule="perceptron" learns all patterns alike$'),
    ],
)
def test_weights_of_memories(rule: str, weight: Any, message: str) -> None:
    network = HopfieldNetwork(40, rule=rule)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        network.store(spins(0, 3, 40), weight=weight)
    assert network.n_patterns == 0
    network.store(spins(0, 3, 40), weight=[1, 1, 1])


def test_sums_that_overflow_are_refused() -> None:
    network = HopfieldNetwork(2**18)
    with pytest.raises(
        ValueError, match=r"weights of 1073741824 in all of n = 262144: p n\^2 must stay below"
    ):
        network.store(spins(0, 4, 2**18), weight=2**28)
    assert network.n_patterns == 0


def test_unlearning_takes_a_pattern_back(backend: str) -> None:
    x = spins(0, 6, 50)
    network = stored(x, "hebb", backend=backend)
    network.store(x[4], weight=-1)
    assert np.array_equal(network.couplings(), stored(np.delete(x, 4, 0), "hebb").couplings())


def test_sparse_patterns_need_the_covariance_rule(backend: str) -> None:
    """Hebb holds none of twelve patterns of activity .1, the covariance rule all active units of all."""
    x = fastrec.random_patterns(12, 1000, seed=1, activity=0.1, coding="01", backend=backend)
    assert 0.08 < x.mean() < 0.12
    hebb = HopfieldNetwork(1000, coding="01", backend=backend)
    hebb.store(x)
    assert not hebb.is_stable(x).any()
    network = HopfieldNetwork(1000, rule="covariance", activity=0.1, coding="01", backend=backend)
    network.store(x)
    ends = network.recall(x, seed=2).states
    assert ((ends * x).sum(axis=1) / x.sum(axis=1)).min() > 0.99
    assert (ends != x).mean() < 0.01


def test_biased_patterns(backend: str) -> None:
    x = fastrec.random_patterns(50, 1000, seed=3, activity=0.2, backend=backend)
    assert abs((x > 0).mean() - 0.2) < 4 * np.sqrt(0.16 / x.size)
    assert np.array_equal(x[:7], fastrec.random_patterns(7, 1000, seed=3, activity=0.2))
    packed = fastrec.random_patterns(50, 1000, seed=3, activity=0.2, packed=True)
    assert np.array_equal(packed.unpack(), x)
    for bad in (0, 1, -1, np.nan, "0.5"):
        with pytest.raises(ValueError, match=r"^activity is .*; it must be a number above 0 and below 1"):
            fastrec.random_patterns(3, 10, activity=bad)  # type: ignore[call-overload]


def test_the_diagonal_of_the_projector_holds_states_back() -> None:
    """At load .4 and 10 % noise all memories come back without self-coupling, few with it."""
    x = spins(0, 160, 400)
    probes = fastrec.corrupt(x, 0.1, seed=1)
    shares = [
        (stored(x, "projection", self_coupling=own).recall(probes, seed=2).states == x).all(1).mean()
        for own in (False, True)
    ]
    assert shares[0] > 0.95 and shares[1] < 0.6


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 40))
def test_symmetric_rules_never_raise_the_energy(seed: int, n: int) -> None:
    x = spins(seed, max(1, n // 5), n)
    for rule in ("storkey", "covariance"):
        energies = stored(x, rule).recall(spins(seed + 1, 3, n), seed=seed, record="energy", by="update")
        for row in energies.energies:
            assert all(b <= a + 1e-9 * abs(a) for a, b in pairwise(row[~np.isnan(row)]))


def test_activities_are_fractions() -> None:
    assert READERS["activity"]("activity", 0.05) == Fraction(1, 20)
    assert READERS["activity"]("activity", 1 / 3) == Fraction(1, 3)
