"""Unlearning in dreams: the states into which a network falls by itself are weakened, and memories profit.

Hopfield, Feinstein and Palmer (Nature 304, 158, 1983) started a network from random states and stored the
states in which it ended with a small negative weight, -0.01 of that of a memory. Here memories have the
weight 100 and dreams -1. States that are not memories become rarer, as they are weakened whenever they are
found, and memories that crosstalk had made unstable come back: with 20 memories in 100 units, two are
recalled from 10 % noise before and all of them after 300 dreams. Too many dreams destroy all memories, and
rather abruptly.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec

STYLES = (("#0072B2", "-"), ("#D55E00", "--"))


def dream(n, p, dreams, at_once, every):
    """After each `every` dreams: their number, memories back from 10 % noise, random starts in a memory."""
    memories = fastrec.random_patterns(p, n, seed=1)
    probes, starts = fastrec.corrupt(memories, 0.1, seed=2), fastrec.random_patterns(500, n, seed=3)
    network = fastrec.HopfieldNetwork(n)
    network.store(memories, weight=100)
    course = []
    for done in range(0, dreams + 1, at_once):
        if done % every == 0:
            back = (network.recall(probes, seed=4).states == memories).all(axis=1)
            ends = fastrec.overlaps(network.recall(starts, seed=5).states, memories)
            course.append((done, back.mean(), (abs(ends) == 1).any(axis=1).mean()))  # or its inverse
        asleep = fastrec.random_patterns(at_once, n, seed=1000 + done)
        network.store(network.recall(asleep, seed=done).states, weight=-1)
    return np.array(course)


def main(n=100, loads=(0.1, 0.2), dreams=2600, at_once=20, every=100, path="dreaming.png"):
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    courses = {}
    for load, (colour, dashes) in zip(loads, STYLES, strict=False):
        p = round(load * n)
        courses[load] = done, back, ended = dream(n, p, dreams, at_once, every).T
        best = int(ended.argmax())
        print(f"{p} memories in {n} units")
        for what, i in (("before", 0), ("best", best), ("at the end", -1)):
            print(
                f"  {what:11}{done[i]:6.0f} dreams: {back[i]:4.0%} of the memories back from 10 % noise, "
                f"{ended[i]:4.0%} of random starts end in one"
            )
        for ax, values in ((left, back), (right, ended)):
            ax.plot(done, values, dashes, color=colour, label=f"{p} memories in {n} units")
    left.set(xlabel="dreams", ylabel="share", title="memories back from 10 % noise")
    right.set(xlabel="dreams", title="random starts that end in a memory or its inverse")
    right.legend(frameon=False)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return courses


if __name__ == "__main__":
    main()
