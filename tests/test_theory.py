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


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 17, 18, 64, 101, pytest.param(300, marks=pytest.mark.slow)])
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


@pytest.mark.parametrize("criterion", ["all", "newest"])
@pytest.mark.parametrize("degree", [2, 3, "exponential"])
def test_mean_is_that_of_the_distribution(criterion, degree):
    for n in (2, 3, 17, 18, 22):
        _, cumulative = theory.first_failure_distribution(n, criterion, degree=degree)
        expected = float((1 - cumulative).sum())
        assert theory.capacity_mean(n, criterion, degree=degree) == pytest.approx(expected, rel=1e-6)


def test_mean_of_many_patterns():
    """Of more loads than the sum has terms, where straight lines join them."""
    _, cumulative = theory.first_failure_distribution(40_000)
    assert cumulative.size > 1000
    assert theory.capacity_mean(40_000) == pytest.approx(float((1 - cumulative).sum()), rel=1e-6)
    means = [theory.capacity_mean(n) for n in range(20, 60)]
    assert (np.diff(means[::2]) > 0).all() and (np.diff(means[1::2]) > 0).all()  # ties depend on the parity
    assert means[1] > means[2]


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


NODES = np.linspace(-12, 12, 200_001)
NORMAL = np.exp(-(NODES**2) / 2) / math.sqrt(2 * math.pi) * (NODES[1] - NODES[0])


def thermal(m, noise, temperature):
    """<tanh> and <tanh^2> of a field m + noise z, by another rule than that of the library."""
    states = np.tanh((m + noise * NODES) / temperature)
    return (NORMAL * states).sum(), (NORMAL * states**2).sum()


@pytest.mark.parametrize(
    ("alpha", "temperature"),
    [
        (0.05, 0.4),
        (0.1, 0.2),
        (0.02, 0.5),
        (0.137, 0.02),
        (0.1, 0.3154),
        (1e-4, 0.97),
        (1e-9, 0.3),
        (0.03, 0.01),
    ],
)
def test_ags_state_solves_its_equations(alpha, temperature):
    m, q, r = theory.ags_state(alpha, temperature)
    mean, square = thermal(m, math.sqrt(alpha * r), temperature)
    assert m == pytest.approx(mean, abs=1e-9)
    assert q == pytest.approx(square, abs=1e-9)
    assert r == pytest.approx(q / (1 - (1 - q) / temperature) ** 2, rel=1e-9)
    assert theory.ags_overlap(alpha, temperature) == m


def test_ags_overlap_at_temperature():
    # Solved elsewhere; networks of some thousand units had 0.970, 0.988 and 0.944.
    loads, heat = [0.05, 0.1, 0.02], [0.4, 0.2, 0.5]
    np.testing.assert_allclose(theory.ags_overlap(loads, heat), [0.9662, 0.9891, 0.9450], atol=6e-5)
    many = np.linspace(0, 0.1379, 50)
    np.testing.assert_array_equal(theory.ags_overlap(many, 0.0), theory.ags_overlap(many))
    np.testing.assert_allclose(theory.ags_overlap(many, 1e-12), theory.ags_overlap(many), atol=1e-9)
    m, q, r = theory.ags_state(many, 0)
    np.testing.assert_allclose(m, theory.ags_overlap(many), atol=1e-9)
    assert (q == 1).all()
    assert (np.diff(r) >= 0).all()
    for temperature in (1e-300, 0.3, 0.7, 0.99, 1 - 1e-6):  # one memory: a magnet
        m = theory.ags_overlap(0, temperature)
        assert m == pytest.approx(math.tanh(m / temperature), rel=1e-9)
        assert m > 0
    hotter = theory.ags_overlap(0.05, np.linspace(0, theory.ags_temperature(0.05) * (1 - 1e-9), 40))
    assert (np.diff(hotter) < 0).all()
    fuller = theory.ags_overlap(np.linspace(0, theory.ags_load(0.3) * (1 - 1e-9), 40), 0.3)
    assert (np.diff(fuller) < 0).all()
    plane = theory.ags_overlap(np.array([0.01, 0.1, 0.2])[:, None], [0, 0.5, 1, 2])
    assert plane.shape == (3, 4)
    np.testing.assert_array_equal(np.isnan(plane), [[0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]])
    assert theory.ags_overlap([], 0.1).shape == (0,)


def test_ags_lines():
    loads = np.array([0.01, 0.02, 0.05, 0.1, 0.12])
    lost = theory.ags_temperature(loads)
    np.testing.assert_allclose(lost, [0.801, 0.717, 0.542, 0.315, 0.215], atol=6e-4)
    np.testing.assert_allclose(theory.ags_load(lost), loads, rtol=1e-9)
    assert not np.isnan(theory.ags_overlap(loads, lost * (1 - 1e-9))).any()
    assert np.isnan(theory.ags_overlap(loads, lost * (1 + 1e-9))).all()
    assert theory.ags_load() == theory.ags_load(0) == theory.ALPHA_C
    assert theory.ags_load(1e-9) == pytest.approx(theory.ALPHA_C, abs=1e-9)
    np.testing.assert_array_equal(theory.ags_load([1, 3]), 0)
    # Reentrance: 0.1382 is also where replica symmetry, broken once, ends at temperature 0.
    heat = np.linspace(0, 0.06, 61)
    assert 0.02 < heat[theory.ags_load(heat).argmax()] < 0.026
    assert theory.ags_load(heat).max() == pytest.approx(0.13819, abs=1e-5)
    assert np.isnan(theory.ags_temperature([0.1382, 1])).all()
    # Near load 0 (AGS 1987): 1 - 1.95 sqrt(alpha), 1 - 2.6 sqrt(alpha).
    few = np.array([1e-6, 1e-8, 1e-16])
    np.testing.assert_allclose((1 - theory.ags_temperature(few)) / np.sqrt(few), 1.954, rtol=1e-3)
    np.testing.assert_allclose((1 - theory.ags_global_temperature(few)) / np.sqrt(few), 2.6, rtol=3e-3)
    stable = theory.ags_global_temperature(loads[:3])
    assert (np.diff(stable) < 0).all()
    assert (stable < lost[:3]).all()
    assert (
        theory.ags_temperature(0) == theory.ags_global_temperature(0) == theory.spin_glass_temperature(0) == 1
    )
    np.testing.assert_allclose(theory.spin_glass_temperature([[0.04], [1]]), [[1.2], [2]])


def test_free_energies_cross_where_they_should():
    from fastrec.hopfield.theory import ags, mean_field

    alphas, cold = np.array([0.02, 0.05]), np.full(2, mean_field.COLD)
    glass = ags._free_energy(np.zeros(2), ags._spin_glass_noise(alphas, cold), alphas, cold)
    np.testing.assert_allclose(glass, -1 / math.pi - np.sqrt(2 * alphas / math.pi), rtol=1e-12)
    # At temperature 0 retrieval states have close to -1/2 a unit, so that the energies cross near here.
    crossing = math.pi / 2 * (1 / 2 - 1 / math.pi) ** 2
    difference = ags._advantage(np.array([crossing - 1e-4, crossing + 1e-4]), cold)
    assert difference[0] < 0 < difference[1]
    last = theory.ags_global_temperature([0.0531, 0.0532])
    assert 0.08 < last[0] < 0.11
    assert np.isnan(last[1])
    assert (
        ags._advantage(np.array([0.03]), np.array([0.45]))
        < 0
        < ags._advantage(np.array([0.03]), np.array([0.55]))
    )


def simulated_sequence(n, alpha, temperature, steps, rng):
    patterns = rng.choice(np.array([-1, 1], np.float32), (round(alpha * n), n))
    state, overlaps = patterns[0], []
    for step in range(1, steps + 1):
        fields = np.roll(patterns @ state, 1) @ patterns / n
        chance = (fields > 0) if temperature == 0 else (1 + np.tanh(fields / temperature)) / 2
        state = np.where(rng.random(n) < chance, 1, -1).astype(np.float32)
        overlaps.append(patterns[step % len(patterns)] @ state / n)
    return float(np.mean(overlaps[steps // 2 :]))


@pytest.mark.parametrize(("alpha", "temperature"), [(0.2, 0), (0.1, 0.3), (0.05, 0.4)])
def test_sequences_are_recalled_as_theory_says(alpha, temperature):
    rng = np.random.default_rng(3)
    measured = np.mean([simulated_sequence(2000, alpha, temperature, 100, rng) for _ in range(3)])
    assert measured == pytest.approx(theory.sequence_overlap(alpha, temperature), abs=0.003)


@pytest.mark.slow
def test_simulated_sequences_end_there_too():
    rng = np.random.default_rng(4)
    assert simulated_sequence(2000, 0.24, 0, 200, rng) == pytest.approx(
        theory.sequence_overlap(0.24), abs=0.03
    )
    assert simulated_sequence(2000, 0.29, 0, 200, rng) < 0.3


def test_sequences_end_at_the_published_load():
    assert theory.sequence_load() == pytest.approx(0.269, abs=5e-4)
    y = np.linspace(0.5, 2, 150_001)  # at temperature 0 the load is a function of y = m / (sqrt(2) s)
    erf = np.array([math.erf(v) for v in y])
    closed = (erf**2 - 4 / math.pi * y**2 * np.exp(-2 * y**2)) / (2 * y**2)
    assert theory.sequence_load(0) == pytest.approx(closed.max(), rel=1e-9)
    assert np.isnan(theory.sequence_overlap([0.2691, 0.29])).all()
    assert theory.sequence_overlap(0) == 1
    heat = np.array([0.2, 0.5, 0.9])
    np.testing.assert_allclose(theory.sequence_temperature(theory.sequence_load(heat)), heat, rtol=1e-9)
    assert (np.diff(theory.sequence_load(np.linspace(0, 1, 30))) < 0).all()
    assert (theory.sequence_load(heat) > theory.ags_load(heat)).all()
    np.testing.assert_allclose(theory.sequence_temperature([0, 1e-10]), [1, 1 - 1e-5], rtol=1e-9)


def test_gardner_load():
    for margin in (0, 0.5, 1.0, 3.0):
        integral = (NORMAL * np.maximum(NODES + margin, 0) ** 2).sum()
        assert theory.gardner_load(margin) == pytest.approx(1 / integral, rel=1e-8)
    np.testing.assert_allclose(theory.gardner_load([[0, 0.5, 1]]), [[2, 0.961, 0.520]], atol=5e-4)


@pytest.mark.parametrize(
    ("p", "d"), [(1, 1), (2, 1), (5, 3), (6, 3), (7, 3), (64, 40), (80, 40), (96, 40), (300, 9)]
)
def test_cover_probability_counts(p, d):
    exact = Fraction(sum(math.comb(p - 1, k) for k in range(d)), 2 ** (p - 1))
    assert theory.cover_probability(p, d) == pytest.approx(float(exact), rel=1e-12)


def test_cover_probability_at_any_size():
    np.testing.assert_array_equal(theory.cover_probability([1, 39, 40], 40), 1)
    assert theory.cover_probability(2 * 10**9, 10**9) == pytest.approx(0.5, rel=1e-9)
    assert theory.cover_probability([[10], [20]], [3, 4, 5]).shape == (2, 3)
    assert theory.cover_probability(5, 5).shape == ()


def test_laws_of_dense_memories():
    sizes = np.array([[20, 100], [1000, 10**6]])
    np.testing.assert_allclose(theory.dense_most(sizes, 2), theory.mceliece_most(sizes), rtol=1e-12)
    np.testing.assert_allclose(theory.dense_all(sizes, 2), theory.mceliece_all(sizes), rtol=1e-12)
    assert theory.dense_most(100, 3) == pytest.approx(100**2 / (2 * 3 * math.log(100)))
    assert theory.dense_all(100, 4) == pytest.approx(100**3 / (2 * 4 * 15 * math.log(100)))
    assert theory.exponential_load(24) == pytest.approx(4096)
    assert theory.exponential_load(100, 1 / 4) == pytest.approx(
        math.exp(50 * (math.log(2) + math.log(27 / 256) / 4))
    )
    assert (np.diff(theory.exponential_load(50, np.linspace(0, 0.49, 20))) < 0).all()
    assert theory.storkey_capacity(1000) == pytest.approx(1000 / math.sqrt(2 * math.log(1000)))


@pytest.mark.parametrize(
    ("n", "p", "degree"),
    [(30, 25, 3), (20, 38, 4), (14, 40, 6), (12, 30, 8), (16, 80, "exponential"), (12, 2, 3), (30, 5, 2)],
)
def test_unstable_bits_of_dense_memories(n, p, degree):
    rng = np.random.default_rng(1)
    trials, unstable = 200, []
    for _ in range(trials):
        x = rng.choice([-1.0, 1.0], (p, n))
        count = 0
        for memory in x:
            others = (x @ memory)[:, None] - x * memory
            if degree == "exponential":
                change = np.exp(others + 1 - n) - np.exp(others - 1 - n)
            else:
                change = ((others + 1) / n) ** degree - ((others - 1) / n) ** degree
            count += int(((x * memory * change).sum(axis=0) < -1e-12).sum())
        unstable.append(count)
    expected = n * p * theory.unstable_bit_probability(n, p, degree=degree)
    assert abs(np.mean(unstable) - expected) <= 0.2 * expected + 4 * np.std(unstable) / math.sqrt(trials)


def test_capacity_of_dense_memories():
    # First failures of 30 and 50 units, degree 3, simulated: 16 to 27 and 36 to 63.
    assert [theory.capacity_quantile(30, share, degree=3) for share in (0.9, 0.1)] == [18, 32]
    assert [theory.capacity_quantile(50, share, degree=3) for share in (0.9, 0.1)] == [45, 73]
    for degree in (2, 3, 4, "exponential"):
        counts, cumulative = theory.first_failure_distribution(12, degree=degree)
        middle = theory.capacity_quantile(12, degree=degree)
        assert abs(counts[(cumulative >= 0.5).argmax()] - middle) <= 1
        assert theory.capacity_bound(12, degree=degree) > middle
        assert theory.capacity_quantile(12, criterion="newest", degree=degree) >= middle
    ratios = [theory.capacity_quantile(n, degree=3) / theory.dense_all(n, 3) for n in (100, 1000, 4000)]
    assert ratios == sorted(ratios, reverse=True)
    assert 1.3 < ratios[-1] < 1.5
    assert theory.each_pattern_load(100, degree=3) > theory.capacity_quantile(100, degree=3)
    q = theory.unstable_bit_probability(100, 10 ** np.arange(1, 16), degree=8)
    assert (np.diff(q) > 0).all()
    assert q[-1] == pytest.approx(0.5, abs=1e-3)
    assert theory.unstable_bit_probability(100, [[5, 6]], degree=3).shape == (1, 2)


def test_covariance_load():
    loads, thresholds = theory.covariance_load([[0.5], [0.1], [0.01], [1e-12]])
    assert loads.shape == thresholds.shape == (4, 1)
    ratios = (loads / theory.sparse_load([[0.5], [0.1], [0.01], [1e-12]])).ravel()
    assert (np.diff(ratios) > 0).all()
    assert 0.62 < ratios[-1] < 1
    assert theory.ALPHA_C / 2 < loads[0, 0] < 1.002 * theory.ALPHA_C / 2
    assert theory.covariance_load(0.5, 0)[0] == pytest.approx(theory.ALPHA_C / 2, rel=1e-8)
    again, same = theory.covariance_load([[0.5], [0.1], [0.01]], thresholds[:3])
    assert again == pytest.approx(loads[:3], rel=1e-8)
    assert (same == thresholds[:3]).all()
    assert theory.covariance_load(0.1, [0.3, 0.4, 0.6])[0].shape == (3,)
    assert theory.sparse_load(math.exp(-2)) == pytest.approx(math.exp(2) / 4)
    # A network of 2000 units 0 and 1 keeps a memory below the load, and not above.
    rng, n, a = np.random.default_rng(0), 2000, 0.1
    for load, kept in ((0.35, True), (0.65, False)):
        patterns = (rng.random((round(load * n), n)) < a).astype(np.float32)
        weights = (patterns - a).T @ (patterns - a) / (n * a * (1 - a))
        np.fill_diagonal(weights, 0)
        state = patterns[0].copy()
        for _ in range(40):
            for units in np.array_split(rng.permutation(n), 40):
                state[units] = weights[units] @ state > thresholds[1, 0]
        assert ((patterns[0] - a) @ state / (n * a * (1 - a)) > 0.7) == kept


def test_willshaw_patterns():
    n, active = 1000, 10
    p = int(theory.willshaw_patterns(n, active))
    rng = np.random.default_rng(0)
    patterns = np.zeros((p, n), np.float32)
    np.put_along_axis(patterns, rng.permuted(np.tile(np.arange(n), (p, 1)), axis=1)[:, :active], 1, axis=1)
    couplings = (patterns.T @ patterns > 0).astype(np.float32)
    wrong = ((patterns[:2000] @ couplings >= active).sum(axis=1) - active).mean()
    assert 0.8 < wrong < 1.6
    assert couplings.mean() == pytest.approx(0.5, abs=0.02)

    def bits(n, active):
        choices = sum(math.log2((n - k) / (k + 1)) for k in range(active))
        return float(theory.willshaw_patterns(n, active)) * choices / n**2

    shares = [bits(2**e, e) for e in (10, 20, 40, 80)]
    assert shares == sorted(shares)
    assert 0.6 < shares[-1] < math.log(2)
    assert theory.willshaw_patterns(100, [[4, 5]]).shape == (1, 2)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: theory.ags_overlap(-0.1), "alpha"),
        (lambda: theory.ags_overlap(math.nan), "alpha"),
        (lambda: theory.ags_overlap(0.1, -0.1), "temperature must"),
        (lambda: theory.ags_state(0.1, math.nan), "temperature must"),
        (lambda: theory.ags_load(math.inf), "temperature must"),
        (lambda: theory.ags_temperature(-1), "alpha must"),
        (lambda: theory.ags_global_temperature(-1), "alpha must"),
        (lambda: theory.spin_glass_temperature(-1), "alpha must"),
        (lambda: theory.sequence_overlap(-1), "alpha must"),
        (lambda: theory.sequence_load(-1), "temperature must"),
        (lambda: theory.sequence_temperature(math.nan), "alpha must"),
        (lambda: theory.gardner_load([0, -0.1]), "margin must"),
        (lambda: theory.cover_probability(0, 3), "p must"),
        (lambda: theory.cover_probability(3, 2.0), "d must"),
        (lambda: theory.storkey_capacity(1), "n must"),
        (lambda: theory.dense_most(1, 3), "n must"),
        (lambda: theory.dense_all(100, 1), "degree is"),
        (lambda: theory.dense_most(100, "exponential"), "degree is"),
        (lambda: theory.unstable_bit_probability(100, 3, degree=2.5), "degree is"),
        (lambda: theory.unstable_bit_probability(100, 3, degree="cubic"), "degree is"),
        (lambda: theory.unstable_bit_probability(1, 3, degree=3), "n must"),
        (lambda: theory.exponential_load(0), "n must"),
        (lambda: theory.exponential_load(10, 0.5), "flips must"),
        (lambda: theory.sparse_load(1), "activity must"),
        (lambda: theory.covariance_load(0.6), "activity must"),
        (lambda: theory.covariance_load(0.1, 0.9), "threshold must"),
        (lambda: theory.covariance_load(0.1, float("nan")), "threshold must"),
        (lambda: theory.willshaw_patterns(3, 2), "n must"),
        (lambda: theory.willshaw_patterns(100, 51), "active must"),
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
        (lambda: theory.capacity_mean(100, "oldest"), "criterion"),
        (lambda: theory.capacity_mean(1), "n must"),
        (lambda: theory.each_pattern_load(2, 0.1), "probability"),
        (lambda: theory.capacity_bound(0), "n must"),
        (lambda: theory.capacity_bound(1, 0.0), "probability"),
    ],
)
def test_bad_arguments_are_named(call, word):
    with pytest.raises(ValueError, match=word):
        call()


def test_dense_probabilities_of_very_many_patterns_are_at_most_one_half():
    for degree in (3, 4, "exponential"):
        q = theory.unstable_bit_probability(3, [1, 10, 1000, 10**9], degree=degree)
        assert q[0] == 0 and (np.diff(q) >= 0).all() and q[-1] == 0.5
        with pytest.raises(ValueError, match="probability must"):
            theory.each_pattern_load(3, np.exp(-1.5), degree=degree)
        assert theory.each_pattern_load(3, 0.23, degree=degree) < 10


def test_ends_of_the_laws():
    m, q, r = theory.ags_state(theory.ALPHA_C, 0)
    assert abs(m - theory.ags_overlap(theory.ALPHA_C)) < 1e-5 and q == 1 and r > 1
    np.testing.assert_allclose(theory.ags_temperature(theory.ALPHA_C), 0.046, atol=5e-4)
    assert theory.gardner_load([1e300, np.inf]).tolist() == [0, 0]
    assert np.isnan(theory.ags_global_temperature(np.inf))
    for n in (3, 1000.5, np.inf, None, "many"):
        with pytest.raises(ValueError, match="n must be an integer of at least 4"):
            theory.willshaw_patterns(n, 5)
