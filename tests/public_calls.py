"""A valid call of every public function and method: what tests of all public names at once begin with."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import fastrec
from fastrec.files import DamagedFile

N = 70  # units
WORDS = "the word was short, and the word was the end.\n"

# What a call may raise because of its arguments.
ERRORS = (ValueError, TypeError, fastrec.BackendError, DamagedFile, OSError, MemoryError, FloatingPointError)
# What no argument is.
WRONG = [
    *(
        None,
        object(),
        "nonsense",
        b"bytes",
        "",
        -1,
        0,
        2**70,
        -(2**70),
        True,
        1.5,
        np.nan,
        np.inf,
        -np.inf,
        1j,
    ),
    *(
        [],
        {},
        (),
        [[1], [1, 2]],
        [None],
        {"a": 1},
        np.empty(0),
        np.array("text"),
        np.array(None),
        np.ma.masked,
    ),
    *(np.float32(2), np.int8(-3), np.datetime64("2000-01-01"), type, len, iter([1])),
]

Call = tuple[Callable[..., Any], dict[str, Any]]


def spins(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), shape)


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def tokens(seed: int, size: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, size, shape)


def hopfield(backend: str = "cpu") -> fastrec.HopfieldNetwork:
    network = fastrec.HopfieldNetwork(N, backend=backend)
    network.store(spins(0, 4, N))
    return network


def sequence(backend: str = "cpu") -> fastrec.SequenceMemory:
    memory = fastrec.SequenceMemory(N, backend=backend)
    memory.store(spins(0, 4, N))
    return memory


def learn_sequence(backend: str) -> Call:
    memory = sequence(backend)
    return changed(memory.store, lambda: memory.patterns), {"patterns": spins(1, 3, N)}


def dense(backend: str = "cpu", degree: Any = "exponential") -> fastrec.DenseMemory:
    memory = fastrec.DenseMemory(N, degree, backend=backend)
    memory.store(spins(0, 4, N))
    return memory


def learn_dense(backend: str) -> Call:
    memory = dense(backend)
    return changed(memory.store, lambda: memory.patterns), {"patterns": spins(1, 3, N)}


def rnn(cell: str = "gru", size: int = 5, backend: str = "cpu") -> fastrec.RNN:
    return fastrec.RNN(size, 8, size, cell, seed=0, backend=backend)


def encoder_decoder(backend: str = "cpu") -> fastrec.EncoderDecoder:
    return fastrec.EncoderDecoder(5, 5, 8, seed=0, backend=backend)


def char_model(backend: str = "cpu") -> fastrec.CharModel:
    model = fastrec.CharModel(8, seed=0, backend=backend)
    model.fit(WORDS * 4, epochs=1, batch_size=2, steps=10, progress=False)
    return model


def echo_state(backend: str = "cpu") -> fastrec.EchoState:
    esn = fastrec.EchoState(2, 8, 2, seed=0, backend=backend)
    return esn.fit(floats(0, 3, 6, 2), floats(1, 3, 6, 2), ridge=1.0, washout=1)


SENTENCES = [("a b", "x y"), ("c", "z"), ("b c a", "y z x")]


def constants() -> fastrec.FourWaysResult:
    return fastrec.four_ways(["order-2"], ["constant"], quick=True, seed=1)


def translator(backend: str = "cpu") -> fastrec.Translator:
    made = fastrec.Translator(4, embedding_size=3, min_count=1, seed=1, backend=backend)
    made.fit(SENTENCES, epochs=1, batch_size=2, progress=False)
    return made


def saved_text(text: str) -> Call:
    path = Path(tempfile.mkdtemp(), "pairs.tsv")
    path.write_text(text, encoding="utf-8")
    return fastrec.read_sentence_pairs, {"path": path}


def ngrams() -> fastrec.NGramModel:
    return fastrec.NGramModel(3, 5).fit(tokens(0, 5, 60))


def orders(sweeps: int) -> np.ndarray:
    return np.stack([np.random.default_rng(j).permutation(N) for j in range(sweeps)]).astype(np.int32)


def backward(cell: str, backend: str) -> Call:
    network = rnn(cell, backend=backend)
    trace = network.forward(floats(0, 3, 6, 5), floats(1, 1, 3, network._config.state))
    given = {
        "d_outputs": floats(2, 3, 6, 5),
        "d_hidden": floats(3, 3, 6, 8),
        "d_state": floats(4, *trace.state.shape),
    }
    return network.backward, {"trace": trace, **given}


def step(optimizer: Any, backend: str) -> Call:
    p = {"W": floats(0, 5, 8), "b": floats(1, 8)}

    def run(parameters: Mapping[str, Any], gradients: Mapping[str, Any], **options: Any) -> Any:
        norm = optimizer.step(parameters, gradients, backend=backend, **options)
        return norm, dict(parameters), optimizer.state_dict()

    return run, {"parameters": p, "gradients": {key: array + 1 for key, array in p.items()}}


def changed(method: Callable[..., Any], result: Callable[[], Any]) -> Callable[..., Any]:
    """A method that returns nothing, followed by a look at what it has changed."""

    def run(*args: Any, **options: Any) -> Any:
        method(*args, **options)
        return result()

    run.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    return run


def written(method: Callable[..., Any], suffix: str) -> Call:
    folder = tempfile.mkdtemp()

    def run(path: Any) -> None:
        method(path)

    return run, {"path": Path(folder, f"file{suffix}")}


def saved(owner: Any, suffix: str) -> Call:
    path = Path(tempfile.mkdtemp(), f"file{suffix}")
    owner.save(path)
    return type(owner).load, {"path": path}


def strokes_file() -> Path:
    path = Path(tempfile.mkdtemp(), "strokes.csv")
    path.write_text("stroke,x,y\n1,0,0\n1,3,4\n2,5,5\n")
    return path


def of_network(method: str, **arguments: Any) -> Callable[[str], Call]:
    def call(backend: str) -> Call:
        network = hopfield(backend)
        run = getattr(network, method)
        return (changed(run, lambda: network.patterns) if method in ("store", "forget") else run), arguments

    return call


def given_couplings(couplings: Any, thresholds: Any, **options: Any) -> Any:
    network = fastrec.HopfieldNetwork.from_couplings(couplings, thresholds, **options)
    return network.couplings(), network.thresholds


def fits(backend: str) -> Call:
    network = rnn(backend=backend)
    run = changed(fastrec.fit, lambda: dict(network.parameters))
    given: dict[str, Any] = {
        "rnn": network,
        "x": tokens(0, 5, 4, 6),
        "targets": tokens(1, 5, 4, 6),
        "lengths": np.array([6, 5, 4, 3]),
    }
    given |= {"mask": tokens(2, 4, 4, 6) > 0, "epochs": 2, "batch_size": 2, "progress": False, "seed": 0}
    return run, given


def fits_a_part(backend: str) -> Call:
    run, given = fits(backend)
    weights = {"steps": floats(3, 4, 6) ** 2, "rows": np.ones(4), "classes": floats(4, 5) ** 2}
    trainable = {"W_in": False, "W_rec": floats(5, 8, 24) > 0}
    return run, given | {"weights": weights, "trainable": trainable, "keep": "best"}


def fits_by_newton_steps(backend: str) -> Call:
    run, given = fits(backend)
    return run, given | {"optimizer": fastrec.HessianFree(iterations=3)}


def truncated(backend: str) -> Call:
    given = {"rnn": rnn(backend=backend), "x": floats(0, 3, 8, 5), "targets": tokens(1, 5, 3, 8)}
    given |= {"k1": 3, "k2": 5, "lengths": np.array([8, 5, 2]), "state": floats(2, 1, 3, 8)}
    return listed(fastrec.truncated_bptt), given


def learn_pairs(backend: str) -> Call:
    model = encoder_decoder(backend)
    run = changed(model.fit, lambda: model.parameters)
    given = {"sources": tokens(0, 5, 4, 6), "targets": tokens(1, 5, 4, 3), "lengths": np.array([6, 5, 4, 3])}
    given |= {"target_lengths": np.array([3, 2, 1, 0]), "epochs": 1, "batch_size": 2, "progress": False}
    return run, given | {"seed": 0}


def learn_text(backend: str) -> Call:
    model = fastrec.CharModel(8, seed=0, backend=backend)
    run = changed(model.fit, lambda: dict(model._fitted()[1].parameters))
    return run, {"text": WORDS * 4, "epochs": 1, "batch_size": 2, "steps": 10, "progress": False}


STATES = {"states": spins(1, 3, N)}
SEQUENCES = {"x": floats(0, 3, 6, 5), "state": floats(1, 1, 3, 8), "lengths": np.array([6, 4, 0])}
LEARNED = SEQUENCES | {"targets": tokens(2, 5, 3, 6), "mask": tokens(3, 3, 3, 6) > 0}
PAIRS = {
    "sources": tokens(0, 5, 3, 6),
    "targets": tokens(1, 5, 3, 4),
    "lengths": np.array([6, 4, 1]),
    "target_lengths": np.array([4, 2, 0]),
}

# The calls by name, each made afresh for a backend: a function and its arguments.
ENSEMBLE = {
    "rule": "perceptron",
    "patterns": spins(5, 9, 20),
    "self_coupling": True,
    "thresholds": np.arange(20) % 3 - 1,
}

CALLS: dict[str, Callable[[str], Call]] = {
    "HopfieldNetwork": lambda b: (fastrec.HopfieldNetwork, {"n": 5, "backend": b}),
    "HopfieldNetwork.store": of_network("store", patterns=spins(1, 3, N)),
    "HopfieldNetwork.forget": of_network("forget", patterns=spins(0, 4, N)[1:3]),
    "HopfieldNetwork.recall": of_network("recall", probes=spins(2, 5, N), seed=1),
    "HopfieldNetwork.recall in orders": of_network("recall", probes=spins(2, 5, N), order=orders(9)),
    "HopfieldNetwork.local_fields": of_network("local_fields", **STATES),
    "HopfieldNetwork.energy": of_network("energy", **STATES),
    "HopfieldNetwork.overlaps": of_network("overlaps", **STATES),
    "HopfieldNetwork.is_stable": of_network("is_stable", **STATES),
    "HopfieldNetwork.identify": of_network("identify", **STATES),
    "HopfieldNetwork.recall at a temperature": of_network(
        "recall", probes=spins(2, 5, N), temperature=np.linspace(1, 0, 4), seed=1
    ),
    "HopfieldNetwork.recall of known units": of_network(
        "recall", probes=spins(2, 5, N), seed=1, clamp=spins(3, 5, N) > 0, unknown=spins(4, N) > 0
    ),
    "HopfieldNetwork.from_couplings": lambda b: (
        given_couplings,
        {"couplings": floats(0, N, N), "thresholds": floats(1, N), "backend": b},
    ),
    "HopfieldNetwork.save": lambda b: written(hopfield(b).save, ".npz"),
    "HopfieldNetwork.load": lambda b: saved(hopfield(b), ".npz"),
    "SequenceMemory": lambda b: (fastrec.SequenceMemory, {"n": 5, "backend": b}),
    "SequenceMemory.store": learn_sequence,
    "SequenceMemory.recall": lambda b: (sequence(b).recall, {"probes": spins(2, 5, N), "steps": 3}),
    "SequenceMemory.save": lambda b: written(sequence(b).save, ".npz"),
    "SequenceMemory.load": lambda b: saved(sequence(b), ".npz"),
    "DenseMemory": lambda b: (fastrec.DenseMemory, {"n": 5, "degree": 4, "backend": b}),
    "DenseMemory.store": learn_dense,
    "DenseMemory.recall": lambda b: (dense(b).recall, {"probes": spins(2, 5, N), "seed": 1}),
    "DenseMemory.recall in orders": lambda b: (
        dense(b, 3).recall,
        {"probes": spins(2, 5, N), "order": orders(9), "record": "energy"},
    ),
    "DenseMemory.recall by attention": lambda b: (
        dense(b).recall,
        {"probes": floats(2, 5, N), "update": "attention", "beta": 0.1, "max_sweeps": 3},
    ),
    "DenseMemory.energy": lambda b: (dense(b).energy, STATES),
    "DenseMemory.overlaps": lambda b: (dense(b).overlaps, STATES),
    "DenseMemory.is_stable": lambda b: (dense(b).is_stable, STATES),
    "DenseMemory.identify": lambda b: (dense(b).identify, STATES),
    "DenseMemory.save": lambda b: written(dense(b).save, ".npz"),
    "DenseMemory.load": lambda b: saved(dense(b), ".npz"),
    "PackedStates": lambda b: (
        fastrec.PackedStates,
        {"words": fastrec.pack(spins(0, 3, N), backend="reference").words.copy(), "n": N},
    ),
    "PackedStates.unpack": lambda b: (fastrec.pack(spins(0, 3, N)).unpack, {"coding": "01"}),
    "pack": lambda b: (fastrec.pack, STATES | {"backend": b, "coding": "+-1"}),
    "random_patterns": lambda b: (
        fastrec.random_patterns,
        {"p": 3, "n": N, "seed": 1, "networks": 2, "backend": b, "coding": "01"},
    ),
    "corrupt": lambda b: (
        fastrec.corrupt,
        {"states": tokens(1, 2, 3, N), "flips": 5, "seed": 1, "backend": b, "coding": "01"},
    ),
    "overlaps": lambda b: (
        fastrec.overlaps,
        {"a": spins(1, 3, N), "b": spins(2, 4, N), "backend": b, "coding": "+-1"},
    ),
    "random_orders": lambda b: (fastrec.random_orders, {"n": N, "sweeps": 3, "seed": 1, "backend": b}),
    "find_oscillation": lambda b: (fastrec.find_oscillation, {"n": 20, "p": 10, "seed": 1, "backend": b}),
    "capacity": lambda b: (fastrec.capacity, {"n": 20, "trials": 3, "backend": b}),
    "capacity of patterns": lambda b: (
        fastrec.capacity,
        {"n": 20, "trials": 3, "backend": b, "tolerance": 0.1, **ENSEMBLE, "margin": 0.1, "max_passes": 9},
    ),
    "capacity of sequences": lambda b: (
        fastrec.capacity,
        {"n": 20, "trials": 3, "backend": b, "rule": "sequence", "update": "sync"},
    ),
    "capacity_scaling": lambda b: (
        fastrec.capacity_scaling,
        {"sizes": [10, 20], "trials": 3, "progress": False, "backend": b},
    ),
    "retrieval_curve": lambda b: (
        fastrec.retrieval_curve,
        {"n": 20, "alphas": [0.1, 0.3], "trials": 2, "backend": b},
    ),
    "retrieval_curve of patterns": lambda b: (
        fastrec.retrieval_curve,
        {"n": 20, "alphas": [0.1, 0.3], "trials": 2, "backend": b, **ENSEMBLE, "rule": "hebb"},
    ),
    "retrieval_curve at a temperature": lambda b: (
        fastrec.retrieval_curve,
        {"n": 20, "alphas": [0.1, 0.3], "trials": 2, "backend": b, "temperature": 0.3, "max_sweeps": 5},
    ),
    "retrieval_curve of dense memories": lambda b: (
        fastrec.retrieval_curve,
        {"n": 20, "alphas": [0.5, 2.0], "trials": 2, "backend": b, "degree": 3},
    ),
    "retrieval_scaling": lambda b: (
        fastrec.retrieval_scaling,
        {"sizes": [10, 20], "alphas": [0.1, 0.3], "trials": 2, "progress": False, "backend": b},
    ),
    "basin_map": lambda b: (
        fastrec.basin_map,
        {"n": 20, "alphas": [0.1, 0.3], "overlaps": [0.5, 1.0], "trials": 2, "progress": False, "backend": b},
    ),
    "capacity_laws": lambda b: (
        fastrec.capacity_laws,
        {"laws": ["projection"], "quick": True, "progress": False, "backend": b},
    ),
    "phase_diagram": lambda b: (
        fastrec.phase_diagram,
        {
            "n": 20,
            "alphas": [0.1, 0.3],
            "temperatures": [0.0, 0.5],
            **{"trials": 2, "sweeps": 5, "burn_in": 2, "progress": False, "backend": b},
        },
    ),
    "RNN": lambda b: (
        changed_network,
        {"input_size": 3, "hidden_size": 4, "output_size": 2, "seed": 1, "backend": b},
    ),
    "RNN of vectors": lambda b: (
        changed_network,
        {"input_size": 3, "hidden_size": 4, "embedding": floats(0, 3, 2), "seed": 1, "backend": b},
    ),
    **{
        f"RNN.forward of {cell}": (lambda b, cell=cell: forward(cell, b))
        for cell in ("elman", "jordan", "lstm")
    },
    "RNN.forward": lambda b: (rnn(backend=b).forward, dict(SEQUENCES)),
    "RNN.forward of tokens": lambda b: (rnn(backend=b).forward, {"x": tokens(0, 5, 3, 6)}),
    "RNN.predict": lambda b: (rnn(backend=b).predict, dict(SEQUENCES)),
    "RNN.generate": lambda b: (
        rnn(backend=b).generate,
        {
            "prompt": tokens(0, 5, 2, 3),
            "steps": 4,
            "seed": 1,
            "lengths": np.array([3, 2]),
            "state": floats(1, 1, 2, 8),
        },
    ),
    "RNN.extend": lambda b: (rnn(backend=b).extend, SEQUENCES | {"steps": 4, "lengths": np.array([6, 4, 1])}),
    "RNN.stepper": lambda b: (
        stepped(rnn(backend=b).stepper),
        {"batch": 3, "state": floats(1, 1, 3, 8)},
    ),
    **{
        f"RNN.backward of {cell}": (lambda b, cell=cell: backward(cell, b))
        for cell in ("elman", "jordan", "lstm")
    },
    "RNN.backward": lambda b: backward("gru", b),
    "RNN.loss": lambda b: (rnn(backend=b).loss, dict(LEARNED)),
    "RNN.loss_and_gradients": lambda b: (rnn(backend=b).loss_and_gradients, LEARNED | {"dropout_seed": 1}),
    "RNN.split_state": lambda b: (
        fastrec.RNN(4, 5, cell="lstm", seed=0, backend=b).split_state,
        {"state": floats(0, 1, 2, 10)},
    ),
    "RNN of both directions": lambda b: (
        fastrec.RNN(5, 8, 3, bidirectional=True, seed=0, backend=b).predict,
        SEQUENCES | {"state": floats(1, 2, 3, 8)},
    ),
    "RNN.copy": lambda b: (rnn(backend=b).copy, {}),
    "RNN.save": lambda b: written(rnn(backend=b).save, ".npz"),
    "RNN.load": lambda b: saved(rnn(backend=b), ".npz"),
    "Trace.state_at": lambda b: (rnn(backend=b).forward(**SEQUENCES).state_at, {"t": 2}),
    "fit": fits,
    "truncated_bptt": truncated,
    "fit of a part": fits_a_part,
    "fit by Newton steps": fits_by_newton_steps,
    "Adam": lambda b: (fastrec.Adam, {}),
    "AdamW": lambda b: (fastrec.AdamW, {}),
    "HessianFree": lambda b: (fastrec.HessianFree, {}),
    "HessianFree.load_state_dict": lambda b: (
        (optimizer := fastrec.HessianFree()).load_state_dict,
        {"state": optimizer.state_dict()},
    ),
    "RMSprop": lambda b: (fastrec.RMSprop, {}),
    "CosineDecay": lambda b: (fastrec.CosineDecay, {"updates": 9}),
    "MomentumSchedule": lambda b: (fastrec.MomentumSchedule, {"most": 0.9}),
    "StepDecay": lambda b: (fastrec.StepDecay, {"every": 9}),
    "SGD": lambda b: (fastrec.SGD, {"learning_rate": 0.1}),
    "Adam.step": lambda b: step(fastrec.Adam(0.1), b),
    "AdamW.step": lambda b: step(fastrec.AdamW(0.1), b),
    "RMSprop.step": lambda b: step(fastrec.RMSprop(0.1), b),
    "SGD.step": lambda b: step(fastrec.SGD(0.1, 0.9), b),
    "Adam.load_state_dict": lambda b: load_state(fastrec.Adam(0.1)),
    "AdamW.load_state_dict": lambda b: load_state(fastrec.AdamW(0.1)),
    "RMSprop.load_state_dict": lambda b: load_state(fastrec.RMSprop(0.1)),
    "SGD.load_state_dict": lambda b: load_state(fastrec.SGD(0.1, 0.9)),
    "gradient_flow": lambda b: (
        fastrec.gradient_flow,
        {"rnn": rnn(backend=b), "x": floats(0, 3, 6, 5), "targets": tokens(1, 5, 3, 6)},
    ),
    "automaton": lambda b: (
        fastrec.automaton,
        {"rnn": rnn(backend=b), "x": np.ones((2, 3, 5)), "lengths": np.array([3, 2]), "max_states": 9},
    ),
    "Automaton": lambda b: (
        fastrec.Automaton,
        {"symbols": np.array([0, 1]), "transitions": np.array([[0, 1], [1, 0]]), "outputs": np.array([0, 1])},
    ),
    "Automaton.run": lambda b: (
        fastrec.addition_automaton().run,
        {"x": np.ones((2, 3, 2), np.int64), "lengths": np.array([3, 2])},
    ),
    "Automaton.is_equivalent": lambda b: (
        fastrec.addition_automaton(1).is_equivalent,
        {"other": fastrec.addition_automaton(), "after": 1},
    ),
    "addition_automaton": lambda b: (fastrec.addition_automaton, {"delay": 1}),
    "spectral_radius": lambda b: (fastrec.spectral_radius, {"rnn": rnn(backend=b)}),
    "classify": lambda b: (
        fastrec.classify,
        {"rnn": rnn(backend=b), "x": floats(0, 3, 6, 5), "lengths": np.array([6, 4, 1])},
    ),
    "ctc": lambda b: (
        fastrec.ctc,
        {
            "outputs": floats(0, 3, 9, 5),
            "labels": 1 + tokens(0, 4, 3, 4),
            "lengths": np.array([9, 8, 4]),
            "backend": b,
        },
    ),
    "ctc_decode": lambda b: (
        fastrec.ctc_decode,
        {"outputs": floats(0, 3, 9, 5), "lengths": np.array([9, 8, 4]), "width": 3, "backend": b},
    ),
    "label_targets": lambda b: (
        fastrec.label_targets,
        {"labels": tokens(0, 5, 3), "lengths": np.array([6, 4, 1]), "steps": 7},
    ),
    "delayed": lambda b: (fastrec.delayed, {"x": floats(0, 3, 6, 2), "taps": 3}),
    "delay_targets": lambda b: (
        fastrec.delay_targets,
        {"targets": floats(0, 3, 6, 2), "steps": 2, "mask": tokens(0, 2, 3, 6).astype(bool)},
    ),
    "pad_sequences": lambda b: (fastrec.pad_sequences, {"sequences": [[1, 2, 3], [], [4]]}),
    "unpad": lambda b: (fastrec.unpad, {"array": tokens(0, 5, 3, 6), "lengths": np.array([6, 4, 0])}),
    "CharModel": lambda b: (fastrec.CharModel, {"hidden_size": 8, "seed": 1, "backend": b}),
    "CharModel.fit": learn_text,
    "CharModel.sample": lambda b: (char_model(b).sample, {"prompt": "the", "length": 9, "seed": 1}),
    "CharModel.stream": lambda b: (
        listed(char_model(b).stream),
        {"prompt": "the", "length": 9, "seed": 1},
    ),
    "CharModel.score": lambda b: (char_model(b).score, {"text": WORDS}),
    "CharModel.save": lambda b: written(char_model(b).save, ".npz"),
    "CharModel.load": lambda b: saved(char_model(b), ".npz"),
    "EncoderDecoder": lambda b: (
        fastrec.EncoderDecoder,
        {"source_size": 5, "target_size": 5, "hidden_size": 8, "seed": 1, "backend": b},
    ),
    "EncoderDecoder.encode": lambda b: (
        encoder_decoder(b).encode,
        {"sources": PAIRS["sources"], "lengths": PAIRS["lengths"]},
    ),
    "EncoderDecoder.attention": lambda b: (
        fastrec.EncoderDecoder(5, 5, 8, attention="general", seed=0, backend=b).attention,
        dict(PAIRS),
    ),
    "EncoderDecoder.loss": lambda b: (encoder_decoder(b).loss, dict(PAIRS)),
    "EncoderDecoder.loss_and_gradients": lambda b: (encoder_decoder(b).loss_and_gradients, dict(PAIRS)),
    "EncoderDecoder.generate": lambda b: (
        encoder_decoder(b).generate,
        {"sources": PAIRS["sources"], "steps": 4, "lengths": PAIRS["lengths"], "seed": 1},
    ),
    "EncoderDecoder.beam_search": lambda b: (
        encoder_decoder(b).beam_search,
        {
            "sources": PAIRS["sources"],
            "steps": 4,
            "lengths": PAIRS["lengths"],
            "width": 3,
            "length_penalty": 0.5,
            "n_best": 2,
        },
    ),
    "EncoderDecoder.fit": learn_pairs,
    "EncoderDecoder.save": lambda b: written(encoder_decoder(b).save, ".npz"),
    "EncoderDecoder.load": lambda b: saved(encoder_decoder(b), ".npz"),
    "NGramModel": lambda b: (fastrec.NGramModel, {"order": 3, "size": 5}),
    "NGramModel.fit": lambda b: (
        changed_model,
        {"tokens": tokens(0, 5, 60)},
    ),
    "NGramModel.log_chances": lambda b: (ngrams().log_chances, {"tokens": tokens(1, 5, 20)}),
    "NGramModel.predict": lambda b: (ngrams().predict, {"context": tokens(1, 5, 4)}),
    "NGramModel.score": lambda b: (ngrams().score, {"tokens": tokens(1, 5, 20)}),
    "Vocabulary.of": lambda b: (fastrec.Vocabulary.of, {"text": WORDS}),
    "Vocabulary.encode": lambda b: (fastrec.Vocabulary.of(WORDS).encode, {"text": "the word"}),
    "Vocabulary.decode": lambda b: (fastrec.Vocabulary.of(WORDS).decode, {"tokens": tokens(0, 5, 9)}),
    "Vocabulary.embedding": lambda b: (
        fastrec.Vocabulary.of(WORDS).embedding,
        {"vectors": {"e": floats(0, 3), "t": floats(1, 3)}, "seed": 1},
    ),
    "EchoState": lambda b: (
        fastrec.EchoState,
        {"input_size": 2, "hidden_size": 8, "leak": np.full(8, 0.5), "seed": 0, "backend": b},
    ),
    "EchoState.fit": lambda b: (
        fitted(fastrec.EchoState(2, 8, 2, feedback_scaling=0.1, seed=0, backend=b)),
        FITTED | {"state": floats(3, 3, 10), "validation": (floats(4, 3, 6, 2), floats(5, 3, 6, 2))},
    ),
    "EchoState.fit of labels": lambda b: (
        fitted(fastrec.EchoState(2, 8, 2, seed=0, backend=b)),
        {
            "x": floats(0, 3, 6, 2),
            "targets": np.array([0, 1, 1]),
            "ridge": 1.0,
            "lengths": np.array([6, 4, 1]),
        },
    ),
    "EchoState.predict": lambda b: (
        echo_state(b).predict,
        {"x": floats(0, 3, 6, 2), "state": floats(1, 3, 8), "lengths": np.array([6, 4, 1])},
    ),
    "EchoState.extend": lambda b: (
        echo_state(b).extend,
        {"x": floats(0, 3, 6, 2), "steps": 3, "state": floats(1, 3, 8)},
    ),
    "EchoState.states": lambda b: (
        fastrec.EchoState(2, 8, 2, feedback_scaling=0.1, seed=0, backend=b).states,
        {"x": floats(0, 3, 6, 2), "targets": floats(1, 3, 6, 2), "lengths": np.array([6, 4, 1])},
    ),
    "EchoState.classify": lambda b: (
        echo_state(b).classify,
        {"x": floats(0, 3, 6, 2), "lengths": np.array([6, 4, 1])},
    ),
    "EchoState.memory_capacity": lambda b: (
        fastrec.EchoState(1, 8, seed=0, backend=b).memory_capacity,
        {"max_delay": 5, "steps": 200, "washout": 10, "seed": 1},
    ),
    "EchoState.save": lambda b: written(echo_state(b).save, ".npz"),
    "EchoState.load": lambda b: saved(echo_state(b), ".npz"),
    "mackey_glass": lambda b: (fastrec.mackey_glass, {"steps": 20, "tau": 17, "seed": 1}),
    "number_words": lambda b: (fastrec.number_words, {"n": 21_000, "language": "es"}),
    "read_sentence_pairs": lambda b: saved_text("the house\tla casa\n"),
    "Translator": lambda b: (
        fastrec.Translator,
        {"hidden_size": 4, "cell": "lstm", "embedding_size": 3, "min_count": 1, "seed": 0, "backend": b},
    ),
    "Translator.fit": lambda b: (
        fastrec.Translator(4, embedding_size=3, seed=1, backend=b).fit,
        {"pairs": SENTENCES, "validation": SENTENCES[:1], "epochs": 1, "batch_size": 2, "progress": False},
    ),
    "Translator.translate": lambda b: (translator(b).translate, {"sentences": ["a b", "c"], "width": 2}),
    "Translator.attention": lambda b: (translator(b).attention, {"sentence": "a b", "translation": "x y"}),
    "Translator.save": lambda b: written(translator(b).save, ".npz"),
    "Translator.load": lambda b: saved(translator(b), ".npz"),
    "narma": lambda b: (fastrec.narma, {"steps": 20, "order": 3, "seed": 1}),
    "four_ways": lambda b: (
        fastrec.four_ways,
        {"tasks": ["order-2"], "methods": ["constant"], "quick": True, "seed": 1, "backend": b},
    ),
    "FourWaysResult.load": lambda b: saved(constants(), ".csv"),
    "addition_task": lambda b: (fastrec.addition_task, {"pairs": 2, "columns": 3, "delay": 1, "seed": 1}),
    "adding_problem": lambda b: (fastrec.adding_problem, {"n": 2, "steps": 20, "seed": 1}),
    "multiplication_problem": lambda b: (fastrec.multiplication_problem, {"n": 2, "steps": 20, "seed": 1}),
    "temporal_order": lambda b: (fastrec.temporal_order, {"n": 2, "steps": 20, "symbols": 3, "seed": 1}),
    "random_permutation": lambda b: (
        fastrec.random_permutation,
        {"n": 2, "steps": 5, "symbols": 4, "seed": 1},
    ),
    "noiseless_memory": lambda b: (
        fastrec.noiseless_memory,
        {"n": 2, "delay": 3, "bits": 4, "values": 3, "seed": 1},
    ),
    "perceptual_decision": lambda b: (
        fastrec.perceptual_decision,
        {"trials": 2, "coherences": [0.5], "noise": 0.1, "stimulus": 3, "seed": 1},
    ),
    "delayed_comparison": lambda b: (
        fastrec.delayed_comparison,
        {"trials": 2, "frequencies": np.array([[12.0, 20.0]]), "noise": 0.1, "delay": 2, "seed": 1},
    ),
    "Trials.chosen": lambda b: (
        fastrec.perceptual_decision(2, seed=1).chosen,
        {"outputs": np.ones((2, 65, 2))},
    ),
    "read_ink": lambda b: (fastrec.read_ink, {"path": strokes_file(), "timed": True}),
    "pen_steps": lambda b: (
        fastrec.pen_steps,
        {"strokes": [np.arange(9.0).reshape(3, 3), np.full((1, 3), 9.0)], "interval": 2, "scale": 0.5},
    ),
    "dale_signs": lambda b: (fastrec.dale_signs, {"units": 5, "excitatory": 0.6}),
    "RNN.constrain": lambda b: (rnn(backend=b).constrain, {}),
}


def call(name: str, backend: str = "cpu") -> Call:
    """The call of that name, with arrays of its own."""
    run, arguments = CALLS[name](backend)
    copies = {
        key: value.copy() if isinstance(value, np.ndarray) else value for key, value in arguments.items()
    }
    return run, copies


def changed_network(**arguments: Any) -> Any:
    return dict(fastrec.RNN(**arguments).parameters)


changed_network.__signature__ = inspect.signature(fastrec.RNN)  # type: ignore[attr-defined]


def changed_model(tokens: Any) -> Any:
    return fastrec.NGramModel(3, 5).fit(tokens).log_chances(np.arange(5))


FITTED = {
    "x": floats(0, 3, 6, 2),
    "targets": floats(1, 3, 6, 2),
    "ridge": [1.0, 2.0],
    "washout": 1,
    "lengths": np.array([6, 4, 1]),
}


def fitted(network: fastrec.EchoState) -> Callable[..., Any]:
    """`fit` of a network, whose result is what it has found."""
    return changed(network.fit, lambda: (network.readout, network.state))


def forward(cell: str, backend: str) -> Call:
    network = rnn(cell, backend=backend)
    return network.forward, SEQUENCES | {"state": floats(1, 1, 3, network._config.state)}


def stepped(method: Callable[..., fastrec.Stepper]) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        stepper = method(*args, **options)
        return stepper(np.zeros((3, 5), np.float32)), stepper.state

    run.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    return run


def load_state(optimizer: Any) -> Call:
    run, arguments = step(optimizer, "cpu")
    run(**arguments)
    return changed(optimizer.load_state_dict, optimizer.state_dict), {"state": optimizer.state_dict()}


def listed(method: Callable[..., Iterator[Any]]) -> Callable[..., list[Any]]:
    def run(*args: Any, **options: Any) -> list[Any]:
        return list(method(*args, **options))

    run.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    return run


def public_names() -> set[str]:
    """Names of the public functions, classes and methods that take arguments."""
    names = set()
    for name in fastrec.__all__:
        value = getattr(fastrec, name)
        if isinstance(value, ModuleType) or not callable(value):
            continue
        names.add(name)
        if inspect.isclass(value):
            methods = {m for m in vars(value) if not m.startswith("_") and callable(getattr(value, m))}
            names |= {f"{name}.{m}" for m in methods if takes_arguments(getattr(value, m))}
    return names


def takes_arguments(method: Callable[..., Any]) -> bool:
    return bool(set(inspect.signature(method).parameters) - {"self"})


def writable_arrays(value: Any) -> list[np.ndarray]:
    """The arrays among the arguments of a call, also those in mappings."""
    if isinstance(value, np.ndarray):
        return [value]
    return (
        [array for one in value.values() for array in writable_arrays(one)] if isinstance(value, dict) else []
    )


def copied(value: Any) -> Any:
    """Arguments with copies of their arrays."""
    if isinstance(value, np.ndarray):
        return value.copy()
    return {key: copied(one) for key, one in value.items()} if isinstance(value, dict) else value


def arrays_of(value: Any) -> list[np.ndarray]:
    """The arrays in a value of a call, also those in results, networks and dicts."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, Mapping):
        return [array for one in value.values() for array in arrays_of(one)]
    if hasattr(value, "_asdict"):
        return arrays_of({key: one for key, one in value._asdict().items() if key != "seconds"})
    if isinstance(value, (list, tuple)):
        return [array for one in value for array in arrays_of(one)]
    if isinstance(value, (fastrec.RNN, fastrec.EncoderDecoder, fastrec.EchoState)):
        return arrays_of(value.parameters)
    if isinstance(value, fastrec.PackedStates):
        return [value.words]
    if hasattr(value, "__dict__"):
        fields = {key: one for key, one in vars(value).items() if key[0] != "_" and key != "seconds"}
        return arrays_of(fields)
    return [np.asarray(value)] if isinstance(value, (int, float, str, bool, np.generic)) else []


def stored_in(owner: Any, result: Any) -> Callable[[], Any]:
    """What an object and the result of a call of it compute later."""
    if isinstance(result, fastrec.Trace):
        return lambda: owner.backward(result, result.outputs)
    if isinstance(owner, fastrec.HopfieldNetwork):
        return lambda: (owner.couplings(), owner.local_fields(spins(9, 2, N)))
    if isinstance(owner, fastrec.DenseMemory):
        return lambda: (owner.patterns, owner.energy(spins(9, 2, N)))
    return lambda: result


def same(a: Any, b: Any) -> bool:
    """Whether two values of a call are equal to the bit."""
    left, right = arrays_of(a), arrays_of(b)
    return len(left) == len(right) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(left, right, strict=True)
    )
