"""The jobs of scripts/gpu-check in small on the emulator, and the values that they compare with."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import devices
import numpy as np
import pytest

from fastrec import backend
from fastrec.rnn.device import compute_device

cupy = pytest.importorskip("cupy", reason="needs the emulator")
if not devices.emulated("gpu"):
    pytest.skip("there is a card: run scripts/gpu-check", allow_module_level=True)
from gpu import (  # noqa: E402
    capacity,
    cases_hopfield,
    cases_recurrent,
    compile,
    expected,
    kernels,
    measure,
    results,
    sanitizer,
    scaling,
    suite,
)
from gpu import card as gpu_card  # noqa: E402
from gpu.report import Report, Skipped  # noqa: E402
from gpu.steps import STEPS  # noqa: E402

DOCS = Path(__file__).parents[1] / "docs"
APART = ("kernels:", "suite:", "sanitizer:", "torch_modules:")  # have tests of their own
DEFAULT, OTHERS = (
    [step.job for step in STEPS if step.default is default and not step.job.startswith(APART)]
    for default in (True, False)
)


class Event:
    def record(self) -> None:
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        pass


class Forbidden(ModuleType):
    """Stands for kernels of the CPU, which would be compiled while a card waits."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what others ask of all modules that are there
            raise AttributeError(name)
        raise AssertionError(f"{self.__name__}.{name} is used")


@pytest.fixture(autouse=True)
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only benchmarks ask of CuPy, rates that cannot be emulated, workers that have the emulator."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "emulated")
    for where, name, value in (
        (cupy.cuda, "Event", Event),
        (cupy.cuda, "get_elapsed_time", lambda start, end: 1e3 * (end.time - start.time)),
        (cupy.get_default_memory_pool(), "total_bytes", lambda: 10**6),
        (cupy.get_default_memory_pool(), "free_all_blocks", lambda: None),
        (cupy.ndarray, "__matmul__", lambda a, b: cupy.asarray(a.get() @ b.get())),
        (compile, "ProcessPoolExecutor", lambda count, context: ThreadPoolExecutor(1)),
        (gpu_card, "issued", lambda unit, report: 1e12),
    ):
        monkeypatch.setattr(where, name, value, raising=False)


@pytest.fixture
def without_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test that uses kernels of the CPU."""
    for domain in ("capacity", "decoding", "generation", "hopfield", "reservoir", "rnn", "stepping"):
        name = f"fastrec.kernels.cpu.{domain}"
        module = Forbidden(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    compute_device.cache_clear()
    yield
    compute_device.cache_clear()


@pytest.fixture
def report(tmp_path: Path) -> Report:
    limits = dict.fromkeys(("copy", "b1", "int8", "bf16", "tf32", "popcount", "int32", "float32"), 1e12)
    return Report(tmp_path / "gpu.jsonl", "step", True, limits, time.monotonic() + 600)


def job(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(f"gpu.{module}"), function)


def rows(report: Report) -> dict[str, dict[str, Any]]:
    """The last row of each name."""
    lines = report.path.read_text().splitlines() if report.path.exists() else []
    return {row["name"]: row for row in map(json.loads, lines)}


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFAULT)
def test_default_jobs(report: Report, without_cpu: None, name: str) -> None:
    job(name)(report)
    assert rows(report) and all(row["checked"] for row in rows(report).values())


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_jobs(report: Report, name: str) -> None:
    job(name)(report)
    assert rows(report) and all(row["checked"] for row in rows(report).values())


@pytest.mark.slow
def test_torch_modules(report: Report, without_cpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from gpu import torch_modules

    with pytest.raises(Skipped, match="PyTorch is not installed or finds no card"):
        torch_modules.modules(report)
    devices.compute_tensors_on_gpu(monkeypatch)
    monkeypatch.setattr(torch_modules, "DEVICE", "cpu")
    monkeypatch.setattr(torch_modules, "torch_on_card", lambda precision: (torch, torch.float32))
    torch_modules.modules(report)
    assert len(rows(report)) == len(torch_modules.CASES)
    assert all(row["checked"] for row in rows(report).values())


def test_the_main_job_becomes_a_table_and_a_figure(report: Report, without_cpu: None, tmp_path: Path) -> None:
    scaling.main_job(report)
    results.append(report.path, {"card": "Emulated", "capability": "9.0"})
    folder = tmp_path / "docs"
    folder.mkdir()
    shutil.copy(DOCS / "results/README.md", folder)
    spec = importlib.util.spec_from_file_location("card", DOCS / "results/card.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for _ in range(2):
        module.write(scaling.run_file(report.path), folder)
    text = (folder / "README.md").read_text()
    assert text.count("Emulated, compute capability 9.0") == text.count("(card.svg)") == 1
    assert "Not measured yet" not in text and "- n = 130: " in text
    assert re.search(r"^ +60 +8 ", text, re.MULTILINE)
    assert b"<svg" in (folder / "card.svg").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("step", kernels.FILES)
def test_kernels(report: Report, without_cpu: None, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Some cases of each step: all take minutes here."""
    for module in (cases_hopfield, cases_recurrent):
        for name in {"cases", "cases_of_the_grid", "cases_of_teams"} & vars(module).keys():
            some = list(getattr(module, name)())[5::17]
            monkeypatch.setattr(module, name, lambda some=some: iter(some))
    monkeypatch.setitem(kernels.FILES, step, ())
    job(f"kernels:{step}")(report)
    assert len(rows(report)) > 5 and all(row["checked"] for row in rows(report).values())


class Idle:
    """A kernel that does nothing."""

    kernel = SimpleNamespace(ptr=0)

    def __call__(self, *arguments: Any, **options: Any) -> None:
        pass


def test_every_file_of_kernels_has_a_step() -> None:
    assert {file for files in kernels.FILES.values() for file in files} == set(kernels.cuda.KERNELS)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(step, marks=pytest.mark.slow if step in ("recurrent", "teams") else [])
        for step in kernels.FILES
    ],
)
def test_every_kernel_is_launched(monkeypatch: pytest.MonkeyPatch, report: Report, step: str) -> None:
    """Nothing runs, arrays are 0, and nothing is compared."""
    pair, zeros = cases_recurrent.pair, {"empty": cupy.zeros, "empty_like": cupy.zeros_like}
    for where, name, value in (
        *((cupy, name, value) for name, value in zeros.items()),
        (kernels.cuda, "kernel", lambda *key: Idle()),
        (cases_hopfield, "compare", lambda domain, name, *given: launch(domain, name, given)),
        (cases_hopfield, "equal", lambda *given: None),
        (cases_recurrent, "pair", lambda *given, **options: [pair(*given, **options)[0]] * 2),
        (cases_recurrent, "close", lambda *given: None),
        (measure, "device_fault", lambda: None),
    ):
        monkeypatch.setattr(where, name, value)

    def launch(domain: str, name: str, given: tuple[Any, ...]) -> None:
        arrays = [cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in given]
        getattr(backend.kernels(domain, "gpu"), name)(*arrays)

    job(f"kernels:{step}")(report)


def test_rows_stay_when_a_check_fails(report: Report) -> None:
    def wrong(_: Any) -> None:
        raise AssertionError("not so")

    def steps() -> Any:
        several = {"count": lambda x: (8, 1), "unit": "bf16", "steps": 4, "step": 1, "ratio": 3}
        for name, check in (("wrong", wrong), ("right", lambda x: None)):
            yield name, partial(measure.measure, report, name, lambda: 1, check, **several)
        peer = "peer", lambda: partial(time.sleep, 0.05)
        yield "beside", partial(measure.measure, report, "beside", int, id, baseline=peer, **several)
        for name, make in (("absent", lambda: None), ("broken", lambda: wrong)):
            yield name, partial(measure.measure, report, name, int, id, baseline=("peer", make), **several)
        report.deadline = time.monotonic()
        yield "late", partial(measure.measure, report, "late", int, id, baseline=peer, **several)

    report.small = False
    with pytest.raises(AssertionError, match="1 failed: wrong"):
        measure.run_all(report, steps())
    wrong_row, right, beside, absent, broken, late = rows(report).values()
    assert (wrong_row["checked"], wrong_row["error"]) == (False, "AssertionError: not so")
    assert wrong_row["wall_s"] > 0 and "error" not in right
    assert all(row["checked"] and "baseline_s" not in row for row in (right, absent, broken, late))
    assert right["goals"].keys() == {"step"} and right["bytes_share"] > 0  # a ratio needs a baseline
    assert beside["goals"]["ratio"] == [3, beside["baseline_s"] / beside["wall_s"], True]


def test_nothing_runs_once_the_device_is_lost(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "device_fault", lambda: "an illegal address")
    with pytest.raises(RuntimeError, match="the device answers 'an illegal address' since 'first'"):
        kernels.run(report, (), [("first", [].pop), ("second", int)])
    (row,) = rows(report).values()
    assert row["error"] == "IndexError: pop from empty list" and not row["checked"]


def test_kernels_that_no_case_launches_are_named(report: Report) -> None:
    with pytest.raises(AssertionError, match="1 failed: every kernel of packing was launched"):
        kernels.run(report, ("packing",), [])
    assert "pack of packing.cu, unpack of packing.cu" in [*rows(report).values()][-1]["error"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "capacity, n = 60",
        "main job, n = 130",
        "recall, n = 400, p = 60",
        "overlaps, n = 400",
        "losses of fit",
        "text",
    ],
)
def test_expected_values(name: str) -> None:
    """Those that take little time; of losses the last digits may differ elsewhere."""
    made, kept = expected.VALUES[name]("cpu"), measure.stored(name)
    if name == "text":
        made, kept = made["losses"], kept["losses"]
    assert made == (kept if isinstance(kept, str) else pytest.approx(kept, rel=1e-3))


def test_there_is_a_value_for_every_job() -> None:
    assert expected.VALUES.keys() == json.loads(measure.EXPECTED.read_text()).keys()
    for n, (least, most) in capacity.MEDIANS.items():
        assert least <= np.median(measure.stored(f"capacity, n = {n}")) <= most


@pytest.mark.slow
def test_suite(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the emulator a child finds none of it: the tests are those of the host."""
    suite.suite(report)
    (row,) = rows(report).values()
    assert row["checked"] and row["passed"] > 0 and row["failed"] == 0
    monkeypatch.setattr(suite, "NEEDED", ("pytest", "no_such_module"))
    with pytest.raises(Skipped, match="the tests need no_such_module"):
        suite.suite(report)


@pytest.mark.slow
def test_sanitizer(report: Report, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What runs inside, and a program in its place that finds something the second time."""
    monkeypatch.setattr(cupy.cuda, "set_allocator", lambda allocator: None, raising=False)
    sanitizer.small()
    program = tmp_path / "compute-sanitizer"
    program.write_text('#!/bin/sh\necho "== ERROR SUMMARY: $2"\ntest "$2" = memcheck || exit "$4"\n')
    program.chmod(0o755)
    monkeypatch.setattr(sanitizer, "PLACES", (str(program),))
    with pytest.raises(AssertionError, match="1 failed: racecheck"):
        sanitizer.sanitizer(report)
    assert [row.get("summary") for row in rows(report).values()] == [
        ["== ERROR SUMMARY: memcheck"],
        ["== ERROR SUMMARY: racecheck"],
    ]


def test_sanitizer_is_skipped_where_missing(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitizer, "PLACES", ("no-such-program",))
    with pytest.raises(Skipped, match="compute-sanitizer is not on PATH"):
        sanitizer.sanitizer(report)


def test_a_kernel_that_does_not_compile_is_named(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: str, name: str, *rest: Any) -> None:
        if name == "unpack":
            raise RuntimeError("no such instruction")

    monkeypatch.setattr(kernels.cuda, "kernel", broken)
    with pytest.raises(AssertionError, match=r"not compiled: unpack of packing.cu$"):
        compile.compile_all(report)
    made = rows(report)
    assert made["unpack of packing.cu"]["error"] == "RuntimeError: no such instruction"
    assert not made["packing.cu"]["checked"] and made["fields.cu"]["checked"]


@pytest.mark.slow
def test_a_bug_fails_its_case(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    right, wrong = "overlaps[nu] : -overlaps[nu]", "-overlaps[nu] : overlaps[nu]"
    source = kernels.cuda.source
    assert right in source("capacity")
    monkeypatch.setattr(kernels.cuda, "source", lambda file: source(file).replace(right, wrong))
    for cache in (kernels.cuda.module, kernels.cuda.kernel):
        cache.cache_clear()
    case = partial(cases_hopfield.scan, 65, 2, 0, 12, (False, True, False))
    try:
        with pytest.raises(AssertionError, match="1 failed: capacity"):
            kernels.run(
                report, (), [("packing", partial(cases_hopfield.packing, 1, 3, 65)), ("capacity", case)]
            )
    finally:
        for cache in (kernels.cuda.module, kernels.cuda.kernel):
            cache.cache_clear()
    assert "differs from the reference's capacity_scan in" in rows(report)["capacity"]["error"]
    assert rows(report)["packing"]["checked"]
