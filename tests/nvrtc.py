"""Compile CUDA sources to machine code with NVRTC, which needs neither a card nor a driver nor CuPy.

``python tests/nvrtc.py`` prints what the kernels of fastrec take of a multiprocessor, for every architecture.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass

from cuda.bindings import nvrtc

# Bytes of shared memory and threads of one multiprocessor; all have 65536 registers and places for 32 blocks.
ARCHITECTURES = {"sm_80": (164 * 1024, 2048), "sm_90": (228 * 1024, 2048)}
REGISTERS, BLOCKS = 65536, 32
OPTIONS = ("-ftz=true", "--device-as-default-execution-space")  # which CuPy's RawModule adds to its own


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


def compile_source(
    text: str, names: Iterable[str], arch: str, options: Iterable[str] = ()
) -> tuple[list[Kernel], list[str]]:
    """The kernels of `text`, those of `names` under these names, and the warnings of the compiler.

    Raises CompileError if it does not compile or has no kernel of one of the names.
    """
    program = call(nvrtc.nvrtcCreateProgram(text.encode(), b"kernels.cu", 0, [], []))
    try:
        names = tuple(names)
        for name in names:
            call(nvrtc.nvrtcAddNameExpression(program, name.encode()))
        flags = [*options, *OPTIONS, f"-arch={arch}", "--ptxas-options=-v"]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(flags), [flag.encode() for flag in flags])
        log = output(program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CompileError(log)
        lowered = {call(nvrtc.nvrtcGetLoweredName(program, name.encode())).decode(): name for name in names}
        ptx = output(program, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
    finally:
        call(nvrtc.nvrtcDestroyProgram(program))
    warnings = [line for line in log.splitlines() if re.search(r"warning\s*[#:]|advisory", line, re.I)]
    bounds = {m[1]: m[2] for m in re.finditer(r"\.entry (\w+)\((.*?)\{", ptx, re.S)}
    return [
        Kernel(
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
    ], warnings


def number(pattern: str, text: str, default: int | None = None) -> int:
    """The number that the pattern finds in the text; without a default it must be there."""
    found = re.search(pattern, text)
    if found is None and default is None:
        raise ValueError(f"the compiler's log has no {pattern!r}: {text}")
    return int(found[1]) if found else default


def call(result: tuple) -> object:
    """The value of an NVRTC call that must not fail."""
    status, *values = result
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise CompileError(nvrtc.nvrtcGetErrorString(status)[1].decode())
    return values[0] if values else None


def output(program: object, size: object, get: object) -> str:
    """One of the texts that a program has after compilation."""
    buffer = b" " * call(size(program))  # filled in place, with a null at the end
    call(get(program, buffer))
    return buffer.decode().rstrip("\0 ")


def main() -> None:
    """Print the report."""
    sys.modules.setdefault("cupy", types.ModuleType("cupy"))  # the sources are read, nothing is launched
    from fastrec.kernels.gpu.module import KERNELS, OPTIONS, source

    form = "{:56}{:7}{:>10}{:>7}{:>7}{:>9}{:>9}{:>8}"
    print(form.format("kernel", "arch", "registers", "stack", "spills", "shared", "threads", "blocks"))
    for file, names in KERNELS.items():
        for arch in ARCHITECTURES:
            kernels, warnings = compile_source(source(file), names, arch, OPTIONS)
            for k in kernels:
                columns = (k.registers, k.stack, k.spilled, k.shared, k.threads, k.blocks)
                print(form.format(f"{file}.cu {k.name}", arch, *columns))
            print(*warnings, sep="\n", end="\n" if warnings else "")


if __name__ == "__main__":
    main()
