"""Gated networks learn to add binary numbers sooner.

Networks read two binary numbers column by column, the least significant first, and output each digit of the
sum two steps later, so they must remember a carry and two digits. Twelve networks of six hidden units are
trained at once for each cell; thin lines are networks, thick lines medians. When a network finds the rule
for the carry, its loss falls by orders of magnitude from ln 2, the loss of guessing. Elman networks take
longest, and some have not found the rule at the end.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec
import fastrec.plot
from fastrec.plot.figures import log_scale


def main(models=12, pairs=1024, columns=8, hidden_size=6, epochs=30, path="addition.svg"):
    x, targets, mask = fastrec.addition_task(pairs, columns, seed=1)
    unseen, digits, judged = fastrec.addition_task(256, columns, seed=2)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    solved = {}
    for ax, cell in zip(axes, ("elman", "gru", "lstm"), strict=True):
        rnn = fastrec.RNN(2, hidden_size, 2, cell, models=models, seed=1)
        optimizer = fastrec.Adam(0.02, clip=1.0)
        options = {"mask": mask, "optimizer": optimizer, "epochs": epochs, "progress": False}
        history = fastrec.fit(rnn, x, targets, seed=0, **options)
        outputs, _ = rnn.predict(unseen)
        wrong = ((outputs.argmax(axis=-1) != digits) & judged).sum(axis=(1, 2))
        solved[cell] = np.count_nonzero(wrong == 0) / models
        fastrec.plot.draw_learning_curve(ax, history)
        log_scale(ax, "y")
        ax.set_title(f"{cell}: {np.count_nonzero(wrong == 0)} of {models} add unseen numbers", fontsize=10)
        ax.axhline(np.log(2), color="0.6", linestyle=":", label="ln 2, guessing")
        ax.legend(frameon=False, fontsize=8, loc="lower left")
        ax.label_outer()
        print(f"{cell:6} {solved[cell]:.0%} of {models} networks add unseen numbers without an error")
    fastrec.plot.save_figure(figure, path)
    print(f"wrote {path}")
    return solved


if __name__ == "__main__":
    main()
