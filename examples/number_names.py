"""From a context vector to a sequence: spell numbers in English.

The digits of a number, one-hot, are 30 numbers of which 3 are 1. An affine map turns them into the state
from which a network begins to write: "four hundred seven". It is trained on 800 of the numbers from 0 to
999, including all below 100 and the round hundreds, and tested on the others, whose names it has never
seen. A name counts as right only if every letter is.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec


def one_hot(numbers):
    """The three digits of each number, ten inputs a digit."""
    digits = np.stack([numbers // 100, numbers // 10 % 10, numbers % 10], axis=1)
    return np.eye(10)[digits].reshape(len(numbers), 30)


def main(trained=800, epochs=100, hidden_size=96, path="number_names.png"):
    numbers = np.arange(1000)
    short = (numbers < 100) | (numbers % 100 == 0)
    others = np.random.default_rng(0).permutation(numbers[~short])
    seen, unseen = np.split(np.append(numbers[short], others), [trained])
    names = [fastrec.number_words(number).replace(" and ", " ") for number in range(1000)]
    vocabulary = fastrec.Vocabulary.of("".join(names))
    targets, lengths = fastrec.pad_sequences([vocabulary.encode(text) for text in names])

    model = fastrec.EncoderDecoder(30, len(vocabulary), hidden_size, "gru", sources="contexts", seed=1)
    optimizer = fastrec.Adam(0.005, weight_decay=0.1, clip=1.0)  # decay: fewer names learnt by heart

    def slower(epoch, history):
        optimizer.learning_rate = 0.005 * (1 - (epoch + 1) / (epochs + 1))

    history = model.fit(
        one_hot(seen),
        targets[seen],
        validation=(one_hot(unseen), targets[unseen], None, lengths[unseen]),
        optimizer=optimizer,
        epochs=epochs,
        target_lengths=lengths[seen],
        seed=0,
        progress=False,
        callback=slower,
    )

    exact = {}
    for what, numbers in (("seen", seen), ("unseen", unseen)):
        written = fastrec.unpad(*model.generate(one_hot(numbers), steps=targets.shape[1] + 5))
        texts = [vocabulary.decode(tokens) for tokens in written]
        right = [text == names[number] for text, number in zip(texts, numbers, strict=True)]
        exact[what] = np.mean(right)
        print(f"{np.count_nonzero(right)} of {len(numbers)} {what} numbers spelled without an error")
        results = sorted(zip(right, numbers, texts, strict=True))  # the wrong ones first
        for ok, number, text in results[:5]:
            print(f"    {number:3}  {text}{'' if ok else '   WRONG: ' + names[number]}")

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(history.train, label=f"{trained} names trained on")
    left.plot(history.validation, "--", label=f"{len(unseen)} others")
    left.set(xlabel="epoch", ylabel="cross entropy (nats per letter)", yscale="log")
    left.legend(frameon=False)
    # How sure the network is of the letters of one unseen name, given those before.
    number = int(unseen[0])
    tokens = targets[number, : lengths[number]]
    edge = model.target_size
    outputs, _ = model.decoder.predict(
        np.append(edge, tokens)[None], state=model.encode(one_hot(np.array([number])))
    )
    chances = np.exp(outputs[0] - outputs[0].max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    image = right.imshow(chances.T, cmap="gray_r", aspect="auto", vmin=0, vmax=1)
    symbols = [*(symbol.replace(" ", "space") for symbol in vocabulary.symbols), "end"]
    right.set_yticks(range(len(symbols)), symbols, fontsize=7)
    right.set_xticks(range(len(tokens) + 1), [*vocabulary.decode(tokens), "end"], fontsize=7)
    right.set(xlabel="written", ylabel="next letter", title=f"{number}")
    figure.colorbar(image, ax=right, label="chance")
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return exact


if __name__ == "__main__":
    main()
