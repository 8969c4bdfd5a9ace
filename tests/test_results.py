import csv
import math
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrec.files import new_file, require_suffix
from fastrec.hopfield import theory
from fastrec.hopfield.storage_capacity import CapacityDefinition, CapacityResult, ScalingResult
from fastrec.hopfield.storage_capacity.result import SCHEMA, build_results

ADDED = (
    0.0,
    "hebb",
    "random",
    0.0,
    0,
    "default",
    0.0,
    0,
    0.0,
    2,
)  # fields of definitions of later versions
DEFINITION = CapacityDefinition("all", "first_failure", 1, "async", 100, 5000, 7)


def from_rows(rows):
    return build_results(SCHEMA.results(rows))


def result(n, counts, definition=DEFINITION, censored=None, seconds=0.25):
    censored = np.zeros(len(counts), bool) if censored is None else censored
    return CapacityResult(n, np.asarray(counts), censored, definition, "cpu", seconds)


def around_theory(n, trials):
    counts, cumulative = theory.first_failure_distribution(n)
    return result(n, counts[np.searchsorted(cumulative, np.random.default_rng(n).random(trials))])


@pytest.fixture
def scaling():
    return ScalingResult(
        tuple(around_theory(n, trials) for n, trials in ((100, 60), (1000, 30), (10_000, 10)))
    )


def test_statistics():
    r = result(50, [4, 6, 7, 9, 14])
    assert (r.trials, r.mean, r.median, r.alpha) == (5, 8.0, 7.0, 0.14)
    assert (r.low, r.high) == (4.8, 12.0)
    assert r.standard_error == pytest.approx(np.std([4, 6, 7, 9, 14], ddof=1) / math.sqrt(5))
    assert math.isnan(result(50, [3]).standard_error)


def test_arrays_are_copied_and_read_only():
    counts = np.array([3, 4])
    r = result(20, counts)
    counts[0] = 9
    assert r.counts.tolist() == [3, 4]
    assert r.counts.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        r.counts[0] = 1


def test_equality_compares_every_field():
    r = result(20, [3, 4])
    assert r == result(20, [3, 4])
    assert r != "r"
    for other in (
        result(21, [3, 4]),
        result(20, [3, 5]),
        result(20, [3, 4], censored=[True, False]),
        result(20, [3, 4], replace(DEFINITION, seed=8)),
        result(20, [3, 4], seconds=0.5),
        replace(r, backend="gpu"),
    ):
        assert r != other


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"counts": np.array([], np.int64), "censored": np.array([], bool)}, "one value a trial"),
        ({"censored": np.zeros(3, bool)}, "one value a trial"),
        ({"counts": np.array([1.5, 2.0])}, "integers"),
        ({"counts": np.array([-1, 2])}, "between 0 and"),
        ({"counts": np.array([1, 5001])}, "max_patterns = 5000"),
        ({"n": 0}, "n must"),
        ({"seconds": math.nan}, "seconds"),
        ({"backend": "a,b"}, "backend"),
    ],
)
def test_impossible_results_are_refused(change, word):
    with pytest.raises(ValueError, match=word):
        replace(result(20, [3, 4]), **change)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("criterion", "some"),
        ("stop", "never"),
        ("update", "both"),
        ("corruption", -1),
        ("max_sweeps", 0),
        ("max_patterns", 0),
    ],
)
def test_impossible_definitions_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        replace(DEFINITION, **{name: value})


def test_definition_reads_as_a_phrase():
    assert str(DEFINITION) == (
        "most memories stored before the first failure: every stored memory, probed with 1 bit flipped, "
        "must be recalled exactly (async updates, at most 100 sweeps)"
    )
    assert "the newest memory, probed unchanged" in str(replace(DEFINITION, criterion="newest", corruption=0))
    assert "largest number" in str(replace(DEFINITION, stop="largest"))
    assert "3 bits flipped" in str(replace(DEFINITION, corruption=3))


def test_theory_only_where_it_applies():
    assert DEFINITION.theory_quantile(1000) == 56
    assert DEFINITION.theory_quantile(1) is None
    assert replace(DEFINITION, stop="largest").theory_quantile(1000) is None
    assert replace(DEFINITION, corruption=5).theory_quantile(1000) is None
    newest = replace(DEFINITION, criterion="newest")
    assert newest.theory_quantile(1000) == theory.capacity_quantile(1000, criterion="newest")
    assert newest.theory_mean(1000) == theory.capacity_mean(1000, "newest")
    assert DEFINITION.theory_mean(20) == theory.capacity_mean(20)
    assert DEFINITION.theory_mean(19) is None is replace(DEFINITION, stop="largest").theory_mean(1000)
    dense = replace(DEFINITION, corruption=0, degree=3)
    assert dense.theory_mean(12) == theory.capacity_mean(12, degree=3)
    assert (DEFINITION.theory_name, dense.theory_name) == ("binomial mean", "theory mean")


def test_table(scaling):
    lines = scaling.table().splitlines()
    assert lines[0] == f"capacity = {DEFINITION}; binomial mean: theory.capacity_mean"
    assert lines[1].split("  ")[-1] == "binomial mean"
    assert len(lines) == 2 + len(scaling)
    assert len({len(line) for line in lines[1:]}) == 1
    for line, r in zip(lines[2:], scaling, strict=True):
        cells = line.split()
        assert cells[:4] == [str(r.n), str(r.trials), f"{r.median:g}", f"{r.mean:.2f}"]
        assert cells[-2:] == [f"{theory.mceliece_all(r.n):.1f}", f"{theory.capacity_mean(r.n):.2f}"]
    assert scaling[0].table().splitlines()[2].split() == lines[2].split()


def test_table_shows_censoring_and_gaps():
    largest = replace(DEFINITION, stop="largest", max_patterns=9)
    text = ScalingResult((result(1, [0], largest), result(30, [9, 4], largest, [True, False]))).table()
    head, one, thirty = text.splitlines()[1:]
    assert "binomial" not in head and "theory" not in text
    assert head.endswith("censored")
    assert one.split()[4] == one.split()[-2] == "-"
    assert thirty.split()[-1] == "1"


def test_scaling_is_a_sequence(scaling):
    assert len(scaling) == 3
    assert scaling.sizes == (100, 1000, 10_000)
    assert [r.n for r in scaling] == [100, 1000, 10_000]
    assert scaling[-1] is scaling.results[2]
    assert ScalingResult(list(scaling)) == scaling


def test_scaling_refuses_what_does_not_compare():
    with pytest.raises(ValueError, match="at least one"):
        ScalingResult(())
    with pytest.raises(ValueError, match="each n once"):
        ScalingResult((result(20, [3]), result(20, [4])))
    with pytest.raises(ValueError, match="share one definition"):
        ScalingResult((result(20, [3]), result(30, [4], replace(DEFINITION, corruption=2))))
    ScalingResult((result(20, [3]), result(30, [4], replace(DEFINITION, max_patterns=9, seed=1))))


def exact_means(sizes, law, relative=0.01, trials=4):
    """Results whose means follow a law up to rounding, with a spread of the given relative size."""
    definition = replace(DEFINITION, max_patterns=10**9)
    half = [(-1) ** t * relative for t in range(trials)]
    return ScalingResult([result(n, [round(law(n) * (1 + x)) for x in half], definition) for n in sizes])


def test_fit_recovers_both_laws():
    fit = exact_means((10**4, 10**5, 10**6, 10**7), lambda n: 0.3 * n**0.9).fit()
    assert fit.a == pytest.approx(0.3, rel=1e-3)
    assert fit.b == pytest.approx(0.9, abs=1e-4)
    assert fit.power_chi2 < 0.01 < 1 < fit.log_chi2
    fit = exact_means((10**4, 10**5, 10**6, 10**7), lambda n: n / (3.2 * math.log(n))).fit()
    assert fit.c == pytest.approx(3.2, rel=1e-3)
    assert fit.log_chi2 < 0.01 < 1 < fit.power_chi2
    assert f"c = {fit.c:.4f}" in str(fit)
    assert f"b = {fit.b:.4f}" in str(fit)
    assert len(str(fit).splitlines()) == 3


@pytest.mark.slow
def test_fit_errors_are_those_of_the_scatter():
    rng = np.random.default_rng(0)
    sizes, trials = (1000, 3000, 10_000, 30_000), 20
    definition = replace(DEFINITION, max_patterns=10**6)
    fits = []
    for _ in range(400):
        means = [n / (3 * math.log(n)) for n in sizes]
        draws = [np.rint(rng.normal(mean, 0.1 * mean, trials)).astype(int) for mean in means]
        fits.append(
            ScalingResult([result(n, d, definition) for n, d in zip(sizes, draws, strict=True)]).fit()
        )
    for name in ("a", "b", "c"):
        values = np.array([getattr(fit, name) for fit in fits])
        errors = np.array([getattr(fit, f"{name}_error") for fit in fits])
        assert 0.85 < values.std() / np.median(errors) < 1.25
    assert abs(np.mean([fit.c for fit in fits]) - 3) < 0.05
    assert 0.8 < np.median([fit.log_chi2 for fit in fits]) < 1.3


def test_fit_leaves_out_what_it_cannot_weigh():
    good = [result(100, [9, 9, 9]), result(1000, [50, 56, 60])]
    bad = [
        result(2, [1, 1, 2]),
        result(40, [0, 0, 0]),
        result(500, [30]),
        result(4000, [150, 5000], censored=[False, True]),
    ]
    fit = ScalingResult([*bad, *good]).fit()
    assert fit.sizes == (100, 1000)
    assert all(
        math.isfinite(x) for x in (fit.a, fit.a_error, fit.b, fit.b_error, fit.c, fit.c_error, fit.log_chi2)
    )
    assert math.isnan(fit.power_chi2)
    with pytest.raises(ValueError, match="at least two sizes"):
        ScalingResult([*bad, good[0]]).fit()


def test_rows_are_plain_and_come_back(scaling):
    rows = [row for r in scaling for row in r._rows()]
    assert {tuple(map(type, row)) for row in rows} == {
        (*(int, int, int, int, str, str, int, str, int, int, int), *map(type, ADDED), str, float)
    }
    assert len(rows[0]) == len(SCHEMA.columns)
    assert from_rows(rows) == scaling.results
    assert {r.n: r for r in from_rows(rows[::-1])} == {r.n: r for r in scaling}
    assert from_rows([]) == ()


def test_file_is_tidy_csv(scaling, tmp_path):
    path = tmp_path / "c.csv"
    scaling.save(path)
    lines = path.read_text().splitlines()
    assert lines[0] == "# fastrec capacity 5"
    assert lines[-1] == "# end 100"
    table = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert tuple(table[0]) == tuple(SCHEMA.columns)
    for r in scaling:
        mine = [row for row in table if row["n"] == str(r.n)]
        assert [int(row["trial"]) for row in mine] == list(range(r.trials))
        assert [int(row["capacity"]) for row in mine] == r.counts.tolist()
    assert {row["update"] for row in table} == {"async"}
    assert os.listdir(tmp_path) == ["c.csv"]


def test_save_and_load_restore_equal_objects(scaling, tmp_path):
    scaling.save(str(tmp_path / "all.csv"))
    assert ScalingResult.load(tmp_path / "all.csv") == scaling
    one = result(20, [3, 8], replace(DEFINITION, max_patterns=8, seed=-(2**70)), [False, True], seconds=1 / 3)
    one.save(tmp_path / "one.csv")
    assert CapacityResult.load(tmp_path / "one.csv") == one
    with pytest.raises(ValueError, match=r"all\.csv: holds the sizes 100, 1000, 10000"):
        CapacityResult.load(tmp_path / "all.csv")


def test_save_refuses_other_suffixes_and_missing_folders(scaling, tmp_path):
    with pytest.raises(ValueError, match=r"\.csv, got '\.xlsx'"):
        scaling.save(tmp_path / "c.xlsx")
    with pytest.raises(FileNotFoundError, match="folder"):
        require_suffix(tmp_path / "none" / "c.csv", ".csv")
    assert not os.listdir(tmp_path)


def test_failed_save_keeps_the_old_file(scaling, tmp_path, monkeypatch):
    path = tmp_path / "c.csv"
    scaling.save(path)
    before = path.read_bytes()

    def refuse(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(OSError, match="disk full"):
            scaling[0].save(path)

    def interrupted():
        with new_file(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["c.csv"]


def damage(old, new):
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "not a fastrec capacity file"),
        (lambda text: "n,trial\n1,2\n", "not a fastrec capacity file"),
        (lambda text: "\x89PNG\r\n\x00\x00", "not a fastrec capacity file"),
        (lambda text: text[: len(text) // 2], "truncated"),
        (lambda text: text.splitlines()[0], "truncated"),
        (lambda text: text.replace("\n100,5,", "\n\n100,5,"), "counts 100 rows but there are 101"),
        (damage("capacity 5", "capacity 6"), "format '6'"),
        (damage("n,trial", "trial,n"), "line 2"),
        (damage("# end 100", "# end 99"), "counts 99 rows but there are 100"),
        (damage("# end 100", "# end"), "truncated"),
        (damage(",async,", ",async,,"), "line 3 has 24 fields"),
        (damage("\n100,4,", "\n100,four,"), "line 7 has 'four' for trial"),
        (damage("\n100,4,", "\n100,5,"), "trial 5 comes twice"),
        (damage("\n100,59,", "\n100,60,"), "trials must be 0 to 59"),
        (damage("\n100,4,", "\n-100,4,"), "n = -100"),
        (damage(",0.25\n", ",soon\n"), "'soon' for total_seconds"),
        (damage(",0.25\n", ",0.5\n"), "disagree on total_seconds"),
        (lambda text: text.replace(",0.25\n", ",nan\n"), "n = 100"),
        (lambda text: text.replace(",async,", ",magic,"), "update must be one of"),
        (lambda text: text.replace(",5000,", ",5,"), "max_patterns = 5"),
        (lambda text: text.replace(",cpu,", ",,"), "backend"),
        (lambda text: "\n".join([*text.splitlines()[:2], "# end 0"]), "at least one"),
        (damage(",0,all,", ",2,all,"), "censored 2"),
    ],
)
def test_damaged_files_are_named_in_one_sentence(scaling, tmp_path, change, message):
    path = tmp_path / "broken.csv"
    scaling.save(path)
    path.write_text(change(path.read_text()), encoding="latin-1")
    with pytest.raises(ValueError, match=message) as caught:
        ScalingResult.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert caught.value.__cause__ is None


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10**9), byte=st.integers(0, 255), cut=st.booleans())
def test_any_damaged_byte_gives_a_value_error_or_a_result(tmp_path_factory, position, byte, cut):
    path = tmp_path_factory.mktemp("damage") / "c.csv"
    ScalingResult((result(20, [3, 4]), result(30, [5, 6, 7]))).save(path)
    content = bytearray(path.read_bytes())
    position %= len(content)
    if cut:
        content = content[:position]
    else:
        content[position] = byte
    path.write_bytes(content)
    try:
        message = f"{path}: {len(ScalingResult.load(path))} results"
    except ValueError as error:
        message = str(error)
    assert message.startswith(f"{path}: ")


def test_missing_file_is_the_usual_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        ScalingResult.load(tmp_path / "none.csv")
