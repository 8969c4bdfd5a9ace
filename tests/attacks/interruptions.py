"""Interruptions of every job: Ctrl-C comes before it or after it, and what was interrupted goes on."""

from __future__ import annotations

import functools
import gc
import hashlib
import inspect
import itertools
import json
import os
import pickle
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

import fastrec
from attacks import SECONDS, Failure, Row, run_kind
from attacks.files import FOLDER, make_run
from fastrec.compilation import announcement
from fastrec.hopfield import ScalingResult
from fastrec.jobs.export import export
from fastrec.kernels.cpu import threads
from fastrec.progress import _bars
from fastrec.rnn.checkpoint import Checkpoint
from fastrec.rnn.optimizers import Optimizer
from fastrec.text.training import TextLearner

COUNT = 500
GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, are spread evenly however many there are
TEXT = "tick tock, said the clock. " * 3


class Job(NamedTuple):
    """Something to interrupt.

    make: gives, in a folder, what is there before.  act: what is interrupted; returns what it gives.  look:
    what the job must not leave half changed, by name.  steps: methods after which the state may be seen too,
    and what it then is, given the object of the method and what `make` gives.  put: makes what `make` gives
    be in such a state.  resumes: whether what was interrupted, or another process with the files that it has
    left, ends as if nothing had been.  files: those that it may leave.
    """

    make: Callable[[Path], Any]
    act: Callable[[Any], Any]
    look: Callable[[Any], dict[str, Any]] = lambda thing: {}
    steps: tuple[dict[str, type], Callable[[Any, Any], dict[str, Any]]] = ({}, lambda owner, thing: {})
    put: Callable[[Any, dict[str, Any]], None] | None = None
    resumes: bool = False
    files: tuple[str, ...] = ()


def same(value: Any) -> Any:
    """A value in a form that can be compared, without the time that it took."""
    if isinstance(value, dict):
        return {key: same(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [same(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if is_dataclass(value):
        return same(
            {name: getattr(value, name) for name in value.__dataclass_fields__ if "seconds" not in name}
        )
    return value


# Hopfield networks
def stored(folder: Path) -> fastrec.HopfieldNetwork:
    net = fastrec.HopfieldNetwork(20)
    for seed in (1, 2, 3):  # what has been derived from the patterns is there, and spare rows are
        net.store(fastrec.random_patterns(3, 20, seed=seed))
        net.recall(net.patterns, seed=0, max_sweeps=1)
    return net


def patterns(net: fastrec.HopfieldNetwork) -> dict[str, Any]:
    found, weights = net.patterns, net.couplings()
    if not (found.T.astype(int) @ found - len(found) * np.eye(20) == weights).all():
        raise Failure("the couplings are not those of the patterns")
    return {"patterns": found, "n": net.n_patterns, "recall": recalled(net)}


def recalled(net: fastrec.HopfieldNetwork) -> Any:
    probes = fastrec.corrupt(fastrec.random_patterns(4, 20, seed=1), flips=4, seed=5)
    result = net.recall(probes, seed=3)
    return [result.states, result.flips, result.sweeps]


def many_recalled(net: fastrec.HopfieldNetwork) -> Any:
    return [recalled(net), net.recall(net.patterns, "sync", record_energy=True).energies]


def pickled(net: fastrec.HopfieldNetwork) -> Any:
    return pickle.loads(pickle.dumps(net)).patterns


# Optimisers
class Stepped(NamedTuple):
    optimizer: Optimizer
    parameters: dict[str, Any]
    other: dict[str, Any]


def stepped(rule: Callable[[], Optimizer], folder: Path) -> Stepped:
    parameters = {"W": np.ones((3, 4), np.float32), "b": np.ones(5, np.float32)}
    other = rule()
    other.step({key: array.copy() for key, array in parameters.items()}, parameters)
    other.learning_rate = 0.3
    thing = Stepped(rule(), parameters, other.state_dict())
    step(thing)
    return thing


def step(thing: Stepped) -> Any:
    return thing.optimizer.step(thing.parameters, {key: a + 1 for key, a in thing.parameters.items()})


def state_of(thing: Any) -> dict[str, Any]:
    return thing.parameters | thing.optimizer.state_dict() | {"first": repr(thing.optimizer._first_rate)}


def load_state(thing: Stepped) -> None:
    thing.optimizer.load_state_dict(thing.other)


def set_rate(thing: Stepped) -> None:
    thing.optimizer.learning_rate = 0.125


def unstepped(folder: Path) -> Stepped:
    return Stepped(fastrec.Adam(0.1), {}, {})


# Training
class Training(NamedTuple):
    model: Any
    optimizer: Optimizer
    folder: Path

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model.parameters)


X = np.linspace(-1, 1, 48, dtype=np.float32).reshape(6, 4, 2)


def network(folder: Path) -> Training:
    return Training(fastrec.RNN(2, 3, 1, seed=1), fastrec.Adam(0.01, clip=1.0), folder)


def networks(folder: Path) -> Training:
    """Of k networks one diverges."""
    rnn = fastrec.RNN(2, 3, 1, models=2, seed=1)
    return Training(rnn, fastrec.SGD([0.01, 1e6], momentum=0.5), folder)


def fit(thing: Training, **options: Any) -> Any:
    options = {"loss": "mse", "epochs": 3, "batch_size": 4, "seed": 1, "progress": False} | options
    data = (X, np.cumsum(X[..., :1], axis=1))
    return fastrec.fit(thing.model, *data, validation=data, optimizer=thing.optimizer, **options)


def fit_from_file(thing: Training) -> Any:
    return fit(thing, checkpoint=thing.folder / "a.npz", dropout=0.25)


def half_fitted(folder: Path) -> Training:
    """Another network goes on from a file."""
    thing = network(folder)

    def stop(epoch: int, history: object) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        fit(thing, checkpoint=folder / "a.npz", dropout=0.25, callback=stop)
    return thing._replace(model=fastrec.RNN(2, 3, 1, seed=2), optimizer=fastrec.Adam(0.01, clip=1.0))


def put(thing: Any, found: dict[str, Any]) -> None:
    for key, array in thing.parameters.items():
        array[...] = found[key]
    names = set(found) - {*thing.parameters, "first"}
    thing.optimizer.load_state_dict({name: found[name] for name in names})


def pair_model(folder: Path) -> Training:
    return Training(fastrec.EncoderDecoder(3, 3, 3, seed=1), fastrec.Adam(0.01), folder)


def fit_pairs(thing: Training) -> Any:
    tokens = np.arange(18).reshape(6, 3) % 3
    options = {"epochs": 2, "batch_size": 3, "seed": 1, "progress": False}
    return thing.model.fit(tokens, tokens[:, ::-1], optimizer=thing.optimizer, **options)


# Models of text
class Writer(NamedTuple):
    model: fastrec.CharModel
    folder: Path


def new_writer(folder: Path) -> Writer:
    return Writer(fastrec.CharModel(3, "gru", seed=1), folder)


def writer(folder: Path) -> Writer:
    thing = new_writer(folder)
    fit_text(thing, epochs=1)
    return thing


def fit_text(thing: Writer, **options: Any) -> Any:
    options = {"epochs": 6, "batch_size": 2, "steps": 5, "learning_rate": 0.1, "progress": False} | options
    return thing.model.fit(TEXT, **options)


def fit_text_from_file(thing: Writer) -> Any:
    return fit_text(thing, checkpoint=thing.folder / "a.npz", dropout=0.2)


def halfway(folder: Path) -> Writer:
    """A model that goes on from what another one has left in its file."""
    thing, calls = new_writer(folder), itertools.count()

    def stop(*arguments: object) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        fit_text(thing, checkpoint=folder / "a.npz", dropout=0.2, callback=stop)
    return thing


def read(thing: Writer) -> dict[str, Any]:
    """A model that has seen a text as others see it."""
    model = thing.model
    if (model.rnn is None) != (model.vocabulary is None):
        raise Failure("it has a network or a vocabulary, and not both")
    if model.rnn is None:
        return {"fitted": False}
    return {"fitted": True, "vocabulary": model.vocabulary, "seed": model.seed, **model.rnn.parameters}


def best_of(learner: TextLearner) -> dict[str, Any]:
    c = {"fitted": True, "vocabulary": VOCABULARY, "seed": learner.seed}
    return c | {key: array.copy() for key, array in learner.best.items()}


def put_text(thing: Writer, found: dict[str, Any]) -> None:
    model = thing.model
    if found["fitted"]:
        model.vocabulary = found["vocabulary"]
        model.rnn = model.rnn or model._network(model.vocabulary, found["seed"])
        for key, array in model.rnn.parameters.items():
            array[...] = found[key]


VOCABULARY = fastrec.Vocabulary.of(TEXT)


# Files
def saved(folder: Path) -> Any:
    thing = writer(folder)
    thing.model.rnn.save(folder / "rnn.npz")
    thing.model.save(folder / "a.npz")
    return thing


def contents(thing: Any) -> dict[str, Any]:
    """What is in the files of a job."""
    folder = getattr(thing, "folder", thing)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def save_model(thing: Writer) -> None:
    thing.model.save(thing.folder / "rnn.npz")


def load_model(thing: Writer) -> Any:
    return fastrec.CharModel.load(thing.folder / "a.npz").rnn.parameters


def load_network(thing: Writer) -> Any:
    return fastrec.RNN.load(thing.folder / "rnn.npz").parameters


def save_network(thing: Writer) -> None:
    thing.model.rnn.save(thing.folder / "a.npz")


def generate(thing: Writer) -> Any:
    return thing.model.rnn.generate([[1, 2]], 9, seed=3)[0]


def sample(thing: Writer) -> Any:
    return thing.model.sample("tick", 20, seed=3), list(thing.model.stream(length=9, seed=1))


def capacities(name: str, folder: Path) -> Any:
    result = fastrec.capacity_scaling([9, 12], 5, seed=2, out=folder / name, progress=False)
    loaded = ScalingResult.load(folder / name)
    return [(r.n, r.counts, s.counts) for r, s in zip(result, loaded, strict=True)]


def run_file(folder: Path) -> Path:
    make_run(folder / "a.db")
    return folder


def damaged_run_file(folder: Path) -> Path:
    (run_file(folder) / "a.db").write_bytes((folder / "a.db").read_bytes()[:-2000])
    return folder


def salvage(folder: Path) -> Any:
    import logging

    from fastrec.hopfield.storage_capacity.result import SCHEMA
    from fastrec.jobs.store import RunFile

    logging.getLogger("fastrec").setLevel(logging.CRITICAL)
    with RunFile(folder / "a.db", SCHEMA) as file:
        return len(file.rows())


def exported(folder: Path) -> Any:
    return export(folder / "a.db", folder / "a.csv")


def on_threads(make: Callable[[Path], Any], folder: Path) -> Any:
    """On the cpu, where helpers do what would be too little for them."""
    fastrec.set_backend("cpu")
    fastrec.set_threads(3)
    threads.SMALL, threads.SHARE, threads.BREATH = 1, 1, 10_000
    return make(folder)


ADAM = functools.partial(stepped, lambda: fastrec.Adam(0.1, clip=1.0))
SGD = functools.partial(stepped, lambda: fastrec.SGD(0.1, momentum=0.9))
EVALUATIONS = ({"begin_epoch": TextLearner}, lambda learner, thing: best_of(learner))
UPDATES = ({"_apply": Optimizer, "resume": Checkpoint}, lambda owner, thing: state_of(thing))
JOBS = {
    "store": Job(stored, lambda net: net.store(fastrec.random_patterns(2, 20, seed=9)), patterns),
    "forget": Job(stored, lambda net: net.forget(net.patterns[2:5]), patterns),
    "recall": Job(stored, many_recalled, patterns),
    "pickle": Job(stored, pickled, patterns),
    "Adam.step": Job(ADAM, step, state_of),
    "SGD.step": Job(SGD, step, state_of),
    "load_state_dict": Job(ADAM, load_state, state_of),
    "learning_rate": Job(unstepped, set_rate, state_of),
    "fit": Job(network, fit, state_of, UPDATES, put),
    "fit, one diverges": Job(networks, fit, state_of, UPDATES, put),
    "fit, checkpoint": Job(network, fit_from_file, state_of, UPDATES, None, True, ("a.npz",)),
    "fit, resumed": Job(half_fitted, fit_from_file, state_of, UPDATES, None, True, ("a.npz",)),
    "EncoderDecoder.fit": Job(pair_model, fit_pairs, state_of, UPDATES, put),
    "CharModel.fit": Job(new_writer, fit_text, read, EVALUATIONS, put_text),
    "CharModel.fit again": Job(writer, fit_text, read, EVALUATIONS, put_text),
    "CharModel.fit, checkpoint": Job(
        *(new_writer, fit_text_from_file, read, EVALUATIONS, None, True, ("a.npz",))
    ),
    "CharModel.fit, resumed": Job(*(halfway, fit_text_from_file, read, EVALUATIONS, None, True, ("a.npz",))),
    "generate": Job(writer, generate, read),
    "sample": Job(writer, sample, read),
    "RNN.save": Job(saved, save_network, contents, files=("a.npz", "rnn.npz")),
    "RNN.load": Job(saved, load_network, contents, files=("a.npz", "rnn.npz")),
    "CharModel.save": Job(saved, save_model, contents, files=("a.npz", "rnn.npz")),
    "CharModel.load": Job(saved, load_model, contents, files=("a.npz", "rnn.npz")),
    "capacity, run file": Job(Path, functools.partial(capacities, "a.db"), resumes=True, files=("a.db",)),
    "capacity, table": Job(Path, functools.partial(capacities, "a.csv"), resumes=True, files=("a.csv",)),
    "damaged run file": Job(damaged_run_file, salvage, resumes=True, files=("a.db", "a.db.damaged")),
    "export": Job(run_file, exported, contents, files=("a.db", "a.csv")),
}
for name in ("recall", "Adam.step", "fit", "CharModel.fit, resumed", "sample", "capacity, run file"):
    JOBS[f"{name}, cpu"] = JOBS[name]._replace(make=functools.partial(on_threads, JOBS[name].make))


class Whole(NamedTuple):
    """A job that nothing interrupts: states, what it gives, calls in fastrec and in all, seconds."""

    before: Any
    after: Any
    given: Any
    steps: list[Any]
    calls: tuple[int, int]
    seconds: float


class Interrupter:
    """Interrupts at a call, where Python looks for signals: as a function begins, or one in C has returned.

    Lines would be wrong places: there are some at which no signal is ever heard, such as between a body and
    the end of its lock.
    """

    def __init__(self, at: int, everywhere: bool) -> None:
        self.at, self.everywhere, self.count, self.place = at, everywhere, 0, ""
        self.counts = [0, 0]

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        name = frame.f_code.co_filename
        if event not in ("call", "c_return") or name == __file__:
            return
        if event == "call" and frame.f_code.co_flags & inspect.CO_GENERATOR:
            return  # perhaps one that is closed, where no signal is looked for
        ours = "/fastrec/" in name
        self.counts[0] += ours
        self.counts[1] += 1
        if (ours or self.everywhere) and self.at:
            self.count += 1
            if self.count == self.at:
                self.place = f"{Path(name).name}:{frame.f_lineno}, {event}"
                interrupt()


def interrupt(*signals: object) -> None:
    signal.raise_signal(signal.SIGINT)


@functools.cache
def whole(kind: str) -> Whole:
    job = JOBS[kind]
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        warm(job, Path(folder))
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        counter = Interrupter(0, True)
        thing = job.make(Path(folder))
        sys.setprofile(counter)
        job.act(thing)
        sys.setprofile(None)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        thing, begin = job.make(Path(folder)), time.monotonic()
        job.act(thing)
        seconds = time.monotonic() - begin
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        thing, steps = job.make(Path(folder)), list[Any]()
        before = same(job.look(thing))
        methods, look = job.steps

        def noting(original: Callable[..., Any]) -> Callable[..., Any]:
            def noted(owner: Any, *arguments: Any) -> Any:
                result = original(owner, *arguments)
                steps.append(same(look(owner, thing)))
                return result

            return noted

        with ExitStack() as stack:
            for name, owner in methods.items():
                stack.enter_context(mock.patch.object(owner, name, noting(getattr(owner, name))))
            given = same(job.act(thing))
        after = same(job.look(thing))
    return Whole(before, after, given, steps, tuple(counter.counts), seconds)


def warm(job: Job, folder: Path) -> None:
    thing = job.make(folder)
    job.look(thing)
    job.act(thing)


def surroundings() -> dict[str, Any]:
    """What a job must leave as it is, of this process."""
    gc.collect()
    return {
        "the handler of SIGINT": signal.getsignal(signal.SIGINT),
        "the errors of NumPy": np.geterr(),
        "the number of threads": fastrec.get_threads(),
        "the backend": fastrec.get_backend(),
        "the progress bars": len(_bars),
        "the compilation shown": announcement.current,
        "open files": len(os.listdir("/proc/self/fd")),
    }


def attempt(kind: str, number: int) -> str:
    """How an interrupted job ended, in a fork of this process; Failure if it should not have."""
    whole(kind)
    reader, writing = os.pipe()
    gc.freeze()  # the fork shares what is there
    if child := os.fork():
        gc.unfreeze()
    else:
        os.close(reader)
        try:
            ending = interrupted(kind, number)
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            ending = f"failed: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
            if isinstance(error, Failure):
                ending = f"failed: {error}"
        os.write(writing, json.dumps(ending[:400]).encode())
        os._exit(0)
    os.close(writing)
    if not select.select([reader], [], [], SECONDS - 5)[0]:
        os.kill(child, signal.SIGKILL)
    answer = b"".join(iter(lambda: os.read(reader, 4096), b""))
    os.close(reader)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not answer:
        raise Failure(f"the process ended with {code}" + ", as it hung" * (code == -signal.SIGKILL))
    ending = json.loads(answer)
    if ending.startswith("failed: "):
        raise Failure(ending.removeprefix("failed: "))
    return str(ending)


def interrupted(kind: str, number: int) -> str:
    job, expected = JOBS[kind], whole(kind)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(dir=FOLDER))
    try:
        thing = job.make(folder)
        before = surroundings()
        ending, place = act(job, thing, number, expected)
        for name, value in surroundings().items():
            if value != before[name]:
                raise Failure(f"{place}: {name} changed from {before[name]} to {value}")
        found = job.look(thing)
        state = same(found)
        if state not in [expected.before, expected.after, *expected.steps]:
            raise Failure(f"{place}: half changed")
        if odd := {path.name for path in folder.iterdir()} - {*job.files}:
            raise Failure(f"{place}: left {', '.join(odd)}")
        goes_on(job, thing, found, state, expected, place, folder)
    finally:
        shutil.rmtree(folder)
    if ending == "interrupted":
        if state == expected.before:
            return "before"
        return "after" if state == expected.after else "between updates"
    return ending


def act(job: Job, thing: Any, number: int, expected: Whole) -> tuple[str, str]:
    """Interrupt a job: whether it heard that, and where that was."""
    share, way = number * GOLDEN % 1, number % 3
    interrupter = Interrupter(1 + int(share * expected.calls[way]), way == 1) if way < 2 else None
    heard = f"at {share:.4f} of the time"
    try:
        if interrupter is not None:
            sys.setprofile(interrupter)
        else:
            signal.signal(signal.SIGALRM, interrupt)
            signal.setitimer(signal.ITIMER_REAL, max(1e-6, 1.1 * share * expected.seconds))
        try:
            job.act(thing)
        finally:
            sys.setprofile(None)
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return "interrupted", heard if interrupter is None else interrupter.place
    if interrupter is not None and interrupter.place:
        raise Failure(f"{interrupter.place}: nobody heard the interrupt")
    return "ended", heard


def goes_on(
    job: Job, thing: Any, found: dict[str, Any], state: Any, expected: Whole, place: str, folder: Path
) -> None:
    """Do the job again: with what was interrupted, and with something else that is in the same state."""
    if job.resumes:
        another = job.make(Path(tempfile.mkdtemp(dir=folder)))
        another = another._replace(folder=folder) if hasattr(another, "folder") else folder
        for one in (another, thing):
            if (given := same(job.act(one))) != expected.given:
                raise Failure(f"{place}: gives something else when resumed, {str(given)[:100]}")
            if same(job.look(one)) != expected.after:
                raise Failure(f"{place}: is another one when resumed")
        return
    with tempfile.TemporaryDirectory(dir=FOLDER) as other:
        another = job.make(Path(other))
        if job.put is not None:
            job.put(another, found)
        elif state != expected.before:
            job.act(another)
        results = [(same(job.act(one)), same(job.look(one))) for one in (another, thing)]
    if results[0] != results[1]:
        raise Failure(f"{place}: goes on in another way than one that was not interrupted")


def campaign(count: int) -> Iterator[Row]:
    """Interruptions of each job: a third each at calls in fastrec, at any calls, and at any time."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # of processes: to start two for each job takes longer
        yield from pool.map(lambda kind: run_kind("interruptions", kind, count, workers=1), JOBS)
