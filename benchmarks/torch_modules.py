"""Measure steps of training of the modules of fastrec.torch beside those of torch.nn, once results are equal.

python benchmarks/torch_modules.py [--rounds N] [--only NAME]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch

import fastrec
from fastrec.bench.timing import format_seconds, in_turn, machine, repeated

# Module, rows, steps, inputs, hidden units, arguments, and how many times faster it is to be.
CASES: dict[str, tuple[str, int, int, int, int, dict[str, Any], float | None]] = {
    "Elman 256": ("RNN", 32, 100, 64, 256, {}, 1.7),
    "GRU 256": ("GRU", 32, 100, 64, 256, {}, 1.7),
    "Elman 32": ("RNN", 16, 100, 32, 32, {}, 3),
    "GRU 32": ("GRU", 16, 100, 32, 32, {}, 3),
    "LSTM 64": ("LSTM", 32, 100, 64, 64, {}, 1.5),
    "LSTM 256": ("LSTM", 32, 100, 64, 256, {}, 1),
    "GRU 64, both ways": ("GRU", 32, 100, 64, 64, {"bidirectional": True}, None),
    "GRU 8, one row of 4 steps": ("GRU", 1, 4, 8, 8, {}, None),
}
THREADS = (1, 2)


def steps(
    cell: str, b: int, t: int, i: int, h: int, options: dict[str, Any]
) -> list[Callable[[], list[Any]]]:
    """Return a step of training, forward and backward, of each module; they return all results."""
    torch.manual_seed(0)
    modules = [getattr(package, cell)(i, h, **options) for package in (fastrec.torch, torch.nn)]
    modules[0].load_state_dict(modules[1].state_dict())
    x, d = torch.randn(t, b, i, requires_grad=True), torch.randn(t, b, h * (1 + modules[0].bidirectional))

    def step(module: Any) -> list[Any]:
        module.zero_grad()
        x.grad = None
        output, _ = module(x)
        output.backward(d)
        return [output, x.grad, *(p.grad for p in module.parameters())]

    return [lambda module=module: step(module) for module in modules]


def check(ours: list[Any], theirs: list[Any]) -> None:
    """Fail unless results are equal to 1e-5 of the largest."""
    for found, right in zip(ours, theirs, strict=True):
        error = ((found - right).abs().max() / right.abs().max()).item()
        assert error < 1e-5, f"results differ by {error:.1e} of the largest"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", choices=CASES, nargs="*", default=CASES)
    options = parser.parse_args()
    print(f"{machine()}, PyTorch {torch.__version__}; medians of {options.rounds} rounds\n")
    print("| module | threads | fastrec | PyTorch | times faster | noise |\n|---|---|---|---|---|---|")
    for name in options.only:
        *case, goal = CASES[name]
        ours, theirs = steps(*case)
        check(ours(), theirs())
        best = []
        for threads in THREADS:
            fastrec.set_threads(threads)
            torch.set_num_threads(threads)
            (many, count), (others, other_count) = repeated(ours), repeated(theirs)
            found = in_turn(many, others, (count, other_count), options.rounds)
            best.append((found.ours, found.baseline))
            times = f"{format_seconds(found.ours)} | {format_seconds(found.baseline)}"
            print(f"| {name} | {threads} | {times} | {found.ratio:.2f} | {found.noise:.0%} |", flush=True)
        mine, other = (min(times) for times in zip(*best, strict=True))
        goal_of = "" if goal is None else f" (goal {goal})"
        times = f"{format_seconds(mine)} | {format_seconds(other)}"
        print(f"| {name} | best | {times} | {other / mine:.2f}{goal_of} | |")


if __name__ == "__main__":
    main()
