"""Networks that several threads use at once, with the interpreter switching between them all the time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import fastrec
from fastrec import RNN, HopfieldNetwork

N = 65


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


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


@pytest.fixture(scope="module")
def patterns() -> np.ndarray:
    return fastrec.random_patterns(60, N, seed=1)


def fields(patterns: np.ndarray, states: np.ndarray) -> np.ndarray:
    x = patterns.astype(int)
    return states @ x.T @ x - len(x) * states.astype(int)


@pytest.mark.parametrize("representation", ["patterns", "weights"])
def test_readers_see_whole_patterns_while_others_are_stored(
    patterns: np.ndarray, representation: str
) -> None:
    """Each result is that of the patterns of one moment, and none of them stays when there are others."""
    states = fastrec.random_patterns(3, N, seed=2)
    expected = {p: fields(patterns[:p], states).tolist() for p in range(4, 61)}
    for _ in range(20):
        network = HopfieldNetwork(N, representation=representation, backend="cpu")
        network.store(patterns[:4])
        done = threading.Event()

        def write(network: HopfieldNetwork = network, done: threading.Event = done) -> None:
            for p in range(4, 60):
                network.store(patterns[p])
            done.set()

        def read(network: HopfieldNetwork = network, done: threading.Event = done) -> None:
            last = 4
            while not done.is_set():
                h = network.local_fields(states).tolist()
                p = next(p for p in range(last, 61) if h == expected[p])  # StopIteration if it is of none
                assert network.n_patterns >= p
                network.recall(states, max_sweeps=2, seed=0)
                last = p

        at_once(write, read, read)
        assert network.local_fields(states).tolist() == expected[60]
        assert np.array_equal(network.couplings(), network_of(patterns).couplings())


def network_of(patterns: np.ndarray) -> HopfieldNetwork:
    network = HopfieldNetwork(N, backend="cpu")
    network.store(patterns)
    return network


def test_no_memory_is_lost_by_two_who_store_and_forget(patterns: np.ndarray) -> None:
    mine, yours, gone = patterns[:20], patterns[20:40], patterns[40:]
    for _ in range(40):
        network = HopfieldNetwork(N, backend="cpu")
        network.store(gone)
        at_once(
            lambda network=network: [network.store(x) for x in mine],
            lambda network=network: [network.store(x) for x in yours],
            lambda network=network: [network.forget(x) for x in gone],
        )
        assert network.n_patterns == 40
        stored = network.patterns()
        assert {x.tobytes() for x in stored} == {x.tobytes() for x in patterns[:40]}
        assert np.array_equal(network.couplings(), network_of(patterns[:40]).couplings())


def test_the_first_to_store_fixes_the_number_of_networks(patterns: np.ndarray) -> None:
    for _ in range(40):
        network, refused = HopfieldNetwork(N, backend="cpu"), []

        def store(x: np.ndarray, network: HopfieldNetwork = network, refused: list[str] = refused) -> None:
            try:
                network.store(x)
            except ValueError as error:
                refused.append(str(error))

        at_once(lambda: store(patterns[:2]), lambda: store(patterns[:6].reshape(2, 3, N)))
        assert len(refused) == 1 and "this network takes" in refused[0]
        assert network.patterns().shape in ((2, N), (2, 3, N))


def test_backends_of_two_threads(patterns: np.ndarray) -> None:
    """One network, which each thread uses on a backend of its own."""
    network, states = HopfieldNetwork(N), fastrec.random_patterns(3, N, seed=2)
    network.store(patterns)
    expected = network.recall(states, seed=1).states

    def use(backend: str) -> None:
        for _ in range(20):
            with fastrec.use_backend(backend):
                assert np.array_equal(network.recall(states, seed=1).states, expected)

    at_once(lambda: use("cpu"), lambda: use("reference"), lambda: use("cpu"))


@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_parameters_that_are_replaced_meanwhile(cell: str) -> None:
    """A reader computes with the parameters before or after, and is never refused."""
    rnn = RNN(3, 9, 2, cell, seed=0, backend="cpu")
    x = np.ones((2, 5, 3), np.float32)
    choices = [RNN(3, 9, 2, cell, seed=seed).parameters["W_rec"] for seed in (1, 2)]
    expected = []
    for choice in choices:
        rnn.parameters["W_rec"] = choice
        expected.append(rnn.predict(x)[0].tobytes())
    done = threading.Event()

    def write() -> None:
        for turn in range(2000):
            rnn.parameters["W_rec"] = choices[turn % 2]
        done.set()

    def read() -> None:
        while not done.is_set():
            assert rnn.predict(x)[0].tobytes() in expected
            rnn.backward(rnn.forward(x), d_state=np.ones(rnn.forward(x).state.shape))

    at_once(write, read, read)


def test_a_network_is_run_while_it_is_trained() -> None:
    """Nobody is refused, and a copy that the training makes is whole."""
    rnn = RNN(3, 9, 3, "gru", seed=0, backend="cpu")
    x = np.random.default_rng(0).integers(0, 3, (16, 8))
    done, copies = threading.Event(), []

    def train() -> None:
        fastrec.fit(rnn, x, x, epochs=20, batch_size=4, progress=False, seed=0, callback=keep)
        done.set()

    def keep(epoch: int, history: fastrec.History) -> None:
        copies.append((rnn.copy(), rnn.predict(x)[0]))

    def read() -> None:
        while not done.is_set():
            assert np.isfinite(rnn.predict(x)[0]).all()
            if copies:
                network, outputs = copies[-1]
                assert np.array_equal(network.predict(x)[0], outputs)

    at_once(train, read, read)
