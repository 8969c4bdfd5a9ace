"""Feed-forward networks add as far as they see, a recurrent one as far as you like.

All have learnt from 2048 pairs of binary numbers of 8 columns. Feed-forward networks slide along the columns,
the least significant first, and see the last 2, 4 or 8 of them for each digit; one reads all columns of both
numbers at once and has an output for each of the 9 digits. The recurrent network sees one column at a time;
it is the best of eight GRUs of three units by `fastrec.addition`.

Left: a carry that begins at one column runs through some that hold a 0 and a 1, and is then needed. A network
that slides can only be right if it still sees the column where the carry began; long ways are rare in what it
has learnt from. Middle: in longer numbers carries come from further away. The network that reads all columns
at once has no inputs for more than 8 of them.
Right: another one has learnt only from numbers in the first 4 of its 8 columns. It adds these without an
error, and the same numbers further on nearly never: what it knows about a column is in the weights of that
column. A recurrent network has the same weights for all.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec
from fastrec.plot import save_figure

COLUMNS = 8
STYLES = {
    "window of 2": ("o-", "#D55E00"),
    "window of 4": ("s-", "#E69F00"),
    "window of 8": ("^-", "#009E73"),
}
STYLES |= {"recurrent": ("D-", "#0072B2"), "all at once": ("v--", "black")}


def learn(rnn, x, targets, epochs, loss="cross_entropy"):
    updates = epochs * -(-len(x) // 32)
    options = {"optimizer": fastrec.Adam(0.02, clip=1.0), "schedule": fastrec.CosineDecay(updates)}
    fastrec.fit(rnn, x, targets, loss=loss, epochs=epochs, seed=0, progress=False, **options)


def sliding(taps, x, targets, epochs):
    """A function that adds columns x (n, t, 2), by a network that sees the last `taps` of them."""

    def seen(x):
        return fastrec.delayed(x, taps).reshape(-1, 1, 2 * taps)  # sequences of one step: no memory

    net = fastrec.RNN(2 * taps, 8 * taps, 2, "elman", seed=1)
    learn(net, seen(x), targets.reshape(-1, 1), epochs)
    return lambda x: net.predict(seen(x))[0].argmax(axis=-1).reshape(x.shape[:2])


def at_once(x, targets, epochs):
    """A function that adds 8 columns (n, 8, 2), by a network that reads them side by side."""
    net = fastrec.RNN(2 * COLUMNS, 64, COLUMNS + 1, "elman", seed=1)
    learn(net, x.reshape(len(x), 1, -1), targets[:, None].astype(np.float32), epochs, "bce")
    return lambda x: (net.predict(x.reshape(len(x), 1, -1))[0][:, 0] > 0).astype(int)


def placed(x, targets, first):
    """Numbers of n columns in 8 columns, from the one called `first` on, with zeros around; their sums."""
    n = targets.shape[1] - 1
    wide, sums = np.zeros((len(x), COLUMNS, 2), np.float32), np.zeros((len(x), COLUMNS + 1), np.int32)
    wide[:, first : first + n], sums[:, first : first + n + 1] = x[:, :n], targets
    return wide, sums


def padded(x):
    """With a column of zeros, where the last digit of the sum comes."""
    return np.pad(x, ((0, 0), (0, 1), (0, 0)))


def travelling(pairs, length, random):
    """A carry from column 0 that runs through `length` columns to the last one."""
    x = np.zeros((pairs, length + 2, 2), np.float32)
    x[:, 0] = 1
    x[np.arange(pairs)[:, None], np.arange(1, length + 1), random.integers(0, 2, (pairs, length))] = 1
    x[:, -1] = random.integers(0, 2, (pairs, 2))
    return x, (x[:, -1].sum(axis=1) + 1) % 2


def wrong_sums(adds, task):
    x, sums = task
    return np.mean((adds(x) != sums).any(axis=1))


def main(tested=1000, models=8, epochs=(30, 100), sizes=(2, 4, 8, 16, 32, 64), path="adders.svg"):
    random = np.random.default_rng(0)
    x, targets, _ = fastrec.addition_task(2048, COLUMNS, delay=0, seed=1)
    adders = {f"window of {taps}": sliding(taps, x, targets, epochs[0]) for taps in (2, 4, 8)}
    best = fastrec.addition(models, "gru", delay=0, progress=False, test_pairs=10).best
    adders["recurrent"] = lambda x: best.predict(x)[0].argmax(axis=-1)
    adders["all at once"] = at_once(x[:, :COLUMNS], targets, epochs[1])
    few = fastrec.addition_task(2048, COLUMNS // 2, delay=0, seed=1)
    first_columns = at_once(*placed(*few[:2], 0), epochs[1])

    lengths, moves = range(13), range(COLUMNS // 2 + 1)
    carries = [travelling(tested, length, random) for length in lengths]
    unseen = {n: fastrec.addition_task(tested, n, delay=0, seed=2)[:2] for n in sizes}
    inside = {n: placed(*unseen[n], 0) for n in sizes if n <= COLUMNS}
    moved = [placed(*fastrec.addition_task(tested, COLUMNS // 2, delay=0, seed=2)[:2], by) for by in moves]
    found = {}
    for name, adds in adders.items():
        if name == "all at once":
            found[name] = [], [wrong_sums(adds, task) for task in inside.values()]
        else:
            digits = [np.mean(adds(x)[:, -1] != digit) for x, digit in carries]
            found[name] = digits, [wrong_sums(adds, task) for task in unseen.values()]
    elsewhere = {
        "all at once": [wrong_sums(first_columns, task) for task in moved],
        "recurrent": [wrong_sums(lambda x: adders["recurrent"](padded(x)), task) for task in moved],
    }

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for name, (digits, sums) in found.items():
        style, colour = STYLES[name]
        left.plot(lengths[: len(digits)], digits, style, color=colour, label=name, markersize=5)
        middle.plot(sizes[: len(sums)], sums, style, color=colour, markersize=5)
        print(f"{name:12} carries " + " ".join(f"{share:.3f}" for share in digits))
        print(f"{'':12} numbers " + " ".join(f"{share:.3f}" for share in sums))
    for name, sums in elsewhere.items():
        right.plot(moves, sums, STYLES[name][0], color=STYLES[name][1], markersize=5)
        print(f"{name:12} moved   " + " ".join(f"{share:.3f}" for share in sums))
    left.set(xlabel="columns that a carry runs through", ylabel="wrong digits where it is needed")
    left.set_xticks(range(0, 13, 2))
    middle.set(xlabel="columns of the numbers", ylabel="wrong sums", xscale="log")
    middle.set_xticks(sizes, sizes)
    middle.minorticks_off()
    right.set(xlabel="columns further on", ylabel="wrong sums of 4 columns", xticks=moves)
    for ax in (left, middle, right):
        ax.set_ylim(-0.04, 1.04)
    figure.legend(loc="outside upper center", ncols=len(found), frameon=False)
    save_figure(figure, path)
    print(f"wrote {path}")
    return found, elsewhere


if __name__ == "__main__":
    main()
