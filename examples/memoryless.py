"""Models without memory, two with hidden states, and a recurrent network, on the same three sequences.

Each model says how probable the next number is, given all before. Its loss is minus the logarithm of that
density, in nats a step, on the last third of the sequence, which it was not fitted to.

- Autoregression sees the last 20 numbers side by side (`delayed`), the linear one by least squares, the other
  through a small feed-forward network: an Elman network that reads sequences of one step. What is further
  back does not exist for them.
- A hidden Markov model (hmmlearn) is in one of a few states at each step. Which one is all it remembers.
- A linear dynamical system (statsmodels) has a state of a few real numbers, and the Kalman filter says what
  is known about it. One of order p with a single output is an ARMA process of order (p, p).
- A recurrent network (GRU) has a state of real numbers that may depend on the past in any way.

All but the hidden Markov model say a normal distribution: for autoregression and the recurrent network its
spread is that of their errors on the data that they were fitted to. Each sequence is made for one of them.
The oscillation comes from a linear dynamical system, so the Kalman filter is the best there can be. The jumps
come from a hidden Markov model: the next number is near the last one or near the next level, which no normal
distribution says. The Mackey-Glass equation, seen through noise, is neither linear nor has it few states.
The example needs hmmlearn and statsmodels: pip install hmmlearn statsmodels.
"""

import warnings

import numpy as np
from hmmlearn.hmm import GaussianHMM
from matplotlib.figure import Figure
from statsmodels.tsa.arima.model import ARIMA

import fastrec

TAPS = 20  # numbers that autoregression sees
WINDOW = 200  # steps of the sequences that the recurrent network learns from


def oscillation(steps, random):
    """What a damped rotation in the plane, kicked at random, shows of itself through noise."""
    turn = 0.9995 * np.exp(0.3j)
    kicks = random.standard_normal((steps, 2)) @ (0.03, 0.03j)
    state, seen = 0, np.empty(steps)
    for t in range(steps):
        state = turn * state + kicks[t]
        seen[t] = state.real
    return seen + 0.7 * random.standard_normal(steps)


def jumps(steps, random):
    """Three levels, of which the next is mostly the same and else the next higher one, with noise."""
    level = np.cumsum(random.random(steps) < 0.1) % 3
    return level + 0.2 * random.standard_normal(steps)


def chaos(steps, random):
    """The Mackey-Glass equation with noise."""
    clean = fastrec.mackey_glass(steps, tau=17, seed=0)
    return clean + 0.3 * clean.std() * random.standard_normal(steps)


def normal(errors, train):
    """Held-out loss of predictions with these errors, by their variance on the training part."""
    variance = np.mean(errors[TAPS:train] ** 2)
    return 0.5 * np.mean(errors[train:] ** 2 / variance + np.log(2 * np.pi * variance))


def last_numbers(series):
    """The last numbers before each of the series, (t, TAPS), zeros before the first."""
    return fastrec.delayed(series[None, :, None], range(1, TAPS + 1))[0]


def linear_autoregression(series, train):
    seen = np.hstack([last_numbers(series), np.ones((len(series), 1))])
    weights = np.linalg.lstsq(seen[TAPS:train], series[TAPS:train], rcond=None)[0]
    return normal(series - seen @ weights, train)


def neural_autoregression(series, train, epochs):
    seen = last_numbers(series)[:, None]  # (t, 1, TAPS): sequences of one step
    net = fastrec.RNN(TAPS, 32, 1, "elman", seed=1)
    fit(net, seen[TAPS:train], series[TAPS:train, None, None], epochs, batch_size=64)
    return normal(series - net.predict(seen)[0][:, 0, 0], train)


def hidden_markov_model(series, train, states, restarts):
    """The number of states and the restart are chosen on the last fifth of the training part."""
    column, fitted = series[:, None], train * 4 // 5
    models = [
        GaussianHMM(n, "diag", n_iter=50, tol=0.1, random_state=seed).fit(column[:fitted])
        for n in states
        for seed in range(restarts)
    ]
    best = max(models, key=lambda model: model.score(column[:train]) - model.score(column[:fitted]))
    return -(best.score(column) - best.score(column[:train])) / (len(series) - train)


def linear_dynamical_system(series, train, order=4):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about where the search for the parameters starts
        fitted = ARIMA(series[:train], order=(order, 0, order)).fit(method_kwargs={"maxiter": 100})
    return -fitted.apply(series).llf_obs[train:].mean()


def recurrent_network(series, train, epochs):
    last = np.concatenate([[0], series[:-1]])
    begins = np.arange(0, train - WINDOW + 1, WINDOW // 2)
    x, targets = (np.stack([a[b : b + WINDOW, None] for b in begins]) for a in (last, series))
    net = fastrec.RNN(1, 32, 1, "gru", seed=1)
    fit(net, x, targets, epochs, batch_size=8, washout=TAPS)
    return normal(series - net.predict(last[None, :, None])[0][0, :, 0], train)


def fit(net, x, targets, epochs, batch_size, washout=0):
    """Train by the squared error, and keep what was best on the last fifth of the sequences."""
    n, updates = len(x) * 4 // 5, epochs * -(-len(x) * 4 // 5 // batch_size)
    mask = np.broadcast_to(np.arange(x.shape[1]) >= washout, x.shape[:2])
    options = {"optimizer": fastrec.Adam(0.01, clip=1.0), "schedule": fastrec.CosineDecay(updates)}
    options |= {"epochs": epochs, "batch_size": batch_size, "seed": 0, "progress": False, "keep": "best"}
    unseen = (x[n:], targets[n:], None, mask[n:])
    fastrec.fit(net, x[:n], targets[:n], unseen, "mse", mask=mask[:n], **options)


SEQUENCES = {"oscillation": oscillation, "jumps": jumps, "Mackey-Glass": chaos}


def main(steps=9000, epochs=(30, 100), states=(3, 6, 12, 24), restarts=3, path="memoryless.png"):
    train, losses, shown = steps * 2 // 3, {}, {}
    for name, make in SEQUENCES.items():
        series = make(steps, np.random.default_rng(0))
        series = (series - series[:train].mean()) / series[:train].std()
        shown[name] = series[train : train + 150]
        losses[name] = {
            "mean and spread": normal(series, train),
            "linear autoregression": linear_autoregression(series, train),
            "feed-forward network": neural_autoregression(series, train, epochs[0]),
            "hidden Markov model": hidden_markov_model(series, train, states, restarts),
            "linear dynamical system": linear_dynamical_system(series, train),
            "recurrent network (GRU)": recurrent_network(series, train, epochs[1]),
        }
    models = list(losses["jumps"])
    print(f"{'held-out loss (nats a step)':27}" + "".join(f"{name:>14}" for name in losses))
    for model in models:
        print(f"{model:27}" + "".join(f"{losses[name][model]:14.3f}" for name in losses))

    figure = Figure(figsize=(9, 5), layout="constrained")
    above, below = figure.subplots(2, 3, height_ratios=[1, 2], sharey="row")
    for series_ax, ax, (name, found) in zip(above, below, losses.items(), strict=True):
        series_ax.plot(shown[name], "k.-", linewidth=0.6, markersize=3)
        series_ax.set(title=name, xlabel="step of the held-out part")
        best = min(found, key=found.get)
        for model, loss in found.items():
            colour = "#D55E00" if model == best else "#0072B2"
            ax.plot(loss, models.index(model), "o", color=colour)
            ax.annotate(
                f"{loss:.3f}", (loss, models.index(model)), (0, 6), textcoords="offset points", ha="center"
            )
        ax.set(xlabel="held-out loss (nats a step)", yticks=range(len(models)), yticklabels=models)
        ax.margins(x=0.15, y=0.12)
        ax.grid(axis="y", color="0.9")
    below[0].invert_yaxis()
    above[0].set_ylabel("series")
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return losses


if __name__ == "__main__":
    main()
