"""Many to one: identify the process that generated a sequence of coin tosses.

Three coins show heads as often as tails. One has no memory (each toss is independent), one repeats its last
side with probability 0.7, one with probability 0.3; counting heads does not distinguish them, counting
changes does. A network reads sequences of 1 to 40 tosses and has the coin as its target after the last
toss: `label_targets` restricts the loss to that step, and `classify` reads the outputs there. No classifier
can be right more often than one that knows the three probabilities and names the most likely coin (Bayes);
the network comes close, from examples alone.
"""

from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

import fastrec

REPEAT = np.array([0.5, 0.7, 0.3])  # the chance of each coin to show the side it showed before
LONGEST = 40


def tosses(n, random, longest=LONGEST):
    """n sequences of different lengths, and the coins that made them."""
    coins, lengths = random.integers(0, len(REPEAT), n), random.integers(1, longest + 1, n)
    changes = random.random((n, longest)) >= REPEAT[coins, None]
    changes[:, 0] = random.integers(0, 2, n)
    return fastrec.unpad(np.cumsum(changes, axis=1) % 2, lengths), coins


def likeliest(sequences):
    """The coin that makes each sequence with the greatest chance."""
    changes = np.array([np.count_nonzero(np.diff(sequence)) for sequence in sequences])
    repeats = np.array([len(sequence) - 1 for sequence in sequences]) - changes
    logs = repeats[:, None] * np.log(REPEAT) + changes[:, None] * np.log(1 - REPEAT)
    return logs.argmax(axis=1)


def main(trained=8000, tested=20_000, epochs=8, path="classify.png"):
    random = np.random.default_rng(0)
    sequences, coins = tosses(trained, random)
    x, lengths = fastrec.pad_sequences(sequences)
    targets, mask = fastrec.label_targets(coins, lengths)

    rnn = fastrec.RNN(2, 16, len(REPEAT), "gru", seed=1)
    optimizer = fastrec.Adam(0.01, clip=1.0)
    history = fastrec.fit(
        rnn,
        x,
        targets,
        lengths=lengths,
        mask=mask,
        optimizer=optimizer,
        epochs=epochs,
        progress=False,
        seed=0,
    )

    unseen, truth = tosses(tested, random)
    x, lengths = fastrec.pad_sequences(unseen)
    found = {"network": fastrec.classify(rnn, x, lengths)[0], "likeliest coin (Bayes)": likeliest(unseen)}
    edges = np.arange(1, LONGEST + 2, 5)
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    rights = {}
    for (name, labels), style in zip(found.items(), ("o-", "s--"), strict=True):
        right = labels == truth
        rights[name] = right.mean()
        curve = [right[(lengths >= a) & (lengths < b)].mean() for a, b in pairwise(edges)]
        ax.plot(edges[:-1] + 2, curve, style, label=name)
        print(f"{name:24} right {right.mean():.1%} of {tested} unseen sequences")
    ax.axhline(1 / len(REPEAT), color="0.6", linestyle=":", label="guessing")
    ax.set(xlabel="tosses seen", ylabel="fraction right", ylim=(0.25, 1))
    ax.legend(frameon=False)
    figure.savefig(path, dpi=150)
    print(
        f"loss {history.train[0]:.3f} nats a sequence in the first epoch, {history.train[-1]:.3f} in the last"
    )
    print(f"wrote {path}")
    return rights


if __name__ == "__main__":
    main()
