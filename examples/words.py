"""Vectors of words, learnt from their neighbours, help a network to predict the next word of little text.

word2vec (Mikolov et al., arXiv:1301.3781) learns a vector for each word by guessing: CBOW guesses a word from
the words around it, skip-gram the words around from the word. Words that stand in similar places get similar
vectors, and a network that has seen "three" knows something about "four". Forms of a word share a vector
here: "says" and "said" are "say" to word2vec, which simplemma finds in its tables. All is learnt from the
same articles of news, a quarter of them or all; others are held out. Two embeddings of random vectors show
what is to be gained: one a word, as a network begins without help, and one a lemma, which says how much of
the gain is due to the lemmas alone. The dashed line is what n-grams reach that see the last two words.

The example needs gensim, which brings the articles (Lee, Pincombe & Welsh, CogSci 2005), and simplemma:
pip install gensim simplemma.
"""

import re

import numpy as np
from gensim.models import Word2Vec
from gensim.test.utils import datapath
from matplotlib.figure import Figure
from simplemma import lemmatize

import fastrec

WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
KINDS = {
    "random, one a word": ("0.6", "-"),
    "random, one a lemma": ("#56B4E9", "--"),
    "CBOW": ("#D55E00", "-."),
    "skip-gram": ("#0072B2", "-"),
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "black")
MAP = {
    "numbers": "two three five six seven nine",
    "Middle East": "israeli sharon jerusalem gaza arafat",
    "Afghanistan": "afghanistan taliban kandahar cave",
    "cricket": "cricket wicket test warne",
    "economy": "economy rate cent market tax",
}


def learn_vectors(text, size, skip_gram, seed=1):
    """The vectors of the lemmas that a text has at least twice, with mean 0 and deviation 1."""
    sentences = [[lemma(word) for word in WORD.findall(one)] for one in re.split(r"[.!?\n]", text)]
    options = {"window": 5, "min_count": 2, "epochs": 15 if skip_gram else 30}
    vectors = Word2Vec(sentences, vector_size=size, sg=skip_gram, seed=seed, workers=1, **options).wv
    vectors.vectors -= vectors.vectors.mean(axis=0)  # what they all have in common says nothing
    vectors.vectors /= vectors.vectors.std()
    return vectors


def lemma(word):
    """The form of a word that stands in a dictionary."""
    return lemmatize(word, lang="en").lower()


def embeddings(text, vectors, random):
    """For each kind a vector of every word of a text: those of CBOW and skip-gram, and random ones."""
    words = sorted(set(WORD.findall(text)))
    known = {word: name for word in words if (name := lemma(word)) in vectors["CBOW"]}
    size = vectors["CBOW"].vector_size
    drawn = {name: random.standard_normal(size) for name in [*words, *known.values()]}
    found = {"random, one a word": {word: drawn[word] for word in known}}
    found["random, one a lemma"] = {word: drawn[name] for word, name in known.items()}
    for kind in ("CBOW", "skip-gram"):
        found[kind] = {word: vectors[kind][name] for word, name in known.items()}
    return found


def main(shares=(0.25, 1), articles=300, words=2000, size=50, hidden_size=64, epochs=8, path="words.png"):
    with open(datapath("lee_background.cor"), encoding="utf-8") as file:
        lines = file.read().lower().splitlines()[:articles]
    lines, held = lines[: -articles // 20], "\n".join(lines[-articles // 20 :])
    unseen = len(WORD.findall(held))
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    axes = figure.subplots(1, len(shares) + 1, width_ratios=[1] * len(shares) + [1.3])
    losses = {}
    for ax, share in zip(axes, shares, strict=False):
        text = "\n".join(lines[: round(share * len(lines))])
        count = len(WORD.findall(text))
        print(f"\n{count} words to learn from; nats a word on {unseen} others:")
        vectors = {kind: learn_vectors(text, size, kind == "skip-gram") for kind in ("CBOW", "skip-gram")}
        for kind, embedding in embeddings(text, vectors, np.random.default_rng(0)).items():
            sizes = {"hidden_size": hidden_size, "vocabulary_size": words}
            model = fastrec.CharModel(unit="word", embedding=embedding, seed=1, **sizes)
            # More passes of less text, so that each has learnt what it can.
            passes = {"epochs": epochs / share**0.5, "batch_size": 16, "steps": 50}
            curves = model.fit(text, held, learning_rate=4e-3, dropout=0.3, progress=False, **passes)
            vocabulary, tokens = model.vocabulary, model.vocabulary.encode(held)
            # Symbols are words and what is between them, mostly spaces, which cost little.
            per_word = (len(tokens) - 1) / unseen
            losses[share, kind] = per_word * model.score(held)
            colour, dashes = KINDS[kind]
            ax.plot(curves.passes, per_word * curves.held_out, dashes, color=colour, label=kind)
        counted = fastrec.ngram_table(vocabulary.encode(text), tokens, len(vocabulary), [5])
        losses[share, "n-grams"] = per_word * counted[5]
        for kind in (*KINDS, "n-grams"):
            print(f"  {kind:22}{losses[share, kind]:.3f}")
        ax.axhline(losses[share, "n-grams"], color="0.3", linestyle=":", label="n-grams")
        ax.set(xlabel="passes", ylabel="held-out loss (nats a word)", title=f"{count} words of text")
    axes[0].legend(frameon=False, fontsize=8)

    print("\nnearest by skip-gram:")
    for word in ("fire", "three", "israeli", "cricket", "afghanistan"):
        if word in vectors["skip-gram"]:
            near = vectors["skip-gram"].most_similar(word, topn=5)
            print(f"  {word:12}", ", ".join(other for other, _ in near))
    for kind, found in vectors.items():
        _, rank, missing = found.evaluate_word_pairs(datapath("wordsim353.tsv"))
        known = 100 - missing
        print(f"{kind}: correlation {rank.statistic:.2f} with people, who rated pairs ({known:.0f} % known)")

    shown = {
        name: [word for word in row.split() if word in vectors["skip-gram"]] for name, row in MAP.items()
    }
    points = [vectors["skip-gram"].get_vector(word, norm=True) for row in shown.values() for word in row]
    points -= np.mean(points, axis=0)
    left, values, _ = np.linalg.svd(points, full_matrices=False)
    places = (left * values)[:, :2]
    apart = np.linalg.norm(places[:, None] - places, axis=2) + np.diag(np.full(len(places), np.inf))
    sides = np.where(places[:, 0] >= places[apart.argmin(axis=1), 0], 1, -1)  # away from the nearest word
    marks = iter(zip(places, sides, strict=True))
    for (name, row), colour in zip(shown.items(), COLOURS, strict=True):
        axes[-1].plot([], [], ".", color=colour, label=name)
        for word, (place, side) in zip(row, marks, strict=False):
            style = {"color": colour, "fontsize": 7, "ha": "left" if side > 0 else "right", "va": "center"}
            axes[-1].plot(*place, ".", color=colour)
            axes[-1].annotate(word, place, (4 * side, 0), textcoords="offset points", **style)
    axes[-1].set(title="skip-gram: two principal components", xticks=[], yticks=[], xmargin=0.25)
    axes[-1].legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return losses


if __name__ == "__main__":
    main()
