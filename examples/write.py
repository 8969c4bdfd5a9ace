"""Learn to write: a recurrent network reads a text, character by character, and continues it.

At every character the network predicts the next one, and is then given the right answer. What it has learnt
shows in three ways: in the loss on unseen text, compared with n-grams; in the text that it writes at
different temperatures (at 0 it always takes the most likely character, and soon repeats itself; at 1 it
draws with the predicted probabilities); and in how the probabilities of the next character change as it
reads. Without a file, the text is Python's own help on Python:

    python examples/write.py FILE
"""

import sys
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from matplotlib.figure import Figure

import fastrec


def main(file=None, epochs=15, hidden_size=256, characters=None, prompt="The ", path="write.png"):
    text = "\n".join(topics.values()) if file is None else Path(file).read_text(encoding="utf-8-sig")
    text = text[:characters]
    held = text[len(text) - len(text) // 10 :]
    model = fastrec.CharModel(hidden_size, seed=1)
    curves = model.fit(text, 0.1, epochs=epochs, learning_rate=0.004, dropout=0.2, progress=False)

    symbols = model.vocabulary
    known, unseen = symbols.encode(text)[: -len(held)], symbols.encode(held)
    counted = fastrec.ngram_table(known, unseen, len(symbols), (1, 2, 3, 5))
    score = model.score(held)
    print(f"{len(text)} characters, the last tenth held out; nats a character there:")
    for name, value in [*((f"{order}-grams", value) for order, value in counted.items()), ("network", score)]:
        print(f"  {name} {value:.3f}")
    for temperature in (0, 0.5, 1):
        print(f"\ntemperature {temperature}:\n{prompt}{model.sample(prompt, 200, temperature, seed=1)}")

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    curves.plot(ax=left, baselines={f"{order}-grams": value for order, value in counted.items()})
    shown = held[:40].replace("\n", " ")
    outputs, _ = model.rnn.predict(symbols.encode(held[:40])[None])
    chances = np.exp(outputs[0] - outputs[0].max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    best = np.sort(np.argsort(-chances.max(axis=0))[:20])  # the characters that were expected most
    right.imshow(chances[:, best].T, cmap="gray_r", aspect="auto", vmin=0, vmax=1)
    right.set_xticks(range(len(shown)), shown, fontsize=7)
    right.set_yticks(range(len(best)), [repr(symbols.symbols[token])[1:-1] for token in best], fontsize=7)
    right.set(xlabel="read so far", ylabel="chance of the next character")
    figure.savefig(path, dpi=150)
    print(f"\nwrote {path}")
    return score, counted


if __name__ == "__main__":
    main(*sys.argv[1:2])
