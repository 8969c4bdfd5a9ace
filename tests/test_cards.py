"""Jobs on several cards: which worker sees which, what is dealt to it, what is said when one is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import devices
import numpy as np
import pytest

import fastrec
from fastrec import backend, cli
from fastrec.backend import BackendError, visible_devices
from fastrec.hopfield.retrieval import run as retrieval_module
from fastrec.hopfield.storage_capacity import ScalingResult, memory
from fastrec.hopfield.storage_capacity import run as capacity_module
from fastrec.hopfield.storage_capacity.result import SCHEMA
from fastrec.jobs import run as job_module
from fastrec.jobs import store
from fastrec.jobs.executors import process_pool, run_tasks
from fastrec.jobs.run import Execution, run_elsewhere

cupy = pytest.importorskip("cupy", reason="needs the emulator")
if not devices.emulated("gpu"):
    pytest.skip("a card does not count as two", allow_module_level=True)

from fastrec.kernels.gpu import module  # noqa: E402

TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Two cards, here and in processes that are started; calls say how many, and what is visible of them."""

    def pretend(number: int, visible: str | None = None) -> None:
        monkeypatch.setenv("FASTREC_EMULATOR_DEVICES", str(number))
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        cupy.visible.cache_clear()
        backend.unavailable_reason.cache_clear()

    monkeypatch.syspath_prepend(TESTS / "emulated")  # of this process and of those that it spawns
    pretend(2)
    yield pretend
    monkeypatch.undo()
    cupy.visible.cache_clear()
    backend.unavailable_reason.cache_clear()


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (None, ["0", "1", "2"]),
        ("2", ["2"]),
        ("2, 0", ["2", "0"]),
        ("1,7,0", ["1"]),
        ("GPU-00000002,GPU-00000000", ["GPU-00000002", "GPU-00000000"]),
        ("", []),
        ("-1", []),
        ("1,1", []),
    ],
)
def test_what_is_visible(cards: Any, listed: str | None, expected: list[str]) -> None:
    cards(3, listed)
    assert visible_devices() == expected
    assert ("gpu" in fastrec.available_backends()) == bool(expected)


def test_of_mig_instances_each_process_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,MIG-b,MIG-a, MIG-c")
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 1)
    assert visible_devices() == ["MIG-a", "MIG-b", "MIG-c"]


class Question(NamedTuple):
    cost: int


def card_of(question: Question) -> tuple[int, str, int, int]:
    runtime = backend.array_module("gpu").cuda.runtime
    bus = runtime.getDeviceProperties(runtime.getDevice())["pciBusID"]
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"], bus, runtime.getDeviceCount()


@pytest.mark.parametrize("listed", [None, "2,0", "GPU-00000001,GPU-00000002"])
def test_each_worker_sees_a_card_of_its_own(cards: Any, listed: str | None) -> None:
    cards(3, listed)
    names = visible_devices()[:2]
    seen = []
    with process_pool(2, names) as pool:
        while len({answer[0] for answer in seen}) < 2:
            run_tasks(card_of, [Question(1)] * 9, pool, lambda question, answer: seen.append(answer))
    assert os.getpid() not in {pid for pid, *_ in seen}
    assert len(set(seen)) == 2
    assert {(name, bus, count) for _, name, bus, count in seen} == {
        (name, cupy.visible()[i], 1) for i, name in enumerate(names)
    }
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == listed


SCRIPT = """
import fastrec
from fastrec.backend import visible_devices
from fastrec.jobs.executors import process_pool, run_tasks
from test_cards import Question, card_of

fastrec.set_backend("gpu")

if __name__ == "__main__":
    seen = []
    with process_pool(2, visible_devices()[:2]) as pool:
        while len({answer[0] for answer in seen}) < 2:
            run_tasks(card_of, [Question(1)] * 9, pool, lambda question, answer: seen.append(answer))
    print(*sorted({bus for _, _, bus, _ in seen}))
"""


@pytest.mark.slow
def test_a_script_that_begins_cuda_at_its_top_has_a_card_for_each_worker(cards: Any, tmp_path: Path) -> None:
    """Workers import the script before they are given a card, and CUDA shows all of them for good."""
    cards(3, "2,0,1")
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    folders = (TESTS / "emulated", TESTS, Path(fastrec.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    ended = subprocess.run(
        [sys.executable, path], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert (ended.stdout, ended.returncode) == ("0 2\n", 0), ended.stderr


def test_a_worker_that_waits_for_a_card_ends_with_the_pool() -> None:
    with pytest.raises(ZeroDivisionError), process_pool(2, ["0"]):
        raise ZeroDivisionError


@pytest.fixture
def nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails a test in which this process launches or asks for memory: its card may be a worker's alone."""
    monkeypatch.setattr(module, "kernel", lambda *_: pytest.fail("launched here"))
    monkeypatch.setattr(cupy.cuda.runtime, "memGetInfo", lambda: pytest.fail("memory is asked for"))


def equal(found: ScalingResult, expected: ScalingResult) -> bool:
    return all(np.array_equal(a.counts, b.counts) for a, b in zip(found, expected, strict=True))


@pytest.mark.slow
def test_a_run_goes_on_with_other_cards(cards: Any, tmp_path: Path, nothing_here: None) -> None:
    path, sizes, trials = tmp_path / "a.db", [20, 40], 12
    expected = fastrec.capacity_scaling(sizes, trials, backend="reference")
    options = {"out": path, "backend": "gpu", "progress": False}
    assert equal(
        fastrec.capacity_scaling(sizes, 7, workers="all", **options),
        fastrec.capacity_scaling(sizes, 7, backend="reference"),
    )
    cards(3)
    found = fastrec.capacity_scaling(sizes, trials, workers=1, **options)
    assert equal(found, expected) and {result.backend for result in found} == {"gpu"}
    assert equal(
        fastrec.capacity_scaling(sizes, trials, workers=3, **options), expected
    )  # nothing is missing
    assert equal(ScalingResult.load(path), expected)


def test_retrieval_on_cards(nothing_here: None) -> None:
    alphas, options = [0.1, 0.2], {"trials": 2, "probes": 3}
    found = fastrec.retrieval_curve(30, alphas, backend="gpu", workers=2, **options)
    assert found.outcomes == fastrec.retrieval_curve(30, alphas, backend="reference", **options).outcomes


@pytest.mark.parametrize(("number", "found"), [(1, "1 device"), (2, "2 devices")])
def test_more_workers_than_cards_are_refused(cards: Any, number: int, found: str) -> None:
    cards(number)
    message = f'workers is 3, and backend "gpu" finds {found}; give at most one for each, or backend="cpu"$'
    with pytest.raises(ValueError, match=message):
        fastrec.capacity_scaling([20], 2, backend="gpu", workers=3)
    with pytest.raises(ValueError, match=message):
        fastrec.retrieval_curve(20, 0.1, backend="gpu", workers=np.int64(3))
    assert Execution(None, False, None, 3).resolve("cpu", "capacity") == "cpu"


def test_all_workers_of_the_cpu_are_its_cores(threads: Any) -> None:
    threads(3)
    assert Execution(None, False, None, "all").processes("cpu") == 3
    assert Execution(None, False, None, "all").processes("gpu") == 2
    with pytest.raises(ValueError, match="workers is 'most'"):
        Execution(None, False, None, "most")  # type: ignore[arg-type]


@pytest.mark.slow
def test_trials_of_one_size_are_dealt_to_all_cards() -> None:
    """Tasks of a tenth of a second at least and some seconds at most, all of about the same length."""
    for n, trials in ((10_000, 100_000), (100_000, 64), (1_000_000, 8)):
        limit = fastrec.theory.capacity_bound(n)
        definition = fastrec.capacity(10, 1, backend="reference", max_patterns=limit).definition
        task = capacity_module.Task(n, np.arange(trials), definition, "gpu")
        parts = capacity_module.CapacityJob([task]).split([task], task.cost)
        assert len(parts) >= 8
        sizes = [len(part.trials) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        least, most = capacity_module.LEAST_WORK["gpu"], capacity_module.TASK_WORK["gpu"]
        assert all(least / 2 < part.cost for part in parts)
        assert all(part.cost <= most or len(part.trials) == 1 for part in parts)


def test_a_worker_asks_for_the_memory_of_its_card(free: Any) -> None:
    free(10**8)
    definition = fastrec.capacity(10, 1, backend="reference", max_patterns=3563).definition
    with pytest.raises(ValueError, match=r"capacity of n = 100000 needs .* of memory of the device, 100 MB"):
        run_elsewhere(capacity_module.Task(100_000, np.arange(2), definition, "gpu"))
    free(10**5)
    job = fastrec.retrieval_curve(2000, 0.5, trials=1, probes=1, backend="cpu")
    with pytest.raises(ValueError, match=r"retrieval with n = 40000, p = 20000 needs .* of the device"):
        run_elsewhere(retrieval_module.Task(40_000, 20_000, 0, 0, job.definition, "gpu"))


def end(question: Question) -> None:
    os._exit(3)


def test_a_worker_that_dies_is_told_in_a_sentence() -> None:
    message = (
        "^a worker process died, perhaps with its device; the trials that finished before are in the run"
    )
    with pytest.raises(ChildProcessError, match=message), process_pool(2, ["0", "1"]) as pool:
        run_tasks(end, [Question(1)] * 4, pool, lambda *_: None)


def test_a_device_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What CuPy raises may not be known where it is heard."""

    class CUDARuntimeError(RuntimeError):
        __module__ = "cupy_backends.cuda.api.runtime"

    def fail() -> Any:
        raise CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access\nwas encountered")

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    monkeypatch.setattr(job_module.platform, "node", lambda: "host")
    message = "^device 3 of host failed: cudaErrorIllegalAddress: an illegal memory access was encountered$"
    with pytest.raises(BackendError, match=message):
        run_elsewhere(SimpleNamespace(run=fail))
    with pytest.raises(ZeroDivisionError):
        run_elsewhere(SimpleNamespace(run=lambda: 1 / 0))


def test_an_executor_may_have_cards_where_there_is_none(cards: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the workers of a cluster; they say so if they have none either."""
    from concurrent.futures import ThreadPoolExecutor

    cards(2, "")
    with ThreadPoolExecutor(1) as pool:
        assert not fastrec.available_backends()[2:]
        with pytest.raises(BackendError, match="found no CUDA device"):
            fastrec.capacity_scaling([20], 2, backend="gpu", executor=pool)
        with pytest.raises(BackendError, match="found no CUDA device"):
            fastrec.retrieval_curve(20, 0.1, backend="gpu", executor=pool)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::UserWarning")  # of distributed, as it ends
@pytest.mark.slow
def test_workers_of_dask_have_cards_that_the_client_lacks(cards: Any) -> None:
    """As dask-cuda starts them: each with all cards in CUDA_VISIBLE_DEVICES, its own first."""
    distributed = pytest.importorskip("distributed")
    expected = fastrec.capacity_scaling([20, 40], 12, backend="reference")
    cards(2, "")
    workers = {
        listed: {
            "cls": distributed.Nanny,
            "options": {"nthreads": 1, "env": {"CUDA_VISIBLE_DEVICES": listed}, "dashboard": False},
        }
        for listed in ("0,1", "1,0")
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"port": 0, "dashboard": False}}
    with (
        distributed.SpecCluster(workers, scheduler, silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):
        seen = client.run(card_of, Question(1)).values()
        assert {(listed, bus) for _, listed, bus, _ in seen} == {("0,1", 0), ("1,0", 1)}
        executor = client.get_executor()
        found = fastrec.capacity_scaling([20, 40], 12, backend="gpu", executor=executor, progress=False)
    assert equal(found, expected) and {result.backend for result in found} == {"gpu"}


def test_batches_are_committed_as_they_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted run has what its card had done in the run file; the bar says what is under way."""
    path, said = tmp_path / "a.db", []

    @contextmanager
    def bar(*arguments: Any) -> Iterator[Callable[[float, str], None]]:
        def advance(amount: float, text: str) -> None:
            said.append(text)
            if said.count("n = 30") == 2:
                raise KeyboardInterrupt

        yield advance

    monkeypatch.setattr(memory, "MOST_AT_ONCE", 3)
    options = {"out": path, "backend": "gpu", "progress": False}
    shown = job_module.progress_bar
    monkeypatch.setattr(job_module, "progress_bar", bar)
    with pytest.raises(KeyboardInterrupt):
        fastrec.capacity_scaling([30], 7, **options)
    assert said == ["n = 30, 3 trials at once", "n = 30"] * 2
    assert [row[1] for row in store.read(path, SCHEMA)[2]] == list(range(6))
    monkeypatch.setattr(job_module, "progress_bar", shown)
    expected = fastrec.capacity_scaling([30], 7, backend="reference")
    assert equal(fastrec.capacity_scaling([30], 7, **options), expected)


def test_one_large_trial_keeps_a_card_busy(free: Any) -> None:
    """So that it is committed before the next begins; of small ones many are needed."""
    free(10**11)
    fewest = {n: memory.trials_at_once(n, fastrec.theory.capacity_bound(n), "gpu")[0] for n in (100, 10**6)}
    assert fewest[10**6] == 1 < backend.device().multiprocessors < fewest[100]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "hear_interrupts", lambda: None)

    def run(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["fastrec", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return run


@pytest.mark.slow
def test_the_command(run: Any, nothing_here: None) -> None:
    """A table, a picture and a run file that a second start resumes, on two cards."""
    arguments = ("capacity", "--backend", "gpu", "--sizes", "20,30,40", "--out", "a.db", "--plot", "a.png")
    code, out, err = run(*arguments, "--trials", "3", "--workers", "2")
    assert (code, err) == (0, "") and out.startswith("on 2 of 2 devices, the first Emulated, compute cap")
    code, out, err = run(*arguments, "--trials", "5", "--workers", "all")
    assert (code, err) == (0, "") and "a.db and a.png" in out and "theory" in out
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    found = ScalingResult.load("a.db")
    assert equal(found, fastrec.capacity_scaling([20, 30, 40], 5, backend="reference"))
    assert [result.trials for result in found] == [5] * 3
    code, out, err = run(*arguments, "--workers", "4")
    assert code == 1 and "workers is 4" in err and err.count("\n") == 1
    for wrong in ("0", "-1", "some", "2.5", "\u0663"):
        assert run(*arguments, "--workers", wrong)[0] == 2


def test_the_command_on_one_of_several_cards(run: Any) -> None:
    arguments = ("capacity", "--backend", "gpu", "--sizes", "20", "--trials", "2", "--plot", "a.png")
    code, out, err = run(*arguments)
    assert (code, err) == (0, "") and "free; --workers all takes all 2 devices\n" in out
    assert "\ndevices    2, all of which --workers all takes\n" in run("info")[1]
