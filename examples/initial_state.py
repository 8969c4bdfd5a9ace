"""The initial state of a network can be learnt as its weights are.

Logistic units are between 0 and 1, and 0.5 is where they start if nobody says otherwise. Here it is a poor
start: the task is the parity of the ones so far, which a state near one end stands for when it is even, and
near the other end when it is odd, and 0.5 is neither. `trainable={"h0": False}` keeps the initial state as it
is; without it, the gradient of the loss reaches the initial state like every other parameter. With sequences
of five steps every step is near the start. Learnt initial states move away from 0.5 to both sides, and the
median network has the loss after 16 epochs that those with a fixed one have after 30.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec

CASES = {"fixed at 0.5": "#D55E00", "learnt": "#0072B2"}


def task(n, steps, random):
    """Random bits (n, steps, 1), and whether there have been an odd number of ones (n, steps)."""
    x = random.integers(0, 2, (n, steps, 1))
    return x.astype(np.float32), np.cumsum(x[..., 0], axis=1) % 2


def main(steps=5, hidden_size=4, models=64, epochs=30, trained=1024, path="initial_state.png"):
    random = np.random.default_rng(0)
    x, parity = task(trained, steps, random)
    unseen, right = task(512, steps, random)
    curves, by_step, starts = {}, {}, {}
    for case in CASES:
        options = {"cell": "elman", "activation": "logistic", "initial": "uniform", "models": models}
        rnn = fastrec.RNN(1, hidden_size, 2, seed=1, **options)
        rnn.parameters["h0"][...] = 0.5
        history = fastrec.fit(
            rnn,
            x,
            parity,
            (unseen, right),
            optimizer=fastrec.Adam(0.01, clip=1.0),
            epochs=epochs,
            seed=0,
            progress=False,
            trainable={"h0": case == "learnt"},
        )
        outputs = rnn.predict(unseen)[0].astype(np.float64)
        margin = (outputs[..., 1] - outputs[..., 0]) * (1 - 2 * right)  # positive where it is wrong
        curves[case] = history.validation
        by_step[case] = np.log1p(np.exp(margin)).mean(axis=1)  # (models, steps)
        starts[case] = rnn.parameters["h0"].copy()
        solved = (margin < 0).all(axis=(1, 2)).mean()
        loss = np.median(curves[case][-1])
        print(f"h0 {case:13} {solved:4.0%} of {models} networks are always right, median loss {loss:.3f}")

    figure = Figure(figsize=(9.5, 3.3), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for shift, dashes, hatch, case in zip((-0.17, 0.17), ("--", "-"), ("//", ""), CASES, strict=True):
        style = {"color": CASES[case], "label": f"h0 {case}"}
        low, median, high = np.quantile(curves[case], [0.25, 0.5, 0.75], axis=1)
        left.fill_between(range(epochs), low, high, color=CASES[case], alpha=0.2, linewidth=0)
        left.plot(median, dashes, **style)
        losses = by_step[case].mean(axis=0)
        middle.bar(np.arange(steps) + shift, losses, 0.34, hatch=hatch, edgecolor="white", **style)
    left.set(xlabel="epoch", ylabel="loss (nats per step)", title="median and quartiles of networks")
    middle.set(xlabel="time step", ylabel="loss (nats)", title="after the last epoch, mean of networks")
    right.hist(starts["learnt"].ravel(), np.linspace(-1.5, 2.5, 33), color=CASES["learnt"], label="h0 learnt")
    right.axvline(0.5, 0, 0.7, color=CASES["fixed at 0.5"], linewidth=2, label="h0 fixed at 0.5")
    right.set(xlabel="initial value of a unit", ylabel="units of all networks", title="initial states")
    right.set_ylim(0, 1.4 * right.get_ylim()[1])  # room for the legend
    right.legend(frameon=False)
    left.legend(frameon=False)
    middle.legend(frameon=False)
    for ax in (left, middle, right):
        ax.title.set_fontsize(10)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return curves, by_step


if __name__ == "__main__":
    main()
