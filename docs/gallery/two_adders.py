"""Twice as much at once squares the states of an automaton, but only doubles the units of a network.

One, two and three pairs of binary numbers are added at the same time. The automaton of two adders must tell
apart all combinations of what the two remember, 16 states where one adder has 4, and that of three has 64.
The units of a network grow in proportion: each adder has some of its own, and all of them are there at once.
On the left is the share of 24 Elman networks of each size that add 256 unseen pairs without an error; on the
right are the states of the automata, which `fastrec.automaton` finds in the networks, and the fewest units
with which one of them has learnt it.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec
import fastrec.plot

COLOURS = ("#0072B2", "#D55E00", "#009E73")


def task(adders, pairs, columns, seed):
    """Inputs (pairs, t, 2 adders) and digits (pairs, t, adders) of additions side by side."""
    parts = [fastrec.addition_task(pairs, columns, delay=0, seed=seed + 100 * j) for j in range(adders)]
    return np.concatenate([x for x, _, _ in parts], axis=2), np.stack([y for _, y, _ in parts], axis=2)


def as_number(outputs):
    """The digits that outputs (n, adders) stand for, as one binary number."""
    return (outputs > 0) @ (2 ** np.arange(outputs.shape[1]))


def main(most=3, sizes=range(1, 13), models=24, epochs=30, pairs=2048, path="two_adders.svg"):
    shares, found = {}, {}
    for adders in range(1, most + 1):
        x, digits = task(adders, pairs, 8, seed=1)
        unseen, right = task(adders, 256, 8, seed=2)
        shares[adders] = {}
        for size in (h for h in sizes if adders <= h <= 4 * adders):
            rnn = fastrec.RNN(2 * adders, size, adders, models=models, initial="uniform", seed=0)
            optimizer = fastrec.Adam(0.03, clip=1.0)
            options = {"optimizer": optimizer, "epochs": epochs, "seed": 0, "progress": False}
            fastrec.fit(rnn, x, digits.astype(np.float32), loss="bce", **options)
            adds = (((rnn.predict(unseen)[0] > 0) == right).all(axis=(2, 3))).all(axis=1)
            shares[adders][size] = adds.mean()
            for model in np.flatnonzero(adds) if adders not in found else ():
                try:
                    automaton = fastrec.automaton(rnn.copy(model=int(model)), unseen, decide=as_number)
                except RuntimeError:  # it adds these pairs, but has not learnt the rule for good
                    continue
                if automaton.states == 4**adders:
                    found[adders] = size, automaton
                    break
        if adders not in found:
            raise RuntimeError(f"no network has learnt {adders} adders; give more networks, units or epochs")
        size, automaton = found[adders]
        states = f"{automaton.states} states ({automaton.mealy().states} of carries)"
        print(f"{adders} at once: {states}, {size} units")

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for colour, style, (adders, by_size) in zip(COLOURS, ("o-", "s--", "^-."), shares.items(), strict=False):
        label = f"{adders} adder" + "s at once" * (adders > 1)
        left.plot(list(by_size), list(by_size.values()), style, color=colour, label=label)
    left.set(xlabel="hidden units", ylabel="networks that add without an error", ylim=(-0.04, 1.04))
    left.legend(frameon=False, fontsize=8, ncols=most, loc="lower center", bbox_to_anchor=(0.5, 1))
    at_once = list(found)
    right.plot(
        at_once, [a.states for _, a in found.values()], "o-", color="0.4", label="states of the automaton"
    )
    right.plot(
        at_once, [size for size, _ in found.values()], "s--", color=COLOURS[0], label="fewest hidden units"
    )
    for adders, (size, automaton) in found.items():
        right.annotate(
            automaton.states, (adders, automaton.states), (0, 7), textcoords="offset points", ha="center"
        )
        right.annotate(
            size, (adders, size), (0, -14), textcoords="offset points", ha="center", color=COLOURS[0]
        )
    right.set(xlabel="adders at once", yscale="log", ylim=(1.5, 150), xlim=(0.75, most + 0.25))
    right.set_xticks(at_once)
    right.legend(frameon=False, loc="upper left")
    fastrec.plot.save_figure(figure, path)
    print(f"wrote {path}")
    return shares, found


if __name__ == "__main__":
    main()
