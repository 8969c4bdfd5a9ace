"""What fastrec does: recall memories, measure capacities, learn sequences, and how fast.

Left: letters are stored, a quarter of their pixels is flipped (orange), and recall brings them back.
Middle: how many random memories networks of 10 to 30 000 units hold, every one exactly, on the line of
theory. Right: speed relative to common alternatives, from benchmarks/results/amd-epyc-znver4.json.
"""

import json
from pathlib import Path

from matplotlib.figure import Figure

import fastrec
from fastrec.plot import draw_capacity_scaling, glyphs, save_figure
from fastrec.plot.recall import UNIT_COLOURS

RESULTS = Path(__file__).parents[2] / "benchmarks/results/amd-epyc-znver4.json"
RECALL = "store and recall, n = 10000, p = 1000, 100 probes, 10 % flipped (per probe)"
JOBS = {
    "recall, n = 10 000": f"{RECALL}, fields kept",
    "capacity, n = 10 000": "first-failure trial, n = 10000",
    "capacity, n = 1000": "first-failure trial, n = 1000",
    "overlaps": "binary product",
    "store": "store p = 1000",
    "Elman, forward + BPTT": "elman B=32 I=64 H=256, forward and backward",
    "GRU, forward + BPTT": "gru B=32 I=64 H=256, forward and backward",
    "LSTM, forward + BPTT": "lstm B=32 I=64 H=256, forward and backward",
}
RIVALS = {"NumPy": "NumPy", "Numba": "Numba", "torch": "PyTorch", "jax": "JAX"}


def draw_letters(figure, word="ATOM", side=32):
    """Stored, corrupted, recalled: how many of the letters are right in the end."""
    pictures = glyphs(list(word), side)
    memories = pictures.reshape(len(word), -1)
    network = fastrec.HopfieldNetwork(side * side)
    network.store(memories)
    probes = fastrec.corrupt(memories, 0.25, seed=0)
    recalled = network.recall(probes, seed=0).states
    axes = figure.subplots(3, len(word))
    for row, (states, title) in enumerate(((memories, "stored"), (probes, "probe"), (recalled, "recalled"))):
        for ax, state, memory in zip(axes[row], states, memories, strict=True):
            image = (state > 0) + 2 * (state != memory)
            ax.imshow(UNIT_COLOURS[image.reshape(side, side)], interpolation="nearest")
            ax.set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel(title)
    figure.suptitle("25 % of the units flipped", fontsize=10)
    return (recalled == memories).all(axis=1).sum()


def draw_ratios(ax):
    runs = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"]
    rows = [row for run in runs for row in run["rows"]]
    for place, name in enumerate(reversed(JOBS.values())):
        row = next(row for row in rows if row["name"].startswith(name))
        rival = RIVALS[row["against"].split()[0]]
        ax.barh(place, row["ratio"], color="#0072B2" if place > 2 else "#009E73", height=0.65)
        ax.text(max(row["ratio"], 1) * 1.1, place, f"{row['ratio']:.3g} x {rival}", va="center", fontsize=8)
    ax.set_yticks(range(len(JOBS)), reversed(JOBS), fontsize=8)
    ax.set(xscale="log", xlim=(0.7, 30_000))
    ax.axvline(1, color="0.4", linewidth=0.8)
    ax.set_title("times faster, on two cores", fontsize=10)


def main(sizes=(10, 30, 100, 300, 1000, 3000, 10_000, 30_000), trials=40, path="overview.png"):
    figure = Figure(figsize=(13, 3.9), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1, 1.25, 1.25])
    right_letters = draw_letters(left)
    scaling = fastrec.capacity_scaling(sizes, trials)
    ax = middle.subplots()
    draw_capacity_scaling(ax, scaling)
    ax.set_title("", loc="left")
    ax.set_title("capacity: most memories that all come back exactly", fontsize=10)
    draw_ratios(right.subplots())
    save_figure(figure, path, dpi=110)
    return right_letters, scaling


if __name__ == "__main__":
    main()
