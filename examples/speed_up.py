"""Two PyTorch models, trained before and after one line: the same curves, sooner.

The first reads Shakespeare character by character and predicts the next one. The second hears noisy waves of
different lengths, packed, in both directions, and says whether they are sines, triangles, squares or saws.
Both are written and trained as anybody does in PyTorch; fastrec.torch.speed_up(model) is all that changes.
Losses agree until roundings in the last digit have grown, as they also do from one machine to another.
"""

import time

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastrec

WAVES = ("sine", "triangle", "square", "saw")


class CharacterModel(torch.nn.Module):
    def __init__(self, symbols, hidden_size):
        super().__init__()
        self.embed = torch.nn.Embedding(symbols, 64)
        self.rnn = torch.nn.GRU(64, hidden_size, batch_first=True)
        self.out = torch.nn.Linear(hidden_size, symbols)

    def loss(self, tokens):
        hidden, _ = self.rnn(self.embed(tokens[:, :-1]))
        return torch.nn.functional.cross_entropy(self.out(hidden).flatten(0, 1), tokens[:, 1:].flatten())


class WaveClassifier(torch.nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.rnn = torch.nn.GRU(1, hidden_size, batch_first=True, bidirectional=True)
        self.out = torch.nn.Linear(2 * hidden_size, len(WAVES))

    def loss(self, waves, lengths, labels):
        hidden, _ = self.rnn(pack_padded_sequence(waves, lengths, batch_first=True, enforce_sorted=False))
        mean = pad_packed_sequence(hidden, batch_first=True)[0].sum(dim=1) / lengths[:, None]
        return torch.nn.functional.cross_entropy(self.out(mean), labels)


def characters(updates, rows=32, steps=100):
    """Batches of stretches of a play."""
    symbols = np.unique(list(text := fastrec.example_text()), return_inverse=True)[1]
    begins = np.random.default_rng(0).integers(0, len(text) - steps, (updates, rows, 1))
    return [(torch.from_numpy(batch),) for batch in symbols[begins + np.arange(steps + 1)]]


def waves(updates, rows=32, steps=120):
    """Batches of waves (rows, steps, 1) with their lengths and kinds."""
    random = np.random.default_rng(1)
    size = (updates, rows)
    kinds, lengths = random.integers(0, len(WAVES), size), random.integers(steps // 3, steps + 1, size)
    periods = random.uniform(10, 40, (*size, 1))
    phase = (np.arange(steps) / periods + random.random((*size, 1))) % 1
    of_kind = [np.sin(2 * np.pi * phase), 4 * np.abs(phase - 0.5) - 1, np.sign(phase - 0.5), 2 * phase - 1]
    heard = np.choose(kinds[..., None], of_kind) + 0.3 * random.standard_normal(phase.shape)
    batches = (torch.from_numpy(array) for array in (heard[..., None].astype(np.float32), lengths, kinds))
    return list(zip(*batches, strict=True))


def train(model, batches, rate):
    """Losses of all updates, and the seconds that had passed after each."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    losses, seconds = [], []
    begin = time.perf_counter()
    for batch in batches:
        optimizer.zero_grad()
        loss = model.loss(*batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - begin)
    return np.array(losses), np.array(seconds)


def main(updates=(600, 400), hidden_sizes=(128, 64), path="speed_up.png"):
    symbols = len(set(fastrec.example_text()))
    made = {
        "characters": (lambda: CharacterModel(symbols, hidden_sizes[0]), characters(updates[0]), 0.003),
        "waves": (lambda: WaveClassifier(hidden_sizes[1]), waves(updates[1]), 0.0005),
    }
    found = {}
    for name, (make, batches, rate) in made.items():
        runs = {}
        for way in ("torch.nn", "fastrec.torch"):
            torch.manual_seed(0)
            model = make()
            if way == "fastrec.torch":
                model = fastrec.torch.speed_up(model)
                fastrec.torch.speed_up(make()).loss(*batches[0]).backward()  # kernels are compiled here
            runs[way] = train(model, batches, rate)
        found[name] = runs
        (before, slow), (after, fast) = runs.values()
        apart = np.abs(before - after)[:50].max()
        print(
            f"{name}: {slow[-1]:.1f} s before, {fast[-1]:.1f} s after, {slow[-1] / fast[-1]:.1f} times faster"
        )
        print(f"    losses {before[-1]:.3f} and {after[-1]:.3f}, at most {apart:.0e} apart in 50 updates")
    draw(found, path)
    return found


def draw(found, path):
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    for row, (name, runs) in zip(figure.subplots(2, 2, sharey="row"), found.items(), strict=True):
        for (way, (losses, seconds)), style in zip(runs.items(), ("-", "--"), strict=True):
            width = max(1, len(losses) // 40)
            smooth = np.convolve(losses, np.ones(width) / width, "valid")
            for axes, where in zip(row, (np.arange(len(losses)), seconds), strict=True):
                axes.plot(where[width - 1 :], smooth, style, label=way)
        row[0].set(xlabel="updates", ylabel="loss [nats]", title=name)
        row[1].set(xlabel="time [s]", title=name)
        row[0].legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
