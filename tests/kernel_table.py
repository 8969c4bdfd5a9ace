"""The table of what the compiler makes of every kernel, docs/reference/gpu-kernels.csv.

``python tests/kernel_table.py`` writes it; tests compare later kernels with it.  It is made by one version of
NVRTC, as numbers differ between versions.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import machine_code
import nvrtc
from emulator import raw
from machine_code import COLUMNS, Kernel, count_instructions

TABLE = Path(__file__).parents[1] / "docs/reference/gpu-kernels.csv"
ARCH = "sm_90"
VERSION = "13.0"
COMMAND = "python tests/kernel_table.py"
DISASSEMBLER = "nvidia-cuda-nvdisasm"
RECURRENCES = (
    "cells",
    "jordan",
    "gru_before",
    "normalised",
    "generation",
    "stepping",
    "decoding",
)  # each of so many instances is compiled alone


def unavailable_reason() -> str | None:
    """What keeps kernels from being compiled here, a sentence, or None."""
    if not nvrtc.compilers() or not nvrtc.installed(DISASSEMBLER, "nvdisasm"):
        return f"compiling kernels needs {nvrtc.WHEELS[0]} and {DISASSEMBLER}, which are for Linux on x86-64"
    return None


def measure(
    text: str, names: tuple[str, ...], arch: str, options: tuple[str, ...], version: str = VERSION
) -> tuple[list[Kernel], list[str]]:
    """The kernels of a source that have these names, and the compiler's warnings, which are kept on disk."""
    code = [Path(module).read_text() for module in (machine_code.__file__, nvrtc.__file__)]
    request = (text, names, arch, options, version, metadata.version(DISASSEMBLER), code)
    # The cache deletes old files that begin so.
    path = raw.cache() / f"emulated-nvrtc-{hashlib.sha256(repr(request).encode()).hexdigest()}.json"
    try:
        kernels, warnings = json.loads(path.read_text())
    except (OSError, ValueError):
        kernels, warnings = analyse(text, names, arch, options, version)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump((kernels, warnings), file)
        os.replace(file.name, path)
    return [Kernel(**kernel) for kernel in kernels], warnings


def analyse(
    text: str, names: tuple[str, ...], arch: str, options: tuple[str, ...], version: str
) -> tuple[list[dict], list[str]]:
    """What `measure` returns, each kernel as the fields of a `Kernel`."""
    (compiler,) = (compiler for compiler in nvrtc.compilers() if compiler.version == version)
    program = compiler.compile(text, names, arch, options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(program.cubin)
        file.flush()
        disassembler = nvrtc.installed(DISASSEMBLER, "nvdisasm")
        done = subprocess.run([disassembler, "-c", file.name], capture_output=True, text=True, check=True)
    sass = dict(re.findall(r"^(\w+):\n(.*?)(?=^\s*\.(?:type|section)|^//|\Z)", done.stdout, re.M | re.S))
    ptx = dict(re.findall(r"\.entry (\w+)\((.*?)^\}", program.ptx, re.M | re.S))
    kernels = [kernel for kernel in program.kernels if kernel.name in names]
    return [
        asdict(kernel) | count_instructions(ptx[symbol], sass[symbol])
        for kernel in kernels
        for symbol in [program.symbols[kernel.name]]
    ], program.warnings


def programs(file: str, names: Iterable[str]) -> list[tuple[str, ...]]:
    """Names of kernels of a file that are compiled together."""
    return [(name,) for name in names] if file in RECURRENCES else [tuple(names)]


def read_table() -> dict[tuple[str, str], dict[str, int]]:
    """The rows of the table by file and kernel."""
    with TABLE.open() as file:
        next(file)  # how it was made
        return {
            (row.pop("file"), row.pop("kernel")): {k: int(v) for k, v in row.items()}
            for row in csv.DictReader(file)
        }


def compare(file: str, kernel: Kernel, row: dict[str, int]) -> tuple[list[str], list[str]]:
    """What is worse about a kernel than in its row of the table, and what is better."""
    worse, better = [], []
    for column in COLUMNS:
        value, before = getattr(kernel, column), row[column]
        if value != before:
            (worse if value > before else better).append(
                f"{file}.cu {kernel.name} has {column} {value}, in the table {before}"
            )
    return worse, better


def main() -> None:
    """Write the table."""
    versions = [compiler.version for compiler in nvrtc.compilers()]
    if VERSION not in versions or unavailable_reason():
        raise SystemExit(
            f"the table needs NVRTC {VERSION} (found: {versions}) and {DISASSEMBLER}: pip install -e .[test]"
        )
    sys.modules.setdefault("cupy", types.ModuleType("cupy"))  # the sources are read, nothing is launched
    from fastrec.kernels.gpu.module import KERNELS, OPTIONS, source

    jobs = [(file, part) for file in KERNELS for part in programs(file, KERNELS[file])]
    with ProcessPoolExecutor() as pool, io.StringIO(newline="") as text:
        results = [pool.submit(measure, source(file), part, ARCH, OPTIONS) for file, part in jobs]
        rows = {
            (file, kernel.name): kernel
            for (file, _), result in zip(jobs, results, strict=True)
            for kernel in result.result()[0]
        }
        text.write(f"# {ARCH}, NVRTC {VERSION}\n")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("file", "kernel", *COLUMNS))
        for file, names in KERNELS.items():
            for name in names:
                writer.writerow((file, name, *(getattr(rows[file, name], column) for column in COLUMNS)))
        TABLE.write_text(text.getvalue())


if __name__ == "__main__":
    main()
