"""Memory that is used again: never by two arrays at once, and no more of it kept than is said."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import fastrec
from fastrec.kernels import memory


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    gc.collect()
    memory.forget()
    yield
    memory.forget()


def test_arrays_of_every_size() -> None:
    sizes = {size + d for size in memory.SIZES for d in (-1, 0, 1)} | {0, 1, 100}
    for size in sorted(sizes):
        if size > 1 << 22 and size % 2:  # larger ones take long
            continue
        array = memory.empty((size,), np.uint8)
        assert array.nbytes == size and array.flags.c_contiguous and array.flags.writeable
        if memory.LEAST <= size <= memory.MOST // 2:
            assert array.ctypes.data % memory.LINE == 0
        array[-1:] = 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_waits_for_all_views(dtype: type) -> None:
    first = memory.empty((100, 500), dtype)
    place, row = first.ctypes.data, first[3]
    del first
    second = memory.empty((100, 500), dtype)
    assert second.ctypes.data != place
    row[:] = 7
    del row
    third = memory.empty((500, 100), dtype)
    assert third.ctypes.data == place and third.shape == (500, 100)


def test_what_is_kept_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST", 1 << 20)
    arrays = [memory.empty((300_000,), np.uint8) for _ in range(9)]
    assert memory.kept() == 0
    while arrays:
        arrays.pop()
        assert memory.kept() <= 1 << 20
    assert memory.kept() > 0
    memory.forget()
    assert memory.kept() == 0


def test_threads_share_no_memory() -> None:
    faults = []

    def work(number: int) -> None:
        rng, held = np.random.default_rng(number), list[np.ndarray]()
        for _ in range(300):
            held.append(memory.empty((int(rng.integers(65_536, 300_000)),), np.uint8))
            held[-1][:] = number
            if len(held) > 5:
                array = held.pop(int(rng.integers(len(held))))
                faults.extend([number] * int((array != number).any()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_results_stay_as_they_are() -> None:
    """What a call returned is not changed by the next calls, nor is its pickle."""
    x = np.random.default_rng(0).standard_normal((8, 300, 4)).astype(np.float32)
    rnn = fastrec.RNN(4, 40, cell="lstm", seed=1, backend="cpu")
    outputs, state = rnn.predict(x)
    trace = rnn.forward(x)
    before = outputs.copy(), state.copy(), trace.outputs.copy()
    again = pickle.loads(pickle.dumps(outputs))
    for _ in range(3):
        rnn.predict(-x)
        rnn.backward(rnn.forward(2 * x), d_hidden=outputs)
    gradients = rnn.backward(trace, d_hidden=outputs)
    copies = {key: value.copy() for key, value in gradients.items()}
    del rnn, trace
    fastrec.RNN(4, 40, cell="lstm", seed=2, backend="cpu").predict(x)
    for found, expected in zip((outputs, state, again), (before[0], before[1], before[0]), strict=True):
        assert np.array_equal(found, expected)
    assert all(np.array_equal(gradients[key], copies[key]) for key in copies)


def test_the_interpreter_ends_quietly() -> None:
    """Also where arrays outlive the module."""
    code = """
import sys
import numpy as np, fastrec
rnn = fastrec.RNN(4, 40, cell="lstm", seed=1, backend="cpu")
made = [rnn.forward(np.ones((8, 300, 4), np.float32))]
made.append(made)
sys.kept, np.kept = made, [rnn.predict(np.ones((8, 300, 4), np.float32))]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
