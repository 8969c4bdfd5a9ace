"""The local field on a bit of a memory is a signal of n - 1 and the crosstalk of the other memories.

Histograms of h x / (n - 1), the field times the bit, over all bits of all memories of one network of 1000
units, at three loads. A positive value stabilizes the bit, a negative value (vermilion) flips it. Grey is
the normal density with mean 1 and variance (p - 1) / (n - 1). At p = 30 no bit of 30 000 is below 0; at 100
a few in ten thousand are; at 200 more than one in a hundred.
"""

import math

import numpy as np
from matplotlib.figure import Figure

import fastrec
from fastrec.plot import save_figure


def main(n=1000, loads=(30, 100, 200), path="signal_and_noise.svg"):
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    unstable = {}
    for p, ax in zip(loads, figure.subplots(len(loads), 1, sharex=True), strict=True):
        memories = fastrec.random_patterns(p, n, seed=1)
        network = fastrec.HopfieldNetwork(n)
        network.store(memories)
        fields = network.local_fields(memories) * memories
        unstable[p] = int((fields < 0).sum())

        edges = np.arange(-1.5, 3.51, 0.1)
        counts, _ = np.histogram(fields / (n - 1), edges)
        density = counts / fields.size / 0.1
        holds = edges[:-1] > -0.05
        for chosen, colour in ((holds, "#0072B2"), (~holds, "#D55E00")):
            ax.bar(edges[:-1][chosen], density[chosen], 0.1, align="edge", color=colour)
        x, deviation = np.linspace(-1.5, 3.5, 400), math.sqrt((p - 1) / (n - 1))
        ax.plot(
            x, np.exp(-(((x - 1) / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi)), color="0.4"
        )
        ax.set_yscale("log")
        ax.set_ylim(1e-5, 10)
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set_title(f"p = {p}: {unstable[p]} of {fields.size:,} bits unstable", fontsize=10, loc="left")
        ax.set_ylabel("density")
    ax.set_xlabel("field on a bit of a memory, signed by the bit, over n - 1")
    ax.set_xlim(-1.5, 3.5)
    save_figure(figure, path)
    print("unstable bits:", unstable)
    print(f"wrote {path}")
    return unstable


if __name__ == "__main__":
    main()
