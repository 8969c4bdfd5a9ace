"""Measure EchoState beside reservoirpy: fit and prediction of series and of spoken vowels, with the errors.

python benchmarks/reservoirs.py [--rounds N] [--only NAME ...] [--vowels FOLDER]

Both have the same weights; drawing them is not timed.  fastrec computes in float32, sums in float64, and its
readout also sees the inputs.  reservoirpy is to be installed by hand (pip install reservoirpy).  FOLDER holds
JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts (Kudo, Toyama & Shimbo, Pattern Recognition Letters 20,
1103, 1999), as the package aeon has them.  Errors are medians of several seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import reservoirpy
from reservoirpy.nodes import Reservoir, Ridge
from scipy.sparse import csr_array

import fastrec
from fastrec.bench.timing import format_seconds, in_turn, machine

WASHOUT = 100
SEEDS = range(5)
Series = tuple[np.ndarray, np.ndarray]


def narma() -> Series:
    u, y = fastrec.narma(6001, seed=1)
    return u[:-1, None], y[1:, None]


def mackey_glass() -> Series:
    u = fastrec.mackey_glass(3006)[:, None]
    return u[:-6], u[6:]


# Series, steps to learn from, units, share that each reads, leak, radius, scales of inputs and biases, ridge;
# how many times faster it is to be.
CASES: dict[str, tuple[Callable[[], Series], int, int, float, float, float, float, float, float, float]] = {
    "NARMA10, 100 units": (narma, 4000, 100, 0.1, 1.0, 0.9, 0.5, 0.5, 1e-6, 8),
    "Mackey-Glass, 6 steps ahead, 100 units": (mackey_glass, 2000, 100, 0.1, 0.5, 0.9, 1.0, 0.5, 1e-7, 8),
    "Mackey-Glass, 500 units, dense": (mackey_glass, 2000, 500, 1.0, 0.5, 0.9, 1.0, 0.5, 1e-7, 4),
    "Mackey-Glass, 1000 units, dense": (mackey_glass, 2000, 1000, 1.0, 0.5, 0.9, 1.0, 0.5, 1e-7, 4),
}


def same_reservoir(esn: fastrec.EchoState, leak: float) -> Reservoir:
    """The reservoir of reservoirpy with the same weights, a sparse matrix where they are sparse."""
    W_in, W_rec, b = (esn.parameters[key].astype(np.float64).T for key in ("W_in", "W_rec", "b"))
    reservoir = Reservoir(lr=leak, W=W_rec if W_rec.all() else csr_array(W_rec), Win=W_in, bias=b)
    reservoir.run(np.zeros((1, esn.input_size)))
    return reservoir


def both(name: str, seed: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """A fit and a prediction by each, which return the root mean square error in standard deviations."""
    make, train, units, density, leak, radius, scale, bias, ridge, _ = CASES[name]
    x, y = make()
    unseen = y[train:]

    def error(outputs: Any) -> float:
        return float(np.sqrt(np.mean((np.asarray(outputs) - unseen) ** 2)) / unseen.std())

    sparse: dict[str, Any] = {"density": density} if density < 1 else {"topology": "dense"}
    shared: dict[str, Any] = {"leak": leak, "spectral_radius": radius, "input_scaling": scale}
    esn = fastrec.EchoState(x.shape[1], units, bias_scaling=bias, seed=seed, **shared, **sparse)
    reservoir = same_reservoir(esn, leak)

    def ours() -> float:
        esn.fit(x[:train], y[:train], ridge=ridge, washout=WASHOUT)
        return error(esn.predict(x[train:], esn.state)[0])

    def theirs() -> float:
        reservoir.reset()
        model = reservoir >> Ridge(ridge=ridge)
        model.fit(x[:train], y[:train], warmup=WASHOUT)
        return error(model.run(x[train:]))

    return ours, theirs


def read_ts(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Sequences (t, dimensions) and labels of a file in the format of sktime: a line is a:b:..:label."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [line.split(":") for line in lines if line and line[0] not in "#@"]
    sequences = [np.array([part.split(",") for part in parts], float).T for *parts, _ in rows]
    return sequences, np.array([label for *_, label in rows])


def vowels(folder: Path, seed: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """The share of the 370 test sequences whose speaker each finds wrongly."""
    (known, names), (heard, speakers) = (
        read_ts(folder / f"JapaneseVowels_{part}.ts") for part in ("TRAIN", "TEST")
    )
    x, lengths = fastrec.pad_sequences(known)
    unseen, ends = fastrec.pad_sequences(heard)
    found = np.unique(names)
    labels, right = np.searchsorted(found, names), np.searchsorted(found, speakers)
    scale, leak, ridge, units = 0.2, 0.3, 1e-3, 100
    shared: dict[str, Any] = {"input_scaling": scale, "bias_scaling": scale}
    esn = fastrec.EchoState(12, units, len(found), leak=leak, seed=seed, **shared)
    reservoir = same_reservoir(esn, leak)

    def means(sequences: list[np.ndarray]) -> np.ndarray:
        rows = []
        for sequence in sequences:
            reservoir.reset()
            rows.append(np.concatenate([sequence, reservoir.run(sequence)], axis=1).mean(axis=0))
        return np.array(rows)

    def ours() -> float:
        esn.fit(x, labels, ridge=ridge, lengths=lengths)
        return float((esn.classify(unseen, ends)[0] != right).mean())

    def theirs() -> float:
        readout = Ridge(ridge=ridge).fit(means(known), np.eye(len(found))[labels])
        return float((np.asarray(readout.run(means(heard))).argmax(axis=1) != right).mean())

    return ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=CASES, nargs="*", default=list(CASES))
    parser.add_argument("--vowels", type=Path, help="folder with the files of JapaneseVowels")
    options = parser.parse_args()
    jobs: dict[str, tuple[Callable[[int], Any], float]] = {
        name: (lambda seed, name=name: both(name, seed), CASES[name][-1])  # type: ignore[misc]
        for name in options.only
    }
    if options.vowels:
        jobs["vowels of nine speakers, 100 units"] = (lambda seed: vowels(options.vowels, seed), 8)
    print(f"{machine()}, reservoirpy {reservoirpy.__version__}; medians of {options.rounds} rounds\n")
    print("| job | fastrec | reservoirpy | times faster | goal | error | of reservoirpy |")
    print("|---|---|---|---|---|---|---|")
    for name, (make, goal) in jobs.items():
        errors = [[task() for task in make(seed)] for seed in SEEDS]
        mine, other = np.median(errors, axis=0)
        found = in_turn(*make(0), rounds=options.rounds)
        times = f"{format_seconds(found.ours)} | {format_seconds(found.baseline)}"
        print(f"| {name} | {times} | {found.ratio:.1f} | {goal:g} | {mine:.3g} | {other:.3g} |", flush=True)


if __name__ == "__main__":
    main()
