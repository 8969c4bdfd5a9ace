"""Mutants of every format of files: what reads one must refuse it by name, or find the same in it."""

from __future__ import annotations

import csv
import functools
import logging
import random
import re
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastrec
from attacks import Failure, Row, run
from fastrec.bench.report import Report
from fastrec.bench.report import Row as Timing
from fastrec.files import DamagedFile
from fastrec.hopfield import RetrievalResult, ScalingResult
from fastrec.hopfield.storage_capacity.result import SCHEMA
from fastrec.jobs.store import RunFile

COUNT = 2500
BITS = "each bit of a run file"
MB = 10**6
SHARED = Path("/dev/shm")
FOLDER = SHARED if SHARED.is_dir() else Path(tempfile.gettempdir())  # memory, where no disk is waited for
WAYS = ("flip", "cut", "remove", "insert", "repeat", "swap", "fill", "number", "bytes", "mix")


class Format(NamedTuple):
    """A kind of file: a whole one, how it is read, and what may be compared, given what was read.

    room: bytes of memory for each byte of a file, and for any file.
    """

    suffix: str
    make: Callable[[Path], object]
    read: Callable[[Path], Any]
    room: tuple[int, int]


def arrays(named: Any) -> dict[str, tuple[Any, ...]]:
    """Arrays in a form that can be compared."""
    return {name: (array.shape, array.dtype.str, array.tobytes()) for name, array in named.items()}


def make_model(path: Path) -> None:
    model = fastrec.CharModel(3, "gru", seed=1)
    model.fit("tick tock, said the clock. " * 9, epochs=1, batch_size=2, steps=9, progress=False)
    model.save(path)


def read_model(path: Path) -> Any:
    model = fastrec.CharModel.load(path)
    assert model.rnn is not None
    return repr(model), model.vocabulary, arrays(model.rnn.parameters)


def make_network(path: Path) -> None:
    fastrec.RNN(2, 3, 2, "lstm", seed=1).save(path)


def make_encoder_decoder(path: Path) -> None:
    fastrec.EncoderDecoder(2, 2, 3, seed=1).save(path)


def make_translator(path: Path) -> None:
    translator = fastrec.Translator(4, embedding_size=2, min_count=1, seed=1, backend="reference")
    translator.fit([("a b", "x, y"), ("b", "y")], epochs=1, dropout=0, progress=False)
    translator.save(path)


def make_hopfield(path: Path) -> None:
    net = fastrec.HopfieldNetwork(9, rule="projection", thresholds=0.25, shape=(3, 3))
    net.store(fastrec.random_patterns(3, 9, seed=2))
    net.save(path)


def read_hopfield(path: Path) -> Any:
    net = fastrec.HopfieldNetwork.load(path, backend="reference")
    return repr(net), arrays({"W": net.couplings(), "patterns": net.patterns, "thresholds": net.thresholds})


def make_dense(path: Path) -> None:
    memory = fastrec.DenseMemory(9, degree=4, shape=(3, 3))
    memory.store(fastrec.random_patterns(3, 9, seed=2))
    memory.save(path)


def read_dense(path: Path) -> Any:
    memory = fastrec.DenseMemory.load(path, backend="reference")
    return repr(memory), arrays({"patterns": memory.patterns, "energies": memory.energy(memory.patterns)})


def make_echo_state(path: Path) -> None:
    x = np.linspace(-1, 1, 12).reshape(6, 2)
    fastrec.EchoState(2, 5, 2, seed=3).fit(x, x, ridge=1.0, washout=0).save(path)


def read_echo_state(path: Path) -> Any:
    esn = fastrec.EchoState.load(path, backend="reference")
    return repr(esn), arrays(esn.parameters | {"readout": esn.readout})


def read_network(path: Path) -> Any:
    rnn = fastrec.RNN.load(path)
    return repr(rnn), arrays(rnn.parameters)


def read_encoder_decoder(path: Path) -> Any:
    model = fastrec.EncoderDecoder.load(path)
    return repr(model), arrays(model.parameters)


def read_translator(path: Path) -> Any:
    made = fastrec.Translator.load(path, backend="reference")
    assert made.model is not None
    return repr(made), made.source, made.target, made.seed, arrays(made.model.parameters)


def train(path: Path) -> Any:
    """Go on with a training that is over."""
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 4, 2)
    rnn, optimizer = fastrec.RNN(2, 3, 1, seed=1), fastrec.Adam(0.01)
    options = {"epochs": 3, "optimizer": optimizer, "checkpoint": path, "progress": False}
    history = fastrec.fit(rnn, x, x[..., :1], loss="mse", **options)
    return arrays(rnn.parameters | optimizer.state_dict() | {"train": history.train, "time": history.seconds})


DEFINITION = fastrec.capacity(12, 1, backend="reference").definition
ORIGIN = ("reference", 0.25, "0.2", "2.4", "", "machine, the", "processor", "2026-01-02T03:04:05.678+00:00")


def make_run(path: Path) -> None:
    trials = [(n, trial, (3 * n + 7 * trial) % 5, 0) for n in (11, 12) for trial in range(9)]
    with RunFile(path, SCHEMA) as file:
        file.add(SCHEMA.rows(trials, DEFINITION, *ORIGIN))
        file.save_progress((12, 9), {"n": 12, **vars(DEFINITION)}, bytes(range(40)), 1.5)


@functools.cache
def rows_of_run() -> list[tuple[Any, ...]]:
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / "a.db"
        make_run(path)
        with RunFile(path, SCHEMA) as file:
            return file.rows()


def resume(path: Path) -> Any:
    """What is in a run file, also if it was damaged; all that is kept has once been written."""
    damaged = None
    try:
        loaded = ScalingResult.load(path)
    except DamagedFile as error:
        damaged = error
    kept = path.with_name(f"{path.name}.damaged")
    with RunFile(path, SCHEMA) as file:
        rows = file.rows()
    if not {*rows} <= {*rows_of_run()}:
        raise Failure("rows were found that nobody has written")
    if damaged:
        # Bits of the progress of unfinished trials are not read by `load`.
        if not kept.exists() and rows != rows_of_run():
            raise Failure(f"not salvaged: {damaged}")
        raise damaged
    return len(loaded), rows


def make_table(path: Path) -> None:
    fastrec.capacity_scaling([9, 20], 6, backend="reference", progress=False).save(path)


def read_table(path: Path) -> Any:
    """What was read, which must be what the text says."""
    result = ScalingResult.load(path)
    lines = path.read_text("utf-8", "replace").removesuffix("\n").split("\n")[2:-1]
    said = [
        tuple(kind(field) for kind, field in zip(SCHEMA.columns.values(), fields, strict=True))
        for fields in csv.reader(lines)
    ]
    if sorted(said) != sorted(result._rows()):
        raise Failure("what was read is not what the file says")


def make_retrieval(path: Path) -> None:
    fastrec.retrieval_scaling([20], [0.1, 0.2], 3, 2, backend="reference").save(path)


def read_retrieval(path: Path) -> Any:
    RetrievalResult.load(path)


def make_four_ways(path: Path) -> None:
    fastrec.four_ways(["order-2"], ["constant"], quick=True, networks=9).save(path)


def read_four_ways(path: Path) -> Any:
    fastrec.FourWaysResult.load(path)


def make_report(path: Path) -> None:
    row = Timing("recall", 0.5, 1.5, 3.0, "NumPy", "SGEMM", 0.25, {"a": 0.1, "b": 0.2}, {"SGEMM": 1e9}, 1e6)
    Report("a processor", "0.2", "2026-01-02T03:04:05", 2, {"SGEMM": 1e11, "int8": 2e11}, [row, row]).save(
        path
    )


def make_ink(path: Path) -> None:
    path.write_text(
        "<?xml version='1.0' encoding='UTF-8'?>\n<ink xmlns='http://www.w3.org/2003/InkML'>\n"
        "<traceFormat><channel name='X'/><channel name='Y'/><channel name='T'/></traceFormat>\n"
        "<trace id='a'>10 0 5, 9 14 '2, '1'-5*, \"2 3 *</trace>\n"
        "<trace type='penDown'>7.5 -1e1 !99</trace>\n</ink>\n"
    )


def make_ink_table(path: Path) -> None:
    path.write_text('stroke,x,y,t,"and, more"\na,0,1.5,3,\na,-2e1,2,5,"x"\n"b ""c""",1,2,9,\n')


def read_ink(path: Path) -> Any:
    fastrec.read_ink(path)


ARCHIVE, TABLE = (2, 16 * MB), (20, 64 * MB)
STROKES = (40, 64 * MB)
FORMATS = {
    "text model": Format("npz", make_model, read_model, ARCHIVE),
    "network": Format("npz", make_network, read_network, ARCHIVE),
    "Hopfield network": Format("npz", make_hopfield, read_hopfield, ARCHIVE),
    "dense memory": Format("npz", make_dense, read_dense, ARCHIVE),
    "echo state network": Format("npz", make_echo_state, read_echo_state, ARCHIVE),
    "encoder-decoder": Format("npz", make_encoder_decoder, read_encoder_decoder, ARCHIVE),
    "translator": Format("npz", make_translator, read_translator, ARCHIVE),
    "checkpoint": Format("npz", train, train, ARCHIVE),
    "run file": Format("db", make_run, resume, TABLE),
    BITS: Format("db", make_run, resume, TABLE),
    "capacity table": Format("csv", make_table, read_table, TABLE),
    "retrieval table": Format("csv", make_retrieval, read_retrieval, TABLE),
    "table of four ways": Format("csv", make_four_ways, read_four_ways, TABLE),
    "report": Format("json", make_report, Report.load, TABLE),
    "InkML": Format("inkml", make_ink, read_ink, STROKES),
    "table of strokes": Format("csv", make_ink_table, read_ink, STROKES),
}


@functools.cache
def whole(kind: str) -> tuple[bytes, Any]:
    """A whole file of a kind, and what is read from it."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        place = Path(folder) / f"a.{FORMATS[kind].suffix}"
        FORMATS[kind].make(place)
        return place.read_bytes(), FORMATS[kind].read(place)


NUMBERS = (b"0", b"-1", b"1e400", b"nan", b"inf", b"-inf", b"1" * 400, b"9" * 5000, b"2147483648", b"1e-320")
NUMBERS += (
    b"4611686018427387904",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"1_0",
    b" 1",
    b"0x10",
    b"",
)
EXTREMES = (0, 1, -1, 2**15, 2**31 - 1, -(2**31), 2**62, 2**63 - 1, -(2**63), 127, 128, 255, 4096)


def mutant(content: bytes, draw: random.Random, other: bytes) -> bytes:
    """A changed copy of a file, perhaps with a part of another one."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        length = min(draw.choice((1, 2, 4, 8, 30, 100, 1000, 4096)), len(data))
        first, second = (draw.randrange(len(data) - length + 1) for _ in range(2))
        part, place = data[first : first + length], slice(first, first + length)
        filling = draw.choice((bytes(length), b"\xff" * length, draw.randbytes(length)))
        way = draw.choice(
            ("flip", "cut", "remove", "insert", "repeat", "swap", "fill", "number", "bytes", "mix")
        )
        if way == "flip" and length:
            data[first] ^= 1 << draw.randrange(8)
        elif way == "cut":
            del data[first:]
        elif way == "remove":
            del data[place]
        elif way == "insert":
            data[first:first] = filling
        elif way == "repeat":
            data[second:second] = part
        elif way == "swap":
            data[place], data[second : second + length] = data[second : second + length], part
        elif way == "fill":
            data[place] = filling
        elif way == "number" and (found := [*re.finditer(rb"-?\d+(\.\d+)?", data)]):
            number = draw.choice(found)
            data[slice(*number.span())] = draw.choice(NUMBERS)
        elif way == "bytes":
            width, order = draw.choice((1, 2, 4, 8)), draw.choice(("little", "big"))
            data[first : first + width] = (draw.choice(EXTREMES) % 256**width).to_bytes(width, order)
        elif way == "mix":
            data[first:first] = other[second % len(other) :][:length]
    return bytes(data)


def mutants(kind: str, number: int) -> tuple[bytes, bool]:
    """A mutant by its number, and whether but one bit of it is another one."""
    content = whole(kind)[0]
    if kind == BITS:
        bit = number * 7919 % (8 * len(content))  # neighbours are far apart, so that any part is a fair one
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed), True
    draw = random.Random(f"{kind} {number}")
    other = whole(draw.choice(("network", "run file", "report")))[0]
    return mutant(content, draw, other), False


def attempt(kind: str, number: int) -> str:
    """How reading a mutant ended; Failure if it should not have."""
    content, one_bit = mutants(kind, number)
    return read(kind, content, one_bit)


def read(kind: str, content: bytes, one_bit: bool = False) -> str:
    """How reading a file with that content ends: "harmless", "refused" or, for a run file, "salvaged"."""
    logging.getLogger("fastrec").setLevel(logging.CRITICAL)
    form, expected = FORMATS[kind], whole(kind)[1]
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / f"a.{form.suffix}"
        path.write_bytes(content)
        before = used()
        try:
            found = form.read(path)
        except (ValueError, OSError) as error:
            message = str(error)
            if str(path) not in message:
                raise Failure(f"{type(error).__name__} names no file: {message[:200]}") from None
            if not message.isprintable():
                raise Failure(f"the message cannot be printed: {message[:200]!r}") from None
            ending = "salvaged" if list(path.parent.glob("*.damaged")) else "refused"
            if one_bit and ending == "salvaged":
                with RunFile(path, SCHEMA) as file:
                    lost = len(rows_of_run()) - len(file.rows())
                if lost > 1:
                    raise Failure(f"a bit has cost {lost} rows") from None
        except Failure:
            raise
        except Exception as error:
            raise Failure(f"{type(error).__name__}: {error}"[:200]) from None
        else:
            ending = "harmless"
            if found != expected:
                raise Failure("it was read, and is not the same")
        most, room = used() - before, form.room[0] * len(content) + form.room[1]
        if most > room:
            raise Failure(f"it took {most / MB:.0f} MB of memory for {len(content)} bytes")
    return ending


def used() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def campaign(count: int) -> Iterator[Row]:
    """Mutants of each format, and single bits of a small run file: all of them, if there are many mutants."""
    bits = 8 * len(whole(BITS)[0])
    counts = dict.fromkeys(FORMATS, count)
    counts[BITS] = bits if count >= COUNT else min(bits, 4 * count)
    return run("files", counts)
