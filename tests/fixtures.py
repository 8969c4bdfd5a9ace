"""Writes tests/data/0.1.0: files and pickles of version 0.1.0, and what is expected of them.

    PYTHONPATH=CHECKOUT/src python tests/fixtures.py    CHECKOUT is one of 0.1.0 (9e3d370)

Later versions must read these files; they are never written anew by a later version.  Only names that were
public in 0.1.0 are used here, as the tests run the same functions with today's fastrec.

FILES    how each file is written and read: pickles, models, run files, tables, a report
JOBS     trainings and runs that are interrupted halfway, and can be resumed
USES     what is asked of an object of each class that was read from a file

expected.json      by the name of a file without its suffix: attributes of the object that it holds, results
                   of the methods of the object, the result of the job
places.json        modules, and the classes and functions that can be imported from them
signatures.json    the parameters of public functions and methods
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pickle
import platform
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from unittest import mock

import digests
import numpy as np
from digests import TEXT, numbers, patterns_of
from signatures import properties, public, signatures

import fastrec
from fastrec.bench.report import Report, Row

DATA = Path(__file__).parent / "data/0.1.0"
EXPORT = [sys.executable, "-c", "from fastrec.cli import main; main()", "export"]
SEED = 2**63 + 5  # larger than the integers of SQLite


class File(NamedTuple):
    """How a file is written, and read as an object."""

    write: Callable[[Path], object]
    read: Callable[[Path], Any]


class Job(NamedTuple):
    """A job that writes a file as it goes, from which a second start goes on.

    run: takes the file, or None, and gives the result.
    interrupt: takes the file, and leaves it half done.
    """

    run: Callable[[Path | None], Any]
    interrupt: Callable[[Path], object]


FILES: dict[str, File] = {}
JOBS: dict[str, Job] = {}


# What is written.


def pickled(make: Callable[[], Any]) -> Callable[[], Any]:
    """Registers a function that makes an object to be pickled."""

    kept = functools.cache(make)

    def write(path: Path) -> None:
        path.write_bytes(pickle.dumps(kept(), protocol=4))

    FILES[f"{make.__name__}.pickle"] = File(write, lambda path: pickle.loads(path.read_bytes()))
    return kept


@pickled
def network() -> fastrec.HopfieldNetwork:
    net = fastrec.HopfieldNetwork(12)
    net.store(fastrec.random_patterns(5, 12, seed=1))
    net.forget(patterns_of(net)[3])
    return net


@pickled
def networks() -> fastrec.HopfieldNetwork:
    net = fastrec.HopfieldNetwork(12, representation="weights", self_coupling=True)
    net.store(fastrec.random_patterns(3, 12, seed=2, networks=2))
    net.recall(patterns_of(net), seed=0)  # keeps the couplings
    return net


@pickled
def packed_states() -> fastrec.PackedStates:
    return fastrec.random_patterns(3, 70, seed=3, packed=True)


@pickled
def recall() -> fastrec.RecallResult:
    return network().recall(fastrec.corrupt(patterns_of(network()), 0.2, seed=0), record_energy=True, seed=0)


@pickled
def packed_recall() -> fastrec.RecallResult:
    return network().recall(fastrec.pack(patterns_of(network())[0]), seed=0)


@pickled
def oscillation() -> fastrec.OscillationResult:
    return fastrec.find_oscillation(20, 4)


@pickled
def capacity() -> fastrec.CapacityResult:
    return fastrec.capacity(20, 4, "newest", "largest", 2, "sync", SEED, max_patterns=3)


@pickled
def scaling() -> fastrec.ScalingResult:
    return fastrec.capacity_scaling([20, 30, 40], 5, progress=False)


@pickled
def scaling_fit() -> Any:
    return scaling().fit()


@pickled
def retrieval() -> fastrec.RetrievalResult:
    found = fastrec.retrieval_curve(30, [0.1, 0.3], 2, 3, 0.1, seed=SEED, tolerance=0.05)
    assert found.points  # are kept, and pickled too
    return found


def cell(name: str, **options: Any) -> fastrec.RNN:
    """A network of three hidden units that has been used."""
    rnn = fastrec.RNN(2, 3, 2, name, initial="uniform", seed=4, **options)
    rnn.forward(numbers(1, (1, 2, 2), rnn.dtype))
    return rnn


@pickled
def elman() -> fastrec.RNN:
    return cell("elman", activation="relu")


@pickled
def jordan() -> fastrec.RNN:
    return cell("jordan", activation="logistic", dtype=np.float64)


@pickled
def gru() -> fastrec.RNN:
    return cell("gru", models=2)


@pickled
def lstm() -> fastrec.RNN:
    return cell("lstm", num_layers=2)


@pickled
def embedding() -> fastrec.RNN:
    return fastrec.RNN(4, 3, None, "gru", initial="uniform", embedding_size=2, seed=0)


def trained(rnn: fastrec.RNN, optimizer: Any, epochs: int = 2, **options: Any) -> fastrec.History:
    """Train on twelve sequences of five steps."""
    x, targets = numbers(5, (12, 5, 2), rnn.dtype), np.random.default_rng(6).integers(0, 2, (12, 5))
    held = x[:4], targets[4:8]
    options = {"batch_size": 4, "seed": 7, "progress": False, "validation": held} | options
    return fastrec.fit(rnn, x, targets, optimizer=optimizer, epochs=epochs, **options)


@pickled
def history() -> fastrec.History:
    return trained(cell("gru", models=2), fastrec.SGD([0.1, 0.2]))


@pickled
def sgd() -> fastrec.SGD:
    optimizer = fastrec.SGD([0.1, 0.2], 0.9, nesterov=True)
    use_optimizer(optimizer)
    return optimizer


@pickled
def adam() -> fastrec.Adam:
    return fastrec.Adam(0.02, (0.8, 0.95), weight_decay=0.1, clip=0.5)  # before its first step


@pickled
def half_trained() -> tuple[fastrec.RNN, fastrec.Adam]:
    rnn, optimizer = cell("gru"), fastrec.Adam(0.02)
    trained(rnn, optimizer)
    return rnn, optimizer


@pickled
def gradient_flow() -> fastrec.GradientFlow:
    return fastrec.gradient_flow(
        cell("lstm"), numbers(8, (3, 4, 2)), np.zeros((3, 4), int), lengths=[4, 2, 3]
    )


@pickled
def addition() -> fastrec.AdditionResult:
    return fastrec.addition(6, epochs=12, columns=3, delay=1, test_pairs=10, test_columns=10, progress=False)


@pickled
def vocabulary() -> fastrec.Vocabulary:
    found = fastrec.Vocabulary.of(TEXT, "word", 9)
    found.encode(TEXT)  # keeps a table
    return found


@pickled
def characters() -> fastrec.Vocabulary:
    found = fastrec.Vocabulary.of(TEXT)
    found.encode(TEXT)  # keeps a table
    return found


@pickled
def ngrams() -> fastrec.NGramModel:
    return fastrec.NGramModel(2, len(vocabulary())).fit(vocabulary().encode(TEXT))


@functools.cache
def text_training() -> tuple[fastrec.CharModel, fastrec.TextHistory]:
    model = fastrec.CharModel(3, "lstm", unit="word", vocabulary_size=9, embedding_size=2, seed=0)
    return model, read_text(model)


def read_text(model: fastrec.CharModel, **options: Any) -> fastrec.TextHistory:
    """Train on a short text."""
    options = {"epochs": 2, "batch_size": 2, "steps": 4, "dropout": 0.1, "progress": False} | options
    return model.fit(f"{TEXT} {TEXT}", 0.2, **options)


@pickled
def text_model() -> fastrec.CharModel:
    return text_training()[0]


@pickled
def new_text_model() -> fastrec.CharModel:
    return fastrec.CharModel(3, embedding_size=2, seed=0)


@pickled
def text_history() -> fastrec.TextHistory:
    return text_training()[1]


@pickled
def encoder_decoder() -> fastrec.EncoderDecoder:
    return fastrec.EncoderDecoder(3, 4, 3, "lstm", seed=0)


@pickled
def contexts() -> fastrec.EncoderDecoder:
    return fastrec.EncoderDecoder(3, 4, 3, "jordan", sources="contexts", dtype=np.float64, seed=0)


@pickled
def error() -> fastrec.BackendError:
    return fastrec.BackendError("no device")


def report() -> Report:
    row = Row("capacity", 0.5, 2.0, 4.0, "NumPy", "SGEMM", 0.25, {"scan": 0.4, "outside of kernels": 0.1})
    return Report("a machine", fastrec.__version__, "2026-11-21", 2, {"SGEMM": 1e11}, [row])


def export(run: str) -> Callable[[Path], object]:
    """Writes the CSV file of a run file that is beside it."""

    def write(path: Path) -> None:
        subprocess.run([*EXPORT, path.with_name(run), path], check=True, stdout=subprocess.DEVNULL)

    return write


def saved(make: Callable[[], Any], kind: type[Any] | None = None) -> File:
    """A file that the object writes itself, and the class reads."""
    return File(lambda path: make().save(path), (kind or type(make())).load)


FILES |= {
    "elman.npz": saved(elman, fastrec.RNN),
    "jordan.npz": saved(jordan, fastrec.RNN),
    "gru.npz": saved(gru, fastrec.RNN),
    "lstm.npz": saved(lstm, fastrec.RNN),
    "embedding.npz": saved(embedding, fastrec.RNN),
    "text_model.npz": saved(text_model, fastrec.CharModel),
    "encoder_decoder.npz": saved(encoder_decoder, fastrec.EncoderDecoder),
    "contexts.npz": saved(contexts, fastrec.EncoderDecoder),
    "capacity.csv": saved(capacity, fastrec.CapacityResult),
    "scaling.csv": saved(scaling, fastrec.ScalingResult),
    "retrieval.csv": saved(retrieval, fastrec.RetrievalResult),
    "report.json": saved(report, Report),
}


# Jobs, interrupted.


class Interrupted(Exception):
    """Raised where a training ends early."""


def job(interrupt: Callable[[Path], object]) -> Callable[..., Any]:
    """Registers a job by its name and the suffix of the default file."""

    def register(run: Callable[[Path | None], Any]) -> Callable[[Path | None], Any]:
        suffix = ".npz" if interrupt is halfway else ".db"
        JOBS[f"{run.__name__}{suffix}"] = Job(run, functools.partial(interrupt, run=run))
        return run

    return register


def halfway(path: Path, run: Callable[..., Any]) -> None:
    """Stop a training in its second evaluation."""
    calls = iter(range(1))

    def stop(*_: object) -> None:
        if next(calls, None) is None:
            raise Interrupted

    with contextlib.suppress(Interrupted):
        run(path, callback=stop)


def trials_missing(path: Path, run: Callable[..., Any]) -> None:
    """Run a part of the trials, and lose one of them, as a run of several machines does."""
    run(path, trials=3)
    with contextlib.closing(sqlite3.connect(path)) as file:
        (table,) = file.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchone()
        file.execute(f"DELETE FROM {table} WHERE trial = 1 AND n = 20")
        file.commit()


@job(halfway)
def fit_elman(path: Path | None, **options: Any) -> Any:
    """Sequences of different lengths, of which one is empty."""
    rnn, lengths = cell("elman"), [5, 4, 3, 2, 1, 5, 0, 5, 4, 3, 2, 1]
    found = trained(rnn, fastrec.Adam(0.02, clip=0.5), 4, lengths=lengths, checkpoint=path, **options)
    return untimed(found), rnn.parameters


@job(halfway)
def fit_jordan(path: Path | None, **options: Any) -> Any:
    """Truncated, with momentum, without validation."""
    rnn = cell("jordan", dtype=np.float64)
    options |= {"k1": 2, "k2": 3, "validation": None, "shuffle": False}
    found = trained(rnn, fastrec.SGD(0.1, 0.9), 4, checkpoint=path, **options)
    return untimed(found), rnn.parameters


@job(halfway)
def fit_gru(path: Path | None, **options: Any) -> Any:
    """Two networks with learning rates of their own, of which one diverges."""
    rnn = cell("gru", models=2)
    with np.errstate(over="ignore"):
        found = trained(rnn, fastrec.SGD([1e30, 0.2]), 4, checkpoint=path, **options)
    return untimed(found), rnn.parameters


@job(halfway)
def fit_lstm(path: Path | None, **options: Any) -> Any:
    """Two layers with dropout, and a mask."""
    rnn, mask = cell("lstm", num_layers=2), np.arange(60).reshape(12, 5) % 3 > 0
    found = trained(rnn, fastrec.Adam(0.02), 4, dropout=0.25, mask=mask, checkpoint=path, **options)
    return untimed(found), rnn.parameters


@job(halfway)
def fit_text(path: Path | None, **options: Any) -> Any:
    model = fastrec.CharModel(3, "gru", embedding_size=2, seed=0)
    found = read_text(model, epochs=2.5, weight_decay=0.01, checkpoint=path, **options)
    return untimed(found), model.vocabulary, model.rnn.parameters


@job(trials_missing)
def capacities(path: Path | None, trials: int = 5) -> Any:
    sizes = [20, 30] if trials < 5 else [20, 30, 40]
    return fastrec.capacity_scaling(sizes, trials, path, progress=False)


@job(trials_missing)
def largest_capacities(path: Path | None, trials: int = 5) -> Any:
    options = {"criterion": "newest", "stop": "largest", "corruption": 2, "update": "sync", "seed": SEED}
    return fastrec.capacity_scaling([20], trials, path, False, **options, max_sweeps=50, max_patterns=6)


@job(trials_missing)
def retrievals(path: Path | None, trials: int = 4) -> Any:
    options = {"noise": 0.1, "tolerance": 0.05, "seed": SEED, "out": path}
    return fastrec.retrieval_scaling([20, 30], [0.1, 0.3], trials, 3, **options)


@job(trials_missing)
def basins(path: Path | None, trials: int = 4) -> Any:
    return fastrec.basin_map(20, [0.1, 0.2], [0.4, 1.0], trials, 3, "sync", out=path)


FILES |= {
    name: File(JOBS[name].interrupt, kind.load)
    for name, kind in (
        *dict.fromkeys(("capacities.db", "largest_capacities.db"), fastrec.ScalingResult).items(),
        *dict.fromkeys(("retrievals.db", "basins.db"), fastrec.RetrievalResult).items(),
    )
} | {
    "capacities.csv": File(export("capacities.db"), fastrec.ScalingResult.load),
    "retrievals.csv": File(export("retrievals.db"), fastrec.RetrievalResult.load),
}


def untimed(found: Any) -> dict[str, Any]:
    """The fields of a result but the times, and what 0.1.0 did not say."""
    return {
        f.name: getattr(found, f.name)
        for f in dataclasses.fields(found)
        if f.name not in ("seconds", "seed", "untrained", "overlaps", "trajectory", "turns")
    }


# What is read.


def use_network(net: fastrec.HopfieldNetwork) -> Any:
    probes = fastrec.corrupt(patterns_of(net), 0.3, seed=9)
    ways = [net.recall(probes, update, seed=9, record_energy=True) for update in ("async", "sync")]
    found = ways, net.overlaps(probes), net.local_fields(probes), net.energy(probes), net.is_stable(probes)
    couplings = net.couplings()
    net.store(probes)
    net.forget(probes[..., :1, :])
    return found, couplings, patterns_of(net)


def use_rnn(rnn: fastrec.RNN) -> Any:
    x = numbers(10, (2, 4, rnn.input_size), rnn.dtype)
    targets = np.random.default_rng(11).integers(0, rnn.output_size or rnn.hidden_size, (2, 4))
    trace = rnn.forward(x, lengths=[4, 2])
    learnt = rnn.loss_and_gradients(x, targets)[:2]
    alone = rnn.copy(model=1 if rnn.models else None)
    drawn = alone.generate(targets, 5, seed=0) if rnn.output_size == rnn.input_size else None
    return trace.outputs, trace.state_at(2), learnt, rnn.loss(targets, targets), alone.loss(x, targets), drawn


def use_text_model(model: fastrec.CharModel) -> Any:
    if model.rnn is None:
        read_text(model, epochs=0.1)
    return (
        model.score(TEXT),
        model.sample("red", 20, seed=0),
        "".join(model.stream("blue", 20, top_k=3, seed=0)),
    )


def use_encoder_decoder(model: fastrec.EncoderDecoder) -> Any:
    draw = np.random.default_rng(12)
    sources = draw.integers(0, 3, (5, 4)) if model.encoder else numbers(13, (5, 3), model.decoder.dtype)
    targets = draw.integers(0, 4, (5, 3))
    found = model.encode(sources), model.loss(sources, targets)[0], model.generate(sources, 6, seed=0)
    learnt = model.fit(sources, targets, epochs=2, batch_size=3, seed=0, progress=False)
    return found, untimed(learnt), model.parameters


def use_optimizer(optimizer: Any) -> Any:
    """Two steps of two networks."""
    parameters, gradients = ({"W": numbers(i, (2, 3)), "b": numbers(i, (2, 1))} for i in (14, 15))
    norms = [optimizer.step(parameters, gradients, 2) for _ in range(2)]
    return norms, optimizer.state_dict(), optimizer.settings, parameters


def use_half_trained(pair: tuple[fastrec.RNN, Any]) -> Any:
    rnn, optimizer = pair
    return untimed(trained(rnn, optimizer, 1)), rnn.parameters


def use_retrieval(result: fastrec.RetrievalResult) -> Any:
    shares = [(p.share("exact"), p.share_interval("within"), p.count("sweeps")) for p in result.points]
    return shares, {f"{n}, {start:.3f}": len(points) for (n, start), points in result.curves.items()}


def use_capacity(result: fastrec.CapacityResult) -> Any:
    return result.definition.theory_quantile(100), bool(result.table())


def use_scaling(results: fastrec.ScalingResult) -> Any:
    return len(results), [use_capacity(result) for result in results], results[0] == next(iter(results))


def use_ngrams(model: fastrec.NGramModel) -> Any:
    tokens = vocabulary().encode(TEXT)
    return model.score(tokens), model.log_chances(tokens[:5]), model.predict(tokens[:2])


USES: dict[type[Any], Callable[[Any], Any]] = {
    fastrec.HopfieldNetwork: use_network,
    fastrec.PackedStates: lambda states: states.unpack(),
    fastrec.OscillationResult: lambda found: found.network.recall(found.start, "sync"),
    fastrec.CapacityResult: use_capacity,
    fastrec.ScalingResult: use_scaling,
    fastrec.RetrievalResult: use_retrieval,
    fastrec.RNN: use_rnn,
    fastrec.SGD: use_optimizer,
    fastrec.Adam: use_optimizer,
    fastrec.AdditionResult: lambda found: use_rnn(found.best),
    fastrec.Vocabulary: lambda v: (v.encode(TEXT), v.decode(v.encode(TEXT)), len(v)),
    fastrec.NGramModel: use_ngrams,
    fastrec.CharModel: use_text_model,
    fastrec.EncoderDecoder: use_encoder_decoder,
    fastrec.BackendError: str,
    tuple: use_half_trained,
}


def plain(value: Any, short: bool = False) -> Any:
    """Numbers, texts, arrays and public objects as JSON has them; arrays in short by a digest."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        about = f"{value.dtype} {value.shape}"
        if short:
            return f"{about} {digests.digest(value)}"
        # The shortest text of a number, also of float32, which would have many digits as float64.
        texts = np.ravel(value).astype(str) if value.dtype.kind == "f" else ()
        return {
            about: [float(text) for text in texts] if value.dtype.kind == "f" else np.ravel(value).tolist()
        }
    if isinstance(value, dict):
        return {str(key): plain(item, short) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, short) for item in value]
    if isinstance(value, np.dtype):
        return str(value)
    names = {*properties(type(value)), *(name for name in vars(value) if not name.startswith("_"))}
    names -= {"curves"}  # the points of a RetrievalResult once more
    return {name: plain(getattr(value, name), short) for name in sorted(names)}


def attributes(value: Any) -> Any:
    return json.loads(json.dumps(plain(value, short=True)))


def results(value: Any) -> Any:
    """What the methods of an object return, which may change it."""
    with np.errstate(all="ignore"):
        return json.loads(json.dumps(plain(USES.get(type(value), lambda _: None)(value))))


def outcome(found: Any) -> Any:
    """The result of a job, without the times."""
    if isinstance(found, fastrec.ScalingResult):
        found = [untimed(result) for result in found]
    elif isinstance(found, fastrec.RetrievalResult):
        found = untimed(found)
    return json.loads(json.dumps(plain(found)))


# Where names are.


class Finder(pickle.Unpickler):
    """Notes the classes and functions of fastrec that pickles name."""

    names: ClassVar[set[tuple[str, str]]] = set()

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("fastrec"):
            self.names.add((module, name))
        return super().find_class(module, name)


def places(folder: Path) -> dict[str, list[str]]:
    """Names by module: all public ones, and those that pickles in a folder name."""
    for path in folder.glob("*.pickle"):
        with path.open("rb") as file:
            Finder(file).load()
    found = Finder.names | {(value.__module__, value.__name__) for value in public().values()}
    modules = sorted({module for module, _ in found})
    return {module: sorted(name for where, name in found if where == module) for module in modules}


def main(folder: Path) -> None:
    if fastrec.__version__ != "0.1.0":
        raise SystemExit(f"this is fastrec {fastrec.__version__}; put a checkout of 0.1.0 on PYTHONPATH")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found: dict[str, Any] = {}
    # Run files name the machine, and no file here should.
    with fastrec.use_backend("cpu"), mock.patch.object(platform, "node", return_value="machine"):
        for name in JOBS:
            JOBS[name].interrupt(folder / name)
        for name in FILES.keys() - JOBS.keys():
            FILES[name].write(folder / name)
        text_history().save(folder / "text_history.csv")
        for name, file in sorted(FILES.items()):
            value = file.read(folder / name)
            entry = {"attributes": attributes(value), "results": results(value)}
            stem = Path(name).stem
            if repr(found.setdefault(stem, entry)) != repr(entry):
                raise SystemExit(f"the files of {stem} hold different objects")
        for name, job in sorted(JOBS.items()):
            found.setdefault(Path(name).stem, {})["outcome"] = outcome(job.run(None))
    for name, table in (("expected", found), ("places", places(folder)), ("signatures", signatures())):
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in table.items())
        (folder / f"{name}.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main(DATA)
