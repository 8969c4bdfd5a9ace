"""What makes kernels slow is found in a small kernel with one such fault, and not in the kernel without."""

from __future__ import annotations

import textwrap

import kernel_table
import nvrtc
import pytest
from machine_code import COLUMNS, PTX, SASS, Function, Kernel

reason = kernel_table.unavailable_reason()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(reason is not None, reason=str(reason))]

SOUND = """
__device__ unsigned look(const unsigned* place) {
  unsigned word;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(word) : "l"(place) : "memory");
  return word;
}
extern "C" __global__ void BOUNDS kernel(const float* x, const float* bias, float* y, unsigned* flags, int n,
                                         int steps) {
  __shared__ float ahead[16 * 256], sums[256];
  unsigned into = unsigned(__cvta_generic_to_shared(ahead + threadIdx.x));
  BEFORE
  for (int step = 0; step < steps; step++) {
#pragma unroll 1
    for (int j = 0; j < 16; j++)
      asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(into + j * 1024), "l"(x + FROM));
    asm volatile("cp.async.wait_all;" ::: "memory");
    float sum = ahead[threadIdx.x];
    STEP
    sums[threadIdx.x] = sum + bias[step];
    __syncthreads();
    while (look(flags + PLACE) != step) __nanosleep(20);
    y[step] = sums[255 - threadIdx.x] + y[step + 1];
    __syncthreads();
  }
  AFTER
}
"""
DEFAULTS = {"BOUNDS": "", "BEFORE": "", "FROM": "step * 16 + j", "STEP": "", "PLACE": "step", "AFTER": ""}


def measure(**changes: str) -> Kernel:
    """The sound kernel with some of its words replaced."""
    text = SOUND
    for word, replacement in (changes | DEFAULTS | changes).items():
        assert word in text
        text = text.replace(word, replacement)
    version = nvrtc.compilers()[0].version
    (kernel,), warnings = kernel_table.measure(text, ("kernel",), "sm_90", (), version)
    assert not warnings
    return kernel


def test_sound() -> None:
    kernel = measure()
    assert kernel.shared == 17 * 1024
    assert 1 < kernel.per_look <= 10 and 1 < kernel.per_copy <= 10
    for column in set(COLUMNS) - {"registers", "shared", "instructions", "per_look", "per_copy"}:
        assert getattr(kernel, column) == 0, column


EACH = "#pragma unroll\nfor (int j = 0; j < 96; j++)"
FAULTS = {
    "division in a step": ({"STEP": "sum += (step * 256 + int(threadIdx.x)) / n;"}, "divisions reciprocals"),
    "division of 64 bits": ({"STEP": "sum += (x - y + step) / (long long)n;"}, "divisions reciprocals"),
    "hoisted reciprocal": ({"STEP": "sum += step / n;"}, "divisions"),
    "division in a poll": ({"PLACE": "step / (n + look(flags))"}, "conversions per_look divisions"),
    "division for a copy": ({"FROM": "(step * 16 + j) / (n + step)"}, "per_copy divisions"),
    "fence in a step": ({"STEP": "y[n] = sum; __threadfence();"}, "fences step_fences per_barrier"),
    "fence after steps": ({"AFTER": "__threadfence(); y[n] = 0;"}, "fences per_barrier"),
    "fence of the system": ({"AFTER": "__threadfence_system();"}, "fences system_fences per_barrier"),
    "inferred read-only load": (
        {"const float*": "const float* __restrict__", "float* y": "float* __restrict__ y"},
        "constant",
    ),
    "spill": (
        {
            "BOUNDS": "__launch_bounds__(1024, 2)",
            "BEFORE": f"float held[96];\n{EACH} held[j] = x[j];",
            "STEP": f"{EACH} held[j] = held[j] * x[j + step] + 1;\n",
            "AFTER": f"{EACH} y[j + 1024] = held[j];\n",
        },
        "spilled stack per_copy",
    ),
}
ALWAYS = {"registers", "instructions", "reciprocals"}  # may grow, too


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(fault: str) -> None:
    changes, columns = FAULTS[fault]
    sound, kernel = measure(), measure(**changes)
    worse = {column for column in COLUMNS if getattr(kernel, column) > getattr(sound, column)}
    assert worse >= set(columns.split()) and worse <= {*columns.split(), *ALWAYS}
    assert fault == "spill" or not kernel.spilled


def test_division_before_steps_is_not_counted() -> None:
    kernel = measure(BEFORE="y[steps / n] = 1; y[threadIdx.x % n] = 2;")
    assert not kernel.divisions and not kernel.reciprocals


def loops(code: str, pattern: object) -> list[tuple[int, int]]:
    """How many instructions each loop of a function has, and how many loops are within."""
    function = Function(textwrap.dedent(code), pattern)
    return [(function.count("", loop.blocks), len(loop.nested)) for loop in function.loops]


def test_loops() -> None:
    nested = """
            /*0000*/                   MOV R1, RZ ;
    .L_x_1:
            /*0010*/                   IADD3 R1, R1, 0x1, RZ ;
            /*0020*/                   BRA.DIV ~URZ, `(.L_x_3) ;
    .L_x_2:
            /*0030*/              @!P0 BRA `(.L_x_2) ;
            /*0040*/               @P1 BRA `(.L_x_1) ;
            /*0050*/                   EXIT ;
    .L_x_3:
            /*0060*/                   MOV R2, RZ ;
            /*0070*/                   BRA `(.L_x_2) ;
    .L_x_4:
            /*0080*/                   BRA `(.L_x_4) ;
    """
    assert loops(nested, SASS) == [(6, 1), (1, 0)]
    chosen = """
    $L__BB0_1:
        add.s32 	%r1, %r1, 1;
        brx.idx 	%r1, $L_brx_0;
    $L_brx_0: .branchtargets
        $L__BB0_1,
        $L__BB0_2;
    $L__BB0_2:
        mov.u32 	%r2, 0;
        @%p1 bra 	$L__BB0_3;
        bra.uni 	$L__BB0_2;
    $L__BB0_3:
        ret;
    """
    assert loops(chosen, PTX) == [(2, 0), (3, 0)]
