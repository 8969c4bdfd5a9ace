"""scripts/gpu-check where there is no card: it says so, and its benchmarks run in small on the emulator."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
cupy = pytest.importorskip("cupy", reason="needs the emulator")
if cupy.__name__ == "cupy":
    pytest.skip("there is a card: run scripts/gpu-check", allow_module_level=True)


class Event:
    def record(self):
        self.time = time.perf_counter()

    def synchronize(self):
        pass


@pytest.fixture
def gpu(monkeypatch):
    """benchmarks/gpu.py on a stand-in with what only benchmarks ask of CuPy."""
    for where, name, value in (
        (cupy.cuda, "Event", Event),
        (cupy.cuda, "get_elapsed_time", lambda start, end: 1e3 * (end.time - start.time)),
        (cupy.cuda.Device, "synchronize", lambda self: None),
        (cupy.cuda.runtime, "driverGetVersion", lambda: 13000),
        (cupy.cuda.runtime, "runtimeGetVersion", lambda: 13000),
        (cupy.get_default_memory_pool(), "total_bytes", lambda: 10**6),
        (cupy.get_default_memory_pool(), "free_all_blocks", lambda: None),
        (cupy.ndarray, "__matmul__", lambda a, b: cupy.asarray(a.get() @ b.get())),
    ):
        monkeypatch.setattr(where, name, value, raising=False)
    spec = importlib.util.spec_from_file_location("benchmarks_gpu", ROOT / "benchmarks" / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    units = ("copy", "b1", "int8", "bf16", "tf32", "popcount", "int32", "float32")
    monkeypatch.setattr(module, "limits", lambda machine, quick: dict.fromkeys(units, 1e12))
    return module


def rows(out):
    (file,) = out.glob("*.json")
    return json.loads(file.read_text())["rows"]


@pytest.mark.slow
def test_benchmarks(gpu, monkeypatch, tmp_path, capsys):
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick", "--out", str(out)])
    gpu.main()
    measured = rows(out)
    assert len(measured) == 36 and all(row["wall_s"] > 0 for row in measured)
    assert all(row["name"] in capsys.readouterr().out for row in measured[:1])

    sys.argv.append("gram")  # keeps the others
    gpu.main()
    again = rows(out)
    assert [row["name"] for row in again] == [row["name"] for row in measured]
    assert sum(a != b for a, b in zip(again, measured, strict=True)) == 1

    readme = tmp_path / "README.md"
    shutil.copy(ROOT / "benchmarks" / "README.md", readme)
    (file,) = out.glob("*.json")
    file.rename(out / "gpu-card.json")
    for _ in range(2):
        gpu.write_tables(readme, out)
        assert readme.read_text().count("| Gram matrix of bits") == 1
    gpu.write_tables(readme, tmp_path / "none")
    assert "<!-- gpu table -->\nNot measured yet.\n<!-- gpu end -->" in readme.read_text()


def test_wrong_results_fail(gpu, monkeypatch, tmp_path, capsys):
    def wrong(bench):
        bench.row("wrong", lambda: 1, lambda x: gpu.equal(x, 2), lambda x: (1, 1), "b1")

    monkeypatch.setattr(gpu, "JOBS", (wrong,))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="failed: wrong"):
        gpu.main()
    assert not list(tmp_path.iterdir())


def test_goals(gpu, monkeypatch, tmp_path, capsys):
    def steps(bench):
        several = {"check": lambda x: None, "count": lambda x: (0, 1), "unit": "bf16", "steps": 4}
        bench.row("alone", lambda: 1, **several, step=1, ratio=3)
        peer = "peer", lambda: time.sleep(0.1)
        bench.row("beside", lambda: time.sleep(0.01), **several, baseline=peer, step=0.001, ratio=3)

    monkeypatch.setattr(gpu, "JOBS", (steps,))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path)])
    gpu.main()
    alone, beside = rows(tmp_path)
    assert alone["goals"].keys() == {"step"}  # a ratio needs a baseline
    assert [met for *_, met in beside["goals"].values()] == [False, True]
    assert beside["goals"]["step"][1] == pytest.approx(beside["wall_s"] / 4)
    printed = capsys.readouterr().out
    assert "≤ 1 s a step: yes" in printed
    assert "≤ 1 ms a step: no; ≥ 3 x peer: yes" in printed
    assert printed.count("| peer, ") == 1 and "ms a step) | **" in printed


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_refuses_without_a_card(tmp_path):
    environment = os.environ | {"PYTHON": "", "PATH": str(tmp_path)}
    for tool in ("dirname", "sed", "bash"):  # no nvidia-smi, no python3
        (tmp_path / tool).symlink_to(shutil.which(tool))
    for python, said in (("", "no card here"), ("no-python", "no-python cannot run it")):
        environment["PYTHON"] = python
        script = ROOT / "scripts" / "gpu-check"
        done = subprocess.run([script], env=environment, capture_output=True, text=True)
        assert done.returncode == 2 and said in done.stderr
