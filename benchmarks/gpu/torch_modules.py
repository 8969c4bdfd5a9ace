"""fastrec.torch on the card beside torch.nn: the same numbers, and the time of a step of training."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

import fastrec

from .cases_recurrent import TOLERANCE
from .measure import close, measure, run_all
from .recurrent import products, torch_on_card
from .report import Report, Skipped

# Name, cell, rows, steps, hidden units and as many inputs, arguments, whether packed, whether
# on a stream of its own.
Case = tuple[str, str, int, int, int, dict[str, Any], bool, bool]
CASES: tuple[Case, ...] = (
    (
        "two layers, both ways, packed",
        "LSTM",
        5,
        9,
        17,
        {"num_layers": 2, "bidirectional": True},
        True,
        False,
    ),
    ("dropout", "GRU", 5, 9, 17, {"num_layers": 2, "bias": False, "dropout": 0.5}, False, False),
    ("a stream of its own", "RNN", 64, 50, 64, {"nonlinearity": "relu"}, False, True),
    ("small", "GRU", 16, 100, 32, {}, False, False),
    ("middle", "LSTM", 32, 100, 256, {}, False, False),
)
DEVICE = "cuda"


def modules(report: Report) -> None:
    """Check and measure all cases."""
    if (peer := torch_on_card("float32")) is None:
        raise Skipped("PyTorch is not installed or finds no card")
    run_all(report, [(f"{case[1]}, {case[0]}", partial(row, report, peer[0], *case)) for case in CASES])


def row(report: Report, torch: Any, *case: Any) -> None:
    name, cell, *sizes, options, packed, apart = case
    b, t, h = sizes
    b, t, h = report.size((b, t, h), (min(b, 3), 5, min(h, 5)))
    kinds = [getattr(package, cell)(h, h, **options) for package in (torch.nn, fastrec.torch)]
    kinds[1].load_state_dict(kinds[0].state_dict())
    theirs, ours = (module.to(DEVICE) for module in kinds)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((t, b, h), np.float32)).to(DEVICE)
    if packed:
        lengths = torch.from_numpy(rng.integers(1, t + 1, b))
        lengths[0] = t
        pack = torch.nn.utils.rnn.pack_padded_sequence
    stream = torch.cuda.stream(torch.cuda.Stream()) if apart and DEVICE == "cuda" else nullcontext()

    def step(module: Any) -> Callable[[], dict[str, Any]]:
        def run() -> dict[str, Any]:
            module.zero_grad()
            inputs = x.detach().clone().requires_grad_()
            with stream:
                output, last = module(pack(inputs, lengths, enforce_sorted=False) if packed else inputs)
                output = output.data if packed else output
                parts = [output, *(last if isinstance(last, tuple) else (last,))]
                sum(part.square().sum() for part in parts).backward()
            gradients = {name: p.grad for name, p in module.named_parameters()}
            return {"output": output.detach(), "last": parts[1].detach(), "x": inputs.grad, **gradients}

        return run

    def check(found: dict[str, Any]) -> None:
        if options.get("dropout"):  # draws of its own
            torch.manual_seed(0)
            first = step(ours)()["output"]
            torch.manual_seed(0)
            assert torch.equal(step(ours)()["output"], first), "dropout is not repeatable"
            ours.eval()
            theirs.eval()
            found = step(ours)()
        right = {key: value.cpu().numpy() for key, value in step(theirs)().items()}
        close(
            {key: value.cpu().numpy() for key, value in found.items()}, right, TOLERANCE["Float"], "PyTorch"
        )

    count = products({"RNN": "elman"}.get(cell, cell.lower()), b, t, h, True)
    baseline = ("PyTorch", partial(step, theirs))
    measure(
        report,
        f"{cell}, {name}",
        step(ours),
        check,
        lambda _: (0, count),
        "float32",
        baseline=baseline,
        steps=t,
    )
