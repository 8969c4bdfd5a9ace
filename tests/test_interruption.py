"""Ctrl-C held back: nothing is left half changed."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import numpy as np
import pytest

from fastrec import SGD, Adam
from fastrec.interruption import uninterrupted


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def same_handler() -> Iterator[None]:
    """Python's own at the beginning and at the end, and nobody else who hears of signals."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.set_wakeup_fd(-1)
    yield
    signal.set_wakeup_fd(before[1], warn_on_full_buffer=False)
    assert signal.signal(signal.SIGINT, before[0]) is signal.default_int_handler


def test_an_interrupt_waits_for_the_end() -> None:
    done = []

    def body() -> None:
        with uninterrupted():
            interrupt()
            interrupt()
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        body()
    assert done == [1]
    with uninterrupted():
        done.append(2)
    assert done == [1, 2]


def test_blocks_are_nested() -> None:
    done = []

    def body() -> None:
        with uninterrupted():
            with uninterrupted():
                interrupt()
                done.append(1)
            done.append(2)

    with pytest.raises(KeyboardInterrupt):
        body()
    assert done == [1, 2]


def test_an_error_of_the_block_is_not_lost() -> None:
    with pytest.raises(ValueError, match="own"), uninterrupted():
        raise ValueError("own")

    def body() -> None:
        with uninterrupted():
            interrupt()
            raise ValueError("own")

    with pytest.raises(KeyboardInterrupt) as caught:
        body()
    assert isinstance(caught.value.__context__, ValueError)


def test_handlers_of_the_user_are_called_once_and_stay() -> None:
    heard: list[tuple[int, bool]] = []

    def handler(number: int, frame: FrameType | None) -> None:
        heard.append((number, frame is not None))

    before = signal.signal(signal.SIGINT, handler)
    try:
        with uninterrupted():
            interrupt()
            interrupt()
            assert not heard
        assert heard == [(signal.SIGINT, True)]
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with uninterrupted():
            interrupt()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_do_nothing() -> None:
    seen: list[object] = []

    def body() -> None:
        with uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


@pytest.mark.parametrize("rule", [lambda: Adam(0.1, clip=1.0), lambda: SGD(0.1, momentum=0.9)])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_step_is_whole_or_not_made(
    rule: type[Adam] | type[SGD], backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted before each line of Python that a step runs."""
    first = {"W": np.ones((3, 4)), "b": np.ones(5)}
    gradients = {key: np.full_like(array, 2) for key, array in first.items()}

    def step(optimizer: Adam | SGD, parameters: dict[str, np.ndarray], line: int) -> bool:
        """Interrupt before a line, counted as they are run; return whether there was one."""
        left = line

        def trace(frame: FrameType, event: str, _: object) -> object:
            nonlocal left
            if event == "line" and "fastrec" in frame.f_code.co_filename:
                left -= 1
                if left == 0:
                    interrupt()
            return trace

        sys.settrace(trace)
        try:
            optimizer.step(parameters, gradients, backend=backend)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        return left <= 0

    whole, optimizer = {key: array.copy() for key, array in first.items()}, rule()
    optimizer.step(whole, gradients, backend=backend)
    states = [rule().state_dict(), optimizer.state_dict()]
    line, seen = 0, set()
    while True:
        line += 1
        optimizer, parameters = rule(), {key: array.copy() for key, array in first.items()}
        if not step(optimizer, parameters, line):
            break
        made = int(optimizer.state_dict()["step"])
        seen.add(made)
        expected = whole if made else first
        assert all(np.array_equal(parameters[key], expected[key]) for key in first), line
        state = optimizer.state_dict()
        assert state.keys() == states[made].keys()
        assert all(np.array_equal(state[key], states[made][key]) for key in state), line
    assert seen == {0, 1}
