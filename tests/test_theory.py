import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from fastrec.hopfield import theory

# n: median, low, high of "all", and "each pattern" at 1/2 (the anchors of the design)
TABLE = {
    100: (10, 7, 12, 17),
    1_000: (56, 47, 63, 98),
    10_000: (386, 341, 421, 689),
    100_000: (2_916, 2_648, 3_117, 5_294),
    1_000_000: (23_342, 21_564, 24_631, 42_919),
}


def exact_q(n, p):
    m = (n - 1) * (p - 1)
    return Fraction(sum(math.comb(m, k) for k in range((m + n - 1) // 2 + 1, m + 1)), 2**m)


def series_q(n, p):
    """The same tail in 50 digits: Stirling's series for its first term, then the ratio of neighbours."""
    with localcontext() as context:
        context.prec = 50
        pi = Decimal("3.14159265358979323846264338327950288419716939937511")

        def log_factorial(x):
            x = Decimal(x)
            series = 1 / (12 * x) - 1 / (360 * x**3) + 1 / (1260 * x**5) - 1 / (1680 * x**7)
            return (x + Decimal("0.5")) * x.ln() - x + (2 * pi).ln() / 2 + series

        m = (n - 1) * (p - 1)
        s = (m + n - 1) // 2 + 1
        first = (log_factorial(m) - log_factorial(s) - log_factorial(m - s) - m * Decimal(2).ln()).exp()
        k = np.arange(s, min(m, s + 60 * (m // n) + 60 * math.isqrt(m)), dtype=np.float64)
        return float(first) * (1 + float(np.cumprod((m - k) / (k + 1)).sum()))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 17, 18, 64, 101, 300])
def test_unstable_bit_probability_matches_exact_integers(n):
    p = np.array([1, 2, 3, 4, 5, 6, 7, 9, 12, 23, 24])
    q = theory.unstable_bit_probability(n, p)
    for value, patterns in zip(q, p.tolist(), strict=True):
        exact = exact_q(n, patterns)
        if exact < Fraction(1, 10**300):
            assert value < 1e-299
        else:
            assert abs(Fraction(float(value)) / exact - 1) < Fraction(1, 10**12)


@pytest.mark.parametrize(
    ("n", "p"),
    [(1000, 57), (10**4, 387), (10**5, 2917), (10**6, 23_343), (10**6, 100_000), (999, 20_000), (3, 10**5)],
)
def test_unstable_bit_probability_at_large_sizes(n, p):
    assert theory.unstable_bit_probability(n, p) == pytest.approx(series_q(n, p), rel=1e-8)


def test_unstable_bit_probability_keeps_shapes_and_checks():
    p = np.array([[5, 6, 7], [8, 9, 10]])
    q = theory.unstable_bit_probability(50, p)
    assert q.shape == (2, 3)
    assert q[1, 2] == theory.unstable_bit_probability(50, 10)
    assert theory.unstable_bit_probability(50, np.array([], int)).shape == (0,)
    for n, bad in ((50, 0), (50, 1.5), (0, 3), (2.5, 3), (2**40, 2**30)):
        with pytest.raises(ValueError, match="must"):
            theory.unstable_bit_probability(n, bad)


@pytest.mark.parametrize("n", TABLE)
def test_quantiles_reproduce_the_table(n):
    quantiles = [theory.capacity_quantile(n, probability) for probability in (0.5, 0.9, 0.1)]
    assert (*quantiles, theory.each_pattern_load(n)) == TABLE[n]


@pytest.mark.parametrize("criterion", ["all", "newest"])
@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 33, 100, 1001, 30_000])
def test_quantile_is_the_last_p_before_the_mid_survival_falls(n, criterion):
    curve = theory.all_stable_probability if criterion == "all" else theory.newest_stable_probability
    survival = curve(n, np.arange(1, theory.capacity_bound(n, criterion=criterion) + 2))
    mid = (survival[:-1] + survival[1:]) / 2
    for probability in (0.99, 0.9, 0.5, 0.1, 0.01):
        assert theory.capacity_quantile(n, probability, criterion) == (mid < probability).argmax()


def test_newest_is_the_product_over_additions():
    n, p = 200, np.arange(1, 31)
    one_by_one = np.cumprod([math.exp(-n * theory.unstable_bit_probability(n, k)) for k in p.tolist()])
    np.testing.assert_allclose(theory.newest_stable_probability(n, p), one_by_one, rtol=1e-12)
    np.testing.assert_allclose(
        theory.newest_stable_probability(n, p[[20, 3]]), one_by_one[[20, 3]], rtol=1e-12
    )
    assert theory.capacity_quantile(n, criterion="newest") > theory.capacity_quantile(n)
    assert theory.capacity_bound(n, criterion="newest") > theory.capacity_bound(n)


@pytest.mark.parametrize("criterion", ["all", "newest"])
@pytest.mark.parametrize("n", [2, 3, 4, 7, 10, 100, 2000])
def test_first_failure_distribution(n, criterion):
    counts, cumulative = theory.first_failure_distribution(n, criterion)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, np.arange(counts.size))
    assert (np.diff(cumulative) >= 0).all()
    assert cumulative[0] == 0
    assert cumulative[-1] >= 1 - 1e-9
    if n == 2000:
        mid = (cumulative + np.append(0, cumulative[:-1])) / 2
        assert counts[mid <= 0.5].max() == theory.capacity_quantile(n, criterion=criterion)


def test_theory_describes_simulated_first_failures():
    n, trials, rng = 100, 300, np.random.default_rng(5)
    counts = []
    for _ in range(trials):
        patterns = rng.choice(np.array([-1, 1]), (30, n))
        p = 1
        while True:
            stored = patterns[:p]
            fields = stored @ (stored.T @ stored - p * np.eye(n, dtype=int))
            if (fields * stored < 0).any():
                break
            p += 1
        counts.append(p - 1)
    _, cumulative = theory.first_failure_distribution(n)
    mean = float((1 - cumulative).sum())
    assert abs(np.mean(counts) - mean) < 0.6  # standard error 0.1; the Poisson curve leaves correlations out
    assert abs(np.median(counts) - theory.capacity_quantile(n)) <= 1


@pytest.mark.parametrize("n", [1, 2, 3, 10, 100, 1000, 10**6, 10**8])
def test_capacity_bound_is_a_finite_search_limit(n):
    bound = theory.capacity_bound(n)
    assert isinstance(bound, int)
    assert bound >= 8
    if n > 1:
        assert theory.all_stable_probability(n, bound) < 1e-9
        assert bound < 20 * n + 8
        assert bound <= theory.capacity_bound(n, 1e-15)


def test_ags_overlap_has_the_published_values():
    expected = {0.05: 0.999992, 0.10: 0.99800, 0.12: 0.99322, 0.13: 0.98721}
    np.testing.assert_allclose(theory.ags_overlap(list(expected)), list(expected.values()), atol=6e-6)
    assert theory.ags_overlap(0.0) == 1
    assert theory.ags_overlap(theory.ALPHA_C) == pytest.approx(0.96742, abs=1e-5)
    assert np.isnan(theory.ags_overlap([theory.ALPHA_C + 1e-9, 0.2])).all()
    assert theory.ags_overlap(np.full((2, 3), 0.1)).shape == (2, 3)
    # The overlap solves its equation, looked up on a grid of the branch with the larger y.
    y = np.linspace(1.6, 3, 20001)
    g = np.array([math.erf(v) / v - 2 / math.sqrt(math.pi) * math.exp(-v * v) for v in y])
    for alpha in (0.08, 0.12):
        nearest = y[np.abs(g - math.sqrt(2 * alpha)).argmin()]
        assert theory.ags_overlap(alpha) == pytest.approx(math.erf(nearest), abs=1e-5)


def test_alpha_c_is_the_maximum_of_the_ags_curve():
    y = np.linspace(1.2, 1.8, 60_001)
    g = np.array([math.erf(v) / v - 2 / math.sqrt(math.pi) * math.exp(-v * v) for v in y])
    assert g.max() ** 2 / 2 == pytest.approx(theory.ALPHA_C, rel=1e-8)
    assert round(theory.ALPHA_C, 7) == 0.1379056


def test_first_step_overlap():
    assert theory.first_step_overlap(0.5, 0.1) == pytest.approx(math.erf(0.5 / math.sqrt(0.2)))
    np.testing.assert_array_equal(theory.first_step_overlap([-0.3, 0, 0.3], 0.0), [-1, 0, 1])
    assert theory.first_step_overlap(np.zeros((4, 1)), [0.1, 0.2]).shape == (4, 2)


def test_amari_maginu_overlaps():
    m = theory.amari_maginu_overlaps([[0.3], [0.5]], [0.05, 0.1, 0.2], 4)
    assert m.shape == (2, 3, 5)
    np.testing.assert_array_equal(m[..., 0], [[0.3] * 3, [0.5] * 3])
    np.testing.assert_allclose(m[..., 1], theory.first_step_overlap([[0.3], [0.5]], [0.05, 0.1, 0.2]))
    np.testing.assert_array_equal(theory.amari_maginu_overlaps(-0.4, 0.1, 9), -m_of(0.4, 0.1, 9))
    # Later steps as the equations read, in scalars.
    overlap, variance = 0.3, 0.1
    for found in m_of(0.3, 0.1, 9)[1:]:
        u = overlap / math.sqrt(variance)
        density = math.exp(-u * u / 2) / math.sqrt(2 * math.pi)
        overlap = math.erf(u / math.sqrt(2))
        variance = 0.1 + 4 * density**2 + 4 * 0.1 * u * density * overlap
        assert found == pytest.approx(overlap)
    # Overlaps measured with n = 10000, synchronous, 120 probes: 0.6574(10), 0.709(7); 0.887(5), 0.951(9).
    assert m_of(0.3, 0.1, 2)[1:] == pytest.approx([0.6574, 0.709], abs=0.03)
    assert m_of(0.5, 0.1, 2)[1:] == pytest.approx([0.887, 0.951], abs=0.01)


def m_of(m0, alpha, steps):
    return theory.amari_maginu_overlaps(m0, alpha, steps)


def test_critical_overlap():
    # Published: retrieval up to a load of about 0.16 (Amari and Maginu 1988).
    loads = np.array([0, 0.001, 0.02, 0.08, 0.15, 0.159, 0.1605, 0.2])
    edge = theory.critical_overlap(loads)
    assert edge[0] == 0
    assert (np.diff(edge[:6]) > 0).all()
    assert np.isnan(edge[6:]).all()
    for load, start in zip(loads[1:5], edge[1:5], strict=True):
        assert m_of(start + 2e-4, load, 3000)[-1] > 0.9
        assert m_of(start - 2e-4, load, 3000)[-1] < 0.1
    assert theory.critical_overlap(0.1) == pytest.approx(0.2094, abs=2e-4)
    assert theory.critical_overlap(np.full((2, 3), 0.1)).shape == (2, 3)
    assert (theory.ags_overlap(0.13) < m_of(1, 0.13, 500)[-1]) & (m_of(1, 0.13, 500)[-1] < 1)


def test_mceliece():
    assert theory.mceliece_most(1000) == pytest.approx(1000 / (2 * math.log(1000)))
    np.testing.assert_allclose(theory.mceliece_all([100, 10**6]), [5.4287, 18095.6], rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: theory.ags_overlap(-0.1), "alpha"),
        (lambda: theory.ags_overlap(math.nan), "alpha"),
        (lambda: theory.first_step_overlap(0.1, -1), "alpha"),
        (lambda: theory.amari_maginu_overlaps(1.1, 0.1, 1), "m0 must"),
        (lambda: theory.amari_maginu_overlaps(0.5, 0.0, 1), "alpha must"),
        (lambda: theory.amari_maginu_overlaps(0.5, 0.1, -1), "steps must"),
        (lambda: theory.critical_overlap([0.1, math.nan]), "alpha must"),
        (lambda: theory.mceliece_all([5, 1]), "n must"),
        (lambda: theory.capacity_quantile(1), "n must"),
        (lambda: theory.capacity_quantile(100, 1.0), "probability"),
        (lambda: theory.capacity_quantile(100, 0.5, "oldest"), "criterion"),
        (lambda: theory.first_failure_distribution(100, "oldest"), "criterion"),
        (lambda: theory.each_pattern_load(2, 0.1), "probability"),
        (lambda: theory.capacity_bound(0), "n must"),
        (lambda: theory.capacity_bound(1, 0.0), "probability"),
    ],
)
def test_bad_arguments_are_named(call, word):
    with pytest.raises(ValueError, match=word):
        call()
