"""Networks that decide: leaky units with noise under Dale's law learn two tasks of cognitive neuroscience.

Of 80 rectified units with a time constant of five steps (100 ms) the first 64 excite and the others inhibit,
and noise reaches all of them at every step. One network learns to judge the direction of noisy motion, the
other to compare two vibrations over a delay. They are then looked at as in an experiment: how often they
choose right, and what their units do during a trial.
"""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import fastrec

NOISE = 0.1  # standard deviation of the noise of a unit


def network(units, seed):
    """Three inputs, units that excite or inhibit, and two outputs that read those that excite."""
    sign = fastrec.dale_signs(units)
    return fastrec.RNN(
        *(3, units, 2, "leaky", "relu"),
        leak=0.2,
        signs={"W_rec": sign, "W_out": sign},
        connections={"W_out": sign > 0},
        seed=seed,
    )


def learn(rnn, task, trials, epochs):
    """Train a network on a task; return its share of right choices on other trials."""
    data, others = task(trials, seed=0), task(500, seed=1)
    adam = fastrec.Adam(3e-3, clip=1.0)
    fastrec.fit(
        *(rnn, data.x, data.targets),
        **{"mask": data.mask, "loss": "mse", "optimizer": adam, "epochs": epochs, "batch_size": 64},
        **{"noise": NOISE, "seed": 2, "progress": False},
    )
    outputs, _ = rnn.predict(others.x, noise=NOISE, noise_seed=3)
    return np.mean(others.chosen(outputs) == others.choices)


def by_condition(rnn, data, shown):
    """The values that trials show, and for each the share of choice 0 and the mean activity (t, h)."""
    trace = rnn.forward(data.x, noise=NOISE, noise_seed=5)
    first, values = data.chosen(trace.outputs) == 0, np.unique(shown)
    share = [first[shown == value].mean() for value in values]
    return values, share, np.array([trace.hidden[shown == value].mean(axis=0) for value in values])


def draw_unit(ax, values, activity, periods, unit):
    """Draw the mean activity of a unit for each value, and where the periods of a trial begin."""
    t = 0.02 * np.arange(activity.shape[1])
    colours = matplotlib.colormaps["coolwarm"](np.linspace(0, 1, len(values)))
    for course, colour in zip(activity[..., unit], colours, strict=True):
        ax.plot(t, course, color=colour)
    for name, steps in periods.items():
        ax.axvline(t[steps.start], color="0.8", linewidth=0.8, zorder=0)
        ax.text(t[steps.start], 1.0, f" {name}", transform=ax.get_xaxis_transform(), fontsize=7, va="top")
    ax.set(xlabel="time (s)", ylabel=f"unit {unit}", xlim=(0, t[-1]))


def main(units=80, trials=3000, epochs=(15, 40), tested=1000, path="decisions.png"):
    motion, vibrations = network(units, seed=0), network(units, seed=1)
    right = [
        learn(motion, fastrec.perceptual_decision, trials, epochs[0]),
        learn(vibrations, fastrec.delayed_comparison, trials, epochs[1]),
    ]
    print(f"right choices: motion {right[0]:.1%}, vibrations {right[1]:.1%}")
    sign, W = fastrec.dale_signs(units), motion.parameters["W_rec"]
    print(f"Dale's law holds: {bool((W * sign >= 0).all())}")

    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.subplots(2, 3)
    seen = fastrec.perceptual_decision(tested, seed=4)
    values, share, activity = by_condition(motion, seen, seen.conditions)
    axes[0, 0].plot(values, share, "o-")
    axes[0, 0].set(xlabel="coherence of the motion", ylabel="share of choice 0", ylim=(-0.05, 1.05))
    # The excitatory unit that tells the two directions apart best, just before the choice.
    before = seen.periods["choice"].start - 1
    told = activity[-1, before] - activity[0, before]
    unit = np.argmax(np.where(sign[:, 0] > 0, told, -np.inf))
    draw_unit(axes[0, 1], values, activity, seen.periods, unit)

    seen = fastrec.delayed_comparison(tested, seed=6)
    first = seen.conditions[:, 0]
    values, _, activity = by_condition(vibrations, seen, first)
    later = seen.conditions[:, 1] - first
    differences, share, _ = by_condition(vibrations, seen, later)
    axes[1, 0].plot(differences, share, "o-")
    axes[1, 0].set(xlabel="f2 - f1 (Hz)", ylabel="share of choice 0", ylim=(-0.05, 1.05))
    kept = activity[:, seen.periods["second"].start - 1]  # at the end of the delay
    correlation = np.abs(((kept - kept.mean(axis=0)) * (values - values.mean())[:, None]).mean(axis=0))
    draw_unit(axes[1, 1], values, activity, seen.periods, np.argmax(correlation))
    for ax, rnn, name in zip(axes[:, 2], (motion, vibrations), ("motion", "vibrations"), strict=True):
        W = rnn.parameters["W_rec"]
        most = np.quantile(np.abs(W), 0.98)
        ax.imshow(W, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
        ax.set(title=f"W_rec, {name}", xlabel="to unit", ylabel="from unit")
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return right


if __name__ == "__main__":
    main()
