"""Run files that are killed, cut, full and shared; executors that change nothing but the time."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import math
import multiprocessing
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import fastrec
from fastrec import cli
from fastrec.hopfield.storage_capacity import run as capacity_module
from fastrec.hopfield.storage_capacity.result import SCHEMA, ScalingResult, build_results
from fastrec.jobs import run as jobs
from fastrec.jobs import store as runs
from fastrec.jobs.database import DamagedFile
from fastrec.jobs.executors import process_pool, run_tasks
from fastrec.jobs.export import export, load_results
from fastrec.jobs.schema import Schema, origin
from fastrec.jobs.store import RunFile
from fastrec.kernels.cpu import capacity as cpu
from fastrec.streams import stream_key

COMMAND = [sys.executable, "-c", "from fastrec.cli import main; main()"]


class Record(NamedTuple):
    n: int
    trial: int
    overlap: float


@dataclasses.dataclass(frozen=True)
class Definition:
    update: str
    seed: int
    limit: int


TABLE = Schema("retrieval", Record, Definition, key=2, shared_key=1, by_size=("limit",))
ORIGIN = origin("reference", 0.5)


def row(n, trial, update="async", seed=0, limit=9, overlap=0.5):
    return (n, trial, overlap, update, str(seed), limit, *ORIGIN)


def keys(file):
    return {row[:2] for row in file.rows()}


def command(*arguments, **options):
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def same(scaling, expected):
    assert scaling.sizes == expected.sizes
    for a, b in zip(scaling, expected, strict=True):
        assert np.array_equal(a.counts, b.counts)
        assert np.array_equal(a.censored, b.censored)
        assert a.definition == b.definition


def test_rows_come_back(tmp_path):
    rows = [row(5, 1), row(5, 0, overlap=math.pi), row(3, 2**62, seed=0, limit=7)]
    with RunFile(tmp_path / "a.db", TABLE) as file:
        assert file.rows() == [] and keys(file) == set()
        file.add(rows[:2])
        file.add([row(5, 0, overlap=9.0), rows[2]])  # a key that is known
    with RunFile(tmp_path / "a.db", TABLE) as file:
        assert file.rows() == sorted(rows)
        assert keys(file) == {(5, 1), (5, 0), (3, 2**62)}
    assert os.listdir(tmp_path) == ["a.db"]


def test_another_definition_is_refused(tmp_path):
    with RunFile(tmp_path / "a.db", TABLE) as file:
        file.require({"n": 1, "update": "sync", "seed": 4, "limit": 2})
        file.add([row(5, 0)])
        file.require({"n": 6, "update": "async", "seed": 0, "limit": 2})
        with pytest.raises(ValueError, match="definition") as caught:
            file.require({"n": 5, "update": "sync", "seed": 2**64 - 1, "limit": 2})
        text = str(caught.value)
        for part in (
            "update is async in the file, sync",
            f"seed is 0 in the file, {2**64 - 1}",
            "n = 5 is 9",
        ):
            assert part in text
        with pytest.raises(ValueError, match="seed is 0 in the file, 1 is asked"):
            file.add([row(6, 0), row(6, 1, seed=1)])
        assert keys(file) == {(5, 0)}


def foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE retrieval (n INTEGER)")
    connection.close()


def newer(path):
    with RunFile(path, TABLE):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()


def another(path):
    with RunFile(path, SCHEMA):
        pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign, "another program"),
        (newer, "format 7"),
        (another, "a run of capacity, not of retrieval"),
        (lambda path: path.write_text("n,trial\n1,2\n"), "not a run file"),
        (lambda path: path.write_bytes(bytes(5000)), "not a run file"),
        (lambda path: path.write_bytes(b"\x89PNG"), "not a run file"),
    ],
)
def test_other_files_are_refused_and_untouched(tmp_path, make, message):
    path = tmp_path / "a.db"
    make(path)
    before = path.read_bytes()
    for use in (lambda: RunFile(path, TABLE).__enter__(), lambda: runs.read(path, TABLE)):
        with pytest.raises(ValueError, match=message) as caught:
            use()
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.db"]


def test_unusable_paths(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        RunFile(tmp_path, TABLE).__enter__()
    with pytest.raises(FileNotFoundError, match="cannot write"):
        RunFile(tmp_path / "none" / "a.db", TABLE).__enter__()
    with pytest.raises(FileNotFoundError):
        runs.read(tmp_path / "a.db", TABLE)


@pytest.mark.slow
def test_a_file_cut_anywhere_keeps_every_whole_row(tmp_path, caplog):
    path, whole = tmp_path / "a.db", tmp_path / "whole.db"
    rows = [row(20, trial)[:-3] + (f"m{trial}-", "x" * (trial % 40), ORIGIN[-1]) for trial in range(90)]
    with RunFile(whole, TABLE) as file:
        for one in rows:
            file.add([one])
    content = whole.read_bytes()
    ends = []
    for one in rows:
        text = "".join(one[-3:]).encode()
        ends.append(content.rindex(text) + len(text))
    assert len(content) >= 6 * 4096
    borders = [page + step for page in range(0, len(content), 4096) for step in (-1, 1, 70, 99, 101)]
    for cut in sorted({*range(0, len(content), 64), *ends, *(cut for cut in borders if cut > 0)}):
        path.write_bytes(content[:cut])
        caplog.clear()
        with RunFile(path, TABLE) as file:
            # The schema is at the end of the first page.
            expected = [one for one, end in zip(rows, ends, strict=True) if end <= cut and cut >= 4096]
            assert file.rows() == expected, cut
            file.add([row(21, 0)])
        kept = tmp_path / "a.db.damaged"
        if 1 < cut < len(content):  # SQLite takes a file of one byte as empty
            assert kept.read_bytes() == content[:cut]
            assert f"{len(expected)} rows" in caplog.messages[0] and len(caplog.messages) == 1
            kept.unlink()
        assert sorted(os.listdir(tmp_path)) == ["a.db", "whole.db"]


def test_damage_is_kept_apart_each_time(tmp_path):
    path = tmp_path / "a.db"
    for _ in range(3):
        with RunFile(path, TABLE) as file:
            file.add([row(20, trial) for trial in range(200)])
        path.write_bytes(path.read_bytes()[:-4000])
        with pytest.raises(ValueError, match="damaged"):
            runs.read(path, TABLE)
    with RunFile(path, TABLE) as file:
        assert 0 < len(file.rows()) < 200
    assert sorted(os.listdir(tmp_path)) == ["a.db", "a.db.damaged", "a.db.damaged2", "a.db.damaged3"]


def test_zeroed_and_overwritten_pages(tmp_path):
    """As after a power failure: never a traceback, never a row that was not written."""
    path = tmp_path / "a.db"
    rows = [row(20, trial) for trial in range(200)]
    with RunFile(path, TABLE) as file:
        file.add(rows)
    content = path.read_bytes()
    noise = random.Random(1).randbytes(4096)
    for page in range(1, len(content) // 4096):
        for filling in (bytes(4096), noise):
            path.write_bytes(content[: 4096 * page] + filling + content[4096 * (page + 1) :])
            with RunFile(path, TABLE) as file:
                assert set(file.rows()) <= set(rows)
            assert len(os.listdir(tmp_path)) == 2
            (tmp_path / "a.db.damaged").unlink()


def test_full_disk_keeps_what_was_committed(tmp_path):
    path = tmp_path / "a.db"
    done, limits = 0, resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        nonlocal done
        while True:
            file.add([row(20, done)])
            done += 1

    with RunFile(path, TABLE) as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
        try:
            with pytest.raises(OSError, match="committed before are kept") as caught:
                fill()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    with RunFile(path, TABLE) as file:
        assert done > 50 and file.rows() == [row(20, trial) for trial in range(done)]
        file.add([row(20, done)])


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from test_runs import RunFile, TABLE, row
for trial in range({first}, {first} + 60):
    with RunFile({path!r}, TABLE) as file:
        file.add([row(1, trial), row(2, 7)])
"""


def test_several_processes_write_one_file(tmp_path):
    path, tests = str(tmp_path / "a.db"), str(Path(__file__).parent)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER.format(tests=tests, first=first, path=path)])
        for first in (0, 60, 120, 90)
    ]
    assert [writer.wait() for writer in writers] == [0] * 4
    with RunFile(path, TABLE) as file:
        assert keys(file) == {(1, trial) for trial in range(180)} | {(2, 7)}
    assert os.listdir(tmp_path) == ["a.db"]


def test_a_run_resumes(tmp_path, monkeypatch):
    path = tmp_path / "a.sqlite"
    expected = fastrec.capacity_scaling([30, 10], 40, backend="reference", seed=2**64 - 1)
    fastrec.capacity_scaling([10, 50], 9, path, backend="reference", seed=2**64 - 1)
    asked = []
    scan = capacity_module.scan
    monkeypatch.setattr(capacity_module, "scan", lambda task, *rest: asked.append(task) or scan(task, *rest))
    resumed = fastrec.capacity_scaling([30, 10], 40, path, backend="cpu", seed=2**64 - 1)
    assert [task.trials.tolist() for task in asked] == [list(range(40)), list(range(9, 40))]
    same(resumed, expected)
    assert [result.backend for result in resumed] == ["cpu", "cpu-reference"]
    monkeypatch.setattr(capacity_module, "scan", lambda *_: pytest.fail("all is there"))
    same(fastrec.capacity_scaling([30, 10], 40, path, seed=2**64 - 1), expected)
    same(
        fastrec.capacity_scaling([10], 3, path, seed=2**64 - 1, workers=9),
        fastrec.capacity_scaling([10], 3, path, seed=2**64 - 1),
    )
    loaded = ScalingResult.load(path)
    assert loaded.sizes == (10, 30, 50) and [r.trials for r in loaded] == [40, 40, 9]
    assert loaded[0].seconds > 0


@pytest.fixture
def one_by_one(monkeypatch):
    """Networks of any size are scanned one by one, in blocks of few memories, each of which is kept."""
    monkeypatch.setattr(cpu, "one_by_one", lambda *_: True)
    monkeypatch.setattr(cpu, "BLOCK", cpu.ROWS)
    monkeypatch.setattr(capacity_module, "KEEP_SECONDS", -1)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("stop", ["first_failure", "largest"])
def test_a_trial_goes_on_where_it_was(tmp_path, monkeypatch, one_by_one, stop):
    path, left = tmp_path / "a.db", [0]
    expected = fastrec.capacity_scaling([200], 3, backend="reference", stop=stop)

    class Bar:
        def __init__(self, *_):
            self.done = 0

        def __enter__(self):
            return self.advance

        def __exit__(self, *_):
            assert self.done <= 3 * 200 * expected[0].definition.max_patterns ** 2 + 1

        def advance(self, amount, name):
            self.done += amount
            left[0] -= 1
            if left[0] < 0:
                raise Stopped

    monkeypatch.setattr(jobs, "progress_bar", Bar)
    for turns in range(1, 40):
        left[0] = turns
        try:
            found = fastrec.capacity_scaling([200], 3, path, backend="cpu", stop=stop)
            break
        except Stopped:
            with RunFile(path, SCHEMA) as file:
                definition = {"n": 200, **dataclasses.asdict(expected[0].definition)}
                kept = [file.load_progress((200, trial), definition) for trial in range(3)]
                other = definition | {"seed": 4}
                assert sum(state is not None for state, _ in kept) <= 1
                for trial, (state, seconds) in enumerate(kept):
                    if state is not None:
                        assert seconds > 0
                        with pytest.raises(ValueError, match="unfinished run of another definition"):
                            file.load_progress((200, trial), other)
    assert turns > 3
    same(found, expected)
    same(ScalingResult.load(path), expected)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM unfinished").fetchone() == (0,)
    connection.close()
    assert export(path, tmp_path / "a.csv") == 3


@pytest.fixture
def unfinished(tmp_path, one_by_one):
    """A run file with trial 0; the definition, a state of trial 1 after its first block, and both counts."""
    path = tmp_path / "a.db"
    expected = fastrec.capacity_scaling([200], 2, backend="cpu")
    fastrec.capacity_scaling([200], 1, path, backend="cpu")
    d = expected[0].definition
    network = cpu.NetworkScan(stream_key(0, 200), 200, 1, False, False, 1, False, 100, d.max_patterns)
    next(iter(network))
    return path, {"n": 200, **dataclasses.asdict(d)}, network.progress, expected


CHANGES = {
    "state": (bytes(40), b"", "abc", 10**12, -5, 2.5),
    "seconds": (1.5, "abc", 0),
    "definition": ("{}", b"x"),
    "key": ("[200, 7]", 3, None),
}


@pytest.mark.parametrize(("column", "value"), [(name, value) for name in CHANGES for value in CHANGES[name]])
def test_what_is_kept_and_has_changed_is_begun_again(unfinished, caplog, column, value):
    path, definition, state, expected = unfinished
    with RunFile(path, SCHEMA) as file:
        file.save_progress((200, 1), definition, state, 2.5)
        assert file.load_progress((200, 1), definition) == (state, 2.5)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE unfinished SET {column} = ?", (value,))
    connection.close()
    same(ScalingResult.load(path), fastrec.capacity_scaling([200], 1))
    assert export(path, path.with_suffix(".csv")) == 1
    same(fastrec.capacity_scaling([200], 2, path, backend="cpu"), expected)
    assert "1 rows could be read" in caplog.text and path.with_name("a.db.damaged").exists()


def test_what_is_kept_and_cannot_be_is_refused(unfinished):
    path, definition, state, expected = unfinished
    numbers = np.frombuffer(state[:24], "<i8")
    wrong = [b"", state[:3], state[:24], state[:-1], state + b"x", bytes(len(state))]
    for place, number in ((0, -12), (0, -(2**62)), (2, -5), (2, 0), (2, 2**40)):
        changed = numbers.copy()
        changed[place] = number
        wrong.append(changed.tobytes() + state[24:])
    wrong.append(state[:24] + b"\xff" * (len(state) - 24))
    for changed in (*wrong, state):
        with RunFile(path, SCHEMA) as file:
            file.save_progress((200, 1), definition, changed, 1.0)
        if changed is not state:
            with pytest.raises(
                ValueError, match=r"a\.db: damaged, what is kept of trial 1 of n = 200 cannot be"
            ):
                fastrec.capacity_scaling([200], 2, path, backend="cpu")
    same(fastrec.capacity_scaling([200], 2, path, backend="cpu"), expected)


def test_executors_scan_large_networks_too(one_by_one):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        found = fastrec.capacity_scaling([200], 2, backend="cpu", executor=executor)
    same(found, fastrec.capacity_scaling([200], 2, backend="reference"))


LARGE_TRIAL = """
import fastrec, sys
from fastrec.hopfield.storage_capacity import run as capacity
from fastrec.kernels.cpu import capacity as cpu
cpu.one_by_one, cpu.BLOCK, capacity.KEEP_SECONDS = lambda *_: True, cpu.ROWS, -1
print("begun", flush=True)
fastrec.capacity_scaling([10_000], 1, sys.argv[1], progress=False, backend="cpu")
"""


@pytest.mark.slow
def test_a_killed_trial_goes_on(tmp_path):
    path, chance, kills = tmp_path / "a.db", random.Random(1), 0
    while not path.exists() or not rows_of(path):
        process = subprocess.Popen(
            [sys.executable, "-c", LARGE_TRIAL, str(path)], stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        try:
            process.wait(chance.uniform(0.01, 0.15) + 0.1 * kills)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        assert process.wait() in (0, -signal.SIGKILL)
        process.stdout.close()
    assert kills
    same(ScalingResult.load(path), fastrec.capacity_scaling([10_000], 1))


def test_a_run_of_another_definition_is_refused_before_work(tmp_path, monkeypatch):
    path = tmp_path / "a.db"
    fastrec.capacity_scaling([10], 2, path, backend="reference")
    monkeypatch.setattr(capacity_module, "scan", lambda *_: pytest.fail("work started"))
    with pytest.raises(ValueError, match="corruption is 1 in the file, 0 is asked; seed is 0 in the file, 4"):
        fastrec.capacity_scaling([20], 2, path, seed=4, flips=0)
    with pytest.raises(ValueError, match="max_patterns of n = 10 is"):
        fastrec.capacity_scaling([20, 10], 2, path, max_patterns=3)
    with pytest.raises(ValueError, match="give one of them"):
        fastrec.capacity_scaling([20], 2, executor=concurrent.futures.ThreadPoolExecutor(1), workers=2)


def test_progress_counts_what_was_there(tmp_path, monkeypatch):
    path, told = tmp_path / "a.db", []
    fastrec.capacity_scaling([10], 30, path, backend="reference")

    class Bar:
        def __init__(self, description, total, shown, done):
            told.append(done / total)

        def __enter__(self):
            return lambda amount, name: told.append(amount)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(jobs, "progress_bar", Bar)
    fastrec.capacity_scaling([10, 20], 40, path, backend="reference")
    work = [n * fastrec.theory.capacity_bound(n) ** 2 for n in (10, 20)]
    assert told[0] == pytest.approx(30 * work[0] / (40 * sum(work)))
    assert sum(told[1:]) == 10 * work[0] + 40 * work[1]


def test_unfinished_runs_load_up_to_the_first_gap(tmp_path):
    path = tmp_path / "a.db"
    fastrec.capacity_scaling([10, 20], 6, path, backend="reference")
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM capacity WHERE n = 10 AND trial = 4 OR n = 20 AND trial = 0")
    connection.close()
    loaded = ScalingResult.load(path)
    assert loaded.sizes == (10,) and loaded[0].trials == 4
    with RunFile(tmp_path / "b.db", SCHEMA):
        pass
    with pytest.raises(ValueError, match=r"b\.db: no finished trials"):
        ScalingResult.load(tmp_path / "b.db")
    with (
        RunFile(tmp_path / "c.db", TABLE),
        pytest.raises(ValueError, match="a run of retrieval, not of capacity"),
    ):
        ScalingResult.load(tmp_path / "c.db")


def test_export(tmp_path, monkeypatch):
    path, out = tmp_path / "a.db", tmp_path / "b.csv"
    run = fastrec.capacity_scaling([10, 20], 6, path, backend="reference")
    *shared, total = SCHEMA.columns
    assert [*shared, "seconds"] == list(SCHEMA.run_columns)[: len(SCHEMA.columns)]
    assert total == "total_seconds"
    assert export(path, out) == 12
    loaded = ScalingResult.load(out)
    same(loaded, run)
    assert loaded == ScalingResult(
        build_results(SCHEMA.results(SCHEMA.complete_trials(runs.read(path, SCHEMA)[2])))
    )
    lines = out.read_text().splitlines()
    out.write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match="truncated"):
        ScalingResult.load(out)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match="pip install pyarrow"):
        export(path, tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"\.csv or \.parquet"):
        export(path, tmp_path / "b.txt")


@pytest.mark.filterwarnings("ignore")
def test_export_to_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    fastrec.capacity_scaling([10], 6, tmp_path / "a.db", backend="reference")
    export(tmp_path / "a.db", tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    assert [tuple(r.values()) for r in table.to_pylist()] == runs.read(tmp_path / "a.db", SCHEMA)[2]


def test_an_executor_that_gives_up_is_told_in_a_sentence(tmp_path):
    """As a Dask client does whose scheduler died: futures are cancelled that nobody here has cancelled."""
    found, path = [], tmp_path / "a.db"

    class Lost(concurrent.futures.ThreadPoolExecutor):
        def submit(self, function, *arguments):
            future = super().submit(function, *arguments)
            future.result()
            if len(found) < 1:
                found.append(future)
                return future
            lost = concurrent.futures.Future()
            lost.cancel()
            lost.set_running_or_notify_cancel()
            return lost

    with (
        Lost(1) as executor,
        pytest.raises(ConnectionError, match=r"has given up \(CancelledError\)") as caught,
    ):
        fastrec.capacity_scaling([20, 5000], 30, path, executor=executor, backend="cpu")
    assert "\n" not in str(caught.value) and 0 < len(rows_of(path)) < 60
    same(ScalingResult.load(path), fastrec.capacity_scaling([5000], len(rows_of(path))))


BLOCKED = {signal.SIGINT, signal.SIGTERM}


class Job(NamedTuple):
    cost: float
    action: str = ""


def work(job):
    if job.action == "fail":
        raise ArithmeticError("failed")
    if job.action == "die":
        time.sleep(0.5)
        os._exit(3)
    time.sleep(0.01)
    return -job.cost


def test_tasks():
    jobs, found, begun = [Job(2), Job(5), Job(1)], [], []

    def begin(job):
        begun.append(job.cost)
        return work(job)

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        run_tasks(begin, jobs, executor, lambda job, result: found.append((job.cost, result)))
    assert sorted(found) == [(1, -1), (2, -2), (5, -5)]
    assert begun == [5, 2, 1]


def test_an_error_cancels_what_has_not_begun():
    begun, found = [], []

    def begin(job):
        begun.append(job)
        return work(job)

    jobs = [Job(9), Job(8, "fail"), *(Job(1) for _ in range(50))]
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        pytest.raises(ArithmeticError, match="failed"),
    ):
        run_tasks(begin, jobs, pool, lambda job, result: found.append(job))
    assert len(begun) < 50 and found[0] == jobs[0]


def test_ctrl_c_cancels_what_has_not_begun():
    def interrupt(job, result):
        raise KeyboardInterrupt

    begun = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        run_tasks(lambda job: begun.append(job) or work(job), [Job(1)] * 50, pool, interrupt)
    assert len(begun) < 50


def test_a_dead_worker_is_told_and_the_rest_is_kept():
    found, jobs = [], [Job(9, "die"), *(Job(cost) for cost in range(8))]
    with process_pool(2) as pool, pytest.raises(ChildProcessError, match="a worker process died"):
        run_tasks(work, jobs, pool, lambda job, result: found.append(job.cost))
    assert sorted(found) == list(range(8))


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signals are blocked here")
def test_no_worker_hears_signals():
    with process_pool(3) as pool:
        found = dict(pool.map(heard, [0.3] * 9))
    assert len(found) > 1 and set(map(frozenset, found.values())) == {frozenset(BLOCKED)}
    assert not heard(0)[1] & BLOCKED


def heard(seconds):
    time.sleep(seconds)
    return os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_workers_end_in_silence_though_their_pool_ends_late(monkeypatch):
    def interrupt(job, result):
        raise KeyboardInterrupt

    def late(pool, **kwargs):
        time.sleep(0.5)
        return shutdown(pool, **kwargs)

    shutdown = concurrent.futures.ProcessPoolExecutor.shutdown
    monkeypatch.setattr(concurrent.futures.ProcessPoolExecutor, "shutdown", late)
    with pytest.raises(KeyboardInterrupt), process_pool(2) as pool:
        run_tasks(work, [Job(1)] * 50, pool, interrupt)  # an exception in the pool's thread fails the test


def test_results_do_not_depend_on_the_executor(tmp_path):
    expected = fastrec.capacity_scaling([20, 300, 130], 50, backend="cpu")
    before = fastrec.get_threads()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        same(fastrec.capacity_scaling([20, 300, 130], 50, executor=pool, backend="cpu"), expected)
        threads = list(pool.map(lambda _: fastrec.get_threads(), range(9)))
    assert set(threads) == {before}
    path = tmp_path / "a.db"
    same(fastrec.capacity_scaling([20, 300, 130], 50, path, workers=2, backend="cpu"), expected)
    assert len(runs.read(path, SCHEMA)[2]) == 150


@pytest.mark.parametrize(
    ("backend", "n"), [("cpu", 10), ("cpu", 30_000), ("reference", 100), ("gpu", 10_000)]
)
def test_tasks_are_cut_to_seconds(backend, n):
    limit = fastrec.theory.capacity_bound(n)
    definition = fastrec.capacity(10, 1, backend="reference", max_patterns=limit).definition
    task = capacity_module.Task(n, np.arange(0, 3000, 3), definition, backend)
    most = capacity_module.TASK_WORK[backend]
    parts = task.cut(most)
    assert np.array_equal(np.concatenate([part.trials for part in parts]), task.trials)
    assert all(part.cost <= most or len(part.trials) == 1 for part in parts)
    assert sum(part.cost for part in parts) == task.cost


@pytest.mark.slow
def test_killed_runs_resume(tmp_path, monkeypatch):
    """Two processes on one file, killed at random moments and started again until nothing is missing."""
    sizes, trials = "10:30:lin11", 20
    expected = fastrec.capacity_scaling(range(10, 31, 2), trials, backend="reference")
    server = multiprocessing.get_context("forkserver")  # starts in milliseconds what takes seconds to import
    server.set_forkserver_preload(
        ["pytest", "fastrec.cli", "fastrec.hopfield.storage_capacity.run", "fastrec.plot"]
    )
    chance, kills, files, longest = random.Random(5), 0, 0, 0.5
    while kills < 50:
        path, before, rows = tmp_path / f"{files}.db", 0, 0
        arguments = ["fastrec", "capacity", "--sizes", sizes, "--trials", str(trials), "--out", str(path)]
        while rows < len(expected) * trials:
            pair = []
            for name in "ab":
                picture = str(tmp_path / f"{name}.png")
                monkeypatch.setattr(sys, "argv", [*arguments, "--backend", "reference", "--plot", picture])
                pair.append(server.Process(target=cli.main))
                pair[-1].start()
            for process in pair:
                process.join(chance.uniform(0.05, longest))
                process.kill()
            for process in pair:
                process.join()
                kills += process.exitcode == -signal.SIGKILL
                assert process.exitcode in (0, -signal.SIGKILL)
            if path.exists() and path.stat().st_size:
                before, rows = rows, len(rows_of(path))
                assert rows >= before
            if rows == before:
                longest *= 1.1  # a slow machine, on which no process lives long enough to add rows
        same(ScalingResult.load(path), expected)
        files += 1
    assert not list(tmp_path.glob("*.damaged"))


def rows_of(path):
    """Rows of a run file, none while a process has begun but not committed its table."""
    try:
        return runs.read(path, SCHEMA)[2]
    except DamagedFile as error:
        if "no run has begun" in str(error):
            return []
        raise


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def workers_of(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        pids = [int(pid) for pid in children.read_text().split()]
        pids = [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        if len(pids) == 2:
            return pids
        time.sleep(0.05)
    raise AssertionError("no workers")


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks for processes in /proc")
@pytest.mark.parametrize("what", ["worker", "run", "interrupt"])
@pytest.mark.slow
def test_workers_end_with_the_run(tmp_path, what):
    path, picture = str(tmp_path / "a.db"), str(tmp_path / "a.png")
    arguments = ("--sizes", "100,20000", "--trials", "1000", "--max-patterns", "3000", "--out", path)
    process = command("capacity", *arguments, "--plot", picture, "--workers", "2", start_new_session=True)
    pids = workers_of(process)
    time.sleep(1)
    assert process.poll() is None
    if what == "worker":
        os.kill(pids[0], signal.SIGKILL)
    elif what == "run":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    if what == "worker":
        assert process.returncode == 1 and err.startswith("fastrec: a worker process died")
        assert err.count("\n") == 1
    if what == "interrupt":
        assert process.returncode == 130 and err.startswith("fastrec: interrupted; what is done is kept in /")
    end = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, pids))
    assert runs.read(path, SCHEMA)[0] == "capacity"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_dask_with_a_worker_killed(tmp_path):
    distributed = pytest.importorskip("distributed")
    path, sizes = tmp_path / "a.db", [100, 8_000]
    expected = fastrec.capacity_scaling(sizes, 150, backend="cpu")
    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None, "silence_logs": 50}
    killed = []

    def kill(pid):
        while not path.exists() or not path.stat().st_size or not (found := len(rows_of(path))):
            time.sleep(0.02)
        killed.append(found)
        os.kill(pid, signal.SIGKILL)

    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        pid = next(iter(client.run(os.getpid).values()))
        killer = threading.Thread(target=kill, args=(pid,))
        killer.start()
        result = fastrec.capacity_scaling(sizes, 150, path, executor=client.get_executor(), backend="cpu")
        killer.join()
        same(result, expected)
        assert 0 < killed[0] < 300
        again = ["--dask", cluster.scheduler_address, "--out", str(tmp_path / "b.db"), "--backend", "cpu"]
        process = command(
            "capacity", "--sizes", "100", "--trials", "9", *again, "--plot", str(tmp_path / "b.png")
        )
        out, err = process.communicate()
        assert process.returncode == 0 and err == "" and "b.db" in out
    same(ScalingResult.load(tmp_path / "b.db"), fastrec.capacity_scaling([100], 9, backend="cpu"))


@dataclasses.dataclass(frozen=True)
class LaterDefinition(Definition):
    rule: str = "hebb"


LATER = dataclasses.replace(TABLE, definition=LaterDefinition, added={"rule": (2, "hebb")})


def test_files_of_earlier_versions_are_read_and_resumed(tmp_path):
    path, new = tmp_path / "a.db", tmp_path / "b.db"
    definition = {"n": 5, "update": "async", "seed": 0, "limit": 9, "rule": "hebb"}
    earlier = definition.copy()
    del earlier["rule"]
    with RunFile(path, TABLE) as file:
        file.add([row(5, 0), row(5, 1)])
        file.save_progress((5, 2), earlier, b"state", 1.5)
    rows = list(LATER.rows([(5, trial, 0.5) for trial in range(2)], LaterDefinition("async", 0, 9), *ORIGIN))
    stored = [(*values[:4], str(values[4]), *values[5:]) for values in rows]
    with RunFile(path, LATER) as file:
        assert file.rows() == stored
        file.require(definition)
        with pytest.raises(ValueError, match="rule is hebb in the file, storkey is asked"):
            file.require(definition | {"rule": "storkey"})
        assert file.load_progress((5, 2), definition) == (b"state", 1.5)
        file.add(LATER.rows([(5, 2, 0.25)], LaterDefinition("async", 0, 9), *ORIGIN))
    assert runs.read(path, LATER)[2][:2] == stored
    with RunFile(path, TABLE) as file:  # as earlier versions left it
        assert file.rows() == [row(5, 0), row(5, 1), row(5, 2, overlap=0.25)]
    export(path, tmp_path / "a.csv")
    expected = [(5, 0, 0.5), (5, 1, 0.5), (5, 2, 0.25)], LaterDefinition("async", 0, 9), "reference", 1.5
    assert load_results(path, LATER, list) == load_results(tmp_path / "a.csv", LATER, list) == [expected]
    path.write_bytes(path.read_bytes()[:-4096])  # salvaged into a file of the latest version
    with RunFile(path, LATER) as file:
        file.require(definition)
    with RunFile(new, LATER) as file:
        file.add(rows)
    with pytest.raises(ValueError, match="format 2, but this fastrec reads format 1"):
        runs.read(new, TABLE)
    with pytest.raises(ValueError, match="format 2, but this fastrec reads format 1"):
        RunFile(new, TABLE).__enter__()
