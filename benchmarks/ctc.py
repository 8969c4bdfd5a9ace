"""Measure fastrec.ctc beside torch's CTCLoss, losses and gradients of logits, once both are equal.

python benchmarks/ctc.py [--rounds N]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch

import fastrec
from fastrec.bench.timing import format_seconds, in_turn, machine, repeated

# Rows, steps, labels, classes, and how many times faster it is to be with two threads.
CASES: dict[str, tuple[int, int, int, int, float | None]] = {
    "32 rows, 200 steps, 30 labels of 59 classes": (32, 200, 30, 60, 6),
    "32 rows, 200 steps, 60 labels of 29 classes": (32, 200, 60, 30, 6),
    "32 rows, 1000 steps, 100 labels of 79 classes": (32, 1000, 100, 80, None),
    "1 row, 200 steps, 30 labels of 59 classes": (1, 200, 30, 60, None),
}
Loss = Callable[[], tuple[np.ndarray, np.ndarray]]


def both(b: int, t: int, u: int, o: int) -> tuple[Loss, Loss, Loss]:
    """Losses and gradients of the same float32 outputs and labels by each, and by PyTorch in float64."""
    rng = np.random.default_rng(0)
    y, labels = rng.standard_normal((b, t, o), np.float32), rng.integers(1, o, (b, u))
    targets, lengths, counts = torch.tensor(labels), torch.full((b,), t), torch.full((b,), u)

    def by_torch(leaf: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        leaf.grad = None
        logs = leaf.log_softmax(2).transpose(0, 1)
        losses = torch.nn.functional.ctc_loss(logs, targets, lengths, counts, reduction="none")
        losses.sum().backward()
        return losses.detach().numpy(), leaf.grad.numpy()

    leaf, precise = (torch.tensor(y.astype(dtype), requires_grad=True) for dtype in (np.float32, np.float64))
    return lambda: fastrec.ctc(y, labels, backend="cpu"), lambda: by_torch(leaf), lambda: by_torch(precise)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(f"{machine()}, PyTorch {torch.__version__}; medians of {options.rounds} rounds\n")
    print("| loss and gradient | threads | fastrec | PyTorch | times faster | noise |")
    print("|---|---|---|---|---|---|")
    for name, (*sizes, goal) in CASES.items():
        ours, theirs, exact = both(*sizes)
        for found, right in zip(ours(), exact(), strict=True):
            error = abs(found - right).max() / abs(right).max()
            assert error < 1e-6, f"{name}: results differ by {error:.1e} of the largest"
        for threads in (1, 2):
            fastrec.set_threads(threads)
            torch.set_num_threads(threads)
            (many, count), (others, other_count) = repeated(ours), repeated(theirs)
            made = in_turn(many, others, (count, other_count), options.rounds)
            goal_of = f" (goal {goal:g})" if goal and threads > 1 else ""
            times = f"{format_seconds(made.ours)} | {format_seconds(made.baseline)}"
            print(
                f"| {name} | {threads} | {times} | {made.ratio:.1f}{goal_of} | {made.noise:.0%} |", flush=True
            )


if __name__ == "__main__":
    main()
