"""Jobs for comparing two versions of fastrec, and the child process in which one version runs them.

The child also runs this file, with the fastrec of its checkout, so jobs use only features of both versions.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastrec

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

Task = Callable[[], Any]
STEPS = 100  # of a sequence
RECURRENT = (  # cell, rows, inputs, units
    ("elman", 32, 64, 128),
    ("elman", 32, 64, 256),
    ("elman", 64, 64, 512),
    ("elman", 64, 64, 1024),
    ("elman", 1, 32, 64),
    ("gru", 32, 64, 256),
    ("lstm", 32, 64, 256),
    ("elman", 16, 32, 32),
    ("gru", 16, 32, 32),
    ("lstm", 16, 32, 32),
)
CELLS = ("elman", "jordan", "gru", "lstm")
GRU, SYMBOLS = 512, 65  # of the model of text


def first_recall() -> Task:
    def run() -> Any:
        patterns = fastrec.random_patterns(10, 100, seed=0)
        net = fastrec.HopfieldNetwork(100, backend="cpu")
        net.store(patterns)
        return net.recall(fastrec.corrupt(patterns, 0.1, seed=0), seed=0)

    return run


def first_gradients(cell: str) -> Task:
    net = fastrec.RNN(3, 8, 2, cell, initial="uniform", backend="cpu", seed=0)
    x, targets = sequences(4, 10, 3), np.zeros((4, 10), np.int32)
    return lambda: net.loss_and_gradients(x, targets)


def first_generation() -> Task:
    net = fastrec.RNN(20, 16, 20, "gru", initial="uniform", backend="cpu", seed=0)
    return lambda: net.generate(np.zeros((1, 1), np.int32), 50, seed=0)


def capacity(n: int, trials: int, criterion: Any = "all", stop: Any = "first_failure") -> Task:
    return lambda: fastrec.capacity(n, trials, criterion, stop, backend="cpu")


def recall(n: int, p: int, b: int) -> Task:
    patterns: Any = fastrec.random_patterns(p, n, packed=n > 10_000, seed=0)
    first = fastrec.random_patterns(b, n, seed=0)  # of the patterns
    probes = fastrec.corrupt(first, 0.1, seed=0)

    def run() -> Any:
        net = fastrec.HopfieldNetwork(n, backend="cpu")
        net.store(patterns)
        return net.recall(probes, seed=0)

    return run


def overlaps() -> Task:
    net = fastrec.HopfieldNetwork(4096, backend="cpu")
    net.store(fastrec.random_patterns(2048, 4096, seed=1, packed=True))
    probes = fastrec.random_patterns(2048, 4096, seed=2, packed=True)
    return lambda: net.overlaps(probes)


def couplings(packed: bool) -> Task:
    patterns = fastrec.random_patterns(1000, 4096, packed=packed, seed=0)

    def run() -> Any:
        net = fastrec.HopfieldNetwork(4096, backend="cpu")
        net.store(patterns)
        return net.couplings()

    return run


def recurrent(cell: str, b: int, i: int, h: int, backward: bool, ragged: bool = False) -> Task:
    net = fastrec.RNN(i, h, cell=cell, initial="uniform", backend="cpu", seed=0)
    x, d = sequences(b, STEPS, i), sequences(b, STEPS, h)
    lengths = np.random.default_rng(0).integers(1, STEPS + 1, b) if ragged else None
    if backward:
        return lambda: net.backward(net.forward(x, lengths=lengths), d_hidden=d)
    return lambda: net.predict(x, lengths=lengths)


def characters(rows: int, steps: int, rounded: bool = False) -> Task:
    net = fastrec.RNN(SYMBOLS, GRU, SYMBOLS, "gru", initial="uniform", backend="cpu", seed=0)
    net = net.rounded() if rounded else net
    prompt = np.zeros((rows, 1), np.int32)
    return lambda: net.generate(prompt, steps, 0.8, seed=0)


def training_step() -> Task:
    net = fastrec.RNN(SYMBOLS, GRU, SYMBOLS, "gru", initial="uniform", backend="cpu", seed=0)
    x, targets = np.random.default_rng(0).integers(0, SYMBOLS, (2, 64, STEPS)).astype(np.int32)
    optimizer = fastrec.Adam(1e-3)

    def run() -> Any:
        loss, gradients, _ = net.loss_and_gradients(x, targets, want_x=False)
        optimizer.step(net.parameters, gradients)
        return loss

    return run


def train_addition(models: int, pairs: int) -> Task:
    """Run the training of `fastrec addition` for one epoch."""
    x, targets, mask = fastrec.addition_task(pairs, 8)
    held = fastrec.addition_task(256, 8, seed=1)

    def run() -> Any:
        net = fastrec.RNN(2, 3, 2, "lstm", models=models, initial="uniform", backend="cpu", seed=0)
        options = {"optimizer": fastrec.Adam(0.03, clip=1.0), "mask": mask, "progress": False}
        history = fastrec.fit(net, x, targets, (*held[:2], None, held[2]), epochs=1, seed=0, **options)
        return history.train, history.validation, net.predict(held[0])

    return run


def first_character() -> Task:
    folder = tempfile.TemporaryDirectory()
    model = fastrec.CharModel(GRU, backend="cpu", seed=0)
    text = "".join(map(chr, range(32, 32 + SYMBOLS))) * 20
    model.fit(text, 0, epochs=1, batch_size=1, steps=1000, progress=False)
    path = Path(folder.name, "model.npz")
    model.save(path)
    program = "from fastrec.cli import main; main()"
    command = [sys.executable, "-c", program, "text", "sample", path, "--prompt", "A"]

    def run(folder: Any = folder) -> Any:  # which is there as long as this function
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            found = process.stdout.read(2)
            process.kill()
        return found.decode()

    return run


def sequences(b: int, t: int, width: int) -> Any:
    """Return random numbers (b, t, width) between -1 and 1."""
    return np.random.default_rng(width).uniform(-1, 1, (b, t, width)).astype(np.float32)


# Jobs of which the first call counts, small ones.
FIRST: dict[str, Callable[[], Task]] = {
    "capacity": partial(capacity, 100, 20),
    "store and recall": first_recall,
    **{f"loss and gradients, {cell}": partial(first_gradients, cell) for cell in CELLS},
    "generate": first_generation,
    "addition": partial(train_addition, models=4, pairs=64),
}
# Jobs of which later calls count.
AGAIN: dict[str, Callable[[], Task]] = {
    "100 trials, n = 100": partial(capacity, 100, 100),
    "100 trials, n = 1000": partial(capacity, 1000, 100),
    "400 trials, n = 3000": partial(capacity, 3000, 400),
    "20 trials, n = 10000": partial(capacity, 10_000, 20),
    "10 trials, n = 10000, largest": partial(capacity, 10_000, 10, stop="largest"),
    "20 trials, n = 10000, newest": partial(capacity, 10_000, 20, "newest"),
    "2 trials, n = 20000": partial(capacity, 20_000, 2),
    "2 trials, n = 30000": partial(capacity, 30_000, 2),
    "store and recall, n = 100, p = 8, 1 probe": partial(recall, 100, 8, 1),
    "store and recall, n = 10000, p = 1000, 100 probes": partial(recall, 10_000, 1000, 100),
    "store and recall, n = 100000, p = 3000, 16 probes": partial(recall, 100_000, 3000, 16),
    "overlaps of 2048 states and 2048 patterns, n = 4096": overlaps,
    "store p = 1000, n = 4096, with couplings": partial(couplings, packed=False),
    "couplings of packed patterns, p = 1000, n = 4096": partial(couplings, packed=True),
    **{
        f"{cell} B={b} I={i} H={h}, forward{' and backward' * backward}": partial(
            recurrent, cell, b, i, h, backward
        )
        for cell, b, i, h in RECURRENT
        for backward in (False, True)
    },
    **{
        f"elman B=32 I=64 H=256, lengths 1..100, forward{' and backward' * backward}": partial(
            recurrent, "elman", 32, 64, 256, backward, ragged=True
        )
        for backward in (False, True)
    },
    f"2000 characters of 1 sample, GRU H={GRU}": partial(characters, 1, 2000),
    f"2000 characters of 1 sample, GRU H={GRU}, weights of 16 bits": partial(characters, 1, 2000, True),
    f"200 characters of 64 samples, GRU H={GRU}": partial(characters, 64, 200),
    f"training step of a text, GRU H={GRU}, B=64, T={STEPS}": training_step,
    "addition, 64 networks, 1 epoch of 512 pairs": partial(train_addition, models=64, pairs=512),
    "first character of a new process, kernels cached": first_character,
}


class Side:
    """A child process that is ready to run a job of `AGAIN` with the fastrec of a checkout."""

    def __init__(self, tree: Path, name: str, cache: Path) -> None:
        command = [sys.executable, __file__, "again", name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=environment(tree, cache), text=True, **pipes)
        self.digest, self.seconds = self.read()

    def time(self, calls: int) -> tuple[float, float]:
        """Return the seconds of a first call, and per call of the given number of others."""
        print(calls, file=self.process.stdin, flush=True)
        first, rest = self.read()
        return first, rest / calls

    def read(self) -> Any:
        """Read an answer of the process."""
        if not (line := self.process.stdout.readline()):
            raise ChildProcessError(
                f"{self.process.args[-1]}: the process ended, exit status {self.process.wait()}"
            )
        return json.loads(line)

    def close(self) -> None:
        self.process.communicate()


def first_call(tree: Path, name: str, cache: Path) -> dict[str, Any]:
    """Return the cost of a job of `FIRST` in a process with nothing compiled, with the fastrec of a
    checkout.

    The result has `cpu`, the user and system seconds of compilation in the process and its children, which
    is the difference between the first call and the second; `wall`, the same in wall time; `imports`, the
    CPU seconds before the first call; `compiled`, the number of functions compiled by Numba; and `digest`,
    of the result.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, __file__, "first", name]
    done = subprocess.run(
        command, env=environment(tree, cache), stdout=subprocess.PIPE, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = sum(getattr(after, field) - getattr(before, field) for field in ("ru_utime", "ru_stime"))
    found = json.loads(done.stdout.splitlines()[-1])
    # Of the whole process, as children that compile are counted once they have ended.
    return found | {"cpu": spent - found["imports"] - 2 * found["second"]}


def environment(tree: Path, cache: Path) -> dict[str, str]:
    """Return the environment of a child that imports the fastrec of a checkout and has its own kernel
    cache."""
    folder = str(cache)
    keys = {"PYTHONPATH": str(tree / "src"), "FASTREC_CACHE_DIR": folder, "NUMBA_CACHE_DIR": folder}
    return os.environ | keys | {"FASTREC_QUIET": "1", "FASTREC_BACKEND": "cpu"}


def cpu_seconds() -> float:
    """Return the user and system CPU seconds of this process and of its finished children."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def run_first(name: str) -> None:
    """Run the child of `first_call`."""
    import digests
    from numba.core import event

    from fastrec.backend import kernels

    for domain in ("hopfield", "capacity", "rnn", "generation"):  # those that older trees have too
        kernels(domain, "cpu")
    task = FIRST[name]()
    times = [(cpu_seconds(), time.perf_counter())]
    with event.install_recorder("numba:compile") as recorder:
        result = task()
    times.append((cpu_seconds(), time.perf_counter()))
    again = task()
    times.append((cpu_seconds(), time.perf_counter()))
    if digests.digest(result) != digests.digest(again):
        raise ArithmeticError(f"{name}: the second call gave another result")
    (imports, begin), (_, middle), (end, last) = times
    found = {
        "imports": imports,
        "second": end - times[1][0],
        "wall": (middle - begin) - (last - middle),
        "compiled": sum(happened.is_start for _, happened in recorder.buffer),
        "digest": digests.outline(result),
    }
    print(json.dumps(found))


def run_again(name: str) -> None:
    """Run the child of `Side`."""
    import digests

    task = AGAIN[name]()
    found = digests.outline(task())
    begin = time.perf_counter()
    task()
    print(json.dumps([found, time.perf_counter() - begin]), flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        task()
        middle = time.perf_counter()
        for _ in range(int(line)):
            task()
        print(json.dumps([middle - begin, time.perf_counter() - middle]), flush=True)


if __name__ == "__main__":
    {"first": run_first, "again": run_again}[sys.argv[1]](sys.argv[2])
