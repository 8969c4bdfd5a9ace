"""Four letters are stored, a quarter of their pixels is flipped, and recall brings them back.

Each letter is a pattern of 32 x 32 = 1024 units. Top: the stored patterns. Middle: the probes, with flipped
units in orange. Bottom: the states in which asynchronous recall stops. The overlap above each column goes
from about 1/2 to 1. Letters are not random patterns: they overlap with one another by up to 0.25, because
all are ink on paper.
"""

import numpy as np

import fastrec
from fastrec.plot import glyphs, recall_figure, save_figure


def main(word="ATOM", side=32, flips=0.25, path="recall_letters.png"):
    pictures = glyphs(list(word), side)
    memories = pictures.reshape(len(word), -1)
    network = fastrec.HopfieldNetwork(side * side)
    network.store(memories)
    probes = fastrec.corrupt(memories, flips, seed=0)
    found = network.recall(probes, seed=0)

    figure = recall_figure(pictures, probes.reshape(pictures.shape), found.states.reshape(pictures.shape))
    save_figure(figure, path, dpi=120)
    after = np.diagonal(network.overlaps(found.states))
    print("overlaps after recall:", after)
    print(f"wrote {path}")
    return after


if __name__ == "__main__":
    main()
