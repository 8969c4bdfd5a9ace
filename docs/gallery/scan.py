"""Most memories need no recall: how many the scan certifies, finds unstable or must simulate at each load.

Forty networks of 200 units, memories added one at a time, every memory probed with one bit flipped. Dark
blue: the margin of every unit exceeds 2 p, more than any flipped bit can change. Light blue: certified by
the couplings of the units below that margin to the bit that is flipped. Vermilion: a unit of the memory is
unstable. Orange: the rest, which must be simulated. The dashed line is the median capacity, at which a run
with stop="first_failure" ends.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec
from fastrec.plot import save_figure

KINDS = {
    "certified: margins above 2 p": "#0072B2",
    "certified: couplings looked at": "#56B4E9",
    "must be simulated": "#E69F00",
    "fails: a unit is unstable": "#D55E00",
}


def scan(x, flipped):
    """The kind of each memory of x (p, n) (column) at each load (row), (p, p), -1 where it is not stored yet.

    flipped (p, p): the bit of each memory (column) that its probe at each load (row) has wrong.
    """
    most, n = x.shape
    gram = x @ x.T
    g = np.zeros((most, n), dtype=int)  # fields of the memories, signed by their bits, self-coupling in
    kinds = np.full((most, most), -1)
    for p in range(1, most + 1):
        new = p - 1
        g[:new] += gram[:new, new, None] * x[:new] * x[new]  # a rank-one term
        g[new] = x[new] * (gram[new, :p] @ x[:p])
        margin = g[:p] - p
        unstable = (margin < 0).any(axis=1)
        sure = (margin > 2 * p).all(axis=1)
        for mu in range(p):
            j = flipped[new, mu]
            coupling = x[:p].T @ x[:p, j] * x[mu] * x[mu, j]  # of all units to the flipped one, signed
            coupling[j] = 0
            doubtful = (margin[mu] < 2 * np.maximum(coupling, 0)).any() or margin[mu, j] <= 0
            kinds[new, mu] = 3 if unstable[mu] else 0 if sure[mu] else 2 if doubtful else 1
    return kinds


def main(n=200, most=36, networks=40, path="scan.svg"):
    random = np.random.default_rng(1)
    patterns = fastrec.random_patterns(most, n, networks=networks, seed=0).astype(int)
    flipped = random.integers(n, size=(networks, most, most))
    kinds = np.array([scan(*pair) for pair in zip(patterns, flipped, strict=True)])
    loads = np.arange(1, most + 1)
    shares = np.array([(kinds == kind).sum(axis=(0, 2)) for kind in range(4)]) / (networks * loads)

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    ax = figure.subplots()
    areas = ax.stackplot(loads, shares, colors=KINDS.values(), labels=KINDS, linewidth=0, edgecolor="white")
    for area, hatch in zip(areas, ("", "//", "xx", ".."), strict=True):  # also without colours
        area.set_hatch(hatch)
    median = fastrec.capacity(n, trials=networks).median
    ax.axvline(median, color="black", linestyle="--", linewidth=1.2, label=f"median capacity, {median:g}")
    ax.set(xlabel="stored memories p", ylabel="share of the memories", xlim=(1, most), ylim=(0, 1))
    ax.yaxis.set_major_formatter("{x:.0%}")
    figure.legend(frameon=False, fontsize=9, loc="outside upper center", ncols=2)
    save_figure(figure, path)
    for p in loads[4::5]:
        print(f"p = {p:2}", *(f"{share:7.2%}" for share in shares[:, p - 1]))
    print(f"wrote {path}")
    return patterns, flipped, kinds


if __name__ == "__main__":
    main()
