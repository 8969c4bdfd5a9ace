"""Steps of recurrent networks, compared with PyTorch (cuDNN) in the same precision if that is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import cupy
import numpy as np

import fastrec
from fastrec.rnn.cells import CELLS

from .cases_recurrent import TOLERANCE
from .measure import close, measure, run_all
from .report import Report

# Cell, rows, hidden units and as many inputs, precisions, a goal of the first precision, forward and with the
# way back: seconds of a step, or how many times as fast as PyTorch.
NETWORKS = (
    ("elman", 16, 1024, ("bf16", "tf32"), "step", (1.8e-6, 4.5e-6)),
    ("gru", 16, 768, ("bf16", "tf32"), "step", (2.5e-6, 6e-6)),
    ("lstm", 16, 768, ("bf16", "tf32"), "step", (2.2e-6, 5.5e-6)),
    ("elman", 64, 1024, ("bf16", "tf32"), "step", (2.5e-6, 6e-6)),
    ("elman", 16, 512, ("float32",), "step", (2e-6, 5e-6)),
    ("elman", 16, 1000, ("bf16", "tf32"), "ratio", (3, 2.5)),
    ("elman", 1, 128, ("float32",), "step", (0.6e-6, 1.5e-6)),
)
SMALL = (
    ("elman", 2, 5, ("float32", "bf16", "tf32"), "step", (1, 1)),
    ("gru", 3, 17, ("bf16", "tf32"), "step", (1, 1)),
    ("lstm", 1, 9, ("bf16", "tf32"), "step", (1, 1)),
)
# What PyTorch computes in beside a precision.  In bf16 it may leave cuDNN aside, in float16 it takes it.
TORCH = {"float32": "float32", "tf32": "float32 by tf32", "bf16": "float16"}
CHECKED = 8  # steps that are compared with the reference


@cache
def arrays(b: int, t: int, h: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and gradients of hidden states; the first steps do not depend on the number of steps."""
    shape, generators = (t, b, h), (np.random.default_rng(seed) for seed in (0, 1))
    x, d = (g.standard_normal(shape, dtype=np.float32).swapaxes(0, 1).copy() for g in generators)
    return x, d


def network(backend: str, cell: Any, h: int, precision: Any) -> fastrec.RNN:
    return fastrec.RNN(h, h, cell=cell, initial="uniform", backend=backend, precision=precision, seed=0)


def both(rnn: fastrec.RNN, x: Any, d: Any) -> dict[str, Any]:
    return rnn.backward(rnn.forward(x), d_hidden=d)


@cache
def reference(cell: str, b: int, h: int, t: int, precision: str) -> tuple[fastrec.RNN, Any]:
    """Return the network on the reference, and what a backward pass from its first steps needs."""
    rnn = network("reference", cell, h, precision)
    return rnn, rnn.forward(arrays(b, t, h)[0])


def product_of(precision: str) -> str:
    """The product of hidden units and weights that computes in a precision."""
    return "Float" if precision == "float32" else precision.capitalize()


def tolerance(precision: str) -> float:
    return TOLERANCE[product_of(precision)]


def products(cell: str, b: int, t: int, h: int, backward: bool) -> float:
    """Operations of the products with the inputs and with the hidden units, once forward and twice on the
    way back."""
    return 4.0 * b * t * CELLS[cell].gates * h * h * (1 + 2 * backward)


def recurrent(report: Report) -> None:
    """Measure all forward rows before those with a backward pass."""
    run_all(report, [case for way in (0, 1) for case in rows(report, way)])


def rows(report: Report, way: int) -> Iterator[tuple[str, Callable[[], None]]]:
    t = report.size(1024, 4)
    for cell, b, h, precisions, goal, goals in report.size(NETWORKS, SMALL):
        for precision in precisions:
            name = (
                f"{cell}, B = {b}, H = {h}, T = {t}, {precision}, {('forward', 'forward and backward')[way]}"
            )
            asked = {goal: goals[way]} if precision == precisions[0] else {}
            yield name, partial(row, report, name, cell, b, h, t, precision, way, asked)


def row(
    report: Report,
    name: str,
    cell: str,
    b: int,
    h: int,
    t: int,
    precision: str,
    way: int,
    goals: dict[str, float],
) -> None:
    rnn, (x, d) = network("gpu", cell, h, precision), map(cupy.asarray, arrays(b, t, h))
    steps = min(t, CHECKED)

    def check(result: Any) -> None:
        """Compare the first steps forward, and a backward pass from there, which the whole run does not
        include."""
        other, trace = reference(cell, b, h, steps, precision)
        if way:
            x, d = arrays(b, steps, h)
            close(
                both(rnn, cupy.asarray(x), cupy.asarray(d)),
                other.backward(trace, d_hidden=d),
                tolerance(precision),
            )
            assert all(bool(cupy.isfinite(a).all()) for a in result.values()), "not finite"
        else:
            close({"hidden": result[:, :steps]}, {"hidden": trace.hidden}, tolerance(precision))

    measure(
        report,
        name,
        lambda: both(rnn, x, d) if way else rnn.forward(x).hidden,
        check,
        lambda _: (0, products(cell, b, t, h, way == 1)),
        precision,
        baseline=(f"PyTorch {TORCH[precision]}", partial(torch_rnn, rnn, *arrays(b, t, h), precision, way)),
        steps=t,
        **goals,
    )


def torch_on_card(precision: str) -> tuple[Any, Any] | None:
    """Return PyTorch and its dtype for a precision, if it is installed and finds a card."""
    try:
        import torch
    except Exception:  # a broken one fails in many ways, and rows are worth their time without it
        return None
    if not torch.cuda.is_available():
        return None
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    return torch, torch.float16 if precision == "bf16" else torch.float32


def torch_rnn(rnn: Any, x: Any, d: Any, precision: str, way: int) -> Callable[[], Any] | None:
    """Return the same network in PyTorch on the card, forward or with backward; None without PyTorch."""
    if (peer := torch_on_card(precision)) is None:
        return None
    torch, dtype = peer
    module = rnn.to_torch().to("cuda", dtype)
    inputs, gradient = (torch.from_numpy(a).to("cuda", dtype) for a in (x, d))
    inputs.requires_grad_()

    def forward() -> Any:
        with torch.no_grad():
            module(inputs)
        torch.cuda.synchronize()

    def forward_and_backward() -> Any:
        module.zero_grad()
        inputs.grad = None
        module(inputs)[0].backward(gradient)
        torch.cuda.synchronize()

    return forward_and_backward if way else forward
