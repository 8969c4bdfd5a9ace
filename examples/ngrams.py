"""The value of memory: n-grams of 1 to 6 characters and a small recurrent network.

An n-gram model sees the last n - 1 characters, a network everything that its state can store. The text
generated here has sentences whose last word depends on a much earlier one, and a name that reappears at the
end: no n-gram of a few characters reaches that far. Its entropy is known, because the sentences are drawn
with known probabilities; no model can predict it better. Give a file to see the same for a text of your
own:

    python examples/ngrams.py FILE
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import fastrec

NAMES = ["anna", "bert", "clara", "david", "emma", "felix", "greta", "henry"]
NOUNS = ["dog", "cat", "horse", "girl", "teacher", "king"]
VERBS = ["chase", "see", "know", "hear"]
ENDS = ["sleep", "laugh", "sing", "walk"]


def grammar(sentences, random):
    """A text, and its entropy in nats a character: the choices made, over the characters that they gave."""
    lines, nats = [], 0.0

    def pick(words):
        nonlocal nats
        nats += np.log(len(words))
        return words[random.integers(len(words))]

    for _ in range(sentences):
        name, plural = pick(NAMES), pick([False, True])
        subject = f"the {pick(NOUNS)}{'s' * plural}"
        while pick([False, True]):
            subject += f" that the {pick(NOUNS)} {pick(VERBS)}s"
        verb = pick(ENDS) + "s" * (not plural)
        lines.append(f"{name} says that {subject} {verb} and {name} {pick(ENDS)}s.\n")
    text = "".join(lines)
    return text, nats / len(text)


def rows(tokens, n):
    """A text in n rows of equal length, each with the character that follows every one of its own."""
    length = (len(tokens) - 1) // n
    return tokens[: n * length].reshape(n, length), tokens[1 : n * length + 1].reshape(n, length)


def main(file=None, sentences=4000, hidden_size=64, epochs=None, path="ngrams.png"):
    entropy = None
    if file is None:
        text, entropy = grammar(sentences, np.random.default_rng(0))
    else:
        text = Path(file).read_text(encoding="utf-8-sig")
    vocabulary = fastrec.Vocabulary.of(text)
    tokens = vocabulary.encode(text)
    train, held = np.split(tokens, [len(tokens) * 9 // 10])
    if epochs is None:
        epochs = max(2, 8_000_000 // len(tokens))  # about as long for a long text as for a short one

    table = fastrec.ngram_table(train, held, len(vocabulary))
    # Rows that are read from left to right, 32 characters an update; the state goes on to the next 32.
    rnn = fastrec.RNN(len(vocabulary), hidden_size, len(vocabulary), "gru", seed=1)
    optimizer = fastrec.Adam(0.01, clip=1.0)

    def slower(epoch, history):
        optimizer.learning_rate = 0.01 * max(0.05, 1 - (epoch + 1) / epochs)

    history = fastrec.fit(
        rnn,
        *rows(train, 32),
        rows(held, 1),
        optimizer=optimizer,
        epochs=epochs,
        batch_size=32,
        k1=32,
        seed=0,
        progress=False,
        callback=slower,
    )
    loss = history.validation[-1]

    print(f"{len(train)} characters to learn from, {len(held)} held out, {len(vocabulary)} different ones")
    print("nats a character, held out")
    for order, value in table.items():
        print(f"  {order}-grams {value:14.3f}")
    print(f"  network of {hidden_size} units {loss:.3f}")
    if entropy is not None:
        print(f"  entropy {entropy:14.3f}")

    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    ax = figure.subplots()
    ax.plot(list(table), list(table.values()), "o-", label="n-grams (Kneser-Ney)")
    ax.axhline(loss, color="C1", linestyle="--", label=f"network of {hidden_size} units")
    if entropy is not None:
        ax.axhline(entropy, color="0.6", linestyle=":", label="entropy of the text")
    ax.set(xlabel="n", ylabel="cross entropy (nats per character)", yscale="log")
    ax.legend(frameon=False)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return table, loss, entropy


if __name__ == "__main__":
    main(*sys.argv[1:2])
