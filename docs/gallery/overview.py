"""What fastrec does: recall memories, measure capacities, learn sequences, and how fast.

Above: letters are stored, a quarter of their pixels is flipped (orange), and recall brings them back; and how
many random memories networks of 10 to 30 000 units hold, every one exactly, beside theory. Below: how many
times faster than common alternatives, as measured in benchmarks/results/amd-epyc-znver4.json.
"""

import sys
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

import fastrec
from fastrec.plot import draw_capacity_scaling, glyphs, save_figure
from fastrec.plot.recall import UNIT_COLOURS

sys.path[:0] = [str(Path(__file__).parents[2] / "benchmarks")]
import records  # noqa: E402

JOBS = {
    "capacity, n = 10 000": "one trial of capacity, n = 10 000",
    "capacity, n = 1000": "one trial of capacity, n = 1000",
    "overlaps": "overlaps of 2048 with 2048 patterns, n = 4096",
    "storing": "store 1000 patterns, n = 4096, with couplings",
    "recall, n = 10 000": "recall of one probe, n = 10 000, p = 1000",
    "Elman, BPTT": "Elman, 32 x 100 steps, 256 units, forward and BPTT",
    "GRU, BPTT": "GRU, the same",
    "LSTM, BPTT": "LSTM, the same",
}
MEMORIES = 5  # of these jobs; the others are of sequences


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
    figure.suptitle("a quarter of the units flipped")
    return (recalled == memories).all(axis=1).sum()


def draw_ratios(ax, jobs, title, colour):
    runs = records.runs_of(records.RESULTS / "amd-epyc-znver4.json")
    rows = [records.headline(runs, records.HEADLINES[JOBS[job]]) for job in jobs]
    bars = ax.barh(jobs, [row["ratio"] for row in rows], color=colour, height=0.65)
    labels = [f"{row['ratio']:.{1 if row['ratio'] < 10 else 0}f} x {records.rival(row)}" for row in rows]
    ax.bar_label(bars, labels, padding=4)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.8 * max(row["ratio"] for row in rows))
    ax.axvline(1, color="0.4", linewidth=0.8)
    ax.set_title(title)
    ax.set_xlabel("times faster")


def main(sizes=(10, 30, 100, 300, 1000, 3000, 10_000, 30_000), trials=40, path="overview.png"):
    with rc_context({"font.size": 11, "axes.titlesize": 12, "figure.titlesize": 12}):
        figure = Figure(figsize=(9.2, 7.4), layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=[1.55, 1])
        left, right = above.subfigures(1, 2, width_ratios=[1, 1.2])
        right_letters = draw_letters(left)
        scaling = fastrec.capacity_scaling(sizes, trials)
        ax = right.subplots()
        draw_capacity_scaling(ax, scaling)
        ax.set_title("", loc="left")
        ax.set_title("memories that all come back exactly")
        axes = below.subplots(1, 2, width_ratios=[1.25, 1])
        for ax, jobs, title, colour in (
            (axes[0], list(JOBS)[:MEMORIES], "memories, on two cores", "#0072B2"),
            (axes[1], list(JOBS)[MEMORIES:], "sequences, on two cores", "#009E73"),
        ):
            draw_ratios(ax, jobs, title, colour)
        save_figure(figure, path, dpi=160)
    return right_letters, scaling


if __name__ == "__main__":
    main()
