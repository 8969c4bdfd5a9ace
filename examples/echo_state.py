"""Echo states: learn a chaotic series in milliseconds, and let the network go on with it alone.

The Mackey-Glass equation (Science 197, 287, 1977) with a delay of 17 is chaotic. A reservoir of fixed random
weights reads 3000 values; its readout, found by ridge regression in one pass, gives the next value. Then the
network reads its own outputs in place of the series. Five networks are fitted in one call; each stays with
the series for hundreds of steps before they part, as any two paths of a chaotic system do. The regularisation
is chosen by an error on values that were not learnt from.
"""

import time

import numpy as np
from matplotlib.figure import Figure

import fastrec


def main(units=300, train=3000, steps=1500, networks=5, path="echo_state.png"):
    u = fastrec.mackey_glass(train + steps + 1)[:, None]
    x, targets = u[:train], u[1 : train + 1]
    esn = fastrec.EchoState(
        1, units, leak=0.6, spectral_radius=1.1, bias_scaling=0.5, models=networks, dtype=np.float64, seed=0
    )
    esn.fit(x, targets, ridge=1e-6)  # compiles, the first time
    begin = time.perf_counter()
    esn.fit(x[:-500], targets[:-500], ridge=10.0 ** np.arange(-10, -1), validation=(x[-600:], targets[-600:]))
    seconds = time.perf_counter() - begin
    print(f"{networks} networks of {units} units fitted to {train} steps in {seconds * 1e3:.0f} ms")

    _, state = esn.states(x)
    forecast, _ = esn.extend(u[train : train + 1], steps, state)  # (networks, steps, 1)
    true = u[train + 1 :, 0]
    errors = np.abs(forecast[..., 0] - true[:steps]) / u.std()
    stays = np.array([np.argmax(error > 0.3) if (error > 0.3).any() else steps for error in errors])
    print(f"steps until an error of 0.3 standard deviations: {', '.join(map(str, sorted(stays)))}")

    figure = Figure(figsize=(9, 4.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    best = stays.argmax()
    above.plot(true, color="0.7", linewidth=4, label="the series")
    above.plot(forecast[best, :, 0], label=f"a network that reads itself, apart after {stays[best]} steps")
    above.set(ylabel="value", ylim=(0.1, 1.5))
    above.legend(frameon=False, ncols=2, loc="lower left", fontsize=8)
    for error in errors:
        below.semilogy(np.maximum(error, 1e-9), color="#0072B2", linewidth=0.6, alpha=0.5)
    below.semilogy(np.median(errors, axis=0), color="#0072B2", linewidth=2, label="median")
    below.axhline(0.3, color="0.4", linestyle="--", linewidth=1)
    below.set(xlabel="steps after the last value that was read", ylabel="error (deviations)")
    below.legend(frameon=False, loc="lower right", fontsize=8)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return stays, errors


if __name__ == "__main__":
    main()
