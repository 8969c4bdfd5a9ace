"""Patterns or weights: bytes and operations of recall, 1000 probes in 10 000 units, against the load.

Calculated with the formulas by which `HopfieldNetwork` chooses on the CPU, not measured. Above, memory:
patterns and their transpose take n p / 4 bytes, couplings n^2 integers of the narrowest type that holds p.
Below, operations of asynchronous recall: from patterns, n p in each of 4 sweeps, or of 30 where memories
are lost; from weights, 7 n^2 per probe plus n^2 p / 8 to compute the weights. Weights need fewer operations
from a load of about 1/4 on, where memories are already lost; at any load below 4 they take more memory.
"""

import numpy as np
from matplotlib.figure import Figure

from fastrec.hopfield.recall import choose_representation, narrowest
from fastrec.plot import save_figure


def main(n=10_000, b=1000, path="cost_of_recall.svg"):
    p = np.unique(np.geomspace(max(1, n / 1000), n, 200).astype(int))
    sweeps = np.where(p < 0.1 * n, 4, 30)
    patterns, made, ready = b * sweeps * n * p, b * 7 * n * n + n * n * p // 8, b * 7 * n * n + 0 * p
    chosen = np.array(
        [choose_representation(1, b, n, int(load), "async", False, "cpu") == "weights" for load in p]
    )

    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    top.plot(p / n, n * p / 4 / 1e6, color="#0072B2", label="patterns, n p / 4 bytes")
    weights = np.array([n * n * narrowest(int(load)).itemsize for load in p])
    top.plot(p / n, weights / 1e6, color="#D55E00", linestyle="--", label="weights, 1 or 2 n$^2$ bytes")
    bottom.plot(p / n, patterns, color="#0072B2", label="patterns")
    bottom.plot(p / n, made, color="#D55E00", linestyle="--", label="weights, with making them")
    bottom.plot(p / n, ready, color="#D55E00", linestyle=":", label="weights that exist")
    for ax in (top, bottom):
        ax.set(xscale="log", yscale="log")
        ax.legend(frameon=False, fontsize=9)
    top.set_ylabel("memory (MB)")
    bottom.set_ylabel("operations")
    bottom.set_xlabel("load p / n")
    bottom.set_xlim(p[0] / n, p[-1] / n)
    save_figure(figure, path)
    least = made < patterns
    print("weights are made from p / n =", p[least.argmax()] / n if least.any() else None)
    print(f"wrote {path}")
    return p, least, chosen


if __name__ == "__main__":
    main()
