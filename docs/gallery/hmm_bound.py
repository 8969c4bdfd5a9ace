"""A hidden Markov model of N states remembers log2 N bits, a recurrent network more bits than it has units.

Eight random bits come, and then the same eight again. To know the second half, a model must remember the
first. All that a hidden Markov model carries over the middle is the state that it is in there: with N states
it needs at least b - log2 N bits to code the second half of b bits (line). Dots are models that
hmmlearn has fitted by expectation maximisation, the best of three starts; they have N states for each of the
16 places, so that they need not count too, and begin with states that mostly stay as they are.
Crosses are models made by hand, whose states are the first log2 N bits. A GRU (squares, the better of two)
has real numbers for its state, and with eight units it is far below the bound. All are trained on all 256
strings: what counts here is what they can hold, not what they have seen.
"""

import logging

import numpy as np
from hmmlearn.hmm import CategoricalHMM
from matplotlib.figure import Figure

import fastrec
from fastrec.plot import save_figure


def strings(b):
    """All strings of b bits, each twice in a row, (2^b, 2 b)."""
    half = np.arange(2**b)[:, None] >> np.arange(b) & 1
    return np.hstack([half, half])


def hidden_markov_model(start, moves, emissions, **options):
    """A model with N states for each place, from start (N,), moves (t, N, N) and emissions (t, N, 2)."""
    t, n, _ = moves.shape
    model = CategoricalHMM(t * n, n_features=2, init_params="", implementation="scaling", **options)
    transitions = np.zeros((t, n, t, n))
    for place in range(t):
        transitions[place, :, (place + 1) % t] = moves[place]
    model.startprob_ = np.append(start, np.zeros((t - 1) * n))
    model.transmat_, model.emissionprob_ = transitions.reshape(t * n, t * n), emissions.reshape(t * n, 2)
    return model


def fitted(n, b, random):
    """By expectation maximisation, from random numbers, with states that mostly stay as they are."""
    moves = 0.95 * np.eye(n) + 0.05 * random.dirichlet(np.ones(n), (2 * b, n))
    emissions = random.dirichlet(np.ones(2), (2 * b, n))
    # The prior keeps the rows of states that are never left from becoming 0.
    options = {"n_iter": 60, "tol": 0.01, "transmat_prior": 1 + 1e-6}
    model = hidden_markov_model(random.dirichlet(np.ones(n)), moves, emissions, **options)
    return model.fit(strings(b).reshape(-1, 1), [2 * b] * 2**b)


def constructed(n, b):
    """States that never change, and say the bits of their number at their places."""
    emissions = np.full((2 * b, n, 2), 0.5)
    for bit in range(n.bit_length() - 1):
        emissions[[bit, b + bit]] = np.eye(2)[np.arange(n) >> bit & 1]
    return hidden_markov_model(np.full(n, 1 / n), np.tile(np.eye(n), (2 * b, 1, 1)), emissions)


def bits_of_second_half(model, b):
    """How many a model needs, on average over all strings, once it knows the first half."""
    whole, half = strings(b), strings(b)[:, :b]
    scores = (model.score(part.reshape(-1, 1), [part.shape[1]] * len(part)) for part in (half, whole))
    return np.subtract(*scores) / len(whole) / np.log(2)


def recurrent(units, b, epochs):
    """The same of a recurrent network, which reads each bit after it has said how probable it is."""
    bits = strings(b)
    before = np.hstack([np.full((len(bits), 1), 2), bits[:, :-1]])  # 2: nothing yet
    second = np.broadcast_to(np.arange(2 * b) >= b, bits.shape)
    rnn = fastrec.RNN(3, units, 2, "gru", models=2, seed=1)
    schedule = fastrec.CosineDecay(epochs * -(-len(bits) // 32))
    options = {"optimizer": fastrec.Adam(0.02, clip=1.0), "schedule": schedule, "epochs": epochs}
    fastrec.fit(rnn, before, bits, seed=0, progress=False, **options)
    return b * rnn.loss(before, bits, mask=second)[0].min() / np.log(2)


def main(b=8, fits=(1, 2, 4, 8), made=(16, 32), units=(1, 2, 4, 8, 16, 32), epochs=400, path="hmm_bound.svg"):
    logging.getLogger("hmmlearn").setLevel(logging.ERROR)  # about more parameters than there are bits
    random = np.random.default_rng(0)
    found = {
        "fitted": [min(bits_of_second_half(fitted(n, b, random), b) for _ in range(3)) for n in fits],
        "constructed": [bits_of_second_half(constructed(n, b), b) for n in made],
        "recurrent": [recurrent(n, b, epochs) for n in units],
    }
    places = {"fitted": fits, "constructed": made, "recurrent": units}
    labels = {
        "fitted": "hidden Markov models, fitted",
        "constructed": "hidden Markov models, made by hand",
        "recurrent": "recurrent networks (GRU)",
    }
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    ax = figure.subplots()
    numbers = 2.0 ** np.arange(b + 1)
    ax.plot(
        numbers, b - np.log2(numbers), color="0.4", label=r"the bound of hidden Markov models, b − log$_2$ N"
    )
    styles = {"fitted": ("o", "#D55E00"), "constructed": ("x", "#D55E00"), "recurrent": ("s-", "#0072B2")}
    for name, (style, colour) in styles.items():
        ax.plot(places[name], found[name], style, color=colour, label=labels[name])
        print(
            f"{name:12}"
            + "  ".join(f"{n}: {bits:.3f}" for n, bits in zip(places[name], found[name], strict=True))
        )
    ax.set(xscale="log", xlabel="states at a place, or units", ylabel="bits to code the second half")
    ax.set_xticks(numbers, [f"{n:g}" for n in numbers])
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=9)
    save_figure(figure, path)
    print(f"wrote {path}")
    return found


if __name__ == "__main__":
    main()
