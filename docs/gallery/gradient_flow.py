"""Gradients that vanish, keep their size, or explode.

Only the last of 50 steps contributes to the loss. |dE/dh_t|, the norm of the gradient with respect to the
hidden state of each step, shows how much of it remains on its way back. In Elman networks whose recurrent
weights are a rotation times 0.9, 1 or 1.1, it falls or grows as the power of that factor. A GRU whose
update gates are nearly saturated (a bias of 4) passes most of the gradient on, whatever its weights are;
with a bias of 0 its gradient falls fastest of all.
"""

import numpy as np

import fastrec
import fastrec.plot


def main(steps=50, hidden_size=64, sequences=16, path="gradient_flow.svg"):
    x = 0.01 * np.random.default_rng(0).standard_normal((sequences, steps, 4)).astype(np.float32)
    targets, last = np.ones((sequences, steps, 1)), np.zeros((sequences, steps), bool)
    last[:, -1] = True

    networks = {}
    for scale in (1.1, 1.0, 0.9):
        rnn = fastrec.RNN(4, hidden_size, 1, seed=1)  # its recurrent weights are orthogonal
        rnn.parameters["W_rec"] *= np.float32(scale)
        networks[f"Elman, spectral radius {scale}"] = rnn
    for bias in (4, 0):
        rnn = fastrec.RNN(4, hidden_size, 1, "gru", seed=1)
        rnn.parameters["b"][hidden_size : 2 * hidden_size] = bias  # of the gate z
        networks[f"GRU, bias of the gate z {bias}"] = rnn

    flows = {
        name: fastrec.gradient_flow(rnn, x, targets, loss="mse", mask=last) for name, rnn in networks.items()
    }
    kept = {name: flow.norms[0, 0] / flow.norms[0, -1] for name, flow in flows.items()}
    for name, share in kept.items():
        print(f"{name:27} {share:9.2g} of the gradient is left after {steps - 1} steps")
    figure = fastrec.plot.gradient_flow_figure(flows)
    figure.axes[0].set_xlabel("time t (steps; the loss is that of the last)")
    fastrec.plot.save_figure(figure, path)
    print(f"wrote {path}")
    return kept


if __name__ == "__main__":
    main()
