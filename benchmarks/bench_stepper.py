"""Single steps of a small network: a call of `RNN.stepper`, beside PyTorch's cells and the arithmetic alone.

PyTorch runs under no_grad, on the one thread that is best for it.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastrec
from fastrec.bench.timing import repeated

H = 32
STEPS = 1000


def network(o):
    return fastrec.RNN(H, H, o, "gru", initial="uniform", seed=0, backend="cpu")


@pytest.mark.parametrize("o", [None, H])
@pytest.mark.parametrize("b", [1, 16])
def bench_step(versus, b, o):
    """Compare with torch.nn.GRUCell, and torch.nn.Linear for the outputs."""
    torch = pytest.importorskip("torch")
    net, x = network(o), np.random.default_rng(0).standard_normal((b, H)).astype(np.float32)
    cell, linear = torch.nn.GRUCell(H, H), torch.nn.Linear(H, H)
    layers, linear_too = (net.to_torch(), None) if o is None else net.to_torch()
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(cell, name).data = getattr(layers, f"{name}_l0").data
    linear = linear_too or (lambda h: h)
    stepper, step, state = net.stepper(b), torch.from_numpy(x), torch.zeros(b, H)

    def theirs():
        nonlocal state
        state = cell(step, state)
        return linear(state)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            for _ in range(5):
                np.testing.assert_allclose(stepper(x), theirs(), atol=1e-5)
            (ours, n), (baseline, m) = repeated(lambda: stepper(x)), repeated(theirs)
            of = "no output layer" if o is None else f"O={o}"
            versus(f"gru B={b} I={H} H={H}, {of}, a step", ours, baseline, 3, "torch GRUCell", each=(n, m))
    finally:
        torch.set_num_threads(threads)


def bench_steps_in_one_call(versus):
    """Compare steps on the network's own outputs in one call with a call for each: the cost of calls."""
    net, x = network(H), np.zeros((1, 1, H), np.float32)

    def steps():
        stepper, y = net.stepper(), x[:, 0]
        return np.stack([y := stepper(y) for _ in range(STEPS)], axis=1)

    np.testing.assert_allclose(net.extend(x, STEPS)[0], steps(), atol=1e-5)
    name = f"gru B=1 I={H} H={H}, O={H}, a step of {STEPS} on its outputs"
    versus(name, lambda: net.extend(x, STEPS), steps, None, "a call each", each=(STEPS, STEPS))
