"""Which law of scaling holds: local exponents, and the sentences that say so."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec.hopfield import theory
from fastrec.hopfield.storage_capacity import CapacityDefinition, CapacityResult, ScalingFit, ScalingResult
from fastrec.hopfield.storage_capacity.statistics import (
    LocalExponent,
    SizeMean,
    chi2_probability,
    fit_scaling,
)

DEFINITION = CapacityDefinition("all", "first_failure", 1, "async", 100, 10**9, 7)
SIZES = (10, 30, 100, 300, 1000, 3000, 10_000)


def fit_of(law, sizes=SIZES, relative=0.006, trials=200, order=1, expected=False, limit=True):
    """The fit of means that follow a law exactly, with standard errors of the given relative size."""
    means = [
        SizeMean(
            n,
            trials,
            law(n),
            relative * law(n),
            theory.capacity_mean(n) if expected and n >= 20 else math.nan,
            float(theory.mceliece_all(n)) if limit else math.nan,
        )
        for n in sizes
    ]
    return fit_scaling(means, order)


def scaling_of(sizes, trials=20, definition=DEFINITION, seed=0):
    """Trials drawn around 0.9 n / (4 ln n) + 3, with a spread of 15 %."""
    rng = np.random.default_rng(seed)
    return ScalingResult(
        [
            CapacityResult(
                n, np.rint(mean * rng.normal(1, 0.15, trials)).astype(int), none, definition, "cpu", 0.0
            )
            for n in sizes
            for mean, none in [(0.9 * float(theory.mceliece_all(n)) + 3, np.zeros(trials, bool))]
        ]
    )


@pytest.mark.parametrize("b", [0.7, 0.9, 1.0])
def test_local_exponents_of_a_power_law_are_its_exponent(b):
    fit = fit_of(lambda n: 0.4 * n**b, expected=True)
    points = fit.local_exponents().points
    assert len(points) == len(SIZES) - 1
    for q, n, following in zip(points, SIZES, SIZES[1:], strict=False):
        assert q.exponent == pytest.approx(b) and q.n == pytest.approx(math.sqrt(n * following))
        width = math.log(following / n)
        assert q.error == pytest.approx(0.006 * math.sqrt(2) / width)
        assert q.log_law == pytest.approx(1 - math.log(math.log(following) / math.log(n)) / width)
        if n < 20:
            assert math.isnan(q.theory)
        else:
            ratio = theory.capacity_mean(following) / theory.capacity_mean(n)
            assert q.theory == pytest.approx(math.log(ratio) / width)
    assert fit.b == pytest.approx(b)


def test_local_exponent_of_close_sizes_is_the_derivative():
    (q,) = fit_of(lambda n: n / (3 * math.log(n)), (990, 1010)).local_exponents().points
    assert q.exponent == pytest.approx(q.log_law) == pytest.approx(1 - 1 / math.log(1000), abs=1e-4)


def test_errors_of_local_exponents_are_those_of_the_scatter():
    points = [scaling_of((100, 400, 1600), seed=seed).fit().local_exponents().points for seed in range(200)]
    values = np.array(points)[:, :, 1:3]
    np.testing.assert_allclose(values[:, :, 0].std(axis=0) / np.median(values[:, :, 1], axis=0), 1, atol=0.2)


def test_local_exponents_as_a_table():
    pytest.importorskip("pandas")
    exponents = fit_of(lambda n: 0.4 * n**0.7, expected=True).local_exponents()
    lines = str(exponents).splitlines()
    assert lines[1].split() == ["n", "exponent", "+-", "n/ln", "n", "theory"]
    assert lines[2].split()[:2] == ["17.3", "0.700"] and lines[2].split()[-1] == "-"
    assert lines[-1].split()[0] == "5,480" and len(lines) == 2 + 6
    assert repr(exponents) == "LocalExponents(sizes=7, n=17.32..5477, exponent=0.7..0.7)"
    assert exponents._repr_html_().count("<tr>") == 7
    frame = exponents.to_frame()
    assert list(frame.columns) == list(LocalExponent._fields)
    np.testing.assert_array_equal(frame.to_numpy(), exponents.points)


def test_a_power_law_is_told():
    noisy = fit_of(lambda n: 0.4 * n**0.9 * (1.004 if n < 200 else 0.997))  # ever farther from n / (4 ln n)
    verdict, exponent = noisy.summary().splitlines()
    assert verdict == (
        f"Between n = 10 and 10,000 a power law n^{noisy.b:.3f} fits the means "
        f"(chi2/dof {noisy.power_chi2:.3g}), and n / (c ln n) does not ({noisy.log_chi2:.3g})."
    )
    assert exponent.startswith("The local exponent d ln p / d ln n is 0.900 +- 0.008 at n = 17.3 and 0.900 ")
    assert exponent.endswith(", where n / ln n predicts 0.884.")


def test_a_power_law_on_the_way_to_the_limit_is_told():
    fit = fit_of(lambda n: 0.5 * n**0.7)
    assert fit.summary().splitlines()[2] == (
        "A power law cannot hold for all n: p is 2.31 times its limit for large n, n / (4 ln n), at n = 10 "
        "and still 1.16 times at n = 10,000, a ratio that falls to 1 as slowly as ln ln n / ln n falls to 0. "
        "Over this range n^0.700 stands in for it."
    )
    assert len(fit_of(lambda n: 0.5 * n**0.7, limit=False).summary().splitlines()) == 2


@pytest.mark.parametrize("c", [2.5, 4.0])
def test_the_logarithmic_law_is_told(c):
    fit = fit_of(lambda n: n / (c * math.log(n)), expected=True)
    verdict, exponent = fit.summary().splitlines()
    assert verdict.startswith("Between n = 10 and 10,000 n / (c ln n) fits the means (chi2/dof ")
    assert "and a power law n^0.805 does not (" in verdict
    assert "rises from 0.645 +- 0.008 at n = 17.3 to 0.884 +- 0.007 at n = 5,480, where n / ln n" in exponent
    assert exponent.endswith("predicts 0.884 and the binomial mean 0.848.")


def test_the_true_capacity_is_told():
    """Of the theory of independent bits, less 3 % as of measured networks: neither of the two laws."""
    fit = fit_of(lambda n: 0.97 * theory.capacity_mean(n), SIZES[1:], expected=True)
    verdict, ranges, exponent, reason = fit.summary().splitlines()
    assert "a power law n^0.755 fits better than n / (c ln n) (chi2/dof " in verdict
    assert verdict.endswith("but neither holds.")
    assert ranges == (
        "At the precision of these trials, a power law over n = 1,000 to 10,000 (n^0.834) and the binomial "
        "mean over n = 30 to 10,000 (times 0.970) can hold, while n / (c ln n) cannot hold over "
        "any three neighbouring sizes."
    )
    assert "rises from 0.602 +- 0.007 at n = 54.8 to 0.848 +- 0.007 at n = 5,480" in exponent
    points, width = fit.local_exponents().points, np.diff(np.log(fit.sizes))
    below = np.average([q.log_law - q.exponent for q in points], weights=width)
    assert reason.startswith(
        "A power law looks better because its free exponent takes up a correction: p is 2.17"
    )
    assert (
        "and still 1.37 times at n = 10,000" in reason and f"is {below:.3f} below that of n / ln n" in reason
    )
    log_only = fit_of(lambda n: n / (3 * math.log(n) * (1 + 0.05 * (n > 500))), expected=True)
    assert "n / (c ln n) over n = 10 to 300 (c = 3.000)" in log_only.summary()


@pytest.mark.parametrize(("relative", "words"), [(0.006, "rises from 0.6"), (0.05, "is 0.6")])
def test_a_change_of_exponents_is_told_if_it_is_beyond_the_errors(relative, words):
    """A kink in the middle is no power law in both cases; between its ends the exponent changes by 0.046."""
    fit = fit_of(lambda n: n ** (0.6 + 0.004 * math.log(n)) * (1 + (n == 300)), relative=relative)
    change = fit.local_exponents().points[-1].exponent - fit.local_exponents().points[0].exponent
    assert change == pytest.approx(0.046, abs=0.001)
    assert f"d ln p / d ln n {words}" in fit.summary() and "neither holds" in fit.summary()


def test_no_law_is_told():
    fit = fit_of(lambda n: n * math.exp(-0.1 * math.log(n) ** 2), limit=False)
    _, ranges, exponent = fit.summary().splitlines()
    assert ranges == (
        "At the precision of these trials, a power law and n / (c ln n) cannot hold over any three "
        "neighbouring sizes."
    )
    assert "d ln p / d ln n falls from 0.4" in exponent


def test_that_both_laws_fit_is_told():
    fit = fit_of(lambda n: n / (3 * math.log(n)), (1000, 2000, 5000, 10_000), relative=0.05)
    assert fit.summary().splitlines()[0].endswith("): these trials cannot tell which law holds.")
    assert "both n / (c ln n) and a power law n^0.875 fit the means" in fit.summary()


def test_dense_memories_have_a_law_of_their_own():
    fit = fit_of(lambda n: n * n / (18 * math.log(n)), (20, 40, 80, 200), order=2, limit=False)
    assert fit.c == pytest.approx(18) and fit.log_chi2 < 1e-9
    assert "n^2 / (c ln n) fits the means" in fit.summary() and "n^2 / ln n predicts 1.793" in fit.summary()
    assert "n^2/(c ln n):  c = 18.0000" in str(fit)
    n = np.array([20, 80])
    np.testing.assert_allclose(fit.logarithmic_law(n), n * n / (18 * np.log(n)))
    np.testing.assert_allclose(fit.power_law(n), fit.a * n**fit.b)


@pytest.mark.parametrize(
    ("sizes", "trials"), [((100, 200, 500, 900), 20), ((10, 100, 1000), 20), ((10, 50, 200, 1000), 9)]
)
def test_too_little_for_an_answer(sizes, trials):
    fit = fit_of(lambda n: n**0.8, sizes, trials=trials)
    hint = "Which law holds can be told from four sizes or more over a decade, with ten trials of each."
    assert fit.summary() == hint and len(str(fit).splitlines()) == 3 and hint not in fit._repr_html_()
    enough = fit_of(lambda n: n**0.8, (10, 50, 70, 100), trials=10)
    assert str(enough).endswith(enough.summary()) and len(str(enough).splitlines()) >= 5
    assert enough.summary().splitlines()[0] in enough._repr_html_()


@pytest.mark.parametrize("degree", [2, 3, 0])  # of couplings, dense and exponential
def test_the_theory_has_the_name_of_its_column(degree):
    definition = replace(DEFINITION, corruption=0, degree=degree)
    fit = scaling_of((8, 10, 12, 14), definition=definition).fit()
    assert fit.theory_name == definition.theory_name == ("theory mean" if degree != 2 else "binomial mean")


FIELDS = [{"stop": "largest"}, {"criterion": "newest"}, {"rule": "storkey"}, {"corruption": 0, "degree": 3}]


@pytest.mark.parametrize("fields", [{}, *FIELDS[:-1], pytest.param(FIELDS[-1], marks=pytest.mark.slow)])
def test_what_a_definition_is_compared_with(fields):
    definition = replace(DEFINITION, **fields)
    scaling = scaling_of((10, 40, 160, 640), definition=definition)
    fit = scaling.fit()
    goes_to_limit = definition.criterion == "all" and definition.is_scanned
    for r, q in zip(scaling, fit.means, strict=True):
        assert q[:4] == (r.n, 20, r.mean, r.standard_error)
        expected = definition.theory_mean(r.n)
        assert math.isnan(q.theory) if expected is None else q.theory == expected
        assert q.limit == theory.mceliece_all(r.n) if goes_to_limit else math.isnan(q.limit)
    assert fit.order == (2 if "degree" in fields else 1)
    name = f"the {definition.theory_name} "
    assert (name in fit.summary()) == definition.has_theory
    assert goes_to_limit or "its limit" not in fit.summary()
    assert repr(pickle.loads(pickle.dumps(fit)).means) == repr(fit.means)


@given(st.permutations(range(5)))
def test_the_order_of_sizes_does_not_matter(order):
    scaling = scaling_of((10, 40, 160, 640, 2000))
    fit, other = scaling.fit(), ScalingResult([scaling[i] for i in order]).fit()
    assert repr(other.means) == repr(fit.means) and str(other) == str(fit) and other.sizes == fit.sizes


def test_a_fit_of_0_1_0_has_no_means():
    fit = ScalingFit((10, 1000), 1.0, 0.1, 0.7, 0.1, math.nan, 3.0, 0.1, 1.0)
    assert len(str(fit).splitlines()) == 3
    with pytest.raises(ValueError, match="means must hold what was fitted"):
        fit.local_exponents()


def test_probability_of_chi2():
    table = {1: 3.841, 2: 5.991, 3: 7.815, 10: 18.307, 15: 24.996, 100: 124.342}
    for freedom, chi2 in table.items():
        assert chi2_probability(chi2, freedom) == pytest.approx(0.05, abs=2e-5)
        assert chi2_probability(0.0, freedom) == 1
        assert chi2_probability(1e6, freedom) == 0


@pytest.mark.parametrize(
    ("first", "last", "power", "log"),
    [(100, 1000, 2.5, 10), (1000, 10_000, 1.1, 5.1), (10_000, 100_000, 0.6, 3.1), (100, 100_000, 13, 21)]
    + [(100, 10**8, 28, 30)],
)
def test_how_far_both_laws_are_from_theory(first, last, power, log):
    """Per cent at most, of the best fit to logarithms at sizes spaced evenly: the table of the tutorial."""
    n = 2 * np.geomspace(first / 2, last / 2, 12).round().astype(np.int64)
    x, y = np.log(n), np.log([theory.capacity_mean(size) for size in n.tolist()])
    off_power = y - np.polyval(np.polyfit(x, y, 1), x)
    off_log = y - x + np.log(x) - np.mean(y - x + np.log(x))
    for off, expected in ((off_power, power), (off_log, log)):
        assert 100 * np.abs(off).max() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("n", [1000, 10**4, 10**5, 10**6])
def test_the_equation_of_the_tutorial(n):
    """x = 4 ln n - 3 ln x - 1.1 of x = n/p, and its exponent 1 - 4 / (x + 3), are those of theory."""
    x = n / theory.capacity_quantile(n)
    assert 4 * math.log(n) - 3 * math.log(x) - 1.1 == pytest.approx(x, rel=0.005)
    slope = math.log(theory.capacity_mean(n + n // 10) / theory.capacity_mean(n - n // 10)) / math.log(11 / 9)
    assert 1 - 4 / (x + 3) == pytest.approx(slope, abs=0.01)
