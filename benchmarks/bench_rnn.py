"""Forward and BPTT over whole sequences against PyTorch and jax.jit(lax.scan), whichever is faster there.

float32, T = 100.  "forward" keeps nothing for a reverse pass (`predict`; torch under no_grad); "both" adds
all gradients: weights, inputs, initial state.  Needs PyTorch and JAX, which fastrec itself does not.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

import fastrec

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
T = 100
GATES = {"elman": 1, "gru": 3, "lstm": 4}
JOBS = {  # (cell, B, I, H): goals of forward and both, relative to the faster peer
    ("elman", 32, 64, 128): (2, 2),
    ("elman", 32, 64, 256): (2, 1.8),
    ("elman", 64, 64, 512): (1.5, 1.4),
    ("elman", 64, 64, 1024): (1, 1.15),
    ("elman", 1, 32, 64): (1, 1.5),
    ("gru", 32, 64, 256): (1.8, 1.8),
    ("lstm", 32, 64, 256): (1.1, 1.25),
}


def best(job, rounds=5):
    job()
    times = []
    for _ in range(rounds):
        time.sleep(0.1)
        begin = time.perf_counter()
        job()
        times.append(time.perf_counter() - begin)
    return min(times)


@pytest.fixture(scope="module")
def sgemm():
    """Multiply-adds a second of PyTorch's product of 4096 x 4096 float32 matrices."""
    a = torch.rand(4096, 4096)
    return 4096**3 / best(lambda: a @ a)


class Torch:
    name = "torch"

    def __init__(self, net, module, x, d):
        self.module = module
        self.x = torch.tensor(x.swapaxes(0, 1).copy(), requires_grad=True)
        self.d = torch.tensor(d.swapaxes(0, 1).copy())
        shape = (1, len(x), net.hidden_size)
        parts = [torch.zeros(shape, requires_grad=True) for _ in range(1 + (net.cell == "lstm"))]
        self.state = tuple(parts) if len(parts) == 2 else parts[0]

    def forward(self):
        with torch.no_grad():
            return self.module(self.x, self.state)[0].numpy().swapaxes(0, 1)

    def both(self):
        self.module.zero_grad()
        self.x.grad = None
        self.module(self.x, self.state)[0].backward(self.d)
        return self.x.grad.numpy().swapaxes(0, 1)


class Jax:
    name = "jax"

    def __init__(self, net, module, x, d):
        h, p = net.hidden_size, net.parameters
        self.weights = tuple(jax.numpy.array(p[key]) for key in ("W_in", "W_rec", "b"))
        self.b_n = jax.numpy.array(p.get("b_n", np.zeros(h, np.float32)))
        self.x, self.d = (jax.numpy.array(a.swapaxes(0, 1)) for a in (x, d))
        zeros = jax.numpy.zeros((len(x), h))
        self.state = (zeros, zeros) if net.cell == "lstm" else zeros
        sigmoid, tanh = jax.nn.sigmoid, jax.numpy.tanh

        def elman(state, inward, W, b_n):
            h = tanh(inward + state @ W)
            return h, h

        def gru(state, inward, W, b_n):
            (r_in, z_in, n_in), (r_rec, z_rec, n_rec) = (
                jax.numpy.split(a, 3, 1) for a in (inward, state @ W)
            )
            z = sigmoid(z_in + z_rec)
            h = (1 - z) * tanh(n_in + sigmoid(r_in + r_rec) * (n_rec + b_n)) + z * state
            return h, h

        def lstm(state, inward, W, b_n):
            i, f, g, o = jax.numpy.split(inward + state[0] @ W, 4, 1)
            c = sigmoid(f) * state[1] + sigmoid(i) * tanh(g)
            h = sigmoid(o) * tanh(c)
            return (h, c), h

        step = {"elman": elman, "gru": gru, "lstm": lstm}[net.cell]

        def run(weights, b_n, x, state):
            W_in, W_rec, b = weights
            return jax.lax.scan(lambda s, z: step(s, z, W_rec, b_n), state, x @ W_in + b)[1]

        self.run = jax.jit(run)
        self.gradients = jax.jit(jax.grad(lambda *a: (run(*a) * self.d).sum(), argnums=(0, 1, 2, 3)))

    def forward(self):
        return np.asarray(self.run(self.weights, self.b_n, self.x, self.state)).swapaxes(0, 1)

    def both(self):
        found = jax.block_until_ready(self.gradients(self.weights, self.b_n, self.x, self.state))
        return np.asarray(found[2]).swapaxes(0, 1)


def repeated(job):
    """A job that takes 0.1 s or more, so that waking the threads does not count, and how often it does it."""
    times = 1
    while True:

        def many(times=times):
            for _ in range(times):
                job()

        if best(many, 2) >= 0.1:
            return many, times
        times *= 2


def fastest(peers, job):
    """The faster peer at its better number of threads, left set."""
    times = {}
    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        for peer in peers:
            many, count = repeated(getattr(peer, job))
            times[peer, threads] = best(many, 3) / count
    peer, threads = min(times, key=times.get)
    torch.set_num_threads(threads)
    return peer


@pytest.mark.parametrize("job", ["forward", "both"])
@pytest.mark.parametrize(("cell", "b", "i", "h"), JOBS, ids=lambda v: str(v))
def bench_rnn(versus, sgemm, cell, b, i, h, job):
    module = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell](i, h)
    net = fastrec.RNN.from_torch(module, backend="cpu")
    rng = np.random.default_rng(0)
    x, d = (rng.standard_normal((b, T, width)).astype(np.float32) for width in (i, h))

    def ours():
        return net.predict(x)[0] if job == "forward" else net.backward(net.forward(x), d_hidden=d)["x"]

    threads = torch.get_num_threads()
    peers = [Torch(net, module, x, d), Jax(net, module, x, d)]
    for peer in peers:
        np.testing.assert_allclose(ours(), getattr(peer, job)(), atol=2e-4)
    peer = fastest(peers, job)
    work = b * T * (i + h) * h * GATES[cell] * (1 if job == "forward" else 3)
    goal = JOBS[cell, b, i, h][job == "both"]
    name = f"{cell} B={b} I={i} H={h}, {'forward' if job == 'forward' else 'forward and backward'}"
    (mine, n), (theirs, m) = repeated(ours), repeated(getattr(peer, job))
    versus(name, mine, theirs, goal, peer.name, each=(n, m), work=work / sgemm)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("job", ["forward", "both"])
def bench_lengths(versus, job):
    """Lengths uniform in 1..100 against full ones: the goal is at most 0.6 of the time."""
    net = fastrec.RNN(64, 256, backend="cpu")
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
