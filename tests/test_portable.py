"""The intrinsics take other ways on other CPUs: compile for those, in a process each, and compare again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

FILES = ["test_simd.py", "test_functions.py", "test_kernels_hopfield.py", "test_kernels_rnn.py"]
# Every intrinsic, and of the kernels made of them those whose loops are as wide as the CPU's registers.
CHOSEN = "test_simd or test_functions or test_overlaps or (test_equals_reference and affine and float32)"
AVX2 = "+avx,+avx2,+fma,+bmi,+bmi2,+popcnt,+ssse3,+sse4.1,+sse4.2"


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 CPUs")
@pytest.mark.parametrize(
    ("cpu", "features"), [("haswell", AVX2), ("generic", "")], ids=["haswell", "generic"]
)
def test_results_on_another_cpu(tmp_path, cpu, features):
    if cpu == "haswell" and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this CPU has no AVX2 to run it")
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
