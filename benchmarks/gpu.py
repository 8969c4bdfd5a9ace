"""Measure backend "gpu": what scripts/gpu-check runs.  Every job is checked by "cpu" or "reference".

Writes results/gpu-<card>.json, each row as soon as it is measured, and the table of README.md; when only some
jobs are named, beside the rows measured before.  --quick, small sizes to try that all works, and --out leave
README.md alone.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import json
import re
import shutil
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import fastrec
from fastrec.arguments import available_memory
from fastrec.backend import kernels, resolve
from fastrec.kernels import words

with contextlib.suppress(ImportError):  # --table does without
    import cupy

HERE = Path(__file__).parent
RESULTS = HERE / "results"

# Published: bytes/s of memory; operations/s of int8 and one-bit tensor cores (dense) and of float32.  A
# multiplication and its addition are two operations.  The first name found in that of the card counts.
PUBLISHED = {
    "H200 NVL": {"memory": 4.8e12, "int8": 1.671e15, "float32": 60e12},
    "H200": {"memory": 4.8e12, "int8": 1.979e15, "float32": 67e12},
    "H100 NVL": {"memory": 3.9e12, "int8": 1.671e15, "float32": 60e12},
    "H100 PCIe": {"memory": 2.0e12, "int8": 1.513e15, "float32": 51e12},
    "H100": {"memory": 3.35e12, "int8": 1.979e15, "float32": 67e12},
    "A100-SXM4-80GB": {"memory": 2.039e12, "int8": 624e12, "b1": 4.992e15, "float32": 19.5e12},
    "A100 80GB": {"memory": 1.935e12, "int8": 624e12, "b1": 4.992e15, "float32": 19.5e12},
    "A100": {"memory": 1.555e12, "int8": 624e12, "b1": 4.992e15, "float32": 19.5e12},
}
UNITS = {"b1": "b1 mma", "int8": "int8 mma", "bf16": "bf16 mma", "tf32": "tf32 mma", "popcount": "popcount"}
UNITS |= {unit: unit for unit in ("int32", "float32")}

Counts = tuple[float, float]  # bytes and operations


def card() -> dict[str, Any]:
    """The current device and what drives it.  Ends the program where there is none."""
    try:
        resolve("gpu")
    except fastrec.BackendError as error:
        sys.exit(f"gpu-check: {error}")
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    driver = "?"
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True).stdout.split()
        driver = found[0] if found else "?"
    runtime = cupy.cuda.runtime
    return {
        "card": properties["name"].decode(),
        "multiprocessors": properties["multiProcessorCount"],
        "memory": properties["totalGlobalMem"],
        "driver": driver,
        "cuda": [
            f"{v // 1000}.{v % 1000 // 10}" for v in (runtime.driverGetVersion(), runtime.runtimeGetVersion())
        ],
        "cupy": cupy.__version__,
    }


def told(machine: dict[str, Any]) -> str:
    """`card` in words."""
    driver, runtime = machine["cuda"]
    size = f"{machine['multiprocessors']} multiprocessors, {human(machine['memory'], 'B')}"
    software = f"driver {machine['driver']} (CUDA {driver}), CuPy {machine['cupy']} (CUDA {runtime})"
    return f"{machine['card']}, {size}; {software}"


def human(value: float, unit: str) -> str:
    """A number with three digits and a prefix, as "1.23 TB/s"."""
    prefixes = ["", "k", "M", "G", "T", "P"]
    while value >= 999.5 and len(prefixes) > 1:
        value /= 1000
        del prefixes[0]
    return f"{value:.3g} {prefixes[0]}{unit}"


def duration(s: float) -> str:
    return f"{s:.3g} s" if s >= 1 else f"{s * 1e3:.3g} ms" if s >= 1e-3 else f"{s * 1e6:.3g} µs"


def clock(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """What `run` returns, its seconds by the wall until the device is done, and those between two events."""
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    cupy.cuda.Device().synchronize()
    begin = time.perf_counter()
    start.record()
    value = run()
    end.record()
    end.synchronize()
    return value, time.perf_counter() - begin, cupy.cuda.get_elapsed_time(start, end) / 1e3


def timed(run: Callable[[], Any]) -> Counts:
    """Medians of both times of `clock`, over up to 20 runs or a second."""
    times: list[Counts] = []
    while not times or (sum(t[0] for t in times) < 1 and len(times) < 20):
        times.append(clock(run)[1:])
    return statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)


def host(value: Any) -> Any:
    """The NumPy array of a NumPy or CuPy array or of PackedStates."""
    return cupy.asnumpy(value.words if isinstance(value, fastrec.PackedStates) else value)


def equal(ours: Any, theirs: Any) -> None:
    """Fail unless two arrays have equal values and dtypes, or two results of a recall equal arrays."""
    if isinstance(ours, fastrec.RecallResult):
        for name in ("states", "converged", "period", "sweeps", "flips"):
            equal(getattr(ours, name), getattr(theirs, name))
        return
    a, b = host(ours), host(theirs)
    assert a.dtype == b.dtype and np.array_equal(a, b), "not what backend cpu gets"


class Bench:
    """The rows of one card, kept in a file.

    quick: small sizes.  keep: the rows measured before too.  limits: bytes/s of a copy and operations/s of
    each unit, measured before the jobs.
    """

    def __init__(self, out: Path, quick: bool, keep: bool) -> None:
        self.quick = quick
        self.machine = card()
        slug = re.sub(r"[^a-z0-9]+", "-", self.machine["card"].lower()).strip("-").removeprefix("nvidia-")
        self.path = out / f"gpu-{slug}{'-quick' if quick else ''}.json"
        self.rows: dict[str, dict[str, Any]] = {}
        before = [path for path in (self.path, RESULTS / self.path.name) if path.exists()]
        if keep and before:
            self.rows = {row["name"]: row for row in json.loads(before[0].read_text())["rows"]}
        self.limits = limits(self.machine, quick)

    def size(self, full: Any, quick: Any) -> Any:
        return quick if self.quick else full

    def row(
        self,
        name: str,
        run: Callable[[], Any],
        check: Callable[[Any], None],
        count: Callable[[Any], Counts],
        unit: str,
        repeat: bool = True,
        baseline: tuple[str, Callable[[], Any]] | None = None,
        steps: int = 1,
        **goals: float,
    ) -> None:
        """Check what `run` returns, then time it and the baseline and keep the row.

        count: the bytes that must go through memory and the operations, of a result.  unit: what does the
        operations.  repeat: False takes the times of the first call, as happens if that took 10 s.
        steps: what the call does one after the other, each told the time of.
        goals: seconds, those of a step and memory at most, share (of the limit of the unit) and, where there
        is a baseline, ratio at least.
        """
        print(f"  {name}: ", end="", flush=True)
        empty()
        value, wall, device = clock(run)
        row: dict[str, Any] = {"name": name, "first_s": wall}
        row["memory"] = cupy.get_default_memory_pool().total_bytes()
        begin = time.perf_counter()
        check(value)
        print(
            f"first {duration(wall)}, checked {duration(time.perf_counter() - begin)}, ", end="", flush=True
        )
        nbytes, operations = count(value)
        del value
        if repeat and wall < 10:
            wall, device = timed(run)
        row |= {"wall_s": wall, "device_s": device, "bytes": nbytes, "operations": operations, "unit": unit}
        row["steps"] = steps
        row["bytes_share"] = nbytes / device / self.limits["copy"]
        row["operations_share"] = operations / device / self.limits[unit]
        reached = {"seconds": wall, "step": wall / steps, "memory": row["memory"]}
        reached["share"] = row["operations_share"]
        if baseline:
            row["against"], other = baseline
            other()
            row["baseline_s"] = timed(other)[0]
            reached["ratio"] = row["baseline_s"] / wall
        row["goals"] = {
            goal: [asked, reached[goal], (reached[goal] <= asked) == (goal in ("seconds", "step", "memory"))]
            for goal, asked in goals.items()
            if not self.quick and goal in reached
        }
        against = f", {row['against']} {spent(row, 'baseline_s')}" if baseline else ""
        print(f"then {spent(row, 'wall_s')}{against} {goals_told(row)}", flush=True)
        self.rows[name] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        result = self.machine | {
            "date": str(date.today()),
            "limits": self.limits,
            "rows": [*self.rows.values()],
        }
        self.path.write_text(json.dumps(result, indent=1) + "\n")


def limits(machine: dict[str, Any], quick: bool) -> dict[str, float]:
    """What the card can do: a copy, mma and popcount measured; int32 and float32 by their clocks.

    bf16 and tf32 are a half and a quarter of int8, as published of all cards in PUBLISHED.
    """
    found = {"copy": copy_rate(10**6 if quick else 4 * 10**9)}
    module = cupy.RawModule(code=(HERE / "limits.cu").read_text(), options=("-std=c++17",))
    blocks, rounds = 8 * machine["multiprocessors"], 10 if quick else 2000
    out = cupy.empty(blocks * 256, dtype=np.int32)
    # Operations of an instruction of a warp: an mma 16 x 8 x 256 (or 32), a popcount 32 bits in each lane.
    for unit, each in (("b1", 2 * 16 * 8 * 256), ("int8", 2 * 16 * 8 * 32), ("popcount", 2 * 32 * 32)):
        kernel = module.get_function(f"issue_{unit}")
        device = timed(functools.partial(kernel, (blocks,), (256,), (np.int32(rounds), out)))[1]
        found[unit] = blocks * 8 * 8 * rounds * each / device  # 8 warps a block, 8 instructions a round
    found |= {"bf16": found["int8"] / 2, "tf32": found["int8"] / 4}
    clocks = cupy.cuda.Device().attributes["ClockRate"] * 1e3
    # A multiply-add of float32 is two operations.
    each = {"int32": 64, "float32": 256}
    return found | {unit: clock * clocks * machine["multiprocessors"] for unit, clock in each.items()}


def copy_rate(size: int) -> float:
    """Bytes read and written in a second by a copy of `size` bytes on the device."""
    a, b = cupy.zeros(size, dtype=np.uint8), cupy.empty(size, dtype=np.uint8)
    return 2 * size / timed(lambda: cupy.copyto(b, a))[1]


def spent(row: dict[str, Any], key: str) -> str:
    """A time of a row, and that of a step where it has several."""
    step = f" ({duration(row[key] / row['steps'])} a step)" if row["steps"] > 1 else ""
    return duration(row[key]) + step


def goals_told(row: dict[str, Any]) -> str:
    forms = {
        "seconds": lambda v: f"≤ {duration(v)}",
        "step": lambda v: f"≤ {duration(v)} a step",
        "memory": lambda v: f"≤ {human(v, 'B')}",
        "share": lambda v: f"≥ {v:.0%} of {UNITS[row['unit']]}",
        "ratio": lambda v: f"≥ {v:.3g} x {row['against']}",
    }
    return "; ".join(
        f"{forms[goal](asked)}: {'yes' if met else 'no'}" for goal, (asked, _, met) in row["goals"].items()
    )


def rate(value: float, key: str) -> str:
    """A rate of memory ("copy") or of a unit in words."""
    return human(value, "B/s" if key in ("copy", "memory") else "op/s")


def table(result: dict[str, Any]) -> str:
    """What was measured on one card, in Markdown."""
    known = next((v for k, v in PUBLISHED.items() if k in result["card"]), {})
    measured = [f"{UNITS.get(key, key)} {rate(value, key)}" for key, value in result["limits"].items()]
    published = [f"{UNITS.get(key, key)} {rate(value, key)}" for key, value in known.items()]
    text = f"{told(result)}; {result['date']}\n\nLimits measured: {', '.join(measured)}"
    text += f"; published: {', '.join(published)}.\n\n" if published else ".\n\n"
    text += "| job | time | on the device | bytes/s | of copy | operations/s | of limit | memory | baseline "
    text += "| ratio | goal | first call |\n" + "|---" * 12 + "|\n"
    for r in result["rows"]:
        t = r["device_s"]
        cells = [r["name"], spent(r, "wall_s"), spent(r, "device_s")]
        cells += [rate(r["bytes"] / t, "copy"), f"{r['bytes_share']:.0%}"] if r["bytes"] else ["", ""]
        share = f"{r['operations_share']:.0%} of {UNITS[r['unit']]}"
        cells += [rate(r["operations"] / t, r["unit"]), share] if r["operations"] else ["", ""]
        cells.append(human(r["memory"], "B"))
        other = r.get("baseline_s")
        cells += (
            [f"{r['against']}, {spent(r, 'baseline_s')}", f"**{other / r['wall_s']:.3g}**"]
            if other
            else ["", ""]
        )
        text += "| " + " | ".join([*cells, goals_told(r), duration(r["first_s"])]) + " |\n"
    return text


def write_tables(readme: Path, results: Path) -> None:
    """Put the tables of all cards in README.md."""
    files = sorted(f for f in results.glob("gpu-*.json") if not f.stem.endswith("-quick"))
    tables = "\n".join(table(json.loads(file.read_text())) for file in files) or "Not measured yet.\n"
    before, begin, _, end, after = re.split(r"(<!-- gpu table -->\n|<!-- gpu end -->)", readme.read_text())
    readme.write_text(before + begin + tables + end + after)


def network(backend: str, p: int, n: int, b: int, **options: Any) -> tuple[Any, Any]:
    """A network of random patterns, and the first b of them with 10 % flipped, packed where it computes."""
    networks = options.pop("networks", None)
    patterns = fastrec.random_patterns(p, n, networks=networks, backend=backend, packed=True)
    net = fastrec.HopfieldNetwork(n, backend=backend, **options)
    net.store(patterns)
    first = fastrec.PackedStates(patterns.words[..., :b, :].copy(), n)
    return net, fastrec.corrupt(first, 0.1, backend=backend)


def patterns(bench: Bench) -> None:
    p, n = bench.size((2**15, 2**20), (33, 1000))
    some = min(p, 256)
    bench.row(
        f"random patterns, p = {p}, n = {n}",
        lambda: fastrec.random_patterns(p, n, backend="gpu", packed=True),
        lambda x: equal(x.words[:some], fastrec.random_patterns(some, n, backend="cpu", packed=True)),
        # A block of 128 bits: 10 rounds of 2 multiplications, 2 three-input xors and 2 additions.
        lambda x: (8 * p * words(n), 60 * p * words(n) / 2),
        "int32",
    )


def packing(bench: Bench) -> None:
    p, n = bench.size((2**15, 10**5), (70, 300))
    gpu, cpu = kernels("hopfield", "gpu"), kernels("hopfield", "cpu")
    w, u = words(n), words(p)
    packed = fastrec.random_patterns(p, n, backend="gpu", packed=True).words
    states = cupy.empty((p, n), dtype=np.int8)
    again, units = cupy.empty((p, w), dtype=np.uint64), cupy.empty((1, n, u), dtype=np.uint64)
    expected = np.empty((1, n, u), dtype=np.uint64)
    cpu.transpose(host(packed)[None], expected)
    some = min(p, 256)
    signs = fastrec.random_patterns(some, n, backend="cpu")
    for name, run, check, nbytes in (
        (
            "unpack",
            lambda: gpu.unpack(packed, states),
            lambda _: equal(states[:some], signs),
            p * (n + 8 * w),
        ),
        ("pack", lambda: gpu.pack(states, again), lambda _: equal(again, packed), p * (n + 8 * w)),
        (
            "transpose",
            lambda: gpu.transpose(packed[None], units),
            lambda _: equal(units, expected),
            8 * (p * w + n * u),
        ),
    ):
        bench.row(f"{name}, p = {p}, n = {n}", run, check, lambda _, nbytes=nbytes: (nbytes, 0), "int32")


def gram(bench: Bench) -> None:
    gpu, cpu = kernels("hopfield", "gpu"), kernels("hopfield", "cpu")
    p, n = bench.size((8192, 65536), (130, 700))
    x = fastrec.random_patterns(p, n, backend="gpu", packed=True).words[None]
    m, expected = cupy.empty((1, p, p), dtype=np.int32), np.empty((1, p, p), dtype=np.int32)
    signs = cupy.empty((p, n), dtype=np.int8)
    gpu.unpack(x[0], signs)
    floats = signs.astype(np.float32)

    def check(_: None) -> None:
        cpu.overlaps(host(x), host(x), n, expected)
        equal(m, expected)
        equal((floats @ floats.T).astype(np.int32), expected[0])  # float32 is exact up to 2^24

    bench.row(
        f"Gram matrix of bits, p = {p}, n = {n}",
        lambda: gpu.overlaps(x, x, n, m),
        check,
        # Half of the products, with those of a pattern and itself: the matrix is symmetric.
        lambda _: (8 * p * words(n) + 4 * p * p, p * (p + 1) * n),
        "b1",
        baseline=("CuPy float32 X @ X.T", lambda: floats @ floats.T),
        share=0.5,
        ratio=5,
    )


def couplings(bench: Bench) -> None:
    gpu, cpu = kernels("hopfield", "gpu"), kernels("hopfield", "cpu")
    p, n = bench.size((3000, 32768), (70, 300))
    units, weights = cupy.empty((1, n, words(p)), dtype=np.uint64), cupy.empty((1, n, n), dtype=np.int16)
    gpu.transpose(fastrec.random_patterns(p, n, backend="gpu", packed=True).words[None], units)

    def check(_: None) -> None:
        expected = np.empty((1, n, n), dtype=np.int16)
        cpu.couplings(host(units), p, False, expected)
        equal(weights, expected)

    bench.row(
        f"couplings, p = {p}, n = {n}",
        lambda: gpu.couplings(units, p, False, weights),
        check,
        # Symmetric too.
        lambda _: (8 * n * words(p) + 2 * n * n, n * (n + 1) * p),
        "b1",
    )


def fields(bench: Bench) -> None:
    p, n, b = bench.size((3000, 32768, 1024), (70, 300, 5))
    net, probes = network("gpu", p, n, b)

    def check(found: Any) -> None:
        other, same_probes = network("cpu", p, n, b)
        equal(found, other.local_fields(same_probes))

    bench.row(
        f"local fields, p = {p}, n = {n}, {b} states",
        lambda: net.local_fields(probes),
        check,
        # Patterns and their transpose read; overlaps written and read, fields written.  A multiply-add for
        # each unit of each pattern and state to the overlaps, and as many to the fields.
        lambda _: (n * p / 4 + 8 * b * p + 4 * b * n, 4 * b * n * p),
        "b1",
    )


def recall(bench: Bench) -> None:
    def compare(
        name: str, p: int, n: int, b: int, count: Callable[[int, int], Counts], unit: str, **options: Any
    ) -> None:
        networks, update = options.get("networks"), options.pop("update", "async")
        net, probes = network("gpu", p, n, b, **options)

        def check(found: Any) -> None:
            other, same_probes = network("cpu", p, n, b, **options)
            equal(found, other.recall(same_probes, update=update))

        which = f"{networks} networks of " if networks else ""
        bench.row(
            f"{name}, {which}n = {n}, p = {p}, {b} probes with 10 % flipped",
            lambda: net.recall(probes, update=update),
            check,
            lambda r: count(int(host(r.sweeps).sum()), int(host(r.flips).sum())),
            unit,
        )

    p, n, b = bench.size((1000, 10_000, 100), (20, 200, 5))
    # Fields of the start, n^2 multiply-adds a probe and the couplings (int16, beyond the caches) read once;
    # then a row of them read and added for each flip.
    compare(
        "async recall from weights",
        p,
        n,
        b,
        lambda sweeps, flips: (2 * n * n + 2 * n * flips, 2 * b * n * n + n * flips),
        "int32",
        representation="weights",
    )
    # Overlaps of the start and the fields of a sweep: n p multiply-adds each; overlaps again for each flip.
    compare(
        "async recall from patterns",
        p,
        n,
        b,
        lambda sweeps, flips: (0, 2 * n * p * (b + sweeps) + 2 * p * flips),
        "b1",
        representation="patterns",
    )
    p, n, b, k = bench.size((10, 100, 10, 4096), (3, 40, 2, 5))
    compare(
        "async recall",
        p,
        n,
        b,
        lambda sweeps, flips: (k * n * p / 4 + k * b * n / 4, 2 * k * b * n * n + n * flips),
        "int32",
        networks=k,
    )
    p, n, b = bench.size((1000, 10_000, 1000), (20, 200, 5))
    for kept, each, unit in (("weights", 2 * n * n, "int8"), ("patterns", 4 * n * p, "b1")):
        compare(
            f"sync recall from {kept}",
            p,
            n,
            b,
            lambda sweeps, flips, each=each: (0, each * sweeps),  # each: operations of a step of a probe
            unit,
            representation=kept,
            update="sync",
        )


def capacity(bench: Bench) -> None:
    def measure(n: int, trials: int, checked: int, **goals: float) -> None:
        bench.row(
            f"capacity, n = {n}, {trials} trials",
            lambda: fastrec.capacity(n, trials=trials, backend="gpu").counts,
            lambda counts: equal(counts[:checked], fastrec.capacity(n, trials=checked, backend="cpu").counts),
            # Every overlap up to the load p that fails times a sign in every unit, for each of its digits
            # of base 128: two up to n = 16256, else three.
            lambda counts: (0, (4.0 if n <= 16256 else 6.0) * n * ((host(counts) + 1.0) ** 2).sum()),
            "int8",
            **goals,
        )

    if bench.quick:
        measure(60, 4, 4)
        return
    measure(1000, 10_000, 1000)
    measure(10_000, 1000, 100, seconds=2)
    measure(100_000, 32, 2, seconds=60)


def million(bench: Bench) -> None:
    small_p, small_n = bench.size((10_000, 100_000), (10, 200))
    results = []
    for backend in ("gpu", "cpu"):
        net, probe = network(backend, small_p, small_n, 1, representation="patterns")
        results.append(net.recall(probe))
    equal(*results)
    print(f"  n = {small_n}, p = {small_p}: as backend cpu", flush=True)
    del net, probe, results
    empty()
    p, n = bench.size((100_000, 1_000_000), (20, 400))
    made: list[Any] = []

    def make() -> None:
        made.append(network("gpu", p, n, 1, representation="patterns"))
        made[0][0].is_stable(made[0][1])  # recall works on the transpose, which is made when first needed

    some = min(p, 16)
    bench.row(
        f"patterns made and stored, n = {n}, p = {p}",
        make,
        lambda _: equal(made[0][0].overlaps(made[0][1])[0, :some], overlaps_on_cpu(some, n)),
        # Patterns written, read for the transpose, which is written.
        lambda _: (3 * n * p / 8, 60 * n * p / 128),
        "int32",
        repeat=False,
        seconds=30,
    )
    net, probe = made[0]

    def count(r: Any) -> Counts:
        # Patterns read once for the overlaps of the start, the transpose in every sweep, a multiply-add for
        # each bit; overlaps again for each flip.
        sweeps, flips = int(host(r.sweeps).sum()), int(host(r.flips).sum())
        return n * p / 8 * (1 + sweeps), 2 * n * p * (1 + sweeps) + 2 * p * flips

    def check_sweep(r: Any) -> None:
        assert int(host(r.sweeps)[0]) == 1 and int(host(r.flips)[0]) > 0

    def check_recall(r: Any) -> None:
        assert host(r.converged).all() and host(net.is_stable(r.states)).all()
        assert host(net.overlaps(r.states))[0, 0] > 0.9

    bench.row(
        f"one async sweep of one probe, n = {n}, p = {p}",
        lambda: net.recall(probe, max_sweeps=1),
        check_sweep,
        count,
        "b1",
        seconds=1,
    )
    bench.row(
        f"async recall of one probe with 10 % flipped to the fixed point, n = {n}, p = {p}",
        lambda: net.recall(probe),
        check_recall,
        count,
        "b1",
        seconds=10,
        memory=40e9,
    )


def overlaps_on_cpu(p: int, n: int) -> Any:
    """Overlaps (p,) of the first pattern with 10 % flipped with the first p patterns."""
    net, probe = network("cpu", p, n, 1)
    return net.overlaps(probe)[0]


def million_on_cpu(bench: Bench) -> None:
    p, n = bench.size((100_000, 1_000_000), (20, 400))
    needed, free = n * p // 2, available_memory() or 0  # patterns and their transpose, twice for the making
    if free < needed:
        print(f"  left out: backend cpu needs {human(needed, 'B')} of memory, {human(free, 'B')} are free")
        return
    results = []
    for backend in ("gpu", "cpu"):
        begin = time.perf_counter()
        net, probe = network(backend, p, n, 1, representation="patterns")
        results.append(net.recall(probe))
        print(f"  n = {n}, p = {p} on {backend}: {duration(time.perf_counter() - begin)}", flush=True)
        del net, probe
        empty()
    equal(*results)


# Recurrent networks with as many inputs as hidden units: cell, rows, hidden units, precisions, a goal of the
# first precision, forward and with the way back: seconds of a step, or how many times as fast as PyTorch.
RECURRENT = (
    ("elman", 16, 1024, ("bf16", "tf32"), "step", (1.8e-6, 4.5e-6)),
    ("elman", 64, 1024, ("bf16", "tf32"), "step", (2.5e-6, 6e-6)),
    ("elman", 16, 512, ("float32",), "step", (2e-6, 5e-6)),
    ("elman", 16, 1000, ("bf16", "tf32"), "ratio", (3, 2.5)),
    ("elman", 1, 128, ("float32",), "step", (0.6e-6, 1.5e-6)),
    ("gru", 16, 768, ("bf16", "tf32"), "step", (2.5e-6, 6e-6)),
    ("lstm", 16, 768, ("bf16", "tf32"), "step", (2.2e-6, 5.5e-6)),
)
RECURRENT_QUICK = (
    ("elman", 2, 5, ("float32", "bf16", "tf32"), "step", (1, 1)),
    ("gru", 3, 17, ("bf16", "tf32"), "step", (1, 1)),
    ("lstm", 1, 9, ("bf16", "tf32"), "step", (1, 1)),
)
# How far from backend cpu an entry may be, of the largest of its array.  Backend reference was 6e-6, 2.1e-3
# and 1.7e-2 off at about these sizes, so that a precision does not pass as a finer one.
TOLERANCES = {"float32": 1e-4, "tf32": 8e-3, "bf16": 4e-2}


def recurrent(bench: Bench) -> None:
    """Steps of a recurrent network, beside PyTorch (cuDNN) in the same precision where that is installed."""
    t = bench.size(1024, 4)
    for cell, b, h, precisions, goal, goals in bench.size(RECURRENT, RECURRENT_QUICK):
        generator = np.random.default_rng(0)
        x, d = (generator.standard_normal((b, t, h), dtype=np.float32) for _ in range(2))
        other = fastrec.RNN(h, h, cell=cell, backend="cpu")
        trace = other.forward(x)
        expected = {"hidden": trace.hidden, **other.backward(trace, d_hidden=d)}
        gates = {"elman": 1, "gru": 3, "lstm": 4}[cell]
        # Products with the inputs and with the hidden units, once forward and twice on the way back.
        products = 4.0 * b * t * gates * h * h
        for precision in precisions:
            rnn = fastrec.RNN(h, h, cell=cell, backend="gpu", precision=precision)
            peers = torch_rnn(rnn, x, d, precision)
            on_card, d_on_card = cupy.asarray(x), cupy.asarray(d)

            def forward(rnn: Any = rnn, x: Any = on_card) -> Any:
                return {"hidden": rnn.forward(x).hidden}

            def both(rnn: Any = rnn, x: Any = on_card, d: Any = d_on_card) -> Any:
                return rnn.backward(rnn.forward(x), d_hidden=d)

            def check(found: Any, expected: Any = expected, most: float = TOLERANCES[precision]) -> None:
                for key, value in found.items():
                    error = np.abs(host(value) - expected[key]).max() / np.abs(expected[key]).max()
                    assert error < most, f"{key} is {error:.1e} off backend cpu"

            for i, (name, run) in enumerate((("forward", forward), ("forward and backward", both))):
                bench.row(
                    f"{cell}, B = {b}, H = {h}, T = {t}, {precision}, {name}",
                    run,
                    check,
                    lambda _, times=1 + 2 * i, products=products: (0, times * products),
                    precision,
                    baseline=peers and (f"PyTorch {precision}", peers[i]),
                    steps=t,
                    **({goal: goals[i]} if precision == precisions[0] else {}),
                )


def torch_on_card(precision: str) -> tuple[Any, Any] | None:
    """PyTorch and its dtype for a precision, if it is there and has a card."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return torch, dtype


def torch_rnn(rnn: Any, x: Any, d: Any, precision: str) -> tuple[Callable[[], Any], Callable[[], Any]] | None:
    """The same network forward, and forward and backward, in PyTorch on the card; None without PyTorch.

    For "bf16" all its arrays are bf16, for "tf32" its products may round to that.
    """
    if (found := torch_on_card(precision)) is None:
        return None
    torch, dtype = found
    module = rnn.to_torch().to("cuda", dtype)
    given, gradient = (torch.from_numpy(a).to("cuda", dtype) for a in (x, d))
    given.requires_grad_()

    def forward() -> Any:
        with torch.no_grad():
            module(given)
        torch.cuda.synchronize()

    def both() -> Any:
        module.zero_grad()
        given.grad = None
        module(given)[0].backward(gradient)
        torch.cuda.synchronize()

    return forward, both


# Hidden units of a GRU, texts, goals of a token in float32: seconds, and how many times as fast as PyTorch.
TEXTS = ((512, 1, 4e-6, 10), (512, 64, 12e-6, 5), (1024, 1, 5e-6, 10), (1024, 64, 25e-6, 3))
TEXTS_QUICK = ((9, 1, 1, 1), (17, 3, 1, 1))


def generation(bench: Bench) -> None:
    """Texts that a GRU draws, beside a loop over their tokens in PyTorch where that is installed."""
    i, t = bench.size((100, 1024), (5, 6))
    for h, b, step, ratio in bench.size(TEXTS, TEXTS_QUICK):
        prompt = np.random.default_rng(0).integers(i, size=(b, 8)).astype(np.int32)
        for precision in ("float32", "tf32", "bf16"):
            rnn, other = (
                fastrec.RNN(i, h, i, cell="gru", backend=backend, precision=precision)
                for backend in ("gpu", "reference")
            )
            peer, on_card = torch_text(rnn, prompt, t, precision), cupy.asarray(prompt)

            def check(found: Any, other: Any = other, prompt: Any = prompt) -> None:
                # From where rounding decides another token a text goes another way.
                expected, _ = other.generate(prompt, 8)
                same = (host(found)[:, : expected.shape[1]] == expected[:, :t]).all(axis=1)
                assert same.mean() >= 0.9, f"{same.mean():.0%} of the texts begin as backend reference's"

            bench.row(
                f"GRU draws text, B = {b}, H = {h}, {i} tokens, T = {t}, {precision}",
                lambda rnn=rnn, prompt=on_card: rnn.generate(prompt, t)[0],
                check,
                # A multiply-add for each weight of the products, at each step of the prompt and the text.
                lambda _, b=b, h=h: (0, 2.0 * b * h * (3 * h * (8 + t) + i * t)),
                precision,
                baseline=peer and (f"PyTorch {precision}, a loop", peer),
                steps=t,
                **({"step": step, "ratio": ratio} if precision == "float32" else {}),
            )


def torch_text(rnn: Any, prompt: Any, t: int, precision: str) -> Callable[[], Any] | None:
    """The same network drawing as many tokens in a loop of PyTorch on the card; None without PyTorch."""
    if (found := torch_on_card(precision)) is None:
        return None
    torch, dtype = found
    module, output = (part.to("cuda", dtype) for part in rnn.to_torch())
    one_hot = torch.eye(rnn.input_size, device="cuda", dtype=dtype)
    given = torch.from_numpy(prompt).to("cuda").long()

    def draw() -> Any:
        with torch.no_grad():
            hidden, state = module(one_hot[given])
            drawn = []
            for _ in range(t):
                shares = output(hidden[:, -1]).float().softmax(dim=1)
                drawn.append(torch.multinomial(shares, 1))
                hidden, state = module(one_hot[drawn[-1]], state)
        torch.cuda.synchronize()
        return drawn

    return draw


JOBS = (
    *(patterns, packing, gram, couplings, fields, recall, capacity, million, million_on_cpu),
    *(recurrent, generation),
)


def empty() -> None:
    """Give back the device memory that nothing refers to."""
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()


def main() -> None:
    names = [job.__name__ for job in JOBS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"some of {', '.join(names)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    parser.add_argument("--card", action="store_true", help="print the card and end")
    parser.add_argument(
        "--table", action="store_true", help="write the table of README.md from results/ and end"
    )
    options = parser.parse_args()
    if unknown := set(options.jobs) - set(names):
        parser.error(f"no job is named {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if options.card:
        print(told(card()))
        return
    if options.table:
        write_tables(HERE / "README.md", RESULTS)
        return
    bench = Bench(options.out, options.quick, keep=bool(options.jobs))
    rates = [f"{key} {rate(value, key)}" for key, value in bench.limits.items()]
    print(told(bench.machine), *rates, sep="; ", flush=True)
    failed = []
    for job in JOBS:
        if options.jobs and job.__name__ not in options.jobs:
            continue
        empty()
        begin = time.perf_counter()
        print(job.__name__, flush=True)
        try:
            job(bench)
        except Exception:  # the other jobs are worth their time
            print(flush=True)
            traceback.print_exc()
            failed.append(job.__name__)
        print(f"  {job.__name__} took {duration(time.perf_counter() - begin)}", flush=True)
    with contextlib.suppress(FileNotFoundError):
        print("\n" + table(json.loads(bench.path.read_text())))
    if not options.quick and options.out == RESULTS:
        write_tables(HERE / "README.md", RESULTS)
    if failed:
        sys.exit(f"gpu-check: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
