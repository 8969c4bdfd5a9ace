"""Recurrent steps of fastrec compared with PyTorch and JAX, on two cores.

Each bar is the time of the faster of PyTorch and JAX, at its better number of threads, divided by that of
fastrec, for 100 steps in one call. The gain is the overhead of a framework around the arithmetic of each
step. It is smallest where arithmetic dominates: in wide networks, and in an LSTM, whose multiply-adds
oneDNN also does near the limit of the machine. Drawn from benchmarks/results/amd-epyc-znver4.json; nothing is
timed here.
"""

import json
import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import fastrec.plot

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "amd-epyc-znver4.json"


def main(results=RESULTS, path="steps.svg"):
    runs = json.loads(Path(results).read_text(encoding="utf-8"))["runs"]
    found = {}
    for when, row in ((run["date"], row) for run in runs for row in run["rows"]):
        words = re.fullmatch(r"(\w+) B=(\d+) I=\d+ H=(\d+), (forward.*)", row["name"])
        if words:
            cell, rows, units, part = words.groups()
            cell = "Elman" if cell == "elman" else cell.upper()
            name = f"{cell}, {units} units, {rows} row{'s' * (rows != '1')}"
            found.setdefault(name, {})[part] = row["ratio"], row["ours_s"], row["against"]
            measured = f"{runs[0]['machine']}, {when}"
    names = list(found)[::-1]
    longest = max(ratio for parts in found.values() for ratio, _, _ in parts.values())
    figure = Figure(figsize=(8, 1.2 + 0.5 * len(names)), layout="constrained")
    ax = figure.subplots()
    styles = {"forward": ("#0072B2", 0.19), "forward and backward": ("#56B4E9", -0.19)}
    for part, (colour, shift) in styles.items():
        for place, name in enumerate(names):
            ratio, seconds, against = found[name][part]
            label = part if place == 0 else None
            ax.barh(place + shift, ratio, 0.36, color=colour, label=label)
            time = f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} µs"
            ax.text(ratio + 0.02, place + shift, f"{time}, {against}", va="center", fontsize=8)
    ax.axvline(1, color="0.3", linewidth=1)
    ax.set_yticks(np.arange(len(names)), names)
    ax.set(xlabel="times faster than the faster of PyTorch and JAX", xlim=(0, 1.3 * longest))
    ax.set_title(f"{measured}; time of fastrec, and the peer", fontsize=9)
    ax.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    fastrec.plot.save_figure(figure, path)
    print(f"wrote {path}")
    return found


if __name__ == "__main__":
    main()
