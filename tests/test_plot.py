import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection, QuadMesh
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

import fastrec
from fastrec import plot
from fastrec.bench.report import Report, Row
from fastrec.hopfield import theory
from fastrec.hopfield.laws import LAWS, LawPoint, LawsResult
from fastrec.hopfield.storage_capacity import CapacityDefinition, CapacityResult, ScalingResult
from fastrec.plot.recall import UNIT_COLOURS
from fastrec.reservoir.memory_capacity import MemoryCapacity
from fastrec.rnn.diagnostics import GradientFlow
from fastrec.rnn.history import History, TextHistory

DEFINITION = CapacityDefinition("all", "first_failure", 1, "async", 100, 30_000, 0)


def around_theory(n, trials, definition=DEFINITION):
    counts, cumulative = theory.first_failure_distribution(n, definition.criterion)
    drawn = counts[np.searchsorted(cumulative, np.random.default_rng(n).random(trials))]
    return CapacityResult(n, drawn, np.zeros(trials, bool), definition, "cpu", 1.0)


@pytest.fixture(scope="module")
def scaling():
    return ScalingResult([around_theory(n, t) for n, t in ((10_000, 20), (100, 60), (1000, 30))])


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


def title(ax):
    return ax.get_title(loc="left").replace("\n", " ")


def overflow(figure):
    """How far the widest text reaches beyond the figure, in pixels."""
    figure.canvas.draw()
    return max(ax.get_tightbbox().x1 for ax in figure.axes) - figure.bbox.x1


MEASURED = "measured: mean, 10-90 % of trials"


def test_scaling_figure_holds_data_fits_and_theory(scaling):
    figure = plot.capacity_scaling_figure(scaling)
    top, middle, bottom = figure.axes
    assert [ax.get_xscale() for ax in figure.axes] == ["log"] * 3
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "linear", "linear"]
    assert title(top) == f"Capacity: {DEFINITION}"
    assert top.get_ylabel() == "capacity p (memories)"
    assert bottom.get_xlabel() == "network size n (units)" and not top.get_xlabel()
    fit = scaling.fit()
    power, log = f"fit {fit.a:.3g} n^{fit.b:.3f}", f"fit n / ({fit.c:.3f} ln n)"
    names = [MEASURED, "binomial mean", "n / (4 ln n)", power, log]
    for ax in (top, middle):
        assert list(lines(ax)) == names
        assert {lines(ax)[name].get_color() for name in names[1:3]} == {"0.4"}
        dashes = {lines(ax)[name].get_linestyle() for name in names[1:]}
        assert len(dashes) == 4  # told apart without colours
    assert [text.get_text() for text in top.get_legend().get_texts()] == names

    ordered = sorted(scaling, key=lambda r: r.n)
    n = np.array([r.n for r in ordered])
    means = np.array([r.mean for r in ordered])
    np.testing.assert_array_equal(lines(top)[MEASURED].get_xydata(), np.column_stack([n, means]))
    np.testing.assert_allclose(lines(middle)[MEASURED].get_ydata(), means / theory.mceliece_all(n))
    (band,) = (c for c in top.collections if isinstance(c, FillBetweenPolyCollection))
    vertices = band.get_paths()[0].vertices
    for r in ordered:
        heights = vertices[vertices[:, 0] == r.n, 1]
        assert (heights.min(), heights.max()) == (r.low, r.high)
    for size, mean in lines(top)["binomial mean"].get_xydata()[::20]:
        assert size % 2 == 0 and mean == theory.capacity_mean(int(size))
    np.testing.assert_allclose(lines(middle)["n / (4 ln n)"].get_ydata(), 1)
    for name, law in ((power, lambda n: fit.a * n**fit.b), (log, lambda n: n / (fit.c * np.log(n)))):
        sizes, values = lines(top)[name].get_data()
        assert (sizes[0], sizes[-1]) == pytest.approx((100, 10_000))
        np.testing.assert_allclose(values, law(sizes))
        np.testing.assert_allclose(lines(middle)[name].get_ydata(), law(sizes) / theory.mceliece_all(sizes))
    assert overflow(figure) <= 0


def test_scaling_figure_holds_local_exponents(scaling):
    bottom = plot.capacity_scaling_figure(scaling).axes[2]
    fit = scaling.fit()
    (container,) = bottom.containers
    points, _, (bars,) = container.lines
    expected = fit.local_exponents().points
    np.testing.assert_allclose(points.get_xydata(), [q[:2] for q in expected])
    for bar, q in zip(bars.get_segments(), expected, strict=True):
        np.testing.assert_allclose(bar[:, 1], [q.exponent - q.error, q.exponent + q.error])
    drawn = lines(bottom)
    assert set(drawn[f"power law: {fit.b:.3f}"].get_ydata()) == {fit.b}
    sizes, slopes = drawn["n / ln n: 1 - 1 / ln n"].get_data()
    np.testing.assert_allclose(slopes, 1 - 1 / np.log(sizes))
    sizes, slopes = drawn["binomial mean"].get_data()
    q = expected[-1]
    assert np.interp(q.n, sizes, slopes) == pytest.approx(q.theory, abs=0.01)


def test_theory_is_drawn_from_20_units_on_and_is_smooth():
    small = ScalingResult([around_theory(n, 20) for n in (10, 15, 21, 43, 60)])
    sizes, means = lines(plot.capacity_scaling_figure(small).axes[0])["binomial mean"].get_data()
    assert sizes[0] == 20 and len(sizes) > 20
    slopes = np.diff(means) / np.diff(sizes)
    assert (slopes > 0).all() and (np.diff(slopes) < 1e-3).all()


def test_scaling_without_theory_and_with_one_size():
    r = replace(around_theory(1000, 9), definition=replace(DEFINITION, stop="largest"))
    figure = plot.capacity_scaling_figure(ScalingResult((r,)))
    top, bottom = figure.axes
    assert "binomial mean" not in lines(top)
    (bars,) = (container for container in top.containers)
    assert bars.has_yerr
    (segment,) = bars.lines[2][0].get_segments()
    np.testing.assert_allclose(segment[:, 1], [r.low, r.high])
    figure.canvas.draw()
    assert {label.get_text() for label in bottom.get_xticklabels(which="both")} >= {"1,000", "800"}


@pytest.mark.parametrize("sizes", [(1,), (2,), (1, 2, 3)])
def test_scaling_of_tiny_networks_that_hold_nothing(sizes):
    empty = [CapacityResult(n, np.array([0, 0]), np.zeros(2, bool), DEFINITION, "cpu", 0.0) for n in sizes]
    plot.capacity_scaling_figure(ScalingResult(empty)).canvas.draw()
    plot.capacity_figure(empty[0]).canvas.draw()


OTHERS = [{"rule": "storkey"}, {"activity": 0.1, "self_coupling": True}, {"patterns": f"sha256:{'ab' * 32}"}]


@pytest.mark.parametrize("fields", [*OTHERS, {"tolerance": 0.05}])
def test_theory_is_drawn_where_it_holds(scaling, fields):
    other = ScalingResult([replace(r, definition=replace(r.definition, **fields)) for r in scaling])
    top, middle, bottom = plot.capacity_scaling_figure(other).axes
    for ax, unit in ((top, 1), (middle, np.array([100, 1000, 10_000]))):
        (name, line), *fits = lines(ax).items()
        assert name == MEASURED and [label.split()[0] for label, _ in fits] == ["fit", "fit"]
        np.testing.assert_allclose(line.get_ydata() * unit, [other[i].mean for i in (1, 2, 0)])
    assert len(lines(bottom)) == 3
    assert middle.get_ylabel() == "load p / n" and title(top) == f"Capacity: {other.definition}"
    assert overflow(top.figure) <= 0
    (ax,) = plot.capacity_figure(other[1]).axes
    assert len(ax.patches) == 1 and "n/(4 ln n)" not in other.table() and "theory" not in other.table()


@pytest.mark.parametrize("fields", OTHERS)
def test_theory_of_retrieval_is_drawn_where_it_holds(fields):
    curve = fastrec.retrieval_curve(60, [0.1, 0.2], 2, 4)
    basins = fastrec.basin_map(60, [0.1, 0.2], [0.5, 0.9], 2, 4, tolerance=0.1)
    for result, draw in (
        (curve, plot.retrieval_figure),
        (curve, plot.success_figure),
        (basins, plot.success_figure),
        (basins, plot.basin_figure),
    ):
        other = replace(result, definition=replace(result.definition, **fields))
        found, plain = draw(other), draw(result)
        for ax, with_theory in zip(found.axes, plain.axes, strict=True):
            grey, expected = ({line.get_color() for line in a.lines} for a in (ax, with_theory))
            assert expected - grey <= {plot.figures.THEORY} and plot.figures.THEORY not in grey
        assert any(line.get_color() == plot.figures.THEORY for ax in plain.axes for line in ax.lines)
        assert "(AGS)" in result.table() and "(AGS)" not in other.table()


@pytest.mark.parametrize("criterion", ["all", "newest"])
@pytest.mark.parametrize(("n", "trials"), [(3, 40), (100, 200), (1000, 40), (20_000, 6)])
def test_capacity_figure_holds_every_trial(n, trials, criterion):
    r = around_theory(n, trials, replace(DEFINITION, criterion=criterion))
    figure = plot.capacity_figure(r)
    (ax,) = figure.axes
    measured, expected = ax.patches
    heights, edges, _ = measured.get_data()
    assert heights.sum() == trials
    np.testing.assert_array_equal(heights, np.histogram(r.counts, edges)[0])
    assert set(np.mod(edges, 1)) == {0.5}
    assert len(set(np.diff(edges))) == 1
    theoretical, same_edges, _ = expected.get_data()
    np.testing.assert_array_equal(same_edges, edges)
    assert 0.99 * trials < theoretical.sum() <= trials
    counts, cumulative = theory.first_failure_distribution(n, criterion)
    probability = np.diff(cumulative, prepend=0)
    inside = (counts > edges[1]) & (counts < edges[2])
    assert theoretical[1] == pytest.approx(trials * probability[inside].sum())
    assert measured.get_label().startswith(f"{trials} trials: median {r.median:g}, 10-90 %")
    assert f"median {theory.capacity_quantile(n, 0.5, criterion)}," in expected.get_label()
    assert expected.get_edgecolor() == to_rgba("0.4")
    assert title(ax) == f"Capacity of n = {n:,} units: {r.definition}"
    assert ax.get_xlabel() == "capacity p (memories)"
    assert ax.get_ylabel().startswith("trials")
    assert overflow(figure) <= 0


def test_capacity_figure_marks_the_limit():
    definition = replace(DEFINITION, stop="largest", max_patterns=60)
    counts = np.array([50, 60, 60, 42])
    (ax,) = plot.capacity_figure(CapacityResult(400, counts, counts == 60, definition, "cpu", 1.0)).axes
    assert len(ax.patches) == 1
    (limit,) = ax.lines
    assert limit.get_label() == "2 trials reached the limit of 60 memories"
    assert set(limit.get_xdata()) == {60}


def test_results_plot_into_given_axes_or_a_new_figure(scaling):
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    assert scaling.plot(left) is left
    assert scaling[0].plot(ax=right) is right
    assert len(left.lines) == 5
    assert len(right.patches) == 2
    assert len(figure.axes) == 2
    assert len(scaling.plot().figure.axes) == 3
    assert scaling.plot().get_ylabel() == "capacity p (memories)"
    assert len(scaling[0].plot().figure.axes) == 1


def test_recall_figure():
    rng = np.random.default_rng(0)
    stored = rng.choice(np.array([-1, 1], np.int8), (4, 6, 5))
    probes, recalled = stored.copy(), stored.copy()
    probes[:, :3] *= -1
    recalled[2] *= -1
    figure = plot.recall_figure(stored, probes, recalled)
    assert len(figure.axes) == 12
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:4] == ["overlap\n0.00 → 1.00"] * 2 + ["overlap\n0.00 → -1.00", "overlap\n0.00 → 1.00"]
    assert [ax.get_ylabel() for ax in figure.axes[::4]] == ["stored", "corrupted", "recalled"]
    colours = [ax.images[0].get_array() for ax in figure.axes]
    white, black, light, orange = UNIT_COLOURS
    np.testing.assert_array_equal(colours[1] == black, np.repeat(stored[1, :, :, None] == 1, 3, 2))
    np.testing.assert_array_equal(colours[5][3:], colours[1][3:])
    wrong = np.where(stored[1, :3, :, None] == 1, light, orange)  # a stored +1 is now -1, shown light
    np.testing.assert_array_equal(colours[5][:3], wrong)
    np.testing.assert_array_equal(colours[9], colours[1])
    assert (white == 255).all()


def test_recall_figure_refuses_other_images():
    stored = np.ones((2, 4, 4), np.int8)
    with pytest.raises(ValueError, match=r"corrupted images must have the shape .* got \(2, 4, 5\)"):
        plot.recall_figure(stored, np.ones((2, 4, 5)), stored)
    with pytest.raises(ValueError, match=r"stored images must have the shape"):
        plot.recall_figure(stored[0], stored[0], stored[0])
    with pytest.raises(ValueError, match=r"recalled images must hold \+1 and -1"):
        plot.recall_figure(stored, stored, 0 * stored)


def drawn_curves(ax):
    """Points (loads, values) and bars (low, high) of each measured curve, by label."""
    found = {}
    for container in ax.containers:
        line, _, (bars,) = container.lines
        found[container.get_label()] = (
            line.get_xydata(),
            [bar[:, 1] for bar in bars.get_segments() if len(bar)],
        )
    return found


def test_retrieval_figure_holds_means_intervals_and_ags():
    result = fastrec.retrieval_scaling([60, 150], [0.05, 0.1, 0.2], 3, 10)
    figure = plot.retrieval_figure(result)
    top, bottom = figure.axes
    for ax, missing in ((top, False), (bottom, True)):
        curves = drawn_curves(ax)
        assert list(curves) == ["n = 60", "n = 150"]
        for (points, _), measured in zip(curves.values(), result.curves.values(), strict=True):
            m = np.array([point.overlap for point in measured])
            np.testing.assert_array_equal(points[:, 0], [point.alpha for point in measured])
            expected = np.where(m < 1, 1 - m, np.nan) if missing else m
            np.testing.assert_allclose(points[:, 1], expected)
    bars = drawn_curves(top)["n = 150"][1]
    np.testing.assert_allclose(bars, [point.interval for point in result.points[3:]])
    (ags,) = (line for line in top.lines if line.get_label().startswith("AGS"))
    assert ags.get_color() == "0.4"
    loads, overlaps = ags.get_data()
    np.testing.assert_array_equal(overlaps[:-1:60], theory.ags_overlap(loads[:-1:60]))
    assert (loads[-1], overlaps[-1]) == (theory.ALPHA_C, 0)
    assert (top.get_yscale(), bottom.get_yscale()) == ("linear", "log")
    assert title(top) == f"Retrieval: {result.definition}"
    assert top.get_ylabel() == "overlap m with the memory, after recall"
    assert bottom.get_xlabel() == "load α = p / n (memories per unit)"
    looks = {
        (c.lines[0].get_color(), c.lines[0].get_linestyle(), c.lines[0].get_marker()) for c in top.containers
    }
    assert len(looks) == 2
    assert overflow(figure) <= 0


def test_success_figure():
    result = fastrec.retrieval_curve(100, [0.05, 0.1, 0.2], 3, 10)
    figure = plot.success_figure(result)
    (ax,) = figure.axes
    points, bars = drawn_curves(ax)["n = 100"]
    np.testing.assert_array_equal(points[:, 1], [point.share("exact") for point in result.points])
    np.testing.assert_allclose(bars, [point.share_interval("exact") for point in result.points])
    stable = lines(ax)["theory: exp(-n q), a memory is stable"]
    p = np.rint(stable.get_xdata() * 100).astype(int)
    np.testing.assert_allclose(stable.get_ydata(), np.exp(-100 * theory.unstable_bit_probability(100, p)))
    assert ax.get_ylabel() == "memories recalled exactly"
    assert overflow(figure) <= 0

    tolerant = fastrec.retrieval_curve(100, [0.05, 0.2], 2, 10, flips=0.1, tolerance=0.05)
    (ax,) = plot.success_figure(tolerant).axes
    points, _ = drawn_curves(ax)["n = 100, m$_0$ = 0.8"]
    np.testing.assert_array_equal(points[:, 1], [point.share("within") for point in tolerant.points])
    assert f"AGS, n → ∞: α = {theory.ALPHA_C:.4f}" in lines(ax)
    assert ax.get_ylabel() == "memories recalled within tolerance"


def test_basin_figure():
    result = fastrec.basin_map(80, [0.05, 0.1, 0.2], [0.2, 0.5, 1.0], 2, 5)
    figure = plot.basin_figure(result)
    ax, bar = figure.axes
    (mesh,) = (c for c in ax.collections if isinstance(c, QuadMesh))
    expected = [
        [point.overlap for point in sorted(points, key=lambda point: point.p)]
        for (_, start), points in sorted(result.curves.items())
    ]
    np.testing.assert_array_equal(mesh.get_array().reshape(3, 3), expected)
    np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], [0.025, 0.075, 0.15, 0.25])
    np.testing.assert_allclose(mesh.get_coordinates()[:, 0, 1], [0.05, 0.35, 0.75, 1.25])
    (edge,) = ax.lines
    np.testing.assert_array_equal(edge.get_ydata(), theory.critical_overlap(edge.get_xdata()))
    assert edge.get_color() == "0.4" and "Amari and Maginu (approximate)" in edge.get_label()
    assert bar.get_ylabel() == "overlap m with the memory, after recall"
    assert overflow(figure) <= 0
    several = fastrec.retrieval_scaling([20, 30], 0.1, 1)
    with pytest.raises(ValueError, match="several n"):
        plot.basin_figure(several)


def test_energy_figure():
    patterns = fastrec.random_patterns(8, 100, seed=0)
    net = fastrec.HopfieldNetwork(100)
    net.store(patterns)
    recall = net.recall(fastrec.corrupt(patterns, 0.3, seed=0), record_energy=True, seed=0)
    figure = plot.energy_figure(recall)
    (ax,) = figure.axes
    *thin, median, memory = ax.lines
    assert len(thin) == 8
    for line, energies, sweeps in zip(thin, recall.energies / 100, recall.sweeps, strict=True):
        np.testing.assert_array_equal(line.get_ydata()[: sweeps + 1], energies[: sweeps + 1])
        assert set(line.get_ydata()[sweeps:]) == {energies[sweeps]}  # keeps it from its stop on
    final = [net.energy(state) / 100 for state in recall.states]
    assert median.get_ydata()[-1] == pytest.approx(np.median(final))
    assert median.get_label() == "median of 8 recalls"
    assert memory.get_color() == "0.4" and set(memory.get_ydata()) == {-0.5}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (sweeps)", "energy per unit, E / n")
    assert overflow(figure) <= 0

    one = net.recall(fastrec.pack(patterns[0]), record_energy=True, seed=0)
    assert len(plot.energy_figure(one).axes[0].lines) == 2
    with pytest.raises(ValueError, match="record_energy=True"):
        plot.energy_figure(net.recall(patterns, seed=0))


@pytest.mark.slow
def test_retrieval_pictures_with_little_to_draw(tmp_path):
    one = fastrec.retrieval_curve(1, 1, 1, 1)
    failing = fastrec.basin_map(50, [0.02], [-1, -0.9], 1, 1)
    for name, figure in (
        ("a.pdf", plot.retrieval_figure(one)),
        ("b.svg", plot.success_figure(one)),
        ("c.pdf", plot.basin_figure(one)),
        ("d.svg", plot.basin_figure(failing)),
        ("e.svg", plot.retrieval_figure(failing)),
    ):
        plot.save_figure(figure, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 3000


def history(train, validation=None, diverged=None, loss="mse"):
    train, held = np.array(train, float), validation if validation is None else np.array(validation, float)
    return History(loss, train, held, 2 * train, np.ones(len(train)), diverged)


def test_learning_curve_of_one_network():
    figure = plot.learning_curve_figure(history([9, 1, 0.1, 0.05], [8, 2, 0.4, 0.5], loss="cross_entropy"))
    top, bottom = figure.axes
    assert (top.get_yscale(), bottom.get_yscale()) == ("log", "log")
    assert top.get_ylabel() == "cross entropy (nats per step)"
    assert (bottom.get_ylabel(), bottom.get_xlabel()) == ("gradient norm", "time (epochs)")
    names = ["training", "validation", "least: 0.4 in epoch 2"]
    assert [text.get_text() for text in top.get_legend().get_texts()] == list(lines(top)) == names
    np.testing.assert_array_equal(lines(top)["training"].get_xydata(), [[0, 9], [1, 1], [2, 0.1], [3, 0.05]])
    np.testing.assert_array_equal(lines(top)["validation"].get_ydata(), [8, 2, 0.4, 0.5])
    np.testing.assert_array_equal(lines(top)[names[2]].get_xydata(), [[2, 0.4]])
    np.testing.assert_array_equal(bottom.lines[0].get_ydata(), [18, 2, 0.2, 0.1])
    looks = [(line.get_color(), line.get_linestyle()) for line in top.lines[:2]]
    assert len({colour for colour, _ in looks}) == len({dashes for _, dashes in looks}) == 2
    assert overflow(figure) <= 0


def test_learning_curve_of_many_networks():
    train = [[3, 2, 1, 4], [2, 1, 1, np.nan], [1, 0.5, 0.9, np.nan]]
    figure = plot.learning_curve_figure(history(train, diverged=np.array([-1, -1, -1, 1])))
    top, bottom = figure.axes
    assert top.get_yscale() == "linear" and top.get_ylabel() == "half the squared error (per step)"
    thin, median = top.lines[:4], lines(top)["training: median"]
    assert {line.get_linewidth() for line in thin} == {0.6} and median.get_linewidth() == 2
    np.testing.assert_array_equal([line.get_ydata() for line in thin], np.transpose(train))
    np.testing.assert_array_equal(median.get_ydata(), [2.5, 1, 0.9])
    np.testing.assert_array_equal(lines(top)["1 of 4 networks diverge"].get_xydata(), [[0, 4]])
    assert len(bottom.lines) == 5
    assert overflow(figure) <= 0


@pytest.mark.parametrize("train", [[1.0], [0.0, 0.0], [np.nan], [[1.0, np.nan]], [[np.nan, np.nan]]])
def test_learning_curves_with_little_to_draw(train):
    diverged = np.array([-1, 0]) if np.ndim(train) == 2 else None
    figure = plot.learning_curve_figure(history(train, diverged=diverged))
    figure.canvas.draw()


def test_history_plots_into_a_file_given_axes_or_a_new_figure(tmp_path):
    figure = Figure()
    ax = figure.subplots()
    h = history([2, 1])
    assert h.plot(tmp_path / "a.svg", ax) is ax
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")
    assert len(h.plot().figure.axes) == 2
    with pytest.raises(ValueError, match="suffix"):
        h.plot(tmp_path / "a.doc")


def test_gradient_flow_figure():
    t = np.arange(20)
    flows = {
        name: GradientFlow(np.array([r**t])) for name, r in (("grows", 0.5), ("stays", 1), ("fades", 2.0))
    }
    flows["stays"].norms[0, -1] = 0  # has no place on the scale
    figure = plot.gradient_flow_figure(flows)
    (ax,) = figure.axes
    assert list(lines(ax)) == list(flows)
    np.testing.assert_array_equal(lines(ax)["fades"].get_xydata(), np.column_stack([t, 2.0**t]))
    assert np.isnan(lines(ax)["stays"].get_ydata()).tolist() == [False] * 19 + [True]
    assert (ax.get_yscale(), ax.get_xlabel()) == ("log", "time t (steps)")
    assert "gradient norm" in ax.get_ylabel()
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 3
    assert overflow(figure) <= 0


def test_gradient_flow_of_layers_of_many_networks():
    norms = np.random.default_rng(0).random((5, 2, 9)) + 0.1
    (ax,) = plot.gradient_flow_figure({"a": GradientFlow(norms)}).axes
    assert len(ax.lines) == 12
    np.testing.assert_array_equal(lines(ax)["a, layer 1: median"].get_ydata(), np.median(norms[:, 1], axis=0))
    plot.gradient_flow_figure({"": GradientFlow(np.zeros((1, 3)))}).canvas.draw()


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("PDF", b"%PDF"), ("svg", b"<?xml")])
def test_save_figure_writes_the_format_of_the_suffix(tmp_path, suffix, start):
    figure = plot.capacity_figure(around_theory(100, 20))
    plot.save_figure(figure, tmp_path / f"f.{suffix}", dpi=60)
    assert (tmp_path / f"f.{suffix}").read_bytes().startswith(start)
    assert os.listdir(tmp_path) == [f"f.{suffix}"]


@pytest.mark.parametrize("name", ["f.doc", "f", "f.png.exe"])
def test_save_figure_names_the_formats(tmp_path, name):
    with pytest.raises(ValueError, match=r"suffix must be one of .*\.pdf.*\.png"):
        plot.save_figure(Figure(), tmp_path / name)
    assert not os.listdir(tmp_path)


def test_require_format_checks_before_the_work(tmp_path):
    assert plot.require_format(tmp_path / "a.PNG") == "png"
    with pytest.raises(FileNotFoundError, match="folder"):
        plot.require_format(tmp_path / "none" / "a.png")


@pytest.mark.parametrize("side", [16, 33])
def test_glyphs_are_letters(side):
    o, i, l, again = plot.glyphs(["O", "I", "L", "O"], side)
    assert o.shape == (side, side)
    assert o.dtype == np.int8
    assert set(np.unique(o)) == {-1, 1}
    np.testing.assert_array_equal(o, again)
    ink = {name: picture > 0 for name, picture in (("O", o), ("I", i), ("L", l))}
    assert not ink["O"][side // 2, side // 2]
    assert ink["I"][side // 2, side // 2]
    assert ink["O"][[0, -1]].sum() == 0
    assert ink["L"][side // 2 :].sum() > ink["L"][: side // 2].sum()
    assert ink["L"][:, : side // 2].sum() > ink["L"][:, side // 2 :].sum()


@pytest.mark.parametrize(
    ("letters", "side", "word"),
    [("A B", 16, "letters must"), ("A日", 16, "letters holds"), ("A", 3, "side must")],
)
def test_glyphs_refuse(letters, side, word):
    with pytest.raises(ValueError, match=word):
        plot.glyphs(list(letters), side)


def test_failed_save_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "f.png"
    path.write_bytes(b"old")
    figure = Figure()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plot.save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f.png"]


def test_matplotlib_and_numba_load_late_and_pyplot_never():
    script = """
import sys
import numpy as np
import fastrec.plot
from fastrec.hopfield.storage_capacity import CapacityDefinition, CapacityResult
assert not {"matplotlib", "numba", "cupy"} & set(sys.modules)
definition = CapacityDefinition("all", "first_failure", 1, "async", 100, 99, 0)
CapacityResult(100, np.array([9, 10]), np.zeros(2, bool), definition, "cpu", 1.0).plot().figure.canvas.draw()
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_attention():
    shares = np.array([[0.1, 0.9, 0.0, 0.0], [0.75, 0.25, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
    ax = plot.attention(shares, ["the", "house"], ["casa", "."])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["the", "house"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["casa", "."]
    (image,) = ax.images
    assert np.array_equal(image.get_array(), shares[:2, :2]) and image.get_clim() == (0, 1)
    darkness = -image.to_rgba(image.get_array())[..., 0]
    assert darkness[0, 1] > darkness[1, 0] > darkness[1, 1]
    assert overflow(ax.figure) <= 0
    panel = Figure().subplots()
    assert plot.attention([[1]], [r"$\none$"], [5], ax=panel) is panel
    overflow(panel.figure)  # draws the text as it is


@pytest.mark.parametrize(
    ("weights", "source", "target", "message"),
    [
        (np.ones(3), "a", "b", r"weights has shape \(3,\)"),
        ([[2.0]], "a", "b", "from 0 to 1"),
        ([[np.nan]], "a", "b", "from 0 to 1"),
        ([[1.0]], "ab", "b", "source has 2 symbols; give from 1 to 1"),
        ([[1.0]], "a", "", "target has 0 symbols"),
    ],
)
def test_attention_refuses(weights, source, target, message):
    with pytest.raises(ValueError, match=message):
        plot.attention(weights, source, target)


def test_names_of_baselines_do_not_cover_one_another():
    passes = np.arange(1.0, 41)
    losses = 1.9 + 1.7 * np.exp(-passes / 6)
    text = TextHistory(passes, passes, losses, losses, passes, passes)
    baselines = {"1-gram": 3.26, "2-gram": 2.43, "4-gram": 1.65, "5-gram": 1.57, "6-gram": 1.55}
    figure = plot.text_curve_figure(text, baselines)
    figure.canvas.draw()
    boxes = [t.get_window_extent() for t in figure.axes[0].texts if "gram" in t.get_text()]
    assert len(boxes) == 5 and all(above.y0 > below.y1 for above, below in pairwise(boxes))
    assert boxes[-1].y0 > figure.axes[0].bbox.y0


RANGES = [(20, 24), (100, 800), (10, 100, 1000, 10_000)]


def figures_of_range(sizes):
    """Figures with numbers from a range on their axes."""
    law, several = LAWS["projection"], np.geomspace(*sizes[:: len(sizes) - 1], 9)
    results = [around_theory(n, 9) for n in sizes]
    rows = [Row(f"job {n}", 0.01, n, float(n), "NumPy", "bit products", 0.8, {"a": 0.01}) for n in sizes]
    text = TextHistory(np.array(sizes), np.array(sizes) / 7, *[1 / np.array(sizes)] * 4)
    memory = MemoryCapacity(np.arange(1, sizes[-1]), *[np.ones(sizes[-1] - 1)] * 2, 0.0)
    return {
        "capacity_scaling": plot.capacity_scaling_figure(ScalingResult(results)),
        "capacity": plot.capacity_figure(results[-1]),
        "laws": plot.laws_figure(
            LawsResult(tuple(LawPoint(law.name, n, 9, n, n, n, n, n) for n in sizes), 0)
        ),
        "bench": plot.bench_figure(Report("a machine", "1.0", "2026-11-21", 2, {"SGEMM": 1e11}, rows)),
        "learning_curve": plot.learning_curve_figure(history(1 / several, several)),
        "text_curve": plot.text_curve_figure(text, {}),
        "gradient_flow": plot.gradient_flow_figure({"": GradientFlow(several[None] / 1e9)}),
        "memory_capacity": plot.memory_capacity_figure({"": memory}),
    }


def figures_of_recalls():
    """Figures of overlaps, temperatures and energies, whose ranges are always small."""
    curve = fastrec.retrieval_curve(60, [0.1, 0.2], 2, 4)
    phases = fastrec.phase_diagram(60, [0.1, 0.2], [0.1, 0.5], trials=1, sweeps=2, burn_in=0, progress=False)
    found = fastrec.find_oscillation(40, 8)
    return {
        "retrieval": plot.retrieval_figure(curve),
        "success": plot.success_figure(curve),
        "basin": plot.basin_figure(fastrec.basin_map(60, [0.1, 0.2], [0.5, 0.9], 2, 4)),
        "phase": plot.phase_figure(phases),
        "energy": plot.energy_figure(found.sync),
        "oscillation": plot.oscillation_figure(found),
    }


def require_readable_axes(name, figure):
    figure.canvas.draw()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        texts = [t.get_text() for tick in ticks for t in (tick.label1, tick.label2) if t.get_visible()]
        if isinstance(axis.get_major_locator(), FixedLocator) or not any(texts):
            continue  # names, and axes whose labels stand at another panel
        assert axis.label.get_text(), f"{name}: {texts}"
        assert len(set(filter(None, texts))) >= 2 and "times" not in "".join(texts), f"{name}: {texts}"
    assert "neuron" not in " ".join(text.get_text() for text in figure.findobj(Text)).lower(), name


@pytest.mark.parametrize("sizes", [*RANGES[:-1], pytest.param(RANGES[-1], marks=pytest.mark.slow)])
def test_every_axis_has_a_label_and_ticks_that_can_be_read(sizes):
    for name, figure in figures_of_range(sizes).items():
        require_readable_axes(name, figure)


@pytest.mark.slow
def test_axes_of_every_figure_can_be_read():
    drawn = figures_of_recalls()
    for name, figure in drawn.items():
        require_readable_axes(name, figure)
    names = {name.removesuffix("_figure") for name in plot.__all__ if name.endswith("_figure")}
    pictures_and_tables = {"recall", "automaton", "four_ways", "save"}
    assert names == drawn.keys() | figures_of_range(RANGES[0]).keys() | pictures_and_tables


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (15, 26, "15 20 25"),
        (77, 1040, "100 200 500 1,000"),
        (8, 130_000, "10 100 1,000 10,000 100,000"),
        (3, 2e8, "10^{1} 10^{2} 10^{3} 10^{4} 10^{5} 10^{6} 10^{7} 10^{8}"),
        (2e-7, 9e-7, "2e-07 4e-07 6e-07 8e-07"),
        (1e-16, 3, "10^{-16} 10^{-13} 10^{-10} 10^{-7} 10^{-4} 10^{-1}"),
    ],
)
def test_logarithmic_ticks(low, high, labels):
    ax = Figure().subplots()
    plot.figures.log_scale(ax, "x")
    ax.set_xlim(low, high)
    ax.figure.canvas.draw()
    texts = [text.get_text().strip("$") for text in ax.get_xticklabels()]
    assert " ".join(texts) == labels
    assert not any(text.get_text() for text in ax.get_xticklabels(minor=True))
