"""The course of a recall, flip by flip: a noisy letter becomes the memory it is nearest to.

A network of 32 x 32 units holds the letters A, T, O and M. Recall starts from the A with 35 % of its pixels
flipped and is recorded after each flip of a unit. Top: six states on the way, with wrong pixels in orange.
Middle: the energy falls at every flip. Bottom: the overlap with the A rises to 1, and those with the other
letters end where the letters overlap with each other.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec
from fastrec.plot import glyphs, save_figure

COLOURS = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.835, 0.369, 0.0]])  # paper, ink, wrong
STYLES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))


def main(letters="ATOM", side=32, flips=0.35, path="course.svg"):
    memories = glyphs(list(letters), side)
    network = fastrec.HopfieldNetwork(side * side, shape=(side, side))
    network.store(memories)
    probe = fastrec.corrupt(memories[0].ravel(), flips, seed=1).reshape(side, side)
    found = network.recall(probe, seed=1, record=("states", "energy", "overlap"), by="update")

    figure = Figure(figsize=(7.2, 6.6), layout="constrained")
    rows = figure.add_gridspec(3, 1, height_ratios=[1, 1.3, 1.3])
    shown = np.linspace(0, found.flips, 6).astype(int)
    for place, time in zip(rows[0].subgridspec(1, len(shown)), shown, strict=True):
        ax, state = figure.add_subplot(place), found.trajectory[time]
        ax.imshow(COLOURS[np.where(state != memories[0], 2, state > 0)], interpolation="nearest")
        ax.set_title(f"{time} flips", fontsize=9)
        ax.set(xticks=[], yticks=[])
    middle = figure.add_subplot(rows[1])
    middle.plot(found.energies / network.n, color="#0072B2")
    middle.set_ylabel("energy per unit, E / n")
    bottom = figure.add_subplot(rows[2], sharex=middle)
    for letter, course, (colour, dashes) in zip(letters, found.overlaps.T, STYLES, strict=False):
        bottom.plot(course, dashes, color=colour, label=letter)
    bottom.set(xlabel="flips of single units", ylabel="overlap with the memory")
    bottom.legend(frameon=False, ncols=len(letters), loc="upper left")
    save_figure(figure, path)
    print(f"{found.flips} flips; overlaps {found.overlaps[0].round(2)} to {found.overlaps[-1].round(2)}")
    print(f"wrote {path}")
    return found


if __name__ == "__main__":
    main()
