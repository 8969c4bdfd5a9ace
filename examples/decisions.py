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


def draw_choices(ax, values, share, label):
    """Draw the share of choice 0 against what trials show."""
    ax.plot(values, share, "o-")
    ax.axhline(0.5, color="0.8", linewidth=0.8, zorder=0)
    ax.set(xlabel=label, ylabel="share of choice 0", ylim=(-0.05, 1.05))


def draw_unit(ax, values, activity, periods, unit, label):
    """Draw the mean activity of a unit for each value, and where the periods of a trial begin."""
    t = 0.02 * np.arange(activity.shape[1])
    colours = matplotlib.colormaps["coolwarm"](np.linspace(0, 1, len(values)))
    for course, colour in zip(activity[..., unit], colours, strict=True):
        ax.plot(t, course, color=colour)
    for name, steps in periods.items():
        ax.axvline(t[steps.start], color="0.8", linewidth=0.8, zorder=0)
        place = {"rotation": 90, "va": "top", "fontsize": 7, "color": "0.4"}
        ax.text(t[steps.start], 0.98, name, transform=ax.get_xaxis_transform(), **place)
    ax.set(xlabel="time (s)", ylabel=f"activity of unit {unit}", xlim=(0, t[-1]))
    ax.set_title(f"{label}, {values[0]:.3g} (blue) to {values[-1]:.3g} (red)", fontsize=9)


def draw_weights(ax, W, title):
    """Draw recurrent weights: light ones excite, dark ones inhibit."""
    most = np.quantile(np.abs(W), 0.98)
    ax.imshow(W, cmap="cividis", vmin=-most, vmax=most, interpolation="nearest")
    ax.set(xlabel="to unit", ylabel="from unit")
    ax.set_title(title, fontsize=9)


def main(units=80, trials=3000, epochs=(15, 40), tested=1000, path="decisions.png"):
    motion, vibrations = network(units, seed=0), network(units, seed=1)
    right = [
        learn(motion, fastrec.perceptual_decision, trials, epochs[0]),
        learn(vibrations, fastrec.delayed_comparison, trials, epochs[1]),
    ]
    print(f"right choices: motion {right[0]:.1%}, vibrations {right[1]:.1%}")
    sign = fastrec.dale_signs(units)
    kept = all((rnn.parameters["W_rec"] * sign >= 0).all() for rnn in (motion, vibrations))
    print(f"Dale's law holds: {bool(kept)}")

    figure = Figure(figsize=(9.5, 5.6), layout="constrained")
    axes = figure.subplots(2, 3)
    seen = fastrec.perceptual_decision(tested, seed=4)
    values, share, activity = by_condition(motion, seen, seen.conditions)
    draw_choices(axes[0, 0], values, share, "coherence of the motion")
    # The excitatory unit that tells the two directions apart best, just before the choice.
    before = seen.periods["choice"].start - 1
    told = np.where(sign[:, 0] > 0, activity[-1, before] - activity[0, before], -np.inf)
    draw_unit(axes[0, 1], values, activity, seen.periods, np.argmax(told), "coherence")

    pairs = [(22, f2) for f2 in (10, 14, 18, 20, 21, 23, 24, 26, 30, 34)]
    seen = fastrec.delayed_comparison(tested, pairs, seed=6)
    values, share, _ = by_condition(vibrations, seen, seen.conditions[:, 1])
    draw_choices(axes[1, 0], values, share, "second frequency (Hz), after 22 Hz")
    seen = fastrec.delayed_comparison(tested, seed=6)
    values, _, activity = by_condition(vibrations, seen, seen.conditions[:, 0])
    # The unit that goes with the first frequency best in the middle of the delay.
    delay = activity[:, (seen.periods["delay"].start + seen.periods["delay"].stop) // 2]
    remembers = np.abs(np.mean((delay - delay.mean(axis=0)) * (values - values.mean())[:, None], axis=0))
    draw_unit(axes[1, 1], values, activity, seen.periods, np.argmax(remembers), "first frequency")
    for ax, rnn, name in zip(axes[:, 2], (motion, vibrations), ("motion", "vibrations"), strict=True):
        draw_weights(ax, rnn.parameters["W_rec"], f"recurrent weights, {name}")
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return right


if __name__ == "__main__":
    main()
