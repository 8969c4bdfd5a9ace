"""Forward and BPTT over whole sequences, compared with the faster of PyTorch and jax.jit(lax.scan).

All runs use float32 and T = 100. "forward" stores nothing for a backward pass (`predict`; torch under
no_grad); "both" adds all gradients: weights, inputs, initial state. PyTorch and JAX must be installed.
"""

from __future__ import annotations

import numpy as np
import pytest
from sides import RECURRENT

import fastrec
from fastrec.bench.jobs import T, in_bfloat16
from fastrec.bench.peers import Jax, Torch, fastest
from fastrec.bench.timing import best, repeated
from fastrec.kernels.cpu import bfloat16
from fastrec.rnn.cells import CELLS

torch = pytest.importorskip("torch")
pytest.importorskip("jax")
# Of forward and both, relative to the faster peer.
GOALS = (
    *((2, 2), (2, 2), (1.5, 1.4), (1, 1.15), (1, 1.5), (2, 2), (1.2, 1.2)),
    *((3, 3), (3, 3), (3, 3)),
)
JOBS = dict(zip(RECURRENT, GOALS, strict=True))


@pytest.fixture(scope="module")
def sgemm():
    """Return the multiply-adds per second of PyTorch's product of 4096 x 4096 float32 matrices."""
    a = torch.rand(4096, 4096)
    return 4096**3 / best(lambda: a @ a)


@pytest.mark.parametrize("job", ["forward", "both"])
@pytest.mark.parametrize(("cell", "b", "i", "h"), JOBS, ids=lambda v: str(v))
def bench_rnn(versus, sgemm, cell, b, i, h, job):
    module = getattr(torch.nn, CELLS[cell].torch)(i, h)
    net = fastrec.RNN.from_torch(module, backend="cpu")
    rng = np.random.default_rng(0)
    x, d = (rng.standard_normal((b, T, width)).astype(np.float32) for width in (i, h))

    def ours():
        return net.predict(x)[0] if job == "forward" else net.backward(net.forward(x), d_hidden=d)["x"]

    peers = [Torch(net, x, d), Jax(net, x, d)]
    for peer in peers:
        np.testing.assert_allclose(ours(), getattr(peer, job)(), atol=2e-4)
    work = b * T * (i + h) * h * CELLS[cell].gates * (1 if job == "forward" else 3)
    goal = JOBS[cell, b, i, h][job == "both"]
    name = f"{cell} B={b} I={i} H={h}, {'forward' if job == 'forward' else 'forward and backward'}"
    with fastest(peers, job) as peer:
        (mine, n), (theirs, m) = repeated(ours), repeated(getattr(peer, job))
        versus(name, mine, theirs, goal, peer.name, each=(n, m), work=work / sgemm)


@pytest.mark.parametrize("job", ["forward", "both"])
@pytest.mark.parametrize("against", ["float32", "torch"])
def bench_bfloat16(versus, job, against):
    """Compare an LSTM in bfloat16 with float32 and with PyTorch in bfloat16."""
    if why := bfloat16.fault():
        pytest.skip(why)
    steps, jobs = "forward" if job == "forward" else "forward and BPTT", in_bfloat16()
    # While it waits at a job, PyTorch has the number of threads that is best for it.
    made = next(made for made in jobs if made.name.endswith(steps) and made.against.startswith(against))
    goal = 1.6 if against == "float32" else None
    versus(made.name, made.ours, made.baseline, goal, made.against, each=made.each)


@pytest.mark.parametrize("job", ["forward", "both"])
def bench_lengths(versus, job):
    """Compare lengths uniform in 1..100 with full lengths; the goal is at most 0.6 of the time."""
    net = fastrec.RNN(64, 256, backend="cpu", seed=0)
    rng = np.random.default_rng(0)
    x, d = (rng.standard_normal((32, T, width)).astype(np.float32) for width in (64, 256))
    lengths = rng.integers(1, T + 1, 32)

    def run(lengths):
        return (
            net.predict(x, lengths=lengths)
            if job == "forward"
            else net.backward(net.forward(x, lengths=lengths), d_hidden=d)
        )

    share = lengths.mean() / T
    name = f"elman B=32 I=64 H=256, lengths 1..100 ({share:.2f} of the steps), {job}"
    (mine, n), (theirs, m) = repeated(lambda: run(lengths)), repeated(lambda: run(None))
    versus(name, mine, theirs, 1 / 0.6, "full length", each=(n, m))


@pytest.mark.parametrize("job", ["forward", "both"])
@pytest.mark.parametrize(("cell", "plain"), [("leaky", "elman"), ("lstm_peepholes", "lstm")])
def bench_parameters_of_units(versus, cell, plain, job):
    """Compare cells whose units have parameters of their own with the cells that lack them."""
    ours, theirs = (fastrec.RNN(64, 256, cell=name, backend="cpu", seed=0) for name in (cell, plain))
    rng = np.random.default_rng(0)
    x, d = (rng.standard_normal((32, T, width)).astype(np.float32) for width in (64, 256))

    def run(net):
        return net.predict(x) if job == "forward" else net.backward(net.forward(x), d_hidden=d)

    (mine, n), (other, m) = repeated(lambda: run(ours)), repeated(lambda: run(theirs))
    versus(f"{cell} B=32 I=64 H=256, {job}", mine, other, 0.9, plain, each=(n, m))
