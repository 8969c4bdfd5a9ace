"""Describe pictures: a network sees up to four handwritten digits and writes "two sevens above an eight".

A picture shows one kind of digit or two, each once or twice, beside or above each other, and a rule says its
caption. The digits are images of scikit-learn (pip install scikit-learn); those of the pictures that the
network is tested on are in none that it has learnt from. The picture is one input, nine overlapping regions
that an encoder reads; the caption is many outputs, words that a decoder writes while it attends to regions.
A caption counts as right only if every word is.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.datasets import load_digits

import fastrec

NAMES = [fastrec.number_words(digit) for digit in range(10)]
SIZE, REGION, STRIDE = 20, 10, 5  # pixels of a picture and of a region, and from one region to the next


def kinds(digit, count):
    """The words for a digit that is there once or twice."""
    if count == 2:
        return f"two {NAMES[digit]}{'es' if NAMES[digit].endswith('x') else 's'}"
    return f"{'an' if NAMES[digit][0] == 'e' else 'a'} {NAMES[digit]}"


def compose(n, images, digits, seed):
    """n pictures (n, 20, 20) of digits from such images, up to 1, and their captions."""
    random = np.random.default_rng(seed)
    pictures, captions = np.zeros((n, SIZE, SIZE), np.float32), []
    for picture in pictures:
        shown = random.choice(10, random.choice([1, 2], p=[0.2, 0.8]), replace=False)
        counts, above = random.integers(1, 3, len(shown)), random.random() < 0.5
        for group, (digit, count) in enumerate(zip(shown, counts, strict=True)):
            for member in range(count):
                place = 10 * np.array([group, member])
                place[[len(shown) == 1, count == 1]] = 5  # in the middle, what is alone
                top, left = (place if above else place[::-1]) + random.integers(0, 2, 2)
                image = images[random.choice(np.flatnonzero(digits == digit))] / 16
                picture[top : top + 8, left : left + 8] = image
        groups = [kinds(*group) for group in zip(shown, counts, strict=True)]
        captions.append((" above " if above else " left of ").join(groups))
    return pictures, captions


def regions(pictures):
    """The regions (n, 9, 100) of pictures, row by row."""
    windows = np.lib.stride_tricks.sliding_window_view(pictures, (REGION, REGION), axis=(1, 2))
    return windows[:, ::STRIDE, ::STRIDE].reshape(len(pictures), -1, REGION**2)


def draw(pictures, written, captions, weights, path):
    """Draw pictures with what the network says of them, and where it looks as it writes the first caption."""
    words = written[0].split()
    figure = Figure(figsize=(11, 7), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[2, 1])
    for ax, picture, text, truth in zip(above.subplots(2, 4).flat, pictures, written, captions, strict=True):
        ax.imshow(picture, cmap="gray_r")
        ax.set(xticks=[], yticks=[])
        ax.set_title(text, fontsize=10, color="black" if text == truth else "#D55E00")
        if text != truth:
            ax.set_xlabel(f"in truth: {truth}", fontsize=10, color="#D55E00")
    below.suptitle(f'Where it looks as it writes the words of "{written[0]}"', fontsize=10)
    for ax, word, row in zip(below.subplots(1, len(words), squeeze=False)[0], words, weights, strict=False):
        ax.imshow(pictures[0], cmap="gray_r")
        for number, weight in enumerate(row):
            corner = STRIDE * (number % 3) - 0.5, STRIDE * (number // 3) - 0.5
            ax.add_patch(
                Rectangle(corner, REGION, REGION, color="#E69F00", alpha=0.6 * float(weight), linewidth=0)
            )
        ax.set(xticks=[], yticks=[])
        ax.set_title(word, fontsize=10)
    figure.savefig(path, dpi=150)


def main(trained=30_000, tested=1000, epochs=8, hidden_size=128, path="captions.png"):
    data = load_digits()
    seen, unseen = np.split(np.random.default_rng(0).permutation(len(data.images)), [1300])
    pictures, captions = compose(trained, data.images[seen], data.target[seen], seed=1)
    others, truth = compose(tested, data.images[unseen], data.target[unseen], seed=2)
    words = sorted({word for caption in captions for word in caption.split()})
    tokens = [[words.index(word) for word in caption.split()] for caption in captions]
    targets, lengths = fastrec.pad_sequences(tokens)

    model = fastrec.EncoderDecoder(
        REGION**2, len(words), hidden_size, attention="general", bidirectional=True, seed=1
    )
    history = model.fit(
        regions(pictures),
        targets,
        target_lengths=lengths,
        optimizer=fastrec.Adam(0.005, clip=1.0),
        schedule=fastrec.CosineDecay(epochs * -(-trained // 64)),
        epochs=epochs,
        batch_size=64,
        dropout=0.2,
        seed=0,
        progress=False,
    )
    symbols, ends = model.generate(regions(others), steps=10)
    written = [" ".join(words[token] for token in row) for row in fastrec.unpad(symbols, ends)]
    right = np.array([text == caption for text, caption in zip(written, truth, strict=True)])
    print(f"{len(words)} words, {trained} pictures, {sum(history.seconds):.0f} s of training")
    print(f"{right.mean():.1%} of {tested} captions of digits never seen are right to the word")

    longest = max(np.flatnonzero(right), default=0, key=lambda j: len(truth[j]))
    above = np.array([" above " in caption for caption in truth])
    groups = [(~right, 2), (right & above, 3), (right, 8), (~right, 8)]
    order = [j for chosen, most in groups for j in np.flatnonzero(chosen)[:most]]
    shown = [*dict.fromkeys([longest, *order])][:8]
    weights = model.attention(regions(others[[longest]]), symbols[[longest], : ends[longest]])
    draw(others[shown], [written[j] for j in shown], [truth[j] for j in shown], weights[0], path)
    print(f"wrote {path}")
    return right.mean()


if __name__ == "__main__":
    main()
