"""The kernels of every .cu file, see `taken`, compile for the cards that are supported; no card is needed."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

NEEDS = "compiling needs cuda-bindings and nvidia-cuda-nvrtc, which are for Linux on x86-64"
nvrtc = pytest.importorskip("nvrtc", reason=NEEDS)
gpu = pytest.importorskip("fastrec.kernels.gpu.module", reason="the loader needs CuPy, or the emulator's")
try:
    nvrtc.nvrtc.nvrtcVersion()
except RuntimeError as error:  # the bindings are there, the library is not
    pytest.skip(f"{NEEDS}: {error}", allow_module_level=True)

# Kernels that may have a stack frame, and why; registers are spilled by none.
STACK = {f"scan<{digits}>": "the units chosen for a recall, where one is in doubt" for digits in (2, 3, 4)}


def test_table_names_every_file():
    names = [file.name for file in (files("fastrec.kernels.gpu") / "cuda").iterdir()]
    assert {f"{file}.cu" for file in gpu.KERNELS} == {name for name in names if name.endswith(".cu")}


@pytest.mark.parametrize("arch", nvrtc.ARCHITECTURES)
@pytest.mark.parametrize("file", gpu.KERNELS)
def test_compiles(file, arch):
    names = [name for name in gpu.KERNELS[file] if taken(name, arch)]
    kernels, warnings = nvrtc.compile_source(gpu.source(file), names, arch, gpu.OPTIONS)
    assert not warnings
    assert sorted(k.name for k in kernels) == sorted(names), "KERNELS must name every kernel"
    for kernel in kernels:
        assert not kernel.spilled and (not kernel.stack or kernel.name in STACK), kernel
        assert kernel.blocks >= kernel.least, kernel


def taken(name, arch):
    """Clusters are for 9.0 and later; of the recurrences those with the most rows, and so registers: the
    others, of the same source, are compiled by the emulator."""
    cell = re.fullmatch(r"(?:cell|cluster)_\w+<(\w+), \w+, (\d+)>", name)
    return (arch == "sm_90" or not name.startswith("cluster")) and (
        not cell or int(cell[2]) == gpu.ROWS[cell[1]][-1]
    )


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
    (turn, plain), warnings = nvrtc.compile_source(text, ["turn<256>", "plain"], "sm_90")
    assert (turn.name, turn.shared, turn.threads, turn.least) == ("turn<256>", 1024, 256, 2)
    assert not turn.stack and not turn.spilled and turn.blocks == 8
    assert (plain.name, plain.stack, plain.threads) == ("plain", 256, 1024)
    assert len(warnings) == 1 and "unused" in warnings[0]


def test_errors():
    with pytest.raises(nvrtc.CompileError, match="expected an expression"):
        nvrtc.compile_source("int x = ;", [], "sm_80")
    with pytest.raises(nvrtc.CompileError, match="missing"):
        nvrtc.compile_source("__global__ void there() {}", ["missing"], "sm_80")


@pytest.mark.parametrize("arch", nvrtc.ARCHITECTURES)
def test_limits_of_the_benchmarks_compile(arch):
    text = (Path(__file__).parents[1] / "benchmarks" / "limits.cu").read_text()
    names = ["issue_b1", "issue_int8", "issue_bf16", "issue_popcount"]
    kernels, warnings = nvrtc.compile_source(text, names, arch, gpu.OPTIONS)
    assert not warnings and not any(kernel.stack or kernel.spilled for kernel in kernels)
