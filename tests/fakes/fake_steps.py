"""Steps that go wrong in every way that a card can make them."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cupy
from gpu.report import Skipped
from gpu.steps import Step

MEASURED = {"wall_s": 0.25, "device_s": 0.2, "first_s": 1.5, "bytes": 10**9, "operations": 4e12, "unit": "b1"}


def works(report):
    report.row("limits", limits={"copy": 4e12, "b1": 1e15})
    report.note("a job | of several parts")
    report.row("a | b", **MEASURED, steps=5, memory=10**6, against="PyTorch", baseline_s=1.0)
    report.row(
        "a | b",
        checked=True,
        **MEASURED,
        steps=5,
        memory=10**6,
        against="PyTorch",
        baseline_s=1.0,
        goals={"ratio": [3, 4.0, True], "step": [0.01, 0.05, False]},
    )
    report.row("sizes", checked=True, small=report.small, full=report.size(1, 0), limits_seen=report.limits)


def fails(report):
    report.row("sum", **MEASURED)
    if not os.environ.get("FAKE_MENDED"):
        raise AssertionError("not what the reference\ngets | 3 of 5")
    report.row("sum", checked=True, **MEASURED)


def skips(report):
    raise Skipped("PyTorch is not installed")


def forgets(report):
    if os.environ.get("FAKE_MENDED"):
        report.row("remembered", checked=True)
    else:
        report.row("forgotten", **MEASURED)


def killed(report):
    report.row("before", checked=True)
    if lost := os.environ.get("FAKE_LOST"):
        Path(lost).touch()
    os.kill(os.getpid(), signal.SIGKILL)


def segfault(report):
    ctypes.string_at(0)


def exits(report):
    sys.exit(3)


def vanishes(report):
    os._exit(0)


def lingers(report):
    threading.Thread(target=time.sleep, args=(99,)).start()
    raise ValueError("and a thread is left")


def traps(report):
    raise cupy.cuda.runtime.CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access")


def hangs(report):
    report.row("last", checked=True)
    time.sleep(99)


def sleeps(report):
    report.row("asleep", checked=True, pid=os.getpid())
    time.sleep(99)


def stubborn(report):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sleep", "98765"])
    time.sleep(99)


def orphan(report):
    child = subprocess.Popen(["sleep", "98764"])
    report.row("child", checked=True, pid=child.pid)


def daemon(report):
    subprocess.Popen(["yes"], start_new_session=True)  # until nobody reads what it prints


def closes(report):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    time.sleep(0.2)


def prints(report):
    report.note('{"step": "prints", "status": "ok"')
    sys.stdout.buffer.write(bytes(range(256)) * 16 + "a line without an end: ½".encode())


def endless(report):
    while True:
        print("endless" * 1000)


def scribbles(report):
    with report.path.open("ab") as file:
        file.write(b"\0\xff\n[]\n3\nnull\n" + b"[" * 100_000 + b"\n" + b"9" * 5000 + b"\n")
        file.write(b'{"step": 1, "name": "x"}\n{"step": "scribbles", "status": []}\n{"limits": 3}\n')
        file.write(
            b'{"step": "scribbles", "name": "odd", "wall_s": 0, "first_s": "long", "device_s": 0, "unit":'
        )
        file.write(b' [], "bytes": NaN, "memory": 1' + b"0" * 400 + b', "steps": 0, "goals": {"x": 3}}\n')
        file.write(b'{"step": "scribbles", "na')
    report.row("whole", checked=True)


def step(job, limit=60, default=True):
    return Step(job.__name__, f"fake_steps:{job.__name__}", 1, limit, default, f"it {job.__name__}")


STEPS = (
    *map(step, (works, fails, skips, forgets, killed, segfault, exits, vanishes, lingers, traps)),
    *(step(job, 1) for job in (hangs, stubborn, endless)),
    *map(step, (orphan, daemon, closes, prints, scribbles)),
    Step("missing", "no_such_module:job", 1, 60, True, "its module is not there"),
    step(sleeps, default=False),
    Step("end", "fake_steps:works", 1, 60, True, "the last one"),
)
