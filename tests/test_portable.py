"""The intrinsics take other ways on other CPUs: compile for those, in a process each, and compare again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

FILES = [
    "test_simd.py",
    "test_functions.py",
    "test_kernels_hopfield.py",
    "test_kernels_rnn.py",
    "test_capacity.py",
    "test_ctc.py",
]
# Every intrinsic, and of the kernels made of them those whose loops are as wide as the CPU's registers.
CHOSEN = (
    "test_simd or test_functions or test_overlaps or (test_equals_reference and affine and float32) "
    "or (test_scan_equals_definition and cpu) or test_closed_form or test_ten_thousand_steps"
)
PLAIN = "+ssse3,+sse4.1,+sse4.2,+popcnt"
AVX2 = PLAIN + ",+avx,+avx2,+fma,+bmi,+bmi2"
AVX512 = AVX2 + ",+avx512f,+avx512bw,+avx512vl,+avx512dq"
# A CPU, the features that are compiled for, and those of this machine that are needed to run it.
CPUS = {
    "generic": ("", ()),
    "nehalem": (PLAIN, ("ssse3", "popcnt")),
    "haswell": (AVX2, ("avx2",)),
    "alderlake": (AVX2 + ",+avxvnni", ("avx2", "avx_vnni")),
    "skylake-avx512": (AVX512, ("avx512bw", "avx512vl")),
    "icelake-server": (AVX512 + ",+avx512vnni", ("avx512bw", "avx512vl", "avx512_vnni")),
}


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 CPUs")
@pytest.mark.parametrize("cpu", CPUS)
def test_results_on_another_cpu(tmp_path, cpu):
    features, needed = CPUS[cpu]
    if missing := set(needed) - set(Path("/proc/cpuinfo").read_text().split()):
        pytest.skip(f"this CPU has no {', '.join(sorted(missing))} to run it")
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": cpu,
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(tmp_path),
        "FASTREC_TEST_BACKENDS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-k", CHOSEN, *(str(here / name) for name in FILES)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
