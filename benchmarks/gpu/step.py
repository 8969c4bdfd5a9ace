"""Runs one step in this process: python -m gpu.step TASK, a JSON object that the parent makes."""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from . import machine, results
from .formatting import error_line, one_line
from .report import Report, Skipped


def main() -> None:
    """Run the step and write its status, as one JSON object per line, to the pipe named in the task."""
    task = json.loads(sys.argv[1])
    # A crash, and the end of the time, show in the log where it happened.
    faulthandler.enable()
    faulthandler.register(signal.SIGTERM, chain=True)
    # The parent ends this process in time, unless it was killed itself.
    signal.alarm(max(0, int(task["deadline"] - time.monotonic())) + 30)

    def write(outcome: dict[str, Any]) -> None:
        os.write(task["outcome"], json.dumps(outcome).encode() + b"\n")

    outcome = run(task)
    write(outcome)
    write(outcome | {"clocks": machine.clocks(task["bus"])})  # while CUDA still holds them up
    sys.stdout.flush()
    sys.stderr.flush()
    # What libraries free at the end takes time, and can hang or crash.
    os._exit(outcome["status"] == "failed")


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Call the job and return the status, with an error as one line."""
    path = Path(task["path"])
    report = Report(path, task["step"], task["small"], results.read(path).limits, task["deadline"])
    if fault := cuda_fault():
        print(fault, flush=True)
        return {"status": "failed", "error": fault, "lost": True}
    try:
        steps = importlib.import_module(task["steps"])
        (step,) = (step for step in steps.STEPS if step.name == task["step"])
        module, _, function = step.job.partition(":")
        getattr(importlib.import_module(module_name(steps.__name__, module)), function)(report)
    except Skipped as reason:
        print(f"skipped: {reason}", flush=True)
        return {"status": "skipped", "error": one_line(reason)}
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        return {"status": "failed", "error": error_line(error)}
    return {"status": "ok"}


def module_name(steps: str, module: str) -> str:
    """Return the full name of a module of jobs in the package of the steps."""
    package = steps.rpartition(".")[0]
    return f"{package}.{module}" if package else module


def cuda_fault() -> str | None:
    """Return why CUDA cannot start in this process, or None; without CuPy, the job reports it."""
    try:
        import cupy
    except ImportError:
        return None
    try:
        cupy.cuda.runtime.free(0)
    except Exception as error:  # each error of CUDA or of the driver means the same
        return one_line(f"CUDA cannot be started in this process: {error}")
    return None


if __name__ == "__main__":
    main()
