"""Arithmetic of all launches for Hopfield networks up to the largest: nothing runs, arrays hold nothing."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from fastrec.hopfield.storage_capacity.memory import rows_bytes, trial_bytes
from fastrec.kernels import words

cuda = pytest.importorskip("fastrec.kernels.gpu.module", reason="needs CuPy, or the emulator's")
from fastrec.kernels.gpu import (  # noqa: E402
    capacity,
    dense,
    fields,
    glauber,
    hopfield,
    learning,
    products,
    random,
    recall,
)

KEY = np.uint64(1)
CARDS = {"8.0": (108, 166912), "8.6": (84, 101376), "9.0": (132, 232448)}  # multiprocessors, shared memory
TYPES = {
    "bool": bool,
    **{
        "signed char": np.int8,
        "unsigned char": np.uint8,
        "short": np.int16,
        "int": np.int32,
        "u32": np.uint32,
    },
    **{"i64": np.int64, "long long": np.int64, "u64": np.uint64, "uint4": np.uint32, "double": np.float64},
}
OPTIONAL = {"trials", "remaining", "scratch", "states", "thresholds"}
TOGETHER = ("sweep_async", "sweep_sync", "storkey")  # kernels whose blocks meet
RECALL_SHAPES = [  # k, b, n, p
    (1, 1, 1, 1),
    (3, 5, 63, 65),
    (2, 7, 129, 1000),
    (4096, 1, 100, 14),
    (1, 4096, 10_000, 1000),
    (1, 8, 16_384, 1000),
    (1, 1, 16_384, 65_536),
    (1, 8, 16_385, 1000),
    (1, 1, 10**6, 10**5),
    (1, 1, 2**24, 65),
]
WITH_WEIGHTS = [shape for shape in RECALL_SHAPES if shape[2] < 20_000] + [(1, 3, 40_001, 1)]
SCANS = [  # n, trials, patterns
    (1, 1, 1),
    (63, 3, 5),
    (100, 100_000, 40),
    (10_000, 1000, 1100),
    (16_384, 10, 1500),
    (16_385, 10, 1500),
    (100_000, 32, 9000),
    (100_000, 32, 11_000),
]


def constants(file: str) -> dict[str, int]:
    """The integer constants of a file and its headers."""
    found: dict[str, int] = {}
    for name, value in re.findall(
        r"^(?:inline )?constexpr int (\w+) = ([^;]+);", cuda.source(file), re.MULTILINE
    ):
        found[name] = eval(value.replace("/", "//"), {}, found)
    return found


def tile(file: str, across: int) -> dict[str, int]:
    """The constants of Tile<across>."""
    found = constants(file) | {"ACROSS": across}
    for line in re.findall(r"^  static constexpr int (.*);", cuda.source(file), re.MULTILINE):
        for name, value in re.findall(r"(\w+) = ([^,]+)", line):
            found[name] = eval(value.replace("/", "//"), {}, found)
    return found


def static_shared(file: str) -> int:
    """Bytes of all static shared memory that a file declares: no kernel has more."""
    sizes = {"u64": 8, "i64": 8, "u32": 4, "int": 4, "Turn": 16, "Places": 516}
    total = 0
    for kind, extent in re.findall(
        r"^ *__shared__ (\w+) \w+((?:\[\w+\])*);", cuda.source(file), re.MULTILINE
    ):
        extents = (eval(n, {}, constants(file)) for n in re.findall(r"\[(\w+)\]", extent))
        total += sizes[kind] * math.prod(extents)
    return total


@dataclass
class Parameter:
    name: str
    type: str
    pointer: bool


@dataclass
class Kernel:
    template: list[str]  # names of the template's parameters
    bounds: str  # __launch_bounds__
    constants: dict[str, int]
    parameters: list[Parameter]

    def most_threads(self, arguments: dict[str, str]) -> int:
        """The threads that a block may have with these arguments of the template."""
        numbers = {name: int(argument) for name, argument in arguments.items() if argument.isdecimal()}
        most = self.bounds.split(",")[0].replace("/", "//") or "1024"
        return int(eval(most, {}, self.constants | numbers))


def declared(file: str) -> dict[str, Kernel]:
    """The kernels that a file declares, by name without template arguments."""
    pattern = (
        r"(?:template <([^>]*)>\s*)?__global__ void\s+(?:__launch_bounds__\(([^)]*)\)\s*)?(\w+)\(([^)]*)\)"
    )
    found = {}
    for template, bounds, name, parameters in re.findall(pattern, re.sub(r"//.*", "", cuda.source(file))):
        matches = [
            re.fullmatch(r"\s*(?:const )?([\w ]+?)(\*?) (\w+)", text) for text in parameters.split(",")
        ]
        names = [part.split()[-1] for part in template.split(",")] if template else []
        arguments = [Parameter(m[3], m[1], bool(m[2])) for m in matches]
        found[name] = Kernel(names, bounds, constants(file), arguments)
    return found


FILES = (
    "random",
    "packing",
    "product",
    "fields",
    "recall",
    "glauber",
    "dense",
    "sweep",
    "learning",
    "capacity",
)
DECLARED = {file: declared(file) for file in FILES}


class Hollow:
    """An array of the device that has everything but elements; `value` stands for whatever is read of it."""

    def __init__(self, device: Device, shape: Any, dtype: Any, value: int = 0) -> None:
        self.device, self.value, self.dtype = device, value, np.dtype(dtype)
        self.shape = (shape,) if isinstance(shape, int) else tuple(map(int, shape))
        self.size, self.data = math.prod(self.shape), SimpleNamespace(ptr=id(self))
        assert min(self.shape, default=1) >= 0

    def __len__(self) -> int:
        return self.shape[0]

    def reshape(self, *shape: int) -> Hollow:
        assert math.prod(shape) == self.size
        return Hollow(self.device, shape, self.dtype, self.value)

    def copy(self) -> Hollow:
        return Hollow(self.device, self.shape, self.dtype, self.value)

    def __getitem__(self, key: Any) -> Hollow:
        return Hollow(self.device, np.broadcast_to(0, self.shape)[key].shape, self.dtype, self.value)

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __iadd__(self, other: object) -> Hollow:
        return self

    def __eq__(self, other: object) -> Any:
        return Hollow(self.device, self.shape, bool)

    def sum(self, axis: int, dtype: Any) -> Hollow:
        return Hollow(self.device, self.shape[:axis] + self.shape[axis + 1 :], dtype, self.value)

    def max(self) -> Hollow:
        return Hollow(self.device, (), self.dtype, self.value)

    def __int__(self) -> int:
        self.device.waits += 1
        return self.device.answer

    def __bool__(self) -> bool:
        raise AssertionError("waits for the device")


@dataclass
class Launch:
    """One launch, judged when it is made."""

    device: Device
    file: str
    name: str
    kernel: ClassVar = SimpleNamespace(ptr=0)
    blocks: int = 0
    threads: int = 0
    shared: int = 0
    arguments: dict[str, Any] = field(default_factory=dict)

    def __call__(
        self, grid: tuple[int], block: tuple[int], args: tuple[Any, ...], *, shared_mem: int
    ) -> None:
        """As CuPy's kernels are called, without a stream: it is the current one."""
        name, _, template = self.name.rstrip(">").partition("<")
        kernel = DECLARED[self.file][name]
        given = dict(zip(kernel.template, filter(None, template.split(", ")), strict=True))
        (self.blocks,), (self.threads,), self.shared = grid, block, shared_mem
        self.arguments = {p.name: a for p, a in zip(kernel.parameters, args, strict=True)}
        self.check_shape(kernel.most_threads(given))
        for parameter in kernel.parameters:
            self.check_argument(parameter, TYPES[given.get(parameter.type, parameter.type)])
        if self.file == "dense":
            self.check_room(16 * self.arguments["p"])
        elif "scratch" in self.arguments:
            self.check_memory(np.dtype(TYPES[given["F"]]).itemsize)
        self.device.launches.append(self)

    def check_shape(self, most_threads: int) -> None:
        assert 1 <= self.blocks < 2**31
        assert self.threads % 32 == 0
        assert 32 <= self.threads <= most_threads
        assert static_shared(self.file) + self.shared <= self.device.shared
        if self.name.partition("<")[0] in TOGETHER:
            assert self.blocks <= self.device.multiprocessors
        if self.file == "sweep":
            assert self.threads == constants(self.file)["SWEEP_THREADS"] == tile(self.file, 4)["THREADS"]
            assert self.shared == tile(self.file, 4)["WORDS"] * 8
        if self.name.startswith("sign_product"):
            across = int(self.name[-2])
            assert self.threads == tile(self.file, across)["THREADS"]
            assert self.shared == tile(self.file, across)["WORDS"] * 8

    def check_argument(self, parameter: Parameter, dtype: Any) -> None:
        argument = self.arguments[parameter.name]
        if not parameter.pointer:
            wanted = {np.uint64: np.uint64, np.int64: (int, np.int64), np.float64: float}[dtype]
            assert isinstance(argument, wanted), parameter
            assert not isinstance(argument, bool), parameter
            assert -(2**63) <= int(argument) < 2**64
        elif argument is None:
            assert parameter.name in OPTIONAL
        else:
            assert isinstance(argument, Hollow)
            assert argument.dtype == dtype, parameter

    def check_memory(self, itemsize: int) -> None:
        """A block's: state (w) for resolve, limits (n) of Glauber, then keys, fields, s, before (n);
        fields (p) to learn."""
        n = self.arguments["n"]
        first = {"resolve": 8 * words(n), "glauber_async": -(-n * itemsize // 8) * 8}
        kind = self.name.partition("<")[0].removesuffix("_weights")
        start = first.get(kind, 0)
        assert start % 8 == 0
        assert (start + 8 * n) % itemsize == 0
        self.check_room(
            self.arguments["p"] * itemsize if self.file == "learning" else start + n * (8 + itemsize + 2)
        )

    def check_room(self, used: int) -> None:
        """A block's memory, of so many bytes in use: shared if that is large enough."""
        nbytes, scratch = self.arguments["bytes"], self.arguments["scratch"]
        assert nbytes % 8 == 0
        assert 0 <= nbytes - used < 8
        assert static_shared(self.file) <= 2048
        if nbytes + 2048 <= self.device.shared:
            assert scratch is None
            assert self.shared == nbytes
        else:
            assert scratch.shape[0] >= self.blocks and scratch.shape[1] == nbytes
            assert self.shared == 0


class Device:
    """Stands for CuPy, with a card that only takes notes."""

    def __init__(self, multiprocessors: int, shared: int) -> None:
        self.multiprocessors, self.shared = multiprocessors, shared
        self.launches: list[Launch] = []
        self.waits = self.answer = self.allocated = 0
        self.display = False
        driver = SimpleNamespace(occupancyMaxActiveBlocksPerMultiprocessor=lambda *launch: 1)
        self.cuda = SimpleNamespace(runtime=SimpleNamespace(getDevice=lambda: 0), driver=driver)

    def array(self, shape: Any, dtype: Any) -> Hollow:
        array = Hollow(self, shape, dtype)
        self.allocated += array.size * array.dtype.itemsize
        return array

    empty = zeros = array

    def ascontiguousarray(self, array: Hollow) -> Hollow:
        return array

    def full(self, shape: Any, value: int, dtype: Any) -> Hollow:
        return Hollow(self, shape, dtype, value)

    def attribute(self, name: str, device: int) -> int:
        known = {
            "KernelExecTimeout": self.display,
            "MaxSharedMemoryPerBlockOptin": self.shared,
            "MultiProcessorCount": self.multiprocessors,
        }
        return known[name]

    def kernel(self, file: str, name: str, device: int, together: bool) -> Launch:
        assert name in cuda.KERNELS[file]
        assert together == (name.partition("<")[0] in TOGETHER)
        return Launch(self, file, name)

    def run(self, kernel: Any, *arguments: Any, waits: int = 0) -> int:
        """The launches of a kernel's twin, which waits so many times."""
        before = len(self.launches), self.waits
        kernel(*arguments)
        assert self.waits == before[1] + waits
        return len(self.launches) - before[0]

    def recall(
        self,
        kernel: Any,
        shape: tuple[int, ...],
        weights: type | None,
        orders: int = 0,
        sweeps: int = 100,
        recorded: bool = True,
        waits: int = 0,
        thresholds: type = np.int32,
    ) -> int:
        """`run` one of the four recalls."""
        k, b, n, p = shape
        synchronous, times = "sync" in kernel.__name__.split("_"), (sweeps + 1) * recorded
        outputs = (
            self.array((k, b), np.int32 if synchronous else bool),
            self.array((k, b), np.int32),
            self.array((k, b), np.int64),
            self.array((k, b, times), np.int64),
        )
        if weights is None:
            inputs = self.array((k, p, words(n)), np.uint64), self.array((k, n, words(p)), np.uint64), False
        else:
            couplings = self.array((k, n, n), weights), self.array((k, n, n), weights)
            clamped = self.array((k, b, words(n) * recorded), np.uint64)
            inputs = (*couplings, self.array((k, n), thresholds), clamped)
            outputs += (self.array((k, b, times, words(n)), np.uint64),)
            outputs += () if synchronous else (self.array((k, b, 7 * recorded, 2), np.int32),)
        head = () if synchronous else (KEY, self.array((orders, n), np.int32), 0)
        states = self.array((k, b, words(n)), np.uint64)
        return self.run(kernel, *head, *inputs, sweeps, states, *outputs, waits=waits)

    def glauber(
        self,
        kernel: Any,
        shape: tuple[int, ...],
        weights: type | None,
        sweeps: int,
        orders: int = 0,
        recorded: bool = True,
    ) -> int:
        """`run` Glauber dynamics, with averages if anything is recorded."""
        (k, b, n, p), times = shape, (sweeps + 1) * recorded
        start = () if "sync" in kernel.__name__.split("_") else (self.array((orders, n), np.int32),)
        outputs = [self.array((k, b, words(n)), np.uint64), self.array((k, b), np.int64)]
        outputs.append(self.array((k, b, times), np.int64))
        if weights is None:
            inputs = self.array((k, p, words(n)), np.uint64), self.array((k, n, words(p)), np.uint64), False
        else:
            inputs = tuple(self.array((k, n, n), weights) for _ in range(2))
            inputs += self.array((k, n), np.int32), self.array((k, b, words(n) * recorded), np.uint64)
            outputs.append(self.array((k, b, times, words(n)), np.uint64))
            outputs += [self.array((k, b, 7 * recorded, 2), np.int32)] * len(start)
        outputs += [self.array((k, b, n * recorded), np.int32), self.array((k, b), np.int64)]
        heat = self.array((sweeps, 4), np.int64), self.array((45_429,), np.uint64), sweeps // 2 * recorded
        return self.run(kernel, KEY, *start, 2**31 - 1, *inputs, *heat, *outputs)

    def dense(
        self, kernel: Any, shape: tuple[int, ...], sweeps: int, orders: int = 0, recorded: bool = True
    ) -> int:
        """`run` recall of a dense memory, with the transpose if anything is recorded."""
        k, b, n, p = shape
        packed, table = self.array((k, p, words(n)), np.uint64), self.array((n + 1,), np.int64)
        synchronous = kernel is hopfield.dense_sync
        head: tuple[Any, ...] = (packed, n)
        if not synchronous:
            head = (KEY, self.array((orders, n), np.int32), 2**31 - 1, packed)
            head += (self.array((k, n, words(p) * recorded), np.uint64),)
        outputs = (
            self.array((k, b, words(n)), np.uint64),
            self.array((k, b), np.int32 if synchronous else bool),
            self.array((k, b), np.int32),
            self.array((k, b), np.int64),
            self.array((k, b, (sweeps + 1) * recorded, words(n)), np.uint64),
        )
        return self.run(kernel, *head, table, recorded, sweeps, *outputs)


@pytest.fixture(params=CARDS)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Each card in turn, as it is while nothing waits for it and rows remain."""
    device = Device(*CARDS[request.param])
    for module in (cuda, random, products, fields, recall, glauber, dense, learning, capacity):
        monkeypatch.setattr(module, "cupy", device)
    monkeypatch.setattr(cuda, "attribute", device.attribute)
    monkeypatch.setattr(cuda, "kernel", device.kernel)
    return device


def test_kernels_are_those_declared() -> None:
    for file in FILES:
        names = cuda.KERNELS[file]
        assert {name.partition("<")[0] for name in names} == set(DECLARED[file])
        for name in names:
            arguments = [a for a in name.rstrip(">").partition("<")[2].split(", ") if a]
            assert len(arguments) == len(DECLARED[file][name.partition("<")[0]].template), name


def test_constants_are_those_of_the_kernels() -> None:
    sweep, scan, orders = constants("sweep"), constants("capacity"), constants("random")
    assert orders["BUCKET"] == random.BUCKET
    assert sweep["TILE"] == products.TILE
    for across in (2, 4):
        assert tile("product", across)["WORDS"] * 8 == products.tile_shared(across)
        # With what the system keeps of each block, they fill a multiprocessor with 100 KB.
        assert 4 // across * (products.tile_shared(across) + 1024) <= 100 * 1024
    assert (sweep["BLOCK"], sweep["SWEEP_THREADS"]) == (recall.BLOCK, recall.SWEEP_THREADS)
    assert sweep["BLOCK"] == sweep["OWN"] * sweep["SWEEP_THREADS"]
    assert sweep["GROUP"] * 16 * 8 <= products.tile_shared(4)
    assert sweep["BLOCK"] * 2 <= products.tile_shared(4)
    for name in ("SCAN_THREADS", "STEP", "NEAREST", "PART", "CERTIFIED"):
        assert scan[name] == getattr(capacity, name)
    most = {name: kernel.most_threads({}) for name, kernel in DECLARED["recall"].items()}
    assert recall.row_threads(10**6) == most["recall_async"] == most["recall_sync_weights"]
    assert constants("recall")["TOGETHER"] == fields.TOGETHER
    most = {name: kernel.most_threads({}) for name, kernel in DECLARED["learning"].items()}
    assert (learning.THREADS, recall.row_threads(10**6)) == (most["storkey"], most["perceptron"])
    assert [recall.row_threads(n) for n in (1, 64, 65, 1024)] == [32, 32, 64, 512]


@pytest.mark.parametrize("border", [127, 32_767, 2**23 - 1, 2**31 - 1])
def test_planes_hold_the_overlaps(border: int) -> None:
    """In binary with a sign, -n..n need bits enough for n and one more; never a group too many."""
    for n in (1, 2, border - 1, border, border + 1):
        groups = fields.plane_groups(n)
        assert n <= 2 ** (8 * groups - 1) - 1
        assert groups == 1 or n > 2 ** (8 * groups - 9) - 1


@pytest.mark.parametrize("n", [1, 100, 1244, 1245, 10**4, 10**6, 2**24])
def test_digits_hold_most_overlaps(n: int) -> None:
    """Those of 3.6 standard deviations, with the least shift."""
    shift = capacity.digit_shift(n)
    assert 3.6 * math.sqrt(n) <= 127 * 2**shift
    assert shift == 0 or 3.6 * math.sqrt(n) > 127 * 2 ** (shift - 1)


@pytest.mark.parametrize("corrupted", [0, 1, 8, 9])
@pytest.mark.parametrize("n", [1, 100, 500, 1000, 3000, 10_000, 100_000])
@pytest.mark.parametrize("patterns", [1, 33, 64, 65, 129, 1100])
def test_looks_are_among_the_patterns_drawn(n: int, corrupted: int, patterns: int) -> None:
    """They come closer after whole numbers of steps of both kinds, and bounds of all of them have a place."""
    certain = capacity.certified_loads(n, corrupted, 100, patterns, capacity.CERTIFIED)
    ends = capacity.looks_of(n, corrupted, certain, patterns)
    assert list(ends) == sorted(ends)
    at, until = 0, 0
    while until < patterns:
        apart = next((size for size, end in zip((128, 64, 32, 16), ends, strict=True) if at < end), 64)
        assert at % apart == 0
        until, at = at + apart // 2, at + apart
        assert at - apart <= 64 * words(patterns)


def test_looks_are_closer_at_larger_loads() -> None:
    assert capacity.looks_of(100, 1, 24, 40) == (0, 0, 0, 0)
    assert capacity.looks_of(1000, 1, 249, 120) == (0, 0, 32, 128)
    assert capacity.looks_of(10_000, 1, 1100, 1100) == (128, 320, 416, 1152)
    assert capacity.looks_of(100_000, 1, 9000, 9000) == (3200, 3712, 3936, 9024)


@pytest.mark.parametrize(("k", "b", "n", "p"), RECALL_SHAPES)
def test_kernels_of_networks(device: Device, k: int, b: int, n: int, p: int) -> None:
    """As many launches whatever the sizes."""
    array, run, w, u = device.array, device.run, words(n), words(p)
    packed, probes, units = (
        array((k, p, w), np.uint64),
        array((k, b, w), np.uint64),
        array((k, n, u), np.uint64),
    )
    m = array((k, b, p), np.int32)
    assert run(hopfield.philox, KEY, array((n, 4), np.uint32), array((n, 4), np.uint32)) == 1
    assert run(hopfield.random_patterns, KEY, 3, n, packed) == 1
    assert run(hopfield.biased_patterns, KEY, 3, n, 2**63, packed) == 1
    assert run(hopfield.corrupt, KEY, 0, n // 10, n, probes) == 1
    assert run(hopfield.corrupt_states, KEY, 0, n // 10, array((k, b, n), np.int8)) == 1
    assert run(hopfield.random_order, KEY, 1, 2, 3, array((n,), np.int32)) == 2
    assert run(hopfield.pack, array((b, n), np.int8), array((b, w), np.uint64)) == 1
    assert run(hopfield.unpack, array((b, w), np.uint64), array((b, n), np.int8)) == 1
    assert run(hopfield.transpose, packed, units) == 1
    assert run(hopfield.overlaps, packed, probes, n, m) == 2
    assert run(hopfield.overlaps, packed, packed, n, array((k, p, p), np.int32)) == 2
    for self_coupling in (False, True):
        if n <= 10**6:
            assert run(hopfield.couplings, units, p, self_coupling, array((k, n, n), np.int32)) == 2
        assert run(hopfield.quadratic_form, m, n, self_coupling, array((k, b), np.int64)) == 1
        assert run(hopfield.is_stable, units, probes, m, self_coupling, array((k, b), bool)) == 2
        for dtype in (np.int32, np.int64):
            assert run(hopfield.local_fields, units, probes, m, self_coupling, array((k, b, n), dtype)) == 2
            assert run(hopfield.signed_sums, units, m, 2**29 - 1, array((k, b, n), dtype)) == 2


def parts(row_bytes: int, k: int, b: int) -> int:
    """In how many parts the rows of k networks are recalled for their scratch to be small."""
    rows = max(1, recall.BATCH // row_bytes)
    return -(-k // (rows // b)) if rows >= b else k * -(-b // rows)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("shape", WITH_WEIGHTS)
def test_recall_from_weights(device: Device, shape: tuple[int, ...], dtype: type) -> None:
    """Fields, of the thresholds' dtype; ranks of the orders given; recall."""
    k, b, n, _ = shape
    units, weights = device.array((k, n, 1), np.uint64), device.array((k, n, n), dtype)
    assert device.run(hopfield.couplings, units, 1, True, weights) == 2
    probes, local = device.array((k, b, words(n)), np.uint64), device.array((k, b, n), np.int32)
    assert device.run(hopfield.local_fields_weights, weights, probes, local) == 1
    expected = 2 * parts(26 * n, k, b)
    assert device.recall(hopfield.recall_async_weights, shape, dtype) == expected
    assert device.recall(hopfield.recall_async_weights, shape, dtype, orders=3) == expected + 1
    for thresholds in (np.int32, np.int64):
        before = len(device.launches)
        assert device.recall(hopfield.recall_sync_weights, shape, dtype, thresholds=thresholds) == expected
        recalls = [launch for launch in device.launches[before:] if launch.name.startswith("recall_sync")]
        assert sum(launch.blocks for launch in recalls) == k * b
        assert recalls[0].arguments["fields"].dtype == thresholds
    assert device.recall(hopfield.recall_sync_weights, shape, dtype, recorded=False) == expected


@pytest.mark.each_value
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("shape", WITH_WEIGHTS)
def test_glauber(device: Device, shape: tuple[int, ...], dtype: type) -> None:
    """As many launches as orders fit; each has its share of sweeps, of temperatures and of averages."""
    k, b, n, _ = shape
    made_of = parts(34 * n, k, b)
    for sweeps in (1, 100, 3000):
        launches = -(-sweeps // (recall.DRAWN // n))
        for kernel, each in ((hopfield.glauber_async_weights, 5), (hopfield.glauber_sync_weights, 2)):
            before = len(device.launches)
            assert device.glauber(kernel, shape, dtype, sweeps) == made_of * launches * each
            made = [launch for launch in device.launches[before:] if launch.file == "glauber"]
            check_sweeps(made, k * b, sweeps, launches, made_of)
        given = device.glauber(hopfield.glauber_async_weights, shape, dtype, sweeps, orders=3)
        assert given == made_of * launches * 2 + 1
    assert device.glauber(hopfield.glauber_sync_weights, shape, dtype, 1, recorded=False) == made_of * 2


def check_sweeps(made: list[Launch], rows: int, sweeps: int, launches: int, made_of: int) -> None:
    """Of so many rows, in parts, with as many launches each."""
    ends = np.cumsum([launch.arguments["count"] for launch in made[:launches]]).tolist()
    assert ends[-1] == sweeps
    assert [launch.arguments["first"] for launch in made[:launches]] == [0, *ends[:-1]]
    assert sum(launch.blocks for launch in made) == launches * rows
    given = [launch.arguments for launch in made]
    assert len({(a["first_network"], a["first_row"]) for a in given}) == made_of
    for a in given:
        assert a["first_sweep"] == 2**31 - 1 + a["first"]
        assert a["heat"].shape == (a["count"], 4)
        assert a["unaveraged"] == max(0, sweeps - sweeps // 2 - a["first"])


@pytest.mark.each_value
@pytest.mark.parametrize("shape", RECALL_SHAPES)
def test_glauber_from_patterns(device: Device, shape: tuple[int, ...]) -> None:
    """A block a row, or by the whole grid: sync, six launches a step, and what is recorded."""
    k, b, n, p = shape
    made_of = parts(recall.pattern_bytes(n, p) + 8 * n, k, b)
    launches = -(-100 // max(1, recall.DRAWN // n))
    assert device.glauber(hopfield.glauber_async, shape, None, 100, recorded=False) == made_of * launches * 8
    made = [launch for launch in device.launches if launch.file == "glauber"]
    assert sum(launch.blocks for launch in made) == launches * k * b
    assert made[0].name == f"glauber_async<{'int' if n * p < 2**30 else 'long long'}>"
    made_of = parts(recall.pattern_bytes(n, p), k, b)
    assert device.glauber(hopfield.glauber_sync, shape, None, 3, recorded=False) == made_of * (3 * 5 + 2)
    assert device.glauber(hopfield.glauber_sync, shape, None, 3) == made_of * (3 * 6 + 3)


@pytest.mark.parametrize("shape", [*RECALL_SHAPES[:-2], (1, 100, 1000, 10**6), (1, 1, 2**24, 65)])
def test_dense(device: Device, shape: tuple[int, ...]) -> None:
    """In one launch, but for the random orders that are drawn at once, or as a watchdog has it."""
    k, b, n, p = shape
    made_of = parts(16 * p + n // 4, k, b)
    assert device.dense(hopfield.dense_sync, shape, 100) == made_of
    assert device.dense(hopfield.dense_async, shape, 100, orders=3, recorded=False) == made_of
    launches = -(-100 // (recall.DRAWN // n))
    assert device.dense(hopfield.dense_async, shape, 100) == made_of * launches * 3
    made = [launch.arguments for launch in device.launches if launch.name == "dense_async"][-launches:]
    assert sum(a["count"] for a in made) == 100
    assert [a["first"] for a in made] == np.cumsum([0] + [a["count"] for a in made[:-1]]).tolist()
    device.display, before = True, len(device.launches)
    if n * (200 + 10 * p / 512) < cuda.WATCHDOG_CLOCKS:
        device.dense(hopfield.dense_sync, shape, 100)
        made = device.launches[before:]
        assert sum(launch.blocks * launch.arguments["count"] for launch in made) == 100 * k * b
        longest = max(launch.arguments["count"] for launch in made)
        assert longest == 1 or longest * n * (200 + 10 * p / 512) <= cuda.WATCHDOG_CLOCKS / 8


@pytest.mark.parametrize(("dtype", "unit"), [(np.int32, 14), (np.int64, 18)])
def test_rows_are_in_shared_memory_while_they_fit(device: Device, dtype: type, unit: int) -> None:
    most = (device.shared - 2048) // 8 * 8 // unit
    for n in (most, most + 1):
        device.recall(hopfield.recall_sync_weights, (1, 2, n, 1), np.int8, thresholds=dtype)
        assert (device.launches[-1].arguments["scratch"] is None) == (n == most)


@pytest.mark.parametrize(
    ("k", "n", "p"), [(1, 1, 1), (3, 63, 65), (1, 10_000, 1000), (500, 100, 14), (1, 20_000, 40_000)]
)
def test_learning(device: Device, k: int, n: int, p: int) -> None:
    """Storkey's rule by no more blocks than have units, the perceptron rule by a block a unit."""
    packed, units = device.array((k, p, words(n)), np.uint64), device.array((k, n, words(p)), np.uint64)
    gram, amplitudes = device.array((k, p, p), np.int32), device.array(p, np.int64)
    strengths = device.array((k, p, n), np.int64)
    assert device.run(hopfield.storkey, packed, units, gram, amplitudes, strengths) == 1
    launch = device.launches[-1]
    assert launch.blocks % launch.arguments["parts"] == 0 and launch.blocks <= k * -(-n // 256)
    device.display, before = True, len(device.launches)
    device.run(hopfield.storkey, packed, units, gram, amplitudes, strengths)
    parts = [(each.arguments["first"], each.arguments["last"]) for each in device.launches[before:]]
    assert [0, *(last for _, last in parts)] == [*(first for first, _ in parts), p]
    device.display = False
    thresholds, outputs = device.array((k, n), np.int64), [device.array((k, n, p), np.int32)]
    outputs += [device.array((k, n), np.int32), device.array((k, n), np.float64)]
    for max_passes in (1, 10**6):
        before, device.allocated = len(device.launches), 0
        device.run(hopfield.perceptron, units, gram, thresholds, 0.5, False, max_passes, *outputs)
        parts = device.launches[before:]
        assert sum(part.blocks for part in parts) == k * n
        assert [part.arguments["first"] for part in parts] == np.cumsum(
            [0] + [part.blocks for part in parts[:-1]]
        ).tolist()
        assert {part.name for part in parts} == {
            f"perceptron<{'int' if max_passes * p * n < 2**31 else 'long long'}>"
        }
        assert device.allocated <= recall.BATCH


@pytest.mark.parametrize("shape", [shape for shape in RECALL_SHAPES if shape[2] <= 16_384])
def test_recall_by_blocks(device: Device, shape: tuple[int, ...]) -> None:
    k, b, n, p = shape
    count = parts(recall.pattern_bytes(n, p), k, b)
    assert count == 1 + (b == 4096)
    assert device.recall(hopfield.recall_async, shape, None) == 5 * count
    assert device.recall(hopfield.recall_async, shape, None, orders=2) == 5 * count + 1
    assert {launch.file for launch in device.launches} == {"product", "fields", "recall"}
    before = len(device.launches)
    if recall.faster_by_grid(k, b, n, p):
        assert device.recall(hopfield.recall_sync, shape, None) == 5
        assert device.launches[-1].name == f"sweep_sync<{fields.plane_groups(n)}>"
        return
    assert device.recall(hopfield.recall_sync, shape, None) == 5 * count
    recalls = [launch for launch in device.launches[before:] if launch.file == "recall"]
    kind = "int" if n * p < 2**30 else "long long"
    assert {launch.name for launch in recalls} == {f"recall_sync<{kind}, {fields.plane_groups(n)}>"}
    assert sum(launch.blocks for launch in recalls) == k * b


def test_the_grid_recalls_few_large_rows(device: Device) -> None:
    """Synchronously, where it wins more by its many blocks than it loses by meeting."""
    for k, b, n, p, expected in (
        (1, 1, 16_384, 1000, True),
        (1, 8, 16_384, 1000, True),
        (1, 1, 4096, 400, True),
        (1, 4096, 16_384, 1000, False),
        (1, 1, 1000, 100, False),
        (100, 1, 4096, 400, False),
    ):
        assert recall.faster_by_grid(k, b, n, p) == expected


@pytest.mark.parametrize("shape", [shape for shape in RECALL_SHAPES if shape[2] > 16_384])
def test_recall_by_the_grid(device: Device, shape: tuple[int, ...]) -> None:
    """Overlaps, planes, then a launch a chunk of sweeps, two more to draw its orders."""
    largest = shape[2] == 2**24  # few orders fit
    for sweeps, chunks in (
        (1, 1),
        (4, 2 if largest else 1),
        (5, 3 if largest else 2),
        (32, 16 if largest else 4),
    ):
        before = len(device.launches)
        assert device.recall(hopfield.recall_async, shape, None, 0, sweeps, recorded=False) == 3 + 3 * chunks
        grid = [launch.arguments for launch in device.launches[before:] if launch.file == "sweep"]
        assert [a["first"] for a in grid] == np.cumsum([0] + [a["sweeps"] for a in grid[:-1]]).tolist()
        assert sum(a["sweeps"] for a in grid) == sweeps
        assert all(a["order"].size <= max(recall.DRAWN, shape[2]) for a in grid)
        assert device.recall(hopfield.recall_async, shape, None, 2, sweeps) == 4 + chunks
    assert device.recall(hopfield.recall_sync, shape, None) == 5
    assert device.recall(hopfield.recall_sync, shape, None, recorded=False) == 4


@pytest.mark.parametrize(("remaining", "waits", "sweeps"), [(1, 5, 200), (0, 1, 60)])
def test_long_recall_by_the_grid_asks_whether_rows_remain(
    device: Device, remaining: int, waits: int, sweeps: int
) -> None:
    """After 60, 92, 124, 156 and 188 sweeps."""
    device.answer = remaining
    device.recall(hopfield.recall_async, (1, 3, 20_000, 5), None, sweeps=200, waits=waits)
    assert sum(launch.arguments["sweeps"] for launch in device.launches if launch.file == "sweep") == sweeps


@pytest.mark.parametrize("corrupted", [0, 1, 9])
@pytest.mark.parametrize(("n", "trials", "patterns"), SCANS)
def test_capacity(device: Device, n: int, trials: int, patterns: int, corrupted: int) -> None:
    """Eleven launches for all trials, that wait for nothing."""
    large = n * 64 * -(-patterns // 64) >= 2**30
    numbers, counts, censored = (device.array(trials, dtype) for dtype in (np.int64, np.int64, bool))
    capacity.capacity_scan(KEY, n, numbers, False, False, corrupted, False, 100, patterns, counts, censored)
    assert device.waits == 0
    assert len(device.launches) == 11
    groups = fields.plane_groups(n)
    assert device.launches[-2].name == f"resolve<{'long long' if large else 'int'}, {groups}>"


@pytest.mark.parametrize(("n", "trials", "patterns"), [*SCANS, (300_000, 8, 9353), (10**6, 1, 27_387)])
def test_memory_of_a_scan_is_what_is_asked_for(device: Device, n: int, trials: int, patterns: int) -> None:
    numbers, counts, censored = (device.array(trials, dtype) for dtype in (np.int64, np.int64, bool))
    capacity.capacity_scan(KEY, n, numbers, False, False, 1, False, 100, patterns, counts, censored)
    asked = trials * trial_bytes(n, patterns) + rows_bytes(n, patterns, device.multiprocessors)
    assert device.allocated <= asked
    assert device.allocated > 0.7 * asked or n < 100_000


@pytest.mark.parametrize(("n", "trials", "patterns"), SCANS)
def test_a_display_gets_a_scan_in_parts(device: Device, n: int, trials: int, patterns: int) -> None:
    """Every block of the scan once; recalls in doubt go on until the device says that all are done."""
    numbers, counts, censored = (device.array(trials, dtype) for dtype in (np.int64, np.int64, bool))
    capacity.capacity_scan(KEY, n, numbers, False, False, 1, False, 100, patterns, counts, censored)
    (whole,) = (launch for launch in device.launches if launch.name == "scan")
    device.display, device.answer, device.launches = True, 2**29, []
    capacity.capacity_scan(KEY, n, numbers, False, False, 1, False, 100, patterns, counts, censored)
    parts = [launch for launch in device.launches if launch.name == "scan"]
    assert [part.arguments["first_block"] for part in parts] == np.cumsum(
        [0] + [part.blocks for part in parts[:-1]]
    ).tolist()
    assert sum(part.blocks for part in parts) == whole.blocks
    work = 300 * whole.arguments["P"] // 32 / device.multiprocessors
    assert (len(parts) > 1) == (whole.blocks * work > cuda.WATCHDOG_CLOCKS / 8)
    assert len(parts) > 1 or n < 100_000
    assert max(part.blocks for part in parts) * work <= cuda.WATCHDOG_CLOCKS / 8


def test_a_display_gets_a_recall_in_parts(device: Device) -> None:
    """Each step once, in turn; a fourth of a second of counted work at most."""
    device.display = True
    shape = (1, 1, 10**6, 10**5)
    assert device.recall(hopfield.recall_sync, shape, None) > 6
    grid = [launch.arguments for launch in device.launches if launch.file == "sweep"]
    assert [a["first"] for a in grid] == np.cumsum([0] + [a["sweeps"] for a in grid[:-1]]).tolist()
    assert sum(a["sweeps"] for a in grid) == 100
    work = recall.sweep_clocks(1, 10**6, 10**5)
    assert all(a["sweeps"] == 1 or a["sweeps"] * work <= cuda.WATCHDOG_CLOCKS / 8 for a in grid)
    before = len(device.launches)
    device.recall(hopfield.recall_async, (1, 1, 10**6, 10**4), None, sweeps=32, recorded=False)
    grid = [launch.arguments for launch in device.launches[before:] if launch.file == "sweep"]
    assert sum(a["sweeps"] for a in grid) == 32 and max(a["sweeps"] for a in grid) == 1
    before = len(device.launches)
    device.recall(hopfield.recall_async, (1, 4096, 16_384, 1000), None)
    rows = [launch.blocks for launch in device.launches[before:] if launch.file == "recall"]
    assert sum(rows) == 4096 and max(rows) * recall.flip_clocks(16_384, 129) <= cuda.WATCHDOG_CLOCKS / 8


def test_a_display_gets_sweeps_in_parts(device: Device) -> None:
    """Few sweeps a launch, as a block does them, and few rows, as all blocks do them."""
    device.display = True
    device.glauber(hopfield.glauber_async_weights, (1, 4000, 16_384, 1), np.int8, 100)
    made = [launch for launch in device.launches if launch.file == "glauber"]
    sweeps, rows = ([launch.arguments["count"] for launch in made], [launch.blocks for launch in made])
    assert np.dot(sweeps, rows) == 100 * 4000 and max(rows) < 4000 and max(sweeps) < 100
    assert max(sweeps) * glauber.block_clocks(16_384, 4) <= cuda.WATCHDOG_CLOCKS / 8
    assert max(sweeps) * max(rows) * recall.flip_clocks(16_384, 8) <= cuda.WATCHDOG_CLOCKS / 8


def test_work_that_the_watchdog_of_a_display_would_end_is_refused(device: Device) -> None:
    for display in (False, True):
        device.display = display
        assert cuda.pieces_a_launch("a step", 1) >= cuda.WATCHDOG_CLOCKS / 8
        assert cuda.pieces_a_launch("a step", cuda.WATCHDOG_CLOCKS) >= 1
    before = len(device.launches)
    message = "a synchronous step would take about .* s in one launch, and the watchdog of a device"
    with pytest.raises(RuntimeError, match=message):
        device.recall(hopfield.recall_sync, (1, 4096, 10**6, 10**5), None)
    assert not [launch for launch in device.launches[before:] if launch.file == "sweep"]
    device.display = False
    device.recall(hopfield.recall_sync, (1, 4096, 10**6, 10**5), None)


def test_nothing_is_launched_for_nothing(device: Device) -> None:
    array = device.array
    assert device.run(hopfield.pack, array((0, 65), np.int8), array((0, 2), np.uint64)) == 0
    assert device.run(hopfield.philox, KEY, array((0, 4), np.uint32), array((0, 4), np.uint32)) == 0


def test_a_kernel_may_have_all_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a block can have, less what the kernel has already; True and False are passed as 64 bits."""
    calls = []

    class Function(SimpleNamespace):
        def __call__(self, *arguments: Any, **options: Any) -> None:
            calls.append((arguments, options))

    function = Function(shared_size_bytes=1024)
    monkeypatch.setattr(cuda, "module", lambda *key: SimpleNamespace(get_function=lambda name: function))
    monkeypatch.setattr(cuda, "shared_limit", lambda device: 101376)
    monkeypatch.setattr(cuda, "kernel", cuda.kernel.__wrapped__)
    cuda.launch("packing", "pack", 0, 32, None)
    assert not calls
    cuda.launch("packing", "pack", 2, 64, True, 7, shared=16)
    assert function.max_dynamic_shared_size_bytes == 101376 - 1024
    ((grid, block, arguments), options), *_ = calls
    assert (grid, block, arguments, options) == ((2,), (64,), (1, 7), {"shared_mem": 16})
    assert type(arguments[0]) is int


def test_blocks_that_do_not_fit_the_device_at_once_are_not_launched(device: Device) -> None:
    """CuPy would launch fewer, which wait for the others forever."""
    with pytest.raises(
        RuntimeError, match=r"sweep_sync<2> needs \d+ blocks that run at once; the device has"
    ):
        cuda.launch("sweep", "sweep_sync<2>", device.multiprocessors + 1, 256, together=True)
    assert not device.launches
