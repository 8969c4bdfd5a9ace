"""Updated all at once, a network can oscillate forever; unit by unit, it comes to rest.

Each column of the pictures is the state of 100 units, black for +1, after one more step; below, the energy.
Left: a start, found by `find_oscillation(100, 5, seed=4)`, from which every synchronous step flips all
units. Middle: the more common case, of `find_oscillation(100, 20, seed=1)`: most units settle, and seven go
on flipping. With symmetric couplings no longer cycle is possible. Right: asynchronous sweeps from the same
start as in the middle. Each flip lowers the energy, and the network comes to rest.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec
from fastrec.plot import save_figure


def follow(found, update, steps):
    """The states (steps + 1, n) from the start of a search on, a step or a sweep each."""
    random, states = np.random.default_rng(1), [found.start]
    for _ in range(steps):
        # One at a time: recall stops as soon as it has seen a cycle.
        order = "random" if update == "sync" else random.permutation(found.network.n)[None]
        states.append(found.network.recall(states[-1], update, order, max_sweeps=1).states)
    return np.array(states)


def main(n=100, steps=12, path="two_cycle.png"):
    whole, common = fastrec.find_oscillation(n, 5, seed=4), fastrec.find_oscillation(n, 20, seed=1)
    columns = (
        (whole, "sync", "sync: all units flip"),
        (common, "sync", "sync: some units flip"),
        (common, "async", "async: at rest"),
    )

    figure = Figure(figsize=(8.4, 4.8), layout="constrained")
    grid = figure.subplots(2, 3, height_ratios=[1.4, 1], sharex="col")
    figure.get_layout_engine().set(wspace=0.06)
    traces = []
    for (found, update, title), ax, below in zip(columns, *grid, strict=True):
        states = follow(found, update, steps)
        ax.imshow(states.T, cmap="gray_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
        ax.set_title(title, fontsize=10)
        energies = found.network.energy(states) / n
        below.plot(energies, "o-", color="#D55E00" if update == "sync" else "#0072B2", markersize=4)
        below.set_xlabel("step" if update == "sync" else "sweep")
        below.set_ylim(-0.55, 0.1)
        traces.append(states)
    grid[0][0].set_ylabel("unit")
    grid[1][0].set_ylabel("energy per unit, E / n")
    save_figure(figure, path, dpi=120)
    flips = [int((states[-1] != states[-2]).sum()) for states in traces]
    print("units that flip at the last step:", flips)
    print(f"wrote {path}")
    return flips


if __name__ == "__main__":
    main()
