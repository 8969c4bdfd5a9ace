"""The same network in PyTorch and in JAX: forward pass, and forward pass with all gradients."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from ..rnn.cells import CELLS
from ..rnn.network import RNN
from .timing import best, repeated


class Torch:
    """torch.nn, for inputs x (b, t, i) and gradients d (b, t, h) of the hidden units."""

    name = "torch"

    def __init__(self, net: RNN, x: np.ndarray, d: np.ndarray, dtype: str = "float32"):
        import torch

        self.torch, kind = torch, getattr(torch, dtype)
        self.module = cast(Any, net.to_torch()).to(kind)
        self.module.batch_first = False  # the faster order
        self.x = torch.tensor(x.swapaxes(0, 1).copy()).to(kind).requires_grad_()
        self.d = torch.tensor(d.swapaxes(0, 1).copy()).to(kind)
        shape = (1, len(x), net.hidden_size)
        parts = [torch.zeros(shape, dtype=kind, requires_grad=True) for _ in CELLS[net.cell].initial]
        self.state: Any = tuple(parts) if len(parts) == 2 else parts[0]

    def forward(self) -> np.ndarray:
        with self.torch.no_grad():
            return self.module(self.x, self.state)[0].float().numpy().swapaxes(0, 1)

    def both(self) -> np.ndarray:
        self.module.zero_grad()
        self.x.grad = None
        self.module(self.x, self.state)[0].backward(self.d)
        return self.x.grad.float().numpy().swapaxes(0, 1)


class Jax:
    """jax.jit(lax.scan), compiled in the first call, with the arguments of `Torch`."""

    name = "jax"

    def __init__(self, net: RNN, x: np.ndarray, d: np.ndarray):
        import jax

        self.jax = jax
        h, p = net.hidden_size, net.parameters
        host = jax.devices("cpu")[0]
        self.weights = tuple(jax.device_put(p[key], host) for key in ("W_in", "W_rec", "b"))
        self.b_n = jax.device_put(p.get("b_n", np.zeros(h, np.float32)), host)
        self.x, self.d = (jax.device_put(a.swapaxes(0, 1), host) for a in (x, d))
        zeros = jax.device_put(np.zeros((len(x), h), np.float32), host)
        self.state = (zeros, zeros) if len(CELLS[net.cell].initial) == 2 else zeros
        sigmoid, tanh, split = jax.nn.sigmoid, jax.numpy.tanh, jax.numpy.split

        def elman(state: Any, inward: Any, W: Any, b_n: Any) -> Any:
            h = tanh(inward + state @ W)
            return h, h

        def gru(state: Any, inward: Any, W: Any, b_n: Any) -> Any:
            (r_in, z_in, n_in), (r_rec, z_rec, n_rec) = split(inward, 3, 1), split(state @ W, 3, 1)
            z = sigmoid(z_in + z_rec)
            h = (1 - z) * tanh(n_in + sigmoid(r_in + r_rec) * (n_rec + b_n)) + z * state
            return h, h

        def lstm(state: Any, inward: Any, W: Any, b_n: Any) -> Any:
            i, f, g, o = split(inward + state[0] @ W, 4, 1)
            c = sigmoid(f) * state[1] + sigmoid(i) * tanh(g)
            h = sigmoid(o) * tanh(c)
            return (h, c), h

        step = {f.__name__: f for f in (elman, gru, lstm)}[net.cell]

        def run(weights: Any, b_n: Any, x: Any, state: Any) -> Any:
            W_in, W_rec, b = weights
            return jax.lax.scan(lambda s, z: step(s, z, W_rec, b_n), state, x @ W_in + b)[1]

        self.run = jax.jit(run)
        self.gradients = jax.jit(jax.grad(lambda *a: (run(*a) * self.d).sum(), argnums=(0, 1, 2, 3)))

    def forward(self) -> np.ndarray:
        return np.asarray(self.run(self.weights, self.b_n, self.x, self.state)).swapaxes(0, 1)

    def both(self) -> np.ndarray:
        gradients = self.jax.block_until_ready(self.gradients(self.weights, self.b_n, self.x, self.state))
        return np.asarray(gradients[2]).swapaxes(0, 1)


class Reference:
    """NumPy, with one matrix product per step: the baseline where neither library is installed."""

    name = "NumPy"

    def __init__(self, net: RNN, x: np.ndarray, d: np.ndarray):
        self.net = RNN(net.input_size, net.hidden_size, cell=net.cell, backend="reference", seed=0)
        self.net.parameters.update(net.parameters)
        self.x, self.d = x, d

    def forward(self) -> np.ndarray:
        return self.net.predict(self.x)[0]

    def both(self) -> np.ndarray:
        return self.net.backward(self.net.forward(self.x), d_hidden=self.d)["x"]


Peer = Torch | Jax | Reference


def importable(name: str) -> bool:
    """Return whether a library can be imported; it may be missing, or broken in one of many ways."""
    try:
        importlib.import_module(name)
    except Exception:
        return False
    return True


def peers(net: RNN, x: np.ndarray, d: np.ndarray, dtype: str = "float32") -> list[Peer]:
    """Return the network in each library that can be imported, or in NumPy if there is none.

    In "bfloat16" that is PyTorch or nothing.
    """
    available: list[Peer] = [Torch(net, x, d, dtype)] if importable("torch") else []
    if dtype == "float32" and importable("jax"):
        available.append(Jax(net, x, d))
    return available if available or dtype != "float32" else [Reference(net, x, d)]


@contextmanager
def fastest(candidates: list[Peer], job: str) -> Iterator[Peer]:
    """Yield the peer that is fastest at "forward" or "both"; PyTorch uses the better number of threads."""
    times = {}
    torch = next((peer.torch for peer in candidates if isinstance(peer, Torch)), None)
    before = torch.get_num_threads() if torch else 1
    try:
        for threads in sorted({1, before}):
            if torch:
                torch.set_num_threads(threads)
            for peer in candidates:
                many, count = repeated(getattr(peer, job))
                times[peer, threads] = best(many, 3) / count
        peer, threads = min(times, key=lambda key: times[key])
        if torch:
            torch.set_num_threads(threads)
        yield peer
    finally:
        if torch:
            torch.set_num_threads(before)
