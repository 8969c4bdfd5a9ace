"""Capacity against the number of units, from 10 to 10 000: nearly n / (4 ln n), and how it differs.

Points are means of 100 networks of each size; the band contains 80 % of them. The solid grey line is the mean
by the binomial law of the crosstalk on a bit at finite n; the dotted one is the limit of McEliece and others
(1987) for large n, n / (4 ln n). In the middle, the ratio to it: the limit is approached slowly, and at
n = 10 000 the networks still hold 1.36 times as much. Broken lines are the best power law and the best
n / (c ln n); neither holds. Below, the exponent between neighbouring sizes, which no power law could change.
"""

import numpy as np

import fastrec
from fastrec.plot import capacity_scaling_figure, save_figure


def main(first=10, last=10_000, steps=13, trials=100, path="capacity_curve.svg"):
    sizes = np.unique(np.rint(np.geomspace(first, last, steps)).astype(int))
    scaling = fastrec.capacity_scaling(sizes, trials)
    save_figure(capacity_scaling_figure(scaling), path)
    print(scaling.table())
    print(scaling.fit())
    print(f"wrote {path}")
    return scaling


if __name__ == "__main__":
    main()
