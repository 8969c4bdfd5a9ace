"""Cut a graph in two with as many edges as possible between the parts: a network as an optimizer.

Units that are joined by an edge repel each other: the couplings are minus the adjacency matrix, W = -A. The
energy is then E = -(1/2n) s'W s = (m - 2 cut) / n for m edges, of which `cut` join a +1 with a -1, so that
going downhill makes the cut larger. Recall stops at a local optimum, where moving any single unit to the
other part gains nothing. Of many random starts the best is kept. For 16 nodes it is compared with all
32 768 cuts, for 200 with a greedy algorithm and with an upper bound: no cut has more than m/2 - n/4 times
the smallest eigenvalue of A. On optimization by networks see Hopfield and Tank, Biological Cybernetics 52,
141 (1985).
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec


def random_graph(n, share, seed):
    """The adjacency matrix (n, n) of a random graph that has each edge with probability `share`."""
    upper = np.triu(np.random.default_rng(seed).random((n, n)) < share, 1)
    return (upper | upper.T).astype(np.int64)


def cuts(adjacency, states):
    """The edges that each of the states (b, n) cuts."""
    states = states.astype(np.int64)
    return (adjacency.sum() - ((states @ adjacency) * states).sum(axis=1)) // 4


def best_of_all(adjacency):
    """The largest cut, of all 2^(n - 1)."""
    n = len(adjacency)
    states = 1 - 2 * (np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1)
    return cuts(adjacency, states).max()


def greedy(adjacency):
    """The cut if each node in turn joins the part in which it has fewer neighbours."""
    state = np.zeros(len(adjacency), dtype=np.int64)
    for i, row in enumerate(adjacency):
        state[i] = 1 if row @ state <= 0 else -1
    return int(cuts(adjacency, state[None])[0])


def found_by_network(adjacency, starts):
    """The cuts in which recall from random starts ends."""
    n, edges = len(adjacency), adjacency.sum() // 2
    network = fastrec.HopfieldNetwork.from_couplings(-adjacency)
    states = network.recall(fastrec.random_patterns(starts, n, seed=1), seed=2).states
    assert network.is_stable(states).all()  # local optima
    found = cuts(adjacency, states)
    assert np.allclose(network.energy(states), (edges - 2 * found) / n)
    return found


def main(small=16, large=200, starts=10_000, path="max_cut.png"):
    graph = random_graph(small, 0.5, seed=0)
    found, best = found_by_network(graph, 200), best_of_all(graph)
    print(f"{small} nodes, {graph.sum() // 2} edges: best of 200 starts {found.max()}, of all cuts {best}")
    print(f"    {np.mean(found == best):.0%} of the starts end in a largest cut")
    graph = random_graph(large, 0.1, seed=0)
    edges, found = graph.sum() // 2, found_by_network(graph, starts)
    bound = int(edges / 2 - large / 4 * np.linalg.eigvalsh(graph)[0])
    best_of = np.maximum.accumulate(found)
    print(
        f"{large} nodes, {edges} edges: best of {starts} starts {found.max()}, median {np.median(found):.0f}"
    )
    print(f"    half of the edges {edges // 2}, greedy {greedy(graph)}, no cut has more than {bound}")

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    bins = np.arange(found.min(), found.max() + 2) - 0.5
    left.hist(found, bins, color="#0072B2")
    left.axvline(greedy(graph), color="#D55E00", linestyle="--", label="greedy")
    left.set(xlabel="edges cut", ylabel=f"of {starts} starts")
    right.plot(np.arange(1, starts + 1), best_of, color="#0072B2", label="network, best so far")
    for value, dashes, colour, name in (
        (bound, "-.", "0.4", "upper bound"),
        (greedy(graph), "--", "#D55E00", "greedy"),
        (edges / 2, ":", "0.4", "half of the edges, the mean of random cuts"),
    ):
        right.axhline(value, linestyle=dashes, color=colour, label=name)
    right.set(xlabel="starts", ylabel="edges cut", xscale="log")
    left.legend(frameon=False, fontsize=8)
    right.legend(frameon=False, fontsize=8, loc=(0.18, 0.15))
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return best, found, bound


if __name__ == "__main__":
    main()
