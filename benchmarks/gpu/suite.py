"""Run the project's tests of the kernels on this card, in the remaining time."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from .report import Report, Skipped

ROOT = Path(__file__).parents[2]
NEEDED = ("pytest", "hypothesis", "matplotlib")
CHOSEN = "(hopfield or device or schedules or capacity or kernels) and not reference"
FILES = (
    *("test_kernels_hopfield", "test_kernels_rnn", "test_kernels_generation", "test_cuda_schedules"),
    *("test_device_rnn", "test_device", "test_hopfield", "test_capacity"),  # these also compile for the CPU
)


def suite(report: Report) -> None:
    if missing := [name for name in NEEDED if not importlib.util.find_spec(name)]:
        raise Skipped(f"the tests need {', '.join(missing)}, which this Python does not have")
    files = [f"tests/{file}.py" for file in report.size(FILES, FILES[:1])]
    command = [sys.executable, "-m", "pytest", "-q", *files, "-W", "default", "--all", "-m", "not slow"]
    command += ["-k", report.size(CHOSEN, "test_transpose"), "--continue-on-collection-errors"]
    environment = os.environ | {"FASTREC_TEST_BACKENDS": "gpu", "PYTHONUNBUFFERED": "1"}
    report.row("tests")
    begin, counts = time.monotonic(), dict.fromkeys(("passed", "failed", "skipped", "error"), 0)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **streams) as tests:  # type: ignore[call-overload]
        stop = threading.Timer(report.deadline - 5 - begin, tests.send_signal, [signal.SIGINT])
        stop.start()
        for line in tests.stdout:
            report.note(line.rstrip())
            if re.search(r"\bin [\d.]+s", line):
                counts |= {name: int(count) for count, name in re.findall(r"(\d+) (\w+?)s?\b", line)}
        stop.cancel()
    wrong = counts["failed"] + counts["error"]
    ended = time.monotonic() < report.deadline - 5
    report.row("tests", checked=not wrong, seconds=time.monotonic() - begin, ended=ended, **counts)
    assert not wrong, f"{counts['failed']} tests failed, {counts['error']} could not begin"
    assert counts["passed"], "no test passed"
