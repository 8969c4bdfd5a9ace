"""Sparse memories: the covariance rule holds more of them the fewer units are active.

Networks of 1000 units, in whose random memories a share a of the units is active. Left: the share of the
memories that come back, to the last unit, after a tenth of the active units have fallen silent. Hebb's
rule, which is made for as many active as silent units, holds none at the activity 0.1. Right: the fields of
100 memories of activity 0.1 in units of 0 and 1, with the threshold of Tsodyks and Feigel'man half way
between the means of the silent and of the active units.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec
from fastrec.plot import save_figure

STYLES = {0.05: ("#D55E00", "o-"), 0.1: ("#E69F00", "s-"), 0.2: ("#0072B2", "^-"), 0.5: ("#CC79A7", "v--")}


def without(memories, share, seed):
    """The memories, of 0 and 1, without a share of the ones."""
    random = np.random.default_rng(seed).random(memories.shape)
    return memories * (random >= share)


def back(memories, **options):
    """The share of the memories that come back without an error."""
    network = fastrec.HopfieldNetwork(memories.shape[1], coding="01", **options)
    network.store(memories)
    found = network.recall(without(memories, 0.1, seed=2), seed=3).states
    return (found == memories).all(axis=1).mean()


def fields(memories, activity):
    """What each unit receives in each memory, sums of (v_i - a) (v_j - a) v_j, and the threshold."""
    network = fastrec.HopfieldNetwork(memories.shape[1], rule="covariance", activity=activity, coding="01")
    network.store(memories)
    couplings = network.couplings() / network.scale
    return memories @ couplings, activity * (1 - activity) * (0.5 - activity) * network.n


def main(n=1000, counts=(10, 25, 50, 75, 100, 150, 200, 300, 400, 600), path="sparse.svg"):
    figure = Figure(figsize=(8.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    shares = {}
    for activity, (colour, style) in STYLES.items():
        memories = fastrec.random_patterns(max(counts), n, seed=1, activity=activity, coding="01")
        shares[activity] = [back(memories[:p], rule="covariance", activity=activity) for p in counts]
        left.plot(
            counts, shares[activity], style, color=colour, markersize=4, label=f"covariance, a = {activity}"
        )
    memories = fastrec.random_patterns(100, n, seed=1, activity=0.1, coding="01")
    shares["hebb"] = [back(memories[:p]) for p in counts if p <= 100]
    left.plot(
        counts[: len(shares["hebb"])],
        shares["hebb"],
        "D:",
        color="black",
        markersize=4,
        label="Hebb, a = 0.1",
    )
    left.set(xlabel="stored memories", ylabel="share of the memories that come back", xscale="log")
    left.legend(frameon=False, fontsize=8, loc=(0.01, 0.08))

    received, threshold = fields(memories, 0.1)
    bins = np.linspace(received.min(), received.max(), 90)
    for kind, colour, name in ((0, "#0072B2", "silent units"), (1, "#D55E00", "active units")):
        right.hist(received[memories == kind], bins, density=True, color=colour, alpha=0.6, label=name)
    right.axvline(threshold, color="black", linestyle="--", label=f"threshold, {threshold:.0f}")
    right.set(xlabel="field in a memory", ylabel="density")
    right.legend(frameon=False, fontsize=8)
    save_figure(figure, path)
    for name, values in shares.items():
        print(name, dict(zip(counts, np.round(values, 3).tolist(), strict=False)))
    means = [received[memories == kind].mean() for kind in (0, 1)]
    print(f"mean fields {means[0]:.1f} and {means[1]:.1f}, threshold {threshold:.1f}")
    print(f"wrote {path}")
    return shares, received, memories, threshold


if __name__ == "__main__":
    main()
