"""Effect of temperature, top-k and top-p on the probabilities of the next symbol.

Ten symbols with given probabilities (grey: at temperature 1). Left: a low temperature favours the most
likely symbols, a high temperature makes probabilities more equal. Right: top_k = 3 keeps the three most
likely symbols, top_p = 0.8 the smallest set with a total above 0.8; the remaining probabilities are
rescaled to sum to 1. Bars are computed; points are frequencies of tokens drawn by `RNN.generate`.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec
import fastrec.plot

CHANCES = np.array([0.34, 0.22, 0.14, 0.09, 0.07, 0.05, 0.04, 0.03, 0.015, 0.005])


def drawn(rnn, count, **options):
    """The shares of the tokens in so many draws."""
    tokens, _ = rnn.generate(np.zeros((count, 1), int), 1, seed=0, **options)
    return np.bincount(tokens[:, 0], minlength=len(CHANCES)) / count


def expected(temperature=1.0, top_k=None, top_p=1.0):
    """The chances that they should have; they fall from the first to the last."""
    chances = CHANCES ** (1 / temperature)
    chances[len(chances) if top_k is None else top_k :] = 0
    chances /= chances.sum()
    before = chances.cumsum() - chances
    chances[before > top_p] = 0
    return chances / chances.sum()


def main(count=20_000, path="temperature.svg"):
    rnn = fastrec.RNN(len(CHANCES), 1, len(CHANCES), seed=0)
    rnn.parameters["W_out"][...] = 0
    rnn.parameters["b_out"][...] = np.log(CHANCES)  # so that the outputs are these, whatever is read

    panels = {
        "temperature": [("0.5", {"temperature": 0.5}), ("2", {"temperature": 2.0})],
        "what is kept": [("top_k = 3", {"top_k": 3}), ("top_p = 0.8", {"top_p": 0.8})],
    }
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    symbols, most = np.arange(len(CHANCES)), 0.0
    for ax, (title, settings) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
        ax.bar(symbols, CHANCES, 0.85, color="0.85", label="temperature 1")
        for (name, options), colour, shift in zip(settings, ("#0072B2", "#E69F00"), (-0.2, 0.2), strict=True):
            wanted, found = expected(**options), drawn(rnn, count, **options)
            most = max(most, np.abs(found - wanted).max())
            label = f"temperature {name}" if title == "temperature" else name
            ax.bar(symbols + shift, wanted, 0.36, color=colour, label=label)
            ax.plot(symbols + shift, found, "o", color="black", markersize=3)
        ax.plot([], [], "o", color="black", markersize=3, label=f"share of {count:,} drawn")
        ax.set(xlabel="symbol, the likeliest first", xticks=symbols, title=title)
        ax.set_xticklabels(list("abcdefghij"))
        ax.legend(frameon=False, fontsize=9)
        ax.label_outer()
    figure.axes[0].set_ylabel("chance to be drawn")
    fastrec.plot.save_figure(figure, path)
    print(f"shares of {count} draws differ by at most {most:.4f} from the chances")
    print(f"wrote {path}")
    return most, expected(top_p=0.8)


if __name__ == "__main__":
    main()
