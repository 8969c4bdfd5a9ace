"""How far from a memory may a probe start?  The basin of attraction shrinks with the load.

Each cell is the mean overlap with the memory after recall (dark: recalled) at one load p / n and one
overlap of the start, in networks of 1000 units. At a low load a probe with an overlap of 0.2, 40 % of its
units wrong, is recalled; near the load 0.138 only starts close to the memory are. The dashed line is the
edge according to the approximation of Amari and Maginu (1988), which is known to be too optimistic.
"""

import numpy as np

import fastrec
from fastrec.plot import basin_figure, save_figure


def main(n=1000, loads=14, starts=16, trials=3, probes=10, path="basins.svg"):
    found = fastrec.basin_map(
        n, np.linspace(0.01, 0.16, loads), np.linspace(0.05, 0.95, starts), trials, probes, seed=1
    )
    save_figure(basin_figure(found), path)
    print(f"{len(found.points)} cells")
    print(f"wrote {path}")
    return found


if __name__ == "__main__":
    main()
