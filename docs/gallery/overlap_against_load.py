"""With a few wrong bits allowed, recall ends abruptly near a load of 0.138.

Recall starts at a memory and ends at overlap m with it. Above, m against the load p / n for networks of
500, 1000 and 2000 units; bars are 95 % intervals over the networks. Below, the difference 1 - m on a
logarithmic scale. Grey is the theory of Amit, Gutfreund and Sompolinsky (1985) for n to infinity, which
ends at 0.1379 with an overlap of 0.967. The larger the network, the sharper the fall.
"""

import fastrec
from fastrec.plot import retrieval_figure, save_figure


def main(
    sizes=(500, 1000, 2000),
    loads=tuple(0.01 * k for k in range(8, 21)),
    trials=8,
    probes=20,
    path="overlap_against_load.svg",
):
    found = fastrec.retrieval_scaling(sizes, loads, trials, probes, tolerance=0.05, seed=1)
    save_figure(retrieval_figure(found), path)
    print(found.table())
    print(f"wrote {path}")
    return found


if __name__ == "__main__":
    main()
