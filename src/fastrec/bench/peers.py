"""The same network in PyTorch and in JAX, forward and with all gradients."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, cast

import numpy as np

from ..rnn.layers import RNN
from .timing import best, repeated

PEERS = ("torch", "jax")
TORCH = {"elman": "RNN", "gru": "GRU", "lstm": "LSTM"}


def installed() -> tuple[str, ...]:
    """Names of the peers that can be compared with here."""
    return tuple(name for name in PEERS if find_spec(name) is not None)


class Torch:
    """x (b, t, i) and gradients d (b, t, h) of the hidden units, through torch.nn."""

    name = "torch"

    def __init__(self, net: RNN, x: np.ndarray, d: np.ndarray):
        import torch

        self.torch = torch
        self.module = cast(Any, net.to_torch())
        self.module.batch_first = False  # the faster order
        self.x = torch.tensor(x.swapaxes(0, 1).copy(), requires_grad=True)
        self.d = torch.tensor(d.swapaxes(0, 1).copy())
        shape = (1, len(x), net.hidden_size)
        parts = [torch.zeros(shape, requires_grad=True) for _ in range(1 + (net.cell == "lstm"))]
        self.state: Any = tuple(parts) if len(parts) == 2 else parts[0]

    def forward(self) -> np.ndarray:
        with self.torch.no_grad():
            return self.module(self.x, self.state)[0].numpy().swapaxes(0, 1)

    def both(self) -> np.ndarray:
        self.module.zero_grad()
        self.x.grad = None
        self.module(self.x, self.state)[0].backward(self.d)
        return self.x.grad.numpy().swapaxes(0, 1)


class Jax:
    """The same through jax.jit(lax.scan), compiled in the first call."""

    name = "jax"

    def __init__(self, net: RNN, x: np.ndarray, d: np.ndarray):
        import jax

        self.jax = jax
        h, p = net.hidden_size, net.parameters
        self.weights = tuple(jax.numpy.array(p[key]) for key in ("W_in", "W_rec", "b"))
        self.b_n = jax.numpy.array(p.get("b_n", np.zeros(h, np.float32)))
        self.x, self.d = (jax.numpy.array(a.swapaxes(0, 1)) for a in (x, d))
        zeros = jax.numpy.zeros((len(x), h))
        self.state = (zeros, zeros) if net.cell == "lstm" else zeros
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

        step = {"elman": elman, "gru": gru, "lstm": lstm}[net.cell]

        def run(weights: Any, b_n: Any, x: Any, state: Any) -> Any:
            W_in, W_rec, b = weights
            return jax.lax.scan(lambda s, z: step(s, z, W_rec, b_n), state, x @ W_in + b)[1]

        self.run = jax.jit(run)
        self.gradients = jax.jit(jax.grad(lambda *a: (run(*a) * self.d).sum(), argnums=(0, 1, 2, 3)))

    def forward(self) -> np.ndarray:
        return np.asarray(self.run(self.weights, self.b_n, self.x, self.state)).swapaxes(0, 1)

    def both(self) -> np.ndarray:
        found = self.jax.block_until_ready(self.gradients(self.weights, self.b_n, self.x, self.state))
        return np.asarray(found[2]).swapaxes(0, 1)


class Reference:
    """NumPy, a product of matrices a step: what is compared with where no peer is installed."""

    name = "NumPy"

    def __init__(self, net: RNN, x: np.ndarray, d: np.ndarray):
        self.net = RNN(net.input_size, net.hidden_size, cell=net.cell, backend="reference")
        self.net.parameters.update(net.parameters)
        self.x, self.d = x, d

    def forward(self) -> np.ndarray:
        return self.net.predict(self.x)[0]

    def both(self) -> np.ndarray:
        return self.net.backward(self.net.forward(self.x), d_hidden=self.d)["x"]


def peers(net: RNN, x: np.ndarray, d: np.ndarray) -> list[Torch | Jax | Reference]:
    """The network in every library that is installed."""
    known: dict[str, type[Torch] | type[Jax]] = {"torch": Torch, "jax": Jax}
    return [known[name](net, x, d) for name in installed()] or [Reference(net, x, d)]


def fastest(rivals: list[Torch | Jax | Reference], job: str) -> Torch | Jax | Reference:
    """The faster one at "forward" or "both", PyTorch at its better number of threads, which is left set."""
    times = {}
    torch = next((rival.torch for rival in rivals if isinstance(rival, Torch)), None)
    for threads in sorted({1, torch.get_num_threads()}) if torch else (1,):
        if torch:
            torch.set_num_threads(threads)
        for rival in rivals:
            many, count = repeated(getattr(rival, job))
            times[rival, threads] = best(many, 3) / count
    rival, threads = min(times, key=lambda key: times[key])
    if torch:
        torch.set_num_threads(threads)
    return rival
