"""The gradient of one unit, by hand.

A single logistic unit with feedback reads three numbers and has a target after each. Left: its loss E
against its input weight. The line with the slope computed by backpropagation through time is tangent to the
curve; the line that ignores the effect of a step on the next one is not. Right: the two contributions to
the gradient of the argument z of each step, from the output of that step and from the following step.
"""

import numpy as np
from matplotlib.figure import Figure

import fastrec
import fastrec.plot

X, TARGETS = [18.0, 9.0, -8.0], [0.1, -0.1, -0.2]
W_IN, W_REC, W_OUT, B = -0.1, 0.5, 0.25, 0.4


def unit(W_in):
    """The unit as a network of the library."""
    rnn = fastrec.RNN(1, 1, 1, activation="logistic", dtype=np.float64, seed=0)
    for name, value in {"W_in": W_in, "W_rec": W_REC, "W_out": W_OUT, "b": B}.items():
        rnn.parameters[name][...] = value
    return rnn


def by_hand():
    """Of each step, dE/dz by way of its own output and by way of the next step."""
    h = [0.0]
    for x in X:
        h.append(1 / (1 + np.exp(-(W_IN * x + W_REC * h[-1] + B))))
    own, later, after = [0.0] * 3, [0.0] * 3, 0.0
    for t in (2, 1, 0):
        slope = h[t + 1] * (1 - h[t + 1])
        own[t] = (W_OUT * h[t + 1] - TARGETS[t]) * W_OUT * slope
        later[t] = after * W_REC * slope
        after = own[t] + later[t]
    return np.array(own), np.array(later)


def main(points=201, path="one_neuron.svg"):
    x, targets = np.reshape(X, (1, 3, 1)), np.reshape(TARGETS, (1, 3, 1))
    weights = np.linspace(-0.25, 0.05, points)
    losses = [unit(w).loss(x, targets, loss="mse", reduction="sum")[0] for w in weights]
    loss, gradients, _ = unit(W_IN).loss_and_gradients(x, targets, loss="mse", reduction="sum")
    slope = gradients["W_in"].item()
    own, later = by_hand()
    without = own @ X
    step = 1e-6
    up, down = (unit(W_IN + d).loss(x, targets, loss="mse", reduction="sum")[0] for d in (step, -step))
    print(f"dE/dW_in: {slope:.9f} by BPTT, {(up - down) / (2 * step):.9f} by differences of E")
    print("dE/dz:", ", ".join(f"{a + b:.6f} = {a:.6f} + {b:.6f}" for a, b in zip(own, later, strict=True)))

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(weights, losses, color="#0072B2", label="loss E")
    near = np.array([-0.19, -0.01])
    left.plot(near, loss + slope * (near - W_IN), color="black", label=f"slope by BPTT: {slope:.4f}")
    left.plot(
        near,
        loss + without * (near - W_IN),
        "--",
        color="#D55E00",
        label=f"without the way through time: {without:.4f}",
    )
    left.plot(W_IN, loss, "o", color="black")
    left.set(xlabel="weight of the input, W_in", ylabel="loss E")
    left.legend(frameon=False, fontsize=9)
    steps = np.arange(1, 4)
    right.bar(steps - 0.2, own, 0.36, color="#0072B2", label="by its own output")
    right.bar(steps + 0.2, later, 0.36, color="#E69F00", label="by the next step")
    for at, value in [*zip(steps - 0.2, own, strict=True), *zip(steps + 0.2, later, strict=True)]:
        place = {"ha": "center", "va": "bottom" if value >= 0 else "top", "fontsize": 7.5}
        right.text(at, value + np.copysign(0.0002, value), f"{value:.6f}" if value else "0", **place)
    right.axhline(0, color="0.4", linewidth=0.8)
    right.set(xlabel="step", ylabel="parts of dE/dz", xticks=steps, ylim=(-0.0035, 0.0185))
    right.legend(frameon=False, fontsize=9, loc="upper left")
    fastrec.plot.save_figure(figure, path)
    print(f"wrote {path}")
    return slope, (up - down) / (2 * step), own + later


if __name__ == "__main__":
    main()
