"""Many to many: predict a chaotic series, some steps ahead, at every step.

The Mackey-Glass equation (Science 197, 287, 1977) generates a series that is smooth, never repeats, and
depends nonlinearly on its past. A network reads it value by value, with a little noise, and at each step
predicts the values 1, 5, 10, 20 and 40 steps later, with one output for each. The linear predictor is the
best weighted sum of the last 50 values, fitted by least squares to the same data: it sees more than one
value at a time, but no more than a network can remember.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec

HORIZONS = np.array([1, 5, 10, 20, 40])
LAGS = 50  # values that the linear predictor sees, and steps that no predictor is judged on


def linear(seen, wanted, train):
    """Predictions from the last values by least squares, fitted to the first `train` steps."""
    last = np.lib.stride_tricks.sliding_window_view(seen, LAGS)[: len(wanted) - LAGS + 1]
    last = np.hstack([last, np.ones((len(last), 1))])
    weights = np.linalg.lstsq(last[: train - LAGS], wanted[LAGS - 1 : train - 1], rcond=None)[0]
    return np.vstack([np.full((LAGS - 1, len(HORIZONS)), np.nan), last @ weights])


def main(train=8000, test=2000, window=200, epochs=200, hidden_size=48, path="predict.png"):
    series = fastrec.mackey_glass(train + test + HORIZONS[-1])
    clean = (series - series.mean()) / series.std()
    seen = clean + 0.02 * np.random.default_rng(0).standard_normal(len(clean))
    steps = train + test
    wanted = np.stack([clean[h : h + steps] for h in HORIZONS], axis=1)  # (steps, 5)

    # Windows of the training part, that begin every half a window; their first steps are not judged.
    begins = np.arange(0, train - window + 1, window // 2)
    x = np.stack([seen[b : b + window, None] for b in begins])
    targets = np.stack([wanted[b : b + window] for b in begins])
    mask = np.broadcast_to(np.arange(window) >= LAGS, x.shape[:2])
    rnn = fastrec.RNN(1, hidden_size, len(HORIZONS), "gru", seed=1)
    decay = fastrec.CosineDecay(epochs * -(-len(x) // 16))
    options = {"optimizer": fastrec.Adam(0.005, clip=1.0), "schedule": decay, "batch_size": 16, "seed": 0}
    fastrec.fit(rnn, x, targets, loss="mse", mask=mask, epochs=epochs, progress=False, **options)

    outputs, _ = rnn.predict(seen[None, :steps, None])  # in one go, from the beginning to the end
    found = {"network": outputs[0], f"linear, {LAGS} values": linear(seen, wanted, train)}
    errors = {
        name: np.sqrt(np.mean((values[train:] - wanted[train:]) ** 2, axis=0))
        for name, values in found.items()
    }
    print("steps ahead        " + "".join(f"{h:8}" for h in HORIZONS))
    for name, error in errors.items():
        print(f"{name:19}" + "".join(f"{value:8.3f}" for value in error))
    print("(root mean square error on unseen values, in deviations of the series)")

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    far, shown = 3, slice(train, train + min(300, test))
    left.plot(wanted[shown, far], color="0.7", linewidth=4, label="series")
    for (name, values), style in zip(found.items(), ("-", "--"), strict=True):
        left.plot(values[shown, far], style, label=name)
        right.plot(HORIZONS, errors[name], f"o{style}", label=name)
    left.set(ylim=(-3.2, 2), xlabel="step", ylabel=f"value {HORIZONS[far]} steps ahead")
    left.legend(frameon=False, ncols=3, loc="lower left", fontsize=8)
    right.set(xlabel="steps ahead", ylabel="error (deviations)", xscale="log", yscale="log")
    right.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return errors


if __name__ == "__main__":
    main()
