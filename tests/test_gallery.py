"""The figures of the documentation, smaller: what each shows, shows in its numbers too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

import fastrec
from fastrec.plot.figures import COLOURS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
NAMES = [path.stem for path in ROOT.glob("docs/gallery/*.py")]


def test_all_figures_have_a_test() -> None:
    assert NAMES and not [name for name in NAMES if f"test_{name}" not in globals()]


def lightness(colours: np.ndarray) -> np.ndarray:
    """L* of CIELAB, 0..100, of sRGB colours (..., 3)."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    y = linear @ (0.2126, 0.7152, 0.0722)
    return np.where(y > 216 / 24389, 116 * np.cbrt(y) - 16, y * 24389 / 27)


def test_colours_can_be_told_apart() -> None:
    """Colours are those of Okabe and Ito, or greys; maps of colours go from light to dark in even steps."""
    maps, seen = set(), set()
    for folder in ("src/fastrec/plot", "docs/gallery", "examples"):
        for path in (ROOT / folder).glob("*.py"):
            text = path.read_text(encoding="utf-8")
            maps |= set(re.findall(r"cmap=\"(\w+)\"", text))
            seen |= set(re.findall(r"#[0-9A-Fa-f]{6}", text))
            assert not re.search(r"\"(tab:|xkcd:)?(red|green|[rg]|C[23])\"", text), path
            assert text.count("cmap=") == len(re.findall(r"cmap=\"", text)), path
    assert maps and seen and seen <= set(COLOURS)
    for name in maps:
        steps = np.diff(lightness(matplotlib.colormaps[name](np.linspace(0, 1, 11))[:, :3]))
        assert (np.sign(steps) == np.sign(steps[0])).all(), name
        assert abs(steps).max() < 1.5 * abs(steps).min(), name


def test_overview(main: Any) -> None:
    letters, scaling = main(sizes=(10, 30, 100), trials=5)
    assert letters == 4 and scaling.sizes == (10, 30, 100)


def test_attention(main: Any) -> None:
    loss, weights = main(hidden_size=32, epochs=5, pairs=1500)
    assert loss < 0.3 and weights.shape == (11, 11)
    assert (weights[[0, 3]].argmax(axis=1) >= 7).all()  # the year is at the end


def test_recall_letters(main: Any) -> None:
    assert (main("AT", side=20) == 1).all()


def test_energy(main: Any) -> None:
    ends = main(n=150, p=5, shares=(0.1, 0.5), sweeps=4)
    assert ends[0.1][0] == 1
    for _, by_hand, recorded in ends.values():
        assert (by_hand == recorded).all() and (np.diff(recorded) <= 0).all()


def test_rules(main: Any) -> None:
    found = main(n=100, loads=(0.1, 0.4, 0.5), networks=2)
    stable, back = zip(*(found[name][0.4] for name in ("Hebb", "Storkey", "projection")), strict=True)
    assert stable[0] < 0.1 < 0.5 < stable[1] < stable[2] == 1 and back[0] < back[1] < back[2]
    own, none = found["projection, self-coupling"][0.4], found["perceptron, margin 0"][0.4]
    assert own[0] == none[0] == 1 and max(own[1], none[1]) < back[2] / 2
    assert found["perceptron, margin 1"][0.1] == (1, 1) and 0.5 not in found["perceptron, margin 1"]


def test_sparse(main: Any) -> None:
    shares, received, memories, threshold = main(counts=(10, 100, 200))
    assert shares["hebb"] == [0, 0] and shares[0.05][2] > 0.9 > shares[0.1][2] > 0.1 > shares[0.2][2]
    silent, active = (received[memories == kind].mean() for kind in (0, 1))
    assert silent < threshold < active and abs((silent + active) / 2 - threshold) < 1


def test_course(main: Any) -> None:
    found = main("AT", side=20, flips=0.2)
    assert (np.diff(found.energies) < 0).all() and found.overlaps[-1, 0] == 1
    assert len(found.trajectory) == found.flips + 1 > 80


def test_two_cycle(main: Any) -> None:
    assert main(steps=10) == [100, 7, 0]


def test_signal_and_noise(main: Any) -> None:
    unstable = main(n=400, loads=(10, 80))
    expected = 400 * 80 * float(fastrec.theory.unstable_bit_probability(400, 80))
    assert unstable[10] == 0 and abs(unstable[80] - expected) < 4 * expected**0.5


def test_capacity_histogram(main: Any) -> None:
    assert 13 <= main(n=200, trials=60).median <= 19


def test_capacity_curve(main: Any) -> None:
    scaling = main(last=500, steps=4, trials=30)
    assert [abs(r.median - r.definition.theory_quantile(r.n)) <= 2 for r in scaling] == [True] * 4


def test_overlap_against_load(main: Any) -> None:
    below, beyond = main(sizes=(300,), loads=(0.05, 0.25), trials=3, probes=8).points
    assert below.overlap > 0.99 > 0.7 > beyond.overlap


def test_basins(main: Any) -> None:
    points = {
        (point.alpha, point.start): point.overlap for point in main(200, 2, 2, trials=2, probes=5).points
    }
    (least, most), (low, high) = (sorted({key[i] for key in points}) for i in (0, 1))
    assert points[least, high] > 0.99 and points[most, low] < 0.6


def test_scan(main: Any) -> None:
    patterns, flipped, kinds = main(n=80, most=14, networks=3)
    for x, bits, kind in zip(patterns, flipped, kinds, strict=True):
        for p in range(1, len(x) + 1):
            network = fastrec.HopfieldNetwork(80)
            network.store(x[:p])
            probes = x[:p].copy()
            probes[np.arange(p), bits[p - 1, :p]] *= -1
            back = (network.recall(probes, seed=0).states == x[:p]).all(axis=1)
            assert back[kind[p - 1, :p] <= 1].all() and not back[kind[p - 1, :p] == 3].any()


def test_dynamics(main: Any) -> None:
    courses, periods, ends = main(n=300, k=2, starts=10, number=12, small=12, counts=(1, 3, 40))
    assert max(courses[0][-1], courses[90][-1]) < 0.1 and courses[45][-1] > 0.35
    assert periods[0].min() >= 1 and periods[0].max() == 2 and np.median(periods[45]) > 4
    assert (periods[90] == 4).all() and all((found > 0).all() for found in periods.values())
    memory, inverse, mixture, other = zip(*ends.values(), strict=True)
    assert memory[0] + inverse[0] == 1 and mixture[1] > 0.1 and other[1] == 0 and other[2] > 0.5


def test_bounds(main: Any) -> None:
    count, ends, boxes = main(n=1000, network=1)
    assert all(low <= field.min() <= field.max() <= high for field, low, high, _ in boxes)
    assert boxes[len(ends) - 2][3] and not boxes[-1][3] and ends[-2] <= count < ends[-1]
    (last,) = (box[0] for box in boxes[len(ends) - 2 : len(ends) - 1])
    assert last[count + 1 - ends[-2]] < count + 1


def test_cost_of_recall(main: Any) -> None:
    _, least, chosen = main(n=400, b=500)
    assert (least == chosen).all() and least.any() and not least.all()


def test_one_neuron(main: Any) -> None:
    slope, measured, deltas = main(points=11)
    assert abs(slope - measured) < 1e-8 and np.allclose(deltas, [-0.000900, 0.013934, 0.015886], atol=1e-6)


def test_gradient_flow(main: Any) -> None:
    exploding, kept, vanishing, gated, shut = main(steps=30, hidden_size=24, sequences=4).values()
    assert exploding > 5 and 0.9 < kept <= 1 and vanishing < 0.06 and gated > 0.5 and shut < 1e-3


def test_addition(main: Any) -> None:
    solved = main(models=2, pairs=256, columns=4, epochs=4)
    assert solved.keys() == {"elman", "gru", "lstm"} and all(0 <= share <= 1 for share in solved.values())


def test_adders(main: Any) -> None:
    found, elsewhere = main(tested=200, models=2, epochs=(3, 30), sizes=(4, 8, 16))
    (carries, numbers), (recurrent, sums) = found["window of 2"], found["recurrent"]
    assert carries[0] == max(recurrent[:8]) == max(sums) == 0 and min(carries[1:]) > 0.9 < numbers[-1]
    assert elsewhere["all at once"][0] < 0.05 < 0.7 < elsewhere["all at once"][-1]


def test_hmm_bound(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("hmmlearn")
    found = request.getfixturevalue("main")(b=4, fits=(1, 2), made=(4,), units=(8,), epochs=150)
    assert np.allclose(found["fitted"], [4, 3], atol=0.05) and np.allclose(found["constructed"], 2)
    assert found["recurrent"][0] < 0.5


def test_automaton(main: Any) -> None:
    same, nearest = main(pairs=4)
    assert same and nearest > 0.9


def test_two_adders(main: Any) -> None:
    shares, found = main(most=2, sizes=(4, 8), models=4, epochs=25)
    assert [automaton.states for _, automaton in found.values()] == [4, 16] and shares[2].keys() == {4, 8}


def test_temperature(main: Any) -> None:
    most, nucleus = main(count=5000)
    assert most < 0.03 and np.count_nonzero(nucleus) == 5 and np.isclose(nucleus.sum(), 1)


def test_text_curve(main: Any) -> None:
    score, counted, entropy = main(sentences=600, hidden_size=24, epochs=12)
    assert entropy - 0.02 < score < counted[3] and counted[6] < counted[4]


def test_memory_capacity(main: Any) -> None:
    cycle, sparse, small, large = (result.total for result in main(units=30, steps=3000).values())
    assert min(cycle, sparse) > 25 and sparse > small > large > 3


def test_steps(main: Any) -> None:
    found = main()
    assert (
        found["LSTM, 256 units, 32 rows"]["forward"][0] < 1.2 < found["GRU, 256 units, 32 rows"]["forward"][0]
    )
