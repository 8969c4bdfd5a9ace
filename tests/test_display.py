"""Results in one line, as tables and as DataFrames; tests/test_notebook.py shows them in a notebook."""

from __future__ import annotations

import copy
import pickle
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import public_calls
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import fastrec
from fastrec.bench.report import Report, Row
from fastrec.display import MOST_PIXELS, MOST_ROWS, Displayed, Table, by_index, png, span
from fastrec.hopfield.laws import LAWS, LawPoint, LawsResult
from fastrec.hopfield.phase import PhasePoint
from fastrec.hopfield.retrieval import RetrievalPoint
from fastrec.hopfield.rules import RULES
from fastrec.plot.figures import MOST_LINES, draw_curve, new_figure
from fastrec.rnn.cells import CELLS
from fastrec.rnn.history import History, TextHistory

CURVE = np.linspace(1, 0.5, 40)
FITTED = History("cross_entropy", CURVE, CURVE + 0.1, CURVE, CURVE, None)
SEVERAL = History(
    *("mse", np.array([[1, 2], [0.5, np.nan]]), None, np.ones((2, 2)), np.array([3.0, 4]), np.array([-1, 1]))
)
READ = TextHistory(
    1000 * np.arange(1, 4), np.arange(1.0, 4), np.array([3, 2, 1.5]), None, np.ones(3), np.ones(3)
)
REPORT = Report(
    *("a machine", "1.0", "2026-11-28T10:00:00", 2, {"SGEMM": 1e9}),
    [Row("store", 0.01, 0.2, 20.0, "NumPy", "SGEMM", 0.5, {"couplings": 0.009, "outside of kernels": 0.001})],
)


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """Results of each job of Hopfield networks, and of a forward pass."""
    with fastrec.use_backend("reference"):
        patterns = fastrec.random_patterns(3, 70, seed=1)
        net = fastrec.HopfieldNetwork(70)
        net.store(patterns)
        rnn = fastrec.RNN(2, 3, seed=0)
        scaling = fastrec.capacity_scaling([10, 20], trials=5)
        curve = fastrec.retrieval_curve(30, [0.1, 0.2], trials=2)
        return {
            "recall": net.recall(patterns, seed=0),
            "recall of one": net.recall(patterns[0], seed=0),
            "packed recall": net.recall(fastrec.pack(patterns), record_energy=True, seed=0),
            "packed": fastrec.pack(patterns),
            "oscillation": fastrec.find_oscillation(40, 5, seed=1),
            "capacity": scaling[0],
            "scaling": scaling,
            "fit": scaling.fit(),
            "retrieval": curve,
            "basins": fastrec.basin_map(30, [0.1], [0.5, 0.9], trials=1),
            "phase": (phase := fastrec.phase_diagram(30, [0.1], [0.5, 0.9], trials=2, sweeps=3)),
            "phase point": phase.points[0],
            "point": curve.points[0],
            "trace": rnn.forward(np.zeros((1, 2, 2), np.float32)),
            "gradients": fastrec.gradient_flow(rnn, np.ones((1, 2, 2)), np.ones((1, 2, 3)), "mse"),
            "automaton": fastrec.addition_automaton(),
            "history": FITTED,
            "histories": SEVERAL,
            "text": READ,
            "report": REPORT,
            "job": REPORT.rows[0],
        }


NOT_RESULTS = (fastrec.Vocabulary, fastrec.CosineDecay, fastrec.StepDecay, fastrec.MomentumSchedule)


def test_every_result_is_displayed() -> None:
    public = [getattr(fastrec, name) for name in fastrec.__all__] + [Report, Row, RetrievalPoint, PhasePoint]
    results = [kind for kind in public if is_dataclass(kind) and kind not in NOT_RESULTS]
    assert len(results) > 12
    for kind in results:
        assert issubclass(kind, Displayed) and kind.__repr__ is Displayed.__repr__, kind


def parts(value: Any) -> Iterator[Any]:
    """What is of fastrec in a value of a call, as a user can reach it."""
    if type(value).__module__.startswith("fastrec") and not isinstance(value, np.ndarray):
        yield value
        if is_dataclass(value) or isinstance(value, Displayed):
            value = [one for name, one in getattr(value, "__dict__", {}).items() if name[0] != "_"]
    for one in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    ):
        yield from parts(one)


@pytest.fixture(scope="module")
def public(measured: dict[str, Any]) -> dict[str, Any]:
    """An object of each kind that public calls take, return or belong to, by the name of the kind."""
    updates: list[Any] = []
    rnn = public_calls.rnn(backend="reference")
    tokens = public_calls.tokens(0, 5, 4, 6)
    fastrec.fit(rnn, tokens, tokens, epochs=1, progress=False, on_update=updates.append)
    task = {"hidden_size": 5, "columns": 3, "delay": 0, "test_pairs": 10, "test_columns": 50, "epochs": 10}
    with fastrec.use_backend("reference"):
        net = public_calls.hopfield("reference")
        recall = net.recall(net.patterns, temperature=0.3, max_sweeps=4, average=2, seed=1)
        added = fastrec.addition(4, "elman", progress=False, **task)
    values = [*measured.values(), updates[0], recall, added, rnn.stepper(2)]
    values.append(LawsResult((LawPoint("projection", 20, 9, 20.0, 19.0, 21.0, np.nan, 20.0),), 0))
    values += [*LAWS.values(), *RULES.values(), *CELLS.values(), public_calls.hopfield("reference")]
    for name in public_calls.CALLS:
        run, arguments = public_calls.call(name, "reference")
        if name == "capacity_laws":
            continue  # which takes seconds
        values += [getattr(run, "__self__", None), arguments, run(**arguments)]
    return {type(part).__name__: part for value in values for part in parts(value)}


def test_every_kind_of_public_object_is_there(public: dict[str, Any]) -> None:
    kinds = {name for name in fastrec.__all__ if isinstance(getattr(fastrec, name), type)}
    assert kinds - public.keys() == {"BackendError"}


def test_reprs_are_short_lines(public: dict[str, Any]) -> None:
    for name, value in public.items():
        line = repr(value)
        record = isinstance(value, tuple) and not isinstance(value, Displayed)  # all numbers of one trial
        assert len(line) <= (170 if record else 120), f"{name}: {line}"
        assert "\n" not in line and "array(" not in line and " at 0x" not in line, f"{name}: {line}"


def test_printing_shows_tables_of_bounded_length(measured: dict[str, Any]) -> None:
    assert str(FITTED).splitlines()[1].split() == [
        "epoch",
        "train",
        "validation",
        "gradient",
        "norm",
        "seconds",
    ]
    assert len(str(FITTED).splitlines()) == MOST_ROWS + 3 and "⋮" in str(FITTED)
    assert str(measured["scaling"]) == measured["scaling"].table()
    assert str(measured["recall"]) == repr(measured["recall"])


def test_data_classes_become_dictionaries(public: dict[str, Any]) -> None:
    results = {n: v for n, v in public.items() if isinstance(v, Displayed) and is_dataclass(v)}
    assert len(results) > 20
    for name, result in results.items():
        given = asdict(result)
        assert list(given) == [field.name for field in fields(result)], name
        for key, value in given.items():
            if isinstance(value, np.ndarray | np.generic | int | float | str | None):
                np.testing.assert_array_equal(value, getattr(result, key), f"{name}.{key}")
        copy.deepcopy(given)  # nothing of a network or a module is left that cannot be copied


def test_every_result_is_a_frame(public: dict[str, Any]) -> None:
    pytest.importorskip("pandas")
    page = (Path(__file__).parents[1] / "docs/how-to/results.md").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^(`\w+`.*)\n: ((?:.+\n)+)", page, re.MULTILINE))
    documented = {kind: text for head, text in entries.items() for kind in re.findall(r"`([A-Z]\w+)`", head)}
    results = {name: value for name, value in public.items() if isinstance(value, Displayed)}
    without_entry = {"RetrievalPoint", "PhasePoint", "Row", "TrainingUpdate"}  # what the others consist of
    assert results.keys() - documented.keys() == without_entry
    for name, result in results.items():
        frame = result.to_frame()
        assert len(frame) and frame.columns.is_unique, name
        words = {column for column in frame if frame[column].dtype.kind not in "biuf"}
        assert words <= {"law", "task", "method", "kind", "update", "symbol", "source", "target"} or (
            name in ("Report", "Row") and words == {"name", "against", "limit"}
        ), (name, words)
        for column in () if name in without_entry or name == "ScalingFit" else frame:
            column = re.sub(r"_\d+$", "_0", column)
            assert f"`{column}`" in documented[name], f"docs/how-to/results.md: {name}, {column}"


def test_frames_hold_the_numbers_of_the_tables(public: dict[str, Any]) -> None:
    pytest.importorskip("pandas")
    curve, phase, recall = (public[name] for name in ("RetrievalResult", "PhaseResult", "RecallResult"))
    frame = curve.to_frame()
    np.testing.assert_array_equal(frame["overlap"], [point.overlap for point in curve.points])
    np.testing.assert_array_equal(frame["memory"], [point.share("memory") for point in curve.points])
    np.testing.assert_array_equal(
        phase.to_frame()["edwards_anderson"], [q.edwards_anderson for q in phase.points]
    )
    np.testing.assert_array_equal(recall.to_frame()["sweeps"], np.ravel(recall.sweeps))
    found = public["OscillationResult"]
    frame = found.to_frame().groupby("update")["energy"].last()
    assert frame.to_dict() == {"sync": found.sync.energies[-1], "async": found.async_.energies[-1]}
    automaton = fastrec.Automaton([0, 1], [[0, 1], [1, 0]], [0, 1]).to_frame()
    assert automaton.to_dict("list") == {
        "state": [0, 0, 1, 1],
        "symbol": ["0", "1", "0", "1"],
        "next": [0, 1, 1, 0],
        "prints": [0, 1, 1, 0],
    }


def test_frames_of_several_axes() -> None:
    pytest.importorskip("pandas")
    net = fastrec.HopfieldNetwork(70, backend="reference")
    net.store(fastrec.random_patterns(3, 70, seed=1))
    frame = net.recall(net.patterns, seed=1, repeats=2).to_frame()
    assert list(frame)[:3] == ["axis_0", "row", "converged"] and len(frame) == 6
    columns = by_index(("a", "b"), value=np.arange(12).reshape(2, 3, 2))
    assert [column.name for column in columns] == ["a", "b", "value_0", "value_1"]
    assert [list(column.values) for column in columns] == [
        [0, 0, 0, 1, 1, 1],
        [0, 1, 2, 0, 1, 2],
        [0, 2, 4, 6, 8, 10],
        [1, 3, 5, 7, 9, 11],
    ]


def test_frames_become_latex(measured: dict[str, Any]) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("jinja2")
    lines = measured["scaling"].to_frame()[["n", "median"]].to_latex(index=False).splitlines()
    assert r"n & median \\" in lines and r"10 & 2.000000 \\" in lines


def test_a_result_is_a_line_and_a_table(measured: dict[str, Any]) -> None:
    for name, result in measured.items():
        line, html = repr(result), result._table().html()
        assert line.startswith(type(result).__name__ + "(") and "\n" not in line and len(line) < 160, name
        assert "array" not in line and html.count("<tr>") >= 2, name


def test_lines(measured: dict[str, Any]) -> None:
    assert repr(measured["recall"]) == (
        "RecallResult(states=(3, 70), fixed_points=3, two_cycles=0, unfinished=0, sweeps=1, flips=0)"
    )
    assert repr(measured["packed"]) == "PackedStates(shape=(3, 70), size=48 B)"
    assert repr(measured["scaling"]) == "ScalingResult(sizes=2, n=10..20, trials=10)"
    assert repr(measured["retrieval"]) == "RetrievalResult(n=30, p=3..6, start=1, points=2, trials=4)"
    assert repr(measured["phase"]) == "PhaseResult(n=30, p=3, temperature=0.5..0.9, points=2, trials=4)"
    assert repr(measured["automaton"]) == "Automaton(states=4, symbols=4, kind=Moore)"
    assert repr(FITTED) == "History(epochs=40, train=0.5, validation=0.6, best_epoch=39)"
    assert repr(SEVERAL) == "History(epochs=2, networks=2, diverged=1)"
    assert repr(REPORT) == "Report(jobs=1, machine=a machine, version=1.0, date=2026-11-28)"


@pytest.mark.slow
def test_plots_are_axes_that_a_notebook_shows(measured: dict[str, Any]) -> None:
    figures = {name: result._figure() for name, result in measured.items()}
    without = {"recall", "recall of one", "packed", "fit", "point", "phase point", "trace", "job"}
    assert {name for name, figure in figures.items() if figure is None} == without
    for name, result in measured.items():
        if hasattr(result, "plot"):
            ax = result.plot()
            assert isinstance(ax, Axes) and hasattr(ax, "_repr_png_"), name
            given = Figure().subplots()
            assert result.plot(ax=given) is given and type(given) is Axes, name


def test_long_tables_are_cut_in_the_middle() -> None:
    html = FITTED._table().html()
    assert html.count("<tr>") == MOST_ROWS + 1 + 1  # the row of dots, the head
    assert "<td>0</td>" in html and "<td>39</td>" in html and "<td>20</td>" not in html
    assert len(FITTED._table().text().splitlines()) == 42


def test_tables_escape_what_they_hold() -> None:
    table = Table("a < b", ["<b>"], [["&"]])
    assert table.html() == (
        "<p>a &lt; b</p>\n<table><thead><tr><th>&lt;b&gt;</th></tr>\n</thead>\n"
        "<tbody><tr><td>&amp;</td></tr>\n</tbody></table>\n"
    )
    assert Table("", ["n", "value"], [["10", "1"]]).text() == "\n n  value\n10      1"


def test_medians_leave_diverged_networks_out() -> None:
    assert [row[:2] for row in SEVERAL._table().rows] == [["0", "1.500"], ["1", "0.5000"]]


def test_pixels_are_bounded() -> None:
    figure = new_figure(200, 1)
    data, shown = png(figure)
    width = int.from_bytes(data[16:20], "big")  # of the header of a PNG file
    assert width == MOST_PIXELS == 2 * shown["width"]
    ax = figure.subplots()
    ax.remove()
    assert ax._repr_png_() is None  # type: ignore[attr-defined]
    assert figure.add_subplot(projection="polar").name == "polar"


def test_thin_lines_are_bounded() -> None:
    values = np.random.default_rng(0).random((3, 2 * MOST_LINES + 1))
    ax = new_figure(3, 3).subplots()
    draw_curve(ax, values, "many", 0)
    assert len(ax.lines) == MOST_LINES + 1
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), np.median(values, axis=1))


def test_span() -> None:
    assert span([3, 1, 2]) == "1..3" and span([0.25, 0.25]) == "0.25"


def test_frames_hold_what_files_hold(measured: dict[str, Any], tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    for name in ("capacity", "scaling", "retrieval", "text"):
        path = tmp_path / f"{name}.csv"
        measured[name].save(path)
        pandas.testing.assert_frame_equal(
            measured[name].to_frame(**{"trials": True} if name != "text" else {}),
            pandas.read_csv(path, comment="#"),
            check_dtype=False,
            check_exact=True,
        )


def test_frames_of_histories_and_reports() -> None:
    pytest.importorskip("pandas")
    frame = FITTED.to_frame()
    assert list(frame.columns) == ["epoch", "train", "validation", "gradient_norm", "seconds"]
    np.testing.assert_array_equal(frame["validation"], FITTED.validation)
    several = SEVERAL.to_frame()
    assert several.to_dict("list") | {"train": several["train"].fillna(-1).tolist()} == {
        "epoch": [0, 0, 1, 1],
        "network": [0, 1, 0, 1],
        "train": [1, 2, 0.5, -1],
        "gradient_norm": [1.0] * 4,
        "seconds": [3.0, 3.0, 4.0, 4.0],
    }
    assert REPORT.to_frame().to_dict("records") == [REPORT.rows[0]._summary()]


def test_without_pandas(measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for result in (measured["scaling"], measured["retrieval"], FITTED, READ, REPORT):
        with pytest.raises(
            ImportError, match="to_frame needs pandas, which is not installed: pip install pandas"
        ):
            result.to_frame()


def test_figures_can_be_pickled() -> None:
    figure = pickle.loads(pickle.dumps(FITTED.plot().figure))
    assert len(figure.axes) == 2 and figure.axes[0]._repr_png_()[1] == {"width": 512, "height": 480}


TABLE = Table(
    "a caption of several words", ["n", "median", "mean", "theory"], [["10", "5", "5.2", "4"]], ("mean",)
)


@pytest.mark.parametrize(
    ("width", "heads", "last"),
    [
        (None, "n median mean theory", "10       5   5.2       4"),
        (24, "n median mean theory", "10       5   5.2       4"),
        (23, "n median theory", "without the column mean"),
        (11, "n median", "theory"),
        (8, "n", "theory"),
    ],
)
def test_columns_are_left_out_where_there_is_no_room(width: int | None, heads: str, last: str) -> None:
    lines = TABLE.text(width).splitlines()
    assert any(line.split() == heads.split() for line in lines) and lines[-1] == last
    assert width is None or max(map(len, lines)) <= width
