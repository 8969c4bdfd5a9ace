"""What each learning rule holds: stable memories, and memories recalled from noise, against the load.

Random memories in networks of 200 units, the mean of four networks at each load p / n. Left: the share of
memories that are stable. Right: the share that comes back, to the last unit, from probes of which 10 % of
the units are flipped. To be stable is not enough: without a margin the perceptron rule makes every memory
stable and recalls few of them, and self-coupling takes away much of what the projection rule recalls. The
curve of the perceptron rule with margin 1 ends where a network could not reach that margin in 1000 passes.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec
from fastrec.plot import save_figure

RULES = {  # name, options of the network, and style
    "Hebb": ({}, ("#0072B2", "o-")),
    "Storkey": ({"rule": "storkey"}, ("#D55E00", "s-")),
    "projection": ({"rule": "projection"}, ("#009E73", "^-")),
    "projection, self-coupling": ({"rule": "projection", "self_coupling": True}, ("#56B4E9", "v--")),
    "perceptron, margin 0": ({"rule": "perceptron"}, ("#CC79A7", "D:")),
    "perceptron, margin 1": ({"rule": "perceptron", "margin": 1.0}, ("black", "p-.")),
}


def shares(options, n, p, networks):
    """The shares of p memories that are stable and that come back, or None if the rule cannot learn them."""
    memories = fastrec.random_patterns(p, n, seed=1, networks=networks)
    network = fastrec.HopfieldNetwork(n, **options)
    try:
        network.store(memories)
    except ValueError:
        return None
    probes = fastrec.corrupt(memories, 0.1, seed=2)
    back = (network.recall(probes, seed=3).states == memories).all(axis=-1)
    return network.is_stable(memories).mean(), back.mean()


def main(n=200, loads=None, networks=4, path="rules.svg"):
    loads = np.array([0.03, 0.06, 0.1, 0.14, *np.arange(0.2, 0.75, 0.05)] if loads is None else loads)
    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    found = {}
    for name, (options, (colour, style)) in RULES.items():
        found[name] = {}
        for load in loads:
            point = shares(options, n, round(load * n), networks)
            if point is None:
                break
            found[name][load] = point
        stable, back = np.transpose(list(found[name].values()))
        for ax, values in ((left, stable), (right, back)):
            ax.plot(list(found[name]), values, style, color=colour, markersize=4, label=name)
    left.set(title="stable", xlabel="load p / n", ylabel="share of the memories")
    right.set(title="recalled from 10 % noise", xlabel="load p / n")
    figure.legend(*left.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3)
    save_figure(figure, path)
    print("load    " + "".join(f"{name:>26}" for name in RULES))
    for load in loads:
        row = [found[name].get(load) for name in RULES]
        print(f"{load:<8.2f}" + "".join(f"{'-' if x is None else f'{x[0]:.3f} {x[1]:.3f}':>26}" for x in row))
    print(f"wrote {path}")
    return found


if __name__ == "__main__":
    main()
