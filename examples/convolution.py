"""Causal convolutions beside a recurrent network: how far back they must see, and what it costs.

A causal convolution of width 2 sees this step and the one before. A stack of them whose two steps are 1, 2,
4, ... apart (van den Oord et al., arXiv:1609.03499) sees twice as far with each layer, and no further: its
receptive field. A recurrent network (a GRU of 32 units, trained by fastrec) has no such end. Both learn from
the same sequences, in batches of the same size, for as many updates:

- to predict the Mackey-Glass equation, seen through noise, 20 steps ahead. What is long past hardly helps;
- to say which of two kinds of marks came last. They are rare, so the last may be long ago. A stack can only
  guess when that is further back than its receptive field r, which happens at (1 - p)^r of the steps for
  marks of probability p. Half of these are wrong (dotted).

The times are of training, for a step of a sequence, with as many threads for PyTorch as for fastrec.
The example needs PyTorch: pip install torch.
"""

import time
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure

import fastrec

AHEAD = 20  # steps from the last number seen to the one predicted
RARE = 1 / 20  # probability of a mark at a step
BATCH = 16


def chaos(n, steps, random):
    """Pieces of the noisy series, what follows 20 steps later, and the steps that count."""
    clean = fastrec.mackey_glass(n * steps + AHEAD, seed=0)
    clean = (clean - clean.mean()) / clean.std()
    seen = clean + 0.2 * random.standard_normal(len(clean))
    x, targets = seen[:-AHEAD].reshape(n, steps, 1), clean[AHEAD:].reshape(n, steps, 1)
    return x, targets, np.broadcast_to(np.arange(steps) >= steps // 2, (n, steps))


def marks(n, steps, random):
    """Rare marks of two kinds, +1 or -1 for that of the last one, and the steps after the first one."""
    shown = np.where(random.random((n, steps)) < RARE, random.choice([-1.0, 1.0], (n, steps)), 0.0)
    last = np.maximum.accumulate(np.where(shown != 0, np.arange(steps), -1), axis=1)
    targets = np.take_along_axis(shown, np.maximum(last, 0), axis=1)
    return shown[..., None], targets[..., None], last >= 0


class Convolutions(torch.nn.Module):
    """Layers of width 2 and 32 channels, each of which adds to what it is given; sees 2^layers steps."""

    def __init__(self, layers, channels=32):
        super().__init__()
        self.first = torch.nn.Conv1d(1, channels, 1)
        self.layers = torch.nn.ModuleList(
            torch.nn.Conv1d(channels, channels, 2, dilation=2**layer) for layer in range(layers)
        )
        self.last = torch.nn.Conv1d(channels, 1, 1)

    def forward(self, x):
        y = self.first(x.transpose(1, 2))
        for layer in self.layers:
            y = y + torch.relu(layer(torch.nn.functional.pad(y, (layer.dilation[0], 0))))
        return self.last(torch.relu(y)).transpose(1, 2)


def convolve(layers, data, unseen, epochs):
    """Outputs for unseen inputs, number of parameters, and seconds of training."""
    torch.manual_seed(0)
    net = Convolutions(layers)
    optimizer = torch.optim.Adam(net.parameters(), 0.003)
    x, targets, mask = (torch.tensor(np.asarray(part, np.float32)) for part in data)
    updates = epochs * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    begin = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            errors = (net(x[rows]) - targets[rows])[..., 0] * mask[rows]
            optimizer.zero_grad()
            (errors.square().sum() / mask[rows].sum()).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    seconds = time.perf_counter() - begin
    with torch.no_grad():
        outputs = net(torch.tensor(np.asarray(unseen, np.float32))).numpy()
    return outputs, sum(p.numel() for p in net.parameters()), seconds


def recur(data, unseen, epochs, units=32):
    """The same of a recurrent network."""
    x, targets, mask = data
    rnn = fastrec.RNN(1, units, 1, "gru", seed=1)
    schedule = fastrec.CosineDecay(epochs * -(-len(x) // BATCH))
    options = {"optimizer": fastrec.Adam(0.01, clip=1.0), "schedule": schedule, "seed": 0, "progress": False}
    fastrec.fit(
        rnn.copy(), x[:BATCH], targets[:BATCH], None, "mse", epochs=1, mask=mask[:BATCH], progress=False
    )
    begin = time.perf_counter()
    fastrec.fit(rnn, x, targets, None, "mse", mask=mask, epochs=epochs, batch_size=BATCH, **options)
    seconds = time.perf_counter() - begin
    return rnn.predict(unseen)[0], sum(p.size for p in rnn.parameters.values()), seconds


def error(outputs, targets, mask, of_marks):
    """Share of wrong marks, or root mean square error in deviations of the series."""
    wrong = outputs * targets < 0 if of_marks else (outputs - targets) ** 2
    return float(np.mean(wrong[mask]) if of_marks else np.sqrt(np.mean(wrong[mask])))


def main(layers=(1, 2, 3, 4, 5, 6, 7, 8), n=128, steps=256, epochs=60, path="convolution.png"):
    torch.set_num_threads(fastrec.get_threads())
    random, found = np.random.default_rng(0), {}
    fields = [2**number for number in layers]
    for task in (chaos, marks):
        both = task(2 * n, steps, random)
        data, (unseen, targets, mask) = ([part[half] for part in both] for half in (slice(n), slice(n, None)))
        for name in [*fields, "gru"]:
            run = recur if name == "gru" else partial(convolve, name.bit_length() - 1)
            outputs, parameters, seconds = run(data, unseen, epochs)
            cost = 1e6 * seconds / (epochs * n * steps)
            found[task.__name__, name] = error(outputs, targets, mask, task is marks), parameters, cost
    print(f"{'sees (steps)':>12}{'parameters':>12}{'error of chaos':>16}{'wrong marks':>13}{'µs a step':>11}")
    for name in [*fields, "gru"]:
        (far, parameters, cost), (wrong, *_) = found["chaos", name], found["marks", name]
        print(f"{name:>12}{parameters:12}{far:16.3f}{wrong:13.2%}{cost:11.2f}")

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, task, column, label in zip(
        axes,
        ("chaos", "marks", "chaos"),
        (0, 0, 2),
        (f"error {AHEAD} steps ahead (deviations)", "wrong last marks", "training (µs a step)"),
        strict=True,
    ):
        values = [found[task, r][column] for r in fields]
        ax.plot(fields, values, "o-", color="#0072B2", label="convolutions")
        ax.axhline(found[task, "gru"][column], color="#D55E00", label="recurrent (GRU)")
        ax.set(xlabel="receptive field (steps)", ylabel=label, xscale="log")
        ax.set_ylim(bottom=-0.03 * max(values))
        ax.set_xticks(fields, fields)
        ax.minorticks_off()
    axes[1].plot(fields, (1 - RARE) ** np.array(fields) / 2, "k:", label=r"$(1-p)^r/2$")
    axes[1].legend(frameon=False)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
    return found


if __name__ == "__main__":
    main()
