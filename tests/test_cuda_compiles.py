"""The kernels of every .cu file compile for supported cards, and no worse than before; no card is needed."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

gpu = pytest.importorskip("fastrec.kernels.gpu.module", reason="the loader needs CuPy, or the emulator's")
import kernel_table  # noqa: E402
import nvrtc  # noqa: E402

# Kernels that may have a stack frame, and why; registers are spilled by none.
STACK = {"scan": "the units chosen for a recall, where one is in doubt"}
SUPPORTED = tuple(nvrtc.ARCHITECTURES)
# Compiled without warnings, but registers may be spilled.
OTHERS = ("sm_89", "sm_100", "sm_120")
VERSIONS = [compiler.version for compiler in nvrtc.compilers()]
COMPILED = [
    (compiler.version, arch)
    for compiler in nvrtc.compilers()
    for arch in (*SUPPORTED, *OTHERS)
    if arch in compiler.architectures
]
TABLE = kernel_table.read_table()


def compiling(test):
    """Marks a test that needs the compilers, which are installed for --all alone."""
    reason = kernel_table.unavailable_reason()
    return pytest.mark.slow(pytest.mark.skipif(reason is not None, reason=str(reason))(test))


def kind(name: str) -> str:
    """A kernel without its types."""
    return name.split("<")[0]


def largest(file, arch, group=None):
    """Of each group of instances that an architecture has, the one that holds most registers by the table.

    Without groups these are all instances.
    The table has every instance: where another one has become the largest, `test_every_instance` fails.
    """
    names = {}
    for name in sorted(gpu.KERNELS[file], key=lambda name: TABLE.get((file, name), {}).get("registers", 0)):
        if int(arch[3:]) >= 90 or not name.startswith("cluster"):
            names[group(name) if group else name] = name
    return tuple(name for name in gpu.KERNELS[file] if name in names.values())


def compiled(file, names, arch):
    """These kernels of a file."""
    kernels = []
    for part in kernel_table.programs(file, names):
        more, _ = kernel_table.measure(gpu.source(file), part, arch, gpu.OPTIONS, VERSIONS[0])
        assert sorted(kernel.name for kernel in more) == sorted(part)
        kernels += more
    return kernels


def check(file, kernels):
    """No registers are spilled, and kernels keep what they promise or the language does not."""
    for kernel in kernels:
        assert not kernel.spilled and (not kernel.stack or kernel.name in STACK), kernel
        assert kernel.blocks >= kernel.least, kernel
        if "__ldg" not in gpu.source(file):
            assert not kernel.constant, f"{kernel.name} has loads through the read-only path, but no __ldg"


def compare(file, kernels, record):
    """Kernels are no worse than in the table; what is better is written at the end of the tests."""
    if VERSIONS[0] != kernel_table.VERSION:
        pytest.skip(
            f"the table is by NVRTC {kernel_table.VERSION}, not {VERSIONS[0]}; no registers are spilled"
        )
    worse = []
    for kernel in kernels:
        assert (file, kernel.name) in TABLE, f"the table has no {kernel.name}; run {kernel_table.COMMAND}"
        more, better = kernel_table.compare(file, kernel, TABLE[file, kernel.name])
        worse += more
        for line in better:
            record("note", f"{line}; run {kernel_table.COMMAND}")
    assert not worse, "\n".join([*worse, f"If that is meant, run {kernel_table.COMMAND}"])


def test_table_names_every_file():
    names = [file.name for file in (files("fastrec.kernels.gpu") / "cuda").iterdir()]
    assert {f"{file}.cu" for file in gpu.KERNELS} == {name for name in names if name.endswith(".cu")}


def test_table_names_every_kernel():
    assert list(TABLE) == [(file, name) for file in gpu.KERNELS for name in gpu.KERNELS[file]], (
        f"run {kernel_table.COMMAND}"
    )


@pytest.mark.parametrize("file", gpu.KERNELS)
def test_every_kernel_is_loaded(file):
    text = re.sub(r"//.*", "", gpu.source(file))
    names = re.findall(r"__global__[^;{]*?(\w+)\s*\([^()]*\)\s*\{", text)
    assert set(names) == {kind(name) for name in gpu.KERNELS[file]}, "KERNELS must name every kernel"


@compiling
@pytest.mark.parametrize("arch", SUPPORTED)
@pytest.mark.parametrize("file", gpu.KERNELS)
def test_every_instance(file, arch, record_property):
    kernels = compiled(file, largest(file, arch), arch)
    check(file, kernels)
    if arch == kernel_table.ARCH:
        compare(file, kernels, record_property)


@compiling
@pytest.mark.parametrize("file", gpu.KERNELS)
@pytest.mark.parametrize(("version", "arch"), COMPILED)
def test_an_instance_of_each_kernel(version, arch, file, record_property):
    names = largest(file, arch, kind)
    kernels, warnings = kernel_table.measure(gpu.source(file), names, arch, gpu.OPTIONS, version)
    assert not warnings
    assert sorted(kernel.name for kernel in kernels) == sorted(names)
    if arch in SUPPORTED:
        check(file, kernels)
    for kernel in kernels:
        if kernel.spilled:
            record_property("note", f"{kernel.name} spills {kernel.spilled} bytes on {arch}, NVRTC {version}")


@compiling
def test_worse_than_the_table(monkeypatch):
    """A kernel with larger numbers than its row fails, smaller ones are noted."""
    kernel = next(k for k in compiled("training", gpu.KERNELS["training"], "sm_90") if k.name == "sum_rows")
    row = {column: getattr(kernel, column) for column in kernel_table.COLUMNS}
    monkeypatch.setitem(TABLE, ("training", "sum_rows"), row | {"fences": -1, "registers": 255})
    monkeypatch.setitem(globals(), "VERSIONS", [kernel_table.VERSION])
    notes = []
    message = r"sum_rows has fences 0, in the table -1\s+If that is meant, run python tests/kernel_table.py"
    with pytest.raises(AssertionError, match=message):
        compare("training", [kernel], lambda name, value: notes.append(value))
    assert notes == [
        f"training.cu sum_rows has registers {kernel.registers}, in the table 255; run {kernel_table.COMMAND}"
    ]


@compiling
def test_report():
    text = """
    template <int N> __global__ void __launch_bounds__(256, 2) turn(const int *a, int *b) {
      __shared__ int s[N];
      s[threadIdx.x] = a[threadIdx.x];
      __syncthreads();
      b[threadIdx.x] = s[N - 1 - threadIdx.x];
    }
    extern "C" __global__ void plain(int *a, int i) {
      int held[64];
      for (int j = 0; j < 64; j++) held[j] = a[j];
      int unused;
      for (int j = 0; j < 64; j++) a[j] = held[(j * i) & 63];
    }
    """
    (turn, plain), warnings = kernel_table.measure(text, ("turn<256>", "plain"), "sm_90", (), VERSIONS[0])
    assert (turn.name, turn.shared, turn.threads, turn.least) == ("turn<256>", 1024, 256, 2)
    assert not turn.stack and not turn.spilled and turn.blocks == 8
    assert (plain.name, plain.stack, plain.threads) == ("plain", 256, 1024)
    assert len(warnings) == 1 and "unused" in warnings[0]


@compiling
def test_errors():
    compiler = nvrtc.compilers()[0]
    with pytest.raises(nvrtc.CompileError, match="expected an expression"):
        compiler.compile("int x = ;", [], "sm_80")
    with pytest.raises(nvrtc.CompileError, match="missing"):
        compiler.compile("__global__ void there() {}", ["missing"], "sm_80")


@compiling
@pytest.mark.parametrize("arch", SUPPORTED)
def test_limits_of_the_benchmarks_compile(arch):
    text = (Path(__file__).parents[1] / "benchmarks" / "limits.cu").read_text()
    names = ("issue_b1", "issue_int8", "issue_bf16", "issue_popcount")
    kernels, warnings = kernel_table.measure(text, names, arch, gpu.OPTIONS, VERSIONS[0])
    assert not warnings and not any(kernel.stack or kernel.spilled for kernel in kernels)
