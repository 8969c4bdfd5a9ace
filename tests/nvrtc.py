"""Compile CUDA sources to machine code with NVRTC, which needs neither a card nor a driver nor CuPy."""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

# Bytes of shared memory and threads of one multiprocessor; all have 65536 registers and places for 32 blocks.
ARCHITECTURES = {"sm_80": (164 * 1024, 2048), "sm_90": (228 * 1024, 2048)}
REGISTERS, BLOCKS = 65536, 32
OPTIONS = ("-ftz=true", "--device-as-default-execution-space")  # which CuPy's RawModule adds to its own
WHEELS = ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")


class CompileError(RuntimeError):
    """NVRTC rejected the source; the message is its log."""


@dataclass(frozen=True)
class Kernel:
    """What the compiler reports of one kernel, per thread but for `shared`, the static bytes of a block.

    threads, least: ``__launch_bounds__``, the most threads of a block and how many blocks shall fit a
    multiprocessor (1024 and 1 where the kernel has none).
    """

    name: str
    arch: str
    registers: int
    stack: int
    spilled: int
    shared: int
    threads: int
    least: int

    @property
    def blocks(self) -> int:
        """Blocks of `threads` threads that a multiprocessor holds at once, without dynamic shared memory."""
        shared, threads = ARCHITECTURES[self.arch]
        warps = -(-self.threads // 32)
        by_registers = REGISTERS // (-(-self.registers // 8) * 8 * 32) // warps
        by_shared = shared // (self.shared + 1024)  # each block also costs 1 KB that the system keeps
        return min(BLOCKS, threads // (32 * warps), by_registers, by_shared)


@dataclass(frozen=True)
class Program:
    """A compiled source: its kernels, the warnings of the compiler, PTX, and machine code.

    symbols: the name of each kernel in PTX and machine code.
    """

    kernels: list[Kernel]
    symbols: dict[str, str]
    warnings: list[str]
    ptx: str
    cubin: bytes


class Compiler:
    """One NVRTC library."""

    def __init__(self, path: Path) -> None:
        for part in path.parent.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(part))  # NVRTC asks for it by name, and no search path leads there
        self.library = ctypes.CDLL(str(path))
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p
        version = ctypes.c_int(), ctypes.c_int()
        self.call("Version", *map(ctypes.byref, version))
        self.version = f"{version[0].value}.{version[1].value}"
        number = ctypes.c_int()
        self.call("GetNumSupportedArchs", ctypes.byref(number))
        numbers = (ctypes.c_int * number.value)()
        self.call("GetSupportedArchs", numbers)
        self.architectures = {f"sm_{arch}" for arch in numbers}

    def call(self, function: str, *arguments: object) -> None:
        """Call a function of the library that must not fail."""
        if status := getattr(self.library, f"nvrtc{function}")(*arguments):
            raise CompileError(self.library.nvrtcGetErrorString(status).decode())

    def output(self, program: ctypes.c_void_p, what: str) -> bytes:
        """What a program has after compilation: "ProgramLog", "PTX" or "CUBIN"."""
        size = ctypes.c_size_t()
        self.call(f"Get{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self.call(f"Get{what}", program, buffer)
        return buffer.raw

    def compile(self, text: str, names: Iterable[str], arch: str, options: Iterable[str] = ()) -> Program:
        """The kernels of `text`, templates as instantiated by `names`.

        Raises CompileError if it does not compile or has no kernel of one of the names.
        """
        program = ctypes.c_void_p()
        self.call("CreateProgram", ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
        try:
            names = tuple(names)
            for name in names:
                self.call("AddNameExpression", program, name.encode())
            flags = [*options, *OPTIONS, f"-arch={arch}", "--ptxas-options=-v"]
            array = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
            status = self.library.nvrtcCompileProgram(program, len(flags), array)
            log = self.output(program, "ProgramLog").decode().rstrip("\0")
            if status:
                raise CompileError(log)
            lowered = {self.lowered(program, name): name for name in names}
            ptx = self.output(program, "PTX").decode().rstrip("\0")
            cubin = self.output(program, "CUBIN")
        finally:
            self.call("DestroyProgram", ctypes.byref(program))
        bounds = {m[1]: m[2] for m in re.finditer(r"\.entry (\w+)\((.*?)\{", ptx, re.S)}
        kernels = {
            entry: Kernel(
                name=lowered.get(entry, entry),
                arch=arch,
                registers=number(r"Used (\d+) registers", part),
                stack=number(r"(\d+) bytes stack frame", part),
                spilled=number(r"(\d+) bytes spill stores", part) + number(r"(\d+) bytes spill loads", part),
                shared=number(r"(\d+) bytes smem", part, 0),
                threads=number(r"\.maxntid (\d+)", bounds[entry], 1024),
                least=number(r"\.minnctapersm (\d+)", bounds[entry], 1),
            )
            for entry, part in re.findall(r"entry function '(\w+)'(.*?)(?=Compiling entry|\Z)", log, re.S)
        }
        return Program(
            kernels=list(kernels.values()),
            symbols={kernel.name: entry for entry, kernel in kernels.items()},
            warnings=[x for x in log.splitlines() if re.search(r"warning\s*[#:]|advisory", x, re.I)],
            ptx=ptx,
            cubin=cubin,
        )

    def lowered(self, program: ctypes.c_void_p, name: str) -> str:
        """The symbol of a name that was compiled."""
        symbol = ctypes.c_char_p()
        self.call("GetLoweredName", program, name.encode(), ctypes.byref(symbol))
        return symbol.value.decode()


def installed(wheel: str, pattern: str) -> Path | None:
    """The file of an installed wheel whose name matches the pattern."""
    try:
        files = metadata.distribution(wheel).files or ()
    except metadata.PackageNotFoundError:
        return None
    return next((Path(file.locate()) for file in files if re.fullmatch(pattern, file.name)), None)


@functools.cache
def compilers() -> tuple[Compiler, ...]:
    """The NVRTC libraries that are installed as wheels, that of the latest CUDA first."""
    paths = (installed(wheel, r"libnvrtc\.so\.\d+") for wheel in WHEELS)
    return tuple(Compiler(path) for path in paths if path)


def number(pattern: str, text: str, default: int | None = None) -> int:
    """The number that the pattern finds in the text; without a default it must be there."""
    match = re.search(pattern, text)
    if match is None and default is None:
        raise ValueError(f"the compiler's log has no {pattern!r}: {text}")
    return int(match[1]) if match else default
