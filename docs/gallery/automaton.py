"""What a network that adds has learnt: a finite automaton of four states.

An Elman network of three hidden units adds binary numbers column by column. Its hidden states (right, in
their two principal components, for 4000 columns) lie in a few small clouds. Those from which the network
prints the same digits, whatever columns follow, are one state of an automaton, and have one colour;
`fastrec.automaton` finds it (left). Circles show the digit that is printed, arrows the two digits of the next
column. States 0 and 1 know that there is no carry, states 2 and 3 that there is one; a state can be several
clouds, one for each way into it.
"""

import numpy as np

import fastrec
import fastrec.plot
from fastrec.plot.figures import new_figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
MARKERS = "os^x"


def main(models=8, epochs=40, pairs=40, path="automaton.svg"):
    task = {"delay": 0, "test_pairs": 100, "seed": 0, "progress": False}
    result = fastrec.addition(models, "elman", epochs=epochs, **task)
    automaton = result.automaton()
    x, _, _ = fastrec.addition_task(pairs, columns=99, delay=0, seed=5)
    hidden = result.best.forward(x).hidden.reshape(-1, 3)
    _, states = automaton.run(x)
    states = states[:, 1:].ravel()
    same = automaton.is_equivalent(fastrec.addition_automaton())
    print(f"{automaton}, {'that' if same else 'not that'} of binary addition")
    print(automaton.table().text())
    centres = np.array([hidden[states == state].mean(axis=0) for state in range(automaton.states)])
    nearest = np.linalg.norm(hidden[:, None] - centres, axis=2).argmin(axis=1)
    print(f"{np.mean(nearest == states):.1%} of the hidden states are nearest to the mean of their own state")

    figure = new_figure(9, 4.2)
    left, right = figure.subplots(1, 2)
    automaton.plot(ax=left)
    middle = hidden - hidden.mean(axis=0)
    at = middle @ np.linalg.svd(middle, full_matrices=False)[2][:2].T
    for state in range(automaton.states):
        of_state = states == state
        label = f"state {state}, prints {automaton.outputs[state]}"
        style = {"color": COLOURS[state % 4], "marker": MARKERS[state % 4], "markersize": 4}
        right.plot(*at[of_state].T, linestyle="none", label=label, **style)
    low, high = at[:, 1].min(), at[:, 1].max()
    right.set(xlabel="first principal component", ylabel="second", ylim=(low - 0.15, high + 0.6))
    right.legend(frameon=False, fontsize=8, ncols=2, loc="upper center")
    fastrec.plot.save_figure(figure, path)
    print(f"wrote {path}")
    return same, np.mean(nearest == states)


if __name__ == "__main__":
    main()
