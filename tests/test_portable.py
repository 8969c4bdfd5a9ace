"""The intrinsics take other ways on other CPUs: compile for those, in a process each, and compare again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

KERNELS = (
    "test_codes or test_eight or test_differing or test_overlaps or test_couplings or test_local_fields"
    " or test_pack_and_unpack or test_transpose or test_recall_async"
)
RECURRENT = "test_equals_reference and float32 and (elman-tanh or affine) or sixteen_bits and 64-1"
AVX2 = "+avx,+avx2,+fma,+bmi,+bmi2,+popcnt,+ssse3,+sse4.1,+sse4.2"


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 CPUs")
@pytest.mark.parametrize(
    ("cpu", "features", "files", "chosen"),
    [
        ("haswell", AVX2, ["simd", "hopfield"], KERNELS),
        ("generic", "", ["simd", "hopfield"], KERNELS),
        ("haswell", AVX2, ["rnn", "generation"], RECURRENT),
        ("generic", "", ["rnn", "generation"], RECURRENT),
    ],
    ids=["hopfield-haswell", "hopfield-generic", "rnn-haswell", "rnn-generic"],
)
def test_results_on_another_cpu(tmp_path, cpu, features, files, chosen):
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
    names = {
        "simd": "test_simd.py",
        "hopfield": "test_kernels_hopfield.py",
        "rnn": "test_kernels_rnn.py",
        "generation": "test_generation.py",
    }
    tests = [str(here / names[name]) for name in files]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-k", chosen, *tests],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
