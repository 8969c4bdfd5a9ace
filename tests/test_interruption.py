"""Ctrl-C held back: nothing is left half changed."""

from __future__ import annotations

import gc
import io
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import numpy as np
import pytest
from attacks.interruptions import TEXT, Interrupter
from numba import types

import fastrec
from fastrec import SGD, Adam, CharModel, HopfieldNetwork, progress
from fastrec.archives import write_archive
from fastrec.files import new_file, require_writable
from fastrec.kernels.compilation import Compilation
from fastrec.kernels.cpu.jit import Kernel
from fastrec.kernels.cpu.threads import Pool
from fastrec.kernels.interruption import heard, uninterrupted
from fastrec.rnn.checkpoint import Checkpoint
from fastrec.rnn.history import TrainingLog
from fastrec.rnn.loop import Learner, train
from fastrec.text.training import TextLearner


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


def test_what_takes_long_is_heard_and_its_end_is_not_interrupted() -> None:
    done = []

    def body(before: bool, inside: bool) -> None:
        with uninterrupted() as block:
            if before:
                interrupt()
                done.append("held back")
            try:
                with heard(block):
                    if inside:
                        interrupt()
                    done.append("body")
            finally:
                interrupt()
                done.append("end")

    for before, inside, expected in (
        (True, False, ["held back", "end"]),
        (False, True, ["end"]),
        (False, False, ["body", "end"]),
    ):
        done.clear()
        with pytest.raises(KeyboardInterrupt):
            body(before, inside)
        assert done == expected


def test_a_handler_that_raises_nothing_is_called_for_each_interrupt_that_is_heard() -> None:
    called = []
    before = signal.signal(signal.SIGINT, lambda number, frame: called.append(number))
    try:
        with uninterrupted() as block:
            with heard(block):
                interrupt()
                assert called == [signal.SIGINT]
                interrupt()
                assert len(called) == 2
            interrupt()
            assert len(called) == 2
        assert len(called) == 3
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_is_set_inside_stays() -> None:
    before = signal.getsignal(signal.SIGINT)

    def handler(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(KeyboardInterrupt), uninterrupted() as block, heard(block):
            interrupt()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def at_each_call(
    act: Callable[[], object], inside: tuple[type, str] | None = None, step: int = 1
) -> Iterator[str]:
    """Do it again and again, interrupted at the first, second, ... place where Python looks for signals.

    inside: a method, if only the places while it runs count.  step: 2 for every second place.
    """
    owner, name = inside or (None, "")
    original = owner and getattr(owner, name)

    def profiled(interrupter: Interrupter, call: Callable[..., Any], *arguments: Any) -> Any:
        gc.disable()  # nobody hears an interrupt in what it calls, as in a function of Hypothesis
        sys.setprofile(interrupter)
        try:
            return call(*arguments)
        finally:
            sys.setprofile(None)
            gc.enable()

    for number in itertools.count(1, step):
        interrupter = Interrupter(number, everywhere=True)
        with suppress(KeyboardInterrupt):
            if owner is None:
                profiled(interrupter, act)
            else:
                with mock.patch.object(
                    owner, name, lambda *rest, i=interrupter: profiled(i, original, *rest)
                ):
                    act()
        if not interrupter.place:
            return
        yield interrupter.place


@pytest.mark.skipif(sys.platform != "linux", reason="open files are counted as on Linux")
# Python closes what `open` had opened when it was interrupted.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("there", [False, True])
def test_files_are_old_or_new_and_closed(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "a.txt"
    if there:
        path.write_text("old")

    def write() -> None:
        require_writable(path)
        with new_file(path) as temporary, temporary.open("w") as file:
            file.write("new")

    before, seen = len(os.listdir("/proc/self/fd")), set()
    for place in at_each_call(write):
        seen.add(path.read_text() if path.exists() else "")
        assert [each.name for each in tmp_path.iterdir()] in ([], ["a.txt"]), place
        assert len(os.listdir("/proc/self/fd")) == before, place
        if there:
            path.write_text("old")
        else:
            path.unlink(missing_ok=True)
    assert seen == {"old" if there else "", "new"}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_archive_is_not_blamed_and_numpy_warns_as_before(tmp_path: Path) -> None:
    stored, before = fastrec.random_patterns(3, 20, seed=1), np.geterr()
    network = HopfieldNetwork(20, backend="reference")
    network.store(stored)

    def forget() -> None:
        network.forget(stored[0])

    def write() -> None:
        write_archive(tmp_path / "a.npz", {}, {"a": np.ones(2)})

    for act in (write, forget):
        for place in at_each_call(act):  # which lets other exceptions pass
            assert np.geterr() == before, place
            network = HopfieldNetwork(20, backend="reference")
            network.store(stored)


def test_a_compilation_that_is_shown_has_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    # Typing and machine code are not what is looked at, and take long.
    add_one = Kernel(lambda x: x + 1)
    monkeypatch.setattr(add_one._compiler, "compile", lambda args, result: time.sleep(0))
    monkeypatch.setattr(add_one, "add_overload", lambda compiled: None)
    monkeypatch.setattr(add_one.cache, "load", lambda args: None)
    monkeypatch.setattr(add_one.cache, "save", lambda args, compiled: None)
    current = []

    class Listener:
        def start(self, compilation: Compilation) -> None:
            current.append(compilation)

        def stop(self, compilation: Compilation, seconds: float) -> None:
            current.remove(compilation)

    monkeypatch.setattr("fastrec.kernels.compilation.listeners", [Listener()])
    places = []

    def compile_it() -> None:
        with suppress(KeyError):  # nothing is kept
            add_one.compile((types.int64,))

    for place in at_each_call(compile_it):
        places.append(place)
        assert not current, place
    assert any(place.startswith("compilation.py") for place in places)


def test_a_bar_ends_with_its_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "on_terminal", lambda: True)
    monkeypatch.delenv("FASTREC_QUIET")
    monkeypatch.setattr("sys.stderr", io.StringIO())

    class Short(Learner):
        """Nothing to learn."""

        def __init__(self) -> None:
            self.log = TrainingLog(None, "mse", False)

        def work(self) -> tuple[float, float]:
            return 1, 0

        def is_finished(self) -> bool:
            return True

    train(Short(), None, True)  # imports
    for place in at_each_call(lambda: train(Short(), None, True)):
        assert not progress._bars, place


def test_threads_that_have_started_are_known() -> None:
    pools = []

    def grow() -> None:
        pools.append(Pool())
        pools[-1].grow(2)

    before = threading.active_count()
    for place in at_each_call(grow):
        if pools:
            assert threading.active_count() - before == len(pools[-1].threads), place
            pools.pop().close()


def test_an_epoch_is_in_all_curves_or_in_none() -> None:
    logs = []

    def append() -> None:
        logs.append(TrainingLog(None, "mse", True))
        logs[-1].append(dict.fromkeys(("train", "validation", "gradient_norm"), np.ones(1)), 0.5)

    for place in at_each_call(append):
        for log in logs:
            assert {len(curve) for curve in log.curves.values()} == {log.epochs}, place


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_training_that_resumes_has_all_of_its_checkpoint_or_nothing(tmp_path: Path) -> None:
    x, models = np.linspace(-1, 1, 12).reshape(2, 3, 2), []

    def resume(seed: int = 2) -> None:
        models.append((fastrec.RNN(2, 2, 2, seed=seed, backend="reference"), Adam()))
        options = {"epochs": 1, "seed": 1, "checkpoint": tmp_path / "a.npz", "progress": False}
        fastrec.fit(models[-1][0], x, x, loss="mse", optimizer=models[-1][1], **options)

    def state() -> list[bytes]:
        rnn, optimizer = models.pop()
        step = optimizer.state_dict()["step"]
        return [array.tobytes() for array in (*rnn.parameters.values(), step)]

    resume(1)
    after = state()
    models.append((fastrec.RNN(2, 2, 2, seed=2, backend="reference"), Adam()))
    before = state()
    seen = set()
    for place in at_each_call(resume, (Checkpoint, "resume"), step=9):
        found = state()
        assert found in (before, after), place
        seen.add(found == after)
    assert seen == {False, True}


@pytest.mark.parametrize("place", ["end_epoch", "restore"])
def test_a_model_of_text_has_the_parameters_of_an_evaluation(place: str) -> None:
    """Interrupted while they are kept, and while the network gets them back."""
    models, rate = list[CharModel](), 0.1 if place == "end_epoch" else 2  # which makes the last not the best

    def fit() -> None:
        models.append(CharModel(2, seed=1, backend="reference"))
        with suppress(FloatingPointError):  # as no evaluation is better than none
            models[-1].fit(TEXT, epochs=1.5, batch_size=2, steps=5, learning_rate=rate, progress=False)

    def state() -> list[bytes]:
        rnn = models.pop().rnn
        assert rnn is not None
        return [array.tobytes() for array in rnn.parameters.values()]

    fit()
    best = state()
    models.append(CharModel(2, seed=1, backend="reference"))
    models[-1].rnn = models[-1]._network(fastrec.Vocabulary.of(TEXT), 1)
    allowed = [best, state()] if place == "end_epoch" else [best]
    places = []
    for at in at_each_call(fit, (TextLearner, place)):
        assert state() in allowed, at
        places.append(at)
    assert len(places) > 20
