"""Recall goes downhill: each flip of a unit lowers the energy, until none can.

A network of 500 units with 25 memories is started 10, 20, 30 and 50 % away from a memory (the last start is
random), and its units are updated one at a time. Below, the energy after each update; circles are the
energies that `recall(..., record_energy=True)` gives after each sweep of all units. Above, the overlap with
the memory. Three starts end in the memory, at an energy near the -n/2 of a memory without crosstalk. The
random start goes downhill as well, to a state that is not a memory.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec
from fastrec.plot import save_figure

STYLES = (
    ("#0072B2", "-"),
    ("#009E73", "--"),
    ("#E69F00", "-."),
    ("#D55E00", ":"),
)  # colours of Okabe and Ito


def descend(network, probe, memory, orders):
    """Overlap with the memory and energy after each update of one unit."""
    couplings, state, n = network.couplings().astype(int), probe.astype(int), network.n
    fields = couplings @ state
    overlap, form = int(memory @ state), int(state @ fields)
    overlaps, forms = [overlap], [form]
    for order in orders:
        for i in order:
            if fields[i] * state[i] < 0:
                form -= 4 * fields[i] * state[i]
                overlap -= 2 * memory[i] * state[i]
                state[i] = -state[i]
                fields += 2 * state[i] * couplings[i]
            overlaps.append(overlap)
            forms.append(form)
    return np.array(overlaps) / n, np.array(forms) / (-2 * n)


def main(n=500, p=25, shares=(0.1, 0.2, 0.3, 0.5), sweeps=5, path="energy.svg"):
    memories = fastrec.random_patterns(p, n, seed=1)
    network = fastrec.HopfieldNetwork(n)
    network.store(memories)
    random = np.random.default_rng(1)
    orders = np.array([random.permutation(n) for _ in range(sweeps)])

    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    ends = {}
    for (colour, dashes), share in zip(STYLES, shares, strict=False):
        probe = fastrec.corrupt(memories[0], share, seed=2)
        overlaps, energies = descend(network, probe, memories[0].astype(int), orders)
        found = network.recall(probe, order=orders, record_energy=True)
        places = np.arange(n * sweeps + 1) / n
        top.plot(places, overlaps, dashes, color=colour, label=f"{share:.0%} of the units flipped")
        bottom.plot(places, energies / n, dashes, color=colour)
        bottom.plot(found.energies / n, "o", color=colour, markersize=4)
        ends[share] = overlaps[-1], energies[n * np.arange(len(found.energies))], found.energies
    bottom.axhline(-0.5, color="0.4", linestyle="--", zorder=1, label="a memory without crosstalk, -1/2")
    top.set_ylabel("overlap with the memory")
    bottom.set(xlabel="sweeps (updates of single units / n)", ylabel="energy per unit, E / n")
    top.legend(frameon=False, fontsize=9, loc="center right")
    bottom.legend(frameon=False, fontsize=9)
    save_figure(figure, path)
    print("overlaps at the end:", {share: round(float(end[0]), 3) for share, end in ends.items()})
    print(f"wrote {path}")
    return ends


if __name__ == "__main__":
    main()
