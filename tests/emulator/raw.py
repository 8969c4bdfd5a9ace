"""RawModule and RawKernel of CuPy, the kernels compiled by g++ and run on the CPU (include/, runtime/).

A right kernel gives the same result under every schedule(); with checked(), races, accesses out of bounds,
loads of shared memory never stored to and stores to const arrays are reported with their line as well.

Floats are IEEE's with checks; without, they are a card's: a product and a sum are rounded once, where the CPU
has such an operation, and denormal float32 are 0.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import math
import os
import re
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import cupy, errors, unavailable_reason
from .errors import CUDADriverError, EmulationError, LaunchError

HERE = Path(__file__).parent
ORDERS = ("forward", "backward", "random")
MOST_SHARED = 227 << 10  # bytes of a block, as on compute capability 9.0
DEFAULT_SHARED = 48 << 10
MOST_THREADS = 1024
THREADS, BLOCKS, SHARED = 2048, 32, 228 << 10  # that a multiprocessor has room for
RESERVED = 1 << 10  # bytes of shared memory that the system takes of each block
MOST_BLOCKS = 8  # of a cluster, on any card that has clusters
KEPT = 30 * 86400  # seconds that a compiled module is kept
POISON = 0xFF  # the byte in fresh shared memory: NaN or -1

# A kernel's statics are its module's own (no GNU unique symbols), and change while another thread runs.
COMPILE = (
    *("g++", "-std=c++17", "-DFASTREC_EMULATOR", f"-I{HERE / 'include'}", "-g1", "-w", "-fPIC", "-mpopcnt"),
    *("-fno-gnu-unique", "-fvisibility=hidden", "-fno-ipa-reference", "-fno-exceptions"),
    "-ffunction-sections",
    *("-fno-strict-aliasing", "-ffp-contract=off", "-U_FORTIFY_SOURCE"),
)
PLAIN = ("-O1", "-fexpensive-optimizations")  # which contract, and take two thirds of the time of -O2
CONTRACTED = ("-mfma", "-ffp-contract=fast")
CHECKED = (  # by -Og, which does not contract, in two thirds of the time of -O1
    *("-Og", "-fsanitize=thread", "-fno-threadsafe-statics"),
    *("-fno-tree-sra", "--param=tsan-distinguish-volatile=1", "--param=tsan-instrument-func-entry-exit=0"),
)

NO_NAMES = re.compile(
    r"//[^\n]*|/\*.*?\*/|__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)"
    r"|^#\s*(?:undef|define)\s+__cluster_dims__[^\n]*",
    re.DOTALL | re.MULTILINE,
)
SECTION = re.compile(r"\.text\.(?:unlikely\.|hot\.|startup\.)?")
CLUSTER_DIMS = re.compile(r"__cluster_dims__\s*\(((?:[^()]|\([^()]*\))*)\)")
CLUSTERED = re.compile(
    r'(?:(template\s*<[^{};()]*>)\s*)?(?:(?:extern\s+"C"|static|__global__|void)\s+)*'
    + CLUSTER_DIMS.pattern
    + r"\s*(?:(?:__global__|void)\s+)*(\w+)\s*\("
)
KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(\w+)\s*\(')
DYNAMIC = re.compile(
    r"extern\s+__shared__\s+(?:__align__\s*\([^)]*\)\s*|alignas\s*\([^)]*\)\s*)?([\w\s:<>,]+?)\s+(\w+)\s*\[\s*\]\s*;"
)
PARAMETER = re.compile(r"([pc]*)(\w)(\d+)@(\d+)")
PASSED_AS = {bool: np.bool_, int: np.int64, float: np.float64}  # by CuPy


@dataclass
class Settings:
    """How kernels run unless schedule() and checked() say otherwise; the environment can turn checks on."""

    order: str = "random"
    seed: int = 0
    checked: bool = os.environ.get("FASTREC_EMULATOR_CHECKED", "0") not in ("", "0")
    busy: int = 0


settings = Settings()
running = threading.Lock()  # a module's kernels share its state
launched: set[tuple[str, str]] = set()  # the source and the name of each kernel that has run


@contextmanager
def schedule(order: str = "random", seed: int = 0) -> Iterator[None]:
    """Run threads and blocks forward, backward or at random by a seed, between their scheduling points."""
    if order not in ORDERS:
        raise ValueError(f"order is one of {ORDERS}, not {order!r}")
    before = settings.order, settings.seed
    settings.order, settings.seed = order, seed
    try:
        yield
    finally:
        settings.order, settings.seed = before


@contextmanager
def checked(check: bool = True) -> Iterator[None]:
    """Check every load and store of the kernels, which are several times slower then."""
    before, settings.checked = settings.checked, check
    try:
        yield
    finally:
        settings.checked = before


@contextmanager
def busy(multiprocessors: int) -> Iterator[None]:
    """Some multiprocessors work for another process, so that less of a cooperative launch finds room."""
    before, settings.busy = settings.busy, multiprocessors
    try:
        yield
    finally:
        settings.busy = before


def resident_blocks(threads: int, shared: int) -> int:
    """Blocks that run at once on a multiprocessor, as far as threads and shared memory decide."""
    return min(BLOCKS, THREADS // (32 * -(-threads // 32)), SHARED // (shared + RESERVED))


@functools.cache
def cache() -> Path:
    """The folder of compiled modules."""
    given = os.environ.get("FASTREC_EMULATOR_CACHE")
    folder = Path(given or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if not given:
        folder = folder / "fastrec" / "emulator"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="fastrec-emulator-"))
    for old in folder.glob("emulated-*"):
        with suppress(FileNotFoundError):
            if old.stat().st_mtime < time.time() - KEPT:
                old.unlink()
    return folder


def gcc(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise EmulationError(done.stderr.strip())


def key(*parts: Any) -> str:
    files = [*sorted((HERE / "include").iterdir()), *sorted((HERE / "runtime").iterdir())]
    return hashlib.sha1(repr((parts, [(f.name, f.read_bytes()) for f in files])).encode()).hexdigest()


@functools.cache
def runtime() -> Path:
    """The runtime of all kernels, compiled once."""
    target = cache() / f"emulated-runtime-{key(COMPILE)}.o"
    with locked(target):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=cache()) as folder:
                made = Path(folder, "runtime.o")
                sources = map(str, sorted((HERE / "runtime").glob("*.cpp")))
                gcc(*COMPILE, "-O2", "-r", "-nostdlib", "-o", str(made), *sources)
                made.replace(target)
    return target


@functools.cache
def headers(command: tuple[str, ...]) -> str:
    """What a command includes first: the headers of all kernels, which are compiled once for it."""
    compiled = cache() / f"emulated-headers-{key(command)}.h.gch"
    text = compiled.with_suffix("")
    with locked(compiled):
        if not compiled.exists():
            text.write_text('#include "emulator.h"\n')
            made = compiled.with_suffix(".new")
            gcc(*command, "-x", "c++-header", str(text), "-o", str(made))
            made.replace(compiled)
    return str(text)


def clusters(code: str) -> dict[str, str]:
    """Constants with the __cluster_dims__ of the kernels that have them, template constants of templates."""
    plain = NO_NAMES.sub(" ", code)
    found = CLUSTERED.findall(plain)
    if len(found) != plain.count("__cluster_dims__"):
        raise EmulationError("__cluster_dims__ elsewhere than right before or after the void of a kernel")
    return {
        name: f"{template} constexpr emulator::ClusterDims emulator_dims_of_{name} = {{{dims}}};\n"
        for template, dims, name in found
    }


@functools.cache
def contracts() -> bool:
    """Whether the CPU can do a product and a sum as one operation, which is rounded once."""
    return " fma " in Path("/proc/cpuinfo").read_text()


def static_bytes(compiled: str, kernels: int) -> list[int]:
    """Bytes of static shared memory of each kernel and what it calls, by the references in an object file."""
    listing = subprocess.run(("readelf", "-srW", compiled), capture_output=True, text=True, check=True).stdout
    sizes: dict[str, int] = {}
    called: dict[str, set[str]] = {}
    callees: set[str] = set()
    for line in listing.splitlines():
        words = line.split()
        if line.startswith("Relocation section"):
            name = words[2].strip("'").removeprefix(".rela")
            callees = called.setdefault(SECTION.sub("", name), set())
        elif len(words) > 4 and words[2].startswith("R_X86_64_"):
            callees.add(SECTION.sub("", words[4]).removesuffix(".cold"))
        elif len(words) == 8 and words[3] == "TLS":
            sizes[words[7]] = int(words[2], 0)
    totals = []
    for i in range(kernels):
        reached, ahead = set(), {f"emulator_launch_{i}"}
        while ahead:
            reached |= ahead
            ahead = set().union(*(called.get(name, set()) for name in ahead)) - reached
        totals.append(sum(sizes.get(name, 0) for name in reached))
    return totals


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Of several processes one makes the file, and the others wait for it."""
    from fcntl import LOCK_EX, flock  # which Windows has not

    with target.with_suffix(".lock").open("w") as file:
        flock(file, LOCK_EX)
        yield


def compile_to(target: Path, command: Sequence[str], text: str, kernels: int) -> None:
    """Make a shared library, and beside it the static shared memory of each kernel."""
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        source, compiled, made = (str(Path(folder, f"kernel.{suffix}")) for suffix in ("cpp", "o", "so"))
        Path(source).write_text(text, encoding="utf-8")
        gcc(*command, "-include", headers(tuple(command)), "-c", source, "-o", compiled)
        sizes = Path(folder, "kernel.json")
        sizes.write_text(json.dumps(static_bytes(compiled, kernels)))
        gcc("g++", "-shared", "-Wl,-Bsymbolic", compiled, str(runtime()), "-o", made)
        sizes.replace(target.with_suffix(".json"))
        Path(made).replace(target)


def build(code: str, names: Sequence[str], options: Sequence[str], check: bool) -> Path:
    """The shared library of a module's kernels, from the cache if it is there."""
    text = DYNAMIC.sub(r"\1* const \2 = (\1*)emulator::dynamic_shared();", code)
    dims = clusters(code)
    text = f'#include "emulator.h"\n#line 1 "kernel.cu"\n{text}\n#line 1 "launch.cpp"\n'
    text += "".join(dims.values()) + "".join(
        f"EMULATOR_EXPORTED int emulator_launch_{i}(const unsigned* shape, size_t shared, void** arguments,"
        " emulator::Options options) {"
        f" return emulator::launch(&{name}, shape, shared, arguments, options); }}\n"
        f"EMULATOR_EXPORTED const char* emulator_signature_{i}() {{ return emulator::signature(&{name}); }}\n"
        f"EMULATOR_EXPORTED const emulator::ClusterDims emulator_cluster_{i} ="
        f" {f'emulator_dims_of_{name}' if name.split('<')[0].strip() in dims else '{}'};\n"
        for i, name in enumerate(names)
    )
    mode = CHECKED if check else (*PLAIN, *(CONTRACTED if contracts() else ()))
    command = (*COMPILE, *mode, *(o for o in options if o.startswith(("-D", "-I"))))
    target = cache() / f"emulated-{key(command, text)}.so"
    with locked(target):
        if not target.exists():
            compile_to(target, command, text, len(names))
    return target


class Options(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int) for name in ("order", "seed", "poison", "cooperative", "flush", "checked")
    ]


class RawModule:
    """cupy.RawModule, compiled when a function is asked for."""

    def __init__(
        self,
        *,
        code: str,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Sequence[str] | None = None,
        jitify: bool = False,
    ):
        self.code, self.options = code, tuple(options)
        self.enable_cooperative_groups = enable_cooperative_groups
        self.names = tuple(
            dict.fromkeys(
                [*KERNEL.findall(CLUSTER_DIMS.sub("", NO_NAMES.sub(" ", code))), *(name_expressions or ())]
            )
        )
        self.libraries: dict[bool, tuple[Path, ctypes.CDLL]] = {}

    def library(self, check: bool) -> tuple[Path, ctypes.CDLL]:
        """The compiled module with or without checks, and its file."""
        if check not in self.libraries:
            if (fault := unavailable_reason()) is not None:
                raise EmulationError(fault)
            for match in DYNAMIC.finditer(self.code):
                if self.code.count("{", 0, match.start()) == self.code.count("}", 0, match.start()):
                    raise EmulationError(f"{match[0]}: only inside functions can it be emulated")
            file = build(self.code, self.names, self.options, check)
            library = ctypes.CDLL(str(file))
            library.emulator_error.restype = ctypes.c_char_p
            library.emulator_range.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
            self.libraries[check] = file, library
        return self.libraries[check]

    def compile(self, log_stream: Any = None) -> None:
        self.library(settings.checked)

    def get_function(self, name: str) -> RawKernel:
        if name not in self.names:
            raise EmulationError(f'no kernel {name!r} that is extern "C" or in name_expressions')
        return RawKernel(self, name)


class RawKernel:
    """cupy.RawKernel: called with grid, block and arguments, which are checked as CuPy does not."""

    local_size_bytes = 0
    max_threads_per_block = MOST_THREADS

    def __init__(self, module: RawModule, name: str):
        self.module, self.name = module, name
        self.number = module.names.index(name)
        file, library = module.library(settings.checked)
        static = json.loads(file.with_suffix(".json").read_text())[self.number]
        self.shared_size_bytes = -(-static // 16) * 16
        if self.shared_size_bytes > DEFAULT_SHARED:
            raise EmulationError(
                f"{name}: {self.shared_size_bytes} bytes of static shared memory; {DEFAULT_SHARED} at most"
            )
        self._max_dynamic_shared_size_bytes = DEFAULT_SHARED - self.shared_size_bytes
        signature = getattr(library, f"emulator_signature_{self.number}")
        signature.restype = ctypes.c_char_p
        self.cluster = tuple((ctypes.c_uint * 3).in_dll(library, f"emulator_cluster_{self.number}"))
        self.parameters = [Parameter(*match) for match in PARAMETER.findall(signature().decode())]

    @property
    def kernel(self) -> SimpleNamespace:
        """Its address stands for what is known of a kernel without it: static shared memory."""
        return SimpleNamespace(ptr=self.shared_size_bytes)

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._max_dynamic_shared_size_bytes

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        most = MOST_SHARED - self.shared_size_bytes
        if not 0 <= size <= most:
            raise LaunchError(f"{self.name}: {size} bytes of dynamic shared memory; {most} at most", 1)
        self._max_dynamic_shared_size_bytes = size

    def __call__(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        shape = [*(int(n) for n in (*grid, 1, 1)[:3]), *(int(n) for n in (*block, 1, 1)[:3])]
        if min(shape) < 1 or max(shape[1:3]) > 65535 or shape[0] >> 31 or math.prod(shape[3:]) > MOST_THREADS:
            raise LaunchError(f"{self.name}: invalid launch of {tuple(shape[:3])} x {tuple(shape[3:])}", 1)
        if math.prod(self.cluster) > MOST_BLOCKS:
            raise LaunchError(f"{self.name}: clusters of {self.cluster} blocks; {MOST_BLOCKS} at most", 1)
        if any(blocks % of_cluster for blocks, of_cluster in zip(shape[:3], self.cluster, strict=True)):
            raise LaunchError(f"{self.name}: {tuple(shape[:3])} blocks for clusters of {self.cluster}", 1)
        if not 0 <= shared_mem <= self._max_dynamic_shared_size_bytes:
            raise LaunchError(
                f"{self.name}: shared_mem={shared_mem}, but max_dynamic_shared_size_bytes is "
                f"{self._max_dynamic_shared_size_bytes}",
                1,
            )
        if self.module.enable_cooperative_groups:
            self._fit(shape, shared_mem)
        if len(args) != len(self.parameters):
            raise EmulationError(f"{self.name}: {len(args)} arguments for {len(self.parameters)} parameters")
        values = []
        for i, (argument, parameter) in enumerate(zip(args, self.parameters, strict=True)):
            try:
                values.append(parameter.convert(argument))
            except TypeError as fault:
                raise EmulationError(f"{self.name}, argument {i}: {fault}") from None
        pointers = (ctypes.c_void_p * max(1, len(values)))(*(value.ctypes.data for value in values))
        errors.reach_card(CUDADriverError)
        with running:
            self._launch(shape, shared_mem, args, pointers)

    def _fit(self, shape: list[int], shared: int) -> None:
        """Do to the grid of a cooperative launch what CuPy does, which knows nothing of other processes."""
        blocks = math.prod(shape[:3])
        at_once = resident_blocks(math.prod(shape[3:]), self.shared_size_bytes + shared)
        multiprocessors = cupy.Device.attributes["MultiProcessorCount"]
        limit = at_once * multiprocessors
        if blocks > limit:
            if shape[1] != 1 or shape[2] != 1:
                raise ValueError(
                    "The specified grid size ({} * {} * {}) exceeds the limit ({}).".format(*shape[:3], limit)
                )
            warnings.warn(
                f"The grid size will be reduced from {blocks} to {limit}, as the specified grid size exceeds "
                "the limit.",
                stacklevel=3,
            )
            shape[0] = blocks = limit
        if blocks > at_once * (multiprocessors - settings.busy):
            raise LaunchError(f"{self.name}: {blocks} blocks of a cooperative launch do not fit", 720)

    def _launch(self, shape: list[int], shared: int, args: Sequence[Any], pointers: Any) -> None:
        check = settings.checked
        file, library = self.module.library(check)
        if check:
            for argument, parameter in zip(args, self.parameters, strict=True):
                if parameter.pointer and argument is not None:
                    host = argument._host
                    library.emulator_range(host.ctypes.data, host.nbytes, parameter.constant)
        flush = not check and any(parameter.type == "f4" for parameter in self.parameters)
        options = Options(
            *(ORDERS.index(settings.order), settings.seed, POISON),
            *(self.module.enable_cooperative_groups, flush, check),
        )
        launch = getattr(library, f"emulator_launch_{self.number}")
        if launch((ctypes.c_uint * 9)(*shape, *self.cluster), ctypes.c_size_t(shared), pointers, options):
            raise errors.fault(f"{self.name}: {self._located(library.emulator_error().decode(), file)}")
        launched.add((self.module.code, self.name))

    def _located(self, message: str, file: Path) -> str:
        """The message with the kernel's line, and its text, in place of the code's address."""
        if address := re.search(r" at (0x[0-9a-f]+)", message):
            called = hex(int(address[1], 16) - 1)
            found = subprocess.run(
                ("addr2line", "-i", "-e", str(file), called), capture_output=True, text=True
            ).stdout
            if line := re.search(r"kernel\.cu:(\d+)", found):
                message = message.replace(address[0], "")[:-1] + f", line {line[1]})"
        if line := re.search(r"line (\d+)", message):
            text = self.module.code.splitlines()
            if 0 < int(line[1]) <= len(text):
                message += f": {text[int(line[1]) - 1].strip()}"
        return message


class Parameter:
    """A kernel's parameter: a pointer to, or a value of kind i, u, f, s (a structure) or v (void)."""

    def __init__(self, pointer: str, kind: str, size: str, alignment: str):
        self.pointer, self.constant = bool(pointer), pointer.startswith("c")
        self.type, self.alignment = pointer[1:] + kind + size, int(alignment)
        self.any = self.pointer and self.type[0] in "sv"

    def convert(self, argument: Any) -> np.ndarray:
        """The value for the kernel, in a NumPy array; TypeError where the kernel would misread it."""
        if self.pointer:
            return np.array(self.address(argument), dtype=np.uint64)
        if type(argument) in PASSED_AS:
            try:
                argument = PASSED_AS[type(argument)](argument)
            except OverflowError:
                raise TypeError(f"{argument} does not fit in 64 bits with a sign") from None
        if not isinstance(argument, np.generic):
            raise TypeError(f"{type(argument).__name__} for a value of {self.type}")
        if code(argument.dtype) not in (self.type, self.type.replace("u", "i")):
            raise TypeError(f"{argument.dtype} scalar for {self.type}, which CuPy would pass unchecked")
        return np.array(argument)

    def address(self, argument: Any) -> int:
        if argument is None:
            return 0
        host = getattr(argument, "_host", None)
        if not isinstance(host, np.ndarray):
            raise TypeError(f"{type(argument).__name__} for a pointer: an array on the device is needed")
        if not host.flags.c_contiguous:
            raise TypeError("an array that is not C-contiguous")
        if not self.any and code(host.dtype) != self.type:
            raise TypeError(f"{host.dtype} array for a pointer to {self.type}")
        if host.ctypes.data % self.alignment:
            raise TypeError(f"an array not aligned to {self.alignment} bytes")
        return int(host.ctypes.data)


def code(dtype: np.dtype) -> str:
    """A dtype as the kernel's signature says it."""
    return f"{'u' if dtype.kind == 'b' else dtype.kind}{dtype.itemsize}"
