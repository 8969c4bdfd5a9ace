"""Text generation by a GRU, compared with a loop over tokens in PyTorch if that is installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import cupy
import numpy as np

import fastrec

from .measure import host, measure, run_all
from .recurrent import TORCH, torch_on_card
from .report import Report

# Hidden units of a GRU, texts, goals of a token in float32: seconds, and how many times as fast as PyTorch.
TEXTS = ((512, 1, 4e-6, 10), (512, 64, 12e-6, 5), (1024, 1, 5e-6, 10), (1024, 64, 25e-6, 3))
SMALL = ((9, 1, 1, 1), (17, 3, 1, 1))


def generation(report: Report) -> None:
    sizes = product(report.size(TEXTS, SMALL), ("float32", "tf32", "bf16"))
    run_all(
        report,
        [(f"{size}, {precision}", partial(text, report, precision, *size)) for size, precision in sizes],
    )


def text(report: Report, precision: Any, h: int, b: int, step: float, ratio: float) -> None:
    i, t = report.size((100, 1024), (5, 6))
    prompt = np.random.default_rng(0).integers(i, size=(b, 8)).astype(np.int32)
    rnn, other = (
        fastrec.RNN(i, h, i, cell="gru", backend=backend, precision=precision, seed=0)
        for backend in ("gpu", "reference")
    )
    on_card = cupy.asarray(prompt)

    def check(tokens: Any) -> None:
        # From where rounding decides another token a text goes another way.
        expected, _ = other.generate(prompt, 8, seed=0)
        same = (host(tokens)[:, : expected.shape[1]] == expected[:, :t]).all(axis=1)
        assert same.mean() >= 0.9, f"{same.mean():.0%} of the texts begin as the reference's"

    measure(
        report,
        f"GRU draws text, B = {b}, H = {h}, {i} tokens, T = {t}, {precision}",
        lambda: rnn.generate(on_card, t, seed=0)[0],
        check,
        # A multiply-add for each weight of the products, at each step of the prompt and the text.
        lambda _: (0, 2.0 * b * h * (3 * h * (8 + t) + i * t)),
        precision,
        baseline=(f"PyTorch {TORCH[precision]}, a loop", partial(torch_text, rnn, prompt, t, precision)),
        steps=t,
        **({"step": step, "ratio": ratio} if precision == "float32" else {}),
    )


def torch_text(rnn: Any, prompt: Any, t: int, precision: str) -> Callable[[], Any] | None:
    """Return a loop in PyTorch that draws as many tokens on the card, or None without PyTorch."""
    if (peer := torch_on_card(precision)) is None:
        return None
    torch, dtype = peer
    module, output = (part.to("cuda", dtype) for part in rnn.to_torch())
    one_hot = torch.eye(rnn.input_size, device="cuda", dtype=dtype)
    tokens = torch.from_numpy(prompt).to("cuda").long()

    def draw() -> Any:
        with torch.no_grad():
            hidden, state = module(one_hot[tokens])
            drawn = []
            for _ in range(t):
                shares = output(hidden[:, -1]).float().softmax(dim=1)
                drawn.append(torch.multinomial(shares, 1))
                hidden, state = module(one_hot[drawn[-1]], state)
        torch.cuda.synchronize()
        return drawn

    return draw
