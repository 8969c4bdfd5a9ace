"""Jordan and Elman networks: what is fed back determines what can be remembered.

A Jordan network feeds back its last output, an Elman network its last hidden state. For a running parity
(has the number of -1s so far been odd?) only the output must be remembered, and both networks succeed. To
repeat the input of d steps ago, the last d inputs must be remembered. Hidden units can do this; an output
that also stored them would not be the right answer, and the Jordan network finds only a compromise. Five
networks of each kind are trained at once on each task.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec

CELLS = {"jordan": "s--", "elman": "o-"}


def parity(n, steps, random):
    """Random signs, the sign of the product of those so far, and which steps are judged."""
    x = random.choice([-1.0, 1.0], (n, steps))
    return x, np.cumprod(x, axis=1), np.ones(steps, bool)


def delayed(n, steps, delay, random):
    """Random signs, the same `delay` steps later with 0 before them, and which steps are judged."""
    x = random.choice([-1.0, 1.0], (n, steps))
    targets = np.zeros_like(x)
    targets[:, delay:] = x[:, : steps - delay]
    return x, targets, np.arange(steps) >= delay


def wrong(task, cell, epochs, models, trained, tested, steps):
    """The fraction (models,) of unseen outputs that networks of a cell have the wrong sign of."""
    random = np.random.default_rng(0)
    rnn = fastrec.RNN(1, 12, 1, cell, models=models, seed=1)
    x, targets, _ = task(trained, steps, random)
    optimizer = fastrec.Adam(0.01, clip=1.0)
    fastrec.fit(
        rnn,
        x[..., None],
        targets[..., None],
        loss="mse",
        optimizer=optimizer,
        epochs=epochs,
        progress=False,
        seed=0,
    )
    x, targets, judged = task(tested, steps, random)
    outputs, _ = rnn.predict(x[..., None])
    return np.mean((outputs[..., 0] * targets < 0)[..., judged], axis=(1, 2))


def main(
    delays=(0, 1, 2, 3, 5), epochs=20, models=5, trained=1000, tested=500, steps=20, path="jordan_elman.png"
):
    tasks = {"parity": parity}
    for delay in delays:
        tasks[f"delay {delay}"] = lambda n, t, random, delay=delay: delayed(n, t, delay, random)
    found = {
        cell: {
            name: wrong(task, cell, epochs, models, trained, tested, steps) for name, task in tasks.items()
        }
        for cell in CELLS
    }
    print("wrong outputs, median of", models, "networks")
    print("          " + "".join(f"{cell:>10}" for cell in CELLS))
    for name in tasks:
        print(f"{name:10}" + "".join(f"{np.median(found[cell][name]):10.1%}" for cell in CELLS))

    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    ax = figure.subplots()
    for (cell, style), shift in zip(CELLS.items(), (-0.08, 0.08), strict=True):
        errors = np.array(list(found[cell].values()))  # (tasks, models)
        places = np.arange(len(tasks)) + shift
        line = ax.plot(places[1:], np.median(errors[1:], axis=1), style, label=f"{cell.title()}, median")
        colour = line[0].get_color()
        ax.plot(places[0], np.median(errors[0]), style[0], color=colour)
        ax.plot(places, errors, ".", color=colour, alpha=0.35, markersize=4)
    ax.axhline(0.5, color="0.6", linestyle=":", label="guessing")
    ax.set_xticks(range(len(tasks)), list(tasks), rotation=30)
    ax.set(ylabel="wrong outputs", ylim=(-0.02, 0.56))
    ax.legend(frameon=False, loc="center right")
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return found


if __name__ == "__main__":
    main()
