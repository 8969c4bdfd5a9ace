"""Threads against each other: arrays that one fills while another computes with them, networks that many use.

A kernel that indexes with numbers which another thread changes may kill the process; a network that is stored
into may answer with the fields of no patterns at all.
"""

from __future__ import annotations

import functools
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from public_calls import CALLS, call, copied, same, writable_arrays

import fastrec
from attacks import Failure, Row, run

COUNT = 1000
ARRAYS = "arrays that change"
N = 65


@functools.cache
def with_arrays() -> list[str]:
    """The calls that have arrays which can be changed."""
    return [name for name in CALLS if name != "unpad" and writable_arrays(call(name)[1])]


def campaign(count: int) -> Iterator[Row]:
    """Races in which arrays change, and as many of each kind of threads that share a network."""
    for name in with_arrays():  # so that no case has to wait for a compiler
        expected(name)
    for share in SHARED.values():
        share(np.random.default_rng(0))
    yield from run("races", dict.fromkeys((ARRAYS, *SHARED), count))


def attempt(kind: str, number: int) -> str:
    """One race."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        draw = np.random.default_rng(number)
        if kind in SHARED:
            SHARED[kind](draw)
        else:
            change_arrays(with_arrays()[number % len(with_arrays())], draw)
    finally:
        sys.setswitchinterval(before)
    return "equal"


@functools.cache
def expected(name: str) -> Any:
    run, arguments = call(name)
    return run(**arguments)


def change_arrays(name: str, draw: np.random.Generator) -> None:
    """Call a function while a thread fills its arrays; then the same call must give what it always gives."""
    run, arguments = call(name)
    arrays, good = writable_arrays(arguments), writable_arrays(copied(arguments))
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            for array, before in zip(arrays, good, strict=True):
                fill(array, draw)
                array[...] = before

    thread = threading.Thread(target=disturb)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy, about numbers that are none
        thread.start()
        try:
            for _ in range(3):
                run(**arguments)
        except (ValueError, FloatingPointError) as error:
            if "\n" in str(error):
                raise Failure(f"{name}: an error of several lines, {error!r}") from None
        finally:
            stop.set()
            thread.join()
    run, arguments = call(name)
    if not same(run(**arguments), expected(name)):
        raise Failure(f"{name}: the call differs after the race")


def fill(array: np.ndarray, draw: np.random.Generator) -> None:
    """Fill an array with zeros, extremes or anything."""
    kind = draw.integers(4)
    if kind == 0:
        array[...] = 0
    elif kind < 3 and array.dtype.kind in "iu":
        array[...] = (np.iinfo(array.dtype).min, np.iinfo(array.dtype).max)[kind - 1]
    else:
        array[...] = np.frombuffer(draw.bytes(array.nbytes), array.dtype).reshape(array.shape)


def at_once(*jobs: Callable[[], object]) -> None:
    """Run jobs in threads that begin together; raise what one of them raises."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(jobs))

    def guarded(job: Callable[[], object]) -> None:
        barrier.wait()
        try:
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def network_of(patterns: np.ndarray, **options: Any) -> fastrec.HopfieldNetwork:
    network = fastrec.HopfieldNetwork(N, backend="cpu", **options)
    network.store(patterns)
    return network


def fields(patterns: np.ndarray, states: np.ndarray) -> list[list[int]]:
    x = patterns.astype(int)
    return (states @ x.T @ x - len(x) * states.astype(int)).tolist()


def require(fact: object, text: str) -> None:
    if not fact:
        raise Failure(text)


def store_while_read(draw: np.random.Generator) -> None:
    """Each result is that of the patterns of one moment, and none of them stays when there are others."""
    first, last = 4, int(draw.integers(8, 30))
    patterns = fastrec.random_patterns(last, N, draw)
    states = fastrec.random_patterns(3, N, draw)
    answers = {p: fields(patterns[:p], states) for p in range(first, last + 1)}
    network = network_of(patterns[:first], representation=("patterns", "weights")[draw.integers(2)])
    done = threading.Event()

    def write() -> None:
        for p in range(first, last):
            network.store(patterns[p])
        done.set()

    def read() -> None:
        seen = first
        while not done.is_set():
            h = network.local_fields(states).tolist()
            p = next((p for p in range(seen, last + 1) if h == answers[p]), None)
            if p is None:
                raise Failure("fields of no patterns that were ever stored")
            require(network.n_patterns >= p, "fewer patterns than a field had")
            network.recall(states, max_sweeps=2, seed=0)
            seen = p

    at_once(write, read, read)
    require(network.local_fields(states).tolist() == answers[last], "wrong fields for good")
    require(same(network.couplings(), network_of(patterns).couplings()), "wrong couplings for good")


def store_and_forget(draw: np.random.Generator) -> None:
    """No memory is lost."""
    patterns = fastrec.random_patterns(30, N, draw)
    network = network_of(patterns[20:])
    at_once(
        lambda: [network.store(x) for x in patterns[:10]],
        lambda: [network.store(x) for x in patterns[10:20]],
        lambda: [network.forget(x) for x in patterns[20:]],
    )
    left, wanted = ({x.tobytes() for x in rows} for rows in (network.patterns, patterns[:20]))
    require(left == wanted and network.n_patterns == 20, "memories are lost or left")
    require(same(network.couplings(), network_of(patterns[:20]).couplings()), "wrong couplings for good")


def first_store(draw: np.random.Generator) -> None:
    """The first to store says how many networks there are, and the other is refused."""
    patterns = fastrec.random_patterns(6, N, draw)
    network, refused = fastrec.HopfieldNetwork(N, backend="cpu"), list[str]()

    def store(x: np.ndarray) -> None:
        try:
            network.store(x)
        except ValueError as error:
            refused.append(str(error))

    at_once(lambda: store(patterns[:2]), lambda: store(patterns.reshape(2, 3, N)))
    require(len(refused) == 1 and "this network takes" in refused[0], f"refused: {refused}")
    require(network.patterns.shape in ((2, N), (2, 3, N)), "patterns of both")


def backends(draw: np.random.Generator) -> None:
    """One network, which each thread uses on a backend of its own."""
    network = fastrec.HopfieldNetwork(N)
    network.store(fastrec.random_patterns(5, N, draw))
    states = fastrec.random_patterns(3, N, draw)
    wanted = network.recall(states, seed=1).states

    def use(backend: str) -> None:
        for _ in range(5):
            with fastrec.use_backend(backend):
                require(same(network.recall(states, seed=1).states, wanted), "another recall")

    at_once(lambda: use("cpu"), lambda: use("reference"), lambda: use("cpu"))


def replaced_parameters(draw: np.random.Generator) -> None:
    """A reader computes with the parameters before or after, and is never refused."""
    cell = ("elman", "jordan", "gru", "lstm")[draw.integers(4)]
    rnn = fastrec.RNN(3, 9, 2, cell, seed=draw, backend="cpu")
    x = np.ones((2, 5, 3), np.float32)
    choices, answers = [0.5 * rnn.parameters["W_rec"], 2 * rnn.parameters["W_rec"]], list[bytes]()
    for choice in choices:
        rnn.parameters["W_rec"] = choice
        answers.append(rnn.predict(x)[0].tobytes())
    done = threading.Event()

    def write() -> None:
        for turn in range(100):
            rnn.parameters["W_rec"] = choices[turn % 2]
        done.set()

    def read() -> None:
        while not done.is_set():
            require(rnn.predict(x)[0].tobytes() in answers, "outputs of no parameters that were ever there")
            trace = rnn.forward(x)
            rnn.backward(trace, d_state=np.ones(trace.state.shape))

    at_once(write, read, read)


def trained_meanwhile(draw: np.random.Generator) -> None:
    """Nobody is refused while a network is trained, and a copy that the training makes is whole."""
    rnn = fastrec.RNN(3, 9, 3, "gru", seed=draw, backend="cpu")
    x = draw.integers(0, 3, (8, 6))
    done, copies = threading.Event(), list[tuple[fastrec.RNN, np.ndarray]]()

    def train() -> None:
        options = {"epochs": 3, "batch_size": 4, "progress": False, "seed": 0, "callback": keep}
        fastrec.fit(rnn, x, x, **options)
        done.set()

    def keep(epoch: int, history: fastrec.History) -> None:
        copies.append((rnn.copy(), rnn.predict(x)[0]))

    def read() -> None:
        while not done.is_set():
            require(np.isfinite(rnn.predict(x)[0]).all(), "outputs that are not finite")
            if copies:
                network, outputs = copies[-1]
                require(same(network.predict(x)[0], outputs), "a copy that changes")

    at_once(train, read, read)


SHARED: dict[str, Callable[[np.random.Generator], None]] = {
    "store while read": store_while_read,
    "store and forget": store_and_forget,
    "first store": first_store,
    "backends": backends,
    "replaced parameters": replaced_parameters,
    "trained meanwhile": trained_meanwhile,
}
