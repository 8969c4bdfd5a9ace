"""A recurrent network is a layered one whose layers share their weights.

The network is unrolled: each time step becomes a layer with weights of its own, computed in NumPy layer by
layer, forward and back. To keep two weights equal, let them start equal and change both by the sum of their
gradients, dE/dw1 + dE/dw2 (a weight constraint). With all copies of a weight this is backpropagation through
time: the sums are the gradients of `RNN.loss_and_gradients` to rounding (left), and copies that start equal
stay equal, bit for bit, while they learn (middle). Copies that follow their own gradients drift apart. Such
a layered network learns the sequences of its depth too, here to repeat the input of two steps ago, but it
has no rule to go on with: where its last layer is used again for longer sequences, it fails (right).
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec

BLUE, ORANGE = "#0072B2", "#D55E00"


def task(n, steps, random):
    """Random signs (n, steps, 1), and those of two steps before, 0 where there are none."""
    x = random.choice([-1.0, 1.0], (n, steps, 1))
    return x, np.concatenate([np.zeros((n, 2, 1)), x[:, :-2]], axis=1)


def forward(layers, x):
    """Hidden units [h0, ..., hT] and outputs (n, T, 1); each array of layers has an axis T in front."""
    hidden, outputs = [np.zeros((len(x), layers["W_rec"].shape[1]))], []
    for t in range(x.shape[1]):
        z = x[:, t] @ layers["W_in"][t] + hidden[-1] @ layers["W_rec"][t] + layers["b"][t]
        hidden.append(np.tanh(z))
        outputs.append(hidden[-1] @ layers["W_out"][t] + layers["b_out"][t])
    return hidden, np.stack(outputs, axis=1)


def gradients(layers, x, targets):
    """The gradients of each layer's own copy, of half the sum of squared errors."""
    hidden, outputs = forward(layers, x)
    found = {key: np.zeros_like(array) for key, array in layers.items()}
    d_hidden = 0.0  # from the layer above
    for t in reversed(range(x.shape[1])):
        d_output = outputs[:, t] - targets[:, t]
        found["W_out"][t], found["b_out"][t] = hidden[t + 1].T @ d_output, d_output.sum(axis=0)
        d_z = (d_output @ layers["W_out"][t].T + d_hidden) * (1 - hidden[t + 1] ** 2)
        found["W_in"][t], found["b"][t] = x[:, t].T @ d_z, d_z.sum(axis=0)
        found["W_rec"][t] = hidden[t].T @ d_z
        d_hidden = d_z @ layers["W_rec"][t].T
    return found


def main(steps=8, hidden_size=10, updates=1500, batch=32, rate=0.003, tested=500, path="unrolled.png"):
    random = np.random.default_rng(0)
    rnn = fastrec.RNN(1, hidden_size, 1, dtype=np.float64, seed=1)
    keys = ("W_in", "W_rec", "b", "W_out", "b_out")  # h0 stays 0
    tied = {key: np.repeat(rnn.parameters[key][None], steps, axis=0) for key in keys}
    free = {key: copies.copy() for key, copies in tied.items()}
    apart = {"summed gradients": [], "their own": []}
    for update in range(updates):
        x, targets = task(batch, steps, random)
        own = gradients(tied, x, targets)
        sums = {key: copies.sum(axis=0) for key, copies in own.items()}
        _, through_time, _ = rnn.loss_and_gradients(x, targets, "mse", reduction="sum")
        if update == 0:
            first = own["W_rec"][:, 0, 0], through_time["W_rec"][0, 0]
            error = max(abs(sums[key] - through_time[key]).max() for key in keys)
            print(f"sums of gradients differ from those through time by {error:.1e} at most")
        for key in keys:
            rnn.parameters[key] -= rate * through_time[key]
            tied[key] -= rate * sums[key]  # the same for all copies
        for key, gradient in gradients(free, x, targets).items():
            free[key] -= rate * gradient
        for name, layers in zip(apart, (tied, free), strict=True):
            apart[name].append(max(np.ptp(copies, axis=0).max() for copies in layers.values()))
    drift = max(abs(tied[key][0] - rnn.parameters[key]).max() for key in keys)
    print(f"largest difference after {updates} updates, between the copies of a weight:")
    print(f"{apart['summed gradients'][-1]:g} with summed gradients, {apart['their own'][-1]:.2f} without;")
    print(f"between copies with summed gradients and the recurrent network: {drift:.1e}")

    x, targets = task(tested, 3 * steps, random)
    layer = np.minimum(np.arange(3 * steps), steps - 1)
    errors = {}
    for name, layers in zip(apart, (tied, free), strict=True):
        _, outputs = forward({key: copies[layer] for key, copies in layers.items()}, x)
        errors[name] = np.mean(outputs * targets <= 0, axis=(0, 2))[2:]
        within, beyond = errors[name][: steps - 2].mean(), errors[name][-steps:].mean()
        print(f"{name}: {within:.1%} wrong signs, {beyond:.1%} after the steps that were trained on")

    figure = Figure(figsize=(9.5, 3.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.bar(range(steps), first[0], color="0.6", label="of each copy")
    left.plot(range(steps), np.cumsum(first[0]), "o-", color=BLUE, label="their sum so far")
    left.axhline(first[1], color=ORANGE, linestyle="--", label="through time (BPTT)")
    left.set(xlabel="layer (time step)", title="gradient of one recurrent weight")
    low, high = left.get_ylim()
    left.set_ylim(low, high + 0.5 * (high - low))  # room for the legend
    middle.plot(apart["their own"], "--", color=ORANGE, label="each its own gradient")
    middle.plot(apart["summed gradients"], color=BLUE, label="the sum of gradients")
    middle.set(xlabel="update", ylabel="largest difference", title="copies of a weight")
    right.axvspan(1.5, steps - 0.5, color="0.92", label="steps trained on")
    at = np.arange(2, 3 * steps)
    right.plot(at, errors["their own"], "s-", color=ORANGE, markersize=3, label="each its own gradient")
    right.plot(at, errors["summed gradients"], "o-", color=BLUE, markersize=3, label="the sum of gradients")
    right.set(xlabel="time step", ylabel="wrong signs", title="longer sequences", ylim=(-0.03, 0.75))
    for ax in (left, middle, right):
        ax.legend(frameon=False, fontsize=7.5)
        ax.title.set_fontsize(10)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return error, apart, errors


if __name__ == "__main__":
    main()
