"""Handwriting: networks read the movements of a pen and say the letters, though nobody says where one ends.

The handwriting is synthetic: words in the stroke fonts of A. V. Hershey, with the variation of a hand. LSTMs
learn by CTC from random letters in some fonts, and are tested on words of "Romeo and Juliet" in a font that
they have never seen. One reads a word in both directions. The other is causal: at each step it knows what has
been written so far, and it never revises what it has said. The picture shows both at work on a word, in the
four rows of a demonstration by Alex Graves. The example needs Hershey-Fonts: pip install Hershey-Fonts.
"""

import re

import numpy as np
from matplotlib.figure import Figure

import fastrec

LETTERS = "abcdefghijklmnopqrstuvwxyz"  # class 1 is "a"; class 0 is the blank, which says nothing
FONTS = ["print", "print bold", "script", "script bold", "roman", "roman bold", "italic bold"]
HELD_OUT = "italic"
INTERVAL, SCALE = 0.05, 0.4  # seconds of a step, and about how far the pen gets in it
REST = np.zeros((2, 3), np.float32)  # steps after a word, in which the last letter may still be recognised


def handwriting(words, fonts, seed, variation=1.0):
    """What a pen does that writes words, each in one of the fonts: its steps, and the ink of each word."""
    ink = [
        fastrec.synthetic_handwriting([word], fonts[j % len(fonts)], variation=variation, seed=seed + j)[0]
        for j, word in enumerate(words)
    ]
    steps = [np.vstack([fastrec.pen_steps(one, INTERVAL, scale=SCALE), REST]) for one in ink]
    x, lengths = fastrec.pad_sequences(steps)
    return x, lengths, ink


def learn(rnn, words, epochs, timed=False, **options):
    """Train a network to read words or, if timed, to name single letters at their end; return the seconds."""
    x, lengths, _ = handwriting(words, FONTS, seed=0, variation=1.2)
    labels, _ = fastrec.pad_sequences([[1 + LETTERS.index(c) for c in word] for word in words], value=-1)
    if timed:
        labels = np.where(np.arange(x.shape[1]) >= lengths[:, None] - len(REST), labels, 0)
    decay = fastrec.CosineDecay(epochs * -(-len(words) // options["batch_size"]))
    options |= {"loss": "cross_entropy" if timed else "ctc", "lengths": lengths, "epochs": epochs, "seed": 2}
    options |= {"optimizer": fastrec.Adam(5e-3, clip=1.0), "schedule": decay, "progress": False}
    return sum(fastrec.fit(rnn, x, labels, **options).seconds)


def read(rnn, x, lengths):
    """The words that a network reads: its likeliest classes, each once where it is repeated."""
    classes, ends, _ = fastrec.ctc_decode(rnn.predict(x, lengths=lengths)[0], lengths)
    return ["".join(LETTERS[c - 1] for c in row[:end]) for row, end in zip(classes, ends, strict=True)]


def distance(a, b):
    """How many letters must be changed, added or left out to make one word of another (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (letter != other))
    return row[-1]


def draw(axes, rnn, steps, strokes, cells=24):
    """Draw four rows: letters when they are recognised, cells, the pen, and what a letter depends on."""
    trace = rnn.forward(steps[None])
    outputs = trace.outputs[0].astype(float)
    chances = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    said = chances.argmax(axis=1)
    begins = np.flatnonzero((said > 0) & (said != np.append(0, said[:-1])))
    t = INTERVAL * np.arange(1, len(steps) + 1)

    for begin in begins:
        letter = said[begin]
        end = begin + np.argmin(np.append(said[begin:], 0) == letter)
        axes[0].plot(t, chances[:, letter], color="0.8", linewidth=0.8, zorder=0)
        axes[0].plot(t[begin:end], chances[begin:end, letter], ".-", color="#0072B2")
        axes[0].text(t[begin], 1.08, LETTERS[letter - 1], fontsize=13, ha="center")
    axes[0].set(ylabel="probability", ylim=(0, 1.35))

    top = -(len(trace.state) // rnn.num_layers)  # of two directions the one that reads forwards
    states = np.array([rnn.split_state(trace.state_at(step + 1))[1][top, 0] for step in range(len(steps))])
    quickest = np.argsort(np.abs(np.diff(states, axis=0)).mean(axis=0) / states.std(axis=0))[-cells:]
    shown = (states - states.mean(axis=0))[:, quickest] / states[:, quickest].std(axis=0)
    extent = (0, t[-1], 0, shown.shape[1])
    axes[1].imshow(shown.T, cmap="cividis", vmin=-2, vmax=2, interpolation="nearest", extent=extent)
    axes[1].set(ylabel="memory cells", yticks=[], aspect="auto")

    chosen = begins[len(begins) // 2] if len(begins) else chances[:, 1:].max(axis=1).argmax()
    letter = 1 + chances[chosen, 1:].argmax()
    now = strokes[0][0, 2] + t[chosen]
    for stroke in strokes:
        past = stroke[:, 2] <= now
        axes[2].plot(stroke[:, 0], -stroke[:, 1], color="0.8", linewidth=1)
        axes[2].plot(stroke[past, 0], -stroke[past, 1], color="black", linewidth=1.6)
    axes[2].set(aspect="equal", xticks=[], yticks=[], ylabel="the pen")
    axes[2].set_title(f"so far at {t[chosen]:.2f} s, when '{LETTERS[letter - 1]}' is recognised", fontsize=9)

    d_outputs = np.zeros_like(trace.outputs)
    d_outputs[0, chosen] = -chances[chosen]
    d_outputs[0, chosen, letter] += 1  # the gradient of the logarithm of its probability
    d_steps = rnn.backward(trace, d_outputs)["x"][0, :, :2]
    d_place = d_steps - np.vstack([d_steps[1:], np.zeros((1, 2))])  # a point ends a step and begins the next
    for values, name, colour in zip(d_place.T, "xy", ("#0072B2", "#D55E00"), strict=True):
        axes[3].plot(t, values, color=colour, label=name)
    axes[3].axvline(t[chosen], color="0.6", linewidth=0.8, linestyle="--")
    axes[3].set(xlabel="time (s)", ylabel="gradient")
    axes[3].legend(fontsize=8, ncols=2)
    for ax in (axes[0], axes[1], axes[3]):
        ax.set_xlim(0, t[-1])


def main(trained=20000, tested=500, epochs=7, hidden_size=64, letters=LETTERS, path="handwriting.png"):
    random = np.random.default_rng(0)
    words = ["".join(random.choice([*letters], random.integers(3, 7))) for _ in range(trained)]
    play = re.findall(rf"\b[{letters}]{{3,6}}\b", fastrec.example_text())
    others = random.choice(sorted({*play}), tested)
    unseen, ends, ink = handwriting(others, [HELD_OUT], seed=trained)

    size = {"input_size": 3, "hidden_size": hidden_size, "output_size": 1 + len(LETTERS), "num_layers": 2}
    both = fastrec.RNN(**size, cell="lstm", bidirectional=True, seed=1)
    causal = fastrec.RNN(**size, cell="lstm", seed=1)
    seconds = {"both directions": learn(both, words, epochs, batch_size=32, dropout=0.3)}
    # By CTC alone a causal network learns to guess first letters at once; single letters teach it to wait.
    seconds["causal"] = learn(causal, [*letters] * (trained // 80), 4, timed=True, batch_size=16)
    seconds["causal"] += learn(causal, words, epochs, batch_size=16, dropout=0.1)
    networks = {"both directions": both, "causal": causal}

    written, errors = {}, {}
    for name, rnn in networks.items():
        written[name] = read(rnn, unseen, ends)
        wrong = sum(distance(a, b) for a, b in zip(written[name], others, strict=True))
        errors[name] = wrong / sum(map(len, others))
        print(
            f"{name}: {errors[name]:.1%} of the letters of synthetic handwriting in an unseen font are wrong "
            f"({seconds[name]:.0f} s of training)"
        )

    # A long word that both read right, if there is one.
    right = np.sum([[a == b for a, b in zip(rows, others, strict=True)] for rows in written.values()], axis=0)
    word = max(range(tested), key=lambda j: (right[j], len(others[j])))
    figure = Figure(figsize=(11, 8), layout="constrained")
    figure.suptitle("Synthetic handwriting in a font that was never seen", fontsize=10)
    axes = figure.subplots(4, 2, height_ratios=[2, 3, 2, 2])
    for column, (name, rnn) in zip(axes.T, networks.items(), strict=True):
        draw(column, rnn, unseen[word, : ends[word]], ink[word])
        column[0].set_title(f"{name}: {errors[name]:.1%} of letters wrong")
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return errors


if __name__ == "__main__":
    main()
