"""Digests of what the public functions return on "cpu", to compare versions and numbers of threads.

    python tests/digests.py OUT.json            writes those of the fastrec that Python imports
    python tests/digests.py OUT.json THREADS    the same with this many threads

Results of "exact" cases are whole numbers, states and quotients of these, the same on every machine.  Those
of "floats" are rounded in other ways by other CPUs, and are stored as a `sketch`.  Weights are drawn
uniformly or set here, as orthogonal ones come from LAPACK, whose last digits depend on the CPU.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastrec

Results = Iterator[tuple[str, Any]]
CASES: dict[str, dict[str, Callable[[], Results]]] = {"exact": {}, "floats": {}}
ODD = (1, 5, 63, 64, 65, 130, 1000)  # units
CELLS = {
    **{("elman", f): (1, 2) for f in ("tanh", "relu", "logistic")},
    **{("jordan", f): (1,) for f in ("tanh", "relu", "logistic")},
    **{(cell, "tanh"): (1, 2) for cell in ("gru", "lstm")},
}
DTYPES = (np.float32, np.float64)
TEXT = " ".join(
    f"{adjective} {noun} {verb}"
    for adjective in ("red", "blue", "green")
    for noun in ("fish", "bird")
    for verb in ("sleeps", "sings", "eats")
)


def case(kind: str) -> Callable[[Callable[[], Results]], Callable[[], Results]]:
    """Registers a case: a function that yields labels and results."""

    def register(function: Callable[[], Results]) -> Callable[[], Results]:
        CASES[kind][function.__name__] = function
        return function

    return register


def set_threads(n: int | None) -> None:
    """Set the number of threads of the kernels on "cpu"; None is the number there would be without this."""
    if hasattr(fastrec, "set_threads"):
        fastrec.set_threads(n)
    else:
        import numba

        most = numba.config.NUMBA_NUM_THREADS
        numba.set_num_threads(min(n or most, most))


def leaves(value: Any) -> Iterator[str | float | np.ndarray | np.generic]:
    """The arrays and numbers in a result, and texts that say what holds them."""
    if value is None or isinstance(value, (bool, int, str)):
        yield f"{value!r};"
    elif isinstance(value, (float, np.ndarray, np.generic)):
        yield value
    elif isinstance(value, fastrec.PackedStates):
        yield from leaves((value.n, value.words))
    elif isinstance(value, fastrec.HopfieldNetwork):
        yield from leaves(patterns_of(value))
    elif isinstance(value, fastrec.RNN):
        yield from leaves(value.parameters)
    elif isinstance(value, dict):
        yield from leaves([item for key in sorted(value) for item in (key, value[key])])
    elif isinstance(value, (tuple, list)):
        yield f"{len(value)} of"
        for part in value:
            yield from leaves(part)
    elif dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
        left_out = (
            "seconds",
            "definition",
            "seed",
            "untrained",
            "overlaps",
            "trajectory",
            "turns",
            "averages",
        )
        yield from leaves({name: getattr(value, name) for name in names if name not in left_out})
    else:
        raise TypeError(f"no digest of {type(value)}")


def patterns_of(net: fastrec.HopfieldNetwork) -> np.ndarray:
    """The stored patterns, which are a method in version 0.1.0."""
    return net.patterns if isinstance(net.patterns, np.ndarray) else net.patterns()


def digest(value: Any) -> str:
    """The first 64 bits of the SHA-256 of a result: of shape, dtype and bytes of each array in it."""
    sha = hashlib.sha256()
    for leaf in leaves(value):
        if isinstance(leaf, (np.ndarray, np.generic)) and not isinstance(leaf, float):
            sha.update(f"{leaf.dtype.str}{leaf.shape}".encode())
            sha.update(np.ascontiguousarray(leaf).tobytes())
        else:
            sha.update(leaf.encode() if isinstance(leaf, str) else f"{leaf!r};".encode())
    return sha.hexdigest()[:16]


def sketch(value: Any) -> tuple[str, float]:
    """A digest of all but finite floats, and a number that follows them.

    The number is a sum over the arrays of floats: of each the product with signs that are drawn once for all,
    by its norm.  Rounding changes it by little, and a value of another sign, or in another place, by much.
    """
    exact: list[Any] = []
    number = 0.0
    for leaf in leaves(value):
        array = np.asarray(leaf)
        if array.dtype.kind != "f":
            exact.append(leaf)
            continue
        finite = np.isfinite(array)
        exact += [array.dtype.str, array.shape, finite, array[~finite]]
        floats = np.where(finite, array, 0).astype(np.float64).ravel()
        signs = np.random.default_rng(len(floats)).choice([-1.0, 1.0], len(floats))
        number += float(signs @ floats) / (float(np.sqrt(floats @ floats)) or 1.0)
    return digest(exact), number


def outline(value: Any) -> str:
    """A `sketch` in which rounding does not show, to compare two versions."""
    rest, number = sketch(value)
    return f"{rest} {number:.2f}"


def found(measure: Callable[[Any], Any], kind: str, name: str) -> dict[str, Any]:
    """What a function tells of each result of a case, by label."""
    with fastrec.use_backend("cpu"):
        pairs = [(label, measure(value)) for label, value in CASES[kind][name]()]
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"{name} yields a label twice")
    return dict(pairs)


def numbers(seed: int, shape: tuple[int, ...], dtype: Any = np.float32, least: int = -256) -> np.ndarray:
    """Multiples of 1/256 up to 1."""
    return (np.random.default_rng(seed).integers(least, 257, shape) / 256).astype(dtype)


def network(
    n: int, p: int, k: int | None = None, **options: Any
) -> tuple[fastrec.HopfieldNetwork, np.ndarray]:
    """A network with random patterns, and these."""
    patterns = fastrec.random_patterns(p, n, seed=3, networks=k)
    net = fastrec.HopfieldNetwork(n, **options)
    net.store(patterns)
    return net, patterns


@case("exact")
def patterns() -> Results:
    for n in ODD:
        for k in (None, 3):
            states = fastrec.random_patterns(9, n, seed=n, networks=k)
            packed = fastrec.pack(states)
            drawn = fastrec.random_patterns(9, n, seed=n, networks=k, packed=True)
            yield f"n={n}, k={k}", (states, packed, packed.unpack(), drawn)
            for flips in (0, 1, 0.1, 0.5, 1.0):
                yield f"corrupt, n={n}, k={k}, {flips!r}", fastrec.corrupt(states, flips, seed=5)
    wide = fastrec.random_patterns(70, 2**16 + 1, seed=1)  # more units than are packed in one call
    yield "wide", wide
    yield "wide, corrupted", fastrec.corrupt(fastrec.pack(wide), 0.2, seed=2)


@case("exact")
def couplings() -> Results:
    for n in ODD:
        for self_coupling in (False, True):
            for k, p in ((None, 1), (None, 70), (2, 140), (None, 200)):
                net, _ = network(n, p, k, self_coupling=self_coupling)
                yield f"n={n}, p={p}, k={k}, {self_coupling}", net.couplings()
    yield "32 bits", network(65, 40_000)[0].couplings()
    net, stored = network(130, 40)
    net.forget(stored[5:9])
    net.store(stored[:2])
    yield "forgotten and stored again", (patterns_of(net), net.couplings())


@case("exact")
def fields() -> Results:
    for n in ODD:
        for self_coupling in (False, True):
            for k, p in ((None, 1), (None, 33), (3, 70)):
                net, _ = network(n, p, k, self_coupling=self_coupling)
                probes = fastrec.random_patterns(37, n, seed=8, networks=k)
                states = {"stored": patterns_of(net), "random": probes, "one": probes[..., :1, :]}
                for label, s in states.items():
                    found = net.overlaps(s), net.local_fields(s), net.energy(s), net.is_stable(s)
                    yield f"n={n}, p={p}, k={k}, {self_coupling}, {label}", found


def recalls(update: str) -> Results:
    """Recall in all its ways."""
    for representation in ("patterns", "weights"):
        for n in ODD:
            for k, p, self_coupling in ((None, 1 + n // 9, False), (3, 1 + n // 5, True), (None, 12, False)):
                net, stored = network(n, p, k, self_coupling=self_coupling, representation=representation)
                orders: dict[str, Any] = {"random": "random"}
                if update == "async":
                    drawn = np.random.default_rng(n)
                    orders["given"] = np.stack([drawn.permutation(n) for _ in range(3)])
                    orders["sequential"] = "sequential"
                for label, order in orders.items():
                    options = {"update": update, "order": order, "seed": 11, "max_sweeps": 30}
                    of = f"{representation}, n={n}, p={p}, k={k}, {label}"
                    probes = fastrec.corrupt(stored[..., :17, :], 0.2, seed=4)
                    many = net.recall(probes, record_energy=True, **options)
                    packed = net.recall(fastrec.pack(probes), **options)
                    yield of, (many, packed, net.recall(probes[..., :1, :], record_energy=True, **options))
        net, _ = network(64, 2000, representation=representation)
        starts = fastrec.random_patterns(5000, 64, seed=9)  # whose overlaps are more than are held at once
        yield f"{representation}, batches", net.recall(starts, update=update, max_sweeps=2, seed=0)
        net, _ = network(65, 8, 3, representation=representation)
        starts = fastrec.random_patterns(400, 65, seed=9, networks=3)
        yield f"{representation}, many rows", net.recall(starts, update=update, max_sweeps=9, seed=0)


@case("exact")
def recall_async() -> Results:
    yield from recalls("async")


@case("exact")
def recall_sync() -> Results:
    yield from recalls("sync")


@case("exact")
def capacity() -> Results:
    for n in (1, 2, 5, 30, 63, 64, 65, 130, 300):
        for update in ("async", "sync"):
            for stop in ("first_failure", "largest"):
                for criterion in ("all", "newest"):
                    for corruption in (0, 1, 3):
                        if corruption <= n:
                            options = {"update": update, "stop": stop, "criterion": criterion}
                            options |= {"corruption": corruption, "seed": 2}
                            found = fastrec.capacity(n, 13, **options)
                            yield f"n={n}, {update}, {stop}, {criterion}, {corruption}", found
    for n, trials in ((1000, 21), (1500, 8), (10_000, 3)):
        yield f"n={n}", fastrec.capacity(n, trials, seed=3)
    yield "n=1000, largest", fastrec.capacity(1000, 4, stop="largest", seed=3)
    yield "n=1000, newest", fastrec.capacity(1000, 9, "newest", corruption=3, seed=3)
    yield "n=1000, one sweep", fastrec.capacity(1000, 4, max_sweeps=1, corruption=40, seed=3)
    yield "n=20000", fastrec.capacity(20_000, 3, max_patterns=50, seed=3)
    yield "n=20000, largest", fastrec.capacity(20_000, 2, "newest", "largest", 0, "sync", max_patterns=40)


@case("exact")
def retrieval() -> Results:
    for update in ("async", "sync"):
        found = fastrec.retrieval_curve(200, [0.02, 0.1, 0.15, 0.3], 4, 30, 0.1, update, 7, tolerance=0.02)
        yield f"curve, {update}", found
        yield f"basins, {update}", fastrec.basin_map(130, [0.03, 0.1], [0.2, 0.6, 1.0], 3, 12, update, 7)
    yield "large", fastrec.retrieval_curve(1500, [0.05, 0.14], 1, 20, 0.2)
    for n, p in ((64, 9), (65, 13), (200, 40)):
        yield f"oscillation, n={n}", fastrec.find_oscillation(n, p, seed=5)


def rnn(i: int, h: int, o: int | None, cell: str, activation: str = "tanh", **options: Any) -> fastrec.RNN:
    """A network whose weights and initial states are set to numbers that every machine draws alike."""
    options = {"initial": "uniform", "seed": 21, "backend": "cpu"} | options
    net = fastrec.RNN(i, h, o, cell, activation, **options)
    for key, array in net.parameters.items():
        if key.startswith(("h0", "c0")):
            array[...] = numbers(22, array.shape, array.dtype) / 2
        elif key == "E":
            array[...] = numbers(23, array.shape, array.dtype)
    return net


def inputs(net: fastrec.RNN, b: int, t: int, tokens: bool, shared: bool = True) -> tuple[Any, Any, Any, Any]:
    """Inputs, integer and real targets, and lengths of which some are 0 and some t."""
    lead = () if shared or net.models is None else (net.models,)
    width, draw = net.output_size or net.hidden_size, np.random.default_rng(31)
    if tokens:
        x = draw.integers(0, net.input_size, (*lead, b, t))
    else:
        x = numbers(32, (*lead, b, t, net.input_size), net.dtype)
    integers = draw.integers(0, width, (*lead, b, t))
    lengths = draw.integers(1, t + 1, b)
    lengths[:1], lengths[-1:] = t, 0 if b > 2 else t
    return x, integers, numbers(33, (*lead, b, t, width), net.dtype), lengths


def passes(
    net: fastrec.RNN, b: int, t: int, tokens: bool, ragged: bool, shared: bool = True
) -> dict[str, Any]:
    """What comes of inputs in a pass forward, in one back, and of both losses."""
    x, integers, real, lengths = inputs(net, b, t, tokens, shared)
    ends = lengths if ragged else None
    trace = net.forward(x, lengths=ends)
    outputs, top, last = (
        numbers(seed, array.shape, net.dtype)
        for seed, array in ((34, trace.outputs), (35, trace.hidden), (36, trace.state))
    )
    mask = np.random.default_rng(37).integers(0, 2, (b, t)).astype(bool)
    mask[0, 0] = True
    options = {"reduction": "sum", "lengths": ends, "mask": mask, "state": trace.state}
    dropout = {"dropout": 0.3, "dropout_seed": 5} if net.cell != "jordan" else {}
    return {
        "forward": (trace, trace.state_at(t // 2)),
        "predict": net.predict(x, state=trace.state, lengths=ends),
        "backward": net.backward(trace, outputs, top, last, flow=True),
        "cross entropy": net.loss_and_gradients(x, integers, lengths=ends, **dropout),
        "mse": net.loss_and_gradients(x, real, "mse", want_x=False, **options),
        "loss": net.loss(x, integers, **options),
    }


@case("floats")
def small_networks() -> Results:
    for dtype in DTYPES:
        for (cell, activation), depths in CELLS.items():
            for layers in depths:
                for models in (None, 3):
                    net = rnn(5, 7, 4, cell, activation, num_layers=layers, models=models, dtype=dtype)
                    for tokens in (False, True):
                        for ragged in (False, True):
                            of = f"{np.dtype(dtype)}, {cell}, {activation}, layers={layers}, k={models}"
                            of += f", tokens={tokens}, ragged={ragged}"
                            yield of, passes(net, 6, 9, tokens, ragged, shared=ragged)


@case("floats")
def widths() -> Results:
    for dtype in DTYPES:
        for cell in ("elman", "jordan", "gru", "lstm"):
            for b, i, h, o in (
                *((1, 1, 1, 1), (1, 3, 15, 2), (2, 17, 16, 31), (3, 8, 17, 33), (5, 32, 31, 16)),
                *((9, 33, 32, 15), (15, 2, 33, 64), (8, 63, 63, 65), (17, 64, 64, 1), (4, 65, 65, 5)),
            ):
                net = rnn(i, h, o, cell, dtype=dtype)
                found = passes(net, b, 5, tokens=False, ragged=b > 2)
                yield f"{np.dtype(dtype)}, {cell}, b={b}, i={i}, h={h}, o={o}", found
            if cell != "jordan":
                net = rnn(7, 20, None, cell, dtype=dtype, embedding_size=6, num_layers=2)
                found = passes(net, 4, 6, tokens=True, ragged=True)
                yield f"{np.dtype(dtype)}, {cell}, embedding", found


@case("floats")
def large_networks() -> Results:
    """Products above what one thread does alone, and matrices above what one packs alone."""
    for dtype in DTYPES:
        for cell, layers in (("elman", 2), ("jordan", 1), ("gru", 1), ("lstm", 1)):
            h = 400 if cell == "elman" else 200
            net = rnn(70, h, 66, cell, num_layers=layers, dtype=dtype)
            for tokens in (False, True):
                found = passes(net, 32, 12, tokens, ragged=tokens)
                yield f"{np.dtype(dtype)}, {cell}, tokens={tokens}", found
    net = rnn(20, 128, 30, "gru", models=2)
    yield "two networks", passes(net, 33, 10, tokens=False, ragged=True, shared=False)
    net = rnn(20, 16, 10, "lstm")
    # Readouts take several blocks of steps.
    yield "many rows", passes(net, 200, 90, tokens=False, ragged=True)


@case("floats")
def optimizers() -> Results:
    rules = {
        "sgd": lambda rate: fastrec.SGD(rate),
        "momentum": lambda rate: fastrec.SGD(rate, momentum=0.9, clip=0.5),
        "nesterov": lambda rate: fastrec.SGD(rate, momentum=0.5, nesterov=True),
        "adam": lambda rate: fastrec.Adam(rate),
        "adamw": lambda rate: fastrec.Adam(rate, (0.8, 0.95), 1e-6, weight_decay=0.1, clip=1.0),
    }
    for dtype in DTYPES:
        for label, rule in rules.items():
            for n in (1, 17, 4095, 4096, 4097, 20_001):
                for models in (None, 3):
                    shape = (n,) if models is None else (models, n)
                    parameters = {"W": numbers(41, shape, dtype), "b": numbers(42, (*shape[:-1], 3), dtype)}
                    optimizer = rule(0.01 if models is None else [0.01, 0.1, 0.003])
                    norms = []
                    for step in range(3):
                        gradients = {key: numbers(43 + step, a.shape, dtype) for key, a in parameters.items()}
                        norms.append(optimizer.step(parameters, gradients, models, "cpu"))
                    found = (parameters, norms, optimizer.state_dict())
                    yield f"{np.dtype(dtype)}, {label}, n={n}, k={models}", found


@case("floats")
def training() -> Results:
    for dtype in DTYPES:
        for cell in ("elman", "jordan", "gru", "lstm"):
            for models in (None, 3):
                for label, options in {
                    "plain": {"optimizer": fastrec.SGD(0.05, 0.9), "shuffle": False},
                    "ragged": {"optimizer": fastrec.Adam(0.01, clip=0.5, weight_decay=0.01)},
                    "truncated": {"optimizer": fastrec.Adam(0.01), "k1": 3, "k2": 5},
                }.items():
                    net = rnn(4, 9, 5, cell, models=models, dtype=dtype)
                    x, targets, _, lengths = inputs(net, 21, 10, tokens=cell == "gru")
                    if models and label == "ragged":
                        options["optimizer"].learning_rate = [0.01, 0.02, 0.005]
                    options |= {"lengths": lengths} if label == "ragged" else {"validation": (x, targets)}
                    options |= {"dropout": 0.2} if label == "ragged" and cell != "jordan" else {}
                    history = fastrec.fit(
                        net, x, targets, epochs=3, batch_size=8, seed=6, progress=False, **options
                    )
                    yield f"{np.dtype(dtype)}, {cell}, k={models}, {label}", (history, net)
    net = rnn(40, 150, 50, "gru", num_layers=2)
    x, targets, _, lengths = inputs(net, 70, 12, tokens=True)
    options = {"lengths": lengths, "optimizer": fastrec.Adam(0.003, clip=0.2), "dropout": 0.1}
    history = fastrec.fit(net, x, targets, epochs=2, batch_size=32, seed=0, progress=False, **options)
    yield "large", (history, net)


@case("floats")
def truncation() -> Results:
    for cell in ("elman", "jordan", "gru", "lstm"):
        for k1, k2 in ((3, None), (2, 5), (20, 20)):
            net = rnn(4, 9, 5, cell)
            x, targets, _, lengths = inputs(net, 5, 13, tokens=False)
            parts = fastrec.truncated_bptt(net, x, targets, k1, k2, lengths=lengths, reduction="sum")
            yield f"{cell}, {k1}, {k2}", list(parts)


@case("floats")
def generation() -> Results:
    ways: dict[str, dict[str, Any]] = {
        "largest": {"temperature": 0},
        "plain": {"seed": 0},
        "cold": {"temperature": 0.3, "seed": 9},
        "top_k": {"top_k": 3, "seed": 0},
        "top_p": {"top_p": 0.7, "seed": 2**63},
        "both": {"top_k": 5, "top_p": 0.8, "temperature": 1.5, "seed": 0},
        "stop": {"stop": 1, "first": 4, "seed": 0},
    }
    for dtype in DTYPES:
        for (cell, activation), depths in CELLS.items():
            net = rnn(11, 20, 11, cell, activation, num_layers=depths[-1], dtype=dtype)
            prompt = np.random.default_rng(51).integers(0, 11, (6, 4))
            for label, options in ways.items():
                found = [net.generate(prompt[:b], 30, **options) for b in (1, 6)]
                yield f"{np.dtype(dtype)}, {cell}, {activation}, {label}", found
            state = numbers(52, found[1][1].shape, dtype)
            found = net.generate(prompt, 12, lengths=[1, 4, 2, 3, 4, 1], state=state, seed=0)
            yield f"{np.dtype(dtype)}, {cell}, {activation}, lengths", found
        for cell, layers in (("elman", 2), ("jordan", 1), ("gru", 1), ("gru", 2), ("lstm", 1)):
            net = rnn(70, 333, 70, cell, num_layers=layers, dtype=dtype)  # shared by several threads
            prompt = np.random.default_rng(53).integers(0, 70, (7, 3))
            for b in (1, 2, 7):
                for label in ("plain", "both"):
                    found = net.generate(prompt[:b], 40, **ways[label])
                    yield f"{np.dtype(dtype)}, {cell}, {layers} layers of 333, {label}, b={b}", found
                if dtype == np.float32:
                    found = net.rounded().generate(prompt[:b], 40, seed=0)
                    yield f"rounded, {cell}, {layers} layers of 333, b={b}", found


@case("floats")
def texts() -> Results:
    for label, cell, unit, options in (
        ("plain", "gru", "character", {}),
        ("layers", "lstm", "character", {"num_layers": 2, "embedding_size": 8}),
        ("words", "elman", "word", {"dtype": np.float64}),
    ):
        model = fastrec.CharModel(30, cell, unit=unit, seed=4, backend="cpu", **options)
        model.vocabulary = fastrec.Vocabulary.of(TEXT, unit)
        size = len(model.vocabulary)
        model.rnn = rnn(size, 30, size, cell, **options)
        history = model.fit(
            f"{TEXT} " * 3, epochs=3, batch_size=7, steps=11, dropout=0.1, weight_decay=0.01, progress=False
        )
        yield f"{label}, fit", (dataclasses.replace(history, seconds=0), model.rnn)
        yield f"{label}, sample", model.sample("red", 60, 0.8, top_k=9, top_p=0.95, seed=5, samples=3)
        yield f"{label}, stream", list(model.stream("blue", 300, seed=0))
        yield f"{label}, score", model.score(TEXT)


@case("floats")
def encoder_decoders() -> Results:
    draw = np.random.default_rng(61)
    targets, ends = draw.integers(0, 6, (20, 8)), draw.integers(0, 9, 20)
    for sources in ("sequences", "contexts"):
        for cell, layers in (("elman", 1), ("jordan", 1), ("gru", 2), ("lstm", 2)):
            model = fastrec.EncoderDecoder(5, 6, 12, cell, "tanh", layers, sources, backend="cpu", seed=0)
            for number, array in enumerate(model.parameters.values()):
                array[...] = numbers(62 + number, array.shape, array.dtype) / 2
            if sources == "contexts":
                given, lengths = numbers(63, (20, 5)), None
            else:
                given, lengths = draw.integers(0, 5, (20, 7)), draw.integers(1, 8, 20)
            of = f"{sources}, {cell}"
            yield f"{of}, encode", model.encode(given, lengths)
            yield f"{of}, gradients", model.loss_and_gradients(given, targets, lengths, ends)[:2]
            yield f"{of}, loss", model.loss(given, targets, lengths, ends, reduction="sum")[0]
            options = {"lengths": lengths, "target_lengths": ends, "seed": 0, "progress": False}
            history = model.fit(given, targets, epochs=3, batch_size=6, **options)
            yield f"{of}, fit", (history, model.parameters)
            yield f"{of}, written", model.generate(given, 10, lengths, seed=0)
            yield f"{of}, drawn", model.generate(given, 10, lengths, 1.0, 4, 0.9, 3)


@case("floats")
def diagnostics() -> Results:
    for (cell, activation), depths in CELLS.items():
        for models in (None, 2):
            net = rnn(4, 9, 5, cell, activation, num_layers=depths[-1], models=models)
            x, integers, real, lengths = inputs(net, 7, 11, tokens=False)
            of = f"{cell}, {activation}, k={models}"
            yield f"{of}, flow", fastrec.gradient_flow(net, x, integers, lengths=lengths)
            yield f"{of}, flow of mse", fastrec.gradient_flow(net, x, real, "mse")
            yield f"{of}, outputs of the last steps", fastrec.classify(net, x, np.maximum(lengths, 1))[0]


@case("floats")
def addition() -> Results:
    net = rnn(2, 3, 2, "lstm", models=64)
    x, targets, mask = task = fastrec.addition_task(256, 8)
    options = {"optimizer": fastrec.Adam(0.03, clip=1.0), "epochs": 2, "mask": mask, "progress": False}
    yield "task", task
    yield "64 networks", (fastrec.fit(net, x, targets, seed=0, **options), net)


def main(path: str, threads: str | None = None) -> None:
    if threads is not None:
        set_threads(int(threads))
    table = {
        kind: {name: found(measure, kind, name) for name in CASES[kind]}
        for kind, measure in (("exact", digest), ("floats", sketch))
    }
    Path(path).write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
