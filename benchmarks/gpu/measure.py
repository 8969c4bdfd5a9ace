"""Timing and checking of what runs on the device."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import statistics
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

import fastrec
from fastrec.backend import move

from .formatting import error_line
from .report import Report

with contextlib.suppress(ImportError):  # expected values are made without it
    import cupy

EXPECTED = Path(__file__).with_name("expected.json")

Counts = tuple[float, float]  # bytes and operations


def clock(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result of `run`, its wall time until the device has finished, and that between two
    events."""
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    cupy.cuda.Device().synchronize()
    begin = time.perf_counter()
    start.record()
    value = run()
    end.record()
    end.synchronize()
    return value, time.perf_counter() - begin, cupy.cuda.get_elapsed_time(start, end) / 1e3


def timed(run: Callable[[], Any], seconds: float = 1, most: int = 20) -> Counts:
    """Return the medians of both times of `clock`, over a limited number of runs or seconds."""
    times: list[Counts] = []
    while not times or (sum(t[0] for t in times) < seconds and len(times) < most):
        times.append(clock(run)[1:])
    return statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)


def free_memory() -> None:
    """Release unused device memory."""
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()


def measure(
    report: Report,
    name: str,
    run: Callable[[], Any],
    check: Callable[[Any], None],
    count: Callable[[Any], Counts],
    unit: str,
    repeat: bool = True,
    baseline: tuple[str, Callable[[], Callable[[], Any] | None]] | None = None,
    steps: int = 1,
    **goals: float,
) -> None:
    """Time `run` once, check its result, time it again, then time the baseline; write the row after each
    stage.

    `count` returns, for a result, the minimum bytes of memory traffic and operations, and `unit` names the
    unit that does the operations. With `repeat` False, or if the first call took 10 s, its times are kept.
    `baseline` is a name and a function that makes the baseline once our times are known, or None if it
    cannot run. `steps` is the number of sequential steps of a call. `goals` are upper limits for seconds,
    seconds of a step and memory, and lower limits for the share of the limit of the unit and for the ratio
    to the baseline.
    """
    free_memory()
    value, first, device = clock(run)
    row: dict[str, Any] = {"first_s": first, "memory": cupy.get_default_memory_pool().total_bytes()}
    row["bytes"], row["operations"] = count(value)
    row |= {"unit": unit, "steps": steps}

    def write(wall: float, device: float, checked: bool, **more: Any) -> None:
        row.update({"wall_s": wall, "device_s": device, **more})
        for amount, limit in (("bytes", "copy"), ("operations", unit)):
            if limit in report.limits:
                row[f"{amount}_share"] = row[amount] / device / report.limits[limit]
        reached = {"seconds": wall, "step": wall / steps, "memory": row["memory"]}
        reached |= {"share": row["operations_share"]} if "operations_share" in row else {}
        reached |= {"ratio": row["ratio"]} if "ratio" in row else {}
        row["goals"] = {
            goal: [asked, reached[goal], (reached[goal] <= asked) == (goal in ("seconds", "step", "memory"))]
            for goal, asked in goals.items()
            if not report.small and goal in reached
        }
        report.row(name, checked=checked, **row)

    write(first, device, False)
    try:
        check(value)
    except Exception as error:
        write(first, device, False, error=error_line(error))
        raise
    del value
    write(first, device, True)
    wall = first
    if repeat and first < 10:
        wall, device = timed(run)
        write(wall, device, True)
    if baseline and time.monotonic() > report.deadline - 10:
        report.note(f"{name}: no time is left for {baseline[0]}")
    elif baseline:
        against, make = baseline
        try:
            if (other := make()) is None:
                return
            other()
            seconds = timed(other)[0]
        except Exception as error:  # what a rival lacks costs no row of ours
            report.note(f"{name}: {against} failed: {error_line(error)}")
        else:
            write(wall, device, True, against=against, baseline_s=seconds, ratio=seconds / wall)


def run_all(report: Report, cases: Iterable[tuple[str, Callable[[], object]]]) -> None:
    """Run all cases, even after a failure, unless CUDA itself fails from then on.

    Raises an error that names the failed cases.
    """
    failed = []
    for name, case in cases:
        try:
            case()
        except Exception as error:
            failed.append(name)
            report.note(f"{name}:\n{traceback.format_exc()}")
            if fault := device_fault():
                raise RuntimeError(f"the device answers {fault!r} since {name!r}; no more was run") from error
    if failed:
        raise AssertionError(f"{len(failed)} failed: {'; '.join(failed)}")


def device_fault() -> str | None:
    """Return the sticky error of CUDA after a kernel has failed, or None."""
    try:
        cupy.cuda.Device().synchronize()
        cupy.zeros(1, dtype=np.int32).fill(1)
        cupy.cuda.Device().synchronize()
    except Exception as error:
        return error_line(error)
    return None


def host(value: Any) -> Any:
    """Return a NumPy array of a NumPy or CuPy array or of PackedStates."""
    return move(value.words if isinstance(value, fastrec.PackedStates) else value, "cpu")


def fields_of(value: Any) -> dict[str, Any]:
    """Return host arrays by name, for an array or the result of a recall."""
    if isinstance(value, fastrec.RecallResult):
        found = {n: host(getattr(value, n)) for n in ("states", "converged", "period", "sweeps", "flips")}
        if value.averages is None:
            return found
        names = ("states", "overlaps", "energy", "edwards_anderson")
        return found | {f"average {n}": host(getattr(value.averages, n)) for n in names}
    return {"": host(value)}


def equal(ours: Any, theirs: Any, whose: str = "backend cpu") -> None:
    """Fail unless two arrays, or two results of a recall, have equal values and dtypes."""
    expected = fields_of(theirs)
    for name, array in fields_of(ours).items():
        wanted = expected[name]
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape), (
            f"{name} {array.dtype}{array.shape}"
        )
        if not np.array_equal(array, wanted):
            differ = np.argwhere(array != wanted)
            at = tuple(differ[0].tolist())
            raise AssertionError(
                f"{name} differs from {whose} in {len(differ)} of {array.size} places, "
                f"first at {at}: {array[at]}, not {wanted[at]}"
            )


def close(ours: dict[str, Any], theirs: dict[str, Any], most: float, whose: str = "the reference") -> None:
    """Fail unless named arrays differ by at most a fraction of the largest magnitude in each."""
    for name, wanted in theirs.items():
        array = host(ours[name])
        assert array.shape == wanted.shape, f"{name} {array.shape}, not {wanted.shape}"
        error = np.abs(array.astype(float) - wanted).max(initial=0)
        largest = np.abs(wanted).max(initial=0)
        assert error <= most * largest, f"{name} is {error / largest:.1e} of its largest entry off {whose}"


def digest(value: Any) -> str:
    """Return the SHA-256 of an array or of the result of a recall."""
    total = hashlib.sha256()
    for name, array in sorted(fields_of(value).items()):
        if array is not None:
            total.update(f"{name}{array.dtype}{array.shape}".encode())
            total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def network(backend: str, p: int, n: int, b: int, **options: Any) -> tuple[Any, Any]:
    """Return a network of random patterns and its first b patterns with 10 % flipped bits, packed on the
    device."""
    networks = options.pop("networks", None)
    patterns = fastrec.random_patterns(p, n, networks=networks, backend=backend, packed=True, seed=0)
    net = fastrec.HopfieldNetwork(n, backend=backend, **options)
    net.store(patterns)
    first = fastrec.PackedStates(patterns.words[..., :b, :].copy(), n)
    return net, fastrec.corrupt(first, 0.1, backend=backend, seed=0)


def stored(name: str) -> Any:
    """Return the result of backend cpu, as stored by scripts/gpu-expected."""
    return json.loads(EXPECTED.read_text())[name]
