"""Say "hello": the smallest task that needs a state.

Given h, e, l, l, a network predicts the next letter of each: e, l, l, o. After an l comes an l or an o, so
the letter alone does not determine the next one; the letters before it do. A recurrent network of three
hidden units learns it. The same network, given each letter as a separate sequence, has no state to carry
from one letter to the next: it learns that an l is followed by either with probability 1/2, and no training
can improve on that.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec


def train(x, targets, symbols, epochs):
    """A network of three hidden units that has learnt, by its loss and its chances of the next letter."""
    rnn = fastrec.RNN(symbols, 3, symbols, seed=1)
    history = fastrec.fit(
        rnn, x, targets, optimizer=fastrec.Adam(0.05), epochs=epochs, progress=False, seed=0
    )
    outputs, _ = rnn.predict(x)
    chances = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True)  # softmax
    return history, chances.reshape(-1, symbols)


def draw(ax, chances, letters, symbols):
    ax.imshow(chances, cmap="gray_r", aspect="auto", vmin=0, vmax=1)
    ax.set_xticks(range(len(symbols)), symbols)
    ax.set_yticks(range(len(letters)), letters)
    for (row, column), chance in np.ndenumerate(chances):
        ax.text(
            column, row, f"{chance:.2f}", ha="center", va="center", color="white" if chance > 0.6 else "black"
        )
    ax.set_xlabel("next letter")
    ax.set_ylabel("letter shown")


def main(epochs=300, path="hello.png"):
    word = "hello"
    vocabulary = fastrec.Vocabulary.of(word)
    tokens = vocabulary.encode(word)
    x, targets = tokens[None, :-1], tokens[None, 1:]  # one sequence of four steps
    runs = {
        "with state": train(x, targets, len(vocabulary), epochs),
        "without state": train(x.T, targets.T, len(vocabulary), epochs),  # four sequences of one step
    }

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, *right = figure.subplots(1, 3)
    for (name, (history, chances)), ax in zip(runs.items(), right, strict=True):
        left.plot(history.train, "--" if name == "without state" else "-", label=name)
        draw(ax, chances, word[:-1], vocabulary.symbols)
        ax.set_title(name)
        said = vocabulary.decode(chances.argmax(axis=1))
        print(f"{name:14} h, e, l, l -> {', '.join(said)}   loss {history.train[-1]:.3f} nats a letter")
    best = np.log(2) / 2  # half of the letters shown are l, which leaves two choices
    left.axhline(best, color="0.6", linestyle=":", label="ln 2 / 2, the best without state")
    left.set(xlabel="epoch", ylabel="cross entropy (nats per letter)", yscale="log")
    left.legend(frameon=False, fontsize=8, loc="upper right")
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return {name: (history.train[-1], chances) for name, (history, chances) in runs.items()}


if __name__ == "__main__":
    main()
