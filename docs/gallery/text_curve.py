"""A small network is better than n-grams where memory is needed.

Sentences of a small language: "the dogs here sleep. the bird outside sings. ", whose verb agrees with a
noun eleven characters before its end. An n-gram of up to six characters cannot see that far, and ends at
the entropy for a model that does not know whether the noun is singular or plural; the network goes below
it, to the entropy of the language itself, which no model can beat.
"""

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

import fastrec
import fastrec.plot

NOUNS = {"dog": 0.4, "cat": 0.3, "bird": 0.2, "horse": 0.1}
PLACES = {"here": 0.5, "there": 0.3, "outside": 0.2}
VERBS = {"sleep": 0.5, "sing": 0.3, "wait": 0.2}


def language(sentences, random):
    """A text, and its entropy in nats a character: of the choices made, over the characters they gave."""

    def pick(choices):
        return random.choice(list(choices), p=list(choices.values()))

    parts = []
    for _ in range(sentences):
        one = random.random() < 0.5
        noun, place, verb = pick(NOUNS), pick(PLACES), pick(VERBS)
        parts.append(f"the {noun}{'' if one else 's'} {place} {verb}{'s' if one else ''}. ")
    text = "".join(parts)
    chosen = [np.array(list(choices.values())) for choices in (NOUNS, PLACES, VERBS)]
    entropy = np.log(2) - sum(np.sum(chances * np.log(chances)) for chances in chosen)
    return text, entropy * sentences / len(text)


def main(sentences=2000, hidden_size=48, epochs=10, path="text_curve.svg"):
    text, entropy = language(sentences, np.random.default_rng(0))
    held = text[len(text) - len(text) // 10 :]
    model = fastrec.CharModel(hidden_size, seed=1)
    scores = []
    curves = model.fit(
        text,
        0.1,
        epochs=epochs,
        batch_size=16,
        steps=50,
        learning_rate=0.01,
        progress=False,
        callback=lambda model, _: scores.append(model.score(held)),  # read in one go, as n-grams are scored
    )
    tokens = model.vocabulary.encode(text)
    known, unseen = tokens[: -len(held)], tokens[-len(held) :]
    counted = fastrec.ngram_table(known, unseen, len(model.vocabulary), (3, 4, 6))
    lines = {f"{order}-grams": value for order, value in counted.items()}
    print(f"{len(text)} characters; nats a character on the last tenth:")
    for name, value in [*lines.items(), ("network", model.score(held)), ("entropy", entropy)]:
        print(f"  {name:8} {value:.3f}")
    history = replace(curves, held_out=np.array(scores))
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    ax = figure.subplots()
    ax.set_ylim(0.16, 0.5)
    fastrec.plot.draw_text_curve(ax, history, lines | {"entropy": entropy})
    fastrec.plot.save_figure(figure, path)
    print(f"wrote {path}")
    return model.score(held), counted, entropy


if __name__ == "__main__":
    main()
