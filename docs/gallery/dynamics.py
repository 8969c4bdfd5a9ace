"""Settling, oscillation, chaos: it depends on the symmetry of the couplings.

Couplings are W = S cos(a) + A sin(a), of a random symmetric S and an antisymmetric A, and all units are
updated at once. Top left: a single unit is flipped after 100 steps; the share of the units that differ from
the course without the flip. It stays near 1 % where couplings are symmetric or antisymmetric, and grows to
a half, that of unrelated states, between: chaos. Crosses are the law of large networks of independent
couplings, d' = arccos(1 - 2 d) / pi. Top right: the rate of that growth from the first to the third step,
ln(d(3) / d(1)) / 2. Bottom left: the periods that Brent's search finds in small networks, points spread
sideways: 1 or 2 where couplings are symmetric, 4 where they are antisymmetric, long between. Bottom right:
random starts of a network with memories, updated unit by unit, end in memories, their inverses, mixtures of
three memories or elsewhere, each to within 1 % of the units: the last two are spurious.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec
from fastrec.plot import save_figure

STYLES = {0: ("#0072B2", "-"), 30: ("#009E73", "--"), 45: ("#D55E00", "-."), 90: ("black", ":")}  # degrees
KINDS = {"memory": "#0072B2", "inverse": "#56B4E9", "mixture": "#E69F00", "other": "0.8"}
HATCHES = {"memory": "", "inverse": "//", "mixture": "..", "other": ""}


def networks(n, k, degrees, seed):
    """k networks whose couplings are between symmetric (0 degrees) and antisymmetric (90)."""
    draws = np.random.default_rng(seed).standard_normal((k, n, n))
    symmetric, antisymmetric = draws + draws.swapaxes(1, 2), draws - draws.swapaxes(1, 2)
    angle = np.deg2rad(degrees)
    couplings = np.cos(angle) * symmetric + np.sin(angle) * antisymmetric
    couplings[:, range(n), range(n)] = 0
    return fastrec.HopfieldNetwork.from_couplings(np.rint(1000 * couplings))


def steps(network, states, number):
    """The states after so many synchronous steps, one at a time, as recall stops where it sees a cycle."""
    for _ in range(number):
        states = network.recall(states, "sync", max_sweeps=1).states
    return states


def distances(network, n, k, starts, number, settle=100):
    """Mean share of the units that differ (number + 1,), after one was flipped."""
    states = fastrec.random_patterns(k * starts, n, seed=1).reshape(k, starts, n)
    states = steps(network, states, settle)
    other, rows = states.copy(), np.arange(starts)
    other[:, rows, rows % n] *= -1
    found = [(states != other).mean()]
    for _ in range(number):
        states, other = steps(network, states, 1), steps(network, other, 1)
        found.append((states != other).mean())
    return np.array(found)


def ends(n, p, k, starts):
    """Shares of random starts that end in each of the `KINDS`."""
    network = fastrec.HopfieldNetwork(n)
    network.store(fastrec.random_patterns(k * p, n, seed=p).reshape(k, p, n))
    probes = fastrec.random_patterns(k * starts, n, seed=0).reshape(k, starts, n)
    kinds = network.identify(network.recall(probes, seed=1).states, tolerance=0.01).kind
    return [(kinds == kind).mean() for kind in KINDS]


def main(
    n=1000, k=4, starts=25, number=30, small=24, counts=(1, 2, 3, 4, 6, 9, 13, 20, 30), path="dynamics.svg"
):
    figure = Figure(figsize=(9.6, 7.6), layout="constrained")
    (spread, growth), (cycles, settling) = figure.subplots(2, 2)

    courses = {
        degrees: distances(networks(n, k, degrees, 1), n, k, starts, number) for degrees in range(0, 91, 15)
    }
    for degrees, (colour, dashes) in STYLES.items():
        spread.plot(courses[degrees], dashes, color=colour, label=f"a = {degrees}°")
    law = [1 / n]
    for _ in range(number):
        law.append(np.arccos(1 - 2 * law[-1]) / np.pi)
    spread.plot(law, "+", color="0.4", label="law of a = 45°, n → ∞")
    spread.set(
        title="chaos: one unit flipped",
        xlabel="steps after the flip",
        ylabel="share of units that differ",
        yscale="log",
    )
    spread.legend(frameon=False, fontsize=8)

    angles = np.array(list(courses))
    rates = np.array([np.log(course[3] / course[1]) / 2 for course in courses.values()])
    growth.plot(angles, rates, "o-", color="#0072B2")
    growth.set(
        title="chaos: how fast",
        xlabel="angle a (degrees): symmetric to antisymmetric",
        ylabel="rate of growth of the distance (per step)",
        ylim=(0, None),
        xticks=angles,
    )

    periods = {}
    for degrees in range(0, 91, 15):
        network = networks(small, 40, degrees, 2)
        found = network.recall(
            fastrec.random_patterns(40, small, seed=3)[:, None], "sync", max_sweeps=100_000
        )
        periods[degrees] = found.period.ravel()
        aside = degrees + np.linspace(-4, 4, 40)
        cycles.plot(aside, periods[degrees], "o", color="#0072B2", markersize=3, alpha=0.6)
        cycles.plot(
            degrees, np.median(periods[degrees]), "_", color="black", markersize=18, markeredgewidth=2
        )
    cycles.plot([], [], "_", color="black", markersize=12, markeredgewidth=2, label="median")
    cycles.set(
        title="oscillation: periods",
        xlabel="angle a (degrees): symmetric to antisymmetric",
        ylabel=f"period of n = {small} units (steps)",
        yscale="log",
        xticks=angles,
    )
    cycles.legend(frameon=False, fontsize=8)

    shares = np.array([ends(n, p, k, 4 * starts) for p in counts])
    below = np.zeros(len(counts))
    for (kind, colour), share in zip(KINDS.items(), shares.T, strict=True):
        settling.bar(
            range(len(counts)),
            share,
            0.85,
            below,
            color=colour,
            hatch=HATCHES[kind],
            edgecolor="white",
            label=kind,
        )
        below += share
    settling.set(
        title="settling: where to",
        xlabel=f"memories of n = {n} units",
        ylabel="share of random starts that end there",
        ylim=(0, 1.16),
    )
    settling.set_xticks(range(len(counts)), counts)
    settling.legend(frameon=False, fontsize=8, ncols=4, loc="upper center")
    save_figure(figure, path)
    print("rates of growth:", dict(zip(angles.tolist(), rates.round(2).tolist(), strict=True)))
    print("median periods:", {degrees: float(np.median(found)) for degrees, found in periods.items()})
    print(f"wrote {path}")
    return courses, periods, dict(zip(counts, shares, strict=True))


if __name__ == "__main__":
    main()
