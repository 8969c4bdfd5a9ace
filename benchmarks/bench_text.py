"""Text generation compared with loops in PyTorch, a training step, and the time to the first character.

The model is a GRU of 512 units over 65 one-hot characters, in float32. PyTorch must be installed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastrec

torch = pytest.importorskip("torch")
V, H = 65, 512


@pytest.fixture(scope="module")
def sgemm():
    """Return the seconds per multiply-add of PyTorch's product of 4096 x 4096 float32 matrices."""
    a, times = torch.rand(4096, 4096), []
    for _ in range(5):
        begin = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - begin)
    return min(times) / 4096**3


def models():
    """Return the network in PyTorch, its cell alone, its readout, and the same network in fastrec."""
    torch.manual_seed(0)
    module, readout = torch.nn.GRU(V, H, batch_first=True), torch.nn.Linear(H, V)
    with torch.no_grad():
        readout.weight *= 4
    cell = torch.nn.GRUCell(V, H)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    cell.load_state_dict({name: getattr(module, f"{name}_l0").data for name in names})
    return module, cell, readout, fastrec.RNN.from_torch(module, readout, backend="cpu")


def drawn(logits, temperature):
    if temperature == 0:
        return logits.argmax(-1)
    return torch.multinomial(torch.softmax(logits / temperature, -1), 1)[:, 0]


@torch.no_grad()
def by_cell(cell, readout, rows, steps, temperature=0.8):
    h, token, out = torch.zeros(rows, H), torch.zeros(rows, dtype=torch.long), []
    for _ in range(steps):
        h = cell(torch.nn.functional.one_hot(token, V).float(), h)
        token = drawn(readout(h), temperature)
        out.append(token)
    return torch.stack(out, 1).numpy()


@torch.no_grad()
def by_module(module, readout, rows, steps, temperature=0.8):
    h, token, out = None, torch.zeros(rows, dtype=torch.long), []
    for _ in range(steps):
        y, h = module(torch.nn.functional.one_hot(token, V).float()[:, None], h)
        token = drawn(readout(y[:, 0]), temperature)
        out.append(token)
    return torch.stack(out, 1).numpy()


@pytest.mark.parametrize("rows", [1, 64])
@pytest.mark.parametrize("loop", ["GRUCell", "nn.GRU"])
@pytest.mark.parametrize("weights", ["float32", "16 bits"])
def bench_generation(versus, sgemm, rows, loop, weights):
    module, cell, readout, net = models()
    prompt, steps, each = np.zeros((rows, 1), np.int32), 2000 if rows == 1 else 200, 200 if rows == 1 else 50

    def theirs(count=each, temperature=0.8):
        if loop == "GRUCell":
            return by_cell(cell, readout, rows, count, temperature)
        return by_module(module, readout, rows, count, temperature)

    np.testing.assert_array_equal(net.generate(prompt, 30, 0)[0], theirs(30, 0))
    if weights == "16 bits":
        for key in ("W_rec", "W_out"):
            net.parameters[key].view(np.uint32)[...] &= 0xFFFF0000
    versus(
        f"character of {rows} sample{'s' * (rows > 1)}, GRU H={H}, weights {weights}",
        lambda: net.generate(prompt, steps, 0.8, seed=0),
        theirs,
        goal={("GRUCell", 1): 10}.get((loop, rows), 3),
        against=f"torch {loop} loop",
        each=(steps, each),
        work=rows * (3 * H * H + H * V) * steps * sgemm / steps,
    )


def bench_training_step(versus, sgemm):
    rows, steps = 64, 100
    module, _, readout, net = models()
    rng = np.random.default_rng(0)
    x, targets = rng.integers(0, V, (2, rows, steps)).astype(np.int32)
    theirs, ours = torch.optim.Adam([*module.parameters(), *readout.parameters()], 1e-3), fastrec.Adam(1e-3)
    x_torch, targets_torch = torch.tensor(x).long(), torch.tensor(targets).long().reshape(-1)

    def step_torch():
        theirs.zero_grad()
        y = readout(module(torch.nn.functional.one_hot(x_torch, V).float())[0]).reshape(-1, V)
        loss = torch.nn.functional.cross_entropy(y, targets_torch)
        loss.backward()
        theirs.step()
        return loss.item()

    def step():
        loss, gradients, _ = net.loss_and_gradients(x, targets, want_x=False)
        ours.step(net.parameters, gradients)
        return loss

    assert step() == pytest.approx(step_torch(), rel=1e-5)
    versus(
        f"training step, GRU H={H}, B={rows}, T={steps}, loss and Adam included",
        step,
        step_torch,
        goal=1.5,
        against="torch",
        work=3 * rows * steps * (3 * H * H + H * V) * sgemm,
    )


def bench_first_character(versus, tmp_path):
    model = fastrec.CharModel(H, seed=0)
    letters = "".join(map(chr, range(32, 32 + V)))
    model.fit(letters * 20, 0, epochs=1, batch_size=1, steps=1000, progress=False)
    model.save(tmp_path / "model.npz")
    fastrec_command = Path(sys.executable).parent / "fastrec"
    command = [fastrec_command, "text", "sample", tmp_path / "model.npz", "--prompt", "A"]

    def first():
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.read(2)[:1] == b"A"
            process.kill()

    versus(
        "first character of `fastrec text sample`, a new process",
        first,
        lambda: time.sleep(1.5),
        goal=1,
        against="1.5 s",
    )
