"""Sequence to sequence: read digits, write them backwards.

One network reads a string of digits; a second starts in the last state of the first and writes. During
training the second network reads the right digits (teacher forcing); in the test it must read its own.
Strings have 1 to 8 digits, but none of the training strings has 4 or 6: a network that has learnt to
reverse, instead of memorizing each length, can do those as well. The figure also shows strings longer than
any in the training, which are much harder.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec

TRAINED = (1, 2, 3, 5, 7, 8)  # lengths


def strings(n, lengths, random):
    """n random strings of digits, and them reversed."""
    sources = [random.integers(0, 10, length) for length in random.choice(lengths, n)]
    return sources, [source[::-1] for source in sources]


def write(model, sources):
    """What the model writes for each of some strings."""
    x, lengths = fastrec.pad_sequences(sources)
    return fastrec.unpad(*model.generate(x, steps=x.shape[1] + 3, lengths=lengths))


def main(rounds=60, pairs=4000, tested=1000, hidden_size=128, path="reverse.png"):
    random = np.random.default_rng(0)
    model = fastrec.EncoderDecoder(10, 10, hidden_size, "gru", seed=1)
    optimizer = fastrec.Adam(0.003, clip=1.0)
    losses = []
    for round in range(rounds):  # new strings each time: none is learnt by heart
        optimizer.learning_rate = 0.003 * min(1, 2 * (1 - round / rounds)) ** 2
        sources, targets = strings(pairs, TRAINED, random)
        x, lengths = fastrec.pad_sequences(sources)
        y, target_lengths = fastrec.pad_sequences(targets)
        history = model.fit(
            x,
            y,
            optimizer=optimizer,
            epochs=1,
            lengths=lengths,
            target_lengths=target_lengths,
            seed=0,
            progress=False,
        )
        losses.append(history.train[0])

    kinds = {
        "trained": TRAINED,
        "never trained": [length for length in range(1, max(TRAINED)) if length not in TRAINED],
        "longer": range(max(TRAINED) + 1, max(TRAINED) + 5),
    }
    exact = {}
    print("strings without an error")
    for kind, lengths in kinds.items():
        for length in lengths:
            sources, targets = strings(tested, [length], random)
            right = [np.array_equal(*both) for both in zip(write(model, sources), targets, strict=True)]
            exact[length] = np.mean(right)
            print(f"{length:6} digits  {exact[length]:7.1%}  {kind}")
    source = strings(1, [6], random)[0]
    print(f"{''.join(map(str, source[0]))} -> {''.join(map(str, write(model, source)[0]))}")

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(losses)
    left.set(xlabel=f"rounds of {pairs} strings", ylabel="cross entropy (nats per digit)", yscale="log")
    for (kind, lengths), hatch in zip(kinds.items(), ("", "//", ".."), strict=True):
        shares = [exact[length] for length in lengths]
        right.bar(lengths, shares, label=kind, hatch=hatch, edgecolor="white")
    right.set(xlabel="digits", ylabel="strings without an error", xticks=list(exact))
    right.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return exact


if __name__ == "__main__":
    main()
